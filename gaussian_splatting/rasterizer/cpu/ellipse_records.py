"""The records that kernels blend, from ellipses that were projected elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.frame import Frame

Array = NDArray[Any]


def fill_projection(
    frame: Frame, means2d: Array, conics: Array, opacities: Array, depths: Array, colors: Array | None
) -> None:
    """Write M ellipses, all of them visible, into an empty frame: positions [M, 2], conics [M, 3], colours [M, 3].

    Conics are float64: the size of a needle is the difference of nearly equal products.
    """
    num, projection = len(means2d), frame.projection
    records = projection.records.reshape(num, layout.LANES)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for field, values in _fields(means2d, conics, opacities, depths).items():
            records[:, field] = values
    records[:, layout.RED : layout.BLUE + 1] = 0.0 if colors is None else colors
    projection.depth_bits[:] = records[:, layout.DEPTH].copy().view(np.int32)
    projection.ids[:] = np.arange(num, dtype=np.int32)
    rows = _row_ranges(records[:, layout.MEAN_Y], records[:, layout.EXTENT_Y], frame.num_rows)
    frame.spans.rows[:] = rows
    for chunk in range(projection.counts.size):
        own = rows[chunk * layout.PROJECT_CHUNK : (chunk + 1) * layout.PROJECT_CHUNK]
        projection.counts[chunk], frame.spans.num_rows[chunk] = own.size, (own & 0xFFFF).sum(dtype=np.int64)


def _fields(means2d: Array, conics: Array, opacities: Array, depths: Array) -> dict[int, Array]:
    a, b, c = conics.T
    determinant = 1 / (a * c - b * b)  # of the covariance
    xx, xy, yy = c * determinant, -b * determinant, a * determinant
    log_opacity = np.log2(opacities)
    halvings = np.maximum(log_opacity + layout.LOG2_255, 0.0)
    reach = np.sqrt(halvings * (2.0001 * layout.LN_2) + 1e-4)  # a little enlarged, as in `project`
    extent_y = reach * np.sqrt(yy)
    return {
        layout.MEAN_X: means2d[:, 0],
        layout.MEAN_Y: means2d[:, 1],
        layout.CONIC_XX: 0.5 * layout.LOG2_E * a,
        layout.CONIC_XY: layout.LOG2_E * b,
        layout.CONIC_YY: 0.5 * layout.LOG2_E * c,
        layout.LOG_OPACITY: log_opacity,
        layout.DEPTH: depths,
        layout.PEAK_Y: reach * xy / np.sqrt(xx),
        layout.SLOPE_X: xy / yy,
        layout.HALF_WIDTH: reach * np.sqrt(determinant / yy),
        layout.INVERSE_EXTENT_Y: 1 / extent_y,
        layout.EXTENT_Y: extent_y,
        layout.INVERSE_DEPTH: 1 / depths,
    }


def _row_ranges(mean_y: Array, extent_y: Array, num_rows: int) -> Array:
    """The rows of tiles that each ellipse touches, as `binning.row_range` finds them."""
    edge, half = np.float32(layout.TILE), np.float32(0.5)
    above = np.clip((mean_y - extent_y + half - edge) / edge, -1, num_rows)
    below = np.clip((mean_y + extent_y - half) / edge, -1, num_rows)
    first = np.maximum(0, num_rows - (num_rows - above).astype(np.int32))
    last = np.minimum(num_rows - 1, (below + 1).astype(np.int32) - 1)
    return (first << 16) | np.maximum(0, last - first + 1)
