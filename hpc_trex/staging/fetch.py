"""Bring one repository at one commit into a stage folder: claimed, resumable, every file checked, then read-only.

Files are fetched into ``COMMIT.partial``. When every file there has the size and the digest that the hub told,
the folder is made read-only and renamed, and the manifest is written last. A run that is killed in between leaves what
it has fetched; the next one goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from hpc_trex import version
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.files import DISK_ERRORS, disk_problem, write_atomic, write_record
from hpc_trex.layout import StagedPaths
from hpc_trex.models import StagedFile, StagedItem
from hpc_trex.staging.hub import Remote, RemoteFile, Wish, endpoint, hub_errors
from hpc_trex.staging.manifests import sha256_of
from hpc_trex.staging.space import check_room
from hpc_trex.staging.transfer import bring

#: A run on another machine that has written nothing for so long is over.
SILENT = 600.0


class Claimable(Protocol):
    """What only one run at a time may bring here."""

    @property
    def parent(self) -> Path: ...

    @property
    def partial(self) -> Path: ...

    @property
    def claim(self) -> Path: ...


def fetch(wish: Wish, remote: Remote, paths: StagedPaths) -> StagedItem:
    """Fetch what is not there yet and return the manifest.

    Raises EnvironmentProblem (exit 8): no room (nothing is fetched then), no network, a transfer that broke, another
    run at work; or what :func:`hub_errors` makes of the hub's refusal.
    """
    try:
        for folder in (paths.parent.parent, paths.parent):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                folder.chmod(permissions(paths.root))
        with claimed(paths):
            have = _keep_whole(remote, paths)
            check_room(paths.parent, remote.size - have, len(remote.files) + 4)
            _download(wish, remote, paths)
            return _publish(wish, remote, paths)
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise disk_problem(error, paths.parent) from error
        raise EnvironmentProblem(
            f"cannot write {error.filename or paths.parent}: {error.strerror}", hint="choose a folder of yours: --into"
        ) from error


def _download(wish: Wish, remote: Remote, paths: StagedPaths) -> None:
    """Fetch what is not there: :func:`_keep_whole` has looked at what is."""
    paths.partial.mkdir(exist_ok=True)
    for file in remote.files:
        if not (paths.partial / file.name).is_file():
            with hub_errors(wish):
                bring(wish, remote.commit, file, paths.partial)


def _keep_whole(remote: Remote, paths: StagedPaths) -> int:
    """Delete what an earlier run left damaged, and return the bytes that need not be fetched."""
    if paths.folder.is_dir() and not paths.partial.exists():  # its manifest is gone: looked at file by file
        writable(paths.folder)
        paths.folder.rename(paths.partial)
    whole = 0
    for file in remote.files:
        path = paths.partial / file.name
        part = path.with_name(f"{path.name}.part")
        if not path.is_file():
            whole += min(file.size, part.stat().st_size) if part.is_file() else 0
        elif _as_told(path, file):
            whole += file.size
        else:
            path.unlink()
    return whole


def _as_told(path: Path, file: RemoteFile) -> bool:
    """Tell whether a file is what the hub told: by its SHA-256 or git's SHA-1, else by its size alone."""
    if path.stat().st_size != file.size:
        return False
    if file.sha256:
        return sha256_of(path) == file.sha256
    return not file.git or git_sha1(path) == file.git


def git_sha1(path: Path) -> str:
    """Return the digest by which git knows a file."""
    raw = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()


def _publish(wish: Wish, remote: Remote, paths: StagedPaths) -> StagedItem:
    """Check every file, make the folder read-only, rename it, write the manifest."""
    broken = []
    for file in remote.files:
        path = paths.partial / file.name
        if not path.is_file() or not _as_told(path, file):
            broken.append(file.name)
            path.unlink(missing_ok=True)
    if broken:
        raise EnvironmentProblem(
            f"{wish.words}: not what the hub told after the transfer: {', '.join(broken)}",
            hint="type the same line again: what is whole is not fetched again",
        )
    shutil.rmtree(paths.partial / ".cache", ignore_errors=True)
    files = tuple(
        StagedFile(name=file.name, size=file.size, sha256=sha256_of(paths.partial / file.name))
        for file in sorted(remote.files)
    )
    item = StagedItem(
        kind=wish.kind,
        repository=wish.repository,
        commit=remote.commit,
        asked=(wish.revision or "main",),
        licence=remote.licence,
        endpoint=endpoint(),
        staged_at=datetime.now(UTC).isoformat(timespec="seconds"),
        program=version(),
        files=files,
    )
    read_only(paths.partial, permissions(paths.root))
    paths.partial.rename(paths.folder)
    write_manifest(paths, item)
    return item


def write_manifest(paths: StagedPaths, item: StagedItem) -> None:
    """Write the manifest, readable for whom the stage folder is."""
    write_record(paths.manifest, item, mode=0o600)
    paths.manifest.chmod(0o444 & permissions(paths.root))


def permissions(root: Path) -> int:
    """Return the permissions that the stage folder itself has: who may enter it may read what is in it."""
    there = next(path for path in (root, *root.parents) if path.exists())
    mode = stat.S_IMODE(there.stat().st_mode) if there == root else 0o700
    readers = mode & 0o055
    return 0o700 | readers | (readers & 0o011) << 2  # whoever may enter may read


def read_only(folder: Path, bits: int) -> None:
    """Take the right to write from all files and folders, the inner ones first."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod((0o555 if path.is_dir() else 0o444) & bits)
    folder.chmod(0o555 & bits)


def writable(folder: Path) -> None:
    """Let the owner write into all its folders again, so that they can be renamed or removed."""
    folder.chmod(0o700)
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o700)


@contextmanager
def claimed(paths: Claimable) -> Iterator[None]:
    """Hold the item for this run. Locks of the system do nothing on many shared disks; making a file does."""
    record = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
    for _ in range(2):
        try:
            descriptor = os.open(paths.claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            break
        except FileExistsError:
            _refuse_while_held(paths)
            paths.claim.unlink(missing_ok=True)
    else:
        raise EnvironmentProblem(f"{paths.claim} comes back as often as it is removed", hint="wait for the other run")
    with os.fdopen(descriptor, "w") as handle:
        handle.write(record)
    try:
        yield
    finally:
        paths.claim.unlink(missing_ok=True)


def _refuse_while_held(paths: Claimable) -> None:
    """Raise while the run that made the claim is alive; return when it is over."""
    try:
        holder = json.loads(paths.claim.read_text())
        host, pid = str(holder["host"]), int(holder["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        host, pid = "?", 0
    here = host == socket.gethostname()
    if Path(f"/proc/{pid}").exists() if here else _silence(paths) < SILENT:
        raise EnvironmentProblem(
            f"another run stages the same: process {pid} on {host}",
            hint=f"wait for it; if it is over for certain: rm {paths.claim}",
        )


def _silence(paths: Claimable) -> float:
    """Return for how many seconds nothing was written, by the clock of the file server."""
    times = [paths.claim.stat().st_mtime] if paths.claim.exists() else [0.0]
    for path in paths.partial.rglob("*"):
        with suppress(OSError):
            times.append(path.stat().st_mtime)
    with tempfile.NamedTemporaryFile(dir=paths.parent, prefix=".now-") as probe:
        return Path(probe.name).stat().st_mtime - max(times)


def make_root(root: Path, *, group: bool) -> None:
    """Make the stage folder: for its owner alone, or readable for the group. One that is there stays as it is."""
    if root.is_dir():
        return
    try:
        root.mkdir(parents=True)
        root.chmod(0o750 if group else 0o700)
        write_atomic(root / "README.txt", README)
    except OSError as error:
        raise EnvironmentProblem(f"cannot make {root}: {error.strerror}", hint="choose a folder: --into") from error


README = """Models and data sets that hpc-trex has staged: KIND/OWNER--NAME/COMMIT/ with its manifest COMMIT.json.
Below ftbench/ the tables of tasks (hpc-trex ftbench fetch): TASK/BUILD/ with its manifest.json, the test apart in sealed/.

  hpc-trex stage list        hpc-trex stage --verify        hpc-trex ftbench verify

Everything here is read-only and can be copied to another site as it is. Use it with: export HPC_TREX_STAGE=THIS_FOLDER
To remove one item: chmod -R u+w COMMIT && rm -r COMMIT COMMIT.json
"""
