"""LPIPS on random weights: the real architectures against a network put together from torch's own layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.losses.lpips import FOLDER_VARIABLE, load_network, lpips, weights_path

# The outputs that are compared, as torchvision numbers its layers.
TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}
CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


def backbone(net_type: str) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    if net_type == "alex":
        layers += [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
        layers += [nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
        for inputs, outputs in ((192, 384), (384, 256), (256, 256)):
            layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.ReLU()]
    else:
        inputs = 3
        for outputs in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512):
            layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.ReLU()] if outputs else [nn.MaxPool2d(2, 2)]
            inputs = outputs or inputs
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.normal_(layer.bias, std=0.1)
    return nn.Sequential(*layers).requires_grad_(False)


def linear_weights(net_type: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(1, channels, 1, 1, generator=generator) for channels in CHANNELS[net_type]]


def slow_distance(net_type: str, x: Tensor, y: Tensor) -> Tensor:
    layers, total = backbone(net_type).double(), torch.zeros(())
    mean = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64)[:, None, None]
    deviation = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float64)[:, None, None]
    a, b = ((2 * picture.double()[None] - 1 - mean) / deviation for picture in (x, y))
    weights = iter(linear_weights(net_type))
    for index, layer in enumerate(layers):
        a, b = layer(a), layer(b)
        if index in TAPS[net_type]:
            difference = nn.functional.normalize(a, eps=1e-20) - nn.functional.normalize(b, eps=1e-20)
            total = total + nn.functional.conv2d(difference**2, next(weights).double()).mean()
    return total


def file_of_package(net_type: str) -> dict[str, Tensor]:
    """The names that the lpips package gives, with tensors that are not used."""
    starts = {"alex": (0, 2, 5, 8, 10), "vgg": (0, 4, 9, 16, 23)}[net_type]
    tensors = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)}
    for name, tensor in backbone(net_type).state_dict().items():
        part = sum(int(name.split(".")[0]) >= start for start in starts)
        tensors[f"net.slice{part}.{name}"] = tensor
    return tensors | {f"lin{k}.model.1.weight": weight for k, weight in enumerate(linear_weights(net_type))}


def file_of_torchvision(net_type: str) -> dict[str, Tensor]:
    tensors = {f"features.{name}": tensor for name, tensor in backbone(net_type).state_dict().items()}
    tensors["classifier.1.weight"] = torch.zeros(2, 2)
    return tensors | {f"lin{k}.weight": weight for k, weight in enumerate(linear_weights(net_type))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights")
    for net_type in ("alex", "vgg"):
        save_file(file_of_package(net_type), path / f"lpips_{net_type}.safetensors")
    return path


@pytest.fixture(autouse=True)
def forget_networks():
    yield
    load_network.cache_clear()


def pictures(height: int = 40, width: int = 52) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    first, second = torch.rand(2, 3, height, width, generator=generator)
    return first, second


@pytest.mark.parametrize("net_type", ["alex", "vgg"])
def test_the_distance_is_that_of_the_published_network(folder, monkeypatch, net_type):
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    x, y = pictures()
    found = lpips(x, y, net_type)
    assert found.ndim == 0
    assert float(found) == pytest.approx(float(slow_distance(net_type, x, y)), rel=1e-4)


def test_names_of_torchvision_serve_as_well(folder, tmp_path):
    save_file(file_of_torchvision("alex"), tmp_path / "mine.safetensors")
    x, y = pictures()
    expected = lpips(x, y, weights=folder / "lpips_alex.safetensors")
    torch.testing.assert_close(lpips(x, y, weights=tmp_path / "mine.safetensors"), expected)


def test_a_picture_has_no_distance_to_itself(folder):
    x, _ = pictures()
    assert float(lpips(x, x, weights=folder / "lpips_alex.safetensors")) == 0


def test_a_batch_gives_a_distance_for_each_pair(folder):
    x, y = pictures()
    file = folder / "lpips_alex.safetensors"
    together = lpips(torch.stack([x, x]), torch.stack([y, x]), weights=file)
    assert together.shape == (2,)
    torch.testing.assert_close(together, torch.stack([lpips(x, y, weights=file), torch.tensor(0.0)]))


def test_black_pictures_have_finite_gradients(folder):
    x = torch.zeros(3, 40, 40, requires_grad=True)
    lpips(x, torch.ones(3, 40, 40), weights=folder / "lpips_alex.safetensors").backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad != 0).any()


def test_the_gradient_points_away_from_the_other_picture(folder):
    x, y = pictures()
    x.requires_grad_()
    distance = lpips(x, y, weights=folder / "lpips_alex.safetensors")
    distance.backward()
    step = 1e-3 / x.grad.norm()
    nearer = lpips((x - step * x.grad).detach(), y, weights=folder / "lpips_alex.safetensors")
    assert nearer < distance


def test_the_network_is_read_once(folder, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    x, y = pictures()
    for _ in range(3):
        lpips(x, y)
    assert load_network.cache_info().misses == 1


# What is refused


def test_missing_weights_are_explained(monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert weights_path("vgg") is None
    with pytest.raises(
        SplatError, match=r"put lpips_vgg.safetensors into a folder, and set LPIPS_WEIGHTS to that folder"
    ):
        lpips(*pictures(), net_type="vgg")


def test_a_folder_without_the_file_is_not_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert weights_path("alex") is None


@pytest.mark.parametrize("content", [b"", b"not a safetensors file", b"\xff" * 64])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "lpips_alex.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        FormatError, match=r"lpips_alex.safetensors: LPIPS weights cannot be read: .*; make the file again"
    ):
        lpips(*pictures(), weights=path)


def test_weights_of_the_other_network_are_refused(folder):
    message = r"features.0.weight must be \[64, 3, 3, 3\] for LPIPS on vgg, but is \[64, 3, 11, 11\]; was the file made"
    with pytest.raises(FormatError, match=message):
        lpips(*pictures(), net_type="vgg", weights=folder / "lpips_alex.safetensors")


@pytest.mark.parametrize("name", ["net.slice3.6.bias", "lin4.model.1.weight"])
def test_missing_tensors_are_named(tmp_path, name):
    tensors = file_of_package("alex")
    del tensors[name]
    save_file(tensors, tmp_path / "lpips_alex.safetensors")
    known = "features.6.bias" if "slice" in name else name
    with pytest.raises(FormatError, match=f"{known} must be .* but is missing"):
        lpips(*pictures(), weights=tmp_path / "lpips_alex.safetensors")


def test_small_pictures_are_refused_and_the_smallest_are_not(folder):
    for net_type, smallest in (("alex", 31), ("vgg", 16)):
        file = folder / f"lpips_{net_type}.safetensors"
        lpips(*pictures(smallest, smallest), net_type=net_type, weights=file)
        with pytest.raises(SplatError, match=f"at least {smallest} pixels a side; found"):
            lpips(*pictures(smallest - 1, 60), net_type=net_type, weights=file)


def test_unknown_networks_and_versions_are_refused():
    with pytest.raises(SplatError, match="there is no LPIPS network 'squeeze'; use one of alex, vgg"):
        lpips(*pictures(), net_type="squeeze")
    with pytest.raises(SplatError, match=r"LPIPS version '0.0' is not supported; use version 0.1"):
        lpips(*pictures(), version="0.0")
