"""Texts as vectors: the mean of the base model's last hidden states, and which of them lie close together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_trex.data.errors import DataProblem

if TYPE_CHECKING:
    from datasets import Dataset

    from hpc_trex.data.operators.base import Context

Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]

MAX_TOKENS = 512
"""Of a longer text the beginning counts."""
FEWEST_TO_CENTRE = 8
"""Of fewer rows the mean is not taken out: it would be one of them."""
BLOCK = 2048
"""Rows that are compared at a time."""
LONGEST_SET = 500_000
"""All pairs are compared: more rows would take hours."""


def embeddings(data: Dataset, context: Context, names: tuple[str, ...]) -> Vectors:
    """Return one vector (rows, hidden size) of unit length a row: the mean over the tokens of its texts, one a line.

    Hidden states of language models share a large common part, so the mean of all rows is taken out first; without that
    any two texts have a cosine near 1 (arXiv 1909.00512). Raises :class:`DataProblem` above ``LONGEST_SET`` rows.
    """
    import torch

    from hpc_trex.data.loss_judge import passes
    from hpc_trex.data.operators.base import texts
    from hpc_trex.training.load import load_model, load_tokenizer

    if len(data) > LONGEST_SET:
        raise DataProblem(
            f"{len(data)} rows are too many to compare all pairs (at most {LONGEST_SET})", hint="sample, or minhash"
        )
    tokenizer = load_tokenizer(context.base)
    lines = ["\n".join(row) for row in texts(data, *names)]
    ids = tokenizer(lines, truncation=True, max_length=MAX_TOKENS, add_special_tokens=True)["input_ids"]
    ids = [one or [int(tokenizer.eos_token_id)] for one in ids]
    context.tick("loading the base model")
    model = load_model(context.base, attention="sdpa", precision="auto").model
    backbone = model.base_model.eval()
    found: Any = None
    done = 0
    with torch.no_grad():
        for places in passes([len(one) for one in ids]):
            states = _states(backbone, [ids[place] for place in places], int(tokenizer.pad_token_id))
            if found is None:
                found = np.empty((len(ids), states.shape[1]), dtype=np.float32)
            found[places] = states.float().cpu().numpy()
            done += len(places)
            context.tick(f"embedded {done} of {len(ids)} rows")
    return _unit(found)


def _states(backbone: Any, ids: list[list[int]], pad_id: int) -> Any:
    """Return the mean hidden state (rows, hidden) over the tokens of each row; padding stands right and counts nothing."""
    import torch

    longest = max(map(len, ids))
    device = next(backbone.parameters()).device
    tokens = torch.tensor([[*one, *[pad_id] * (longest - len(one))] for one in ids], device=device)
    mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids], device=device)
    hidden = backbone(input_ids=tokens, attention_mask=mask).last_hidden_state.float()
    return (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def _unit(vectors: Vectors) -> Vectors:
    if len(vectors) >= FEWEST_TO_CENTRE:
        vectors -= vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def close_to_earlier(vectors: Vectors, threshold: float, tick: Callable[[str], None]) -> list[int]:
    """Return the places of rows with a cosine of at least ``threshold`` to an earlier one that stays, in rising order."""
    import torch

    from hpc_trex.training.load import device

    rows = torch.from_numpy(vectors).to(device())
    stays = torch.empty(0, dtype=torch.long, device=rows.device)
    gone: list[int] = []
    for first in range(0, len(rows), BLOCK):
        block = rows[first : first + BLOCK]
        old = torch.zeros(len(block), dtype=torch.bool, device=rows.device)
        for at in range(0, len(stays), 8 * BLOCK):
            old |= (block @ rows[stays[at : at + 8 * BLOCK]].T >= threshold).any(dim=1)
        near = (block @ block.T >= threshold).tril(diagonal=-1).cpu().numpy()
        out = old.cpu().numpy()
        for place in np.flatnonzero(near.any(axis=1)):
            out[place] = out[place] or bool((near[place] & ~out).any())
        gone += [first + int(place) for place in np.flatnonzero(out)]
        kept = torch.from_numpy(np.flatnonzero(~out) + first).to(rows.device)
        stays = torch.cat([stays, kept])
        tick(f"compared {min(len(rows), first + BLOCK)} of {len(rows)} rows")
    return gone
