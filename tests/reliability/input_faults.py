"""Faulty files by name: models, JSON, scenes, pictures and splats that must end in one message."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import model_files
import numpy as np
import tifffile
from PIL import Image
from tiny_scenes import png, write_scene

from gaussian_splatting.dataset.colmap.binary import parse_cameras_binary, parse_images_binary
from gaussian_splatting.dataset.colmap.points import parse_points_binary, parse_points_text
from gaussian_splatting.dataset.colmap.text import parse_cameras_text, parse_images_text
from gaussian_splatting.dataset.decode import read_colors, read_depth
from gaussian_splatting.dataset.json_dataset import JSONCameraDataset
from gaussian_splatting.dataset.pictures import PictureLimits
from gaussian_splatting.dataset.scenes import open_scene
from gaussian_splatting.dataset.split import split_indices
from gaussian_splatting.dataset.strict_json import parse_json
from gaussian_splatting.dataset.transforms import TransformsCameraDataset
from gaussian_splatting.io.formats import read_splats, write_splats
from gaussian_splatting.io.ply import GaussianArrays, parse_gaussians, read_gaussians, write_gaussians
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.splat_editing import parse_numbers, parse_transform

Case = Callable[[Path], Any]
NAN, INFINITE = float("nan"), float("inf")


def bytes_case(parse_bytes: Callable[..., Any], path: str, data: bytes) -> Case:
    return lambda _: parse_bytes(Reader(data, path))


def text_case(parse_text: Callable[..., Any], path: str, text: str) -> Case:
    return lambda _: parse_text(text.encode(), path)


# A: models


def camera(model: int = 1, width: int = 640, height: int = 480, params: tuple = (500.0, 500.0, 320.0, 240.0)) -> bytes:
    return struct.pack(f"<QIiQQ{len(params)}d", 1, 3, model, width, height, *params)


def image(qvec: tuple = (1.0, 0, 0, 0), tvec: tuple = (0.0, 0, 0), name: bytes = b"a.jpg") -> bytes:
    return struct.pack("<QI7dI", 1, 5, *qvec, *tvec, 3) + name + b"\0" + struct.pack("<Q", 0)


def colmap() -> Iterator[tuple[str, Case]]:
    cameras = {
        "unknown model": camera(77), "no width": camera(width=0), "focal length 0": camera(params=(0.0, 5, 3, 2)),
        "focal length nan": camera(params=(NAN, 5.0, 3, 2)), "centre far outside": camera(params=(5.0, 5, 9e9, 2)),
        "too short": camera()[:20], "a count of everything": b"\xff" * 8, "more than it should": camera() + b"x",
        "empty": b"", "twice": struct.pack("<Q", 2) + camera()[8:] * 2,
    }  # fmt: skip
    for name, data in cameras.items():
        yield f"cameras.bin, {name}", bytes_case(parse_cameras_binary, "cameras.bin", data)
    images = {
        "quaternion 0": image((0.0, 0, 0, 0)), "quaternion nan": image((NAN, 0, 0, 0)),
        "translation infinite": image(tvec=(INFINITE, 0, 0)), "no name": image(name=b""),
        "line break in the name": image(name=b"a\nb"), "name not UTF-8": image(name=b"\xff"),
        "endless name": image(name=b"x" * 5000), "cut in the pose": image()[:40],
    }  # fmt: skip
    for name, data in images.items():
        yield f"images.bin, {name}", bytes_case(parse_images_binary, "images.bin", data)
    yield (
        "points3D.bin, track too long",
        bytes_case(parse_points_binary, "points3D.bin", struct.pack("<QQ3d3BdQ", 1, 1, 0, 0, 0, 1, 2, 3, 0.5, 2**29)),
    )
    yield "points3D.bin, cut", bytes_case(parse_points_binary, "points3D.bin", model_files.points_binary()[:-3])
    lines = {
        "unknown model": "1 FOO 640 480 500", "too few parameters": "1 PINHOLE 640 480 500",
        "too many": "1 PINHOLE 640 480 1 2 3 4 5", "no number": "1 PINHOLE 640 x 1 2 3 4",
        "decimal comma": "1 PINHOLE 640 480 500,5 500 320 240", "nan": "1 PINHOLE 640 480 nan 1 2 3",
        "endless digits": "1 PINHOLE " + "9" * 500 + " 1 1 2 3 4", "negative size": "1 PINHOLE -4 480 1 2 3 4",
        "a distorted model": "1 FOV 640 480 500 500 320 240 x",
    }  # fmt: skip
    for name, line in lines.items():
        yield f"cameras.txt, {name}", text_case(parse_cameras_text, "cameras.txt", f"# header\n{line}\n")
    rows = {
        "no name": "1 1 0 0 0 0 0 0 1\n\n",
        "half an observation": "1 1 0 0 0 0 0 0 1 a.jpg\n1.0 2.0\n",
        "not a number": "1 1 0 0 0 -nan(ind) 0 0 1 a.jpg\n\n",
    }  # fmt: skip
    for name, text in rows.items():
        yield f"images.txt, {name}", text_case(parse_images_text, "images.txt", text)
    for name, text in {"colour 300": "1 0 0 0 300 0 0 0.5", "no error": "1 0 0 0 1 2 3"}.items():
        yield f"points3D.txt, {name}", text_case(parse_points_text, "points3D.txt", text + "\n")


def json_files() -> Iterator[tuple[str, Case]]:
    texts = {
        "nothing": "", "two commas": "[1,\n2,,]", "NaN": "[NaN]", "a key twice": '{"a": 1, "a": 2}',
        "deep": "[" * 99_999,
        "a long number": "9" * 999, "not UTF-8": "\udcff",
    }  # fmt: skip
    for name, text in texts.items():
        data = text.encode("utf-8", "surrogateescape")
        yield f"any, {name}", lambda _, data=data: parse_json(data, "cameras.json", "cameras")
    good = {"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}
    shared = {"fl_x": 20.0, "w": 16, "h": 12}
    wrong: dict[str, Any] = {
        "no frames": {}, "frames empty": {"frames": []}, "a frame that is a number": {"frames": [3]},
        "no file_path": shared | {"frames": [{"transform_matrix": np.eye(4).tolist()}]},
        "no matrix": shared | {"frames": [{"file_path": "a.png"}]}, "no focal length": {"frames": [good]},
        "matrix 2 x 2": shared | {"frames": [good | {"transform_matrix": [[1, 0], [0, 1]]}]},
        "mirrored": shared | {"frames": [good | {"transform_matrix": np.diag([1.0, 1, -1, 1]).tolist()}]},
        "leads out": shared | {"frames": [good | {"file_path": "../a.png"}]},
        "absolute": shared | {"frames": [good | {"file_path": "/etc/passwd"}]},
        "missing picture": shared | {"frames": [good | {"file_path": "b.png"}]},
        "two frames, one picture": shared | {"frames": [good, good]}, "an unknown lens": shared
        | {"camera_model": "FOV", "frames": [good]}, "width alone": {"fl_x": 20, "w": 16, "frames": [good]},
        "another shape": {"fl_x": 20.0, "w": 12, "h": 16, "frames": [good]},
        "folded lens": shared | {"k1": -9.0, "p2": 0.9, "frames": [good]},
    }  # fmt: skip
    for name, content in wrong.items():

        def case(folder: Path, content: Any = content) -> Any:
            (folder / "a.png").write_bytes(png())
            (folder / "transforms.json").write_text(json.dumps(content))
            return TransformsCameraDataset(folder)

        yield f"transforms.json, {name}", case
    entry = {
        "id": 0, "img_name": "a", "width": 16, "height": 12, "fx": 20, "fy": 20, "position": [0, 0, 0],
        "rotation": np.eye(3).tolist(),
    }  # fmt: skip
    entries: dict[str, Any] = {
        "no camera": [], "an object": {}, "no width": [{"id": 0}], "a size of half pixels": [entry | {"width": 16.5}],
        "no rotation": [entry | {"rotation": [[1, 0, 0]] * 3}], "focal length -1": [entry | {"fx": -1}],
        "picture elsewhere": [entry | {"ground_truth_image_path": "/etc/passwd"}],
        "missing picture": [entry | {"ground_truth_image_path": "b.png"}], "an alpha of ours": [entry | {"alpha": "x"}],
    }  # fmt: skip
    for name, content in entries.items():

        def read(folder: Path, content: Any = content) -> Any:
            (folder / "cameras.json").write_text(json.dumps(content))
            return JSONCameraDataset(folder / "cameras.json")

        yield f"cameras.json, {name}", read


def scenes() -> Iterator[tuple[str, Case]]:
    yield "nothing there", lambda folder: open_scene(folder / "nowhere")
    yield "an empty folder", lambda folder: open_scene(folder)
    yield "no pictures", lambda folder: open_scene(without(write_scene(folder / "s"), "images"))
    yield "no model", lambda folder: open_scene(without(write_scene(folder / "s"), "sparse/0"))
    yield "no cameras.bin", lambda folder: open_scene(without(write_scene(folder / "s"), "sparse/0/cameras.bin"))
    yield (
        "all pictures missing",
        lambda folder: open_scene(write_scene(folder / "s", missing=[f"{i:04d}.png" for i in range(5)])),
    )
    yield "one missing, strict", lambda folder: open_scene(write_scene(folder / "s", missing=["0001.png"]), strict=True)
    yield (
        "a picture of another shape",
        lambda folder: open_scene(write_scene(folder / "s", pictures={"0001.png": png((16, 9))})),
    )
    yield "a picture turned", lambda folder: open_scene(write_scene(folder / "s", pictures={"0001.png": png((12, 16))}))
    yield "a mask of another shape", lambda folder: open_scene(with_file(folder, "0001_mask.png", png((16, 4))))
    yield (
        "a picture that leads out",
        lambda folder: open_scene(write_scene(folder / "s", names=["../x.png", *"bcde"])),
    )
    yield "resolution 3", lambda folder: open_scene(write_scene(folder / "s"), resolution=3)
    yield "image_scale 2", lambda folder: open_scene(write_scene(folder / "s"), image_scale=2.0)
    yield "image_scale 0.0001", lambda folder: open_scene(write_scene(folder / "s"), image_scale=0.0001)
    yield "both sizes", lambda folder: open_scene(write_scene(folder / "s"), image_scale=0.5, resolution=2)
    yield "an empty split", lambda _: split_indices(["a"], "train")
    yield "a split of one's own", lambda _: split_indices(["a"], "validation")  # pyright: ignore[reportArgumentType]
    yield "no memory", lambda _: PictureLimits(memory=-1)


def without(scene: Path, name: str) -> Path:
    os.rename(scene / name, scene.parent / "moved")
    return scene


def with_file(folder: Path, name: str, content: bytes) -> Path:
    scene = write_scene(folder / "s")
    (scene / "images" / name).write_bytes(content)
    return scene


def pictures() -> Iterator[tuple[str, Case]]:
    contents = {
        "empty": b"", "a web page": b"<!DOCTYPE html><html>", "cut": png()[:60], "text": b"hello",
        "a zip": b"PK\3\4" * 9,
    }  # fmt: skip
    for name, content in contents.items():
        yield name, lambda folder, content=content: read_colors(file(folder, "a.jpg", content))
    yield "missing", lambda folder: read_colors(folder / "a.jpg")
    yield "a folder", lambda folder: read_colors(folder)
    yield "too large", lambda folder: read_colors(file(folder, "a.png", png()), 100)
    yield "an animation", animation
    yield "floats of 0 to 255", lambda folder: read_colors(tiff(folder, np.full((4, 4), 200, np.float32)))
    yield "signed numbers", lambda folder: read_colors(tiff(folder, np.zeros((4, 4), np.int32)))
    yield "a damaged TIFF", lambda folder: read_depth(file(folder, "a.tiff", b"II*\0" + b"\xff" * 40))


def file(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def tiff(folder: Path, values: np.ndarray) -> Path:
    tifffile.imwrite(folder / "a.tiff", values)
    return folder / "a.tiff"


def animation(folder: Path) -> Any:
    frames = [Image.new("L", (4, 4)), Image.new("L", (4, 4), 9)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    return read_colors(folder / "a.gif")


# D: splats


def splats() -> Iterator[tuple[str, Case]]:
    whole = model_files.ply_files()[0]
    plys = {
        "empty": b"", "no ply": b"hello\n", "no end of the header": whole[:100], "cut": whole[:-5],
        "more than it should": whole + b"x", "a count of -1": whole.replace(b"vertex 2", b"vertex -1"),
        "a billion": whole.replace(b"vertex 2", b"vertex 1000000000"),
        "no opacity": whole.replace(b"float opacity", b"float other"), "an unknown type": whole.replace(b"float x",
        b"real x"),
        "a property twice": whole.replace(b"float y", b"float x"), "an unknown encoding": whole.replace(b"little",
        b"middle"),
        "f_rest of 1": whole.replace(b"float nx", b"float f_rest_0"), "a point cloud": model_files.ply_files()[4],
    }  # fmt: skip
    for name, data in plys.items():
        yield f"ply, {name}", lambda _, data=data: parse_gaussians(Reader(data, "a.ply"))
    yield "ply, not finite and strict", not_finite_and_strict
    yield "ply, missing", lambda folder: read_gaussians(folder / "a.ply")
    yield "ply, written with NaN", lambda folder: write_gaussians(folder / "a.ply", arrays(NAN))
    for ending in (".splat", ".spz", ".ksplat", ".glb", ".sog", ".compressed.ply", ".safetensors"):
        yield (
            f"{ending}, of 40 odd bytes",
            lambda folder, ending=ending: read_splats(file(folder, f"a{ending}", bytes(range(40)))),
        )
    yield "an unknown ending", lambda folder: read_splats(file(folder, "a.abc", b"x"))
    yield "written with an unknown ending", lambda folder: write_splats(folder / "a.abc", arrays(0.5))
    yield "transform of words", lambda _: parse_transform("a b c")
    yield "transform of three numbers", lambda _: parse_transform("1,2,3")
    yield "numbers of the wrong count", lambda _: parse_numbers("1,2", 3, "--centre")


def arrays(value: float) -> GaussianArrays:
    shapes = [(3,), (1, 3), (0, 3), (1,), (3,), (4,)]
    return GaussianArrays(*(np.full((2, *shape), value, np.float32) for shape in shapes))


def not_finite_and_strict(folder: Path) -> Any:
    data = bytearray(model_files.ply_files()[0])
    place = data.index(b"end_header\n") + 11
    data[place : place + 4] = struct.pack("<f", NAN)
    return parse_gaussians(Reader(bytes(data), "a.ply"), strict=True)
