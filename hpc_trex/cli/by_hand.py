"""What ``train``, ``evaluate`` and ``reproduce`` share: how they tell of a job and of its result."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hpc_trex.cli.errors import INTERRUPTED
from hpc_trex.cli.options import emit, emit_json

if TYPE_CHECKING:
    from hpc_trex.models import JobResult


def say(line: str) -> None:
    """Tell of progress on stderr; on a terminal a heartbeat takes the place of the one before."""
    beats = ("starting", "loading", "pretraining", "preparing", "training", "evaluating", "saving")
    if sys.stderr.isatty() and line.startswith(beats):
        click.echo(f"\r\033[K{line}", err=True, nl=False)
    else:
        click.echo(line, err=True)


def outcome(result: JobResult, *, json: bool, again: str) -> int:
    """Print a result and return the exit code: 0, 1 for a failure, 130 for a job that was stopped by hand."""
    from hpc_trex.models import FailureClass

    if sys.stderr.isatty():
        click.echo("", err=True)
    if json:
        emit_json({"result": result.model_dump(mode="json")})
    elif result.state == "succeeded":
        emit("\n".join(result_lines(result)))
    if result.state == "succeeded":
        return 0
    assert result.failure is not None
    if not json:
        click.echo(f"{result.failure.value}: {result.message}", err=True)
    if result.failure is FailureClass.PREEMPTED:
        click.echo(f"hint: go on with: {again}", err=True)
        return INTERRUPTED
    return 1


def result_lines(result: JobResult) -> list[str]:
    """Return a result for a person."""
    lines = [
        f"{name:<10} {score.metric} {score.value:.4f} [{score.low:.4f}, {score.high:.4f}], n = {score.n}"
        for name, score in result.scores.items()
    ]
    if result.steps:
        speed = f", {result.tokens_per_second:,.0f} tokens/s" if result.tokens_per_second else ""
        resumed = f", resumed from step {result.resumed_from_step}" if result.resumed_from_step else ""
        lines.append(f"steps      {result.steps} in {result.seconds:.0f} s{speed}{resumed}")
    if result.padding_share is not None:
        lines.append(f"padding    {result.padding_share:.1%}")
    if result.model is not None:
        lines.append(f"model      {result.model.adapter or result.model.path}")
        if result.model.adapter:
            lines.append(f"on base    {result.model.path}")
    return lines
