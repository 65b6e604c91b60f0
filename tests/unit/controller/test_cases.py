"""The controller pairs a round's rows with its parent's, whatever became of the parent's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpc_trex.controller import Controller
from hpc_trex.controller.cases import SAMPLES_READ, make_cases, samples_of
from hpc_trex.files import read_record
from hpc_trex.models import JobKind, NodeState, NodeView, Score
from hpc_trex.models.cases import CaseReport
from hpc_trex.samples import EvaluatedRow, write_samples
from hpc_trex.tree.store import Store
from tests.unit.controller import simulation
from tests.unit.controller.conftest import drive, until

BASELINE, TRAINED = range(4), range(2, 17)
"""Of each 20 dev rows, those that the baseline and that every training has right."""


@pytest.fixture(autouse=True)
def jobs_leave_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated jobs answer the search's own dev rows: a claim that its rows contradict would be struck."""
    plain = simulation.result_of

    def result_of(spec, failure):
        made = plain(spec, failure)
        if spec.kind not in (JobKind.BASELINE, JobKind.TRAIN) or failure is not None:
            return made
        right = TRAINED if spec.kind is JobKind.TRAIN else BASELINE
        dev = [json.loads(line) for line in Path(spec.eval_rows).read_text().splitlines()]
        rows = [answered(row, right=number % 20 in right) for number, row in enumerate(dev)]
        path = Path(spec.attempt_dir) / "samples.jsonl"
        write_samples(path, rows)
        value = sum(row.score for row in rows) / len(rows)
        main = Score(metric="accuracy", value=value, low=value - 0.1, high=value + 0.1, n=len(rows))
        return made.model_copy(update={"samples": str(path), "scores": {"main": main}})

    monkeypatch.setattr(simulation, "result_of", result_of)


def answered(row: dict[str, str], *, right: bool) -> EvaluatedRow:
    wanted = row["answer"]
    if right:
        return EvaluatedRow(row["row_id"], row["prompt"], wanted, wanted, 1.0)
    other = "login" if wanted != "login" else "billing"
    return EvaluatedRow(row["row_id"], row["prompt"], other, wanted, 0.0, ("other_label",))


def cases(paths, node: int) -> CaseReport:
    found = read_record(paths.cases(node), CaseReport)
    assert found is not None
    return found


def test_each_round_is_compared_with_its_parent(search, cluster) -> None:
    paths = search(max_nodes=2, parallel=1)
    drive(paths, cluster).close()
    assert cases(paths, 0).not_compared == "the baseline has no parent"
    with Store.read(paths) as tree:
        nodes = [node for node in tree.nodes() if node.state is NodeState.DONE and node.parent is not None]
    assert nodes
    for node in nodes:
        moved = cases(paths, node.id).movement
        assert moved is not None
        assert moved.parent == node.parent
        if node.parent == 0:
            twenties, rest = divmod(moved.pairs, 20)
            assert rest == 0
            counts = [times * twenties for times in (13, 2, 3, 2)]
            assert [moved.fixed, moved.broken, moved.still_bad, moved.still_right] == counts
            assert f"Against node 0 row by row: {counts[0]} fixed, {counts[1]} broken" in node.report
            assert ": more than chance" in node.report


@pytest.fixture
def read_round(search, cluster):
    """A controller that has read the first round, not closed yet."""
    paths = search(max_nodes=1, parallel=1)
    controller = Controller(paths)
    controller.start()
    until(controller, cluster, lambda: paths.cases(1).exists())
    yield controller
    controller.close()


def again(controller: Controller) -> str:
    made = make_cases(controller.work, controller.work.store.node(1))
    assert made is not None
    assert made == cases(controller.work.paths, 1)
    return made.not_compared


def test_a_parents_samples_that_are_gone_or_damaged_are_told(read_round) -> None:
    (samples,) = (Path(trial.result.samples) for trial in read_round.work.store.node(0).trials)
    kept = samples.read_bytes()
    samples.write_bytes(kept[:-20])
    assert again(read_round).startswith("the samples of node 0 cannot be read: ")
    samples.unlink()
    assert again(read_round) == "the samples of node 0 are gone"
    samples.write_bytes(kept)
    assert again(read_round) == ""


def test_samples_of_another_evaluation_are_not_compared(read_round, monkeypatch) -> None:
    store = read_round.work.store
    round_one, plain = store.node(1), store.node

    def measured_otherwise(number: int):
        view = plain(number)
        digest = "a" * 64 if number == 0 else "b" * 64
        trials = [
            one.model_copy(
                update={"result": one.result.model_copy(update={"eval_digest": digest})} if one.result else {}
            )
            for one in view.trials
        ]
        return view.model_copy(update={"trials": tuple(trials)})

    monkeypatch.setattr(store, "node", measured_otherwise)
    made = make_cases(read_round.work, measured_otherwise(round_one.id))
    assert made is not None
    assert made.movement is None
    assert "another evaluation" in made.not_compared


def test_the_file_is_written_only_where_it_changes_and_taken_away_with_the_rows(read_round) -> None:
    work = read_round.work
    file = work.paths.cases(1)
    before = file.stat().st_mtime_ns
    again(read_round)
    assert file.stat().st_mtime_ns == before
    view = work.store.node(1)
    for trial in view.trials:
        if trial.result is not None:
            Path(trial.result.samples).unlink()
    assert make_cases(work, view) is None
    assert not file.exists()


def test_what_is_read_of_a_file_is_capped(read_round) -> None:
    view = read_round.work.store.node(1)
    trial = next(one for one in view.trials if one.trial == view.best_trial)
    write_samples(
        Path(trial.result.samples), (EvaluatedRow(f"dev:{n}", "q", "a", "b", 1.0) for n in range(SAMPLES_READ + 5))
    )
    assert sum(1 for _ in samples_of(read_round.work, view)) == SAMPLES_READ


def test_rows_of_a_search_that_was_moved_are_found_where_it_lies_now(read_round, monkeypatch) -> None:
    """A job names its files as it saw them: another mount, a link, a folder that was moved since."""
    store, plain = read_round.work.store, read_round.work.store.node

    def moved(number: int) -> NodeView:
        view = plain(number)
        trials = [
            one.model_copy(update={"result": one.result.model_copy(update={"samples": elsewhere(one.result.samples)})})
            if one.result is not None
            else one
            for one in view.trials
        ]
        return view.model_copy(update={"trials": tuple(trials)})

    def elsewhere(path: str) -> str:
        return path.replace(str(read_round.work.paths.root), "/mnt/gone/search")

    monkeypatch.setattr(store, "node", moved)
    assert again(read_round) == ""


def test_a_round_whose_rows_cannot_be_read_is_read_without_them(read_round) -> None:
    """Restored by a person, it must not end the controller at each tick."""
    work = read_round.work
    view = work.store.node(1)
    (samples,) = [Path(one.result.samples) for one in view.trials if one.trial == view.best_trial]
    samples.write_bytes(b"caf\xe9\n")
    read_round.reading.diagnose(1)
    assert any("node 1 is read without its bad cases" in text for _, text, _ in work.store.notes())
    report = work.store.node(1).report
    assert report.startswith("Score ")
    assert "Bad cases" not in report
