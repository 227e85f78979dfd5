"""Tensors as numpy arrays, for what is computed once and on the processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def float64_array(tensor: Tensor) -> NDArray[np.float64]:
    """The values [...] of a tensor of any type and device, without its gradient."""
    return tensor.detach().cpu().double().numpy()
