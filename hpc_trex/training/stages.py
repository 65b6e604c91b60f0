"""The rows of each stage: chosen by source, tokenised for its objective, paired where one answer is preferred to another."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.errors import JobFailure
from hpc_trex.models import FailureClass, JobSpec, Stage, TrainConfig
from hpc_trex.training import data
from hpc_trex.training.objective import Answers, Objective
from hpc_trex.training.preference import Pair, Preference
from hpc_trex.training.reinforce import Prompt, Reinforce, Reward
from hpc_trex.training.schedule import total_steps


class StageSet(NamedTuple):
    """One stage with what it learns from."""

    stage: Stage
    config: TrainConfig
    """The training as it is during the stage."""
    objective: Objective
    rows: int
    cut: int
    """Samples that lost the beginning of their prompt."""

    @property
    def steps(self) -> int:
        return total_steps(self.config, self.objective.size)


class TrainingSet(NamedTuple):
    """The tokenised rows of a trial."""

    stages: list[StageSet]
    holdout: list[data.Sample]
    ordered: bool
    digest: str
    style: str

    @property
    def ends(self) -> tuple[int, ...]:
        """The last step of each stage, counted over all."""
        return tuple(accumulate(stage.steps for stage in self.stages))

    @property
    def truncated(self) -> float:
        """The part of the samples that lost the beginning of their prompt."""
        return sum(stage.cut for stage in self.stages) / sum(stage.rows for stage in self.stages)


def read_set(spec: JobSpec, config: TrainConfig, tokenizer: Any, reward: Reward | None = None) -> TrainingSet:
    """Read and tokenise what a trial is trained on; ``reward`` is for a ``grpo`` stage. Raises :class:`JobFailure` (DATA) for a stage without rows."""
    folder = Path(spec.data_dir or "")
    manifest = data.read_manifest(folder)
    rows = data.read_rows(folder / "rows")
    if spec.mixture:
        rows = data.mix(rows, spec.mixture, spec.seed)
    style = str(manifest.get("format", "plain"))
    staged = config.staged()
    worse = frozenset(name for stage, _ in staged for name in stage.rejected)
    stages = [
        _stage_set(number, stage, own, rows, worse, tokenizer, style, reward)
        for number, (stage, own) in enumerate(staged, start=1)
    ]
    holdout: list[data.Sample] = []
    if (folder / "holdout").is_dir():
        held = answered(_of(data.read_rows(folder / "holdout"), (), worse))
        if held.prompts:
            holdout, _ = data.tokenise(held, tokenizer, max_seq_len=config.max_seq_len, style=style)
    return TrainingSet(stages, holdout, bool(manifest.get("ordered", False)), str(manifest.get("sha256", "")), style)


def _stage_set(
    number: int,
    stage: Stage,
    config: TrainConfig,
    rows: data.Rows,
    worse: frozenset[str],
    tokenizer: Any,
    style: str,
    reward: Reward | None,
) -> StageSet:
    own = _of(rows, stage.sources, worse)
    try:
        if stage.objective == "pretrain":
            texts = data.tokenise_texts(own, tokenizer, max_seq_len=config.max_seq_len, style=style)
            return StageSet(stage, config, Answers(_some(texts)), len(texts), 0)
        own = answered(own)
        if stage.objective == "dpo":
            pairs, cut = _pairs(own, answered(_of(rows, stage.rejected, frozenset())), tokenizer, config, style)
            assert stage.beta is not None
            return StageSet(stage, config, Preference(pairs, stage.beta), 2 * len(pairs), cut)
        if stage.objective == "grpo":
            return _asked(stage, config, own, tokenizer, style, reward)
        samples, cut = data.tokenise(own, tokenizer, max_seq_len=config.max_seq_len, style=style)
        return StageSet(stage, config, Answers(samples), len(samples), cut)
    except JobFailure as problem:
        there = ", ".join(sorted(set(rows.sources)))
        raise JobFailure(
            f"stage {number} ({stage.shown}): {problem.message}; the set has rows of: {there}",
            failure=problem.failure,
            hint=problem.hint,
        ) from None


def _asked(
    stage: Stage, config: TrainConfig, rows: data.Rows, tokenizer: Any, style: str, reward: Reward | None
) -> StageSet:
    """Return the prompts that the model is to answer, cut so that the longest answer has room."""
    room = config.max_seq_len - (reward.max_new_tokens if reward else 0)
    if reward is None or room < 1:
        why = (
            "the job has no task whose scorer could judge"
            if reward is None
            else f"answers of {reward.max_new_tokens} tokens leave no room in max_seq_len {config.max_seq_len}"
        )
        raise JobFailure(why, failure=FailureClass.CONFIG, hint="raise max_seq_len, or leave the stage out")
    samples, _ = data.tokenise(rows, tokenizer, max_seq_len=1_048_576, style=style)
    prompts = [
        Prompt(one.ids[: one.prompt_length][-room:], answer) for one, answer in zip(samples, rows.answers, strict=True)
    ]
    cut = sum(one.prompt_length > room for one in samples)
    assert stage.generations is not None
    assert stage.temperature is not None
    objective = Reinforce(prompts, reward, tokenizer, generations=stage.generations, temperature=stage.temperature)
    return StageSet(stage, config, objective, len(prompts), cut)


def answered(rows: data.Rows) -> data.Rows:
    """Return the rows that have an answer: plain texts are for pre-training."""
    return data.part(rows, [place for place, answer in enumerate(rows.answers) if answer.strip()])


def _of(rows: data.Rows, names: tuple[str, ...], worse: frozenset[str]) -> data.Rows:
    """Return the rows of the named sources; without names those of all but the worse ones."""
    wanted = [name in names if names else name not in worse for name in rows.sources]
    return data.part(rows, [place for place, want in enumerate(wanted) if want])


def _some(samples: list[data.Sample]) -> list[data.Sample]:
    if not samples:
        raise JobFailure("no row to train on", failure=FailureClass.DATA, hint="loosen the recipe's filters")
    return samples


def _pairs(
    better: data.Rows, worse: data.Rows, tokenizer: Any, config: TrainConfig, style: str
) -> tuple[list[Pair], int]:
    """Return the pairs of tokenised answers, and how many samples in them were cut."""
    places = pair_up(better, worse)
    if not places:
        raise JobFailure(
            f"none of {len(better.prompts)} rows has the prompt of one of the {len(worse.prompts)} rejected ones and another answer",
            failure=FailureClass.DATA,
            hint="the rejected source needs the same prompts; a filter of the recipe may have dropped them",
        )
    chosen, cut = data.tokenise(
        data.part(better, [one for one, _ in places]), tokenizer, max_seq_len=config.max_seq_len, style=style
    )
    rejected, more = data.tokenise(
        data.part(worse, [one for _, one in places]), tokenizer, max_seq_len=config.max_seq_len, style=style
    )
    return [Pair(*pair) for pair in zip(chosen, rejected, strict=True)], cut + more


def pair_up(better: data.Rows, worse: data.Rows) -> list[tuple[int, int]]:
    """Return the places of better and worse rows with one prompt and two answers.

    Of several to one prompt each has a partner at least, in their order, the fewer ones several; equal answers make no pair.
    """
    by_prompt: dict[str, tuple[list[int], list[int]]] = {}
    for side, rows in enumerate((better, worse)):
        for place, prompt in enumerate(rows.prompts):
            by_prompt.setdefault(prompt, ([], []))[side].append(place)
    pairs = []
    for good, bad in by_prompt.values():
        for turn in range(max(len(good), len(bad)) if good and bad else 0):
            pair = good[turn % len(good)], bad[turn % len(bad)]
            if better.answers[pair[0]].strip() != worse.answers[pair[1]].strip():
                pairs.append(pair)
    return pairs
