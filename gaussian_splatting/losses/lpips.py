"""LPIPS (Zhang et al. 2018, version 0.1): a perceptual distance of pictures, on AlexNet or VGG16.

The networks are built here; their weights are not ours to ship, and nothing is downloaded. They are read from a file
`lpips_alex.safetensors` or `lpips_vgg.safetensors`, given by path or found in the folder that the environment variable
LPIPS_WEIGHTS names. It is made once, on any machine, by:

    pip install lpips safetensors
    python -c "import lpips, safetensors.torch as s; n = lpips.LPIPS(net='alex').state_dict(); \
s.save_file({k: v.contiguous() for k, v in n.items() if not k.startswith('lins')}, 'lpips_alex.safetensors')"

The names in the file are those of that package, `net.slice1.0.weight` and `lin0.model.1.weight`. Those of torchvision,
`features.0.weight`, serve as well for the backbone, and `lin0.weight` for the linear layers. Other tensors are ignored.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d

from gaussian_splatting.errors import FormatError, SplatError

NetType = Literal["alex", "vgg"]
FOLDER_VARIABLE = "LPIPS_WEIGHTS"

# What the networks were trained on, as statistics of pictures with values in [-1, 1].
_MEAN = (-0.030, -0.088, -0.188)
_DEVIATION = (0.458, 0.448, 0.450)


class _Convolution(NamedTuple):
    layer: int  # its number in torchvision's list
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pooled: bool = False  # its input is pooled first
    compared: bool = False  # its output is one of the five that are compared


class _Architecture(NamedTuple):
    convolutions: tuple[_Convolution, ...]
    pool: int  # kernel size, the stride is 2
    smallest: int  # pixels


_ARCHITECTURES: dict[str, _Architecture] = {
    "alex": _Architecture(
        (
            _Convolution(0, 3, 64, 11, 4, 2, compared=True),
            _Convolution(3, 64, 192, 5, 1, 2, pooled=True, compared=True),
            _Convolution(6, 192, 384, pooled=True, compared=True),
            _Convolution(8, 384, 256, compared=True),
            _Convolution(10, 256, 256, compared=True),
        ),
        pool=3,
        smallest=31,
    ),
    "vgg": _Architecture(
        (
            _Convolution(0, 3, 64),
            _Convolution(2, 64, 64, compared=True),
            _Convolution(5, 64, 128, pooled=True),
            _Convolution(7, 128, 128, compared=True),
            _Convolution(10, 128, 256, pooled=True),
            _Convolution(12, 256, 256),
            _Convolution(14, 256, 256, compared=True),
            _Convolution(17, 256, 512, pooled=True),
            _Convolution(19, 512, 512),
            _Convolution(21, 512, 512, compared=True),
            _Convolution(24, 512, 512, pooled=True),
            _Convolution(26, 512, 512),
            _Convolution(28, 512, 512, compared=True),
        ),
        pool=2,
        smallest=16,
    ),
}


def lpips(
    x: Tensor,
    y: Tensor,
    net_type: NetType = "alex",
    version: str = "0.1",
    weights: str | os.PathLike[str] | None = None,
) -> Tensor:
    """The distance of two pictures [3, H, W] with values in [0, 1], or of each pair of two batches [B, 3, H, W] as [B].

    0 when equal. Differentiable. The network is loaded once, from `weights` or as the module says; without a file it is
    a SplatError that says which one is wanted.
    """
    if version != "0.1":
        raise SplatError(f"LPIPS version {version!r} is not supported; use version 0.1")
    path = Path(weights) if weights is not None else weights_path(net_type)
    if path is None:
        raise SplatError(
            f"LPIPS needs the weights of its network: put lpips_{net_type}.safetensors into a folder, and set "
            f"{FOLDER_VARIABLE} to that folder; `python -m pydoc gaussian_splatting.losses.lpips` says how to make it"
        )
    distances = load_network(net_type, path, x.device)(x, y)
    return distances if x.ndim == 4 else distances[0]


def weights_path(net_type: NetType) -> Path | None:
    """The weights file of a network in the folder that LPIPS_WEIGHTS names; None when it is not there."""
    _architecture(net_type)
    folder = os.environ.get(FOLDER_VARIABLE)
    path = Path(folder, f"lpips_{net_type}.safetensors") if folder else None
    return path if path is not None and path.is_file() else None


@lru_cache(maxsize=2)
def load_network(net_type: NetType, path: Path, device: torch.device) -> Lpips:
    """The network with the weights of the safetensors file `path`; FormatError when it is not such a file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path}: LPIPS weights cannot be read: {error}; make the file again") from error
    with torch.inference_mode(False):
        return Lpips(net_type, _house_names(tensors), str(path)).to(device)


class Lpips(nn.Module):
    """The distance as a module. Its tensors are `convolution{index}_weight`, `..._bias` and `linear{0 to 4}`."""

    def __init__(self, net_type: NetType, tensors: dict[str, Tensor], source: str) -> None:
        super().__init__()
        self.architecture = _architecture(net_type)
        for name, shape in _expected_shapes(self.architecture).items():
            found = tuple(tensors[name].shape) if name in tensors else None
            if found != shape:
                state = "missing" if found is None else f"{list(found)}"
                raise FormatError(
                    f"{source}: {_file_name(name)} must be {list(shape)} for LPIPS on {net_type}, but is {state}; "
                    "was the file made for this network?"
                )
            self.register_buffer(name, tensors[name].float())

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The distance [B] of pictures [B, 3, H, W] or [3, H, W] with values in [0, 1]."""
        smallest = self.architecture.smallest
        if first.shape != second.shape or first.shape[-3] != 3 or min(first.shape[-2:]) < smallest:
            raise SplatError(
                f"LPIPS compares pictures of one size, three channels and at least {smallest} pixels a side; "
                f"found {list(first.shape)} and {list(second.shape)}"
            )
        pairs = zip(self._outputs(first), self._outputs(second), strict=True)
        distances = [
            # A weighted sum over channels of squared differences, then the mean over the picture.
            ((_unit(a) - _unit(b)) ** 2 * self.get_buffer(f"linear{k}")).sum(dim=1).mean(dim=(1, 2))
            for k, (a, b) in enumerate(pairs)
        ]
        return torch.stack(distances).sum(dim=0)

    def _outputs(self, pictures: Tensor) -> list[Tensor]:
        mean, deviation = (pictures.new_tensor(values)[:, None, None] for values in (_MEAN, _DEVIATION))
        values = (2 * pictures.reshape(-1, *pictures.shape[-3:]) - 1 - mean) / deviation
        outputs = []
        for convolution in self.architecture.convolutions:
            if convolution.pooled:
                values = max_pool2d(values, self.architecture.pool, stride=2)
            weight, bias = (self.get_buffer(f"convolution{convolution.layer}_{part}") for part in ("weight", "bias"))
            values = conv2d(values, weight, bias, convolution.stride, convolution.padding).relu()
            if convolution.compared:
                outputs.append(values)
        return outputs


def _unit(features: Tensor) -> Tensor:
    # The square root of zero would have an infinite gradient; 1e-10 is the published guard of the division.
    squared = (features * features).sum(dim=1, keepdim=True)
    length = torch.where(squared > 0, squared, 1).sqrt() * (squared > 0)
    return features / (length + 1e-10)


def _architecture(net_type: str) -> _Architecture:
    if net_type not in _ARCHITECTURES:
        raise SplatError(f"there is no LPIPS network {net_type!r}; use one of {', '.join(_ARCHITECTURES)}")
    return _ARCHITECTURES[net_type]


def _expected_shapes(architecture: _Architecture) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for convolution in architecture.convolutions:
        shapes[f"convolution{convolution.layer}_weight"] = (
            convolution.outputs,
            convolution.inputs,
            convolution.kernel,
            convolution.kernel,
        )
        shapes[f"convolution{convolution.layer}_bias"] = (convolution.outputs,)
    compared = [convolution.outputs for convolution in architecture.convolutions if convolution.compared]
    return shapes | {f"linear{k}": (1, outputs, 1, 1) for k, outputs in enumerate(compared)}


_FILE_NAMES = (
    (re.compile(r"(?:net\.slice\d\.|features\.)(\d+)\.(weight|bias)"), r"convolution\1_\2"),
    (re.compile(r"lin(\d)\.(?:model\.1\.)?weight"), r"linear\1"),
)


def _house_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a weights file under the names of `Lpips`, without those that it does not use."""
    return {
        match.expand(name): tensor
        for key, tensor in tensors.items()
        for pattern, name in _FILE_NAMES
        if (match := pattern.fullmatch(key))
    }


def _file_name(name: str) -> str:
    """What a tensor of `Lpips` is called in the file, for messages."""
    layer, _, part = name.removeprefix("convolution").partition("_")
    return f"features.{layer}.{part}" if part else f"lin{name.removeprefix('linear')}.model.1.weight"
