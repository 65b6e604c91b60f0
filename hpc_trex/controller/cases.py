"""The bad cases of a finished round against its parent's: read from the jobs' files, kept as ``cases.json``.

The file is made anew from the samples whenever a round is read, before its diagnosis is recorded: a controller that dies
in between writes it again. It is for people and the report; nothing is decided by it, so the log holds no copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from hpc_trex.agents.movement import Before, Outcomes, case_report, outcomes
from hpc_trex.agents.protocol import Sample
from hpc_trex.controller.context import Work
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.files import read_record, write_record
from hpc_trex.models import JobKind, NodeView, TrialView
from hpc_trex.models.cases import CaseReport
from hpc_trex.samples import read_samples

#: Rows of a file that are read at most: what a tick costs does not grow with the dev split.
SAMPLES_READ = 2000


def evaluated(view: NodeView) -> TrialView | None:
    """Return a round's best trial where its dev rows were kept."""
    trial = next((one for one in view.trials if one.trial == view.best_trial), None)
    if trial is None or trial.result is None or trial.result.samples is None or trial.kind is JobKind.TEST:
        return None
    return trial


def samples_of(work: Work, view: NodeView) -> Iterator[Sample]:
    """Yield the evaluated dev rows of a round's best trial; none where a person has removed the file.

    Raises :class:`EnvironmentProblem` for a file that was changed.
    """
    trial = evaluated(view)
    if trial is None or trial.result is None or trial.result.samples is None:
        return
    path = work.paths.here(trial.result.samples)
    if path.exists():
        yield from islice(read_samples(path), SAMPLES_READ)


def make_cases(work: Work, view: NodeView) -> CaseReport | None:
    """Return the bad cases of a finished round and write them into its folder; None where it left no rows."""
    rows = outcomes(samples_of(work, view), work.card)
    trial = evaluated(view)
    file = work.paths.cases(view.id)
    if trial is None or not rows:
        file.unlink(missing_ok=True)  # of an earlier reading, before the round was opened again
        return None
    report = case_report(work.card, view.id, trial.trial, rows, _before(work, view, trial))
    if read_record(file, CaseReport) != report:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_record(file, report)
    return report


def _before(work: Work, view: NodeView, trial: TrialView) -> Before | str:
    """Return the rows of the parent's best trial, or why there are none."""
    if view.parent is None:
        return "the baseline has no parent"
    parent = work.store.node(view.parent)
    theirs = evaluated(parent)
    if theirs is None:
        return f"node {parent.id} has no evaluated rows ({parent.state.value})"
    ours, other = (one.result.eval_digest if one.result else "" for one in (trial, theirs))
    if ours and other and ours != other:
        return f"node {parent.id} was evaluated in another way: its samples belong to another evaluation"
    try:
        rows: Outcomes = outcomes(samples_of(work, parent), work.card)
    except EnvironmentProblem as problem:
        return f"the samples of node {parent.id} cannot be read: {problem.message}"
    return Before(parent.id, theirs.trial, rows) if rows else f"the samples of node {parent.id} are gone"
