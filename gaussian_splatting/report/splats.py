"""What the report shows of the splat itself: histograms, and a viewer in a frame of its own."""

from __future__ import annotations

from html import escape

import numpy as np

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.gaussian_arrays import GaussianArrays
from gaussian_splatting.report.histograms import histograms
from gaussian_splatting.runs.folder import RunFolder

MOST_SHOWN = 150_000
"""Gaussians in the viewer of the page; more are in the splat file."""

HIGHEST_DEGREE = 1
"""The SH degree in the viewer: three more coefficients for each channel cost as much as everything else."""


def splat_sections(folder: RunFolder) -> str:
    """The viewer and the histograms of the newest splat; nothing where there is none that can be read."""
    from gaussian_splatting.io.formats import read_splats

    if not folder.iterations():
        return ""
    try:
        gaussians = read_splats(folder.point_cloud(folder.newest_iteration())).gaussians
        return viewer(folder, gaussians) + histograms(gaussians)
    except SplatError:
        return ""


def viewer(folder: RunFolder, gaussians: GaussianArrays) -> str:
    """A frame with the offline viewer. It runs scripts of its own, shut off from the page around it."""
    from gaussian_splatting.html_viewer import first_view, page_text

    shown = most_visible(gaussians, MOST_SHOWN)
    source = folder.path if folder.cameras.is_file() else None
    antialiased = folder.settings().get("antialiased") is True
    view = first_view(gaussians, source)
    text = page_text(folder.report, shown, view=view, title="splat", antialiased=antialiased)
    some = "" if len(shown) == len(gaussians) else f" {len(shown):,} of {len(gaussians):,} Gaussians, the most visible;"
    about = f"Left drag rotates, right drag pans, space turns;{some} colours up to SH degree {shown.sh_degree}."
    return (
        f'<h2>Look around</h2><p>{about}</p><iframe class="card" title="viewer" sandbox="allow-scripts" '
        f'allowfullscreen srcdoc="{escape(text)}"></iframe>'
    )


def most_visible(gaussians: GaussianArrays, number: int) -> GaussianArrays:
    """The Gaussians that fill most of pictures, at most `number` of them, with the harmonics that the page keeps."""
    from gaussian_splatting.io.gaussian_arrays import with_sh_degree
    from gaussian_splatting.io.splat import visibility

    few = with_sh_degree(gaussians, min(gaussians.sh_degree, HIGHEST_DEGREE))
    if len(few) <= number:
        return few
    return few.select(np.sort(np.argsort(-visibility(few), kind="stable")[:number]))
