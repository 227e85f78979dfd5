"""Rows C1, C3, C6 and C8, as the user meets them: pictures that are missing, huge, many, or change during training."""

from __future__ import annotations

import json
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutations import MEMORY_ABOVE_FILE, bounded_memory, peak_of
from odd_pictures import declared_png
from tiny_scenes import SIZE, on_a_ring, png, write_scene
from toy import results
from train_command import STEPS, Command

from gaussian_splatting import render
from gaussian_splatting.dataset import pictures as pictures_module
from gaussian_splatting.dataset.colmap.dataset import ColmapCameraDataset
from gaussian_splatting.dataset.load import load_pictures

pytestmark = pytest.mark.usefixtures("one_thread")


# C1


def test_missing_pictures_are_listed_and_left_out(command: Command, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene", centers=on_a_ring(20), missing=["0007.png"])
    said = command.trained(scene)
    assert "19 views of" in said
    assert f"1 of 20 pictures are not in {scene / 'images'}, left out: 0007.png" in said


def test_one_picture_of_twenty_is_enough(command: Command, tmp_path: Path) -> None:
    missing = [f"{index:04d}.png" for index in range(19)]
    said = command.trained(write_scene(tmp_path / "scene", centers=on_a_ring(20), missing=missing))
    assert "19 of 20 pictures are not in" in said
    assert "left out: 0000.png, 0001.png, 0002.png, 0003.png, 0004.png, …" in said


@pytest.mark.parametrize(("number", "flags"), [(20, []), (1, ["--strict"]), (19, ["--strict"]), (20, ["--strict"])])
def test_all_missing_or_strict_is_an_error(command: Command, tmp_path: Path, number: int, flags: list[str]) -> None:
    missing = [f"{index:04d}.png" for index in range(number)]
    message = command.refused(write_scene(tmp_path / "scene", centers=on_a_ring(20), missing=missing), *flags)
    assert f"{number} of the 20 pictures of the model are not there, 0000.png" in message
    assert not (command.out / "point_cloud").exists()


# C3


@pytest.mark.parametrize("size", [(65_535, 65_535), (50_000, 40_000), (14_204, 10_653)])
def test_a_picture_that_declares_too_much_is_refused_before_decoding(
    command: Command, tmp_path: Path, size: tuple[int, int]
) -> None:
    scene = write_scene(tmp_path / "scene", pictures={"0002.png": declared_png(*size)})
    with bounded_memory():
        message = command.refused(scene)
    assert "0002.png" in message
    assert f"--max_pixels {size[0] * size[1]}" in message


def test_a_decoder_that_trusts_the_header_needs_that_memory() -> None:
    """The control."""

    def trusting(data: bytes) -> object:
        width, height = struct.unpack(">II", data[16:24])
        return np.ones((height, width, 3), np.uint8)

    assert peak_of(trusting, declared_png(6000, 5000)) > MEMORY_ABOVE_FILE


def test_the_flag_that_the_message_names_lets_the_picture_pass(command: Command, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene")
    message = command.refused(scene, "--max_pixels", "191")
    assert "16 x 12 = 192 pixels, more than the limit of 191" in message
    cure = message.split("raise the limit with ")[1].split()
    assert cure == ["--max_pixels", "192"]
    shutil.rmtree(command.out, ignore_errors=True)
    command.trained(scene, *cure)
    assert render.main(["-d", str(command.out), "--max_pixels", "100", "--quiet", "--lpips", "none"]) == 2
    assert render.main(["-d", str(command.out), "--quiet", "--lpips", "none"]) == 0  # the limit of the run


def test_a_picture_of_one_pixel_is_a_picture(command: Command, tmp_path: Path) -> None:
    command.trained(write_scene(tmp_path / "scene", sizes=[(1, 1)] * 5))


# C6


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 000 pictures of seven sizes."""
    sizes = [(8 + index % 7, 6 + index % 7) for index in range(3000)]
    return write_scene(tmp_path_factory.mktemp("many"), centers=on_a_ring(3000), sizes=sizes)


def test_three_thousand_pictures_of_mixed_sizes_train(command: Command, many: Path) -> None:
    assert "3000 views of" in command.trained(many, "--mode", "densify", steps=20)


def test_each_has_its_own_size_and_lens(many: Path) -> None:
    dataset = ColmapCameraDataset(many)
    dataset.preload()
    for index in range(0, 3000, 101):
        camera = dataset[index]
        assert camera.ground_truth_image is not None
        width, height = 8 + index % 7, 6 + index % 7
        assert camera.ground_truth_image.shape == (3, height, width)
        assert camera.K[0, 0] == pytest.approx(1.1 * width, rel=1e-6)


def test_metrics_are_averaged_over_pictures_not_over_pixels(command: Command, tmp_path: Path) -> None:
    sizes = [(40, 30), (12, 14), (16, 16), (13, 40), (11, 11)]
    command.trained(write_scene(tmp_path / "scene", sizes=sizes))
    assert render.main(["-d", str(command.out), "--quiet", "--lpips", "none"]) == 0
    folder = command.out / f"ours_{STEPS}"
    views = json.loads((folder / "per_view.json").read_text())
    found = json.loads((folder / "results.json").read_text())
    each = [view["psnr"] for view in (views.values() if isinstance(views, dict) else views)]
    assert len(each) == 5
    assert found["psnr"] == pytest.approx(np.mean(each), rel=1e-6)


# C8


FAULTS: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:60]),
    "of another size": lambda path: path.write_bytes(png((8, 6))),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


class Meddler:
    """Does something when a view is decoded for the `number`-th time; nothing is kept in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[Path], object]) -> None:
        self.count = 0

        def load(view: Any, *rest: Any) -> Any:
            self.count += 1
            if self.count == number:
                act(view.image_path)
            return load_pictures(view, *rest)

        monkeypatch.setattr(pictures_module, "load_pictures", load)
        monkeypatch.setattr(pictures_module, "free_memory", lambda: 0)
        monkeypatch.setattr(pictures_module.PictureStore, "prefetch", lambda self, indices: None)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_picture_that_changes_during_training_is_named_and_nothing_is_lost(
    command: Command, tmp_path: Path, kind: str
) -> None:
    scene = write_scene(tmp_path / "scene")
    shutil.copytree(scene, tmp_path / "whole")
    flags = ("--checkpoint_interval", "2", "--seed", "3")
    with pytest.MonkeyPatch.context() as patch:
        Meddler(patch, 9, FAULTS[kind])
        message = command.refused(scene, *flags, steps=12)
    names = [path.name for path in (tmp_path / "whole/images").iterdir() if path.name in message]
    assert len(names) == 1, message
    assert not (command.out / "point_cloud/iteration_12").exists()
    kept = sorted((command.out / "checkpoints").glob("step_*.safetensors"))
    assert kept
    assert f". The last finished step is saved in {kept[-1]}." in message
    shutil.rmtree(scene)
    shutil.copytree(tmp_path / "whole", scene)
    command.trained(scene, *flags, steps=12)
    found = results(command.out)
    command.out = tmp_path / "undisturbed"
    command.trained(scene, *flags, steps=12)
    assert found == results(command.out)


def test_a_slow_disk_only_takes_time(command: Command, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene")
    command.trained(scene, steps=8)
    expected = results(command.out)
    command.out = tmp_path / "stalled"
    with pytest.MonkeyPatch.context() as patch:
        Meddler(patch, 4, lambda path: time.sleep(1))
        command.trained(scene, steps=8)
    assert results(command.out) == expected


def test_the_faults_would_be_seen(tmp_path: Path) -> None:
    """The control: a store that keeps what it decoded once would finish on the old pictures."""
    dataset = ColmapCameraDataset(write_scene(tmp_path / "scene"))
    dataset.preload()
    shutil.rmtree(tmp_path / "scene/images")
    assert dataset[0].ground_truth_image is not None
    assert dataset[0].ground_truth_image.shape == (3, SIZE[1], SIZE[0])
