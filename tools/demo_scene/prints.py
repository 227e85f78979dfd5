"""Printed matter: a newspaper, book covers, a tin label, a globe, dice, posters, mug and pot decoration."""

from __future__ import annotations

import numpy as np

from demo_scene.lettering import WORDS, draw_stroke, write, write_centred, write_column
from demo_scene.patterns import cloud, grid, mix, plain, step, stripes

INK = (0.10, 0.10, 0.12)


def newspaper(rng: np.random.Generator, height: int = 720, width: int = 520) -> np.ndarray:
    """A page with a masthead, columns, two pictures and rules."""
    image = plain((0.91, 0.89, 0.83), height, width)
    write_centred(image, "THE ORBIT", width / 2, 22, 58, INK, 1.15)
    _rule(image, 20, 96, width - 20, 2.0)
    write_centred(image, "NO. 360   JUNE 1905   TWO PENCE", width / 2, 104, 12, INK)
    _rule(image, 20, 124, width - 20, 1.0)
    write_centred(image, "SPLAT SEEN OVER HARBOUR", width / 2, 138, 25, INK, 1.2)
    column = (width - 80) // 3
    for number in range(3):
        left = 20 + number * (column + 20)
        top = 182 if number != 1 else 330
        write_column(image, rng, (left, top, left + column, height - 20), 12.0, INK, 1.0)
    picture = mountains(rng, 136, column)
    image[184 : 184 + 136, 40 + column : 40 + 2 * column] = picture
    chart = _bars(rng, 120, column)
    image[height - 150 : height - 30, 60 + 2 * column : 60 + 3 * column] = chart
    return image * (0.93 + 0.1 * cloud(rng, height, width, 9, 7, 5))[..., None]


def letter(rng: np.random.Generator, height: int = 480, width: int = 340) -> np.ndarray:
    """A sheet of squared paper with lines written in blue."""
    image = plain((0.94, 0.93, 0.88), height, width)
    image[::17] = image[:, ::17] = (0.72, 0.80, 0.86)
    write(image, "DEAR ZEBRA", 24, 26, 24, (0.14, 0.20, 0.48), 0.9)
    write_column(image, rng, (24, 72, width - 24, height - 70), 13.0, (0.14, 0.20, 0.48), 0.8)
    write(image, "YOUR FOX", width - 150, height - 52, 24, (0.14, 0.20, 0.48), 0.9)
    return image


def _rule(image: np.ndarray, left: float, top: float, right: float, weight: float) -> None:
    draw_stroke(image, np.array([[left, top], [right, top]], dtype=float), weight / 2, INK)


def _bars(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    image = plain((0.86, 0.84, 0.78), height, width)
    for number in range(6):
        left, top = 10 + number * (width - 20) // 6, int(height * (0.15 + 0.6 * rng.random()))
        image[top : height - 6, left : left + (width - 20) // 6 - 5] = (INK, (0.55, 0.16, 0.12))[number % 2]
    return image


def mountains(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A landscape: sky, a sun and four ridges, each darker than the one behind."""
    v, u = grid(height, width)
    image = mix(plain((0.96, 0.80, 0.55), height, width), (0.45, 0.63, 0.78), 1.0 - v)
    sun = np.hypot((u - 0.68) * width, (v - 0.30) * height) / height
    image = mix(image, (0.99, 0.95, 0.80), step(-sun, -0.13, 0.02))
    for ridge in range(4):
        outline = cloud(rng, 1, width, 1, 3 + 2 * ridge, 6)[0]
        base = 0.62 - 0.38 * outline + 0.17 * ridge
        tone = np.array([0.50, 0.47, 0.52]) * (1.0 - 0.23 * ridge) * [0.9, 1.0 + 0.06 * ridge, 0.95]
        relief = 0.85 + 0.3 * cloud(rng, height, width, 8, 10, 3)
        image = mix(image, tone * relief[..., None], step(v, base[None, :], 3.0 / height))
    return image


def book_cover(rng: np.random.Generator, title: str, author: str, colours, size=(460, 640)) -> np.ndarray:
    """A cloth binding with a frame, a title, a sunburst and a name."""
    height, width = size
    ground, accent = np.asarray(colours[0]), np.asarray(colours[1])
    weave = 0.94 + 0.1 * cloud(rng, height, width, 4, 5)
    image = plain(ground, height, width) * weave[..., None]
    for inset, weight in ((22, 5.0), (36, 2.0)):
        corners = [[inset, inset], [width - inset, inset], [width - inset, height - inset], [inset, height - inset]]
        draw_stroke(image, np.array([*corners, corners[0]], dtype=float), weight / 2, accent)
    letter = min(64.0, (width - 120) / (len(title) * 0.94))
    write_centred(image, title, width / 2, 70, letter, accent, 1.1)
    middle = np.array([width / 2, height * 0.57])
    for ray in range(24):
        direction = np.array([np.cos(ray * np.pi / 12), np.sin(ray * np.pi / 12)])
        reach = 105 if ray % 2 == 0 else 74
        draw_stroke(image, np.stack([middle + 34 * direction, middle + reach * direction]), 3.2, accent)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    disc = np.hypot(x - middle[0], y - middle[1])
    image = mix(image, accent, np.clip(24.5 - disc, 0.0, 1.0))
    write_centred(image, author, width / 2, height - 82, 24, accent, 1.0)
    return image


def book_spine(title: str, colours, height: int = 64, width: int = 640) -> np.ndarray:
    """The narrow side of a binding with its title."""
    image = plain(colours[0], height, width)
    for place in (30, 44, width - 44, width - 30):
        draw_stroke(image, np.array([[place, 0], [place, height]], dtype=float), 3.0, colours[1])
    write_centred(image, title, width / 2, height * 0.26, height * 0.48, colours[1], 1.0)
    return image


def page_edges(rng: np.random.Generator, height: int = 96, width: int = 320) -> np.ndarray:
    """The side of a block of paper."""
    lines = 0.82 + 0.18 * rng.random((height // 6, 1)).repeat(6, axis=0)
    waves = 0.94 + 0.1 * cloud(rng, height, width, 8, 12, 4)
    return plain((0.93, 0.89, 0.78), height, width) * (lines * waves)[..., None]


def tin_label(rng: np.random.Generator, height: int = 400, width: int = 960) -> np.ndarray:
    """A label for a tin, with bands, lemons, large type and a bar code."""
    image = plain((0.95, 0.91, 0.79), height, width)
    for low, high, colour in ((0.10, 0.15, 0), (0.85, 0.90, 0), (0.17, 0.18, 1), (0.82, 0.83, 1)):
        image[int(low * height) : int(high * height)] = ((0.73, 0.13, 0.12), (0.09, 0.22, 0.38))[colour]
    y, x = np.mgrid[0:height, 0:width] + 0.5
    for panel in range(2):
        centre = width * (0.18 + 0.5 * panel)
        write_centred(image, "LEMON", centre, 96, 66, (0.73, 0.13, 0.12), 1.35)
        write_centred(image, "DROPS", centre, 186, 46, (0.09, 0.22, 0.38), 1.2)
        for number in range(5):
            place = np.hypot((x - centre - 58 * (number - 2)) / 25, (y - 276) / 18)
            image = mix(image, (0.95, 0.75, 0.12), np.clip((1.0 - place) * 18, 0, 1))
            image = mix(image, (0.98, 0.92, 0.55), np.clip((0.42 - np.hypot(place - 0.5, (y - 270) / 40)) * 6, 0, 1))
        write_centred(image, "NET 42 G", centre, 306, 14, INK)
    left = int(width * 0.385)
    bars = np.repeat(rng.random(44) > 0.48, 3)
    image[110:250, left : left + len(bars)][:, bars] = INK
    write(image, "7 1905 360 42", left, 258, 13, INK)
    write_column(image, rng, (int(width * 0.86), 90, width - 8, 320), 10.0, INK)
    return image


def globe(rng: np.random.Generator, height: int = 512, width: int = 1024) -> np.ndarray:
    """A made-up planet: continents coloured by height, coasts, a graticule and names."""
    v, u = grid(height, width)
    latitude = np.abs(v - 0.5) * 2
    land = cloud(rng, height, width, 4, 6, 7) + 0.05 * np.cos(6 * np.pi * v)
    water = mix(plain((0.35, 0.62, 0.74), height, width), (0.13, 0.33, 0.52), step(-land, -0.42, 0.35))
    ground = mix(plain((0.74, 0.76, 0.47), height, width), (0.86, 0.66, 0.38), step(land, 0.60, 0.10))
    ground = mix(ground, (0.62, 0.36, 0.24), step(land, 0.69, 0.08))
    ground *= (0.92 + 0.16 * cloud(rng, height, width, 16, 32, 3))[..., None]
    image = mix(water, ground, step(land, 0.51, 0.006))
    image = mix(image, (0.20, 0.18, 0.20), step(-np.abs(land - 0.51), -0.004, 0.003))
    image = mix(image, (0.84, 0.86, 0.88), step(latitude + 0.12 * (land - 0.5), 0.86, 0.02))
    meridian, parallel = np.abs((u * 24) % 1 - 0.5), np.abs((v * 12) % 1 - 0.5)
    lines = np.maximum(step(meridian, 0.475, 0.02), step(parallel, 0.468, 0.02))
    image = mix(image, (0.93, 0.90, 0.80), 0.65 * lines)
    for number, word in enumerate(WORDS[:18]):
        letter_height = height * (0.025 + 0.012 * (number % 3))
        place = ((number * 0.61803) % 1.0 * 0.85 * width, height * (0.22 + 0.54 * (number + 0.5) / 18))
        write(image, word, place[0], place[1], letter_height, INK, 1.0)
    return image


def die_face(pips: int, size: int = 128) -> np.ndarray:
    """One face of a die."""
    spots = {
        1: ((0, 0),),
        2: ((-1, -1), (1, 1)),
        3: ((-1, -1), (0, 0), (1, 1)),
        4: ((-1, -1), (1, 1), (-1, 1), (1, -1)),
        5: ((-1, -1), (1, 1), (-1, 1), (1, -1), (0, 0)),
        6: ((-1, -1), (-1, 0), (-1, 1), (1, -1), (1, 0), (1, 1)),
    }[pips]
    y, x = np.mgrid[0:size, 0:size] + 0.5
    image = plain((0.94, 0.92, 0.86), size, size)
    for column, line in spots:
        distance = np.hypot(x - size * (0.5 + 0.26 * column), y - size * (0.5 + 0.26 * line))
        image = mix(image, (0.08, 0.08, 0.10), np.clip(size * 0.1 + 0.5 - distance, 0, 1))
    return image


def mug_pattern(height: int = 320, width: int = 960) -> np.ndarray:
    """White glaze with a blue band of diamonds and dots."""
    v, u = grid(height, width)
    image = plain((0.93, 0.93, 0.91), height, width)
    blue = (0.12, 0.25, 0.50)
    inside = (v > 0.24) & (v < 0.72)
    diamond = np.abs((u * 14) % 1 - 0.5) * 2 + np.abs((v - 0.48) / 0.24)
    image[inside & (diamond < 1.0)] = blue
    image[inside & (diamond < 0.62)] = (0.90, 0.62, 0.20)
    image[inside & (diamond < 0.30)] = blue
    for line in (0.17, 0.79):
        dots = np.hypot(((u * 56) % 1 - 0.5) / 56 * width, (v - line) * height)
        image[dots < 5.0] = blue
    image[(np.abs(v - 0.22) < 0.008) | (np.abs(v - 0.74) < 0.008)] = blue
    return image


def pot_pattern(rng: np.random.Generator, height: int = 320, width: int = 960) -> np.ndarray:
    """Terracotta with a painted zigzag."""
    v, u = grid(height, width)
    image = plain((0.72, 0.40, 0.26), height, width)
    zigzag = 0.45 + 0.10 * np.abs((u * 16) % 2 - 1)
    for offset, colour in ((0.0, (0.94, 0.88, 0.75)), (0.10, (0.16, 0.34, 0.36)), (0.20, (0.94, 0.88, 0.75))):
        image[np.abs(v - zigzag - offset) < 0.028] = colour
    return image * (0.86 + 0.25 * cloud(rng, height, width, 8, 24, 3))[..., None]


def leaf(rng: np.random.Generator, size: int = 160) -> np.ndarray:
    """A leaf seen from above, with its veins along u."""
    v, u = grid(size, size)
    across = np.abs(v - 0.5) * 2
    veins = np.abs(((u * 1.0 - across * 0.35) * 9) % 1 - 0.5)
    image = mix(plain((0.24, 0.44, 0.17), size, size), (0.42, 0.60, 0.24), cloud(rng, size, size, 6, 6, 4))
    image = mix(image, (0.66, 0.76, 0.42), 0.8 * step(veins, 0.44, 0.06))
    return mix(image, (0.74, 0.80, 0.50), step(-across, -0.07, 0.04))


def candy(height: int = 128, width: int = 128) -> np.ndarray:
    """Red and white winding stripes."""
    return stripes(height, width, ((0.80, 0.12, 0.14), (0.95, 0.93, 0.90)), slant=6, repeats=2)
