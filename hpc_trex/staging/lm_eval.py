"""Make a task card of a task or group of lm-eval: data at pinned commits, rows, its definition, one folder of it all.

Runs where there is network. lm-eval itself runs in child processes, offline; what they need is fetched before.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from hpc_trex import version
from hpc_trex.errors import EnvironmentProblem, NotFound, UsageProblem
from hpc_trex.files import temporary_name, write_atomic
from hpc_trex.ftbench.lm_eval import Target, staged_cards
from hpc_trex.models import digest
from hpc_trex.staging.fetch import make_root, permissions
from hpc_trex.staging.hub import Wish
from hpc_trex.staging.manifests import sha256_of
from hpc_trex.staging.stage import Outcome, stage

Say = Callable[[str], None]
#: What the child needs, and from where.
NEEDED = {"lm_eval": "lm-eval", "datasets": "datasets"}


class StagedTask(NamedTuple):
    """A task that was made a card of. ``card`` is None for a dry run."""

    target: Target
    card: Path | None
    version: str
    metric: str
    rows: dict[str, int]
    data: list[Outcome]
    already: bool = False


def stage_task(target: Target, root: Path, *, say: Say, group: bool = False, dry_run: bool = False) -> StagedTask:
    """Stage one target into ``root``. The same definition and data at the same commits give the same folder.

    Raises UsageProblem (a task that is not supported, with why), NotFound (no such task) or EnvironmentProblem
    (lm-eval is not installed here, no network, data that cannot be read).
    """
    require_packages(target)
    say(f"asking lm-eval about {target.name}" + ("" if target.include else " (it reads some 14,000 definitions)"))
    described = _child(
        {"step": "describe", "name": target.name, "include": _text(target.include), "metric": target.metric}
    )
    wishes = [Wish("datasets", repository, revision) for repository, revision in described["data"]]
    data = stage(wishes, root, say=say, group=group, dry_run=dry_run)
    facts = {"version": described["version"], "metric": described["metric"]}
    if dry_run:
        return StagedTask(target, None, **facts, rows={}, data=data)
    make_root(root, group=group)
    say("rendering its rows")
    folder, rows, already = _make(target, described, data, root)
    return StagedTask(target, folder / "card.toml", **facts, rows=rows, data=data, already=already)


def ensure_staged(target: Target, root: Path, *, say: Say) -> None:
    """Stage a target that a launch names and that is on no stage folder of this machine."""
    if not staged_cards(target):
        stage_task(target, root, say=say)


def require_packages(target: Target) -> None:
    """Raise :class:`EnvironmentProblem` where lm-eval is not installed beside this program."""
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise EnvironmentProblem(
            f"{target.words} needs {' and '.join(missing)}, which this Python has not",
            hint="pip install 'hpc-trex[train]'",
        )


def _make(
    target: Target, described: dict[str, Any], data: list[Outcome], root: Path
) -> tuple[Path, dict[str, int], bool]:
    """Render into a folder beside and name it by its content: an interrupted run leaves nothing that would be used."""
    parent = root / "lm-eval" / target.slug
    parent.mkdir(parents=True, exist_ok=True)
    work = temporary_name(parent / "task")
    work.mkdir()
    try:
        folders = {one.wish.repository: str(one.folder) for one in data}
        made = _child({"step": "render", "described": described, "folders": folders, "out": str(work)})
        card = _card(target, described, made, data)
        write_atomic(
            work / "card.toml", f"# Made by hpc-trex stage --task {target.words}\n" + tomli_w.dumps(card) + _tail(made)
        )
        content = {path.name: sha256_of(path) for path in sorted(work.iterdir()) if path.is_file()}
        folder = parent / digest({"files": content, "definition": made["digest"]})[:16]
        manifest = {
            "name": target.name,
            "include": _text(target.include),
            "metric": described["metric"],
            "lm_eval": described["version"],
            "data": {one.wish.repository: one.commit for one in data},
            "rows": made["rows"],
            "dropped": made["dropped"],
            "definition": made["digest"],
            "files": content,
            "program": version(),
            "staged_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        }
        already = folder.is_dir()
        if not already:
            work.rename(folder)
        write_atomic(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
        _readable(root, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder, dict(made["rows"]), already


def _readable(root: Path, folder: Path) -> None:
    """Let whoever may read the stage folder read this one, and nobody change its files by mistake."""
    bits = permissions(root)
    for path in (folder.parent.parent, folder.parent, folder, *folder.rglob("*")):
        path.chmod((0o755 if path.is_dir() else 0o444) & bits)


def _card(target: Target, described: dict[str, Any], made: dict[str, Any], data: list[Outcome]) -> dict[str, Any]:
    licences = sorted({one.licence for one in data})
    metric: dict[str, Any] = {
        "name": "lm_eval",
        "mode": made["mode"],
        "labels": made["labels"],
        "higher_is_better": described["higher_is_better"],
        "max_new_tokens": made["max_new_tokens"],
        "stop": made["stop"],
        "lm_eval": {
            "name": target.name,
            "metric": described["metric"],
            "filter": described["filter"],
            "digest": made["digest"],
            "version": described["version"],
        },
    }
    train = {"train": {"path": "train.jsonl"}} if made["rows"]["train"] else {}
    return {
        "name": target.slug,
        "title": f"{target.name} of lm-eval {described['version']}, {described['metric']}",
        "licence": ", ".join(licences) or "unknown",
        "sources": train,
        "dev": {"path": "dev.jsonl"},
        "test": {"path": "test.jsonl"},
        "metric": metric,
    }


def _tail(made: dict[str, Any]) -> str:
    """Return what a card without training data says about it."""
    if made["rows"]["train"]:
        return ""
    return (
        "\n# This task has no training data. To train for it, copy this folder and take the # from the next lines:\n"
        '# [sources.mine]\n# path = "mine.jsonl"\n# Its rows have the columns prompt and answer, and are formatted as dev.jsonl is.\n'
    )


def _child(request: dict[str, Any]) -> dict[str, Any]:
    """Ask lm-eval in a process of its own, offline, with a cache that goes with it."""
    with tempfile.TemporaryDirectory(prefix="hpc-trex-lm-eval-") as scratch:
        answer = Path(scratch) / "answer.json"
        offline = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"), "1")
        own = {"HF_DATASETS_CACHE": scratch, "HF_MODULES_CACHE": scratch, "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(
            [sys.executable, "-m", "hpc_trex.evaluation.lm_stage"],
            input=json.dumps(request | {"answer": str(answer)}),
            env={**os.environ, **offline, **own, "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if not answer.is_file():
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise EnvironmentProblem(
                f"lm-eval ended with exit code {done.returncode}: {last[:300]}",
                hint="is the task's own code complete? lm_eval validate --tasks NAME says more",
            )
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "problem" in found:
        missing = "no task or group" in found["problem"]
        raise (NotFound if missing else UsageProblem)(found["problem"], hint=found["hint"])
    return found


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
