"""Peak memory and CPU time of one forward and backward pass with the plain and the chunked cross entropy.

``python -m benchmarks.loss [--vocabulary 151936] [--hidden 256] [--tokens 2048] [--repeats 3]``: a Qwen3-shaped model of
two layers with random weights, every place carries loss, fp32. Each pass runs in a process of its own, plain and
chunked in turn; CPU seconds, since wall time on a shared machine says more about the others.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=["plain", "chunked"], help="run this one here and print it as JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options)))
        return
    seen: dict[str, list[dict[str, float]]] = {"plain": [], "chunked": []}
    for _ in range(options.repeats):
        for kind, runs in seen.items():
            command = [sys.executable, "-m", "benchmarks.loss", *sys.argv[1:], "--one", kind]
            runs.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    for kind, runs in seen.items():
        middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        print(f"{kind:<8} " + "  ".join(f"{name} {value:.3f}" for name, value in middle.items()))


def one(options: argparse.Namespace) -> dict[str, float]:
    """Return CPU seconds and the memory that the pass adds to the model at its peak, in GiB."""
    import torch  # noqa: PLC0415 - a process that only compares needs none of this
    from transformers import Qwen3Config, Qwen3ForCausalLM  # noqa: PLC0415

    from hpc_trex.training.losses import LossModel, chunk_places  # noqa: PLC0415

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=options.vocabulary, hidden_size=options.hidden, intermediate_size=3 * options.hidden,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=64, tie_word_embeddings=True,
    )  # fmt: skip
    model = LossModel(Qwen3ForCausalLM(config), None if options.one == "plain" else chunk_places(options.vocabulary))
    ids = torch.randint(options.vocabulary, (4, options.tokens // 4))
    places = torch.arange(ids.numel())
    model(
        {"input_ids": ids[:, :8]}, places[:8], ids[:, :8].flatten()[:8]
    ).backward()  # the first pass of a process is slow
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    loss = model({"input_ids": ids}, places, ids.flatten())
    loss.backward()
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu_seconds": seconds, "added_gib": (peak - before) / 2**20, "loss": float(loss)}


if __name__ == "__main__":
    main()
