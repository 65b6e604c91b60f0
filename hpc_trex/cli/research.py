"""``hpc-trex research``: what others have published, and what lies in the local library."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Literal

import click

from hpc_trex.cli.options import emit, emit_json, json_option, look
from hpc_trex.errors import EnvironmentProblem

if TYPE_CHECKING:
    from hpc_trex.research.research import Digest, Item

#: As ``hpc_trex.research.sources.SOURCES``, which is not imported for ``--help``; a test compares.
NAMES = ["library", "arxiv", "openalex", "semantic-scholar", "datasets", "models"]


@click.command(
    "research",
    epilog="\b\nExamples:\n  hpc-trex research 'curriculum learning small language models'\n"
    "  hpc-trex research --source datasets --task my-task.toml 'medical dialogue'\n"
    "  hpc-trex research --offline 'label noise'",
)
@click.argument("queries", nargs=-1, required=True, metavar="QUERY...")
@click.option("--source", "sources", multiple=True, type=click.Choice(NAMES), help="Ask only this one; several times.")
@click.option("--limit", type=click.IntRange(1, 50), default=5, show_default=True, help="Findings of each source.")
@click.option("--task", help="Built-in task or card: its own data sets are never shown.")
@click.option("--profile", help='The site; with network = "none" only library and cache are asked.')
@click.option("--offline", is_flag=True, help="Ask only the library and the cache; so does HPC_TREX_OFFLINE=1.")
@click.option("--text", "as_text", is_flag=True, help="Print what a language model would be given, with its fence.")
@json_option
def command(
    queries: tuple[str, ...],
    sources: tuple[str, ...],
    limit: int,
    task: str | None,
    profile: str | None,
    offline: bool,
    as_text: bool,
    json: bool,
) -> None:
    """Search literature, data sets, models and the local library, and show what they say.

    Each QUERY is asked of every source (quote several words). What cannot be reached is said, and costs seconds. Exit code 8:
    no source could be asked.
    """
    from hpc_trex.layout import research_answers
    from hpc_trex.research.http import Web
    from hpc_trex.research.research import research
    from hpc_trex.research.sources import make_tools

    web = Web(research_answers(), network=_network(profile), offline=offline)
    digest = research(queries, make_tools(web, sources or NAMES, blocked=_blocked(task)), limit=limit)
    if json:
        emit_json(_body(digest))
    elif as_text:
        emit(digest.text)
    else:
        _show(digest)
    if not digest.reached:
        raise EnvironmentProblem(
            "no source could be asked",
            hint="a library needs no network: hpc-trex library add FOLDER (docs/research.md)",
        )


def _network(profile: str | None) -> Literal["compute", "login", "none"]:
    if profile is None:
        return "login"
    from hpc_trex.slurm.profiles import load_profile

    return load_profile(profile).network


def _blocked(task: str | None) -> frozenset[str]:
    if task is None:
        return frozenset()
    from hpc_trex.ftbench.cards import load_card
    from hpc_trex.research.hub import own_data_sets

    return own_data_sets(load_card(task).card)


def _body(digest: Digest) -> dict[str, object]:
    items = [
        {"row": item.row, **item.finding._asdict(), "extra": dict(item.finding.extra), "keys": list(item.keys)}
        for item in digest.items
    ]
    notes = [note._asdict() for note in digest.notes]
    return {"queries": list(digest.queries), "items": items, "notes": notes, "text": digest.text}


def _show(digest: Digest) -> None:
    width = min(look().width or 100, 110)
    for item in digest.items:
        emit("\n".join(_lines(item, width)))
    if not digest.items:
        emit("nothing was found")
    for note in digest.notes:
        if note.text:
            click.echo(f"{note.source}: {note.text}", err=True)


def _lines(item: Item, width: int) -> list[str]:
    found = item.finding
    head = f"{item.row:<4}{found.title}" + (f" ({found.year})" if found.year else "")
    facts = [f"{name.replace('_', ' ')} {_word(name, fact)}" for name, fact in found.extra.items() if fact is not None]
    below = (
        ", ".join(found.authors),
        "; ".join([found.kind, f"licence {found.licence}", *facts]),
        f"{', '.join(item.keys)}  {found.url}",
        found.summary,
    )
    indent = {"initial_indent": " " * 4, "subsequent_indent": " " * 4, "break_on_hyphens": False}
    lines = textwrap.wrap(head, width, subsequent_indent=" " * 4)
    for text in below:
        lines += textwrap.wrap(text, width, **indent)  # type: ignore[arg-type] # the keys are wrap's own
    return [*lines, ""]


def _word(name: str, fact: object) -> str:
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    return f"{fact / 1e6:,.1f} MB" if name == "size" and isinstance(fact, int) else str(fact)
