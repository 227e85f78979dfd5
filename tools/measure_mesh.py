"""How much of the demo scene's true surface a mesh covers: `python tools/measure_mesh.py demo_output/mesh_1200.ply`.

The ray tracer that made the scene says what the pixel centres of the training views see. A point counts as covered
when a vertex of the mesh is within a share of the scene's extent (1.1 times the radius of the training cameras). The
other way round, a vertex is right when a seen point is that near. Points are drawn evenly by area: `foreground` is the
table and what stands on it, `room` the walls, floor and ceiling 5 to 8 units away.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from demo_scene.cameras import View, camera_rig
from demo_scene.render import Geometry, render_geometry
from demo_scene.still_life import packed_scene
from demo_scene.truth import HOLD_OUT_EVERY
from scipy.spatial import cKDTree

from gaussian_splatting.io.ply import read_ply

SHARES = (0.01, 0.02, 0.05)
POINTS_PER_VIEW, MOST_VERTICES = 4000, 200_000


class Seen(NamedTuple):
    """Exact points [N, 3] that views see, and whether each belongs to the room [N]."""

    points: np.ndarray
    is_room: np.ndarray


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mesh", type=Path, help="a mesh of assets/demo as .ply")
    parser.add_argument("--every_view", action="store_true", help="count what held-out views see too")
    arguments = parser.parse_args()
    views = [view for number, view in enumerate(camera_rig()) if arguments.every_view or number % HOLD_OUT_EVERY]
    rows = read_ply(arguments.mesh)["vertex"]
    vertices = np.stack([rows[name] for name in ("x", "y", "z")], axis=1).astype(np.float64)
    extent = scene_extent(views)
    print(f"{len(vertices)} vertices, {len(views)} views, extent {extent:.3f}")
    report(vertices, seen_by(views), extent)


def report(vertices: np.ndarray, seen: Seen, extent: float) -> None:
    """Print covered and right shares."""
    distances = cKDTree(vertices).query(seen.points)[0]
    groups = {"all": np.full(len(distances), True), "foreground": ~seen.is_room, "room": seen.is_room}
    for name, chosen in groups.items():
        shares = ", ".join(f"{np.mean(distances[chosen] <= s * extent):.1%} within {s:.0%}" for s in SHARES)
        print(f"covered, {name:<10} {shares} ({chosen.sum()} points)")
    some = np.random.default_rng(0).permutation(len(vertices))[:MOST_VERTICES]
    distances = cKDTree(seen.points).query(vertices[some])[0]
    shares = ", ".join(f"{np.mean(distances <= s * extent):.1%} within {s:.0%}" for s in SHARES)
    print(f"right vertices      {shares}")


def scene_extent(views: list[View]) -> float:
    """The extent as trainers count it."""
    centres = np.array([view.centre for view in views])
    return 1.1 * float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max())


def seen_by(views: list[View]) -> Seen:
    """What the views see, evenly by area."""
    scene = packed_scene()
    found = [_sample(view, render_geometry(scene, view), len(scene.solids) - 1) for view in views]
    return Seen(np.concatenate([seen.points for seen in found]), np.concatenate([seen.is_room for seen in found]))


def _sample(view: View, geometry: Geometry, room: int) -> Seen:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0 : view.height, 0 : view.width].reshape(2, -1)
    pixels = np.stack((columns, rows), axis=1) + 0.5
    points = view.unproject(pixels, geometry.depth.ravel())
    rays = points - view.centre
    cosine = np.abs(np.einsum("ij,ij->i", rays, geometry.normal.reshape(-1, 3))) / np.linalg.norm(rays, axis=1)
    weights = geometry.depth.ravel() ** 2 / np.maximum(cosine, 0.1)
    chosen = rng.choice(len(points), POINTS_PER_VIEW, replace=False, p=weights / weights.sum())
    return Seen(points[chosen], geometry.solid.ravel()[chosen] == room)


if __name__ == "__main__":
    main()
