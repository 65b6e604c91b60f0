"""Read the columns of a source, row by row, each with the place it came from. No torch, no ``datasets``, no pandas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.errors import EnvironmentProblem, UsageProblem
from hpc_trex.ftbench.cards import source_path
from hpc_trex.ftbench.generators.pools import generate
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
        files = [source_path(source, origin)]
    yield from islice(_numbered(files), source.rows)


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
        for row in read_parquet(path) if path.suffix == ".parquet" else read_jsonl(path):
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
                text = _decoded(raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw, where)
                if text.strip():
                    yield RawRow(line, where, _object(text, where))
    except OSError as error:
        raise UsageProblem(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None


def _decoded(raw: bytes, where: str) -> str:
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
