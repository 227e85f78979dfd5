"""Copies that together look like the Gaussian they replace."""

from __future__ import annotations

import math

import pytest
import torch

from gaussian_splatting.camera import pinhole_camera
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.geometry.activations import inverse_sigmoid
from gaussian_splatting.trainer.relocation import draw_copies, relocated, spread


def paper_factor(opacity: float, new: float, copies: int) -> float:
    """The double sum of equation 8 as the paper prints it."""
    total = 0.0
    for i in range(1, copies + 1):
        for k in range(i):
            total += math.comb(i - 1, k) * (-1) ** k * new ** (k + 1) / math.sqrt(k + 1)
    return opacity / total


@pytest.mark.parametrize("copies", [1, 2, 3, 10, 30])
@pytest.mark.parametrize("opacity", [0.006, 0.3, 0.9, 0.999])
def test_the_contracted_sum_is_that_of_the_paper(opacity, copies):
    new, factor = relocated(torch.tensor([opacity], dtype=torch.float64), torch.tensor([copies]))
    assert new.item() == pytest.approx(1 - (1 - opacity) ** (1 / copies))
    assert factor.item() == pytest.approx(paper_factor(opacity, new.item(), copies), rel=1e-9)


def test_one_copy_is_the_gaussian_itself():
    new, factor = relocated(torch.tensor([0.4]), torch.tensor([1]))
    torch.testing.assert_close(new, torch.tensor([0.4]))
    torch.testing.assert_close(factor, torch.tensor([1.0]))


@pytest.mark.parametrize("copies", [2, 7, 5000])
def test_copies_together_have_the_integral_along_a_line(copies):
    opacity = torch.tensor([0.8], dtype=torch.float64)
    new, factor = relocated(opacity, torch.tensor([copies]))
    x = torch.linspace(-60, 60, 200_001, dtype=torch.float64)
    together = 1 - (1 - new * torch.exp(-0.5 * (x / factor) ** 2)) ** copies
    alone = opacity * torch.exp(-0.5 * x**2)
    assert torch.trapezoid(together, x).item() == pytest.approx(torch.trapezoid(alone, x).item(), rel=1e-6)


def test_copies_render_almost_the_same_picture():
    def model_of(opacity: torch.Tensor, scale: torch.Tensor, copies: int) -> GaussianModel:
        model = GaussianModel(0, backend="reference").create_from_pcd(
            torch.zeros(copies, 3), torch.full((copies, 3), 0.9)
        )
        model.adopt_rows(
            {n: v.detach().clone() for n, v in model.rows().items()}
            | {"opacity": inverse_sigmoid(opacity).expand(copies, 1), "scaling": scale.log().expand(copies, 3)}
        )
        return model

    camera = pinhole_camera(40, 40, 40.0, 40.0, torch.eye(3), torch.tensor([0.0, 0.0, 3.0]))
    opacity, scale = torch.tensor([0.7]), torch.tensor([0.3])
    new, factor = relocated(opacity, torch.tensor([4]))
    with torch.no_grad():
        before = model_of(opacity, scale, 1)(camera)["alpha"]
        after = model_of(new, scale * factor, 4)(camera)["alpha"]
        naive = model_of(opacity, scale, 4)(camera)["alpha"]
    assert (after - before).abs().max() < 0.07
    assert (after - before).abs().mean() < 0.15 * (naive - before).abs().mean()


@pytest.mark.parametrize("copies", [1, 2, 5, 40])
def test_pieces_and_their_centres_together_have_the_shape_of_the_whole(copies):
    shrink, reach = spread(torch.tensor([copies]))
    assert (shrink**2 + reach**2).item() == pytest.approx(1)
    assert copies * shrink.item() ** 2 == pytest.approx(1)


def test_draws_follow_the_weights_and_the_generator():
    weights = torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0])
    draws = draw_copies(weights, 4000, torch.Generator().manual_seed(0))
    assert torch.equal(draws, draw_copies(weights, 4000, torch.Generator().manual_seed(0)))
    counts = torch.bincount(draws, minlength=5)
    assert counts[[0, 2, 4]].sum() == 0
    assert counts[3].item() / 4000 == pytest.approx(0.75, abs=0.03)
    assert len(draw_copies(weights, 0, torch.Generator())) == 0
