"""Backends by name: what auto means, and what is said about a name that nobody knows."""

import subprocess
import sys
from argparse import Namespace

import pytest
import torch

from gaussian_splatting.cli.commands import chosen_device
from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer import BACKENDS, get_backend, require_view_options, resolve_backend
from gaussian_splatting.rasterizer.gsplat import load_library
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cuda", "gsplat"), ("cuda:1", "gsplat"), (torch.device("cuda"), "gsplat"), ("cpu", "cpu"), ("mps", "cpu")],
)
def test_auto_follows_the_device(device, expected):
    assert resolve_backend("auto", device) == expected


@pytest.mark.parametrize(("available", "expected"), [(True, "gsplat"), (False, "cpu")])
def test_auto_without_a_device_asks_torch(monkeypatch, available, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert resolve_backend("auto") == expected


@pytest.mark.parametrize(("device", "expected"), [("cuda", "gsplat-2dgs"), ("cpu", "cpu-2dgs")])
def test_auto_for_surfels_follows_the_device(device, expected):
    assert resolve_backend("auto-2dgs", device) == expected


@pytest.mark.parametrize("name", [name for name in BACKENDS if not name.startswith("auto")])
def test_a_named_backend_is_itself_on_every_device(name):
    assert resolve_backend(name, "cpu") == resolve_backend(name, "cuda") == name


@pytest.mark.parametrize("name", ["reference", "gsplat", "reference-2dgs", "cpu-2dgs", "gsplat-2dgs"])
def test_a_backend_is_a_module_with_the_two_functions(name):
    backend = get_backend(name, "cpu")
    assert callable(backend.rasterization)
    assert callable(backend.render_gaussians)


@pytest.mark.parametrize(("name", "nearest"), [("gsplatt", "gsplat"), ("referense", "reference"), ("CPU", "cpu")])
def test_an_unknown_name_is_answered_with_the_nearest(name, nearest):
    with pytest.raises(BackendError, match=f"no rasteriser backend '{name}'; did you mean .*{nearest}"):
        get_backend(name, "cpu")


def test_a_name_like_nothing_is_answered_with_all():
    with pytest.raises(BackendError, match=f"no rasteriser backend 'xyzzy'; use one of {', '.join(BACKENDS)}"):
        resolve_backend("xyzzy", "cpu")


def test_choosing_a_backend_imports_nothing_heavy():
    code = (
        "import sys; from gaussian_splatting.rasterizer import resolve_backend, get_backend\n"
        "resolve_backend('auto', 'cpu'); resolve_backend('auto', 'cuda'); get_backend('gsplat', 'cuda')\n"
        "print(sorted({'gsplat', 'numba', 'scipy', 'cv2'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "asked", "missing"),
    [
        ("cpu", {"packed": True}, "packed"), ("cpu", {"radius_clip": 2.0}, "radius_clip"),
        ("reference", {"packed": True}, "packed"), ("cpu-2dgs", {"radius_clip": 1.0}, "radius_clip"),
        ("gsplat-2dgs", {"packed": True}, "packed"), ("cpu", {"sparse_grad": True}, "sparse_grad"),
    ],
)  # fmt: skip
def test_what_a_backend_does_not_heed_is_refused_by_name(name, asked, missing):
    with pytest.raises(BackendError, match=f"the {name} backend has no {missing}; leave --{missing} out, or use"):
        require_view_options(name, **({"packed": False, "radius_clip": 0.0, "sparse_grad": False} | asked))


def test_what_a_backend_heeds_is_let_through():
    require_view_options("gsplat", packed=True, radius_clip=2.0, sparse_grad=True)
    require_view_options("reference", packed=False, radius_clip=2.0, sparse_grad=False)
    require_view_options("cpu", packed=False, radius_clip=0.0, sparse_grad=False)
    with pytest.raises(BackendError, match="a number of pixels, at least 0"):
        require_view_options("gsplat", packed=False, radius_clip=-1.0, sparse_grad=False)


@pytest.mark.parametrize("backend", ["gsplat", "gsplat-2dgs"])
def test_the_flag_and_the_call_say_the_same_without_a_card(backend):
    elsewhere = backend.replace("gsplat", "cpu")
    with pytest.raises(BackendError) as of_the_flag:
        chosen_device(Namespace(device="cpu", backend=backend))
    with pytest.raises(BackendError) as of_the_call:
        load_library(torch.device("cpu"), elsewhere)
    assert str(of_the_flag.value) == str(of_the_call.value)


def test_a_model_asks_before_it_renders():
    model, (camera, *_) = tiny_model(), TinyDataset().cameras
    model.packed = True
    with pytest.raises(BackendError, match="the cpu backend has no packed"):
        model(camera)
