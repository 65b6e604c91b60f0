"""The edits between two Chinese sentences, by the rule that LawBench's task 2-1 scores corrections with."""

# ruff: noqa: RUF001 - Chinese sentences have Chinese commas

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_trex.evaluation.scorers.edits import count_edits, edits, readings


@pytest.mark.parametrize(
    ("source", "target", "wanted"),
    [
        ("他在法亭上", "他在法庭上", {(3, 4, "庭"): 1}),
        ("山西省市潞州区", "山西省长治市潞州区", {(3, 3, "长治"): 1}),
        ("自己的的行为", "自己的行为", {(2, 3, ""): 1}),
        ("衣裳事实", "以上事实", {(0, 2, "以上"): 1}),  # neighbours are one edit
        ("甲对乙说", "乙对甲说", {(0, 3, "乙对甲"): 1}),  # a swap around kept signs is one edit
        ("他昨天去了学校里", "他去了昨天学校里", {(1, 5, "去了昨天"): 1}),  # and so are signs in another order
        ("判决 如下", "判决\n如下", {}),  # spaces play no part
        ("判决如下", "没有错误", {}),  # "no mistake"
        ("甲，乙", "甲。乙", {(1, 2, "。"): 1}),
        # Two alignments are equally cheap: the edits of both are pooled, the one that both have counts twice.
        ("aaab", "abbc", {(0, 1, ""): 1, (2, 3, "b"): 1, (1, 3, "b"): 1, (4, 4, "c"): 2}),
    ],
)
def test_the_edits_of_a_correction(source, target, wanted):
    assert edits(source, target) == wanted


@pytest.mark.parametrize(
    ("source", "target", "wanted"),
    [
        ("上人人法上罪。认aa", "上人人法上罪认a。a", {(6, 9, "认a。"): 1}),
        ("1法1认庭罪a，。1人1罪人", "1法1认庭罪a，，法1罪1罪人", {(7, 7, "，"): 1, (8, 9, "法"): 1, (10, 11, "罪"): 1}),
        ("的。的人人a上上的认a", "的人的认上a。上上的认a", {(1, 2, "人"): 1, (3, 5, "认上"): 1, (6, 6, "。"): 1}),
        (
            "法1罪",
            "认罪的认罪a认罪。法认。",
            {(0, 0, "认罪的认罪a认罪。"): 1, (1, 3, "认。"): 1, (0, 2, "认罪的认罪a认"): 1, (3, 3, "。法认。"): 1},
        ),
        ("印度对全世界人没有说服不要吃肉。", "印度没有说服全世界人不要吃肉。", {(2, 3, "没有说服"): 1, (7, 11, ""): 1}),
        ("旅游去陌生的地方", "去陌生的地方旅游", {(0, 8, "去陌生的地方旅游"): 1}),
        ("被告人认罪，认罚", "被告人认罚，认罪", {(4, 8, "罚，认罪"): 1}),
        ("一审法院判决认定事实清楚，", "一审法院认定事实清楚，判决", {(4, 13, "认定事实清楚，判决"): 1}),
        ("原告和被告和签订合同", "原告与被告签订了合同", {(2, 3, "与"): 1, (5, 6, ""): 1, (8, 8, "了"): 1}),
        ("《合同》有效", "〈合同〉有效。", {(0, 1, "〈"): 1, (3, 4, "〉"): 1, (6, 6, "。"): 1}),
    ],
)
def test_edits_equal_those_of_upstreams_rule(source, target, wanted):
    """What a transcript of ``alignment.py`` and ``merger.py`` gave, their data files empty; on 4,000 random pairs it gave ours."""
    assert edits(source, target) == wanted


def test_edits_that_several_alignments_have_count_as_often():
    twice = Counter({(0, 1, "b"): 2})
    assert count_edits(Counter({(0, 1, "b"): 1}), twice) == (2, 0, 0)
    assert count_edits(twice, Counter({(1, 2, "c"): 1})) == (0, 2, 1)
    assert count_edits(Counter(), Counter()) == (0, 0, 0)


@given(st.text("法庭上的人，", max_size=9), st.text("法庭上的人，", max_size=9))
@settings(max_examples=150, deadline=None)
def test_the_edits_of_every_alignment_make_the_target(source, target):
    for found in readings(source, target):
        made, place = "", 0
        for edit in found:
            made += source[place : edit.a] + target[edit.c : edit.d]
            place = edit.b
        assert made + source[place:] == target
    assert bool(edits(source, target)) == (source != target)
