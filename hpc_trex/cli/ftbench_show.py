"""``hpc-trex ftbench show``."""

from __future__ import annotations

import shlex
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
    opened = openings_of(one.card.name)
    if json:
        emit_json({"task": as_json(one) | {"openings": opened}})
    else:
        emit("\n".join([*_lines(one), *_opening_lines(opened)]))


def openings_of(task: str) -> dict[str, int | None]:
    """Return how often each search of this site (of the folder of searches) has opened the task's sealed test.

    None for a search whose tree cannot be read.
    """
    from hpc_trex.errors import TrexError
    from hpc_trex.files import read_record
    from hpc_trex.models import TaskCard
    from hpc_trex.report.openings import times_opened
    from hpc_trex.searches import list_searches
    from hpc_trex.tree.store import Store

    found: dict[str, int | None] = {}
    for paths in list_searches():
        card = read_record(paths.card, TaskCard)
        if card is None or card.name != task:
            continue
        try:
            with Store.read(paths) as reader:
                found[paths.root.name] = times_opened(reader.status().test_openings)
        except TrexError:
            found[paths.root.name] = None
    return found


def _opening_lines(opened: dict[str, int | None]) -> Iterator[str]:
    unread = [name for name, times in opened.items() if times is None]
    counted = {name: times for name, times in opened.items() if times}
    if counted:
        each = ", ".join(name + ("" if times == 1 else f" ({times} times)") for name, times in counted.items())
        yield _line("opened", f"the test, by {len(counted)} of {len(opened)} searches here: {each}")
    elif opened:
        yield _line("opened", f"the test, by none of {len(opened)} searches here")
    if unread:
        yield _line("", f"not known of {', '.join(unread)}: hpc-trex db check")


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
    yield _line("card", str(one.loaded.origin))


def _size_lines(one: Overview) -> Iterator[str]:
    from hpc_trex.ftbench.overview import half_width, points

    counts, metric = one.rows(), one.card.metric
    # Of a mean of groups a row of a small one weighs more, and what all rows tell together is less.
    alike = f" on average, each {metric.groups} as a whole the same" if metric.average == "groups" else ""
    about = "about" if metric.average == "rows" else "at best"
    if not one.card.sources:
        yield _line("train", "no rows of its own: hpc-trex launch --source NAME=FILE brings them")
    yield _line("rows", ", ".join(f"{name} {'?' if rows is None else rows}" for name, rows in counts.items()))
    for name in ("dev", "test"):
        rows = counts[name]
        if rows:
            yield _line(
                f"one {name}",
                f"row weighs {points(rows):.2f} points{alike}; a share near one half is known to {about} "
                f"±{half_width(rows):.1f} points (95 %)",
            )


def _state_lines(one: Overview) -> Iterator[str]:
    from hpc_trex.staging.benchmark import without_tables

    if one.built is None:
        words = f"ready: {without_tables(one.loaded)}"
        if one.closed is not None:
            words = f"{one.closed.message}; {one.closed.hint}"
        elif one.state == "not fetched":
            words = f"not fetched on this site: hpc-trex ftbench fetch {shlex.quote(one.loaded.typed)}"
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
