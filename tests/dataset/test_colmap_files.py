"""COLMAP scenes whose picture files are missing, oddly named, or not files at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from example_scenes import SIZE, SceneMaker, image_of, picture
from PIL import Image

from gaussian_splatting.dataset.colmap import ColmapCameraDataset
from gaussian_splatting.errors import SceneError, SplatError


def test_missing_pictures_are_listed_and_left_out(make_scene: SceneMaker) -> None:
    scene = make_scene(missing=["b.png"])
    with pytest.warns(UserWarning, match=r"1 of 3 pictures are not in .*images, left out: b\.png"):
        assert ColmapCameraDataset(scene).names == ["a.png", "c.png"]
    with pytest.raises(SceneError, match=r"1 of the 3 pictures of the model are not there, b\.png; put them there"):
        ColmapCameraDataset(scene, strict=True)


def test_nineteen_of_twenty_pictures_missing_leave_one(make_scene: SceneMaker) -> None:
    names = [f"{index:02d}.png" for index in range(20)]
    scene = make_scene(names, missing=names[1:])
    with pytest.warns(UserWarning, match=r"19 of 20 pictures .* left out: 01\.png, 02\.png, .*, …"):
        assert ColmapCameraDataset(scene).names == ["00.png"]


def test_all_pictures_missing_is_an_error_that_says_where_it_looked(make_scene: SceneMaker) -> None:
    scene = make_scene(missing=["a.png", "b.png", "c.png"])
    with pytest.raises(SceneError, match=r"scene/images: 3 of the 3 pictures .* name their folder with images="):
        ColmapCameraDataset(scene)


def test_a_missing_folder_of_pictures_lists_the_others(make_scene: SceneMaker) -> None:
    scene = make_scene()
    (scene / "images").rename(scene / "input")
    with pytest.raises(SceneError, match=r"scene/images: no such folder of pictures; folders there: input, sparse"):
        ColmapCameraDataset(scene)
    assert len(ColmapCameraDataset(scene, images="input")) == 3


def test_a_missing_scene_is_named(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="nothing: no such folder; give the folder that holds `sparse` and `images`"):
        ColmapCameraDataset(tmp_path / "nothing")


ODD_NAMES = [
    "a b.png",
    " leading.png",
    'it\'s "quoted".png',
    "100% #1.png",
    "猫/ねこ.png",
    "e\u0301combining.png",
    "\u00e9composed.png",
    "שלום.png",
    "🦊.png",
    "/".join("0123456789") + "/deep.png",
    "x" * 251 + ".png",
    "CASE.png",
    "case.png",
]


@pytest.mark.parametrize("extension", [".bin", ".txt"])
def test_odd_names_are_found_and_kept(make_scene: SceneMaker, extension: str) -> None:
    dataset = ColmapCameraDataset(make_scene(ODD_NAMES, extension=extension))
    assert dataset.names == sorted(ODD_NAMES)
    for index, name in enumerate(dataset.names):
        np.testing.assert_array_equal(image_of(dataset, index), picture(SIZE, ODD_NAMES.index(name)))


@pytest.mark.parametrize(("in_model", "on_disk"), [("e\u0301.png", "\u00e9.png"), ("left\\a.png", "left/a.png")])
def test_names_that_file_systems_change_are_found(make_scene: SceneMaker, in_model: str, on_disk: str) -> None:
    scene = make_scene([in_model], missing=[in_model])
    path = scene / "images" / on_disk
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(picture(SIZE)).save(path)
    assert ColmapCameraDataset(scene).names == [in_model]


@pytest.mark.parametrize("name", ["../x.png", "/etc/passwd", "C:\\x.png", "\\\\host\\x.png", "a/../../x.png", "CON"])
def test_names_that_lead_out_of_the_folder_are_refused(make_scene: SceneMaker, name: str) -> None:
    with pytest.raises(SplatError, match="is refused"):
        ColmapCameraDataset(make_scene([name], missing=[name]))


def test_links_may_lead_out_of_the_folder_when_allowed(make_scene: SceneMaker, tmp_path: Path) -> None:
    scene = make_scene()
    shutil.move(scene / "images" / "b.png", tmp_path / "b.png")
    (scene / "images" / "b.png").symlink_to(tmp_path / "b.png")
    with pytest.raises(SceneError, match="a symbolic link leads outside"):
        ColmapCameraDataset(scene)
    assert len(ColmapCameraDataset(scene, allow_links=True)) == 3


def test_the_folder_itself_may_be_a_link(make_scene: SceneMaker, tmp_path: Path) -> None:
    scene = make_scene()
    shutil.move(scene / "images", tmp_path / "elsewhere")
    (scene / "images").symlink_to(tmp_path / "elsewhere")
    assert len(ColmapCameraDataset(scene)) == 3


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_refused(make_scene: SceneMaker, kind: str) -> None:
    scene = make_scene(missing=["b.png"])
    path = scene / "images" / "b.png"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with pytest.raises(SceneError, match=f"'b.png' is refused: it is a {kind}"):
        ColmapCameraDataset(scene)
