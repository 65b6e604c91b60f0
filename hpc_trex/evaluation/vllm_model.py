"""lm-eval's vLLM model with the two questions that an evaluation asks of how an answer ended.

vLLM loads the model from its folder and an adapter beside it, so the model in memory gives up its GPU memory first. Not run
by us on a GPU yet (docs/evaluation.md).
"""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
from pathlib import Path
from typing import Any, Literal

from hpc_trex.errors import JobFailure
from hpc_trex.evaluation.generation import Progress
from hpc_trex.models import FailureClass, ModelRef

#: Values that vLLM takes for ``max_lora_rank``.
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
#: Requests that vLLM schedules at once; after so many the heartbeat moves.
CHUNK = 512
#: Share of a GPU's memory that vLLM takes for itself.
MEMORY_SHARE = 0.85

Backend = Literal["hf", "vllm"]


def choose_backend(wanted: str, ref: ModelRef, *, gpus: int) -> Backend:
    """Return what answers: ``auto`` is vLLM where it is installed, there is a GPU, and it can serve the adapter.

    Raises :class:`JobFailure` where ``vllm`` was asked for and one of these is missing.
    """
    if wanted == "hf":
        return "hf"
    why = _missing(ref, gpus)
    if why is None:
        return "vllm"
    if wanted == "auto":
        return "hf"
    raise JobFailure(f"evaluate.backend = vllm: {why[0]}", failure=why[1], hint=why[2])


def _missing(ref: ModelRef, gpus: int) -> tuple[str, FailureClass, str] | None:
    if gpus < 1:
        hint = "give profile.evaluate and profile.train a GPU, or set evaluate.backend = hf"
        return "there is no GPU in this job", FailureClass.ENVIRONMENT, hint
    if importlib.util.find_spec("vllm") is None:
        hint = "pip install vllm where jobs run, or set evaluate.backend = hf"
        return "vLLM is not installed where this job runs", FailureClass.ENVIRONMENT, hint
    settings = _adapter(ref)
    unable = [key for key in ("use_dora", "modules_to_save", "alora_invocation_tokens") if settings.get(key)]
    if settings.get("bias", "none") != "none":
        unable.append("bias")
    if unable:
        hint = "set evaluate.backend = auto or hf"
        return f"vLLM cannot serve an adapter with {' and '.join(unable)}", FailureClass.CONFIG, hint
    return None


def lora_rank(ref: ModelRef) -> int:
    """Return the smallest ``max_lora_rank`` of vLLM that the adapter fits; its largest rank decides.

    Raises :class:`JobFailure` (CONFIG) for a rank beyond all of them.
    """
    settings = _adapter(ref)
    largest = max([int(settings["r"]), *(int(rank) for rank in (settings.get("rank_pattern") or {}).values())])
    fitting = next((rank for rank in RANKS if rank >= largest), None)
    if fitting is None:
        raise JobFailure(
            f"vLLM serves adapters up to rank {RANKS[-1]}; this one has {largest}",
            failure=FailureClass.CONFIG,
            hint="set evaluate.backend = hf",
        )
    return fitting


def vllm_arguments(ref: ModelRef, *, half: bool, special_tokens: bool, seed: int) -> dict[str, Any]:
    """Return the arguments of lm-eval's ``VLLM``: one GPU, offline, the adapter where there is one."""
    arguments: dict[str, Any] = {
        "pretrained": ref.path,
        "dtype": "bfloat16" if half else "float32",
        "tensor_parallel_size": 1,
        "gpu_memory_utilization": MEMORY_SHARE,
        "batch_size": CHUNK,
        "seed": seed,
        "add_bos_token": special_tokens,
    }
    if ref.adapter:
        arguments |= {"lora_local_path": ref.adapter, "max_lora_rank": lora_rank(ref)}
    return arguments


def hold_vllm(
    ref: ModelRef, *, half: bool, seed: int, batch_size: int, special_tokens: bool, progress: Progress, joined: bool
) -> Any:
    """Return lm-eval's ``VLLM`` for a model on disk, with the methods of :func:`generation.hold_model` and ``release``.

    ``batch_size`` is for a model in memory: vLLM fills its memory by itself.
    """
    from lm_eval.models.vllm_causallms import VLLM

    del batch_size
    logging.getLogger("lm_eval").setLevel(logging.ERROR)

    class HeldVllm(VLLM):  # type: ignore[misc]
        model: Any

        def __init__(self) -> None:
            super().__init__(**vllm_arguments(ref, half=half, special_tokens=special_tokens, seed=seed))
            self.set_cache_hook(self)
            self._reasons: list[str] = []
            self._truncated: dict[str, bool] = {}
            self._done = 0

        def _model_generate(self, requests: Any, generate: bool = False, sampling_params: Any = None) -> Any:
            outputs = super()._model_generate(requests, generate=generate, sampling_params=sampling_params)
            if generate:  # lm-eval hands them on one by one, in this order
                self._reasons = [str(output.outputs[0].finish_reason) for output in reversed(outputs)]
            return outputs

        def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
            if joined:
                pair = super()._encode_pair(context, continuation)
                return list(pair[0]), list(pair[1])
            return list(self.tok_encode(context)), list(self.tok_encode(continuation, add_special_tokens=False))

        def add_partial(self, kind: str, request: tuple[str, Any], __: Any) -> None:
            if kind == "generate_until":
                self._truncated[request[0]] = self._reasons.pop() == "length"
            self._done += 1
            progress(self._done)

        def was_truncated(self, text: str) -> bool:
            return self._truncated[text]

        def was_cut(self, text: str, new_tokens: int) -> bool:
            return bool(len(self.tok_encode(text)) > self.max_length - new_tokens)

        def length_of(self, text: str) -> int:
            return len(self.tok_encode(text, add_special_tokens=False))

        def release(self) -> None:
            """End the engine and give its memory back: a second model may follow in this job."""
            import torch

            core = getattr(self.model.llm_engine, "engine_core", None)
            if core is not None and hasattr(core, "shutdown"):
                core.shutdown()
            self.model = None
            gc.collect()
            torch.cuda.empty_cache()

    return HeldVllm()


def free_memory(model: Any) -> None:
    """Give back the GPU memory of a model whose files are on disk. It cannot be used any more."""
    import torch

    model.to("meta")
    gc.collect()
    torch.cuda.empty_cache()


def _adapter(ref: ModelRef) -> dict[str, Any]:
    if ref.adapter is None:
        return {}
    return dict(json.loads((Path(ref.adapter) / "adapter_config.json").read_text(encoding="utf-8")))
