"""The raw records behind a score, read for the Reviewer; nothing is decided here (:mod:`hpc_trex.agents.claims`).

Each file is read once. The data: :mod:`.claim_data`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hpc_trex.agents.claim_records import Records
from hpc_trex.controller.claim_data import data_facts, read_dev
from hpc_trex.controller.context import Work
from hpc_trex.controller.scoring import generator_of, whole_result
from hpc_trex.errors import EnvironmentProblem, UsageProblem
from hpc_trex.evaluation.scorers import AGGREGATES, SCORERS
from hpc_trex.files import folder_digest, read_record
from hpc_trex.ftbench.frozen import eval_digest
from hpc_trex.models import (
    AttemptState,
    AttemptView,
    JobKind,
    JobResult,
    JobSpec,
    MetricSpec,
    NodeView,
    TrialView,
)
from hpc_trex.samples import EvaluatedRow, file_digest, read_samples

#: Metrics that cost next to nothing to judge again, from the raw answer.
JUDGED_AGAIN = ("exact_match", "accuracy", "macro_f1", "json_fields")
#: Metrics that are the mean of the rows' scores, beside the scorers without an aggregate.
MEANS = ("exact_match", "accuracy", "accuracy_norm", "json_fields", "rouge1", "rouge2", "rougeL", "chrf", "lm_eval")


def records_of(work: Work, view: NodeView, trial: TrialView) -> Records | None:
    """Return what there is of a trial's records; None for one that never had a job of its own."""
    counting = [one for one in work.store.attempts(view.id, trial.trial) if _counts(one)]
    attempt = generator_of(counting)
    if attempt is None:
        return None
    paths, files = work.paths, work.attempt_paths(attempt)
    result = whole_result(work, counting)
    unread: dict[str, str] = {}
    answered = work.attempt_paths(counting[-1]).samples  # where the answers were scored
    samples = _samples(answered, unread)
    digests = {"rows": _digest("rows", paths.dev, unread), "samples": _digest("samples", answered, unread)}
    if files.model.is_dir():
        digests["model"] = _digest("model", files.model, unread, folder_digest)
    rules = eval_digest(work.card, work.config.evaluate)
    # Other rules, or none named: an earlier version may have judged the same answers otherwise.
    again = result is not None and result.eval_digest == rules
    first = None if view.id == 0 else _baseline(work)
    return Records(
        root=paths.root,
        node=view,
        trial=trial,
        attempt=attempt,
        spec=read_record(files.spec, JobSpec),
        result=result,
        base=work.base(),
        baseline=first,
        rules=rules,
        dev=read_dev(paths.dev),
        dev_path=paths.dev,
        samples=samples,
        digests=digests,
        unread=unread,
        scored=scored(samples, work.card.metric, again=again) if samples else None,
        data=data_facts(work, view) if trial.kind is JobKind.TRAIN else None,
    )


def _counts(attempt: AttemptView) -> bool:
    return attempt.state is AttemptState.SUCCEEDED and not attempt.superseded


def _digest(name: str, path: Path, unread: dict[str, str], of: Callable[[Path], str] = file_digest) -> str:
    """Return a digest; empty, with the reason among the ``unread``, where the disk does not give what is there."""
    try:
        return of(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        unread[name] = error.strerror or str(error)
        return ""


def _samples(path: Path, unread: dict[str, str]) -> tuple[EvaluatedRow, ...] | None:
    """Return the answers; None for a file that is gone or damaged, and for one that the disk does not give now."""
    try:
        return tuple(read_samples(path))
    except (FileNotFoundError, EnvironmentProblem):
        return None
    except OSError as error:  # a stale handle of a file server contradicts nothing
        unread["samples"] = error.strerror or str(error)
        return None


def _baseline(work: Work) -> JobResult | None:
    return next((trial.result for trial in work.store.node(0).trials if trial.kind is JobKind.BASELINE), None)


# --- the score, again -------------------------------------------------------------------------------------------------


def scored(
    samples: tuple[EvaluatedRow, ...], metric: MetricSpec, *, again: bool
) -> tuple[float, tuple[int, ...]] | None:
    """Return the metric over the answers and which rows score otherwise when they are judged again; None where it cannot
    be told from the rows. ``again``: this version judges as the job did.
    """
    if metric.average == "groups":
        return None
    if again and metric.name in JUDGED_AGAIN and metric.mode == "generate":
        return _judged_again(samples, metric)
    if metric.name in MEANS or (metric.name in SCORERS and metric.name not in AGGREGATES):
        return sum(row.score for row in samples) / len(samples), ()
    return None


def _judged_again(samples: tuple[EvaluatedRow, ...], metric: MetricSpec) -> tuple[float, tuple[int, ...]]:
    from hpc_trex.evaluation.metrics import Judged, judge  # the same rules as in the job, and no torch

    def judged(row: EvaluatedRow) -> Judged:
        try:
            return judge(row.answer, row.reference, metric)
        except UsageProblem:  # a reference that the metric cannot use: no job has scored this row
            return Judged(-1.0, "", "")

    found = [judged(row) for row in samples]
    pairs = enumerate(zip(samples, found, strict=True))
    otherwise = tuple(place for place, (row, one) in pairs if abs(row.score - one.score) > 1e-9)
    if metric.name != "macro_f1":
        return sum(one.score for one in found) / len(found), otherwise
    return macro_f1([one.answer for one in found], [one.wanted for one in found], metric.labels), otherwise


def macro_f1(found: list[str], wanted: list[str], labels: tuple[str, ...]) -> float:
    """Return the mean over classes of 2 TP / (2 TP + FP + FN); a class that occurs nowhere is left out."""
    values = []
    for label in labels or tuple(sorted(set(wanted))):
        hits = sum(1 for one, other in zip(found, wanted, strict=True) if one == other == label)
        total = found.count(label) + wanted.count(label)
        values += [2 * hits / total] if total else []
    return sum(values) / len(values) if values else 0.0
