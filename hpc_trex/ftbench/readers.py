"""Read the columns of a source, row by row, each with the place it came from. No torch, no ``datasets``, no pandas."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.errors import EnvironmentProblem, UsageProblem
from hpc_trex.ftbench.cards import source_path
from hpc_trex.ftbench.mini import generate
from hpc_trex.ftbench.shapes import Shaper
from hpc_trex.models import Source


class RawRow(NamedTuple):
    """The columns of one row. ``where`` is what an error names, ``file:line``; ``line`` counts from 1 over the source."""

    line: int
    where: str
    columns: dict[str, Any]


def read_source(source: Source, origin: Path) -> Iterator[RawRow]:
    """Yield the rows of one source of the card at ``origin``, the first ``source.rows`` of them where that is set.

    Raises :class:`UsageProblem` with file and line for a row that cannot be read, and
    :class:`EnvironmentProblem` where a package or the network is missing.
    """
    if source.generator is not None:
        yield from _generated(source)
        return
    if source.hub is not None:
        from hpc_trex.ftbench.hub import split_files

        files = split_files(source)
    else:
        files = data_files(source_path(source, origin))
    rows = _numbered(files)
    if source.shape is not None:
        rows = _shaped(rows, Shaper(source.shape, str(origin)))
    yield from islice(rows, source.rows)


def data_files(path: Path) -> list[Path]:
    """Return the file, or the data files below a folder by their names. Raises :class:`UsageProblem` where there is none."""
    if not path.is_dir():
        return [path]
    # Hidden ones are what notebooks, editors and other systems leave: copies of rows, or no rows at all.
    seen = (one for one in path.rglob("*") if not any(part[0] == "." for part in one.relative_to(path).parts))
    found = sorted(one for one in seen if one.suffix in READERS and one.is_file())
    if not found:
        raise UsageProblem(
            f"{path}: no data file in this folder", hint=f"name files {', '.join(f'*{one}' for one in READERS)}"
        )
    return found


def _shaped(rows: Iterator[RawRow], shape: Shaper) -> Iterator[RawRow]:
    """Number the rows through: one conversation can make several."""
    line = 0
    for row in rows:
        for columns in shape(row.columns, row.where):
            line += 1
            yield RawRow(line, row.where, columns)


def _generated(source: Source) -> Iterator[RawRow]:
    assert source.generator is not None
    assert source.part is not None
    assert source.rows is not None
    where = f"generator {source.generator}/{source.part}"
    for line, pair in enumerate(generate(source.generator, source.part, source.rows, source.seed), start=1):
        yield RawRow(line, f"{where}:{line}", pair._asdict())


def _numbered(files: list[Path]) -> Iterator[RawRow]:
    """Number the rows of several files (the shards of a split) through; with one file the number is its line."""
    before = 0
    for path in files:
        last = 0
        for row in READERS.get(path.suffix, read_jsonl)(path):
            last = row.line
            yield row._replace(line=before + row.line)
        before += last


def read_jsonl(path: Path) -> Iterator[RawRow]:
    """Yield the objects of a JSON-lines file; blank lines are passed over. Every error names its line."""
    try:
        with path.open("rb") as handle:
            for line, raw in enumerate(handle, start=1):
                where = f"{path}:{line}"
                # A byte order mark is what some spreadsheet programs put before the first line.
                text = decoded(raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw, where)
                if text.strip():
                    yield RawRow(line, where, _object(text, where))
    except OSError as error:
        raise UsageProblem(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None


def decoded(raw: bytes, where: str) -> str:
    """Return the text of a line or file. Raises :class:`UsageProblem` naming the byte that is no UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageProblem(
            f"{where}: not UTF-8 text (byte {error.start + 1} of the line)",
            hint="convert the file: iconv -f latin1 -t utf-8 FILE > NEW",
        ) from None


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageProblem(
            f"{where}: not valid JSON: {error.msg} (column {error.colno})", hint="one JSON object a line, whole"
        ) from None
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or brackets nested thousands deep.
        raise UsageProblem(f"{where}: JSON that cannot be read: {error}", hint="mend or remove the line") from None
    if not isinstance(value, dict):
        raise UsageProblem(
            f"{where}: a JSON {type(value).__name__}, not an object",
            hint='each line is an object of columns: {"prompt": "...", "answer": "..."}',
        )
    return value


def read_parquet(path: Path) -> Iterator[RawRow]:
    """Yield the rows of a parquet file, batch by batch."""
    try:
        from pyarrow import ArrowException, parquet  # type: ignore[import-untyped]
    except ImportError:
        raise EnvironmentProblem(
            f"{path}: reading parquet needs pyarrow, which is not installed",
            hint="pip install 'hpc-trex[train]', or convert the file to JSON lines",
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            line = 0
            for batch in file.iter_batches(batch_size=1024):
                for columns in batch.to_pylist():
                    line += 1
                    yield RawRow(line, f"{path}:{line}", columns)
    except (ArrowException, OSError) as error:
        raise UsageProblem(
            f"{path}: cannot be read as parquet: {error}", hint="write the file again, or use JSON lines"
        ) from None


def read_csv(path: Path) -> Iterator[RawRow]:
    """Yield the rows of a CSV or TSV file whose first line names the columns; every value is text, errors name the line."""
    csv.field_size_limit(LONGEST_FIELD)
    where = str(path)
    try:
        with path.open("rb") as handle:
            lines = (
                decoded(raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw, f"{path}:{line}")
                for line, raw in enumerate(handle, start=1)
            )
            table = csv.reader(lines, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
            names = next(table, [])
            if len(set(names)) < len(names) or not all(name.strip() for name in names):
                raise UsageProblem(
                    f"{path}:1: the first line must name each column, and no two alike", hint="add a header line"
                )
            for values in table:
                where = f"{path}:{table.line_num}"
                if not values:
                    continue
                if len(values) != len(names):
                    raise UsageProblem(
                        f"{where}: {len(values)} values, and the header names {len(names)} columns",
                        hint="put values that hold the separator or a line break into double quotes",
                    )
                yield RawRow(table.line_num, where, dict(zip(names, values, strict=True)))
    except csv.Error as error:
        raise UsageProblem(f"{where}: not valid CSV: {error}", hint="write the file again, or use JSON lines") from None
    except OSError as error:
        raise UsageProblem(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None


LONGEST_FIELD = 64 * 2**20
"""Bytes of one value; the csv module's own limit is 128 KiB."""

#: How a file is read, by the end of its name.
READERS: dict[str, Callable[[Path], Iterator[RawRow]]] = {
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
    ".csv": read_csv,
    ".tsv": read_csv,
}
