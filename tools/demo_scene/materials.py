"""Every texture of the scene by name."""

from __future__ import annotations

import numpy as np

from demo_scene import patterns, prints, walls

SEED = 20


def all_textures() -> dict[str, np.ndarray]:
    """Every texture of the scene [H, W, 3] in linear light."""
    rng = np.random.default_rng(SEED)
    red, blue = ((0.56, 0.13, 0.13), (0.90, 0.76, 0.44)), ((0.13, 0.24, 0.38), (0.90, 0.86, 0.74))
    pictures = {
        "table": patterns.planks(rng, 1200, 1200, 8, (0.72, 0.53, 0.34), (0.47, 0.29, 0.16)),
        "table_edge": patterns.planks(rng, 32, 1024, 1, (0.66, 0.46, 0.28), (0.42, 0.26, 0.14)),
        "cloth": patterns.woven_check(
            rng,
            384,
            9,
            ((0.82, 0.77, 0.66), (0.30, 0.44, 0.45), (0.80, 0.75, 0.64), (0.66, 0.36, 0.27), (0.80, 0.68, 0.46)),
        ),
        "newspaper": prints.newspaper(rng),
        "letter": prints.letter(rng),
        "pages": prints.page_edges(rng),
        "red_book_cover": prints.book_cover(rng, "MARBLE", "A. KETTLE", red),
        "red_book_spine": prints.book_spine("MARBLE - KETTLE", red),
        "red_book_plain": patterns.plain(red[0]),
        "blue_book_cover": prints.book_cover(rng, "NORTH STAR", "V. QUARTZ", blue),
        "blue_book_spine": prints.book_spine("NORTH STAR - QUARTZ", blue),
        "blue_book_plain": patterns.plain(blue[0]),
        "globe": prints.globe(rng),
        "label": prints.tin_label(rng),
        "mug": prints.mug_pattern(),
        "pot": prints.pot_pattern(rng),
        "leaf": prints.leaf(rng),
        "candy": prints.candy(),
        **_plain_materials(rng),
        **{f"die_{pips}": prints.die_face(pips) for pips in range(1, 7)},
        "gallery": walls.gallery_wall(rng),
        "bricks": walls.brick_wall(rng),
        "shelves": walls.book_wall(rng),
        "wallpaper": walls.wallpaper(rng),
        "floor": walls.parquet(rng),
        "ceiling": walls.ceiling(),
    }
    return {name: patterns.linear(picture) for name, picture in pictures.items()}


def _plain_materials(rng: np.random.Generator) -> dict[str, np.ndarray]:
    cloud, plain, mix = patterns.cloud, patterns.plain, patterns.mix
    veins = 1.0 - np.abs(cloud(rng, 256, 512, 5, 8, 6) - 0.5) * 9.0
    soil = plain((0.26, 0.18, 0.13), 128, 128) * (0.6 + 0.8 * cloud(rng, 128, 128, 14, 14, 2))[..., None]
    peel = plain((0.93, 0.53, 0.13), 256, 512) * (0.88 + 0.2 * cloud(rng, 256, 512, 24, 48, 2))[..., None]
    return {
        "brass": plain((0.10, 0.07, 0.03)),
        "steel": plain((0.08, 0.08, 0.08)),
        "white": plain((0.93, 0.93, 0.91)),
        "paper": plain((0.90, 0.88, 0.82)),
        "coffee": plain((0.20, 0.11, 0.06)),
        "cobalt": plain((0.08, 0.17, 0.46)),
        "tin_lid": patterns.stripes(64, 64, ((0.70, 0.70, 0.69), (0.62, 0.62, 0.61)), 0, 8),
        "eraser": plain((0.83, 0.50, 0.48)),
        "lead": plain((0.15, 0.15, 0.17)),
        "bare_wood": plain((0.84, 0.68, 0.48)),
        "pencil_green": patterns.stripes(64, 64, ((0.14, 0.42, 0.30), (0.20, 0.50, 0.36)), 0, 3),
        "pencil_yellow": patterns.stripes(64, 64, ((0.90, 0.66, 0.14), (0.80, 0.56, 0.10)), 0, 3),
        "dark_wood": patterns.planks(rng, 64, 512, 2, (0.36, 0.21, 0.12), (0.22, 0.12, 0.07)),
        "marble": mix(plain((0.90, 0.88, 0.85), 256, 512), (0.30, 0.33, 0.38), np.clip(veins, 0.0, 1.0) ** 2),
        "swirl": patterns.stripes(
            256, 512, ((0.15, 0.44, 0.50), (0.95, 0.91, 0.80), (0.88, 0.56, 0.20), (0.95, 0.91, 0.80)), 1, 5
        ),
        "soil": soil,
        "orange": peel,
        "stem": plain((0.34, 0.42, 0.20)),
        "berry": patterns.speckles(rng, plain((0.78, 0.14, 0.16), 48, 96), 24, 3.0, ((0.95, 0.85, 0.70),)),
    }
