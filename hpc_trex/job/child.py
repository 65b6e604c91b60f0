"""The worker process, or the launcher above several: started, listened to, and ended with all that it started."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

import psutil

from hpc_trex.job.memory import tree_gb
from hpc_trex.job.signals import ignore_all

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TAIL_BYTES = 16384


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (Linux; elsewhere nothing is done)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parents end, so that none can be lost from sight."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    with suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _before_exec() -> None:
    ignore_all()
    die_with_parent()


class Child:
    """One child process in a process group of its own. What it prints goes on to our own output, and the last of it
    is kept for the result's message.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        adopt_orphans()
        # preexec_fn is safe here: the supervisor has one thread.
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            preexec_fn=_before_exec,  # noqa: PLW1509
        )
        self._tail: deque[bytes] = deque(maxlen=256)
        self._selector = selectors.DefaultSelector()
        for pipe, own in ((self._process.stdout, 1), (self._process.stderr, 2)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, own)
        self._handle = psutil.Process(self._process.pid)
        self.peak_gb = 0.0

    def listen(self, seconds: float) -> None:
        """Pass on what the child prints for up to ``seconds``; returns early when something came or it closed."""
        if not self._selector.get_map():
            time.sleep(seconds if self.exit_code() is None else 0)
            return
        for key, _ in self._selector.select(seconds):
            assert not isinstance(key.fileobj, int)
            self._pass_on(key.fileobj, key.data)  # type: ignore[arg-type]

    def _pass_on(self, pipe: IO[bytes], own: int) -> None:
        try:
            data = os.read(pipe.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(pipe)
            return
        self._tail.append(data[-_TAIL_BYTES:])
        with suppress(OSError):  # our own log is gone or its disk is full: the work goes on
            os.write(own, data)

    def exit_code(self) -> int | None:
        """Return the exit code (negative: the signal that ended it), None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask the child itself to end."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def sample_memory(self) -> None:
        """Look at the memory of the child and all below it."""
        with suppress(psutil.Error):  # it ended meanwhile
            self.peak_gb = max(self.peak_gb, tree_gb(self._handle))

    def dump_stacks(self, *, seconds: float = 1.0) -> None:
        """Have the workers below print where they stand (SIGQUIT, which faulthandler answers), and pass that on."""
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it ended meanwhile
                if "hpc_trex.job.worker" in process.cmdline():
                    process.send_signal(signal.SIGQUIT)
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._selector.get_map():
            self.listen(0.1)

    def end(self) -> int:
        """Kill whatever is left below this process, read the rest of the output, and return the exit code.

        A process that even SIGKILL cannot end (it waits for a dead file system) is given up after half a minute.
        """
        for _ in range(6):
            left = psutil.Process().children(recursive=True)
            if not left:
                break
            for process in left:
                with suppress(psutil.Error):  # it ended meanwhile
                    process.kill()
            # psutil must not wait for the child itself: it would take the exit code away.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            psutil.wait_procs([process for process in left if process.pid != self._process.pid], timeout=5)
        code = self._process.poll()
        for _ in range(1024):  # the pipes are closed now: read to their ends
            if not self._selector.get_map():
                break
            self.listen(0)
        self._selector.close()
        return -signal.SIGKILL if code is None else code

    def last_lines(self, count: int = 12) -> list[str]:
        """Return the last non-empty lines that the child printed."""
        text = b"".join(self._tail).decode(errors="replace")
        return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
