"""The training loop: answers only, one loss however the batch is cut, checkpoints between two steps.

The loss of a step is the mean over all answer tokens of its batch, so neither micro-batches nor the number of
processes change it. The same code runs on CPUs (gloo) and GPUs (NCCL) through accelerate.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.models import Heartbeat, TrainConfig
from hpc_trex.training.batches import Batch, Layout, make_batch
from hpc_trex.training.beat import Beat, Interrupted
from hpc_trex.training.checkpoint import load_checkpoint, save_checkpoint
from hpc_trex.training.curve import Curve
from hpc_trex.training.data import IGNORED, Sample, Stream
from hpc_trex.training.health import LossWatch
from hpc_trex.training.losses import LossModel, loss_model
from hpc_trex.training.progress import Checkpoint, Progress
from hpc_trex.training.say import say
from hpc_trex.training.schedule import Sizes, learning_rate

_LOG_SECONDS = 10.0


class Plan(NamedTuple):
    """What a loop needs beside model and beat."""

    config: TrainConfig
    samples: list[Sample]
    stream: Stream
    total: int
    seed: int
    layout: Layout
    additive_mask: bool
    pad_id: int
    vocabulary: int
    half: bool
    checkpoints: Path | None
    """None: no checkpoint is written, and a request to stop loses the work."""
    checkpoint_seconds: float
    identity: str
    phase: str = "training"


class Trained(NamedTuple):
    """What a finished loop leaves."""

    progress: Progress
    tokens_per_second: float | None
    padding_share: float | None
    """The part of the places that went through the model and held no token, since this loop began."""


class Loop:
    """One training in this process, from a fresh start or a checkpoint to its last step."""

    def __init__(self, model: Any, plan: Plan, accelerator: Any, beat: Beat, resume: Checkpoint | None = None) -> None:
        self.plan = plan
        self.beat = beat
        self.accelerator = accelerator
        self.sizes = Sizes.of(plan.config, accelerator.process_index, accelerator.num_processes)
        self.bare = model
        optimizer = make_optimizer(model, plan.config)
        if resume:
            load_checkpoint(resume, model, optimizer)
        self.losses = loss_model(model, plan.config.loss)
        self.model, self.optimizer = accelerator.prepare(self.losses, optimizer)
        before = resume.progress if resume else Progress(step=0)
        self.step = self.first_step = before.step
        self.tokens = self._tokens_before = before.tokens
        self.curve = Curve(plan.total, points=before.curve, window=before.window)
        self.watch = LossWatch(plan.vocabulary, first=before.first_loss, recent=before.recent)
        self._places = 0
        self._began = self._saved = time.monotonic()
        self._logged = float("-inf")

    def run(self) -> Trained:
        """Train to the last step. Raises :class:`Interrupted` (after a checkpoint), ``Diverged`` or ``JobFailure``."""
        self.model.train()
        while self.step < self.plan.total:
            loss, stop = self._one_step()
            self._tell(loss)
            if stop and self.step < self.plan.total:
                self._leave()
            if self.plan.checkpoints and time.monotonic() - self._saved >= self.plan.checkpoint_seconds:
                self.save()
        return Trained(self.progress(), self._speed(), self._padding())

    def _one_step(self) -> tuple[float, bool]:
        """Do one optimizer step; return its loss and whether any rank was asked to stop."""
        import torch

        plan = self.plan
        members = plan.stream.take(self.step * self.sizes.batch, self.sizes.batch)
        answer_tokens = sum(plan.samples[index].answer_tokens for index in members)
        # Dropout depends on nothing but this: a resumed run draws what the uninterrupted one would have drawn.
        torch.manual_seed((plan.seed * 1_000_003 + self.step) * 1_021 + self.sizes.rank)
        lr = learning_rate(plan.config, self.step, plan.total)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        report = torch.zeros(4, dtype=torch.float64, device=self.accelerator.device)
        for batch, sync in self._micro_batches(members):
            with contextlib.nullcontext() if sync else self.accelerator.no_sync(self.model):
                loss = self._loss(batch) / max(1, answer_tokens)
                # Ranks average their gradients; the loss is a sum over ranks.
                self.accelerator.backward(loss * self.sizes.world)
            report[0] += loss.detach()
            report[1] += batch.tokens
            report[3] += batch.places
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), plan.config.grad_clip)
        report[2] = float(self.beat.stop.asked())
        loss_sum, tokens, stop, places = self.accelerator.reduce(report, reduction="sum").tolist()
        self.watch.see(self.step + 1, loss_sum, float(norm))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += int(tokens)
        self._places += int(places)
        self.curve.add(self.step, loss_sum, lr, self.tokens)
        return loss_sum, stop > 0

    def _micro_batches(self, members: list[int]) -> Iterator[tuple[Batch, bool]]:
        """Yield this rank's micro-batches and whether gradients are exchanged after it (after the last).

        Padded samples are dealt out by falling length: equal lengths share a micro-batch, the ranks share the work, and
        the order of the training, which counts by steps, stays what it was.
        """
        if self.plan.layout == "padded":
            members = sorted(members, key=lambda index: -len(self.plan.samples[index].ids))
        parts = self.sizes.micro_batches(members)
        for number, part in enumerate(parts, start=1):
            # A rank that has run out of samples still takes part in the exchange, with a loss of 0.
            samples = [self.plan.samples[index] for index in part or members[:1]]
            batch = make_batch(samples, self.plan.layout, pad_id=self.plan.pad_id, additive=self.plan.additive_mask)
            if not part:
                batch = batch._replace(labels=batch.labels.fill_(IGNORED), tokens=0, places=0)
            yield batch, number == len(parts)

    def _loss(self, batch: Batch) -> Any:
        return self.model(*counted(batch, self.accelerator.device))

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
        """Write a checkpoint (rank 0)."""
        self._saved = time.monotonic()
        if self.plan.checkpoints and self.sizes.rank == 0:
            self.beat(self._heartbeat(None).model_copy(update={"phase": "saving"}))
            save_checkpoint(self.plan.checkpoints, self.progress(), self.bare, self.optimizer)
            say(f"checkpoint at step {self.step}")

    def _leave(self) -> None:
        """Save, wait until rank 0 has saved (a launcher kills the others once one has ended), and stop."""
        if not self.plan.checkpoints:
            raise Interrupted(f"stopped on request at step {self.step}, without a checkpoint", step=0)
        self.save()
        self.accelerator.wait_for_everyone()
        raise Interrupted(f"checkpoint saved at step {self.step} of {self.plan.total}", step=self.step)

    def _speed(self) -> float | None:
        """Return tokens a second over all ranks since this loop began."""
        seconds = time.monotonic() - self._began
        return (
            (self.tokens - self._tokens_before) / seconds if seconds > 0 and self.tokens > self._tokens_before else None
        )

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
                "total_steps": self.plan.total,
                "loss": loss,
                "tokens_per_second": self._speed(),
                "padding_share": self._padding(),
                "eta_seconds": each * (self.plan.total - self.step) if each else None,
            }
        )

    def _tell(self, loss: float) -> None:
        """Renew the heartbeat, and now and then print a line."""
        self.beat(self._heartbeat(loss))
        now = time.monotonic()
        if self.sizes.rank == 0 and (now - self._logged >= _LOG_SECONDS or self.step == self.plan.total):
            self._logged = now
            say(f"step {self.step}/{self.plan.total} loss {loss:.4f} {self._speed() or 0:.0f} tokens/s")


def counted(batch: Batch, device: Any) -> tuple[dict[str, Any], Any, Any]:
    """Return the arguments of :class:`LossModel`: inputs, the flat indices of the places that carry loss, their targets."""
    labels = batch.labels.flatten()
    # Found on the CPU: on a GPU the number of places would have to be waited for.
    places = (labels != IGNORED).nonzero().squeeze(1)
    inputs = {name: value.to(device) for name, value in batch.inputs.items()}
    return inputs, places.to(device), labels[places].to(device)


def mean_loss(model: LossModel, samples: list[Sample], plan: Plan, device: Any, beat: Beat) -> float:
    """Return the mean loss per answer token over samples that are not trained on."""
    import torch

    total, size = 0.0, max(1, plan.config.micro_batch_size or min(32, plan.config.batch_size))
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(samples), size):
            batch = make_batch(
                samples[start : start + size], plan.layout, pad_id=plan.pad_id, additive=plan.additive_mask
            )
            total += float(model(*counted(batch, device)))
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
