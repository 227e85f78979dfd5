"""What turns stored opacities into shown ones, and back."""

from __future__ import annotations

import torch
from torch import Tensor


def inverse_sigmoid(x: Tensor) -> Tensor:
    """The logits [...] of opacities [...]; finite within (0, 1), infinite at its ends."""
    return torch.log(x / (1 - x))


def place_independent_sigmoid(x: Tensor) -> Tensor:
    """The logistic function, the same bits for a value wherever it lies in the tensor.

    On a CPU torch.sigmoid computes the last values of a tensor, or of a thread's part of it, by another formula. With a
    gradient to follow, that of torch is used, whose derivative never overflows.
    """
    if x.device.type != "cpu" or (x.requires_grad and torch.is_grad_enabled()):
        return torch.sigmoid(x)
    return 1 / (1 + torch.exp(-x))
