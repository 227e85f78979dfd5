"""transforms.json files that are wrong: every message names the place, and nothing outside the scene is opened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transforms_scenes import SHARED, frame, write_scene

from gaussian_splatting.dataset.transforms import TransformsCameraDataset, transforms_points
from gaussian_splatting.errors import SceneError, SplatError

WRONG_MATRIX = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"transform_matrix": [[1, 2], [3, 4]]}, r"frames\[1\]\.transform_matrix must hold 4 x 4 numbers; found"),
        ({"transform_matrix": WRONG_MATRIX}, r"frames\[1\]\.transform_matrix must be a rotation .* determinant is -1"),
        ({"transform_matrix": [[0] * 4] * 4}, r"frames\[1\]\.transform_matrix must end with the row 0, 0, 0, 1"),
        ({"transform_matrix": [[1, 0, 0, 1e300], [0, 1, 0, 0], [0, 0, 1, 0]]}, r"transform_matrix must place the cam"),
        ({"file_path": 7}, r"frames\[1\]\.file_path must be a text; found 7"),
        ({"file_path": "images/a.png"}, r"frames\[1\]\.file_path names the same picture as frames\[0\]"),
        ({"file_path": "/etc/passwd"}, r"frames\[1\]\.file_path: .*'/etc/passwd' is refused: it is absolute"),
        ({"file_path": "../a.png"}, r"frames\[1\]\.file_path: .*'\.\.' may lead out"),
        ({"mask_path": "../../m.png"}, r"frames\[1\]\.mask_path: .*may lead out"),
        ({"depth_file_path": "C:\\d.png"}, r"frames\[1\]\.depth_file_path: .*it names a drive"),
        ({"fl_x": -3}, r"frames\[1\]\.fl_x must be positive; found -3"),
        ({"w": 40.5}, r"frames\[1\]\.w must be a whole number from 1 to 1000000; found 40\.5"),
        ({"k4": 0.1}, r"frames\[1\]\.k4 must be 0: OPENCV has k1, k2, p1, p2 and k3"),
        ({"camera_model": "FOV"}, r"frames\[1\]\.camera_model must be one of SIMPLE_PINHOLE, .*; found \"FOV\""),
        ({"camera_model": "OPENCV_FISHEYE", "p1": 0.1}, r"frames\[1\]\.p1 must be 0: a fisheye has k1 to k4 only"),
        ({"is_fisheye": 1}, r"frames\[1\]\.is_fisheye must be true or false"),
        ({"distortion_params": [1]}, r"frames\[1\]\.distortion_params must hold 6 numbers"),
        ({"w": 30, "h": 40}, r"40 x 30 pixels, but its camera has 30 x 40"),
    ],
)
def test_wrong_values_are_named_by_their_place(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    frames = [frame("images/a.png"), frame("images/b.png", 1) | values]
    with pytest.raises(SplatError, match=message):
        TransformsCameraDataset(write_scene(tmp_path, frames=frames))


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        ({}, r"frames\[0\] has no fl_x and no camera_angle_x, and neither has the file"),
        ({"camera_angle_x": 3.2}, "camera_angle_x must be an angle between 0 and pi, in radians; found 3.2"),
        ({"fl_x": 30, "w": 40}, "w stands alone: give both w and h, or neither"),
        (SHARED | {"applied_transform": [1]}, "applied_transform must hold 4 x 4 numbers"),
        (SHARED | {"ply_file_path": "no.ply"}, "ply_file_path names 'no.ply', which does not exist"),
        (SHARED | {"ply_file_path": "/no.ply"}, "'/no.ply' is refused: it is absolute"),
        (SHARED | {"integer_depth_scale": 0}, "integer_depth_scale must be positive"),
        (SHARED | {"ftheta_p0": 0.1}, "ftheta_p0 describes a lens that is not supported"),
        (SHARED | {"train_filenames": "images/a.png"}, "train_filenames must be an array"),
    ],
)
def test_wrong_shared_values(tmp_path: Path, shared: dict[str, Any], message: str) -> None:
    root = write_scene(tmp_path, shared=shared)
    with pytest.raises(SplatError, match=message):
        TransformsCameraDataset(root, split="train", world="original")
        transforms_points(root, "original")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "the whole must be an object; found an array of 0"),
        ("{}", "the whole has no 'frames'"),
        ('{"frames": []}', "no frames in it"),
        ('{"frames": [3]}', r"frames\[0\] must be an object; found 3"),
        ("[" * 100_000, "nested too deeply"),
        ('{"frames": [{"file_path": "a", "fl_x": ' + "9" * 10_000 + "}]}", "a number of 10000 characters"),
        ('{"frames": [], "frames": []}', "the key 'frames' appears twice"),
        ('{"frames": [NaN]}', "NaN is not a JSON number"),
    ],
)
def test_files_that_are_no_scene(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(SplatError, match=message):
        TransformsCameraDataset(tmp_path)


def test_links_that_leave_the_scene_are_refused(tmp_path: Path) -> None:
    root = write_scene(tmp_path / "scene", missing=["images/b.png"])
    (tmp_path / "secret.png").write_bytes((root / "images" / "a.png").read_bytes())
    (root / "images" / "b.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(SceneError, match=r"frames\[1\]\.file_path: .*a symbolic link leads outside"):
        TransformsCameraDataset(root)
    assert len(TransformsCameraDataset(root, allow_links=True)) == 3


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a JSON value with each of its keys."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


@pytest.mark.filterwarnings("ignore:.*are frames; the others are left out")
@pytest.mark.parametrize("wrong", [None, "x", -1, 1e308, [], {}, True, [[[]]]], ids=repr)
def test_any_wrong_value_is_refused_in_words_or_harmless(tmp_path: Path, wrong: Any) -> None:
    """Each value of a full file in turn: our own error, or views that are finite."""
    shared = SHARED | {
        "k1": 0.01,
        "camera_model": "OPENCV",
        "applied_transform": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
        "train_filenames": ["images/a.png"],
        "aabb_scale": 4,
    }
    root = write_scene(tmp_path, ["images/a.png"], shared=shared)
    text = (root / "transforms.json").read_text()
    for number in range(len(list(places(json.loads(text))))):
        content = json.loads(text)
        owner, key = list(places(content))[number]
        owner[key] = wrong
        (root / "transforms.json").write_text(json.dumps(content))
        try:
            views = TransformsCameraDataset(root, split="train", world="original").views
        except SplatError as error:
            assert str(root) in str(error) or "camera" in str(error) or "view" in str(error), error
        else:
            assert all(abs(view.camera().full_proj_transform).isfinite().all() for view in views)
