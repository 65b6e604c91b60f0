"""Data steps that need a model: the loss judges find wrong answers in the crowd's pool of a built-in task."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from hpc_trex.data.operators.base import Context, column, from_rows
from hpc_trex.data.prepare import prepare
from hpc_trex.ftbench.cards import load_card
from hpc_trex.ftbench.generators.listops import OPERATIONS
from hpc_trex.ftbench.materialise import materialise, read_rows
from hpc_trex.ftbench.rows import Row, normalised
from hpc_trex.layout import SearchPaths
from hpc_trex.models import DataRecipe, Heartbeat, JobKind, JobSpec, ModelRef

pytestmark = pytest.mark.local


class _Beat:
    """What a single process hands to the job's parts."""

    rank = 0

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.stop = self

    def asked(self) -> bool:
        return False

    def __call__(self, heartbeat: Heartbeat) -> None:
        self.messages.append(heartbeat.message)


@pytest.fixture(scope="module")
def base(cache: Path, base_model: Path) -> ModelRef:
    """The built-in base model, from the run's cache."""
    from hpc_trex.training.base_model import make_builtin

    return make_builtin("tiny-qwen3", str(cache), _Beat()).ref


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> SearchPaths:
    paths = SearchPaths(tmp_path_factory.mktemp("prepare") / "search")
    materialise(load_card("mini-listops"), paths)
    return paths


def _spec(task: SearchPaths, base: ModelRef, node: int, steps: list[dict[str, Any]]) -> JobSpec:
    loads = [{"op": "load", "source": source} for source in ("curated", "crowd", "web")]
    return JobSpec(
        kind=JobKind.PREPARE,
        token="t",
        search="s",
        node=node,
        trial=0,
        attempt=1,
        attempt_dir=str(task.attempt(node, 0, 1).root),
        task_card=str(task.card),
        sources={path.stem: str(path) for path in task.sources.iterdir()},
        block_rows=(str(task.block),),
        base=base,
        data=DataRecipe(steps=(*loads, *steps)),
        data_dir=str(task.data(node)),
        cache_dir=str(task.root),
    )


def _rows(spec: JobSpec) -> list[Row]:
    from datasets import load_from_disk

    return [Row(**row) for row in load_from_disk(f"{spec.data_dir}/rows")]


def _right(row: Row) -> bool:
    """Solve a row a second time; rows of other families are not wrong in this sense."""
    if not row.prompt.startswith("list: "):
        return True
    name, digits = row.prompt.removeprefix("list: ").removesuffix("\nresult:").split(": ")
    return row.answer.strip() == ("".join(map(str, OPERATIONS[name]([int(digit) for digit in digits]))) or "none")


CLEAN = [{"op": "dedup"}, {"op": "filter_similar", "reference": "curated"}]


def test_likeness_to_the_trusted_source_drops_other_families_and_keeps_the_task(
    task: SearchPaths, base: ModelRef
) -> None:
    spec = _spec(task, base, 1, CLEAN)
    prepare(spec, _Beat())
    rows = _rows(spec)
    everything = [row for path in task.sources.iterdir() for row in read_rows(path)]
    on_task = {
        (normalised(row.prompt), normalised(row.answer)) for row in everything if row.prompt.startswith("list: ")
    }
    assert {(normalised(row.prompt), normalised(row.answer)) for row in rows} == on_task


def test_crossfit_drops_far_more_wrong_answers_than_chance_and_the_same_ones_each_time(
    task: SearchPaths, base: ModelRef
) -> None:
    before = _spec(task, base, 1, CLEAN)
    prepare(before, _Beat())
    wrong = sum(not _right(row) for row in _rows(before))
    share = wrong / len(_rows(before))
    beat = _Beat()
    steps = [*CLEAN, {"op": "filter_loss", "judge": "crossfit", "drop_fraction": 0.3}]
    spec = _spec(task, base, 2, steps)
    manifest = prepare(spec, beat)
    left = sum(not _right(row) for row in _rows(spec))
    dropped = len(_rows(before)) - len(_rows(spec))
    precision, recall = (wrong - left) / dropped, (wrong - left) / wrong
    print(f"wrong {wrong} of {len(_rows(before))}; precision {precision:.2f}, recall {recall:.2f}")
    assert precision > 1.5 * share
    assert recall > 0.45
    assert any("tuning a judge" in message for message in beat.messages), "a long step gives signs of life"
    again = _spec(task, base, 3, steps)
    assert prepare(again, _Beat())["sha256"] == manifest["sha256"]


def test_the_hardest_rows_are_those_with_the_highest_loss(task: SearchPaths, base: ModelRef) -> None:
    everything = _spec(task, base, 5, [{"op": "order", "by": "loss", "descending": True}])
    prepare(everything, _Beat())
    spec = _spec(task, base, 6, [{"op": "sample", "n": 40, "method": "hardest"}])
    prepare(spec, _Beat())
    hardest = {row.row_id for row in _rows(everything)[:40]}
    assert len({row.row_id for row in _rows(spec)} & hardest) >= 38, "rows of one loss may change places"


def test_tokens_are_counted_as_the_base_counts_them(task: SearchPaths, base: ModelRef) -> None:
    from hpc_trex.training.load import load_tokenizer

    tokenizer = load_tokenizer(base)
    spec = _spec(task, base, 7, [{"op": "filter_tokens", "column": "both", "max_tokens": 30}])
    manifest = prepare(spec, _Beat())
    counts = [len(tokenizer(row.prompt)["input_ids"]) + len(tokenizer(row.answer)["input_ids"]) for row in _rows(spec)]
    dropped = manifest["dropped"]
    assert isinstance(dropped, dict)
    assert 0 < max(counts) <= 30
    assert dropped["4 filter_tokens"] > 0


def test_a_curriculum_by_the_base_models_loss_rises(task: SearchPaths, base: ModelRef) -> None:
    from hpc_trex.data.loss_judge import base_losses

    spec = _spec(task, base, 4, [{"op": "order", "by": "loss"}])
    assert prepare(spec, _Beat())["ordered"] is True
    data = from_rows(row._replace(answer=row.answer.strip()) for row in _rows(spec))
    losses = base_losses(data, Context({}, base, 0, "plain", "", lambda _: None))
    assert len(losses) == len(column(data, "prompt"))
    assert all(later >= earlier - 1e-4 for earlier, later in itertools.pairwise(losses))
    assert losses[-1] > losses[0] + 1
