"""What an operator is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hpc_trex.data.errors import DataProblem
from hpc_trex.ftbench.rows import Row
from hpc_trex.models import JobSandbox

if TYPE_CHECKING:
    from datasets import Dataset

    from hpc_trex.models import ModelRef

#: Row ids that the manifest shows of each kind of dropped row.
EXAMPLES = 5
COLUMNS = Row._fields


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


def column(data: Dataset, name: str) -> list[str]:
    """Return one column as a list."""
    return list(data[name])


def kept(data: Dataset, keep: Sequence[bool], reason: str, **notes: object) -> Outcome:
    """Return the rows whose mark is true; the others were dropped for ``reason``."""
    ids = column(data, "row_id")
    lost = [row for row, stays in zip(ids, keep, strict=True) if not stays]
    drops = (Drop(reason, len(lost), tuple(lost[:EXAMPLES])),) if lost else ()
    return Outcome(data.select([place for place, stays in enumerate(keep) if stays]), drops, notes=notes)


def from_rows(rows: Iterable[Row]) -> Dataset:
    """Return rows as an Arrow table of four text columns, also when there are none."""
    from datasets import Dataset, Features, Value

    rows = list(rows)
    features = Features({name: Value("string") for name in COLUMNS})
    return Dataset.from_dict({name: [getattr(row, name) for row in rows] for name in COLUMNS}, features=features)


def source_rows(context: Context, source: str) -> list[Row]:
    """Return the rows of a training source. Raises :class:`DataProblem` naming the sources that there are."""
    from hpc_trex.ftbench.materialise import read_rows

    path = context.sources.get(source)
    if path is None:
        raise DataProblem(
            f"the task has no training source {source!r}", hint=f"sources: {', '.join(sorted(context.sources))}"
        )
    try:
        return read_rows(path)
    except (OSError, ValueError, TypeError) as error:
        raise DataProblem(f"source {source}: {path} cannot be read: {error}", hint="start the search anew") from error
