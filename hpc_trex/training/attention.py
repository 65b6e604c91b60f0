"""Which attention a training uses, and why. docs/attention.md tells the user."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

from hpc_trex.errors import JobFailure
from hpc_trex.models import FailureClass

FLASH, SDPA, EAGER = "flash_attention_2", "sdpa", "eager"


class Attention(NamedTuple):
    """The choice, by transformers' name, and its reason in a few words."""

    name: str
    why: str

    @property
    def shown(self) -> str:
        return f"{self.name} ({self.why})"


class Machine(NamedTuple):
    """What the choice depends on."""

    installed: bool
    """flash-attn can be imported."""
    capability: tuple[int, int] | None
    """CUDA compute capability of this process's GPU; None without one."""
    half: bool
    """The training computes in bf16 or fp16."""


def this_machine(*, half: bool) -> Machine:
    """Look at this process's GPU and packages."""
    import torch

    capability = torch.cuda.get_device_capability() if torch.cuda.is_available() else None
    return Machine(importlib.util.find_spec("flash_attn") is not None, capability, half)


def choose(wanted: str, machine: Machine) -> Attention:
    """Return the attention for ``auto`` or a name. Raises :class:`JobFailure` (CONFIG) for a wish that cannot be met."""
    obstacle = flash_obstacle(machine)
    if wanted == FLASH and obstacle:
        raise JobFailure(
            f"attention = {FLASH} is not possible: {obstacle}",
            failure=FailureClass.CONFIG,
            hint="set attention = auto, or see docs/attention.md",
        )
    if wanted != "auto":
        return Attention(wanted, "asked for")
    return Attention(SDPA, obstacle) if obstacle else Attention(FLASH, "flash-attn is installed")


def flash_obstacle(machine: Machine) -> str:
    """Return what stands against flash-attention 2, or nothing."""
    if machine.capability is None:
        return "no CUDA GPU"
    if machine.capability < (8, 0):
        return f"compute capability {machine.capability[0]}.{machine.capability[1]} is below 8.0"
    if not machine.installed:
        return "flash-attn is not installed"
    if not machine.half:
        return "the training computes in fp32"
    return ""
