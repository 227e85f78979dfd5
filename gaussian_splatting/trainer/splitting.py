"""Children of a Gaussian that is split: drawn from it as in 3DGS, or set along its longest axis."""

from __future__ import annotations

import torch
from torch import Tensor

from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.geometry.activations import inverse_sigmoid
from gaussian_splatting.geometry.rotations import build_rotation

OFFSET = 0.7
"""How far a child lies from its parent's centre, in standard deviations along the longest axis."""
LONG_AXIS, OTHER_AXES = 0.55, 0.9
"""Factors on the scales of a child."""
DIMMED = 0.8
"""Factor on the opacity of a child: two that overlap would else be more opaque than their parent."""
LEAST, MOST = 0.005, 0.99
"""Bounds on the opacity of a child."""


def long_axis_children(model: GaussianModel, rows: Tensor) -> dict[str, Tensor]:
    """Values of two children of each Gaussian of `rows` [M], as raw parameters [2M, ...]: first all on one side.

    The children lie on both sides of the centre along the longest axis and are shorter in it, so that together they
    cover what their parent did; nothing is drawn at random (long-axis split, Deng et al. 2024, "Efficient Density
    Control for 3D Gaussian Splatting").
    """
    scales = model.get_scaling[rows]
    longest, axis = scales.max(dim=1)
    everyone = torch.arange(len(rows), device=rows.device)
    direction = build_rotation(model._rotation[rows])[everyone, :, axis]  # [M, 3], a column of the rotation
    step = OFFSET * longest[:, None] * direction
    shrunk = scales * OTHER_AXES
    shrunk[everyone, axis] = LONG_AXIS * longest
    opacity = (model.get_opacity[rows] * DIMMED).clamp(LEAST, MOST)
    centre = model._xyz[rows]
    return {
        "xyz": torch.cat((centre + step, centre - step)),
        "scaling": shrunk.log().repeat(2, 1),
        "opacity": inverse_sigmoid(opacity).repeat(2, 1),
    }
