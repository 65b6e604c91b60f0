"""Read every split of a card as canonical rows, and refuse what would make a score worthless."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.options import Options
from hpc_trex.ftbench.readers import read_source
from hpc_trex.ftbench.render import Renderer, RowProblem
from hpc_trex.ftbench.rows import Row, identity_hash, item_hash
from hpc_trex.models import MetricSpec, Prompt, Source

#: Metrics whose references are one label each.
LABELLED = ("exact_match", "accuracy", "accuracy_norm", "macro_f1")
#: The metric whose references are several labels, or :data:`NO_LABEL`.
LABEL_SETS = "label_set_f1"
NO_LABEL = "none"
REMEDY = "remove it from the file, or let the overlap be dropped: --drop-overlap"


class Placed(NamedTuple):
    """A canonical row, the hashes of its prompt and of its identity, and the place it was read from."""

    row: Row
    keys: tuple[str, ...]
    where: str
    more: Mapping[str, Any] = MappingProxyType({})
    """Further keys of an evaluation row (``hpc_trex.ftbench.options``)."""


class Splits(NamedTuple):
    """The rows of a task; further keys of dev and test rows by row id; how many of each split stood in another one."""

    sources: dict[str, list[Row]]
    dev: list[Row]
    test: list[Row]
    dropped: dict[str, int]
    more: dict[str, Mapping[str, Any]]


def read_split(
    name: str, source: Source, render: Renderer, origin: Path, options: Options | None = None
) -> list[Placed]:
    """Return the rendered rows of one source, with ``options`` where they are for evaluation.

    Raises :class:`UsageProblem` for a bad row or when there is none.
    """
    placed = []
    if source.rendered:
        render = Renderer(Prompt(), str(origin), texts=options is None)
    for raw in read_source(source, origin):
        try:
            prompt, answer = render(raw.columns)
            identity = render.identity(raw.columns)
            more = options(raw.columns, answer) if options else {}
        except RowProblem as problem:
            raise UsageProblem(
                f"{raw.where}: {problem}", hint="mend the row, or the templates under [prompt] in the task card"
            ) from None
        keys = (item_hash(prompt), *([identity_hash(identity)] if identity else []))
        placed.append(Placed(Row(f"{name}:{raw.line}", prompt, answer, name), keys, raw.where, more))
    if not placed:
        raise UsageProblem(f"{origin}: {name} has no rows", hint="name a file or split that has rows")
    return placed


def separated(
    sources: dict[str, list[Placed]],
    dev: list[Placed],
    test: list[Placed],
    drop: bool,
    known: Collection[str] = (),
) -> Splits:
    """Return the splits without overlap: the test keeps its rows, then dev, then the training sources.

    Without ``drop`` the first row that stands in two of them is an error that names both places; not so in the splits
    that are ``known`` to overlap: ``dev``, ``test``, ``sources.NAME``.
    """
    dropped: dict[str, int] = {}
    seen: dict[str, str] = {}
    clean_test = _without_repeats("test", test, seen, drop or "test" in known, dropped)
    clean_dev = _without_repeats("dev", dev, seen, drop or "dev" in known, dropped)
    clean_sources = {
        name: _outside(name, rows, seen, drop or f"sources.{name}" in known, dropped) for name, rows in sources.items()
    }
    for name, rows in {**clean_sources, "dev": clean_dev, "test": clean_test}.items():
        if not rows:
            raise UsageProblem(f"{name}: every row stands in another split", hint="take its rows from another place")
    more = {placed.row.row_id: placed.more for placed in (*dev, *test) if placed.more}
    return Splits(clean_sources, clean_dev, clean_test, dropped, more)


def check_labels(metric: MetricSpec, dev: list[Placed], test: list[Placed]) -> None:
    """Raise :class:`UsageProblem` for a dev or test answer that is none of the metric's labels.

    What an answer of a scorer of its own is made of (several labels, one in a sentence) is for that scorer to say.
    """
    if not metric.labels or metric.name not in (*LABELLED, LABEL_SETS):
        return
    for row, _, where, _ in (*dev, *test):
        if metric.name == LABEL_SETS:
            wrong = [one for one in row.answer.split("; ") if one not in metric.labels and row.answer != NO_LABEL]
        else:
            wrong = [] if row.answer in metric.labels else [row.answer]
        if wrong:
            raise UsageProblem(
                f"{where}: the answer {wrong[0]!r:.80} is none of metric.labels",
                hint=f"add it to metric.labels ({', '.join(metric.labels)}), or mend the row",
            )


def check_stops(metric: MetricSpec, dev: list[Placed], test: list[Placed]) -> None:
    """Raise :class:`UsageProblem` for a dev or test answer that no model can give, since it would be cut on the way."""
    if metric.mode == "choice" or metric.lm_eval is not None:
        return  # nothing is generated, or its own definition reads the answer
    for row, _, where, _ in (*dev, *test):
        stop = next((stop for stop in metric.stop if stop in row.answer), None)
        if stop is not None:
            raise UsageProblem(
                f"{where}: the answer {row.answer!r:.80} holds the stop string {stop!r}, at which answers are cut",
                hint="set metric.stop in the task card to strings that no answer holds, or to []",
            )


def _without_repeats(
    name: str, rows: list[Placed], seen: dict[str, str], drop: bool, dropped: dict[str, int]
) -> list[Row]:
    """Return the rows of an evaluation split whose prompts are new, and note them in ``seen``."""
    kept = []
    for placed in rows:
        if any(key in seen for key in placed.keys):
            _refuse_or_count(name, placed, seen, drop, dropped)
        else:
            seen |= dict.fromkeys(placed.keys, f"{name} ({placed.where})")
            kept.append(placed.row)
    return kept


def _outside(name: str, rows: list[Placed], seen: dict[str, str], drop: bool, dropped: dict[str, int]) -> list[Row]:
    """Return the rows of a training source whose prompts stand in no evaluation split. Its own copies may stay."""
    kept = []
    for placed in rows:
        if any(key in seen for key in placed.keys):
            _refuse_or_count(name, placed, seen, drop, dropped)
        else:
            kept.append(placed.row)
    return kept


def _refuse_or_count(name: str, placed: Placed, seen: dict[str, str], drop: bool, dropped: dict[str, int]) -> None:
    if not drop:
        where = next(seen[key] for key in placed.keys if key in seen)
        raise UsageProblem(
            f"{placed.where}: row {placed.row.row_id} has a prompt that also stands in {where}", hint=REMEDY
        )
    dropped[name] = dropped.get(name, 0) + 1
