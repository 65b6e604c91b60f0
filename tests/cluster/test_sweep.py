"""Sweeps as real arrays of a real Slurm: each element a controller in its job, whose trainings do no work."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from hpc_trex.slurm import processes
from hpc_trex.sweep.folder import arrays, find_sweep, read_config, runs
from hpc_trex.sweep.layout import SweepPaths
from hpc_trex.sweep.run import go_on
from tests.cluster.test_exactly_once import die_until_done, kinds
from tests.noop.sweeps import noop_sweep, profiles
from tests.program import assert_whole, start, trex, wait_until

pytestmark = pytest.mark.cluster
PATIENCE = 240.0


def launch(folder: Path, given: dict[str, str], *more: object) -> SweepPaths:
    """Launch a sweep of small searches as a user does."""
    file = folder / "sweep.toml"
    file.write_text("[noise]\nfloor_repeats = 0\nfinal_candidates = 1\nfinal_seeds = 1\n")
    options = words_of(given)
    trex(
        "sweep", "launch", "-y", "--file", file, "--max-nodes=1", "--trials=1", "--researchers=random", *options, *more
    )
    return find_sweep()


def words_of(given: dict[str, str]) -> list[str]:
    return [f"--{key.replace('_', '-')}={value}" for key, value in given.items()]


def scores(name: str) -> list[tuple[object, ...]]:
    """The rows of a sweep's table without what its jobs held."""
    rows = json.loads(trex("sweep", "table", name, "--json").stdout)["rows"]
    return [tuple(row[key] for key in ("task", "done", "baseline_dev", "dev", "baseline_test", "test")) for row in rows]


def states() -> dict[str, int]:
    return json.loads(trex("sweep", "status", "--json").stdout)["elements"]


def tasks_in_accounting(paths: SweepPaths) -> Counter[str]:
    """How many jobs each array of the sweep had, as Slurm's own accounting tells it."""
    command = ["sacct", "-n", "-X", "-D", "-P", "--starttime", "now-1days", "-o", "JobName%200,JobID"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    uid = read_config(paths).uid
    return Counter(line.split("|")[0] for line in done.stdout.splitlines() if line.startswith(f"{uid}-"))


def trainings(starts: Path) -> Counter[str]:
    """How often each training began."""
    tokens = [line.split()[0] for line in starts.read_text().splitlines()]
    return Counter(token for token in tokens if re.search(r"-n1-t1-a\d+$", token))


def pid_of(paths: SweepPaths, number: int) -> int:
    """The process of an element of the first array; scancel -s KILL would be an ordinary cancel with its TERM first."""
    words = {
        process.pid: processes.arguments(process.pid) for process in processes.with_argument(str(paths.root))["element"]
    }
    return next(pid for pid, said in words.items() if said[said.index(str(paths.root)) + 1] == str(number))


def test_a_sweep_is_one_array_cut_under_the_cap(testcluster, tmp_path, home):
    starts = tmp_path / "starts"
    given = profiles(tmp_path, starts=starts)
    outer = Path(given["profile"])
    outer.write_text("max_array = 3\n" + outer.read_text())
    paths = launch(tmp_path, given, "--seeds=0-4", "--throttle=2")
    assert [record.elements for record in arrays(paths)] == [(0, 1, 2), (3, 4)]
    done = trex("sweep", "wait", timeout=300)
    assert " 5/5 " in done.stdout
    seen = [dict(re.findall(r"(\d+) (\w+)", line)) for line in done.stdout.splitlines() if line[2:3] == ":"]
    running = [int(count) for line in seen for count, state in line.items() if state == "running"]
    assert max(running, default=0) <= 2, "the throttle does not hold over the arrays"
    accounted = lambda: sorted(tasks_in_accounting(paths).values())  # noqa: E731
    wait_until(lambda: accounted() == [2, 3], seconds=PATIENCE, what="accounting, which is some seconds behind")
    counted = trainings(starts)
    assert len(counted) == 5
    assert set(counted.values()) == {1}
    for number in range(5):
        assert_whole(paths.element(number).search)
    assert "nothing is to be submitted" in trex("sweep", "resume").stdout


def test_resume_submits_only_what_is_not_done_and_goes_on_where_it_was_cut_off(testcluster, tmp_path, home):
    """The small suite: one element, with its controller, is warned by Slurm, one killed, one cancelled by its user, one is
    left in peace; the command that waits for them is killed too. Table rows are those of a run that nobody disturbed.
    """  # fmt: skip
    starts, gate = tmp_path / "starts", tmp_path / "gate"
    small = ("--researchers=random", "--max-nodes=1", "--trials=1")
    options = words_of(profiles(tmp_path, starts=starts, until=gate))
    tasks = "mini-learn,mini-forms,mini-decide,mini-sets"
    command = ("ftbench", "mini", "-y", "--name=suite", "--tasks", tasks, *small, *options)
    waiting = start(*command, log=tmp_path / "waiting.log")
    claim = "search/nodes/0001/trials/1/attempts/1/started.json"
    paths = SweepPaths(home / "sweeps" / "suite")
    for number in range(4):
        wait_until(
            (paths.element(number).root / claim).exists, seconds=PATIENCE, what=f"a training of element {number}"
        )
    waiting.kill()
    waiting.wait()
    job = str(arrays(paths)[0].job_id)
    assert states() == {"running": 4}
    subprocess.run(["scancel", "--batch", "--signal=USR1", f"{job}_0"], check=True)
    os.kill(pid_of(paths, 1), signal.SIGKILL)
    assert "1 element(s) cancelled: 2" in trex("sweep", "cancel", "--only", 2).stdout
    wanted = {"running": 1, "stopped": 1, "lost": 1, "cancelled": 1}
    wait_until(lambda: states() == wanted, seconds=PATIENCE, what=f"{wanted}")
    assert "2 element(s) would be submitted: 0-1" in trex("sweep", "resume", "--dry-run").stdout
    assert "2 element(s) submitted" in trex("sweep", "resume").stdout
    trex("sweep", "cancel", "--only", 3)
    gate.touch()
    done = trex("sweep", "wait", timeout=300, code=103)
    assert (done.stdout.count(" 1/1 "), done.stdout.count(" 0/1 ")) == (2, 2)
    for number in (0, 1):
        assert_whole(paths.element(number).search)
        assert [run.token.rsplit("-", 1)[1] for run in runs(paths, number)] == ["a1", "a2"]
    saved = json.loads((paths.element(0).root / claim).with_name("result.json").read_text())
    assert saved["failure"] == "PREEMPTED", "the warning did not reach the training"
    assert set(trainings(starts).values()) == {1}
    (tmp_path / "quiet").mkdir()
    here = words_of(profiles(tmp_path / "quiet", scheduler="local"))
    trex("ftbench", "mini", "--name=quiet", "--tasks=mini-learn,mini-forms", *small, *here)
    assert scores("suite")[:2] == scores("quiet")
    queue = subprocess.run(["squeue", "--me", "-h", "-o", "%j"], capture_output=True, text=True, check=True).stdout
    assert read_config(paths).uid not in queue


@pytest.mark.parametrize("passed", ["sweep/submit/after", "sweep/recorded"])
def test_a_submission_that_dies_at_each_of_its_boundaries_submits_each_element_once(
    testcluster, tmp_path, home, passed
):
    """Behind a death after ``sbatch`` the array is found, and nobody comes to ``recorded``: so one of the two is passed."""
    paths = noop_sweep(tmp_path, seeds=(0, 1, 2), chunk=2, baseline_only=True)
    ledger = tmp_path / "ledger"
    # Each new array has files of other names: to die at each of those has no end.
    ledger.write_text(f"file/before\nfile/after\n{passed}\n")
    die_until_done(ledger, lambda: go_on(paths, read_config(paths), lambda line: None))
    wanted = {"sweep/record/before", "sweep/record/after", "sweep/submit/after", "sweep/recorded"} - {passed}
    counted = kinds(ledger, ("file/before", "file/after", passed))
    assert {kind: counted[kind] for kind in wanted} == dict.fromkeys(wanted, 2)
    trex("sweep", "wait", timeout=300)
    assert states() == {"done": 3}
    count = lambda: sum(tasks_in_accounting(paths).values())  # noqa: E731
    wait_until(lambda: count() >= 3, seconds=PATIENCE, what="accounting, which is some seconds behind")
    assert count() == 3, "an element was submitted twice"
    for number in range(3):
        assert len(runs(paths, number)) == 1


def test_a_refused_sweep_leaves_nothing_in_the_queue_and_says_what_to_correct(testcluster, tmp_path, home):
    given = profiles(tmp_path)
    outer = Path(given["profile"])
    outer.write_text('partition = "no-such"\n' + outer.read_text())
    options = words_of(given)
    refused = trex("sweep", "launch", "-y", "--seeds=0-1", *options, code=5)
    assert "partition" in refused.stderr
    assert not (home / "sweeps").exists()
