"""The torch-free parts of the training: schedule, order, packing, truncation, divergence, curve, attention, builtin models."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.builtin import BUILTIN_MODELS, builtin, builtin_path
from hpc_trex.errors import JobFailure, NotFound
from hpc_trex.models import FailureClass, ModelRef, TrainConfig
from hpc_trex.training import data
from hpc_trex.training.attention import Machine, choose
from hpc_trex.training.batches import pack
from hpc_trex.training.curve import MAX_POINTS, Curve
from hpc_trex.training.health import Diverged, LossWatch
from hpc_trex.training.progress import MARKER, Progress, newest_checkpoint
from hpc_trex.training.schedule import Sizes, factor, learning_rate, total_steps
from hpc_trex.training.speed import utilisation
from tests.jobs import prepared_set


def test_steps_cover_the_epochs_and_max_steps_caps_them() -> None:
    assert total_steps(TrainConfig(epochs=2, batch_size=16), 100) == 13
    assert total_steps(TrainConfig(epochs=2, batch_size=16, max_steps=5), 100) == 5
    assert total_steps(TrainConfig(epochs=0.01, batch_size=16), 100) == 1
    assert total_steps(TrainConfig(epochs=1.1, batch_size=1), 50) == 55  # 1.1 * 50 = 55.00000000000001


@given(st.sampled_from(["constant", "linear", "cosine"]), st.integers(1, 500), st.floats(0, 0.5))
def test_learning_rate_rises_then_never_rises_again(schedule: Any, total: int, warmup: float) -> None:
    factors = [factor(schedule, step, total, warmup) for step in range(total)]
    assert all(0 < value <= 1 for value in factors)
    top = math.ceil(warmup * total)
    assert all(a < b for a, b in pairwise(factors[:top]))
    assert all(a >= b for a, b in pairwise(factors[top:]))
    if top < total:
        assert factors[top] == 1


def test_cosine_is_half_way_down_in_the_middle() -> None:
    config = TrainConfig(learning_rate=1e-2, schedule="cosine", warmup_ratio=0)
    assert learning_rate(config, 50, 100) == pytest.approx(5e-3)


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 8), st.data())
def test_every_sample_of_a_step_is_trained_on_exactly_once(
    batch: int, world: int, micro: int, more: st.DataObject
) -> None:
    """Over all ranks, and all ranks have the same number of micro-batches."""
    if batch < world:
        with pytest.raises(JobFailure, match="processes"):
            Sizes.of(TrainConfig(batch_size=batch), 0, world)
        return
    config = TrainConfig(batch_size=batch, micro_batch_size=micro)
    dealt = [Sizes.of(config, rank, world).micro_batches(list(range(batch))) for rank in range(world)]
    assert sorted(index for parts in dealt for part in parts for index in part) == list(range(batch))
    assert len({len(parts) for parts in dealt}) == 1
    assert max(len(part) for parts in dealt for part in parts) <= micro


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_packing_loses_nothing_and_overfills_nothing(lengths: list[int]) -> None:
    capacity = max(lengths)
    bins = pack(lengths, capacity)
    assert sorted(index for one in bins for index in one) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in one) <= capacity for one in bins)
    # First fit leaves at most one bin half empty.
    assert sum(2 * sum(lengths[index] for index in one) <= capacity for one in bins) <= 1


@given(st.integers(1, 20), st.integers(0, 5), st.integers(1, 30), st.integers(1, 30))
def test_stream_gives_the_same_order_from_any_position(size: int, seed: int, start: int, count: int) -> None:
    whole = data.Stream(size, seed=seed, ordered=False).take(0, start + count)
    assert data.Stream(size, seed=seed, ordered=False).take(start, count) == whole[start:]
    for epoch in range((start + count) // size):
        assert sorted(whole[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_epochs_differ_and_an_ordered_set_keeps_its_order() -> None:
    shuffled = data.Stream(50, seed=1, ordered=False)
    assert shuffled.take(0, 50) != shuffled.take(50, 50)
    assert data.Stream(3, seed=1, ordered=True).take(0, 7) == [0, 1, 2, 0, 1, 2, 0]


class Letters:
    """A tokenizer of one token a letter, 0 the end, that puts 99 before a text where special tokens are wanted."""

    eos_token_id = 0

    def __call__(self, texts: list[str], *, add_special_tokens: bool, return_attention_mask: bool) -> dict[str, Any]:
        first = [99] if add_special_tokens else []
        return {"input_ids": [first + [ord(letter) for letter in text] for text in texts]}


def sample(prompt: str, answer: str, length: int, style: str = "plain") -> tuple[data.Sample, int]:
    made, cut = data.tokenise(data.Rows([prompt], [answer], ["s"]), Letters(), max_seq_len=length, style=style)
    return made[0], cut


def test_loss_is_on_the_answer_and_its_end_only() -> None:
    one, cut = sample("ab", "cd", 10)
    assert one.ids == [99, 97, 98, 99, 100, 0]
    assert one.labels == [data.IGNORED] * 3 + [99, 100, 0]
    assert (one.answer_tokens, cut) == (3, 0)


def test_chat_text_gets_no_special_tokens_of_its_own() -> None:
    assert sample("ab", "cd", 10, "chat")[0].ids == [97, 98, 99, 100, 0]


def test_a_long_row_loses_the_beginning_of_its_prompt_and_is_counted() -> None:
    one, cut = sample("abcdef", "xy", 5)
    assert one.ids == [101, 102, 120, 121, 0]
    assert (one.prompt_length, one.answer_tokens, cut) == (2, 3, 1)


@given(st.text("abc", max_size=12), st.text("xyz", min_size=1, max_size=12), st.integers(8, 16))
def test_the_end_of_the_answer_is_always_kept(prompt: str, answer: str, length: int) -> None:
    one, _ = sample(prompt, answer, length)
    assert len(one.ids) <= length
    assert one.ids[-1] == 0
    assert one.answer_tokens == sum(label != data.IGNORED for label in one.labels[1:]) >= 1


def test_an_empty_set_is_a_failure_of_the_data() -> None:
    with pytest.raises(JobFailure) as caught:
        data.tokenise(data.Rows([], [], []), Letters(), max_seq_len=8, style="plain")
    assert caught.value.failure is FailureClass.DATA


def test_a_mixture_takes_rows_by_weight_without_repeating_any(tmp_path: Path) -> None:
    rows = data.read_rows(prepared_set(tmp_path / "set", 90) / "rows")
    assert (rows.sources.count("a"), rows.sources.count("b")) == (60, 30)
    mixed = data.mix(rows, {"a": 1, "b": 2}, 0)
    assert (mixed.sources.count("a"), mixed.sources.count("b")) == (15, 30)
    assert len(mixed.prompts) == len(mixed.answers) == 45
    assert data.mix(rows, {"a": 1, "b": 2}, 0) == mixed != data.mix(rows, {"a": 1, "b": 2}, 1)


def test_prepared_set_written_by_datasets_is_read(tmp_path: Path) -> None:
    import datasets

    columns = {"row_id": ["a:1", "a:2"], "source": ["a", "a"], "prompt": ["p", "ü\n"], "answer": [" x", " y"]}
    datasets.Dataset.from_dict(columns).save_to_disk(str(tmp_path / "rows"))
    assert data.read_rows(tmp_path / "rows") == data.Rows(["p", "ü\n"], [" x", " y"], ["a", "a"])


def test_broken_set_is_a_failure_of_the_data(tmp_path: Path) -> None:
    folder = prepared_set(tmp_path / "set")
    arrow = folder / "rows" / "data-00000-of-00001.arrow"
    arrow.write_bytes(arrow.read_bytes()[:50])
    with pytest.raises(JobFailure) as caught:
        data.read_rows(folder / "rows")
    assert caught.value.failure is FailureClass.DATA


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan)])
def test_what_is_no_number_is_divergence_at_once(loss: float, norm: float) -> None:
    with pytest.raises(Diverged, match="step 3"):
        LossWatch(800).see(3, loss, norm)


def test_a_loss_far_above_guessing_is_divergence_and_a_high_one_at_the_start_is_not() -> None:
    watch = LossWatch(800, first=1.0)
    for step in range(4):
        watch.see(step, 50.0, 1.0)
    with pytest.raises(Diverged):
        watch.see(5, 50.0, 1.0)
    calm = LossWatch(800)
    for step in range(20):
        calm.see(step, 10.9 - step * 0.1, 1.0)


@given(st.integers(1, 1000), st.integers(0, 999))
def test_curve_has_at_most_200_points_and_goes_on_after_a_stop(total: int, stop: int) -> None:
    whole, first = Curve((total,)), Curve((total,))
    stop = min(stop, total)
    for step in range(1, total + 1):
        whole.add(step, step * 0.5, 0.1, step)
        if step <= stop:
            first.add(step, step * 0.5, 0.1, step)
    rest = Curve((total,), points=first.points, window=first.window)
    for step in range(stop + 1, total + 1):
        rest.add(step, step * 0.5, 0.1, step)
    assert rest.points == whole.points
    assert len(whole.points) <= MAX_POINTS
    assert whole.points[-1].step == total


@pytest.mark.parametrize(
    ("machine", "name", "why"),
    [
        (Machine(True, (9, 0), True), "flash_attention_2", "installed"),
        (Machine(False, (9, 0), True), "sdpa", "not installed"),
        (Machine(True, (7, 5), True), "sdpa", "7.5 is below 8.0"),
        (Machine(True, (9, 0), False), "sdpa", "fp32"),
        (Machine(True, None, True), "sdpa", "no CUDA GPU"),
    ],
)
def test_attention_is_flash_where_possible_and_the_reason_is_given(machine: Machine, name: str, why: str) -> None:
    chosen = choose("auto", machine)
    assert chosen.name == name
    assert why in chosen.shown
    if name == "sdpa":
        with pytest.raises(JobFailure, match="not possible"):
            choose("flash_attention_2", machine)


def test_builtin_path_is_fixed_by_recipe_and_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    assert builtin_path("builtin:tiny-qwen3", tmp_path) == builtin_path("tiny-qwen3", tmp_path)
    assert builtin_path("tiny-qwen3", tmp_path, steps=5) != builtin_path("tiny-qwen3", tmp_path)
    assert builtin_path("tiny-qwen3", tmp_path, steps=BUILTIN_MODELS["tiny-qwen3"].steps) == builtin_path(
        "tiny-qwen3", tmp_path
    )
    with pytest.raises(NotFound) as caught:
        builtin("gigantic")
    assert "builtin:tiny-qwen3" in caught.value.hint


def checkpoint(folder: Path, step: int, **fields: Any) -> None:
    (folder / f"step-{step:08d}").mkdir(parents=True)
    (folder / f"step-{step:08d}" / MARKER).write_text(Progress(step=step, **fields).model_dump_json())


def test_resume_takes_the_newest_complete_checkpoint_of_the_same_training(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    checkpoint(first, 10, identity="a")
    checkpoint(first, 30, identity="a")
    checkpoint(second, 20, identity="a")
    checkpoint(second, 40, identity="b")
    (second / "step-00000050").mkdir()
    (second / "step-00000060").mkdir()
    (second / "step-00000060" / MARKER).write_text('{"step": 6')
    found = newest_checkpoint([first, second, tmp_path / "nowhere"], identity="a")
    assert found is not None
    assert (found.step, found.folder.parent) == (30, first)
    assert newest_checkpoint([first], identity="c") is None


def test_finished_training_counts_only_while_its_model_is_there(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20, finished=ModelRef(name="m", path=str(model)))
    assert newest_checkpoint([tmp_path]).step == 20  # type: ignore[union-attr]
    model.rmdir()
    assert newest_checkpoint([tmp_path]).step == 10  # type: ignore[union-attr]


def test_utilisation_counts_six_flops_a_weight_of_a_full_training() -> None:
    assert utilisation(8_000_000_000, 8_000_000_000, 10_000, 989.0, 1) == pytest.approx(0.4853, abs=1e-4)
    frozen = utilisation(8_000_000_000, 0, 10_000, 989.0, 2)
    assert frozen == pytest.approx(0.4853 * 4 / 6 / 2, abs=1e-4)


def test_unknown_lora_target_lists_the_valid_ones() -> None:
    import torch

    from hpc_trex.training.adapters import check_targets

    head = torch.nn.Linear(2, 2)
    layers = torch.nn.ModuleDict({"attn": torch.nn.ModuleDict({"q_proj": torch.nn.Linear(2, 2)})})
    model = SimpleNamespace(
        get_output_embeddings=lambda: head, named_modules=lambda: [*layers.named_modules(), ("lm_head", head)]
    )
    assert check_targets(model, ("q_proj",)) == ["q_proj"]
    assert check_targets(model, ("all-linear",)) == "all-linear"
    with pytest.raises(JobFailure) as caught:
        check_targets(model, ("q_proj", "nope", "lm_head"))
    assert caught.value.failure is FailureClass.CONFIG
    assert "nope, lm_head" in caught.value.message
    assert caught.value.hint == "valid targets: all-linear, q_proj"
