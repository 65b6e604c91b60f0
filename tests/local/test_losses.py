"""The chunked cross entropy against torch's own: the same loss, the same gradients, without the logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hpc_trex.models import TrainConfig

pytestmark = pytest.mark.local

HIDDEN, VOCABULARY = 16, 50


def batch(places: int = 40) -> tuple[dict[str, Any], Any, Any]:
    """Inputs of two rows of 30 tokens, ``places`` of which carry loss."""
    import torch

    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(VOCABULARY, (2, 30), generator=draw)
    chosen = torch.randperm(60, generator=draw)[:places].sort().values
    return {"input_ids": ids}, chosen, torch.randint(VOCABULARY, (places,), generator=draw)


def qwen(**more: Any) -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=24, tie_word_embeddings=False, **sizes, **more
    )
    return Qwen3ForCausalLM(config).eval()


def tied() -> Any:
    model = qwen()
    model.lm_head.weight = model.model.embed_tokens.weight
    return model


def with_bias() -> Any:
    import torch

    model = qwen()
    model.lm_head = torch.nn.Linear(HIDDEN, VOCABULARY)
    return model


def adapted() -> Any:
    """All but the adapters frozen, the head too."""
    from hpc_trex.training.adapters import add_lora

    return add_lora(qwen(), TrainConfig().lora).eval()


@pytest.mark.parametrize("make", [qwen, tied, with_bias, adapted])
@pytest.mark.parametrize("chunk", [1, 7, 40, 1000])
def test_chunked_loss_and_gradients_are_the_plain_ones(make: Callable[[], Any], chunk: int) -> None:
    import torch

    from hpc_trex.training.losses import LossModel

    seen = []
    for size in (None, chunk):
        model = make()
        loss = LossModel(model, size)(*batch())
        (loss / 3).backward()  # the slope from above is heeded
        seen.append((loss, {name: value.grad for name, value in model.named_parameters() if value.requires_grad}))
    (plain, own), (chunked, theirs) = seen
    assert chunked.item() == pytest.approx(plain.item(), rel=1e-6)
    assert own.keys() == theirs.keys()
    for name, grad in own.items():
        assert torch.allclose(grad, theirs[name], rtol=1e-4, atol=1e-6), name


def test_in_bf16_both_losses_are_as_near_to_fp32() -> None:
    """Autocast reaches into the chunks: products in bf16, sums in fp32."""
    import torch

    from hpc_trex.training.losses import LossModel

    exact = LossModel(qwen(), None)(*batch()).item()
    for chunk in (None, 7):
        model = qwen()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = LossModel(model, chunk)(*batch())
        loss.backward()
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact, rel=5e-3)
        assert model.lm_head.weight.grad.dtype == torch.float32


def test_a_batch_without_answers_has_no_loss_and_gradients_of_nothing() -> None:
    """A rank that has run out of samples takes part in the exchange of gradients all the same."""
    from hpc_trex.training.losses import LossModel

    for chunk in (None, 7):
        model = qwen()
        loss = LossModel(model, chunk)(*batch(places=0))
        loss.backward()
        assert loss.item() == 0
        assert all(float(value.grad.abs().sum()) == 0 for value in model.parameters())


def test_no_tensor_as_large_as_the_logits_is_kept() -> None:
    """What autograd saves for the way back, by its own hook."""
    import torch

    from hpc_trex.training.losses import LossModel

    def largest(chunk: int | None) -> int:
        sizes = []
        model = qwen()
        with torch.autograd.graph.saved_tensors_hooks(lambda value: sizes.append(value.numel()) or value, lambda v: v):
            LossModel(model, chunk)(*batch())
        return max(sizes)

    assert largest(None) >= 40 * VOCABULARY
    assert largest(7) < 40 * VOCABULARY


def gemma(cap: float | None) -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    return Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=24, final_logit_softcapping=cap, **sizes
        )
    )


def test_a_model_that_changes_its_logits_behind_the_head_keeps_the_plain_loss() -> None:
    from hpc_trex.training.losses import loss_model

    assert loss_model(qwen(), "auto").chunk is not None
    assert loss_model(adapted(), "chunked").chunk is not None
    assert loss_model(qwen(), "plain").chunk is None
    assert loss_model(gemma(None), "auto").chunk is not None
    assert loss_model(gemma(30.0), "auto").chunk is None


def test_in_bf16_the_slope_from_above_is_not_rounded() -> None:
    """1/391 is no bf16 number: rounded, every gradient below the head would be wrong by the same 0.2 %."""
    import torch

    from hpc_trex.training.losses import LossModel

    slope, grads = 1 / 391, []
    model = qwen().to(torch.bfloat16)
    states: list[Any] = []
    model.model.register_forward_hook(lambda *seen: states.append(seen[2].last_hidden_state))
    for factor in (1.0, slope):
        loss = LossModel(model, 7)(*batch())
        states[-1].retain_grad()
        (loss * factor).backward()
        grads.append(states[-1].grad.flatten().double())
    ratio = float(grads[1] @ grads[0] / (grads[0] @ grads[0]))
    assert ratio == pytest.approx(slope, rel=5e-4)
