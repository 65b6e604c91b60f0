"""Answers that wait for a scoring job, and the result of both jobs as one."""

from __future__ import annotations

from collections.abc import Sequence

from hpc_trex.controller.context import Work
from hpc_trex.files import read_record
from hpc_trex.models import AttemptState, AttemptView, JobKind, JobResult


def generator_of(attempts: Sequence[AttemptView]) -> AttemptView | None:
    """Return the attempt whose model answered: the last one that counts and did not score."""
    counts = [one for one in attempts if one.state is AttemptState.SUCCEEDED and not one.superseded]
    return next((one for one in reversed(counts) if one.kind is not JobKind.SCORE), None)


def unscored(work: Work, last: AttemptView) -> bool:
    """Tell whether what an attempt has left is answers, to be scored by a job of their own."""
    if last.kind is JobKind.SCORE:
        return False
    result = read_record(work.attempt_paths(last).result, JobResult)
    return result is not None and bool(result.unscored) and not result.scores


def answers_of(work: Work, node: int, trial: int) -> dict[str, str]:
    """Return the files of answers of a trial, by name; where the search was moved, at their new places."""
    made = generator_of(work.store.attempts(node, trial))
    result = read_record(work.attempt_paths(made).result, JobResult) if made else None
    return {name: str(work.paths.here(path)) for name, path in result.unscored.items()} if result else {}


def whole_result(work: Work, attempts: Sequence[AttemptView]) -> JobResult | None:
    """Return what a trial's jobs have left as one result: of the job with the model, with the scores of the other."""
    made, last = generator_of(attempts), attempts[-1]
    result = read_record(work.attempt_paths(made).result, JobResult) if made else None
    if result is None or last.kind is not JobKind.SCORE:
        return result
    scored = read_record(work.attempt_paths(last).result, JobResult)
    if scored is None:
        return None
    return result.model_copy(
        update={
            "scores": scored.scores,
            "eval_digest": scored.eval_digest,
            "extra_scores": result.extra_scores | scored.extra_scores,
            "samples": scored.samples,
            "hashes": result.hashes | scored.hashes,
        }
    )
