"""Contributions and errors of Gaussians in views, against sums over pixels made one Gaussian at a time."""

from __future__ import annotations

import torch

from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model
from gaussian_splatting.trainer.view_scores import contributions, error_scores, some_views


def test_a_contribution_is_what_a_picture_changes_by_when_the_colour_does():
    """Blending is linear in colours: with one Gaussian brighter by one, the picture gains its blend weights."""
    model, dataset = tiny_model(), TinyDataset()
    model._features_dc.data.zero_()  # grey, so that nothing is cut off at 0 or 1
    found = contributions(model, dataset, [1])
    with torch.no_grad():
        before = model(dataset[1])["render"]
        for index in (3, 17, 42):
            model._features_dc.data[index] += 0.1
            gain = (model(dataset[1])["render"] - before).sum() / 3
            model._features_dc.data[index] -= 0.1
            torch.testing.assert_close(found[index] * 0.1 * 0.28209479, gain, rtol=2e-3, atol=1e-5)


def test_views_add_up():
    model, dataset = tiny_model(), TinyDataset()
    both = contributions(model, dataset, [0, 2])
    torch.testing.assert_close(both, contributions(model, dataset, [0]) + contributions(model, dataset, [2]))


def test_what_is_never_seen_contributes_nothing():
    model, dataset = tiny_model(), TinyDataset()
    model._xyz.data[5] = torch.tensor([0.0, 0.0, -50.0])
    assert contributions(model, dataset, [0, 1, 2])[5] == 0


def test_errors_are_high_where_the_photo_differs():
    model, dataset = tiny_model(), TinyDataset()
    with torch.no_grad():
        camera = dataset.cameras[0]
        photo = model(camera)["render"].clone()
    photo[:, :, : camera.image_width // 2] += 0.5
    dataset.cameras[0] = camera._replace(ground_truth_image=photo)
    found = error_scores(model, dataset, [0]) / contributions(model, dataset, [0]).clamp_min(1e-6)
    columns = model(camera)["means2d"].detach()[:, 0]
    shown = contributions(model, dataset, [0]) > 0.1
    inside_left, inside_right = shown & (columns < 10), shown & (columns > 22)
    assert inside_left.any()
    assert inside_right.any()
    assert found[inside_left].min() > 5 * found[inside_right].max()


def test_views_are_drawn_without_repetition():
    dataset, generator = TinyDataset(), torch.Generator().manual_seed(0)
    assert len(set(some_views(dataset, 2, generator))) == 2
    assert sorted(some_views(dataset, 10, generator)) == [0, 1, 2]
