"""The supervisor's parts: claim, places to meet, outcomes, classes of failure, memory, digests."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given, strategies

from hpc_trex.errors import EnvironmentProblem, JobFailure, UsageProblem
from hpc_trex.files import read_record
from hpc_trex.job import launch
from hpc_trex.job.claim import claim, follow
from hpc_trex.job.classify import classify
from hpc_trex.job.conclude import Death, conclude
from hpc_trex.job.files import Outcome, StopRequest, hand_over, outcome_path
from hpc_trex.job.fingerprint import code_digest, folder_digest, versions
from hpc_trex.job.heartbeat import Beat
from hpc_trex.job.launch import Seat
from hpc_trex.job.memory import oom_kills, tree_gb
from hpc_trex.job.watch import Verdict
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import FailureClass, Heartbeat, JobResult, JobSpec
from hpc_trex.training.beat import Interrupted
from hpc_trex.training.progress import MARKER, Progress
from tests.jobs import spec_for

QUIET = Death(1, [], 0, 0.1)


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return spec_for(tmp_path / "attempt", tmp_path)


@pytest.fixture
def paths(spec: JobSpec) -> AttemptPaths:
    return AttemptPaths(Path(spec.attempt_dir))


def failed(spec: JobSpec, failure: FailureClass, message: str = "no") -> JobResult:
    return JobResult(token=spec.token, state="failed", failure=failure, message=message)


def test_an_attempt_is_claimed_once(spec: JobSpec, paths: AttemptPaths, capsys: pytest.CaptureFixture[str]) -> None:
    assert claim(paths, spec, Seat(0, 1, "17"))
    written = paths.started.read_bytes()
    assert not claim(paths, spec, Seat(0, 1, "18"))
    assert paths.started.read_bytes() == written
    assert "started already" in capsys.readouterr().out
    assert json.loads(written)["token"] == spec.token


def test_other_nodes_follow_only_the_job_that_claimed(spec: JobSpec, paths: AttemptPaths) -> None:
    assert not follow(paths, Seat(1, 2, "17"), seconds=0.3)
    claim(paths, spec, Seat(0, 2, "17"))
    assert follow(paths, Seat(1, 2, "17"))
    assert not follow(paths, Seat(1, 2, "18"))


def test_a_seat_is_read_from_slurm_only_where_the_job_has_several_nodes(spec: JobSpec) -> None:
    two = spec.model_copy(update={"resources": spec.resources.model_copy(update={"nodes": 2})})
    inside = {"SLURM_JOB_ID": "99", "SLURM_PROCID": "1"}
    assert Seat.of(spec, inside) == Seat(0, 1, "99")
    assert Seat.of(two, inside) == Seat(1, 2, "99")
    assert Seat.of(spec, inside | {"SLURM_ARRAY_JOB_ID": "90", "SLURM_ARRAY_TASK_ID": "3"}).job_id == "90_3"


def test_what_the_scheduler_set_is_not_overwritten(spec: JobSpec) -> None:
    made = launch.worker_environment(spec, {"HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "7"})
    assert made["HF_HUB_OFFLINE"] == "0"
    assert made["OMP_NUM_THREADS"] == "7"
    assert made["PYTHONSAFEPATH"] == "1"


def test_threads_are_shared_among_the_processes_of_a_node(spec: JobSpec) -> None:
    wide = spec.resources.model_copy(update={"cpus_per_task": 12, "processes_per_node": 4})
    assert launch.worker_environment(spec.model_copy(update={"resources": wide}), {})["OMP_NUM_THREADS"] == "3"


def test_port_is_free_and_outside_the_ephemeral_range() -> None:
    first = launch.free_port("1234")
    assert first == launch.free_port("1234")
    with socket.socket() as taken:
        taken.bind(("", first))
        second = launch.free_port("1234")
    assert second != first
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert {first, second} <= set(range(1024, low))


def test_nodes_meet_where_the_leader_of_the_same_job_says(paths: AttemptPaths) -> None:
    meeting = launch.publish_meeting(paths, Seat(0, 2, "5"))
    assert launch.read_meeting(paths, Seat(1, 2, "5")) == meeting
    with pytest.raises(JobFailure, match="where to meet"):
        launch.read_meeting(paths, Seat(1, 2, "6"), seconds=0.3)


def test_several_processes_go_through_the_launcher_and_only_for_training(spec: JobSpec, paths: AttemptPaths) -> None:
    pair = spec.resources.model_copy(update={"processes_per_node": 2})
    seat = Seat(0, 1, "5")
    train = launch.command(spec.model_copy(update={"resources": pair}), paths.spec, seat, paths)
    assert "torch.distributed.run" in train
    assert "--standalone" in train
    for other in (spec, spec.model_copy(update={"resources": pair, "kind": "baseline"})):
        assert "torch.distributed.run" not in launch.command(other, paths.spec, seat, paths)


def test_the_first_outcome_stands(spec: JobSpec, paths: AttemptPaths) -> None:
    assert hand_over(paths, Outcome(result=failed(spec, FailureClass.OOM)))
    assert not hand_over(paths, Outcome(result=failed(spec, FailureClass.ENVIRONMENT)))
    outcome = read_record(outcome_path(paths), Outcome)
    assert outcome is not None
    assert outcome.result.failure is FailureClass.OOM
    assert [path.name for path in paths.root.iterdir() if path.name.startswith(".")] == []


def test_a_worker_that_stopped_on_request_gets_the_class_of_the_request(spec: JobSpec) -> None:
    outcome = Outcome(
        result=failed(spec, FailureClass.PREEMPTED, "checkpoint saved").model_copy(update={"steps": 7}),
        interrupted=True,
    )
    result = conclude(spec, outcome, Verdict(FailureClass.TIMEOUT, "time is up"), QUIET)
    assert (result.failure, result.steps) == (FailureClass.TIMEOUT, 7)
    assert "time is up" in result.message
    assert "checkpoint saved" in result.message


def test_a_success_stands_even_where_a_stop_was_asked_for(spec: JobSpec) -> None:
    done = Outcome(result=JobResult(token=spec.token, state="succeeded"))
    assert conclude(spec, done, Verdict(FailureClass.TIMEOUT, "late"), QUIET).state == "succeeded"


@pytest.mark.parametrize(
    ("death", "failure"),
    [
        (Death(-9, [], 0, 0.1), FailureClass.ENVIRONMENT),
        (Death(-9, [], 1, 0.1), FailureClass.OOM),
        (Death(-9, [], 0, 3.9), FailureClass.OOM),
        (Death(1, ["exitcode: -9", "Signal 9 (SIGKILL) received by PID 4"], 0, 3.9), FailureClass.OOM),
        (Death(1, ["torch.OutOfMemoryError: CUDA out of memory."], 0, 0.1), FailureClass.OOM),
        (Death(-11, ["segfault"], 0, 3.9), FailureClass.ENVIRONMENT),
        (Death(1, ["ModuleNotFoundError: no torch"], 0, 0.1), FailureClass.ENVIRONMENT),
    ],
)
def test_a_worker_that_died_without_a_word_is_classed_by_how(
    spec: JobSpec, death: Death, failure: FailureClass
) -> None:
    result = conclude(spec, None, None, death)
    assert result.failure is failure
    assert all(line in result.message for line in death.lines)


def test_progress_of_a_dead_worker_is_its_last_complete_checkpoint(spec: JobSpec, paths: AttemptPaths) -> None:
    for step, complete in ((10, True), (20, False)):
        folder = paths.checkpoints / f"step-{step:08d}"
        folder.mkdir(parents=True)
        if complete:
            (folder / MARKER).write_text(Progress(step=step).model_dump_json())
    assert conclude(spec, None, None, QUIET).steps == 10


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (OutOfMemoryError("CUDA"), FailureClass.OOM),
        (MemoryError(), FailureClass.OOM),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), FailureClass.OOM),
        (RuntimeError("shape mismatch"), FailureClass.ENVIRONMENT),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), FailureClass.ENVIRONMENT),
        (ImportError("no peft"), FailureClass.ENVIRONMENT),
        (EnvironmentProblem("disk"), FailureClass.ENVIRONMENT),
        (UsageProblem("bad card"), FailureClass.CONFIG),
        (JobFailure("x", failure=FailureClass.DATA), FailureClass.DATA),
    ],
)
def test_an_exception_has_its_class(error: Exception, failure: FailureClass) -> None:
    found, message = classify(error)
    assert found is failure
    assert message


def test_the_hint_of_a_failure_is_told() -> None:
    assert classify(JobFailure("bad", failure=FailureClass.CONFIG, hint="type this"))[1] == "bad; type this"


def test_heartbeat_is_written_at_once_for_a_new_phase_and_else_now_and_then(paths: AttemptPaths) -> None:
    beat = Beat(paths, every=3600)
    beat(Heartbeat(phase="loading"))
    beat(Heartbeat(phase="training", step=1))
    beat(Heartbeat(phase="training", step=2))
    seen = read_record(paths.heartbeat, Heartbeat)
    assert seen is not None
    assert (seen.phase, seen.step) == ("training", 1)


def test_only_rank_0_writes_the_heartbeat(paths: AttemptPaths) -> None:
    Beat(paths, every=0.1, rank=1)(Heartbeat(phase="loading"))
    assert not paths.heartbeat.exists()


def test_a_request_to_stop_ends_any_phase_but_the_training(paths: AttemptPaths) -> None:
    StopRequest(paths).ask("time")
    beat = Beat(paths, every=0.1)
    beat(Heartbeat(phase="training"))
    beat(Heartbeat(phase="saving"))
    with pytest.raises(Interrupted):
        beat(Heartbeat(phase="evaluating"))


def test_memory_of_a_process_tree_is_counted() -> None:
    own = psutil.Process()
    assert 0.01 < own.memory_info().rss / 2**30 <= tree_gb(own) < 100
    assert oom_kills() >= 0


def test_versions_and_code_are_named_without_importing_torch() -> None:
    code = "from hpc_trex.job.fingerprint import versions, code_digest; import sys; versions(); code_digest(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    assert "python" in versions()
    assert len(code_digest()) == 64


def test_the_supervisor_side_imports_no_torch() -> None:
    code = "import hpc_trex.job.entry, hpc_trex.job.supervisor, hpc_trex.builtin, sys; print([m for m in ('torch', 'transformers', 'numpy', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@given(strategies.binary(max_size=30), strategies.binary(max_size=30))
def test_a_changed_model_folder_has_another_digest(first: bytes, second: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_bytes(first)
        before = folder_digest(folder)
        (folder / "config.json").write_bytes(second)
        assert (folder_digest(folder) == before) == (first == second)


def test_what_lies_hidden_in_a_model_folder_is_no_other_model(tmp_path: Path) -> None:
    """A download keeps its notes there and changes them: each training after it would be of another base."""
    (tmp_path / "config.json").write_text("{}")
    before = folder_digest(tmp_path)
    for name in (".cache/huggingface/x.metadata", "__pycache__/model.pyc", ".nfs0001"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    assert folder_digest(tmp_path) == before
    (tmp_path / "generation_config.json").write_text("{}")
    assert folder_digest(tmp_path) != before


def test_a_child_starts_with_the_stop_signals_ignored_and_is_ended_with_its_grandchildren() -> None:
    """Slurm's USR2 must not kill a worker that has not installed a handler yet."""
    script = """
import os, signal, subprocess, sys, time
from hpc_trex.job.child import Child
grandchild = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True); print(p.pid, flush=True); time.sleep(60)"
child = Child([sys.executable, "-c", grandchild], os.environ)
while not child.last_lines():
    child.listen(0.1)
pid = int(child.last_lines()[0])
os.kill(child._process.pid, signal.SIGUSR2)
os.kill(child._process.pid, signal.SIGTERM)
time.sleep(0.3)
assert child.exit_code() is None
assert child.end() == -signal.SIGKILL
assert not os.path.exists(f"/proc/{pid}")
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(launch.hpc_trex.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("mode", "wanted"), [(0o700, 0o600), (0o755, 0o600), (0o770, 0o660)])
def test_files_of_a_job_are_private_unless_its_folder_is_the_groups(tmp_path: Path, mode: int, wanted: int) -> None:
    spec = spec_for(tmp_path / "attempt", tmp_path)
    folder = Path(spec.attempt_dir)
    folder.chmod(mode)
    (folder / "spec.json").write_text(json.dumps({"token": "t"}))  # invalid: it ends at once, with a result
    command = [sys.executable, "-m", "hpc_trex.job", str(folder / "spec.json")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
    assert stat.S_IMODE((folder / "result.json").stat().st_mode) == wanted
