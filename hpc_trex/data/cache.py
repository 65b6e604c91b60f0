"""The cache of recipe steps: what a step made of the same rows, with the same parameters and code, is not made again.

A key is a SHA-256 over the keys of the steps before, the operator, its parameters, what else it reads (a source's file,
the base model, the step's seed) and the code that runs it. An entry is a folder ``steps/KK/KEY`` of the user's cache,
shared by all searches: the places of the rows that a step left, or the rows themselves where it made new ones. Folders
appear whole, by a rename; where two jobs make the same entry the second one's is thrown away.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hpc_trex
from hpc_trex.data import trimming
from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators.base import Drop, Outcome, source_file
from hpc_trex.data.trimming import ENTRY, discard, step_limit
from hpc_trex.files import folder_digest, sync_tree
from hpc_trex.models import Record, digest
from hpc_trex.models.operators import Convert, FilterLanguage, FilterSimilar, Load, Python

if TYPE_CHECKING:
    from datasets import Dataset

    from hpc_trex.data.operators import Context

#: So often (seconds) a preparation that runs says again what it uses.
RENEWED = 600.0
#: The parts of an outcome that are kept as places of rows.
ARRAYS = ("places", "held")
#: What a rename onto an entry says that another job was quicker with.
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
#: The code that a step's rows depend on; a step that asks a model, or runs code in the sandbox, on more.
CODE = ("data", "ftbench", "models/asking.py", "models/operators.py")


class StepCache:
    """The cached steps below one folder; ``limit`` in bytes.

    What one preparation has read or made is its own until it ends: :meth:`renew` says so to the other jobs.
    """

    def __init__(self, root: Path, limit: float) -> None:
        self.root = root
        self.limit = limit
        self._held: set[Path] = set()
        self._renewed = time.monotonic()

    def renew(self, every: float = RENEWED) -> None:
        """Mark what this preparation uses as in use, if that was last done ``every`` seconds ago. Called with each sign of life.

        Rows stay mapped for as long as it runs: without this the trim of another job could take them after an hour.
        """
        if time.monotonic() - self._renewed < every:
            return
        self._renewed = time.monotonic()
        for entry in self._held:
            with contextlib.suppress(OSError):  # another user's, or gone: it will be made anew when it is asked for
                os.utime(entry)

    def get(self, key: str, data: Dataset) -> Outcome | None:
        """Return what a step with this key made of ``data``; None where it is not known. A damaged entry is removed."""
        folder = self._folder(key)
        try:
            text = (folder / ENTRY).read_bytes()
        except OSError:
            return None  # not there, or not for this user
        try:
            found = _read(folder, json.loads(text), data)
        except (OSError, ValueError, LookupError, TypeError, EOFError):
            # Cut short, or being removed at this moment: the step is run, and what it makes takes the place.
            discard(folder)
            return None
        self._held.add(folder / ENTRY)
        with contextlib.suppress(OSError):  # somebody else's, of a cache that is shared: read all the same
            os.utime(folder / ENTRY)
        return found

    def put(self, key: str, outcome: Outcome) -> str:
        """Keep what a step made; return why that could not be done, or nothing. No trouble with a cache ends a job."""
        folder = self._folder(key)
        work = folder.with_name(f".{key[:16]}-{secrets.token_hex(4)}")
        try:
            work.mkdir(parents=True)
            _write(work, outcome)
            sync_tree(work)
            if folder.exists() and not (folder / ENTRY).exists():  # whoever removed it was killed, or had it open
                discard(folder)
            work.rename(folder)
            self._held.add(folder / ENTRY)
        except OSError as error:
            shutil.rmtree(work, ignore_errors=True)
            return "" if error.errno in TAKEN else f"not cached: {error.strerror or error}"
        return ""

    def trim(self, now: float | None = None) -> int:
        """Remove the entries that were unused for longest until the rest fits; return how many."""
        return len(trimming.trim(self.root, self.limit, now))

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key


def open_cache(cache_dir: str) -> StepCache | None:
    """Return the cache of a user's cache folder; None where ``HPC_TREX_STEP_CACHE_GB`` is 0.

    Raises :class:`DataProblem` where that is no number.
    """
    limit = step_limit()
    return StepCache(Path(cache_dir) / "steps", limit) if limit > 0 else None


def step_key(before: str, step: Record, context: Context, *, seeded: bool, judged: bool) -> str:
    """Return the key of a step on rows that were made under the key ``before``.

    ``seeded``: it draws at random. ``judged``: it asks the base model.
    """
    parts: dict[str, Any] = {"step": step.model_dump(mode="json"), "code": _code_digest(CODE)}
    # A source's rows are the same after whatever other steps.
    parts["before"] = "" if isinstance(step, Load) else before
    if isinstance(step, Load):
        parts["source"] = _file_digest(source_file(context, step.source))
    if isinstance(step, FilterSimilar):
        parts["reference"] = _file_digest(source_file(context, step.reference))
    if isinstance(step, Python):
        parts["sandbox"] = _code_digest(("sandbox",))
    for package in _packages(step, judged=judged):
        parts[package] = metadata.version(package)
    if seeded:
        parts["seed"] = str(context.seed)
    if judged:
        model = folder_digest(Path(context.base.path))
        parts["model"] = [model, context.style, context.system, _code_digest(("training",))]
    return digest(parts)


def _packages(step: Record, *, judged: bool) -> tuple[str, ...]:
    """Return the libraries on whose version hangs what a step makes."""
    if judged:
        return ("torch", "transformers", "tokenizers")
    match step:
        case FilterLanguage():
            return ("py3langid",)
        case FilterSimilar():  # by words
            return ("scikit-learn",)
        case Convert():
            return ("jinja2",)
    return ()


def joined_key(before: str, own: str) -> str:
    """Return the key of the rows after a step that has the key ``own``."""
    return digest([before, own])


def _read(folder: Path, entry: dict[str, Any], data: Dataset) -> Outcome:
    import numpy as np
    from datasets import load_from_disk

    places, held = (np.load(folder / f"{name}.npy") if name in entry["arrays"] else None for name in ARRAYS)
    return Outcome(
        data.select(places) if places is not None else load_from_disk(str(folder / "rows")),
        tuple(Drop(one["reason"], one["rows"], tuple(one["examples"])) for one in entry["drops"]),
        holdout=None if held is None else data.select(held),
        ordered=entry["ordered"],
        notes=entry["notes"],
        places=places,
        held=held,
        appended=entry["appended"],
    )


def _write(work: Path, outcome: Outcome) -> None:
    import numpy as np

    arrays = {name: found for name in ARRAYS if (found := getattr(outcome, name)) is not None}
    for name, places in arrays.items():
        np.save(work / f"{name}.npy", np.asarray(places, dtype=np.int64))
    if outcome.places is None:
        outcome.data.save_to_disk(str(work / "rows"))
    entry = {
        "drops": [drop._asdict() for drop in outcome.drops],
        "ordered": outcome.ordered,
        "notes": outcome.notes,
        "appended": outcome.appended,
        "arrays": sorted(arrays),
    }
    (work / ENTRY).write_text(json.dumps(entry), encoding="utf-8")


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise DataProblem(f"{path} cannot be read: {error.strerror}", hint="start the search anew") from error


@cache
def _code_digest(parts: tuple[str, ...]) -> str:
    root = Path(hpc_trex.__file__).parent
    total = hashlib.sha256()
    for part in parts:
        folder = root / part
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
            total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()
