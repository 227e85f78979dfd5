"""The groups of arrays and numbers that kernels take, so that a call reads as a sentence. Arrays are flat."""

from __future__ import annotations

from typing import NamedTuple

from gaussian_splatting.rasterizer.cpu.simd import Array

PLAIN_COLORS = -1
"""In place of a spherical-harmonics degree: the colours are given as they are, unclamped."""


class Gaussians(NamedTuple):
    """N Gaussians, or the gradients with respect to them. A field that is not wanted has size 0."""

    means: Array  # float32 [N * 3]
    quats: Array  # float32 [N * 4]
    scales: Array  # float32 [N * 3], logarithms when raw
    opacities: Array  # float32 [N], logits when raw
    dc: Array  # float32, three per Gaussian, `dc_stride` apart
    rest: Array  # float32, three per further coefficient, Gaussians `rest_stride` apart


class Shape(NamedTuple):
    """How to read the arrays of `Gaussians`."""

    num_gaussians: int
    dc_stride: int
    rest_stride: int
    num_rest: int  # coefficients per channel stored in `rest`
    degree: int  # active spherical-harmonics degree, or PLAIN_COLORS
    raw: bool  # scales are logarithms, opacities are logits
    antialiased: bool


class Projection(NamedTuple):
    """The visible Gaussians of a view, in memory order: each chunk owns PROJECT_CHUNK slots and fills the first."""

    records: Array  # float32 [slots * 16], see `layout`
    depth_bits: Array  # int32 [slots], ordered as the depths are
    ids: Array  # int32 [slots], index of the Gaussian
    counts: Array  # int64 [chunks], filled slots
    means2d: Array  # float32 [N * 2] pixels, 0 where not visible
    radii: Array  # int32 [N * radii_stride] pixels, 0 where not visible
    radii_stride: int  # 1: the larger radius, 2: both


class Spans(NamedTuple):
    """The tiles that each visible Gaussian touches, row by row, and their place among all entries in memory order."""

    rows: Array  # int32 [slots], first row of tiles times 65536 plus number of rows
    num_rows: Array  # int64 [chunks], rows of all Gaussians of a projection chunk
    starts: Array  # int64 [chunks + 1], first span of each chunk
    span_of: Array  # int32 [slots], first span of each Gaussian
    columns: Array  # int32 [spans], first column times 65536 plus the column behind the last
    entry_of: Array  # int32 [slots], first entry of each Gaussian, counted within its chunk
    num_entries: Array  # int64 [chunks]
    entry_starts: Array  # int64 [chunks + 1], first entry of each chunk


class TileLists(NamedTuple):
    """For each tile the Gaussians that touch it, nearest first."""

    offsets: Array  # int64 [tiles + 1], first entry of each tile
    slots: Array  # int32 [entries]
    targets: Array  # int32 [entries], where the gradient record of the entry goes
    blocks: Array  # int64 [entries], bit b: the Gaussian contributed to block b of the tile
    used: Array  # int32 [tiles], entries looked at before all pixels were finished


class Images(NamedTuple):
    """What is rendered, or its gradients. A gradient that is zero everywhere has size 0."""

    colors: Array  # float32 [H * W * 3], background included
    alphas: Array  # float32 [H * W]
    depths: Array  # float32 [H * W], sum of w z over alpha
    inverse_depths: Array  # float32 [H * W], sum of w / z
    transmittances: Array  # float32 [H * W], the part of the background that is seen


class PixelGradients(NamedTuple):
    """Gradients with respect to the pixel positions of the Gaussians. A field that is not wanted has size 0."""

    means2d: Array  # float32 [N * 2]
    absolute: Array  # float32 [N * 2], sums of magnitudes over pixels


class Entries(NamedTuple):
    """Gradient records of all entries in memory order, and whether each was written."""

    records: Array  # float32 [entries * 16]
    contributes: Array  # uint8 [entries]
