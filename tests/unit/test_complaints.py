"""docs/complaints.md answers what users of the peers complain about: each row names a test that exists, or says why not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "complaints.md"
#: How many complaints the survey found in each of its four sections.
SECTIONS = {"A": 11, "B": 12, "C": 13, "D": 12}
ROW = re.compile(r"^\| ([A-D]\d+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> dict[str, tuple[str, str, str]]:
    return {name: (what, remedy, proof) for name, what, remedy, proof in ROW.findall(PAGE.read_text())}


def test_every_complaint_has_one_row():
    wanted = [f"{letter}{number}" for letter, count in SECTIONS.items() for number in range(1, count + 1)]
    assert [name for name, *_ in ROW.findall(PAGE.read_text())] == wanted


def functions(path: Path) -> set[str]:
    return {item.name for item in ast.walk(ast.parse(path.read_text())) if isinstance(item, ast.FunctionDef)}


@pytest.mark.parametrize("name", sorted(rows()))
def test_a_row_names_a_test_that_exists_or_says_why_there_is_none(name):
    proof = rows()[name][2]
    tests = TEST.findall(proof)
    assert tests or proof.startswith("not run: "), f"{name}: neither a test nor a reason: {proof}"
    for path, function in tests:
        assert (ROOT / path).is_file(), f"{name}: {path} is not there"
        assert function in functions(ROOT / path), f"{name}: {path} has no {function}"
