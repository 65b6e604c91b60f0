"""The Reviewer after the run, of the data: were they made as was planned, and do they hold what is evaluated on?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from pydantic import ValidationError

from hpc_trex.agents.claim_records import DataFacts, Manifest, Records, inside, note, short, strike
from hpc_trex.agents.leaks import Leaks
from hpc_trex.models import ClaimFinding, DataRecipe, JobResult, digest


def data_findings(records: Records, result: JobResult) -> Iterator[ClaimFinding]:
    """Hold a round's prepared set against its recipe and its sources, and look at what was found in its rows."""
    data = records.data
    if data is None or data.manifest is None:
        folder = data.folder if data else records.root
        why = "".join(f": {one}" for one in (data.unread if data else ()))
        yield note("data", f"the manifest of its data is not there or cannot be read{why}", inside(records, folder))
        return
    record = inside(records, data.folder / "manifest.json")
    if data.asked is not None and records.node.plan is not None and data.asked != records.node.plan.data:
        yield note("data", "its recipe differs from the plan: a repair changed it", record)
    yield from _recipe(records, data, data.manifest, record)
    yield from (strike("data", text, record) for text in _contradictions(result, data.manifest, data))
    if data.unread:
        yield note("data", f"not looked at: {'; '.join(data.unread)}", record)
    yield from _contamination(data, data.manifest, record)


def _recipe(records: Records, data: DataFacts, manifest: Manifest, record: str) -> Iterator[ClaimFinding]:
    """The set was made by the recipe that its job was asked for."""
    assert records.node.plan is not None
    wanted = (data.asked or records.node.plan.data).resolved()
    text = f"the data were made by recipe {short(manifest.recipe_digest)}, not by the one that was asked for"
    try:
        whole = manifest.recipe_digest == digest(manifest.recipe)
        made = DataRecipe.model_validate(manifest.recipe).resolved()
    except ValidationError:
        yield note("data", "its recipe is none that this version knows: it was not compared", record)
        return
    except ValueError:  # numbers that no recipe has
        yield strike("data", text, record)
        return
    if not whole or made != wanted:
        yield strike("data", text, record)


def _contradictions(result: JobResult, manifest: Manifest, data: DataFacts) -> Iterator[str]:
    """Sources, row counts and rows: what is not as the manifest says."""
    for name, told in sorted(manifest.sources.items()):
        if name not in data.sources:
            yield f"the data hold source {name}, which the task card does not have"
        elif data.sources[name] and told.sha256 and data.sources[name] != told.sha256:
            yield f"source {name} has digest {short(data.sources[name])}, the data were made of {short(told.sha256)}"
    yield from _counts(manifest, data)
    trained, prepared = result.hashes.get("data", ""), manifest.sha256
    if trained and trained != prepared:
        yield f"it was trained on rows with digest {short(trained)}, the round's have {short(prepared)}"
    if data.changed:
        yield f"{len(data.changed)} file(s) of the data are not those that were prepared, e.g. {data.changed[0]}"


def _counts(manifest: Manifest, data: DataFacts) -> Iterator[str]:
    rows, by_source = manifest.rows, manifest.rows_by_source
    if by_source is not None and rows != sum(by_source.values()):
        yield f"the manifest counts {rows} rows, but {sum(by_source.values())} by source"
    steps = manifest.steps
    for before, after in pairwise(steps):
        if before.rows_out != after.rows_in:
            yield f"step {after.step or after.op} began with {after.rows_in} rows, the one before it left {before.rows_out}"
    if steps and steps[-1].rows_out != rows:
        yield f"the last step left {steps[-1].rows_out} rows, the manifest counts {rows}"
    if isinstance(data.leaks, Leaks) and data.leaks.rows != rows:
        yield f"the data hold {data.leaks.rows} rows, the manifest counts {rows}"


def _contamination(data: DataFacts, manifest: Manifest, record: str) -> Iterator[ClaimFinding]:
    step = next((one for one in manifest.steps if one.op == "decontaminate"), None)
    if step is None:
        yield strike("contamination", "the data were prepared without decontamination", record)
    leaks = data.leaks
    if not isinstance(leaks, Leaks):
        yield note("contamination", f"the rows were not looked through again: {leaks}", record)
        return
    of = f"of {leaks.looked:,} training rows" + ("" if leaks.looked == leaks.rows else f" (of {leaks.rows:,})")
    example = f", e.g. {leaks.example}" if leaks.example else ""
    if leaks.whole:
        yield strike("contamination", f"{leaks.whole} {of} have a prompt of dev or test{example}", record)
    if leaks.hidden:
        text = f"{leaks.hidden} {of} have a dev prompt in other signs, which the task's sources do not{example}"
        yield strike("contamination", text, record, design=True)
    if leaks.inherent:
        yield note("contamination", f"{leaks.inherent} dev prompts stand in the task's sources in other signs", record)
    if leaks.parts:
        text = f"{leaks.parts} {of} hold {leaks.n} words in a row of dev or test{example}"
        dropped = step is not None and bool((step.parameters or {}).get("ngrams"))
        yield strike("contamination", text, record) if dropped else note("contamination", text, record)
    if not leaks.compared:
        text = "the prompts were formatted, and could not be compared with dev and test as wholes"
        yield note("contamination", text, record)
