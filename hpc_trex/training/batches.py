"""Micro-batches as tensors: padded, or packed with no attention between the samples of a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hpc_trex.training.data import IGNORED, Sample

if TYPE_CHECKING:
    import torch

Layout = Literal["padded", "packed", "varlen"]


class Batch(NamedTuple):
    """Tensors of one forward pass, on the CPU; B rows of T places."""

    inputs: dict[str, torch.Tensor]
    """``input_ids`` and ``position_ids`` (B, T), and ``attention_mask``: (B, T) padded, (B, 1, T, T) packed, none varlen."""
    labels: torch.Tensor
    """(B, T): the token that each place must predict, already shifted; ``IGNORED`` where there is none."""
    tokens: int
    """Tokens that are no padding."""
    places: int
    """B times T."""
    owners: torch.Tensor
    """(B, T): the number of the sample that a place belongs to; -1 for padding."""


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return bins of indices whose lengths add up to at most ``capacity`` (first fit by falling length).

    The order of equal lengths is kept, so the bins are the same on every machine.
    """
    bins: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda one: -lengths[one]):
        length = lengths[index]
        place = next((at for at, left in enumerate(room) if left >= length), None)
        if place is None:
            bins.append([index])
            room.append(capacity - length)
        else:
            bins[place].append(index)
            room[place] -= length
    return bins


def make_batch(samples: Sequence[Sample], layout: Layout, *, pad_id: int, additive: bool = False) -> Batch:
    """Return one micro-batch of at least one sample.

    ``padded``: a row a sample. ``packed``: rows as long as the longest sample, filled with others, under a
    block-diagonal causal mask: boolean, or with ``additive`` (for eager attention) 0 and the lowest fp32 number. ``varlen``: all samples in one row, told
    apart by position ids that restart, which flash-attention turns into its own kernel for that.
    """
    longest = max(len(sample.ids) for sample in samples)
    if layout == "padded":
        rows = [[index] for index in range(len(samples))]
    elif layout == "packed":
        rows = pack([len(sample.ids) for sample in samples], longest)
    else:
        rows, longest = [list(range(len(samples)))], sum(len(sample.ids) for sample in samples)
    return _tensors(samples, rows, longest, layout, pad_id=pad_id, additive=additive)


def _tensors(
    samples: Sequence[Sample], rows: list[list[int]], width: int, layout: Layout, *, pad_id: int, additive: bool
) -> Batch:
    import torch

    shape = (len(rows), width)
    ids = torch.full(shape, pad_id, dtype=torch.long)
    labels = torch.full(shape, IGNORED, dtype=torch.long)
    positions = torch.zeros(shape, dtype=torch.long)
    segment = torch.zeros(shape, dtype=torch.long)  # 0 is padding
    owners = torch.full(shape, -1, dtype=torch.long)
    for row, members in enumerate(rows):
        start = 0
        for number, index in enumerate(members, start=1):
            sample = samples[index]
            end = start + len(sample.ids)
            ids[row, start:end] = torch.tensor(sample.ids)
            labels[row, start : end - 1] = torch.tensor(sample.labels[1:], dtype=torch.long)
            positions[row, start:end] = torch.arange(end - start)
            segment[row, start:end] = number
            owners[row, start:end] = index
            start = end
    inputs: dict[str, Any] = {"input_ids": ids, "position_ids": positions}
    if layout == "padded":
        inputs["attention_mask"] = (segment > 0).long()
    elif layout == "packed":
        inputs["attention_mask"] = block_mask(segment, additive=additive)
    return Batch(inputs, labels, int((segment > 0).sum()), segment.numel(), owners)


def block_mask(segment: torch.Tensor, *, additive: bool = False) -> torch.Tensor:
    """Return (B, 1, T, T): True where a place may look at another of its own segment at or before it.

    Padding looks at padding: a row that may look at nothing would become NaN. With ``additive`` it is 0 for True and
    the lowest fp32 number for False.
    """
    import torch

    width = segment.shape[1]
    same = segment[:, :, None] == segment[:, None, :]
    mask = (same & torch.ones(width, width, dtype=torch.bool).tril())[:, None]
    if not additive:
        return mask
    return torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
