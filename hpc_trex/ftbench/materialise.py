"""Write a task into a search directory: canonical rows, the sealed test, the frozen card, the block list.

All or nothing: everything is written into a folder beside and renamed, the card's folder last. Layout:
``hpc_trex.layout.SearchPaths``.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.faults import reach
from hpc_trex.files import (
    DISK_ERRORS,
    GROUP_UMASK,
    disk_problem,
    sync_folder,
    umask_of,
    write_atomic,
    write_record,
)
from hpc_trex.ftbench.built import Built, at_hand
from hpc_trex.ftbench.cards import LoadedCard
from hpc_trex.ftbench.ngrams import NGRAM, telling_ngrams
from hpc_trex.ftbench.options import KEPT, Options
from hpc_trex.ftbench.render import Renderer
from hpc_trex.ftbench.rows import Row, item_hash
from hpc_trex.ftbench.similar import lines_of
from hpc_trex.ftbench.splits import Splits, check_labels, check_stops, read_split, separated
from hpc_trex.layout import SearchPaths
from hpc_trex.models import MetricSpec, TaskCard, digest

#: Beside a card that came from lm-eval: its definition.
LM_EVAL_FOLDER = "lm-eval"


class Materialised(NamedTuple):
    """What was written. ``dropped`` counts, by split, the rows that stood in another split too."""

    source_rows: dict[str, int]
    dev_rows: int
    test_rows: int
    card_digest: str
    dropped: dict[str, int]


def materialise(loaded: LoadedCard, paths: SearchPaths, *, drop_overlap: bool = False) -> Materialised:
    """Read every source of the card and write the task into the search directory ``paths``.

    Raises :class:`UsageProblem` for a bad row (with file and line), an empty split, a prompt that stands in two
    splits (unless ``drop_overlap``), an answer outside the metric's labels, or a directory that holds a task already;
    :class:`EnvironmentProblem` for a full disk, a missing package or no network. Nothing is left behind then.
    """
    if paths.card.parent.exists():
        raise UsageProblem(f"{paths.root} already holds a task", hint="start the search under another name")
    splits = read_card(loaded, drop_overlap=drop_overlap)
    fresh = not paths.root.exists()
    work = SearchPaths(paths.root / f".task-{secrets.token_hex(4)}")
    try:
        _write(loaded.card, splits, work)
        if loaded.card.metric.lm_eval is not None:
            _copy_definition(loaded, work)
        # A sealed test without its task is what a kill between the two renames leaves: written anew.
        shutil.rmtree(paths.test.parent, ignore_errors=True)
        reach("task/before")
        work.test.parent.rename(paths.test.parent)
        reach("task/sealed")
        work.card.parent.rename(paths.card.parent)
        reach("task/after")
        sync_folder(paths.root)
    except BaseException as error:
        shutil.rmtree(paths.root if fresh else work.root, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise disk_problem(error, paths.root) from error
        raise
    work.root.rmdir()
    return Materialised(
        source_rows={name: len(rows) for name, rows in splits.sources.items()},
        dev_rows=len(splits.dev),
        test_rows=len(splits.test),
        card_digest=digest(loaded.card),
        dropped=splits.dropped,
    )


def read_card(loaded: LoadedCard, *, drop_overlap: bool = False, built: Built | None = None) -> Splits:
    """Return the checked rows of every split of a card, without writing anything (see :func:`materialise`).

    ``built``: where its tables are, instead of where ``hpc-trex ftbench fetch`` has put them.
    """
    origin = loaded.origin
    card = at_hand(loaded, built)
    render = Renderer(card.prompt, str(origin))
    sources = {name: read_split(name, source, render, origin) for name, source in card.sources.items()}
    options = Options(card.metric, str(origin))
    dev = read_split("dev", card.dev, render, origin, options)
    test = read_split("test", card.test, render, origin, options)
    check_labels(card.metric, dev, test)
    check_stops(card.metric, dev, test)
    # Where upstream's own splits overlap nobody can mend the files: the fetch counts it, and those rows are left out.
    named = {f"sources.{name}": source for name, source in loaded.card.sources.items()}
    named |= {"dev": loaded.card.dev, "test": loaded.card.test}
    return separated(
        sources, dev, test, drop_overlap, {key for key, source in named.items() if source.table is not None}
    )


def _write(card: TaskCard, splits: Splits, work: SearchPaths) -> None:
    work.sources.mkdir(parents=True)
    for name, rows in splits.sources.items():
        write_atomic(work.sources / f"{name}.jsonl", _jsonl(rows))
    write_atomic(work.dev, _jsonl(splits.dev, splits.more))
    rows = [*splits.dev, *splits.test]
    kinds = [kind_of(splits.more.get(row.row_id, {}), card.metric) for row in rows]
    write_atomic(work.block, block_text(rows, kinds, similar=card.contamination.similar))
    write_record(work.card, card)
    shared = umask_of(work.root) == GROUP_UMASK  # whoever of the group goes on with the search runs its last job
    work.test.parent.mkdir(mode=0o770 if shared else 0o700)
    write_atomic(work.test, _jsonl(splits.test, splits.more), mode=0o660 if shared else 0o600)


def _copy_definition(loaded: LoadedCard, work: SearchPaths) -> None:
    """Copy what scores a task of lm-eval into the search, where its jobs look for it."""
    definition = loaded.origin.parent / LM_EVAL_FOLDER
    if not definition.is_dir():
        raise UsageProblem(
            f"{definition} is missing: it holds the definition of {loaded.card.name}",
            hint="a card of lm-eval is copied with its whole folder",
        )
    # Bytes only: what was staged is read-only, and a search is its user's own.
    shutil.copytree(definition, work.card.parent / LM_EVAL_FOLDER, copy_function=shutil.copyfile)


def kind_of(more: Mapping[str, Any], metric: MetricSpec) -> str:
    """Return the kind of a row of dev or test, of its further keys: what ``metric.groups`` says of it; empty without."""
    return str(more[KEPT][metric.groups]) if metric.groups else ""


def block_text(rows: Sequence[Row], kinds: Sequence[str], *, similar: bool = True) -> str:
    """Return the block list for rows of dev and test, each with its kind."""
    return "".join(f"{line}\n" for line in block_lines(rows, kinds, similar=similar))


def block_lines(rows: Sequence[Row], kinds: Sequence[str] = (), *, similar: bool = True) -> list[str]:
    """Return the block list's lines: hashes of whole prompts, then of what tells a prompt or an answer by a part, then
    fingerprints of short prompts.
    """
    prompts, answers = [row.prompt for row in rows], [row.answer for row in rows]
    grams = telling_ngrams(prompts, kinds=kinds) | telling_ngrams(answers, kinds=kinds)
    lines = sorted({item_hash(prompt) for prompt in prompts}) + [f"n{NGRAM}:{gram:016x}" for gram in sorted(grams)]
    return lines + (lines_of(prompts, kinds) if similar else [])


def _jsonl(rows: list[Row], more: Mapping[str, Mapping[str, Any]] = MappingProxyType({})) -> str:
    lines = ({**row._asdict(), **more.get(row.row_id, {})} for row in rows)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def read_rows(path: Path) -> list[Row]:
    """Return the canonical rows of a file that :func:`materialise` wrote, without the further keys of dev and test."""
    with path.open(encoding="utf-8", newline="\n") as handle:
        values = [json.loads(line) for line in handle]
    return [Row(**{name: value[name] for name in Row._fields}) for value in values]
