"""COLMAP scenes whose pictures have another size or another turn than their cameras, or a distorted lens."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from example_scenes import SIZE, SceneMaker, circle_of_images, image_of, picture
from PIL import Image

from gaussian_splatting.dataset.colmap import ColmapCameraDataset
from gaussian_splatting.dataset.colmap.model import (
    MODEL_OF_ID,
    ColmapCamera,
    ColmapModel,
    write_model,
)
from gaussian_splatting.dataset.lenses import LENS_MODELS
from gaussian_splatting.dataset.pictures import PictureLimits
from gaussian_splatting.errors import SceneError


def test_a_picture_one_pixel_larger_scales_the_intrinsics(
    make_scene: SceneMaker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        dataset = ColmapCameraDataset(make_scene(picture_sizes={"b.png": (41, 31)}))
    camera = dataset[1]
    assert (camera.image_width, camera.image_height) == (41, 31)
    assert camera.K[0, 0].item() == pytest.approx(35 * 41 / 40)
    assert camera.K[1, 2].item() == pytest.approx(14 * 31 / 30)
    assert dataset[0].K[0, 0].item() == 35
    assert "1 of 3 views (the first: b.png) have pictures a pixel larger or smaller" in caplog.text


def test_pictures_larger_than_their_cameras_keep_their_size(make_scene: SceneMaker) -> None:
    dataset = ColmapCameraDataset(make_scene(picture_sizes=dict.fromkeys(("a.png", "b.png", "c.png"), (80, 60))))
    assert dataset[0].K[:2].tolist() == [[70, 0, 42], [0, 72, 28]]
    np.testing.assert_array_equal(image_of(dataset, 0), picture((80, 60), 0))


def test_pictures_of_half_the_size_scale_the_intrinsics(
    make_scene: SceneMaker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        dataset = ColmapCameraDataset(make_scene(picture_sizes=dict.fromkeys(("a.png", "b.png", "c.png"), (20, 15))))
    assert dataset[0].K[:2].tolist() == [[17.5, 0, 10.5], [0, 18, 7]]
    assert "3 of 3 views (the first: a.png) have pictures of another size than their cameras" in caplog.text


@pytest.mark.parametrize(("size", "message"), [((30, 40), "turned by 90 degrees"), ((40, 22), "another shape")])
def test_pictures_of_another_shape_are_refused(make_scene: SceneMaker, size: tuple[int, int], message: str) -> None:
    with pytest.raises(SceneError, match=rf"b\.png: {size[0]} x {size[1]} pixels, but its camera has .*{message}"):
        ColmapCameraDataset(make_scene(picture_sizes={"b.png": size}))


def test_mixed_cameras_and_sizes(make_scene: SceneMaker) -> None:
    scene = make_scene(picture_sizes={"b.png": (24, 50)})
    cameras = {
        1: ColmapCamera(1, "PINHOLE", 40, 30, (35.0, 36.0, 21.0, 14.0)),
        2: ColmapCamera(2, "SIMPLE_PINHOLE", 24, 50, (30.0, 12.0, 25.0)),
    }
    images = circle_of_images(["a.png", "b.png", "c.png"], [1, 2, 1])
    write_model(scene / "sparse" / "0", ColmapModel(cameras, images, None))
    sizes = [(camera.image_width, camera.image_height) for camera in ColmapCameraDataset(scene)]
    assert sizes == [(40, 30), (24, 50), (40, 30)]


@pytest.mark.parametrize("orientation", [3, 6])
def test_exif_is_not_applied_where_the_stored_pixels_fit(make_scene: SceneMaker, orientation: int) -> None:
    """COLMAP reads pixels as they are stored, so its cameras are those of the stored pixels."""
    scene = make_scene()
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(picture(SIZE, 1)).save(scene / "images" / "b.png", exif=exif)
    with pytest.warns(
        UserWarning, match=r"1 of 3 views \(the first: b\.png\) have pictures that EXIF says are turned; C"
    ):
        dataset = ColmapCameraDataset(scene)
    np.testing.assert_array_equal(image_of(dataset, 1), picture(SIZE, 1))


def test_exif_is_applied_where_only_the_turned_pixels_fit(make_scene: SceneMaker) -> None:
    scene = make_scene()
    exif = Image.Exif()
    exif[274] = 8
    Image.fromarray(np.rot90(picture(SIZE, 1), -1).copy()).save(scene / "images" / "b.png", exif=exif)
    with pytest.warns(UserWarning, match=r"says are turned; they were turned, which fits their cameras"):
        dataset = ColmapCameraDataset(scene)
    np.testing.assert_array_equal(image_of(dataset, 1), picture(SIZE, 1))


@pytest.mark.parametrize(
    ("choice", "size"),
    [({"resolution": 2}, (20, 15)), ({"resolution": 16}, (16, 12)), ({"image_scale": 0.4}, (16, 12))],
)
def test_reduced_cameras_see_the_same(make_scene: SceneMaker, choice: dict, size: tuple[int, int]) -> None:
    scene = make_scene()
    full, reduced = ColmapCameraDataset(scene)[0], ColmapCameraDataset(scene, **choice)[0]
    assert (reduced.image_width, reduced.image_height) == size
    assert reduced.ground_truth_image is not None
    assert reduced.ground_truth_image.shape == (3, size[1], size[0])
    torch.testing.assert_close(reduced.full_proj_transform, full.full_proj_transform)


def test_a_scene_reduced_to_less_than_a_window_is_refused(make_scene: SceneMaker) -> None:
    with pytest.raises(SceneError, match=r"a\.png: --image_scale 0\.25 leaves 10 x 8 of its 40 x 30 pixels"):
        ColmapCameraDataset(make_scene(), image_scale=0.25)


def test_a_folder_of_reduced_pictures_is_used_and_not_reduced_again(make_scene: SceneMaker) -> None:
    scene = make_scene(["a.png", "b.png", "c.png"])
    (scene / "images_2").mkdir()
    for seed, name in enumerate(["a.png", "b.png"]):
        Image.fromarray(picture((20, 15), seed + 7)).save(scene / "images_2" / name)
    dataset = ColmapCameraDataset(scene, resolution=2)
    np.testing.assert_array_equal(image_of(dataset, 0), picture((20, 15), 7))
    assert dataset.views[2].image_path == scene / "images" / "c.png"
    assert [(view.width, view.height, view.fx) for view in dataset.views] == [(20, 15, 17.5)] * 3


def test_pictures_are_never_enlarged(make_scene: SceneMaker) -> None:
    assert ColmapCameraDataset(make_scene(), resolution=400)[0].image_width == 40


def test_too_many_pixels_are_refused_when_the_scene_is_read(make_scene: SceneMaker) -> None:
    with pytest.raises(SceneError, match=r"a\.png: 40 x 30 = 1200 pixels, more than the limit of 1000"):
        ColmapCameraDataset(make_scene(), limits=PictureLimits(max_pixels=1000))


@pytest.mark.parametrize("model", MODEL_OF_ID.values(), ids=lambda model: model.name)
def test_every_camera_model_is_undistorted_or_refused_with_the_commands(make_scene: SceneMaker, model: object) -> None:
    name, parameters = model.name, model.parameters  # pyright: ignore[reportAttributeAccessIssue]
    values = {"f": 35.0, "fx": 35.0, "fy": 36.0, "cx": 20.0, "cy": 15.0, "w": 40.0, "h": 30.0, "omega": 0.5}
    scene = make_scene(model=name, params=[values.get(parameter, 0.01) for parameter in parameters])
    if name not in LENS_MODELS:
        with pytest.raises(
            SceneError, match=rf"camera 1 has the model {name}: (.|\n)*colmap image_undistorter (.|\n)*"
        ):
            ColmapCameraDataset(scene)
        return
    camera = ColmapCameraDataset(scene)[1]
    assert camera.ground_truth_image is not None
    assert camera.ground_truth_image.shape == (3, camera.image_height, camera.image_width)
    assert camera.ground_truth_image_mask is None


def test_reduced_pictures_of_a_distorted_lens_are_undistorted_at_their_size(make_scene: SceneMaker) -> None:
    scene = make_scene(size=(400, 300), model="OPENCV", params=(350.0, 360.0, 205.0, 148.0, -0.2, 0.05, 0.001, -0.002))
    full, half = ColmapCameraDataset(scene)[0], ColmapCameraDataset(scene, resolution=2)[0]
    assert half.image_width == round(full.image_width / 2)
    assert full.ground_truth_image is not None
    assert half.ground_truth_image is not None
    smaller = torch.nn.functional.interpolate(
        full.ground_truth_image[None], half.ground_truth_image.shape[1:], mode="area"
    )
    torch.testing.assert_close(half.ground_truth_image, smaller[0], atol=0.02, rtol=0)
