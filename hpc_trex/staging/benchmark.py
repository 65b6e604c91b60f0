"""``hpc-trex ftbench fetch``: download what a card names, build its tables, and let them appear all at once.

What is downloaded lies in ``BUILD.partial`` until the tables stand, so that an interrupted run goes on, and is removed
then: it holds the test rows in plain sight.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from hpc_trex import version
from hpc_trex.errors import CredentialsMissing, EnvironmentProblem, UsageProblem
from hpc_trex.faults import reach
from hpc_trex.files import sync_folder, sync_tree, user_name, write_record
from hpc_trex.ftbench.build import build_tables, matches
from hpc_trex.ftbench.built import Built, BuiltPaths, at_hand, build_key, find_built, list_builds, removal, table_file
from hpc_trex.ftbench.cards import LoadedCard
from hpc_trex.ftbench.hub import WANTED
from hpc_trex.ftbench.materialise import read_card
from hpc_trex.layout import StagedPaths, stage_folders
from hpc_trex.models import BuiltDownload, BuiltTable, BuiltTask, Download, StagedFile, TaskCard
from hpc_trex.staging.download import bring_file, check_sha256, file_name, is_archive, unpack
from hpc_trex.staging.fetch import claimed, fetch, make_root, permissions, read_only, writable
from hpc_trex.staging.git import GitSource, bring_git
from hpc_trex.staging.hub import Remote, Wish, describe, whole_commit
from hpc_trex.staging.manifests import Found, list_staged, sha256_of
from hpc_trex.staging.space import check_room

Say = Callable[[str], None]


class Fetched(NamedTuple):
    """What became of one task."""

    task: str
    state: Literal["fetched", "already", "would fetch"]
    folder: Path
    built: Built | None
    notes: tuple[str, ...] = ()


class _Brought(NamedTuple):
    folder: Path
    revision: str = ""
    sha256: str = ""


def fetch_task(
    loaded: LoadedCard, root: Path, *, say: Say, accept: bool = False, group: bool = False, dry_run: bool = False
) -> Fetched:
    """Bring one task into the stage folder ``root``; one that is built there already is left alone.

    Two runs at once: one of them fetches, the other is refused, or finds what the first has just built.

    Raises UsageProblem (consent is missing, upstream files are not what the card says), NotFound (no such commit or
    file), CredentialsMissing (gated), EnvironmentProblem (no network, a changed checksum, no room, another run at work).
    Nothing is left in place of the tables then.
    """
    card = loaded.card
    if not card.tables:
        return Fetched(card.name, "already", loaded.origin.parent, None, (without_tables(loaded),))
    there = find_built(card, [root])
    if there is not None:
        at_hand(loaded, there)  # is every table there that its manifest tells?
        if not dry_run:
            _sweep(BuiltPaths(root, card.name, there.item.build))
        return Fetched(card.name, "already", there.folder, there)
    paths = BuiltPaths(root, card.name, build_key(card))
    if dry_run:
        return Fetched(card.name, "would fetch", paths.folder, None, tuple(planned(card)))
    _require_consent(loaded, accept)
    make_root(root, group=group)
    try:
        for folder in (paths.parent.parent, paths.parent):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                folder.chmod(permissions(root))
        with claimed(paths), _gates(card):
            return _held(loaded, paths, say)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise EnvironmentProblem(
            f"cannot write {error.filename or paths.parent}: {error.strerror}",
            hint="make room, then the same line again" if full else "choose a folder of yours: --into",
        ) from error


def _held(loaded: LoadedCard, paths: BuiltPaths, say: Say) -> Fetched:
    """Fetch, holding the claim: nobody else does now, but somebody may have since we looked."""
    there = find_built(loaded.card, [paths.root])
    if there is not None:
        _remove(paths.partial)
        return Fetched(loaded.card.name, "already", there.folder, there)
    if paths.folder.exists():
        raise EnvironmentProblem(
            f"{paths.folder} is there, and its manifest.json is missing, damaged or of a later version",
            hint=f"if nobody needs it: {removal(paths.folder)}; then the same line again",
        )
    notes: list[str] = []
    built = _fetch(loaded, paths, say, notes)
    return Fetched(loaded.card.name, "fetched", paths.folder, built, tuple(notes))


def without_tables(loaded: LoadedCard) -> str:
    """Return where the rows of a card come from that has no tables."""
    if any(source.hub for source in (*loaded.card.sources.values(), loaded.card.dev, loaded.card.test)):
        return f"its data sets are brought by: hpc-trex stage --task {shlex.quote(loaded.typed)}"
    return "its rows are made or read here"


def planned(card: TaskCard) -> Iterator[str]:
    """Yield a line for each download: what it is, under which licence, and what else one has to know."""
    for one in card.downloads.values():
        revision = f" at {one.revision[:12]}" if one.revision else ""
        pin = " (its SHA-256 is recorded at the first fetch)" if one.kind == "file" and not one.sha256 else ""
        gated = f"; gated: {one.gated}" if one.gated else ""
        gated += f"; with --accept you agree: {one.consent}" if one.consent else ""
        yield f"{one.kind} {one.url or one.id}{revision}{pin}, licence {one.licence or card.licence}{gated}"


def _require_consent(loaded: LoadedCard, accept: bool) -> None:
    asked = list(dict.fromkeys(one.consent for one in loaded.card.downloads.values() if one.consent))
    if asked and not accept:
        raise UsageProblem(
            f"{loaded.card.name} may be fetched by who agrees to this: {' '.join(asked)}",
            hint=f"if you do: hpc-trex ftbench fetch {shlex.quote(loaded.typed)} --accept",
        )


@contextmanager
def _gates(card: TaskCard) -> Iterator[None]:
    """Say with a refused download where the card knows one gets access."""
    try:
        yield
    except CredentialsMissing as error:
        gates = " ".join(one.gated for one in card.downloads.values() if one.gated)
        raise CredentialsMissing(error.message, hint=f"{gates} {error.hint}".strip()) if gates else error from error


def _fetch(loaded: LoadedCard, paths: BuiltPaths, say: Say, notes: list[str]) -> Built:
    card = loaded.card
    paths.partial.mkdir(mode=0o700, exist_ok=True)
    remotes = _described(card)
    check_room(
        paths.parent,
        sum(remote.size for _, remote in remotes.values()),
        sum(len(remote.files) for _, remote in remotes.values()) + len(card.tables) + 8,
    )
    brought = {}
    for name, one in card.downloads.items():
        say(f"fetching {card.name}: {one.kind} {one.url or one.id}")
        brought[name] = _bring(card, name, one, paths, remotes.get(name), notes)
    say(f"building {card.name}: {', '.join(card.tables)}")
    new = paths.partial / ".new"  # no download has such a name
    _remove(new)
    tables = _write_tables(card, {name: one.folder for name, one in brought.items()}, new)
    item = BuiltTask(
        task=card.name,
        build=paths.build,
        licence=card.licence,
        training_allowed=card.training_allowed,
        downloads={name: _record(card, card.downloads[name], one) for name, one in brought.items()},
        tables=tables,
        fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
        fetched_by=user_name(),
        program=version(),
    )
    write_record(new / "manifest.json", item)
    item = item.model_copy(update={"dropped": _dropped(loaded, item, new)})
    write_record(new / "manifest.json", item)
    return _publish(item, paths, new)


def _described(card: TaskCard) -> dict[str, tuple[Wish, Remote]]:
    """Return what the hub says of each of its data sets that is not staged here: before the first byte is fetched."""
    found = {}
    for name, one in card.downloads.items():
        if one.kind == "hub" and _staged(one) is None:
            wish = whole_commit(Wish("datasets", one.id, one.revision))
            globs = one.paths
            keep = (lambda file, globs=globs: any(matches(file, glob) for glob in globs)) if globs else None
            found[name] = (wish, describe(wish, keep))
    return found


def _staged(one: Download) -> Found | None:
    """Return a data set that ``hpc-trex stage`` brought, where only files are wanted of which it brings all."""
    whole = tuple(pattern.removeprefix("*") for pattern in WANTED)
    if not one.paths or not all(glob.endswith(whole) for glob in one.paths):
        return None
    for found in list_staged():
        item = found.item
        if (item.kind, item.repository) == ("datasets", one.id) and item.commit.startswith(one.revision):
            return found
    return None


def _bring(
    card: TaskCard, name: str, one: Download, paths: BuiltPaths, remote: tuple[Wish, Remote] | None, notes: list[str]
) -> _Brought:
    """Return the folder with the wanted files of one download, and what pins it."""
    work = paths.partial / name
    folder = work / "files"
    if one.kind == "hub":
        if remote is None:
            staged = _staged(one)
            assert staged is not None
            return _Brought(staged.paths.folder, staged.item.commit)
        wish, listed = remote
        target = StagedPaths(work, wish.kind, wish.repository, listed.commit)
        work.mkdir(exist_ok=True)
        if not target.manifest.is_file():
            fetch(wish, listed, target)
        return _Brought(target.folder, listed.commit)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if one.kind == "git":
        bring_git(GitSource(one.url, one.revision, one.paths), work / "repository.git", folder)
        return _Brought(folder, one.revision)
    file = work / "file" / file_name(one.url)
    wanted, whence = _known_sha256(card, one, paths.root)
    bring_file(one.url, file, pinned=bool(wanted))
    sha256 = check_sha256(one.url, file, wanted, whence)
    if not wanted:
        notes.append(f"{one.url}: the card names no SHA-256; {sha256} is recorded and compared from now on")
    if is_archive(file):
        unpack(file, folder, one.paths)
    else:
        shutil.copyfile(file, folder / file.name)
    return _Brought(folder, sha256=sha256)


def _known_sha256(card: TaskCard, one: Download, root: Path) -> tuple[str, str]:
    """Return the checksum that a file must have and who says so: the card, else the first fetch on this site."""
    if one.sha256:
        return one.sha256, "the card"
    for built in list_builds(dict.fromkeys([root, *stage_folders()]), card.name)[0]:
        for told in built.item.downloads.values():
            if told.origin == one.url and told.sha256:
                return told.sha256, f"the fetch of {built.item.fetched_at[:10]}"
    return "", ""


def _record(card: TaskCard, one: Download, brought: _Brought) -> BuiltDownload:
    files = [path for path in sorted(brought.folder.rglob("*")) if path.is_file()]
    wanted = [path for path in files if not one.paths or _is_wanted(one, path.relative_to(brought.folder).as_posix())]
    return BuiltDownload(
        kind=one.kind,
        origin=one.url or one.id,
        revision=brought.revision,
        sha256=brought.sha256,
        licence=one.licence or card.licence,
        accepted=one.consent,
        files=tuple(_file(path, brought.folder) for path in wanted),
    )


def _is_wanted(one: Download, name: str) -> bool:
    return one.kind == "file" or any(matches(name, glob) for glob in one.paths)


def _file(path: Path, folder: Path) -> StagedFile:
    return StagedFile(name=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=sha256_of(path))


def _write_tables(card: TaskCard, folders: dict[str, Path], new: Path) -> dict[str, BuiltTable]:
    """Write every table below ``new``, the test's apart, and return what the manifest says of them."""
    (new / "tables").mkdir(parents=True)
    (new / "sealed").mkdir(mode=0o700)
    made = {}
    for name, lines in build_tables(card, folders):
        path = new / table_file(card, name)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        made[name] = BuiltTable(
            file=table_file(card, name),
            rows=len(lines),
            size=path.stat().st_size,
            sha256=sha256_of(path),
            columns=tuple(json.loads(lines[0])),
        )
    return {name: made[name] for name in card.tables}


def _dropped(loaded: LoadedCard, item: BuiltTask, new: Path) -> dict[str, int]:
    """Read every split through the card's templates, so that a missing column is seen now and not by a launch.

    Returns how many rows of each split stand in another one: upstream's own overlap, which launches leave out.
    """
    return read_card(loaded, drop_overlap=True, built=Built(item, new)).dropped


def _publish(item: BuiltTask, paths: BuiltPaths, new: Path) -> Built:
    """Take the right to write from the new build, keep its test apart, and give it its name."""
    sync_tree(new)
    bits = permissions(paths.root)
    read_only(new, bits)
    sealed = new / "sealed"
    sealed.chmod(0o700 | bits & 0o050)
    for file in sealed.iterdir():
        file.chmod(0o400 | bits & 0o040)
    new.chmod(0o700 | bits & 0o055)  # a folder that its owner cannot write cannot be moved to another one
    reach("ftbench/before", paths.folder)
    new.rename(paths.folder)
    reach("ftbench/after", paths.folder)
    sync_folder(paths.parent)
    _remove(paths.partial)
    return Built(item, paths.folder)


def _sweep(paths: BuiltPaths) -> None:
    """Remove what a run left that was killed after its tables had appeared: the test stands in it."""
    if paths.partial.is_dir() and os.access(paths.parent, os.W_OK):
        with suppress(EnvironmentProblem), claimed(paths):  # held: that run is about to remove it
            _remove(paths.partial)


def _remove(folder: Path) -> None:
    if folder.is_dir():
        writable(folder)
        shutil.rmtree(folder)
