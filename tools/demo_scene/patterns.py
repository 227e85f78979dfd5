"""Procedural materials: noise, wood, cloth, brick, plaster, stripes."""

from __future__ import annotations

import numpy as np


def linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light from display-referred sRGB in [0, 1]."""
    srgb = np.clip(srgb, 0.0, 1.0)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def plain(colour, height: int = 2, width: int = 2) -> np.ndarray:
    """An image [height, width, 3] of one colour."""
    return np.broadcast_to(np.asarray(colour, dtype=np.float64), (height, width, 3)).copy()


def mix(first: np.ndarray, second, share: np.ndarray) -> np.ndarray:
    """Blend of two colours or images by a share [H, W]."""
    return first * (1.0 - share[..., None]) + np.asarray(second) * share[..., None]


def step(values: np.ndarray, edge: float, softness: float) -> np.ndarray:
    """Smooth step from 0 below `edge` to 1 above, over about `softness`."""
    t = np.clip((values - edge) / softness + 0.5, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column coordinates (v, u) [H, W] of texel centres in [0, 1]."""
    v, u = np.mgrid[0:height, 0:width]
    return (v + 0.5) / height, (u + 0.5) / width


def value_noise(rng: np.random.Generator, height: int, width: int, rows: int, columns: int) -> np.ndarray:
    """Smooth noise [H, W] in [0, 1] with rows x columns cells, seamless in both directions."""
    lattice = rng.random((rows, columns))
    v, u = (np.arange(height) + 0.5) / height * rows, (np.arange(width) + 0.5) / width * columns
    y, x = v.astype(int), u.astype(int)
    fy, fx = _fade(v - y)[:, None], _fade(u - x)[None, :]
    y1, x1 = (y + 1) % rows, (x + 1) % columns
    upper = lattice[np.ix_(y, x)] * (1 - fx) + lattice[np.ix_(y, x1)] * fx
    lower = lattice[np.ix_(y1, x)] * (1 - fx) + lattice[np.ix_(y1, x1)] * fx
    return upper * (1 - fy) + lower * fy


def _fade(t: np.ndarray) -> np.ndarray:
    return t * t * t * (t * (6.0 * t - 15.0) + 10.0)


def cloud(rng: np.random.Generator, height: int, width: int, rows: int, columns: int, octaves: int = 5) -> np.ndarray:
    """Fractal noise [H, W], about uniform in [0, 1]; each octave doubles the cells and halves the share."""
    total = np.zeros((height, width))
    for octave in range(octaves):
        noise = value_noise(rng, height, width, min(rows << octave, height), min(columns << octave, width))
        total += (noise - 0.5) * 0.5**octave
    return np.clip(0.5 + 0.8 * total, 0.0, 1.0)


def planks(rng: np.random.Generator, height: int, width: int, boards: int, light, dark, rows: int = 1) -> np.ndarray:
    """Wooden boards along u, `rows` of them end to end, with grain, pores and dark joints."""
    v, u = grid(height, width)
    board = np.minimum((v * boards).astype(int), boards - 1)
    shift = rng.random(boards)
    cell = ((u + shift[board]) * rows).astype(int) % (rows + 1)
    tone = rng.random((boards, rows + 1))[board, cell]
    warp = cloud(rng, height, width, boards * 2, 3, 3)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (v * boards * 2.5 + 5.0 * warp + 5.0 * tone))
    fibre = value_noise(rng, height, width, height // 4, 6) + value_noise(rng, height, width, height // 9, 10)
    share = np.clip(0.30 + 0.20 * (rings**2 - 0.3) + 0.14 * (fibre - 1.0) + 0.40 * (tone - 0.5), 0, 1)
    image = mix(plain(light, height, width), dark, share)
    pores = step(value_noise(rng, height, width, height // 5, width // 50), 0.88, 0.16)
    image = mix(image, np.asarray(dark) * 0.7, 0.25 * pores)
    across = np.abs((v * boards) % 1.0 - 0.5)
    along = np.abs(((u + shift[board]) * rows) % 1.0 - 0.5)
    joint = np.maximum(step(across, 0.5 - 0.012, 0.01), step(along, 0.5 - 0.0035 * rows, 0.002 * rows))
    return mix(image, np.asarray(dark) * 0.3, 0.85 * joint)


def woven_check(rng: np.random.Generator, size: int, stripes: int, colours) -> np.ndarray:
    """A tartan: bands of coloured threads across each other, with the weave itself visible."""
    threads = size // 4
    order = np.repeat(np.arange(stripes) % len(colours), rng.integers(1, 4, stripes))
    band = np.asarray(colours)[order[np.arange(threads) * len(order) // threads]]  # [threads, 3]
    thread = np.arange(size) // 4
    over = ((thread[:, None] + thread[None, :]) // 2) % 2 == 0
    image = np.where(over[..., None], band[thread][None, :], band[thread][:, None])
    shade = 0.93 + 0.07 * np.abs(np.sin((np.arange(size) + 0.5) * np.pi / 4))
    return image * (shade[:, None] * shade[None, :] * (0.96 + 0.08 * cloud(rng, size, size, 16, 16, 3)))[..., None]


def bricks(rng: np.random.Generator, height: int, width: int, courses: int, columns: int) -> np.ndarray:
    """A brick wall in running bond."""
    v, u = grid(height, width)
    course = (v * courses).astype(int)
    x = u * columns + 0.5 * (course % 2)
    tone = rng.random((courses, columns + 1))[course, x.astype(int) % columns]
    image = mix(plain((0.66, 0.36, 0.26), height, width), (0.45, 0.24, 0.20), tone)
    image = mix(image, (0.72, 0.47, 0.36), step(tone, 0.82, 0.05) * 0.5)
    image *= (0.85 + 0.3 * cloud(rng, height, width, courses, columns * 2, 3))[..., None]
    edge = np.maximum(np.abs(x % 1.0 - 0.5) * 1.0 - 0.5 + 0.035, np.abs((v * courses) % 1.0 - 0.5) - 0.5 + 0.075)
    wobble = 0.03 * (cloud(rng, height, width, courses * 4, columns * 6, 3) - 0.5)
    mortar = plain((0.64, 0.58, 0.52), height, width) * (0.9 + 0.15 * cloud(rng, height, width, 30, 60, 2))[..., None]
    return mix(image, mortar, step(edge + wobble, 0.0, 0.03))


def plaster(rng: np.random.Generator, height: int, width: int, colour) -> np.ndarray:
    """Painted, slightly uneven plaster."""
    blotches = cloud(rng, height, width, 8, 12, 4)
    return plain(colour, height, width) * (0.86 + 0.24 * blotches)[..., None]


def stripes(height: int, width: int, colours, slant: int = 0, repeats: int = 1) -> np.ndarray:
    """Sharp stripes along u that wind `slant` times over v."""
    v, u = grid(height, width)
    position = (u * repeats + v * slant) % 1.0
    return np.asarray(colours, dtype=np.float64)[(position * len(colours)).astype(int)]


def speckles(rng: np.random.Generator, image: np.ndarray, count: int, radius: float, colours) -> np.ndarray:
    """Round spots scattered over an image, seamless in u."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width] + 0.5
    for number in range(count):
        cy, cx, size = rng.random() * height, rng.random() * width, radius * (0.5 + rng.random())
        dx = np.abs(x - cx)
        distance = np.hypot(np.minimum(dx, width - dx), y - cy)
        image = mix(image, colours[number % len(colours)], np.clip(size + 0.5 - distance, 0.0, 1.0))
    return image
