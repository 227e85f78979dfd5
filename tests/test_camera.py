"""A camera's matrices agree with each other, with its pose and with its principal point."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gaussian_splatting.camera import (
    Camera,
    build_camera,
    camera2dict,
    default_resize_if_mismatch,
    dict2camera,
    pinhole_camera,
)
from gaussian_splatting.errors import FormatError, SceneError
from gaussian_splatting.geometry.rotations import quaternion_to_matrix

R = quaternion_to_matrix(torch.tensor([0.8, 0.1, -0.5, 0.3], dtype=torch.float64)).numpy()
T = np.array([0.3, -0.2, 4.0])
FIELDS = """
image_height image_width FoVx FoVy K R T world_view_transform projection_matrix full_proj_transform camera_center
quaternion ground_truth_image_path ground_truth_image_mask_path ground_truth_depth_path ground_truth_depth_mask_path
ground_truth_image ground_truth_image_mask ground_truth_depth ground_truth_depth_mask postprocess bg_color custom_data
"""


def example(**changes: float) -> Camera:
    return pinhole_camera(30, 40, 35.0, 36.0, R, T, **{"cx": 21.0, "cy": 13.0, **changes})


def save_picture(path: Path, size: tuple[int, int] = (40, 30)) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_fields_and_their_order() -> None:
    assert list(Camera._fields) == FIELDS.split()


def test_a_camera_is_a_tuple_that_can_be_replaced_copied_and_pickled() -> None:
    camera = example()
    assert isinstance(camera, tuple)
    assert camera._replace(FoVx=0.5).FoVx == 0.5
    assert isinstance(camera._replace(FoVx=0.5), Camera)
    assert camera._asdict()["image_width"] == 40
    for twin in (copy.deepcopy(camera), pickle.loads(pickle.dumps(camera))):
        assert torch.equal(twin.K, camera.K)


def test_defaults_are_never_shared_between_cameras() -> None:
    plain = tuple(example())[:16]
    first, second = Camera(*plain), Camera(*plain)
    first.custom_data["mine"] = 1
    first.bg_color.fill_(1)
    assert second.custom_data == {}
    assert second.bg_color.tolist() == [0, 0, 0]


@given(
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    focal=st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)),
    shift=st.tuples(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4)),
    point=st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.5, 9)),
)
@settings(max_examples=60, deadline=None)
def test_clip_space_and_intrinsics_give_the_same_pixel(
    width: int, height: int, focal: tuple[float, float], shift: tuple[float, float], point: tuple[float, float, float]
) -> None:
    """The full projection and K agree for every principal point: pixel = (ndc + 1) / 2 * size."""
    cx, cy = width * (0.5 + shift[0]), height * (0.5 + shift[1])
    camera = pinhole_camera(height, width, focal[0] * width, focal[1] * width, np.eye(3), np.zeros(3), cx=cx, cy=cy)
    seen = torch.tensor(point, dtype=torch.float32)
    by_intrinsics = camera.K @ (seen / seen[2])
    clip = torch.cat([seen, torch.ones(1)]) @ camera.full_proj_transform
    pixel = (clip[:2] / clip[3] + 1) / 2 * torch.tensor([width, height])
    torch.testing.assert_close(pixel, by_intrinsics[:2], rtol=1e-4, atol=1e-3 * max(width, height))


def test_matrices_are_transposed_and_consistent() -> None:
    camera = example()
    point = torch.tensor([0.4, -0.7, 0.2])
    in_camera = camera.R @ point + camera.T
    row = torch.cat([point, torch.ones(1)])
    torch.testing.assert_close((row @ camera.world_view_transform)[:3], in_camera)
    torch.testing.assert_close(camera.full_proj_transform, camera.world_view_transform @ camera.projection_matrix)
    torch.testing.assert_close(camera.R @ camera.camera_center + camera.T, torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(quaternion_to_matrix(camera.quaternion), camera.R)


def test_depth_runs_from_0_to_1_between_the_planes() -> None:
    camera = pinhole_camera(30, 40, 35.0, 36.0, np.eye(3), np.zeros(3))
    for z, expected in ((0.01, 0.0), (100.0, 1.0)):
        clip = torch.tensor([0.0, 0.0, z, 1.0]) @ camera.full_proj_transform
        assert (clip[2] / clip[3]).item() == pytest.approx(expected, abs=1e-5)


def test_the_principal_point_defaults_to_the_middle() -> None:
    camera = build_camera(30, 40, 1.0, 0.8, R, T)
    assert camera.K[0, 2].item() == 20
    assert camera.K[1, 2].item() == 15
    assert camera.K[0, 0].item() == pytest.approx(20 / math.tan(0.5))
    assert camera.projection_matrix[2, :2].tolist() == [0, 0]
    assert (camera.FoVx, camera.FoVy) == (pytest.approx(1.0), pytest.approx(0.8))


def test_the_device_defaults_to_the_cpu() -> None:
    assert build_camera(30, 40, 1.0, 0.8, R, T).K.device.type == "cpu"


def test_pictures_are_loaded_as_fractions(tmp_path: Path) -> None:
    pixels = save_picture(tmp_path / "a.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "m.png")
    camera = build_camera(
        30, 40, 1.0, 0.8, R, T, tmp_path / "a.png", tmp_path / "m.png", tmp_path / "m.png", tmp_path / "m.png"
    )
    assert camera.ground_truth_image is not None
    assert camera.ground_truth_image_mask is not None
    assert camera.ground_truth_depth is not None
    torch.testing.assert_close(camera.ground_truth_image, torch.tensor(pixels).permute(2, 0, 1) / 255)
    torch.testing.assert_close(camera.ground_truth_image_mask, torch.tensor(pixels[..., 0]) / 255)
    torch.testing.assert_close(camera.ground_truth_depth, torch.tensor(pixels[..., 0]).float())


def test_a_missing_image_is_an_error_and_a_missing_mask_a_warning(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"a\.png: the image of the camera does not exist; correct the path"):
        build_camera(30, 40, 1.0, 0.8, R, T, tmp_path / "a.png")
    save_picture(tmp_path / "a.png")
    with pytest.warns(UserWarning, match=r"m\.png does not exist; the camera goes without it"):
        camera = build_camera(30, 40, 1.0, 0.8, R, T, tmp_path / "a.png", tmp_path / "m.png")
    assert camera.ground_truth_image_mask is None


def test_another_size_is_resized_with_a_warning_or_refused(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", (80, 60))
    with pytest.warns(UserWarning, match=r"a\.png: 80 x 60 pixels, resized to the camera's 40 x 30"):
        camera = build_camera(30, 40, 1.0, 0.8, R, T, tmp_path / "a.png")
    assert camera.ground_truth_image is not None
    assert camera.ground_truth_image.shape == (3, 30, 40)
    with pytest.raises(SceneError, match="80 x 60 pixels, but the camera has 40 x 30; scale the picture"):
        build_camera(30, 40, 1.0, 0.8, R, T, tmp_path / "a.png", resize_if_mismatch=False)


def test_a_resize_of_ones_is_ones() -> None:
    torch.testing.assert_close(default_resize_if_mismatch(torch.ones(3, 7, 9), 20, 5), torch.ones(3, 20, 5))


def test_a_picture_that_exif_turns_is_turned_when_that_fits(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = 8
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    with pytest.warns(UserWarning, match="EXIF orientation 8 is applied"):
        camera = build_camera(30, 40, 1.0, 0.8, R, T, tmp_path / "a.png")
    assert camera.ground_truth_image is not None
    torch.testing.assert_close(camera.ground_truth_image, torch.tensor(np.rot90(pixels).copy()).permute(2, 0, 1) / 255)


def test_invalid_depths_are_masked_out(tmp_path: Path) -> None:
    import tifffile

    depth = np.ones((30, 40), np.float32)
    depth[0, :3] = np.nan, np.inf, -1
    tifffile.imwrite(tmp_path / "d.tiff", depth)
    camera = build_camera(30, 40, 1.0, 0.8, R, T, depth_path=tmp_path / "d.tiff")
    assert camera.ground_truth_depth is not None
    assert camera.ground_truth_depth_mask is not None
    assert camera.ground_truth_depth[0, :4].tolist() == [0, 0, 0, 1]
    assert camera.ground_truth_depth_mask[0, :4].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((30, 0, 35.0, 36.0, R, T), "positive size and focal length; found 0 x 30 pixels"),
        ((30, 40, -1.0, 36.0, R, T), "focal lengths -1.0 and 36.0"),
        ((30, 40, math.nan, 36.0, R, T), "focal lengths nan and 36.0"),
        ((30, 40, 35.0, 36.0, R * np.nan, T), "a camera pose must be finite"),
    ],
)
def test_impossible_cameras_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        pinhole_camera(*arguments)


def test_an_entry_has_the_fields_that_viewers_read() -> None:
    entry = json.loads(json.dumps(camera2dict(example(), 7)))
    assert entry["id"] == 7
    assert (entry["width"], entry["height"], entry["cx"], entry["cy"]) == (40, 30, 21.0, 13.0)
    assert (entry["fx"], entry["fy"]) == (35.0, 36.0)
    np.testing.assert_allclose(entry["position"], -R.T @ T, atol=1e-6)
    np.testing.assert_allclose(entry["rotation"], R.T, atol=1e-6)


def test_a_camera_without_pictures_has_an_entry() -> None:
    entry = camera2dict(example(), 7)
    assert entry["ground_truth_image_path"] is None
    assert entry["img_name"] == "00007"


def test_an_entry_gives_the_camera_back(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    camera = build_camera(30, 40, 1.0, 0.8, R, T, tmp_path / "a.png", cx=21.0, cy=13.0)
    again = dict2camera(json.loads(json.dumps(camera2dict(camera, 0))), custom_data={"mine": 1})
    for name, value in camera._asdict().items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(getattr(again, name), value, rtol=1e-6, atol=1e-6)
    assert again.ground_truth_image_path == camera.ground_truth_image_path
    assert again.custom_data == {"mine": 1}


def test_an_entry_without_principal_point_or_paths_is_read() -> None:
    entry = camera2dict(example(), 0)
    old = {key: value for key, value in entry.items() if key not in ("cx", "cy") and "path" not in key}
    camera = dict2camera(old)
    assert camera.K[:2, 2].tolist() == [20, 15]
    assert camera.ground_truth_image is None


def test_a_wrong_entry_names_its_place() -> None:
    entry = camera2dict(example(), 0)
    entry["rotation"][1] = [1, 2]
    with pytest.raises(FormatError, match=r"camera\.rotation\[1\] must hold 3 numbers; found an array of 2"):
        dict2camera(entry)
