"""A claim is held against its records when a trial ends: what contradicts it strikes it, and a person has the last word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_trex.controller import Controller, loop
from hpc_trex.controller.requests import Request, place, waiting
from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import NodeState, SearchState, TrialState
from hpc_trex.samples import file_digest, read_samples, write_samples
from hpc_trex.tree.check import check
from hpc_trex.tree.review import verdicts
from tests.unit.controller.conftest import drive, until
from tests.unit.controller.honest import HonestCluster, change_result, write_rows
from tests.unit.controller.test_kill import run_with_kill

pytestmark = pytest.mark.slow


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
        until(controller, cluster, lambda: any(_is(controller, token) for token in cluster.live))
        cluster.finish_all()
        yield controller


def _is(controller: Controller, token: str) -> bool:
    attempt = controller.store.attempt(token)
    return attempt is not None and (attempt.node, attempt.trial) == (1, 1)


def files_of(controller: Controller) -> AttemptPaths:
    return controller.paths.attempt(1, 1, 1)


def texts(controller: Controller, severity: str, node: int = 1) -> list[str]:
    found = controller.store.trial(node, 1).findings or ()
    return [one.text for one in found if one.severity == severity]


def test_honest_records_are_believed_and_leave_nothing_to_say(running: Controller) -> None:
    running.tick()
    view = running.store.node(1)
    assert view.trials[0].findings == ()
    assert (view.state, view.score) == (NodeState.DONE, pytest.approx(0.9, abs=0.01))
    assert running.store.trial(0, 1).findings == ()


# --- what strikes -----------------------------------------------------------------------------------------------------


def other_base(controller: Controller) -> None:
    hashes = json.loads(files_of(controller).result.read_text())["hashes"]
    change_result(files_of(controller).result, hashes=hashes | {"base": "f" * 64})


def other_model(controller: Controller) -> None:
    (files_of(controller).model / "model.safetensors").write_text("weights from elsewhere")


def model_of_another_place(controller: Controller) -> None:
    change_result(files_of(controller).result, model={"name": "m", "path": str(controller.paths.root / "elsewhere")})


def other_rows_file(controller: Controller) -> None:
    spec = json.loads(files_of(controller).spec.read_text())
    files_of(controller).spec.write_text(json.dumps(spec | {"eval_rows": str(controller.paths.block)}))


def foreign_checkpoint(controller: Controller) -> None:
    spec = json.loads(files_of(controller).spec.read_text())
    files_of(controller).spec.write_text(json.dumps(spec | {"resume_from": ["/elsewhere/checkpoints"]}))


def other_rules(controller: Controller) -> None:
    # collected already: a result that names other rules is refused before it comes so far
    controller.work.record = _before_trial_ends(
        controller, lambda: change_result(files_of(controller).result, eval_digest="e" * 64)
    )


def other_dev_rows(controller: Controller) -> None:
    hashes = json.loads(files_of(controller).result.read_text())["hashes"]
    change_result(files_of(controller).result, hashes=hashes | {"rows": "d" * 64})


def edited_answers(controller: Controller) -> None:
    rows = list(read_samples(files_of(controller).samples))
    write_samples(files_of(controller).samples, [row._replace(answer=row.reference, score=1.0) for row in rows])


def edited_scores(controller: Controller) -> None:
    """Consistently, the digest too: only judging the answers again tells."""
    rows = list(read_samples(files_of(controller).samples))
    write_samples(files_of(controller).samples, [row._replace(score=1.0) for row in rows])
    _sign(controller, value=1.0)


def missing_answers(controller: Controller) -> None:
    rows = list(read_samples(files_of(controller).samples))[:-5]
    write_samples(files_of(controller).samples, rows)
    _sign(controller, value=sum(row.score for row in rows) / len(rows), n=len(rows))


def higher_claim(controller: Controller) -> None:
    _sign(controller, value=0.99)


def no_answers(controller: Controller) -> None:
    files_of(controller).samples.unlink()


def _sign(controller: Controller, **score: object) -> None:
    path = files_of(controller).result
    result = json.loads(path.read_text())
    result["scores"]["main"] |= score | {"high": 1.0}
    hashes = result["hashes"] | {"samples": file_digest(files_of(controller).samples)}
    change_result(path, scores=result["scores"], hashes=hashes)


def _before_trial_ends(controller: Controller, change: Callable[[], None]) -> Callable[..., None]:
    record = controller.store.record

    def changed(event: object) -> None:
        record(event)
        if type(event).__name__ == "TrialEnded":
            change()

    return changed


def manifest_of(controller: Controller) -> tuple[Path, dict]:
    path = controller.paths.data(1) / "manifest.json"
    return path, json.loads(path.read_text())


def other_recipe(controller: Controller) -> None:
    path, manifest = manifest_of(controller)
    manifest["recipe"]["steps"][0]["limit"] = 7
    path.write_text(json.dumps(manifest))


def changed_source(controller: Controller) -> None:
    name = next(iter(manifest_of(controller)[1]["sources"]))
    with (controller.paths.sources / f"{name}.jsonl").open("a") as handle:
        handle.write('{"row_id": "x:1", "prompt": "new", "answer": "row", "source": "x"}\n')


def lost_rows(controller: Controller) -> None:
    path, manifest = manifest_of(controller)
    manifest["steps"].insert(0, manifest["steps"][0] | {"rows_out": 3})
    path.write_text(json.dumps(manifest))


def no_decontamination(controller: Controller) -> None:
    path, manifest = manifest_of(controller)
    manifest["steps"] = []
    path.write_text(json.dumps(manifest))


def changed_rows(controller: Controller) -> None:
    _add_row(controller, "a row that nobody prepared", sign=False)


def leaked_prompt(controller: Controller) -> None:
    dev = json.loads(controller.paths.dev.read_text().splitlines()[3])
    _add_row(controller, f"  {dev['prompt'].upper()}")


def leaked_test_prompt(controller: Controller) -> None:
    """The test is known to the scan by its hashes; the controller never opens the file."""
    controller.paths.test.chmod(0o600)
    test = json.loads(controller.paths.test.read_text().splitlines()[3])
    _add_row(controller, test["prompt"])
    controller.paths.test.unlink()


def hidden_leak(controller: Controller) -> None:
    dev = json.loads(controller.paths.dev.read_text().splitlines()[3])
    _add_row(controller, "\u200b".join(dev["prompt"]))


def _add_row(controller: Controller, prompt: str, *, sign: bool = True) -> None:
    path, manifest = manifest_of(controller)
    folder = path.parent / "rows"
    rows = _read(folder)
    rows.append({"row_id": "crowd:leak", "prompt": prompt, "answer": "1", "source": rows[0]["source"]})
    write_rows(folder, rows)
    if sign:
        manifest["rows"] = len(rows)
        manifest["rows_by_source"][rows[0]["source"]] += 1
        manifest["steps"][-1]["rows_out"] = len(rows)
        manifest["files"] = {name: file_digest(path.parent / name) for name in manifest["files"]}
        path.write_text(json.dumps(manifest))


def _read(folder: Path) -> list[dict[str, str]]:
    import pyarrow as pa

    with pa.OSFile(str(folder / "data.arrow"), "rb") as source:
        return pa.ipc.open_stream(source).read_all().to_pylist()


STRIKES = [
    (other_base, "its base has digest ffffffffffff"),
    (other_model, "the model has digest"),
    (model_of_another_place, "was not made by this trial"),
    (foreign_checkpoint, "no earlier attempt of this trial"),
    (other_rows_file, "not on the search's task/dev.jsonl"),
    (other_rules, "measured by rules eeeeeeeeeeee"),
    (other_dev_rows, "its dev rows have digest dddddddddddd"),
    (edited_answers, "the answers were changed after the job wrote them"),
    (edited_scores, "answers, judged again, score otherwise"),
    (missing_answers, "5 have no answer"),
    (higher_claim, "the result claims 0.9900"),
    (no_answers, "the answers behind the score are gone"),
    (other_recipe, "not by the one that was asked for"),
    (changed_source, "the data were made of"),
    (lost_rows, "the one before it left 3"),
    (no_decontamination, "without decontamination"),
    (changed_rows, "are not those that were prepared"),
    (leaked_prompt, "1 of "),
    (leaked_test_prompt, "have a prompt of dev or test, e.g. crowd:leak"),
    (hidden_leak, "have a dev prompt in other signs"),
]


@pytest.mark.parametrize(("change", "words"), STRIKES, ids=[change.__name__ for change, _ in STRIKES])
def test_what_contradicts_the_claim_strikes_it(running: Controller, change, words: str) -> None:
    change(running)
    running.tick()
    assert any(words in text for text in texts(running, "strike")), running.store.trial(1, 1).findings
    view = running.store.node(1)
    assert (view.state, view.score, view.trials[0].score) == (NodeState.STRUCK, None, None)
    assert view.trials[0].state is TrialState.DONE
    assert view.trials[0].claimed is not None
    assert view.message in texts(running, "strike")
    assert view.report == "", "nobody reads what is no evidence"
    assert running.store.best_node() == 0
    for one in view.trials[0].findings:
        assert not one.record or (running.paths.root / one.record).parent.is_dir(), "a record that can be looked up"


def test_a_search_that_the_job_saw_under_another_path_is_no_contradiction(running: Controller) -> None:
    """A link, or another mount on the compute nodes: places are compared within the search."""
    for path in (files_of(running).spec, files_of(running).result):
        path.write_text(path.read_text().replace(str(running.paths.root), "/mnt/other/claims"))
    running.tick()
    assert texts(running, "strike") == []
    assert running.store.node(1).state is NodeState.DONE


def test_only_the_designs_own_fault_is_charged(running: Controller) -> None:
    hidden_leak(running)
    running.tick()
    assert running.store.node(1).reward == 0
    assert running.store.stats()[1].visits == 1


def test_a_fault_of_files_is_not_charged(running: Controller) -> None:
    edited_answers(running)
    running.tick()
    assert running.store.node(1).reward is None
    assert running.store.stats()[1].visits == 0


# --- what is only told ------------------------------------------------------------------------------------------------


def test_records_of_an_earlier_version_are_a_note_and_never_a_strike(running: Controller) -> None:
    change_result(files_of(running).result, hashes={}, eval_digest="")
    shutil.rmtree(running.paths.data(1))
    running.tick()
    assert running.store.node(1).state is NodeState.DONE
    assert texts(running, "strike") == []
    assert any(
        "not on record, so not checked: base, data, model, rows, rules, samples" in one
        for one in texts(running, "note")
    )


def test_answers_that_are_all_alike_are_told(running: Controller) -> None:
    rows = [
        row._replace(answer="7", score=float(row.reference == "7")) for row in read_samples(files_of(running).samples)
    ]
    write_samples(files_of(running).samples, rows)
    _sign(running, value=sum(row.score for row in rows) / len(rows))
    running.tick()
    assert any("answers are '7'" in one for one in texts(running, "note"))
    assert running.store.node(1).state is NodeState.DONE


# --- what follows -----------------------------------------------------------------------------------------------------


def test_a_struck_round_is_not_chosen_and_restore_brings_it_back(running: Controller, cluster: HonestCluster) -> None:
    edited_scores(running)
    running.tick()
    assert running.store.node(1).struck
    until(running, cluster, lambda: running.store.node_ids(NodeState.PENDING) == [2])
    lines = running.ask(Request(action="restore", node=1, note="my own edit", user="eve"))
    assert any("node 1 is restored by eve" in line for line in lines)
    assert running.store.node(1).score == 1.0
    assert running.store.best_node() == 1
    running.tick()
    assert running.store.node(1).report, "it is read now"
    assert not running.store.node(1).struck, "the check does not strike it again"


def test_a_search_with_a_struck_round_ends_with_another_choice(running: Controller, cluster: HonestCluster) -> None:
    edited_scores(running)
    paths = running.paths
    running.close()
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
        assert controller.store.chosen().node == 2
        assert controller.store.node(1).struck
        with pytest.raises(UsageProblem, match="final choice has fallen on node 2"):
            controller.ask(Request(action="strike", node=2, note="late", user="eve"))
        assert any(
            "choice has been made: it stays" in line
            for line in controller.ask(Request(action="restore", node=1, note="n", user="e"))
        )
        assert controller.store.chosen().node == 2
    assert check(paths) == []


def test_the_next_best_trial_stands_for_a_round_whose_best_is_struck(search, cluster: HonestCluster) -> None:
    paths = search(max_nodes=1, trials=2, parallel=2, name="two")
    cluster.quality = {(1, 1): 0.6, (1, 2): 0.9}
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: any(one.trial == 2 for one in controller.store.live_attempts()))
        cluster.finish_all()
        for trial in (1, 2):
            if not paths.attempt(1, trial, 1).result.exists():
                pytest.fail("both trials should have run at once")
        (paths.attempt(1, 2, 1).model / "model.safetensors").write_text("other")
        controller.tick()
        view = controller.store.node(1)
        assert (view.state, view.best_trial, view.score) == (NodeState.DONE, 1, pytest.approx(0.6, abs=0.01))
        controller.ask(Request(action="restore", node=1, note="n", user="eve"))
        assert controller.store.node(1).best_trial == 2


def test_a_struck_baseline_ends_the_search_and_restore_sets_it_going(search, cluster: HonestCluster) -> None:
    paths = search(max_nodes=1, trials=1, parallel=1, name="root")
    with Controller(paths) as controller:
        controller.start()
        until(controller, cluster, lambda: any(one.kind == "baseline" for one in controller.store.live_attempts()))
        cluster.finish_all()
        paths.attempt(0, 1, 1).samples.unlink()
        assert controller.tick().finished
        state, why = controller.store.state()
        assert state is SearchState.FAILED
        assert "it is struck: the answers behind the score are gone" in why
        controller.ask(Request(action="restore", node=0, note="n", user="eve"))
        assert controller.store.state()[0] is SearchState.RUNNING
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE


# --- what a person says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "node", "words"),
    [
        ("strike", 0, "node 0 is the baseline"),
        ("restore", 1, "nothing of node 1 is struck"),
        ("strike", 2, "has no result to strike"),
        ("restore", 2, "node 2 is under way"),
    ],
)
def test_what_cannot_be_done_is_refused(running: Controller, cluster: HonestCluster, action, node, words) -> None:
    until(running, cluster, lambda: running.store.node_ids(NodeState.PENDING) == [2])
    with pytest.raises(UsageProblem, match=words):
        running.ask(Request(action=action, node=node, note="n", user="eve"))
    assert waiting(running.paths) == []


def test_an_unknown_node_is_not_found(running: Controller) -> None:
    with pytest.raises(NotFound):
        running.ask(Request(action="strike", node=9, note="n", user="eve"))


def test_a_strike_that_was_recorded_before_a_death_is_not_done_twice(running: Controller) -> None:
    running.tick()
    request = Request(action="strike", node=1, note="a leak", user="eve")
    running.ask(request)
    seq = running.store.last_seq()
    running.ask(request)
    assert running.store.last_seq() == seq
    with pytest.raises(UsageProblem, match="struck already"):
        running.ask(Request(action="strike", node=1, note="another", user="bob"))


def test_trials_that_took_over_a_struck_result_fall_and_rise_with_it(
    running: Controller, cluster: HonestCluster
) -> None:
    from hpc_trex.tree.events import NodeAdded, NodeEnded, TrialAdded, TrialEnded

    running.tick()
    store, source = running.store, running.store.trial(1, 1)
    plan = store.node(1).plan
    node = store.next_node()
    store.record(NodeAdded(node=node, parent=1, plan=plan))
    store.record(
        TrialAdded(node=node, trial=1, kind="train", plan=plan.trials[0], identity=source.identity, reused_from=(1, 1))
    )
    store.record(TrialEnded(node=node, trial=1, state="done", score=source.score, result=source.result))
    store.record(NodeEnded(node=node, state="done", score=source.score, best_trial=1))
    running.ask(Request(action="strike", node=1, note="n", user="eve"))
    assert store.node(node).struck
    assert texts(running, "strike", node) == ["its result is that of node 1 trial 1, which is struck"]
    running.ask(Request(action="restore", node=1, note="n", user="eve"))
    assert store.node(node).score == source.score
    assert not store.node(node).struck


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [14, 20, 23, 24, 25, 26, 30])
def test_a_kill_at_any_step_strikes_once_and_charges_nothing(
    search, cluster, monkeypatch, at: int, after: bool
) -> None:
    paths = search(max_nodes=2, trials=1, parallel=1, name="killed")
    cluster.quality, cluster.dishonest = {(1, 1): 0.9, (2, 1): 0.5}, {(1, 1)}
    assert run_with_kill(paths, cluster, monkeypatch, at, after=after), "the fuse must blow, or this tests nothing"
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
        assert controller.store.chosen().node == 2
        assert controller.store.node(1).struck
        assert max(cluster.starts.values()) == 1
        events = paths.events.read_text()
    assert events.count('"type":"claim_checked","node":1,"trial":1') == 1
    assert events.count('"state":"struck"') == 1
    assert check(paths) == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("action", ["strike", "restore"])
def test_a_kill_while_a_person_is_obeyed_loses_nothing(
    running: Controller, cluster, monkeypatch, action, after
) -> None:
    running.tick()
    if action == "restore":
        running.ask(Request(action="strike", node=1, note="n", user="eve"))
    place(running.paths, Request(action=action, node=1, note="a word", user="bob"))
    paths = running.paths
    running.close()
    assert run_with_kill(paths, cluster, monkeypatch, 1, after=after)
    with Controller(paths) as controller:
        controller.start()
        controller.tick()
        assert controller.store.node(1).struck == (action == "strike")
        assert [one.note for one in verdicts(controller.store, 1)][-1:] == ["a word"]
        assert [one.user for one in verdicts(controller.store, 1)].count("bob") == 1
    assert waiting(paths) == []
