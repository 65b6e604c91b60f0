"""What an operator is given and what it gives back."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from hpc_trex.data.errors import DataProblem
from hpc_trex.ftbench.rows import Row, normalised
from hpc_trex.models import JobSandbox
from hpc_trex.models.asking import RowAnswer

if TYPE_CHECKING:
    from datasets import Dataset

    from hpc_trex.models import ModelRef

#: Positions of rows: an array of integers, or a sequence of them.
Places = Any

#: Rows a time where columns are read.
BATCH = 10_000

#: Characters a time, where rows are long: 256 MiB at most.
BATCH_SIGNS = 64 * 2**20
#: Row ids that the manifest shows of each kind of dropped row.
EXAMPLES = 5
COLUMNS = Row._fields
_PART = re.compile(r"(#\d+)+$")
"""What is added to the id of a row that others are made of."""


class Context(NamedTuple):
    """What a step may use besides its rows."""

    sources: dict[str, Path]
    """Canonical JSONL file of each training source."""
    base: ModelRef
    seed: int
    """The step's own."""
    style: str
    """``plain`` or ``chat``: how the rows will be formatted."""
    system: str
    tick: Callable[[str], None]
    """To be called now and then in long work, with a word on it: the job's sign of life."""
    sandbox: JobSandbox = JobSandbox()
    """What may be done with code of agents; by itself nothing."""
    hidden: tuple[Path, ...] = ()
    """What such code must not see: the search, its data and its cache."""
    scratch: Path | None = None
    """Folder for what does not fit into memory; emptied when the recipe has run."""
    answers: Mapping[str, RowAnswer] = MappingProxyType({})
    """What a language model said of rows, by the key of the question."""


class Drop(NamedTuple):
    """Rows that a step took out for one reason."""

    reason: str
    rows: int
    examples: tuple[str, ...]


class Outcome(NamedTuple):
    """The rows after a step."""

    data: Dataset
    drops: tuple[Drop, ...] = ()
    holdout: Dataset | None = None
    ordered: bool | None = None
    """True: the order of rows means something from here on; False: no more; None: as before."""
    notes: dict[str, object] = {}
    """What else the manifest should say about the step."""
    places: Places | None = None
    """Where the rows stood before the step; None: they are new ones."""
    held: Places | None = None
    """The same of the holdout."""
    appended: bool = False
    """The rows come after those that were there."""


def column(data: Dataset, name: str) -> list[str]:
    """Return one column as a list."""
    return [text for texts in columns(data, name) for (text,) in texts]


def columns(data: Dataset, *names: str) -> Iterator[Iterator[tuple[str, ...]]]:
    """Yield the named columns batch by batch, each batch as tuples: a set larger than memory passes."""
    for table in tables(data, BATCH, *names):
        yield zip(*(table[name].to_pylist() for name in names), strict=True)


def tables(data: Dataset, rows: int, *names: str) -> Iterator[Any]:
    """Yield the named columns as Arrow tables of so many rows, of fewer where these are long."""
    for table in data.select_columns(list(names)).with_format("arrow").iter(batch_size=rows):
        yield from _halved(table)


def _halved(table: Any) -> Iterator[Any]:
    if len(table) < 2 or table.nbytes <= 4 * BATCH_SIGNS:
        yield table
        return
    half = len(table) // 2
    yield from _halved(table.slice(0, half))
    yield from _halved(table.slice(half))


def texts(data: Dataset, *names: str) -> Iterator[tuple[str, ...]]:
    """Yield the named columns row by row, read batch by batch."""
    for batch in columns(data, *names):
        yield from batch


def kept(data: Dataset, keep: Iterable[bool], reason: str, **notes: object) -> Outcome:
    """Return the rows whose mark is true; the others were dropped for ``reason``."""
    import numpy as np

    marks = np.fromiter(keep, dtype=bool)
    assert len(marks) == len(data), "one mark a row"
    return picked(data, np.flatnonzero(marks), (dropped(data, np.flatnonzero(~marks), reason),), **notes)


def picked(data: Dataset, places: Places, drops: Sequence[Drop] = (), **notes: object) -> Outcome:
    """Return the rows at ``places``, in that order; drops of no rows are left out."""
    return Outcome(data.select(places), tuple(drop for drop in drops if drop.rows), notes=notes, places=places)


def dropped(data: Dataset, places: Places, reason: str) -> Drop:
    """Return the rows at ``places`` as dropped ones, the first of them as examples."""
    return Drop(reason, len(places), tuple(data[int(place)]["row_id"] for place in places[:EXAMPLES]))


def unpicked(data: Dataset, places: Places) -> Places:
    """Return the places of the rows that are not among ``places``."""
    import numpy as np

    left = np.ones(len(data), dtype=bool)
    left[np.asarray(places, dtype=np.int64)] = False
    return np.flatnonzero(left)


def origin(name: str) -> str:
    """Return the id of the row that a row was made of: its own where it is as its source has it."""
    return _PART.sub("", name)


def families(data: Dataset) -> list[str]:
    """Return a name for each row that it shares with its copies: with rows of the same prompt, and those it was made of.

    What is held out, or judged, must not be known by a copy on the other side.
    """
    first: dict[str, str] = {}
    for name, prompt in texts(data, "row_id", "prompt"):
        first.setdefault(origin(name), normalised(prompt))
    return [first[origin(name)] for (name,) in texts(data, "row_id")]


def numbered(name: str, taken: set[str]) -> str:
    """Return a new id for a row that was made of the row ``name``, and note it as taken: ``name#1``, ``name#2``, ...

    Decontamination finds the origin in it.
    """
    number = 1
    while (new := f"{name}#{number}") in taken:
        number += 1
    taken.add(new)
    return new


def from_rows(rows: Iterable[Row], scratch: Path | None = None) -> Dataset:
    """Return rows as an Arrow table of four text columns, also when there are none.

    With a ``scratch`` folder they go through a file there that is mapped into memory, so that there may be more of them
    than memory holds.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    from datasets import Dataset

    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    parts = (
        pa.RecordBatch.from_arrays([pa.array(texts, pa.string()) for texts in zip(*part, strict=True)], schema=schema)
        for part in _batched(rows)
    )
    if scratch is None:
        return Dataset(pa.Table.from_batches(list(parts), schema))
    path = scratch / f"{secrets.token_hex(8)}.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for part in parts:
            writer.write_batch(part)
    return Dataset.from_file(str(path))


def _batched(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Cut rows into parts; an Arrow column of text holds no more than 2 GiB in one of them."""
    part: list[Row] = []
    signs = 0
    for row in rows:
        part.append(row)
        signs += len(row.prompt) + len(row.answer)
        if len(part) >= BATCH or signs >= BATCH_SIGNS:
            yield part
            part, signs = [], 0
    if part:
        yield part


def source_file(context: Context, source: str) -> Path:
    """Return the file of a training source. Raises :class:`DataProblem` naming the sources that there are."""
    path = context.sources.get(source)
    if path is None:
        raise DataProblem(
            f"the task has no training source {source!r}", hint=f"sources: {', '.join(sorted(context.sources))}"
        )
    return path


def source_rows(context: Context, source: str) -> Iterator[Row]:
    """Yield the rows of a training source. Raises :class:`DataProblem` for one that cannot be read."""
    path = source_file(context, source)
    line = 0
    try:
        with path.open(encoding="utf-8", newline="\n") as handle:
            for line, text in enumerate(handle, start=1):  # noqa: B007 - the error names it
                yield Row(**json.loads(text))
    except (OSError, ValueError, TypeError) as error:
        raise DataProblem(
            f"source {source}: {path}:{line} cannot be read: {error}", hint="start the search anew"
        ) from error
