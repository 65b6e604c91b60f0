"""Our training loop against TRL's SFTTrainer and transformers' Trainer: same model, samples, batch and precision.

    PYTHON -m benchmarks.training MODEL_FOLDER [--samples 320] [--batch 16] [--longest 256] [--repeats 3]

PYTHON needs trl beside our own packages. Every run is a process of its own with one thread; kinds take turns, so that a
busy machine treats them alike. Given are medians: tokens (no padding) a CPU second of the training, CPU seconds of the
process up to the end of its first step, and peak memory, then the ratio of each to the faster peer, run by run.

Samples have log-normal lengths and are tokenised before; loss is on the answer's half. ``packed`` is TRL's ``packing``
(its samples see each other under SDPA; ours do not); transformers' Trainer has none.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KINDS = {"padded": ("ours", "trl", "transformers"), "packed": ("ours", "trl")}
LEARNING_RATE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--samples", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--longest", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "LAYOUT"), help="run this one here and print it as JSON")
    options = parser.parse_args()
    if options.one:
        kind, layout = options.one
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet):
            figures = RUNNERS[kind](options, packed=layout == "packed")
        print(json.dumps(figures))
        return
    print("| layout | | tokens a CPU s | CPU s to the first step | peak GiB | tokens a CPU s, over the faster peer |")
    print("|---|---|---|---|---|---|")
    for layout, kinds in KINDS.items():
        runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
        for _ in range(options.repeats):
            for kind in kinds:
                command = [sys.executable, "-m", "benchmarks.training", *sys.argv[1:], "--one", kind, layout]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{kind} {layout} failed:\n{done.stderr[-3000:]}")
                runs[kind].append(json.loads(done.stdout.splitlines()[-1]))
        for kind in kinds:
            print(row(layout, kind, runs), flush=True)


def row(layout: str, kind: str, runs: dict[str, list[dict[str, float]]]) -> str:
    """Return one line of the table; the ratio is the median over pairs of runs that stood side by side."""
    middle = {name: statistics.median(run[name] for run in runs[kind]) for name in runs[kind][0]}
    peers = [[run["speed"] for run in other] for name, other in runs.items() if name != "ours"]
    pairs = zip(runs[kind], *peers, strict=True)
    ratio = statistics.median(own["speed"] / max(others) for own, *others in pairs)
    return (
        f"| {layout} | {kind} | {middle['speed']:,.0f} | {middle['first']:.1f} | {middle['peak']:.2f} | {ratio:.2f} |"
    )


def samples(options: argparse.Namespace) -> list[list[int]]:
    """Return token ids of uneven lengths (log-normal, median an eighth of the longest), the same for every kind."""
    draw = random.Random(1)
    lengths = [
        max(8, min(options.longest, round(draw.lognormvariate(0, 0.9) * options.longest / 8)))
        for _ in range(options.samples)
    ]
    return [[draw.randrange(10, 700) for _ in range(length)] for length in lengths]


class Clock:
    """CPU seconds of this process, at the beginning of the training, after its first step, and at its end."""

    def __init__(self) -> None:
        self.begin = self.first = 0.0

    def step(self) -> None:
        self.first = self.first or time.process_time()

    def figures(self, tokens: int) -> dict[str, float]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return {"speed": tokens / (time.process_time() - self.begin), "first": self.first, "peak": peak}


def ours(options: argparse.Namespace, *, packed: bool) -> dict[str, float]:
    from hpc_trex.job.heartbeat import Beat  # noqa: PLC0415 - each process imports what it measures
    from hpc_trex.layout import AttemptPaths  # noqa: PLC0415
    from hpc_trex.models import ModelRef, TrainConfig  # noqa: PLC0415
    from hpc_trex.training.data import Sample, Stream  # noqa: PLC0415
    from hpc_trex.training.load import load_model  # noqa: PLC0415
    from hpc_trex.training.loop import Loop, Plan  # noqa: PLC0415
    from hpc_trex.training.objective import Answers, Form  # noqa: PLC0415
    from hpc_trex.training.ranks import Ranks  # noqa: PLC0415
    from hpc_trex.training.train import make_accelerator  # noqa: PLC0415

    one_thread()
    config = TrainConfig(
        method="full", learning_rate=LEARNING_RATE, batch_size=options.batch, precision="fp32", packing=packed
    )
    accelerator = make_accelerator(config)
    loaded = load_model(ModelRef(name="m", path=str(options.model)), attention="sdpa", precision="fp32")
    rows = [Sample(ids, len(ids) // 2) for ids in samples(options)]
    clock = Clock()

    class Watching(Beat):
        def __call__(self, heartbeat: Any) -> None:  # noqa: ARG002
            clock.step()

    plan = Plan(
        config=config, objective=Answers(rows), stream=Stream(len(rows), seed=0, ordered=False), total=len(rows) // options.batch,
        seed=0, form=Form("packed" if packed else "padded", additive_mask=False, pad_id=0), vocabulary=800,
        checkpoints=None, checkpoint_seconds=1e9, identity="",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(loaded.model, plan, Ranks(accelerator), Watching(AttemptPaths(Path(folder)), every=1e9))
        clock.begin = time.process_time()
        trained = loop.run()
    return clock.figures(trained.progress.tokens)


def trl(options: argparse.Namespace, *, packed: bool) -> dict[str, float]:
    from datasets import Dataset  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415
    from trl import SFTConfig, SFTTrainer  # noqa: PLC0415

    one_thread()
    rows = samples(options)
    masks = [[int(place >= len(ids) // 2) for place in range(len(ids))] for ids in rows]
    tokens = sum(map(len, rows))
    steps = len(rows) // options.batch
    # Packed rows are full: as many of them a step as hold the tokens of a step.
    batch = max(1, round(tokens / steps / options.longest)) if packed else options.batch
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            **shared(folder, batch), packing=packed, max_length=options.longest, completion_only_loss=True,
            gradient_checkpointing=False,
        )  # fmt: skip
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(options.model),
            args=arguments,
            processing_class=AutoTokenizer.from_pretrained(options.model),
            train_dataset=Dataset.from_dict({"input_ids": rows, "completion_mask": masks}),
        )
        return timed(trainer, tokens)


def transformers(options: argparse.Namespace, *, packed: bool) -> dict[str, float]:
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments  # noqa: PLC0415

    assert not packed
    one_thread()
    rows = samples(options)

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        longest = max(len(row["input_ids"]) for row in batch)
        made: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
        for row in batch:
            ids, gap = row["input_ids"], longest - len(row["input_ids"])
            half = len(ids) // 2
            made["input_ids"].append(ids + [0] * gap)
            made["attention_mask"].append([1] * len(ids) + [0] * gap)
            made["labels"].append([-100] * half + ids[half:] + [-100] * gap)
        return {name: torch.tensor(values) for name, values in made.items()}

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=AutoModelForCausalLM.from_pretrained(options.model),
            args=TrainingArguments(**shared(folder, options.batch)),
            data_collator=collate,
            train_dataset=[{"input_ids": ids} for ids in rows],
        )
        return timed(trainer, sum(map(len, rows)))


def shared(folder: str, batch: int) -> dict[str, Any]:
    """Return the arguments that both peers get: one epoch, the optimizer and clipping of ours, nothing written."""
    return {
        "output_dir": folder, "per_device_train_batch_size": batch, "num_train_epochs": 1, "learning_rate": LEARNING_RATE,
        "optim": "adamw_torch_fused", "adam_beta2": 0.98, "max_grad_norm": 1.0, "bf16": False, "use_cpu": True,
        "logging_steps": 1, "save_strategy": "no", "report_to": "none", "disable_tqdm": True, "seed": 0,
    }  # fmt: skip


def timed(trainer: Any, tokens: int) -> dict[str, float]:
    from transformers import TrainerCallback  # noqa: PLC0415

    clock = Clock()

    class Watching(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.begin = time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.step()

    trainer.add_callback(Watching())
    trainer.train()
    return clock.figures(tokens)


def one_thread() -> None:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)


RUNNERS = {"ours": ours, "trl": trl, "transformers": transformers}


if __name__ == "__main__":
    main()
