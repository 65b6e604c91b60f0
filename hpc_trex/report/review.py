"""What the Reviewer found of a finished round's claim, and what persons decided, in lines for ``show`` and the report."""

from __future__ import annotations

from collections.abc import Sequence

from hpc_trex.models import ClaimFinding, NodeView, TrialView, VerdictView

#: Standard errors of a difference of two scores that a gain must have to be one (as in the diagnosis).
TO_CLAIM = 2.0


def review_lines(
    node: NodeView,
    parent: NodeView | None = None,
    *,
    noise: float | None = None,
    higher: bool = True,
    verdicts: Sequence[VerdictView] = (),
) -> list[str]:
    """Return the verdict, then every finding with the file that says so; nothing of a round that nobody has looked at.

    ``noise``: the measured standard deviation of a score between seeds.
    """
    lines = [_verdict(one) for one in verdicts]
    trials = [trial for trial in node.trials if trial.findings is not None]
    if node.struck and not verdicts:
        lines.append(f"struck: {node.message}" + (" (charged)" if node.reward == 0 else ""))
    findings = [line for trial in trials for line in _of_trial(trial)]
    gain = gain_note(node, parent, noise=noise, higher=higher)
    findings += [_finding("note", gain)] if gain is not None else []
    if trials and not findings and not lines:
        return [f"nothing found in the records of {len(trials)} trial(s)"]
    return lines + findings


def gain_note(
    node: NodeView, parent: NodeView | None, *, noise: float | None = None, higher: bool = True
) -> ClaimFinding | None:
    """Return a note on a gain over the parent that is not above two standard errors of a difference; None where it is, or
    where nothing is gained.

    Before the noise between seeds is measured, the sampling error stands in: half the confidence interval of the round's
    best trial divided by 1.96.
    """
    if node.score is None or parent is None or parent.score is None:
        return None
    gain = (node.score - parent.score) * (1 if higher else -1)
    sd = noise if noise is not None else _sampling_error(node)
    if sd is None or gain <= 0 or gain > TO_CLAIM * sd * 2**0.5:
        return None
    what = "noise" if noise is not None else "a sampling error of"
    needed = TO_CLAIM * sd * 2**0.5
    text = f"not a gain: {gain:+.3f} over node {parent.id} with {what} {sd:.3f} (a gain is above {needed:.3f})"
    return ClaimFinding(check="gain", severity="note", text=text)


def _sampling_error(node: NodeView) -> float | None:
    trial = next((one for one in node.trials if one.trial == node.best_trial), None)
    main = trial.result.scores.get("main") if trial is not None and trial.result is not None else None
    return None if main is None or main.high <= main.low else (main.high - main.low) / (2 * 1.96)


def _verdict(one: VerdictView) -> str:
    what = "struck" if one.struck else "restored"
    why = f": {one.note}" if one.note else ""
    return f"{what} by {one.user}, {one.time[:16].replace('T', ' ')} UTC{why}"


def _of_trial(trial: TrialView) -> list[str]:
    """Return the findings of a trial; what a person has overruled is told as such."""
    lines = []
    for one in trial.findings or ():
        overruled = one.severity == "strike" and not trial.struck
        lines.append(f"trial {trial.trial}  " + _finding("overruled" if overruled else one.severity, one))
    return lines


def _finding(word: str, one: ClaimFinding) -> str:
    return f"{word:<6}  {one.check}: {one.text}" + (f"  [{one.record}]" if one.record else "")
