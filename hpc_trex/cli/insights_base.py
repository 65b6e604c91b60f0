"""The knowledge base on the command line: look at it, add searches, remove searches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpc_trex.cli.options import emit, emit_json
from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.knowledge.base import forget, read_base, remember
from hpc_trex.knowledge.merge import merge
from hpc_trex.knowledge.size import size_class
from hpc_trex.knowledge.words import evidence_line, lesson_line
from hpc_trex.layout import knowledge
from hpc_trex.models.knowledge import Target
from hpc_trex.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpc_trex.layout import SearchPaths
    from hpc_trex.models.knowledge import Remembered

#: States of a search that ended: what it found will not change any more.
OVER = ("done", "failed", "cancelled")


def base() -> Path:
    """Return the knowledge base. Raises :class:`UsageProblem` where there is to be none."""
    path = knowledge()
    if path is None:
        raise UsageProblem(
            "there is no knowledge base: HPC_TREX_KNOWLEDGE is off", hint="unset it, or let it name a file"
        )
    return path


def show_all(task: str | None, model: str | None, *, as_json: bool) -> None:
    """Print what is known of each move, for a task and a model where they were named."""
    path = base()
    searches = read_base(path)
    target = _target(task, model, searches)
    lessons = merge(searches, target)
    if as_json:
        wanted = target.model_dump(mode="json") if target else None
        found = [lesson.model_dump(mode="json") | {"line": lesson_line(lesson)} for lesson in lessons]
        emit_json({"base": str(path), "searches": len(searches), "target": wanted, "lessons": found})
        return
    emit(f"knowledge base {path}: {len(searches)} search(es)")
    if not searches:
        emit("it fills when searches end; older ones: hpc-trex insights --import SEARCH...")
    elif not lessons:
        emit("nothing that fits")
    for lesson in lessons:
        emit("\n".join([lesson_line(lesson), *(f"    {evidence_line(one)}" for one in lesson.evidence)]))


def _target(task: str | None, model: str | None, searches: Sequence[Remembered]) -> Target | None:
    """Return what was named, completed by what the base (or a task card) says of it."""
    if task is None and model is None:
        return None
    found = _named_task(task, searches) if task is not None else Target(task="")
    if model is None:
        return found
    known = next((one for one in reversed(searches) if one.model == model), None)
    digest, size = (known.model_digest, known.size) if known else ("", size_class(model, model))
    return found.model_copy(update={"model": model, "model_digest": digest, "size": size})


def _named_task(task: str, searches: Sequence[Remembered]) -> Target:
    """Return a task by the name in the base, else by its card. Raises :class:`NotFound`."""
    from hpc_trex.ftbench.cards import load_card

    for one in reversed(searches):
        if one.task == task:
            return Target(task=task, task_digest=one.task_digest, metric=one.metric, tags=one.tags)
    try:
        card = load_card(task).card
    except NotFound as error:
        names = sorted({one.task for one in searches})
        raise NotFound(
            f"no task {task!r} in the knowledge base, nor a card of that name{did_you_mean(task, names)}",
            hint=f"in the base: {', '.join(names) or 'none'}",
        ) from error
    return Target(task=card.name, metric=card.metric.shown, tags=card.capabilities)


def take_in(found: Sequence[SearchPaths], *, dry_run: bool, as_json: bool) -> None:
    """Add searches that are over. All are read before anything is written."""
    from hpc_trex.agents.findings import remembered_from
    from hpc_trex.tree.store import Store

    if not found:
        raise UsageProblem("--import needs a search", hint="hpc-trex insights --import listops-1 listops-2")
    path = base()
    for paths in found:
        with Store.read(paths) as reader:
            state = reader.state()[0].value
        if state not in OVER:
            raise UsageProblem(
                f"search {paths.root.name} is {state}: it can go into the knowledge base when it is over",
                hint=f"hpc-trex wait {paths.root.name}",
            )
    searches = [remembered_from(paths) for paths in found]
    if not dry_run:
        remember(path, searches)
    if as_json:
        body = [one.model_dump(mode="json") for one in searches]
        emit_json({"base": str(path), "dry_run": dry_run, "imported": body})
        return
    for one in searches:
        emit(f"{one.name}: {len(one.findings)} finding(s) on {one.task} with {one.model}")
    emit("nothing was written (--dry-run)" if dry_run else f"in the knowledge base {path}")


def take_out(named: Sequence[str], *, dry_run: bool, as_json: bool) -> None:
    """Remove searches, which need not exist any more. All are found before anything is removed."""
    if not named:
        raise UsageProblem("--forget needs a search", hint="hpc-trex insights --forget listops-1")
    path = base()
    searches = read_base(path)
    gone = {one.uid: one for name in named for one in [_find(name, searches, path)]}
    for uid in gone:
        if not dry_run:
            forget(path, uid)
    if as_json:
        emit_json({"base": str(path), "dry_run": dry_run, "forgotten": sorted(gone)})
        return
    for one in gone.values():
        emit(f"{one.name} ({one.uid}): {'would be forgotten (--dry-run)' if dry_run else 'forgotten'}")


def _find(name: str, searches: Sequence[Remembered], path: Path) -> Remembered:
    """Return the one search of the base with this uid, name or folder. Raises NotFound, UsageProblem for several."""
    folder = str(Path(name).expanduser().absolute())
    found = [one for one in searches if name in (one.uid, one.name) or one.directory == folder]
    if not found:
        names = [one.name for one in searches]
        raise NotFound(
            f"no search {name!r} in {path}{did_you_mean(name, names)}", hint="hpc-trex insights --all --json"
        )
    exact = [one for one in found if one.uid == name]
    if len(exact or found) > 1:
        listed = ", ".join(f"{one.uid} ({one.directory})" for one in found)
        raise UsageProblem(f"{len(found)} searches are called {name!r}", hint=f"name one by its uid: {listed}")
    return (exact or found)[0]
