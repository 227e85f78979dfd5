"""COLMAP scenes as datasets: real ones, what their cameras are, how they are split, and their extent."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from example_scenes import SIZE, SceneMaker, image_of, picture

from gaussian_splatting.dataset.colmap import ColmapCameraDataset, read_colmap_cameras, read_colmap_points3D
from gaussian_splatting.dataset.colmap.model import (
    ColmapModel,
    read_model,
    read_points,
    write_model,
)


@pytest.mark.parametrize(
    ("scene", "num_views", "size"),
    [
        ("fox_colmap", 50, (530, 946)),
        ("banana", 14, (1196, 795)),
        ("kermit_raw", 11, (658, 487)),
        ("sceaux_opencv", 11, (1466, 1091)),
        ("lightfield_depth", 9, (541, 375)),
    ],
)
def test_real_scenes_are_read_and_their_points_are_seen(
    shared_data: Path, scene: str, num_views: int, size: tuple[int, int]
) -> None:
    """Most sparse points project into the picture of at least one camera, in front of it."""
    dataset = ColmapCameraDataset(shared_data / scene)
    assert len(dataset) == num_views
    assert dataset.names == sorted(dataset.names)
    camera = dataset[num_views // 2]
    assert (camera.image_width, camera.image_height) == size
    assert camera.ground_truth_image is not None
    assert camera.ground_truth_image.shape == (3, size[1], size[0])
    xyz = torch.from_numpy(read_colmap_points3D(shared_data / scene)[0]).float()
    seen = torch.zeros(len(xyz), dtype=torch.bool)
    for view in dataset.views:
        clip = torch.cat([xyz, torch.ones(len(xyz), 1)], 1) @ view.camera().full_proj_transform
        seen |= (clip[:, 3] > 0) & ((clip[:, :2] / clip[:, 3:]).abs() <= 1).all(1)
    assert seen.float().mean() > 0.99
    assert dataset.scene_extent() > 0


def test_sparse_points_have_the_colours_of_the_pictures(shared_data: Path) -> None:
    """Poses, intrinsics and pictures belong together: the pixel that a point falls on has the point's colour."""
    scene = shared_data / "fox_colmap"
    dataset = ColmapCameraDataset(scene, resolution=4)
    xyz, rgb, _ = read_colmap_points3D(scene)
    camera = dataset[7]
    assert camera.ground_truth_image is not None
    seen = torch.from_numpy(xyz).float() @ camera.R.T + camera.T
    pixel = seen @ camera.K.T
    pixel = pixel[:, :2] / pixel[:, 2:]
    inside = (
        (seen[:, 2] > 0)
        & (pixel >= 0).all(1)
        & (pixel < torch.tensor([camera.image_width, camera.image_height])).all(1)
    )
    column, row = pixel[inside].long().T
    colors = camera.ground_truth_image[:, row, column].T * 255
    right = np.abs(colors.numpy() - rgb[inside.numpy()]).mean()
    shuffled = np.abs(colors.numpy() - rgb[inside.numpy()][::-1]).mean()
    assert right < 0.6 * shuffled


def test_text_and_binary_models_agree(make_scene: SceneMaker) -> None:
    binary = ColmapCameraDataset(make_scene(folder="b"))
    text = ColmapCameraDataset(make_scene(folder="t", extension=".txt"))
    assert text.scene_digest() == binary.scene_digest()


def test_cameras_are_what_the_model_says(make_scene: SceneMaker) -> None:
    dataset = ColmapCameraDataset(make_scene())
    camera = dataset[1]
    assert camera.K.tolist() == [[35, 0, 21], [0, 36, 14], [0, 0, 1]]
    assert torch.allclose(camera.camera_center, -camera.R.T @ torch.tensor([0.0, 0.0, 3.0]), atol=1e-6)
    np.testing.assert_array_equal(image_of(dataset, 1), picture(SIZE, 1))


def test_a_dataset_is_a_sequence_that_can_be_read_twice(make_scene: SceneMaker) -> None:
    dataset = ColmapCameraDataset(make_scene())
    first, second = list(dataset), list(dataset)
    assert len(first) == len(dataset) == 3
    for a, b in zip(first, second, strict=True):
        assert a.ground_truth_image is not None
        assert b.ground_truth_image is not None
        assert torch.equal(a.ground_truth_image, b.ground_truth_image)
        assert a.custom_data is not b.custom_data
    assert dataset[-1].ground_truth_image_path == dataset[2].ground_truth_image_path
    with pytest.raises(IndexError, match="camera 3 of a dataset of 3"):
        dataset[3]


def test_changing_a_camera_does_not_change_the_dataset(make_scene: SceneMaker) -> None:
    dataset = ColmapCameraDataset(make_scene())
    camera = dataset[0]
    assert camera.ground_truth_image is not None
    camera.ground_truth_image.zero_()
    camera.bg_color.fill_(1)
    np.testing.assert_array_equal(image_of(dataset, 0), picture(SIZE, 0))
    assert dataset[0].bg_color.tolist() == [0, 0, 0]


def test_raw_cameras(make_scene: SceneMaker) -> None:
    scene = make_scene()
    raw = read_colmap_cameras(scene)
    assert [camera.image_path for camera in raw] == [(scene / "images" / f"{n}.png").as_posix() for n in "abc"]
    assert raw[0].FoVx == pytest.approx(2 * np.arctan(20 / 35))
    assert raw[0].cx == 21
    assert len(ColmapCameraDataset(scene).raw_cameras) == 3
    assert len(ColmapCameraDataset(scene).cameras) == 3


def test_the_largest_of_several_models_is_used(make_scene: SceneMaker) -> None:
    scene = make_scene()
    model = read_model(scene / "sparse" / "0")
    one = {1: model.images[1]}
    shutil.move(scene / "sparse" / "0", scene / "sparse" / "1")
    write_model(scene / "sparse" / "0", ColmapModel(model.cameras, one, model.points))
    with pytest.warns(UserWarning, match=r"several models .*sparse/1, the largest"):
        assert len(ColmapCameraDataset(scene)) == 3


def test_every_eighth_view_of_a_real_scene_is_held_out(shared_data: Path) -> None:
    train = ColmapCameraDataset(shared_data / "fox_colmap", split="train")
    test = ColmapCameraDataset(shared_data / "fox_colmap", split="test")
    assert (len(train), len(test)) == (43, 7)
    assert test.names[:2] == ["0001.jpg", "0012.jpg"]


def test_the_extent_of_a_single_camera_comes_from_the_points(make_scene: SceneMaker) -> None:
    scene = make_scene(["a.png"])
    points = read_points(scene / "sparse" / "0")
    assert points is not None
    dataset = ColmapCameraDataset(scene)
    with pytest.warns(UserWarning, match="the 1 cameras stay at one place"):
        extent = dataset.scene_extent()
    distances = np.linalg.norm(points.xyz - dataset.views[0].center, axis=1)
    assert extent == pytest.approx(1.1 * np.median(distances))
    assert dataset.scene_extent() == extent


def test_cameras_that_turn_on_the_spot_have_an_extent(make_scene: SceneMaker) -> None:
    with pytest.warns(UserWarning, match="the 3 cameras stay at one place"):
        assert ColmapCameraDataset(make_scene(radius=0.0)).scene_extent() > 0


def test_the_digest_follows_cameras_and_names_and_not_the_place(make_scene: SceneMaker, tmp_path: Path) -> None:
    scene = make_scene()
    digest = ColmapCameraDataset(scene).scene_digest()
    shutil.copytree(scene, tmp_path / "moved")
    assert ColmapCameraDataset(tmp_path / "moved").scene_digest() == digest
    assert ColmapCameraDataset(scene, resolution=2).scene_digest() != digest
    assert ColmapCameraDataset(make_scene(folder="wider", radius=3.001)).scene_digest() != digest
    assert ColmapCameraDataset(make_scene(["a.png", "b.png", "d.png"], folder="named")).scene_digest() != digest


def test_moving_a_dataset_keeps_its_cameras(make_scene: SceneMaker) -> None:
    dataset = ColmapCameraDataset(make_scene())
    assert dataset.to("cpu") is dataset
    np.testing.assert_array_equal(image_of(dataset, 0), picture(SIZE, 0))
