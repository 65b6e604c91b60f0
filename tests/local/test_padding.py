"""Padded batches: samples of equal length share a micro-batch, and the result says what padding was left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.local.test_training import losses, trial

pytestmark = [pytest.mark.local, pytest.mark.usefixtures("one_thread", "fresh_accelerator")]

PADDED = {"packing": False, "max_steps": 6}


def test_micro_batches_of_like_lengths_pad_less_and_learn_the_same(
    tmp_path: Path, base: dict[str, str], rows: str
) -> None:
    whole = trial(tmp_path / "whole", base, rows, train=PADDED)
    cut = trial(tmp_path / "cut", base, rows, train=PADDED | {"micro_batch_size": 2})
    packed = trial(tmp_path / "packed", base, rows, train=PADDED | {"packing": True})
    shares = [run.figures["padding_share"] for run in (whole, cut, packed)]
    assert 0.05 < shares[0] < 0.5
    assert shares[1] < 0.6 * shares[0]
    assert shares[2] < 0.5
    assert losses(cut) == pytest.approx(losses(whole), rel=1e-4)
    assert cut.figures["tokens"] == whole.figures["tokens"]
