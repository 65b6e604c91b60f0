"""A door that nobody in a sandbox may reach: a socket on the loopback that accepts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def listening() -> Iterator[int]:
    """Listen on a free port of 127.0.0.1 and yield it. The kernel accepts by itself; nobody answers."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        yield int(door.getsockname()[1])
