"""What the report reads from the folders of the jobs: loss curves, ends of logs, bad cases. All of it may be missing."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hpc_trex.errors import EnvironmentProblem
from hpc_trex.files import read_record
from hpc_trex.layout import AttemptPaths, SearchPaths
from hpc_trex.models import AttemptState, AttemptView, JobResult, LossPoint
from hpc_trex.report.packed import packed
from hpc_trex.samples import read_samples

TAIL_BYTES = 6_000
TAIL_LINES = 40
CURVE_POINTS = 80
BAD_CASES = 6
CASE_CHARS = 400

#: Terminal colours and cursor moves (ECMA-48), and the other control characters that mean nothing on a page.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def log_tail(path: Path) -> str:
    """Return the last lines of a log as a terminal would show them; empty when there is no log.

    Progress bars rewrite their line with a carriage return: only the last writing of a line is kept.
    """
    try:
        with path.open("rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - TAIL_BYTES))
            raw = handle.read()
    except FileNotFoundError:
        return ""
    return shown(raw)


def shown(raw: bytes) -> str:
    """Return the last lines of some output as a terminal would show them."""
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in raw.decode(errors="replace").split("\n")]
    return _ESCAPES.sub("", "\n".join(lines[-TAIL_LINES:])).strip("\n")


def _log(search: SearchPaths, attempt: AttemptView, path: Path) -> str:
    """Return the end of a log, from the round's archive where ``gc`` has packed it."""
    if path.exists():
        return log_tail(path)
    raw = packed(search, attempt.node, path)
    return "" if raw is None else shown(raw[-TAIL_BYTES:])


def thin(curve: Sequence[LossPoint]) -> list[list[float]]:
    """Return at most :data:`CURVE_POINTS` of the points as [step, loss], first and last included."""
    last = len(curve) - 1
    if last >= CURVE_POINTS:
        wanted = sorted({round(i * last / (CURVE_POINTS - 1)) for i in range(CURVE_POINTS)})
        curve = [curve[i] for i in wanted]
    return [[point.step, float(f"{point.loss:.5g}")] for point in curve]


def bad_cases(path: Path) -> list[dict[str, Any]]:
    """Return the first few wrong answers of a ``samples.jsonl``, long texts cut; empty when there is none to read."""
    try:
        wrong = list(islice((row for row in read_samples(path) if row.score < 1), BAD_CASES))
    except FileNotFoundError:
        return []
    except EnvironmentProblem as problem:
        return [{"prompt": problem.message, "answer": "", "reference": "", "score": 0.0, "flags": ["unreadable"]}]
    return [
        {
            "prompt": shorten(row.prompt),
            "answer": shorten(row.answer),
            "reference": shorten(row.reference),
            "score": row.score,
            "flags": list(row.flags),
        }
        for row in wrong
    ]


def shorten(text: str) -> str:
    """Return the text, its middle left out when it is long."""
    if len(text) <= CASE_CHARS:
        return text
    half = CASE_CHARS // 2
    return f"{text[:half]} […] {text[-half:]}"


def of_attempt(search: SearchPaths, attempt: AttemptView, *, with_logs: bool) -> dict[str, Any]:
    """Return the curve, the log ends and the bad cases of one job.

    Logs are left out unless asked for (``with_logs``) or the job failed: in a search of hundreds of rounds they
    would be most of the page.
    """
    if not attempt.directory:
        return {"curve": [], "stdout": "", "stderr": "", "bad": []}
    paths = AttemptPaths(search.root / attempt.directory)
    result = read_record(paths.result, JobResult)
    wanted = with_logs or attempt.state is AttemptState.FAILED
    return {
        "curve": thin(result.curve) if result else [],
        "stdout": _log(search, attempt, paths.stdout) if wanted else "",
        "stderr": _log(search, attempt, paths.stderr) if wanted else "",
        "bad": bad_cases(paths.samples) if attempt.state is AttemptState.SUCCEEDED else [],
    }
