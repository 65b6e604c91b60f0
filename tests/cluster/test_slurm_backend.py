"""The Slurm back end against a real Slurm."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from hpc_trex.errors import TrexError
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import FailureClass, JobKind, Profile, Resources
from hpc_trex.slurm.commands import Answer, ask
from hpc_trex.slurm.failures import classify
from hpc_trex.slurm.profiles import load_profile
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState, JobStatus, SubmitRefused, SubmitUnavailable
from hpc_trex.slurm.submitit_backend import SlurmScheduler
from tests.cluster.conftest import TestCluster, point_to
from tests.cluster.entries import act
from tests.program import wait_until

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
SMALL = Resources(cpus_per_task=1, mem_gb=0.5, minutes=5)
PATIENCE = 240.0
_NUMBERS = itertools.count(1)


def profile(**changes: object) -> Profile:
    """The shipped profile of the test cluster; its jobs can import the tests."""
    shipped = load_profile("testcluster")
    changes = {"environment": shipped.environment | {"PYTHONPATH": str(ROOT)}} | changes
    return shipped.model_copy(update=changes)


@pytest.fixture
def slurm(testcluster: TestCluster) -> SlurmScheduler:
    return SlurmScheduler(profile(), entry=act)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., JobRequest]:
    """Make requests whose folders have the letters in them that people's folders have."""

    def request(*do: object, resources: Resources = SMALL) -> JobRequest:
        token = f"trex-test-{os.getpid()}-{next(_NUMBERS)}"
        directory = tmp_path / "it's a search, #1" / token
        directory.mkdir(parents=True)
        spec = AttemptPaths(directory).spec
        spec.write_text(json.dumps({"do": do or ["nothing", None]}))
        return JobRequest(token, directory, spec, JobKind.TRAIN, resources)

    return request


def ref(request: JobRequest, job_id: str | None = None) -> JobRef:
    return JobRef(request.token, job_id, request.directory)


def wait_for(scheduler: SlurmScheduler, job: JobRef, state: JobState, seconds: float = PATIENCE) -> JobStatus:
    """Poll until the job has the state."""
    limit = time.monotonic() + seconds
    while True:
        status = scheduler.poll([job])[job.token]
        if status.state is state:
            return status
        assert time.monotonic() < limit, f"{status}, not {state}; {tail(job)}"
        time.sleep(0.2)


def tail(job: JobRef) -> str:
    paths = AttemptPaths(job.directory)
    return "".join(path.read_text() for path in (paths.stdout, paths.stderr) if path.exists())[-3000:]


def environment_of(request: JobRequest, rank: int = 0) -> dict[str, str]:
    return json.loads((request.directory / f"env-{rank}.json").read_text())


def test_a_job_runs_to_its_end_and_leaves_its_output_beside_its_spec(slurm, make, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-do-not-tell")
    monkeypatch.setenv("SSL_PASSWORD_FILE", "do-not-tell")
    monkeypatch.setenv("MY_SETTING", "kept")
    request = make(resources=Resources(gpus_per_node=2, cpus_per_task=2, mem_gb=0.5, minutes=5))
    job_id = slurm.submit(request)
    status = wait_for(slurm, ref(request, job_id), JobState.ENDED)
    assert (status.reason, status.job_id) == ("COMPLETED", job_id)
    assert status.host.startswith("trex")
    paths = AttemptPaths(request.directory)
    assert "out 0" in paths.stdout.read_text()
    assert "err 0" in paths.stderr.read_text()
    assert paths.script.read_text() == slurm.render(request)
    environment = environment_of(request)
    assert environment["SLURM_JOB_NAME"] == request.token
    assert environment["CUDA_VISIBLE_DEVICES"].count(",") == 1
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["PYTHONSAFEPATH"] == environment["HF_HUB_OFFLINE"] == "1"
    assert environment["MY_SETTING"] == "kept"
    assert not {"OPENAI_API_KEY", "SSL_PASSWORD_FILE"} & environment.keys()
    shown = ask(("scontrol", "-o", "show", "job", job_id)).out
    assert f"Comment={request.token}" in shown
    assert "Requeue=0" in shown


def test_an_exit_code_is_found_out_and_explained(slurm, make):
    failing, killed = make("exit", 3), make("kill", 9)
    ids = [slurm.submit(failing), slurm.submit(killed)]
    assert wait_for(slurm, ref(failing, ids[0]), JobState.ENDED).reason == "FAILED 3:0"
    # srun passes the death of its task on as exit code 128 + 9, and sacct takes 128 away
    status = wait_for(slurm, ref(killed, ids[1]), JobState.ENDED)
    assert status.reason == "FAILED 9:0"
    assert "killed from outside" in classify(status, tail(ref(killed)))[1]


def test_a_cancelled_job_says_so_and_a_gone_one_is_passed_over(slurm, make):
    running = make("sleep", 600)
    job = ref(running, slurm.submit(running))
    wait_for(slurm, job, JobState.RUNNING)
    slurm.cancel([job, ref(make())])
    status = wait_for(slurm, job, JobState.ENDED)
    assert status.reason.startswith("CANCELLED")
    assert classify(status, tail(job))[0] is FailureClass.CANCELLED
    slurm.cancel([job])


def test_a_cancelled_waiting_job_is_found_in_accounting_when_squeue_forgot_it(testcluster, make):
    def forgetful(command):
        return Answer(0, "", "") if command[0] == "squeue" and forget else ask(command)

    forget = False
    slurm = SlurmScheduler(profile(), entry=act, ask=forgetful)
    waiting = make("sleep", 600)
    job = ref(waiting, slurm.submit(waiting))
    slurm.cancel([job])
    wait_for(slurm, job, JobState.ENDED)
    forget = True
    status = wait_for(slurm, job, JobState.ENDED)
    assert status.reason.startswith("CANCELLED by 0")
    assert status.job_id == job.job_id
    assert wait_for(slurm, ref(make()), JobState.ABSENT).job_id is None


@pytest.mark.parametrize(
    ("changes", "resources", "advice"),
    [
        ({"partition": "nope"}, SMALL, "partition"),
        ({}, SMALL.model_copy(update={"gpus_per_node": 9}), "gpus_per_node"),
        ({}, SMALL.model_copy(update={"mem_gb": 900.0}), "mem_gb"),
        ({"extra": {"no-such-option": "1"}}, SMALL, "extra"),
        ({"gpu_type": "h100"}, SMALL.model_copy(update={"gpus_per_node": 1}), "gpu_type"),
    ],
)
def test_what_slurm_refuses_for_good_names_the_key_to_correct(testcluster, make, changes, resources, advice):
    request = make(resources=resources)
    slurm = SlurmScheduler(profile(**changes), entry=act)
    with pytest.raises(SubmitRefused) as caught:
        slurm.submit(request)
    assert advice in caught.value.hint
    assert slurm.poll([ref(request)])[request.token].state is JobState.ABSENT


@pytest.mark.parametrize("spelling", ["gres", "gpus-per-node", "gpus"])
def test_each_spelling_of_gpus_is_understood_by_slurm(testcluster, make, spelling):
    slurm = SlurmScheduler(profile(gpu_request=spelling), entry=act)
    request = make(resources=SMALL.model_copy(update={"gpus_per_node": 3}))
    job = ref(request, slurm.submit(request))
    assert wait_for(slurm, job, JobState.ENDED).reason == "COMPLETED"
    assert environment_of(request)["CUDA_VISIBLE_DEVICES"].count(",") == 2


def test_a_job_whose_id_was_never_recorded_is_found_by_its_token(slurm, make, tmp_path):
    gate = tmp_path / "gate"
    request = make("until", str(gate))
    job_id = slurm.submit(request)
    assert wait_for(slurm, ref(request), JobState.RUNNING).job_id == job_id
    gate.touch()
    assert wait_for(slurm, ref(request), JobState.ENDED).job_id == job_id


def test_a_controller_killed_inside_its_submit_loses_nothing(slurm, make, tmp_path):
    """The wrapper kills the controller when sbatch has the job and before it can say so."""
    request = make()
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sbatch").write_text('#!/bin/sh\n/usr/bin/sbatch "$@" && kill -9 "$VICTIM"\n')
    (folder / "sbatch").chmod(0o755)
    program = (
        "import os; os.environ['VICTIM'] = str(os.getpid())\n"
        "from tests.cluster.test_slurm_backend import *\n"
        f"request = JobRequest({request.token!r}, Path({str(request.directory)!r}), Path({str(request.spec)!r}), "
        "JobKind.TRAIN, SMALL)\n"
        "SlurmScheduler(profile(), entry=act).submit(request)\n"
    )
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, check=False, timeout=PATIENCE)
    assert done.returncode == -9
    assert wait_for(slurm, ref(request), JobState.ENDED).reason == "COMPLETED"
    assert "out 0" in tail(ref(request))


def test_a_banner_around_the_job_id_does_no_harm(slurm, make, tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sbatch").write_text(
        '#!/bin/sh\necho "Welcome! Your job 99 of 100 today"\n/usr/bin/sbatch "$@"\necho Bye\n'
    )
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    request = make()
    job_id = slurm.submit(request)
    assert slurm.poll([ref(request)])[request.token].job_id == job_id


def test_slurm_being_away_is_unknown_and_never_absent(testcluster, make):
    asked = []

    def counted(command):
        asked.append(command)
        return ask(command)

    slurm = SlurmScheduler(profile(), entry=act, ask=counted)
    request, later = make("sleep", 1), make()
    job = ref(request, slurm.submit(request))
    testcluster.stop_controller()
    try:
        assert slurm.poll([job])[job.token].state is JobState.UNKNOWN
        seen = len(asked)
        assert seen
        assert slurm.poll([job])[job.token].state is JobState.UNKNOWN
        assert len(asked) == seen, "it asked again at once"
        with pytest.raises(SubmitUnavailable):
            slurm.submit(later)
        with pytest.raises(TrexError, match="cannot cancel"):
            slurm.cancel([job])
    finally:
        testcluster.start_controller()
    assert wait_for(slurm, job, JobState.ENDED).reason == "COMPLETED"
    assert wait_for(slurm, ref(later), JobState.ABSENT).job_id is None


def test_a_job_can_be_submitted_from_inside_another_job(slurm, make, tmp_path):
    """The SLURM_* variables of the outer job, which contradict the inner one's request, do not reach it."""
    request = make()
    program = tmp_path / "outer.py"
    program.write_text(
        "import os; assert os.environ['SLURM_MEM_PER_CPU'] and os.environ['SLURM_CONF']\n"
        "from tests.cluster.test_slurm_backend import *\n"
        f"request = JobRequest({request.token!r}, Path({str(request.directory)!r}), Path({str(request.spec)!r}), "
        "JobKind.TRAIN, SMALL)\n"
        "SlurmScheduler(profile(), entry=act).submit(request)\n"
    )
    outer = subprocess.run(
        [
            *("sbatch", "--parsable", "--mem-per-cpu=300", "--ntasks=3", f"--output={tmp_path}/outer.log"),
            f"--wrap=export SBATCH_PARTITION=nope PYTHONPATH={ROOT}; {sys.executable} {program}",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert outer.stdout.strip().isdigit()
    wait_until_known(slurm, request, tmp_path / "outer.log")
    assert wait_for(slurm, ref(request), JobState.ENDED).reason == "COMPLETED"
    assert environment_of(request)["SLURM_NTASKS"] == "1"
    assert environment_of(request)["SLURM_JOB_PARTITION"] == "main"


def wait_until_known(slurm: SlurmScheduler, request: JobRequest, log: Path) -> None:
    limit = time.monotonic() + PATIENCE
    while slurm.poll([ref(request)])[request.token].state is JobState.ABSENT:
        assert time.monotonic() < limit, log.read_text() if log.exists() else "the outer job did not start"
        time.sleep(0.3)


def test_a_job_of_two_nodes_has_one_task_on_each(slurm, make):
    request = make(resources=Resources(nodes=2, gpus_per_node=1, cpus_per_task=3, mem_gb=0.5, minutes=5))
    job = ref(request, slurm.submit(request))
    assert wait_for(slurm, job, JobState.ENDED).reason == "COMPLETED"
    first, second = environment_of(request, 0), environment_of(request, 1)
    assert first["SLURMD_NODENAME"] != second["SLURMD_NODENAME"]
    assert first["SLURM_CPUS_PER_TASK"] == second["SLURM_CPUS_PER_TASK"] == "3"
    assert (first["SLURM_NODEID"], second["SLURM_NODEID"]) == ("0", "1")
    assert "out 0" in tail(job)
    assert "out 1" in tail(job)


def test_when_one_task_fails_the_other_node_is_freed(slurm, make):
    request = make("sleep", 600, resources=SMALL.model_copy(update={"nodes": 2}))
    job = ref(request, slurm.submit(request))
    wait_for(slurm, job, JobState.RUNNING)
    both = [request.directory / f"env-{rank}.json" for rank in (0, 1)]
    wait_until(lambda: all(path.exists() for path in both), seconds=PATIENCE, what="both tasks")
    os.kill(task_of(job.job_id, rank="0"), 9)
    assert wait_for(slurm, job, JobState.ENDED).reason.startswith("FAILED")


def task_of(job_id: str | None, rank: str) -> int:
    """The process of one task: the only kind with both a rank and submitit's module in its command line.

    Another cluster on this machine may have a job of the same number.
    """
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            variables = process.environ()
            is_task = process.name().startswith("python") and "submitit.core._submit" in process.cmdline()
            told = [variables.get(name) for name in ("SLURM_CONF", "SLURM_JOB_ID", "SLURM_PROCID")]
            if is_task and told == [os.environ["SLURM_CONF"], job_id, rank]:
                return process.pid
    raise AssertionError(f"no process of job {job_id}, rank {rank}")


def test_the_job_is_warned_before_its_time_is_up(testcluster, make):
    slurm = SlurmScheduler(profile(signal_seconds=55), entry=act)
    request = make("await", int(signal.SIGUSR2))
    job = ref(request, slurm.submit(request))
    wait_until((request.directory / "ready").exists, seconds=PATIENCE, what="a job that can be warned")
    # Its end comes into sight; a job of a single minute might be warned before it is ready.
    subprocess.run(["scontrol", "update", f"jobid={job.job_id}", "EndTime=now+50"], check=True)
    assert wait_for(slurm, job, JobState.ENDED).reason == "FAILED 40:0"


def test_a_failed_node_is_believed_only_when_it_stays_so(testcluster, make):
    slurm = SlurmScheduler(profile(), entry=act)
    request = make("sleep", 600)
    job = ref(request, slurm.submit(request))
    node = wait_for(slurm, job, JobState.RUNNING).host
    testcluster.node("down", node)
    try:
        first = slurm.poll([job])[job.token]
        assert first.state is JobState.RUNNING
        assert "to be confirmed" in first.reason
        status = wait_for(slurm, job, JobState.ENDED)
    finally:
        testcluster.node("start", node)
    assert status.reason.startswith("NODE_FAIL")
    assert classify(status, tail(job))[0] is FailureClass.NODE_FAIL


def test_the_shipped_entry_keeps_the_exit_code_of_a_job_that_cannot_read_its_spec(testcluster, make):
    slurm = SlurmScheduler(profile())
    request = make()
    job = ref(request, slurm.submit(request))
    assert wait_for(slurm, job, JobState.ENDED).reason == "FAILED 2:0"


def test_a_site_without_accounting_is_found_out_and_served(testcluster, make, monkeypatch):
    """A second cluster beside the first, without slurmdbd: the exit code comes from slurmctld itself.

    Memory is watched by polling there: a job over its limit looks FAILED, and its log tells why.
    """
    bare = TestCluster("-A", "-o", "-n", "1")
    try:
        point_to(monkeypatch, bare.conf)
        slurm = SlurmScheduler(profile(), entry=act)
        failing, eating = make("exit", 5), make("eat", 900)
        jobs = [ref(request, slurm.submit(request)) for request in (failing, eating)]
        assert wait_for(slurm, jobs[0], JobState.ENDED).reason == "FAILED 5:0"
        assert slurm.poll([ref(make())]).popitem()[1].state is JobState.ABSENT
        status = wait_for(slurm, jobs[1], JobState.ENDED)
        failure, message = classify(status, tail(jobs[1]))
        assert failure is FailureClass.OOM, message
        assert "exceeded memory limit" in message
    finally:
        bare.down()
