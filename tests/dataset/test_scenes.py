"""One place decides what a folder is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from example_scenes import SceneMaker
from transforms_scenes import write_scene

from gaussian_splatting.dataset.colmap import ColmapCameraDataset
from gaussian_splatting.dataset.scenes import find_scene, open_scene
from gaussian_splatting.dataset.trainable import TrainableCameraDataset
from gaussian_splatting.dataset.transforms import TransformsCameraDataset
from gaussian_splatting.errors import SceneError, SplatError

NAMES = ("images/a.png", "images/b.png", "images/c.png")


def test_each_kind_is_recognised(make_scene: SceneMaker, tmp_path: Path) -> None:
    colmap = make_scene()
    nerf = write_scene(tmp_path / "nerf")
    assert isinstance(open_scene(colmap), ColmapCameraDataset)
    assert isinstance(open_scene(nerf), TransformsCameraDataset)
    assert isinstance(open_scene(nerf / "transforms.json"), TransformsCameraDataset)
    listed = tmp_path / "listed"
    shutil.copytree(nerf / "images", listed / "images")
    open_scene(nerf).save_cameras(nerf / "cameras.json")
    shutil.move(nerf / "cameras.json", listed / "cameras.json")
    (listed / "cameras.json").write_text((listed / "cameras.json").read_text().replace("../nerf/", ""))
    for source in (listed, listed / "cameras.json"):
        assert find_scene(source).kind == "cameras"
        assert open_scene(source).names == [name.split("/")[1] for name in NAMES]


@pytest.mark.parametrize("kind", ["colmap", "nerf", "listed"])
def test_choices_mean_the_same_for_every_kind(make_scene: SceneMaker, tmp_path: Path, kind: str) -> None:
    if kind == "colmap":
        source = make_scene()
    else:
        source = write_scene(tmp_path / "nerf")
        if kind == "listed":
            open_scene(source).save_cameras(source / "cameras.json")
            source = source / "cameras.json"
    dataset = open_scene(source, "train", resolution=2)
    assert [Path(name).stem for name in dataset.names] == ["b", "c"]
    assert [Path(name).stem for name in open_scene(source, "test").names] == ["a"]
    camera = dataset[0]
    assert (camera.image_width, camera.image_height) == (20, 15)
    assert camera.ground_truth_image is not None
    assert camera.ground_truth_image.shape == (3, 15, 20)
    torch.testing.assert_close(camera.K[:2, 2] * 2, open_scene(source).geometry(1).K[:2, 2])


def test_a_colmap_model_comes_before_a_json_file_and_this_is_said(make_scene: SceneMaker) -> None:
    scene = make_scene()
    (scene / "transforms.json").write_text("{}")
    with pytest.warns(UserWarning, match=r"holds sparse and transforms\.json; using sparse; give .*transforms\.json"):
        assert find_scene(scene).kind == "colmap"


def test_nothing_to_open_lists_what_was_found_and_sought(tmp_path: Path, make_scene: SceneMaker) -> None:
    with pytest.raises(SceneError, match="no such folder or file"):
        open_scene(tmp_path / "none")
    with pytest.raises(SceneError, match=r"looked for sparse/0 \(COLMAP\), transforms_train\.json .* holds nothing"):
        open_scene(tmp_path)
    make_scene(folder="inner")
    with pytest.raises(SceneError, match=r"the folder holds inner/; did you mean .*/inner\?"):
        open_scene(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(SceneError, match="a file that is no scene; give a folder"):
        open_scene(tmp_path / "photo.jpg")
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(SplatError, match="has no 'frames' and is no list of cameras"):
        open_scene(tmp_path / "other.json")


def test_synthetic_scenes_are_those_with_nothing_but_an_angle(tmp_path: Path) -> None:
    assert find_scene(write_scene(tmp_path / "blender", shared={"camera_angle_x": 0.7})).is_synthetic
    assert not find_scene(write_scene(tmp_path / "ngp", shared={"camera_angle_x": 0.7, "fl_x": 30})).is_synthetic


def test_trainable_cameras_open_every_kind(tmp_path: Path) -> None:
    assert len(TrainableCameraDataset(write_scene(tmp_path))) == 3
