"""The program that runs inside the sandbox. It is handed over as text, so it may use nothing but the standard library.

One JSON line comes in with the code and the limits, then one line a row; one line goes out for each row. Before the
code is looked at, this process gives up what the code shall not have: memory, files beyond a size, other processes,
sockets. None of that can be taken back, so the code may do with this interpreter what it likes.
"""

from __future__ import annotations

import builtins
import ctypes
import json
import linecache
import os
import platform
import random
import resource
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

NAME = "<python step>"
_TRACE_CHARS = 1500
#: Address space for the interpreter itself and its libraries.
_ROOM = 256 * 2**20
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38

#: System calls that are refused, by machine: its audit number, then what makes processes and threads, opens sockets,
#: makes memory that no limit counts or name spaces, traces, or reaches parts of the kernel that have had holes. ``clone3`` must say ENOSYS: a C library asks
#: for it first. ``x32`` numbers are refused with all others above the bit.
_REFUSED: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "x86_64": (
        0xC000003E,
        435,
        (
            29, 319, 41, 53, 56, 57, 58, 101, 155, 161, 165, 166, 175, 246, 248, 249, 250, 272, 298, 308, 310, 311, 313, 320, 321, 323,
            425, 426, 427, 428, 429, 430, 431, 432, 442,
        ),
    ),
    "aarch64": (
        0xC00000B7,
        435,
        (
            194, 279, 198, 199, 220, 39, 40, 41, 51, 97, 104, 105, 117, 217, 218, 219, 241, 268, 270, 271, 273, 280, 282, 294,
            425, 426, 427, 428, 429, 430, 431, 432, 442,
        ),
    ),
}  # fmt: skip


def main() -> None:
    """Take the order, run the code over the rows, answer, and leave without any handler of the code's."""
    rows = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what the code prints goes where errors go
    order = json.loads(rows.readline())
    walls = _give_up(order)
    _say(answers, {"ready": walls})
    failed = _work(order, rows, answers)
    if not failed:
        _say(answers, {"done": True})
    os._exit(0)


def _work(order: dict[str, Any], rows: BinaryIO, answers: BinaryIO) -> bool:
    """Answer row by row up to the first that fails; tell whether one did."""
    code = order["code"]
    linecache.cache[NAME] = (len(code), None, code.splitlines(keepends=True), NAME)
    random.seed(order["seed"])
    try:
        transform = _defined(code)
    except BaseException as error:  # noqa: BLE001 - the code may raise what it likes
        _say(answers, {"error": _described(error), "trace": _trace(error)})
        return True
    for line in rows:
        try:
            # Strings keep what they hold, half surrogate pairs too: whoever reads this judges them.
            text = json.dumps({"answer": transform(json.loads(line))}, ensure_ascii=False)
            encoded = text.encode("utf-8", "surrogatepass")
        except BaseException as error:  # noqa: BLE001
            _say(answers, {"error": _described(error), "trace": _trace(error), "row": True})
            return True
        answers.write(encoded + b"\n")
        answers.flush()
    return False


def _defined(code: str) -> Callable[[dict[str, str]], object]:
    names: dict[str, Any] = {"__name__": "python_step", "__builtins__": builtins}
    exec(compile(code, NAME, "exec"), names)  # noqa: S102 - this is what the sandbox is for
    transform = names.get("transform")
    if not callable(transform):
        raise TypeError("the code defines no function transform(row)")
    return transform  # type: ignore[no-any-return]


def _say(answers: BinaryIO, message: dict[str, object]) -> None:
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()


def _described(error: BaseException) -> str:
    try:
        text = str(error)[:500]
    except BaseException:  # noqa: BLE001 - even its text is the code's
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _trace(error: BaseException) -> str:
    """Return the end of the traceback, without the frames of this program."""
    try:
        frame = error.__traceback__
        while frame is not None and frame.tb_frame.f_code.co_filename != NAME:
            frame = frame.tb_next
        return "".join(traceback.format_exception(type(error), error, frame, limit=-4))[-_TRACE_CHARS:]
    except BaseException:  # noqa: BLE001
        return ""


def _give_up(order: dict[str, Any]) -> dict[str, bool]:
    """Set all limits and close the doors; return which of the second kind held."""
    for what, most in (
        (resource.RLIMIT_DATA, order["memory_bytes"]),
        (resource.RLIMIT_AS, order["memory_bytes"] + _ROOM),  # shared mappings too; no library here reserves space
        (resource.RLIMIT_STACK, 64 * 2**20),
        (resource.RLIMIT_FSIZE, order["file_bytes"]),
        (resource.RLIMIT_CPU, order["seconds"] + 1),
        (resource.RLIMIT_NPROC, 1),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (limit, limit))
    return {"calls": _refuse_calls()}


def _refuse_calls() -> bool:
    """Have the kernel refuse system calls of no use to a function over rows; False where it cannot."""
    known = _REFUSED.get(platform.machine())
    if known is None or sys.maxsize < 2**32:
        return False
    machine, clone3, refused = known
    program = _filter(machine, clone3, refused)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        code = ctypes.create_string_buffer(program, len(program))
        head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
        no_new_privileges: int = libc.prctl(38, 1, 0, 0, 0)
        set_filter: int = libc.prctl(22, 2, ctypes.c_char_p(head), 0, 0)
    except (OSError, AttributeError):
        return False
    return no_new_privileges == 0 and set_filter == 0


def _filter(machine: int, clone3: int, refused: tuple[int, ...]) -> bytes:
    """Return the BPF program: another machine's calls and those of the list are refused, the others pass."""
    load, equal, greater, give = 0x20, 0x15, 0x35, 0x06
    steps = [(load, 0, 0, 4), (equal, 1, 0, machine), (give, 0, 0, _ERRNO | _EPERM), (load, 0, 0, 0)]
    steps += [(greater, 0, 1, 0x40000000), (give, 0, 0, _ERRNO | _EPERM)]
    for number in refused:
        steps += [(equal, 0, 1, number), (give, 0, 0, _ERRNO | _EPERM)]
    steps += [(equal, 0, 1, clone3), (give, 0, 0, _ERRNO | _ENOSYS), (give, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


if __name__ == "__main__":
    main()
