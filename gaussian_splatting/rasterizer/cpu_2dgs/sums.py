"""Sums over the sixteen pixels of a block, many at once."""

from __future__ import annotations

from typing import Any

from numba.core.extending import intrinsic

from gaussian_splatting.rasterizer.cpu.layout import LANES
from gaussian_splatting.rasterizer.cpu.simd import FLAGS, Vector, constant_vector, select, v16
from gaussian_splatting.rasterizer.cpu.simd_shuffle import shuffle
from gaussian_splatting.rasterizer.cpu_2dgs.jit import helper

is_filter_lane = constant_vector([float(lane % 4 >= 2) for lane in range(LANES)])


def _halves(step: int) -> Any:
    """Make a function that adds lanes `step` apart: of `first` where bit `step` of the lane is clear, else `second`."""
    low = [lane if not lane & step else LANES + lane - step for lane in range(LANES)]
    high = [lane + step if not lane & step else LANES + lane for lane in range(LANES)]

    @intrinsic
    def add(typing_context: Any, first: Any, second: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            parts = shuffle(builder, args[0], args[1], low), shuffle(builder, args[0], args[1], high)
            return builder.fadd(*parts, flags=FLAGS)

        return v16(v16, v16), emit

    return add


add_1, add_2, add_4, add_8 = (_halves(step) for step in (1, 2, 4, 8))


@helper
def sum_rows(a: Vector, b: Vector, c: Vector, d: Vector) -> Vector:
    """Sums over each row of four pixels, of four values: lane 4 row + value."""
    return add_2(add_1(a, b), add_1(c, d))


@helper
def sum_meeting(
    g_u: Vector, g_v: Vector, g_w: Vector, f: Vector, dx: Vector, dy: Vector, fx: Vector, fy: Vector
) -> Vector:
    """The first line of a gradient record (see `layout`). dy and fy are constant along rows."""
    upper = sum_rows(g_u, g_u * dx, g_v, g_v * dx)
    lower = sum_rows(g_w, g_w * dx, f, f * fx)
    lower_dy = lower * select(is_filter_lane() > 0.0, fy, dy)
    return add_8(add_4(upper, lower), add_4(upper * dy, lower_dy))


@helper
def sum_features(
    v: Vector, depth: Vector, nx: Vector, ny: Vector, nz: Vector, r: Vector, g: Vector, b: Vector
) -> Vector:
    """The second line of a gradient record."""
    upper, middle, lower = sum_rows(v, v, v, v), sum_rows(depth, nx, ny, nz), sum_rows(r, g, b, b)
    return add_8(add_4(upper, middle), add_4(lower, lower))
