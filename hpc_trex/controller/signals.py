"""Signals that ask a controller to make way: they end the watching and give the lease back, never a job."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Ended(BaseException):
    """A signal other than Ctrl-C asked the controller to end. Not an Exception: nothing on the way may keep it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


#: USR1 is what a controller job is warned with before its time limit.
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Turn SIGTERM, SIGHUP and SIGUSR1 into :class:`Ended`, so that the lease is given back."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise Ended(number)

    old = {number: signal.signal(number, end) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
