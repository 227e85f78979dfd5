"""Which pairs of pictures are compared: all of few, neighbours of films, and of many those that look alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]

EXHAUSTIVE_PHOTOS = 100
"""Up to here every photo is compared with every other."""
EXHAUSTIVE_FRAMES = 40
OVERLAP = 12
"""A frame is compared with this many that follow, and with others at distances of powers of two."""
PARTNERS = 30
"""Pictures that look alike, per picture."""
LEAST_SIMILAR = 3
_RATIO = 0.8


def strategy(matcher: str, num_pictures: int, is_sequence: bool) -> tuple[str, ...]:
    """The ways of choosing pairs that a matcher stands for: names of functions below; their pairs are joined."""
    if matcher != "auto":
        return (matcher,)
    if num_pictures <= (EXHAUSTIVE_FRAMES if is_sequence else EXHAUSTIVE_PHOTOS):
        return ("exhaustive",)
    # Where a film comes back to a place, only looks tell.
    return ("sequential", "preselected") if is_sequence else ("preselected",)


def exhaustive(num_pictures: int) -> list[Pair]:
    """Every pair."""
    return [(first, second) for first in range(num_pictures) for second in range(first + 1, num_pictures)]


def sequential(num_pictures: int, overlap: int = OVERLAP) -> list[Pair]:
    """Each picture with the next ones, and with those at distances of 16, 32, 64, … that stay within the film."""
    steps = [*range(1, overlap + 1), *(2**power for power in range(4, 12) if 2**power > overlap)]
    return sorted(
        (first, first + step) for first in range(num_pictures) for step in steps if first + step < num_pictures
    )


def preselected(similar: NDArray[np.integer], partners: int = PARTNERS) -> list[Pair]:
    """Each picture with those most similar to it, given how many of the largest features [N, N] two have in common.

    Preemptive matching of Wu, "Towards Linear-Time Incremental Structure from Motion", 3DV 2013: features of large
    scale are few and tell early which pairs overlap.
    """
    chosen: set[Pair] = set()
    for first, counts in enumerate(np.asarray(similar)):
        order = np.argsort(-counts, kind="stable")[:partners]
        chosen |= {(min(first, int(second)), max(first, int(second))) for second in order
                   if second != first and counts[second] >= LEAST_SIMILAR}  # fmt: skip
    return sorted(chosen)


def num_common(first: NDArray[np.float32], second: NDArray[np.float32]) -> int:
    """How many unit descriptors [M, 128] of two pictures are each other's nearest, and clearly nearer than others."""
    if len(first) < 2 or len(second) < 2:
        return 0
    products = first @ second.T
    forth, back = products.argmax(1), products.argmax(0)
    rows = np.arange(len(first))
    best = products[rows, forth]
    products[rows, forth] = -1
    rival = products.max(1)
    clear = (1 - best) < _RATIO**2 * (1 - rival)  # squared distances of unit vectors are 2 - 2 cos
    return int(np.count_nonzero(clear & (back[forth] == rows)))


def joined(lists: Sequence[list[Pair]]) -> list[Pair]:
    """The pairs of several lists, each once, in order."""
    return sorted(set().union(*map(set, lists)))
