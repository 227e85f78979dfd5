"""Row C7: whatever stands in masks and depth maps, what they hide gives exactly no gradient; nothing is infinite."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from example_scenes import picture
from PIL import Image

from gaussian_splatting.camera import Camera
from gaussian_splatting.dataset.load import load_pictures, with_arrays
from gaussian_splatting.dataset.view import View
from gaussian_splatting.errors import SplatError
from gaussian_splatting.losses.depth import inverse_of, relative_depth_error
from gaussian_splatting.losses.photometric import photometric

NUM_CASES = 500
SIZE = (20, 15)
MASKS = ("none", "zeros", "ones", "binary", "soft", "16 bits", "float", "half size", "other shape", "not finite")
DEPTHS = (
    "none", "plain", "zeros", "constant", "not finite", "negative", "16 bits", "float16", "half size", "other shape",
    "huge", "tiny", "metric",
)  # fmt: skip
WORSE = (np.nan, np.inf, -np.inf, -1.0, -1e30)


def mask_values(kind: str, draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    keep = draw.random(shape) > 0.4
    match kind:
        case "zeros":
            return np.zeros(shape, np.uint8)
        case "ones":
            return np.full(shape, 255, np.uint8)
        case "soft":
            return draw.integers(0, 256, shape).astype(np.uint8)
        case "16 bits":
            return keep.astype(np.uint16) * np.uint16(65535)
        case "float":
            return keep.astype(np.float32)
        case "not finite":
            return np.where(keep, np.float32(1), np.float32(np.nan))
    return keep.astype(np.uint8) * np.uint8(255)


def depth_values(kind: str, draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    values = draw.uniform(0.05, 1.0, shape).astype(np.float32)
    spoilt = draw.random(shape) > 0.6
    match kind:
        case "zeros":
            return np.zeros(shape, np.float32)
        case "constant":
            return np.full(shape, 0.5, np.float32)
        case "not finite":
            return np.where(spoilt, draw.choice(np.float32(WORSE[:3]), shape), values)
        case "negative":
            return np.where(spoilt, draw.choice(np.float32(WORSE[3:]), shape), values)
        case "16 bits":
            return (values * 65535).astype(np.uint16)
        case "float16":
            return values.astype(np.float16)
        case "huge":
            return np.where(spoilt, np.float32(1e30), values)
        case "tiny":
            return np.where(spoilt, np.float32(1e-40), values)
    return values


def shape_of(kind: str) -> tuple[int, int]:
    return {"half size": (SIZE[1] // 2, SIZE[0] // 2), "other shape": (SIZE[1], SIZE[0] // 3)}.get(kind, SIZE[::-1])


def plain_view(folder: Path) -> View:
    path = folder / "a.png"
    if not path.exists():
        Image.fromarray(picture(SIZE)).save(path)
    return View("a.png", *SIZE, 18.0, 18.0, 10.0, 7.5, np.eye(3), np.zeros(3), path, stored_size=SIZE)


def written(path: Path, values: np.ndarray) -> Path:
    tifffile.imwrite(path, values)
    return path


def render(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random_numbers = torch.Generator().manual_seed(seed)
    colors = torch.rand(3, SIZE[1], SIZE[0], generator=random_numbers)
    inverse_depth = torch.rand(1, SIZE[1], SIZE[0], generator=random_numbers) + 0.05
    return colors.requires_grad_(), inverse_depth.requires_grad_()


def check_colors(camera: Camera, seed: int) -> None:
    colors, _ = render(seed)
    photometric(colors, camera, 0.2, "ignore").backward()
    assert colors.grad is not None
    assert colors.grad.isfinite().all()
    if camera.ground_truth_image_mask is not None:
        assert not colors.grad[:, camera.ground_truth_image_mask == 0].any()


def check_depth(camera: Camera, seed: int, mode: str, *, metric: bool) -> None:
    given, mask = camera.ground_truth_depth, camera.ground_truth_depth_mask
    if given is None:
        return
    assert given.isfinite().all()
    assert (given >= 0).all()
    _, inverse_depth = render(seed)
    target = inverse_of(given) if metric else given
    error = relative_depth_error(inverse_depth, target, mask, mode, 2, 2)  # pyright: ignore[reportArgumentType]
    assert error.isfinite()
    if error.requires_grad:
        error.backward()
        assert inverse_depth.grad is not None
        assert inverse_depth.grad.isfinite().all()
        if mask is not None:
            assert not inverse_depth.grad[0][mask == 0].any()


def test_what_is_hidden_gives_no_gradient(tmp_path: Path) -> None:
    draw, seen = random.Random(5), set()
    for case in range(NUM_CASES):
        mask, depth = draw.choice(MASKS), draw.choice(DEPTHS)
        numbers = np.random.default_rng(case)
        view = plain_view(tmp_path)
        if mask != "none":
            path = written(tmp_path / "mask.tiff", mask_values(mask, numbers, shape_of(mask)))
            view = replace(view, image_mask_path=path)
        if depth != "none":
            path = written(tmp_path / "depth.tiff", depth_values(depth, numbers, shape_of(depth)))
            view = replace(view, depth_path=path, depth_unit=0.5 if depth == "metric" else None)
        if draw.random() < 0.3 and depth != "none":
            path = written(tmp_path / "depth_mask.tiff", mask_values("binary", numbers, SIZE[::-1]))
            view = replace(view, depth_mask_path=path)
        if depth == "16 bits":
            view = replace(view, depth_scale=(numbers.uniform(-2, 2), numbers.uniform(-0.5, 0.5)))
        seen |= {mask, depth}
        try:
            camera = with_arrays(view.camera(), load_pictures(view))
        except SplatError as error:
            assert "other shape" in (mask, depth) or mask == "not finite", error
            assert "mask.tiff" in str(error) or "depth.tiff" in str(error)
            continue
        assert "other shape" not in (mask, depth)
        check_colors(camera, case)
        check_depth(camera, case, draw.choice(("local", "global", "none")), metric=draw.random() < 0.3)
    assert seen == {*MASKS, *DEPTHS}


def test_a_loss_without_its_mask_fails_the_same_check(tmp_path: Path) -> None:
    """The control."""
    path = written(tmp_path / "mask.tiff", mask_values("binary", np.random.default_rng(0), SIZE[::-1]))
    camera = with_arrays(
        plain_view(tmp_path).camera(), load_pictures(replace(plain_view(tmp_path), image_mask_path=path))
    )
    check_colors(camera, 0)
    colors, _ = render(0)
    photometric(colors, camera, 0.2, "none").backward()
    assert colors.grad is not None
    assert camera.ground_truth_image_mask is not None
    assert colors.grad[:, camera.ground_truth_image_mask == 0].any()
    with pytest.raises(AssertionError):
        check_depth(camera._replace(ground_truth_depth=torch.tensor([[float("nan")]])), 0, "none", metric=False)
