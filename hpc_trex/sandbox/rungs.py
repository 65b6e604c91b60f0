"""The ladder of sandboxes: bubblewrap, then Apptainer. Each is tried with code that looks for holes; nothing else counts."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from hpc_trex.sandbox.errors import CodeFailed, SandboxMissing

Means = Literal["bwrap", "apptainer"]

#: The folder for temporary files, as the code sees it; its only one that can be written, its home too. A name that no
#: site has: on /work, where many keep Python itself, it would lie over the interpreter.
WORK = "/sandbox"
#: All that the interpreter is told. ``-I`` would ignore the hash seed, so the single flags are used.
ENVIRONMENT = {
    "HOME": WORK,
    "TMPDIR": WORK,
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",
    "PYTHONSAFEPATH": "1",
    "PYTHONNOUSERSITE": "1",
}
_FLAGS = ("-s", "-S", "-B", "-u", "-X", "utf8", "-c")
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin")
#: What of /etc and /dev is there: where libraries lie, and files that are no devices of anything.
_FILES, _DEVICES = ("/etc/ld.so.cache",), ("/dev/null", "/dev/zero", "/dev/urandom")

_PROBE = """
import os, socket, sys
def transform(row):
    holes = []
    try:
        os.listdir(row["answer"])
        holes.append("sees the folders outside")
    except OSError:
        pass
    for folder in ("/", "/usr", "/dev"):
        try:
            open(folder.rstrip("/") + "/hpc-trex-probe", "w").close()
            holes.append("writes to " + folder)
        except OSError:
            pass
    try:
        with socket.socket() as one:
            one.settimeout(1)
            one.connect(("127.0.0.1", int(row["prompt"])))
        holes.append("reaches the network")
    except OSError:
        pass
    if "HPC_TREX_PROBE" in os.environ:
        holes.append("sees the variables outside")
    return {"prompt": "; ".join(holes), "answer": ""}
"""


class Rung(NamedTuple):
    """One means to keep code in."""

    means: Means
    program: str
    image: str = ""

    def command(self, work: Path, source: str) -> list[str]:
        """Return the command line that runs a program text inside, with ``work`` as its only folder."""
        return _bwrap(self, work, source) if self.means == "bwrap" else _apptainer(self, work, source)

    def mounted(self) -> list[Path]:
        """Return the folders of this machine that can be read inside."""
        return [] if self.means == "apptainer" else [*map(Path, _SYSTEM), *_interpreter()[1]]


class Finding(NamedTuple):
    """What was found of one means: the rung, or why it will not do."""

    means: Means
    rung: Rung | None
    trouble: str = ""


def examine(image: str | None = None) -> list[Finding]:
    """Try every means, best first. ``image``: the file that Apptainer is to start."""
    return [_bubblewrap(), _with_image(image)]


def rungs(image: str | None = None) -> list[Rung]:
    """Return the means that hold, best first; empty: code of agents cannot be run here."""
    return [found.rung for found in examine(image) if found.rung is not None]


def choose(wanted: Literal["bwrap", "apptainer", "none"] | None, image: str | None = None) -> Rung:
    """Return the means to use: the one that the profile names, else the first that holds.

    Raises :class:`SandboxMissing` with what was tried. There is no way to run without one.
    """
    if wanted == "none":
        raise SandboxMissing('the profile says that there is no sandbox (sandbox = "none"): the python step is not run')
    tried = []
    for find in ([_bubblewrap] if wanted in (None, "bwrap") else []) + (
        [lambda: _with_image(image)] if wanted in (None, "apptainer") else []
    ):
        found = find()
        if found.rung is not None:
            return found.rung
        tried.append(f"{found.means}: {found.trouble}")
    raise SandboxMissing(f"no sandbox holds on this node, so the python step is not run ({'; '.join(tried)})")


def _bubblewrap() -> Finding:
    program = shutil.which("bwrap")
    return _tried(Rung("bwrap", program)) if program else Finding("bwrap", None, "not installed")


def _with_image(image: str | None) -> Finding:
    program = shutil.which("apptainer")
    if program is None:
        return Finding("apptainer", None, "not installed")
    if not image:
        return Finding("apptainer", None, "the profile names no image (sandbox_image)")
    if not Path(image).exists():
        return Finding("apptainer", None, f"no image at {image}")
    return _tried(Rung("apptainer", program, image))


def _tried(rung: Rung) -> Finding:
    """Run the probe. A means that starts and has a hole is none."""
    from hpc_trex.sandbox.listener import listening
    from hpc_trex.sandbox.run import Limits, run

    with tempfile.TemporaryDirectory(prefix="hpc-trex-probe-") as outside, listening() as port:
        row = {"prompt": str(port), "answer": outside, "source": "", "row_id": "probe"}
        try:
            ran = run(_PROBE, [row], Limits(seconds=30, memory_bytes=2**28), rung, hidden=[Path(outside)])
        except (CodeFailed, SandboxMissing) as error:
            return Finding(rung.means, None, error.message[:300])
    answer = ran.answers[0]
    holes = answer.get("prompt") if isinstance(answer, dict) else "no answer"
    return Finding(rung.means, None, f"has holes: the code {holes}") if holes else Finding(rung.means, rung)


def _interpreter() -> tuple[Path, list[Path]]:
    """Return the interpreter behind a virtual environment, whose link would lead nowhere inside, and what it needs.

    Not its whole prefix: that may be somebody's home.
    """
    prefix = Path(sys.base_prefix).resolve()
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program = next((path for path in (prefix / "bin" / name, prefix / "bin" / "python3") if path.exists()), None)
    parts = [Path(base).resolve() / part for base in (prefix, sys.base_exec_prefix) for part in ("lib", "lib64")]
    needed = [path for path in dict.fromkeys(parts) if path.is_dir() and not path.is_relative_to("/usr")]
    return (program or Path(sys.executable)).resolve(), needed


def _bwrap(rung: Rung, work: Path, source: str) -> list[str]:
    """Only options that bubblewrap 0.4 has: enterprise systems ship it."""
    words = [rung.program, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    words += [
        "--unshare-cgroup-try",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--hostname",
        "sandbox",
    ]
    for folder in _SYSTEM:
        path = Path(folder)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), folder]
        elif path.is_dir():
            words += ["--ro-bind", folder, folder]
    python, needed = _interpreter()
    for path in [*needed, *([] if python.is_relative_to("/usr") else [python])]:
        words += ["--ro-bind", str(path), str(path)]
    for file in _FILES:
        words += ["--ro-bind-try", file, file]
    for device in _DEVICES:
        words += ["--dev-bind", device, device]
    words += ["--bind", str(work), WORK, "--remount-ro", "/", "--chdir", WORK]
    libraries = {"LD_LIBRARY_PATH": ":".join(map(str, needed))} if needed else {}
    for name, value in (ENVIRONMENT | libraries).items():
        words += ["--setenv", name, value]
    return [*words, "--", str(python), *_FLAGS, source]


def _apptainer(rung: Rung, work: Path, source: str) -> list[str]:
    words = [rung.program, "--silent", "exec", "--containall", "--no-home", "--cleanenv", "--no-privs", "--userns"]
    words += ["--net", "--network", "none", "--bind", f"{work}:{WORK}", "--pwd", WORK]
    kept = {"HOME", "PATH"}  # the image's own
    words += [part for name, value in ENVIRONMENT.items() if name not in kept for part in ("--env", f"{name}={value}")]
    return [*words, rung.image, "python3", *_FLAGS, source]


def uncovered(rung: Rung, hidden: Sequence[Path]) -> list[Path]:
    """Return those of ``hidden`` that would be readable inside: they lie below a folder that the interpreter needs."""
    mounted = [path.resolve() for path in rung.mounted() if path.exists()]
    return [path for path in hidden if any(path.resolve().is_relative_to(folder) for folder in mounted)]
