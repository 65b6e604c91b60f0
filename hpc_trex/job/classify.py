"""From an exception in a job to its failure class and a message for a person. Imports no torch."""

from __future__ import annotations

import errno

from hpc_trex.errors import EnvironmentProblem, TrexError
from hpc_trex.files import DISK_ERRORS
from hpc_trex.models import FailureClass

_MEMORY_SIGNS = ("out of memory", "can't allocate", "cannot allocate memory")
_OOM_HINT = "lower micro_batch_size or max_seq_len, or turn gradient_checkpointing on"


def classify(error: BaseException) -> tuple[FailureClass, str]:
    """Return the class of a job's failure and what to tell. An error that carries ``failure`` knows best."""
    failure = getattr(error, "failure", None)
    text = _text(error)
    if isinstance(failure, FailureClass):
        return failure, text
    if _is_memory(error):
        return FailureClass.OOM, f"out of memory: {text}; {_OOM_HINT}"
    if isinstance(error, TrexError) and not isinstance(error, EnvironmentProblem):
        return FailureClass.CONFIG, text
    return FailureClass.ENVIRONMENT, _environment_text(error, text)


def _environment_text(error: BaseException, text: str) -> str:
    if isinstance(error, TrexError):
        return text
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return f"cannot write {error.filename or 'a file'}: {error.strerror}; make room"
    if isinstance(error, ImportError):
        return f"a package is missing or broken: {text}"
    return f"{type(error).__name__}: {text}"


def _is_memory(error: BaseException) -> bool:
    """``torch.OutOfMemoryError`` by its name, the CPU allocator's ``RuntimeError`` by its text."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _MEMORY_SIGNS)


def _text(error: BaseException) -> str:
    first = str(error).strip() or type(error).__name__
    hint = getattr(error, "hint", "")
    return f"{first}; {hint}" if hint else first
