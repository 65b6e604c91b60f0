"""What the hardest sites do to a whole search, on a real Slurm: no accounting, silent accounting, submit limits, a Slurm
that is away, an enclosing job. The jobs do no work.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import psutil
import pytest
import tomli_w

from hpc_trex.controller import Controller
from hpc_trex.layout import SearchPaths
from hpc_trex.models import AttemptState, FailureClass, SearchState
from hpc_trex.slurm import commands
from hpc_trex.slurm.submitit_backend import SlurmScheduler
from hpc_trex.tree.store import Store
from tests.cluster.conftest import TestCluster, started
from tests.noop import PYTHON, noop_profile, noop_search
from tests.program import assert_whole, start, trex, wait_until

pytestmark = pytest.mark.cluster
PATIENCE = 240.0


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """Put a script before the real command of that name on the PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def kill_a_training(paths: SearchPaths) -> bool:
    """Kill one training that has said that it runs, so that it leaves no result; tell whether there was one.

    A process that is there may not have got to its first line, and then it would be missing among the starts.
    """
    folders = [str(path.parent) for path in paths.root.glob("nodes/0001/trials/[1-9]/attempts/1/started.json")]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[1:2] == [str(PYTHON)] and process.cwd() in folders:
                process.kill()
                return True
    return False


def assert_one_job_was_lost_and_tried_again(paths: SearchPaths, starts: Path) -> None:
    with Store.read(paths) as store:
        assert store.state()[0] is SearchState.DONE
        attempts = store.attempts()
    again = [item for item in attempts if item.state is not AttemptState.SUCCEEDED]
    assert [item.failure for item in again] == [FailureClass.LOST]
    begun = Counter(line.split()[0] for line in starts.read_text().splitlines())
    assert begun == Counter(item.token for item in attempts), "each attempt is started once"
    assert_whole(paths.root)


@pytest.fixture
def bare() -> Iterator[TestCluster]:
    """A second cluster beside the first, without slurmdbd: sacct says that accounting is disabled."""
    with started("-A", "-n", "1") as cluster:
        yield cluster


def test_without_accounting_a_search_ends_whole_though_a_job_of_it_died(bare, tmp_path, home):
    starts = tmp_path / "starts"
    gate = tmp_path / "gate"
    paths = noop_search(home, noop_profile(until=gate, starts=starts), max_nodes=1)
    process = start("resume", paths.root, log=tmp_path / "log")
    wait_until(lambda: kill_a_training(paths), seconds=PATIENCE, what="a training to kill")
    gate.touch()
    assert process.wait(timeout=PATIENCE) == 0, (tmp_path / "log").read_text()
    assert_one_job_was_lost_and_tried_again(paths, starts)


@pytest.mark.parametrize("accounting", ["yes", "auto"])
def test_a_sacct_that_answers_nothing_holds_no_search_up(testcluster, tmp_path, home, monkeypatch, accounting):
    """A dead job is believed by squeue and scontrol alone; sacct is waited for a second here, a minute in life."""
    calls = tmp_path / "calls"
    stand_in(tmp_path / "bin", monkeypatch, "sacct", f"echo asked >> {calls}; exec sleep 600")

    def ask(command: Sequence[str]) -> commands.Answer:
        return commands.ask(command, seconds=1.0 if command[0] == "sacct" else 60.0)

    starts, gate = tmp_path / "starts", tmp_path / "gate"
    profile = noop_profile(until=gate, starts=starts, accounting=accounting, poll_seconds=0.3)
    paths = noop_search(home, profile, max_nodes=1)

    def strike(_: object) -> None:
        if not gate.exists() and kill_a_training(paths):
            gate.touch()

    with Controller(paths, scheduler=SlurmScheduler(profile, ask=ask)) as controller:
        state = controller.run(strike)
    assert state is SearchState.DONE
    assert 1 <= len(calls.read_text().splitlines()) < 20
    assert_one_job_was_lost_and_tried_again(paths, starts)


@pytest.fixture
def one_job_a_user(testcluster) -> Iterator[Callable[[], None]]:
    """A site whose qos lets a user have one job in the queue; call it to lift the limit."""
    conf, whole = testcluster.conf, testcluster.conf.read_text()
    qos = partial(subprocess.run, check=True, capture_output=True)

    def restart(text: str) -> None:
        testcluster.stop_controller()
        conf.write_text(text)
        testcluster.start_controller()

    def limit(jobs: int) -> None:
        qos(["sacctmgr", "-i", "modify", "qos", "normal", "set", f"MaxSubmitJobsPerUser={jobs}"])

    limit(1)
    try:
        restart(f"{whole}\nAccountingStorageEnforce=limits\n")
        yield lambda: limit(-1)
    finally:
        limit(-1)
        restart(whole)


def test_a_limit_on_submitted_jobs_is_waited_for_and_said(one_job_a_user, tmp_path, home):
    starts, gate = tmp_path / "starts", tmp_path / "gate"
    paths = noop_search(home, noop_profile(until=gate, starts=starts), max_nodes=1)
    log = tmp_path / "log"
    process = start("resume", paths.root, log=log)
    # The first training runs, so the second is refused until the limit is lifted.
    running = lambda: list(paths.root.glob("nodes/0001/trials/[1-9]/attempts/1/started.json"))  # noqa: E731
    wait_until(lambda: bool(running()), seconds=PATIENCE, what="a training")
    waits = "waits     1 job, not submitted yet: the scheduler takes no jobs now"
    wait_until(lambda: waits in trex("status", paths.root).stdout, seconds=PATIENCE, what="a refusal")
    assert "QOSMaxSubmitJobPerUserLimit" in trex("status", paths.root).stdout
    one_job_a_user()
    gate.touch()
    assert process.wait(timeout=PATIENCE) == 0, log.read_text()
    assert "next try in 5 s" in log.read_text()
    assert_whole(paths.root)
    with Store.read(paths) as store:
        tokens = Counter(item.token for item in store.attempts())
    assert Counter(line.split()[0] for line in starts.read_text().splitlines()) == tokens


def test_a_search_can_be_run_from_inside_a_job_that_asks_for_other_things(testcluster, tmp_path, home):
    starts, log = tmp_path / "starts", tmp_path / "outer.log"
    paths = noop_search(home, noop_profile(starts=starts), max_nodes=1, trials=1)
    program = f"{sys.executable} -m hpc_trex resume '{paths.root}'"
    outer = ["sbatch", "--parsable", "--mem-per-cpu=300", "--ntasks=3", "--gres=gpu:2", f"--output={log}"]
    wrapped = (
        f"export SBATCH_PARTITION=nope SBATCH_GRES=gpu:9 SLURM_TIMELIMIT=0; cd {Path(__file__).parents[2]}; {program}"
    )
    subprocess.run([*outer, f"--wrap={wrapped}"], check=True, capture_output=True)

    def over() -> bool:
        with Store.read(paths) as store:
            return store.state()[0] is SearchState.DONE and not paths.lease.exists()

    wait_until(over, seconds=PATIENCE, what=f"the search and its controller; see {log}")
    assert_whole(paths.root)


#: As they stand in people's shells; none of these values may be seen anywhere.
KEYS = {
    "OPENAI_API_KEY": "sk-planted-0a1b2c3d4e5f",
    "ANTHROPIC_API_KEY": "sk-ant-planted-99887766",
    "HF_TOKEN": "hf_planted_QwErTy12345",
    "MY_SECRET": "planted-3d2e",
    "https_proxy": "http://me:planted-pass-77@127.0.0.1:9",
}


def contents(path: Path) -> bytes | None:
    """What a file holds; None for a folder, and for a file that slurmctld has just given its final name."""
    try:
        return path.read_bytes() if path.is_file() else None
    except FileNotFoundError:
        return None


def test_a_key_in_the_environment_is_found_nowhere(testcluster, tmp_path, home, monkeypatch):
    """Not in the search's files, scripts and logs, not in what is printed, not in Slurm's records, not in a job."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MY_SETTING", "plain-5b40")
    profile = noop_profile(poll_seconds=0.3, setup=("set -x", "env > environment.txt"))
    file = tmp_path / "noop.toml"
    file.write_text(tomli_w.dumps(profile.model_dump(mode="json", exclude_none=True)))
    paths = noop_search(home, profile, max_nodes=1)
    said = [
        trex("launch", "--profile", file, "--dry-run"),
        trex("doctor", "--profile", file, "--no-job", "--json"),
        trex("resume", paths.root),
        trex("status", paths.root, "--json"),
        trex("show", 1, paths.root, "--json"),
    ]
    assert "#SBATCH" in said[0].stdout
    printed = "".join(done.stdout + done.stderr for done in said).encode()
    shown = subprocess.run(["scontrol", "show", "job", "--all"], capture_output=True, check=True).stdout
    folders = (home, tmp_path, testcluster.state / "state")
    files = {path: raw for folder in folders for path in folder.rglob("*") if (raw := contents(path)) is not None}
    environments = [raw for path, raw in files.items() if path.name == "environment.txt"]
    assert len(environments) >= 4
    assert all(b"plain-5b40" in raw for raw in environments), "the environment is passed on, or the test shows nothing"
    for value in (b"planted", b"sk-ant"):
        assert value not in printed + shown
        assert [path for path, raw in files.items() if value in raw] == []


def test_a_controller_that_runs_while_slurm_is_away_says_so_and_goes_on(testcluster, tmp_path, home):
    paths = noop_search(home, noop_profile(seconds=2, poll_seconds=0.3), max_nodes=1)
    testcluster.stop_controller()
    log = tmp_path / "log"
    try:
        refused = trex("resume", paths.root, "--as-job", code=5).stderr
        assert f"then: hpc-trex resume {paths.root.name} --as-job" in refused
        process = start("resume", paths.root, log=log)
        wait_until(lambda: b"takes no jobs now" in paths.events.read_bytes(), seconds=PATIENCE, what="a failed submit")
        shown = trex("status", paths.root).stdout
        assert "Slurm does not answer" in shown or "Unable to contact" in shown, shown
    finally:
        testcluster.start_controller()
    assert process.wait(timeout=PATIENCE) == 0, log.read_text()
    assert_whole(paths.root)
