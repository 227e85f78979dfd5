"""The gsplat backend with the reference standing in for the library: the call it makes, and what it gives back."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from types import ModuleType
from typing import Any

import pytest
import torch

from gaussian_splatting.errors import BackendError
from gaussian_splatting.geometry.sh import eval_sh
from gaussian_splatting.rasterizer import gsplat as backend
from gaussian_splatting.rasterizer import reference
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterView

WIDTH, HEIGHT, NUM = 33, 21, 50
DOUBLE = torch.float64


def raw_scene(dtype: torch.dtype = DOUBLE) -> tuple[GaussianParameters, RasterView]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=DOUBLE, generator=generator).to(dtype)

    parameters = GaussianParameters(
        normal(NUM, 3),
        normal(NUM, 4),
        normal(NUM, 3) * 0.5 - 2,
        normal(NUM, 1),
        normal(NUM, 1, 3),
        normal(NUM, 15, 3) * 0.2,
    )
    viewmat = torch.eye(4, dtype=dtype)
    viewmat[2, 3] = 2.0  # some Gaussians lie behind the camera
    K = torch.tensor([[25.0, 0, 15], [0, 27.0, 11], [0, 0, 1]], dtype=dtype)
    return parameters, RasterView(viewmat, K, WIDTH, HEIGHT, 2, torch.tensor([0.3, 0.1, 0.2], dtype=dtype))


def standing_harmonics(degree: int, dirs: torch.Tensor, coeffs: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """As gsplat's kernel: directions of any length, and what is masked stays whatever the memory held."""
    dirs = torch.nn.functional.normalize(dirs, dim=-1)
    return torch.where(masks[:, None], eval_sh(degree, coeffs.transpose(1, 2), dirs), float("nan"))


@pytest.fixture
def library(monkeypatch) -> dict[str, Any]:
    """Puts the reference in the place of the library, and gives the arguments of the last call."""
    calls: dict[str, Any] = {}

    def rasterization(*args: Any, **kwargs: Any) -> Any:
        calls.update(args=args, kwargs=kwargs)
        return reference.rasterization(*args, **kwargs)

    stand_in = ModuleType("gsplat")
    stand_in.rasterization, stand_in.spherical_harmonics = rasterization, standing_harmonics  # type: ignore[attr-defined]
    monkeypatch.setattr(backend, "load_library", lambda device: stand_in)
    return calls


def with_gradients(parameters: GaussianParameters) -> GaussianParameters:
    return GaussianParameters(
        **{f.name: getattr(parameters, f.name).clone().requires_grad_() for f in fields(parameters)}
    )


@pytest.mark.parametrize("antialiased", [False, True])
def test_it_renders_what_the_reference_renders(library, antialiased):
    parameters, view = raw_scene()
    view = replace(view, antialiased=antialiased, scale_modifier=0.8, near_plane=0.2, far_plane=3.5, eps2d=0.2)
    found, expected = backend.render_gaussians(parameters, view), reference.render_gaussians(parameters, view)
    for name in ("colors", "alphas", "depth", "inverse_depth", "radii", "means2d"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), msg=lambda m, n=name: f"{n}: {m}")


def test_its_gradients_are_those_of_the_reference(library):
    parameters, view = raw_scene()
    grads = []
    for module in (backend, reference):
        leaves, viewmat = with_gradients(parameters), view.viewmat.clone().requires_grad_()
        output = module.render_gaussians(leaves, replace(view, viewmat=viewmat))
        weights = torch.linspace(0, 1, WIDTH, dtype=DOUBLE)
        loss = (output.colors.sum(-1) + output.alphas + output.depth + output.inverse_depth) * weights
        loss.sum().backward()
        grads.append([*(getattr(leaves, f.name).grad for f in fields(leaves)), viewmat.grad, output.means2d.grad])
    for found, expected in zip(*grads, strict=True):
        torch.testing.assert_close(found, expected)


def test_the_library_is_called_as_documented(library):
    parameters, view = raw_scene()
    backend.render_gaussians(parameters, replace(view, antialiased=True))
    kwargs = library["kwargs"]
    assert kwargs["render_mode"] == "RGB+ED"
    assert kwargs["packed"] is False
    assert kwargs["rasterize_mode"] == "antialiased"
    assert kwargs["backgrounds"].tolist() == [[*view.background.tolist(), 0.0]]
    means, quats, scales, opacities, colors, viewmats, Ks, width, height = library["args"]
    assert means is parameters.means
    assert quats is parameters.quats
    torch.testing.assert_close(scales, parameters.log_scales.exp())
    torch.testing.assert_close(opacities, parameters.opacity_logits.sigmoid()[:, 0])
    assert colors.shape == (NUM, 4)
    assert (viewmats.shape, Ks.shape, width, height) == ((1, 4, 4), (1, 3, 3), WIDTH, HEIGHT)


def test_shapes_and_types_are_those_of_the_contract(library):
    parameters, view = raw_scene(torch.float32)
    output = backend.render_gaussians(with_gradients(parameters), view)
    assert output.colors.shape == (HEIGHT, WIDTH, 3)
    assert output.alphas.shape == output.depth.shape == output.inverse_depth.shape == (HEIGHT, WIDTH)
    assert output.radii.shape == (NUM,)
    assert output.radii.dtype == torch.int32
    assert output.means2d.shape == (NUM, 2)
    assert output.means2d.grad is None


def test_two_backward_passes_add_up_in_the_holder(library):
    parameters, view = raw_scene()
    output = backend.render_gaussians(with_gradients(parameters), view)
    output.colors.sum().backward(retain_graph=True)
    once = output.means2d.grad.clone()
    output.colors.sum().backward()
    torch.testing.assert_close(output.means2d.grad, 2 * once)


def test_it_works_without_gradients(library):
    parameters, view = raw_scene()
    with torch.no_grad():
        assert not backend.render_gaussians(parameters, view).means2d.requires_grad


def test_gaussians_at_the_camera_plane_have_finite_gradients(library):
    parameters, view = raw_scene()
    parameters.means[0] = torch.tensor([0.1, 0.2, -2.0])
    leaves = with_gradients(parameters)
    backend.render_gaussians(leaves, view).inverse_depth.sum().backward()
    assert torch.isfinite(leaves.means.grad).all()


def test_rasterization_is_passed_on_unchanged(library):
    values = torch.randn(2, 3)
    arguments = (values, torch.randn(2, 4), values.exp(), torch.rand(2), values, torch.eye(4)[None], torch.eye(3)[None])
    found = backend.rasterization(*arguments, 8, 6, render_mode="D", near_plane=0.5)
    expected = reference.rasterization(*arguments, 8, 6, render_mode="D", near_plane=0.5)
    torch.testing.assert_close(found[:2], expected[:2])
    assert all(given is passed for given, passed in zip(arguments, library["args"], strict=False))
    assert library["kwargs"] == {"render_mode": "D", "near_plane": 0.5}


# What is said when it cannot run


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    backend._compiled.cache_clear()
    yield
    backend._compiled.cache_clear()


def test_tensors_on_a_cpu_are_refused_with_the_cure():
    parameters, view = raw_scene()
    message = "the Gaussians are on cpu; use --backend cpu, or move them to a card"
    with pytest.raises(BackendError, match=message):
        backend.render_gaussians(parameters, view)
    with pytest.raises(BackendError, match=message):
        backend.rasterization(*[torch.zeros(1)] * 7, 1, 1)


def test_a_missing_library_is_named_with_the_cure(monkeypatch, fresh):
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(BackendError, match="needs the gsplat library: pip install gsplat"):
        backend.load_library(torch.device("cuda"))


def standing_backend(monkeypatch, kernels: Any) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", ModuleType("gsplat"))
    monkeypatch.setitem(sys.modules, "gsplat.cuda", ModuleType("gsplat.cuda"))
    module = ModuleType("gsplat.cuda._backend")
    if kernels != "cannot be imported":
        module._C = kernels  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", module)


def test_a_library_without_kernels_is_named_with_the_cure(monkeypatch, fresh):
    standing_backend(monkeypatch, None)
    with pytest.raises(
        BackendError, match=r"no CUDA toolkit to build them with; install the CUDA toolkit .* CUDA_HOME"
    ):
        backend.load_library(torch.device("cuda"))


def test_kernels_that_do_not_build_are_named_with_the_cure(monkeypatch, fresh):
    standing_backend(monkeypatch, "cannot be imported")
    with pytest.raises(BackendError, match=r"could not build its CUDA kernels: .*_C.*; install the CUDA toolkit"):
        backend.load_library(torch.device("cuda"))


class LongError(ModuleType):
    """Fails as a build does."""

    def __getattr__(self, name: str) -> Any:
        if name == "_C":
            raise RuntimeError("Error building extension 'gsplat_cuda'\n" + "nvcc says no\n" * 500)
        raise AttributeError(name)


def test_what_a_compiler_printed_stays_out_of_the_message(monkeypatch, fresh):
    standing_backend(monkeypatch, None)
    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", LongError("gsplat.cuda._backend"))
    with pytest.raises(
        BackendError, match="its CUDA kernels: Error building extension 'gsplat_cuda'; install"
    ) as caught:
        backend.load_library(torch.device("cuda"))
    assert "nvcc says no" not in str(caught.value)


def test_a_library_that_builds_its_kernels_at_import_does_so_announced(monkeypatch, fresh, tmp_path):
    """gsplat 1.6 does; a build that fails is no missing library."""
    package = tmp_path / "gsplat"
    package.mkdir()
    (package / "__init__.py").write_text("import os\nraise OSError('no ' + os.environ['MAX_JOBS'] + ' compilers')\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "gsplat"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MAX_JOBS", "7")
    with pytest.raises(BackendError, match="could not build its CUDA kernels: no 7 compilers; install the CUDA"):
        backend.load_library(torch.device("cuda"))


def test_a_library_with_kernels_is_used(monkeypatch, fresh):
    standing_backend(monkeypatch, object())
    assert backend.load_library(torch.device("cuda")) is sys.modules["gsplat"]
