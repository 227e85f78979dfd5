"""Backends by name: what auto means, and what is said about a name that nobody knows."""

import subprocess
import sys

import pytest
import torch

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer import BACKENDS, get_backend, resolve_backend


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
