"""transforms.json scenes: poses, intrinsics, files, splits, and the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from example_scenes import SIZE, picture
from PIL import Image
from transforms_scenes import SHARED, frame, pose, write_rgba, write_scene

from gaussian_splatting.dataset.colmap import ColmapCameraDataset
from gaussian_splatting.dataset.json_dataset import JSONCameraDataset
from gaussian_splatting.dataset.transforms import TransformsCameraDataset, transforms_points
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io.ply import write_point_cloud


def test_poses_become_opencv(tmp_path: Path) -> None:
    """Level cameras on a circle see the origin in the middle and ahead, and what is above it higher up."""
    dataset = TransformsCameraDataset(write_scene(tmp_path))
    for camera in dataset:
        torch.testing.assert_close(camera.camera_center.norm(), torch.tensor(3.0))
        torch.testing.assert_close(camera.T, torch.tensor([0.0, 0.0, 3.0]))
        above = camera.R @ torch.tensor([0.0, 0.0, 1.0]) + camera.T
        torch.testing.assert_close(above, torch.tensor([0.0, -1.0, 3.0]))
    assert dataset.names == ["images/a.png", "images/b.png", "images/c.png"]
    np.testing.assert_array_equal(
        np.rint(dataset[1].ground_truth_image.permute(1, 2, 0).numpy() * 255), picture(SIZE, 1)
    )


def test_shared_intrinsics_and_those_of_a_frame(tmp_path: Path) -> None:
    frames = [frame("images/a.png"), frame("images/b.png", 1, fl_x=50, cx=19.5)]
    views = TransformsCameraDataset(write_scene(tmp_path, frames=frames)).views
    assert (views[0].fx, views[0].fy, views[0].cx, views[0].cy) == (35, 36, 21, 14)
    assert (views[1].fx, views[1].fy, views[1].cx, views[1].cy) == (50, 36, 19.5, 14)


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        ({"camera_angle_x": np.pi / 2}, (20, 20, 20, 15)),
        ({"camera_angle_x": np.pi / 2, "camera_angle_y": np.pi / 2}, (20, 15, 20, 15)),
        ({"camera_angle_x": 0.1, "fl_x": 33}, (33, 33, 20, 15)),
        ({"fl_y": 33, "w": 80, "h": 60}, (16.5, 16.5, 20, 15)),
        ({"camera_angle_x": np.pi / 2, "w": None, "cx": None}, (20, 20, 20, 15)),
    ],
)
def test_intrinsics_that_are_left_out(tmp_path: Path, shared: dict, expected: tuple) -> None:
    """From the angle of view, from the other axis, from the middle, from the picture's size."""
    view = TransformsCameraDataset(write_scene(tmp_path, shared=shared)).views[0]
    np.testing.assert_allclose((view.fx, view.fy, view.cx, view.cy), expected)


def test_pictures_of_another_size_scale_their_intrinsics(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shared = {key: value * 4 for key, value in SHARED.items()}
    with caplog.at_level("INFO"):
        view = TransformsCameraDataset(write_scene(tmp_path, shared=shared)).views[0]
    np.testing.assert_allclose((view.width, view.height, view.fx, view.cx), (*SIZE, 35, 21))
    assert "3 of 3 views (the first: images/a.png) have pictures of another size" in caplog.text


@pytest.mark.parametrize(
    ("values", "model", "params"),
    [
        ({"k1": 0.1, "k2": -0.02, "p1": 1e-3, "p2": -2e-3}, "OPENCV", (0.1, -0.02, 1e-3, -2e-3)),
        ({"k1": 0.1, "k3": 0.03, "camera_model": "OPENCV"}, "FULL_OPENCV", (0.1, 0, 0, 0, 0.03, 0, 0, 0)),
        ({"k1": 0.1, "k4": 0.01, "camera_model": "OPENCV_FISHEYE"}, "OPENCV_FISHEYE", (0.1, 0, 0, 0.01)),
        ({"k1": 0.1, "is_fisheye": True}, "OPENCV_FISHEYE", (0.1, 0, 0, 0)),
        ({"distortion_params": [0.1, 0.02, 0, 0, 3e-3, 0]}, "OPENCV", (0.1, 0.02, 3e-3, 0)),
    ],
)
def test_distorted_lenses(tmp_path: Path, values: dict, model: str, params: tuple) -> None:
    """Each lens is named as COLMAP names it, and its pictures are undistorted by the same code."""
    dataset = TransformsCameraDataset(write_scene(tmp_path, shared=SHARED | values))
    lens = dataset.views[0].lens
    assert lens is not None
    assert (lens.model, lens.coefficients) == (model, params)
    image = dataset[0].ground_truth_image
    assert image is not None
    assert image.shape[1:] == (dataset.views[0].height, dataset.views[0].width)


def test_no_distortion_is_no_lens(tmp_path: Path) -> None:
    shared = SHARED | {"k1": 0, "k2": 0.0, "camera_model": "PINHOLE"}
    assert TransformsCameraDataset(write_scene(tmp_path, shared=shared)).views[0].lens is None


def test_file_paths_without_extension_or_in_windows_spelling(tmp_path: Path) -> None:
    frames = [frame("./images/a"), frame("images\\b.png", 1), frame("images/c.png", 2)]
    assert TransformsCameraDataset(write_scene(tmp_path, frames=frames)).names == [
        "images/a.png",
        "images/b.png",
        "images/c.png",
    ]


def test_missing_pictures_are_listed_and_left_out(tmp_path: Path) -> None:
    root = write_scene(tmp_path, missing=["images/b.png"])
    with pytest.warns(UserWarning, match=r"1 of 3 pictures are not in .*, left out: images/b\.png"):
        assert TransformsCameraDataset(root).names == ["images/a.png", "images/c.png"]
    with pytest.raises(SceneError, match=r"1 of the 3 pictures .* images/b\.png; put them there, or correct the paths"):
        TransformsCameraDataset(root, strict=True)


def test_a_scale_in_the_matrix_changes_no_picture(tmp_path: Path) -> None:
    scaled = pose(0.3)
    scaled[:3, :3] *= 2.5
    frames = [frame("images/a.png", 0.3), {"file_path": "images/b.png", "transform_matrix": scaled[:3].tolist()}]
    first, second = TransformsCameraDataset(write_scene(tmp_path, frames=frames)).views
    np.testing.assert_allclose(first.R, second.R, atol=1e-12)
    np.testing.assert_allclose(first.T, second.T, atol=1e-12)


def test_the_applied_transform_is_kept_or_undone(tmp_path: Path) -> None:
    """Cameras and points move together: what the file says, or the world of the reconstruction."""
    applied = np.array([[1.0, 0, 0, 0.5], [0, 0, 1, -1], [0, -1, 0, 2]])
    xyz = np.random.default_rng(0).normal(size=(6, 3))
    shared = SHARED | {"applied_transform": applied.tolist(), "applied_scale": 2.0, "ply_file_path": "points.ply"}
    root = write_scene(tmp_path, shared=shared)
    write_point_cloud(root / "points.ply", 2 * (xyz @ applied[:, :3].T + applied[:, 3]))
    kept, undone = TransformsCameraDataset(root), TransformsCameraDataset(root, world="original")
    found = transforms_points(root, "original")
    assert found is not None
    np.testing.assert_allclose(found[0], xyz, atol=1e-6)
    moved = transforms_points(root)
    assert moved is not None
    for before, after in zip(kept.views, undone.views, strict=True):
        in_camera = moved[0] @ before.R.T + before.T
        np.testing.assert_allclose(found[0] @ after.R.T + after.T, in_camera / 2, atol=1e-6)


def test_masks_and_depth_maps_that_frames_name(tmp_path: Path) -> None:
    """mask_path keeps 255; depth_file_path holds millimetres and becomes inverse depth, 0 is unknown."""
    frames = [frame("images/a.png", mask_path="masks/a.png", depth_file_path="depth_mm/a.png")]
    root = write_scene(tmp_path, ["images/a.png"], frames=frames)
    mask, depth = np.zeros(SIZE[::-1], np.uint8), np.full(SIZE[::-1], 2500, np.uint16)
    mask[5:] = 255
    depth[0, 0] = 0
    for name, values in (("masks/a.png", mask), ("depth_mm/a.png", depth)):
        (root / name).parent.mkdir()
        Image.fromarray(values).save(root / name)
    camera = TransformsCameraDataset(root)[0]
    assert camera.ground_truth_image_mask is not None
    assert camera.ground_truth_depth is not None
    assert camera.ground_truth_depth_mask is not None
    np.testing.assert_array_equal(camera.ground_truth_image_mask.numpy(), mask / 255)
    torch.testing.assert_close(camera.ground_truth_depth[3, 3], torch.tensor(0.4))
    assert (camera.ground_truth_depth[0, 0], camera.ground_truth_depth_mask[0, 0]) == (0, 0)
    assert camera.ground_truth_depth_mask.sum() == mask.size - 1
    metres = TransformsCameraDataset(root, depth_unit=1.0)[0].ground_truth_depth
    assert metres is not None
    torch.testing.assert_close(metres[3, 3], torch.tensor(1 / 2500))


def test_depth_maps_in_the_usual_folder_are_inverse_depth(tmp_path: Path) -> None:
    root = write_scene(tmp_path)
    values = np.full(SIZE[::-1], 0.25, np.float32)
    (root / "depths").mkdir()
    for stem in "abc":
        tifffile.imwrite(root / "depths" / f"{stem}.tiff", values)
    (root / "depth_params.json").write_text(json.dumps({s: {"scale": 2.0 * 65536, "offset": 0.5} for s in "abc"}))
    depth = TransformsCameraDataset(root)[0].ground_truth_depth
    assert depth is not None
    torch.testing.assert_close(depth, torch.ones(SIZE[::-1]))


def test_named_maps_that_do_not_exist_are_counted(tmp_path: Path) -> None:
    frames = [frame("images/a.png", mask_path="m.png", depth_file_path="d.png"), frame("images/b.png", 1)]
    root = write_scene(tmp_path, frames=frames)
    with pytest.warns(UserWarning) as caught:
        TransformsCameraDataset(root)
    said = [str(warning.message) for warning in caught]
    assert any("1 of 2 views (the first: images/a.png) name a mask that does not exist" in text for text in said)
    assert any("1 of 2 views (the first: images/a.png) name a depth map that does not exist" in text for text in said)


def names_of(root: Path, split: str) -> list[str]:
    return [Path(name).stem for name in TransformsCameraDataset(root, split=split, llffhold=3).names]


def test_two_files_are_the_split(tmp_path: Path) -> None:
    write_scene(tmp_path, ["train/a.png", "train/b.png"], file="transforms_train.json")
    write_scene(tmp_path, ["test/c.png"], file="transforms_test.json")
    assert (names_of(tmp_path, "train"), names_of(tmp_path, "test")) == (["a", "b"], ["c"])
    assert sorted(names_of(tmp_path, "all")) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("lists", "train", "test"),
    [
        ({}, ["b", "c"], ["a"]),
        ({"test_filenames": ["./images/c.png"]}, ["a", "b"], ["c"]),
        ({"train_filenames": ["images/b.png"], "val_filenames": ["images/a.png"]}, ["b"], ["a"]),
        ({"train_filenames": ["images/b.png"]}, ["b"], ["a", "c"]),
    ],
)
def test_lists_are_the_split_else_every_nth(tmp_path: Path, lists: dict, train: list, test: list) -> None:
    root = write_scene(tmp_path, shared=SHARED | lists)
    assert (names_of(root, "train"), names_of(root, "test")) == (train, test)
    assert names_of(root, "all") == ["a", "b", "c"]


def test_names_of_a_list_that_are_no_frames_are_counted(tmp_path: Path) -> None:
    root = write_scene(tmp_path, shared=SHARED | {"train_filenames": ["images/b.png", "images/z.png"]})
    with pytest.warns(UserWarning, match="only 1 of the 2 names in its train list are frames"):
        assert names_of(root, "train") == ["b"]


def test_cameras_json_leads_to_the_same_pictures(tmp_path: Path) -> None:
    """What a run writes about its cameras keeps compositing, lens and depth units."""
    frames = [frame("images/a.png", depth_file_path="depth/a.png"), frame("images/b.png", 1)]
    root = write_scene(tmp_path, frames=frames, shared=SHARED | {"k1": 0.05})
    write_rgba(root / "images" / "b.png", picture(SIZE), picture(SIZE, 4)[..., 0])
    (root / "depth").mkdir()
    Image.fromarray(np.full(SIZE[::-1], 2000, np.uint16)).save(root / "depth" / "a.png")
    with pytest.warns(UserWarning, match="1 of 2 views have a depth map"):
        dataset = TransformsCameraDataset(root)
    dataset.save_cameras(root / "cameras.json")
    again = JSONCameraDataset(root / "cameras.json")
    for one, other in zip(dataset, again, strict=True):
        assert one.ground_truth_image is not None
        torch.testing.assert_close(one.ground_truth_image, other.ground_truth_image)
        torch.testing.assert_close(one.full_proj_transform, other.full_proj_transform)
    assert again[1].custom_data["alpha"] == "composite"
    torch.testing.assert_close(dataset[0].ground_truth_depth, again[0].ground_truth_depth)
    assert (again[0].ground_truth_depth == 0.5).all()


def test_fox_nerf_agrees_with_its_colmap_model(shared_data: Path) -> None:
    """The same capture, reconstructed twice: after a similarity the cameras stand at the same places."""
    ours = {Path(view.name).name: view for view in TransformsCameraDataset(shared_data / "fox_nerf").views}
    theirs = {view.name: view for view in ColmapCameraDataset(shared_data / "fox_colmap").views}
    assert ours.keys() == theirs.keys()
    assert len(ours) == 50
    first = np.stack([ours[name].center for name in theirs])
    second = np.stack([view.center for view in theirs.values()])
    rotation, aligned = similarity(first, second)
    spread = np.sqrt(((second - second.mean(0)) ** 2).sum(1).mean())
    assert np.median(np.linalg.norm(aligned - second, axis=1)) / spread < 0.0025
    turns = [theirs[name].R @ rotation @ ours[name].R.T for name in theirs]
    angles = np.degrees([np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)) for turn in turns])
    assert np.median(angles) < 0.8


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rotation and the points of the least-squares similarity (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    left, strengths, right = np.linalg.svd(b.T @ a)
    signs = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    rotation = left @ np.diag(signs) @ right
    return rotation, (strengths @ signs) / (a**2).sum() * a @ rotation.T + target.mean(0)


def test_fox_upstream_names_missing_pictures_and_another_size(shared_data: Path) -> None:
    """It leads to the same views as the file in which both were mended."""
    mended = TransformsCameraDataset(shared_data / "fox_nerf", split="test")
    with pytest.warns(UserWarning, match="17 of 67 pictures are not in"):
        upstream = TransformsCameraDataset(shared_data / "fox_nerf" / "transforms_upstream.json", split="test")
    assert upstream.names == mended.names
    assert len(upstream) == 7
    for one, other in zip(upstream.views, mended.views, strict=True):
        assert (one.width, one.height) == (other.width, other.height)
        np.testing.assert_allclose((one.fx, one.fy, one.cx, one.cy), (other.fx, other.fy, other.cx, other.cy))


def test_lego_is_read_as_published(shared_data: Path) -> None:
    train = TransformsCameraDataset(shared_data / "lego400_blender", split="train")
    test = TransformsCameraDataset(shared_data / "lego400_blender", split="test")
    assert (len(train), len(test)) == (50, 20)
    assert test.views[0].fx == pytest.approx(0.5 * 400 / np.tan(0.5 * 0.6911112070083618))
    train.bg_color = (1.0, 1.0, 1.0)
    white, corner = train[0], torch.ones(3)
    assert white.ground_truth_image is not None
    torch.testing.assert_close(white.ground_truth_image[:, 0, 0], corner)
    assert white.ground_truth_image_mask is None
