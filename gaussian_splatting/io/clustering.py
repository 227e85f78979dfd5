"""Code books: few numbers, or few rows, that stand for many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.io.ply_gaussians import Floats

_ROUNDS = 24
_NUM_DIRECTIONS = 8


def code_book(values: Floats, size: int = 256) -> Floats:  # [size], ascending
    """Numbers with the least squared distance to `values`: Lloyd's k-means, on the sorted values.

    Sorting makes a round cost as much as the code book is long, not the values.
    """
    ordered = np.sort(values, axis=None).astype(np.float64)
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    # Half by rank and half by value: the middle is dense, and the ends must not be lost.
    ranks = ordered[np.linspace(0, len(ordered) - 1, size - size // 2).astype(np.intp)]
    book = np.sort(np.concatenate((ranks, np.linspace(ordered[0], ordered[-1], size // 2))))
    for _ in range(_ROUNDS):
        edges = np.searchsorted(ordered, (book[1:] + book[:-1]) / 2)
        edges = np.concatenate(([0], edges, [len(ordered)]))
        counts = np.diff(edges)
        book = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), book)
        book = np.maximum.accumulate(book)  # rounding may swap two that are nearly equal
    return book.astype(np.float32)


def nearest_in(book: Floats, values: Floats) -> NDArray[np.uint8]:
    """The index of the number of an ascending code book of at most 256 that is nearest to each value."""
    return np.searchsorted((book[1:] + book[:-1]) / 2, values).astype(np.uint8)


def palette(rows: Floats, size: int) -> tuple[Floats, NDArray[np.int64]]:  # [N, D] -> [size, D], [N]
    """Rows that stand for many, and which of them stands for each; `size` is a power of two, at most N.

    Each round cuts every group in two halves of equal number, across the principal direction along which it is widest
    (median cut, Heckbert 1982); a group is then represented by its mean. No distances are computed, so half a million
    rows take seconds where k-means takes hours.
    """
    assert size & (size - 1) == 0, "halving needs a power of two"
    assert 0 < size <= len(rows)
    projected = _principal(rows)
    order = np.arange(len(rows))
    edges = np.array([0, len(rows)])
    while len(edges) - 1 < size:
        order = _sorted_within(projected, order, edges)
        middles = (edges[:-1] + edges[1:]) // 2
        edges = np.sort(np.concatenate((edges, middles)))
    labels = np.empty(len(rows), np.int64)
    labels[order] = np.repeat(np.arange(size), np.diff(edges))
    sums = np.add.reduceat(rows[order].astype(np.float64), edges[:-1], axis=0)
    return (sums / np.diff(edges)[:, None]).astype(np.float32), labels


def _principal(rows: Floats) -> Floats:  # [N, D] -> [N, up to 8]
    """The rows along the directions in which they differ most."""
    centred = rows - rows.mean(axis=0)
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return centred @ directions[:, -_NUM_DIRECTIONS:].astype(np.float32)


def _sorted_within(points: Floats, order: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order in which every group between two edges is sorted along the axis of its largest variance."""
    starts, counts = edges[:-1], np.diff(edges)
    group = np.repeat(np.arange(len(counts)), counts)
    ordered = points[order]
    mean = np.add.reduceat(ordered, starts, axis=0) / counts[:, None]
    variance = np.add.reduceat(ordered * ordered, starts, axis=0) / counts[:, None] - mean * mean
    axis = variance.argmax(axis=1)
    along = np.take_along_axis(ordered, axis[group][:, None], 1)[:, 0]
    return order[np.lexsort((along, group))]
