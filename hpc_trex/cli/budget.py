"""``hpc-trex budget``: GPU-hours and CPU-hours used, reserved and left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hpc_trex.cli.options import emit, emit_json, json_option, last_option, pick, search_argument
from hpc_trex.errors import NotFound, UsageProblem

if TYPE_CHECKING:
    from hpc_trex.layout import SearchPaths
    from hpc_trex.models import SpentRow


@click.command("budget", epilog="\b\nExamples:\n  hpc-trex budget listops-1 --by account\n  hpc-trex budget --all")
@search_argument
@last_option
@click.option("--by", type=click.Choice(["node", "user", "account"]), help="One line for each.")
@click.option("--all", "every", is_flag=True, help="Every search in HPC_TREX_HOME.")
@json_option
def command(search: str | None, last: bool, by: str | None, every: bool, json: bool) -> None:
    """Show what SEARCH has used of its caps, and what its jobs that are not over may use at worst (reserved)."""
    from hpc_trex.models import PersonTime
    from hpc_trex.models.llm import AgentSpent
    from hpc_trex.report.agents import agents_text
    from hpc_trex.report.gates import person_words
    from hpc_trex.report.spending import budget_text
    from hpc_trex.searches import list_searches

    if every and (search is not None or last):
        raise UsageProblem("give a search or --all, not both")
    chosen = list_searches() if every else [pick(search, last)]
    if not chosen:
        raise NotFound("there is no search to show", hint="start one with: hpc-trex launch")
    bodies = [budget_of(paths, by) for paths in chosen]
    if json:
        emit_json({"searches": [{**body, "rows": [row.model_dump() for row in body["rows"]]} for body in bodies]})
        return
    emit(budget_text(bodies, by))
    for body in bodies:
        if body["agents"]:
            told = agents_text([AgentSpent.model_validate(one) for one in body["agents"]])
            emit(f"\n{body['search']}\n{told}" if every else f"\n{told}")
    people = [(body["search"], person_words(PersonTime(**body["person"]))) for body in bodies]
    for name, words in people:
        if words:
            emit(f"{name}: {words}" if every else words)


def budget_of(paths: SearchPaths, by: str | None) -> dict[str, Any]:
    """Return one search's figures: used, reserved, cap and left, with a row for each round, user or account."""
    from hpc_trex.tree.calls import spent_by_agent
    from hpc_trex.tree.spending import spent_by
    from hpc_trex.tree.store import Store

    with Store.read(paths) as reader:
        status = reader.status()
        agents = spent_by_agent(reader)
        rows: list[SpentRow] = spent_by(reader, by) if by else []  # type: ignore[arg-type] # click has checked it
    spent, caps = status.spent, {"gpu_hours": status.gpu_hours_cap, "cpu_hours": status.cpu_hours_cap}
    held = {"gpu_hours": spent.reserved_gpu_hours, "cpu_hours": spent.reserved_cpu_hours}
    used = {"gpu_hours": spent.gpu_hours, "cpu_hours": spent.cpu_hours}
    left = {unit: None if cap is None else max(0.0, cap - used[unit] - held[unit]) for unit, cap in caps.items()}
    return {
        "search": status.search,
        "state": status.state.value,
        "used": used,
        "reserved": held,
        "cap": caps,
        "left": left,
        "live_jobs": spent.jobs,
        "person": status.person.model_dump(mode="json"),
        "agents": [one.model_dump(mode="json") for one in agents],
        "rows": rows,
    }
