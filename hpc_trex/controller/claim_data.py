"""A round's prepared set and its rows, read for the Reviewer; nothing is decided here (:mod:`hpc_trex.agents.claim_data`).

A set that several trials share is looked through once by a controller. What cannot be read is told, and never raises: a
controller that ended at it would end at it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hpc_trex.agents.claim_records import DataFacts, Manifest
from hpc_trex.agents.leaks import Leaks, TrainingRow, around, read_blocked, scan
from hpc_trex.controller.context import Work
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.files import read_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import DataRecipe, JobSpec, NodeView
from hpc_trex.samples import file_digest

#: Training rows, and bytes of them, that are looked at most, evenly spaced: 0.3 s of a login node a million characters.
LOOKED = 20_000
LOOKED_BYTES = 16 * 2**20
#: Sets beyond it are not digested again: reading them would keep the controller from its jobs.
DIGESTED_BYTES = 256 * 2**20
#: Rows among which one is sought that shows what a format puts around prompts.
SHOWN = 200


def data_facts(work: Work, view: NodeView) -> DataFacts:
    """Return what there is of the set that a round's trials were trained on."""
    folder = work.paths.data(view.id if view.data_from is None else view.data_from)
    try:
        stamp = (folder / "manifest.json").stat().st_mtime_ns
    except OSError as error:
        return DataFacts(folder, unread=(f"manifest.json: {error.strerror}",))
    return _facts(work.paths, folder, stamp)._replace(asked=_asked(work, view))


def read_dev(path: Path) -> Mapping[str, tuple[str, str]]:
    """Return prompt and reference of each dev row, by its id. Raises :class:`EnvironmentProblem` for a damaged file."""
    try:
        return {str(row["row_id"]): (str(row["prompt"]), str(row["answer"])) for row in _json_rows(path)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentProblem(
            f"{path} is missing or damaged: {type(error).__name__}: {error}",
            hint="no claim can be checked without the dev rows; restore the file from a copy, then: hpc-trex resume",
        ) from error


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as handle:
        for line in handle:
            yield json.loads(line)


@lru_cache(maxsize=4)
def _facts(paths: SearchPaths, folder: Path, stamp: int) -> DataFacts:  # noqa: ARG001 # a set made anew is another
    try:
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    except OSError as error:
        return DataFacts(folder, unread=(f"manifest.json: {error.strerror}",))
    except ValidationError as error:
        first = error.errors()[0]
        return DataFacts(folder, unread=(f"{'.'.join(map(str, first['loc']))}: {first['msg']}".lstrip(": "),))
    unread: list[str] = []
    sources = {
        path.stem: _digest(path, unread)
        for path in sorted(paths.sources.glob("*.jsonl"))
        if path.stem in manifest.sources
    }
    changed = _changed(folder, manifest.files, unread)
    return DataFacts(folder, manifest, None, sources, changed, tuple(unread), _leaks(paths, folder, manifest))


def _digest(path: Path, unread: list[str]) -> str:
    """Return a file's SHA-256; empty, with the reason among the ``unread``, of one that cannot be read."""
    try:
        return file_digest(path)
    except OSError as error:
        unread.append(f"{path.name}: {error.strerror}")
        return ""


def _asked(work: Work, view: NodeView) -> DataRecipe | None:
    made = work.store.preparation(view.id if view.data_from is None else view.data_from)
    spec = read_record(work.attempt_paths(made).spec, JobSpec) if made is not None else None
    return spec.data if spec is not None else None


def _changed(folder: Path, told: Mapping[str, str], unread: list[str]) -> tuple[str, ...]:
    """Return the files of the set whose digest is not the manifest's; of a large set none is read, one that is gone is told."""
    try:
        size = sum((folder / name).stat().st_size for name in told if (folder / name).is_file())
    except OSError as error:
        unread.append(f"files of the data: {error.strerror}")
        return ()
    if size > DIGESTED_BYTES:
        unread.append(f"the digests of {len(told)} files: they have {size / 2**20:,.0f} MiB")
        return ()
    digests = {name: _digest(folder / name, unread) for name in told}
    return tuple(sorted(name for name, now in digests.items() if now and now != told[name]))


def _leaks(paths: SearchPaths, folder: Path, manifest: Manifest) -> Leaks | str:
    """Look through the rows; return why that was not done where it cannot be."""
    try:
        rows, total = read_rows(folder / "rows")
        blocked = read_blocked(paths.block.read_text(encoding="utf-8").splitlines())
        plain = manifest.format == "plain"
        raw = {} if plain else _raw_prompts(paths, {row.row_id for row in rows[:SHOWN]})
        affixes = ("", "") if plain else around(rows[:SHOWN], raw)
        dev = [prompt for prompt, _ in read_dev(paths.dev).values()]
        return scan(rows, total, affixes, blocked, dev, lambda: _source_prompts(paths))
    except ImportError:
        return "pyarrow is not installed beside the controller, so no row was read; pip install pyarrow brings it"
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        # Arrow's own errors are among these; a source or a row of another shape is too.
        return f"{type(error).__name__}: {error}"


def read_rows(folder: Path) -> tuple[list[TrainingRow], int]:
    """Return rows of a set that ``datasets`` saved, evenly spaced where there are too many, and how many there are.

    Raises ``ImportError`` where there is no pyarrow: the core of the program does not bring it.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    files = [entry["filename"] for entry in json.loads((folder / "state.json").read_text())["_data_files"]]
    tables = [pa.ipc.open_stream(pa.memory_map(str(folder / name))).read_all() for name in files]
    table = pa.concat_tables(tables).select(["row_id", "prompt", "answer"])
    size = sum(pc.sum(pc.binary_length(table[name])).as_py() or 0 for name in ("prompt", "answer"))
    step = max(-(-len(table) // LOOKED), -(-size // LOOKED_BYTES), 1)
    picked = table if step == 1 else table.take(pa.array(range(0, len(table), step)))
    rows = [TrainingRow(**row) for batch in picked.to_batches() for row in batch.to_pylist()]
    if not all(isinstance(text, str) for row in rows for text in row):
        raise TypeError("a row has a column that is no text")
    return rows, len(table)


def _raw_prompts(paths: SearchPaths, wanted: set[str]) -> dict[str, str]:
    """Return the prompts of some rows as the task card's text."""
    every = (row for path in sorted(paths.sources.glob("*.jsonl")) for row in _json_rows(path))
    return {row["row_id"]: row["prompt"] for row in every if row["row_id"] in wanted}


def _source_prompts(paths: SearchPaths) -> Iterable[str]:
    return (row["prompt"] for path in sorted(paths.sources.glob("*.jsonl")) for row in _json_rows(path))
