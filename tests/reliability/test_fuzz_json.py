"""Damaged transforms.json and cameras.json: row A13. Finite cameras, or an error with its place in the file."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutations import CORPUS, MEMORY_ABOVE_FILE, Damage, bounded_memory, bounded_time, keep, outcome, peak_of
from PIL import Image

from gaussian_splatting.dataset import json_dataset, view_pictures
from gaussian_splatting.dataset.decode import read_header
from gaussian_splatting.dataset.json_dataset import JSONCameraDataset
from gaussian_splatting.dataset.strict_json import JsonValue, parse_json, read_json
from gaussian_splatting.dataset.transforms import TransformsCameraDataset
from gaussian_splatting.dataset.transforms import dataset as transforms_dataset
from gaussian_splatting.dataset.transforms import file as transforms_file
from gaussian_splatting.dataset.view import View
from gaussian_splatting.errors import SplatError

NUM_CASES = 10_000  # of each file
NAMES = ("a.png", "b.png", "c.png")
SIZE = (40, 30)
FRAGMENTS = (
    b"null", b"true", b"false", b"[]", b"{}", b"[[]]", b'""', b'"x"', b"0", b"-1", b"-0.0", b"1e308", b"1e999",
    b"-1e999", b"1e-320", b"NaN", b"Infinity", b"0.5", b"3.2", b"1000001", b"40.5", b"18446744073709551616", b"9" * 399,
    b"9" * 401, b"[" * 2000, b'{"a":' * 2000, b'"/etc/passwd"', b'"../a.png"', b'"a/../../b.png"', b'"C:\\\\x.png"',
    b'"\\\\\\\\host\\\\x"', b'"CON"', b'"a\\u0000.png"', b'"\\ud800.png"', b'"a.png"', b'"missing.png"', b'"/dev/zero"',
    b'"OPENCV_FISHEYE"', b'"OPENCV"', b"[1,0,0]", b"[[1,0,0],[0,1,0],[0,0,1]]", b'"k1":0.5,', b'"w":40,', b'"h":0,',
    b'"fl_x":1e-300,', b'"fl_x":1e300,', b'"camera_angle_x":3.1415926,', b'"alpha":"mask",', b'"depth_unit":0,',
    b'"rotation":null,', b'"transform_matrix":null,', b'"file_path":"b.png",', b",", b'"', b":", b"]", b"}", b"\xff",
    b"\xef\xbb\xbf", b"//", b"\\", b"\n",
)  # fmt: skip
# A place in the file: a value by its JSON path, a line, a byte, a key or number as written; or the picture or view.
PLACES = (
    r"cameras(\[\d+\])?[\w.\[\]]* ",
    r"frames(\[\d+\])?[\w.\[\]]*:? ",
    r": [\w.\[\]]+ (must|needs|describes|has|stands) ",
    r"the whole ",
    r"line \d+, column \d+",
    r"byte \d+ ",
    r"the key '.*' appears twice",
    r"a number of \d+ characters",
    r"is not a JSON number",
    r"nested too deeply",
    r"no (frames|cameras) in it",
    r"its lists leave no frame",
    r"the train split of \d+ views is empty",
    r"pictures of the model are not there",
    r"view '.*': ",
    r"\.png: ",
    r" does not exist; ",
    r"cannot be looked up",
)
PLACE = re.compile("|".join(PLACES), re.DOTALL)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three pictures, which both kinds of file name."""
    root = tmp_path_factory.mktemp("scene")
    for name in NAMES:
        Image.new("RGB", SIZE, 120).save(root / name)
    return root


MEMORY: dict[Path, bytes] = {}


@pytest.fixture(autouse=True)
def files_in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The damaged file is read from `MEMORY` when it is there, and headers of pictures once: disks are slow."""
    for module in (transforms_dataset, view_pictures, json_dataset):
        monkeypatch.setattr(module, "read_header", cache(read_header))

    def read(path: Path, where: str = "") -> JsonValue:
        return parse_json(MEMORY[path], path, where) if path in MEMORY else read_json(path, where)

    for module in (transforms_file, json_dataset):
        monkeypatch.setattr(module, "read_json", read)
    yield
    MEMORY.clear()


def turned(angle: float) -> np.ndarray:
    cos, sin = np.round([np.cos(angle), np.sin(angle)], 9)
    return np.array([[cos, 0, sin, 0.5], [0, 1, 0, -0.25], [-sin, 0, cos, 3], [0, 0, 0, 1]])


def transforms_json() -> list[bytes]:
    shared = {"fl_x": 35.0, "fl_y": 36.5, "cx": 21.0, "cy": 14.0, "w": SIZE[0], "h": SIZE[1]}
    distorted = shared | {
        "camera_model": "OPENCV", "k1": 0.01, "k2": 0, "p1": 0.001, "p2": 0,
        "applied_transform": [[1, 0, 0, 0.5], [0, 0, 1, 0], [0, -1, 0, 0]], "applied_scale": 2,
        "train_filenames": ["a.png", "./b.png"], "aabb_scale": 16,
    }  # fmt: skip
    frames = [{"file_path": name, "transform_matrix": turned(i).tolist()} for i, name in enumerate(NAMES)]
    own = [frame | {"fl_x": 30.0 + i, "mask_path": "./b.png"} for i, frame in enumerate(frames[:2])]
    synthetic = [frame | {"file_path": frame["file_path"].removesuffix(".png"), "rotation": 0.1} for frame in frames]
    contents = [
        shared | {"frames": frames},
        distorted | {"frames": own},
        {"camera_angle_x": 0.69, "frames": synthetic},
    ]
    return [json.dumps(content).encode() for content in contents]


def cameras_json() -> list[bytes]:
    entry = {
        "id": 0, "img_name": "a", "width": SIZE[0], "height": SIZE[1], "position": [0.5, -0.25, 3.0], "fx": 35.0,
        "fy": 36.5, "rotation": turned(0.5)[:3, :3].tolist(), "cx": 20.0, "cy": 15.0,
    }  # fmt: skip
    full = entry | {
        "id": 1, "img_name": "b", "ground_truth_image_path": "b.png", "ground_truth_depth_path": "c.png",
        "ground_truth_image_mask_path": "a.png", "ground_truth_depth_mask_path": None, "alpha": "composite",
        "depth_scale": [1.5, 0.1], "depth_unit": 0.001, "exposure": np.eye(3, 4).tolist(),
        "lens": {"model": "OPENCV", "width": 40, "height": 30, "params": [35, 36, 20, 15, 0.01, 0, 0, 0]},
    }  # fmt: skip
    plain = entry | {"ground_truth_image_path": "a.png"}
    return [json.dumps(content).encode() for content in ([plain, full], [entry], [plain])]


Read = Callable[[Path], Sequence[View]]
FILES: dict[str, tuple[Read, Callable[[], list[bytes]]]] = {
    "transforms.json": (
        lambda path: TransformsCameraDataset(path, split="train", world="original").views,
        transforms_json,
    ),
    "cameras.json": (lambda path: JSONCameraDataset(path).views, cameras_json),
}


def numbers_of(views: Sequence[View]) -> list[Any]:
    return [(v.name, v.width, v.height, v.fx, v.fy, v.cx, v.cy, v.R.tolist(), v.T.tolist()) for v in views]


def parser(path: Path, read: Read, *, on_disk: bool = False) -> Callable[[bytes], Sequence[View]]:
    path.touch()

    def parse(data: bytes) -> Sequence[View]:
        if on_disk:
            path.write_bytes(data)
        else:
            MEMORY[path] = data
        return read(path)

    return parse


def fault_of(found: Any, path: Path) -> str | None:
    """What is wrong with an outcome: views that are not finite, or a message that names no place."""
    if isinstance(found, SplatError):
        message = str(found)
        named = str(path) in message or ".png" in message or "view " in message
        return None if named and PLACE.search(message) and len(message) < 2000 else f"no place: {message}"
    for view in found:
        camera = view.camera()
        if not (camera.full_proj_transform.isfinite().all() and camera.K.isfinite().all()):
            return f"view {view.name!r} is not finite"
    return None if len(found) else "no views and no error"


def same_content(data: bytes, contents: list[str]) -> int | None:
    """Which of the files these bytes mean, as Python's own reader sees them; None when they mean something else."""
    try:
        content = canonical(data)
    except (ValueError, RecursionError):
        return None
    return contents.index(content) if content in contents else None


def canonical(data: bytes) -> str:
    """One spelling for every way to write the same JSON without a key twice."""

    def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    return json.dumps(json.loads(data, object_pairs_hook=without_twins), sort_keys=True)


def campaign(cases: Iterator[bytes], name: str, scene: Path, *, on_disk: bool = False) -> tuple[int, int]:
    read, seeds = FILES[name][0], FILES[name][1]()
    path = scene / name
    parse = parser(path, read, on_disk=on_disk)
    expected, contents = [numbers_of(parse(seed)) for seed in seeds], [canonical(seed) for seed in seeds]
    accepted = refused = 0
    with bounded_memory(), bounded_time() as begin, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in cases:
            begin()
            try:
                found = outcome(parse, data)
                fault = fault_of(found, path)
            except BaseException as escaped:
                raise AssertionError(f"escaped: {escaped!r}: kept as {keep(data)}") from escaped
            meant = same_content(data, contents) if fault is None else None
            if meant is not None and (isinstance(found, SplatError) or numbers_of(found) != expected[meant]):
                fault = f"the same content was read as {found}"
            assert fault is None, f"{fault}: kept as {keep(data)}"
            if isinstance(found, SplatError):
                refused += 1
            else:
                accepted += 1
    return accepted, refused


def damaged(name: str, seed: int, number: int) -> Iterator[bytes]:
    return Damage(FILES[name][1](), seed, fragments=FRAGMENTS).cases(number)


@pytest.mark.parametrize("name", FILES)
def test_every_file_that_ever_broke_a_reader_is_refused_now(name: str, scene: Path) -> None:
    campaign(iter(path.read_bytes() for path in sorted(CORPUS.glob("*"))), name, scene)


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_become_finite_cameras_or_an_error_with_its_place(name: str, scene: Path) -> None:
    accepted, refused = campaign(damaged(name, 31, NUM_CASES), name, scene)
    assert min(accepted, refused) > NUM_CASES / 20, (accepted, refused)


@pytest.mark.parametrize("name", FILES)
def test_nothing_outside_the_scene_is_opened(name: str, scene: Path) -> None:
    """Also where the damage is a path: the audit hook hears every file that is opened."""
    opened: set[str] = set()
    watching = True

    def hook(event: str, arguments: tuple) -> None:
        if watching and event == "open" and isinstance(arguments[0], str):
            opened.add(arguments[0])

    sys.addaudithook(hook)
    paths = tuple(fragment for fragment in FRAGMENTS if b"/" in fragment or b"\\" in fragment or b"png" in fragment)
    campaign(Damage(FILES[name][1](), 32, fragments=paths * 8).cases(300), name, scene, on_disk=True)
    watching = False
    ours = (str(scene), str(CORPUS), "/proc/self", sys.prefix, sys.base_prefix)
    assert str(scene / name) in opened
    assert [path for path in opened if not path.startswith(ours)] == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"frames":' * 100_000,
        b"9" * 10_000_000,
        b"[" + b"1," * 50_000 + b"1]",
        b'"' + b"x" * 5_000_000,
    ],
    ids=["deep arrays", "deep objects", "a long number", "many numbers", "a long text"],
)
def test_files_made_to_exhaust_a_reader_are_refused(name: str, data: bytes, scene: Path) -> None:
    parse = parser(scene / name, FILES[name][0], on_disk=True)
    with bounded_time() as begin:
        begin()
        found = outcome(parse, data)
    assert isinstance(found, SplatError)
    assert fault_of(found, scene / name) is None
    assert peak_of(parse, data) < 3 * len(data) + MEMORY_ABOVE_FILE


def test_a_reader_that_trusts_the_file_fails_the_same_campaign(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the numbers as Python reads them, looked up without a check."""

    def trusting(path: Path) -> list[View]:
        content = json.loads(MEMORY[path])
        poses = [np.array(frame["transform_matrix"]) for frame in content["frames"]]
        focal = content.get("fl_x", 35.0)
        return [
            View(frame["file_path"], *SIZE, focal, focal, 20.0, 15.0, pose[:3, :3].T, -pose[:3, :3].T @ pose[:3, 3])
            for frame, pose in zip(content["frames"], poses, strict=True)
        ]

    monkeypatch.setitem(FILES, "transforms.json", (trusting, transforms_json))
    with pytest.raises(AssertionError, match="escaped") as caught:
        campaign(damaged("transforms.json", 31, 1000), "transforms.json", scene)
    Path(str(caught.value).split("kept as ")[1]).unlink()


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_half_a_million_damaged_files(name: str, scene: Path) -> None:
    campaign(damaged(name, 33, 250_000), name, scene)
