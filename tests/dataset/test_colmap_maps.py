"""The masks and depth maps of COLMAP scenes."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from example_scenes import SIZE, SceneMaker
from PIL import Image

from gaussian_splatting.dataset.colmap import ColmapCameraDataset, read_colmap_points3D
from gaussian_splatting.errors import SceneError, SplatError


def write_maps(scene: Path, stems: str = "abc", size: tuple[int, int] = SIZE) -> None:
    (scene / "depths").mkdir(exist_ok=True)
    for index, stem in enumerate(stems):
        Image.new("L", size, 255).save(scene / "images" / f"{stem}_mask.png")
        tifffile.imwrite(scene / "depths" / f"{stem}.tiff", np.full(size[::-1], index + 0.5, np.float32))


def test_masks_and_depths_are_found_beside_the_pictures(
    make_scene: SceneMaker, caplog: pytest.LogCaptureFixture
) -> None:
    scene = make_scene()
    write_maps(scene)
    Image.new("L", SIZE, 0).save(scene / "depths" / "b_mask.png")
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        camera = ColmapCameraDataset(scene)[1]
    assert camera.ground_truth_image_mask is not None
    assert camera.ground_truth_depth is not None
    assert camera.ground_truth_depth_mask is not None
    assert camera.ground_truth_image_mask.unique().tolist() == [1]
    assert camera.ground_truth_depth.unique().tolist() == [1.5]
    assert camera.ground_truth_depth_mask.unique().tolist() == [0]
    assert "3 of 3 views have a mask file" in caplog.text
    assert f"3 of 3 views have a depth map in {scene / 'depths'}" in caplog.text


def test_maps_are_not_loaded_unless_asked(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene)
    camera = ColmapCameraDataset(scene, load_mask=False, load_depth=False)[0]
    assert camera.ground_truth_image_mask is camera.ground_truth_depth is None
    assert camera.ground_truth_image_mask_path is camera.ground_truth_depth_path is None


def test_tiff_masks_win_over_png_masks(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene)
    tifffile.imwrite(scene / "images" / "a_mask.tiff", np.zeros((30, 40), np.float32))
    mask = ColmapCameraDataset(scene)[0].ground_truth_image_mask
    assert mask is not None
    assert not mask.any()


def test_views_without_maps_are_counted_once(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene, "a")
    with pytest.warns(UserWarning) as caught:
        dataset = ColmapCameraDataset(scene)
    messages = [str(warning.message) for warning in caught]
    assert messages == [
        "1 of 3 views have a mask file",
        f"1 of 3 views have a depth map in {scene / 'depths'}",
    ]
    assert dataset[1].ground_truth_image_mask is dataset[1].ground_truth_depth is None


def test_maps_of_another_size_are_resized_with_one_warning(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene, size=(20, 15))
    with pytest.warns(UserWarning) as caught:
        camera = ColmapCameraDataset(scene)[2]
    assert [str(warning.message).split(") ")[1][:35] for warning in caught] == [
        "have masks of another size than the",
        "have depth maps of another size tha",
    ]
    assert camera.ground_truth_depth is not None
    assert camera.ground_truth_depth.shape == (30, 40)
    assert camera.ground_truth_depth.unique().tolist() == [2.5]


def test_maps_of_another_shape_are_refused(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene, size=(40, 22))
    with pytest.raises(
        SceneError, match=r"a_mask\.png: 40 x 22 pixels, but its picture has 40 x 30: they do not cover"
    ):
        ColmapCameraDataset(scene)


def test_a_folder_of_depths_that_was_asked_for_must_exist(make_scene: SceneMaker) -> None:
    with pytest.raises(
        SceneError, match=r"scene/mine: no such folder of depth maps; correct the name, or leave it out"
    ):
        ColmapCameraDataset(make_scene(), depths="mine")


def test_depth_scales_are_applied_and_failed_fits_left_out(make_scene: SceneMaker) -> None:
    scene = make_scene()
    (scene / "depths").mkdir()
    for stem in "abc":
        Image.fromarray(np.full((30, 40), 6553, np.uint16)).save(scene / "depths" / f"{stem}.png")
    scales = {"a": {"scale": 10.0, "offset": 0.5}, "b": {"scale": 200.0, "offset": 0.0}, "c": {"scale": 9, "offset": 1}}
    (scene / "sparse" / "0" / "depth_params.json").write_text(json.dumps(scales))
    with pytest.warns(UserWarning) as caught:
        dataset = ColmapCameraDataset(scene)
    assert "1 of 3 views (the first: b.png) have depth scales far from the others" in str(caught[0].message)
    depth = dataset[0].ground_truth_depth
    assert depth is not None
    assert depth.unique().tolist() == pytest.approx([10 * 6553 / 65536 + 0.5])
    assert dataset[1].ground_truth_depth is None


def test_scaled_depths_of_a_real_scene_are_the_inverse_depths_of_its_points(shared_data: Path) -> None:
    scene = shared_data / "lightfield_depth"
    dataset = ColmapCameraDataset(scene)
    xyz = read_colmap_points3D(scene)[0]
    for index, view in enumerate(dataset.views):
        depth = dataset[index].ground_truth_depth
        assert depth is not None
        seen = xyz @ view.R.T + view.T
        pixel = seen[:, :2] / seen[:, 2:] * (view.fx, view.fy) + (view.cx, view.cy)
        inside = (seen[:, 2] > 0) & (pixel >= 0).all(1) & (pixel < (view.width, view.height)).all(1)
        column, row = pixel[inside].astype(int).T
        error = np.abs(depth.numpy()[row, column] * seen[inside, 2] - 1)
        assert np.median(error) < 0.1


def test_damaged_depth_scales_are_named(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene)
    (scene / "sparse" / "0" / "depth_params.json").write_text('{"a": {"scale": "x", "offset": 1}}')
    with pytest.raises(SplatError, match=r'depth_params\.json: a\.scale must be a number; found "x"'):
        ColmapCameraDataset(scene)


@pytest.mark.gpu
def test_cameras_on_the_gpu(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene)
    camera = ColmapCameraDataset(scene).to("cuda")[0]
    for name, value in camera._asdict().items():
        assert not isinstance(value, torch.Tensor) or value.device.type == "cuda", name
