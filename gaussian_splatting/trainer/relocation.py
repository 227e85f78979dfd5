"""Copies of Gaussians that together look like the one they replace: at one place, or spread over it."""

from __future__ import annotations

import torch
from torch import Tensor

LONGEST_SUM = 64
"""Terms of the series; the j-th is below x^j / j! with x = -log(1 - opacity) < 17, so that later ones are nothing."""


def relocated(opacity: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """Opacity [M] of each of `copies` [M] Gaussians at one place, and the factor [M] on their scales.

    One Gaussian of `opacity` [M] and n equal ones at its place then have the same opacity in the middle, and the same
    integral along a line through it. Equation 8 of Kheradmand et al. 2024, its double sum over binomials contracted to
    one: sum over i of C(i - 1, k) is C(n, k + 1).
    """
    old, number = opacity.double(), copies.double()
    new = -torch.expm1(torch.log1p(-old) / number)
    term, total = torch.full_like(new, -1.0), torch.zeros_like(new)
    for j in range(1, min(LONGEST_SUM, int(copies.max()) if copies.numel() else 0) + 1):
        # C(n, j) (-1)^(j+1) new^j; it is zero from j = n + 1 on.
        term = -term * new * (number - j + 1) / j
        total = total + term / j**0.5
    return new.to(opacity), (old / total).to(opacity)


def spread(copies: Tensor) -> tuple[Tensor, Tensor]:
    """The factor [M] on the scales of each of `copies` [M] Gaussians spread over one, and how far they spread [M].

    Each is a piece of n^(-1/2) times the size, as opaque as the whole; their centres are drawn from the whole, brought
    together by the second number. On the screen, where sizes count twice, n pieces cover what one did, and pieces and
    centres together have the covariance of the whole.
    """
    share = 1 / copies.to(torch.get_default_dtype())
    return share.sqrt(), (1 - share).sqrt()


def draw_copies(weights: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Indices [number] drawn with replacement, each with a probability proportional to its weight [M]."""
    total = weights.detach().double().cpu().cumsum(dim=0)
    draws = torch.rand(number, generator=generator, dtype=torch.float64) * total[-1]
    return torch.searchsorted(total, draws, right=True).clamp_max(len(total) - 1).to(weights.device)
