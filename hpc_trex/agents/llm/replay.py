"""A search again from the recorded answers of another: the same questions are given the same answers, and nobody is asked."""

from __future__ import annotations

import shutil
from pathlib import Path

from hpc_trex.errors import NotFound
from hpc_trex.files import read_record, write_atomic, write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import LlmCall, LlmUsage

#: Stands in ``llm/`` of a search that asks nobody.
MARK = "replay.txt"


def is_replay(folder: Path) -> bool:
    """Tell whether a search, by its folder of calls, is given recorded answers only."""
    return (folder / MARK).exists()


def copy_answers(earlier: SearchPaths, paths: SearchPaths) -> None:
    """Copy the recorded answers of another search, without what they used: it is not paid again.

    Raises :class:`NotFound` where that search has none.
    """
    if not earlier.llm.is_dir():
        raise NotFound(
            f"search {earlier.root.name} has no recorded answers", hint="--replay a search of --researcher llm"
        )
    for source in sorted(path for path in earlier.llm.rglob("*") if path.is_file()):
        call = read_record(source, LlmCall)
        if call is not None and call.value is None:
            continue  # an attempt that came to nothing
        target = paths.llm / source.relative_to(earlier.llm)
        target.parent.mkdir(parents=True, exist_ok=True)
        if call is None:
            shutil.copyfile(source, target)
        else:
            write_record(target, call.model_copy(update={"usage": LlmUsage()}))
    write_atomic(
        paths.llm / MARK, f"the recorded answers of {earlier.root.name}; what it never answered the rules decide\n"
    )
