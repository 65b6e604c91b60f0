"""Does a training fit: figures by hand, the largest micro-batch, and the refusal's words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpc_trex.errors import UsageProblem
from hpc_trex.memory.estimate import NF4_BYTES, estimate, loss_bytes, weight_bytes
from hpc_trex.memory.fit import GIB, largest_micro, misfit, plan_lines, require_fit
from hpc_trex.memory.shape import Shape, model_shape, read_shape
from hpc_trex.models import Profile, Resources, SearchConfig, TrainConfig

#: Qwen3-8B's sizes.
LARGE = Shape("qwen3", 36, 4096, 12288, 32, 8, 128, 151_936, tied=False)
CONFIG = {
    "model_type": "qwen3", "num_hidden_layers": 36, "hidden_size": 4096, "intermediate_size": 12288, "vocab_size": 151_936,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False,
}  # fmt: skip


def search(folder: Path, *, gpu_mem_gb: float | None = 80.0, gpus: int = 1, **train: object) -> SearchConfig:
    (folder / "config.json").write_text(json.dumps(CONFIG))
    profile = Profile(name="p", gpu_mem_gb=gpu_mem_gb, train=Resources(gpus_per_node=gpus))
    return SearchConfig(
        name="s", task="t", model="m", model_path=str(folder), profile=profile, default_train=dict(train)
    )


def test_a_config_is_read_and_its_weights_are_those_of_the_model_card(tmp_path: Path) -> None:
    search(tmp_path)
    assert read_shape(tmp_path) == LARGE
    assert round(LARGE.weights / 1e9, 2) == 8.19


@pytest.mark.parametrize("text", ["", "[]", '{"model_type": "mamba"}', '{"model_type": "llama"}'])
def test_what_is_not_counted_here_has_no_estimate(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert read_shape(tmp_path) is None
    assert read_shape(tmp_path / "nowhere") is None


def test_a_built_in_model_is_known_by_its_recipe() -> None:
    shape = model_shape("builtin:tiny-qwen3", "")
    assert shape is not None
    assert round(shape.weights / 1e6, 1) == 0.5


def test_the_largest_stage_counts_and_a_pair_is_two_rows() -> None:
    pairs = TrainConfig.model_validate({"stages": [{}, {"objective": "dpo", "rejected": ["b"]}]})
    two, four = estimate(LARGE, pairs, micro=2), estimate(LARGE, TrainConfig(), micro=4)
    assert two == four
    assert estimate(LARGE, TrainConfig.model_validate({"stages": [{}, {"objective": "pretrain"}]}), micro=4) == four


def test_sharded_ranks_hold_a_part_each_and_two_layers_together() -> None:
    """Qwen3-8B, all of it trained: no GPU of 80 GiB holds it, eight together do. By hand, in weights of 4 bytes."""
    full = TrainConfig(method="full", gradient_checkpointing=True, max_seq_len=1024)
    assert largest_micro(LARGE, full, gpu_gb=80, processes=8) == 0
    sharded = full.model_copy(update={"parallel": "fsdp"})
    assert largest_micro(LARGE, sharded, gpu_gb=80, processes=8) > 0
    part = estimate(LARGE, sharded, micro=1, processes=8)
    assert part.optimizer == pytest.approx(2 * 4 * LARGE.weights / 8, rel=1e-6)
    assert part.gradients == pytest.approx(4 * LARGE.weights / 8, rel=1e-6)
    ends, layer = 2 * 151_936 * 4096, LARGE.linear_weights // 36
    assert part.weights == pytest.approx(4 * LARGE.weights / 8 + 2 * (ends + 2 * layer) + 4 * (ends + layer), rel=1e-6)
    assert part.activations == estimate(LARGE, full, micro=1).activations


def test_one_of_several_gpus_is_told_of_sharding(tmp_path: Path) -> None:
    config = search(tmp_path, gpus=1, method="full")
    two = Resources(gpus_per_node=2, processes_per_node=2)
    several = config.model_copy(update={"profile": config.profile.model_copy(update={"train": two})})
    assert "parallel = fsdp" not in misfit(TrainConfig(method="full"), config)
    assert "parallel = fsdp" in misfit(TrainConfig(method="full"), several)


def test_four_bits_are_a_quarter_of_bf16_and_adapters_have_no_large_optimizer() -> None:
    lora = TrainConfig()
    quantized = TrainConfig(quantization="nf4")
    assert 3.8 < 2 / NF4_BYTES < 4
    assert weight_bytes(LARGE, quantized, half=True) < 0.6 * weight_bytes(LARGE, lora, half=True)
    assert (
        estimate(LARGE, lora, micro=1).optimizer < 0.02 * estimate(LARGE, TrainConfig(method="full"), micro=1).optimizer
    )


def test_the_chunked_loss_does_not_grow_with_the_vocabulary_times_the_batch() -> None:
    chunked, plain = TrainConfig(), TrainConfig(loss="plain")
    assert loss_bytes(LARGE, plain, 65536, half=True) > 100 * GIB
    assert loss_bytes(LARGE, chunked, 65536, half=True) < 3 * GIB


def test_the_largest_micro_batch_fits_and_one_more_does_not() -> None:
    train = TrainConfig(max_seq_len=2048, batch_size=64, gradient_checkpointing=True)
    most = largest_micro(LARGE, train, gpu_gb=80)
    assert 1 <= most < 64
    assert estimate(LARGE, train, micro=most).total <= 0.92 * 80 * GIB < estimate(LARGE, train, micro=most + 1).total
    assert largest_micro(LARGE, train, gpu_gb=800) == 64
    assert largest_micro(LARGE, train, gpu_gb=800, processes=4) == 16


def test_a_full_training_of_8b_on_80_gib_is_refused_with_figures(tmp_path: Path) -> None:
    """Weights, gradients and two moments in fp32 are 16 bytes a weight: 122 GiB."""
    said = misfit(TrainConfig(method="full"), search(tmp_path))
    assert "weights 44.6, gradients 30.5, optimizer 61.0" in said
    assert "the profile's GPUs have 80 GiB (gpu_mem_gb)" in said
    assert "method = lora" in said
    assert misfit(TrainConfig(), search(tmp_path)) == ""
    require_fit(search(tmp_path))
    with pytest.raises(UsageProblem, match=r"profile p: one row of 512 tokens needs about 143\.7 GiB"):
        require_fit(search(tmp_path, method="full"))


def test_a_micro_batch_that_was_asked_for_and_is_too_large_is_refused(tmp_path: Path) -> None:
    train = TrainConfig(max_seq_len=8192, micro_batch_size=64, batch_size=64, gradient_checkpointing=True)
    assert "micro_batch_size 64 needs about" in misfit(train, search(tmp_path))
    assert "at most" in misfit(train, search(tmp_path))


def test_where_nothing_is_known_nothing_is_refused(tmp_path: Path) -> None:
    full = TrainConfig(method="full")
    assert misfit(full, search(tmp_path, gpu_mem_gb=None)) == ""
    assert misfit(full, search(tmp_path, gpus=0)) == ""
    other = search(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert misfit(full, other) == ""
    assert plan_lines(other) == ["memory     no estimate: the architecture of m is not one of those that are counted"]


def test_launch_says_what_a_training_takes(tmp_path: Path) -> None:
    line = plan_lines(search(tmp_path, max_seq_len=1024))[0]
    assert line.startswith("memory     about ")
    assert "of 80 GiB a GPU, with micro-batches of " in line


def test_what_fits_with_flash_attention_is_not_refused_where_jobs_may_have_it(tmp_path: Path) -> None:
    """Whether they have it is known on the node only; the masks of packed rows are 10 GiB here."""
    sizes = {"max_seq_len": 12_288, "batch_size": 8, "micro_batch_size": 1}
    config = search(tmp_path, gpu_mem_gb=130.0)
    assert misfit(TrainConfig(attention="sdpa", **sizes), config)
    assert misfit(TrainConfig(attention="auto", **sizes), config) == ""
