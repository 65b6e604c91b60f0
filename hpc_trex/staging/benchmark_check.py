"""``hpc-trex ftbench verify``: are the built tables what they were, and does upstream still have what they were made of."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hpc_trex.errors import TrexError
from hpc_trex.ftbench.built import Built
from hpc_trex.ftbench.cards import LoadedCard
from hpc_trex.models import Download
from hpc_trex.staging.download import web_errors
from hpc_trex.staging.git import GitSource, ask_git
from hpc_trex.staging.hub import Wish, describe, whole_commit
from hpc_trex.staging.manifests import sha256_of


def damage(built: Built) -> list[str]:
    """Hash the tables again; return a line for each that is not what it was, and for each file that is not known."""
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
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
    extra = sorted(path for path in built.folder.rglob("*") if path.is_file() and path not in known)
    return problems + [f"{path}: not in the manifest" for path in extra]


def upstream_problems(loaded: LoadedCard) -> list[str]:
    """Ask upstream for every pinned revision; return a line for each that cannot be had. No data are fetched."""
    problems = []
    for name, one in loaded.card.downloads.items():
        try:
            _ask(one)
        except TrexError as error:
            problems.append(f"{loaded.card.name}: downloads.{name}: {error.message}")
    return problems


def _ask(one: Download) -> None:
    if one.kind == "hub":
        describe(whole_commit(Wish("datasets", one.id, one.revision)), lambda _: True)
    elif one.kind == "git":
        with tempfile.TemporaryDirectory(prefix="hpc-trex-verify-") as folder:
            ask_git(GitSource(one.url, one.revision, one.paths), Path(folder) / "repository.git")
    else:
        import httpx2

        with web_errors(one.url):
            httpx2.head(one.url, follow_redirects=True, timeout=30).raise_for_status()
