"""``hpc-trex insights``: the lessons of one search, and the knowledge base over searches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import dry_run_option, emit, emit_json, json_option, last_option, pick
from hpc_trex.errors import UsageProblem

if TYPE_CHECKING:
    from hpc_trex.agents.history import Said
    from hpc_trex.layout import SearchPaths
    from hpc_trex.models.knowledge import StartingKnowledge


@click.command(
    "insights",
    epilog="\b\nExamples:\n  hpc-trex insights listops-1 --history\n  hpc-trex insights --all --task mini-triage\n"
    "  hpc-trex insights --import listops-1 listops-2\n  hpc-trex insights --forget listops-1",
)
@click.argument("searches", nargs=-1, metavar="[SEARCH]...")
@last_option
@click.option("--history", is_flag=True, help="Also the insights that later ones took the place of.")
@click.option("--all", "every", is_flag=True, help="What is known over all searches, with its evidence.")
@click.option("--task", help="With --all: for this task; searches of others count as far as they are like it.")
@click.option("--model", help="With --all: for this base model; likewise.")
@click.option("--import", "take", is_flag=True, help="Add these searches to the knowledge base.")
@click.option("--forget", is_flag=True, help="Remove these searches from the knowledge base; a name or a uid.")
@dry_run_option
@json_option
def command(
    searches: tuple[str, ...], *, last: bool, history: bool, every: bool, task: str | None, model: str | None,
    take: bool, forget: bool, dry_run: bool, json: bool,
) -> None:  # fmt: skip
    """Show the insights of SEARCH as they stand (a name or a path; default: the newest), each with the rounds that
    support it, and what the search started from. With --all, --import and --forget: the knowledge base over searches.
    """
    modes = {"--all": every, "--import": take, "--forget": forget, "--history": history}
    given = [name for name, on in modes.items() if on]
    if len(given) > 1:
        raise UsageProblem(f"{' and '.join(given)} do not go together", hint="hpc-trex insights --help")
    if (task or model) and not every:
        raise UsageProblem("--task and --model go with --all", hint="hpc-trex insights --all --task mini-triage")
    if dry_run and not (take or forget):
        raise UsageProblem("--dry-run goes with --import and --forget: nothing else changes anything")
    from hpc_trex.cli.insights_base import show_all, take_in, take_out

    if every:
        if searches or last:
            raise UsageProblem("--all is about all searches: name none")
        show_all(task, model, as_json=json)
    elif take:
        named = searches or ((None,) if last else ())
        take_in([pick(name, last) for name in named], dry_run=dry_run, as_json=json)
    elif forget:
        take_out(searches, dry_run=dry_run, as_json=json)
    elif len(searches) > 1:
        raise UsageProblem("give one search", hint="hpc-trex insights --all shows what is known over all of them")
    else:
        show_one(pick(searches[0] if searches else None, last), with_history=history, as_json=json)


def show_one(paths: SearchPaths, *, with_history: bool, as_json: bool) -> None:
    """Print the insights of one search, and what it started from."""
    from hpc_trex.agents.history import history
    from hpc_trex.tree.known import starting_knowledge
    from hpc_trex.tree.store import Store

    with Store.read(paths) as reader:
        said, name = history(reader), reader.config.name
    shown = said if with_history else [one for one in said if one.fate == "stands"]
    known = starting_knowledge(paths)
    if as_json:
        start = known.model_dump(mode="json") if known else None
        emit_json({"search": name, "insights": [one._asdict() for one in shown], "started_from": start})
        return
    lines = [line for one in shown for line in said_lines(one)] or ["no insights yet"]
    emit("\n".join([f"search {name}", *lines, *(start_text(known) if known else [])]))


def said_lines(one: Said) -> list[str]:
    """Return one insight with its kind and rounds, and what took its place."""
    nodes = ", ".join(map(str, one.nodes)) or "none"
    mark = "" if one.fate == "stands" else f"{one.fate}: "
    facts = [one.kind or "of no kind", f"rounds {nodes}", f"said by node {one.by}"]
    facts += [f"{one.weight:.1f} standard errors"] if one.measured else []
    lines = [f"  {mark}{one.text}", f"      {'; '.join(facts)}"]
    return lines + ([f"      because: {one.instead}"] if one.fate == "taken back" else [])


def start_text(known: StartingKnowledge) -> list[str]:
    """Return what a search started from."""
    from hpc_trex.knowledge.words import lesson_line

    if known.problem:
        return ["", f"started from nothing: {known.problem}"]
    if not known.lessons:
        return ["", f"started from nothing: no lesson of {known.base} fitted"]
    lines = [f"  {lesson_line(lesson)}" for lesson in known.lessons]
    return ["", f"started from {len(known.lessons)} lesson(s) of {known.base}", *lines]
