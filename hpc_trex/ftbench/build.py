"""Tables out of downloaded files: upstream columns as JSON lines, some of them carved out of others. No network here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.problems import did_you_mean
from hpc_trex.ftbench.readers import READERS as BY_SUFFIX
from hpc_trex.ftbench.readers import RawRow, decoded
from hpc_trex.ftbench.upstream import READERS
from hpc_trex.models import Download, Table, TaskCard


def matches(name: str, pattern: str) -> bool:
    """Tell whether a file's path fits a glob: ``*`` stays within one folder, ``**`` is any number of them."""
    return _fits(name.split("/"), pattern.split("/"))


def _fits(parts: Sequence[str], globs: Sequence[str]) -> bool:
    if not globs:
        return not parts
    if globs[0] == "**":
        return any(_fits(parts[start:], globs[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], globs[0]) and _fits(parts[1:], globs[1:])


def check_tables(card: TaskCard, where: str) -> None:
    """Raise :class:`UsageProblem` for a reader that there is not, or for an expression that is none."""
    for name, table in card.tables.items():
        if table.reader and table.reader not in READERS:
            hint = did_you_mean(table.reader, list(READERS))
            raise UsageProblem(f"{where}: tables.{name}.reader: no reader {table.reader!r}", hint=hint)
        _Where(table.where, f"{where}: tables.{name}.where")
        _Group(table.group, f"{where}: tables.{name}.group")


def build_tables(card: TaskCard, files: Mapping[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the lines of each table; ``files`` has the folder of each download.

    Raises :class:`UsageProblem` for files that are not there or not what the card says, naming file and place.
    """
    check_tables(card, card.name)
    for name, table in card.tables.items():
        if table.of:
            continue
        carved = {other: one for other, one in card.tables.items() if one.of == name}
        rows = list(_rows(f"{card.name}: tables.{name}", table, files[table.from_], card.downloads[table.from_]))
        if not rows:
            raise UsageProblem(f"{card.name}: tables.{name} has no rows", hint="correct path or where in the card")
        for other, one in carved.items():
            taken, rows = _carved(f"{card.name}: tables.{other}", one, rows)
            yield other, [_line(row) for row in taken]
        yield name, [_line(row) for row in rows]


def _rows(where: str, table: Table, folder: Path, download: Download) -> Iterator[RawRow]:
    """Yield the rows of a table that is read from a download."""
    paths = _paths(where, table, folder, download)
    keep = _Where(table.where, f"{where}.where")
    for row in _read(table, paths):
        if keep(row):
            yield row


def _paths(where: str, table: Table, folder: Path, download: Download) -> list[Path]:
    """Return the files that a table names, glob by glob, each in the order of their names."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if download.kind == "hub" and download.paths:  # a data set that was staged has other files as well
        names = [name for name in names if any(matches(name, glob) for glob in download.paths)]
    found: list[str] = []
    for pattern in table.globs or ("**",):
        fitting = [name for name in names if matches(name, pattern)]
        if not fitting:
            raise UsageProblem(
                f"{where}.path: no downloaded file is {pattern!r}; there are: {', '.join(names[:8]) or 'none'}",
                hint="upstream has moved it, or paths of the download leaves it out",
            )
        found += fitting
    return [folder / name for name in dict.fromkeys(found)]


def _read(table: Table, paths: list[Path]) -> Iterator[RawRow]:
    if table.reader:
        for line, columns in enumerate(READERS[table.reader](paths), start=1):
            yield RawRow(line, f"{paths[0]} (reader {table.reader}, row {line})", columns)
        return
    for path in paths:
        if path.suffix == ".json":
            yield from _read_json(path)
        elif path.suffix in BY_SUFFIX:
            yield from BY_SUFFIX[path.suffix](path)
        else:
            raise UsageProblem(
                f"{path}: what it is cannot be told from its name",
                hint=f"name a file {', '.join(f'*{one}' for one in (*BY_SUFFIX, '.json'))}, or give reader",
            )


def _read_json(path: Path) -> Iterator[RawRow]:
    """Yield the objects of a file that is one JSON list."""
    try:
        value = json.loads(decoded(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), str(path)))
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"{path}: not valid JSON: {error}", hint="was the download changed?") from None
    if not isinstance(value, list):
        raise UsageProblem(f"{path}: a JSON {type(value).__name__}, not a list of objects", hint="give a reader")
    for number, columns in enumerate(value, start=1):
        if not isinstance(columns, dict):
            raise UsageProblem(f"{path}: entry {number} is no object of columns", hint="give a reader")
        yield RawRow(number, f"{path} (entry {number})", columns)


def _line(row: RawRow) -> str:
    try:
        line = json.dumps(row.columns, ensure_ascii=False, allow_nan=False)
        line.encode()  # half a character, which JSON may spell out, is no text
    except (TypeError, ValueError) as error:
        raise UsageProblem(f"{row.where}: no JSON can hold it: {error}", hint="give a reader for the table") from None
    return line


def _carved(where: str, table: Table, rows: list[RawRow]) -> tuple[list[RawRow], list[RawRow]]:
    """Return the rows that are taken out and those that are left, both in their old order.

    Whole groups are taken, by the SHA-256 of seed and group, until there are ``table.rows`` rows: the choice depends
    on no other row's place, and a group is never on both sides.
    """
    assert table.rows is not None
    group = _Group(table.group, f"{where}.group")
    sizes: dict[str, int] = {}
    groups = [group(row) for row in rows]
    for one in groups:
        sizes[one] = sizes.get(one, 0) + 1
    chosen, count = set(), 0
    for one in sorted(sizes, key=lambda one: _place(table.seed, one)):
        if count >= table.rows:
            break
        chosen.add(one)
        count += sizes[one]
    if count < table.rows or len(chosen) == len(sizes):
        raise UsageProblem(
            f"{where}: {table.rows} rows cannot be taken out of {table.of}, which has {len(rows)} in {len(sizes)} groups",
            hint="lower rows in the card",
        )
    pairs = list(zip(groups, rows, strict=True))
    return [row for one, row in pairs if one in chosen], [row for one, row in pairs if one not in chosen]


def _place(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode("utf-8", "surrogatepass")).digest()


class _Where:
    """A condition over a row's columns; a column that is missing is an error, no false."""

    def __init__(self, text: str, where: str) -> None:
        self._name = where
        self._expression = None
        if text:
            try:
                environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
                self._expression = environment.compile_expression(text, undefined_to_none=False)
            except TemplateSyntaxError as error:
                raise UsageProblem(f"{where}: {error.message}", hint='e.g. where = "level == 2"') from None

    def __call__(self, row: RawRow) -> bool:
        if self._expression is None:
            return True
        try:
            return bool(self._expression(row.columns))
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise _unfit(row, self._name, error) from None


class _Group:
    """The text by which rows belong together."""

    def __init__(self, text: str, where: str) -> None:
        self._name = where
        try:
            self._template = ImmutableSandboxedEnvironment(undefined=StrictUndefined).from_string(text)
        except TemplateSyntaxError as error:
            raise UsageProblem(f"{where}: {error.message}", hint='e.g. group = "{{ encounter_id }}"') from None
        self._whole = not text

    def __call__(self, row: RawRow) -> str:
        if self._whole:
            return _line(row)
        try:
            return self._template.render(row.columns)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise _unfit(row, self._name, error) from None


def _unfit(row: RawRow, name: str, error: Exception) -> UsageProblem:
    columns = ", ".join(map(repr, sorted(map(str, row.columns))))
    return UsageProblem(f"{row.where}: {name}: {error}; the row has {columns}", hint="correct the card")
