"""``hpc-trex ftbench verify``: are the built tables what they were, and does upstream still have what they were made of."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hpc_trex.errors import TrexError
from hpc_trex.ftbench.built import Built, not_yours
from hpc_trex.models import BuiltDownload
from hpc_trex.staging.download import web_errors
from hpc_trex.staging.git import GitSource, ask_git
from hpc_trex.staging.hub import Wish, describe
from hpc_trex.staging.manifests import sha256_of


def damage(built: Built) -> list[str]:
    """Hash the tables again; return a line for each that is not what it was, and for each file that is not known.

    Raises :class:`EnvironmentProblem` where one is not this user's to read.
    """
    problems = []
    known = {built.folder / "manifest.json"}
    for name, table in built.item.tables.items():
        path = built.table(name)
        known.add(path)
        try:
            if path.stat().st_size != table.size:
                problems.append(f"{path}: {path.stat().st_size:,} bytes, {table.size:,} were built")
            elif sha256_of(path) != table.sha256:
                problems.append(f"{path}: its content has changed (SHA-256 differs)")
        except PermissionError:
            raise not_yours(path) from None
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
    extra = sorted(path for path in built.folder.rglob("*") if path.is_file() and path not in known)
    return problems + [f"{path}: not in the manifest" for path in extra]


def upstream_problems(built: Built) -> list[str]:
    """Ask upstream for every revision that was taken; return a line for each that cannot be had. No data are fetched."""
    problems = []
    for name, one in built.item.downloads.items():
        try:
            _ask(one)
        except TrexError as error:
            problems.append(f"{built.item.task}: downloads.{name}: {error.message}")
    return problems


def _ask(one: BuiltDownload) -> None:
    if one.kind == "hub":
        describe(Wish("datasets", one.origin, one.revision), lambda _: True)
    elif one.kind == "git":
        with tempfile.TemporaryDirectory(prefix="hpc-trex-verify-") as folder:
            ask_git(GitSource(one.origin, one.revision, ()), Path(folder) / "repository.git")
    else:
        import httpx2

        # Not HEAD: addresses that are signed for a download refuse it. Nothing of the body is read.
        get = httpx2.stream("GET", one.origin, headers={"Range": "bytes=0-0"}, follow_redirects=True, timeout=30)
        with web_errors(one.origin), get as answer:
            answer.raise_for_status()
