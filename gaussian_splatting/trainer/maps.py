"""What the features have to work with: masks and depth maps of the views, and what the renderer gives. Said once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.rasterizer import get_backend, resolve_backend

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.gaussian_model import GaussianModel

log = logging.getLogger("gaussian_splatting")


def say_depth_maps(dataset: CameraDataset | None) -> None:
    """Say when no view, or not every view, has a depth map."""
    if dataset is None:
        return
    total, found = len(dataset), sum(dataset.has_depth(index) for index in range(len(dataset)))
    if found == 0:
        log.info(
            "no view has a depth map (depths/<image name>.tiff or .png beside images, when they are read): "
            "training goes without depth regularisation"
        )
    elif found < total:
        log.info("%d of %d views have a depth map; the others train without depth regularisation", found, total)


def say_masks(dataset: CameraDataset | None, mask_mode: str) -> None:
    """Warn when image masks are to be used and no view, or not every view, has one."""
    if dataset is None or mask_mode == "none":
        return
    total, found = len(dataset), sum(dataset.has_mask(index) for index in range(len(dataset)))
    if found < total:
        which = "no view has" if found == 0 else f"{total - found} of {total} views do not have"
        warnings.warn(
            f"mask_mode is {mask_mode!r}, but {which} an image mask (images/<name>_mask.png or .tiff, or an alpha "
            "channel); a view without a mask is used as a whole",
            stacklevel=3,
        )


def require_outputs(model: GaussianModel, names: Iterable[str], feature: str) -> None:
    """Raise TrainingError when the model's renderer does not give what a feature reads from `out`.

    A backend declares what it gives beyond colour and depth as `EXTRAS`, a set of keys.
    """
    name = resolve_backend(model.backend, model.get_xyz.device)
    backend = get_backend(name)
    missing = sorted(set(names) - set(getattr(backend, "EXTRAS", ())))
    if missing:
        raise TrainingError(
            f"{feature} needs a renderer that gives {', '.join(missing)}; {name!r} does not. "
            "Use a surface splatting backend: --backend gsplat-2dgs on CUDA, --backend cpu-2dgs elsewhere"
        )


def require_absolute_gradients(model: GaussianModel) -> None:
    """Raise TrainingError when the model's renderer does not give sums of absolute screen gradients."""
    name = resolve_backend(model.backend, model.get_xyz.device)
    if not getattr(get_backend(name), "ABSOLUTE_GRADIENTS", False):
        raise TrainingError(
            f"absolute gradients need a renderer that sums them; {name!r} does not. Use --backend cpu, or leave the "
            "feature out"
        )
