"""``hpc-trex show``: all that is known of one round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hpc_trex.cli.options import emit, emit_json, json_option, last_option, look, number_of, pick, search_argument
from hpc_trex.cli.tail import clean

if TYPE_CHECKING:
    from hpc_trex.models import GateView, LlmCall


@click.command(
    "show", epilog="\b\nExamples:\n  hpc-trex show 3 listops-1\n  hpc-trex show 3 listops-1 --reasoning | less"
)
@click.argument("node")
@search_argument
@last_option
@click.option(
    "--reasoning", is_flag=True, help="What the language model was asked for this round and what it answered, whole."
)
@json_option
def command(node: str, search: str | None, last: bool, reasoning: bool, json: bool) -> None:
    """Show round NODE of SEARCH: plan, data recipe, difference from its parent, trials, jobs, review of its records, diagnosis,
    bad cases against the parent's row by row, the agents' calls.
    """
    from hpc_trex.agents.llm.ledger import Ledger
    from hpc_trex.cli.json_views import node_json
    from hpc_trex.report.agents import agents_text, repairs_text, spent_of
    from hpc_trex.report.cases import cases_text, read_cases
    from hpc_trex.report.difference import plan_difference
    from hpc_trex.report.gates import gates_text
    from hpc_trex.report.openings import openings_text
    from hpc_trex.report.review import review_lines
    from hpc_trex.report.tables import node_text
    from hpc_trex.tree.gates import gates
    from hpc_trex.tree.openings import openings
    from hpc_trex.tree.repairs import repairs
    from hpc_trex.tree.review import verdicts
    from hpc_trex.tree.store import Store

    paths, number = pick(search, last), number_of(node)
    with Store.read(paths) as reader:
        asked = gates(reader, number)
        if asked and number >= reader.next_node():  # a round that is still being designed
            in_design(number, asked, json=json)
            return
        view = reader.node(number)
        attempts = reader.attempts(view.id)
        parent = None if view.parent is None else reader.node(view.parent)
        mended = repairs(reader, view.id)
        noise, decided = reader.noise(), verdicts(reader, view.id)
        opened = [one for one in openings(reader) if one.node == view.id]
        sd, higher = noise[0] if noise else None, reader.higher_is_better
    review = review_lines(view, parent, noise=sd, higher=higher, verdicts=decided)
    difference = plan_difference(parent, view)
    cases = read_cases(paths, view.id)
    calls = Ledger(paths.llm).calls(view.id) if paths.llm.is_dir() else []
    if json:
        more = {
            "calls": [call.model_dump(mode="json") for call in calls],
            "agents": [one.model_dump(mode="json") for one in spent_of(calls)],
            "repairs": [one.model_dump(mode="json") for one in mended],
            "review": review,
            "verdicts": [one.model_dump(mode="json") for one in decided],
            "openings": [one.model_dump(mode="json") for one in opened],
            "cases": cases.model_dump(mode="json") if cases is not None else None,
        }
        emit_json(node_json(view, attempts, difference) | more | {"gates": gates_json(asked)})
        return
    emit(node_text(view, attempts, difference, look(), review))
    if opened:
        emit(f"\n{openings_text(opened)}")
    if mended:
        emit(f"\n{repairs_text(mended)}")
    if cases is not None:
        emit(f"\n{cases_text(cases)}")
    if asked:
        emit(f"\n{gates_text(asked)}")
    if calls:
        emit("\n" + "\n".join(["agents", *map(call_line, calls)]) + f"\n\n{agents_text(spent_of(calls))}")
    for call in calls if reasoning else []:
        emit("\n" + whole(call))


def in_design(node: int, asked: Sequence[GateView], *, json: bool) -> None:
    """Print what a person was asked about a round that is not in the tree yet."""
    from hpc_trex.report.gates import gates_text

    if json:
        emit_json({"id": node, "state": "in design", "gates": gates_json(asked)})
        return
    emit(f"node {node}  is being designed\n{gates_text(asked)}")


def gates_json(asked: Sequence[GateView]) -> list[dict[str, Any]]:
    """Return the questions about a round as plain data."""
    return [view.model_dump(mode="json") for view in asked]


def call_line(call: LlmCall) -> str:
    """Return one call in a line: its name, the tokens and money it used, what came of it."""
    usage = call.usage
    known = usage.tokens_in is not None and usage.tokens_out is not None
    words = [f"{usage.tokens_in:,} + {usage.tokens_out:,} tokens" if known else "tokens not told"]
    words += [f"{usage.money:.4f} of money"] if usage.money is not None else []
    words += [f"{usage.seconds:.1f} s", call.model, f"failed: {clean(call.error)}" if call.value is None else call.rung]
    return f"  {call.call:<24} {', '.join(words)}"


def whole(call: LlmCall) -> str:
    """Return question and answer of a call as they were."""
    parts = [f"=== {call.call} ({call.role}, {call.model})"]
    parts += [f"--- {message.get('role', '')}\n{message.get('content', '')}" for message in call.messages]
    parts += [f"--- answer {number}\n{reply}" for number, reply in enumerate(call.replies, start=1)]
    return "\n".join(clean(line) for part in parts for line in part.split("\n"))
