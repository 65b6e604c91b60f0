"""``hpc-trex stage``: what is wished for, what is here already, what has to be fetched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from hpc_trex.builtin import PREFIX
from hpc_trex.errors import EnvironmentProblem, UsageProblem
from hpc_trex.ftbench.cards import load_card
from hpc_trex.layout import StagedPaths, stage_folders
from hpc_trex.models import StagedItem, StagedKind
from hpc_trex.staging.fetch import fetch, make_root, write_manifest
from hpc_trex.staging.hub import Remote, Wish, describe
from hpc_trex.staging.manifests import Found, find_staged
from hpc_trex.staging.space import check_room, gigabytes

Say = Callable[[str], None]
State = Literal["staged", "already", "would fetch"]
STATE_WORDS: dict[State, str] = {"staged": "staged", "already": "already here", "would fetch": "would fetch"}


class Outcome(NamedTuple):
    """What became of one wish."""

    wish: Wish
    state: State
    commit: str
    size: int
    files: int
    licence: str
    folder: Path
    note: str = ""


def wishes_of(
    tasks: Iterable[str], models: Iterable[str], tokenizers: Iterable[str], datasets: Iterable[str]
) -> tuple[list[Wish], list[str]]:
    """Return what has to be staged for these options, and a line for each that needs nothing from outside.

    Raises UsageProblem or NotFound for a task card or an id that is wrong.
    """
    wishes: list[Wish] = []
    notes: list[str] = []
    for task in tasks:
        card = load_card(task).card
        sources = [*card.sources.values(), card.dev, card.test]
        hub = [Wish("datasets", str(source.hub), str(source.revision)) for source in sources if source.hub]
        wishes += hub
        if card.tables:
            notes.append(f"task {card.name}: its data are brought by: hpc-trex ftbench fetch {task}")
        elif not hub:
            notes.append(f"task {card.name}: its rows are made or read here; there is nothing to fetch")
    kinds: tuple[tuple[StagedKind, Iterable[str]], ...] = (
        ("models", models),
        ("tokenizers", tokenizers),
        ("datasets", datasets),
    )
    for kind, names in kinds:
        for name in names:
            if name.startswith(PREFIX) or Path(name).expanduser().exists():
                notes.append(f"{name}: is made or stands here; there is nothing to fetch")
            else:
                wishes.append(_wish(kind, name))
    return list(dict.fromkeys(wishes)), notes


def _wish(kind: StagedKind, name: str) -> Wish:
    repository, _, revision = name.partition("@")
    parts = repository.split("/")
    if not 1 <= len(parts) <= 2 or not all(part and not part.startswith(".") for part in parts):
        raise UsageProblem(f"{name!r} is neither a folder nor a hub id", hint="e.g. Qwen/Qwen3-1.7B@main")
    return Wish(kind, repository, revision)


def stage(wishes: Sequence[Wish], root: Path, *, say: Say, group: bool = False, dry_run: bool = False) -> list[Outcome]:
    """Bring everything into ``root``; what is whole there already is left alone.

    All wishes are looked up, and the room for all of them is checked, before the first byte is fetched.
    """
    planned = [_plan(wish, root) for wish in wishes]
    missing = [(wish, remote) for wish, found, remote, _ in planned if found is None and remote is not None]
    size = sum(remote.size - _present(remote, _paths(wish, remote, root)) for wish, remote in missing)
    if missing:
        check_room(root, size, sum(len(remote.files) + 4 for _, remote in missing))
    outcomes = []
    for wish, found, remote, note in planned:
        if found is not None:
            outcomes.append(_already(wish, found, note, dry_run))
            continue
        assert remote is not None
        paths = _paths(wish, remote, root)
        if not dry_run:
            say(f"fetching {wish.words}: {gigabytes(remote.size)} in {len(remote.files)} files")
            make_root(root, group=group)
            fetch(wish, remote, paths)
        state: State = "would fetch" if dry_run else "staged"
        outcomes.append(
            Outcome(wish, state, remote.commit, remote.size, len(remote.files), remote.licence, paths.folder)
        )
    return outcomes


def _plan(wish: Wish, root: Path) -> tuple[Wish, Found | None, Remote | None, str]:
    """Return what is staged in ``root`` already, else what the hub has. A commit that is here needs no network."""
    here = find_staged(wish.kind, wish.repository, wish.revision, [root])
    if here is not None and here.item.commit == wish.revision:
        return wish, here, None, ""
    try:
        remote = describe(wish)
    except EnvironmentProblem:
        if here is None:
            raise
        return wish, here, None, "the hub cannot be reached now: whether there is a newer one is not known"
    same = find_staged(wish.kind, wish.repository, remote.commit, [root])
    return wish, same, None if same else remote, ""


def _already(wish: Wish, found: Found, note: str, dry_run: bool) -> Outcome:
    item = found.item
    name = wish.revision or "main"
    if name != item.commit and name not in item.asked and not dry_run:
        item = item.model_copy(update={"asked": (*item.asked, name)})
        try:
            write_manifest(found.paths, item)
        except OSError:  # another user's folder: this name needs the network, the commit does not
            note = note or f"{name} cannot be noted in {found.paths.manifest}: it is not yours"
    return Outcome(wish, "already", item.commit, item.size, len(item.files), item.licence, found.paths.folder, note)


def _paths(wish: Wish, remote: Remote, root: Path) -> StagedPaths:
    return StagedPaths(root, wish.kind, wish.repository, remote.commit)


def _present(remote: Remote, paths: StagedPaths) -> int:
    """Return the bytes that an interrupted run has left; by size, so that a dry run stays quick."""
    names = [(paths.partial / name, file.size) for file in remote.files for name in (file.name, f"{file.name}.part")]
    return sum(min(size, path.stat().st_size) for path, size in names if path.is_file())


def target(into: str | None) -> Path:
    """Return the folder to stage into: ``--into``, else the first of HPC_TREX_STAGE, else the user's cache."""
    return Path(into).expanduser().absolute() if into else stage_folders()[0]


def closing_words(root: Path) -> str:
    """Return how launches find what was staged; empty where they look there anyway."""
    if root in stage_folders():
        return ""
    others = os.environ.get("HPC_TREX_STAGE", "")
    value = f"{root}:{others}" if others else str(root)
    return f"launches and jobs find it with: export HPC_TREX_STAGE={value}"


def row(item: StagedItem) -> str:
    """Return one line of ``stage list``."""
    return (
        f"{item.kind:<11} {item.repository:<32} {item.commit[:12]}  {gigabytes(item.size):>9}  "
        f"{len(item.files):>5}  {item.licence:<14} {item.staged_at[:10]}"
    )
