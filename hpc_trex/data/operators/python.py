"""The operator that runs an agent's code over rows. The code runs in a sandbox; what comes out of it is checked here."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators.base import COLUMNS, EXAMPLES, Context, Drop, Outcome, column, from_rows
from hpc_trex.ftbench.rows import Row
from hpc_trex.models.operators import Python
from hpc_trex.sandbox import CodeFailed, Limits, Ran, SandboxMissing, choose, run

if TYPE_CHECKING:
    from datasets import Dataset

#: A row longer than this in one of its texts (characters) is no training row of any card.
LONGEST_TEXT = 1_000_000
_KINDS = {"NoneType": "null", "dict": "an object", "list": "a list", "bool": "true or false", "int": "a number", "float": "a number"}  # fmt: skip


def python(step: Python, data: Dataset, context: Context) -> Outcome:
    """Run the code over the rows. Raises :class:`DataProblem` naming row and column, ``SandboxMissing`` where there is none."""
    if not context.sandbox.allowed:
        raise SandboxMissing(
            "the profile does not allow code of agents, so the python step is not run",
            hint="agent_code = true in the profile allows it",
        )
    rung = choose(context.sandbox.means, context.sandbox.image)
    rows = [Row(*values) for values in zip(*(column(data, name) for name in COLUMNS), strict=True)]
    ran = _ran(step, rows, context, rung)
    made, lost = _made(step, rows, ran.answers)
    drops = (Drop("the code returned none", len(lost), tuple(lost[:EXAMPLES])),) if lost else ()
    notes: dict[str, object] = {
        "code_sha256": code_digest(step.code),
        "sandbox": rung.means,
        "calls_filtered": ran.walls.get("calls", False),
        "seconds": round(ran.seconds, 3),
    }
    return Outcome(from_rows(made), drops, notes=notes)


def code_digest(code: str) -> str:
    """Return the SHA-256 of a step's code."""
    return hashlib.sha256(code.encode()).hexdigest()


def _ran(step: Python, rows: list[Row], context: Context, rung: Any) -> Ran:
    limits = Limits(
        seconds=step.seconds,
        memory_bytes=int(step.memory_gb * 2**30),
        output_bytes=step.max_output_mb * 2**20,
        output_rows=step.max_output_rows,
    )
    told = 0.0

    def tick(answered: int) -> None:
        nonlocal told
        if time.monotonic() - told > 1:  # the heartbeat is a file: the sandbox looks more often
            context.tick(f"row {answered} of {len(rows)}")
            told = time.monotonic()

    try:
        return run(
            step.code,
            [row._asdict() for row in rows],
            limits,
            rung,
            seed=context.seed,
            hidden=context.hidden,
            tick=tick,
        )
    except CodeFailed as error:
        raise DataProblem(f"python: {error.message}", hint=error.hint) from None


def _made(step: Python, rows: list[Row], answers: list[object]) -> tuple[list[Row], list[str]]:
    """Return the rows after the step, and the ids of those it took out."""
    made: list[Row] = []
    lost: list[str] = []
    taken = {row.row_id for row in rows}
    for place, (row, answer) in enumerate(zip(rows, answers, strict=True), start=1):
        where = f"python: row {place} of {len(rows)} ({row.row_id})"
        new = _kept(row, answer, where) if step.mode == "filter" else _mapped(row, answer, where, taken)
        made += new
        if not new:
            lost.append(row.row_id)
    return made, lost


def _kept(row: Row, answer: object, where: str) -> list[Row]:
    if answer is True or isinstance(answer, dict):
        return [row]
    if answer is False or answer is None:
        return []
    raise DataProblem(f"{where}: a filter returns the row, True, False or None, not {_kind(answer)}", hint="mode = map")


def _mapped(row: Row, answer: object, where: str, taken: set[str]) -> list[Row]:
    """Return the rows that the answer stands for. The first keeps the row's id, further ones get ``row_id#k``."""
    if answer is None:
        return []
    given = answer if isinstance(answer, list) else [answer]
    made = []
    number = 1
    for place, one in enumerate(given):
        told = f"{where}, part {place + 1}" if len(given) > 1 else where
        if not isinstance(one, dict):
            raise DataProblem(
                f"{told}: the code returned {_kind(one)}, not a row", hint="return a dict, a list of them or None"
            )
        name = row.row_id
        if place:
            while f"{row.row_id}#{number}" in taken:
                number += 1
            name = f"{row.row_id}#{number}"
            taken.add(name)
        made.append(_checked(one, row, name, told))
    return made


def _checked(one: dict[str, Any], row: Row, name: str, where: str) -> Row:
    """Return the answer as a row. Raises :class:`DataProblem` naming the column that is wrong."""
    for unknown in sorted(set(one) - set(COLUMNS)):
        raise DataProblem(f"{where}: unknown column {unknown[:80]!r}", hint=f"columns: {', '.join(COLUMNS)}")
    for fixed in ("source", "row_id"):
        if one.get(fixed, getattr(row, fixed)) != getattr(row, fixed):
            raise DataProblem(
                f"{where}: column {fixed} was changed", hint="leave it out, or as it is: it tells where the row is from"
            )
    return row._replace(row_id=name, prompt=_text(one, "prompt", where), answer=_text(one, "answer", where))


def _text(one: dict[str, Any], name: str, where: str) -> str:
    if name not in one:
        raise DataProblem(f"{where}: column {name} is missing", hint="return {**row, ...}")
    text = one[name]
    if not isinstance(text, str):
        raise DataProblem(f"{where}: column {name} is {_kind(text)}, not text", hint=f"str(...) of {name}")
    if len(text) > LONGEST_TEXT:
        raise DataProblem(
            f"{where}: column {name} has {len(text)} characters; at most {LONGEST_TEXT} can be trained on"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataProblem(f"{where}: column {name} holds half of a surrogate pair, which is no text") from None
    return text


def _kind(value: object) -> str:
    return _KINDS.get(type(value).__name__, "text")
