"""Group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300): the model answers, the task's scorer judges.

Each step takes prompts, lets the model answer each several times, and makes the answers likelier that score above the
mean of their group, the others less likely. Answers are used for one step only, so the ratio of the policies is 1 and
nothing is clipped; there is no penalty for leaving the first model. Tokens of a step count alike (DAPO, arXiv
2503.14476), whatever answer they are of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from hpc_trex.models import Heartbeat
from hpc_trex.training.batches import Batch
from hpc_trex.training.compiled import uncompiled
from hpc_trex.training.data import Sample
from hpc_trex.training.losses import log_probabilities
from hpc_trex.training.objective import Form, counted

if TYPE_CHECKING:
    from hpc_trex.training.loop import Loop

#: Of an answer's text, and of the row's own answer, the score: higher is better.
Judge = Callable[[str, str], float]
#: Answers are drawn from what the model says: its own generation settings may ask for otherwise (Qwen2.5's do).
UNCHANGED = {"top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
#: Keeps the advantage finite in a group of equal scores.
EPSILON = 1e-4


class Reward(NamedTuple):
    """How the task judges an answer, and how it lets a model answer."""

    judge: Judge
    stop: tuple[str, ...]
    max_new_tokens: int


class Prompt(NamedTuple):
    """One row: what the model is asked, and the right answer, which it does not see."""

    ids: list[int]
    answer: str


class Answered(NamedTuple):
    """One answer of the model."""

    sample: Sample
    reward: float
    advantage: float


class Reinforce:
    """The GRPO loss over answers of the model. An item is one answer: ``generations`` of them to each prompt."""

    def __init__(
        self, prompts: list[Prompt], reward: Reward, tokenizer: Any, *, generations: int, temperature: float
    ) -> None:
        self.prompts = prompts
        self.reward = reward
        self.tokenizer = tokenizer
        self.generations = generations
        self.temperature = temperature
        self.answered: dict[int, Answered] = {}
        """By item, of this step."""
        self._weight = 1.0

    @property
    def size(self) -> int:
        return len(self.prompts) * self.generations

    @property
    def drawn(self) -> int:
        return len(self.prompts)

    @property
    def choices(self) -> int | None:
        return None

    def draw(self, loop: Loop, start: int, count: int) -> list[int]:
        """Let the model answer the next prompts; return the items. Every rank answers a part and hears of all."""
        prompts = loop.plan.stream.take(start // self.generations, count // self.generations)
        own = list(range(loop.sizes.rank, len(prompts), loop.sizes.world))
        made = {place: self._answers(loop, prompts[place], start + place) for place in own}
        for part in loop.ranks.heard(made):
            made |= part
        # The same prompt may come twice in a step, at the turn of an epoch: items are counted by place.
        every = (one for place in sorted(made) for one in made[place])
        self.take(dict(enumerate(every)))
        return sorted(self.answered)

    def take(self, answered: dict[int, Answered]) -> None:
        """Take the answers of a step. The loss is a mean over answers, and each token of the step shall count alike."""
        self.answered = answered
        self._weight = len(answered) / sum(one.sample.answer_tokens for one in answered.values())

    def _answers(self, loop: Loop, prompt: int, place: int) -> list[Answered]:
        """Return the model's answers to one prompt, drawn by a seed of their own: however many ranks there are, they are the same."""
        asked = self.prompts[prompt]
        torch.manual_seed((loop.plan.seed * 1_000_003 + loop.step) * 1_021 + place)
        ids = torch.tensor([asked.ids] * self.generations, device=loop.device)
        loop.losses.eval()
        with torch.no_grad(), uncompiled(loop.plan.config.compiled), loop.ranks.accelerator.autocast():
            texts = loop.bare.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=self.temperature,
                **UNCHANGED, max_new_tokens=self.reward.max_new_tokens, pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.tokenizer.eos_token_id, stop_strings=list(self.reward.stop) or None,
                tokenizer=self.tokenizer, use_cache=True,
            )  # fmt: skip
        loop.losses.train()
        loop.beat(Heartbeat(phase="training", step=loop.step, total_steps=loop.plan.whole, message="answering"))
        news = [self._ended(row[len(asked.ids) :]) for row in texts.tolist()]
        scores = [self.reward.judge(self._text(new), asked.answer) for new in news]
        samples = (Sample([*asked.ids, *new], len(asked.ids)) for new in news)
        return [Answered(*one) for one in zip(samples, scores, advantages(scores), strict=True)]

    def _ended(self, ids: list[int]) -> list[int]:
        """Return what the model said, without the padding that came after it."""
        end = self.tokenizer.eos_token_id
        said = ids[: ids.index(end) + 1] if end in ids else ids
        if not any(stop in self.tokenizer.decode(said) for stop in self.reward.stop):
            return said
        cuts = range(1, len(said) + 1)
        return said[
            : next(cut for cut in cuts if any(stop in self.tokenizer.decode(said[:cut]) for stop in self.reward.stop))
        ]

    def _text(self, ids: list[int]) -> str:
        """Return an answer as the evaluation would read it: up to the first stop string."""
        text = str(self.tokenizer.decode(ids, skip_special_tokens=True))
        ends = [text.index(stop) for stop in self.reward.stop if stop in text]
        return text[: min(ends, default=len(text))]

    def units(self, item: int) -> int:  # noqa: ARG002 - of other objectives it depends on the item
        """Return 1: the mean over answers."""
        return 1

    def length(self, item: int) -> int:
        """Return the tokens of prompt and answer."""
        return len(self.answered[item].sample.ids)

    def arguments(self, items: list[int], form: Form, device: Any, *, idle: bool) -> tuple[Batch, tuple[Any, ...]]:
        """Return a micro-batch and the arguments of :meth:`compute`."""
        own = [self.answered[item] for item in items]
        batch = form.batch([one.sample for one in own], idle=idle)
        inputs, places, targets = counted(batch, device)
        owners = batch.owners.flatten().to(device)[places]
        gains = torch.tensor([one.advantage for one in own], device=device)[owners] * self._weight
        return batch, (inputs, places, targets, gains, sum(one.reward for one in own))

    def compute(
        self,
        model: Any,
        chunk: int | None,
        inputs: dict[str, torch.Tensor],
        places: torch.Tensor,
        targets: torch.Tensor,
        gains: torch.Tensor,
        reward: float,
    ) -> torch.Tensor:
        """Return minus the summed reward; its gradient is that of the policy.

        The ratio of the policies is 1 in value, and has the slope of the log-probability under which the answers were drawn.
        """
        tokens = log_probabilities(model, chunk, inputs, places, targets, self.temperature)
        ratio = torch.exp(tokens - tokens.detach())
        return -((ratio - 1) * gains).sum() - reward

    def begin(self, loop: Loop) -> None:
        """Nothing to do."""

    def state(self) -> dict[str, Any]:
        """Return nothing: what is answered in a step depends on weights, seed and step."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


def advantages(scores: Sequence[float]) -> list[float]:
    """Return by how many standard deviations each score of a group is above its mean; 0 where all are equal."""
    mean = sum(scores) / len(scores)
    deviation = (sum((score - mean) ** 2 for score in scores) / len(scores)) ** 0.5
    return [(score - mean) / (deviation + EPSILON) for score in scores]
