"""What of a search nobody needs any more (``hpc-trex gc``): found and measured here, moved by :mod:`.trash`.

Kept, always: specifications, results, samples, plans, claims, the log and the tree. While a search is not over every scored
round may still be chosen, repeated or built on, so its models and data stay too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hpc_trex.layout import AttemptPaths, SearchPaths
from hpc_trex.models import (
    LIVE,
    AttemptState,
    AttemptView,
    JobKind,
    NodeState,
    NodeView,
    SearchState,
    TrialState,
    TrialView,
)
from hpc_trex.tree.reads import TreeReads

DAY_SECONDS = 86400.0
#: Rounds whose models are kept beside the chosen one.
KEEP = 3
OVER = (SearchState.DONE, SearchState.FAILED, SearchState.CANCELLED)
ENDED = (TrialState.DONE, TrialState.FAILED, TrialState.CANCELLED)
#: What a job writes for people; packed into one file a round.
LOGS = ("job.out", "job.err", "job.sbatch", "worker-result.json", "stop-request.json")
#: Names of files that are not whole yet, ours and submitit's.
_UNFINISHED = re.compile(r"\..+\.tmp-.+|\.task-[0-9a-f]+|.+\.save_tmp|\.(worker-result|result)\.json\..+")


class Item(NamedTuple):
    """Something that can go: a file or a whole folder, with its entries (inodes) and bytes."""

    what: str
    path: Path
    files: int
    size: int


class Pack(NamedTuple):
    """Logs of one closed round, which become one archive."""

    node: int
    files: list[Path]
    size: int


class Plan(NamedTuple):
    """All that can go. ``final``: among it are models or data that a search that is over would need to go on."""

    items: list[Item]
    packs: list[Pack]
    final: bool


def find(paths: SearchPaths, tree: TreeReads, *, keep: int, now: float) -> Plan:
    """Return what can go; nothing is changed. ``now``: the file server's time."""
    over = tree.state()[0] in OVER
    nodes, attempts = tree.nodes(), tree.attempts()
    trials = {(trial.node, trial.trial): trial for node in nodes for trial in node.trials}
    items: list[Item] = []
    needed = _needed_models(paths, tree, nodes, attempts, keep=keep, over=over)
    for attempt in attempts:
        if attempt.state not in LIVE:
            items += _of_attempt(paths, attempt, trials.get((attempt.node, attempt.trial)), nodes, needed)
    if over:
        items += _data(paths, nodes)
    items += _unfinished(paths, attempts, now)
    final = over and any(item.what in ("models", "data") for item in items)
    return Plan(items, list(_packs(paths, nodes, attempts)), final)


def measure(path: Path) -> tuple[int, int]:
    """Return how many entries a path has, itself included, and their bytes; what cannot be read counts as nothing."""
    files, size = 0, 0
    try:
        size = path.lstat().st_size
        files = 1
        if path.is_dir() and not path.is_symlink():
            for child in path.iterdir():
                more, bigger = measure(child)
                files, size = files + more, size + bigger
    except OSError:  # gone or stale: whoever moves it will say so
        pass
    return files, size


def item(what: str, path: Path) -> Item:
    """Return a path with its measures."""
    return Item(what, path, *measure(path))


def _of_attempt(
    paths: SearchPaths, attempt: AttemptView, trial: TrialView | None, nodes: list[NodeView], needed: set[Path]
) -> Iterator[Item]:
    """Yield what an attempt that is over has left: pickles; of a trial that is over, checkpoints and unneeded models."""
    files = AttemptPaths(paths.root / attempt.directory)
    pickles = files.root / "submitit"
    if pickles.is_dir():
        yield item("pickles", pickles)
    settled = trial.state in ENDED if trial else nodes[attempt.node].state is not NodeState.PENDING
    if not settled:
        return
    if files.checkpoints.is_dir():
        yield item("checkpoints", files.checkpoints)
    apart = not any(files.model == path or files.model in path.parents for path in needed)
    if trial is not None and trial.kind is JobKind.TRAIN and files.model.is_dir() and apart:
        yield item("models", files.model)


def _needed_models(
    paths: SearchPaths, tree: TreeReads, nodes: list[NodeView], attempts: list[AttemptView], *, keep: int, over: bool
) -> set[Path]:
    """Return the folders of the models that stay, as their results name them and, should the search have been moved
    since, as they lie here.
    """
    kept = _needed_trials(tree, nodes, keep=keep, over=over)
    folders: set[Path] = set()
    for trial in kept:
        if trial.result is not None and trial.result.model is not None:
            folders.update(Path(text) for text in (trial.result.model.path, trial.result.model.adapter) if text)
    keys = {(trial.node, trial.trial) for trial in kept} | {trial.reused_from for trial in kept}
    for attempt in attempts:
        if (attempt.node, attempt.trial) in keys and attempt.state is AttemptState.SUCCEEDED:
            folders.add(AttemptPaths(paths.root / attempt.directory).model)
    return folders


def _needed_trials(tree: TreeReads, nodes: list[NodeView], *, keep: int, over: bool) -> list[TrialView]:
    """Return the chosen trial and the best one of each of the best rounds; before the choice, all that are not repeats."""
    chosen = tree.chosen()
    if over or chosen is not None:
        sign = -1 if tree.higher_is_better else 1
        done = sorted((node for node in nodes if node.score is not None), key=lambda node: sign * (node.score or 0.0))
        wanted = {(node.id, node.best_trial) for node in done[:keep]}
        if chosen is not None:
            wanted.add((chosen.node, chosen.trial))
        return [trial for node in nodes for trial in node.trials if (trial.node, trial.trial) in wanted]
    return [trial for node in nodes for trial in node.trials if trial.replicate_of is None]


def _data(paths: SearchPaths, nodes: list[NodeView]) -> Iterator[Item]:
    """Yield the prepared rows of a search that is over; the manifests, which say what they were, stay."""
    for node in nodes:
        folder = paths.data(node.id)
        if folder.is_dir():
            yield from (item("data", path) for path in sorted(folder.iterdir()) if path.name != "manifest.json")


def _unfinished(paths: SearchPaths, attempts: list[AttemptView], now: float) -> Iterator[Item]:
    """Yield temporary files that are older than a day."""
    folders = {paths.root, paths.snapshot.parent, paths.controller, *paths.root.glob("nodes/*")}
    folders |= {paths.root / attempt.directory for attempt in attempts}
    for folder in sorted(folders):
        try:
            found = [path for path in folder.iterdir() if _UNFINISHED.fullmatch(path.name)]
            yield from (item("temporary", path) for path in found if now - path.lstat().st_mtime > DAY_SECONDS)
        except OSError:
            continue  # not there, or gone meanwhile


def _packs(paths: SearchPaths, nodes: list[NodeView], attempts: list[AttemptView]) -> Iterator[Pack]:
    """Yield the logs of rounds in which nothing is left to do."""
    live = {attempt.node for attempt in attempts if attempt.state in LIVE}
    for node in nodes:
        done = node.state is not NodeState.PENDING and all(trial.state in ENDED for trial in node.trials)
        if not done or node.id in live:
            continue
        folders = [paths.root / attempt.directory for attempt in attempts if attempt.node == node.id]
        files = [folder / name for folder in folders for name in LOGS if (folder / name).is_file()]
        if len(files) > 1:
            yield Pack(node.id, files, sum(measure(path)[1] for path in files))
