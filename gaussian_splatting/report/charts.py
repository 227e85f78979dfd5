"""Line charts as inline SVG: axes with round numbers, the spread of what was averaged, the last value written out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 520.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 64.0, 12.0, 26.0
LABEL_GAP = 14.0
MOST_POINTS = 80

Point = tuple[float, float]
Write = Callable[[float], str]


@dataclass(frozen=True)
class Series:
    """A line (x ascending), or single dots, by name. `tone` is first, second or third."""

    name: str
    points: Sequence[Point]
    tone: str = "first"
    dots: bool = False


@dataclass(frozen=True)
class Axis:
    """A range of values and the round numbers to mark on it."""

    low: float
    high: float
    ticks: list[float] = field(default_factory=list)

    def place(self, value: float, start: float, end: float) -> float:
        """Where a value lies between two coordinates, kept within them."""
        share = (value - self.low) / (self.high - self.low)
        return start + min(1.0, max(0.0, share)) * (end - start)


def line_chart(series: Sequence[Series], write: Write | None = None, *, from_zero: bool = False) -> str:
    """The SVG of a chart over steps; a sentence where there is nothing to draw. `write` is how values are written."""
    write = write or short_number
    parts = [(item, buckets) for item in series if (buckets := bucketed(item.points))]
    if not parts:
        return '<p class="empty">nothing was logged</p>'
    x = axis([x for item, _ in parts for x, y in item.points if math.isfinite(x + y)], 5, whole=True)
    y = axis(_shown_values(parts, from_zero), 4)
    lines = "".join(_series_svg(item, buckets, x, y, write) for item, buckets in parts)
    body = _grid(x, y) + lines + _last_values(parts, x, y, write)
    return f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(parts[0][0].name)}">{body}</svg>'


@dataclass(frozen=True)
class Bucket:
    """Neighbouring points as one: their last x, and the mean, least and greatest of y."""

    x: float
    mean: float
    low: float
    high: float


def bucketed(points: Sequence[Point], most: int = MOST_POINTS) -> list[Bucket]:
    """At most `most` buckets of equally many finite points."""
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    count = min(most, len(finite))
    edges = [round(index * len(finite) / count) for index in range(count + 1)] if count else []
    groups = [finite[start:end] for start, end in pairwise(edges)]
    return [
        Bucket(
            group[-1][0],
            math.fsum(y for _, y in group) / len(group),
            min(y for _, y in group),
            max(y for _, y in group),
        )
        for group in groups
    ]


def axis(values: Sequence[float], count: int, *, whole: bool = False) -> Axis:
    """An axis that holds the values, with about `count` round ticks within."""
    low, high = min(values), max(values)
    if not high > low:
        margin = 1.0 if whole else max(abs(low) * 0.1, 1e-6)
        low, high = low - margin, high + margin
    step = round_step((high - low) / count)
    if whole:
        step = max(1.0, step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, [index * step for index in range(first, last + 1)])


def round_step(rough: float) -> float:
    """The nearest of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return min((power * factor for factor in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / rough)))


def short_number(value: float) -> str:
    """A number in few characters: 12, 0.034, 45k, 1.2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * (10 if letter == "k" else 1):
            return f"{value / size:.3g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _shown_values(parts: Sequence[tuple[Series, list[Bucket]]], from_zero: bool) -> list[float]:
    """What the y axis must hold: all means, but not those of the first twentieth where they would flatten the rest."""
    every = [bucket.mean for _, buckets in parts for bucket in buckets]
    later = [bucket.mean for _, buckets in parts for bucket in buckets[len(buckets) // 20 :]]
    crushed = max(every) - min(every) > 2 * (max(later) - min(later)) > 0
    values = [*(later if crushed else every), *([0.0] if from_zero else [])]
    spread = (max(values) - min(values)) * 0.06
    return [*values, max(values) + spread, min(values) - (0 if from_zero else spread)]


def _grid(x: Axis, y: Axis) -> str:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for tick in y.ticks:
        row = y.place(tick, bottom, TOP)
        parts.append(f'<line class="grid" x1="{LEFT:g}" x2="{right:g}" y1="{row:.1f}" y2="{row:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8:g}" y="{row + 4:.1f}" text-anchor="end">{short_number(tick)}</text>')
    for tick in x.ticks:
        column = x.place(tick, LEFT, right)
        parts.append(f'<text x="{column:.1f}" y="{HEIGHT - 8:g}" text-anchor="middle">{short_number(tick)}</text>')
    parts.append(f'<line class="axis" x1="{LEFT:g}" x2="{right:g}" y1="{bottom:g}" y2="{bottom:g}"/>')
    return "".join(parts)


def _series_svg(item: Series, buckets: list[Bucket], x: Axis, y: Axis, write: Write) -> str:
    places = _places(buckets, x, y)
    if item.dots or len(places) == 1:
        return "".join(_dot(place, bucket, item, write) for place, bucket in zip(places, buckets, strict=True))
    band = _band(buckets, item.tone, x, y) if any(b.high > b.low for b in buckets) else ""
    line = " ".join(f"{column:.1f},{row:.1f}" for column, row in places)
    return f'{band}<polyline class="line {item.tone}" points="{line}"/>'


def _places(buckets: list[Bucket], x: Axis, y: Axis) -> list[Point]:
    return [(x.place(b.x, LEFT, WIDTH - RIGHT), y.place(b.mean, HEIGHT - BOTTOM, TOP)) for b in buckets]


def _band(buckets: list[Bucket], tone: str, x: Axis, y: Axis) -> str:
    top = [(x.place(b.x, LEFT, WIDTH - RIGHT), y.place(b.high, HEIGHT - BOTTOM, TOP)) for b in buckets]
    below = [(x.place(b.x, LEFT, WIDTH - RIGHT), y.place(b.low, HEIGHT - BOTTOM, TOP)) for b in reversed(buckets)]
    corners = " ".join(f"{column:.1f},{row:.1f}" for column, row in top + below)
    return f'<polygon class="band {tone}" points="{corners}"/>'


def _dot(place: Point, bucket: Bucket, item: Series, write: Write) -> str:
    title = f"{item.name}: {write(bucket.mean)} at step {bucket.x:,.0f}"
    circle = f'<circle class="dot {item.tone}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="4.5">'
    return f"{circle}<title>{escape(title)}</title></circle>"


def _last_values(parts: Sequence[tuple[Series, list[Bucket]]], x: Axis, y: Axis, write: Write) -> str:
    """The last value of every series, written beside it and clear of the others."""
    labels, previous = [], -LABEL_GAP
    for place, value in sorted(((_places(b, x, y)[-1], b[-1].mean) for _, b in parts), key=lambda entry: entry[0][1]):
        row = max(place[1], previous + LABEL_GAP)
        previous = row
        text = escape(write(value))
        labels.append(f'<text class="value" x="{place[0] + 8:.1f}" y="{row + 4:.1f}">{text}</text>')
    return "".join(labels)
