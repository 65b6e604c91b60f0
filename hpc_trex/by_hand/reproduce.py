"""A node's best trial once more, from its recorded recipe: data, training and evaluation as new jobs of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from hpc_trex.by_hand.jobs import Tell
from hpc_trex.by_hand.recorded import Recorded
from hpc_trex.by_hand.run import Hand, require_success
from hpc_trex.by_hand.spec import HandSpec
from hpc_trex.errors import UsageProblem
from hpc_trex.models import JobKind, JobResult, Resources, Score


class Reproduced(NamedTuple):
    """The score then and now."""

    then: Score
    now: Score
    result: JobResult

    @property
    def inside(self) -> bool:
        """The new score lies in the recorded interval."""
        return self.then.low <= self.now.value <= self.then.high


def reproduce(what: Recorded, out: Path, tell: Tell) -> Reproduced:
    """Run the recorded trial again below ``out`` and compare. Raises the failure of a job, :class:`UsageProblem` for a folder in use."""
    if out.exists():
        raise UsageProblem(f"{out} exists already", hint="name another folder with --to")
    resources = what.config.profile.train
    # The same number of processes; GPUs as this machine has them, and none where none were used.
    gpus = {} if resources.gpus else {"gpus_per_node": 0}
    backend = {} if what.config.evaluate.backend == "hf" else {"backend": "auto"}
    hand = Hand(
        HandSpec(
            model=what.config.model_path or what.config.model,  # the folder that was used: a hub id may have moved on
            out=str(out),
            seed=what.trial.seed,
            # vLLM where the search may have had it and this machine has it; else the model in memory.
            evaluate=what.config.evaluate.model_copy(update=backend),
            resources=Resources(
                processes_per_node=resources.processes,
                cpus_per_task=max(resources.cpus_per_task, resources.processes),
                mem_gb=resources.mem_gb,
                minutes=resources.minutes,
                **gpus,
            ),
        ),
        tell,
    )
    out.mkdir(parents=True, mode=0o700)
    # The rows as the search has frozen them; the sealed test stays where it is.
    shutil.copytree(what.paths.card.parent, hand.paths.card.parent)
    assert what.node.plan is not None
    base = hand.base()
    data = str(out / "data")
    owner = what.node.id if what.node.data_from is None else what.node.data_from
    # What a language model said of rows is part of the recipe's sources: nobody is asked again.
    answers = tuple(str(path) for path in sorted(what.paths.answers(owner).glob("*.json")))
    recipe = what.node.plan.data
    hand.succeeded(JobKind.PREPARE, "prepare", base=base, data=recipe, data_dir=data, answers=answers)
    result = hand.job(
        JobKind.TRAIN, "train",
        base=base, train=what.trial.effective, mixture=what.plan.mixture, data_dir=data, eval_rows=str(hand.paths.dev),
    )  # fmt: skip
    require_success(result)
    return Reproduced(what.result.scores["main"], result.scores["main"], result)
