"""A dataset of one's own needs three methods; the rest follows from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_scenes import SceneMaker

from gaussian_splatting.camera import Camera, pinhole_camera
from gaussian_splatting.dataset import CameraDataset, JSONCameraDataset
from gaussian_splatting.dataset.colmap import ColmapCameraDataset
from gaussian_splatting.dataset.dataset import getNerfppNorm


class Listed(CameraDataset):
    """Cameras in a list."""

    def __init__(self, cameras: list[Camera]) -> None:
        self.cameras = cameras

    def to(self, device: Any) -> Listed:
        return self

    def __len__(self) -> int:
        return len(self.cameras)

    def __getitem__(self, idx: int) -> Camera:
        return self.cameras[idx]


def on_a_line(num_cameras: int) -> list[Camera]:
    return [pinhole_camera(30, 40, 35.0, 36.0, np.eye(3), np.array([-x, 0.0, 0.0])) for x in range(num_cameras)]


def test_what_follows_from_three_methods(tmp_path: Path) -> None:
    dataset = Listed(on_a_line(3))
    assert dataset.scene_extent() == pytest.approx(1.1)
    assert dataset.names == ["00000", "00001", "00002"]
    assert [camera.camera_center[0].item() for camera in dataset] == [0, 1, 2]
    dataset.prefetch([0])
    dataset.preload()
    assert not dataset.has_mask(0)
    assert not dataset.has_depth(0)
    dataset.save_cameras(tmp_path / "cameras.json")
    again = JSONCameraDataset(tmp_path / "cameras.json")
    assert again.scene_digest() == dataset.scene_digest()
    assert len(again.load_cameras()) == 3


def test_three_methods_are_needed() -> None:
    class Partial(CameraDataset):
        def __len__(self) -> int:
            return 0

    with pytest.raises(TypeError, match="abstract"):
        Partial()  # pyright: ignore[reportAbstractUsage]


def test_a_list_of_the_cameras_of_a_scene_saves_what_the_scene_saves(make_scene: SceneMaker, tmp_path: Path) -> None:
    """Also what the pictures of a distorted lens still need, which travels in `custom_data`."""
    params = (35.0, 36.0, 21.0, 14.0, -0.2, 0.05, 0.001, -0.002)
    scene = ColmapCameraDataset(make_scene(model="OPENCV", params=params))
    Listed(list(scene)).save_cameras(tmp_path / "listed.json")
    scene.save_cameras(tmp_path / "scene.json")
    listed, saved = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("listed", "scene"))
    for one, other in zip(listed, saved, strict=True):
        assert one.keys() == other.keys()
        assert one["lens"] == other["lens"]
        np.testing.assert_allclose(one["position"], other["position"], atol=1e-6)
    first, second = JSONCameraDataset(tmp_path / "listed.json")[0], scene[0]
    assert first.ground_truth_image is not None
    assert second.ground_truth_image is not None
    assert torch.equal(first.ground_truth_image, second.ground_truth_image)


def test_every_tensor_of_a_camera_moves(make_scene: SceneMaker) -> None:
    camera = ColmapCameraDataset(make_scene()).to("meta")[0]
    tensors = {name: value for name, value in camera._asdict().items() if isinstance(value, torch.Tensor)}
    assert "ground_truth_image" in tensors
    assert {tensor.device.type for tensor in tensors.values()} == {"meta"}


def test_a_damaged_picture_is_named_before_training(make_scene: SceneMaker) -> None:
    scene = make_scene()
    dataset = ColmapCameraDataset(scene)
    content = (scene / "images" / "c.png").read_bytes()
    (scene / "images" / "c.png").write_bytes(content[:-40])
    with pytest.raises(ValueError, match=r"c\.png: the picture cannot be decoded"):
        dataset.preload()


def test_the_norm_of_nerf_plus_plus() -> None:
    norm = getNerfppNorm(on_a_line(3))
    np.testing.assert_allclose(norm["translate"], [-1, 0, 0])
    assert norm["radius"] == pytest.approx(1.1)
