"""LawBench's rules against upstream's, restated here a second time and in another way (loops and lists as its files have them)."""

# ruff: noqa: RUF001 - Chinese sentences have Chinese commas

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hpc_trex.errors import EnvironmentProblem, UsageProblem
from hpc_trex.evaluation.metrics import AnswerSet, aggregate, judge
from hpc_trex.evaluation.scorers import lawbench, lawbench_options
from hpc_trex.evaluation.scorers.edits import f_half
from hpc_trex.ftbench.build import build_tables
from hpc_trex.ftbench.cards import load_card
from hpc_trex.ftbench.upstream.lawbench import case, read_lawbench
from hpc_trex.models import MetricSpec

FOLDER = Path(__file__).resolve().parents[3] / "ftbench" / "lawbench"
SPEC = MetricSpec(name="lawbench", keep=("task", "question"), groups="task", average="groups")
ROWS = [json.loads(line)["row"] for line in (FOLDER / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
TEXTS = [
    *(entry["text"] for entry in json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))),
    "The answer is A, B or C; 12 months, 3 years, 1545.50 yuan.",
    "根据2015年的规定，判处有期徒刑十二年零三个月，罚金二千元",
    "犯罪嫌疑人:甲某;受害人:乙某;被盗物品:自行车",
    "受害人:未提及 地点：东河村的一户人家\n地点: 东河村\n时间:今",
    "刑法第二百六十四条、第三〇三条、第128条之一",
    "<think>A</think>B<think>C",
    "。。。",
]


def sets(found: list, wanted: list) -> float:
    both = [one for one in set(found) if one in wanted]
    precision = len(both) / len(set(found)) if found else 0
    recall = len(both) / len(set(wanted)) if wanted else 0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0


def one_of(text: str, options, right: str) -> float:
    return float([text.count(option) > 0 for option in options] == [option == right for option in options])


def bag(gold: str, said: str) -> float:
    one, other = ([sign for sign in text.lower() if sign.isdigit() or sign.isalpha()] for text in (gold, said))
    if not one or not other:
        return float(one == other)
    same = sum((Counter(one) & Counter(other)).values())
    if not same:
        return 0
    precision, recall = same / len(other), same / len(one)
    return 2 * precision * recall / (precision + recall)


def soft(total: float, said: int, gold: int) -> float:
    precision, recall = (total / said if said else 0), (total / gold if gold else 0)
    return 2 * precision * recall / (precision + recall + 1e-10)


def rouge_l(said: str, gold: str) -> float:
    one, other = (" ".join(lawbench._words().cut(text)).split() for text in (said, gold))
    before = [0] * (len(other) + 1)
    for word in one:
        now = [0]
        for place, right in enumerate(other):
            now.append(before[place] + 1 if word == right else max(now[-1], before[place + 1]))
        before = now
    precision, recall = before[-1] / len(one), before[-1] / len(other)
    return 2 * precision * recall / (precision + recall + 1e-8)


def entities(text: str) -> dict[str, str]:
    found = {}
    for kind in lawbench_options.ENTITIES:
        start = text.find(kind)
        while start >= 0:
            end = start + len(kind)
            if end < len(text) - 2 and text[end] in (":", "\uff1a"):
                value = text[end + 1 :].strip().replace(" ", "\n").split("\n")[0].strip()
                if value not in ("无", "未提及"):
                    found[kind] = value
            start = text.find(kind, end)
    return found


def articles(text: str) -> list[int]:
    found = []
    for piece in text.split("、"):
        piece = re.sub(r"第(.*?)款", "", piece.replace("万元", "元"))  # noqa: PLW2901
        piece = lawbench._arabic(re.sub(r"第(.*?)条", lambda match: match[1], piece))  # noqa: PLW2901
        numbers = re.findall(r"\d+", piece)
        if numbers:
            found.append(int(numbers[0]))
    return found


def term(text: str, right: int) -> float:
    text = lawbench._arabic(text)
    months = [int(found[:-2]) for found in re.findall(r"\d+个月", text)]
    months += [int(found[:-1]) for found in re.findall(r"\d+月", text)]
    years = [int(found[:-1]) for found in re.findall(r"\d+年", text)]
    if not months and not years:
        return 0
    said = months[0] if months else years[0] * 12
    return (math.log(216) - abs(math.log(right + 1) - math.log(said + 1))) / math.log(216)


def upstream(task: str, text: str, answer: str) -> float:
    """What upstream's scorer of a task gives for one row."""
    if task in ("1-1", "2-7", "3-2", "3-8"):
        return rouge_l(text, answer.replace("答案:", ""))
    if task in ("1-2", "3-6", "2-8"):
        return one_of(text, "ABCDE" if task == "2-8" else "ABCD", answer[6 if task == "2-8" else 5])
    if task == "2-2":
        return one_of(text, lawbench_options.DISPUTES, answer[7:-1])
    if task == "2-4":
        return one_of(text, lawbench_options.TOPICS, answer)
    if task == "2-3":
        return sets([one for one in lawbench_options.MARITAL if one in text], answer[3:-1].split("、"))
    if task == "2-9":
        return sets([one for one in lawbench_options.EVENTS if one in text], answer.split(";"))
    if task == "3-3":
        return sets([one for one in lawbench_options.CHARGES if one in text], answer.replace("罪名:", "").split(";"))
    if task == "2-5":
        return bag(answer.replace("回答:", ""), text)
    if task == "2-6":
        gold = dict(part.split(":")[:2] for part in answer.split(";"))
        said = entities(text)
        return soft(sum(bag(gold[kind], value) for kind, value in said.items() if kind in gold), len(said), len(gold))
    if task == "2-10":
        gold_words, said_words = answer.split(";"), text.split(";")
        total = sum(bag(gold, said) for gold, said in zip(gold_words, said_words, strict=False))
        return soft(total, len(said_words), len(gold_words))
    if task == "3-1":
        return sets(articles(text), [int(number) for number in answer[len("法条:刑法第") : -1].split("、")])
    if task == "3-7":
        right = float(answer.replace("上文涉及到的犯罪金额:", "").replace("元。", ""))
        return float(right in [float(number) for number in re.findall(r"\d+\.?\d*", text)])
    return term(text, int(answer[len("刑期:") : -len("个月")]))


@pytest.mark.parametrize("row", [row for row in ROWS if row["task"] != "2-1"], ids=lambda row: row["task"])
def test_the_same_answers_score_as_upstream_scores_them(row):
    for text in TEXTS:
        found = judge(text, row["answer"], SPEC, row)
        bare = re.sub(r"<think>.*?(</think>|$)", "", text, flags=re.DOTALL).strip()
        wanted = upstream(row["task"], bare, row["answer"]) if bare else 0.0
        assert found.score == pytest.approx(wanted, abs=1e-9), text


def test_a_term_that_is_wrong_by_more_than_a_life_is_worth_less_than_nothing():
    found = judge("根据2015年的规定", "刑期:11个月", SPEC, {"task": "3-4"})
    assert found.score == pytest.approx(1 - math.log(24181 / 12) / math.log(216))
    assert found.score < 0


def test_all_twenty_tasks_have_a_sample_and_a_rule():
    assert {row["task"] for row in ROWS} == set(lawbench.RULES)
    assert len(lawbench.RULES) == 20
    lists = (lawbench_options.CHARGES, lawbench_options.DISPUTES, lawbench_options.MARITAL)
    more = (lawbench_options.TOPICS, lawbench_options.ENTITIES, lawbench_options.EVENTS)
    assert [len(set(one)) for one in (*lists, *more)] == [189, 16, 20, 20, 10, 20]


# ---- 2-1: edits ---------------------------------------------------------------------------------------------------------


def test_f_half_is_of_all_rows_together_and_resamples_so():
    row = {"task": "2-1", "question": "甲在法亭上认罪。"}
    texts = ["甲在法庭上认罪。", "甲在法亭上认罪。", "乙在法庭上不认罪。"]
    judged = [judge(text, texts[0], SPEC, row) for text in texts]
    assert [one.counts for one in judged] == [(1, 0, 0), (0, 0, 1), (1, 2, 0)]
    assert [one.score for one in judged] == pytest.approx([1.0, 0.0, 1.25 * (1 / 3) / (0.25 / 3 + 1)])
    answers = AnswerSet(
        "lawbench", (), [one.score for one in judged], [""] * 3, [""] * 3, [one.counts for one in judged]
    )
    weights = np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0]])
    assert aggregate(answers, weights) == pytest.approx([f_half(2, 2, 1), f_half(3, 2, 0), f_half(0, 0, 3)])
    assert f_half(2, 2, 1) == pytest.approx(1.25 * 0.5 * (2 / 3) / (0.25 * 0.5 + 2 / 3))
    mixed = answers._replace(
        scores=[*answers.scores, 1.0, 0.0], references=[""] * 5, predictions=[""] * 5,
        counts=[*answers.counts, (), ()], groups=["2-1"] * 3 + ["1-2"] * 2,
    )  # fmt: skip
    assert aggregate(mixed)[0] == pytest.approx((f_half(2, 2, 1) + 0.5) / 2)


def test_tasks_that_stand_together_are_the_mean_of_their_rows():
    """A card may leave ``average`` at ``rows``; only rows of 2-1 have counts."""
    mixed = AnswerSet("lawbench", (), [0.5, 1.0, 0.0], ["a", "b", "c"], ["a", "b", "x"], counts=[(1, 1, 0), (), ()])
    assert aggregate(mixed)[0] == 0.5
    assert aggregate(mixed._replace(counts=()))[0] == 0.5


def test_an_answer_much_longer_than_the_reference_is_cut_and_an_empty_one_is_a_wrong_correction():
    row = {"task": "2-1", "question": "甲在法亭上。"}
    assert judge("甲在法庭上。" + "说" * 40, "甲在法庭上。", SPEC, row).wanted == "甲在法庭上。"
    assert judge("甲在法庭上。" + "说" * 40, "甲在法庭上。", SPEC, row).counts == (1, 1, 0)
    empty = judge("", "甲在法庭上。", SPEC, row)
    assert (empty.score, empty.answer) == (0.0, "")
    assert empty.counts[0] == 0


# ---- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "reference", "words"),
    [
        ("9-9", "x", "no task '9-9'"),
        ("1-2", "A", "cannot read the reference answer 'A'"),
        ("2-2", "争议焦点类别\uff1a天气。", "cannot read"),
        ("3-1", "法条:刑法第一条", "cannot read"),
        ("3-4", "刑期:无期", "cannot read"),
        ("2-6", "甲某", "cannot read"),
        ("3-7", "很多", "cannot read"),
    ],
)
def test_a_row_that_the_rule_cannot_read_is_refused(task, reference, words):
    with pytest.raises(UsageProblem, match=words):
        judge("A", reference, SPEC, {"task": task})


@pytest.mark.parametrize(
    ("module", "task", "reference"),
    [("jieba", "1-1", "答案:法"), ("rouge_chinese", "1-1", "答案:法"), ("cn2an", "3-4", "刑期:1个月")],
)
def test_without_its_library_the_extra_is_named(monkeypatch, module, task, reference):
    for cached in [lawbench._words] * (module == "jieba") + [lawbench._rouge] * (module == "rouge_chinese"):
        cached.cache_clear()  # what is loaded is not asked for again
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EnvironmentProblem, match=module) as refused:
        judge("法", reference, SPEC, {"task": task})
    assert "hpc-trex[law]" in (refused.value.hint or "")


# ---- the files ----------------------------------------------------------------------------------------------------------


def written(folder: Path, rows: list[dict]) -> list[Path]:
    files: dict[str, list[dict]] = {}
    for row in rows:
        files.setdefault(row["task"], []).append({key: row[key] for key in ("instruction", "question", "answer")})
    for task, listed in files.items():
        (folder / f"{task}.json").write_text(json.dumps(listed, ensure_ascii=False), encoding="utf-8")
    return sorted(folder.glob("*.json"))


def test_the_files_of_all_tasks_are_read_and_rows_about_one_case_are_known(tmp_path):
    found = list(read_lawbench(written(tmp_path, ROWS)))
    assert sorted(row["task"] for row in found) == sorted(row["task"] for row in ROWS)
    assert {key for row in found for key in row} == {"task", "instruction", "question", "answer", "case"}
    cases = {row["task"]: row["case"] for row in found if "翻窗" in row["question"]}
    assert set(cases) == {"3-1", "3-3", "3-4", "3-5"}
    assert len(set(cases.values())) == 1
    assert len({row["case"] for row in found}) == len(ROWS) - 3
    assert case("句子:甲 乙") == case("甲乙") != case("甲丙")


def test_rows_that_upstreams_scorers_leave_out_are_left_out(tmp_path):
    more = [
        {"task": "2-2", "instruction": "i", "question": "q", "answer": "争议焦点类别\uff1a赔偿。"},
        {"task": "3-4", "instruction": "i", "question": "q", "answer": "刑期:无期"},
        {"task": "3-5", "instruction": "i", "question": "q", "answer": "刑期:死刑"},
    ]
    assert len(list(read_lawbench(written(tmp_path, ROWS + more)))) == len(ROWS)


@pytest.mark.parametrize("text", ["[1", "{}", '[{"instruction": "i", "question": "q"}]', "[3]"])
def test_a_file_that_is_not_lawbenchs_is_refused_by_name(tmp_path, text):
    (tmp_path / "1-1.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageProblem, match=r"1-1\.json"):
        list(read_lawbench([tmp_path / "1-1.json"]))


def test_what_is_carved_out_shares_no_case_with_the_rest(tmp_path):
    repository = tmp_path / "repo"
    (repository / "data" / "zero_shot").mkdir(parents=True)
    written(repository / "data" / "zero_shot", ROWS)
    card = load_card(str(FOLDER)).card
    sizes = {"dev": 5, "test": 8}
    tables = {
        name: table.model_copy(update={"rows": sizes[name]} if name in sizes else {})
        for name, table in card.tables.items()
    }
    small = card.model_copy(update={"tables": tables})
    made = {name: [json.loads(line) for line in lines] for name, lines in build_tables(small, {"repo": repository})}
    assert sum(map(len, made.values())) == len(ROWS)
    assert len(made["dev"]) >= 5
    assert len(made["test"]) >= 8
    cases = {name: {row["case"] for row in rows} for name, rows in made.items()}
    assert sum(map(len, cases.values())) == len(set().union(*cases.values()))
