"""Masks: what each mode does outside them, and what is said when views have none."""

from __future__ import annotations

import warnings

import pytest
import torch

from gaussian_splatting.trainer import BaseTrainer
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

MODES = ("none", "ignore", "bg_color")


class Masked(TinyDataset):
    """The tiny scene, of which the first `num_with` views keep their masks."""

    def __init__(self, num_with: int) -> None:
        super().__init__()
        self.cameras = [
            camera if index < num_with else camera._replace(ground_truth_image_mask=None)
            for index, camera in enumerate(self.cameras)
        ]


def run(mode: str, dataset: TinyDataset, **options) -> BaseTrainer:
    trainer = BaseTrainer(tiny_model(), dataset, mask_mode=mode, **options)
    for camera in dataset:
        trainer.step(camera)
    return trainer


def gradient(mode: str, camera) -> torch.Tensor:
    """The gradient of the loss with respect to the rendered picture [3, H, W]."""
    trainer = BaseTrainer(tiny_model(), scene_extent=1.0, mask_mode=mode, lambda_dssim=0.0)
    picture = torch.full_like(camera.ground_truth_image, 0.35).requires_grad_()
    dict(trainer.losses({"render": picture}, camera))["photometric"].backward()
    return picture.grad


def test_ignored_pixels_have_no_gradient_and_the_others_do():
    camera = TinyDataset()[0]
    outside = camera.ground_truth_image_mask == 0
    found = gradient("ignore", camera)
    assert (found[:, outside] == 0).all()
    assert (found[:, ~outside] != 0).all()
    assert (gradient("none", camera)[:, outside] != 0).all()


def test_ignored_pixels_do_not_change_the_training():
    results = []
    for value in (0.0, 1.0):
        dataset = TinyDataset()
        for index, camera in enumerate(dataset.cameras):
            outside = camera.ground_truth_image_mask == 0
            picture = camera.ground_truth_image.clone()
            picture[:, outside] = value
            dataset.cameras[index] = camera._replace(ground_truth_image=picture)
        results.append(run("ignore", dataset, lambda_dssim=0.0).model.get_features_dc)
    assert torch.equal(*results)


def test_the_background_is_painted_outside_the_mask():
    camera = TinyDataset()[0]._replace(bg_color=torch.tensor([1.0, 0.0, 0.35]))
    outside = camera.ground_truth_image_mask == 0
    found = gradient("bg_color", camera)[:, outside]
    assert (found[0] < 0).all()
    assert (found[1] > 0).all()
    assert (found[2].abs() <= found[0].abs()).all()


@pytest.mark.parametrize("mode", MODES)
def test_views_without_masks_train_as_a_whole(mode):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = run(mode, Masked(0))
    expected = run("none", Masked(0))
    assert torch.equal(found.model.get_xyz, expected.model.get_xyz)


@pytest.mark.parametrize("mode", ["ignore", "bg_color"])
@pytest.mark.parametrize(
    ("num_with", "message"), [(0, "no view has an image mask"), (2, "1 of 3 views do not have an image mask")]
)
def test_missing_masks_are_said_once(mode, num_with, message):
    with pytest.warns(UserWarning, match=f"mask_mode is '{mode}', but {message}") as said:
        run(mode, Masked(num_with))
    assert len(said) == 1


def test_nothing_is_said_when_masks_are_there_or_not_asked_for():
    run("ignore", Masked(3))
    run("none", Masked(0))


def test_a_random_background_is_new_in_every_step_and_the_same_in_every_run():
    trainer, seen = BaseTrainer(tiny_model(), TinyDataset(), bg_color="random"), []
    for _, out in trainer.run(trainer.dataset, 4):
        seen.append(out["camera"].bg_color)
    assert len({tuple(color.tolist()) for color in seen}) == 4
    again = BaseTrainer(tiny_model(), TinyDataset(), bg_color="random")
    for color, (_, out) in zip(seen, again.run(again.dataset, 4), strict=True):
        assert torch.equal(out["camera"].bg_color, color)


def test_a_fixed_background_replaces_that_of_the_camera():
    trainer = BaseTrainer(tiny_model(), TinyDataset(), bg_color="0.2,0.4,0.6")
    _, out = trainer.step(TinyDataset()[0])
    torch.testing.assert_close(out["camera"].bg_color, torch.tensor([0.2, 0.4, 0.6]))
