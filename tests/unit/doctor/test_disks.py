"""What a folder can do is tried, not guessed: leases of two processes, renames, a database, permissions, room."""

from __future__ import annotations

import pytest

from hpc_trex.doctor import disks
from hpc_trex.doctor.check import Verdict
from hpc_trex.doctor.room import check_room, judge
from hpc_trex.staging.space import Room


def test_two_processes_fight_for_each_lease_and_one_wins_it(tmp_path):
    lease, lock = disks.check_leases(tmp_path)
    assert lease.verdict is Verdict.OK, lease.found
    assert "one winner each" in lease.found
    assert "is refused, as it should be" in lock.found
    assert len(list(tmp_path.glob("*/controller.lease"))) == disks.ROUNDS


def test_a_lease_given_twice_or_to_nobody_is_a_failure():
    everything = list(range(disks.ROUNDS))
    assert disks.judge_leases([everything, [3, 4]], 1.0).verdict is Verdict.FAILURE
    assert "2 were given to both" in disks.judge_leases([everything, [3, 4]], 1.0).found
    assert "1 to none" in disks.judge_leases([everything[1:], []], 1.0).found
    assert disks.judge_leases([everything[::2], everything[1::2]], 1.0).verdict is Verdict.OK


def test_a_folder_where_no_lease_can_be_made_is_a_failure_not_a_crash(tmp_path):
    (check,) = disks.check_leases(tmp_path / "none")
    assert check.verdict is Verdict.FAILURE
    assert "HPC_TREX_HOME" in check.remedy


def test_locks_that_do_nothing_are_told_and_no_reason_to_stop():
    assert disks.judge_lock("granted").verdict is Verdict.OK
    assert "do nothing" in disks.judge_lock("granted").found
    assert disks.judge_lock("No locks available").verdict is Verdict.WARNING


def test_files_appear_whole_and_the_database_has_no_wal(tmp_path):
    assert disks.check_writes(tmp_path).verdict is Verdict.OK
    assert disks.check_database(tmp_path).verdict is Verdict.OK
    assert not list(tmp_path.glob("*-wal"))
    (tmp_path / "file").touch()
    for check in (disks.check_writes(tmp_path / "file"), disks.check_database(tmp_path / "file")):
        assert check.verdict is Verdict.FAILURE


def test_a_folder_above_that_anybody_may_change_is_named_and_a_sticky_one_is_not(tmp_path):
    folder = tmp_path / "open" / "mine"
    folder.mkdir(parents=True)
    assert disks.check_parents(folder).verdict is Verdict.OK
    (tmp_path / "open").chmod(0o1777)
    assert disks.check_parents(folder).verdict is Verdict.OK
    (tmp_path / "open").chmod(0o777)
    check = disks.check_parents(folder)
    assert check.verdict is Verdict.WARNING
    assert f"chmod o-w {tmp_path / 'open'}" in check.remedy


TB = 10**12


@pytest.mark.parametrize(
    ("room", "total", "files", "verdict"),
    [
        (Room(TB // 2, 10**6, "the file system of /x"), TB, 10**7, "ok"),
        (Room(TB // 20, 10**6, "the file system of /x"), TB, 10**7, "warning"),
        (Room(40 * TB, 10**6, "the file system of /x"), 1000 * TB, 10**7, "ok"),
        (Room(TB // 2, 9_000, "the file system of /x"), TB, 10**7, "warning"),
        (Room(TB // 2, 0, "the file system of /x"), TB, 10**7, "failure"),
        (Room(10**9, None, "quota"), None, None, "warning"),
        (Room(None, 50_000, "lfs quota of me"), None, None, "warning"),
        (Room(None, 500_000, "lfs quota of me"), None, None, "ok"),
        (Room(0, None, "quota"), None, None, "failure"),
    ],
)
def test_little_room_is_told_in_bytes_and_in_files(room, total, files, verdict):
    check = judge(room, total, files)
    assert check.verdict is Verdict(verdict), check.found
    assert check.name == ("room" if "system" in room.source else "quota")


def test_a_quota_that_answers_is_a_line_of_its_own(tmp_path):
    mount = next(path for path in (tmp_path, *tmp_path.parents) if path.is_mount())

    def ask(words):
        return (
            f"Filesystem blocks quota limit grace files quota limit grace\n{mount} 90 0 100 0 99000 0 100000 0"
            if words[0] == "quota"
            else ""
        )

    room, quota = check_room(tmp_path, ask=ask)
    assert room.name == "room"
    assert (quota.name, quota.verdict) == ("quota", Verdict.WARNING)
    assert "1,000 files may still be made" in quota.found
