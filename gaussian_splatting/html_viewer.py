"""One page that shows Gaussians in any browser with WebGL 2, without a server and without the network.

The page carries the Gaussians as an `.spz` file in base64, and a viewer of its own: they are sorted by a worker on the
processor and drawn as squares by the graphics card. View-dependent colours are shown up to degree 3.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.gaussian_arrays import GaussianArrays, with_sh_degree
from gaussian_splatting.io.spz_writer import spz_bytes
from gaussian_splatting.io.storage import write_atomically
from gaussian_splatting.splat_editing import middle, size_of

__all__ = ["FirstView", "first_view", "page_text", "write_page"]

_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = ("viewer_decode.js", "viewer_shaders.js", "viewer_renderer.js", "viewer_camera.js", "viewer_main.js")
_LARGEST_DEGREE = 3
_UP_OF_PLY = (0.0, -1.0, 0.0)


@dataclass(frozen=True)
class FirstView:
    """Where the viewer starts: in the axes of the Gaussians."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    """What it looks at, and turns about."""
    up: tuple[float, float, float] = _UP_OF_PLY
    field_of_view_degrees: float = 50.0
    """From the top of the window to the bottom."""


def write_page(
    path: str | os.PathLike[str],
    gaussians: GaussianArrays,
    *,
    view: FirstView | None = None,
    title: str | None = None,
    antialiased: bool = False,
) -> None:
    """Writes the page; about 20 bytes for each Gaussian, and 15 to 60 more with spherical harmonics."""
    text = page_text(path, gaussians, view=view, title=title, antialiased=antialiased)
    write_atomically(path, text.encode("utf-8"))


def page_text(
    path: str | os.PathLike[str],
    gaussians: GaussianArrays,
    *,
    view: FirstView | None = None,
    title: str | None = None,
    antialiased: bool = False,
) -> str:
    """The text of the page that `write_page` writes; `path` only names it in messages, and where there is no title."""
    degree = min(gaussians.sh_degree, _LARGEST_DEGREE)
    packed = spz_bytes(path, with_sh_degree(gaussians, degree), antialiased=antialiased)
    settings = {"view": asdict(view or first_view(gaussians)), "antialiased": antialiased}
    parts = {
        "TITLE": html.escape(title or Path(path).stem),
        # `</` could end the element that holds the text.
        "SETTINGS": json.dumps(settings, allow_nan=False).replace("</", "<\\/"),
        "SORTER": _asset("viewer_sorter.js"),
        "SCRIPT": "\n".join(_asset(name) for name in _SCRIPTS),
        "SPLATS": base64.b64encode(packed).decode("ascii"),
    }
    return re.sub("%([A-Z]+)%", lambda match: parts[match[1]], _asset("viewer_page.html"))


def first_view(gaussians: GaussianArrays, source: str | os.PathLike[str] | None = None) -> FirstView:
    """The first camera of a run folder when `source` is one with `cameras.json`, else a view from the front.

    The front is where PLY files look: along z, with y down. The middle of the scene is looked at.
    """
    if source is not None and (Path(source) / "cameras.json").is_file():
        return _view_of_run(Path(source) / "cameras.json", middle(gaussians))
    centre = np.quantile(gaussians.xyz, (0.05, 0.95), axis=0).mean(axis=0)
    size = max(size_of(gaussians), 1e-6)
    distance = size / (2 * math.tan(math.radians(FirstView.field_of_view_degrees) / 2)) * 1.5
    return FirstView(_triple(centre - np.array([0, 0, distance])), _triple(centre))


def _view_of_run(path: Path, centre: NDArray[np.float64]) -> FirstView:
    """From the first camera; it looks and turns about the point before it that is nearest to the middle."""
    from gaussian_splatting.dataset.json_cameras import paths_as_given, view_of_entry
    from gaussian_splatting.dataset.strict_json import read_json

    entries = read_json(path).items()
    if not entries:
        raise FormatError(f"{path}: holds no cameras; remove it, or run the training again")
    view = view_of_entry(entries[0], paths_as_given(entries[0]))
    position, forward, up = -view.R.T @ view.T, view.R[2], -view.R[1]
    away = float(np.linalg.norm(centre - position))
    distance = max(float((centre - position) @ forward), 0.1 * away, 1e-6)
    angle = math.degrees(2 * math.atan(view.height / (2 * view.fy)))
    return FirstView(_triple(position), _triple(position + distance * forward), _triple(up), angle)


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
