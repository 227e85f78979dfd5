"""What must be set so that the same command gives the same bits on the same kind of processor, and is not held up."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from gaussian_splatting.gaussian_model import GaussianModel

MKL_BRANCH = "MKL_CBWR"


def fix_mkl_branch() -> None:
    """Ask MKL for results that depend neither on memory alignment nor on the number of threads; before torch is loaded.

    A choice that the user made stays, and so does a library that is loaded already.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault(MKL_BRANCH, "AUTO,STRICT")


@contextlib.contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Within, torch uses deterministic algorithms on the processor; on a card, where some do not exist, it does not."""
    import torch

    if device.type != "cpu":
        yield
        return
    before = torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # pyright: ignore[reportAttributeAccessIssue]
    # As use_deterministic_algorithms(True), which would first load a compiler that nothing here uses.
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # pyright: ignore[reportAttributeAccessIssue]


@contextlib.contextmanager
def cores_for_kernels(model: GaussianModel) -> Iterator[None]:
    """Within, torch computes on one thread when the model is drawn by our kernels, and as before otherwise.

    The threads of torch wait by spinning, on the cores that the kernels want: a run of the preset `fast` took 1.3 times
    as long with two of them, and three times as long beside other work.
    """
    import torch

    from gaussian_splatting.rasterizer import resolve_backend

    if not resolve_backend(model.backend, model.get_xyz.device).startswith("cpu"):
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
