"""The room around the table: four different walls, a parquet floor and a ceiling."""

from __future__ import annotations

import numpy as np

from demo_scene.lettering import WORDS, write, write_centred
from demo_scene.patterns import bricks, cloud, grid, mix, plain, planks, plaster, step
from demo_scene.prints import globe, mountains

HEIGHT, WIDTH = 600, 1320  # texels of a wall
BINDINGS = np.array(
    [
        [0.62, 0.18, 0.15],
        [0.17, 0.30, 0.45],
        [0.80, 0.65, 0.35],
        [0.22, 0.38, 0.26],
        [0.85, 0.82, 0.74],
        [0.30, 0.22, 0.30],
        [0.78, 0.42, 0.20],
        [0.40, 0.55, 0.60],
    ]
)


def _paste(image: np.ndarray, picture: np.ndarray, top: int, left: int) -> None:
    image[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


def _framed(picture: np.ndarray, frame, mount: int = 14, border: int = 10) -> np.ndarray:
    mounted = np.pad(picture, ((mount, mount), (mount, mount), (0, 0)), constant_values=0.92)
    outer = plain(frame, mounted.shape[0] + 2 * border, mounted.shape[1] + 2 * border)
    _paste(outer, mounted, border, border)
    return outer


def _skirting(image: np.ndarray, colour) -> np.ndarray:
    image[-46:] = colour
    image[-49:-46] = np.asarray(colour) * 0.55
    return image


def gallery_wall(rng: np.random.Generator) -> np.ndarray:
    """Green plaster with framed pictures and a poster."""
    image = plaster(rng, HEIGHT, WIDTH, (0.55, 0.64, 0.56))
    dark, gold = (0.22, 0.14, 0.09), (0.68, 0.53, 0.27)
    _paste(image, _framed(mountains(rng, 170, 240), dark), 150, 70)
    _paste(image, _framed(globe(rng, 140, 280), gold), 190, 420)
    _paste(image, _framed(_poster(rng), (0.12, 0.12, 0.13), 4, 7), 100, 790)
    _paste(image, _framed(mountains(rng, 110, 130), gold), 120, 1100)
    _paste(image, _framed(_abstract(rng, 120, 150), dark), 310, 1090)
    _paste(image, _framed(_abstract(rng, 90, 190), gold), 400, 110)
    return _skirting(image, (0.88, 0.87, 0.82))


def _poster(rng: np.random.Generator, height: int = 330, width: int = 230) -> np.ndarray:
    image = plain((0.93, 0.74, 0.28), height, width)
    v, u = grid(height, width)
    ring = np.hypot(u - 0.5, (v - 0.45) * height / width)
    image[(ring * 14).astype(int) % 2 == 0] = (0.82, 0.30, 0.20)
    image[ring > 0.40] = (0.93, 0.74, 0.28)
    write_centred(image, "ORBIT", width / 2, 18, 36, (0.12, 0.16, 0.30), 1.2)
    write_centred(image, "360", width / 2, height - 70, 44, (0.12, 0.16, 0.30), 1.2)
    return image * (0.94 + 0.1 * cloud(rng, height, width, 12, 9, 4))[..., None]


def _abstract(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    palette = np.array(
        [[0.82, 0.30, 0.22], [0.93, 0.80, 0.50], [0.20, 0.34, 0.48], [0.90, 0.88, 0.82], [0.30, 0.48, 0.4]]
    )
    field = cloud(rng, height, width, 3, 4, 3)
    return palette[np.clip((field * 9).astype(int) % 5, 0, 4)]


def brick_wall(rng: np.random.Generator) -> np.ndarray:
    """Bricks with a painted sign."""
    image = bricks(rng, HEIGHT, WIDTH, 22, 20)
    sign = plain((0.15, 0.25, 0.34), 150, 420) * (0.85 + 0.3 * cloud(rng, 150, 420, 10, 28, 5))[..., None]
    write_centred(sign, "COPPER", 210, 20, 58, (0.93, 0.88, 0.74), 1.2)
    write_centred(sign, "KETTLE 1905", 210, 98, 30, (0.90, 0.68, 0.32), 1.1)
    _paste(image, sign, 170, 760)
    _paste(image, _framed(mountains(rng, 150, 200), (0.16, 0.15, 0.15)), 190, 210)
    return _skirting(image, (0.34, 0.27, 0.22))


def book_wall(rng: np.random.Generator) -> np.ndarray:
    """Shelves full of books."""
    image = planks(rng, HEIGHT, WIDTH, 10, (0.50, 0.34, 0.21), (0.32, 0.19, 0.11)) * 0.30
    shelves = 5
    pitch = HEIGHT // shelves
    for shelf in range(shelves):
        floor = (shelf + 1) * pitch - 14
        _fill_shelf(rng, image, floor, pitch - 20)
        board = planks(rng, 14, WIDTH, 1, (0.62, 0.43, 0.27), (0.42, 0.26, 0.15))
        _paste(image, board, floor, 0)
    for post in range(0, WIDTH, WIDTH // 4):
        image[:, post : post + 14] = (0.50, 0.33, 0.20)
    return image


def _fill_shelf(rng: np.random.Generator, image: np.ndarray, floor: int, room: int) -> None:
    left = 16
    while left < image.shape[1] - 30:
        thick, tall = int(rng.integers(18, 44)), int(room * (0.66 + 0.3 * rng.random()))
        colour = BINDINGS[rng.integers(len(BINDINGS))] * (0.85 + 0.25 * rng.random())
        spine = plain(colour, tall, thick)
        rounding = np.sin(np.pi * (np.arange(thick) + 0.5) / thick) ** 0.35
        ink = 0.45 * colour + 0.55 * (
            np.array([0.93, 0.86, 0.62]) if colour.mean() < 0.5 else np.array([0.16, 0.12, 0.12])
        )
        for band in (0.08, 0.13, 0.86):
            spine[int(band * tall) : int(band * tall) + 3] = ink
        title = np.rot90(_spine_title(rng, tall, thick, colour, ink), 3)
        spine[int(tall * 0.18) : int(tall * 0.18) + title.shape[0]] = title
        _paste(image, spine * rounding[:, None], floor - tall, left)
        left += thick + (1 if rng.random() < 0.93 else int(rng.integers(10, 40)))


def _spine_title(rng: np.random.Generator, tall: int, thick: int, colour, ink) -> np.ndarray:
    label = plain(colour, thick, int(tall * 0.62))
    height = thick * 0.42
    write(label, WORDS[rng.integers(len(WORDS))], 3, thick * 0.29, height, ink, 1.1)
    return label


def wallpaper(rng: np.random.Generator) -> np.ndarray:
    """Wallpaper with a repeated flower, wooden panels below, and one large map."""
    v, u = grid(HEIGHT, WIDTH)
    columns, lines = 20, 9
    x, y = (u * columns + 0.5 * ((v * lines).astype(int) % 2)) % 1 - 0.5, (v * lines) % 1 - 0.5
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    image = plain((0.86, 0.80, 0.68), HEIGHT, WIDTH) * (0.95 + 0.08 * cloud(rng, HEIGHT, WIDTH, 8, 18, 2))[..., None]
    petals = radius < 0.26 + 0.10 * np.cos(6 * angle)
    image = mix(image, (0.70, 0.46, 0.42), 0.75 * petals)
    image = mix(image, (0.90, 0.74, 0.40), 1.0 * (radius < 0.10))
    image = mix(image, (0.38, 0.47, 0.36), 0.8 * (np.abs(np.abs(x) - 0.46 + 0.05 * np.sin(v * lines * 6.3)) < 0.02))
    panels = planks(rng, WIDTH, 170, 33, (0.60, 0.43, 0.28), (0.42, 0.27, 0.16)).swapaxes(0, 1)
    _paste(image, panels, HEIGHT - 170, 0)
    image[HEIGHT - 178 : HEIGHT - 166] = (0.40, 0.26, 0.16)
    _paste(image, _framed(globe(rng, 230, 460), (0.25, 0.16, 0.10)), 120, 420)
    return _skirting(image, (0.36, 0.24, 0.15))


def parquet(rng: np.random.Generator, size: int = 1100) -> np.ndarray:
    """Boards on the floor with a patterned rug under the table."""
    image = planks(rng, size, size, 16, (0.66, 0.48, 0.31), (0.45, 0.29, 0.17), rows=3)
    v, u = grid(size, size)
    radius, angle = np.hypot(u - 0.5, v - 0.5), np.arctan2(v - 0.5, u - 0.5)
    rug = plain((0.44, 0.17, 0.17), size, size)
    for inner, outer, petals, colour in (
        (0.305, 0.325, 0, (0.85, 0.76, 0.58)),
        (0.262, 0.288, 72, (0.20, 0.27, 0.40)),
        (0.225, 0.245, 0, (0.85, 0.76, 0.58)),
        (0.165, 0.205, 48, (0.83, 0.64, 0.36)),
        (0.0, 0.14, 24, (0.22, 0.30, 0.42)),
    ):
        edge = outer + (0.012 * np.cos(petals * angle) if petals else 0.0)
        rug = mix(rug, colour, ((radius > inner) & (radius < edge)).astype(float))
        rug = mix(rug, (0.85, 0.76, 0.58), (np.abs(radius - edge - 0.008) < 0.002).astype(float))
    rug *= (0.93 + 0.14 * cloud(rng, size, size, 60, 60, 3))[..., None]
    return mix(image, rug, step(-radius, -0.34, 0.002))


def ceiling() -> np.ndarray:
    """White paint; no camera sees it, reflections do."""
    return plain((0.90, 0.89, 0.86))
