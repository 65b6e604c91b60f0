"""A score that was measured by other rules than the search's is refused when it is collected."""

from hpc_trex.controller import Controller
from hpc_trex.files import read_record, write_record
from hpc_trex.ftbench.frozen import eval_digest
from hpc_trex.models import FailureClass, JobResult, NodeState, TaskCard
from tests.unit.controller.conftest import drive, until


def finish_all(cluster, digest):
    """Let every job end with a result that names its rules: those that it was told to be measured by."""
    for token, request in list(cluster.live.items()):
        cluster.finish(token)
        path = request.directory / "result.json"
        result = read_record(path, JobResult)
        write_record(path, result.model_copy(update={"eval_digest": digest if result.scores else ""}))


def attempts_of(controller, node):
    return [attempt for attempt in controller.work.store.attempts(node) if attempt.trial]


def rules_of(paths, controller, **changes):
    card = TaskCard.model_validate_json(paths.card.read_bytes())
    metric = card.metric.model_copy(update=changes)
    return eval_digest(card.model_copy(update={"metric": metric}), controller.work.config.evaluate)


def test_results_by_the_searchs_own_rules_count(search, cluster, monkeypatch):
    paths = search(max_nodes=2)
    with Controller(paths) as controller:
        rules = rules_of(paths, controller)
    monkeypatch.setattr(cluster, "finish_all", lambda: finish_all(cluster, rules))
    with drive(paths, cluster) as controller:
        assert not [attempt for attempt in controller.work.store.attempts() if attempt.failure]
        baseline = controller.work.store.node(0).trials[0].result
        assert baseline is not None
        assert baseline.eval_digest == rules


def test_a_baseline_by_an_edited_card_is_refused_and_says_so(search, cluster, monkeypatch):
    controller = Controller(search(max_nodes=2))
    controller.start()
    monkeypatch.setattr(cluster, "finish_all", lambda: finish_all(cluster, "0" * 64))
    until(controller, cluster, lambda: any(attempt.failure for attempt in attempts_of(controller, 0)))
    first = next(attempt for attempt in attempts_of(controller, 0) if attempt.failure)
    assert first.failure is FailureClass.ENVIRONMENT
    assert "task/card.json was edited" in first.message
    assert controller.work.store.node(0).score is None
    controller.close()


def test_the_baselines_rules_are_the_searchs_even_for_a_card_that_was_edited_later(search, cluster, monkeypatch):
    paths = search(max_nodes=2)
    with Controller(paths) as controller:
        controller.start()
        rules, others = rules_of(paths, controller), rules_of(paths, controller, max_new_tokens=999)
        monkeypatch.setattr(cluster, "finish_all", lambda: finish_all(cluster, rules))
        until(controller, cluster, lambda: 0 in controller.work.store.node_ids(NodeState.DONE))
    card = TaskCard.model_validate_json(paths.card.read_bytes())
    metric = card.metric.model_copy(update={"max_new_tokens": 999})
    write_record(paths.card, card.model_copy(update={"metric": metric}))
    with Controller(paths) as controller:
        controller.start()
        monkeypatch.setattr(cluster, "finish_all", lambda: finish_all(cluster, others))
        until(controller, cluster, lambda: any(attempt.failure for attempt in attempts_of(controller, 1)))
        assert not controller.work.store.node(1).score
