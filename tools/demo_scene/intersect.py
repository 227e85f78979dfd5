"""Where a ray meets a solid, and the normal and texture coordinates there."""

from __future__ import annotations

import math

from numba import njit

from demo_scene.solids import BOX, CAP_BOTTOM, CAP_TOP, CAPSULE, ELLIPSOID, FRUSTUM
from demo_scene.vectors import add_scaled, dot, normalised

NEAR = 1e-6
MISS = math.inf
TORUS_STEPS = 200
TORUS_TOLERANCE = 1e-8


@njit(inline="always")
def _first_positive(near, far):
    if near > NEAR:
        return near
    return far if far > NEAR else MISS


@njit
def _hit_ellipsoid(size, o, d):
    scaled_o = (o[0] / size[0], o[1] / size[1], o[2] / size[2])
    scaled_d = (d[0] / size[0], d[1] / size[1], d[2] / size[2])
    a, b, c = dot(scaled_d, scaled_d), dot(scaled_o, scaled_d), dot(scaled_o, scaled_o) - 1.0
    discriminant = b * b - a * c
    if discriminant < 0.0:
        return MISS
    root = math.sqrt(discriminant)
    return _first_positive((-b - root) / a, (-b + root) / a)


@njit
def _hit_box(size, o, d):
    near, far = -MISS, MISS
    for position, step, half in ((o[0], d[0], size[0]), (o[1], d[1], size[1]), (o[2], d[2], size[2])):
        inverse = 1.0 / (step if abs(step) > 1e-12 else 1e-12)
        first, last = (-half - position) * inverse, (half - position) * inverse
        near, far = max(near, min(first, last)), min(far, max(first, last))
    return _first_positive(near, far) if near <= far else MISS


@njit
def _hit_frustum(size, o, d):
    """A cone of radius size[0] at the bottom and size[1] at the top; size[3] says which ends are closed."""
    half, caps = size[2], int(size[3])
    slope = (size[1] - size[0]) / (2.0 * half)
    middle = 0.5 * (size[0] + size[1])
    radius = middle + slope * o[2]
    a = d[0] * d[0] + d[1] * d[1] - slope * slope * d[2] * d[2]
    b = o[0] * d[0] + o[1] * d[1] - slope * d[2] * radius
    c = o[0] * o[0] + o[1] * o[1] - radius * radius
    best = MISS
    discriminant = b * b - a * c
    if discriminant >= 0.0 and abs(a) > 1e-12:
        root = math.sqrt(discriminant)
        for t in ((-b - root) / a, (-b + root) / a):
            if NEAR < t < best and abs(o[2] + t * d[2]) <= half:
                best = t
    if abs(d[2]) > 1e-12:
        for end, bit, limit in ((-half, CAP_BOTTOM, size[0]), (half, CAP_TOP, size[1])):
            t = (end - o[2]) / d[2]
            x, y = o[0] + t * d[0], o[1] + t * d[1]
            if caps & bit and NEAR < t < best and x * x + y * y <= limit * limit:
                best = t
    return best


@njit
def _hit_capsule(size, o, d):
    radius, half = size[0], size[1]
    best = MISS
    a = d[0] * d[0] + d[1] * d[1]
    b, c = o[0] * d[0] + o[1] * d[1], o[0] * o[0] + o[1] * o[1] - radius * radius
    discriminant = b * b - a * c
    if discriminant < 0.0:
        return MISS
    if a > 1e-12:
        root = math.sqrt(discriminant)
        for t in ((-b - root) / a, (-b + root) / a):
            if NEAR < t < best and abs(o[2] + t * d[2]) <= half:
                best = t
    for end in (-half, half):
        along = b + (o[2] - end) * d[2]
        beyond = along * along - (c + (o[2] - end) * (o[2] - end))
        if beyond >= 0.0:
            root = math.sqrt(beyond)
            for t in (-along - root, -along + root):
                if NEAR < t < best and (o[2] + t * d[2] - end) * end >= 0.0:
                    best = t
    return best


@njit
def _hit_torus(size, o, d):
    """Sphere tracing inside the bounding ball; the distance to a torus is exact, so no step overshoots."""
    reach = size[0] + size[1]
    along, outside = dot(o, d), dot(o, o) - reach * reach
    discriminant = along * along - outside
    if discriminant < 0.0:
        return MISS
    root = math.sqrt(discriminant)
    t, end = max(-along - root, NEAR), -along + root
    for _ in range(TORUS_STEPS):
        if t > end:
            return MISS
        x, y, z = add_scaled(o, t, d)
        ring = math.sqrt(x * x + y * y) - size[0]
        distance = math.sqrt(ring * ring + z * z) - size[1]
        if abs(distance) < TORUS_TOLERANCE:
            return t
        t += abs(distance)
    return MISS


@njit(inline="always")
def _into_local(solid, direction):
    return (
        solid[4] * direction[0] + solid[5] * direction[1] + solid[6] * direction[2],
        solid[7] * direction[0] + solid[8] * direction[1] + solid[9] * direction[2],
        solid[10] * direction[0] + solid[11] * direction[1] + solid[12] * direction[2],
    )


@njit(inline="always")
def _point_into_local(solid, point):
    return _into_local(solid, (point[0] - solid[1], point[1] - solid[2], point[2] - solid[3]))


@njit(inline="always")
def _out_of_local(solid, direction):
    return (
        solid[4] * direction[0] + solid[7] * direction[1] + solid[10] * direction[2],
        solid[5] * direction[0] + solid[8] * direction[1] + solid[11] * direction[2],
        solid[6] * direction[0] + solid[9] * direction[1] + solid[12] * direction[2],
    )


@njit
def hit_solid(solid, origin, direction):
    """Distance along the ray to one row of `PackedScene.solids`, infinite when it is missed."""
    o, d = _point_into_local(solid, origin), _into_local(solid, direction)
    size, kind = (solid[13], solid[14], solid[15], solid[16]), int(solid[0])
    if kind == CAPSULE:
        return _hit_capsule(size, o, d)
    if kind == ELLIPSOID:
        return _hit_ellipsoid(size, o, d)
    if kind == BOX:
        return _hit_box(size, o, d)
    if kind == FRUSTUM:
        return _hit_frustum(size, o, d)
    return _hit_torus(size, o, d)


@njit
def room_distance(solids, origin, direction):
    """Distance to the wall that a ray from inside the room leaves through; never negative, even in a corner."""
    room = solids[len(solids) - 1]
    o, d = _point_into_local(room, origin), _into_local(room, direction)
    far = MISS
    for position, step, half in ((o[0], d[0], room[13]), (o[1], d[1], room[14]), (o[2], d[2], room[15])):
        if abs(step) > 1e-12:
            far = min(far, (math.copysign(half, step) - position) / step)
    return max(far, 0.0)


@njit(inline="always")
def _crosses(node, origin, inverse, limit):
    x0, x1 = (node[0] - origin[0]) * inverse[0], (node[3] - origin[0]) * inverse[0]
    y0, y1 = (node[1] - origin[1]) * inverse[1], (node[4] - origin[1]) * inverse[1]
    z0, z1 = (node[2] - origin[2]) * inverse[2], (node[5] - origin[2]) * inverse[2]
    near = max(min(x0, x1), min(y0, y1), min(z0, z1), 0.0)
    far = min(max(x0, x1), max(y0, y1), max(z0, z1), limit)
    return near <= far


@njit
def nearest(solids, nodes, origin, direction, limit, any_hit):
    """The first solid within `limit` as (distance, index), without the room; (limit, -1) when there is none.

    With `any_hit` the first solid found is returned, which need not be the nearest.
    """
    inverse = (
        1.0 / (direction[0] if abs(direction[0]) > 1e-12 else 1e-12),
        1.0 / (direction[1] if abs(direction[1]) > 1e-12 else 1e-12),
        1.0 / (direction[2] if abs(direction[2]) > 1e-12 else 1e-12),
    )
    best, found, place = limit, -1, 0
    while place < len(nodes):
        node = nodes[place]
        if not _crosses(node, origin, inverse, best):
            place = int(node[6])
            continue
        place += 1
        index = int(node[7])
        if index >= 0:
            distance = hit_solid(solids[index], origin, direction)
            if distance < best:
                best, found = distance, index
                if any_hit:
                    break
    return best, found


@njit
def nearest_or_room(solids, nodes, origin, direction):
    """The first surface along a ray that starts inside the room, as (distance, index)."""
    limit = room_distance(solids, origin, direction)
    distance, index = nearest(solids, nodes, origin, direction, limit, False)
    return distance, index if index >= 0 else len(solids) - 1


@njit
def _box_face(size, p):
    """The face a surface point lies on, its outward normal, and u, v upright for somebody who looks at it."""
    x, y, z = p[0] / size[0], p[1] / size[1], p[2] / size[2]
    if abs(x) >= abs(y) and abs(x) >= abs(z):
        sign = math.copysign(1.0, x)
        return 0 if x > 0 else 1, (sign, 0.0, 0.0), 0.5 + 0.5 * sign * y, 0.5 - 0.5 * z
    if abs(y) >= abs(z):
        sign = math.copysign(1.0, y)
        return 2 if y > 0 else 3, (0.0, sign, 0.0), 0.5 - 0.5 * sign * x, 0.5 - 0.5 * z
    sign = math.copysign(1.0, z)
    return 4 if z > 0 else 5, (0.0, 0.0, sign), 0.5 + 0.5 * sign * x, 0.5 - 0.5 * y


@njit
def _local_surface(kind, size, p):  # noqa: PLR0911 -- one return per kind
    """(face, outward normal, u, v) at a point of the surface, in local coordinates."""
    if kind == BOX:
        return _box_face(size, p)
    turn = 0.5 + math.atan2(p[1], p[0]) / (2.0 * math.pi)
    rim = math.sqrt(p[0] * p[0] + p[1] * p[1])
    if kind == ELLIPSOID:
        normal = normalised((p[0] / size[0] ** 2, p[1] / size[1] ** 2, p[2] / size[2] ** 2))
        if size[3] > 0.0:
            return 0, normal, 0.5 + 0.5 * p[0] / size[0], 0.5 - 0.5 * p[1] / size[1]
        return 0, normal, turn, math.acos(min(1.0, max(-1.0, p[2] / size[2]))) / math.pi
    if kind == CAPSULE:
        below = p[2] - min(max(p[2], -size[1]), size[1])
        return 0, normalised((p[0], p[1], below)), turn, 0.5 - 0.5 * p[2] / (size[1] + size[0])
    if kind == FRUSTUM:
        slope = (size[1] - size[0]) / (2.0 * size[2])
        for end, bit, limit, face in ((size[2], CAP_TOP, size[1], 1), (-size[2], CAP_BOTTOM, size[0], 2)):
            if int(size[3]) & bit and abs(p[2] - end) < 1e-7 and rim < limit:
                normal = (0.0, 0.0, math.copysign(1.0, end))
                return face, normal, 0.5 + 0.5 * p[0] / limit, 0.5 - 0.5 * p[1] / limit
        normal = normalised((p[0], p[1], -slope * rim))
        return 0, normal, turn, 0.5 - 0.5 * p[2] / size[2]
    ring = size[0] / rim
    normal = normalised((p[0] - ring * p[0], p[1] - ring * p[1], p[2]))
    return 0, normal, turn, 0.5 + math.atan2(p[2], rim - size[0]) / (2.0 * math.pi)


@njit
def surface_at(solid, point, direction):
    """(face, unit normal towards the ray's origin, u, v) of one row of `PackedScene.solids` at a world point."""
    kind, size = int(solid[0]), (solid[13], solid[14], solid[15], solid[16])
    face, normal, u, v = _local_surface(kind, size, _point_into_local(solid, point))
    normal = _out_of_local(solid, normal)
    if dot(normal, direction) > 0.0:
        normal = (-normal[0], -normal[1], -normal[2])
        if kind == BOX:  # seen from inside, as the room is: keep writing upright
            u = 1.0 - u
    return face, normal, u, v
