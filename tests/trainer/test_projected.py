"""Ellipses exchanged between processes, by a stand-in for gsplat's kernels that runs on a processor."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_sharded import differences
from test_workers import make, train
from torch import Tensor
from world import World

from gaussian_splatting.geometry.rotations import build_scaling_rotation
from gaussian_splatting.geometry.sh import eval_sh
from gaussian_splatting.rasterizer import gsplat, gsplat_shards
from gaussian_splatting.rasterizer.reference import projection
from gaussian_splatting.rasterizer.reference.blending import blend
from gaussian_splatting.trainer import AbsoluteGradients, named
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.exchange import Together
from gaussian_splatting.trainer.projected import Projected
from gaussian_splatting.trainer.sharded import Sharded
from gaussian_splatting.trainer.snapshot import capture
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

# gsplat 1.5.3, by the names, shapes and types of its wrappers


def fully_fused_projection(
    means: Tensor, covars: None, quats: Tensor, scales: Tensor, viewmats: Tensor, Ks: Tensor, width: int, height: int,
    eps2d: float = 0.3, near_plane: float = 0.01, far_plane: float = 1e10, radius_clip: float = 0.0,
    packed: bool = False, sparse_grad: bool = False, calc_compensations: bool = False, camera_model: str = "pinhole",
    opacities: Tensor | None = None,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    assert packed
    assert opacities is not None
    num = len(means)
    assert (quats.shape, scales.shape, opacities.shape) == ((num, 4), (num, 3), (num,))
    assert (viewmats.shape, Ks.shape) == ((1, 4, 4), (1, 3, 3))

    def take(ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half = build_scaling_rotation(scales[ids], quats[ids])
        return means[ids], half @ half.transpose(1, 2), opacities[ids]

    lens = projection.Lens(Ks[0], width, height, near_plane, far_plane, eps2d, radius_clip, calc_compensations)
    seen = projection.project(means, take, viewmats[0], lens)
    ids = seen.ids.to(torch.int32)
    factors = seen.opacities / opacities[seen.ids] if calc_compensations else None
    none = torch.zeros_like(ids)
    return none, none, ids, seen.radii.to(torch.int32), seen.means2d, seen.depths, seen.conics, factors


def spherical_harmonics(degree: int, dirs: Tensor, coeffs: Tensor, masks: Tensor | None = None) -> Tensor:
    assert masks is None or masks.shape == dirs.shape[:1]
    return eval_sh(degree, coeffs.transpose(1, 2), torch.nn.functional.normalize(dirs, dim=-1))


def isect_tiles(
    means2d: Tensor, radii: Tensor, depths: Tensor, tile_size: int, tile_width: int, tile_height: int
) -> tuple[Tensor, Tensor, Tensor]:
    num = means2d.shape[1]
    assert (means2d.shape, radii.shape, depths.shape) == ((1, num, 2), (1, num, 2), (1, num))
    assert radii.dtype == torch.int32
    return radii, radii[0].clone(), depths[0].clone()  # the stand-in for pixels makes its own lists of these


def isect_offset_encode(isect_ids: Tensor, n_images: int, tile_width: int, tile_height: int) -> Tensor:
    assert n_images == 1
    spread = torch.zeros((1, tile_height, tile_width), dtype=torch.int32)
    spread.radii = isect_ids  # type: ignore[attr-defined]
    spread.reshape = lambda *shape: spread  # type: ignore[method-assign]
    return spread


def rasterize_to_pixels(
    means2d: Tensor, conics: Tensor, colors: Tensor, opacities: Tensor, image_width: int, image_height: int,
    tile_size: int, isect_offsets: Tensor, flatten_ids: Tensor, backgrounds: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    num, channels = colors.shape[1:]
    assert (means2d.shape, conics.shape, opacities.shape) == ((1, num, 2), (1, num, 3), (1, num))
    assert backgrounds.shape == (1, channels)
    assert isect_offsets.shape == (1, -(-image_height // tile_size), -(-image_width // tile_size))
    ids = torch.arange(num)
    ellipses = projection.Ellipses(ids, means2d[0], conics[0], flatten_ids, opacities[0], isect_offsets.radii)  # type: ignore[attr-defined]
    blended = blend(ellipses, colors[0], image_width, image_height)
    left = blended[..., -1:]
    return (blended[..., :-1] + left * backgrounds)[None], (1 - left)[None]


LIBRARY: Any = SimpleNamespace(
    fully_fused_projection=fully_fused_projection, spherical_harmonics=spherical_harmonics, isect_tiles=isect_tiles,
    isect_offset_encode=isect_offset_encode, rasterize_to_pixels=rasterize_to_pixels,
)  # fmt: skip


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gsplat, "load_library", lambda device: LIBRARY)


def work(cls: type[BaseTrainer], steps: int, backend: str, **options: Any) -> Any:
    def train_it(workers: Together) -> dict[str, Tensor]:
        torch.set_num_threads(1)
        trainer = make(cls, workers, backend=backend, **options)
        if isinstance(workers, Sharded):
            assert (type(workers.renderer) is Projected) == (backend == "gsplat")
        return capture(train(trainer, steps))

    return train_it


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(
    ("cls", "quick"),
    [
        (named.DepthSHLiftOpacityResetDensificationTrainer, {"depth_from_iter": 1}),
        (named.BaseSHLiftMCMCTrainer, {}),
        (named.BaseCameraTrainer, {}),
    ],
)
def test_a_step_is_that_of_processes_that_hold_all(cls, quick, size):
    expected = World(size).run(work(cls, 1, "reference", **quick))[0]
    found = World(size).run(work(cls, 1, "gsplat", **quick), Sharded)
    assert not [one for one in found if isinstance(one, Exception)], found
    assert found[0].keys() == expected.keys()
    for name, value in expected.items():
        if name.startswith(("moment.", "state.")):
            torch.testing.assert_close(
                found[0][name], value, rtol=2e-4, atol=1e-8, msg=lambda text, name=name: f"{name}: {text}"
            )
    assert expected["moment.xyz.exp_avg"].abs().max() > 1e-6


def test_the_same_bits_twice_and_gaussians_that_grow():
    runs = [World(2).run(work(named.FastTrainer, 12, "gsplat"), Sharded)[0] for _ in range(2)]
    assert len(runs[0]["parameter.xyz"]) > 70
    assert differences(*runs) == []


def projection_of_16(*arguments: Any, **options: Any) -> tuple[Tensor | None, ...]:
    """As gsplat 1.6 gives it: after the rows, where those of each view begin."""
    *leading, rows, radii, means2d, depths, conics, factors = fully_fused_projection(*arguments, **options)
    assert rows is not None
    return *leading, rows, torch.tensor([0, len(rows)], dtype=torch.int32), radii, means2d, depths, conics, factors


@pytest.mark.parametrize("antialiased", [False, True])
def test_both_versions_of_gsplat_project_alike(antialiased):
    model, camera = tiny_model(), TinyDataset()[0]
    model.antialiasing = antialiased
    newer = SimpleNamespace(**(vars(LIBRARY) | {"fully_fused_projection": projection_of_16}))
    parameters, view = model.raster_parameters(), model.raster_view(camera)
    found = [gsplat_shards.project(library, parameters, view) for library in (LIBRARY, newer)]
    assert len(found[0].rows) > 0
    for older, new in zip(*found, strict=True):
        assert torch.equal(older, new)


def test_a_view_that_shows_nothing_is_its_background():
    from gaussian_splatting.rasterizer.contract import RasterView

    view = RasterView(torch.eye(4), torch.eye(3), 5, 4, 0, torch.tensor([0.1, 0.2, 0.3]))
    values = torch.zeros((0, 11), requires_grad=True)
    output = gsplat_shards.rasterize(LIBRARY, torch.zeros((0, 2), dtype=torch.int32), values, view)
    assert torch.equal(output.colors, view.background.expand(4, 5, 3))
    assert not output.alphas.any()
    output.colors.sum().backward()
    assert values.grad is not None


class Poisoned(BaseTrainer):
    """Has a gradient that is not finite in the second process."""

    shardable = True

    def losses(self, out: dict[str, Any], camera: Any) -> Any:
        yield from super().losses(out, camera)
        if self.curr_step == 3 and self.workers.rank == 1:
            yield "poison", (out["alpha"] * 0).sum().sqrt()


def test_a_poisoned_gradient_is_told_with_its_view():
    first, second = World(2).run(work(Poisoned, 9, "gsplat"), Sharded)
    assert re.match(r"step 3, view 'tiny_\d': the gradient of 'what is seen' is nan at index", str(second)), str(second)
    assert str(first) == f"process 1 of 2: {second}"


class Absolute(AbsoluteGradients):
    """Nothing but absolute gradients, which ellipses do not bring back."""

    shardable = True


def test_absolute_gradients_are_refused():
    for error in World(2).run(work(Absolute, 1, "gsplat"), Sharded):
        assert "does not exchange absolute gradients; leave out --shard, or the feature" in str(error)
