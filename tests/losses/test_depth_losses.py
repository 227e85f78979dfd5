"""Depth losses: what is invariant to scale and shift, what masks leave out, and exact gradients."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.losses.depth import inverse_of, relative_depth_error
from gaussian_splatting.losses.depth_windows import windowed_error

DOUBLE = torch.float64


def maps(height: int = 41, width: int = 53, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rendered, given = torch.rand(2, height, width, dtype=DOUBLE, generator=generator)
    return rendered.requires_grad_(), given


def some_mask(height: int = 41, width: int = 53) -> Tensor:
    return (torch.rand(height, width, dtype=DOUBLE, generator=torch.Generator().manual_seed(9)) > 0.3).to(DOUBLE)


def unfolded_error(depth: Tensor, target: Tensor, weights: Tensor, radius: int, stride: int) -> Tensor:
    """The formula as it is written, with every window in memory and autograd at work."""
    size = 2 * radius + 1

    def windows(values: Tensor) -> Tensor:
        return torch.nn.functional.unfold(values[None, None], size, stride=stride)[0]  # [size², windows]

    def moments(d: Tensor, g: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means of d and g, and the slope of the line from g to d, along the first dimension."""
        count = m.sum(0).clamp_min(1)
        mean_d, mean_g = (d * m).sum(0) / count, (g * m).sum(0) / count
        covariance = ((d - mean_d) * (g - mean_g) * m).sum(0)
        return mean_d, mean_g, covariance / ((g - mean_g) ** 2 * m).sum(0).clamp_min(1e-30)

    whole = moments(*(values.flatten() for values in (depth, target, weights)))[2].clamp_min(0)
    d, g, m = windows(depth), windows(target), windows(weights)
    mean_d, mean_g, own = moments(d, g, m)
    slope = (0.5 * (own + whole)).clamp_min(0)
    expected = (g - mean_g) * slope.detach() + mean_d
    return ((d - expected).abs() * m * (m[size * size // 2] > 0)).mean()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("radius", "stride"), [(8, 4), (1, 1), (2, 3), (3, 7), (5, 2), (2, 16)])
def test_the_windowed_error_and_its_gradient_are_those_of_the_formula(radius, stride, masked):
    (rendered, given), weights = maps(), some_mask() if masked else torch.ones(41, 53, dtype=DOUBLE)
    expected = unfolded_error(rendered, given, weights, radius, stride)
    (expected_gradient,) = torch.autograd.grad(expected, rendered)
    found = windowed_error(rendered, given, weights, radius, stride)
    (gradient,) = torch.autograd.grad(found, rendered)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-12, atol=1e-18)


def test_the_windowed_error_is_the_same_in_many_strips(monkeypatch):
    from gaussian_splatting.losses import depth_windows

    (rendered, given), weights = maps(), some_mask()
    whole = windowed_error(rendered, given, weights, 4, 3)
    monkeypatch.setattr(depth_windows, "_CACHED", 1)
    parts = windowed_error(rendered, given, weights, 4, 3)
    torch.testing.assert_close(parts, whole, rtol=1e-13, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(error, rendered)[0] for error in (parts, whole)))


def test_deviations_keep_their_precision_in_float32():
    generator = torch.Generator().manual_seed(0)
    ripple = torch.rand(64, 64, generator=generator) * 1e-4
    rendered, given = (0.5 + ripple), (0.7 + torch.rand(64, 64, generator=generator) * 1e-4)
    weights = torch.ones(64, 64)
    found = windowed_error(rendered, given, weights, 8, 4)
    exact = unfolded_error(rendered.double(), given.double(), weights.double(), 8, 4)
    assert found.item() == pytest.approx(float(exact), rel=1e-4)


def test_a_loss_scaled_from_outside_scales_its_gradient():
    rendered, given = maps()
    once = torch.autograd.grad(relative_depth_error(rendered, given), rendered)[0]
    thrice = torch.autograd.grad(3 * relative_depth_error(rendered, given), rendered)[0]
    torch.testing.assert_close(thrice, 3 * once)


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of the storages that operations allocate, and the most that were alive at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.alive, self.most, self.seen = 0, 0, set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() not in known:
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self.alive += size
        self.most = max(self.most, self.alive)
        weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self.alive -= size


@pytest.mark.parametrize("mask", [None, torch.ones(1080, 1920)], ids=["whole", "masked"])
def test_a_full_hd_map_needs_at_most_three_times_its_memory(mask):
    rendered = torch.rand(1080, 1920, requires_grad=True)
    given = torch.rand(1080, 1920)
    with LiveMemory() as memory:
        relative_depth_error(rendered, given, mask).backward()
    assert rendered.grad is not None
    assert memory.most <= 3 * rendered.numel() * 4, memory.most / rendered.numel() / 4


@pytest.mark.parametrize("mode", ["global", "local"])
def test_scale_and_shift_of_the_target_do_not_matter(mode):
    rendered, given = maps()
    first = relative_depth_error(rendered, given, mode=mode)
    second = relative_depth_error(rendered, 3 * given + 0.4, mode=mode)
    torch.testing.assert_close(second, first, rtol=1e-10, atol=0)


@pytest.mark.parametrize("mode", ["global", "local"])
def test_the_unit_of_the_scene_does_not_matter(mode):
    rendered, given = maps()
    first = relative_depth_error(rendered, given, mode=mode)
    second = relative_depth_error(0.01 * rendered, given, mode=mode)
    torch.testing.assert_close(second, first, rtol=1e-10, atol=0)


def test_the_local_error_is_in_units_of_the_deviation_of_the_view():
    (rendered, given), mask = maps(), some_mask()
    error = windowed_error(rendered, given, mask, 3, 2)
    expected = error / rendered.detach()[mask > 0].std()
    found = relative_depth_error(rendered, given, mask, kernel_radius=3, stride=2)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, rendered)[0] for value in (found, expected)))


@pytest.mark.parametrize("mode", ["global", "local"])
def test_a_map_that_differs_by_scale_and_shift_has_no_error(mode):
    _, given = maps()
    assert relative_depth_error(0.2 * given + 1, given, mode=mode).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_a_few_pixels_far_off_move_the_mean_of_no_window(masked):
    """Half the pixels differ a little from the target, one in a hundred by much: as with floaters."""
    _, given = maps()
    noise = torch.rand(41, 53, dtype=DOUBLE, generator=torch.Generator().manual_seed(5))
    rendered = (given + torch.where(noise > 0.99, 9.0, 0.01 * noise)).requires_grad_()
    error = relative_depth_error(rendered, given, some_mask() if masked else None, kernel_radius=3, stride=2)
    (gradient,) = torch.autograd.grad(error, rendered)
    assert abs(float(gradient.sum())) < 1e-9 * float(gradient.abs().sum())


def test_the_absolute_error_is_the_mean_difference():
    rendered, given = maps()
    torch.testing.assert_close(relative_depth_error(rendered, given, mode="none"), (rendered - given).abs().mean())


def test_the_global_error_standardises_both_maps():
    rendered, given = maps()
    expected = ((rendered - rendered.mean()) / rendered.std() - (given - given.mean()) / given.std()).abs().mean()
    torch.testing.assert_close(relative_depth_error(rendered, given, mode="global"), expected)


def test_the_global_gradient_is_exact():
    rendered, given = maps(6, 7)
    mask = some_mask(6, 7)
    assert torch.autograd.gradcheck(lambda d: relative_depth_error(d, given, mask, mode="global"), rendered)


@pytest.mark.parametrize("resize", [None, 30])
@pytest.mark.parametrize("mode", ["local", "global", "none"])
def test_what_stands_at_masked_pixels_does_not_matter(mode, resize):
    rendered, given = maps()
    mask = some_mask()
    poisoned = torch.where(mask > 0, given, float("nan"))
    other = torch.where(mask > 0, rendered, 17.0).detach().requires_grad_()
    options = {"mode": mode, "kernel_radius": 3, "resize": resize}
    clean = relative_depth_error(rendered, given, mask, **options)
    dirty = relative_depth_error(other, poisoned, mask, **options)
    torch.testing.assert_close(dirty, clean, rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(dirty, other)
    assert torch.isfinite(gradient).all()
    assert (gradient[mask == 0] == 0).all()
    assert (gradient[mask > 0] != 0).any()


@pytest.mark.parametrize("mode", ["local", "global", "none"])
def test_nothing_valid_is_no_error_and_no_gradient(mode):
    rendered, given = maps()
    error = relative_depth_error(rendered, given, torch.zeros(41, 53), mode=mode)
    (gradient,) = torch.autograd.grad(error, rendered)
    assert float(error.detach()) == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("mode", ["local", "global", "none"])
def test_constant_maps_have_finite_gradients(mode):
    rendered = torch.full((41, 53), 0.3, requires_grad=True)
    error = relative_depth_error(rendered, torch.full((41, 53), 0.5), mode=mode)
    (gradient,) = torch.autograd.grad(error, rendered)
    assert torch.isfinite(error)
    assert torch.isfinite(gradient).all()


def test_resizing_makes_the_longer_side_as_long_as_asked():
    rendered, given = maps(40, 60)
    shrunk = [
        torch.nn.functional.interpolate(values[None, None], size=(20, 30), mode="bilinear")[0, 0]
        for values in (rendered, given)
    ]
    expected = relative_depth_error(*shrunk, mode="none")
    torch.testing.assert_close(relative_depth_error(rendered, given, mode="none", resize=30), expected)


def test_maps_are_never_enlarged():
    rendered, given = maps()
    torch.testing.assert_close(relative_depth_error(rendered, given, resize=999), relative_depth_error(rendered, given))


def test_a_leading_dimension_of_one_is_dropped_and_nothing_is_changed():
    rendered, given = maps()
    before = rendered.detach().clone(), given.clone()
    relative_depth_error(rendered[None], given[None]).backward()
    assert torch.equal(rendered, before[0])
    assert torch.equal(given, before[1])


def test_inverse_depth_is_its_own_inverse():
    depth = torch.tensor([2.0, 0.0, -1.0, 0.25])
    assert inverse_of(depth).tolist() == [0.5, 0.0, 0.0, 4.0]
    depth.requires_grad_()
    inverse_of(depth).sum().backward()
    assert depth.grad.tolist() == [-0.25, 0.0, 0.0, -16.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "fancy"}, "depth rescale mode 'fancy' does not exist; use one of local, global, none"),
        ({"kernel_radius": 30}, r"\[41, 53\], smaller than one window of 61 pixels; lower the kernel radius"),
        ({"stride": 0}, "a radius and a stride of at least 1, found 8 and 0"),
        ({"mask": torch.zeros(40, 53)}, r"its mask \[40, 53\]; load them with the size of the camera"),
        ({"mask": torch.zeros(2, 41, 53)}, r"must be \[H, W\] or \[1, H, W\], found \[2, 41, 53\]"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    rendered, given = maps()
    with pytest.raises(TrainingError, match=message):
        relative_depth_error(rendered, given, **arguments)
