"""What the train command refuses before it reads a scene or makes one of photos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaussian_splatting.cli.train_settings import run_length

if TYPE_CHECKING:
    from gaussian_splatting.trainer.base import BaseTrainer


def require_sense(arguments: argparse.Namespace, cls: type[BaseTrainer], options: dict[str, Any]) -> None:
    """Refuse what cannot be, before a scene is made of photos or read. Raises SplatError."""
    from gaussian_splatting.dataset.sizes import require_reduction
    from gaussian_splatting.errors import SplatError
    from gaussian_splatting.options import with_values
    from gaussian_splatting.trainer.rules import option_groups

    if arguments.minutes is None:
        run_length(arguments, num_views=1)
    require_reduction(arguments.resolution, arguments.image_scale)
    for path in (arguments.load_ply, arguments.init_ply, arguments.load_camera):
        if path is not None and not Path(path).exists():
            raise SplatError(f"{path}: cannot be read: No such file or directory; check the path and its permissions")
    if arguments.overwrite and Path(arguments.source).resolve().is_relative_to(Path(arguments.destination).resolve()):
        raise SplatError(
            f"{arguments.destination}: holds the scene {arguments.source}, which --overwrite would move aside with the "
            "run; choose another -d"
        )
    try:
        with_values(option_groups(cls), options, cls.__name__)
    except (TypeError, ValueError) as error:
        raise SplatError(str(error)) from error


def require_room(num: int, limit: int | None, cls: type[BaseTrainer]) -> None:
    """Refuse a start with more Gaussians than --max_gaussians where nothing would cut them. Raises SplatError."""
    from gaussian_splatting.errors import SplatError
    from gaussian_splatting.prepare import limit_option

    if limit is not None and num > limit and limit_option(cls) == "densify_target_upper_bound":
        raise SplatError(
            f"--max_gaussians {limit}: the run would begin with {num} Gaussians, and densification only adds some and "
            "removes the faint and the large; start with fewer (--init random:COUNT, --init_ply), or give --preset or "
            "--mode mcmc, which cut them"
        )
