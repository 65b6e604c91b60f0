"""A score counts only if it was measured as the whole search is: same prompt, decoding, metric and scoring."""

from __future__ import annotations

from hpc_trex.controller.context import Work
from hpc_trex.ftbench.frozen import eval_digest
from hpc_trex.models import FailureClass, JobResult, TrialState


def by_the_rules(work: Work, result: JobResult) -> JobResult:
    """Return the result; one that was measured by other rules than the search's as failed (ENVIRONMENT), without scores.

    The rules are those of the baseline, whose result is on record; before there is one, those of the frozen card.
    A result that names none (of an earlier version) is taken as it is.
    """
    if result.state != "succeeded" or not result.scores or not result.eval_digest:
        return result
    wanted = _rules(work)
    if result.eval_digest == wanted:
        return result
    message = (
        f"the evaluation's rules differ from those of the search (eval_digest {result.eval_digest[:12]}, not "
        f"{wanted[:12]}): task/card.json was edited, or the job ran another version of hpc-trex; put it back"
    )
    return result.model_copy(
        update={"state": "failed", "failure": FailureClass.ENVIRONMENT, "message": message, "scores": {}, "model": None}
    )


def _rules(work: Work) -> str:
    baseline = next((trial for trial in work.store.node(0).trials if trial.state is TrialState.DONE), None)
    recorded = baseline.result.eval_digest if baseline and baseline.result else ""
    return recorded or eval_digest(work.card, work.config.evaluate)
