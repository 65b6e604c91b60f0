"""The frozen base in 4 bits under the adapters (QLoRA, Dettmers et al. 2023, arXiv 2305.14314), through bitsandbytes."""

from __future__ import annotations

import importlib.util
from typing import Any

from hpc_trex.errors import JobFailure
from hpc_trex.models import FailureClass


def quantized_loading(half: bool) -> dict[str, Any]:
    """Return the further arguments of ``from_pretrained`` that load a base in NF4, its constants quantized too.

    Raises :class:`JobFailure` (CONFIG) where that is not possible.
    """
    import torch

    obstacle = nf4_obstacle(
        gpu=torch.cuda.is_available(), installed=importlib.util.find_spec("bitsandbytes") is not None
    )
    if obstacle:
        raise JobFailure(
            f"quantization = nf4 is not possible: {obstacle}",
            failure=FailureClass.CONFIG,
            hint="set quantization = none, or see docs/training.md",
        )
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if half else torch.float32,
    )
    # A quantized model cannot be moved: it is loaded where it stays.
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


def ready_for_adapters(model: Any) -> Any:
    """Return a quantized base frozen, its norms in fp32, gradients passing through its embeddings."""
    from peft import prepare_model_for_kbit_training

    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def nf4_obstacle(*, gpu: bool, installed: bool) -> str:
    """Return what stands against 4-bit weights, or nothing."""
    if not gpu:
        return "no CUDA GPU"
    return "" if installed else "bitsandbytes is not installed"
