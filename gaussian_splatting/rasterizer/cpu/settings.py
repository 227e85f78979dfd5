"""What a rendering depends on besides tensors that may need a gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RenderSettings:
    """The options of one view."""

    intrinsics: NDArray[np.float64]  # [3, 3]
    width: int
    height: int
    sh_degree: int | None  # None: colours are given as they are
    raw: bool  # scales are logarithms, opacities are logits
    antialiased: bool = False
    near_plane: float = 0.01
    far_plane: float = 1e10
    radius_clip: float = 0.0
    eps2d: float = 0.3
    scale_modifier: float = 1.0
    radii_stride: int = 1
