"""The file system of a folder is found and named, with what it means for a search."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.doctor.check import Verdict
from hpc_trex.doctor.filesystem import Mount, check_type, mount_of, parse_mountinfo

MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw - proc proc rw
31 22 0:44 / /home rw,relatime shared:3 - nfs4 nas:/home rw,vers=4.2,local_lock=none
32 22 0:45 / /nfs3 rw,relatime - nfs nas:/old rw,vers=3,nolock,local_lock=all
33 22 0:46 / /lustre/work rw,noatime - lustre 10.0.0.1@o2ib:/work rw,flock,lazystatfs
34 22 0:47 / /lustre/local rw,noatime - lustre 10.0.0.1@o2ib:/local rw,localflock
35 22 0:48 / /gpfs rw - gpfs gpfs0 rw
36 22 0:49 / /beegfs rw - beegfs beegfs_nodev rw
37 22 0:50 / /weka rw - wekafs default rw,writecache
38 22 0:51 / /mnt/my\040disk rw - fuse.sshfs me@host:/ rw
39 22 0:52 / /dev/shm rw - tmpfs tmpfs rw
40 22 0:53 / /archive ro,relatime - nfs4 nas:/archive ro
41 22 0:54 / /win rw - cifs //srv/share rw
42 31 0:55 / /home/shared rw - xfs /dev/sdb rw
43 22 0:56 / /strange rw - hdfs9 x rw
"""


@pytest.mark.parametrize(
    ("folder", "verdict", "words"),
    [
        ("/home/me/searches", "ok", "NFS at /home, shared"),
        ("/nfs3/x", "ok", "locks hold inside one machine only (nolock)"),
        ("/lustre/work/x", "ok", "Lustre at /lustre/work, shared;"),
        ("/lustre/local/x", "ok", "locks hold inside one machine only (localflock)"),
        ("/gpfs/x", "ok", "GPFS"),
        ("/beegfs/x", "ok", "BeeGFS"),
        ("/weka/x", "ok", "WekaFS"),
        ("/mnt/my disk/x", "warning", "FUSE (sshfs)"),
        ("/dev/shm/x", "warning", "gone at the next reboot"),
        ("/archive/x", "warning", "read-only"),
        ("/win/x", "warning", "SMB"),
        ("/home/shared/x", "warning", "compute nodes may not see it"),
        ("/strange/x", "ok", "unknown to hpc-trex"),
        ("/homeless/x", "warning", "ext4 at /"),
    ],
)
def test_each_file_system_is_named_with_what_it_means(folder, verdict, words):
    check = check_type(Path(folder), shared_needed=True, text=MOUNTS)
    assert (check.verdict, check.name) == (Verdict(verdict), "file system")
    assert words in check.found
    assert bool(check.remedy) == (verdict == "warning")


def test_a_disk_of_the_machine_will_do_for_local_jobs():
    assert check_type(Path("/home/shared"), shared_needed=False, text=MOUNTS).verdict is Verdict.OK


def test_the_real_mounts_of_this_machine_are_read(tmp_path):
    assert "unknown:" not in check_type(tmp_path, shared_needed=False).found


NAMES = st.text("ab", min_size=1, max_size=2)


@given(st.lists(st.lists(NAMES, max_size=3), max_size=6), st.lists(NAMES, max_size=4))
def test_the_mount_is_always_the_deepest_that_holds_the_folder(points, folder):
    mounts = [Mount("/" + "/".join(point), "x", "", ()) for point in points]
    path = Path("/" + "/".join(folder))
    found = mount_of(path, mounts)
    holding = [mount.point for mount in mounts if path.is_relative_to(mount.point)]
    assert (found.point if found else None) == max(holding, key=len, default=None)


@given(st.text(max_size=200))
def test_no_line_breaks_the_reader(text):
    parse_mountinfo(text)
