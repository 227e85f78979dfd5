"""`rasterization` of the CPU backend: gsplat's shapes, modes and `meta`, and what it refuses."""

from __future__ import annotations

import cpu_scenes
import numpy as np
import pytest
import torch
from backend_distance import relative
from cpu_scenes import DOUBLE, HEIGHT, WIDTH

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer import cpu, reference

CAMERAS = 2


def two_cameras(channels: int | None = None) -> dict[str, torch.Tensor]:
    values = cpu_scenes.scene(seed=3, degree=3 if channels is None else None)
    second = values["viewmats"][0].clone()
    second[0, 3] += 0.4
    values["viewmats"] = torch.stack([values["viewmats"][0], second])
    values["Ks"] = torch.cat([values["Ks"], values["Ks"] * torch.tensor([1.2, 1, 1], dtype=DOUBLE)[:, None]])
    random = cpu_scenes.generator(9)
    if channels is not None:
        values["colors"] = torch.rand(len(values["means"]), channels, dtype=DOUBLE, generator=random)
    values["backgrounds"] = torch.rand(CAMERAS, channels or 3, dtype=DOUBLE, generator=random)
    return {name: cpu_scenes.exact(value) for name, value in values.items()}


def edges(values: dict[str, torch.Tensor]) -> torch.Tensor:
    """Pixels of both views [C, H, W] where float32 may decide either way."""
    views = [
        values | {"viewmats": values["viewmats"][i : i + 1], "Ks": values["Ks"][i : i + 1]} for i in range(CAMERAS)
    ]
    return torch.stack([cpu_scenes.knife_edges(view) for view in views])


def both(values: dict[str, torch.Tensor], **options):
    """Pictures, alphas, meta and gradients of the reference and of the CPU backend."""
    near, results = edges(values), []
    for backend, dtype in ((reference, DOUBLE), (cpu, torch.float32)):
        own = cpu_scenes.leaves(values, dtype)
        picture, alphas, meta = backend.rasterization(**own, width=WIDTH, height=HEIGHT, **options)
        meta["means2d"].retain_grad()
        weights = torch.randn(picture.shape, dtype=DOUBLE, generator=cpu_scenes.generator(5))
        weights = torch.where(near[..., None], 0.0, weights).to(dtype)
        ((picture + alphas) * weights).sum().backward()
        results.append((picture, alphas, meta, {name: leaf.grad for name, leaf in own.items()}))
    (picture, alphas, meta, grads), (found, found_alphas, found_meta, found_grads) = results
    far = ~near
    error = (found.detach().double() - picture.detach())[far].abs() / picture.detach()[far].abs().clamp(min=1)
    assert error.max() <= 5e-6
    assert (found_alphas.detach().double() - alphas.detach())[far].abs().max() <= 5e-6
    for name, gradient in grads.items():
        if gradient is not None and gradient.norm() > 0:
            assert relative(found_grads[name], gradient) <= 1e-4, name
    assert relative(found_meta["means2d"].grad, meta["means2d"].grad) <= 1e-4
    return meta, found_meta, picture, found


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("render_mode", ["RGB", "D", "ED", "RGB+D", "RGB+ED"])
def test_every_render_mode_from_two_cameras(render_mode: str, packed: bool) -> None:
    meta, found, picture, mine = both(two_cameras(), sh_degree=3, render_mode=render_mode, packed=packed)
    assert mine.shape == picture.shape
    assert found["means2d"].shape == meta["means2d"].shape


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6, 7, 16, 17, 33])
def test_any_number_of_channels(channels: int) -> None:
    both(two_cameras(channels), render_mode="RGB+ED")


def test_colours_of_their_own_for_each_camera() -> None:
    values = two_cameras()
    values["colors"] = torch.stack([values["colors"], values["colors"].flip(0)])
    both(values, sh_degree=2)


@pytest.mark.parametrize("packed", [True, False])
def test_meta_is_what_the_reference_reports(packed: bool) -> None:
    expected, found, *_ = both(two_cameras(), sh_degree=1, packed=packed, absgrad=True, tile_size=16)
    for name in ("width", "height", "tile_size", "tile_width", "tile_height", "n_cameras", "n_batches"):
        assert found[name] == expected[name]
    assert torch.equal(found["radii"], expected["radii"])
    assert found["radii"].dtype == torch.int32
    for name in ("camera_ids", "gaussian_ids", "batch_ids"):
        assert torch.equal(found[name], expected[name]) if packed else found[name] is expected[name] is None
    seen = (found["radii"] > 0).all(-1)
    for name in ("means2d", "depths", "conics", "opacities"):
        assert relative(found[name][seen], expected[name][seen]) <= 1e-5, name
    assert relative(found["means2d"].absgrad, expected["means2d"].absgrad) <= 1e-4


def test_absolute_gradients_are_at_least_the_gradients() -> None:
    values = cpu_scenes.leaves(cpu_scenes.scene(seed=4), torch.float32)
    picture, _, meta = cpu.rasterization(**values, width=WIDTH, height=HEIGHT, sh_degree=3, absgrad=True)
    picture.square().sum().backward()
    assert (meta["means2d"].absgrad >= meta["means2d"].grad.abs() * (1 - 1e-4) - 1e-5).all()


@pytest.mark.parametrize("options", [{"near_plane": 2.8}, {"far_plane": 3.2}, {"radius_clip": 4.0}, {"eps2d": 0.05}])
def test_planes_clip_and_blur_are_honoured(options: dict[str, float]) -> None:
    values = cpu_scenes.scene(seed=6)
    pictures = []
    for backend, dtype in ((reference, DOUBLE), (cpu, torch.float32)):
        own = {name: value.to(dtype) for name, value in values.items()}
        picture, _, meta = backend.rasterization(
            **own, width=WIDTH, height=HEIGHT, sh_degree=3, packed=False, **options
        )
        pictures.append((picture.double(), meta["radii"]))
    plain = cpu.rasterization(
        **{name: value.float() for name, value in values.items()}, width=WIDTH, height=HEIGHT, sh_degree=3
    )
    assert torch.equal(pictures[0][1], pictures[1][1])
    error = (pictures[0][0] - pictures[1][0]).abs()
    assert error.median() < 1e-6
    assert (error.amax(-1) > 1e-4).double().mean() < cpu_scenes.FEW
    assert (plain[0].double() - pictures[0][0]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "value"),
    [("with_ut", True), ("with_eval3d", True), ("distributed", True), ("camera_model", "ftheta"), ("sh_degree", 5),
     ("radial_coeffs", torch.zeros(1, 6)), ("viewmats_rs", torch.eye(4)[None])],
)  # fmt: skip
def test_what_only_gsplat_has_is_not_implemented_and_named(name: str, value: object) -> None:
    values = {name: value.float() for name, value in cpu_scenes.scene(num=4).items()} | {"sh_degree": 3}
    with pytest.raises(NotImplementedError, match=name):
        cpu.rasterization(**(values | {name: value}), width=8, height=8)


def test_values_that_gsplat_refuses_are_refused() -> None:
    values = {name: value.float() for name, value in cpu_scenes.scene(num=4).items()} | {"sh_degree": 3}
    for name, value in (("render_mode", "RGBD"), ("rasterize_mode", "sharp"), ("camera_model", "panorama")):
        with pytest.raises(BackendError, match=f"{name} '{value}'"):
            cpu.rasterization(**(values | {name: value}), width=8, height=8)
    with pytest.raises(BackendError, match="sparse_grad needs packed=True"):
        cpu.rasterization(**values, width=8, height=8, sparse_grad=True, packed=False)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        cpu.rasterization(**values, width=8, height=8, colour=1)


@pytest.mark.parametrize("call", [cpu.rasterization, cpu.rasterization_2dgs])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"width": 8.0}, r"width must be an integer, found 8.0 \(float\)"),
        ({"height": "8"}, r"height must be an integer, found '8' \(str\)"),
        ({"height": True}, "height must be an integer"),
        ({"width": torch.tensor(8)}, "width must be an integer"),
        ({"tile_size": 0}, "tile_size"),
        ({"means": np.zeros((4, 3), np.float32)}, "means must be a tensor, found ndarray"),
        ({"colors": None}, "colors must be a tensor, found NoneType"),
        ({"viewmats": torch.zeros(0, 4, 4), "Ks": torch.zeros(0, 3, 3)}, r"viewmats \[0, 4, 4\] .* at least one batch"),
        ({"colors": torch.zeros(4, 0)}, r"colors \[4, 0\] leave nothing to render"),
    ],
)
def test_numbers_that_no_kernel_takes_are_refused_by_name(call, changed: dict, message: str) -> None:
    values = {name: value.float() for name, value in cpu_scenes.scene(num=4, degree=None).items()}
    with pytest.raises(BackendError, match=message):
        call(**(values | {"width": 8, "height": 8} | changed))


def test_types_devices_and_shapes_are_checked_by_name() -> None:
    values = {name: value.float() for name, value in cpu_scenes.scene(num=4).items()}
    with pytest.raises(BackendError, match=r"scales is torch.float64 on cpu"):
        cpu.rasterization(**(values | {"scales": values["scales"].double()}), width=8, height=8, sh_degree=3)
    with pytest.raises(BackendError, match=r"quats must be \[4, 4\]"):
        cpu.rasterization(**(values | {"quats": values["quats"][:, :3]}), width=8, height=8, sh_degree=3)
    with pytest.raises(BackendError, match="0 x 8 pixels"):
        cpu.rasterization(**values, width=0, height=8, sh_degree=3)


def test_arguments_may_have_any_strides() -> None:
    values = {name: value.float() for name, value in cpu_scenes.scene(seed=8).items()}
    strided = {name: value.flip(0).contiguous().flip(0) for name, value in values.items() if name != "means"}
    strided["means"] = values["means"].T.contiguous().T
    expected = cpu.rasterization(**values, width=WIDTH, height=HEIGHT, sh_degree=3)[0]
    assert torch.equal(cpu.rasterization(**strided, width=WIDTH, height=HEIGHT, sh_degree=3)[0], expected)
