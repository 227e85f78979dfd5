"""What rendering a view gives, and the unit of its screen gradients."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor


class RenderedView(dict[str, Any]):
    """What rendering a view gives, by name.

    `visibility_filter`, the rows [V, 1] with a radius above zero, is found when it is asked for: to know how many there
    are the host waits for a card.
    """

    def __missing__(self, key: str) -> Tensor:
        if key != "visibility_filter":
            raise KeyError(key)
        return self.setdefault(key, self["radii"].nonzero())

    def __contains__(self, key: object) -> bool:
        return key == "visibility_filter" or super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """As for a dictionary."""
        return self[key] if key in self else default  # noqa: SIM401


def viewspace_gradient(means2d: Tensor, size: tuple[int, int]) -> Tensor:
    """Screen gradients [N, 2] in normalised device coordinates, the unit of the densification thresholds.

    They are the sums of absolute gradients where the render was asked for those.
    """
    gradient = getattr(means2d, "grad", None)
    if gradient is None:
        raise RuntimeError("there is no screen gradient yet; call backward() on a loss of this output first")
    gradient = getattr(means2d, "absgrad", gradient)
    return gradient.reshape(-1, 2) * _half_size(size, gradient.dtype, gradient.device)


@lru_cache(maxsize=64)
def _half_size(size: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Half of a size in pixels on a device, sent there once."""
    with torch.inference_mode(False):
        return torch.tensor([0.5 * side for side in size], dtype=dtype, device=device)
