"""One element from its beginning to its end, with real processes for its jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from hpc_trex.errors import EnvironmentProblem, LeaseHeld, NotFound
from hpc_trex.files import write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import SearchState
from hpc_trex.sweep.element import Job, job_of, make_element_search, run_element
from hpc_trex.sweep.folder import held, read_config, result, runs
from hpc_trex.sweep.records import ArrayRecord
from hpc_trex.tree.lease import Lease
from hpc_trex.tree.store import Store
from tests.noop.sweeps import maker
from tests.program import assert_whole, wait_until

pytestmark = pytest.mark.local
PATIENCE = 240.0


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make a sweep whose elements are processes of this machine."""
    return maker(tmp_path, monkeypatch)


JOB = Job("t-1", "41_0")


def quiet(_: str) -> None:
    """Nobody listens."""


def test_an_element_leaves_its_scores_its_cost_and_a_whole_search(make):
    paths = make(seeds=(3,))
    left = run_element(paths, 0, JOB, quiet)
    assert (left.state, left.token, left.rounds) == ("done", "t-1", 1)
    assert left.baseline == 0.25
    assert left.test is not None
    assert left.test.value == 0.5
    assert left.test_gain == 0.25
    assert left.dev_gain == pytest.approx(left.dev - 0.25)
    assert result(paths, 0) == left
    assert_whole(paths.element(0).search)
    (run,) = runs(paths, 0)
    assert (run.job_id, run.ended) == ("41_0", "done")
    assert run.seconds > 0
    with Store.read(SearchPaths(paths.element(0).search)) as store:
        assert store.config.seed == 3
        assert store.config.researcher.name == "random"


def test_a_second_job_of_a_finished_element_runs_nothing_again(make):
    paths = make()
    first = run_element(paths, 0, JOB, quiet)
    again = run_element(paths, 0, Job("t-2", "42_0"), quiet)
    assert again.model_copy(update={"token": "t-1"}) == first
    assert_whole(paths.element(0).search)


def test_a_sweep_of_baselines_trains_nothing_and_opens_the_test(make):
    paths = make(baseline_only=True)
    left = run_element(paths, 0, JOB, quiet)
    assert (left.state, left.rounds, left.dev) == ("done", 0, 0.25)
    assert left.test is not None
    with Store.read(SearchPaths(paths.element(0).search)) as store:
        assert {item.kind.value for item in store.attempts()} == {"base", "baseline", "test"}


def test_an_element_that_another_job_works_on_is_left_alone(make):
    paths = make()
    config = read_config(paths)
    search = make_element_search(paths, config, config.elements()[0])
    with Lease(search), pytest.raises(LeaseHeld):
        run_element(paths, 0, JOB, quiet)
    assert result(paths, 0) is None
    assert runs(paths, 0)[0].ended


def test_a_failed_search_is_kept_and_begun_anew_under_other_tokens(make):
    paths = make()
    config = read_config(paths)
    search = make_element_search(paths, config, config.elements()[0])
    from hpc_trex.tree.events import SearchStateChanged

    with Lease(search) as lease, Store.open(search, guard=lease) as store:
        uid = store.config.uid
        store.record(SearchStateChanged(state=SearchState.FAILED, message="the node was bad"))
    assert run_element(paths, 0, JOB, quiet).state == "done"
    with Store.read(SearchPaths(paths.element(0).root / "search-1")) as kept:
        assert kept.state()[0] is SearchState.FAILED
    with Store.read(SearchPaths(paths.element(0).search)) as store:
        assert store.config.uid != uid


def test_an_element_whose_rows_are_gone_fails_with_words_and_leaves_them(make):
    paths = make()
    (paths.task(0) / "task" / "card.json").unlink()
    with pytest.raises(EnvironmentProblem, match="is missing"):
        run_element(paths, 0, JOB, quiet)
    assert result(paths, 0).state == "failed"
    assert "is missing" in result(paths, 0).message


def test_a_cancelled_element_leaves_at_once(make):
    paths = make()
    paths.element(0).root.mkdir(parents=True)
    paths.element(0).cancelled.touch()
    assert run_element(paths, 0, JOB, quiet).state == "cancelled"
    assert not paths.element(0).search.exists()


def test_a_number_or_an_array_that_the_sweep_does_not_have(make):
    paths = make()
    with pytest.raises(NotFound):
        run_element(paths, 7, JOB, quiet)
    with pytest.raises(NotFound):
        job_of(paths, 1, 0)


def test_an_index_means_an_element_and_a_void_array_none(make, monkeypatch):
    paths = make(seeds=(0, 1, 2))
    paths.array(1).root.mkdir(parents=True)
    record = ArrayRecord(number=1, token="s-a1", elements=(0, 2), job_id="41")
    write_record(paths.array(1).record, record)
    assert job_of(paths, 1, 1) == (2, Job("s-a1", "41_1"))
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "99")
    assert job_of(paths, 1, 0) == (0, Job("s-a1", "99_0"))
    with pytest.raises(NotFound):
        job_of(paths, 1, 2)
    write_record(paths.array(1).record, record.model_copy(update={"void": True}))
    assert job_of(paths, 1, 0) is None


def started(paths, number: int = 0, token: str = "t-1") -> subprocess.Popen[str]:
    words = ["-m", "hpc_trex", "sweep", "element", str(paths.root), str(number), "--here", token]
    return subprocess.Popen([sys.executable, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_an_element_that_must_make_way_tells_its_trainings_to_save_and_goes_on_in_the_next_job(make, number):
    paths = make(inner={"environment": {"TREX_NOOP_SECONDS": "600", "TREX_NOOP_AGAIN": "0"}})
    process = started(paths)
    training = "search/nodes/0001/trials/1/attempts"
    try:
        claim = paths.element(0).root / training / "1" / "started.json"
        wait_until(claim.exists, seconds=PATIENCE, what="a training")
        process.send_signal(number)
        assert process.wait(timeout=PATIENCE) == 75, process.stdout.read()
    finally:
        process.kill()
    left = result(paths, 0)
    assert left.state == "stopped"
    assert "sweep resume" in left.message
    saved = (paths.element(0).root / training / "1" / "result.json").read_text()
    assert "PREEMPTED" in saved, "the training was not told to save"
    assert held(paths, [0])[1] > 0
    assert run_element(paths, 0, Job("t-2", "42_0"), quiet).state == "done"
    assert (paths.element(0).root / training / "2" / "started.json").exists()
    assert_whole(paths.element(0).search)


def test_an_element_that_is_killed_leaves_nothing_half_and_the_next_job_takes_over_its_trainings(make):
    paths = make(inner={"environment": {"TREX_NOOP_SECONDS": "3"}})
    process = started(paths)
    claim = paths.element(0).root / "search/nodes/0001/trials/1/attempts/1/started.json"
    wait_until(claim.exists, seconds=PATIENCE, what="a training")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert result(paths, 0) is None
    assert run_element(paths, 0, Job("t-2", "42_0"), quiet).state == "done"
    attempts = list((paths.element(0).root / "search/nodes/0001/trials/1/attempts").iterdir())
    assert len(attempts) == 1, "the training that ran on was started a second time"
    assert_whole(paths.element(0).search)
