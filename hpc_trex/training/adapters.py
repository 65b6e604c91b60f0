"""What is trained: all weights, or low-rank adapters through peft."""

from __future__ import annotations

from typing import Any

from hpc_trex.errors import JobFailure
from hpc_trex.models import FailureClass, LoraSettings

ALL_LINEAR = "all-linear"


def add_lora(model: Any, settings: LoraSettings) -> Any:
    """Return the model with trainable adapters and everything else frozen.

    Raises :class:`JobFailure` (CONFIG) that lists the valid module names when a target does not exist.
    """
    targets = check_targets(model, settings.targets)
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        use_dora=settings.use_dora,
        use_rslora=settings.use_rslora,
    )
    return get_peft_model(model, config)


def go_on_with(model: Any, settings: LoraSettings, adapter: str) -> Any:
    """Return a model that was loaded with an adapter, that adapter trainable.

    ``all-linear`` stands for the modules that the adapter has. Raises :class:`JobFailure` (CONFIG) where the settings are others than its own.
    """
    held = model.peft_config["default"]
    own = {
        "rank": held.r,
        "alpha": held.lora_alpha,
        "dropout": held.lora_dropout,
        "use_dora": held.use_dora,
        "use_rslora": held.use_rslora,
    }
    if ALL_LINEAR not in settings.targets:
        own["targets"] = set(held.target_modules)
    wanted = settings.model_dump(include=set(own)) | ({"targets": set(settings.targets)} if "targets" in own else {})
    other = [f"lora.{name} is {wanted[name]}, the adapter has {own[name]}" for name in own if wanted[name] != own[name]]
    if other:
        raise JobFailure(
            f"the adapter in {adapter} cannot be trained on with other settings: {'; '.join(other)}",
            failure=FailureClass.CONFIG,
            hint="take its own settings, or method = full, which merges it first",
        )
    for name, value in model.named_parameters():
        value.requires_grad_("lora_" in name)
    return model


def check_targets(model: Any, targets: tuple[str, ...]) -> str | list[str]:
    """Return peft's ``target_modules``. A name matches a module of that name, or one that ends with ``.name``."""
    if ALL_LINEAR in targets:
        return ALL_LINEAR
    known = linear_names(model)
    unknown = [name for name in targets if not any(full == name or full.endswith(f".{name}") for full in known)]
    if unknown:
        valid = sorted({full.rsplit(".", 1)[-1] for full in known})
        raise JobFailure(
            f"LoRA target {', '.join(unknown)} does not exist in this model",
            failure=FailureClass.CONFIG,
            hint=f"valid targets: {ALL_LINEAR}, {', '.join(valid)}",
        )
    return list(targets)


def linear_names(model: Any) -> list[str]:
    """Return the full names of the linear modules, without the output head, which adapters leave alone."""
    import torch

    kinds: tuple[type, ...] = (torch.nn.Linear,)
    try:  # GPT-2 and its kin keep their linear layers as transformers' Conv1D
        from transformers.pytorch_utils import Conv1D

        kinds += (Conv1D,)
    except ImportError:  # gone in a later transformers: so are the models that used it
        pass
    head = model.get_output_embeddings()
    return [name for name, module in model.named_modules() if isinstance(module, kinds) and module is not head]
