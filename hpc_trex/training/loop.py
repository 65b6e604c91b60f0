"""The training loop: one loss however the batch is cut, checkpoints between two steps.

The loss of a step is the mean over all units of its batch (answer tokens, or pairs), so neither micro-batches nor the number of
processes change it. The same code runs on CPUs (gloo) and GPUs (NCCL) through accelerate.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.models import Heartbeat, TrainConfig
from hpc_trex.training.beat import Beat, Interrupted
from hpc_trex.training.checkpoint import load_checkpoint, save_checkpoint
from hpc_trex.training.curve import Curve
from hpc_trex.training.data import Sample, Stream
from hpc_trex.training.health import LossWatch
from hpc_trex.training.losses import LossModel
from hpc_trex.training.objective import Answers, Form, Objective
from hpc_trex.training.progress import Checkpoint, Progress
from hpc_trex.training.ranks import Ranks
from hpc_trex.training.say import say
from hpc_trex.training.schedule import Sizes, learning_rate

_LOG_SECONDS = 10.0


class Plan(NamedTuple):
    """What a loop needs beside model and beat, for one stage."""

    config: TrainConfig
    objective: Objective
    stream: Stream
    total: int
    """Steps of this stage."""
    seed: int
    form: Form
    vocabulary: int
    checkpoints: Path | None
    """None: no checkpoint is written, and a request to stop loses the work."""
    checkpoint_seconds: float
    identity: str
    phase: str = "training"
    offset: int = 0
    """Steps of the stages before."""
    ends: tuple[int, ...] = ()
    """The last step of each stage, counted over all; empty: this is the only one."""
    message: str = ""

    @property
    def whole(self) -> int:
        """The steps of all stages."""
        return self.ends[-1] if self.ends else self.total


class Trained(NamedTuple):
    """What finished loops leave."""

    progress: Progress
    tokens: int = 0
    """In this process, as the two others."""
    places: int = 0
    """What went through the model, padding included."""
    seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float | None:
        return self.tokens / self.seconds if self.tokens and self.seconds > 0 else None

    @property
    def padding_share(self) -> float | None:
        """The part of the places that held no token."""
        return 1 - self.tokens / self.places if self.places else None

    def then(self, later: Trained) -> Trained:
        """Return both as one, ``later`` being the next stage."""
        return Trained(
            later.progress, self.tokens + later.tokens, self.places + later.places, self.seconds + later.seconds
        )


class Loop:
    """One stage of a training in this process, from its start or a checkpoint to its last step."""

    def __init__(
        self,
        model: Any,
        plan: Plan,
        ranks: Ranks,
        beat: Beat,
        resume: Checkpoint | None = None,
        before: Progress | None = None,
    ) -> None:
        """``before``: where the stage before ended, in this process; ``resume``: where an earlier one was stopped."""
        self.plan = plan
        self.beat = beat
        self.ranks = ranks
        self.sizes = Sizes.of(plan.config, ranks.rank, ranks.world)
        self.bare = model
        self.losses = ranks.losses(model, plan.config.loss)
        self.losses.compute = plan.objective.compute
        optimizer = make_optimizer(model, plan.config)
        before = resume.progress if resume else before or Progress(step=0)
        fresh = before.step == plan.offset
        if resume:
            state = load_checkpoint(resume, ranks, model, None if fresh else optimizer)
            if not fresh:
                plan.objective.restore(state)
        self.model, self.optimizer = ranks.prepare(optimizer)
        self.step = self.first_step = before.step
        self.tokens = self._tokens_before = before.tokens
        self.curve = Curve(plan.ends or (plan.total,), points=before.curve, window=before.window)
        first, recent = (None, ()) if fresh else (before.first_loss, before.recent)
        self.watch = LossWatch(plan.objective.choices or plan.vocabulary, first=first, recent=recent)
        self._places = 0
        self._began = self._saved = time.monotonic()
        self._logged = float("-inf")

    @property
    def device(self) -> Any:
        return self.ranks.device

    def run(self) -> Trained:
        """Train to the stage's last step. Raises :class:`Interrupted` (after a checkpoint), ``Diverged`` or ``JobFailure``."""
        try:
            self.plan.objective.begin(self)
        except Interrupted as asked:  # the checkpoint of the stage before is there
            raise Interrupted(asked.message, step=self.step) from asked
        self.model.train()
        end = self.plan.offset + self.plan.total
        while self.step < end:
            loss, stop, due = self._one_step()
            self._tell(loss)
            if stop and self.step < self.plan.whole:
                self._leave()
            if due or (self.step == end < self.plan.whole):
                self.save()
        seconds = time.monotonic() - self._began
        return Trained(self.progress(), self.tokens - self._tokens_before, self._places, seconds)

    def _one_step(self) -> tuple[float, bool, bool]:
        """Do one optimizer step; return its loss, whether any rank was asked to stop and whether a checkpoint is due."""
        import torch

        plan, local = self.plan, self.step - self.plan.offset
        members = plan.objective.draw(self, local * self.sizes.batch, self.sizes.batch)
        units = sum(plan.objective.units(item) for item in members)
        # Dropout depends on nothing but this: a resumed run draws what the uninterrupted one would have drawn.
        torch.manual_seed((plan.seed * 1_000_003 + self.step) * 1_021 + self.sizes.rank)
        lr = learning_rate(plan.config, local, plan.total)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        report = torch.zeros(5, dtype=torch.float64, device=self.device)
        for items, idle, sync in self._micro_batches(members):
            batch, arguments = plan.objective.arguments(items, plan.form, self.device, idle=idle)
            with contextlib.nullcontext() if sync else self.ranks.apart():
                loss = self.model(*arguments) / max(1, units)
                self.ranks.backward(loss)
            report[0] += 0.0 if idle else loss.detach()
            report[1] += batch.tokens
            report[3] += batch.places
        norm = self.ranks.clip(self.model, plan.config.grad_clip)
        report[2] = float(self.beat.stop.asked())
        report[4] = float(self.sizes.rank == 0 and time.monotonic() - self._saved >= plan.checkpoint_seconds)
        loss_sum, tokens, stop, places, due = self.ranks.total(report).tolist()
        self.watch.see(self.step + 1, loss_sum, norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += int(tokens)
        self._places += int(places)
        self.curve.add(self.step, loss_sum, lr, self.tokens)
        return loss_sum, stop > 0, due > 0

    def _micro_batches(self, members: list[int]) -> Iterator[tuple[list[int], bool, bool]]:
        """Yield this rank's micro-batches, whether one carries no loss, and whether gradients are exchanged after it (after the last).

        Padded samples are dealt out by falling length: equal lengths share a micro-batch, the ranks share the work, and
        the order of the training, which counts by steps, stays what it was.
        """
        if self.plan.form.layout == "padded":
            members = sorted(members, key=lambda item: -self.plan.objective.length(item))
        parts = self.sizes.micro_batches(members)
        for number, part in enumerate(parts, start=1):
            yield part or members[:1], not part, number == len(parts)

    def progress(self) -> Progress:
        """Return all of the state that is not tensors."""
        return Progress(
            step=self.step,
            tokens=self.tokens,
            curve=tuple(self.curve.points),
            window=tuple(self.curve.window),
            recent=tuple(self.watch.recent),
            first_loss=self.watch.first,
            identity=self.plan.identity,
        )

    def save(self) -> None:
        """Write a checkpoint: all ranks together, since each may hold a part; rank 0 writes."""
        self._saved = time.monotonic()
        if not self.plan.checkpoints:
            return
        state = self.ranks.state(self.bare, self.optimizer)
        if self.sizes.rank == 0:
            self.beat(self._heartbeat(None).model_copy(update={"phase": "saving"}))
            save_checkpoint(self.plan.checkpoints, self.progress(), state | {"stage": self.plan.objective.state()})
            say(f"checkpoint at step {self.step}")

    def _leave(self) -> None:
        """Save, wait until rank 0 has saved (a launcher kills the others once one has ended), and stop."""
        if not self.plan.checkpoints:
            raise Interrupted(f"stopped on request at step {self.step}, without a checkpoint", step=0)
        self.save()
        self.ranks.wait()
        raise Interrupted(f"checkpoint saved at step {self.step} of {self.plan.whole}", step=self.step)

    def _speed(self) -> float | None:
        """Return tokens a second over all ranks since this loop began."""
        tokens, seconds = self.tokens - self._tokens_before, time.monotonic() - self._began
        return tokens / seconds if tokens and seconds > 0 else None

    def _padding(self) -> float | None:
        """Return the share of padding since this loop began."""
        return 1 - (self.tokens - self._tokens_before) / self._places if self._places else None

    def _heartbeat(self, loss: float | None) -> Heartbeat:
        done = self.step - self.first_step
        each = (time.monotonic() - self._began) / done if done else None
        return Heartbeat.model_validate(
            {
                "phase": self.plan.phase,
                "step": self.step,
                "total_steps": self.plan.whole,
                "loss": loss,
                "tokens_per_second": self._speed(),
                "padding_share": self._padding(),
                "eta_seconds": each * (self.plan.whole - self.step) if each else None,
                "message": self.plan.message,
            }
        )

    def _tell(self, loss: float) -> None:
        """Renew the heartbeat, and now and then print a line."""
        self.beat(self._heartbeat(loss))
        now = time.monotonic()
        if self.sizes.rank == 0 and (
            now - self._logged >= _LOG_SECONDS or self.step in (self.plan.ends or (self.plan.total,))
        ):
            self._logged = now
            say(f"step {self.step}/{self.plan.whole} loss {loss:.4f} {self._speed() or 0:.0f} tokens/s")


def mean_loss(model: LossModel, samples: list[Sample], plan: Plan, device: Any, beat: Beat) -> float:
    """Return the mean loss per answer token over samples that are not trained on."""
    import torch

    answers = Answers(samples)
    total, size = 0.0, max(1, plan.config.micro_batch_size or min(32, plan.config.batch_size))
    was_training, model.compute = model.training, answers.compute
    model.eval()
    with torch.no_grad():
        for start in range(0, len(samples), size):
            items = list(range(start, min(start + size, len(samples))))
            _, arguments = answers.arguments(items, plan.form, device, idle=False)
            total += float(model(*arguments))
            beat(Heartbeat(phase="evaluating", message="loss of the held-out rows"))
    model.train(was_training)
    return total / max(1, sum(sample.answer_tokens for sample in samples))


def make_optimizer(model: Any, config: TrainConfig) -> Any:
    """Return AdamW over the trainable weights; decay acts on matrices only, not on norms and biases."""
    import torch

    weights = [value for value in model.parameters() if value.requires_grad]
    groups = [
        {"params": [value for value in weights if value.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [value for value in weights if value.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(0.9, config.adam_beta2),
        # One kernel for a whole weight; MPS and others have none.
        fused=all(value.device.type in ("cuda", "cpu") for value in weights) or None,
    )
