"""A check before the first step: does this model, loaded as it is, keep the samples of a packed row apart?"""

from __future__ import annotations

from typing import Any

from hpc_trex.training.batches import Layout, make_batch
from hpc_trex.training.data import Sample
from hpc_trex.training.say import say

_LENGTH = 6


def packing_is_exact(model: Any, layout: Layout, *, additive: bool = False) -> bool:
    """Tell whether a sample's logits stay the same when the sample before it in its row is another one.

    Not every architecture (state-space layers, for one) heeds a mask or restarted positions. Costs two forward passes
    over a dozen tokens.
    """
    import torch

    vocabulary = model.get_input_embeddings().num_embeddings
    second = Sample([(7 * place + 3) % vocabulary for place in range(_LENGTH)], 0)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    seen = []
    try:
        with torch.no_grad():
            for shift in (1, 2):
                first = Sample([(5 * place + shift) % vocabulary for place in range(_LENGTH)], 0)
                seen.append(_second_logits(model, first, second, layout, device, additive=additive))
    except (TypeError, ValueError, RuntimeError) as error:  # it knows no such mask or positions at all
        say(f"the model refuses packed rows: {error}")
        return False
    finally:
        model.train(was_training)
    # Equal up to rounding: a leak changes logits by far more.
    return bool(torch.allclose(seen[0], seen[1], rtol=1e-3, atol=1e-3 * float(seen[0].abs().max())))


def _second_logits(model: Any, first: Sample, second: Sample, layout: Layout, device: Any, *, additive: bool) -> Any:
    """Return the logits of ``second`` behind ``first`` in one row; a longest sample forces both into one row."""
    filler = Sample([0] * (2 * _LENGTH), 0)
    batch = make_batch([filler, first, second], layout, pad_id=0, additive=additive)
    logits = model(**{name: value.to(device) for name, value in batch.inputs.items()}, use_cache=False).logits
    return (logits[0, -_LENGTH:] if layout == "varlen" else logits[1, _LENGTH:]).float()
