"""One rendering, stage after stage: what the forward pass leaves behind for the backward pass, and the two passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer.cpu import (
    binning,
    blend,
    layout,
    project,
    sort,
)
from gaussian_splatting.rasterizer.cpu.arguments import (
    Gaussians,
    Images,
    Projection,
    Shape,
    Spans,
    TileLists,
)
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings
from gaussian_splatting.rasterizer.cpu.threads import get_num_threads, run
from gaussian_splatting.rasterizer.cpu.workspace import workspace

MAX_INDEX = 2**31 - 1
MAX_EDGE = 2**20


@dataclass
class Frame:
    """A rendered view and everything its gradient needs. The arrays are pooled: they live as long as the frame."""

    shape: Shape
    camera: NDArray[np.float32]
    width: int
    height: int
    background: NDArray[np.float32]
    projection: Projection
    spans: Spans
    lists: TileLists

    def to_tensors(self) -> list[Tensor]:
        """The arrays that the backward pass needs."""
        projection, spans, lists = self.projection, self.spans, self.lists
        arrays = (
            self.camera, projection.records, projection.ids, projection.counts, spans.entry_of, spans.entry_starts,
            lists.offsets, lists.slots, lists.targets, lists.blocks, lists.used
        )  # fmt: skip
        return [torch.from_numpy(array) for array in arrays]

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor], settings: RenderSettings, shape: Shape) -> Frame:
        """The frame again, without what only the forward pass needs."""
        camera, records, ids, counts, entry_of, entry_starts, *lists = (tensor.numpy() for tensor in tensors)
        integers, longs, floats = np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.float32)
        return cls(
            shape,
            camera,
            settings.width,
            settings.height,
            floats,
            Projection(records, integers, ids, counts, floats, integers, settings.radii_stride),
            Spans(integers, longs, longs, integers, integers, entry_of, longs, entry_starts),
            TileLists(*lists),
        )

    @property
    def num_columns(self) -> int:
        """Tiles per row."""
        return (self.width + layout.TILE - 1) // layout.TILE

    @property
    def num_rows(self) -> int:
        """Rows of tiles."""
        return (self.height + layout.TILE - 1) // layout.TILE


def scratch(name: str, size: int, dtype: Any = np.float32) -> NDArray[Any]:
    """A row of scratch for each thread, [threads, size]."""
    num_workers = get_num_threads()
    padded = -(-size // layout.LANES) * layout.LANES
    return workspace.take(name, num_workers * padded, dtype).reshape(num_workers, padded)


def make_camera(viewmat: Tensor, settings: RenderSettings) -> NDArray[np.float32]:
    """The camera as kernels read it (see `layout`)."""
    camera, pose, intrinsics = np.zeros(layout.CAMERA_SIZE), viewmat.detach().double().numpy(), settings.intrinsics
    rotation, translation = pose[:3, :3], pose[:3, 3]
    focal_x, focal_y = intrinsics[0, 0], intrinsics[1, 1]
    center_x, center_y = intrinsics[0, 2], intrinsics[1, 2]
    camera[layout.ROTATION : layout.ROTATION + 9] = rotation.ravel()
    camera[layout.TRANSLATION : layout.TRANSLATION + 3] = translation
    camera[[layout.FOCAL_X, layout.FOCAL_Y, layout.CENTER_X, layout.CENTER_Y]] = focal_x, focal_y, center_x, center_y
    camera[layout.POSITION : layout.POSITION + 3] = -np.linalg.solve(rotation, translation)
    # Slopes are limited to the image plus 15 % of its size on either side.
    margin_x, margin_y = 0.15 * settings.width / focal_x, 0.15 * settings.height / focal_y
    camera[layout.SLOPE_LOW_X] = -center_x / focal_x - margin_x
    camera[layout.SLOPE_HIGH_X] = (settings.width - center_x) / focal_x + margin_x
    camera[layout.SLOPE_LOW_Y] = -center_y / focal_y - margin_y
    camera[layout.SLOPE_HIGH_Y] = (settings.height - center_y) / focal_y + margin_y
    camera[[layout.BLUR, layout.NEAR, layout.FAR]] = settings.eps2d, settings.near_plane, settings.far_plane
    camera[[layout.RADIUS_CLIP, layout.SCALE_MODIFIER]] = settings.radius_clip, settings.scale_modifier
    camera[[layout.IMAGE_WIDTH, layout.IMAGE_HEIGHT]] = settings.width, settings.height
    return camera.astype(np.float32)


def render(
    gaussians: Gaussians,
    shape: Shape,
    camera: NDArray[np.float32],
    width: int,
    height: int,
    background: NDArray[np.float32],
    *,
    radii_stride: int,
    differentiable: bool = True,
) -> tuple[Frame, Images]:
    """Render one view; what only the gradient needs is left out of the frame unless it is `differentiable`.

    Raises BackendError when the Gaussians cover so many tiles that the lists cannot be indexed.
    """
    check_size(width, height)
    frame = _project(gaussians, shape, camera, width, height, background, radii_stride)
    return frame, draw(frame, differentiable=differentiable)


def check_size(width: int, height: int) -> None:
    """Raise BackendError unless the kernels can draw an image of this size."""
    if not (0 < width <= MAX_EDGE and 0 < height <= MAX_EDGE):
        raise BackendError(f"cpu rasteriser: the image is {width} x {height} pixels; give 1 to {MAX_EDGE} each way")


def draw(frame: Frame, *, differentiable: bool) -> Images:
    """Sort, bin and blend what the frame's projection holds."""
    _bin(frame, _sort(frame.projection), differentiable)
    return _blend(frame)


def _project(
    gaussians: Gaussians,
    shape: Shape,
    camera: NDArray[np.float32],
    width: int,
    height: int,
    background: NDArray[np.float32],
    radii_stride: int,
) -> Frame:
    frame = empty_frame(shape, camera, width, height, background, radii_stride)
    run(
        project.project,
        frame.projection.counts.size,
        gaussians,
        shape,
        camera,
        frame.projection,
        frame.spans,
        frame.num_rows,
        scratch("project", project.PROJECT_SCRATCH),
    )
    return frame


def empty_frame(
    shape: Shape,
    camera: NDArray[np.float32],
    width: int,
    height: int,
    background: NDArray[np.float32],
    radii_stride: int,
) -> Frame:
    """A frame with room for the projection of all Gaussians, and nothing in it."""
    num = shape.num_gaussians
    num_chunks = -(-num // layout.PROJECT_CHUNK)
    projection = Projection(
        records=workspace.take("records", num * layout.LANES),
        depth_bits=workspace.take("depth_bits", num, np.int32),
        ids=workspace.take("ids", num, np.int32),
        counts=np.zeros(num_chunks, np.int64),
        means2d=workspace.take("means2d", 2 * num),
        radii=workspace.take("radii", radii_stride * num, np.int32),
        radii_stride=radii_stride,
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
    no_indices = np.zeros(0, np.int32)
    lists = TileLists(np.zeros(1, np.int64), no_indices, no_indices, np.zeros(0, np.int64), no_indices)
    return Frame(shape, camera, width, height, background, projection, spans, lists)


def _sort(projection: Projection) -> NDArray[np.int64]:
    """Depth bits and slots of the visible Gaussians, nearest first."""
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(projection.counts)])
    num = int(starts[-1])
    pairs, other = workspace.take("pairs", num, np.int64), workspace.take("other_pairs", num, np.int64)
    run(sort.collect, projection.counts.size, projection.counts, starts, projection.depth_bits, pairs)
    size, num_chunks = sort_chunks(num)
    histogram = workspace.take("histogram", num_chunks * sort.DIGITS, np.int64)
    for number in range(sort.NUM_PASSES):
        shift = 32 + number * sort.DIGIT_BITS
        run(sort.count_pass, num_chunks, num_chunks, size, num, shift, pairs, histogram)
        sort.scan_digits(num_chunks, histogram)
        run(sort.scatter_pass, num_chunks, num_chunks, size, num, shift, pairs, other, histogram)
        pairs, other = other, pairs
    return pairs


def sort_chunks(num: int) -> tuple[int, int]:
    """Size and number of the chunks in which `num` Gaussians are sorted and binned."""
    num_chunks = min(layout.MAX_SORT_CHUNKS, -(-num // layout.SORT_CHUNK))
    return (-(-num // num_chunks), num_chunks) if num_chunks else (1, 0)


def _bin(frame: Frame, pairs: NDArray[np.int64], differentiable: bool) -> None:
    """Fill in the frame's spans and lists."""
    projection, spans = frame.projection, frame.spans
    np.cumsum(spans.num_rows, out=spans.starts[1:])
    num_spans = check_index(int(spans.starts[-1]), "rows of tiles")
    spans = spans._replace(columns=workspace.take("columns", num_spans, np.int32))
    run(binning.find_spans, projection.counts.size, projection.counts, projection.records, spans, frame.num_columns)
    np.cumsum(spans.num_entries, out=spans.entry_starts[1:])
    num_entries = check_index(int(spans.entry_starts[-1]), "tiles")

    num_tiles = frame.num_columns * frame.num_rows
    size, num_chunks = sort_chunks(pairs.size)
    table = workspace.take("tile_table", num_chunks * num_tiles, np.int32).reshape(num_chunks, num_tiles)
    lists = TileLists(
        offsets=np.zeros(num_tiles + 1, np.int64),
        slots=workspace.take("slots", num_entries, np.int32),
        targets=workspace.take("targets", num_entries, np.int32) if differentiable else np.zeros(0, np.int32),
        blocks=workspace.take("blocks", num_entries, np.int64) if differentiable else np.zeros(0, np.int64),
        used=np.zeros(num_tiles, np.int32),
    )
    run(binning.count_entries, num_chunks, size, pairs.size, pairs, spans, frame.num_columns, table)
    binning.scan_entries(table, lists.offsets)
    run(binning.fill_lists, num_chunks, size, pairs.size, pairs, spans, frame.num_columns, table, lists)
    frame.spans, frame.lists = spans, lists


def check_index(count: int, what: str) -> int:
    """The count, when 32 bits can hold it.

    Raises BackendError otherwise.
    """
    if count > MAX_INDEX:
        raise BackendError(
            f"cpu rasteriser: the Gaussians of this view touch {count} {what}, more than {MAX_INDEX}; "
            "most of them cover the whole image: reduce their scales, the resolution, or their number"
        )
    return count


def _blend(frame: Frame) -> Images:
    num_pixels = frame.width * frame.height
    images = Images(
        colors=workspace.take("colors", 3 * num_pixels),
        alphas=workspace.take("alphas", num_pixels),
        depths=workspace.take("depths", num_pixels),
        inverse_depths=workspace.take("inverse_depths", num_pixels),
        transmittances=workspace.take("transmittances", num_pixels),
    )
    run(
        blend.blend,
        frame.lists.used.size,
        frame.width,
        frame.height,
        frame.projection.records,
        frame.background,
        frame.lists,
        images,
        scratch("blend", blend.BLEND_SCRATCH),
        scratch("blend_bits", blend.BIT_SCRATCH, np.int64),
    )
    return images
