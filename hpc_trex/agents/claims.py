"""The Reviewer after the run: is a trial's score what its raw records say, and was it come by fairly? (docs/review.md)

Pure: :mod:`hpc_trex.controller.claims` reads the files. What contradicts the claim strikes it; what cannot be looked at,
because an earlier version wrote the records, is a note and never a strike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hpc_trex.agents.claim_data import data_findings
from hpc_trex.agents.claim_records import Records, inside, note, own_file, short, strike
from hpc_trex.agents.tree_facts import train_key
from hpc_trex.models import ClaimFinding, JobKind, JobResult, JobSpec
from hpc_trex.samples import EvaluatedRow


def check(records: Records) -> list[ClaimFinding]:
    """Return what there is to say about a trial's score, strikes first."""
    spec, result = records.spec, records.result
    if spec is None or result is None:
        gone = "spec.json" if spec is None else "result.json"
        return [note("records", f"{gone} is not there or cannot be read: nothing was checked", own_file(records, gone))]
    found = [*_weights(records, spec, result), *_evaluation(records, spec, result), *_score(records, result)]
    if records.trial.kind is JobKind.TRAIN:
        found += data_findings(records, result)
    found += _unknown(records, result)
    return sorted(found, key=lambda one: one.severity == "note")


def strikes(findings: tuple[ClaimFinding, ...] | None) -> list[ClaimFinding]:
    """Return the findings for which a score is struck."""
    return [one for one in findings or () if one.severity == "strike"]


# --- weights ----------------------------------------------------------------------------------------------------------


def _weights(records: Records, spec: JobSpec, result: JobResult) -> Iterator[ClaimFinding]:
    """The base is the search's; what was evaluated is what this trial's own training made of it."""
    if not spec.attempt_dir.endswith(records.attempt.directory):
        text = f"its job was told to work in {spec.attempt_dir}, not in {records.attempt.directory}"
        yield strike("weights", text, own_file(records, "spec.json"))
    if result.token != records.attempt.token:
        text = f"the result is of job {result.token}, not of {records.attempt.token}"
        yield strike("weights", text, own_file(records, "result.json"))
    own = result.hashes.get("base", "")
    first = (records.baseline.hashes if records.baseline else {}).get("base", "")
    elsewhere = records.base is not None and spec.base.path != records.base.path
    if records.base is not None and elsewhere and not (own and own == first):
        text = f"it began from {spec.base.path}, the base of the search is {records.base.path}"
        yield strike("weights", text, own_file(records, "spec.json"))
    if own and first and own != first:
        text = f"its base has digest {short(own)}, that of the baseline {short(first)}"
        yield strike("weights", text, own_file(records, "result.json"))
    if records.trial.kind is JobKind.TRAIN:
        yield from _trained(records, spec, result)


def _trained(records: Records, spec: JobSpec, result: JobResult) -> Iterator[ClaimFinding]:
    trial, number = records.trial, records.attempt.attempt
    attempts = Path(spec.attempt_dir).parent
    earlier = {str(attempts / str(one) / "checkpoints") for one in range(1, number)}
    strange = [path for path in spec.resume_from if path not in earlier]
    if strange:
        text = f"it went on from {strange[0]}, which is no earlier attempt of this trial"
        yield strike("weights", text, own_file(records, "spec.json"))
    if trial.plan is not None and spec.train is not None and train_key(spec.train) != train_key(trial.plan.train):
        yield note("weights", "its training differs from the plan: a repair changed it", own_file(records, "spec.json"))
    if result.model is None:
        return
    place = result.model.adapter or result.model.path
    if place not in {str(attempts / str(one) / "model") for one in range(1, number + 1)}:
        text = f"the model that was evaluated, {place}, was not made by this trial"
        yield strike("weights", text, own_file(records, "result.json"))
    elif result.model.adapter and result.model.path != spec.base.path:
        text = f"its adapter stands on {result.model.path}, not on the base {spec.base.path}"
        yield strike("weights", text, own_file(records, "result.json"))
    now, then = records.digests.get("model", ""), result.hashes.get("model", "")
    if now and then and now != then:
        text = f"the model has digest {short(now)} now, {short(then)} when it was evaluated"
        yield strike("weights", text, own_file(records, "result.json"))


# --- evaluation -------------------------------------------------------------------------------------------------------


def _evaluation(records: Records, spec: JobSpec, result: JobResult) -> Iterator[ClaimFinding]:
    """The frozen rules, the dev rows of the baseline, and an answer to each of them."""
    measured, first = result.eval_digest, _of_baseline(records).eval_digest
    if measured and first and measured != first:
        text = f"it was measured by rules {short(measured)}, those of the baseline are {short(first)}"
        yield strike("evaluation", text, own_file(records, "result.json"))
    elif measured and measured != records.rules:
        text = f"it was measured by rules {short(measured)}, those of the search are {short(records.rules)}"
        # Equal to the baseline's: another version of the program scores otherwise now, and both results are comparable.
        say = note if first else strike
        yield say("evaluation", text, own_file(records, "result.json"))
    # The search may lie under another path for the job, or since: what counts is the place within it.
    seen = spec.attempt_dir.removesuffix(records.attempt.directory)
    dev = inside(records, records.dev_path)
    if spec.eval_rows != seen + dev:
        text = f"it was evaluated on {spec.eval_rows}, not on the search's {dev}"
        yield strike("evaluation", text, own_file(records, "spec.json"))
    own = result.hashes.get("rows", "")
    theirs = _of_baseline(records).hashes.get("rows") or records.digests.get("rows", "")
    if own and theirs and own != theirs:
        text = f"its dev rows have digest {short(own)}, those of the baseline {short(theirs)}"
        yield strike("evaluation", text, own_file(records, "result.json"))
    yield from _answered(records, result)


def _of_baseline(records: Records) -> JobResult:
    return records.baseline or JobResult(token="", state="succeeded")  # names nothing


def _answered(records: Records, result: JobResult) -> Iterator[ClaimFinding]:
    record, then = own_file(records, "samples.jsonl"), result.hashes.get("samples", "")
    if records.samples is None:
        if then and "samples" not in records.unread:
            yield strike("evaluation", "the answers behind the score are gone, or cannot be read", record)
        return
    now = records.digests.get("samples", "")
    if then and now and then != now:
        text = f"the answers were changed after the job wrote them (digest {short(now)}, not {short(then)})"
        yield strike("evaluation", text, record)
    times = Counter(row.row_id for row in records.samples)
    missing, strange = records.dev.keys() - times.keys(), times.keys() - records.dev.keys()
    double = sum(1 for count in times.values() if count > 1)
    if missing or strange or double:
        text = (
            f"of {len(records.dev)} dev rows {len(missing)} have no answer, {double} have several, and "
            f"{len(strange)} answers belong to no dev row"
        )
        yield strike("evaluation", text, record)
    other = sum(1 for row in records.samples if records.dev.get(row.row_id, ("", ""))[1] != row.reference)
    if other > len(strange):
        yield strike("evaluation", f"{other} answers were held against another reference than dev has", record)
    main = result.scores.get("main")
    if main is not None and main.n != len(records.samples):
        text = f"the score is of {main.n} rows, there are {len(records.samples)} answers"
        yield strike("evaluation", text, record)


# --- score ------------------------------------------------------------------------------------------------------------


def _score(records: Records, result: JobResult) -> Iterator[ClaimFinding]:
    """The claimed score is what the answers give; answers that are all alike are told."""
    main, record = result.scores.get("main"), own_file(records, "samples.jsonl")
    if main is None:
        return
    claimed = records.trial.score if records.trial.score is not None else records.trial.claimed
    if claimed is not None and abs(claimed - main.value) > EXACT:
        text = f"the tree has {claimed:.4f}, the result {main.value:.4f}"
        yield strike("score", text, own_file(records, "result.json"))
    if not records.samples:
        return
    if records.scored is not None:
        value, otherwise = records.scored
        if otherwise:
            row = records.samples[otherwise[0]].row_id
            text = f"{len(otherwise)} of {len(records.samples)} answers, judged again, score otherwise, e.g. {row}"
            yield strike("score", text, record)
        elif abs(value - main.value) > EXACT:
            yield strike("score", f"the answers give {value:.4f}, the result claims {main.value:.4f}", record)
    yield from _alike(records.samples, record)


#: Scores are sums of the same numbers in another order at most.
EXACT = 1e-6


def _alike(samples: tuple[EvaluatedRow, ...], record: str) -> Iterator[ClaimFinding]:
    answers = Counter(row.answer.strip() for row in samples)
    if len(answers) != 1 or len({row.reference for row in samples}) < 2:
        return
    only = next(iter(answers))
    text = f"all {len(samples)} answers are " + (f"{only[:60]!r}" if only else "empty")
    yield note("answers", text, record)


def _unknown(records: Records, result: JobResult) -> Iterator[ClaimFinding]:
    """Say in one note what the records of an earlier version do not tell, and in another what the disk did not give."""
    wanted = ["base", "rows", "samples"] + (["data", "model"] if records.trial.kind is JobKind.TRAIN else [])
    lacking = [name for name in wanted if not result.hashes.get(name)]
    lacking += [] if result.eval_digest else ["rules"]
    lacking += [] if records.samples is not None else ["answers"]
    record = own_file(records, "result.json")
    if lacking:
        yield note("records", f"not on record, so not checked: {', '.join(sorted(lacking))}", record)
    if records.unread:
        why = "; ".join(f"{name}: {reason}" for name, reason in sorted(records.unread.items()))
        yield note("records", f"could not be read, so not checked: {why}", record)
