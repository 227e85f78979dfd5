"""How far gradients and pictures of two backends are apart."""

from __future__ import annotations

import torch


def tangent(gradient: torch.Tensor, viewmat: torch.Tensor) -> torch.Tensor:
    """Gradient by a pose along rigid motions: the skew part of G [R | t]^T, and the translation."""
    gradient, viewmat = gradient.detach().double(), viewmat.detach().double()
    turning = gradient[:3] @ viewmat[:3].T
    return torch.cat([(turning - turning.T).flatten(), gradient[:3, 3]])


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """|found - expected| / |expected|."""
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).norm() / expected.norm())
