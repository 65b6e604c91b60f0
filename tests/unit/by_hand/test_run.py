"""What a job by hand may use, and what it takes up again. No job is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_trex.by_hand.run import Hand
from hpc_trex.by_hand.spec import HandSpec
from hpc_trex.errors import UsageProblem
from hpc_trex.files import write_record
from hpc_trex.models import DataRecipe, EvalSettings, JobKind, JobSpec, ModelRef, Resources
from hpc_trex.models.operators import Load


def with_gpus(count: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an ``nvidia-smi`` that lists ``count`` GPUs in front of the machine's own."""
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "".join(f"echo {index}\n" for index in range(count)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("here", "given", "wanted"),
    [
        (0, {}, 0),
        (4, {}, 1),
        (4, {"processes_per_node": 3}, 3),
        (1, {"processes_per_node": 2}, 0),  # two processes on one GPU are an error of NCCL's
        (4, {"gpus_per_node": 0}, 0),
        (4, {"gpus_per_node": 2}, 2),
    ],
)
def test_a_training_by_hand_takes_the_gpus_of_the_machine(
    here: int, given: dict[str, int], wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local back end hides all GPUs from a job that asks for none."""
    with_gpus(here, tmp_path, monkeypatch)
    told: list[str] = []
    hand = Hand(HandSpec(out=str(tmp_path / "out"), resources=Resources.model_validate(given)), told.append)
    assert hand.resources(JobKind.TRAIN).gpus == wanted
    assert hand.resources(JobKind.BASELINE).gpus == wanted
    assert hand.resources(JobKind.PREPARE).gpus == given.get("gpus_per_node", 0)
    assert bool(told) == (0 < here < given.get("processes_per_node", 1) and "gpus_per_node" not in given)


def test_answers_are_scored_in_the_same_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To reproduce a round whose answers a job of their own had scored ended without a score, after the training."""
    given: list[JobSpec] = []
    monkeypatch.setattr("hpc_trex.by_hand.run.finish_job", lambda spec, tell: given.append(spec))
    settings = EvalSettings(scoring="own-job", bootstrap=200)
    hand = Hand(HandSpec(out=str(tmp_path / "out"), evaluate=settings), lambda text: None)
    hand.job(JobKind.TRAIN, "train", base=ModelRef(name="m", path="/m"))
    assert given[0].evaluate == EvalSettings(bootstrap=200)


def test_a_folder_of_another_recipe_or_task_is_not_trained_on_silently(tmp_path: Path) -> None:
    """E.g. a recipe that was edited between a training and its --resume."""
    out = tmp_path / "out"
    same = HandSpec(out=str(out), task="mini-triage", seed=1)
    card = Hand(same, print).card()
    assert card is not None
    recipe = DataRecipe(steps=tuple(Load(source=name) for name in card.sources), seed=1)
    base = ModelRef(name="m", path="/m")
    prepare = JobSpec(
        kind=JobKind.PREPARE, token="t", search="out", node=1, trial=1, attempt=1, attempt_dir=str(out / "prepare" / "1"),
        task_card=str(out / "task" / "card.json"), base=base, cache_dir=str(tmp_path), data=recipe,
    )  # fmt: skip
    (out / "prepare" / "1").mkdir(parents=True)
    write_record(out / "prepare" / "1" / "spec.json", prepare)
    (out / "data").mkdir()
    (out / "data" / "manifest.json").write_text("{}")
    assert Hand(same, print).prepared(card, base) == str(out / "data")
    fewer = same.model_copy(update={"recipe": DataRecipe(steps=recipe.steps[:1], seed=1)})
    for other in (fewer, same.model_copy(update={"seed": 2})):
        with pytest.raises(UsageProblem, match="was made by another recipe or seed"):
            Hand(other, print).prepared(card, base)
    with pytest.raises(UsageProblem, match="holds the task mini-triage, not mini-listops"):
        Hand(same.model_copy(update={"task": "mini-listops"}), print).card()
    (out / "task" / "card.json").write_text("{")
    with pytest.raises(UsageProblem, match="a task card that cannot be read"):
        Hand(same, print).card()
