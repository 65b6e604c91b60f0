"""The local back end with real processes: found again, taken over, ended whole, never mistaken."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hpc_trex.layout import AttemptPaths
from hpc_trex.models import JobKind, Profile, Resources
from hpc_trex.slurm import local_backend, processes
from hpc_trex.slurm.commands import Answer
from hpc_trex.slurm.local_backend import LocalScheduler
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState, JobStatus, SubmitRefused, SubmitUnavailable

pytestmark = pytest.mark.local
PATIENCE = 60.0

SMALL = Resources()

#: A job: its spec is a line of Python.
PROGRAM = "import sys, pathlib; exec(pathlib.Path(sys.argv[-1]).read_text())\n"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "job.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def local(program: Path) -> LocalScheduler:
    return LocalScheduler(Profile(name="here"), command=[sys.executable, str(program)], grace=1.0)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., JobRequest]]:
    """Make requests, and end whatever they left behind."""
    made: list[Path] = []

    def request(code: str, resources: Resources = SMALL) -> JobRequest:
        directory = tmp_path / "it's a search" / f"attempt {len(made)}"
        directory.mkdir(parents=True)
        spec = AttemptPaths(directory).spec
        spec.write_text(code)
        made.append(spec)
        return JobRequest(f"token-{len(made)}", directory, spec, JobKind.TRAIN, resources)

    yield request
    for pid in processes.ours():
        if any(str(spec) in processes.arguments(pid) for spec in made):
            psutil.Process(pid).kill()


def wait_for(scheduler: LocalScheduler, job: JobRef, state: JobState, seconds: float = PATIENCE) -> JobStatus:
    limit = time.monotonic() + seconds
    while True:
        status = scheduler.poll([job])[job.token]
        if status.state is state:
            return status
        assert time.monotonic() < limit, f"{status}, not {state}"
        time.sleep(0.02)


def ref(request: JobRequest, job_id: str | None = None) -> JobRef:
    return JobRef(request.token, job_id, request.directory)


def test_a_job_ends_with_its_exit_code_and_its_output_is_kept(local, make, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "do-not-tell")
    monkeypatch.setenv("WORLD_SIZE", "7")
    request = make("import os; print(sorted(os.environ), os.nice(0)); sys.exit(3)")
    job = ref(request, local.submit(request))
    assert wait_for(local, job, JobState.ENDED).reason == "FAILED 3:0"
    printed = AttemptPaths(request.directory).stdout.read_text()
    assert "OMP_NUM_THREADS" in printed
    assert "HF_TOKEN" not in printed
    assert "WORLD_SIZE" not in printed


def test_a_killed_job_says_by_which_signal_and_a_good_one_completed(local, make):
    killed, good = make("import os; os.kill(os.getpid(), 9)"), make("pass")
    jobs = [ref(request, local.submit(request)) for request in (killed, good)]
    assert wait_for(local, jobs[0], JobState.ENDED).reason == "FAILED 0:9"
    assert wait_for(local, jobs[1], JobState.ENDED).reason == "COMPLETED"


def test_a_job_outlives_its_controller_and_another_takes_it_over(local, make, program, tmp_path):
    """The first controller is killed between the start of the process and the note of its id."""
    request = make("import time; time.sleep(3600)")
    controller = (
        "import os, sys\nfrom pathlib import Path\n"
        "from hpc_trex.models import *\nfrom hpc_trex.slurm.local_backend import *\n"
        f"local = LocalScheduler(Profile(name='here'), command=[sys.executable, {str(program)!r}])\n"
        f"local.submit(JobRequest({request.token!r}, Path({str(request.directory)!r}), Path({str(request.spec)!r}), "
        "JobKind.TRAIN, Resources()))\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", controller], env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, check=False
    )
    assert done.returncode == -9
    found = wait_for(local, ref(request), JobState.RUNNING)
    assert found.job_id is not None
    job = ref(request, found.job_id)
    assert wait_for(local, job, JobState.RUNNING).job_id == found.job_id
    local.cancel([job])
    assert "unknown" in wait_for(local, job, JobState.ENDED).reason
    assert wait_for(local, ref(request), JobState.ABSENT).job_id is None


def test_cancel_ends_the_whole_family_even_those_that_ignore_term_and_have_left_the_session(local, make):
    request = make(
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; "
        "signal.signal(15, signal.SIG_IGN); time.sleep(3600)'], start_new_session=True)\n"
        "print(child.pid, flush=True)\ntime.sleep(3600)"
    )
    job = ref(request, local.submit(request))
    child = wait_for_line(request)
    begun = time.monotonic()
    local.cancel([job, ref(make("pass"))])
    assert time.monotonic() - begun < PATIENCE, "it waited for those that would sleep for an hour"
    assert wait_for(local, job, JobState.ENDED).reason == "FAILED 0:9"
    limit = time.monotonic() + PATIENCE
    while processes.read(child) is not None:
        assert time.monotonic() < limit, "the child lives on"
        time.sleep(0.02)


def wait_for_line(request: JobRequest) -> int:
    """Wait until the job has printed a number."""
    limit = time.monotonic() + PATIENCE
    while not (text := AttemptPaths(request.directory).stdout.read_text()).strip():
        assert time.monotonic() < limit, "no line"
        time.sleep(0.02)
    return int(text)


def test_what_a_dead_job_leaves_running_is_ended(local, make):
    """As when the supervisor is killed by hand: no worker trains on for a job that is over."""
    request = make(
        "import os, subprocess, time\n"
        "if os.environ.get('ROLE') != 'worker':\n"
        "    child = subprocess.Popen([sys.executable, *sys.argv], env=os.environ | {'ROLE': 'worker'})\n"
        "    print(child.pid, flush=True)\ntime.sleep(3600)"
    )
    job_id = local.submit(request)
    worker = wait_for_line(request)
    os.kill(int(job_id.split(":")[0]), 9)
    assert wait_for(local, ref(request, job_id), JobState.ENDED).reason == "FAILED 0:9"
    limit = time.monotonic() + PATIENCE
    while processes.read(worker) is not None:
        assert time.monotonic() < limit, "the worker lives on"
        time.sleep(0.02)


def test_a_number_that_the_system_uses_again_is_not_mistaken_for_the_job(local, make):
    request = make("pass")
    me = processes.job_id_of(processes.read(os.getpid()))
    other = ref(request, str(me._replace(start=me.start - 1)))
    assert local.poll([other])[request.token].state is JobState.ENDED
    local.cancel([other])  # would end this very test
    rebooted = ref(request, str(me._replace(boot="00000000")))
    assert local.poll([rebooted])[request.token].reason.startswith("NODE_FAIL")


def test_a_job_of_another_machine_runs_as_long_as_its_files_are_fresh(local, make):
    request = make("pass")
    me = processes.job_id_of(processes.read(os.getpid()))
    there = ref(request, str(me._replace(host="login2")))
    assert local.poll([there])[request.token].state is JobState.RUNNING
    os.utime(request.spec, (1, 1))
    assert local.poll([there])[request.token].state is JobState.ABSENT


def test_setup_lines_run_before_the_job_in_the_same_process(program, make):
    profile = Profile(name="here", setup=("export GREETING=hello", "sleep 0.5"))
    local = LocalScheduler(profile, command=[sys.executable, str(program)])
    request = make("import os; print(os.getpid(), flush=True); assert os.environ['GREETING'] == 'hello'")
    job_id = local.submit(request)
    assert local.poll([ref(request)])[request.token].job_id == job_id, "not found while the setup lines run"
    assert wait_for(local, ref(request, job_id), JobState.ENDED).reason == "COMPLETED"
    assert job_id.startswith(f"{wait_for_line(request)}:")


def test_gpus_are_never_given_twice_though_the_jobs_were_started_by_different_controllers(program, make, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def smi(command):
        return Answer(0, "0\n1\n2\n", "")

    two = Resources(gpus_per_node=2)
    first, second = (LocalScheduler(Profile(name="x"), command=[sys.executable, str(program)], ask=smi) for _ in "ab")
    job = make("import time, os; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(3600)", two)
    first_ref = ref(job, first.submit(job))
    with pytest.raises(SubmitUnavailable):
        second.submit(make("pass", two))
    one = make("import os; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True)", Resources(gpus_per_node=1))
    wait_for(second, ref(one, second.submit(one)), JobState.ENDED)
    assert AttemptPaths(one.directory).stdout.read_text().strip() == "2"
    with pytest.raises(SubmitRefused):
        second.submit(make("pass", Resources(gpus_per_node=4)))
    first.cancel([first_ref])


def test_an_interpreter_that_is_missing_is_refused_with_the_key_to_correct(make):
    local = LocalScheduler(Profile(name="x", python="/no/such/python"))
    with pytest.raises(SubmitRefused) as caught:
        local.submit(make("pass"))
    assert "/no/such/python" in caught.value.message
    assert "python" in caught.value.hint


def test_a_poll_of_running_jobs_is_cheap(local, make):
    requests = [make("import time; time.sleep(3600)") for _ in range(5)]
    jobs = [ref(request, local.submit(request)) for request in requests]
    begun = time.process_time()
    for _ in range(50):
        local.poll(jobs)
    assert (time.process_time() - begun) / 50 < 0.005
    local.cancel(jobs)


def test_the_command_that_is_shown_is_one_that_a_shell_runs(local, make):
    request = make("print('ran')")
    words = shlex.split(local.render(request))
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "ran\n"


def test_a_full_process_table_is_unavailable_and_not_a_crash(local, make, monkeypatch):
    def full(*args, **kwargs):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(local_backend.subprocess, "Popen", full)
    with pytest.raises(SubmitUnavailable):
        local.submit(make("pass"))
