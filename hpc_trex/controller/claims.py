"""The raw records behind a score, read for the Reviewer; nothing is decided here (:mod:`hpc_trex.agents.claims`).

Each file is read once. A set of rows that several trials share is looked through once by a controller.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpc_trex.agents.claims import DataFacts, Records
from hpc_trex.agents.leaks import Leaks, TrainingRow, around, read_blocked, scan
from hpc_trex.controller.context import Work
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.files import folder_digest, read_record
from hpc_trex.ftbench.frozen import eval_digest
from hpc_trex.layout import SearchPaths
from hpc_trex.models import (
    AttemptState,
    AttemptView,
    DataRecipe,
    JobKind,
    JobResult,
    JobSpec,
    MetricSpec,
    NodeView,
    TrialView,
)
from hpc_trex.samples import EvaluatedRow, file_digest, read_samples

#: Training rows that are looked at most, evenly spaced: some seconds of a login node.
LOOKED = 20_000
#: Sets beyond it are not digested again: reading them would keep the controller from its jobs.
DIGESTED_BYTES = 256 * 2**20
#: Rows among which one is sought that shows what a format puts around prompts.
SHOWN = 200
#: Metrics that cost next to nothing to judge again, from the raw answer.
JUDGED_AGAIN = ("exact_match", "accuracy", "macro_f1", "json_fields")
#: Metrics that are the mean of the rows' scores.
MEANS = ("exact_match", "accuracy", "accuracy_norm", "json_fields", "rouge1", "rouge2", "rougeL", "chrf", "lm_eval")


def records_of(work: Work, view: NodeView, trial: TrialView) -> Records | None:
    """Return what there is of a trial's records; None for one that never had a job of its own."""
    attempt = next((one for one in reversed(work.store.attempts(view.id, trial.trial)) if _counts(one)), None)
    if attempt is None:
        return None
    paths, files = work.paths, work.attempt_paths(attempt)
    result = read_record(files.result, JobResult)
    samples = _samples(files.samples)
    digests = {"rows": _digest(paths.dev), "samples": _digest(files.samples)}
    if files.model.is_dir():
        digests["model"] = folder_digest(files.model)
    first = None if view.id == 0 else _baseline(work)
    return Records(
        root=paths.root,
        node=view,
        trial=trial,
        attempt=attempt,
        spec=read_record(files.spec, JobSpec),
        result=result,
        base=work.base(),
        baseline=first,
        rules=eval_digest(work.card, work.config.evaluate),
        dev=_dev(paths.dev),
        dev_path=paths.dev,
        samples=samples,
        digests=digests,
        scored=scored(samples, work.card.metric) if samples else None,
        data=_data(work, view) if trial.kind is JobKind.TRAIN else None,
    )


def _counts(attempt: AttemptView) -> bool:
    return attempt.state is AttemptState.SUCCEEDED and not attempt.superseded


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:
        return ""


def _samples(path: Path) -> tuple[EvaluatedRow, ...] | None:
    try:
        return tuple(read_samples(path))
    except (OSError, EnvironmentProblem):
        return None


def _dev(path: Path) -> Mapping[str, tuple[str, str]]:
    return {str(row["row_id"]): (str(row["prompt"]), str(row["answer"])) for row in _json_rows(path)}


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as handle:
        for line in handle:
            yield json.loads(line)


def _baseline(work: Work) -> JobResult | None:
    return next((trial.result for trial in work.store.node(0).trials if trial.kind is JobKind.BASELINE), None)


# --- the score, again -------------------------------------------------------------------------------------------------


def scored(samples: tuple[EvaluatedRow, ...], metric: MetricSpec) -> tuple[float, tuple[int, ...]] | None:
    """Return the metric over the answers and which rows score otherwise when they are judged again; None where it cannot
    be told from the rows.
    """
    if metric.name in JUDGED_AGAIN and metric.mode == "generate":
        return _judged_again(samples, metric)
    if metric.name in MEANS:
        return sum(row.score for row in samples) / len(samples), ()
    return None


def _judged_again(samples: tuple[EvaluatedRow, ...], metric: MetricSpec) -> tuple[float, tuple[int, ...]]:
    from hpc_trex.evaluation.metrics import judge  # the same rules as in the job, and no torch

    judged = [judge(row.answer, row.reference, metric) for row in samples]
    pairs = enumerate(zip(samples, judged, strict=True))
    otherwise = tuple(place for place, (row, again) in pairs if abs(row.score - again.score) > 1e-9)
    if metric.name != "macro_f1":
        return sum(one.score for one in judged) / len(judged), otherwise
    return macro_f1([one.answer for one in judged], [one.wanted for one in judged], metric.labels), otherwise


def macro_f1(found: list[str], wanted: list[str], labels: tuple[str, ...]) -> float:
    """Return the mean over classes of 2 TP / (2 TP + FP + FN); a class that occurs nowhere is left out."""
    values = []
    for label in labels or tuple(sorted(set(wanted))):
        hits = sum(1 for one, other in zip(found, wanted, strict=True) if one == other == label)
        total = found.count(label) + wanted.count(label)
        values += [2 * hits / total] if total else []
    return sum(values) / len(values) if values else 0.0


# --- the data ---------------------------------------------------------------------------------------------------------


def _data(work: Work, view: NodeView) -> DataFacts:
    folder = work.paths.data(view.id if view.data_from is None else view.data_from)
    try:
        stamp = (folder / "manifest.json").stat().st_mtime_ns
    except OSError:
        return DataFacts(folder, None, None, {}, (), None)
    return _data_facts(work.paths, folder, stamp)._replace(asked=_asked(work, view))


@lru_cache(maxsize=4)
def _data_facts(paths: SearchPaths, folder: Path, stamp: int) -> DataFacts:  # noqa: ARG001 # a set made anew is another
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return DataFacts(folder, None, None, {}, (), None)
    told = manifest.get("sources", {})
    sources = {path.stem: _digest(path) for path in sorted(paths.sources.glob("*.jsonl")) if path.stem in told}
    return DataFacts(folder, manifest, None, sources, _changed(folder, manifest), _leaks(paths, folder, manifest))


def _asked(work: Work, view: NodeView) -> DataRecipe | None:
    made = work.store.preparation(view.id if view.data_from is None else view.data_from)
    spec = read_record(work.attempt_paths(made).spec, JobSpec) if made is not None else None
    return spec.data if spec is not None else None


def _changed(folder: Path, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the files of the set whose digest is not the manifest's; of a large set none is read."""
    told = dict(manifest.get("files", {}))
    sizes = [path.stat().st_size for path in map(folder.joinpath, told) if path.is_file()]
    if sum(sizes) > DIGESTED_BYTES:
        return ()
    return tuple(sorted(name for name, digest in told.items() if _digest(folder / name) != digest))


def _leaks(paths: SearchPaths, folder: Path, manifest: Mapping[str, Any]) -> Leaks | None:
    try:
        rows, total = _rows(folder / "rows")
        blocked = read_blocked(paths.block.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError, KeyError):  # pyarrow's own errors are ValueErrors
        return None
    plain = manifest.get("format", "plain") == "plain"
    affixes = ("", "") if plain else around(rows[:SHOWN], _raw_prompts(paths, {row.row_id for row in rows[:SHOWN]}))
    dev = [prompt for prompt, _ in _dev(paths.dev).values()]
    return scan(rows, total, affixes, blocked, dev, lambda: _source_prompts(paths))


def _rows(folder: Path) -> tuple[list[TrainingRow], int]:
    """Return rows of a set that ``datasets`` saved, evenly spaced where there are too many, and how many there are."""
    import pyarrow as pa  # type: ignore[import-untyped]

    files = [entry["filename"] for entry in json.loads((folder / "state.json").read_text())["_data_files"]]
    tables = [pa.ipc.open_stream(pa.memory_map(str(folder / name))).read_all() for name in files]
    table = pa.concat_tables(tables).select(["row_id", "prompt", "answer"])
    step = -(-len(table) // LOOKED) or 1
    picked = table if step == 1 else table.take(pa.array(range(0, len(table), step)))
    return [TrainingRow(**row) for batch in picked.to_batches() for row in batch.to_pylist()], len(table)


def _raw_prompts(paths: SearchPaths, wanted: set[str]) -> dict[str, str]:
    """Return the prompts of some rows as the task card's text."""
    every = (row for path in sorted(paths.sources.glob("*.jsonl")) for row in _json_rows(path))
    return {row["row_id"]: row["prompt"] for row in every if row["row_id"] in wanted}


def _source_prompts(paths: SearchPaths) -> Iterable[str]:
    return (row["prompt"] for path in sorted(paths.sources.glob("*.jsonl")) for row in _json_rows(path))
