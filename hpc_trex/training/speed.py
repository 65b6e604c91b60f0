"""Model FLOP/s utilisation, where the GPU's peak is known."""

from __future__ import annotations

from typing import Any

#: Dense bf16 peak in TFLOP/s by a part of the device's name (makers' data sheets, without sparsity).
PEAKS = {"A100": 312.0, "H100 PCIe": 756.0, "H100": 989.0, "H200": 989.0, "L40S": 362.0, "A40": 149.7, "A30": 165.0}


def utilisation(weights: int, trained: int, tokens_per_second: float, peak_tflops: float, devices: int) -> float:
    """Return the part of the peak that is used.

    A token costs 2 FLOPs a weight forward, 2 for the gradients of the activations, and 2 a *trained* weight for its
    own gradient (Kaplan et al. 2020, section 2.1; attention scores are left out). So 6 for a full training, about 4 for adapters.
    """
    return (4 * weights + 2 * trained) * tokens_per_second / (peak_tflops * 1e12 * devices)


def model_flops_utilisation(model: Any, tokens_per_second: float | None, devices: int) -> float | None:
    """Return the utilisation of this job's GPUs, or None on a CPU or an unknown GPU."""
    import torch

    if tokens_per_second is None or not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    peak = next((value for part, value in PEAKS.items() if part in name), None)
    if peak is None:
        return None
    sizes = [(value.numel(), value.requires_grad) for value in model.parameters()]
    weights, trained = sum(size for size, _ in sizes), sum(size for size, grad in sizes if grad)
    return utilisation(weights, trained, tokens_per_second, peak, devices)
