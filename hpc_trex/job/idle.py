"""A job that holds GPUs and does not use them: sites kill such jobs, and suspend who sends them (notes of hpc-peers).

``nvidia-smi`` is asked now and then, beside the loop and never waited for. Where it is missing, fails, or tells no number
(MIG), the guard says so once and rests: no number is not zero.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

from hpc_trex.models import JobSpec
from hpc_trex.training.say import say

QUERY = ("nvidia-smi", "--query-gpu=index,uuid,utilization.gpu", "--format=csv,noheader,nounits")
#: Seconds between two questions; a short limit (in tests) is asked four times.
EVERY_SECONDS = 30.0
#: An ``nvidia-smi`` that says nothing for so long is given up.
PATIENCE_SECONDS = 20.0


def usage(text: str, visible: str | None) -> list[float]:
    """Return the utilisation, in percent, of the GPUs in ``visible`` (CUDA_VISIBLE_DEVICES; None: all that are shown).

    Empty where it is not told for each of them. In a job with its own device cgroup only its GPUs are shown, and are
    numbered anew.
    """
    shown: dict[str, float | None] = {}
    names: dict[str, str] = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3:
            with suppress(ValueError):
                shown[parts[0]] = None
                names |= {parts[0]: parts[0], parts[1]: parts[0]}
                shown[parts[0]] = float(parts[2])
    wanted = shown.keys() if not visible else {names.get(part.strip(), "") for part in visible.split(",")}
    found = [shown.get(index) for index in wanted]
    if any(value is None for value in found):
        return []
    return [value for value in found if value is not None]


class IdleClock:
    """How long all GPUs of a job have been idle. Pure: times and numbers come in as values."""

    def __init__(self, seconds: float, percent: float, now: float) -> None:
        self._seconds = seconds
        self._percent = percent
        self._since: float | None = now
        self.highest = 0.0

    def note(self, percents: list[float], now: float) -> None:
        """Take a sample; one without numbers tells nothing, so the clock starts anew."""
        busy = not percents or max(percents) >= self._percent
        if busy:
            self._since, self.highest = None, 0.0
            return
        self.highest = max(self.highest, *percents)
        if self._since is None:
            self._since = now

    def verdict(self, now: float) -> str:
        """Return in a sentence that the job is idle; empty while it is not."""
        if self._since is None or now - self._since < self._seconds:
            return ""
        minutes = (now - self._since) / 60
        return (
            f"the job used no GPU: all of its GPUs stood below {self._percent:g} % for {minutes:.1f} minutes "
            f"(highest {self.highest:g} %), so it was ended; idle_gpu_minutes of the profile sets the limit"
        )


class IdleGuard:
    """Asks ``nvidia-smi`` and keeps the clock of one job."""

    def __init__(self, spec: JobSpec, environment: Mapping[str, str], now: float) -> None:
        self._on = spec.idle_gpu_seconds > 0 and spec.resources.gpus_per_node > 0
        self._clock = IdleClock(spec.idle_gpu_seconds, spec.idle_gpu_percent, now)
        self._every = min(EVERY_SECONDS, spec.idle_gpu_seconds / 4)
        self._visible = environment.get("CUDA_VISIBLE_DEVICES")
        self._asked = now
        self._process: subprocess.Popen[bytes] | None = None
        self._out: IO[bytes] | None = None

    def look(self, now: float) -> str:
        """Ask, or take the answer, where it is time to; return why the job is to be ended, or nothing."""
        if not self._on:
            return ""
        if self._process is not None:
            self._take(now)
        elif now - self._asked >= self._every:
            self._start(now)
        return self._clock.verdict(now) if self._on else ""

    def close(self) -> None:
        """Leave no ``nvidia-smi`` behind."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=2)

    def _start(self, now: float) -> None:
        self._asked = now
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - read when the process is over
        try:
            self._process = subprocess.Popen(
                QUERY, stdin=subprocess.DEVNULL, stdout=self._out, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            self._rest(f"nvidia-smi cannot be started ({error.strerror})")

    def _take(self, now: float) -> None:
        assert self._process is not None
        assert self._out is not None
        code = self._process.poll()
        if code is None and now - self._asked < PATIENCE_SECONDS:
            return
        if code is None:
            self.close()
            self._rest("nvidia-smi does not answer")
        elif code != 0:
            self._rest(f"nvidia-smi ended with {code}")
        else:
            self._out.seek(0)
            percents = usage(self._out.read().decode(errors="replace"), self._visible)
            if percents:
                self._clock.note(percents, now)
            else:
                self._rest("nvidia-smi tells no utilisation of this job's GPUs")
        self._process = None
        self._out.close()

    def _rest(self, why: str) -> None:
        self._on = False
        say(f"the guard against idle GPUs rests: {why}")
