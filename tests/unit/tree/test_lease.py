"""One controller at a time: taking, keeping, losing and taking over the lease, with real processes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpc_trex.errors import LeaseHeld
from hpc_trex.layout import SearchPaths
from hpc_trex.tree import lease as module
from hpc_trex.tree.lease import Holder, Lease, read_lease, unlock


@pytest.fixture
def paths(tmp_path: Path) -> SearchPaths:
    return SearchPaths(tmp_path)


def write(paths: SearchPaths, *, age: float = 0.0, **changes: object) -> None:
    """Put a lease of another controller there, ``age`` seconds old."""
    holder = Lease(paths).holder.model_copy(update={"fence": "other", "host": "login2", "pid": 4711} | changes)
    paths.lease.write_text(holder.model_dump_json())
    os.utime(paths.lease, (time.time() - age,) * 2)


def files(paths: SearchPaths) -> list[str]:
    return sorted(path.name for path in paths.root.iterdir())


def test_a_held_lease_says_who_holds_it_and_what_to_type(paths: SearchPaths) -> None:
    write(paths, machine="another boot", job="99", since="2026-01-02T03:04:05+00:00")
    with pytest.raises(LeaseHeld) as caught:
        Lease(paths).acquire()
    assert "pid 4711 on login2, Slurm job 99" in caught.value.message
    assert "since 2026-01-02T03:04:05" in caught.value.message
    assert "hpc-trex unlock" in caught.value.hint
    assert caught.value.exit_code == 6
    assert files(paths) == ["controller.lease"]


def test_a_lease_is_taken_kept_and_given_back(paths: SearchPaths) -> None:
    with Lease(paths) as lease:
        os.utime(paths.lease, (0, 0))
        lease.renew()
        lease.check()
        assert time.time() - paths.lease.stat().st_mtime < 5
        with pytest.raises(LeaseHeld):
            Lease(paths).acquire()
    assert files(paths) == []
    lease.release()  # once more does no harm


def test_checking_gives_a_sign_of_life_now_and_then(paths: SearchPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lease(paths) as lease:
        now = time.monotonic()
        monkeypatch.setattr(module.time, "monotonic", lambda: now)
        os.utime(paths.lease, (0, 0))
        lease.check()
        assert paths.lease.stat().st_mtime == 0
        now += module.SIGN_SECONDS + 1
        lease.check()
        assert paths.lease.stat().st_mtime > 0


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_over_at_once(paths: SearchPaths) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write(paths, pid=gone.pid)
    with Lease(paths) as lease:
        lease.check()
    assert files(paths) == []


def test_the_lease_of_a_dead_process_that_nobody_reaped_is_taken_over_at_once(paths: SearchPaths) -> None:
    """In many containers a killed controller stays a zombie; its number still answers."""
    zombie = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert zombie.stdout is not None
    zombie.stdout.read()  # it is over when its output ends, but for a moment
    stat = Path(f"/proc/{zombie.pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    write(paths, pid=zombie.pid, started=int(stat.read_text().rpartition(")")[2].split()[19]))
    with Lease(paths) as lease:
        lease.check()
    zombie.wait()
    zombie.stdout.close()


def test_a_pid_that_was_used_again_is_not_the_same_process(paths: SearchPaths) -> None:
    write(paths, pid=os.getpid(), started=1)
    with Lease(paths):
        pass
    write(paths, pid=os.getpid())
    with pytest.raises(LeaseHeld):
        Lease(paths).acquire()


@pytest.mark.parametrize("machine", ["another boot", ""])
def test_elsewhere_only_ten_minutes_without_a_sign_of_life_count(paths: SearchPaths, machine: str) -> None:
    """The pid of another machine, or of another container of this one, says nothing."""
    write(paths, age=590, machine=machine, pid=2**22 - 1)
    with pytest.raises(LeaseHeld, match="last sign of life 59"):
        Lease(paths).acquire()
    write(paths, age=610, machine=machine)
    with Lease(paths):
        pass


def test_age_is_told_by_the_file_server_not_by_this_clock(paths: SearchPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    write(paths, machine="another boot")
    monkeypatch.setattr(module.time, "time", lambda: time.time() + 10_000)
    with pytest.raises(LeaseHeld):
        Lease(paths).acquire()


def test_a_lease_that_is_still_being_written_is_held_and_one_left_half_written_is_not(paths: SearchPaths) -> None:
    paths.lease.write_text("")
    with pytest.raises(LeaseHeld, match="just starting"):
        Lease(paths).acquire()
    os.utime(paths.lease, (time.time() - 60,) * 2)
    with Lease(paths):
        pass


def test_who_lost_the_lease_is_stopped_and_does_not_remove_the_new_one(paths: SearchPaths) -> None:
    old = Lease(paths)
    old.acquire()
    os.utime(paths.lease, (0, 0))
    new = Lease(paths)
    write(paths, age=700, machine="another boot")
    new.acquire()
    for action in (old.check, old.renew):
        with pytest.raises(LeaseHeld, match="taken over"):
            action()
    old.release()
    new.check()


def test_unlock_removes_the_lease_and_its_holder_stops(paths: SearchPaths) -> None:
    lease = Lease(paths)
    lease.acquire()
    holder = unlock(paths)
    assert isinstance(holder, Holder)
    assert holder == lease.holder
    with pytest.raises(LeaseHeld, match="taken away"):
        lease.check()
    assert unlock(paths) is None


@pytest.mark.parametrize("links", [True, False])
def test_a_lease_that_was_moved_by_mistake_is_put_back(
    paths: SearchPaths, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """A slow contender has read a stale lease; by the time it moves it, it is a new one."""
    if not links:
        monkeypatch.setattr(module.os, "link", refuse_links)
    write(paths, age=700, machine="another boot")
    stale = read_lease(paths.lease)
    lease = Lease(paths)
    lease.acquire()
    answers = [stale]
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_lease", lambda path: answers.pop() if answers else read_lease(path))
        assert not module.move_aside(paths.lease, "other")
    assert answers == []
    lease.check()
    assert files(paths) == ["controller.lease"]


def refuse_links(source: Path, target: Path) -> None:
    raise OSError(errno.EPERM, "no hard links here")


def test_without_hard_links_a_lease_is_made_all_the_same(paths: SearchPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "link", refuse_links)
    with Lease(paths), pytest.raises(LeaseHeld):
        Lease(paths).acquire()
    assert files(paths) == []


RACE = """
import sys, time
from pathlib import Path
from hpc_trex.errors import LeaseHeld
from hpc_trex.layout import SearchPaths
from hpc_trex.tree.lease import Lease
root = Path(sys.argv[1])
for turn in range(int(sys.argv[2])):
    paths = SearchPaths(root / str(turn))
    (paths.root / f"ready-{sys.argv[3]}").touch()
    while len(list(paths.root.glob("ready-*"))) < int(sys.argv[4]):
        time.sleep(0.0005)
    lease = Lease(paths)
    try:
        lease.acquire()
        time.sleep(0.02)
        lease.check()
        print(turn, flush=True)
    except LeaseHeld:
        pass
    (paths.root / f"over-{sys.argv[3]}").touch()
    while len(list(paths.root.glob("over-*"))) < int(sys.argv[4]):
        time.sleep(0.0005)
"""


@pytest.mark.parametrize(("stale", "contenders"), [(True, 2), (False, 2), (True, 4)])
def test_of_processes_that_race_for_a_lease_exactly_one_wins_each_time(
    paths: SearchPaths, stale: bool, contenders: int
) -> None:
    rounds = 50 if stale and contenders == 2 else 12
    for turn in range(rounds):
        one = SearchPaths(paths.root / str(turn))
        one.root.mkdir()
        if stale:
            write(one, age=700, machine="another boot")
    arguments = [str(paths.root), str(rounds)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, *arguments, str(number), str(contenders)], stdout=subprocess.PIPE, text=True
        )
        for number in range(contenders)
    ]
    wins = [turn for racer in racers for turn in racer.communicate(timeout=120)[0].split()]
    assert sorted(map(int, wins)) == list(range(rounds))
    for turn in range(rounds):
        assert read_lease(SearchPaths(paths.root / str(turn)).lease) is not None
