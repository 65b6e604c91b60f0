"""A suite is a set of tasks that are run and told together: the two that ship, or any folder of task cards."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.ftbench.built import find_built, needs_build
from hpc_trex.ftbench.cards import load_card
from hpc_trex.ftbench.mini import SUITE as MINI
from hpc_trex.ftbench.overview import TEN
from hpc_trex.suggest import did_you_mean

#: The suites that ship, by name.
SUITES: dict[str, tuple[str, ...]] = {"ftbench": TEN, "ftbench-mini": MINI}


def suite_tasks(suite: str) -> tuple[str, ...]:
    """Return the tasks of a suite, as ``launch --task`` takes them: by name, or of a folder the files of its cards.

    A folder's cards are its ``*/card.toml`` and its ``*.toml``, in the order of their names. Raises :class:`NotFound` for a name
    that is no suite and a folder that is not there, :class:`UsageProblem` for one without cards.
    """
    if suite in SUITES:
        return SUITES[suite]
    folder = Path(suite).expanduser().absolute()
    if not folder.is_dir():
        raise NotFound(
            f"no suite {suite!r}{did_you_mean(suite, SUITES)}",
            hint=f"suites: {', '.join(SUITES)}; or a folder of task cards (docs/ftbench.md)",
        )
    cards = sorted([*folder.glob("*/card.toml"), *folder.glob("*.toml")])
    if not cards:
        raise UsageProblem(f"{folder} holds no task card", hint="a card is NAME/card.toml or NAME.toml in it")
    return tuple(map(str, cards))


def refuse_not_fetched(tasks: Sequence[str]) -> None:
    """Raise :class:`NotFound` naming all tasks whose data are not on this site, with the line that brings them."""
    missing: dict[str, str] = {}
    for task in tasks:
        loaded = load_card(task)
        if needs_build(loaded.card) and find_built(loaded.card) is None:
            missing[loaded.typed] = loaded.card.name
    if missing:
        names = list(missing.values())
        told = f"task {names[0]} is" if len(tasks) == 1 else f"of {len(tasks)} tasks {len(missing)} are"
        which = "" if len(tasks) == 1 else f": {', '.join(names)}"
        raise NotFound(
            f"{told} not fetched on this site{which}",
            hint=f"where there is network: hpc-trex ftbench fetch {shlex.join(missing)}",
        )
