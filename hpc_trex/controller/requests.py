"""What a person asks of a search, as files: obeyed by the running controller at its next tick, or by the next one.

The first request is ``stop.json``; further ones that wait stand beside it, each with a name of its own, and are obeyed in
the order in which they came. A request is removed when all that it asks for is recorded.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from hpc_trex.faults import reach
from hpc_trex.files import DISK_ERRORS, disk_problem, temporary_name, write_atomic
from hpc_trex.layout import SearchPaths
from hpc_trex.models import GateName, OneLine, Record


class Request(Record):
    """One request. ``node`` of a cancel: that round, with ``subtree`` all its descendants too; none: the search."""

    action: Literal["cancel", "pause", "retry", "approve", "reject", "strike", "restore", "open-test"]
    node: int | None = None
    trial: int | None = None
    subtree: bool = False
    cancel_jobs: bool = False
    gate: GateName | None = None
    number: int | None = None
    """Of an answer to a gate: which question it answers."""
    note: OneLine = ""
    user: OneLine = ""


class Waiting(NamedTuple):
    """A request that nobody has obeyed yet; None for a file that is no request."""

    path: Path
    request: Request | None


def place(paths: SearchPaths, request: Request) -> Path:
    """Write a request, whole, beside those that wait already; return its file, which may be an equal one's."""
    for path, same in waiting(paths):
        if same == request:
            return path
    first = paths.stop_request
    beside = temporary_name(first)
    text = json.dumps(request.model_dump(mode="json", exclude_defaults=True)) + "\n"
    try:
        write_atomic(beside, text)
        for path in (first, first.with_name(f"{first.stem}-{secrets.token_hex(4)}{first.suffix}")):
            try:
                os.link(beside, path)
            except FileExistsError:
                continue
            except OSError as error:  # a file system without hard links
                if error.errno in DISK_ERRORS:
                    raise disk_problem(error, path) from error
                write_atomic(path, text)
            return path
    finally:
        beside.unlink(missing_ok=True)
    raise FileExistsError(first)


def waiting(paths: SearchPaths) -> list[Waiting]:
    """Return the requests that wait, oldest first by the file server's clock."""
    first = paths.stop_request
    found = []
    for path in paths.root.glob(f"{first.stem}*{first.suffix}"):
        try:
            found.append((path.stat().st_mtime_ns, path.name, Waiting(path, _read(path))))
        except FileNotFoundError:
            continue  # obeyed meanwhile
    return [one for _, _, one in sorted(found, key=lambda item: item[:2])]


def obeyed(path: Path) -> None:
    """Remove a request that was carried out."""
    reach("obeyed/before")
    path.unlink(missing_ok=True)
    reach("obeyed/after")


def drop_pauses(paths: SearchPaths) -> None:
    """Remove requests to pause: the search was set going again since."""
    for path, request in waiting(paths):
        if request is not None and request.action == "pause":
            path.unlink(missing_ok=True)


def _read(path: Path) -> Request | None:
    try:
        return Request.model_validate_json(path.read_bytes())
    except ValidationError:
        return None
