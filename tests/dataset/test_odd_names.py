"""Row B1: names of pictures in every writing, as text and binary models hold them, on disk and in what is written."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from example_scenes import circle_of_images, picture
from PIL import Image

from gaussian_splatting.dataset import JSONCameraDataset
from gaussian_splatting.dataset.colmap.dataset import ColmapCameraDataset
from gaussian_splatting.dataset.colmap.model import ColmapCamera, ColmapModel, read_images, write_model

NUM_NAMES, AT_ONCE = 2000, 250
PARTS = (
    " ", "  ", "'", '"', "#", "%", "%20", "&", ";", "$(x)", "`", "!", "?", "*", "[a]", "{b}", "~", "^", "=", "+", ",",
    ".", "..", "-", "--x", "_", "@", "(1)", "a", "B", "Z", "0", "é", "e\u0301", "ñ", "ß", "İ", "ﬁ", "Å", "日本", "한글",
    "שלום", "عربي", "\u202e", "\u200d", "\u00a0", "\u3000", "🦊", "👩‍🚀", "𝒳", "\ufeff", "ǆ", "x" * 60,
)  # fmt: skip


def names(seed: int) -> Iterator[str]:
    """Names without end: no two the same to any file system, and none that is refused (row B2 has those)."""
    draw, seen = random.Random(seed), set()
    while True:
        folders = [part for _ in range(draw.choice((0, 0, 0, 1, 2, 9))) if (part := written(draw)).strip(". ")]
        name = "/".join([*folders, written(draw) + draw.choice((".png", ".PNG", ".jpg", ".tif.png"))])
        spelling = unicodedata.normalize("NFC", name)
        if spelling in seen or max(len(part.encode()) for part in name.split("/")) > 255:
            continue
        seen.add(spelling)
        yield name


def written(draw: random.Random) -> str:
    return "".join(draw.choice(PARTS) for _ in range(draw.randint(1, 5)))


def write(root: Path, chosen: list[str], extension: str, content: bytes) -> None:
    images = circle_of_images(chosen, [1] * len(chosen))
    camera = ColmapCamera(1, "PINHOLE", 8, 6, (7.0, 7.0, 4.0, 3.0))
    write_model(root / "sparse/0", ColmapModel({1: camera}, images), extension=extension)  # pyright: ignore
    for name in chosen:
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("picture") / "a.png"
    Image.fromarray(picture((8, 6))).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("seed", range(NUM_NAMES // AT_ONCE))
def test_text_and_binary_agree_and_pictures_are_found(tmp_path: Path, content: bytes, seed: int) -> None:
    source = names(seed)
    chosen = [next(source) for _ in range(AT_ONCE)]
    for extension in (".bin", ".txt"):
        write(tmp_path / extension, chosen, extension, content)
        assert [image.name for image in read_images(tmp_path / extension / "sparse/0").values()] == chosen
    dataset = ColmapCameraDataset(tmp_path / ".txt")
    assert dataset.names == sorted(chosen)
    for view in dataset.views:
        assert view.image_path == tmp_path / ".txt/images" / view.name
    dataset.save_cameras(tmp_path / ".txt/cameras.json")
    again = JSONCameraDataset(tmp_path / ".txt/cameras.json")
    assert [view.image_path and view.image_path.resolve() for view in again.views] == [
        view.image_path and view.image_path.resolve() for view in dataset.views
    ]


def test_case_twins_are_two_pictures(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, ["a.png", "A.png"], ".bin", content)
    (tmp_path / "images/A.png").write_bytes(content + b"")
    if len(list((tmp_path / "images").iterdir())) < 2:
        pytest.skip("this file system does not tell them apart")
    assert ColmapCameraDataset(tmp_path).names == ["A.png", "a.png"]
