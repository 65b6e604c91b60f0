"""One run of code over rows in a sandbox: fed and read without ever waiting, watched, and always brought to its end."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from hpc_trex.sandbox.errors import CodeFailed, SandboxMissing
from hpc_trex.sandbox.rungs import Rung, uncovered
from hpc_trex.sandbox.watch import Watch

_CHUNK = 65536
_LOOK_SECONDS = 0.1
_TAIL_BYTES = 4096
_ERROR_CHARS, _TRACE_CHARS = 600, 1500
#: Time to end by itself after the last answer.
_LAST_SECONDS = 2.0


class Limits(NamedTuple):
    """What a run may use at most."""

    seconds: float = 120
    memory_bytes: int = 2**30
    output_bytes: int = 2**28
    """Of its answers, and again of what it prints."""
    output_rows: int = 1_000_000
    file_bytes: int = 2**26
    """Of one file; of all together ``folder_bytes``."""
    folder_bytes: int = 2**28
    processes: int = 8
    """Of the sandbox's own, too."""


class Ran(NamedTuple):
    """What came of a run."""

    answers: list[object]
    """What the code returned for each row, as JSON gives it back; nothing in it is checked yet."""
    seconds: float
    walls: dict[str, bool]
    """Which of the walls that not every kernel has held: ``calls``, the filter of system calls."""


def run(
    code: str,
    rows: Sequence[Mapping[str, str]],
    limits: Limits,
    rung: Rung,
    *,
    seed: int = 0,
    hidden: Sequence[Path] = (),
    tick: Callable[[int], None] = lambda _: None,
) -> Ran:
    """Call the code's ``transform`` on every row, in order, and return what it returned.

    ``hidden``: paths that must not be readable inside; ``tick`` is called now and then with the number of answers.
    Raises :class:`CodeFailed` with the number of the row, :class:`SandboxMissing` when the sandbox does not start.
    """
    seen = uncovered(rung, [*hidden, Path(os.path.expanduser("~"))])  # noqa: PTH111 - Path.home() raises without one
    if seen:
        raise SandboxMissing(
            f"{seen[0]} would be readable in the sandbox: it lies inside the folders of the system or of Python",
            hint="put it elsewhere (searches: export HPC_TREX_HOME=FOLDER)",
        )
    work = Path(tempfile.mkdtemp(prefix="hpc-trex-python-"))
    try:
        with _Session(code, rows, limits, rung, seed, work) as session:
            return session.finish(tick)
    finally:
        _remove(work)


def program() -> str:
    """Return the text of the program that runs inside."""
    return Path(__file__).with_name("inside.py").read_text(encoding="utf-8")


class _Session:
    """The process, its three pipes and what has come out of them."""

    def __init__(
        self, code: str, rows: Sequence[Mapping[str, str]], limits: Limits, rung: Rung, seed: int, work: Path
    ) -> None:
        self._rows, self._limits, self._rung, self._work = rows, limits, rung, work
        order = {"code": code, "seed": seed, "memory_bytes": limits.memory_bytes, "file_bytes": limits.file_bytes}
        order["seconds"] = int(limits.seconds)
        self._out = bytearray(json.dumps(order).encode() + b"\n")
        self._sent = 0
        self._line = bytearray()
        self._tail = b""
        self._printed = self._read = self._made = 0
        self._answers: list[object] = []
        self._ready: dict[str, bool] | None = None
        self._done = False
        self._began = time.monotonic()

    def __enter__(self) -> _Session:
        source = program()
        try:
            # The launcher itself gets no variable of ours either: it has none to leak.
            self._process = subprocess.Popen(
                self._rung.command(self._work, source),
                env={"PATH": os.environ.get("PATH", os.defpath)},
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxMissing(f"{self._rung.means} cannot be started: {error}") from error
        self._watch = Watch(self._process.pid, self._work, self._limits)
        self._selector = selectors.DefaultSelector()
        for pipe, event in (
            (self._process.stdin, selectors.EVENT_WRITE),
            (self._process.stdout, selectors.EVENT_READ),
            (self._process.stderr, selectors.EVENT_READ),
        ):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, event)
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()

    def finish(self, tick: Callable[[int], None]) -> Ran:
        """Feed and read to the end. Raises where it is a bad one."""
        look = self._began
        while self._selector.get_map():
            now = time.monotonic()
            if now - self._began > self._limits.seconds:
                raise self._failed(f"ran longer than {self._limits.seconds:g} s")
            if now >= look:
                trouble = self._watch.trouble()
                if trouble:
                    raise self._failed(trouble)
                tick(len(self._answers))
                look = time.monotonic() + _LOOK_SECONDS
            for key, _ in self._selector.select(_LOOK_SECONDS):
                assert not isinstance(key.fileobj, int)
                self._move(key.fileobj)  # type: ignore[arg-type]
            if self._done:
                break
        if not self._done or len(self._answers) != len(self._rows):
            raise self._ended()
        return Ran(self._answers, time.monotonic() - self._began, self._ready or {})

    def _move(self, pipe: IO[bytes]) -> None:
        if pipe is self._process.stdin:
            self._feed(pipe)
            return
        try:
            data = os.read(pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(pipe)
            if pipe is self._process.stdout:  # nothing more can come: do not wait for the others
                self._close_input()
        elif pipe is self._process.stdout:
            self._take(data)
        else:
            self._printed += len(data)
            self._tail = (self._tail + data)[-_TAIL_BYTES:]
            if self._printed > self._limits.output_bytes:
                raise self._failed(f"printed more than {_size(self._limits.output_bytes)}")

    def _feed(self, pipe: IO[bytes]) -> None:
        while len(self._out) < _CHUNK and self._sent < len(self._rows):
            self._out += json.dumps(dict(self._rows[self._sent])).encode() + b"\n"
            self._sent += 1
        if not self._out:
            self._close_input()
            return
        try:
            gone = os.write(pipe.fileno(), self._out[:_CHUNK])
        except BlockingIOError:
            return
        except BrokenPipeError:  # it has ended; its output says why
            self._close_input()
            return
        del self._out[:gone]

    def _close_input(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with suppress(KeyError, ValueError):  # closed before
            self._selector.unregister(pipe)
        with suppress(OSError):
            pipe.close()

    def _take(self, data: bytes) -> None:
        """Take a piece of the answers: whole lines are read, and their size is counted before."""
        self._read += len(data)
        if self._read > self._limits.output_bytes:
            raise self._failed(f"returned more than {_size(self._limits.output_bytes)}")
        self._line += data
        if b"\n" not in data:
            return
        *lines, self._line = self._line.split(b"\n")
        for line in lines:
            self._hear(line)

    def _hear(self, line: bytes | bytearray) -> None:
        try:
            message = json.loads(line.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):
            raise self._failed("gave an answer that cannot be read") from None
        if not isinstance(message, dict) or self._done:
            raise self._failed("gave an answer that cannot be read")
        if self._ready is None:
            walls = message.get("ready")
            self._ready = walls if isinstance(walls, dict) else {}
        elif "error" in message:
            trace = str(message.get("trace", "")).strip()[-_TRACE_CHARS:]
            raise self._failed(
                str(message["error"])[:_ERROR_CHARS], f"\n{trace}" if trace else "", row="row" in message
            )
        elif "done" in message:
            self._done = True
        elif len(self._answers) < len(self._rows):
            answer = message.get("answer")
            self._made += len(answer) if isinstance(answer, list) else answer is not None
            if self._made > self._limits.output_rows:
                raise self._failed(f"returned more than {self._limits.output_rows} rows")
            self._answers.append(answer)

    def _where(self) -> str:
        place = len(self._answers)
        if place >= len(self._rows):
            return "after the last row"
        return f"row {place + 1} of {len(self._rows)} ({self._rows[place].get('row_id', '?')})"

    def _failed(self, what: str, more: str = "", *, row: bool = True) -> CodeFailed:
        return CodeFailed(f"{self._where() if row else 'before the first row'}: {what}{more}")

    def _ended(self) -> CodeFailed | SandboxMissing:
        """Say how it ended without having answered everything."""
        try:
            code = self._process.wait(_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            return self._failed("stopped answering")
        tail = self._tail.decode(errors="replace").strip()
        last = f": {tail.splitlines()[-1][:300]}" if tail else ""
        if self._ready is None:
            return SandboxMissing(f"{self._rung.means} does not start here (exit code {code}){last}")
        number = -code if code < 0 else code - 128
        if number in {int(one) for one in signal.Signals}:
            name = signal.Signals(number).name
            return self._failed(f"was killed by {name} (a crash, a limit, or its own doing){last}")
        return self._failed(f"ended with exit code {code} before its last answer{last}")

    def _kill(self) -> None:
        """End the launcher and all in its group: the first process of the name space takes the rest with it."""
        self._watch.kill()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)


def _size(count: int) -> str:
    return f"{count / 2**20:g} MB"


def _remove(folder: Path) -> None:
    """Remove the work folder, folders that the code has locked too."""

    def unlocked(function: Callable[[str], object], path: str, _: object) -> None:
        with suppress(OSError):
            os.chmod(Path(path).parent, 0o700)  # noqa: PTH101
            if not Path(path).is_symlink():
                os.chmod(path, 0o700)  # noqa: PTH101
            if Path(path).is_dir() and not Path(path).is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                function(path)

    shutil.rmtree(folder, onerror=unlocked)
    shutil.rmtree(folder, ignore_errors=True)
