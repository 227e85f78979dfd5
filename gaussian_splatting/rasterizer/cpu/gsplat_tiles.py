"""gsplat's own tile lists, for programs that read them from `meta`. The kernels here bin differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor

LISTS = ("tiles_per_gauss", "isect_ids", "flatten_ids", "isect_offsets")


class LazyMeta(dict[str, Any]):
    """A dictionary some of whose values are computed when they are first looked at."""

    def __init__(self, values: dict[str, Any], names: tuple[str, ...], compute: Callable[[], dict[str, Any]]) -> None:
        super().__init__(values | dict.fromkeys(names))
        self._names, self._compute = names, compute

    def _complete(self) -> None:
        if self._names:
            self._names = ()
            self.update(self._compute())

    def __getitem__(self, key: str) -> Any:
        if key in self._names:
            self._complete()
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """As for a dictionary."""
        if key in self._names:
            self._complete()
        return super().get(key, default)

    def __iter__(self) -> Iterator[str]:  # a dictionary with its own iteration is copied by way of `__getitem__`
        return super().__iter__()

    def values(self) -> Any:
        """As for a dictionary."""
        self._complete()
        return super().values()

    def items(self) -> Any:
        """As for a dictionary."""
        self._complete()
        return super().items()

    def pop(self, key: str, *default: Any) -> Any:
        """As for a dictionary."""
        self._complete()
        return super().pop(key, *default)

    def copy(self) -> dict[str, Any]:
        """As for a dictionary."""
        return dict(self.items())

    def __reduce__(self) -> Any:
        return dict, (self.copy(),)


@torch.no_grad()
def tile_lists(
    means2d: Tensor, radii: Tensor, depths: Tensor, image_ids: Tensor | None, shape: tuple[int, ...], size: int
) -> dict[str, Tensor]:
    """The intersections of bounding boxes with tiles of `size` pixels, by image, tile and depth.

    Values are [..., N, X] or, with `image_ids` [nnz], packed [nnz, X]; `shape` is [..., rows of tiles, columns].
    An intersection is the image, the tile and the bits of the float32 depth in one integer, as in gsplat 1.5.3.
    """
    *images, num_rows, num_columns = shape
    counts_shape = radii.shape[:-1]
    num_images = prod(images)
    if image_ids is None:
        image_ids = torch.arange(num_images).repeat_interleave(radii.shape[-2])
    means2d, radii, depths = means2d.reshape(-1, 2), radii.reshape(-1, 2), depths.reshape(-1)
    limit = torch.tensor([num_columns, num_rows])
    low = torch.minimum(((means2d - radii) / size).floor().clamp_min(0).long(), limit)
    high = torch.minimum(((means2d + radii) / size).ceil().clamp_min(0).long(), limit)
    spans = torch.where((radii > 0).all(-1, keepdim=True), high - low, 0)
    counts = spans.prod(-1)
    owner = torch.arange(len(counts)).repeat_interleave(counts)
    number = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
    row, column = number // spans[owner, 0] + low[owner, 1], number % spans[owner, 0] + low[owner, 0]
    tile_bits = (num_rows * num_columns).bit_length()
    where = (image_ids[owner] << tile_bits) | (row * num_columns + column)
    bits = depths.float().contiguous().view(torch.int32)[owner].long() & 0xFFFFFFFF
    isect_ids, order = ((where << 32) | bits).sort(stable=True)
    per_tile = torch.zeros(num_images * num_rows * num_columns, dtype=torch.long)
    place = image_ids[owner] * num_rows * num_columns + row * num_columns + column
    per_tile.index_add_(0, place, torch.ones_like(place))
    return {
        "tiles_per_gauss": counts.reshape(counts_shape).int(),
        "isect_ids": isect_ids,
        "flatten_ids": owner[order].int(),
        "isect_offsets": (per_tile.cumsum(0) - per_tile).reshape(shape).int(),
    }
