"""Answers that a job of their own scores: submitted once, tried again as all jobs are, its scores the trial's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_trex.controller import Controller
from hpc_trex.controller.budget import Hours, fits
from hpc_trex.controller.spec import resources_of
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.files import write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import FailureClass, JobKind, JobSpec, SearchState, TrialState
from hpc_trex.tree.check import check
from hpc_trex.tree.openings import openings
from tests.unit.controller.conftest import until
from tests.unit.controller.simulation import Cluster, result_of

GENERATING = (JobKind.BASELINE, JobKind.TRAIN, JobKind.TEST)


class ScoringCluster(Cluster):
    """Jobs with a model leave answers; jobs of kind score give what the others would have given."""

    def __init__(self) -> None:
        super().__init__()
        self.fail: list[FailureClass] = []  # what the next scoring jobs end with
        self.seen: list[JobSpec] = []

    def finish(self, token: str, *, failure: FailureClass | None = None) -> None:
        request = self.live.pop(token)
        spec = JobSpec.model_validate_json(request.spec.read_bytes())
        self.seen.append(spec)
        if spec.kind is JobKind.SCORE:
            failure = self.fail.pop(0) if self.fail else failure
        result = result_of(self.like(spec), failure)
        if spec.kind in GENERATING and failure is None:
            names = ("base", "chosen") if spec.kind is JobKind.TEST else ("main",)
            left = {name: str(request.directory / f"answers-{name}.jsonl") for name in names}
            result = result.model_copy(update={"scores": {}, "unscored": left})
        write_record(request.directory / "result.json", result.model_copy(update={"token": spec.token}))

    def like(self, spec: JobSpec) -> JobSpec:
        """Return the spec of the job whose answers are scored."""
        if spec.kind is not JobKind.SCORE:
            return spec
        made = next(iter(spec.to_score.values()))
        return JobSpec.model_validate_json((Path(made).parent / "spec.json").read_bytes())

    def kinds(self) -> list[str]:
        return [spec.kind.value for spec in self.seen]


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> ScoringCluster:
    from hpc_trex.controller import loop

    made = ScoringCluster()
    monkeypatch.setattr(loop, "make_scheduler", lambda profile: made)
    return made


def driven(paths: SearchPaths, cluster: ScoringCluster) -> Controller:
    controller = Controller(paths)
    controller.start()
    try:
        for _ in range(200):
            if controller.tick().finished:
                return controller
            cluster.finish_all()
    except EnvironmentProblem:
        controller.close()
        raise
    raise AssertionError("not over")


def test_a_whole_search_whose_answers_are_scored_apart(search: Callable[..., SearchPaths], scoring: ScoringCluster):
    paths = search(max_nodes=2, eval_scoring="own-job")
    controller = driven(paths, scoring)
    store = controller.store
    assert store.state()[0] is SearchState.DONE
    kinds = scoring.kinds()
    assert kinds.count("score") == sum(kinds.count(kind.value) for kind in GENERATING)
    for attempt in store.attempts():
        assert (attempt.gpus, attempt.kind is JobKind.SCORE) != (1, True)
    for trial in (trial for node in range(3) for trial in store.node(node).trials):
        assert trial.state is TrialState.DONE
        assert trial.result is not None
        assert trial.result.scores
        if trial.kind is JobKind.TRAIN:  # the model is that of the training
            assert trial.result.model is not None
            assert [one.kind for one in store.attempts(trial.node, trial.trial)] == [JobKind.TRAIN, JobKind.SCORE]
    assert store.test_score() is not None
    assert [(one.attempt, one.why) for one in openings(store)] == [
        (1, "the final evaluation"),
        (2, "the scoring of its answers"),
    ]
    controller.close()
    assert check(paths) == []


def test_only_the_scoring_of_the_test_is_told_of_the_sealed_rows(
    search: Callable[..., SearchPaths], scoring: ScoringCluster
):
    paths = search(max_nodes=1, eval_scoring="own-job")
    driven(paths, scoring).close()
    told = [spec for spec in scoring.seen if str(paths.test) in spec.model_dump_json()]
    assert [(spec.kind, sorted(spec.to_score)) for spec in told] == [
        (JobKind.TEST, []),
        (JobKind.SCORE, ["base", "chosen"]),
    ]


def test_a_scoring_that_is_lost_is_tried_again_and_the_training_is_not(
    search: Callable[..., SearchPaths], scoring: ScoringCluster
):
    scoring.fail = [FailureClass.NODE_FAIL, FailureClass.PREEMPTED]
    paths = search(max_nodes=0, eval_scoring="own-job")
    controller = driven(paths, scoring)
    assert [one.kind.value for one in controller.store.attempts(0, 1)] == ["baseline", "score", "score", "score"]
    assert controller.store.node(0).score == 0.3
    controller.close()


def test_a_library_that_lacks_pauses_the_search_and_the_answers_wait(
    search: Callable[..., SearchPaths], scoring: ScoringCluster
):
    scoring.fail = [FailureClass.ENVIRONMENT] * 3
    paths = search(max_nodes=0, eval_scoring="own-job")
    with pytest.raises(EnvironmentProblem, match="3 times because of its environment"):
        driven(paths, scoring)
    scoring.live.clear()
    again = driven(paths, scoring)
    assert again.store.state()[0] is SearchState.DONE
    assert scoring.kinds().count("baseline") == 1
    again.close()


def test_a_scoring_that_fails_for_good_fails_its_trial_and_no_agent_repairs_it(
    search: Callable[..., SearchPaths], scoring: ScoringCluster
):
    scoring.fail = [FailureClass.CONFIG]
    paths = search(max_nodes=0, eval_scoring="own-job")
    controller = driven(paths, scoring)
    assert controller.store.state()[0] is SearchState.FAILED
    assert controller.store.trial(0, 1).failure is FailureClass.CONFIG
    assert scoring.kinds().count("score") == 1
    controller.close()


def test_the_scoring_of_what_runs_is_within_the_cap(search: Callable[..., SearchPaths], scoring: ScoringCluster):
    """A training is asked for only where its answers can be scored too."""
    from hpc_trex.controller import budget

    paths = search(max_nodes=1, eval_scoring="own-job")
    controller = Controller(paths)
    controller.start()
    work = controller.work
    one = budget._scoring(work)
    assert one.cpu > 0
    assert one.gpu == 0
    assert budget._owed(work, JobKind.TRAIN) == Hours(0, 0)
    controller.tick()
    assert fits(work, JobKind.SCORE)
    controller.close()


def test_a_lost_job_is_run_again_where_the_cap_bears_one_scoring(
    search: Callable[..., SearchPaths], scoring: ScoringCluster
):
    """The scoring that a trial under way is owed was counted twice, and the search given up below its cap."""
    from hpc_trex.controller import budget

    controller = Controller(search(max_nodes=0, eval_scoring="own-job"))
    controller.start()
    work = controller.work
    until(controller, scoring, lambda: scoring.live and JobKind.BASELINE in {one.kind for one in scoring.live.values()})
    one = budget._scoring(work).cpu
    jobs = [budget.worst(resources_of(work, kind)).cpu for kind in (JobKind.BASELINE, JobKind.TEST)]
    cap = work.config.budget.model_copy(update={"cpu_hours": sum(jobs) + 2.5 * one})
    vars(work)["config"] = work.config.model_copy(update={"budget": cap})
    (token,) = scoring.live
    scoring.finish(token, failure=FailureClass.NODE_FAIL)
    controller.tick()
    assert [attempt.kind for attempt in work.store.attempts(0, 1)] == [JobKind.BASELINE, JobKind.BASELINE]
    controller.close()
