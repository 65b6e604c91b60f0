"""The log of a job: plain lines on its standard output or error, which the scheduler keeps."""

from __future__ import annotations

import sys


def say(text: str, *, error: bool = False) -> None:
    """Print a line at once; a log that cannot be written (full disk, closed pipe) ends nothing."""
    try:
        print(text, file=sys.stderr if error else sys.stdout, flush=True)
    except OSError:
        return
