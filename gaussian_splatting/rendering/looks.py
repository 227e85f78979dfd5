"""What of a rendered view is looked at: its colours, its depth, its coverage or its normals, as 8-bit pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from gaussian_splatting.rasterizer.surface import normals_from_depth
from gaussian_splatting.rendering.picture_files import Bytes, glow, to_bytes

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.gaussian_model import GaussianModel

Look = Literal["color", "depth", "alpha", "normal"]
LOOKS: tuple[Look, ...] = get_args(Look)

Range = tuple[float, float]
"""The inverse depths that are shown black and brightest, in 1 / world units."""

SAMPLES = 8


def picture_of(out: dict[str, Any], camera: Camera, look: Look, depths: Range | None = None) -> Bytes:
    """A rendered view `out` of `camera` as a picture [H, W, 3].

    Depth: near is bright; without `depths` each picture has the range of its own. Normals: in camera axes, red to the
    right, green up, blue towards the camera, as normal maps are; black where there is nothing.
    """
    return _PICTURES[look](out, camera, depths)


def _color(out: dict[str, Any], camera: Camera, depths: Range | None) -> Bytes:
    return to_bytes(out["render"])


def _depth(out: dict[str, Any], camera: Camera, depths: Range | None) -> Bytes:
    inverse = _values(out["invdepth"])
    return glow(inverse, *(depth_range([inverse]) if depths is None else depths))


def _alpha(out: dict[str, Any], camera: Camera, depths: Range | None) -> Bytes:
    return to_bytes(out["alpha"].expand(3, -1, -1))


def _normal(out: dict[str, Any], camera: Camera, depths: Range | None) -> Bytes:
    camera_from_world = camera.world_view_transform.detach().T
    if "render_normals" in out:
        world = out["render_normals"].detach()  # surfels have normals of their own, blended: black where nothing is
    else:
        world = normals_from_depth(out["depth"][0].detach(), camera_from_world, camera.K).permute(2, 0, 1)
        world = world * out["alpha"].detach()
    own = torch.einsum("ij,jhw->ihw", camera_from_world[:3, :3], world)
    towards = own * torch.tensor([1.0, -1.0, -1.0], device=own.device)[:, None, None]
    return to_bytes((towards + own.norm(dim=0, keepdim=True)) / 2)


_PICTURES: dict[Look, Callable[[dict[str, Any], Any, Range | None], Bytes]] = {
    "color": _color,
    "depth": _depth,
    "alpha": _alpha,
    "normal": _normal,
}


def depth_range(maps: Sequence[NDArray[np.float32]]) -> Range:
    """The range that shows inverse depth maps [H, W] best: all but the extremes of 1 %. (0, 1) without any depth."""
    seen = np.concatenate([values[np.isfinite(values) & (values > 0)] for values in maps])
    if seen.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(seen, (1, 99))
    return float(low), float(high)


@torch.no_grad()
def film_depth_range(gaussians: GaussianModel, cameras: Sequence[Camera]) -> Range:
    """One depth range for all frames of a film, from a few of them: a range for each would flicker."""
    chosen = np.unique(np.linspace(0, len(cameras) - 1, SAMPLES).round().astype(int))
    return depth_range([_values(gaussians(cameras[index])["invdepth"]) for index in chosen])


def _values(inverse_depth: torch.Tensor) -> NDArray[np.float32]:
    return inverse_depth[0].detach().float().cpu().numpy()
