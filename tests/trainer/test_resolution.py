"""The resolution schedule: sizes, and cameras that show the same scene at another size."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting.camera import pinhole_camera
from gaussian_splatting.trainer import Resolution
from gaussian_splatting.trainer.detail import kept_detail, share_of_run
from gaussian_splatting.trainer.pyramid import Pyramid, area_mean, picked, reduced_blur, reduced_geometry
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

SCHEDULE = {"resolution_coarse_until_iter": 3, "resolution_half_until_iter": 6, "resolution_smallest_side": 6}


class Scheduled(Resolution):
    """Nothing but the schedule."""


def make_trainer(**options) -> Scheduled:
    return Scheduled(tiny_model(), TinyDataset(), **(SCHEDULE | options))


def test_sizes_rise_from_a_quarter_to_the_whole():
    trainer = make_trainer()
    shapes = [tuple(out["render"].shape[1:]) for _, out in trainer.run(TinyDataset(), 7)]
    assert shapes == [(6, 8)] * 3 + [(12, 16)] * 3 + [(24, 32)]


def test_no_picture_is_made_smaller_than_asked_for():
    trainer = make_trainer(resolution_smallest_side=100)
    assert [trainer.divisor(1, side) for side in (1080, 400, 399, 200, 199)] == [4, 4, 2, 2, 1]


def test_the_coarsest_size_is_a_power_of_two():
    with pytest.raises(ValueError, match="resolution_coarsest is 3; it must be a power of two"):
        make_trainer(resolution_coarsest=3)
    assert make_trainer(resolution_coarsest=1).divisor(1, 1080) == 1


def test_a_point_is_seen_at_the_same_place():
    """Its pixel position at half the size is half that at full size."""
    camera = TinyDataset()[0]
    small = Pyramid().reduced(camera, 2)
    point = torch.tensor([0.1, -0.2, 0.3]) @ camera.R.T + camera.T
    full, half = camera.K @ point, small.K @ point
    torch.testing.assert_close(half[:2] / half[2], full[:2] / full[2] / 2)
    assert (small.image_width, small.image_height) == (16, 12)
    assert small.world_view_transform is camera.world_view_transform


def test_the_small_camera_is_the_one_that_its_intrinsics_make():
    camera = TinyDataset()[1]
    small = Pyramid().reduced(camera, 4)
    K = camera.K / 4
    made = pinhole_camera(
        6, 8, float(K[0, 0]), float(K[1, 1]), camera.R, camera.T, cx=float(K[0, 2]), cy=float(K[1, 2])
    )
    for name in ("K", "projection_matrix", "full_proj_transform", "camera_center"):
        torch.testing.assert_close(getattr(small, name), getattr(made, name))
    assert (small.FoVx, small.FoVy) == pytest.approx((made.FoVx, made.FoVy))


def test_colours_are_means_over_areas():
    picture = torch.rand((3, 8, 12), generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.avg_pool2d(picture[None], 4)[0]
    torch.testing.assert_close(area_mean(picture, 4), expected)
    assert area_mean(picture, 4).permute(1, 2, 0).is_contiguous()


def test_a_rest_at_the_right_and_below_is_cut_off():
    picture = torch.rand((3, 9, 14), generator=torch.Generator().manual_seed(0))
    assert torch.equal(area_mean(picture, 4), area_mean(picture[:, :8, :12], 4))
    assert picked(picture[0], 4).shape == (2, 3)


def test_depths_are_values_of_the_map_and_not_means():
    camera = TinyDataset()[0]._replace(ground_truth_depth=torch.arange(24.0 * 32).reshape(24, 32))
    depth = Pyramid().reduced(camera, 2).ground_truth_depth
    assert torch.equal(depth, camera.ground_truth_depth[1::2, 1::2])


def test_pictures_of_one_path_are_averaged_once_and_never_shared():
    camera = TinyDataset()[0]._replace(ground_truth_image_path="a.png")
    pyramid = Pyramid()
    first = pyramid.reduced(camera, 2)
    first.ground_truth_image.zero_()
    again = pyramid.reduced(camera._replace(ground_truth_image=torch.zeros(3, 24, 32)), 2)
    assert again.ground_truth_image.max() > 0.5
    assert pyramid.reduced(camera, 4).ground_truth_image.shape == (3, 6, 8)


def test_coverage_and_masks_shrink_with_the_picture():
    camera = TinyDataset()[0]
    camera = camera._replace(custom_data={**camera.custom_data, "coverage": torch.ones(24, 32)})
    small = Pyramid().reduced(camera, 2)
    assert small.custom_data["coverage"].shape == (12, 16)
    assert small.ground_truth_image_mask.shape == (12, 16)
    assert camera.custom_data["coverage"].shape == (24, 32)


class CountingDataset(TinyDataset):
    """Counts how often pictures are asked for; its geometry has none."""

    def __init__(self) -> None:
        super().__init__()
        self.cameras = [one._replace(ground_truth_image_path=f"{index}.png") for index, one in enumerate(self.cameras)]
        self.asked = 0

    def __getitem__(self, idx: int):
        self.asked += 1
        return super().__getitem__(idx)

    def geometry(self, idx: int):
        pictures = ("image", "image_mask", "depth", "depth_mask")
        return self.cameras[idx]._replace(**{f"ground_truth_{name}": None for name in pictures})


def test_kept_pictures_are_not_read_again_and_give_the_same_bits():
    trainer, plain = make_trainer(), make_trainer()
    counting, cameras = CountingDataset(), CountingDataset()
    trainer.resolution = plain.resolution = type(plain.resolution)(
        coarse_until_iter=9, half_until_iter=9, smallest_side=6
    )
    for _ in trainer.run(counting, 9):
        pass
    for _ in plain.run(cameras.cameras, 9):
        pass
    assert counting.asked == 3
    assert torch.equal(trainer.model.get_xyz, plain.model.get_xyz)


def test_the_blur_at_a_reduced_size_is_that_of_averaged_pixels():
    """The variance of a bar of `factor` samples, and of a blur that was there before."""
    for factor in (1, 2, 4, 8):
        samples = torch.arange(factor, dtype=torch.float64)
        spread = float(samples.var(correction=0))
        assert reduced_blur(0.3, factor) == pytest.approx((0.3 + spread) / factor**2)
    assert reduced_blur(reduced_blur(0.3, 2), 2) == pytest.approx(reduced_blur(0.3, 4))


def test_a_small_picture_is_the_mean_of_the_full_one():
    """With the usual blur of 0.3 pixels the small picture would be that of other, larger Gaussians."""
    model, camera = tiny_model(), TinyDataset()[0]
    with torch.no_grad():
        wanted = area_mean(model(camera)["render"], 2)
        small = reduced_geometry(camera, 2)
        usual = small._replace(custom_data={})
        ours, theirs = (float((model(view)["render"] - wanted).abs().mean()) for view in (small, usual))
    assert ours < 0.5 * theirs


def test_pictures_without_detail_are_small_for_nearly_the_whole_run_and_sharp_ones_never():
    flat, sharp = TinyDataset(), TinyDataset()
    checks = (torch.arange(24)[:, None] + torch.arange(32)).remainder(2).float().expand(3, 24, 32)
    for dataset, picture in ((flat, torch.full((3, 24, 32), 0.5)), (sharp, checks)):
        dataset.cameras = [one._replace(ground_truth_image=picture.clone()) for one in dataset.cameras]
    steps = [Scheduled(tiny_model(), dataset, run_length=1000).resolution for dataset in (flat, sharp)]
    assert [(one.coarse_until_iter, one.half_until_iter) for one in steps] == [(570, 950), (0, 0)]


@pytest.mark.parametrize(
    ("length", "part", "blur"), [(500, 0.84, "full"), (2_000, 0.42, "full"), (4_000, 0.21, "usual")]
)
def test_long_runs_spend_a_smaller_part_on_small_pictures_and_blur_them_as_usual(length: int, part: float, blur: str):
    options = {"run_length": length, "resolution_share_power": 1.0}
    found = Scheduled(tiny_model(), None, scene_extent=1.0, **options).resolution
    assert (found.half_until_iter, found.blur) == (round(part * length), blur)
    asked = Scheduled(tiny_model(), None, scene_extent=1.0, resolution_blur="full", **options).resolution
    assert asked.blur == "full"


def test_what_is_asked_for_is_not_looked_for():
    options = make_trainer(run_length=1000, resolution_half_until_iter=700).resolution
    assert (options.coarse_until_iter, options.half_until_iter) == (3, 700)
    assert make_trainer(resolution_half_until_iter=2).resolution.coarse_until_iter == 2


def test_without_pictures_the_usual_parts_of_a_run_are_taken():
    trainer = Scheduled(tiny_model(), None, scene_extent=1.0, run_length=1000)
    assert (trainer.resolution.coarse_until_iter, trainer.resolution.half_until_iter) == (150, 840)


def test_detail_is_the_error_of_pictures_that_were_reduced_and_enlarged():
    dataset = TinyDataset()
    noise = torch.rand((3, 24, 32), generator=torch.Generator().manual_seed(0))
    dataset.cameras = [one._replace(ground_truth_image=noise) for one in dataset.cameras]
    small = torch.nn.functional.avg_pool2d(noise[None], 2)
    enlarged = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")[0]
    expected = -10 * float((enlarged - noise).square().mean().log10())
    assert kept_detail(dataset, 2) == pytest.approx(expected, abs=1e-3)
    assert kept_detail(dataset, 32) is None
    assert [share_of_run(value) for value in (20.0, 22.0, 29.0, 100.0)] == [0, 0, 0.5, 0.95]


def test_the_blur_of_small_pictures_is_a_choice():
    camera = TinyDataset()[0]
    blurs = []
    for blur in ("full", "usual"):
        trainer = make_trainer(resolution_blur=blur)
        trainer.curr_step = 4
        blurs.append(trainer.preprocess(camera).custom_data["eps2d"])
    assert blurs == [pytest.approx((0.3 + 0.25) / 4), 0.3]
