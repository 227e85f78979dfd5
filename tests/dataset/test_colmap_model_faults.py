"""COLMAP models with wrong values: rows A4, A7, A8 and A9."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest

from gaussian_splatting.dataset.colmap.binary import parse_cameras_binary, parse_images_binary
from gaussian_splatting.dataset.colmap.model import CAMERA_MODELS, read_model
from gaussian_splatting.dataset.colmap.points import parse_points_binary, parse_points_text
from gaussian_splatting.dataset.colmap.text import parse_cameras_text, parse_images_text
from gaussian_splatting.errors import FormatError, SceneError
from gaussian_splatting.io.reader import Reader

UNIT = (1.0, 0.0, 0.0, 0.0)
HERE = (0.0, 0.0, 0.0)


def camera_record(number=1, model=1, width=640, height=480, params=(500.0, 500.0, 320.0, 240.0)) -> bytes:
    return struct.pack("<IiQQ", number, model, width, height) + struct.pack(f"<{len(params)}d", *params)


def image_record(number=1, qvec=UNIT, tvec=HERE, camera=1, name: str | bytes = "a.jpg") -> bytes:
    raw = name if isinstance(name, bytes) else name.encode()
    return struct.pack("<I7dI", number, *qvec, *tvec, camera) + raw + b"\0" + struct.pack("<Q", 0)


def counted(*records: bytes) -> bytes:
    return struct.pack("<Q", len(records)) + b"".join(records)


def cameras(*records: bytes):
    return parse_cameras_binary(Reader(counted(*records), "sparse/0/cameras.bin"))


def images(*records: bytes):
    return parse_images_binary(Reader(counted(*records), "sparse/0/images.bin"))


# A7


@pytest.mark.parametrize("model", CAMERA_MODELS, ids=lambda model: model.name)
def test_every_camera_model_is_read_in_both_formats(model) -> None:
    params = tuple(float(10 + index) for index in range(len(model.parameters)))
    camera = cameras(camera_record(6, model.id, params=params))[6]
    assert (camera.model, camera.params) == (model.name, params)
    assert camera.named == dict(zip(model.parameters, params, strict=True))
    line = f"6 {model.name} 640 480 {' '.join(map(str, params))}\n"
    assert parse_cameras_text(line.encode(), "cameras.txt") == {6: camera}


@pytest.mark.parametrize("number", [77, -1, 18, 2**31 - 1, -(2**31)])
def test_an_unknown_camera_model_is_named_with_its_camera_and_the_commands(number: int) -> None:
    with pytest.raises(FormatError) as caught:
        cameras(camera_record(), camera_record(6, number))
    message = str(caught.value)
    assert "sparse/0/cameras.bin: byte 68: expected a camera model 0 to 17, found " + str(number) in message
    assert "(camera 6)" in message
    assert "colmap image_undistorter --image_path images --input_path sparse/0" in message
    assert "colmap feature_extractor" in message


def test_an_unknown_camera_model_in_text_is_named_with_its_line() -> None:
    with pytest.raises(FormatError) as caught:
        parse_cameras_text(b"# c\n6 WONDERFUL 640 480 1 2 3\n", "sparse/0/cameras.txt")
    message = str(caught.value)
    assert "sparse/0/cameras.txt: line 2: expected a camera model of COLMAP, found WONDERFUL (camera 6)" in message
    assert "colmap image_undistorter" in message
    assert "colmap feature_extractor" in message


# A8

BAD_CAMERAS = [
    ({"params": (math.nan, 500.0, 320.0, 240.0)}, "fx = nan"),
    ({"params": (500.0, math.inf, 320.0, 240.0)}, "fy = inf"),
    ({"params": (0.0, 500.0, 320.0, 240.0)}, "fx = 0.0, which must be positive"),
    ({"params": (500.0, -500.0, 320.0, 240.0)}, "fy = -500.0, which must be positive"),
    ({"params": (500.0, 500.0, 1281.0, 240.0)}, "cx = 1281.0, far outside its 640 x 480 pixels"),
    ({"params": (500.0, 500.0, 320.0, -481.0)}, "cy = -481.0, far outside"),
    ({"width": 0}, "width 0"),
    ({"height": 2**63}, f"height {2**63}"),
    ({"width": 1_000_001}, "width 1000001"),
    ({"model": 17, "params": (0.0, 480.0)}, "w = 0.0, which must be positive"),
    ({"model": 0, "params": (-1.0, 320.0, 240.0)}, "f = -1.0, which must be positive"),
]


@pytest.mark.parametrize(("values", "fault"), BAD_CAMERAS)
def test_a_camera_that_cannot_be_is_refused(values: dict, fault: str) -> None:
    with pytest.raises(FormatError) as caught:
        cameras(camera_record(3, **values))
    assert "cameras.bin: byte 8: expected a usable camera, found camera 3 (" in str(caught.value)
    assert fault in str(caught.value)
    model = {0: "SIMPLE_PINHOLE", 1: "PINHOLE", 17: "EQUIRECTANGULAR"}[values.get("model", 1)]
    params = values.get("params", (500.0, 500.0, 320.0, 240.0))
    line = f"3 {model} {values.get('width', 640)} {values.get('height', 480)} {' '.join(map(str, params))}"
    with pytest.raises(FormatError, match=r"cameras.txt: line 1: expected "):
        parse_cameras_text(line.encode(), "cameras.txt")


def test_a_principal_point_outside_a_crop_is_kept() -> None:
    assert cameras(camera_record(params=(500.0, 500.0, -100.0, 900.0)))[1].named["cy"] == 900.0


BAD_POSES = [
    ((math.nan, 0.0, 0.0, 0.0), HERE, "quaternion"),
    ((math.inf, 0.0, 0.0, 0.0), HERE, "quaternion"),
    ((0.0, 0.0, 0.0, 0.0), HERE, "of length 0, expected 1"),
    ((1e-3, 0.0, 0.0, 0.0), HERE, "of length 0.001"),
    ((1.0, 0.1, 0.0, 0.0), HERE, "of length 1.00499"),
    ((0.998, 0.0, 0.0, 0.0), HERE, "of length 0.998"),
    ((1e200, 0.0, 0.0, 0.0), HERE, "of length inf"),
    (UNIT, (math.nan, 0.0, 0.0), "translation (nan, 0.0, 0.0)"),
    (UNIT, (0.0, 0.0, -math.inf), "translation"),
]


@pytest.mark.parametrize(("qvec", "tvec", "fault"), BAD_POSES)
def test_a_pose_that_cannot_be_is_refused_with_the_name_of_the_image(qvec, tvec, fault: str) -> None:
    with pytest.raises(FormatError) as caught:
        images(image_record(5, qvec, tvec, name="left one.jpg"))
    assert "images.bin: byte 8: expected a usable image, found image 5 ('left one.jpg') that has the " in str(
        caught.value
    )
    assert fault in str(caught.value)
    line = f"5 {' '.join(map(str, (*qvec, *tvec)))} 1 left one.jpg\n\n"
    with pytest.raises(FormatError, match="images.txt: line 1: expected "):
        parse_images_text(line.encode(), "images.txt")


def test_a_quaternion_a_little_off_is_normalised_and_others_are_left_alone() -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        unit = random.standard_normal(4)
        unit /= np.linalg.norm(unit)
        length = random.uniform(0.997, 1.003)
        if abs(length - 1) <= 0.00099:
            found = images(image_record(qvec=tuple(unit * length)))[1].qvec
            assert abs(np.linalg.norm(found) - 1) < 1e-15 * 4
            assert np.allclose(found, unit, atol=1e-15 * 4)
        elif abs(length - 1) >= 0.00101:
            with pytest.raises(FormatError, match="quaternion"):
                images(image_record(qvec=tuple(unit * length)))
    kept = (0.5, 0.5, -0.5, 0.5)
    assert images(image_record(qvec=kept))[1].qvec == kept


WRONG = (math.nan, math.inf, -math.inf, 1e200, -1e200)
OF_CAMERAS = (math.nan, math.inf, -math.inf, -1.0, -1e-300, 0.0)


def test_one_wrong_number_anywhere_is_refused_with_the_name_of_the_image() -> None:
    """2 000 poses, each with one number that is not finite, or a quaternion that is none."""
    random = np.random.default_rng(3)
    for case in range(2000):
        unit = random.standard_normal(4)
        pose = [*(unit / np.linalg.norm(unit)), *random.uniform(-1e3, 1e3, 3)]
        place = int(random.integers(7))
        pose[place] = WRONG[case % (5 if place < 4 else 3)]
        name = f"view {case}.jpg"
        with pytest.raises(FormatError, match=f"'view {case}.jpg'") as caught:
            images(image_record(qvec=pose[:4], tvec=pose[4:], name=name))
        assert ("quaternion" if place < 4 else "translation") in str(caught.value)


def test_one_wrong_number_anywhere_is_refused_with_the_number_of_the_camera() -> None:
    """2 000 cameras, each with a focal length that is none, a principal point far outside, or no size."""
    random = np.random.default_rng(4)
    for case in range(2000):
        width, height = (int(side) for side in random.integers(1, 9000, 2))
        values = {"width": width, "height": height, "params": [500.0, 501.0, width / 2, height / 2]}
        match case % 4:
            case 0:
                values["params"][int(random.integers(2))] = OF_CAMERAS[case // 4 % 6]
            case 1:
                values["params"][2 + int(random.integers(2))] = OF_CAMERAS[case // 4 % 3]
            case 2:
                axis, sign = int(random.integers(2)), random.choice([-1, 1])
                values["params"][2 + axis] = (width, height)[axis] * (0.5 + sign * random.uniform(1.51, 1e6))
            case _:
                values["width" if case % 8 == 3 else "height"] = int(random.choice([0, 1_000_001, 2**63]))
        with pytest.raises(FormatError, match=rf"found camera {case} \("):
            cameras(camera_record(case, **values))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (b"", "has an empty name"),
        (b"a\nb", "control character"),
        (b"a\x7f", "control character"),
        (b"\xff.jpg", "the name of image 1 in UTF-8"),
        (b"x" * 4097, "ends with a NUL within 4096 bytes"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: bytes, fault: str) -> None:
    with pytest.raises(FormatError, match=fault):
        images(image_record(name=name))


def test_a_name_as_long_as_a_path_is_read() -> None:
    assert images(image_record(name=b"x" * 4096))[1].name == "x" * 4096


# A9


def test_the_same_id_or_name_twice_is_refused_with_both() -> None:
    with pytest.raises(FormatError, match=r"byte 64: expected cameras of different ids, found camera 3 twice"):
        cameras(camera_record(3), camera_record(3))
    with pytest.raises(FormatError, match=r"images of different ids, found image 5 twice \('b.jpg'\)"):
        images(image_record(5), image_record(5, name="b.jpg"))
    with pytest.raises(FormatError, match=r"images of different names, found 'a.jpg': images 5, 6"):
        images(image_record(5), image_record(6))
    line = b"3 PINHOLE 640 480 500 500 320 240\n"
    with pytest.raises(FormatError, match=r"line 2: expected cameras of different ids, found camera 3 twice"):
        parse_cameras_text(line * 2, "cameras.txt")
    first, second = b"5 1 0 0 0 0 0 0 1 a.jpg\n\n", b"6 1 0 0 0 0 0 0 1 a.jpg\n\n"
    with pytest.raises(FormatError, match=r"line 3: .* found image 5 twice \('a.jpg'\)"):
        parse_images_text(first * 2, "images.txt")
    with pytest.raises(FormatError, match=r"line 3: .* found 'a.jpg': images 5, 6"):
        parse_images_text(first + second, "images.txt")


def point(number: int = 1, xyz=HERE, error: float = 0.5) -> bytes:
    return struct.pack("<Q3d3BdQ", number, *xyz, 1, 2, 3, error, 1) + struct.pack("<II", 99, 0)


def test_the_same_point_twice_is_refused_with_both_places() -> None:
    with pytest.raises(FormatError, match=r"byte 126: expected points of different ids, found point 7 at byte 67 too"):
        parse_points_binary(
            Reader(counted(point(1)[:-8][:43] + struct.pack("<Q", 1) + bytes(8), point(7), point(7)), "p.bin")
        )
    with pytest.raises(FormatError, match=r"line 3: expected points of different ids, found point 7 on line 1 too"):
        parse_points_text(b"7 0 0 0 1 2 3 0.5\n8 0 0 0 1 2 3 0.5\n7 1 1 1 1 2 3 0.5\n", "p.txt")


def test_tracks_are_not_looked_at() -> None:
    assert len(parse_points_binary(Reader(counted(point(1), point(2)), "p.bin"))) == 2  # image 99 does not exist
    assert len(parse_points_text(b"7 0 0 0 1 2 3 0.5 99 0 rubbish\n", "p.txt")) == 1


def test_points_that_are_not_finite_are_dropped_and_counted() -> None:
    data = counted(point(1), point(2, (0.0, math.nan, 0.0)), point(3, (math.inf, 0.0, 0.0)), point(4, error=math.nan))
    with pytest.warns(UserWarning, match="p.bin: 3 of 4 points are not finite and were dropped"):
        assert parse_points_binary(Reader(data, "p.bin")).ids.tolist() == [1]


def write_scene(folder: Path, image_camera: int) -> Path:
    (folder / "cameras.bin").write_bytes(counted(camera_record(3), camera_record(4)))
    (folder / "images.bin").write_bytes(counted(image_record(5, camera=image_camera, name="x.jpg")))
    return folder


def test_an_image_that_names_a_missing_camera_is_refused_with_both_ids(tmp_path: Path) -> None:
    assert read_model(write_scene(tmp_path, 3)).images[5].camera_id == 3
    with pytest.raises(
        SceneError, match=r"image 5 \('x.jpg'\) names camera 8, which is not among the cameras \(3, 4\)"
    ):
        read_model(write_scene(tmp_path, 8))


def test_a_model_without_images_is_refused(tmp_path: Path) -> None:
    write_scene(tmp_path, 3)
    (tmp_path / "images.bin").write_bytes(counted())
    with pytest.raises(SceneError, match="no registered images"):
        read_model(tmp_path)


# A4


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("1 PINHOLE 640 480 500,5 500 320 240", "a finite number for fx, found b'500,5'"),
        ("1 PINHOLE 640 480 500 500 320 -nan(ind)", "a finite number for cy, found b'-nan(ind)'"),
        ("1 PINHOLE 640 480 500 500 320 1e999", "a finite number for cy, found b'1e999'"),
        ("1 PINHOLE 640 480 500 500 320 nan", "a finite number for cy, found b'nan'"),
        ("1 PINHOLE 640 480 5_0 500 320 240", "a finite number for fx, found b'5_0'"),
        ("1 PINHOLE 640 480 500 500 320", "4 parameters of PINHOLE (fx fy cx cy), found 3 of camera 1"),
        ("1 PINHOLE 640 480 500 500 320 240 0 0", "4 parameters of PINHOLE (fx fy cx cy), found 6 of camera 1"),
        ("1 PINHOLE 640.5 480 500 500 320 240", "the width in whole pixels, found b'640.5'"),
        ("-1 PINHOLE 640 480 500 500 320 240", "the id of the camera, a whole number, found b'-1'"),
        ("4294967296 PINHOLE 640 480 500 500 320 240", "the id of the camera"),
        ("1 PINHOLE", "CAMERA_ID MODEL WIDTH HEIGHT PARAMS[], found"),
    ],
)
def test_a_wrong_line_of_cameras_is_shown(line: str, found: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_cameras_text(f"# c\r\n\r\n{line}\r\n".encode(), "cameras.txt")
    assert str(caught.value).startswith("cameras.txt: line 3: expected ")
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "number", "found"),
    [
        (["1 1 0 0 0 0 0 1 a.jpg", ""], 1, "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, found"),
        (["1 1 0 0 0 0 0 0 1", ""], 1, "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, found"),
        (["1 1 0 0 0 0 0,5 0 1 a.jpg", ""], 1, "a finite number for TY, found b'0,5'"),
        (["1 -nan(ind) 0 0 0 0 0 0 1 a.jpg", ""], 1, "a finite number for QW, found b'-nan(ind)'"),
        (["1 1 0 0 0 1e999 0 0 1 a.jpg", ""], 1, "a finite number for TX, found b'1e999'"),
        (["1 1 0 0 0 0 0 0 x a.jpg", ""], 1, "the id of the camera"),
        (["1 1 0 0 0 0 0 0 1 a.jpg", "1.0 2.0"], 2, "X Y POINT3D_ID for each observation of image 1 ('a.jpg')"),
        (["1 1 0 0 0 0 0 0 1 a.jpg", "1.0 2,5 3"], 2, "a finite number for an observation of image 1, found b'2,5'"),
        (["1 1 0 0 0 0 0 0 1 a.jpg", "1.0 2.5 x"], 2, "the point of an observation of image 1"),
        (
            ["1 1 0 0 0 0 0 0 1 a.jpg", "2 1 0 0 0 0 0 0 1 b.jpg", ""],
            2,
            "X Y POINT3D_ID for each observation of image 1",
        ),
        (["1 1 0 0 0 0 0 0 1 a.jpg", "2 .6 .8 0 0 0 0 0 1 b c d.jpg", ""], 2, "an observation of image 1"),
    ],
)
def test_a_wrong_line_of_images_is_shown(lines: list[str], number: int, found: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_images_text("\n".join(lines).encode(), "images.txt")
    assert str(caught.value).startswith(f"images.txt: line {number}: expected ")
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("1 0 0 0 1 2", "POINT3D_ID X Y Z R G B ERROR TRACK[], found"),
        ("1 0 -nan(ind) 0 1 2 3 0.5", "a finite number for Y, found b'-nan(ind)'"),
        ("1 0 0 0,5 1 2 3 0.5", "a finite number for Z, found b'0,5'"),
        ("1 0 0 0 1 256 3 0.5", "a whole number from 0 to 255 for G, found b'256'"),
        ("1 0 0 0 1 -1 3 0.5", "a whole number from 0 to 255 for G, found b'-1'"),
        ("1 0 0 0 1 2 3 1e999", "a finite number for ERROR, found b'1e999'"),
        ("18446744073709551616 0 0 0 1 2 3 1", "the id of the point"),
    ],
)
def test_a_wrong_line_of_points_is_shown(line: str, found: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_points_text(f"# c\n{line}\n".encode(), "points3D.txt")
    assert str(caught.value).startswith("points3D.txt: line 2: expected ")
    assert found in str(caught.value)


IMAGE_LINES = ["# list", "", "1 1 0 0 0 0 0 0 1 a b.jpg", "1.5 2.5 -1", "  2 1 0 0 0 0 0 0 1 sub/c.jpg", "", "# end"]


@pytest.mark.parametrize(
    "data",
    [
        "\n".join(IMAGE_LINES),
        "\r\n".join(IMAGE_LINES),
        "\ufeff" + "\r\n".join(IMAGE_LINES),
        "\n".join(IMAGE_LINES[:-2]),  # the second line of the last image is missing
        "\n".join(IMAGE_LINES[:-2]) + "\n",
        "\n".join(line.replace(" 0 ", "\t0\t").replace("0 0", "0\t 0") for line in IMAGE_LINES),
    ],
    ids=["plain", "CRLF", "byte order mark", "no last line", "no last line but its break", "tabs"],
)
def test_every_dialect_of_text_gives_the_same_images(data: str) -> None:
    found = parse_images_text(data.encode(), "images.txt")
    assert [(image.id, image.name) for image in found.values()] == [(1, "a b.jpg"), (2, "sub/c.jpg")]


@pytest.mark.parametrize(
    "name",
    [
        " a.jpg",
        "a.jpg ",
        "a  b.jpg",
        "#a.jpg",
        "'a'.jpg",
        "100%.jpg",
        "é.jpg",
        "e\u0301.jpg",
        "a\\b.jpg",
        "1 2 3",
        "日本.jpg",
        "🙂",
    ],
)
def test_text_and_binary_agree_on_names(name: str) -> None:
    text = parse_images_text(f"1 1 0 0 0 0 0 0 1 {name}\n\n".encode(), "images.txt")
    assert text[1].name == images(image_record(name=name))[1].name == name
