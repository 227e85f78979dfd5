"""cameras.json: what was saved comes back, and what is wrong in it is named."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from example_scenes import SceneMaker
from PIL import Image

from gaussian_splatting.dataset import JSONCameraDataset
from gaussian_splatting.dataset.colmap import ColmapCameraDataset
from gaussian_splatting.errors import FormatError, SceneError, SplatError


def entries_of(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())


def rewritten(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    entries = entries_of(path)
    change(entries)
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture
def saved(make_scene: SceneMaker, tmp_path: Path) -> Path:
    """The cameras.json of a scene, in a folder of its own."""
    ColmapCameraDataset(make_scene()).save_cameras(tmp_path / "out" / "cameras.json")
    return tmp_path / "out" / "cameras.json"


def assert_equal_cameras(first: Any, second: Any) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for name, value in a._asdict().items():
            other = getattr(b, name)
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(other, value, rtol=1e-6, atol=1e-6)
            elif name.endswith("_path"):
                assert (value is None) == (other is None)
                assert value is None or os.path.samefile(value, other)
            else:
                assert other == value, name


def test_saved_cameras_come_back(make_scene: SceneMaker, saved: Path) -> None:
    dataset = ColmapCameraDataset(make_scene())
    again = JSONCameraDataset(saved)
    assert_equal_cameras(dataset, again)
    assert again.names == dataset.names
    assert again.scene_digest() == dataset.scene_digest()
    assert again.json_cameras == entries_of(saved)


@pytest.mark.parametrize("scene", ["fox_colmap", "sceaux_opencv", "lightfield_depth"])
def test_saved_cameras_of_real_scenes_come_back(shared_data: Path, tmp_path: Path, scene: str) -> None:
    """Also where pictures are undistorted and depth maps scaled while they are loaded."""
    dataset = ColmapCameraDataset(shared_data / scene)
    dataset.save_cameras(tmp_path / "cameras.json")
    again = JSONCameraDataset(tmp_path / "cameras.json")
    assert again.scene_digest() == dataset.scene_digest()
    for index in (0, len(dataset) - 1):
        assert_equal_cameras([dataset[index]], [again[index]])


def test_paths_are_relative_to_the_file_and_do_not_depend_on_the_working_directory(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert entries_of(saved)[0]["ground_truth_image_path"] == "../scene/images/a.png"
    monkeypatch.chdir("/")
    assert JSONCameraDataset(saved)[0].ground_truth_image is not None


def test_paths_seen_from_the_working_directory_are_read_too(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_typed(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            entry["ground_truth_image_path"] = f"scene/images/{entry['img_name']}"

    monkeypatch.chdir(tmp_path)
    assert len(JSONCameraDataset(rewritten(saved, as_typed))) == 3


def test_paths_seen_from_the_given_root_are_read_too(saved: Path, tmp_path: Path) -> None:
    def by_name(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            entry["ground_truth_image_path"] = entry["img_name"]

    assert len(JSONCameraDataset(rewritten(saved, by_name), root=tmp_path / "scene" / "images")) == 3


def test_the_file_of_the_reference_package_is_read(saved: Path) -> None:
    """No cx, cy, nulls or missing keys for what is not there."""

    def older(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            del entry["cx"], entry["cy"], entry["ground_truth_depth_path"]

    camera = JSONCameraDataset(rewritten(saved, older))[0]
    assert camera.K[:2, 2].tolist() == [20, 15]
    assert camera.ground_truth_depth is None


def test_cameras_without_pictures_are_read(saved: Path) -> None:
    dataset = JSONCameraDataset(
        rewritten(saved, lambda entries: [entry.update(ground_truth_image_path=None) for entry in entries])
    )
    assert dataset[0].ground_truth_image is None
    assert dataset[0].ground_truth_image_path is None


def test_an_exposure_is_kept(saved: Path, tmp_path: Path) -> None:
    exposure = [[1.1, 0, 0, 0.1], [0, 1, 0, 0], [0, 0, 1, 0]]
    dataset = JSONCameraDataset(rewritten(saved, lambda entries: entries[1].update(exposure=exposure)))
    assert dataset.views[1].exposure is not None
    assert dataset.views[1].exposure.tolist() == exposure
    assert dataset.views[0].exposure is None
    dataset.save_cameras(tmp_path / "again.json")
    assert entries_of(tmp_path / "again.json")[1]["exposure"] == exposure


def test_equal_names_in_sub_folders_are_told_apart(make_scene: SceneMaker, tmp_path: Path) -> None:
    scene = make_scene(["left/a.png", "right/a.png", "right/b.png"])
    dataset = ColmapCameraDataset(scene)
    dataset.save_cameras(tmp_path / "cameras.json")
    assert JSONCameraDataset(tmp_path / "cameras.json").names == dataset.names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[2].pop("rotation"), r"cameras\[2\] has no 'rotation' \(it has: id, width, height"),
        (lambda e: e[1].update(width="40"), r'cameras\[1\]\.width must be a number; found "40"'),
        (lambda e: e[1].update(width=0), r"cameras\[1\]\.width must be a whole number from 1 to 1000000; found 0"),
        (lambda e: e[1].update(fx=-3), r"cameras\[1\]\.fx must be positive; found -3"),
        (lambda e: e[0].update(position=[1, 2]), r"cameras\[0\]\.position must hold 3 numbers; found an array of 2"),
        (lambda e: e[0]["rotation"][2].__setitem__(1, None), r"cameras\[0\]\.rotation\[2\]\[1\] must be a number"),
        (
            lambda e: e[0].update(rotation=[[1, 0, 0], [0, 1, 0], [0, 0, 2]]),
            r"rotation must be a rotation; .* off by 3",
        ),
        (lambda e: e[0].update(rotation=[[1, 0, 0], [0, 1, 0], [0, 0, -1]]), r"its determinant is -1"),
        (lambda e: e[0].update(exposure=[[1]]), r"cameras\[0\]\.exposure must hold 3 x 4 numbers"),
        (lambda e: e[0].update(lens={"model": "EYE"}), r"cameras\[0\]\.lens\.model must be one of SIMPLE_PINHOLE"),
        (lambda e: e[0].update(ground_truth_image_path=3), r"cameras\[0\]\.ground_truth_image_path must be a text"),
        (lambda e: e[0].update(ground_truth_image_path="../scene/images/z.png"), r"z\.png does not exist; move the"),
    ],
)
def test_wrong_entries_are_named_by_their_place(
    saved: Path, change: Callable[[list[dict[str, Any]]], object], message: str
) -> None:
    with pytest.raises(SplatError, match=message):
        JSONCameraDataset(rewritten(saved, change))


def test_no_cameras_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cameras.json").write_text("[]")
    with pytest.raises(SceneError, match=r"cameras\.json: no cameras in it; write it again with save_cameras"):
        JSONCameraDataset(tmp_path / "cameras.json")


def test_a_picture_of_another_shape_is_refused(saved: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 22)).save(tmp_path / "scene" / "images" / "b.png")
    with pytest.raises(SceneError, match=r"b\.png: 40 x 22 pixels, but its camera has 40 x 30: another shape"):
        JSONCameraDataset(saved)


def test_a_picture_of_the_same_shape_is_scaled_to_its_camera(saved: Path, tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), (10, 20, 30)).save(tmp_path / "scene" / "images" / "b.png")
    image = JSONCameraDataset(saved)[1].ground_truth_image
    assert image is not None
    np.testing.assert_allclose(image[:, 3, 4] * 255, [10, 20, 30], rtol=1e-6)


def test_missing_maps_are_counted_once(saved: Path) -> None:
    def with_maps(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            entry["ground_truth_depth_path"] = "../scene/depths/gone.tiff"

    path = rewritten(saved, with_maps)
    with pytest.warns(UserWarning, match="the ground_truth_depth_path of 3 of 3 cameras do not exist"):
        assert JSONCameraDataset(path)[0].ground_truth_depth is None
    assert JSONCameraDataset(path, load_depth=False)[0].ground_truth_depth_path is None


def test_masks_and_depths_are_loaded_as_asked(make_scene: SceneMaker, tmp_path: Path) -> None:
    scene = make_scene()
    (scene / "depths").mkdir()
    for name in "abc":
        Image.new("L", (40, 30), 255).save(scene / "images" / f"{name}_mask.png")
        tifffile.imwrite(scene / "depths" / f"{name}.tiff", np.ones((30, 40), np.float32))
    ColmapCameraDataset(scene).save_cameras(tmp_path / "cameras.json")
    camera = JSONCameraDataset(tmp_path / "cameras.json")[0]
    assert camera.ground_truth_image_mask is not None
    assert camera.ground_truth_depth is not None
    bare = JSONCameraDataset(tmp_path / "cameras.json", load_mask=False, load_depth=False)[0]
    assert bare.ground_truth_image_mask is bare.ground_truth_depth is None


HOSTILE = [
    "/etc/passwd",
    "../../../../../../etc/passwd",
    "../x.png",
    "/dev/zero",
    "C:\\x.png",
    "\\\\host\\x.png",
    "link.png",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_paths_that_lead_out_of_every_scene_are_refused_and_never_opened(
    saved: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    Image.new("RGB", (40, 30)).save(elsewhere / "secret.png")
    (saved.parent / "link.png").symlink_to(elsewhere / "secret.png")
    Image.new("RGB", (40, 30)).save(saved.parent.parent / "x.png")
    monkeypatch.chdir(elsewhere)
    path = rewritten(saved, lambda entries: entries[1].update(ground_truth_image_path=name))
    opened: list[str] = []
    _watch_opens(opened)
    try:
        with pytest.raises(SplatError, match=r"cameras\[1\]\.ground_truth_image_path") as caught:
            JSONCameraDataset(path)
    finally:
        _watch_opens(None)
    if "exist" not in str(caught.value):
        assert "outside the folder of the file and of any scene" in str(caught.value)
        assert "pass root= with the folder of the pictures" in str(caught.value)
    outside = [name for name in opened if not name.startswith((str(saved.parent.parent), sys.prefix, sys.base_prefix))]
    assert not [name for name in outside if name.endswith(("passwd", "zero", ".png"))]


_opens: list[list[str] | None] = [None]


def _watch_opens(names: list[str] | None) -> None:
    """Records the names of files that are opened from now on; audit hooks cannot be removed, so there is one."""
    if not getattr(_watch_opens, "installed", False):

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open" and _opens[0] is not None:
                _opens[0].append(os.fspath(arguments[0]) if not isinstance(arguments[0], int) else "")

        sys.addaudithook(hook)
        _watch_opens.installed = True  # pyright: ignore[reportFunctionMemberAccess]
    _opens[0] = names


def test_damaged_files_never_raise_anything_but_a_splat_error(saved: Path) -> None:
    rng = random.Random(0)
    whole = saved.read_bytes()
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(damaged))
            damaged[place : place + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        saved.write_bytes(bytes(damaged))
        try:
            JSONCameraDataset(saved)
        except (FormatError, SceneError) as error:
            assert "json" in str(error) or "view" in str(error) or ".png" in str(error)


def test_cameras_reduced_to_less_than_a_window_are_refused(saved: Path) -> None:
    with pytest.raises(SceneError, match=r"\.png: --resolution 4 leaves 10 x 8 of its 40 x 30 pixels"):
        JSONCameraDataset(saved, resolution=4)
