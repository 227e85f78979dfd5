"""A perturbed scene: training views change by what was asked, held-out views and points not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import perturb_scene as tool
import pytest
from PIL import Image

from gaussian_splatting.dataset.colmap import ColmapCameraDataset
from gaussian_splatting.dataset.colmap.model import ColmapModel, read_model, write_model
from gaussian_splatting.dataset.colmap.records import ColmapCamera, ColmapImage, ColmapPoints, qvec2rotmat

NUM_VIEWS = 10
HELD_OUT = ("v0.png", "v8.png")


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Ten views on a circle, of grey ramps."""
    folder, images = tmp_path / "scene", {}
    for index in range(NUM_VIEWS):
        angle = np.pi * index / NUM_VIEWS
        qvec = (float(np.cos(angle)), 0.0, float(np.sin(angle)), 0.0)
        images[index + 1] = ColmapImage(index + 1, qvec, (0.0, 0.0, 3.0), 1, f"v{index}.png")
        save(folder / "images" / f"v{index}.png", np.tile(np.arange(60, 180, 3, dtype=np.uint8), (30, 1)))
    camera = ColmapCamera(1, "PINHOLE", 40, 30, (35.0, 35.0, 20.0, 15.0))
    ids, grey = np.arange(1, 6, dtype=np.uint64), np.full((5, 3), 90, np.uint8)
    points = ColmapPoints(ids, np.random.default_rng(0).normal(size=(5, 3)), grey, np.ones(5))
    write_model(folder / "sparse" / "0", ColmapModel({1: camera}, images, points))
    return folder


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = (
        np.repeat(values[..., None], 3, axis=2) if path.parent.name == "images" and "mask" not in path.stem else values
    )
    Image.fromarray(colours).save(path)


def run(scene: Path, out: Path, *flags: str) -> int:
    return tool.main(["-s", str(scene), "-d", str(out), *flags])


def poses(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> rotation and camera centre."""
    images = read_model(folder / "sparse" / "0").images.values()
    return {image.name: (qvec2rotmat(image.qvec), tool.centre_of(image)) for image in images}


def picture(folder: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(folder / "images" / name), np.float64)


def test_every_training_camera_turns_and_moves_by_what_was_asked(scene: Path, tmp_path: Path) -> None:
    assert run(scene, tmp_path / "out", "--rotation", "0.5", "--position", "0.01") == 0
    before, after = poses(scene), poses(tmp_path / "out")
    extent = ColmapCameraDataset(scene).scene_extent()
    for name in before.keys() - set(HELD_OUT):
        relative = after[name][0] @ before[name][0].T
        sine = np.linalg.norm(relative - relative.T) / 8**0.5
        assert np.degrees(np.arcsin(sine)) == pytest.approx(0.5, abs=1e-6)
        assert np.linalg.norm(after[name][1] - before[name][1]) == pytest.approx(0.01 * extent, rel=1e-6)


def test_held_out_views_and_points_stay(scene: Path, tmp_path: Path) -> None:
    run(scene, tmp_path / "out", "--rotation", "0.5", "--position", "0.01", "--gain", "0.2", "--bias", "0.1")
    before, after = poses(scene), poses(tmp_path / "out")
    for name in HELD_OUT:
        np.testing.assert_array_equal(after[name][0], before[name][0])
        np.testing.assert_array_equal(after[name][1], before[name][1])
        assert (tmp_path / "out" / "images" / name).read_bytes() == (scene / "images" / name).read_bytes()
    old, new = (read_model(folder / "sparse" / "0").points for folder in (scene, tmp_path / "out"))
    assert old is not None and new is not None
    np.testing.assert_array_equal(new.xyz, old.xyz)
    assert [view.name for view in ColmapCameraDataset(tmp_path / "out", split="test").views] == list(HELD_OUT)


def test_pictures_get_the_gain_and_bias_that_are_written_down(scene: Path, tmp_path: Path) -> None:
    run(scene, tmp_path / "out", "--gain", "0.2", "--bias", "0.1")
    told = json.loads((tmp_path / "out" / "perturbation.json").read_text())["views"]
    assert len(told) == NUM_VIEWS - len(HELD_OUT)
    for name, change in told.items():
        wanted = picture(scene, name) * change["gain"] + 255 * np.asarray(change["bias"])
        np.testing.assert_allclose(picture(tmp_path / "out", name), wanted.clip(0, 255), atol=0.5)
        assert len(set(change["gain"])) == len(set(change["bias"])) == 1
    gains = np.array([change["gain"][0] for change in told.values()])
    assert 0.8 <= gains.min() < 0.95 and 1.05 < gains.max() <= 1.2


def test_channels_change_apart_when_asked(scene: Path, tmp_path: Path) -> None:
    run(scene, tmp_path / "out", "--gain", "0.2", "--per_channel")
    told = json.loads((tmp_path / "out" / "perturbation.json").read_text())["views"]
    assert all(len(set(change["gain"])) == 3 for change in told.values())


def test_a_jpeg_becomes_a_png_that_the_model_names(scene: Path, tmp_path: Path) -> None:
    model = read_model(scene / "sparse" / "0")
    image = model.images[2]
    Image.open(scene / "images" / "v1.png").save(scene / "images" / "v1.jpg")
    renamed = {**model.images, 2: ColmapImage(2, image.qvec, image.tvec, 1, "v1.jpg")}
    write_model(scene / "sparse" / "0", ColmapModel(model.cameras, renamed, model.points))
    run(scene, tmp_path / "out", "--gain", "0.2")
    assert read_model(tmp_path / "out" / "sparse" / "0").images[2].name == "v1.png"
    assert (tmp_path / "out" / "images" / "v1.png").is_file()


@pytest.mark.parametrize("from_here", [False, True])
def test_masks_and_depth_maps_come_along(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_here: bool
) -> None:
    monkeypatch.chdir(scene.parent)
    for index in range(NUM_VIEWS):
        save(scene / "images" / f"v{index}_mask.png", np.full((30, 40), 255, np.uint8))
        save(scene / "depths" / f"v{index}.png", np.full((30, 40), 90 + index, np.uint8))
    assert run(Path(scene.name) if from_here else scene, tmp_path / "out", "--gain", "0.2") == 0
    dataset = ColmapCameraDataset(tmp_path / "out")
    for index in range(NUM_VIEWS):
        assert dataset.has_mask(index)
        assert (tmp_path / "out" / "depths" / f"v{index}.png").read_bytes() == (
            scene / "depths" / f"v{index}.png"
        ).read_bytes()


def test_the_seed_makes_the_scene(scene: Path, tmp_path: Path) -> None:
    for name, seed in (("one", "3"), ("same", "3"), ("other", "4")):
        run(scene, tmp_path / name, "--rotation", "1", "--gain", "0.1", "--seed", seed)
    contents = [
        [file.read_bytes() for file in sorted((tmp_path / name).rglob("*")) if file.is_file()]
        for name in ("one", "same", "other")
    ]
    assert contents[0] == contents[1] != contents[2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing to do; give --rotation"),
        (["--gain", "2"], "--gain is 2.0; it must be between 0 and 1"),
        (["--gain", "nan"], "--gain is nan"),
        (["--rotation", "1", "--seed", "-1"], "--seed is -1"),
    ],
)
def test_amounts_that_make_no_sense_are_refused(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert run(scene, tmp_path / "out", *flags) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_refused(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(scene, scene, "--rotation", "1") != 0
    assert "give a new one with -d" in capsys.readouterr().err


def test_a_picture_that_is_missing_is_named(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scene / "images" / "v3.png").unlink()
    assert run(scene, tmp_path / "out", "--rotation", "1") != 0
    assert "v3.png: the model has this picture, the folder has not" in capsys.readouterr().err
