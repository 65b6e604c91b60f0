"""Write a prepared set with the manifest that proves where it came from, and find one that is there already."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hpc_trex import version
from hpc_trex.files import DISK_ERRORS, disk_problem, read_record, sync_folder, sync_tree, write_atomic
from hpc_trex.models import DataRecipe, JobSpec, TaskCard, digest
from hpc_trex.models.asking import AnsweredRows

if TYPE_CHECKING:
    from datasets import Dataset

NAME = "manifest.json"


class Finished(NamedTuple):
    """What a recipe made, ready to be written."""

    data: Dataset
    holdout: Dataset | None
    ordered: bool
    style: str
    steps: tuple[dict[str, object], ...]
    card: TaskCard
    cached: tuple[int, ...] = ()
    """Numbers of the steps that were not run, because the cache of steps had what they make."""


def read_manifest(folder: Path, recipe: DataRecipe) -> dict[str, object] | None:
    """Return the manifest of a finished set of this very recipe and seed; None where there is none."""
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(manifest, dict) and manifest.get("recipe_digest") == digest(recipe)
    return dict(manifest) if same else None


def write_set(spec: JobSpec, recipe: DataRecipe, finished: Finished) -> dict[str, object]:
    """Write the set beside its place, rename it there, return its manifest. What stood there unfinished is replaced."""
    assert spec.data_dir is not None
    target = Path(spec.data_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    try:
        finished.data.save_to_disk(str(work / "rows"))
        if finished.holdout is not None:
            finished.holdout.save_to_disk(str(work / "holdout"))
        manifest = _manifest(spec, recipe, finished, work)
        sync_tree(work)
        write_atomic(work / NAME, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
        sync_folder(target.parent)
    except BaseException as error:
        shutil.rmtree(work, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise disk_problem(error, target) from error
        raise
    return manifest


def rows_digest(data: Dataset) -> str:
    """Return the SHA-256 over the rows as JSON lines, in their order: equal sets have equal digests everywhere."""
    total = hashlib.sha256()
    for row in data:
        total.update(json.dumps(row, sort_keys=True).encode() + b"\n")
    return total.hexdigest()


def _manifest(spec: JobSpec, recipe: DataRecipe, finished: Finished, work: Path) -> dict[str, object]:
    files = sorted(path for path in work.rglob("*") if path.is_file())
    counts: dict[str, int] = {}
    for source in finished.data["source"]:
        counts[source] = counts.get(source, 0) + 1
    return {
        "schema_version": 1,
        "rows": len(finished.data),
        "holdout_rows": 0 if finished.holdout is None else len(finished.holdout),
        "rows_by_source": counts,
        "sha256": rows_digest(finished.data),
        "ordered": finished.ordered,
        "format": finished.style,
        "steps": list(finished.steps),
        "dropped": _dropped(finished.steps),
        "cached_steps": list(finished.cached),
        "sources": {
            name: _source(Path(path), finished.card, name)
            for name, path in sorted(spec.sources.items())
            if name in _loaded(recipe)
        },
        **({"answers": [_answers(Path(path)) for path in spec.answers]} if spec.answers else {}),
        "files": {path.relative_to(work).as_posix(): _file_digest(path) for path in files},
        "recipe": recipe.model_dump(mode="json"),
        "recipe_digest": digest(recipe),
        "licence": finished.card.licence,
        "licences": sorted({_licence(finished.card, name) for name in _loaded(recipe)}),
        "base": spec.base.name,
        "code": {"hpc-trex": version(), "datasets": metadata.version("datasets")},
        "seed": recipe.seed,
    }


def _dropped(steps: tuple[dict[str, object], ...]) -> dict[str, int]:
    """Return the rows lost by step, e.g. ``{"3 dedup": 41}``, without the steps that lost none."""
    lost: dict[str, int] = {}
    for entry in steps:
        drops: Any = entry["dropped"]
        count = sum(int(drop["rows"]) for drop in drops)
        if count:
            lost[f"{entry['step']} {entry['op']}"] = count
    return lost


def _loaded(recipe: DataRecipe) -> set[str]:
    return {step.source for step in recipe.steps if step.op == "load"}


def _source(path: Path, card: TaskCard, name: str) -> dict[str, object]:
    """Return where a source's rows came from: its file in the search, and its origin as the card has it."""
    origin = card.sources.get(name)
    told = {} if origin is None else origin.model_dump(mode="json", exclude_defaults=True)
    file: dict[str, object] = {"path": str(path), "sha256": _file_digest(path), "licence": _licence(card, name)}
    return file | ({"origin": told} if told else {})


def _answers(path: Path) -> dict[str, object]:
    """Return who answered for rows, in which words it was asked, and what that cost."""
    record = read_record(path, AnsweredRows)
    assert record is not None, "it was read before the steps were run"
    told = record.model_dump(mode="json", exclude={"answers"})
    return {"path": str(path), "sha256": _file_digest(path), "rows": len(record.answers), **told}


def _licence(card: TaskCard, name: str) -> str:
    origin = card.sources.get(name)
    return (origin.licence if origin is not None else "") or card.licence


def _file_digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
