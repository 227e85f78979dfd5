"""Drawing a picture of D channels and its gradient: three by the kernels of training, more by those for any number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.rasterizer.cpu import channels, channels_backward, layout
from gaussian_splatting.rasterizer.cpu.arguments import Entries, Images
from gaussian_splatting.rasterizer.cpu.entry_sums import sum_by_gaussian
from gaussian_splatting.rasterizer.cpu.frame import Frame, scratch
from gaussian_splatting.rasterizer.cpu.frame_backward import empty_entries
from gaussian_splatting.rasterizer.cpu.threads import run
from gaussian_splatting.rasterizer.cpu.workspace import workspace

COLORS = 3
"""Channels that the records of Gaussians hold."""

Floats = NDArray[np.float32]


def draw_channels(frame: Frame, transmittances: Floats, values: Floats, background: Floats) -> Floats:
    """The picture [H * W * D] of `values` [N * D] before `background` [D], from a drawn, differentiable frame."""
    picture = workspace.take("channels", frame.width * frame.height * background.size)
    run(
        channels.blend_channels,
        frame.lists.used.size,
        frame.width,
        frame.height,
        frame.projection.records,
        frame.projection.ids,
        frame.lists,
        values,
        background.size,
        background,
        transmittances,
        picture,
        scratch("channels", channels.CHANNEL_SCRATCH),
    )
    return picture


def channel_gradients(
    frame: Frame, images: Images, image_grads: Images, values: Floats, picture: Floats, picture_grad: Floats,
    *, absolute_too: bool
) -> tuple[Entries, Floats]:  # fmt: skip
    """Gradient records of all entries, and the gradient by `values` [N * D]."""
    entries, num_channels = empty_entries(frame), picture.size // (frame.width * frame.height)
    records = workspace.take("channel_records", entries.contributes.size * num_channels)
    run(
        channels_backward.blend_channels_backward,
        frame.lists.used.size,
        frame.width,
        frame.height,
        frame.projection.records,
        frame.projection.ids,
        frame.lists,
        images,
        image_grads,
        values,
        num_channels,
        picture,
        picture_grad,
        absolute_too,
        entries.records,
        records,
        entries.contributes,
        scratch("channels_backward", channels_backward.scratch_size(num_channels)),
    )
    return entries, sum_entries(frame, entries.contributes, records, num_channels)


def sum_entries(frame: Frame, contributes: NDArray[np.uint8], values: Floats, size: int) -> Floats:
    """The sums [N * size] of `values` [entries * size] over the entries of each Gaussian."""
    num = frame.shape.num_gaussians
    sums = workspace.take("entry_sums", num * size)
    chunks = frame.projection.counts.size
    run(sum_by_gaussian, chunks, num, frame.projection, frame.spans, contributes, values, size, sums)
    return sums


def record_sums(frame: Frame, entries: Entries) -> Floats:
    """The gradient records [N, 16] of all Gaussians."""
    return sum_entries(frame, entries.contributes, entries.records, layout.LANES).reshape(-1, layout.LANES)
