"""The photometric loss as Triton kernels: SSIM of two pictures by two passes of its separable window, and back.

Pictures are [C, H, W] of any strides; maps are [C, H, W] contiguous, one after the other. A program works on a part of
one row. Nothing is added atomically: every program writes sums of its own, so that equal calls give equal bits.
"""

from __future__ import annotations

import triton
import triton.language as tl

C1 = tl.constexpr(0.01**2)
C2 = tl.constexpr(0.03**2)


@triton.jit
def along_rows(
    render, target, weights, maps, height, width, plane,
    render_c, render_h, render_w, target_c, target_h, target_w, WINDOW: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """The window along the rows: means of x, y, x x, y y and x y into five maps."""
    row = tl.program_id(0)
    channel, line = row // height, row % height
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x_row, y_row = render + channel * render_c + line * render_h, target + channel * target_c + line * target_h
    mean_x = tl.zeros((BLOCK,), tl.float32)
    mean_y = tl.zeros((BLOCK,), tl.float32)
    square_x = tl.zeros((BLOCK,), tl.float32)
    square_y = tl.zeros((BLOCK,), tl.float32)
    product = tl.zeros((BLOCK,), tl.float32)
    for tap in tl.static_range(WINDOW):  # pyright: ignore[reportGeneralTypeIssues]
        place = columns + (tap - WINDOW // 2)
        inside = (place >= 0) & (place < width)
        weight = tl.load(weights + tap)
        x = tl.load(x_row + place * render_w, mask=inside, other=0.0)
        y = tl.load(y_row + place * target_w, mask=inside, other=0.0)
        mean_x += weight * x
        mean_y += weight * y
        square_x += weight * x * x
        square_y += weight * y * y
        product += weight * x * y
    out, inside = maps + row * width + columns, columns < width
    tl.store(out, mean_x, mask=inside)
    tl.store(out + plane, mean_y, mask=inside)
    tl.store(out + 2 * plane, square_x, mask=inside)
    tl.store(out + 3 * plane, square_y, mask=inside)
    tl.store(out + 4 * plane, product, mask=inside)


@triton.jit
def along_columns(
    render, target, weights, maps, slopes, sums, height, width, plane,
    render_c, render_h, render_w, target_c, target_h, target_w,
    WINDOW: tl.constexpr, BLOCK: tl.constexpr, WITH_SLOPES: tl.constexpr
):  # fmt: skip
    """The window along the columns: sums of |x - y| and of SSIM, and its slopes by the means of x, x x and x y."""
    row = tl.program_id(0)
    channel, line = row // height, row % height
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < width
    mean_x = tl.zeros((BLOCK,), tl.float32)
    mean_y = tl.zeros((BLOCK,), tl.float32)
    square_x = tl.zeros((BLOCK,), tl.float32)
    square_y = tl.zeros((BLOCK,), tl.float32)
    product = tl.zeros((BLOCK,), tl.float32)
    for tap in tl.static_range(WINDOW):  # pyright: ignore[reportGeneralTypeIssues]
        place = line + (tap - WINDOW // 2) + tl.zeros((BLOCK,), tl.int32)
        there = inside & (place >= 0) & (place < height)
        weight = tl.load(weights + tap)
        source = maps + (channel * height + place) * width + columns
        mean_x += weight * tl.load(source, mask=there, other=0.0)
        mean_y += weight * tl.load(source + plane, mask=there, other=0.0)
        square_x += weight * tl.load(source + 2 * plane, mask=there, other=0.0)
        square_y += weight * tl.load(source + 3 * plane, mask=there, other=0.0)
        product += weight * tl.load(source + 4 * plane, mask=there, other=0.0)
    x = tl.load(render + channel * render_c + line * render_h + columns * render_w, mask=inside, other=0.0)
    y = tl.load(target + channel * target_c + line * target_h + columns * target_w, mask=inside, other=0.0)
    luminance = 2 * mean_x * mean_y + C1
    structure = 2 * (product - mean_x * mean_y) + C2
    below_l = mean_x * mean_x + mean_y * mean_y + C1
    below_s = (square_x - mean_x * mean_x) + (square_y - mean_y * mean_y) + C2
    similarity = luminance * structure / (below_l * below_s)
    program = row * tl.num_programs(1) + tl.program_id(1)
    tl.store(sums + 2 * program, tl.sum(tl.where(inside, tl.abs(x - y), 0.0), axis=0))
    tl.store(sums + 2 * program + 1, tl.sum(tl.where(inside, similarity, 0.0), axis=0))
    if WITH_SLOPES:
        by_mean = 2 * mean_y * (structure - luminance) / (below_l * below_s)
        by_mean -= 2 * mean_x * similarity * (1 / below_l - 1 / below_s)
        out = slopes + row * width + columns
        tl.store(out, by_mean, mask=inside)
        tl.store(out + plane, -similarity / below_s, mask=inside)
        tl.store(out + 2 * plane, 2 * luminance / (below_l * below_s), mask=inside)


@triton.jit
def slopes_along_rows(slopes, weights, maps, width, plane, WINDOW: tl.constexpr, BLOCK: tl.constexpr):
    """The window along the rows of the three maps of slopes."""
    row = tl.program_id(0)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    first = tl.zeros((BLOCK,), tl.float32)
    second = tl.zeros((BLOCK,), tl.float32)
    third = tl.zeros((BLOCK,), tl.float32)
    for tap in tl.static_range(WINDOW):  # pyright: ignore[reportGeneralTypeIssues]
        place = columns + (tap - WINDOW // 2)
        inside = (place >= 0) & (place < width)
        weight = tl.load(weights + tap)
        source = slopes + row * width + place
        first += weight * tl.load(source, mask=inside, other=0.0)
        second += weight * tl.load(source + plane, mask=inside, other=0.0)
        third += weight * tl.load(source + 2 * plane, mask=inside, other=0.0)
    out, inside = maps + row * width + columns, columns < width
    tl.store(out, first, mask=inside)
    tl.store(out + plane, second, mask=inside)
    tl.store(out + 2 * plane, third, mask=inside)


@triton.jit
def gradient_along_columns(
    render, target, weights, maps, scales, gradient, height, width, plane,
    render_c, render_h, render_w, target_c, target_h, target_w, out_c, out_h, out_w,
    WINDOW: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """The window along the columns of the slopes, and from them the gradient by x; `scales` of |x - y| and of SSIM."""
    row = tl.program_id(0)
    channel, line = row // height, row % height
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < width
    first = tl.zeros((BLOCK,), tl.float32)
    second = tl.zeros((BLOCK,), tl.float32)
    third = tl.zeros((BLOCK,), tl.float32)
    for tap in tl.static_range(WINDOW):  # pyright: ignore[reportGeneralTypeIssues]
        place = line + (tap - WINDOW // 2) + tl.zeros((BLOCK,), tl.int32)
        there = inside & (place >= 0) & (place < height)
        weight = tl.load(weights + tap)
        source = maps + (channel * height + place) * width + columns
        first += weight * tl.load(source, mask=there, other=0.0)
        second += weight * tl.load(source + plane, mask=there, other=0.0)
        third += weight * tl.load(source + 2 * plane, mask=there, other=0.0)
    x = tl.load(render + channel * render_c + line * render_h + columns * render_w, mask=inside, other=0.0)
    y = tl.load(target + channel * target_c + line * target_h + columns * target_w, mask=inside, other=0.0)
    sign = tl.where(x > y, 1.0, 0.0) - tl.where(x < y, 1.0, 0.0)
    by_x = tl.load(scales) * sign + tl.load(scales + 1) * (first + 2 * x * second + y * third)
    tl.store(gradient + channel * out_c + line * out_h + columns * out_w, by_x, mask=inside)
