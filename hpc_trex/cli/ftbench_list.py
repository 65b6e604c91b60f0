"""``hpc-trex ftbench list``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import emit, emit_json, json_option, look

if TYPE_CHECKING:
    from hpc_trex.ftbench.overview import Overview

HEAD = ("task", "suite", "metric", "train", "dev", "test", "licence", "training", "state", "title")
#: Columns of the licence; ``ftbench show`` has all of it.
LICENCE = 20


@click.command("list")
@click.option("--suite", help="Only the tasks of a suite: ftbench, ftbench-mini, or a folder of task cards.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, suite: str | None, json: bool) -> None:
    """List the task cards: suite, metric, rows, licence, whether training on them is allowed, whether they are fetched.

    A card that is wrong is named, with exit code 2, and hides no other.
    """
    from hpc_trex.ftbench.overview import overviews
    from hpc_trex.ftbench.suites import suite_tasks

    found, wrong = overviews(None if suite is None else suite_tasks(suite))
    if json:
        emit_json({"tasks": [as_json(one) for one in found]})
    else:
        _print_table(found)
    for problem in wrong:
        click.echo(f"error: {problem.message}" + (f"\nhint: {problem.hint}" if problem.hint else ""), err=True)
    ctx.exit(wrong[0].exit_code if wrong else 0)


def _print_table(found: Sequence[Overview]) -> None:
    table = [HEAD, *map(_cells, found)]
    wide = [max(len(cells[column]) for cells in table) for column in range(len(HEAD) - 1)]
    for cells in table:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, [*wide, 0], strict=True))
        emit(look().cut_end(line.rstrip()))


def as_json(one: Overview) -> dict[str, object]:
    """Return a card with what is known of it on this site."""
    told = {"suite": one.suite, "state": one.state, "row_counts": one.rows()}
    built = one.built
    return (
        one.card.model_dump(mode="json")
        | told
        | {"build": built and built.item.model_dump(mode="json") | {"folder": str(built.folder)}}
    )


def _cells(one: Overview) -> tuple[str, ...]:
    counts = ["-" if count is None else str(count) for count in one.rows().values()]
    training = "allowed" if one.card.training_allowed else "FORBIDDEN"
    card = one.card
    licence = card.licence if len(card.licence) <= LICENCE else f"{card.licence[: LICENCE - 3]}..."
    return (card.name, one.suite, card.metric.shown, *counts, licence, training, one.state, card.title)
