"""``gc``: what goes, what stays, and that a kill or a sulking file server in the midst of it loses nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from hpc_trex.controller import Controller, gc
from hpc_trex.errors import EnvironmentProblem, LeaseHeld
from hpc_trex.layout import AttemptPaths, SearchPaths
from hpc_trex.models import JobKind, SearchState, TrialState
from hpc_trex.report.packed import packed
from hpc_trex.tree.check import check
from hpc_trex.tree.lease import Lease
from hpc_trex.tree.store import Store
from tests.unit.controller.conftest import drive
from tests.unit.controller.simulation import Killed

pytestmark = pytest.mark.slow

#: What must never go: what status, show, report, resume and a doubled job need.
ALWAYS = ("spec.json", "started.json", "result.json", "samples.jsonl")


def litter(paths: SearchPaths) -> None:
    """Leave in every attempt's folder what a real job leaves."""
    with Store.read(paths) as store:
        attempts = store.attempts()
    for attempt in attempts:
        files = AttemptPaths(paths.root / attempt.directory)
        for path in (files.started, files.samples, files.stdout, files.stderr, files.script):
            path.write_text(f"{path.name} of {attempt.token}\n")
        (files.root / "submitit").mkdir()
        (files.root / "submitit" / "submitted.pkl").write_bytes(b"pickle")
        if attempt.kind is JobKind.TRAIN:
            for folder in (files.model, files.checkpoints / "step-10"):
                folder.mkdir(parents=True)
                (folder / "weights").write_bytes(b"w" * 1000)
        if attempt.kind is JobKind.PREPARE:
            data = paths.data(attempt.node)
            (data / "rows").mkdir(parents=True)
            (data / "rows" / "data.arrow").write_bytes(b"d" * 1000)
            (data / "manifest.json").write_text("{}")


@pytest.fixture
def finished(search, cluster):
    """A finished search with everything that real jobs leave."""
    paths = search(max_nodes=5)
    drive(paths, cluster).close()
    litter(paths)
    return paths


def cleaned(paths: SearchPaths, *, keep: int = 3, at_once: bool = False) -> gc.Cleaned:
    return gc.clean(paths, gc.look(paths, keep=keep, at_once=at_once), keep=keep, at_once=at_once)


def models(paths: SearchPaths) -> set[tuple[int, int]]:
    """(node, trial) of the models that are there."""
    found = paths.root.glob("nodes/*/trials/*/attempts/*/model")
    return {(int(path.parts[-6]), int(path.parts[-4])) for path in found}


def test_of_a_finished_search_the_chosen_and_the_best_models_and_all_records_stay(finished):
    before = sorted(path for name in ALWAYS for path in finished.root.rglob(name))
    with Store.read(finished) as store:
        chosen, nodes = store.chosen(), store.nodes()
    best = sorted((node for node in nodes if node.score is not None), key=lambda node: -(node.score or 0))[:2]
    cleaned(finished, keep=2)
    wanted = {(node.id, node.best_trial) for node in best if node.id} | {(chosen.node, chosen.trial)}
    taken_over = {(t.node, t.trial): t.reused_from for node in nodes for t in node.trials if t.reused_from}
    assert models(finished) == {taken_over.get(key, key) for key in wanted}
    assert sorted(path for name in ALWAYS for path in finished.root.rglob(name) if "trash" not in path.parts) == before
    left = [path for path in finished.root.glob("nodes/**/*") if path.name in ("checkpoints", "submitit", "rows")]
    assert left == []
    assert all(path.exists() for path in (finished.data(1) / "manifest.json", finished.plan(1)))
    assert check(finished) == []
    again = gc.look(finished, keep=2, at_once=False)
    assert again.empty, again


def test_logs_of_closed_rounds_are_one_file_a_round_and_can_still_be_read(finished):
    with Store.read(finished) as store:
        attempt = store.attempts(1)[-1]
    path = finished.root / attempt.directory / "job.out"
    text = path.read_bytes()
    cleaned(finished)
    assert not path.exists()
    assert packed(finished, attempt.node, path) == text
    assert packed(finished, attempt.node, path.with_name("job.none")) is None
    path.write_text("a job of later\n")  # the chosen round's sealed test may come after a gc
    path.with_name("job.err").write_text("its errors\n")
    cleaned(finished)
    assert packed(finished, attempt.node, path) == b"a job of later\n"
    assert packed(finished, attempt.node, path.with_name("job.sbatch")) is not None, "what was packed before stays"


def test_a_search_that_is_not_over_keeps_all_that_it_may_need(search, cluster):
    paths = search(max_nodes=9)
    with Controller(paths) as controller:
        controller.start()
        for _ in range(6):
            controller.tick()
            cluster.finish_all()
        controller.tick()
        assert controller.store.state()[0] is SearchState.RUNNING
    litter(paths)
    with Store.read(paths) as store:
        scored = [t for node in store.nodes() for t in node.trials if t.kind is JobKind.TRAIN and t.reused_from is None]
        planned = {(t.node, t.trial) for t in scored if t.replicate_of is None}
        unfinished = [item for item in store.attempts() if item.state.value in ("intent", "queued", "running")]
    cleaned(paths)
    assert models(paths) >= {key for key in planned if paths.attempt(*key, 1).root.exists()}
    assert list(paths.root.glob("nodes/*/data/rows"))
    for item in unfinished:
        assert AttemptPaths(paths.root / item.directory).checkpoints.exists() or item.kind is not JobKind.TRAIN
        assert (paths.root / item.directory / "submitit").exists()
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
        assert all(t.state is TrialState.DONE for node in controller.store.nodes() for t in node.trials)
    assert check(paths) == []


def test_a_moved_search_keeps_its_chosen_model(finished, tmp_path):
    """The results name the models by the path that they had."""
    with Store.read(finished) as store:
        chosen = store.chosen()
    moved = SearchPaths(tmp_path / "elsewhere")
    finished.root.rename(moved.root)
    cleaned(moved, keep=0)
    assert len(models(moved)) == 1
    assert models(moved) == {(chosen.node, chosen.trial)}


def test_trash_is_deleted_a_day_later_or_at_once(finished):
    cleaned(finished)
    (batch,) = finished.trash.iterdir()
    assert list(batch.rglob("weights"))
    assert cleaned(finished).deleted == []
    assert batch.exists()
    os.utime(batch, (1, 1))
    assert [one.path for one in cleaned(finished).deleted] == [batch]
    assert not batch.exists()
    litter_one = finished.attempt(1, 1, 1).root / "submitit"
    litter_one.mkdir()
    assert cleaned(finished, at_once=True).deleted
    assert list(finished.trash.iterdir()) == []


def test_left_over_temporary_files_go_after_a_day(finished):
    young, old = (finished.root / f".stop.json.tmp-0-{number}-ab" for number in (1, 2))
    aside = finished.snapshot.parent / ".current.db.tmp-0-3-cd"
    for path in (young, old, aside):
        path.write_text("x")
    for path in (old, aside):
        os.utime(path, (1, 1))
    cleaned(finished)
    assert (young.exists(), old.exists(), aside.exists()) == (True, False, False)


def test_while_a_controller_is_at_work_nothing_is_moved(finished):
    seen = gc.look(finished, keep=3, at_once=False)
    with Lease(finished), pytest.raises(LeaseHeld):
        gc.clean(finished, seen, keep=3, at_once=False)
    assert list(finished.root.glob("nodes/*/trials/*/attempts/*/checkpoints"))


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO])
def test_what_the_file_server_refuses_is_told_and_left_for_the_next_time(finished, monkeypatch, code):
    stale = next(iter(sorted(finished.root.glob("nodes/*/trials/*/attempts/*/checkpoints"))))
    rename = Path.rename

    def sulking(self, target):
        if self == stale:
            raise OSError(code, os.strerror(code), str(self))
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", sulking)
        done = cleaned(finished)
    assert any(str(stale) in line and os.strerror(code) in line for line in done.skipped)
    assert stale.exists()
    assert cleaned(finished).skipped == []
    assert not stale.exists()


def test_a_trash_that_cannot_be_deleted_is_told(finished, monkeypatch):
    cleaned(finished)
    unlink = os.unlink

    def sulking(path, *, dir_fd=None):
        if dir_fd is not None:  # as rmtree calls it
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
        unlink(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", sulking)
        done = cleaned(finished, at_once=True)
    assert any(os.strerror(errno.ESTALE) in line for line in done.skipped)
    cleaned(finished, at_once=True)
    assert list(finished.trash.iterdir()) == []


def everything(paths: SearchPaths) -> dict[str, bytes]:
    """Each file's content, wherever it lies now: in place, in the trash or in an archive of logs."""
    found: dict[str, bytes] = {}
    for path in paths.root.rglob("*"):
        if not path.is_file() or path.suffix == ".db" or path in (paths.events, paths.lease):
            continue
        relative = path.relative_to(paths.root)
        if path.name == "logs.tar.gz":
            with tarfile.open(path) as archive:
                for member in archive.getmembers():
                    found[str(relative.parent / member.name)] = archive.extractfile(member).read()
            continue
        name = Path(*relative.parts[2:]) if relative.parts[0] == "trash" else relative
        found[str(name)] = path.read_bytes()
    return found


@pytest.mark.parametrize("kind", ["trash/before", "trash/after", "pack/before", "pack/after", "event/logged"])
@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_gc_that_is_killed_loses_nothing_and_the_next_one_ends_it(finished, monkeypatch, kind, at):
    before = everything(finished)
    left = [at]

    def dying(boundary, *_what):
        if boundary == kind:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

    with monkeypatch.context() as patch:
        for module in ("controller.trash", "tree.store"):
            patch.setattr(f"hpc_trex.{module}.reach", dying)
        with contextlib.suppress(Killed):
            cleaned(finished)
    assert everything(finished) == before
    assert [line for line in check(finished) if "the next resume applies" not in line] == []
    cleaned(finished)
    assert check(finished) == []
    assert everything(finished) == before
    assert gc.look(finished, keep=3, at_once=False).empty


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    subprocess.run(["umount", folder], check=True)


def test_on_a_full_disk_the_error_says_what_to_type_and_now_makes_room(finished, disk):
    paths = SearchPaths(disk / "search")
    shutil.copytree(finished.root, paths.root)
    cleaned(paths)  # something lies in the trash
    (paths.attempt(1, 1, 1).root / "submitit").mkdir()
    free = os.statvfs(disk)
    (disk / "filler").write_bytes(b"x" * free.f_bavail * free.f_frsize)
    with pytest.raises(EnvironmentProblem, match="cannot write") as caught:
        cleaned(paths)
    assert "room" in caught.value.hint or "--now" in caught.value.hint
    assert cleaned(paths, at_once=True).deleted, "what was in the trash makes the room"
    assert check(paths) == []


def test_on_a_read_only_disk_nothing_can_be_moved_but_looked_at(finished, disk):
    paths = SearchPaths(disk / "search")
    shutil.copytree(finished.root, paths.root)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    seen = gc.look(paths, keep=3, at_once=False)
    assert not seen.empty
    with pytest.raises(EnvironmentProblem, match="Read-only") as caught:
        gc.clean(paths, seen, keep=3, at_once=False)
    assert "choose another folder" in caught.value.hint
