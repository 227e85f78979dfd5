"""How opacities, sizes and view-dependent colours are distributed over the Gaussians, as inline SVG bars."""

from __future__ import annotations

from html import escape

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.io.gaussian_arrays import GaussianArrays
from gaussian_splatting.io.quantised import opacity_of
from gaussian_splatting.report.charts import short_number

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 340.0, 150.0, 10.0, 10.0, 22.0, 24.0
BINS = 40
SMALLEST = 1e-8


def histograms(gaussians: GaussianArrays) -> str:
    """The HTML of three histograms, two where there are no harmonics."""
    cards = [
        _card("Opacity", opacity_of(gaussians.opacity)[:, 0], (0.0, 1.0)),
        _card(
            "Size: the largest standard deviation, scene units", np.exp(np.minimum(gaussians.scaling, 80)).max(axis=1)
        ),
    ]
    if gaussians.sh_degree:
        energy = np.square(gaussians.features_rest.astype(np.float64)).sum(axis=(1, 2))
        cards.append(_card("SH energy: squares of all coefficients above degree 0", energy))
    return f'<h2>Gaussians</h2><p>How many have which value.</p><div class="triple">{"".join(cards)}</div>'


def _card(title: str, values: NDArray, limits: tuple[float, float] | None = None) -> str:
    return f'<div class="card"><h3>{escape(title)}</h3>{bars(values, limits, title)}</div>'


def bars(values: NDArray, limits: tuple[float, float] | None = None, name: str = "histogram") -> str:
    """The SVG of a histogram between limits; without them, of logarithms, between the values' own extremes."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        return '<p class="empty">no values</p>'
    middle = float(np.median(finite))
    if limits is None:
        finite = np.log10(np.maximum(finite, SMALLEST))
        low, high = (float(part) for part in np.percentile(finite, (0.1, 99.9)))
        low, high = (low - 0.5, high + 0.5) if high - low < 1e-6 else (low, high)
        ends = [short_number(10**low), short_number(10**high)]
        share = (np.log10(max(middle, SMALLEST)) - low) / (high - low)
    else:
        low, high = limits
        ends, share = [short_number(low), short_number(high)], (middle - low) / (high - low)
    counts, _ = np.histogram(np.clip(finite, low, high), BINS, (low, high))
    return _svg(counts, ends, float(np.clip(share, 0, 1)), short_number(middle), name)


def _svg(counts: NDArray, ends: list[str], share: float, middle: str, name: str) -> str:
    width, bottom = (WIDTH - LEFT - RIGHT) / BINS, HEIGHT - BOTTOM
    highest = max(1, int(counts.max()))
    parts = []
    for index, count in enumerate(counts):
        tall = (bottom - TOP) * count / highest
        title = f"<title>{count:,} Gaussians</title>"
        place = f'x="{LEFT + index * width:.1f}" y="{bottom - tall:.1f}" width="{width - 1:.1f}" height="{tall:.1f}"'
        parts.append(f'<rect class="bar" {place}>{title}</rect>')
    column = LEFT + share * (WIDTH - LEFT - RIGHT)
    anchor = "start" if share < 0.5 else "end"
    parts.append(f'<line class="ruler" x1="{column:.1f}" x2="{column:.1f}" y1="8" y2="{bottom:g}"/>')
    shift = 5 if share < 0.5 else -5
    parts.append(f'<text class="value" x="{column + shift:.1f}" y="16" text-anchor="{anchor}">median {middle}</text>')
    parts.append(f'<line class="axis" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{bottom:g}" y2="{bottom:g}"/>')
    parts.append(f'<text x="{LEFT:g}" y="{HEIGHT - 7:g}">{ends[0]}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT:g}" y="{HEIGHT - 7:g}" text-anchor="end">{ends[1]}</text>')
    return f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(name)}">{"".join(parts)}</svg>'
