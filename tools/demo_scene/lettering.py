"""Letters as pen strokes, so that printed matter needs no font file."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

# Strokes on a grid 4 wide and 6 high; each pair of digits is x, y from the lower left.
STROKES = {
    "A": "00 26 40|12 32",
    "B": "00 06 36 45 44 33 03|33 42 41 30 00",
    "C": "45 36 16 05 01 10 30 41",
    "D": "00 06 26 44 42 20 00",
    "E": "46 06 00 40|03 33",
    "F": "46 06 00|03 33",
    "G": "45 36 16 05 01 10 30 41 43 23",
    "H": "00 06|40 46|03 43",
    "I": "10 30|16 36|20 26",
    "J": "36 31 20 10 01",
    "K": "00 06|46 03 40",
    "L": "06 00 40",
    "M": "00 06 23 46 40",
    "N": "00 06 40 46",
    "O": "10 01 05 16 36 45 41 30 10",
    "P": "00 06 36 45 44 33 03",
    "Q": "10 01 05 16 36 45 41 30 10|22 40",
    "R": "00 06 36 45 44 33 03|23 40",
    "S": "45 36 16 05 04 13 33 42 41 30 10 01",
    "T": "06 46|26 20",
    "U": "06 01 10 30 41 46",
    "V": "06 20 46",
    "W": "06 10 23 30 46",
    "X": "00 46|06 40",
    "Y": "06 23 46|23 20",
    "Z": "06 46 00 40",
    "0": "10 01 05 16 36 45 41 30 10|01 45",
    "1": "05 26 20|10 30",
    "2": "05 16 36 45 44 00 40",
    "3": "06 46 23 33 42 41 30 10 01",
    "4": "30 36 02 42",
    "5": "46 06 03 33 42 41 30 10 01",
    "6": "36 16 05 01 10 30 41 42 33 13 02",
    "7": "06 46 10",
    "8": "13 04 05 16 36 45 44 33 13 02 01 10 30 41 42 33",
    "9": "10 30 41 45 36 16 05 04 13 33 44",
    ".": "20 20",
    "-": "13 33",
    "+": "13 33|22 24",
    " ": "",
}
ADVANCE = 5.6
GRID_HEIGHT = 6.0
# fmt: off
WORDS = (
    "LIGHT", "SPLAT", "RIVER", "STONE", "ORBIT", "PAPER", "LEMON", "GRAIN", "COPPER", "WINDOW", "GARDEN", "SIGNAL",
    "HARBOUR", "ATLAS", "MARBLE", "PRISM", "CEDAR", "VIOLET", "NORTH", "TEMPO", "QUARTZ", "ISLAND", "BRIDGE",
    "JUNE", "KETTLE", "FOX", "ZEBRA", "1905", "42", "360", "7TH",
)
# fmt: on


def text_width(text: str, height: float) -> float:
    """Width in pixels of a line set at a letter height in pixels."""
    return (len(text) * ADVANCE - (ADVANCE - 4.0)) * height / GRID_HEIGHT


def write(image: np.ndarray, text: str, left: float, top: float, height: float, ink, weight: float = 0.9) -> None:
    """Draw a line of text into an [H, W, 3] image; `weight` is the pen width on the letters' grid."""
    scale = height / GRID_HEIGHT
    for number, letter in enumerate(text):
        origin = (left + number * ADVANCE * scale, top + height)
        for stroke in filter(None, STROKES[letter].split("|")):
            points = np.array([[int(pair[0]), -int(pair[1])] for pair in stroke.split()]) * scale + origin
            draw_stroke(image, points, 0.5 * weight * scale, ink)


def draw_stroke(image: np.ndarray, points: np.ndarray, radius: float, ink) -> None:
    """Draw a round-ended polyline through points [N, 2] (x, y) in pixels, with one pixel of anti-aliasing."""
    low = np.maximum(np.floor(points.min(axis=0) - radius - 1).astype(int), 0)
    high = np.minimum(np.ceil(points.max(axis=0) + radius + 1).astype(int), [image.shape[1], image.shape[0]])
    if np.any(high <= low):
        return
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
    here = np.stack([x + 0.5, y + 0.5], axis=-1)  # [h, w, 2]
    distance = np.full(x.shape, np.inf)
    for start, end in pairwise(points):
        along = end - start
        share = np.clip((here - start) @ along / max(along @ along, 1e-9), 0.0, 1.0)
        distance = np.minimum(distance, np.linalg.norm(here - start - share[..., None] * along, axis=-1))
    cover = np.clip(radius + 0.5 - distance, 0.0, 1.0)[..., None]
    region = image[low[1] : high[1], low[0] : high[0]]
    region[...] = region * (1.0 - cover) + cover * np.asarray(ink)


def write_centred(image: np.ndarray, text: str, centre: float, top: float, height: float, ink, weight=0.9) -> None:
    """Draw a line of text around a horizontal centre in pixels."""
    write(image, text, centre - 0.5 * text_width(text, height), top, height, ink, weight)


def write_column(image, rng: np.random.Generator, box, height: float, ink, weight: float = 0.9) -> None:
    """Fill a box (left, top, right, bottom) in pixels with lines of words."""
    left, top, right, bottom = box
    while top + height <= bottom:
        line = WORDS[rng.integers(len(WORDS))]
        while True:
            longer = f"{line} {WORDS[rng.integers(len(WORDS))]}"
            if left + text_width(longer, height) > right:
                break
            line = longer
        write(image, line, left, top, height, ink, weight)
        top += 1.75 * height
