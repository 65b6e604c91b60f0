"""One file by its address, or the wanted members of an archive: resumed where it broke off, held to its SHA-256."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from hpc_trex.errors import CredentialsMissing, EnvironmentProblem, NotFound, UsageProblem
from hpc_trex.ftbench.build import matches
from hpc_trex.staging.manifests import sha256_of
from hpc_trex.staging.space import check_room

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
Member = tuple[str, int, Callable[[], IO[bytes]]]


def file_name(url: str) -> str:
    """Return the name that a file has in its address."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return "download" if name in ("", "..") else name


def bring_file(url: str, path: Path, *, pinned: bool) -> None:
    """Fetch ``url`` to ``path``; what an earlier run has left in ``PATH.part`` is gone on with, if it is ``pinned``:
    without a checksum nobody would see that its two parts are of two versions.

    Raises NotFound (404), CredentialsMissing (401, 403) or EnvironmentProblem (no network, a transfer that broke).
    """
    from huggingface_hub.file_download import http_get

    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    if not pinned:
        part.unlink(missing_ok=True)
    with web_errors(url), part.open("ab") as handle:
        try:
            http_get(url, handle, resume_size=handle.tell(), displayed_filename=path.name)
        except Exception as error:
            if _status(error) != RANGE_REFUSED:
                raise
            # What is there is already all, or more than all: the checksum decides.
    part.replace(path)


#: HTTP: there is nothing behind the byte from which the rest was asked for.
RANGE_REFUSED = 416


def check_sha256(url: str, path: Path, wanted: str, whence: str) -> str:
    """Return the file's SHA-256. Raises :class:`EnvironmentProblem` and removes it where that is not ``wanted``."""
    found = sha256_of(path)
    if wanted and found != wanted:
        path.unlink()
        raise EnvironmentProblem(
            f"{url} is not what it was: its SHA-256 is {found}, and {whence} has {wanted}",
            hint="type the same line again in case the transfer was damaged; if upstream has changed it, nothing is installed: "
            "a card with the new sha256 would take it, and is another benchmark",
        )
    return found


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is unpacked."""
    return path.name.lower().endswith(ARCHIVES)


def unpack(archive: Path, folder: Path, globs: tuple[str, ...]) -> None:
    """Write the wanted members of a zip or tar file below ``folder``: plain files only, never outside of it.

    Raises UsageProblem for a broken archive, for one that points outside, and where a glob finds nothing.
    """
    try:
        with _members(archive) as members:
            wanted = [one for one in members if any(matches(one[0], glob) for glob in globs or ("**",))]
            for glob in globs:
                if not any(matches(name, glob) for name, _, _ in wanted):
                    there = ", ".join(name for name, _, _ in members[:8])
                    raise UsageProblem(f"{archive.name}: no member is {glob!r}", hint=f"its members: {there}")
            check_room(folder.parent, sum(size for _, size, _ in wanted), len(wanted))
            for name, _, opened in wanted:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened() as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)
    except _BROKEN as error:
        raise _unpackable(archive, error) from None
    except OSError as error:
        if error.errno is not None:  # of the disk
            raise
        raise _unpackable(archive, error) from None  # gzip and bzip2 say it so


#: What the readers of archives raise for bytes that are none, and for a member with a password.
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
)  # fmt: skip


def _unpackable(archive: Path, error: Exception) -> UsageProblem:
    return UsageProblem(f"{archive.name} cannot be unpacked: {error}", hint="was the download changed?")


@contextmanager
def _members(archive: Path) -> Iterator[list[Member]]:
    """Give the plain files of an archive: name, size, and what opens it."""
    found: list[Member] = []
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if not info.is_dir():
                    found.append((_safe(archive, info.filename), info.file_size, partial(packed.open, info)))
            yield found
        return
    with tarfile.open(archive) as tape:
        for entry in tape.getmembers():
            if entry.isfile():
                found.append((_safe(archive, entry.name), entry.size, partial(_stream, tape, entry)))
        yield found


def _stream(tape: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    stream = tape.extractfile(entry)
    assert stream is not None, "only plain files are asked for"
    return stream


def _safe(archive: Path, name: str) -> str:
    """Return a member's path. Raises :class:`UsageProblem` for one that would be written elsewhere."""
    plain = name.replace("\\", "/").removeprefix("./")
    if plain.startswith("/") or ".." in plain.split("/") or not plain.isprintable():
        raise UsageProblem(f"{archive.name} has a member {name!r:.80}, which points outside", hint="do not trust it")
    return plain


@contextmanager
def web_errors(url: str) -> Iterator[None]:
    """Turn what the HTTP client raises into the user's errors."""
    from huggingface_hub.errors import HfHubHTTPError

    # The client's HTTP library, whichever this version of it uses: a broken connection is no OSError there.
    transport: type[Exception] = next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
    try:
        yield
    except (HfHubHTTPError, transport, ConnectionError, TimeoutError) as error:
        status = _status(error)
        if status in (404, 410):
            raise NotFound(f"{url} is gone (status {status})", hint="upstream may have moved it") from error
        if status in (401, 403):
            raise CredentialsMissing(f"{url}: access refused (status {status})", hint="see its page") from error
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise EnvironmentProblem(
            f"cannot fetch {url}: {first}", hint="run this where there is network; type the same line again to go on"
        ) from error
    except OSError as error:
        if error.errno is not None:  # of the disk: whoever holds the folder says which
            raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise EnvironmentProblem(f"cannot fetch {url}: {first}", hint="type the same line again to go on") from error


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)
