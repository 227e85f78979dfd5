"""Depth regularisation: when it applies, what it weighs, what it pulls, and what it says without depth maps."""

from __future__ import annotations

import logging

import pytest
import torch

from gaussian_splatting.camera import Camera
from gaussian_splatting.losses.depth import relative_depth_error
from gaussian_splatting.trainer import BaseDepthTrainer, BaseTrainer, DepthOptions
from gaussian_splatting.trainer.depth import inverse_depth_seen
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


class WithoutDepth(TinyDataset):
    """The tiny scene, whose first `num_with` views only have depth maps."""

    def __init__(self, num_with: int = 0) -> None:
        super().__init__()
        nothing = {"ground_truth_depth": None, "ground_truth_depth_mask": None}
        self.cameras = [c if i < num_with else c._replace(**nothing) for i, c in enumerate(self.cameras)]


def terms(trainer: BaseTrainer, camera: Camera, step: int = 1) -> dict[str, float]:
    trainer.curr_step = step - 1
    return {name: float(value.detach()) for name, value in trainer.step(camera)[1]["losses"].items()}


def test_the_weight_falls_from_one_to_a_hundredth():
    options = DepthOptions()
    assert [round(options.weight(step), 6) for step in (0, 15_000, 30_000, 40_000)] == [1.0, 0.1, 0.01, 0.01]


def test_the_loss_applies_from_its_first_step_on():
    trainer = BaseDepthTrainer(tiny_model(), TinyDataset(), depth_from_iter=5)
    assert "depth" not in terms(trainer, TinyDataset()[0], step=4)
    assert "depth" in terms(trainer, TinyDataset()[0], step=5)


@pytest.mark.parametrize("mode", ["local", "global", "none"])
def test_the_term_is_the_weighted_error_of_the_inverse_depth(mode):
    camera, model = TinyDataset()[0], tiny_model()
    with torch.no_grad():
        out = model(camera)
    error = relative_depth_error(
        out["invdepth"], camera.ground_truth_depth, camera.ground_truth_depth_mask, mode, 3, 2, 20
    )
    trainer = BaseDepthTrainer(
        model, TinyDataset(), depth_from_iter=1, depth_rescale_mode=mode, depth_local_relative_kernel_radius=3,
        depth_local_relative_stride=2, depth_resize=20, depth_l1_weight_init=0.5, depth_l1_weight_final=0.5,
    )  # fmt: skip
    assert terms(trainer, camera)["depth"] == pytest.approx(0.5 * float(error), rel=1e-4)


def test_a_surface_that_is_nearly_opaque_can_count_where_it_is_seen_and_a_hole_as_far_away():
    alpha = torch.tensor([[[1.0, 0.95, 0.9, 0.45, 0.0]]])
    out = {"invdepth": alpha / 4, "alpha": alpha}
    torch.testing.assert_close(inverse_depth_seen(out, 0.9), torch.tensor([[[0.25, 0.25, 0.25, 0.125, 0.0]]]))
    assert inverse_depth_seen(out, 1.0) is out["invdepth"]


def test_the_opacity_from_which_it_counts_is_an_option():
    camera, model = TinyDataset()[0], tiny_model()
    with torch.no_grad():
        seen = inverse_depth_seen(model(camera), 0.5)
    error = relative_depth_error(seen, camera.ground_truth_depth, camera.ground_truth_depth_mask, "global")
    trainer = BaseDepthTrainer(
        model, TinyDataset(), depth_from_iter=1, depth_rescale_mode="global", depth_opaque_from=0.5
    )
    assert terms(trainer, camera)["depth"] == pytest.approx(float(error), rel=1e-3)


def test_depth_maps_that_hold_depth_are_inverted():
    camera = TinyDataset()[0]
    as_depth = camera._replace(ground_truth_depth=1 / camera.ground_truth_depth)
    found = [
        terms(BaseDepthTrainer(tiny_model(), TinyDataset(), depth_from_iter=1, **options), view)["depth"]
        for view, options in ((camera, {}), (as_depth, {"depth_ground_truth_is_inversed": False}))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_training_brings_the_rendered_depth_closer():
    camera, found = TinyDataset()[0], {}
    for weight in (0.0, 20.0):
        trainer = BaseDepthTrainer(
            tiny_model(), TinyDataset(), depth_from_iter=1, depth_rescale_mode="none", depth_l1_weight_init=weight,
            depth_l1_weight_final=weight, position_lr_init=1e-2, position_lr_final=1e-2,
        )  # fmt: skip
        for _ in range(40):
            trainer.step(camera)
        with torch.no_grad():
            difference = trainer.model(camera)["invdepth"][0] - camera.ground_truth_depth
        found[weight] = float(difference.abs().mean())
    assert found[20.0] < 0.5 * found[0.0]


def test_masked_depth_does_not_count():
    camera = TinyDataset()[0]
    broken = camera.ground_truth_depth.clone()
    broken[:12] = 50.0
    mask = torch.ones_like(broken)
    mask[:12] = 0
    trainers = [BaseDepthTrainer(tiny_model(), TinyDataset(), depth_from_iter=1) for _ in range(2)]
    for trainer, depth in zip(trainers, (broken, camera.ground_truth_depth), strict=True):
        trainer.step(camera._replace(ground_truth_depth=depth, ground_truth_depth_mask=mask))
    assert torch.equal(trainers[0].model.get_xyz, trainers[1].model.get_xyz)


@pytest.mark.parametrize(
    ("num_with", "message"),
    [(0, "no view has a depth map"), (1, "1 of 3 views have a depth map; the others train without"), (3, None)],
)
def test_missing_depth_maps_are_said_once(num_with, message, caplog):
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        trainer = BaseDepthTrainer(tiny_model(), WithoutDepth(num_with), depth_from_iter=1)
        for camera in WithoutDepth(num_with):
            trainer.step(camera)
    said = [record.getMessage() for record in caplog.records if "depth map" in record.getMessage()]
    assert len(said) == (message is not None)
    assert message is None or message in said[0]


def test_without_depth_maps_the_bits_are_those_of_the_trainer_without_depth():
    models = []
    for cls in (BaseDepthTrainer, BaseTrainer):
        options = {"depth_from_iter": 1} if cls is BaseDepthTrainer else {}
        trainer = cls(tiny_model(), WithoutDepth(), **options)
        for camera in WithoutDepth():
            trainer.step(camera)
        models.append(trainer.model)
    assert all(torch.equal(a, b) for a, b in zip(*(m.rows().values() for m in models), strict=True))


def test_a_schedule_that_cannot_be_is_refused_at_construction():
    with pytest.raises(ValueError, match="depth_l1_weight_init, depth_l1_weight_final cannot go from 1.0 to 0.0"):
        BaseDepthTrainer(tiny_model(), TinyDataset(), depth_l1_weight_final=0.0)
