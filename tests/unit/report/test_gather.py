"""What the report reads from the jobs' folders."""

from hpc_trex.layout import SearchPaths
from hpc_trex.models import AttemptState, LossPoint
from hpc_trex.report.gather import CURVE_POINTS, TAIL_LINES, bad_cases, log_tail, of_attempt, thin
from hpc_trex.samples import EvaluatedRow, write_samples
from tests.unit.report.sample import attempt, leave_files, result


def test_a_log_is_shown_as_a_terminal_would(tmp_path):
    log = tmp_path / "job.err"
    log.write_bytes(b"\x1b[31mred\x1b[0m\r\n 10%|#   |\r 50%|##  |\r100%|####|\nbell\x07 \xff end\n\n")
    assert log_tail(log) == "red\n100%|####|\nbell \ufffd end"


def test_of_a_long_log_the_last_lines_are_read_and_of_none_nothing(tmp_path):
    log = tmp_path / "job.out"
    log.write_text("".join(f"line {i}\n" for i in range(100_000)))
    lines = log_tail(log).splitlines()
    assert lines[-1] == "line 99999"
    assert len(lines) <= TAIL_LINES
    assert log_tail(tmp_path / "none") == ""


def test_a_curve_is_thinned_with_its_first_and_last_point_kept():
    curve = [LossPoint(step=i, loss=1 / (i + 1), lr=0.1, tokens=i) for i in range(1000)]
    thinned = thin(curve)
    assert len(thinned) == CURVE_POINTS
    assert (thinned[0][0], thinned[-1][0]) == (0, 999)
    assert thin(curve[:3]) == [[0, 1.0], [1, 0.5], [2, 0.33333]]
    assert thin([]) == []


def test_bad_cases_are_the_wrong_answers_with_long_texts_cut(tmp_path):
    path = tmp_path / "samples.jsonl"
    rows = [
        EvaluatedRow("a", "p", "right", "right", 1.0),
        EvaluatedRow("b", "x" * 5000, "wrong", "right", 0.0, ("empty",)),
    ]
    write_samples(path, rows)
    (case,) = bad_cases(path)
    assert case["answer"] == "wrong"
    assert len(case["prompt"]) < 500
    assert bad_cases(tmp_path / "none.jsonl") == []


def test_a_broken_samples_file_is_said_not_hidden(tmp_path):
    (tmp_path / "samples.jsonl").write_text("{\n")
    (case,) = bad_cases(tmp_path / "samples.jsonl")
    assert "samples.jsonl:1" in case["prompt"]


def test_a_job_that_left_nothing_or_half_a_result_has_no_curve(tmp_path):
    search = SearchPaths(tmp_path)
    view = attempt(3, 1)
    assert of_attempt(search, view, with_logs=True) == {"curve": [], "stdout": "", "stderr": "", "bad": []}
    leave_files(search, view, result(0.5, 1), out="out", err="err")
    found = of_attempt(search, view, with_logs=True)
    assert (len(found["curve"]), found["stdout"], found["stderr"]) == (CURVE_POINTS, "out", "err")
    path = search.attempt(3, 1, 1).result
    path.write_text(path.read_text()[:200])
    assert of_attempt(search, view, with_logs=True)["curve"] == []


def test_logs_of_failed_jobs_are_read_in_any_case(tmp_path):
    search = SearchPaths(tmp_path)
    for number, state in ((1, AttemptState.FAILED), (2, AttemptState.SUCCEEDED)):
        view = attempt(number, 1, state)
        leave_files(search, view, None, err="why")
        assert of_attempt(search, view, with_logs=False)["stderr"] == ("why" if number == 1 else "")
