"""The gradient of one rendering, stage after stage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.rasterizer.cpu import blend_backward, layout, project_backward
from gaussian_splatting.rasterizer.cpu.arguments import Entries, Gaussians, Images, PixelGradients
from gaussian_splatting.rasterizer.cpu.frame import Frame, scratch
from gaussian_splatting.rasterizer.cpu.threads import run
from gaussian_splatting.rasterizer.cpu.workspace import workspace


def backward(
    frame: Frame,
    gaussians: Gaussians,
    images: Images,
    image_grads: Images,
    grads: Gaussians,
    pixel_grads: PixelGradients,
    *,
    wants_pose: bool,
) -> NDArray[np.float64]:
    """Write the gradients by the Gaussians; give the sums of the pose gradient (see `layout`), or zeros."""
    entries = entry_gradients(frame, images, image_grads, absolute_too=pixel_grads.absolute.size > 0)
    return gaussian_gradients(frame, gaussians, entries, grads, pixel_grads, wants_pose=wants_pose)


def empty_entries(frame: Frame) -> Entries:
    """Room for the gradient records of all entries."""
    num_entries = frame.lists.slots.size
    return Entries(
        records=workspace.take("gradient_records", num_entries * layout.LANES),
        contributes=workspace.take("contributes", num_entries, np.uint8),
    )


def entry_gradients(frame: Frame, images: Images, image_grads: Images, *, absolute_too: bool) -> Entries:
    """The gradient records of all entries of the tile lists."""
    entries = empty_entries(frame)
    run(
        blend_backward.blend_backward,
        frame.lists.used.size,
        frame.width,
        frame.height,
        frame.projection.records,
        frame.lists,
        images,
        image_grads,
        absolute_too,
        entries.records,
        entries.contributes,
        scratch("blend_backward", blend_backward.BACKWARD_SCRATCH),
    )
    return entries


def gaussian_gradients(
    frame: Frame,
    gaussians: Gaussians,
    entries: Entries,
    grads: Gaussians,
    pixel_grads: PixelGradients,
    *,
    wants_pose: bool,
) -> NDArray[np.float64]:
    """Write the gradients by the Gaussians from those of the entries; give the sums of the pose gradient."""
    num_chunks = frame.projection.counts.size
    pose = np.zeros((num_chunks, layout.POSE_SIZE if wants_pose else 0), np.float32)
    run(
        project_backward.project_backward,
        num_chunks,
        gaussians,
        frame.shape,
        frame.camera,
        frame.projection,
        frame.spans,
        entries,
        grads,
        pixel_grads,
        pose,
        scratch("project_backward", project_backward.BACKWARD_PROJECT_SCRATCH),
    )
    return pose.sum(0, dtype=np.float64) if wants_pose else np.zeros(layout.POSE_SIZE)
