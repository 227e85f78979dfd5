"""One rendering of surfels, stage after stage: what the forward pass leaves behind for the backward pass, and both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer.cpu import binning as cpu_binning
from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import (
    Entries,
    Gaussians,
    PixelGradients,
    Projection,
    Shape,
    Spans,
    TileLists,
)
from gaussian_splatting.rasterizer.cpu.frame import MAX_EDGE, _sort, check_index, scratch, sort_chunks
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings
from gaussian_splatting.rasterizer.cpu.threads import run
from gaussian_splatting.rasterizer.cpu.workspace import workspace
from gaussian_splatting.rasterizer.cpu_2dgs import binning, blend, blend_backward, project, project_backward
from gaussian_splatting.rasterizer.cpu_2dgs import layout as surfel
from gaussian_splatting.rasterizer.cpu_2dgs.arguments import Maps, Walk
from gaussian_splatting.rasterizer.cpu_2dgs.block_lists import COUNT_SCRATCH, LIST_SCRATCH


@dataclass
class Frame:
    """A rendered view and everything its gradient needs. The arrays are pooled: they live as long as the frame."""

    shape: Shape
    camera: NDArray[np.float32]
    width: int
    height: int
    projection: Projection
    boxes: NDArray[np.int32]
    spans: Spans
    lists: TileLists
    walk: Walk

    def to_tensors(self) -> list[Tensor]:
        """The arrays that the backward pass needs."""
        projection, spans, lists, walk = self.projection, self.spans, self.lists, self.walk
        arrays = (
            self.camera, projection.records, projection.ids, projection.counts, spans.entry_of, spans.entry_starts,
            walk.spreads, walk.median_places,
            lists.offsets, lists.slots, lists.targets, lists.blocks, lists.used
        )  # fmt: skip
        return [torch.from_numpy(array) for array in arrays]

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor], settings: RenderSettings, shape: Shape) -> Frame:
        """The frame again, without what only the forward pass needs."""
        arrays = (tensor.numpy() for tensor in tensors)
        camera, records, ids, counts, entry_of, entry_starts, spreads, median_places, *lists = arrays
        integers, longs, floats = np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.float32)
        return cls(
            shape,
            camera,
            settings.width,
            settings.height,
            Projection(records, integers, ids, counts, floats, integers, settings.radii_stride),
            integers,
            Spans(integers, longs, longs, integers, integers, entry_of, longs, entry_starts),
            TileLists(*lists),
            Walk(spreads, median_places),
        )

    @property
    def num_columns(self) -> int:
        """Tiles per row."""
        return (self.width + layout.TILE - 1) // layout.TILE

    @property
    def num_rows(self) -> int:
        """Rows of tiles."""
        return (self.height + layout.TILE - 1) // layout.TILE


def render(
    surfels: Gaussians, shape: Shape, camera: NDArray[np.float32], settings: RenderSettings,
    background: NDArray[np.float32]
) -> tuple[Frame, Maps]:  # fmt: skip
    """Render one view.

    Raises BackendError when the surfels cover so many tiles that the lists cannot be indexed.
    """
    width, height = settings.width, settings.height
    if not (0 < width <= MAX_EDGE and 0 < height <= MAX_EDGE):
        raise BackendError(
            f"cpu-2dgs rasteriser: the image is {width} x {height} pixels; give 1 to {MAX_EDGE} each way"
        )
    frame = _project(surfels, shape, camera, settings)
    _bin(frame, _sort(frame.projection))
    return frame, _blend(frame, background)


def _project(surfels: Gaussians, shape: Shape, camera: NDArray[np.float32], settings: RenderSettings) -> Frame:
    num = shape.num_gaussians
    num_chunks = -(-num // layout.PROJECT_CHUNK)
    projection = Projection(
        records=workspace.take("surfel_records", num * surfel.RECORD),
        depth_bits=workspace.take("depth_bits", num, np.int32),
        ids=workspace.take("ids", num, np.int32),
        counts=np.zeros(num_chunks, np.int64),
        means2d=workspace.take("means2d", 2 * num),
        radii=workspace.take("radii", settings.radii_stride * num, np.int32),
        radii_stride=settings.radii_stride,
    )
    spans = Spans(
        rows=workspace.take("rows", num, np.int32),
        num_rows=np.zeros(num_chunks, np.int64),
        starts=np.zeros(num_chunks + 1, np.int64),
        span_of=workspace.take("span_of", num, np.int32),
        columns=np.zeros(0, np.int32),
        entry_of=workspace.take("entry_of", num, np.int32),
        num_entries=np.zeros(num_chunks, np.int64),
        entry_starts=np.zeros(num_chunks + 1, np.int64),
    )
    no_indices, no_floats = np.zeros(0, np.int32), np.zeros(0, np.float32)
    lists = TileLists(np.zeros(1, np.int64), no_indices, no_indices, np.zeros(0, np.int64), no_indices)
    boxes = workspace.take("boxes", surfel.BOX * num, np.int32)
    walk = Walk(no_floats, no_floats)
    frame = Frame(shape, camera, settings.width, settings.height, projection, boxes, spans, lists, walk)
    table = scratch("project_surfels", project.PROJECT_SCRATCH)
    run(project.project, num_chunks, surfels, shape, camera, projection, boxes, spans, frame.num_rows, table)
    return frame


def _bin(frame: Frame, pairs: NDArray[np.int64]) -> None:
    """Fill in the frame's spans and lists."""
    projection, spans = frame.projection, frame.spans
    np.cumsum(spans.num_rows, out=spans.starts[1:])
    num_spans = check_index(int(spans.starts[-1]), "rows of tiles")
    spans = spans._replace(columns=workspace.take("columns", num_spans, np.int32))
    counts, num_columns = projection.counts, frame.num_columns
    run(binning.find_spans, counts.size, counts, projection.records, frame.boxes, spans, num_columns)
    np.cumsum(spans.num_entries, out=spans.entry_starts[1:])
    num_entries = check_index(int(spans.entry_starts[-1]), "tiles")

    num_tiles = num_columns * frame.num_rows
    size, num_chunks = sort_chunks(pairs.size)
    table = workspace.take("tile_table", num_chunks * num_tiles, np.int32).reshape(num_chunks, num_tiles)
    lists = TileLists(
        offsets=np.zeros(num_tiles + 1, np.int64),
        slots=workspace.take("slots", num_entries, np.int32),
        targets=workspace.take("targets", num_entries, np.int32),
        blocks=workspace.take("blocks", num_entries, np.int64),
        used=np.zeros(num_tiles, np.int32),
    )
    run(cpu_binning.count_entries, num_chunks, size, pairs.size, pairs, spans, num_columns, table)
    cpu_binning.scan_entries(table, lists.offsets)
    run(cpu_binning.fill_lists, num_chunks, size, pairs.size, pairs, spans, num_columns, table, lists)
    frame.spans, frame.lists = spans, lists


def _blend(frame: Frame, background: NDArray[np.float32]) -> Maps:
    num = frame.width * frame.height
    sizes = {"colors": 3, "alphas": 1, "depths": 1, "inverse_depths": 1, "normals": 3, "distortions": 1, "medians": 1}
    maps = Maps(**{name: workspace.take(name, size * num) for name, size in sizes.items()})
    frame.walk = Walk(workspace.take("spreads", num), workspace.take("median_places", num))
    run(
        blend.blend,
        frame.lists.used.size,
        frame.width,
        frame.height,
        frame.projection.records,
        frame.boxes,
        background,
        frame.lists,
        maps,
        frame.walk,
        scratch("blend_surfels", blend.BLEND_SCRATCH),
        scratch("blend_counts", COUNT_SCRATCH, np.int64),
        scratch("blend_queues", LIST_SCRATCH, np.uint16),
    )
    return maps


def backward(
    frame: Frame, surfels: Gaussians, maps: Maps, map_grads: Maps, grads: Gaussians, pixel_grads: PixelGradients,
    *, wants_pose: bool
) -> NDArray[np.float64]:  # fmt: skip
    """Write the gradients by the surfels; give the sums of the pose gradient (see `cpu.layout`), or zeros."""
    num_entries = frame.lists.slots.size
    entries = Entries(
        records=workspace.take("surfel_gradient_records", num_entries * surfel.RECORD),
        contributes=workspace.take("contributes", num_entries, np.uint8),
    )
    num_chunks = frame.projection.counts.size
    pose = np.zeros((num_chunks, layout.POSE_SIZE if wants_pose else 0), np.float32)
    run(
        blend_backward.blend_backward,
        frame.lists.used.size,
        frame.width,
        frame.height,
        frame.projection.records,
        frame.lists,
        maps,
        frame.walk,
        map_grads,
        entries.records,
        entries.contributes,
        scratch("blend_surfels_backward", blend_backward.BACKWARD_SCRATCH),
        scratch("blend_counts", COUNT_SCRATCH, np.int64),
        scratch("blend_queues", LIST_SCRATCH, np.uint16),
    )
    run(
        project_backward.project_backward,
        num_chunks,
        surfels,
        frame.shape,
        frame.camera,
        frame.projection,
        frame.spans,
        entries,
        grads,
        pixel_grads,
        pose,
        scratch("project_surfels_backward", project_backward.SCRATCH),
    )
    return pose.sum(0, dtype=np.float64) if wants_pose else np.zeros(layout.POSE_SIZE)
