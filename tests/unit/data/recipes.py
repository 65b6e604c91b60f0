"""Rows, a card and a job spec for the tests of the operators; no model is needed for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hpc_trex.ftbench.rows import Row, item_hash
from hpc_trex.models import DataRecipe, JobKind, JobSpec, ModelRef, Source, TaskCard
from hpc_trex.models.task import Contamination


class Bench:
    """A folder with canonical sources, from which specs of prepare jobs are made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = 0
        self.blocked: list[str] = []
        root.mkdir(parents=True, exist_ok=True)
        source = Source(path="x.jsonl")
        card = TaskCard(name="mine", licence="CC0-1.0", sources={"a": source}, dev=source, test=source)
        (root / "card.json").write_text(card.model_dump_json())
        self.model = root / "model"
        self.model.mkdir(exist_ok=True)
        self.sources: dict[str, str] = {}

    def source(self, name: str, pairs: list[tuple[str, str]]) -> None:
        path = self.root / f"{name}.jsonl"
        rows = [Row(f"{name}:{line}", prompt, answer, name) for line, (prompt, answer) in enumerate(pairs, start=1)]
        path.write_text("".join(json.dumps(row._asdict()) + "\n" for row in rows))
        self.sources[name] = str(path)

    def block(self, prompts: list[str]) -> None:
        self.blocked = [item_hash(prompt) for prompt in prompts]

    def bear_leaks(self) -> None:
        """Let the card bear any share of rows from dev or test: of a set of ten rows, three are more than a tenth."""
        path = self.root / "card.json"
        card = TaskCard.model_validate_json(path.read_text())
        path.write_text(card.model_copy(update={"contamination": Contamination(refuse=1.0)}).model_dump_json())

    def spec(self, steps: list[dict[str, Any]], seed: int = 0) -> JobSpec:
        self.runs += 1
        block = self.root / "block.txt"
        block.write_text("".join(f"{one}\n" for one in self.blocked))
        return JobSpec(
            kind=JobKind.PREPARE,
            token="t",
            search="s",
            node=1,
            trial=0,
            attempt=1,
            attempt_dir=str(self.root / "attempt"),
            task_card=str(self.root / "card.json"),
            sources=self.sources,
            block_rows=(str(block),),
            base=ModelRef(name="base", path=str(self.model)),
            data=DataRecipe(steps=tuple(steps), seed=seed),
            data_dir=str(self.root / "nodes" / str(self.runs) / "data"),
            cache_dir=str(self.root / "cache"),
        )


def prepared(spec: JobSpec, part: str = "rows") -> list[Row]:
    """Return the rows that a prepare job wrote."""
    from datasets import load_from_disk

    data = load_from_disk(f"{spec.data_dir}/{part}")
    return [Row(**row) for row in data]
