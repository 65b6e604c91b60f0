"""Make optional packages look absent while another one is imported, which would load them only because they are there."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def absent(*names: str) -> Iterator[None]:
    """Hide modules for a moment; those that are loaded already stay."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None is Python's own mark of "not there"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
