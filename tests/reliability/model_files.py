"""Small COLMAP models and PLY files to damage."""

from __future__ import annotations

import struct

CAMERAS = [
    (1, 1, 640, 480, (500.0, 501.5, 320.0, 240.0)),
    (2, 0, 1920, 1080, (1200.25, 960.0, 540.0)),
    (7, 4, 3008, 2000, (2500.0, 2501.0, 1504.0, 1000.0, -0.1, 0.05, 0.001, -0.002)),
]
IMAGES = [
    (1, (1.0, 0.0, 0.0, 0.0), (0.5, -0.25, 3.0), 1, "left.jpg", [(10.5, 20.5, 1), (30.0, 40.0, -1)]),
    (2, (0.5, 0.5, -0.5, 0.5), (0.0, 1.0, 2.0), 2, "sub/a b.png", []),
    (5, (0.6, 0.0, 0.8, 0.0), (-1.0, 0.0, 0.0), 7, "é日本.jpg", [(1.0, 2.0, 3)]),
]
POINTS = [
    (1, (0.1, 0.2, 0.3), (255, 128, 0), 0.5, [(1, 0), (2, 4)]),
    (3, (-4.0, 5.5, 6.25), (1, 2, 3), 1.25, []),
    (2**40, (7.0, -8.0, 9.0), (0, 0, 0), -1.0, [(5, 1)]),
    (9, (1e-3, 2e5, 0.0), (9, 9, 9), 0.0, [(1, 1), (2, 2), (5, 0)]),
]


def cameras_binary() -> bytes:
    records = [
        struct.pack("<IiQQ", number, model, width, height) + struct.pack(f"<{len(params)}d", *params)
        for number, model, width, height, params in CAMERAS
    ]
    return struct.pack("<Q", len(records)) + b"".join(records)


def images_binary() -> bytes:
    records = [
        struct.pack("<I7dI", number, *qvec, *tvec, camera)
        + name.encode()
        + b"\0"
        + struct.pack("<Q", len(observations))
        + b"".join(struct.pack("<ddq", *observation) for observation in observations)
        for number, qvec, tvec, camera, name, observations in IMAGES
    ]
    return struct.pack("<Q", len(records)) + b"".join(records)


def points_binary() -> bytes:
    records = [
        struct.pack("<Q3d3BdQ", number, *xyz, *rgb, error, len(track))
        + b"".join(struct.pack("<II", *entry) for entry in track)
        for number, xyz, rgb, error, track in POINTS
    ]
    return struct.pack("<Q", len(records)) + b"".join(records)


def cameras_text() -> bytes:
    names = {1: "PINHOLE", 0: "SIMPLE_PINHOLE", 4: "OPENCV"}
    lines = ["# Camera list", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    for number, model, width, height, params in CAMERAS:
        lines.append(" ".join(map(str, (number, names[model], width, height, *params))))
    return ("\n".join(lines) + "\n").encode()


def images_text() -> bytes:
    lines = ["# Image list"]
    for number, qvec, tvec, camera, name, observations in IMAGES:
        lines.append(" ".join(map(str, (number, *qvec, *tvec, camera, name))))
        lines.append(" ".join(" ".join(map(str, observation)) for observation in observations))
    return ("\n".join(lines) + "\n").encode()


def points_text() -> bytes:
    lines = ["# 3D point list"]
    for number, xyz, rgb, error, track in POINTS:
        views = [value for entry in track for value in entry]
        lines.append(" ".join(map(str, (number, *xyz, *rgb, error, *views))))
    return ("\n".join(lines) + "\n").encode()


SPLAT = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
SPLAT += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]


def header(
    encoding: str, *elements: tuple[str, int, list[str]], line_break: str = "\n", comment: bool = False
) -> bytes:
    lines = ["ply", f"format {encoding} 1.0"] + ["comment made for tests"] * comment
    for name, count, properties in elements:
        lines.append(f"element {name} {count}")
        lines += [f"property {declared}" for declared in properties]
    return (line_break.join([*lines, "end_header"]) + line_break).encode()


def ply_files() -> list[bytes]:
    """One of every dialect: encodings, line breaks, lists, several elements, orders and number types."""
    floats = [f"float {name}" for name in SPLAT]
    row = [0.5, 1.0, -2.0, 0.0, 0.0, 0.0, 0.1, 0.2, 0.3, -1.0, -3.0, -3.5, -4.0, 1.0, 0.0, 0.5, 0.25]
    rest = [f"double f_rest_{index}" for index in range(9)]
    cloud = ["float x", "float y", "float z", "uchar red", "uchar green", "uchar blue"]
    face = ["list uchar int vertex_indices", "float quality"]
    points = struct.pack("<3f3B", 1, 2, 3, 4, 5, 6) * 3
    return [
        header("binary_little_endian", ("vertex", 2, floats)) + struct.pack("<17f", *row) * 2,
        header("binary_big_endian", ("vertex", 1, floats), comment=True) + struct.pack(">17f", *row),
        header("binary_little_endian", ("vertex", 1, [*rest, *reversed(floats)]))
        + struct.pack("<9d17f", *range(9), *row[::-1]),
        header("ascii", ("vertex", 2, floats), comment=True) + (" ".join(map(str, row)) + "\n").encode() * 2,
        header("ascii", ("vertex", 2, cloud), line_break="\r\n") + b"1 2 3 4 5 6\r\n-1.5 2e3 .5 255 0 7\r\n",
        header("binary_little_endian", ("vertex", 3, cloud), ("face", 2, face))
        + points
        + struct.pack("<B3if", 3, 0, 1, 2, 0.5) * 2,
        header("binary_little_endian", ("face", 2, face), ("vertex", 3, cloud))
        + struct.pack("<B3if", 3, 0, 1, 2, 0.5)
        + struct.pack("<B4if", 4, 0, 1, 2, 0, 1.5)
        + points,
        header("ascii", ("face", 2, ["list char short i", "int a", "list uint float w"]), line_break="\r")
        + b"2 1 2 -7 0\r0 3 1 1.5\r",
        header("binary_little_endian", ("only", 3, ["list ushort double v"]), ("none", 0, []))
        + struct.pack("<HdHH2d", 1, 0.5, 0, 2, 1.0, 2.0),
    ]
