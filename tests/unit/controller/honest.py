"""A simulated cluster whose jobs leave all the records that real ones leave: prepared rows, answers, models, digests.

So a test can change one of them before the controller collects, and see whether the claim is believed.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from hpc_trex.agents.leaks import TrainingRow, holds, read_blocked
from hpc_trex.evaluation.metrics import judge
from hpc_trex.files import folder_digest, write_record
from hpc_trex.ftbench.frozen import eval_digest
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import JobKind, JobResult, JobSpec, ModelRef, Score, TaskCard, digest
from hpc_trex.samples import EvaluatedRow, file_digest, write_samples
from tests.unit.controller.simulation import Cluster, result_of


class HonestCluster(Cluster):
    """Jobs that leave whole records. ``quality``: the share of right answers by (node, trial); else it is drawn."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.quality: dict[tuple[int, int], float] = {}
        self.dishonest: set[tuple[int, int]] = set()  # whose model is another one by the time that it is looked at

    def finish(self, token: str, *, failure: Any = None) -> None:
        request = self.live.pop(token)
        spec = JobSpec.model_validate_json(request.spec.read_bytes())
        result = result_of(spec, failure)
        if failure is None:
            result = result.model_copy(update=self.records(spec))
        if (spec.node, spec.trial) in self.dishonest:
            _model(AttemptPaths(request.directory).model, "another", name="m")
        write_record(AttemptPaths(request.directory).result, result)

    def records(self, spec: JobSpec) -> dict[str, Any]:
        """Write what the job leaves; return the fields of its result."""
        files = AttemptPaths(Path(spec.attempt_dir))
        if spec.kind is JobKind.BASE:
            return {"model": _model(files.model, "base", name=spec.base.name)}
        if spec.kind is JobKind.PREPARE:
            return {"model": None, "hashes": {"data": prepare(spec)["sha256"]}}
        if spec.kind is JobKind.TEST:
            return {"model": None}
        share = self.quality.get((spec.node, spec.trial), 0.3)
        found: dict[str, Any] = answer(spec, share, random.Random(f"{spec.node}/{spec.trial}"))
        found["hashes"] |= {"base": folder_digest(Path(spec.base.path))}
        if spec.kind is JobKind.BASELINE:
            return found | {"model": None}
        found["model"] = _model(files.model, spec.token, name=spec.base.name)
        manifest = json.loads((Path(spec.data_dir or "") / "manifest.json").read_text())
        found["hashes"] |= {"model": folder_digest(files.model), "data": manifest["sha256"]}
        return found


def _model(folder: Path, text: str, *, name: str) -> ModelRef:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(text)
    return ModelRef(name=name, path=str(folder))


def answer(spec: JobSpec, share: float, draw: random.Random) -> dict[str, Any]:
    """Answer a share of the dev rows rightly; return score, samples and digests as a job names them."""
    card = TaskCard.model_validate_json(Path(spec.task_card).read_bytes())
    rows = [json.loads(line) for line in Path(spec.eval_rows or "").read_text().splitlines()]
    right = set(draw.sample(range(len(rows)), round(share * len(rows))))
    samples = []
    for place, row in enumerate(rows):
        text = row["answer"] if place in right else f"no {place}"
        score = judge(text, row["answer"], card.metric).score
        samples.append(EvaluatedRow(row["row_id"], row["prompt"], text, row["answer"], score))
    path = AttemptPaths(Path(spec.attempt_dir)).samples
    write_samples(path, samples)
    value = sum(row.score for row in samples) / len(samples)
    main = Score(metric=card.metric.name, value=value, low=value - 0.02, high=value + 0.02, n=len(samples))
    return {
        "scores": {"main": main},
        "samples": str(path),
        "eval_digest": eval_digest(card, spec.evaluate),
        "hashes": {"rows": file_digest(Path(spec.eval_rows or "")), "samples": file_digest(path)},
    }


def prepare(spec: JobSpec) -> dict[str, Any]:
    """Write a prepared set of all rows of the recipe's sources that hold nothing of dev or test, with its manifest."""
    assert spec.data is not None
    recipe, folder = spec.data.resolved(), Path(spec.data_dir or "")
    loaded = [step.source for step in recipe.steps if step.op == "load"]
    lines = [line for name in loaded for line in Path(spec.sources[name]).read_text().splitlines()]
    blocked = read_blocked(Path(spec.block_rows[0]).read_text().splitlines())
    rows = [{**(row := json.loads(line)), "prompt": row["prompt"].rstrip(" \t")} for line in lines]
    rows = [row for row in rows if not holds(TrainingRow(row["row_id"], row["prompt"], row["answer"]), blocked.grams)]
    write_rows(folder / "rows", rows)
    step = {"step": 1, "op": "decontaminate", "rows_in": len(rows), "rows_out": len(rows), "parameters": {"ngrams": 9}}
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    manifest = {
        "rows": len(rows),
        "rows_by_source": dict(Counter(row["source"] for row in rows)),
        "sha256": digest(rows),
        "format": "plain",
        "steps": [step],
        "sources": {name: {"sha256": file_digest(Path(spec.sources[name]))} for name in loaded},
        "files": {name: file_digest(folder / name) for name in names},
        "recipe": recipe.model_dump(mode="json"),
        "recipe_digest": digest(recipe),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return manifest


def write_rows(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write rows as ``datasets`` saves them."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    with pa.OSFile(str(folder / "data.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))


def change_result(path: Path, **fields: object) -> None:
    """Write other values into a result, as somebody with an editor would."""
    result = JobResult.model_validate_json(path.read_bytes())
    write_record(path, JobResult.model_validate(result.model_dump() | fields))
