"""The Reviewer after the run: is a trial's score what its raw records say, and was it come by fairly? (docs/review.md)

Pure: :mod:`hpc_trex.controller.claims` reads the files. What contradicts the claim strikes it; what cannot be looked at,
because an earlier version wrote the records, is a note and never a strike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from hpc_trex.agents.leaks import Leaks
from hpc_trex.agents.tree_facts import train_key
from hpc_trex.models import (
    AttemptView,
    ClaimFinding,
    DataRecipe,
    JobKind,
    JobResult,
    JobSpec,
    ModelRef,
    NodeView,
    TrialView,
    digest,
)
from hpc_trex.samples import EvaluatedRow

Check = Literal["weights", "data", "contamination", "evaluation", "score", "answers", "records"]


class DataFacts(NamedTuple):
    """What was found of a round's prepared set."""

    folder: Path
    manifest: Mapping[str, Any] | None
    asked: DataRecipe | None
    """What its job was asked for: the plan's recipe, or what a repair made of it."""
    sources: Mapping[str, str]
    """SHA-256 of the search's source files now, by name."""
    changed: tuple[str, ...]
    """Files of the set that are not as the manifest says."""
    leaks: Leaks | None
    """None: the rows could not be read."""


class Records(NamedTuple):
    """The raw records behind one trial's score. None: there is no such file (any more)."""

    root: Path
    """The search directory."""
    node: NodeView
    trial: TrialView
    attempt: AttemptView
    """The job whose result counts."""
    spec: JobSpec | None
    result: JobResult | None
    base: ModelRef | None
    """The search's base model."""
    baseline: JobResult | None
    """The baseline's result; None for the baseline itself."""
    rules: str
    """``eval_digest`` of the frozen card and settings."""
    dev: Mapping[str, tuple[str, str]]
    """Prompt and reference of each dev row, by its id."""
    dev_path: Path
    samples: tuple[EvaluatedRow, ...] | None
    digests: Mapping[str, str]
    """SHA-256 of what lies there now: ``rows``, ``samples``, ``model``."""
    scored: tuple[float, tuple[int, ...]] | None
    """The metric over the answers, judged again, and the rows that were judged otherwise; None: not judged again."""
    data: DataFacts | None


def check(records: Records) -> list[ClaimFinding]:
    """Return what there is to say about a trial's score, strikes first."""
    spec, result = records.spec, records.result
    if spec is None or result is None:
        gone = "spec.json" if spec is None else "result.json"
        return [_note("records", f"{gone} is not there or cannot be read: nothing was checked", _own(records, gone))]
    found = [*_weights(records, spec, result), *_evaluation(records, spec, result), *_score(records, result)]
    if records.trial.kind is JobKind.TRAIN:
        found += _data(records, result)
    found += _unknown(records, result)
    return sorted(found, key=lambda one: one.severity == "note")


def strikes(findings: tuple[ClaimFinding, ...] | None) -> list[ClaimFinding]:
    """Return the findings for which a score is struck."""
    return [one for one in findings or () if one.severity == "strike"]


def _strike(check_: Check, text: str, record: str, *, design: bool = False) -> ClaimFinding:
    return ClaimFinding(check=check_, severity="strike", text=text, record=record, design=design)


def _note(check_: Check, text: str, record: str) -> ClaimFinding:
    return ClaimFinding(check=check_, severity="note", text=text, record=record)


def _own(records: Records, name: str) -> str:
    return f"{records.attempt.directory}/{name}"


def _short(digest_: str) -> str:
    return digest_[:12] or "none"


# --- weights ----------------------------------------------------------------------------------------------------------


def _weights(records: Records, spec: JobSpec, result: JobResult) -> Iterator[ClaimFinding]:
    """The base is the search's; what was evaluated is what this trial's own training made of it."""
    if not spec.attempt_dir.endswith(records.attempt.directory):
        text = f"its job was told to work in {spec.attempt_dir}, not in {records.attempt.directory}"
        yield _strike("weights", text, _own(records, "spec.json"))
    if result.token != records.attempt.token:
        text = f"the result is of job {result.token}, not of {records.attempt.token}"
        yield _strike("weights", text, _own(records, "result.json"))
    own = result.hashes.get("base", "")
    first = (records.baseline.hashes if records.baseline else {}).get("base", "")
    elsewhere = records.base is not None and spec.base.path != records.base.path
    if records.base is not None and elsewhere and not (own and own == first):
        text = f"it began from {spec.base.path}, the base of the search is {records.base.path}"
        yield _strike("weights", text, _own(records, "spec.json"))
    if own and first and own != first:
        text = f"its base has digest {_short(own)}, that of the baseline {_short(first)}"
        yield _strike("weights", text, _own(records, "result.json"))
    if records.trial.kind is JobKind.TRAIN:
        yield from _trained(records, spec, result)


def _trained(records: Records, spec: JobSpec, result: JobResult) -> Iterator[ClaimFinding]:
    trial, number = records.trial, records.attempt.attempt
    attempts = Path(spec.attempt_dir).parent
    earlier = {str(attempts / str(one) / "checkpoints") for one in range(1, number)}
    strange = [path for path in spec.resume_from if path not in earlier]
    if strange:
        text = f"it went on from {strange[0]}, which is no earlier attempt of this trial"
        yield _strike("weights", text, _own(records, "spec.json"))
    if trial.plan is not None and spec.train is not None and train_key(spec.train) != train_key(trial.plan.train):
        yield _note("weights", "its training differs from the plan: a repair changed it", _own(records, "spec.json"))
    if result.model is None:
        return
    place = result.model.adapter or result.model.path
    if place not in {str(attempts / str(one) / "model") for one in range(1, number + 1)}:
        text = f"the model that was evaluated, {place}, was not made by this trial"
        yield _strike("weights", text, _own(records, "result.json"))
    elif result.model.adapter and result.model.path != spec.base.path:
        text = f"its adapter stands on {result.model.path}, not on the base {spec.base.path}"
        yield _strike("weights", text, _own(records, "result.json"))
    now, then = records.digests.get("model", ""), result.hashes.get("model", "")
    if now and then and now != then:
        text = f"the model has digest {_short(now)} now, {_short(then)} when it was evaluated"
        yield _strike("weights", text, _own(records, "result.json"))


# --- data -------------------------------------------------------------------------------------------------------------


def _data(records: Records, result: JobResult) -> Iterator[ClaimFinding]:
    data = records.data
    if data is None or data.manifest is None:
        folder = data.folder if data else records.root
        yield _note("data", "the manifest of its data is not there or cannot be read", _inside(records, folder))
        return
    record = _inside(records, data.folder / "manifest.json")
    if data.asked is not None and records.node.plan is not None and data.asked != records.node.plan.data:
        yield _note("data", "its recipe differs from the plan: a repair changed it", record)
    yield from (_strike("data", text, record) for text in _contradictions(records, result, data.manifest, data))
    yield from _contamination(data, data.manifest, record)


def _inside(records: Records, path: Path) -> str:
    return str(path.relative_to(records.root)) if path.is_relative_to(records.root) else str(path)


def _contradictions(records: Records, result: JobResult, manifest: Mapping[str, Any], data: DataFacts) -> Iterator[str]:
    """Recipe, sources, row counts and rows: what is not as the manifest says, or not as was planned."""
    assert records.node.plan is not None
    wanted = (data.asked or records.node.plan.data).resolved()
    try:
        made = DataRecipe.model_validate(manifest.get("recipe")).resolved()
    except ValidationError:
        made = None
    if made != wanted or manifest.get("recipe_digest") != digest(manifest.get("recipe")):
        yield f"the data were made by recipe {_short(str(manifest.get('recipe_digest', '')))}, not by the one that was asked for"
    for name, told in sorted(dict(manifest.get("sources", {})).items()):
        if name not in data.sources:
            yield f"the data hold source {name}, which the task card does not have"
        elif data.sources[name] != told.get("sha256"):
            now, then = _short(data.sources[name]), _short(str(told.get("sha256", "")))
            yield f"source {name} has digest {now}, the data were made of {then}"
    yield from _counts(manifest, data)
    if result.hashes.get("data") and result.hashes["data"] != manifest.get("sha256"):
        now = _short(str(manifest.get("sha256", "")))
        yield f"it was trained on rows with digest {_short(result.hashes['data'])}, the round's have {now}"
    if data.changed:
        yield f"{len(data.changed)} file(s) of the data are not those that were prepared, e.g. {data.changed[0]}"


def _counts(manifest: Mapping[str, Any], data: DataFacts) -> Iterator[str]:
    rows, by_source = manifest.get("rows"), dict(manifest.get("rows_by_source", {}))
    if rows != sum(by_source.values()):
        yield f"the manifest counts {rows} rows, but {sum(by_source.values())} by source"
    steps = list(manifest.get("steps", []))
    for before, after in pairwise(steps):
        if before["rows_out"] != after["rows_in"]:
            yield f"step {after['step']} began with {after['rows_in']} rows, the one before it left {before['rows_out']}"
    if steps and steps[-1]["rows_out"] != rows:
        yield f"the last step left {steps[-1]['rows_out']} rows, the manifest counts {rows}"
    if data.leaks is not None and data.leaks.rows != rows:
        yield f"the data hold {data.leaks.rows} rows, the manifest counts {rows}"


def _contamination(data: DataFacts, manifest: Mapping[str, Any], record: str) -> Iterator[ClaimFinding]:
    step = next((one for one in manifest.get("steps", []) if one.get("op") == "decontaminate"), None)
    if step is None:
        yield _strike("contamination", "the data were prepared without decontamination", record)
    leaks = data.leaks
    if leaks is None:
        yield _note("contamination", "the rows cannot be read: they were not looked through again", record)
        return
    of = f"of {leaks.looked:,} training rows" + ("" if leaks.looked == leaks.rows else f" (of {leaks.rows:,})")
    example = f", e.g. {leaks.example}" if leaks.example else ""
    if leaks.whole:
        yield _strike("contamination", f"{leaks.whole} {of} have a prompt of dev or test{example}", record)
    if leaks.hidden:
        text = f"{leaks.hidden} {of} have a dev prompt in other signs, which the task's sources do not{example}"
        yield _strike("contamination", text, record, design=True)
    if leaks.inherent:
        yield _note("contamination", f"{leaks.inherent} dev prompts stand in the task's sources in other signs", record)
    if leaks.parts:
        text = f"{leaks.parts} {of} hold {leaks.n} words in a row of dev or test{example}"
        dropped = step is not None and bool(dict(step.get("parameters", {})).get("ngrams"))
        yield _strike("contamination", text, record) if dropped else _note("contamination", text, record)
    if not leaks.compared:
        text = "the prompts were formatted, and could not be compared with dev and test as wholes"
        yield _note("contamination", text, record)


# --- evaluation -------------------------------------------------------------------------------------------------------


def _evaluation(records: Records, spec: JobSpec, result: JobResult) -> Iterator[ClaimFinding]:
    """The frozen rules, the dev rows of the baseline, and an answer to each of them."""
    for whose, rules in (("search", records.rules), ("baseline", _of_baseline(records).eval_digest)):
        if result.eval_digest and rules and result.eval_digest != rules:
            text = f"it was measured by rules {_short(result.eval_digest)}, those of the {whose} are {_short(rules)}"
            yield _strike("evaluation", text, _own(records, "result.json"))
            break
    # The search may lie under another path for the job, or since: what counts is the place within it.
    seen = spec.attempt_dir.removesuffix(records.attempt.directory)
    dev = _inside(records, records.dev_path)
    if spec.eval_rows != seen + dev:
        text = f"it was evaluated on {spec.eval_rows}, not on the search's {dev}"
        yield _strike("evaluation", text, _own(records, "spec.json"))
    own = result.hashes.get("rows", "")
    first = _of_baseline(records).hashes.get("rows") or records.digests.get("rows", "")
    if own and first and own != first:
        text = f"its dev rows have digest {_short(own)}, those of the baseline {_short(first)}"
        yield _strike("evaluation", text, _own(records, "result.json"))
    yield from _answered(records, result)


def _of_baseline(records: Records) -> JobResult:
    return records.baseline or JobResult(token="", state="succeeded")  # names nothing


def _answered(records: Records, result: JobResult) -> Iterator[ClaimFinding]:
    record, then = _own(records, "samples.jsonl"), result.hashes.get("samples", "")
    if records.samples is None:
        if then:
            yield _strike("evaluation", "the answers behind the score are gone, or cannot be read", record)
        return
    now = records.digests.get("samples", "")
    if then and now and then != now:
        text = f"the answers were changed after the job wrote them (digest {_short(now)}, not {_short(then)})"
        yield _strike("evaluation", text, record)
    times = Counter(row.row_id for row in records.samples)
    missing, strange = records.dev.keys() - times.keys(), times.keys() - records.dev.keys()
    double = sum(1 for count in times.values() if count > 1)
    if missing or strange or double:
        text = (
            f"of {len(records.dev)} dev rows {len(missing)} have no answer, {double} have several, and "
            f"{len(strange)} answers belong to no dev row"
        )
        yield _strike("evaluation", text, record)
    other = sum(1 for row in records.samples if records.dev.get(row.row_id, ("", ""))[1] != row.reference)
    if other > len(strange):
        yield _strike("evaluation", f"{other} answers were held against another reference than dev has", record)
    main = result.scores.get("main")
    if main is not None and main.n != len(records.samples):
        text = f"the score is of {main.n} rows, there are {len(records.samples)} answers"
        yield _strike("evaluation", text, record)


# --- score ------------------------------------------------------------------------------------------------------------


def _score(records: Records, result: JobResult) -> Iterator[ClaimFinding]:
    """The claimed score is what the answers give; answers that are all alike are told."""
    main, record = result.scores.get("main"), _own(records, "samples.jsonl")
    if main is None:
        return
    claimed = records.trial.score if records.trial.score is not None else records.trial.claimed
    if claimed is not None and abs(claimed - main.value) > EXACT:
        text = f"the tree has {claimed:.4f}, the result {main.value:.4f}"
        yield _strike("score", text, _own(records, "result.json"))
    if not records.samples:
        return
    if records.scored is not None:
        value, otherwise = records.scored
        if otherwise:
            row = records.samples[otherwise[0]].row_id
            text = f"{len(otherwise)} of {len(records.samples)} answers, judged again, score otherwise, e.g. {row}"
            yield _strike("score", text, record)
        elif abs(value - main.value) > EXACT:
            yield _strike("score", f"the answers give {value:.4f}, the result claims {main.value:.4f}", record)
    yield from _alike(records.samples, record)


#: Scores are sums of the same numbers in another order at most.
EXACT = 1e-6


def _alike(samples: tuple[EvaluatedRow, ...], record: str) -> Iterator[ClaimFinding]:
    answers = Counter(row.answer.strip() for row in samples)
    if len(answers) != 1 or len({row.reference for row in samples}) < 2:
        return
    only = next(iter(answers))
    text = f"all {len(samples)} answers are " + (f"{only[:60]!r}" if only else "empty")
    yield _note("answers", text, record)


def _unknown(records: Records, result: JobResult) -> Iterator[ClaimFinding]:
    """Say in one note what the records of an earlier version do not tell."""
    wanted = ["base", "rows", "samples"] + (["data", "model"] if records.trial.kind is JobKind.TRAIN else [])
    lacking = [name for name in wanted if not result.hashes.get(name)]
    lacking += [] if result.eval_digest else ["rules"]
    lacking += [] if records.samples is not None else ["answers"]
    if lacking:
        yield _note(
            "records", f"not on record, so not checked: {', '.join(sorted(lacking))}", _own(records, "result.json")
        )
