"""`cpu.rasterization` against gsplat's own PyTorch functions, for any combination of the arguments it supports.

HYPOTHESIS_PROFILE=search pytest tests/rasterizer/test_gsplat_properties.py    # 2000 combinations, new every time
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussian_splatting.rasterizer import cpu

pytest.importorskip("gsplat")
import gsplat_reference

WIDTH, HEIGHT, NUM = 37, 34, 24  # more than one tile each way, and blocks that are cut
DOUBLE = torch.float64
TOLERANCE = 1e-4

modes = st.fixed_dictionaries(
    {
        "render_mode": st.sampled_from(["RGB", "D", "ED", "RGB+D", "RGB+ED"]),
        "rasterize_mode": st.sampled_from(["classic", "antialiased"]),
        "camera_model": st.sampled_from(["pinhole", "ortho", "fisheye"]),
        "near_plane": st.sampled_from([0.01, 2.0]),
        "far_plane": st.sampled_from([1e10, 3.5]),
        "radius_clip": st.sampled_from([0.0, 3.0]),
        "eps2d": st.sampled_from([0.3, 0.05]),
        "sh_degree": st.sampled_from([None, 0, 1, 2, 3, 4]),
    }
)
layouts = st.fixed_dictionaries(
    {
        "batch": st.sampled_from([(), (1,), (2,), (1, 2)]),
        "cameras": st.integers(1, 3),
        "channels": st.integers(1, 20),
        "own_colors": st.booleans(),
        "covars": st.booleans(),
        "backgrounds": st.booleans(),
    }
)
ours = st.fixed_dictionaries(
    {
        "packed": st.booleans(),
        "absgrad": st.booleans(),
        "tile_size": st.sampled_from([8, 16]),
        "channel_chunk": st.sampled_from([1, 3, 32]),
    }
)


def scene(seed: int, layout: dict, mode: dict) -> dict[str, torch.Tensor]:
    """Random Gaussians before random cameras, with numbers that float32 has."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=DOUBLE, generator=random)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, dtype=DOUBLE, generator=random)

    batch, cameras = layout["batch"], layout["cameras"]
    viewmats = torch.eye(4, dtype=DOUBLE).repeat(*batch, cameras, 1, 1)
    angles = normal(*batch, cameras, 3) * 0.2
    skew = torch.zeros(*batch, cameras, 3, 3, dtype=DOUBLE)
    skew[..., 0, 1], skew[..., 0, 2], skew[..., 1, 2] = angles.unbind(-1)
    viewmats[..., :3, :3] = torch.linalg.matrix_exp(skew - skew.mT)
    viewmats[..., :3, 3] = normal(*batch, cameras, 3) * 0.2 + torch.tensor([0.0, 0.0, 3.0])
    focal = {"pinhole": 30.0, "fisheye": 28.0, "ortho": 9.0}[mode["camera_model"]]
    Ks = torch.zeros(*batch, cameras, 3, 3, dtype=DOUBLE)
    Ks[..., 0, 0], Ks[..., 1, 1], Ks[..., 2, 2] = focal, focal * 1.1, 1
    Ks[..., :2, 2] = torch.tensor([WIDTH / 2, HEIGHT / 2]) + normal(*batch, cameras, 2)
    own = (cameras,) if layout["own_colors"] else ()
    degree, channels = mode["sh_degree"], layout["channels"] if mode["sh_degree"] is None else 3
    sizes = (NUM, channels) if degree is None else (NUM, (degree + 1) ** 2, 3)
    values = {
        "means": normal(*batch, NUM, 3),
        "quats": normal(*batch, NUM, 4),
        "scales": (normal(*batch, NUM, 3) * 0.5 - 1.5).exp(),
        "opacities": (normal(*batch, NUM) * 2).sigmoid(),
        "colors": normal(*batch, *own, *sizes) * 0.4,
        "viewmats": viewmats,
        "Ks": Ks,
    }
    if layout["covars"]:
        half = normal(*batch, NUM, 3, 3) * 0.25
        values["covars"] = half @ half.mT
    if layout["backgrounds"]:
        values["backgrounds"] = uniform(*batch, cameras, channels)
    return {name: value.float().double() for name, value in values.items()}


def leaves(values: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {name: value.to(dtype).clone().requires_grad_(name != "Ks") for name, value in values.items()}


def weights_for(result: gsplat_reference.Result, seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    weights = torch.randn(*result.picture.shape[:-1], result.picture.shape[-1] + 1, dtype=DOUBLE, generator=random)
    return torch.where(result.edges[..., None], 0.0, weights)


def loss_of(picture: torch.Tensor, alphas: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (torch.cat([picture, alphas], -1) * weights.to(picture.dtype)).sum()


def assert_close(found: torch.Tensor, expected: torch.Tensor, name: str) -> None:
    """Equal to 1e-4 in the L2 norm, or to the rounding of the numbers that went into sums which cancel."""
    assert found.shape == expected.shape, name
    found, expected = found.detach().double(), expected.detach().double()
    assert (found - expected).norm() <= TOLERANCE * expected.norm().clamp_min(1e-3), name


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), layout=layouts, mode=modes, options=ours)
def test_pictures_meta_and_gradients_are_those_of_gsplat(seed: int, layout: dict, mode: dict, options: dict) -> None:
    values = scene(seed, layout, mode)
    theirs, mine = leaves(values, DOUBLE), leaves(values, torch.float32)
    expected = gsplat_reference.rasterization(**theirs, width=WIDTH, height=HEIGHT, **mode)
    picture, alphas, meta = cpu.rasterization(**mine, width=WIDTH, height=HEIGHT, **mode, **options)
    far = ~expected.edges
    assert picture.shape == expected.picture.shape
    assert alphas.shape == expected.alphas.shape
    assert ((picture.double() - expected.picture)[far].abs() <= TOLERANCE * expected.picture[far].abs().clamp(1)).all()
    assert ((alphas.double() - expected.alphas)[far].abs() <= TOLERANCE).all()
    compare_meta(meta, expected, options)

    weights = weights_for(expected, seed)
    if not (meta["radii"] > 0).any():
        return
    expected.meta["means2d"].retain_grad()
    loss_of(expected.picture, expected.alphas, weights).backward()
    loss_of(picture, alphas, weights).backward()
    for name, leaf in theirs.items():
        if leaf.grad is not None and mine[name].grad is not None:
            assert_close(mine[name].grad, leaf.grad, name)
        else:
            assert leaf.grad is None or not leaf.grad.any(), name
    seen = (expected.meta["radii"] > 0).all(-1)
    assert_close(on_seen(meta["means2d"].grad, seen, options), expected.meta["means2d"].grad[seen], "means2d")
    if options["absgrad"]:
        assert_close(on_seen(meta["means2d"].absgrad, seen, options), expected.absgrad()[seen], "absgrad")


def on_seen(value: torch.Tensor, seen: torch.Tensor, options: dict) -> torch.Tensor:
    """The rows of visible Gaussians, packed or not."""
    return value if options["packed"] else value[seen]


def compare_meta(meta: dict, expected: gsplat_reference.Result, options: dict) -> None:
    seen = (expected.meta["radii"] > 0).all(-1)
    for name, value in expected.meta.items():
        dtype = torch.int32 if name == "radii" else torch.float32
        assert meta[name].dtype == dtype
        found = meta[name] if options["packed"] else meta[name][seen]
        assert_close(found, value[seen], name)
        if not options["packed"]:
            assert meta[name].shape == value.shape
            assert not meta[name][~seen].any()
    *batch, cameras, num = seen.shape
    rows = seen.reshape(-1, cameras, num).nonzero()
    for index, name in enumerate(("batch_ids", "camera_ids", "gaussian_ids")):
        assert torch.equal(meta[name], rows[:, index]) if options["packed"] else meta[name] is None
    assert meta["n_cameras"] == cameras
    assert meta["n_batches"] == torch.Size(batch).numel()
