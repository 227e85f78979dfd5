"""Numbers of a drop-in call that no camera has are refused by every backend of ours, in the same words."""

from __future__ import annotations

import cpu_scenes
import pytest
import torch

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer import cpu, cpu_2dgs, reference, reference_2dgs

CALLS = {
    "cpu": cpu.rasterization,
    "reference": reference.rasterization,
    "cpu-2dgs": cpu_2dgs.rasterization_2dgs,
    "reference-2dgs": reference_2dgs.rasterization_2dgs,
    "cpu-2dgs as 3dgs": cpu_2dgs.rasterization,
}
NAN, INFINITE = float("nan"), float("inf")

every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def arguments() -> dict:
    """Two cameras before four Gaussians."""
    values = {name: value.float() for name, value in cpu_scenes.scene(num=4, degree=None).items()}
    values |= {name: values[name].repeat(2, 1, 1) for name in ("viewmats", "Ks")}
    values.pop("backgrounds")
    return values | {"width": 8, "height": 8}


@every_call
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"eps2d": -0.1}, "eps2d must be finite and at least 0, found -0.1"),
        ({"eps2d": NAN}, "eps2d must be finite and at least 0, found nan"),
        ({"eps2d": INFINITE}, "eps2d must be finite and at least 0, found inf"),
        ({"radius_clip": -1.0}, "radius_clip must be at least 0, found -1.0"),
        ({"radius_clip": NAN}, "radius_clip must be at least 0, found nan"),
        ({"near_plane": 2.0, "far_plane": 1.0}, "near_plane must be below far_plane, found 2.0 and 1.0"),
        ({"near_plane": 2.0, "far_plane": 2.0}, "near_plane must be below far_plane, found 2.0 and 2.0"),
        ({"near_plane": NAN}, "near_plane must be below far_plane, found nan and 10000000000.0"),
        ({"far_plane": NAN}, "near_plane must be below far_plane, found 0.01 and nan"),
    ],
)  # fmt: skip
def test_numbers_that_no_lens_has_are_refused(call, changed: dict, message: str) -> None:
    with pytest.raises(BackendError) as refusal:
        call(**(arguments() | changed))
    assert str(refusal.value) == message


@every_call
@pytest.mark.parametrize("focal", [0.0, -20.0, NAN, INFINITE])
@pytest.mark.parametrize("axis", [0, 1])
def test_focal_lengths_that_no_camera_has_are_refused(call, axis: int, focal: float) -> None:
    values = arguments()
    values["Ks"][1, axis, axis] = focal
    with pytest.raises(BackendError) as refusal:
        call(**values)
    message = f"focal lengths in Ks must be finite and above 0, found {focal} in Ks[1, {axis}, {axis}]"
    assert str(refusal.value) == message


@every_call
def test_the_limits_themselves_are_allowed(call) -> None:
    limits = {"eps2d": 0.0, "radius_clip": 0.0, "near_plane": 0.0, "far_plane": INFINITE}
    pictures = call(**(arguments() | limits))[0]
    assert torch.isfinite(pictures).all()


def test_the_place_of_a_wrong_focal_length_counts_the_batch_dimensions() -> None:
    values = arguments()
    batched = {name: values[name].expand(3, *values[name].shape) for name in values if name not in ("width", "height")}
    batched["Ks"] = batched["Ks"].clone()
    batched["Ks"][2, 1, 0, 0] = -1.0
    with pytest.raises(BackendError, match=r"found -1.0 in Ks\[2, 1, 0, 0\]"):
        cpu.rasterization(**(values | batched))
