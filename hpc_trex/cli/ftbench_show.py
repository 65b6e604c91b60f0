"""``hpc-trex ftbench show``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from hpc_trex.cli.ftbench_list import as_json
from hpc_trex.cli.options import emit, emit_json, json_option
from hpc_trex.errors import UsageProblem

if TYPE_CHECKING:
    from hpc_trex.ftbench.overview import Overview
    from hpc_trex.models import Reference


@click.command("show", epilog="Example: hpc-trex ftbench show mini-listops --toml > my-task.toml")
@click.argument("task")
@click.option("--toml", is_flag=True, help="Print the card itself, with every default filled in.")
@json_option
def command(task: str, toml: bool, json: bool) -> None:
    """Tell what TASK is (a built-in task or a card's file): metric, sizes, licence, known scores; it is checked first."""
    from hpc_trex.ftbench.cards import load_card
    from hpc_trex.ftbench.overview import overview

    if toml and json:
        raise UsageProblem("give --toml or --json, not both")
    loaded = load_card(task)
    if toml:
        import tomli_w

        emit(tomli_w.dumps(loaded.card.model_dump(mode="json", exclude_none=True)).rstrip())
        return
    one = overview(loaded)
    if json:
        emit_json({"task": as_json(one)})
    else:
        emit("\n".join(_lines(one)))


def _lines(one: Overview) -> Iterator[str]:
    card = one.card
    yield f"{card.name}  {card.title}".rstrip()
    if card.description.strip():
        yield from (f"  {line}" for line in card.description.strip().splitlines())
    yield _line("suite", one.suite)
    if card.capabilities:
        yield _line("exercises", ", ".join(card.capabilities))
    better = "higher" if card.metric.higher_is_better else "lower"
    how = "the likeliest option" if card.metric.mode == "choice" else f"{card.metric.max_new_tokens} tokens at most"
    yield _line("metric", f"{card.metric.shown}, {better} is better; an answer is {how}")
    yield from _size_lines(one)
    allowed = "allowed" if card.training_allowed else "FORBIDDEN by its licence: bring rows of your own with --source"
    yield _line("licence", f"{card.licence}; training on it is {allowed}")
    if card.tables:
        from hpc_trex.staging.benchmark import planned

        yield from (_line("from", line) for line in planned(card))
    yield from (_line("known", _reference(reference)) for reference in card.references)
    yield from _state_lines(one)
    yield _line("card", str(one.origin))


def _size_lines(one: Overview) -> Iterator[str]:
    from hpc_trex.ftbench.overview import half_width, points

    counts = one.rows()
    if not one.card.sources:
        yield _line("train", "no rows of its own: hpc-trex launch --source NAME=FILE brings them")
    yield _line("rows", ", ".join(f"{name} {'?' if rows is None else rows}" for name, rows in counts.items()))
    for name in ("dev", "test"):
        rows = counts[name]
        if rows:
            yield _line(
                f"one {name}",
                f"row weighs {points(rows):.2f} points; a share near one half is known to about "
                f"±{half_width(rows):.1f} points (95 %)",
            )


def _state_lines(one: Overview) -> Iterator[str]:
    if one.built is None:
        words = "ready: its rows are made or read here"
        if one.state == "not fetched":
            words = f"not fetched on this site: hpc-trex ftbench fetch {one.card.name}"
        yield _line("state", words)
        return
    item = one.built.item
    yield _line("state", f"fetched on {item.fetched_at[:10]} by {item.fetched_by}: {one.built.folder}")
    for name, rows in item.dropped.items():
        yield _line("overlap", f"{rows} rows of {name} stand in another split, or twice: launches leave them out")
    if one.card.test.table is not None:
        yield _line("test", f"sealed apart: {one.built.table(one.card.test.table)}")


def _reference(one: Reference) -> str:
    model = f", {one.model}" if one.model else ""
    role = f" ({one.role})" if one.role and one.role != one.name else ""
    return f"{one.score:g}  {one.name}{role}{model}" + (f"; {one.source}" if one.source else "")


def _line(word: str, text: str) -> str:
    return f"{word:<10} {text}"
