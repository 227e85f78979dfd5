"""Input that nobody should give: never a crash, never a read outside, and the rest of the picture as if it were not."""

from __future__ import annotations

from dataclasses import replace

import cpu_scenes
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer import cpu, reference
from gaussian_splatting.rasterizer.contract import GaussianParameters

POISON = [float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-38, 0.0, -0.0, 1e19, -1e19]
FIELDS = ("means", "quats", "log_scales", "opacity_logits", "features_dc", "features_rest")


def setup(num: int = 100, degree: int = 3):
    parameters, view = cpu_scenes.raw(cpu_scenes.scene(num=num, seed=2), degree)
    return cpu_scenes.raw_leaves(parameters, view, torch.float32), view


def run(named: dict[str, torch.Tensor], view, backend=cpu):
    out = cpu_scenes.raw_call(backend, named, view)
    images = (out.colors, out.alphas, out.depth, out.inverse_depth)
    if named["means"].requires_grad:
        torch.stack([image.sum() for image in images]).sum().backward()
    return out


def poisoned(named: dict[str, torch.Tensor], name: str, rows: list[int], value: float) -> dict[str, torch.Tensor]:
    changed = {key: leaf.detach().clone() for key, leaf in named.items()}
    changed[name][rows] = value
    return {key: leaf.requires_grad_() for key, leaf in changed.items()}


@pytest.mark.parametrize("value", POISON)
@pytest.mark.parametrize("name", FIELDS)
def test_one_bad_gaussian_does_not_spoil_the_picture(name: str, value: float) -> None:
    named, view = setup()
    bad = poisoned(named, name, [7], value)
    out = run(bad, view)
    assert torch.isfinite(out.colors).all()
    assert torch.isfinite(out.depth).all()
    if name.startswith("features") and 1e18 < abs(value) < float("inf"):
        return  # the picture is finite, but what lies before so bright a thing has gradients beyond float32
    for key in FIELDS:
        others = torch.ones(100, dtype=torch.bool)
        others[7] = False
        assert torch.isfinite(bad[key].grad[others]).all(), key


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", FIELDS)
def test_a_gaussian_that_is_not_finite_is_as_if_it_were_not_there(name: str, value: float) -> None:
    named, view = setup()
    bad = run(poisoned(named, name, [7, 8], value), view)
    keep = torch.ones(100, dtype=torch.bool)
    keep[7:9] = False
    fewer = {key: leaf.detach()[keep] if key in FIELDS else leaf.detach() for key, leaf in named.items()}
    expected = run(fewer, view)
    assert torch.equal(bad.colors, expected.colors)
    assert not bad.radii[7:9].any()


@pytest.mark.parametrize("value", POISON)
@pytest.mark.parametrize("name", FIELDS)
def test_everything_bad_at_once_is_survived(name: str, value: float) -> None:
    named, view = setup()
    out = run(poisoned(named, name, list(range(100)), value), view)
    assert out.colors.shape == (cpu_scenes.HEIGHT, cpu_scenes.WIDTH, 3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_random_poison_is_survived(data: st.DataObject) -> None:
    named, view = setup(37)
    changed = {key: leaf.detach().clone() for key, leaf in named.items()}
    for _ in range(data.draw(st.integers(1, 30))):
        field = changed[data.draw(st.sampled_from(FIELDS))].view(-1)
        field[data.draw(st.integers(0, field.numel() - 1))] = data.draw(st.floats(width=32) | st.sampled_from(POISON))
    out = run({key: leaf.requires_grad_() for key, leaf in changed.items()}, view)
    assert torch.isfinite(out.alphas).all()
    assert out.alphas.min() >= 0
    assert out.alphas.max() <= 1 + 1e-6


@pytest.mark.parametrize("num", [0, 1, 15, 16, 17, 2047, 2048, 2049])
def test_any_number_of_gaussians(num: int) -> None:
    named, view = setup(num)
    out = run(named, view)
    assert out.means2d.shape == (num, 2)
    assert out.radii.shape == (num,)
    for name in FIELDS:
        assert named[name].grad.shape == named[name].shape
        assert torch.isfinite(named[name].grad).all()
    if num == 0:
        assert torch.equal(out.colors, named["background"].detach().expand_as(out.colors))
        assert not out.depth.any()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 100), (100, 1), (31, 33), (32, 32), (64, 4), (65, 7)])
def test_any_size_of_picture(size: tuple[int, int]) -> None:
    height, width = size
    named, view = setup()
    view = replace(view, width=width, height=height)
    out = run(named, view)
    assert out.colors.shape == (height, width, 3)
    assert torch.isfinite(named["means"].grad).all()
    expected = run({name: leaf.detach().double() for name, leaf in named.items()}, view, reference)
    error = (out.colors - expected.colors).abs().amax(-1)
    assert error.median() < 1e-6
    assert (error > 1e-5).double().mean() <= 0.02  # a decision within rounding of a threshold


def test_gaussians_behind_the_camera_are_not_seen_and_get_no_gradient() -> None:
    named, view = setup()
    rotation, translation = view.viewmat[:3, :3], view.viewmat[:3, 3]
    behind = (torch.rand(100, 3).double() * torch.tensor([1.0, 1, -3]) - translation) @ rotation
    named["means"] = behind.float().requires_grad_()
    out = run(named, view)
    assert not out.alphas.any()
    assert all(not named[name].grad.any() for name in FIELDS)


def test_gaussians_larger_than_the_scene_cover_every_tile() -> None:
    named, view = setup(50)
    named["log_scales"] = torch.full((50, 3), 6.0, requires_grad=True)
    view = replace(view, width=500, height=300, K=view.K * torch.tensor([8.0, 8.0, 1.0])[:, None])
    out = run(named, view)
    assert (out.alphas > 0.5).all()
    assert torch.isfinite(named["log_scales"].grad).all()


def test_opacity_zero_is_not_rendered() -> None:
    named, view = setup()
    named["opacity_logits"] = torch.full((100, 1), -200.0, requires_grad=True)
    out = run(named, view)
    assert not out.radii.any()
    assert not named["opacity_logits"].grad.any()


def test_too_many_tiles_are_refused_instead_of_overflowing(monkeypatch: pytest.MonkeyPatch) -> None:
    from gaussian_splatting.rasterizer.cpu import frame

    named, view = setup()
    run(named, view)
    monkeypatch.setattr(frame, "MAX_INDEX", 20)
    with pytest.raises(BackendError, match="reduce their scales"):
        run(named, view)


def test_parameters_that_do_not_fit_together_are_refused_by_name() -> None:
    parameters, view = cpu_scenes.raw(cpu_scenes.scene(num=5), 3)
    single = GaussianParameters(**{name: value.float() for name, value in vars(parameters).items()})
    view = replace(view, viewmat=view.viewmat.float(), background=view.background.float())
    with pytest.raises(BackendError, match=r"quats has shape \(4, 4\)"):
        cpu.render_gaussians(replace(single, quats=single.quats[:4]), view)
    with pytest.raises(BackendError, match="sh_degree is 3 with 9 coefficients"):
        cpu.render_gaussians(replace(single, features_rest=single.features_rest[:, :8]), view)
    with pytest.raises(BackendError, match="means is torch.float64 on cpu"):
        cpu.render_gaussians(replace(single, means=parameters.means), view)
    with pytest.raises(BackendError, match="sh_degree is 4"):
        cpu.render_gaussians(single, replace(view, sh_degree=4))
