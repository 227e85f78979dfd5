"""Rendering for looking: crops, backgrounds and sizes change what is shown and never the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_run import ring_cameras, splat

from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.rendering.picture_files import to_bytes
from gaussian_splatting.viewer.stage import Box, Settings, Stage, bounds, same_values

CAMERA = ring_cameras(5)[1]


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_plain_settings_show_what_the_model_renders(backend):
    model = splat()
    model.backend = backend
    with torch.no_grad():
        expected = to_bytes(model(CAMERA)["render"])
    picture = Stage().render(model, CAMERA, Settings())
    assert np.array_equal(picture.pixels, expected)
    assert picture.num_gaussians == 80 and picture.seconds > 0


def test_a_crop_shows_the_gaussians_whose_centres_are_inside():
    model, box = splat(), Box((-1.0, -1.0, -1.0), (0.0, 1.0, 1.0))
    inside = model.get_xyz[:, 0] <= 0
    rows = {name: value.detach()[inside] for name, value in model.rows().items()}
    part = GaussianModel(1, backend="reference")
    part.set_rows(rows)
    with torch.no_grad():
        expected = to_bytes(part(CAMERA)["render"])
    stage = Stage()
    picture = stage.render(model, CAMERA, Settings(crop=box))
    assert np.array_equal(picture.pixels, expected)
    assert picture.num_gaussians == int(inside.sum()) < len(model) == 80
    first, again = (stage.shown(model, Settings(crop=box)).get_xyz for _ in range(2))
    assert first.data_ptr() == again.data_ptr()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("look", ["color", "depth", "alpha", "normal"])
def test_an_empty_crop_shows_the_background(backend, look):
    model, nowhere = splat(), Box((9.0, 9.0, 9.0), (10.0, 10.0, 10.0))
    model.backend = backend
    camera = CAMERA._replace(bg_color=torch.tensor([0.2, 0.4, 0.6]))
    picture = Stage().render(model, camera, Settings(look=look, crop=nowhere))
    assert picture.num_gaussians == 0
    assert len(np.unique(picture.pixels.reshape(-1, 3), axis=0)) == 1
    if look == "color":
        assert picture.pixels[0, 0].tolist() == [51, 102, 153]


def test_a_part_is_what_covers_most(monkeypatch):
    from gaussian_splatting.viewer import stage

    monkeypatch.setattr(stage, "FEW", 10)
    model = splat()
    with torch.no_grad():
        model._scaling[40:] -= 3.0
        model._opacity[:5] = -9.0
    picture = Stage().render(model, CAMERA, Settings(), part=0.5)
    assert picture.num_gaussians == 40
    kept = Stage().shown(model, Settings(), 0.5).get_xyz
    assert torch.equal(kept[:35], model.get_xyz[5:40])


def test_looking_changes_no_model_and_copies_no_values():
    model = splat()
    twin = Stage().shown(model, Settings(size=0.5, antialiased=True))
    assert (twin.scale_modifier, twin.antialiasing) == (0.5, True)
    assert (model.scale_modifier, model.antialiasing) == (1.0, False)
    assert twin.get_xyz.data_ptr() == model.get_xyz.data_ptr()
    assert same_values(model).active_sh_degree == model.active_sh_degree


def test_the_range_of_depths_moves_slowly():
    stage, model = Stage(), splat()
    first = stage.render(model, CAMERA, Settings(look="depth"))
    assert first.depths is not None
    again = stage.render(model, CAMERA, Settings(look="depth"), (0.0, 10.0))
    assert again.depths is not None
    assert again.depths[1] == pytest.approx(10.0 + 0.2 * (first.depths[1] - 10.0))


def test_the_bounds_hold_nearly_everything():
    box, xyz = bounds(splat()), splat().get_xyz.detach().numpy()
    assert ((xyz >= box.low) & (xyz <= box.high)).all(axis=1).mean() > 0.9
