"""A prepare job with code of an agent, as a real job: its result tells whose fault it was, and its end is the code's end."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import pytest

from hpc_trex.files import write_record
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import FailureClass, JobResult, JobSpec
from tests.jobs import RunningJob, assert_all_gone, family, run_job
from tests.unit.data.recipes import Bench, prepared

pytestmark = pytest.mark.local


def job(tmp_path: Path, code: str, **sandbox: object) -> JobSpec:
    bench = Bench(tmp_path / "bench")
    bench.source("a", [(f"question {n}", f"answer {n}") for n in range(1, 21)])
    made = bench.spec([{"op": "load", "source": "a"}, {"op": "python", "code": code}])
    fields = {"sandbox": {"allowed": True, **sandbox}, "heartbeat_seconds": 0.1, "token": "code"}
    spec = JobSpec.model_validate(made.model_dump() | fields)
    Path(spec.attempt_dir).mkdir()
    write_record(AttemptPaths(Path(spec.attempt_dir)).spec, spec)
    return spec


def result(spec: JobSpec, **environment: str) -> JobResult:
    return run_job(spec, **environment)[0]


def test_a_job_runs_the_code_and_says_so_in_its_manifest(tmp_path: Path) -> None:
    spec = job(tmp_path, "def transform(row): return {**row, 'answer': row['answer'].upper()}", means="bwrap")
    done = result(spec, OPENAI_API_KEY="sk-secret")
    assert done.state == "succeeded", done.message
    assert prepared(spec)[0].answer == " ANSWER 1"
    assert done.data_manifest is not None
    assert done.data_manifest["steps"][1]["notes"]["sandbox"] == "bwrap"  # type: ignore[index]


def test_an_error_of_the_code_is_the_datas_with_row_and_traceback(tmp_path: Path) -> None:
    done = result(job(tmp_path, "def transform(row):\n    return {**row, 'answer': 1 / (int(row['row_id'][2:]) - 7)}"))
    assert (done.state, done.failure) == ("failed", FailureClass.DATA)
    assert "python: row 7 of 20 (a:7): ZeroDivisionError" in done.message
    assert "int(row['row_id'][2:]) - 7" in done.message


def test_without_a_sandbox_the_job_refuses(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    code = f"open({str(trace)!r}, 'w')\ndef transform(row): return row"
    done = result(job(tmp_path, code), PATH=str(tmp_path))
    assert (done.state, done.failure) == ("failed", FailureClass.AGENT)
    assert "is not run (bwrap: not installed; apptainer: not installed)" in done.message
    assert not trace.exists()


def test_a_job_that_is_killed_takes_its_code_with_it(tmp_path: Path) -> None:
    assert shutil.which("bwrap")
    running = RunningJob(job(tmp_path, "import time\ndef transform(row): time.sleep(3600)"))
    running.until(lambda beat: "python: row" in beat.message)
    inside = family(running)
    assert [one for one in inside if one.name() == "bwrap"]
    psutil.Process(running.process.pid).kill()
    running.wait()
    assert_all_gone(inside)


def test_a_job_that_is_asked_to_stop_stops_its_code(tmp_path: Path) -> None:
    running = RunningJob(job(tmp_path, "import time\ndef transform(row): time.sleep(3600)"))
    running.until(lambda beat: "python: row" in beat.message)
    inside = family(running)
    running.process.terminate()
    running.wait()
    assert running.result().failure is FailureClass.PREEMPTED
    assert_all_gone(inside)
