"""Alpha channels as coverage: pictures lie over whatever background the step has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from example_scenes import SIZE, picture
from torch import Tensor
from transforms_scenes import write_rgba, write_scene

from gaussian_splatting.camera import Camera, camera2dict, dict2camera
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.dataset.trainable import TrainableCameraDataset
from gaussian_splatting.dataset.transforms import TransformsCameraDataset
from gaussian_splatting.losses.photometric import photometric

ALPHA = picture(SIZE, 3)[..., 1]


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    root = write_scene(tmp_path, ["images/a.png"])
    write_rgba(root / "images" / "a.png", picture(SIZE), ALPHA)
    return root


def over(color: Tensor) -> Tensor:
    """The picture [3, H, W] over a background, in float64."""
    alpha = torch.from_numpy(ALPHA / 255.0)[..., None]
    return (torch.from_numpy(picture(SIZE) / 255.0) * alpha + (1 - alpha) * color.double()).permute(2, 0, 1)


def image(camera: Camera) -> Tensor:
    assert camera.ground_truth_image is not None
    return camera.ground_truth_image


@pytest.mark.parametrize("color", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.2, 0.5, 0.9)])
def test_pictures_lie_over_the_background_of_the_dataset(scene: Path, color: tuple[float, float, float]) -> None:
    dataset = TransformsCameraDataset(scene)
    dataset.bg_color = color
    camera = dataset[0]
    assert (image(camera) - over(torch.tensor(color))).abs().max() <= 1 / 255
    assert camera.ground_truth_image_mask is None
    assert not dataset.has_mask(0)
    assert image(camera).permute(1, 2, 0).is_contiguous()


def test_alpha_may_be_the_mask_instead(scene: Path) -> None:
    dataset = TransformsCameraDataset(scene, alpha="mask")
    camera = dataset[0]
    np.testing.assert_array_equal(np.rint(image(camera).permute(1, 2, 0).numpy() * 255), picture(SIZE))
    assert camera.ground_truth_image_mask is not None
    np.testing.assert_allclose(camera.ground_truth_image_mask.numpy(), ALPHA / 255, atol=1e-6)
    assert dataset.has_mask(0)
    assert "coverage" not in camera.custom_data


def test_the_loss_lays_the_picture_over_the_background_of_the_step(scene: Path) -> None:
    """A render that is the picture over the same colour has no loss, whatever the colour."""
    camera = TransformsCameraDataset(scene)[0]
    for seed in range(3):
        color = torch.rand(3, generator=torch.Generator().manual_seed(seed))
        render = over(color).float().contiguous()
        assert photometric(render, camera._replace(bg_color=color)) < 0.004
        assert photometric(render, camera) > 0.02


def test_the_background_passes_through_the_exposure(scene: Path) -> None:
    cameras = TrainableCameraDataset(TransformsCameraDataset(scene))
    cameras.bg_color = (0.2, 0.3, 0.4)
    with torch.no_grad():
        cameras.exposures[0, 0, 0] = 2.0
    loss = photometric(over(torch.tensor([0.4, 0.3, 0.4])).float().contiguous(), cameras[0])
    assert loss < 0.004


def test_transparent_pixels_do_not_bleed_into_smaller_pictures(tmp_path: Path) -> None:
    """What shines through has no colour: the hidden red never shows, however the picture is scaled."""
    root = write_scene(tmp_path, ["images/a.png"])
    colors, alpha = np.zeros((*SIZE[::-1], 3), np.uint8), np.zeros(SIZE[::-1], np.uint8)
    colors[:, :, 0] = 255
    colors[7:22, 11:30] = (0, 255, 0)
    alpha[7:22, 11:30] = 255
    write_rgba(root / "images" / "a.png", colors, alpha)
    assert image(TransformsCameraDataset(root, resolution=2)[0])[0].max() == 0


def test_a_single_camera_keeps_its_compositing(scene: Path) -> None:
    """A camera that went through a dict comes back with the picture over its background."""
    camera = TransformsCameraDataset(scene)[0]
    again = dict2camera(camera2dict(camera, 0))
    torch.testing.assert_close(image(again), image(camera))


def test_memory_counts_what_is_decoded(scene: Path) -> None:
    for alpha, channels in (("composite", 4), ("mask", 4)):
        dataset = TransformsCameraDataset(scene, alpha=alpha)
        assert dataset.pictures[0].nbytes == dataset.pictures._expected_bytes(dataset.views[0])
        assert dataset.pictures[0].nbytes == channels * SIZE[0] * SIZE[1]
    assert isinstance(dataset, CameraDataset)
