"""What a camera turns about: the middle of what it sees."""

from __future__ import annotations

import torch

from gaussian_splatting.trainer.pivots import pivots_of
from gaussian_splatting.trainer.tiny_scene import TinyDataset


def test_the_pivot_lies_on_the_axis_at_the_median_depth_of_what_is_seen():
    dataset = TinyDataset()
    camera = dataset[0]
    wanted = torch.tensor([[0.0, 0.0, 1.0], [0.1, 0.0, 2.0], [-0.1, 0.1, 9.0], [0.0, 0.0, -3.0], [50.0, 0.0, 2.0]])
    points = (wanted - camera.T) @ camera.R
    found = camera.R @ pivots_of(dataset, points)[0] + camera.T
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 2.0]), atol=1e-5, rtol=0)


def test_a_camera_that_sees_nothing_turns_on_the_spot():
    dataset = TinyDataset()
    points = torch.tensor([[0.0, 0.0, -1e3]])
    torch.testing.assert_close(pivots_of(dataset, points), torch.stack([c.camera_center for c in dataset]))


def test_many_points_are_thinned_out():
    points = torch.zeros(250_000, 3) + torch.tensor([0.0, 0.0, 0.1])
    assert torch.isfinite(pivots_of(TinyDataset(), points)).all()
