"""Models and tokenizers from a :class:`ModelRef`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.errors import JobFailure
from hpc_trex.models import FailureClass, ModelRef
from hpc_trex.training.attention import FLASH, Attention, choose, this_machine
from hpc_trex.training.quantize import quantized_loading


class Loaded(NamedTuple):
    """A model on its device."""

    model: Any
    attention: Attention
    half: bool
    """It computes in bf16."""


def load_model(
    ref: ModelRef,
    *,
    attention: str,
    precision: str,
    master_weights: bool = False,
    quantization: str = "none",
    stay: bool = False,
) -> Loaded:
    """Load a model, with its adapter where it has one, onto this process's GPU or the CPU.

    ``precision`` ``auto`` is bf16 on GPUs that have it and fp32 elsewhere. With ``master_weights`` the weights stay
    fp32 and only the computing is bf16 (autocast): what a full training needs, since bf16 weights lose small updates.
    ``stay``: on the CPU, for whoever moves it in parts. Raises :class:`JobFailure` (CONFIG) for a folder that is no model, and for a quantization that is not possible here.
    """
    import torch
    from transformers import AutoModelForCausalLM

    half = use_half(precision)
    chosen = choose(attention, this_machine(half=half))
    more = {} if quantization == "none" else quantized_loading(half)
    # flash-attention has no fp32 kernel; transformers refuses it for a model that is loaded so.
    dtype = torch.bfloat16 if half and not (master_weights and chosen.name != FLASH) else torch.float32
    try:
        model = AutoModelForCausalLM.from_pretrained(
            ref.path, dtype=dtype, attn_implementation=chosen.name, local_files_only=True, **more
        )
    except (OSError, ValueError, KeyError) as error:
        raise _bad_folder(ref, error) from error
    if master_weights:
        model = model.float()
    if ref.adapter:
        model = _with_adapter(model, ref)
    return Loaded(model if more or stay else model.to(device()), chosen, half)


def use_half(precision: str) -> bool:
    """Return whether to compute in bf16. Raises :class:`JobFailure` (CONFIG) for bf16 on a GPU that lacks it."""
    import torch

    if not torch.cuda.is_available():
        return precision == "bf16"
    able = torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bf16" and not able:
        raise JobFailure(
            "precision = bf16 is not possible: this GPU has no bf16",
            failure=FailureClass.CONFIG,
            hint="set precision = auto or fp32",
        )
    return able and precision != "fp32"


def device() -> Any:
    """Return this process's device."""
    import torch

    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def load_tokenizer(ref: ModelRef) -> Any:
    """Load the tokenizer of a model, with a padding token and padding on the right."""
    from transformers import AutoTokenizer

    own = ref.adapter if ref.adapter and (Path(ref.adapter) / "tokenizer_config.json").is_file() else ref.path
    try:
        tokenizer = AutoTokenizer.from_pretrained(own, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise _bad_folder(ref, error) from error
    if tokenizer.eos_token_id is None:
        raise JobFailure(f"the tokenizer of {ref.name} has no end-of-text token", failure=FailureClass.CONFIG)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def _with_adapter(model: Any, ref: ModelRef) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, ref.adapter, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise JobFailure(
            f"the adapter in {ref.adapter} does not fit {ref.path}: {error}", failure=FailureClass.CONFIG
        ) from error


def _bad_folder(ref: ModelRef, error: Exception) -> JobFailure:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return JobFailure(
        f"{ref.path} ({ref.name}) cannot be loaded as a causal language model: {first}",
        failure=FailureClass.CONFIG,
        hint="the folder needs config.json, weights and a tokenizer in transformers' format",
    )
