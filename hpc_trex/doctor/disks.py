"""What a folder can do: leases between two processes, whole renames, a database, a clock; and who may get at it."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

from hpc_trex.doctor.check import Check, failure, ok, warning
from hpc_trex.files import server_now, write_atomic
from hpc_trex.slurm.environment import clean_environment

ROUNDS = 20
_SECONDS = 60.0
_ELSEWHERE = "do not run searches here: export HPC_TREX_HOME=FOLDER on another file system"


def check_leases(folder: Path) -> list[Check]:
    """Let two processes fight for the same leases; exactly one may win each."""
    command = [sys.executable, "-m", "hpc_trex.doctor.contender", str(folder)]
    begun = time.monotonic()
    running = [
        subprocess.Popen(
            [*command, str(me), str(ROUNDS)],
            env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for me in (0, 1)
    ]  # fmt: skip
    answers, trouble = [], ""
    for process in running:
        try:
            out, err = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        if process.returncode:
            trouble = (err.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        else:
            answers.append(json.loads(out))
    if trouble:
        return [failure("lock test", f"two processes could not fight for a lease: {trouble}", _ELSEWHERE)]
    return [
        judge_leases([answer["won"] for answer in answers], time.monotonic() - begun),
        judge_lock(answers[1]["lock"]),
    ]


def judge_leases(won: list[list[int]], seconds: float) -> Check:
    """Say what it means who won which round."""
    wins = sorted(number for rounds in won for number in rounds)
    if wins == list(range(ROUNDS)):
        shares = " and ".join(str(len(rounds)) for rounds in won)
        return ok("lock test", f"two processes, {ROUNDS} leases: one winner each ({shares}), {seconds:.1f} s")
    twice = sum(wins.count(number) > 1 for number in range(ROUNDS))
    none = sum(number not in wins for number in range(ROUNDS))
    words = f"of {ROUNDS} leases {twice} were given to both of two processes, {none} to none"
    return failure("lock test", f"{words}: two controllers could run one search", _ELSEWHERE)


def judge_lock(words: str, where: str = "of two processes here") -> Check:
    """Say what a file lock (fcntl) did. For information: leases do not rest on it."""
    if words == "refused":
        return ok("file locks", f"fcntl: the second {where} is refused, as it should be")
    if words == "granted":
        return ok(
            "file locks", f"fcntl: the second {where} gets it too, so locks do nothing; leases do not rest on them"
        )
    return warning(
        "file locks", f"fcntl: {words}; leases do not rest on them", "the database line below says if SQLite works"
    )


def check_writes(folder: Path) -> Check:
    """Write, flush and rename as every file of a search is written; a reader must see the old one or the new one."""
    path, begun = folder / "whole", time.monotonic()
    try:
        for number in range(5):
            write_atomic(path, str(number) * 4096)
            if path.read_text() != str(number) * 4096:
                return failure("whole files", "a renamed file does not hold what was written", _ELSEWHERE)
        os.link(path, folder / "linked")
    except OSError as error:
        if not path.exists():
            return failure("whole files", f"write, fsync and rename fail: {error.strerror}", _ELSEWHERE)
        return ok("whole files", f"fsync and rename work; no hard links ({error.strerror}): leases use O_EXCL")
    took = (time.monotonic() - begun) / 5 * 1000
    words = f"fsync, rename and hard links work, {took:.0f} ms a file"
    if took > 500:
        return warning("whole files", words, "the disk is slow now: a tick of the controller writes some ten files")
    return ok("whole files", words)


def check_database(folder: Path) -> Check:
    """Open a database as the tree's is opened."""
    from hpc_trex.tree.database import connect

    try:
        database = connect(folder / "probe.db")
        with database.conn:
            database.conn.execute("CREATE TABLE probe (x)")
            database.conn.execute("INSERT INTO probe VALUES (1)")
        mode = database.conn.execute("PRAGMA journal_mode").fetchone()[0]
        database.close()
    except sqlite3.Error as error:
        return failure("database", f"SQLite cannot write here: {error}", _ELSEWHERE)
    if mode != "delete":
        return failure("database", f"SQLite insists on journal mode {mode} here", _ELSEWHERE)
    return ok("database", f"SQLite {sqlite3.sqlite_version}, rollback journal, no mmap")


def check_clock(folder: Path) -> Check:
    """Compare the file server's clock with ours. For information: nothing compares clocks of two machines."""
    ahead = server_now(folder / "clock") - time.time()
    return ok("clock", f"the file server's is {_skew(ahead)}; hpc-trex compares no two machines' clocks")


def _skew(seconds: float) -> str:
    if abs(seconds) < 1:
        return "within a second of ours"
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} ours"


def check_umask() -> Check:
    """Say what others may read of files that are made here."""
    now = os.umask(0o077)
    os.umask(now)
    return ok("umask", f'{now:04o}; a search is made with 0077 (0007 where the profile says share = "group")')


def check_parents(folder: Path) -> Check:
    """Look for folders above in which anybody could put another one in the place of ours."""
    open_ones, group_ones = [], []
    for parent in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            mode = parent.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                open_ones.append(str(parent))
            elif mode & stat.S_IWGRP and not mode & stat.S_ISVTX:
                group_ones.append(str(parent))
    if open_ones:
        words = f"{', '.join(open_ones)}: anybody may write there, and put another folder in the place of yours"
        return warning("folders above", words, f"chmod o-w {open_ones[0]}, or choose a folder of your own")
    more = f"; your group may write in {', '.join(group_ones)}" if group_ones else ""
    return ok("folders above", f"none that anybody may change{more}")
