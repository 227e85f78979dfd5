"""gsplat 1.5.3 itself, with its CUDA kernels computed by the references: for tests of what runs on a card.

The library's Python code runs as it is, with its checks of shapes. A kernel here has the arguments and the results of
gsplat's own: dense float32 memory of the card goes in, rows that it leaves unset come out as NaN, and values that a
kernel multiplies are multiplied here, zero times NaN included.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from simulated_card import CARD, CardGenerator, SimulatedCard, on_card, raw, returned
from torch import Tensor

from gaussian_splatting.geometry.rotations import build_scaling_rotation, quaternion_to_matrix
from gaussian_splatting.geometry.sh import eval_sh
from gaussian_splatting.rasterizer.reference import blending, projection
from gaussian_splatting.rasterizer.reference_2dgs import blending as surfel_blending
from gaussian_splatting.rasterizer.reference_2dgs import projection as surfel_projection

NAN = float("nan")
KEPT_LISTS = 8
TYPES = (torch.float32, torch.int32, torch.int64, torch.bool)


class Kernels:
    """What `gsplat.csrc` has, by name. `forward` is whether device and memory of the arguments are looked at."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self._boxes: dict[int, tuple[Tensor, ...]] = {}  # by the memory of flatten_ids: depths, radii, themselves

    def __getitem__(self, name: str) -> Callable[..., Any]:
        function = getattr(self, name)

        def kernel(*args: Any) -> Any:
            self.called.append(name)
            _check_inputs(name, args)
            with raw():
                plain = [value.detach().as_subclass(Tensor) if isinstance(value, Tensor) else value for value in args]
                found = function(*plain)
            return returned(*found) if isinstance(found, tuple) else returned(found)[0]

        return kernel

    # Harmonics

    def spherical_harmonics_fwd(self, degree: int, dirs: Tensor, coeffs: Tensor, masks: Tensor | None) -> Tensor:
        shown = torch.ones(dirs.shape[:-1], dtype=torch.bool) if masks is None else masks
        assert shown.shape == dirs.shape[:-1]
        colors = torch.full_like(dirs, NAN)
        colors[shown] = _harmonics(degree, dirs[shown], coeffs[shown])
        return colors

    def spherical_harmonics_bwd(
        self, num_bases: int, degree: int, dirs: Tensor, coeffs: Tensor, masks: Tensor | None, v_colors: Tensor,
        compute_v_dirs: bool,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        assert num_bases == coeffs.shape[-2]
        shown = torch.ones(dirs.shape[:-1], dtype=torch.bool) if masks is None else masks
        v_coeffs, v_dirs = torch.zeros_like(coeffs), torch.zeros_like(dirs)
        found = _pulled(lambda d, c: _harmonics(degree, d, c), (dirs[shown], coeffs[shown]), v_colors[shown])
        v_dirs[shown], v_coeffs[shown] = found
        return v_coeffs, v_dirs if compute_v_dirs else None

    # Projection of Gaussians

    def projection_ewa_3dgs_fused_fwd(
        self, means: Tensor, covars: None, quats: Tensor, scales: Tensor, opacities: Tensor, viewmats: Tensor,
        Ks: Tensor, width: int, height: int, eps2d: float, near: float, far: float, radius_clip: float,
        compensated: bool, camera_model: str,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        assert covars is None
        assert (len(viewmats), camera_model) == (1, "CameraModelType.PINHOLE")
        options = (width, height, near, far, eps2d, radius_clip, compensated)
        found = _ellipses(means, quats, scales, opacities, viewmats, Ks, options)
        num, rows = len(means), found.ids
        radii = torch.zeros((1, num, 2), dtype=torch.int32)
        radii[0, rows] = found.radii
        unset = [torch.full((1, num, *rest), NAN) for rest in ((2,), (), (3,))]
        for values, shown in zip(unset, (found.means2d, found.depths, found.conics), strict=True):
            values[0, rows] = shown
        factors = torch.zeros((1, num)) if compensated else None
        if factors is not None:
            factors[0, rows] = found.opacities / opacities[rows]
        return radii, *unset, factors

    def projection_ewa_3dgs_fused_bwd(
        self, means: Tensor, covars: None, quats: Tensor, scales: Tensor, viewmats: Tensor, Ks: Tensor, width: int,
        height: int, eps2d: float, camera_model: str, radii: Tensor, conics: Tensor, compensations: Tensor | None,
        v_means2d: Tensor, v_depths: Tensor, v_conics: Tensor, v_compensations: Tensor | None, pose: bool,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        rows = (radii[0] > 0).all(-1).nonzero()[:, 0]
        pulls = [v_means2d[0, rows], v_depths[0, rows], v_conics[0, rows]]
        pulls.append(None if v_compensations is None else v_compensations[0, rows])
        values = (means, quats, scales, viewmats, Ks)
        return _ellipse_gradients(rows, values, (width, height, eps2d), pulls, pose)

    def projection_ewa_3dgs_packed_fwd(self, means: Tensor, *args: Any) -> tuple[Tensor | None, ...]:
        radii, means2d, depths, conics, factors = self.projection_ewa_3dgs_fused_fwd(means, *args)
        assert radii is not None
        rows = (radii[0] > 0).all(-1).nonzero()[:, 0]
        none = torch.zeros_like(rows)
        dense = [None if value is None else value[0, rows] for value in (radii, means2d, depths, conics, factors)]
        return torch.tensor([0, len(rows)], dtype=torch.int32), none, none.clone(), rows, *dense

    def projection_ewa_3dgs_packed_bwd(
        self, means: Tensor, covars: None, quats: Tensor, scales: Tensor, viewmats: Tensor, Ks: Tensor, width: int,
        height: int, eps2d: float, camera_model: str, batch_ids: Tensor, camera_ids: Tensor, gaussian_ids: Tensor,
        conics: Tensor, compensations: Tensor | None, v_means2d: Tensor, v_depths: Tensor, v_conics: Tensor,
        v_compensations: Tensor | None, pose: bool, sparse_grad: bool,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        pulls = [v_means2d, v_depths, v_conics, v_compensations]
        values = (means, quats, scales, viewmats, Ks)
        found = _ellipse_gradients(gaussian_ids, values, (width, height, eps2d), pulls, pose)
        if not sparse_grad:
            return found
        return tuple(None if one is None else one[gaussian_ids] for one in found[:4]) + found[4:]

    # Tiles

    def intersect_tile(
        self, means2d: Tensor, radii: Tensor, depths: Tensor, image_ids: Tensor | None, gaussian_ids: Tensor | None,
        num_images: int, tile_size: int, across: int, down: int, sort: bool, segmented: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        from gaussian_splatting.rasterizer.cpu.gsplat_tiles import tile_lists

        assert num_images == 1
        assert sort
        lists = tile_lists(means2d, radii, depths, image_ids, (1, down, across), tile_size)
        flat = lists["flatten_ids"].to(torch.int32)
        self._boxes[flat.data_ptr()] = depths.reshape(-1).clone(), radii.reshape(-1, 2).clone(), flat
        while len(self._boxes) > KEPT_LISTS:
            self._boxes.pop(next(iter(self._boxes)))
        return lists["tiles_per_gauss"], lists["isect_ids"], flat

    def intersect_offset(self, isect_ids: Tensor, num_images: int, across: int, down: int) -> Tensor:
        from gsplat.cuda._torch_impl import _isect_offset_encode

        if not len(isect_ids):
            return torch.zeros((num_images, down, across), dtype=torch.int32)
        return _isect_offset_encode(isect_ids, num_images, across, down).to(torch.int32)

    # Pixels of Gaussians

    def rasterize_to_pixels_3dgs_fwd(
        self, means2d: Tensor, conics: Tensor, colors: Tensor, opacities: Tensor, backgrounds: Tensor | None,
        masks: None, width: int, height: int, tile_size: int, tile_offsets: Tensor, flatten_ids: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        assert masks is None
        assert tile_offsets.shape == (1, -(-height // tile_size), -(-width // tile_size))
        values = (means2d, conics, colors, opacities)
        picture, alphas = self._pixels(values, backgrounds, (width, height), flatten_ids)
        return picture, alphas, torch.zeros((1, height, width), dtype=torch.int32)

    def rasterize_to_pixels_3dgs_bwd(
        self, means2d: Tensor, conics: Tensor, colors: Tensor, opacities: Tensor, backgrounds: Tensor | None,
        masks: None, width: int, height: int, tile_size: int, tile_offsets: Tensor, flatten_ids: Tensor,
        render_alphas: Tensor, last_ids: Tensor, v_colors: Tensor, v_alphas: Tensor, absgrad: bool,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        size, sums = (width, height), torch.zeros((means2d[..., 0].numel(), 2)) if absgrad else None
        found = _pulled(
            lambda *values: self._pixels(values, backgrounds, size, flatten_ids, sums),
            (means2d, conics, colors, opacities), v_colors, v_alphas,
        )  # fmt: skip
        return None if sums is None else sums.reshape(means2d.shape), *found

    def _pixels(
        self, values: tuple[Tensor, ...], backgrounds: Tensor | None, size: tuple[int, int], flatten_ids: Tensor,
        sums: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        means2d, conics, colors, opacities = values
        flat = (means2d.reshape(-1, 2), conics.reshape(-1, 3), colors.reshape(-1, colors.shape[-1]))
        ids, depths, radii = self._listed(flatten_ids)
        seen = [value[ids] for value in (*flat, opacities.reshape(-1))]
        ellipses = projection.Ellipses(ids, seen[0], seen[1], depths, seen[3], radii)
        blended = blending.blend(ellipses, seen[2], *size, None if sums is None else (sums, ids))
        left = blended[..., -1:]
        behind = 0 if backgrounds is None else left * backgrounds[0]
        return (blended[..., :-1] + behind)[None], (1 - left)[None]

    def _listed(self, flatten_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows that are in any tile's list, with their depths and radii."""
        depths, radii, _ = self._boxes[flatten_ids.data_ptr()]
        ids = flatten_ids.long().unique()
        return ids, depths[ids], radii[ids]

    # Surfels

    def projection_2dgs_fused_fwd(
        self, means: Tensor, quats: Tensor, scales: Tensor, viewmats: Tensor, Ks: Tensor, width: int, height: int,
        eps2d: float, near: float, far: float, radius_clip: float,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        lens = projection.Lens(Ks[0], width, height, near, far, eps2d, radius_clip, False)
        found = surfel_projection.project(means, _surfel_taker(means, quats, scales), viewmats[0], lens)
        num = len(means)
        radii = torch.zeros((1, num, 2), dtype=torch.int32)
        radii[0, found.ids] = found.radii
        values = [torch.full((1, num, *rest), NAN) for rest in ((2,), (), (3, 3))] + [torch.zeros(1, num, 3)]
        for value, shown in zip(values, (found.means2d, found.depths, found.rays, found.normals), strict=True):
            value[0, found.ids] = shown
        return radii, *values

    def projection_2dgs_fused_bwd(
        self, means: Tensor, quats: Tensor, scales: Tensor, viewmats: Tensor, Ks: Tensor, width: int, height: int,
        radii: Tensor, ray_transforms: Tensor, v_means2d: Tensor, v_depths: Tensor, v_normals: Tensor, v_rays: Tensor,
        pose: bool,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        rows = (radii[0] > 0).all(-1).nonzero()[:, 0]
        lens = projection.Lens(Ks[0], width, height, 0, 1e10, 0.3, 0.0, False)

        def project(*values: Tensor) -> tuple[Tensor, ...]:
            found = surfel_projection._surfels(rows, _surfel_taker(*values[:3]), values[3][0], lens)
            return found.means2d, found.depths, found.normals, found.rays

        pulls = [pull[0, rows] for pull in (v_means2d, v_depths, v_normals, v_rays)]
        *found, v_viewmats = _pulled(project, (means, quats, scales, viewmats), *pulls)
        return *found, v_viewmats if pose else None

    def rasterize_to_pixels_2dgs_fwd(
        self, means2d: Tensor, rays: Tensor, colors: Tensor, opacities: Tensor, normals: Tensor,
        backgrounds: Tensor | None, masks: None, width: int, height: int, tile_size: int, tile_offsets: Tensor,
        flatten_ids: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        values = (means2d, rays, colors, opacities, normals)
        maps = self._surfel_pixels(values, backgrounds, (width, height), tile_size, flatten_ids)
        none = torch.zeros((1, height, width), dtype=torch.int32)
        return *maps, none, none.clone()

    def rasterize_to_pixels_2dgs_bwd(
        self, means2d: Tensor, rays: Tensor, colors: Tensor, opacities: Tensor, normals: Tensor, densify: Tensor,
        backgrounds: Tensor | None, masks: None, width: int, height: int, tile_size: int, tile_offsets: Tensor,
        flatten_ids: Tensor, render_colors: Tensor, render_alphas: Tensor, last_ids: Tensor, median_ids: Tensor,
        v_colors: Tensor, v_alphas: Tensor, v_normals: Tensor, v_distort: Tensor, v_median: Tensor, absgrad: bool,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        found = _pulled(
            lambda *values: self._surfel_pixels(values, backgrounds, (width, height), tile_size, flatten_ids),
            (means2d, rays, colors, opacities, normals), v_colors, v_alphas, v_normals, v_distort, v_median,
        )  # fmt: skip
        v_densify = torch.where(rays[..., 2:, 2] > 0, found[1][..., :2, 2] * rays[..., 2:, 2], 0)
        return torch.zeros_like(means2d) if absgrad else None, *found, v_densify

    def _surfel_pixels(
        self, values: tuple[Tensor, ...], backgrounds: Tensor | None, size: tuple[int, int], tile_size: int,
        flatten_ids: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        ids, depths, radii = self._listed(flatten_ids)
        means2d, rays, colors, opacities, normals = (value[0, ids] for value in values)
        # The last channel is taken for the depth, whatever it is.
        surfels = surfel_projection.Surfels(ids, means2d, rays, colors[:, -1], normals, opacities, radii)
        assert torch.equal(colors[:, -1].detach(), depths)
        maps = surfel_blending.blend(surfels, rays, colors, size, tile_size)
        left = maps.blended[..., -1:]
        behind = 0 if backgrounds is None else left * backgrounds[0]
        picture = maps.blended[..., :-1] + behind
        return tuple(
            one[None] for one in (picture, 1 - left, maps.normals, maps.distortion[..., None], maps.median[..., None])
        )


def _check_inputs(name: str, args: tuple[Any, ...]) -> None:
    backward = name.endswith("_bwd")
    for place, value in enumerate(args):
        if isinstance(value, Tensor):
            assert value.is_contiguous(), f"{name}: argument {place} is not contiguous"
            assert value.dtype in TYPES, f"{name}: argument {place} is {value.dtype}"
            assert backward or on_card(value), f"{name}: argument {place} is not on the card"


def _harmonics(degree: int, dirs: Tensor, coeffs: Tensor) -> Tensor:
    return eval_sh(degree, coeffs.transpose(-1, -2), torch.nn.functional.normalize(dirs, dim=-1))


def _pulled(function: Callable[..., Any], inputs: tuple[Tensor, ...], *pulls: Tensor) -> tuple[Tensor, ...]:
    """The gradients by the inputs, of a function whose results are pulled at."""
    with torch.enable_grad():
        leaves = [value.detach().clone().requires_grad_() for value in inputs]
        results = function(*leaves)
        results = results if isinstance(results, tuple) else (results,)
        pairs = [(a, b) for a, b in zip(results, pulls, strict=True) if a.requires_grad]
        if not pairs:
            return tuple(torch.zeros_like(value) for value in inputs)
        found = torch.autograd.grad([a for a, _ in pairs], leaves, [b for _, b in pairs], allow_unused=True)
    return tuple(torch.zeros_like(a) if b is None else b for a, b in zip(inputs, found, strict=True))


def _ellipses(means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, viewmats: Tensor, Ks: Tensor,
              options: tuple[Any, ...]) -> projection.Ellipses:  # fmt: skip
    width, height, near, far, eps2d, clip, compensated = options
    lens = projection.Lens(Ks[0], width, height, near, far, eps2d, clip, compensated)
    return projection.project(means, _taker(means, quats, scales, opacities), viewmats[0], lens)


def _taker(means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    def take(ids: Tensor) -> Any:
        half = build_scaling_rotation(scales[ids], quats[ids])
        return means[ids], half @ half.transpose(1, 2), opacities[ids]

    return take


def _ellipse_gradients(
    rows: Tensor, values: tuple[Tensor, ...], options: tuple[Any, ...], pulls: list[Any], pose: bool
) -> tuple[Tensor | None, ...]:
    means, quats, scales, viewmats, Ks = values
    width, height, eps2d = options
    compensated = pulls[3] is not None
    lens = projection.Lens(Ks[0], width, height, 0.0, 1e10, eps2d, 0.0, compensated)

    def project(*inputs: Tensor) -> tuple[Tensor, ...]:
        take: Any = _taker(*inputs[:3], torch.ones(len(means)))
        found = projection.ellipses_of(rows, take, inputs[3][0], lens)
        return (found.means2d, found.depths, found.conics, found.opacities)[: 3 + compensated]

    v_means, v_quats, v_scales, v_pose = _pulled(project, (means, quats, scales, viewmats), *pulls[: 3 + compensated])
    return v_means, None, v_quats, v_scales, v_pose if pose else None


def _surfel_taker(means: Tensor, quats: Tensor, scales: Tensor) -> Callable[[Tensor], Any]:
    return lambda ids: (means[ids], quaternion_to_matrix(quats[ids]), scales[ids], torch.ones(len(ids)))


# A card with gsplat on it


class _Stream:
    """Work on a simulated card is done at once."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait_event(self, event: Any) -> None:
        pass

    record = synchronize = wait_stream = lambda self, *_: None


def install(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    """Put kernels into gsplat and a card into torch; the caller enters a `SimulatedCard`."""
    import gsplat
    from gsplat.cuda import _wrapper

    from gaussian_splatting.rasterizer import gsplat as backend

    kernels = Kernels()
    monkeypatch.setattr(_wrapper, "_make_lazy_cuda_func", lambda name: kernels[name])
    monkeypatch.setattr(_wrapper, "_make_lazy_cuda_obj", lambda name: name)
    module: ModuleType = gsplat
    monkeypatch.setattr(backend, "_compiled", lambda: module)
    generator = torch.Generator
    monkeypatch.setattr(torch, "Generator", _generators(generator))
    cuda = {
        "is_available": lambda: True, "device_count": lambda: 1,
        "mem_get_info": lambda device=None: (8 << 30, 16 << 30),
        "memory_reserved": lambda device=None: 0, "memory_allocated": lambda device=None: 0, "Stream": _Stream,
        "Event": _Stream, "stream": lambda stream: stream, "current_stream": lambda device=None: _Stream(),
        "device": _Stream, "synchronize": lambda device=None: None, "empty_cache": lambda: None,
        "get_device_name": lambda device=None: "a simulated card",
        "get_device_properties": lambda device=None: SimpleNamespace(total_memory=16 << 30),
    }  # fmt: skip
    for name, stand_in in cuda.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)
    return kernels


def _generators(kind: Any) -> Any:
    class Generators(kind):
        """Makes generators of the processor and of the card."""

        def __new__(cls, device: Any = "cpu") -> Any:
            return CardGenerator() if torch.device(device).type == "cuda" else kind()

    return Generators


__all__ = ["CARD", "Kernels", "SimulatedCard", "install"]
