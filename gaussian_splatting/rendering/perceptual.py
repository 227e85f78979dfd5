"""Which LPIPS there is to measure with: the network is built in, its weights have to be on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from gaussian_splatting.errors import SplatError
from gaussian_splatting.losses.lpips import FOLDER_VARIABLE, NetType, load_network, weights_path

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LpipsChoice = Literal["auto", "alex", "vgg", "none"]
Perceptual = Callable[["Tensor", "Tensor"], float]

NETWORKS: tuple[NetType, ...] = ("alex", "vgg")


def find_lpips(choice: LpipsChoice, device: str | torch.device = "cpu") -> tuple[Perceptual | None, str]:
    """A function of two pictures [3, H, W] in [0, 1] that gives their LPIPS, and the name of its network.

    "auto" takes a network whose weights are here, AlexNet before VGG, else gives None and the reason. "alex" and "vgg"
    raise SplatError when their weights are not here: nothing is ever downloaded.
    """
    if choice == "none":
        return None, "LPIPS was not asked for"
    wanted = NETWORKS if choice == "auto" else (choice,)
    for name in wanted:
        path = weights_path(name)
        if path is not None:
            return _measured_by(name, str(path), device), name
    reason = (
        f"LPIPS needs lpips_{wanted[0]}.safetensors in the folder that {FOLDER_VARIABLE} names; how to make it: "
        "python -m pydoc gaussian_splatting.losses.lpips"
    )
    if choice == "auto":
        return None, reason
    raise SplatError(reason)


def _measured_by(name: NetType, path: str, device: str | torch.device) -> Perceptual:
    from pathlib import Path

    import torch

    network = load_network(name, Path(path), torch.device(device))

    def distance(first: Tensor, second: Tensor) -> float:
        with torch.no_grad():
            return float(network(first.to(device), second.to(device)))

    return distance
