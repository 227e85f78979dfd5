"""Random draws and the order of views as functions of (seed, step, purpose): a resumed run draws the same."""

from __future__ import annotations

import functools
import hashlib

import torch


def generator(seed: int, step: int, purpose: str) -> torch.Generator:
    """A CPU generator that depends on its three arguments only."""
    return torch.Generator().manual_seed(_number(seed, step, purpose))


def normal(shape: tuple[int, ...], device: torch.device, seed: int, step: int, purpose: str) -> torch.Tensor:
    """Standard normal draws that depend on the arguments only: those of `generator`, but a card draws its own.

    For draws in every step, where those of a CPU would take as long as the step. Equal cards draw the same.
    """
    if device.type != "cuda":
        return torch.randn(shape, generator=generator(seed, step, purpose)).to(device)
    own = torch.Generator(device).manual_seed(_number(seed, step, purpose))
    return torch.randn(shape, generator=own, device=device)


def _number(seed: int, step: int, purpose: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{step}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def view_of_step(seed: int, step: int, num_views: int) -> int:
    """The view that step `step` (1-based) of one process trains on: every epoch visits each once, in its own order."""
    epoch, position = divmod(step - 1, num_views)
    return int(_epoch_order(seed, epoch, num_views)[position])


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, num_views: int) -> torch.Tensor:
    return torch.randperm(num_views, generator=generator(seed, epoch, "views"))
