"""Light that leaves a surface towards the eye: area lights, sky light with one bounce, highlights, reflections."""

from __future__ import annotations

import math

from numba import njit

from demo_scene.intersect import nearest, nearest_or_room, room_distance, surface_at
from demo_scene.vectors import add_scaled, dot, normalised, product, row, scaled, tangents

OFFSET = 1e-4
SKY_REACH = 1.6
WALL_SHADE = 0.35
BOUNCE = 0.85
# The additive recurrence of the plastic number spreads points evenly in the square, for any count.
STEP_U, STEP_V = 0.7548776662466927, 0.5698402909980532


@njit(inline="always")
def _scrambled(x):
    """An integer hash with 32 bits (Wellons' lowbias32)."""
    x = (x ^ (x >> 16)) * 0x7FEB352D & 0xFFFFFFFF
    x = (x ^ (x >> 15)) * 0x846CA68B & 0xFFFFFFFF
    return x ^ (x >> 16)


@njit(inline="always")
def sample_pair(seed, purpose, index):
    """Point `index` of an evenly spread sequence in the unit square, shifted by (seed, purpose)."""
    shift = _scrambled(seed * 16 + purpose)
    u = (shift & 0xFFFF) / 65536.0 + index * STEP_U
    v = (shift >> 16) / 65536.0 + index * STEP_V
    return u - math.floor(u), v - math.floor(v)


@njit
def texture_at(scene, index, face, u, v):
    """Bilinear lookup with wrap-around: linear RGB of solid `index` at (u, v)."""
    texture = scene.texture[index, face]
    start = scene.texture_start[texture]
    height, width = scene.texture_shape[texture, 0], scene.texture_shape[texture, 1]
    x = u * scene.tiling[index, 0] * width - 0.5
    y = v * scene.tiling[index, 1] * height - 0.5
    left, top = math.floor(x), math.floor(y)
    fx, fy = x - left, y - top
    x0, y0 = int(left) % width, int(top) % height
    x1, y1 = (x0 + 1) % width, (y0 + 1) % height
    top_row = add_scaled(
        scaled(1.0 - fx, row(scene.texels, start + y0 * width + x0)), fx, row(scene.texels, start + y0 * width + x1)
    )
    bottom_row = add_scaled(
        scaled(1.0 - fx, row(scene.texels, start + y1 * width + x0)), fx, row(scene.texels, start + y1 * width + x1)
    )
    return add_scaled(scaled(1.0 - fy, top_row), fy, bottom_row)


@njit(inline="always")
def _sky(direction):
    """What the unseen parts of the room give back: brighter and cooler above, warm and dim below."""
    up = 0.5 + 0.5 * direction[2]
    return (0.24 + 0.38 * up, 0.22 + 0.43 * up, 0.20 + 0.48 * up)


@njit
def _from_lights(scene, point, normal, view, solid, seed, sample):
    """(irradiance / pi, highlight) from every light, each seen through one point of its area."""
    diffuse, highlight = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    sharpness = scene.sharpness[solid]
    for light in range(len(scene.light_radiance)):
        a, b = sample_pair(seed, 1 + light, sample)
        target = add_scaled(row(scene.light_corner, light), a, row(scene.light_u, light))
        target = add_scaled(target, b, row(scene.light_v, light))
        offset = add_scaled(target, -1.0, point)
        squared = dot(offset, offset)
        distance = math.sqrt(squared)
        towards = scaled(1.0 / distance, offset)
        facing = dot(towards, normal)
        u, v = row(scene.light_u, light), row(scene.light_v, light)
        area_normal = (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])
        emitted = -dot(area_normal, towards)  # the cosine at the light times its area
        if facing <= 0.0 or emitted <= 0.0:
            continue
        if nearest(scene.solids, scene.nodes, point, towards, distance, True)[1] >= 0:
            continue
        irradiance = scaled(facing * emitted / squared, row(scene.light_radiance, light))
        diffuse = add_scaled(diffuse, 1.0 / math.pi, irradiance)
        if not scene.mirror[solid]:
            lobe = max(0.0, dot(normalised(add_scaled(towards, -1.0, view)), normal)) ** sharpness
            highlight = add_scaled(highlight, lobe * (sharpness + 8.0) / (8.0 * math.pi), irradiance)
    return diffuse, highlight


@njit
def _from_sky(scene, point, normal, seed, sample):
    """Cosine-weighted light from one direction: the room's, or one bounce off a solid close by."""
    a, b = sample_pair(seed, 7, sample)
    along, across = tangents(normal)
    radius, turn = math.sqrt(a), 2.0 * math.pi * b
    direction = scaled(math.sqrt(1.0 - a), normal)
    direction = add_scaled(direction, radius * math.cos(turn), along)
    direction = add_scaled(direction, radius * math.sin(turn), across)
    distance, solid = nearest(scene.solids, scene.nodes, point, direction, SKY_REACH, False)
    if solid < 0:
        wall = room_distance(scene.solids, point, direction)
        return scaled(wall / (wall + WALL_SHADE), _sky(direction))
    hit = add_scaled(point, distance, direction)
    face, facing, u, v = surface_at(scene.solids[solid], hit, direction)
    # A surface that looks up is lit by the lamps; one that looks down lies in its own shadow.
    level = BOUNCE * (0.35 + 0.65 * max(0.0, facing[2])) * distance / (distance + 0.08)
    return scaled(level, texture_at(scene, solid, face, u, v))


@njit
def _matte(scene, point, normal, direction, solid, albedo, seed, sample):
    diffuse, highlight = _from_lights(scene, point, normal, direction, solid, seed, sample)
    sky = _from_sky(scene, point, normal, seed, sample)
    colour = product(albedo, add_scaled(diffuse, 1.0, sky))
    return add_scaled(colour, 1.0, product(highlight, row(scene.reflectance, solid)))


@njit
def _lamp_seen(scene, origin, direction, limit):
    """Radiance of the lamp that a ray meets before `limit`; black when there is none."""
    for light in range(len(scene.light_radiance)):
        u, v = row(scene.light_u, light), row(scene.light_v, light)
        normal = (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])
        slope = dot(direction, normal)
        offset = add_scaled(origin, -1.0, row(scene.light_corner, light))
        if slope >= -1e-9:
            continue
        t = -dot(offset, normal) / slope
        place = add_scaled(offset, t, direction)
        a, b = dot(place, u) / dot(u, u), dot(place, v) / dot(v, v)
        if 0.0 < t < limit and 0.0 <= a <= 1.0 and 0.0 <= b <= 1.0:
            return row(scene.light_radiance, light)
    return (0.0, 0.0, 0.0)


@njit
def _reflected(scene, point, normal, direction, solid, seed, sample):
    """Radiance along the mirrored ray, spread a little by the surface's roughness."""
    mirrored = add_scaled(direction, -2.0 * dot(direction, normal), normal)
    a, b = sample_pair(seed, 9, sample)
    cosine = (1.0 - a) ** (1.0 / (scene.sharpness[solid] + 1.0))
    along, across = tangents(mirrored)
    spread = math.sqrt(1.0 - cosine * cosine)
    ray = scaled(cosine, mirrored)
    ray = add_scaled(ray, spread * math.cos(2.0 * math.pi * b), along)
    ray = add_scaled(ray, spread * math.sin(2.0 * math.pi * b), across)
    if dot(ray, normal) <= 1e-3:
        ray = mirrored
    distance, seen = nearest_or_room(scene.solids, scene.nodes, point, ray)
    lamp = _lamp_seen(scene, point, ray, distance)
    if lamp[0] > 0.0:
        return lamp
    hit = add_scaled(point, distance, ray)
    face, facing, u, v = surface_at(scene.solids[seen], hit, ray)
    albedo = texture_at(scene, seen, face, u, v)
    return _matte(scene, add_scaled(hit, OFFSET, facing), facing, ray, seen, albedo, seed, sample)


@njit
def radiance(scene, origin, direction, seed, sample):
    """Linear RGB along a ray from the eye, of one light sample; average over samples."""
    distance, solid = nearest_or_room(scene.solids, scene.nodes, origin, direction)
    hit = add_scaled(origin, distance, direction)
    face, normal, u, v = surface_at(scene.solids[solid], hit, direction)
    point = add_scaled(hit, OFFSET, normal)
    albedo = texture_at(scene, solid, face, u, v)
    base = _matte(scene, point, normal, direction, solid, albedo, seed, sample)
    if not scene.mirror[solid]:
        return base
    grazing = (1.0 - max(0.0, -dot(direction, normal))) ** 5
    reflection = _reflected(scene, point, normal, direction, solid, seed, sample)
    f = row(scene.reflectance, solid)
    share = (f[0] + (1.0 - f[0]) * grazing, f[1] + (1.0 - f[1]) * grazing, f[2] + (1.0 - f[2]) * grazing)
    kept = (1.0 - share[0], 1.0 - share[1], 1.0 - share[2])
    return add_scaled(product(kept, base), 1.0, product(share, reflection))
