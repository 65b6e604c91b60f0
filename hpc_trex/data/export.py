"""A prepared set for other programs: Parquet or JSON lines, the manifest, and a card that the Hugging Face Hub reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.look import read_set_manifest
from hpc_trex.errors import UsageProblem
from hpc_trex.files import DISK_ERRORS, disk_problem, sync_folder, sync_tree, temporary_name, write_atomic

if TYPE_CHECKING:
    from datasets import Dataset

Kind = Literal["parquet", "jsonl"]
#: The Hub's classes of size: below so many rows, this name.
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))  # fmt: skip


def export_set(folder: Path, target: Path, kind: Kind) -> dict[str, int]:
    """Write the set in ``folder`` to ``target``, all or nothing; return the rows of each split.

    ``train`` holds the rows, ``validation`` those that a ``split`` step held out. Raises :class:`UsageProblem` for a target that
    is not empty, :class:`NotFound` where there is no set, :class:`DataProblem` for one that is cut short.
    """
    manifest = read_set_manifest(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageProblem(f"{target} exists already", hint="name a folder that is empty or not there")
    import datasets

    datasets.disable_progress_bars()
    target.parent.mkdir(parents=True, exist_ok=True)
    making = temporary_name(target)
    try:
        rows = _fill(making, folder, manifest, kind)
        sync_tree(making)
        if target.is_dir():
            target.rmdir()
        making.rename(target)
        sync_folder(target.parent)
    except BaseException as error:
        shutil.rmtree(making, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise disk_problem(error, target) from error
        raise
    return rows


def _fill(making: Path, folder: Path, manifest: dict[str, Any], kind: Kind) -> dict[str, int]:
    """Write all files of the export into ``making``; return the rows of each split."""
    (making / "data").mkdir(parents=True)
    wanted = {"train": manifest["rows"]}
    if manifest["holdout_rows"]:
        wanted["validation"] = manifest["holdout_rows"]
    parts = {"train": "rows", "validation": "holdout"}
    rows = {split: _write(folder / parts[split], making / "data" / f"{split}.{kind}", kind) for split in wanted}
    if rows != wanted:
        raise DataProblem(f"{folder} holds {rows} rows, its manifest says {wanted}", hint="prepare the set again")
    write_atomic(making / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    write_atomic(making / "README.md", card(manifest, rows, kind))
    return rows


def _write(part: Path, path: Path, kind: Kind) -> int:
    from datasets import load_from_disk

    try:
        data: Dataset = load_from_disk(str(part))
        if kind == "parquet":
            data.to_parquet(str(path))
        else:
            data.to_json(str(path), force_ascii=False)
    except (ValueError, KeyError, FileNotFoundError) as error:
        raise DataProblem(f"{part} cannot be read: {error}", hint="prepare the set again") from None
    return len(data)


def card(manifest: dict[str, Any], rows: dict[str, int], kind: Kind) -> str:
    """Return the data set's card: YAML that the Hub reads, then what the manifest says, for a person."""
    from huggingface_hub import DatasetCardData

    total = sum(rows.values())
    size = next((name for below, name in SIZES if total < below), "n>10M")
    licences = [one for one in manifest.get("licences", [manifest["licence"]]) if one] or ["unknown"]
    front = DatasetCardData(
        license="other" if len(licences) > 1 else licences[0].lower(),
        license_name=" and ".join(licences) if len(licences) > 1 else None,
        size_categories=[size],
        configs=[
            {"config_name": "default", "data_files": [{"split": one, "path": f"data/{one}.{kind}"} for one in rows]}
        ],
    )
    lines = [
        "---",
        front.to_yaml(),
        "---",
        f"# A training set of {total} rows",
        "",
        "Prepared by hpc-trex. Columns: `row_id` (source and line), `source`, `prompt` and `answer`, the last two as the",
        f"{manifest['format']} text that a model is trained on. `manifest.json` has every step with its parameters, and hashes.",
        "",
        *_sources(manifest),
        *_steps(manifest),
        *_asked(manifest),
        f"SHA-256 over the rows: `{manifest['sha256']}`",
        "",
    ]
    return "\n".join(lines)


def _sources(manifest: dict[str, Any]) -> list[str]:
    lines = ["## Sources", "", "| source | rows | origin | licence |", "|---|---|---|---|"]
    for name, count in sorted(manifest["rows_by_source"].items()):
        source = manifest["sources"].get(name, {})
        origin = source.get("origin", {})
        where = next((str(origin[key]) for key in ("hub", "path", "generator") if key in origin), "-")
        commit = f" at {origin['revision']}" if "revision" in origin else ""
        licence = source.get("licence") or manifest["licence"] or "unknown"
        lines.append(f"| {_cell(name)} | {count} | {_cell(where + commit)} | {_cell(licence)} |")
    return [*lines, ""]


def _steps(manifest: dict[str, Any]) -> list[str]:
    lines = ["## Steps", "", "| step | rows in | rows out | dropped |", "|---|---|---|---|"]
    for step in manifest["steps"]:
        dropped = "; ".join(f"{drop['rows']}: {drop['reason']}" for drop in step["dropped"])
        lines.append(
            f"| {step['step']} {step['op']} | {step['rows_in']} | {step['rows_out']} | {_cell(dropped) or '-'} |"
        )
    return [*lines, ""]


def _asked(manifest: dict[str, Any]) -> list[str]:
    """What a model wrote or judged is said: whoever uses the set must know, and a model's licence may bind it."""
    asked = manifest.get("answers", [])
    if not asked:
        return []
    lines = ["## Rows that a language model has seen", ""]
    lines += [f"- {_cell(one['model'])} was asked about {one['rows']} rows (prompt {one['prompt_digest'][:12]})" for one in asked]  # fmt: skip
    return [*lines, ""]


def _cell(text: str) -> str:
    """Return a text as one cell of a table: words of other people make no markup."""
    from hpc_trex.models.base import one_line

    return one_line(text).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
