"""Photos or a video to a scene that `train` reads: `convert_scene`, and `python -m gaussian_splatting.convert`."""

from __future__ import annotations

from gaussian_splatting.convert.command import main
from gaussian_splatting.convert.options import ConvertOptions
from gaussian_splatting.convert.pipeline import Conversion, convert_scene

__all__ = ["Conversion", "ConvertOptions", "convert_scene", "main"]
