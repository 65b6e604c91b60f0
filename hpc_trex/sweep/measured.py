"""From runs, sweeps and single searches, to what the table of a benchmark is made of. Slurm is not asked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpc_trex.errors import NotFound
from hpc_trex.files import read_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import PolicySettings, SearchConfig, SearchState, StatusView, TaskCard
from hpc_trex.report.benchmark import Measured
from hpc_trex.searches import find_search
from hpc_trex.sweep.folder import find_sweep, held, read_config, result
from hpc_trex.sweep.layout import SweepPaths
from hpc_trex.sweep.records import Element, SweepConfig
from hpc_trex.tree.store import Store

Found = tuple[Measured, TaskCard]


def measured(runs: Sequence[str], reference: str = "") -> list[Found]:
    """Return what the runs (names or folders of sweeps and searches; none: the newest sweep) have measured, in order, each
    search once.

    ``reference``: a model that was evaluated only, and is to be the reference; no other is one then. Raises
    :class:`NotFound` for a run that is neither, and a reference that no run has.
    """
    once: dict[str, Found] = {}
    for run in runs or (None,):
        for one, card in _of_run(run):
            once.setdefault(os.path.realpath(one.where), (one, card))
    found = list(once.values())
    if not reference:
        return found
    known = {one.model for one, _ in found if one.role != "search"}
    if reference not in known:
        raise NotFound(
            f"no run has evaluated {reference} alone",
            hint=f"models that were: {', '.join(sorted(known)) or 'none'}; hpc-trex sweep launch --baseline-only --models {reference}",
        )
    wanted = [(one, card) for one, card in found if one.role != "reference" or one.model == reference]
    return [
        (one.model_copy(update={"role": "reference"}), card) if (one.role, one.model) == ("baseline", reference) else (one, card)
        for one, card in wanted
    ]  # fmt: skip


def _of_run(run: str | None) -> Iterator[Found]:
    paths = _opened(run)
    if isinstance(paths, SearchPaths):
        yield _of_search(paths, "")
        return
    config = read_config(paths)
    for element in config.elements():
        yield _of_element(paths, config, element)


def _opened(run: str | None) -> SweepPaths | SearchPaths:
    try:
        return find_sweep(run)
    except NotFound as no_sweep:
        if run is None:
            raise
        try:
            return find_search(run)
        except NotFound as no_search:
            raise NotFound(
                f"{run!r} is neither a sweep nor a search", hint=f"{no_sweep.hint}; {no_search.hint}"
            ) from None


def _of_element(paths: SweepPaths, config: SweepConfig, element: Element) -> Found:
    search = SearchPaths(paths.element(element.number).search)
    gpu, cpu = held(paths, [element.number])
    left = result(paths, element.number)
    done = left is not None and left.state == "done"
    if search.config.exists():
        one, card = _of_search(search, config.role(element))
    else:
        one, card = _without_search(paths, config, element)
    money = one.money + _money_before(paths.element(element.number).root)
    return one.model_copy(update={"done": done, "gpu_hours": gpu, "cpu_hours": cpu, "money": money}), card


def _money_before(root: Path) -> float:
    """Return what an element's earlier searches cost: those that failed and were put aside."""
    spent = 0.0
    for config in root.glob("search-*/search.toml"):
        with Store.read(SearchPaths(config.parent)) as reader:
            spent += reader.cost().money
    return spent


def _without_search(paths: SweepPaths, config: SweepConfig, element: Element) -> Found:
    """Return what an element's result alone says: its search never began, or was removed."""
    card, role = _card(SearchPaths(paths.task(element.task))), config.role(element)
    left = result(paths, element.number)
    base, test = (left.test_baseline, left.test) if left is not None else (None, None)
    searched = role == "search"
    model = config.llm.model if config.llm else None
    method = method_of(config.researcher_of(element).name, config.policy_of(element), element.without, model)
    return Measured(
        task=card.name,
        model=config.all_models[element.model].name,
        role=role,
        method=method if searched else "",
        budget=_budget(config.max_nodes, config.trials, config.search_gpu_hours, config.search_cpu_hours)
        if searched
        else "",
        seed=element.seed,
        base=base if searched else base or test,
        test=test if searched else None,
        where=str(paths.element(element.number).root),
    ), card


def _of_search(paths: SearchPaths, role: str) -> Found:
    with Store.read(paths) as reader:
        status, config = reader.status(), reader.config
    card = _card(paths)
    role = role or ("search" if config.budget.max_nodes else "baseline")
    base, test = _scores(status)
    return Measured.model_validate(
        {
            "task": card.name,
            "model": config.model,
            "role": role,
            "method": _method(config) if role == "search" else "",
            "budget": _budget(
                config.budget.max_nodes, config.researcher.trials, config.budget.gpu_hours, config.budget.cpu_hours
            )
            if role == "search"
            else "",
            "seed": config.seed,
            "done": status.state is SearchState.DONE,
            "base": base,
            "test": test if role == "search" else None,
            "difference": status.test_difference if role == "search" else None,
            "gpu_hours": status.cost.gpu_hours,
            "cpu_hours": status.cost.cpu_hours,
            "money": status.cost.money,
            "where": str(paths.root),
        }
    ), card


def _budget(rounds: int, trials: int, gpu_hours: float | None, cpu_hours: float | None) -> str:
    caps = [f"{cap:g} {unit}-hours" for cap, unit in ((gpu_hours, "GPU"), (cpu_hours, "CPU")) if cap is not None]
    return ", ".join([f"{rounds} rounds of {trials} trial(s)", *caps])


def _scores(status: StatusView) -> tuple[object, object]:
    base = status.baseline.test if status.baseline else None
    test = status.chosen.test if status.chosen else None
    return base or (test if status.chosen and status.chosen.node == 0 else None), test


def _method(config: SearchConfig) -> str:
    without = "+".join(config.researcher.without) or "nothing"
    return method_of(config.researcher.name, config.policy, without, config.llm.model if config.llm else None)


def method_of(researcher: str, policy: PolicySettings, without: str, model: str | None) -> str:
    """Return what a column is called: the Researcher, its language model, and what of the search is not the default."""
    words = f"{researcher} {model}" if researcher == "llm" and model else researcher
    words += "" if policy.name == PolicySettings().name else f"/{policy.name}"
    return words if without == "nothing" else f"{words} without {without}"


def _card(paths: SearchPaths) -> TaskCard:
    card = read_record(paths.card, TaskCard)
    if card is None:
        raise NotFound(f"{Path(paths.card)} is missing", hint="the run's folder is incomplete; restore it")
    return card
