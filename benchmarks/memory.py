"""The memory estimate against the peak of a real GPU, for eight trainings of a Llama- or Qwen-shaped model of random weights.

    python -m benchmarks.memory [--hidden 2048] [--layers 16]

Needs one CUDA GPU; says so and exits 8 without. NOT RUN YET: nobody of us had a GPU when it was written. Prints, for each configuration, estimate and
``torch.cuda.max_memory_allocated`` over three steps of the real loop, in GiB, and their ratio. Goal: within 15 % on at least six.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from hpc_trex.memory.estimate import estimate
from hpc_trex.memory.shape import Shape
from hpc_trex.models import TrainConfig

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "full": {"method": "full"},
    "full, checkpointing": {"method": "full", "gradient_checkpointing": True},
    "full, plain loss": {"method": "full", "loss": "plain"},
    "lora": {"method": "lora"},
    "lora, checkpointing": {"method": "lora", "gradient_checkpointing": True},
    "lora, dropout": {"method": "lora", "lora": {"dropout": 0.1}},
    "lora, plain loss": {"method": "lora", "loss": "plain"},
    "lora, long": {"method": "lora", "max_seq_len": 4096, "gradient_checkpointing": True},
}
MICRO, STEPS = 4, 3


def main() -> None:
    import torch  # noqa: PLC0415 - the help needs none

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=16)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA GPU here: nothing can be measured")
        raise SystemExit(8)
    print(f"{torch.cuda.get_device_name()}\n\n| training | estimate GiB | measured GiB | ratio |\n|---|---|---|---|")
    shape = Shape("qwen3", options.layers, options.hidden, 3 * options.hidden, options.hidden // 128, options.hidden // 256,
                  128, 151_936, tied=True)  # fmt: skip
    for name, fields in CONFIGURATIONS.items():
        config = TrainConfig.model_validate(
            {"max_seq_len": 1024, "batch_size": MICRO, "micro_batch_size": MICRO, "attention": "sdpa"} | fields
        )
        guess, peak = estimate(shape, config, micro=MICRO).total / 2**30, measured(shape, config) / 2**30
        print(f"| {name} | {guess:.2f} | {peak:.2f} | {guess / peak:.2f} |", flush=True)


def measured(shape: Shape, config: TrainConfig) -> int:
    """Return the peak of the real loop over a few steps, in bytes."""
    import torch  # noqa: PLC0415
    from transformers import Qwen3Config, Qwen3ForCausalLM  # noqa: PLC0415

    from hpc_trex.job.heartbeat import Beat  # noqa: PLC0415
    from hpc_trex.layout import AttemptPaths  # noqa: PLC0415
    from hpc_trex.training.adapters import add_lora  # noqa: PLC0415
    from hpc_trex.training.data import Sample, Stream  # noqa: PLC0415
    from hpc_trex.training.loop import Loop, Plan  # noqa: PLC0415
    from hpc_trex.training.objective import Answers, Form  # noqa: PLC0415
    from hpc_trex.training.ranks import Ranks  # noqa: PLC0415
    from hpc_trex.training.train import make_accelerator  # noqa: PLC0415

    accelerator = make_accelerator(config)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.mlp, head_dim=shape.head_dim,
            num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
            tie_word_embeddings=shape.tied, attn_implementation="sdpa",
        )
    )  # fmt: skip
    if config.method == "lora":
        model = model.to(torch.bfloat16)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if config.method == "lora":
        model = add_lora(model, config.lora)
    rows = [Sample([(7 * place + row) % 1000 for place in range(config.max_seq_len)], 0) for row in range(MICRO)]
    plan = Plan(
        config=config, objective=Answers(rows), stream=Stream(MICRO, seed=0, ordered=True), total=STEPS, seed=0,
        form=Form("packed", additive_mask=False, pad_id=0), vocabulary=shape.vocabulary, checkpoints=None,
        checkpoint_seconds=1e9, identity="",
    )  # fmt: skip
    torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        beat = Beat(AttemptPaths(Path(folder)), every=1e9)
        Loop(model.to(accelerator.device), plan, Ranks(accelerator), beat).run()
    peak = torch.cuda.max_memory_allocated()
    del model
    torch.cuda.empty_cache()
    return int(peak)


if __name__ == "__main__":
    main()
