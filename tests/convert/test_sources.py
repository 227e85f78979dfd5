"""What is found in a folder, what is ignored by name, and what is refused with advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaussian_splatting.convert.sources import default_destination, find_sources, is_convertible
from gaussian_splatting.errors import SceneError


def put(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def relative(paths: tuple[Path, ...], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_photos_are_found_in_order_and_the_rest_is_named(tmp_path):
    put(tmp_path, "b.JPG", "a.png", "sub/c ö.jpeg", "a_mask.png", "notes.txt", ".hidden.jpg", "Thumbs.db")
    put(tmp_path, "sparse/0/cameras.jpg", "masks/a.png", "__MACOSX/b.jpg")
    found = find_sources(tmp_path)
    assert relative(found.photos, tmp_path) == ["a.png", "b.JPG", "sub/c ö.jpeg"]
    assert relative(found.ignored, tmp_path) == ["notes.txt"]
    assert not found.is_sequence


@pytest.mark.parametrize("inner", ["input", "images"])
def test_a_scene_folder_holds_its_photos_inside(tmp_path, inner):
    put(tmp_path, f"{inner}/a.jpg", "cover.jpg")
    assert relative(find_sources(tmp_path).photos, tmp_path) == [f"{inner}/a.jpg"]


def test_a_video_alone_and_videos_of_a_folder(tmp_path):
    put(tmp_path, "walk.MP4", "back.mov")
    assert find_sources(tmp_path / "walk.MP4").videos == (tmp_path / "walk.MP4",)
    assert relative(find_sources(tmp_path).videos, tmp_path) == ["back.mov", "walk.MP4"]
    assert find_sources(tmp_path).is_sequence


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), r"no photos and no video; it holds nothing; give a folder of photos"),
        (("a.txt", "b.pdf"), r"it holds a\.txt, b\.pdf; give"),
        (("a.jpg", "b.mp4"), r"holds 1 photos and 1 videos \(b\.mp4\); put them in folders of their own"),
        (("a.HEIC", "b.heif"), r"2 HEIC photos \(a\.HEIC, b\.heif\), which cannot be read; make JPEG files of them"),
        (("a.dng",), r"1 raw photos \(a\.dng\), which cannot be read; develop them to JPEG"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_advice(tmp_path, names, message):
    put(tmp_path, *names)
    with pytest.raises(SceneError, match=message):
        find_sources(tmp_path)


def test_raw_and_heic_beside_their_jpeg_are_only_ignored(tmp_path):
    put(tmp_path, "a.dng", "a.jpg", "b.HEIC", "b.JPG")
    assert relative(find_sources(tmp_path).ignored, tmp_path) == ["a.dng", "b.HEIC"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no such folder or file; give a folder of photos, or a video"),
        ("one.jpg", "a single photo; a scene needs a folder of at least 3"),
        ("notes.txt", "neither a folder of photos nor a video"),
    ],
)
def test_other_sources_are_refused(tmp_path, name, message):
    put(tmp_path, "one.jpg", "notes.txt")
    with pytest.raises(SceneError, match=message):
        find_sources(tmp_path / name)


def test_what_can_be_converted_is_told_by_names(tmp_path):
    put(tmp_path, "a/1.jpg", "b/1.txt", "c.mp4")
    told = [is_convertible(tmp_path / name) for name in ("a", "b", "c.mp4", "nowhere")]
    assert told == [True, False, True, False]


def test_where_the_scene_goes_by_default(tmp_path, monkeypatch):
    put(tmp_path, "photos/1.jpg", "truck/input/1.jpg", "walk.mp4")
    assert default_destination(tmp_path / "photos") == tmp_path / "photos_scene"
    assert default_destination(tmp_path / "truck") == tmp_path / "truck"
    assert default_destination(tmp_path / "walk.mp4") == tmp_path / "walk_scene"
    monkeypatch.chdir(tmp_path / "photos")
    assert default_destination(".") == tmp_path / "photos_scene"
