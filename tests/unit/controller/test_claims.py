"""Records that are damaged, gone or of another version: the controller goes on, says what it did not look at, strikes nobody."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from pathlib import Path

import pytest

from hpc_trex.controller import Controller, claim_data, claims, loop, review
from hpc_trex.controller.claims import scored
from hpc_trex.controller.requests import Request
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import ClaimFinding, MetricSpec, NodeState, SearchState
from hpc_trex.samples import EvaluatedRow
from hpc_trex.tree.check import check
from hpc_trex.tree.events import Chosen
from hpc_trex.tree.review_events import NodeStruck
from tests.unit.controller.conftest import drive, until
from tests.unit.controller.honest import HonestCluster, write_rows


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> HonestCluster:
    made = HonestCluster()
    monkeypatch.setattr(loop, "make_scheduler", lambda profile: made)
    return made


@pytest.fixture
def running(search, cluster):
    """A controller of a search of one trial a round, whose first round (0.9) waits to be collected."""
    paths = search(max_nodes=2, trials=1, parallel=1, name="claims")
    cluster.quality = {(1, 1): 0.9, (2, 1): 0.5}
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, paths.attempt(1, 1, 1).spec.exists)
        cluster.finish_all()
        yield controller


def files_of(controller: Controller) -> AttemptPaths:
    return controller.paths.attempt(1, 1, 1)


def found(controller: Controller) -> tuple[ClaimFinding, ...]:
    return controller.store.trial(1, 1).findings or ()


def texts(controller: Controller, severity: str) -> list[str]:
    return [one.text for one in found(controller) if one.severity == severity]


def manifest_of(controller: Controller) -> Path:
    return controller.paths.data(1) / "manifest.json"


def change_manifest(controller: Controller, **fields: object) -> None:
    path = manifest_of(controller)
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def stale(*_: object) -> object:
    raise OSError(errno.ESTALE, "Stale file handle")


# --- what is only told ------------------------------------------------------------------------------------------------


def test_without_pyarrow_the_rows_are_not_looked_at_and_the_search_goes_on(running, monkeypatch) -> None:
    """On a login node with the core alone."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    running.tick()
    assert running.store.node(1).state is NodeState.DONE
    assert texts(running, "strike") == []
    assert any("no row was read; pip install pyarrow brings it" in one for one in texts(running, "note"))


def list_for_manifest(controller: Controller) -> None:
    manifest_of(controller).write_text("[]")


def steps_without_counts(controller: Controller) -> None:
    change_manifest(controller, steps=[{"op": "load"}])


def sources_are_null(controller: Controller) -> None:
    change_manifest(controller, sources=None)


def recipe_of_another_version(controller: Controller) -> None:
    from hpc_trex.models import digest

    recipe = {"steps": [{"op": "an operator that was renamed"}], "seed": 0}
    change_manifest(controller, recipe=recipe, recipe_digest=digest(recipe))


def broken_source_of_a_formatted_set(controller: Controller) -> None:
    """Its digest is the same to the check: only whoever reads the rows stumbles."""
    name = next(iter(json.loads(manifest_of(controller).read_text())["sources"]))
    path = controller.paths.sources / f"{name}.jsonl"
    path.write_bytes(b"\xff\n" + path.read_bytes())
    change_manifest(controller, format="chat", sources={})


def row_without_text(controller: Controller) -> None:
    row = {"row_id": "x:1", "prompt": "p", "answer": "1", "source": "x"}
    write_rows(manifest_of(controller).parent / "rows", [row, {**row, "prompt": None}])
    change_manifest(controller, files={})


def rows_were_removed(controller: Controller) -> None:
    shutil.rmtree(manifest_of(controller).parent / "rows")


TOLD = [
    (list_for_manifest, "the manifest of its data is not there or cannot be read"),
    (steps_without_counts, "cannot be read: steps.0.rows_in: Field required"),
    (sources_are_null, "cannot be read: sources: "),
    (recipe_of_another_version, "none that this version knows"),
    (broken_source_of_a_formatted_set, "not looked through again: UnicodeDecodeError"),
    (row_without_text, "not looked through again: TypeError"),
    (rows_were_removed, "not looked at: data.arrow: No such file"),
]


@pytest.mark.parametrize(("change", "words"), TOLD, ids=[change.__name__ for change, _ in TOLD])
def test_data_that_cannot_be_looked_at_are_a_note(running: Controller, change, words: str) -> None:
    change(running)
    running.tick()
    assert texts(running, "strike") == []
    assert any(words in one for one in texts(running, "note")), found(running)
    assert running.store.node(1).state is NodeState.DONE


def test_what_a_file_server_does_not_give_contradicts_nothing(running: Controller, monkeypatch) -> None:
    monkeypatch.setattr(claims, "read_samples", stale)
    monkeypatch.setattr(claims, "file_digest", stale)
    monkeypatch.setattr(claims._digest, "__defaults__", (stale,))
    monkeypatch.setattr(claims, "folder_digest", stale)
    running.tick()
    assert texts(running, "strike") == []
    (told,) = [one for one in texts(running, "note") if one.startswith("could not be read")]
    assert [name in told for name in ("model: Stale", "rows: Stale", "samples: Stale")] == [True] * 3


def test_an_upgrade_that_scores_otherwise_strikes_nothing_that_is_as_the_baseline(running, monkeypatch) -> None:
    """The job has ended, the controller is started by another version: its judgement is not the job's."""
    rows = [json.loads(line) for line in files_of(running).samples.read_text().splitlines()]
    from hpc_trex.evaluation import metrics

    monkeypatch.setattr(metrics, "judge", lambda *_: metrics.Judged(0.0, "", ""))
    monkeypatch.setattr(claims, "eval_digest", lambda *_: "b" * 64)
    running.tick()
    assert texts(running, "strike") == []
    assert any("those of the search are bbbbbbbbbbbb" in one for one in texts(running, "note"))
    assert running.store.node(1).score == sum(row["score"] for row in rows) / len(rows)


def test_dev_rows_that_are_gone_stop_the_controller_with_what_to_do(running: Controller) -> None:
    running.paths.dev.unlink()
    with pytest.raises(EnvironmentProblem, match=r"task/dev\.jsonl is missing or damaged") as problem:
        running.tick()
    assert "restore the file" in problem.value.hint


def test_of_long_rows_fewer_are_looked_at_and_it_is_said(running: Controller, monkeypatch) -> None:
    """Twenty thousand long answers would fill a login node's memory, and keep the controller from its jobs."""
    monkeypatch.setattr(claim_data, "LOOKED_BYTES", 20_000)
    folder = manifest_of(running).parent / "rows"
    write_rows(
        folder, [{"row_id": f"x:{n}", "prompt": "p" * 50, "answer": "a" * 950, "source": "x"} for n in range(101)]
    )
    rows, total = claim_data.read_rows(folder)
    assert total == 101
    assert [row.row_id for row in rows] == [f"x:{n}" for n in range(0, 101, 6)]


# --- what strikes, and must not raise ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", [b"caf\xe9\n", b'{"row_id": "dev:0", "prompt": "p", "answer": "a", "reference": "r"}\n']
)
def test_answers_in_another_encoding_or_shape_strike(running: Controller, line: bytes) -> None:
    path = files_of(running).samples
    path.write_bytes(path.read_bytes() + line)
    running.tick()
    assert "the answers behind the score are gone, or cannot be read" in texts(running, "strike")
    assert running.store.node(1).state is NodeState.STRUCK


def test_a_reference_that_the_metric_cannot_use_is_judged_otherwise() -> None:
    metric = MetricSpec(name="accuracy", labels=("yes", "no"), max_new_tokens=4)
    rows = (EvaluatedRow("dev:0", "p", "yes", "yes", 1.0), EvaluatedRow("dev:1", "p", "no", "perhaps", 1.0))
    value = scored(rows, metric, again=True)
    assert value is not None
    assert value[1] == (1,)


def test_words_from_files_and_persons_cannot_steer_a_terminal(running: Controller) -> None:
    dev = json.loads(running.paths.dev.read_text().splitlines()[3])
    leak = {"row_id": "x:\x1b]0;mine\x07", "prompt": dev["prompt"], "answer": "1", "source": "x"}
    write_rows(manifest_of(running).parent / "rows", [leak])
    running.tick()
    assert any("e.g. x: ]0;mine" in one for one in texts(running, "strike"))
    running.ask(Request(action="restore", node=1, note="\x1b[2Jall is\nwell\ud800", user="e\x1bve"))
    said = running.paths.events.read_text() + "".join(running.work.lines)
    assert "\\u001b" not in said
    assert "\x1b" not in said
    assert " [2Jall is well " in said
    assert check(running.paths) == []


# --- a death in between -----------------------------------------------------------------------------------------------


def test_what_follows_from_a_word_is_done_where_its_controller_died_over_it(running: Controller, monkeypatch) -> None:
    """The search is over: no tick looks at it any more, and the knowledge base would keep what is struck."""
    running.tick()
    remembered: list[str] = []
    monkeypatch.setattr(review, "remember_search", lambda work: remembered.append(work.config.name))
    running.store.record(Chosen(node=0, trial=1, dev=0.3, seeds=1))
    running.work.change_state(SearchState.DONE)
    running.store.record(NodeStruck(node=1, message="struck by eve: a leak", note="a leak", user="eve"))
    running.ask(Request(action="strike", node=1, note="a leak", user="eve"))
    assert remembered == ["claims"]


# --- many in a row ----------------------------------------------------------------------------------------------------


def test_rounds_that_are_struck_in_a_row_pause_the_search_before_it_spends_all(search, cluster: HonestCluster) -> None:
    """A base model that was changed after the baseline strikes every training from then on."""
    paths = search(max_nodes=8, trials=1, parallel=1, name="changed")
    cluster.dishonest = {(number, 1) for number in range(1, 9)}
    with Controller(paths) as controller:
        controller.start()
        with pytest.raises(EnvironmentProblem, match="3 rounds in a row were struck") as problem:
            until(controller, cluster, lambda: False)
        assert controller.store.state()[0] is SearchState.PAUSED
    assert "hpc-trex show 3" in problem.value.hint
    cluster.dishonest = {(4, 1)}
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
        assert controller.store.node_ids(NodeState.STRUCK) == [1, 2, 3, 4]
    assert check(paths) == []


def test_the_noise_is_measured_on_another_round_where_the_first_is_struck(search, cluster: HonestCluster) -> None:
    paths = search(max_nodes=3, trials=1, parallel=1, name="noise")
    cluster.quality = {(1, 1): 0.9, (2, 1): 0.8, (3, 1): 0.7}
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: controller.store.replicated_nodes() == [1])
        controller.ask(Request(action="strike", node=1, note="n", user="eve"))
        until(controller, cluster, lambda: controller.store.replicated_nodes() == [1, 2])
        until(controller, cluster, lambda: controller.store.noise() is not None)
        assert controller.store.node(2).state is NodeState.DONE
