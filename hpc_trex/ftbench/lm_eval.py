"""``lm-eval:NAME``: a task of lm-eval, or of one's own in its format, that ``hpc-trex stage`` has made a card of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.layout import stage_folders

PREFIX = "lm-eval:"


class Target(NamedTuple):
    """What stands behind the prefix: ``NAME``, ``NAME:METRIC``, or with the folder of one's own definitions before it."""

    name: str
    metric: str | None
    include: Path | None

    @property
    def words(self) -> str:
        """As it is typed."""
        where = f"{self.include}/" if self.include else ""
        return f"{PREFIX}{where}{self.name}" + (f":{self.metric}" if self.metric else "")

    @property
    def slug(self) -> str:
        """The card's name, and that of its folder."""
        text = f"lm-eval.{self.name}" + (f".{self.metric}" if self.metric else "")
        return re.sub(r"[^a-z0-9._-]", "-", text.lower())[:64]


def parse_target(task: str) -> Target:
    """Return the parts of ``lm-eval:[FOLDER/]NAME[:METRIC]``. Raises :class:`UsageProblem`."""
    name, _, metric = task.removeprefix(PREFIX).partition(":")
    folder, slash, name = name.rpartition("/")
    include = Path(folder or "/").expanduser().absolute() if slash else None
    if not name or (metric and not metric.replace("_", "").isalnum()):
        raise UsageProblem(
            f"{task!r} names no task", hint="lm-eval:NAME, e.g. lm-eval:arc_easy or lm-eval:arc_easy:acc_norm"
        )
    if include is not None and not include.is_dir():
        raise UsageProblem(f"{task}: no folder {include}", hint="lm-eval:FOLDER/NAME, with your task's YAML in FOLDER")
    return Target(name, metric or None, include)


class StagedName(NamedTuple):
    """A staged task as ``stage list`` shows it."""

    task: str
    metric: str
    rows: dict[str, int]
    staged_at: str
    folder: Path


def staged_names(roots: Iterable[Path] | None = None) -> list[StagedName]:
    """Return all staged tasks of lm-eval, by name, the newest of one first."""
    found = []
    for root in stage_folders() if roots is None else roots:
        for path in (root / "lm-eval").glob("*/*/manifest.json"):
            one = json.loads(path.read_text(encoding="utf-8"))
            where = f"{one['include']}/" if one["include"] else ""
            name = f"{PREFIX}{where}{one['name']}"
            found.append(StagedName(name, one["metric"], one["rows"], one["staged_at"], path.parent))
    found.sort(key=lambda one: one.staged_at, reverse=True)
    return sorted(found, key=lambda one: one.task)


def staged_cards(target: Target, roots: Iterable[Path] | None = None) -> list[Path]:
    """Return the cards that were staged for a target, the newest first."""
    found = []
    for root in stage_folders() if roots is None else roots:
        for path in (root / "lm-eval" / target.slug).glob("*/manifest.json"):
            manifest = json.loads(path.read_text(encoding="utf-8"))
            include = str(target.include) if target.include else None
            if (manifest["name"], manifest["include"]) == (target.name, include):
                found.append((manifest["staged_at"], path.parent / "card.toml"))
    return [card for _, card in sorted(found, reverse=True)]


def find_card(task: str) -> Path:
    """Return the staged card of ``lm-eval:...``. Raises :class:`NotFound` with the line that stages it."""
    target = parse_target(task)
    cards = staged_cards(target)
    if not cards:
        raise NotFound(f"{task} is not staged on this machine", hint=f"hpc-trex stage --task {task}")
    return cards[0]
