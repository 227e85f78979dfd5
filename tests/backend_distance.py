"""How far gradients and pictures of two backends are apart."""

from __future__ import annotations

import torch


def rigid(viewmat: torch.Tensor) -> torch.Tensor:
    """The gradient of a pose by turns and shifts; along what is no rigid motion, backends may differ."""
    turned = viewmat.grad[:3, :3] @ viewmat.detach()[:3, :3].T
    return torch.cat([(turned - turned.T).flatten(), viewmat.grad[:3, 3]])


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """|found - expected| / |expected|."""
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).norm() / expected.norm())
