"""Which file system a folder stands on, and what that means for a search."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from hpc_trex.doctor.check import Check, ok, warning

NAME = "file system"


class Mount(NamedTuple):
    """The file system that a folder is on."""

    point: str
    type: str
    source: str
    options: tuple[str, ...]


#: How a type is called, and whether other machines see it.
_SHARED = {
    "nfs": "NFS", "nfs4": "NFS", "lustre": "Lustre", "gpfs": "GPFS (Spectrum Scale)", "mmfs": "GPFS (Spectrum Scale)",
    "beegfs": "BeeGFS", "wekafs": "WekaFS", "ceph": "CephFS", "panfs": "PanFS", "quobyte": "Quobyte", "gfs2": "GFS2",
    "ocfs2": "OCFS2", "pvfs2": "OrangeFS", "glusterfs": "GlusterFS", "9p": "9p", "virtiofs": "virtiofs", "dvs": "Cray DVS",
}  # fmt: skip
_LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs"}
_ODD = {
    "cifs": "SMB: no hard links on many servers, and renames that fail while a file is open",
    "smb3": "SMB: no hard links on many servers, and renames that fail while a file is open",
    "afs": "AFS: what a job writes is seen when it closes the file, and tokens expire under long jobs",
    "tmpfs": "memory of this machine: it is gone at the next reboot, and other machines do not see it",
    "ramfs": "memory of this machine: it is gone at the next reboot, and other machines do not see it",
    "overlay": "a container's own layer: it may be gone with the container",
}
_ELSEWHERE = "put searches on a shared file system: export HPC_TREX_HOME=/shared/me/searches"


def check_type(folder: Path, *, shared_needed: bool, text: str | None = None) -> Check:
    """Say what the file system of ``folder`` is; ``text`` stands for ``/proc/self/mountinfo`` in tests."""
    if text is None:
        try:
            text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return warning(NAME, "unknown: /proc/self/mountinfo cannot be read", "see df -T")
    mount = mount_of(folder.resolve(), parse_mountinfo(text))
    if mount is None:
        return warning(NAME, f"unknown: no mount point of {folder} was found", "see df -T")
    return _judge(mount, shared_needed=shared_needed)


def parse_mountinfo(text: str) -> list[Mount]:
    """Read ``/proc/self/mountinfo``, where a space in a name is written as its octal number."""
    found = []
    for line in text.splitlines():
        left, sign, right = line.partition(" - ")
        head, tail = left.split(" "), right.split(" ")
        if sign and len(head) >= 6 and len(tail) >= 2:
            options = [*head[5].split(","), *(tail[2].split(",") if len(tail) > 2 else [])]
            found.append(Mount(_plain(head[4]), tail[0], _plain(tail[1]), tuple(dict.fromkeys(options))))
    return found


def mount_of(folder: Path, mounts: list[Mount]) -> Mount | None:
    """Return the mount that a resolved folder is on: the longest point; of several on one point the last."""
    best = None
    for mount in mounts:
        if folder.is_relative_to(mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def _judge(mount: Mount, *, shared_needed: bool) -> Check:
    kind = mount.type
    where = f"at {mount.point}"
    if "ro" in mount.options:
        return warning(NAME, f"{kind} {where}, mounted read-only", "choose another folder: --directory, HPC_TREX_HOME")
    if kind in _ODD:
        return warning(NAME, f"{kind} {where}: {_ODD[kind]}", _ELSEWHERE)
    if kind.startswith("fuse"):
        name = kind.removeprefix("fuse.").removeprefix("fuse")
        words = f"FUSE ({name or mount.source}) {where}: locks and renames are as good as that program makes them"
        return warning(NAME, words, f"rely on the lock test below, or {_ELSEWHERE}")
    if kind in _LOCAL:
        words = f"{kind} {where}, a disk of this machine"
        return warning(NAME, f"{words}: compute nodes may not see it", _ELSEWHERE) if shared_needed else ok(NAME, words)
    if kind in _SHARED:
        return ok(NAME, f"{_SHARED[kind]} {where}, shared{_locks(mount)}; no WAL and no mmap are used on any of them")
    return ok(NAME, f"{kind} {where}, unknown to hpc-trex: the tests below say what it can do")


def _locks(mount: Mount) -> str:
    """Return what the mount options say about locks: nothing of ours rests on locks between machines."""
    options = set(mount.options)
    if mount.type == "lustre" and "localflock" in options:
        return ", locks hold inside one machine only (localflock)"
    if mount.type == "lustre" and "noflock" in options:
        return ", no locks (noflock)"
    if options & {"nolock", "local_lock=all", "local_lock=posix"}:
        return ", locks hold inside one machine only (nolock)"
    return ""


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
