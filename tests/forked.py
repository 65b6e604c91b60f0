"""``python -m tests.forked RANKS:SPEC[@STEP]...``: train specs on so many ranks, one after the other, as the launcher's workers would.

With a step the training is asked to stop there. The packages are imported once and the ranks forked from there: a start of its own for each would be most of a test's time.
A spec's folder gets ``outcome.json``: what the training found, or how it was stopped.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
from pathlib import Path

from hpc_trex.models import JobSpec
from tests.in_process import StoppingBeat


def main() -> None:
    import peft  # noqa: F401 - what the ranks would import each by itself
    import torch
    import transformers  # noqa: F401

    import hpc_trex.training.train  # noqa: F401

    torch.set_num_threads(1)
    fork = multiprocessing.get_context("fork")
    for argument in sys.argv[1:]:
        number, path = argument.split(":")
        world = int(number)
        path, _, stop = path.partition("@")
        port = free_port()
        ranks = [fork.Process(target=rank_main, args=(path, stop, rank, world, port)) for rank in range(world)]
        for one in ranks:
            one.start()
        for one in ranks:
            one.join()
        if any(one.exitcode for one in ranks):
            raise SystemExit(f"{path}: a rank failed: {[one.exitcode for one in ranks]}")


def rank_main(path: str, stop: str, rank: int, world: int, port: int) -> None:
    from hpc_trex.training.beat import Interrupted
    from hpc_trex.training.reinforce import Reward
    from hpc_trex.training.train import train

    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in numbers.items()} | {"MASTER_ADDR": "127.0.0.1"})
    spec = JobSpec.model_validate_json(Path(path).read_bytes())
    beat = StoppingBeat(spec, int(stop) if stop else None)
    beat.rank = rank
    try:
        trained = train(spec, beat, Reward(share_of_e, (), 6))
        found = {"curve": [point.loss for point in trained.figures["curve"]], "tokens": trained.figures["tokens"]}
        found |= {"extra": trained.extra_scores, "resumed": trained.figures["resumed_from_step"]}
        found |= {"model": trained.ref.path, "adapter": trained.ref.adapter, "parallel": trained.figures["parallel"]}
    except Interrupted as stopped:
        found = {"stopped": stopped.step}
    if rank == 0:
        Path(spec.attempt_dir, "outcome.json").write_text(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


def share_of_e(text: str, answer: str) -> float:
    """A reward that every answer has some of: the share of its characters that are an e."""
    return text.count("e") / max(1, len(text))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
