"""Which views are trained on and which are held out for the test: pure functions of the sorted names."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import Literal

from gaussian_splatting.errors import SceneError

Split = Literal["all", "train", "test"]


def split_indices(
    names: Sequence[str], split: Split = "all", llffhold: int = 8, *, where: PathLike[str] | None = None
) -> list[int]:
    """The positions of `names` that belong to a split, in the order of the names.

    Every `llffhold`-th name in sorted order, the first included, is a test view (Mip-NeRF 360's convention).
    Raises SceneError when none belong to it; the message names `where` the views are from.
    """
    require_split(split, llffhold)
    order = sorted(range(len(names)), key=lambda index: names[index])
    if split == "all":
        return order
    chosen = [index for position, index in enumerate(order) if (position % llffhold == 0) == (split == "test")]
    if not chosen:
        place = "" if where is None else f"{fspath(where)}: "
        raise SceneError(f"{place}the {split} split of {len(names)} views is empty; use split='all'")
    return chosen


def require_split(split: str, llffhold: int) -> None:
    """Refuses a split that does not exist, and a stride that leaves nothing to train on."""
    if split not in ("all", "train", "test"):
        raise SceneError(f"the split must be 'all', 'train' or 'test'; found {split!r}")
    if llffhold < 2:
        raise SceneError(f"llffhold must be at least 2, so that training views remain; found {llffhold}")


def even_choice(num_views: int, most: int) -> range:
    """The positions of at most `most` of the views, evenly spread, the first among them.

    >>> list(even_choice(7, 3)), list(even_choice(2, 3))
    ([0, 3, 6], [0, 1])
    """
    return range(0, num_views, max(1, -(-num_views // most)))
