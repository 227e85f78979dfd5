"""Code books: few numbers, or few rows, that stand for many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.io.gaussian_arrays import Floats
from gaussian_splatting.io.quantised import Bytes

_ROUNDS = 24
_NUM_DIRECTIONS = 8
_GROUPS_AT_ONCE, _ROWS_AT_ONCE, _VALUES_AT_ONCE = 1024, 4096, 1 << 15
_BINS = 1 << 16


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


def nearest_in(book: Floats, values: Floats) -> Bytes:
    """The index of the number of an ascending code book of at most 256 that is nearest to each value [...].

    A table of equal bins knows the answer but for the few bins that hold the middle between two numbers.
    """
    middles = (book[1:] + book[:-1]) / 2
    span = float(middles[-1]) - float(middles[0]) if len(middles) else 0.0
    if not 1e-30 < span < 1e38:  # no bins within what float32 can tell apart
        return np.searchsorted(middles, values).astype(np.uint8)
    found = np.empty(values.shape, np.uint8)
    low, scale = middles[0], np.float32((_BINS - 3) / span)
    # Rounding keeps the order: what falls into a lower bin than a middle is less, in a higher one more.
    places = _bins(middles.astype(np.float32), low, scale)
    table = np.searchsorted(places, np.arange(_BINS)).astype(np.uint8)
    unsure = np.zeros(_BINS, np.bool_)
    unsure[places] = True
    flat, results = values.reshape(-1), found.reshape(-1)
    for start in range(0, len(flat), _VALUES_AT_ONCE):
        piece, result = flat[start : start + _VALUES_AT_ONCE], results[start : start + _VALUES_AT_ONCE]
        bins = _bins(piece, low, scale)
        result[:] = table[bins]
        doubtful = np.flatnonzero(unsure[bins])
        result[doubtful] = np.searchsorted(middles, piece[doubtful])
    return found


def _bins(values: Floats, low: np.float32, scale: np.float32) -> NDArray[np.int32]:
    with np.errstate(over="ignore"):
        return np.clip((values - low) * scale + 1, 0, _BINS - 1).astype(np.int32)


def palette(rows: Floats, size: int) -> tuple[Floats, NDArray[np.int64]]:  # [N, D] -> [size, D], [N]
    """Rows that stand for many, and which of them stands for each; `size` is a power of two, at most N.

    Each round cuts every group in two halves of equal number, across the principal direction along which it is widest
    (median cut, Heckbert 1982); a group is then represented by its mean. No distances are computed, so half a million
    rows take seconds where k-means takes hours.
    """
    assert size & (size - 1) == 0, "halving needs a power of two"
    assert 0 < size <= len(rows)
    columns = _principal(rows)
    order = np.arange(len(rows))
    edges = np.array([0, len(rows)])
    while len(edges) - 1 < size:
        places = _sorted_within(columns, edges)
        # Rows of one group stay near each other, so that the cache holds what is gathered.
        order, columns = order[places], [column[places] for column in columns]
        middles = (edges[:-1] + edges[1:]) // 2
        edges = np.sort(np.concatenate((edges, middles)))
    labels = np.empty(len(rows), np.int64)
    labels[order] = np.repeat(np.arange(size), np.diff(edges))
    return _means(rows, order, edges), labels


def _means(rows: Floats, order: NDArray[np.int64], edges: NDArray[np.int64]) -> Floats:  # [G, D]
    """The mean row of each group, some groups at a time: all rows in double precision would take too much memory."""
    means = np.empty((len(edges) - 1, rows.shape[1]), np.float32)
    for start in range(0, len(means), _GROUPS_AT_ONCE):
        some = edges[start : start + _GROUPS_AT_ONCE + 1]
        sums = np.add.reduceat(rows[order[some[0] : some[-1]]].astype(np.float64), some[:-1] - some[0], axis=0)
        means[start : start + _GROUPS_AT_ONCE] = sums / np.diff(some)[:, None]
    return means


def _principal(rows: Floats) -> list[Floats]:  # [N, D] -> up to 8 of [N]
    """The rows along each of the directions in which they differ most."""
    starts = range(0, len(rows), _ROWS_AT_ONCE)
    pieces = [rows[start : start + _ROWS_AT_ONCE] for start in starts]
    sums = np.stack([piece.sum(axis=0, dtype=np.float64) for piece in pieces])
    mean = (sums.sum(axis=0) / len(rows)).astype(np.float32)
    spread = np.zeros((rows.shape[1], rows.shape[1]))
    for piece in pieces:
        spread += (piece - mean).T @ (piece - mean)
    _, directions = np.linalg.eigh(spread)
    chosen = directions[:, -_NUM_DIRECTIONS:].astype(np.float32)
    return list(np.concatenate([chosen.T @ (piece - mean).T for piece in pieces], axis=1))


def _sorted_within(columns: list[Floats], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where to find the rows, every group between two edges sorted along the axis of its largest variance."""
    starts, counts = edges[:-1], np.diff(edges)
    variances = np.empty((len(columns), len(counts)), np.float32)
    for values, variance in zip(columns, variances, strict=True):
        mean = np.add.reduceat(values, starts) / counts
        variance[:] = np.add.reduceat(values * values, starts) / counts - mean * mean
    axis = variances.argmax(axis=0)
    along = np.choose(np.repeat(axis, counts), columns)
    return _sorted_places(along, starts, counts)


def _sorted_places(
    values: Floats, starts: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.int64]:  # [N] -> [N]
    """Where to find the values that are sorted group by group, equal ones in their order.

    Group, value and place in the group make one integer each: sorting those is much faster than sorting places by two
    keys, and gives the same.
    """
    bits = (values + np.float32(0)).view(np.uint32)  # -0 is 0
    rising = bits ^ np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))  # sorts as the floats do
    width = np.uint64(int(counts.max() - 1).bit_length())
    first = np.repeat(starts, counts)
    keys = np.repeat(np.arange(len(starts), dtype=np.uint64), counts) << (np.uint64(32) + width)
    keys |= rising.astype(np.uint64) << width
    keys |= (np.arange(len(values)) - first).astype(np.uint64)
    keys.sort()
    return first + (keys & ((np.uint64(1) << width) - np.uint64(1))).astype(np.int64)
