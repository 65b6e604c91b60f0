"""The controller dies at every boundary of its steps, on a real Slurm: each job runs once, and the tree is the same.

The deaths are real SIGKILLs of real processes: forked, so that a restart does not cost the imports.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_trex import faults
from hpc_trex.cli.cancel import ask_or_do
from hpc_trex.controller import Controller
from hpc_trex.controller.requests import waiting
from hpc_trex.layout import SearchPaths
from hpc_trex.models import AttemptState, SearchState, TrialState
from hpc_trex.searches import list_searches
from hpc_trex.tree.check import check
from hpc_trex.tree.store import Store
from tests.noop import finish, noop_profile, noop_search
from tests.program import assert_whole, trex, wait_until

pytestmark = pytest.mark.cluster

PATIENCE = 240.0
#: More restarts than this are a search that does not get on.
MOST = 600


def die_until_done(ledger: Path, step: Callable[[], object]) -> int:
    """Run ``step`` in a child that dies at each boundary that it comes to first, again and again; return the deaths."""
    for deaths in range(MOST):
        pid = os.fork()
        if pid == 0:  # the child: it must not come back into the test
            code = 1
            try:
                faults.arm(str(ledger))
                step()
                code = 0
            except BaseException as error:  # noqa: BLE001
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(code)
        status = os.waitpid(pid, 0)[1]
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return deaths
        assert os.WTERMSIG(status) == signal.SIGKILL
    raise AssertionError(f"not done after {MOST} deaths: {ledger.read_text()[-2000:]}")


def kinds(ledger: Path, passed: tuple[str, ...] = ()) -> Counter[str]:
    """How many deaths there were at each kind of boundary; ``passed``: the kinds that everybody was let pass."""
    return Counter(line.split()[0] for line in ledger.read_text().splitlines() if line not in passed)


def uid_of(paths: SearchPaths) -> str:
    return str(json.loads(paths.events.read_text().splitlines()[0])["event"]["config"]["uid"])


def jobs_in_accounting(paths: SearchPaths) -> Counter[str]:
    """The names of all jobs of a search that Slurm's own accounting knows, requeued runs included."""
    command = ["sacct", "-n", "-X", "-D", "-P", "--starttime", "now-1days", "-o", "JobName%200"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Counter(name for name in done.stdout.split() if name.startswith(f"{uid_of(paths)}-"))


def shape(paths: SearchPaths) -> list[dict]:
    """What a search came to, without times, tokens and places."""
    with Store.read(paths) as store:
        nodes = [node.model_dump(mode="json") for node in store.nodes()]
        chosen = store.chosen()
        rest = {"state": store.state()[0].value, "chosen": chosen and chosen.model_dump(mode="json")}
    keep = ("id", "parent", "state", "score", "best_trial", "plan", "data_from", "visits")
    of_trial = ("trial", "kind", "state", "score", "seed", "identity", "plan", "replicate_of", "reused_from")
    tree = [
        {key: node.get(key) for key in keep}
        | {"trials": [{key: trial.get(key) for key in of_trial} for trial in node["trials"]]}
        for node in nodes
    ]
    return [*tree, rest]


def leftovers(root: Path) -> list[str]:
    """Files that somebody meant to rename or remove."""
    return [
        str(path.relative_to(root)) for path in root.rglob("*") if re.search(r"\.tmp-|\.save_tmp|\.task-", path.name)
    ]


def assert_each_ran_once(paths: SearchPaths, starts: Path) -> None:
    """Each attempt has one job in Slurm's accounting, one claim and one start."""
    assert_whole(paths.root)
    with Store.read(paths) as store:
        tokens = Counter(attempt.token for attempt in store.attempts())
        assert all(attempt.attempt == 1 for attempt in store.attempts()), "a death of the controller cost an attempt"
    wait_until(lambda: jobs_in_accounting(paths) == tokens, seconds=PATIENCE, what=f"one job each: {tokens}")
    assert Counter(line.split()[0] for line in starts.read_text().splitlines()) == tokens
    claims = [
        json.loads(path.read_text())["token"] for path in paths.root.glob("nodes/*/trials/*/attempts/*/started.json")
    ]
    assert Counter(claims) == tokens
    assert not leftovers(paths.root)
    assert not paths.lease.exists()


def calm_and_dying(home: Path, tmp_path: Path) -> tuple[SearchPaths, SearchPaths]:
    """Two searches of one seed; the first is finished undisturbed, the second is new."""
    found = []
    for name in ("calm", "dying"):
        profile = noop_profile(starts=tmp_path / f"{name} starts", poll_seconds=0.05)
        found.append(noop_search(home, profile, name=name, max_nodes=1))
    assert finish(found[0]) == SearchState.DONE
    return found[0], found[1]


def test_a_death_at_every_boundary_of_a_tick_loses_and_doubles_nothing(testcluster, tmp_path, home):
    calm, paths = calm_and_dying(home, tmp_path)
    ledger = tmp_path / "ledger"
    deaths = die_until_done(ledger, lambda: finish(paths))
    assert_each_ran_once(paths, tmp_path / "dying starts")
    assert shape(paths) == shape(calm)
    assert paths.plan(1).exists()
    counted = kinds(ledger)
    with Store.read(paths) as store:
        jobs, events = len(store.attempts()), store.last_seq() - 1  # the first was written by the launch
    assert jobs == 5  # baseline, preparation, two trainings, test
    assert counted["submit/before"] == counted["submit/after"] == jobs
    # A job that is through so soon that nobody sees it run has an event less; a death may stand before one that is not needed.
    assert events <= counted["event/before"] <= events + 2 * jobs, (counted, events)
    assert counted["event/logged"] == events
    assert counted["file/before"] == counted["file/after"] == jobs + 1  # a spec each, and the plan
    assert {"replay/before", "replay/after", "lease/before", "lease/made", "lease/leaving", "lease/left"} <= set(
        counted
    )
    assert {"snapshot/before", "snapshot/after"} <= set(counted)
    assert deaths == sum(counted.values()) > 90


def test_a_death_after_every_write_loses_and_doubles_nothing(testcluster, tmp_path, home):
    """Behind a death in the middle of a write nobody comes to its end: these deaths need a search of their own."""
    calm, paths = calm_and_dying(home, tmp_path)
    ledger = tmp_path / "ledger"
    passed = ("event/before", "event/logged", "snapshot/before", "file/before")
    ledger.write_text("".join(f"{kind}\n" for kind in passed))
    deaths = die_until_done(ledger, lambda: finish(paths))
    assert_each_ran_once(paths, tmp_path / "dying starts")
    assert shape(paths) == shape(calm)
    counted = kinds(ledger, passed)
    with Store.read(paths) as store:
        jobs, events = len(store.attempts()), store.last_seq() - 1
    assert counted["event/after"] == events
    assert counted["submit/after"] == counted["file/after"] - 1 == jobs == 5
    assert deaths == sum(counted.values()) > 40


def test_a_launch_that_dies_leaves_a_whole_search_or_none(testcluster, tmp_path, home):
    ledger = tmp_path / "ledger"
    profile = noop_profile(starts=tmp_path / "starts", poll_seconds=0.05)

    def launch() -> None:
        if (home / "born").exists():  # the death came behind the last step: a person would see it and resume
            return
        assert list_searches(home) == [], "half a search is listed"
        noop_search(home, profile, name="born", max_nodes=1, trials=1)

    deaths = die_until_done(ledger, launch)
    assert [paths.root.name for paths in list_searches(home)] == ["born"]
    counted = kinds(ledger)
    assert {"task/before", "task/sealed", "task/after", "event/logged", "search/before", "search/after"} <= set(counted)
    assert counted["file/before"] == counted["file/after"] >= 6  # rows, block list, card, search.toml, README
    assert deaths > 15
    paths = SearchPaths(home / "born")
    assert check(paths) == []
    assert finish(paths) == SearchState.DONE
    assert_each_ran_once(paths, tmp_path / "starts")
    assert sorted(path.name for path in home.iterdir()) == ["born", "no-model"]


def with_running_jobs(home: Path, starts: Path, name: str) -> SearchPaths:
    """Return a search without a controller that has two trainings running, which only a cancel ends in time."""
    paths = noop_search(home, noop_profile(seconds=600, starts=starts, poll_seconds=0.05), name=name, max_nodes=1)
    with Controller(paths) as controller:
        controller.start()
        end = time.monotonic() + PATIENCE
        while [item.state for item in controller.store.live_attempts()] != [AttemptState.RUNNING] * 2:
            assert time.monotonic() < end, "no two trainings ran"
            controller.tick()
            time.sleep(0.05)
    return paths


def assert_cancelled(paths: SearchPaths) -> None:
    """The search is over, and so are its jobs; nothing was tried again."""
    assert check(paths) == []
    with Store.read(paths) as store:
        assert store.state()[0] is SearchState.CANCELLED
        assert [trial.state for trial in store.node(1).trials] == [TrialState.CANCELLED] * 2
        tokens = Counter(attempt.token for attempt in store.attempts())
    assert not paths.stop_request.exists()
    assert not leftovers(paths.root)
    wait_until(lambda: jobs_in_accounting(paths) == tokens, seconds=PATIENCE, what=f"one job each: {tokens}")
    queue = subprocess.run(
        ["squeue", "--me", "-h", "-t", "PD,R", "-o", "%j"], capture_output=True, text=True, check=True
    )
    assert not set(queue.stdout.split()) & set(tokens), "a cancelled job is still in the queue"


def test_a_cancel_that_dies_is_done_by_the_next_cancel(testcluster, tmp_path, home):
    paths, ledger = with_running_jobs(home, tmp_path / "starts", "again"), tmp_path / "ledger"
    deaths = die_until_done(ledger, lambda: ask_or_do(paths, None, "the search"))
    assert_cancelled(paths)
    counted = kinds(ledger)
    assert {"cancel/before", "cancel/after", "obeyed/before", "obeyed/after", "event/logged"} <= set(counted)
    assert deaths > 20


def test_a_cancel_that_dies_is_carried_on_by_resume(testcluster, tmp_path, home):
    """Once the request is on disk, no controller goes on with the search as if nothing had been asked."""
    paths, ledger = with_running_jobs(home, tmp_path / "starts", "carried"), tmp_path / "ledger"
    passed = ("lease/before", "lease/made", "file/before", "snapshot/before", "snapshot/after", "replay/before")
    ledger.write_text("".join(f"{kind}\n" for kind in passed))

    def cancel_then_resume() -> None:
        with Store.read(paths) as store:
            over = store.state()[0] is SearchState.CANCELLED
        if over or waiting(paths):
            finish(paths)
            return
        # The death came before the request had its name: nothing was asked yet, and a person asks again.
        ask_or_do(paths, None, "the search")

    deaths = die_until_done(ledger, cancel_then_resume)
    assert_cancelled(paths)
    assert {"cancel/before", "cancel/after", "event/logged", "obeyed/before"} <= set(kinds(ledger, passed))
    assert deaths > 10


def test_the_real_program_dies_where_the_variable_says_and_resume_goes_on(testcluster, tmp_path, home, monkeypatch):
    """The same with ``hpc-trex resume`` as a user starts it: a death around every submit."""
    paths, ledger = (
        noop_search(home, noop_profile(starts=tmp_path / "starts"), max_nodes=1, trials=1),
        tmp_path / "ledger",
    )
    passed = [
        f"{kind}/{place}"
        for kind in ("event", "file", "lease", "snapshot", "replay")
        for place in ("before", "logged", "made", "after", "leaving", "left")
    ]
    ledger.write_text("\n".join(passed) + "\n")
    monkeypatch.setenv(faults.VARIABLE, str(ledger))
    codes = []
    while 0 not in codes:
        codes.append(trex("resume", paths.root, code=None).returncode)
        assert codes[-1] in (0, -signal.SIGKILL)
    assert len(codes) - 1 == 8  # before and after each submit: baseline, preparation, training, test
    assert_each_ran_once(paths, tmp_path / "starts")
