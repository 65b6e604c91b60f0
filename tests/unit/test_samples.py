"""``samples.jsonl`` is written whole and read back without torch."""

import json
import subprocess
import sys

import pytest

from hpc_trex.errors import EnvironmentProblem
from hpc_trex.samples import EvaluatedRow, read_samples, write_samples

ROWS = [
    EvaluatedRow("dev:0", "Wie geht's?\u2028\r\n", '{"a": "ü"}', "gut", 0.5, ("truncated", "empty")),
    EvaluatedRow("dev:1", "x", "", "y", 0.0),
]


def test_rows_come_back_as_they_were_written(tmp_path):
    write_samples(tmp_path / "samples.jsonl", ROWS)
    assert list(read_samples(tmp_path / "samples.jsonl")) == ROWS
    assert [path.name for path in tmp_path.iterdir()] == ["samples.jsonl"]


WHOLE = {"row_id": "dev:2", "prompt": "p", "answer": "a", "reference": "r", "score": 1.0, "flags": []}
SHAPES = [
    {"score": None},
    {"score": float("nan")},
    {"answer": None},
    {"row_id": 7},
    {"flags": [1]},
    {"more": 1},
    {"answer": "\ud800"},
]
LINES = ["{", "[]", '{"row_id": 1}', "null", '{"flags": 3}', "", "[" * 100_000]


@pytest.mark.parametrize("line", [*LINES, *(json.dumps(WHOLE | shape) for shape in SHAPES)])
def test_a_file_that_was_changed_is_named_with_its_line(tmp_path, line):
    path = tmp_path / "samples.jsonl"
    write_samples(path, ROWS)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(EnvironmentProblem, match=r"samples\.jsonl:3"):
        list(read_samples(path))


def test_a_file_in_another_encoding_is_named_with_its_line(tmp_path):
    path = tmp_path / "samples.jsonl"
    write_samples(path, ROWS)
    path.write_bytes(path.read_bytes() + json.dumps(WHOLE | {"prompt": "café"}, ensure_ascii=False).encode("latin-1"))
    with pytest.raises(EnvironmentProblem, match=r"samples\.jsonl:3"):
        list(read_samples(path))


def test_the_controller_reads_samples_without_torch_numpy_or_lm_eval():
    code = "import sys, hpc_trex.samples; print({'torch', 'numpy', 'lm_eval', 'datasets'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
