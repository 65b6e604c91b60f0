"""Turn a file that does not fit its record into one error that names file, key and remedy."""

from __future__ import annotations

import tomllib
import types
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.suggest import nearest

M = TypeVar("M", bound=BaseModel)

#: More than this many wrong keys in one file are counted, not listed.
SHOWN = 5


def read_toml(path: Path) -> dict[str, Any]:
    """Return the parsed file. Raises :class:`NotFound` or, with the line, :class:`UsageProblem`."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise NotFound(f"no file {path}", hint="check the path; hpc-trex ftbench lists the built-in tasks") from None
    except IsADirectoryError:
        raise UsageProblem(f"{path} is a folder", hint="name the TOML file inside it") from None
    except UnicodeDecodeError as error:
        raise UsageProblem(
            f"{path}: not UTF-8 text (byte {error.start})", hint="save the file with UTF-8 encoding"
        ) from None
    except OSError as error:
        raise UsageProblem(f"cannot read {path}: {error.strerror}", hint="check its permissions") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageProblem(
            f"{path}: not valid TOML: {error}", hint='text values need quotes: key = "value"; see docs/own-task.md'
        ) from None


def validated(model: type[M], data: object, where: str) -> M:
    """Return ``data`` as a record. Raises :class:`UsageProblem`, one line a wrong key, each with its remedy."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        lines = [_line(model, detail) for detail in details[:SHOWN]]
        if len(details) > SHOWN:
            lines.append(f"and {len(details) - SHOWN} more")
        raise UsageProblem(f"{where}: " + "; ".join(lines), hint="every key is explained in docs/own-task.md") from None


def did_you_mean(wrong: str, known: list[str]) -> str:
    """Return ``did you mean 'x'? known: ...`` for the names that exist."""
    close = nearest(wrong, known)
    start = f"did you mean {close[0]!r}? " if close else ""
    return f"{start}known: {', '.join(sorted(known))}"


def _line(model: type[BaseModel], detail: ErrorDetails) -> str:
    location = detail["loc"]
    key = ".".join(str(part) for part in location) or "the file"
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key ({did_you_mean(str(location[-1]), _keys(model, location[:-1]))})"
    if detail["type"] == "missing":
        return f"{key}: missing (add it)"
    given = detail.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) else ""
    return f"{key}: {detail['msg'].removeprefix('Value error, ')}{shown}"


def _keys(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Return the keys that the record at ``location`` inside ``model`` knows; none where there is no record."""
    inner: Any = model
    for part in location:
        inner = _inside(inner, str(part))
    found = _alternatives(inner)
    return [
        field.alias or name for record in found if _is_record(record) for name, field in record.model_fields.items()
    ]


def _inside(annotation: Any, part: str) -> Any:
    """Return the type of the member ``part``: a field of a record, a value of a dictionary or tuple."""
    for one in _alternatives(annotation):
        if _is_record(one) and part in one.model_fields:
            return one.model_fields[part].annotation
        if get_origin(one) is dict:
            return get_args(one)[1]
        if get_origin(one) in (tuple, list):
            return get_args(one)[0]
    return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _is_record(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
