"""Photos are taken in upright and whole, with what the camera noted, and the broken ones are named."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from photo_sets import EXIF_FOCAL, save_photo, textured
from PIL import Image

from gaussian_splatting.convert.exif import read_note
from gaussian_splatting.convert.masks import find_masks
from gaussian_splatting.convert.options import ConvertOptions
from gaussian_splatting.convert.photos import Intake, scene_names, take_photos
from gaussian_splatting.convert.sources import find_sources
from gaussian_splatting.errors import SceneError, SplatError

PICTURE = textured(80, 60)


def taken(folder: Path, given_masks: str | None = None, **choices) -> Intake:
    found = find_sources(folder)
    work = folder.parent / "work"
    options = ConvertOptions(**choices)
    masks = find_masks(found.root, given_masks)
    return take_photos(found, masks, work / "photos", work / "masks", options, lambda done, total: None)


def stored(folder: Path, file: str) -> np.ndarray:
    return np.asarray(Image.open(folder.parent / "work" / "photos" / file))


def photos(folder: Path, *names: str, **notes) -> Path:
    for name in names:
        save_photo(folder / name, PICTURE, **notes)
    return folder


def test_upright_photos_are_copied_unchanged(tmp_path):
    folder = photos(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    intake = taken(folder)
    assert [picture.name for picture in intake.pictures] == ["a.jpg", "b.jpg", "c.jpg"]
    copied = (tmp_path / "work" / "photos" / "00001.jpg").read_bytes()
    assert copied == (folder / "b.jpg").read_bytes()


def test_turned_photos_are_made_upright(tmp_path):
    folder = photos(tmp_path / "in", "a.jpg", "b.jpg")
    save_photo(folder / "c.jpg", np.rot90(PICTURE), orientation=6)  # EXIF 6: turn clockwise to see it upright
    intake = taken(folder)
    assert [(picture.width, picture.height) for picture in intake.pictures] == [(80, 60)] * 3
    upright = stored(folder, "00002.jpg").ravel()
    turns = [PICTURE, PICTURE[::-1], PICTURE[:, ::-1], PICTURE[::-1, ::-1]]
    alike = [np.corrcoef(upright, turn.ravel())[0, 1] for turn in turns]
    assert alike[0] > 0.95 > 0.5 > max(alike[1:])


def test_large_photos_are_scaled_and_their_focal_length_with_them(tmp_path):
    folder = photos(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg", focal_35mm=28)
    (picture, *_) = taken(folder, max_size=64).pictures
    assert (picture.width, picture.height) == (64, 48)
    assert picture.focal == pytest.approx(28 / math.hypot(36, 24) * 80)
    assert stored(folder, picture.file).shape == (48, 64, 3)


def test_focal_length_from_the_density_of_the_sensor():
    exif = Image.Exif()
    # 60 mm on a sensor of 23.7 mm, noted for 3000 pixels; the picture was scaled to 1200 since.
    exif.get_ifd(0x8769).update({EXIF_FOCAL: 60.0, 41486: 3000 / 23.7 * 25.4, 41488: 2, 40962: 3000})
    image = Image.new("RGB", (1200, 800))
    image.getexif().update(exif)
    image.getexif().get_ifd(0x8769).update(exif.get_ifd(0x8769))
    assert read_note(image).focal == pytest.approx(60 / 23.7, rel=1e-6)


@pytest.mark.parametrize("value", [0, -3, float("inf"), 4000, "wide", None])
def test_unbelievable_notes_are_ignored(value):
    image = Image.new("RGB", (120, 80))
    image.getexif().get_ifd(0x8769).update({41989: value})
    assert read_note(image).focal is None


def test_cameras_are_shared_by_folder_size_and_zoom(tmp_path):
    folder = photos(tmp_path / "in", "left/a.jpg", "left/b.jpg", "right/a.jpg", focal_35mm=28)
    photos(folder, "left/c.jpg", focal_35mm=50)
    save_photo(folder / "left" / "d.jpg", textured(60, 60), focal_35mm=28)
    cameras = {picture.name: picture.camera for picture in taken(folder).pictures}
    assert cameras["left/a.jpg"] == cameras["left/b.jpg"]
    assert len(set(cameras.values())) == 4
    assert len({picture.camera for picture in taken(folder, cameras="photo").pictures}) == 5
    with pytest.raises(SceneError, match=r"one camera was asked for, but the photos have 2 sizes \(60 x 60, 80 x 60\)"):
        taken(folder, cameras="single")


def test_broken_photos_are_left_out_by_name(tmp_path):
    folder = photos(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    (folder / "d.jpg").write_bytes((folder / "a.jpg").read_bytes()[:900])
    (folder / "e.jpg").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    intake = taken(folder)
    assert len(intake.pictures) == 3
    assert list(intake.left_out) == ["d.jpg", "e.jpg"]
    assert "cannot be decoded" in intake.left_out["d.jpg"]
    assert "HEIC photo under another name" in intake.left_out["e.jpg"]


def test_too_few_usable_photos_are_refused_with_the_reason(tmp_path):
    folder = photos(tmp_path / "in", "a.jpg", "b.jpg")
    with pytest.raises(SceneError, match="2 usable photos; a scene needs at least 3"):
        taken(folder)
    for name in ("c.jpg", "d.jpg", "e.jpg"):
        (folder / name).write_bytes(b"no picture")
    with pytest.raises(SceneError, match=r"3 of 5 photos are unusable: .*c\.jpg: not a picture"):
        taken(folder)


def test_alpha_and_mask_files_become_masks(tmp_path):
    folder = photos(tmp_path / "in", "a.jpg", "b.jpg")
    alpha = np.zeros((60, 80), np.uint8)
    alpha[:, :40] = 255
    Image.fromarray(np.dstack([PICTURE, alpha])).save(folder / "c.png")
    Image.fromarray(alpha).save(folder / "a_mask.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(255 - alpha).save(tmp_path / "masks" / "b.jpg.png")
    intake = taken(folder)
    assert [picture.masked for picture in intake.pictures] == [True, True, True]
    masks = [np.asarray(Image.open(tmp_path / "work" / "masks" / f"{p.file}.png")) for p in intake.pictures]
    for mask, wanted in zip(masks, (alpha, 255 - alpha, alpha), strict=True):
        np.testing.assert_array_equal(mask, wanted)


def test_a_mask_of_another_shape_leaves_its_photo_out(tmp_path):
    folder = photos(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    Image.fromarray(np.full((50, 50), 255, np.uint8)).save(folder / "a_mask.png")
    assert "a_mask.png: 50 x 50 pixels, but its picture has 80 x 60" in taken(folder).left_out["a.jpg"]


def test_masks_that_were_given_must_be_there(tmp_path):
    with pytest.raises(SceneError, match="no such folder of masks; correct --masks"):
        find_masks(tmp_path, str(tmp_path / "nowhere"))


def test_names_in_the_scene_differ_in_their_stems():
    assert scene_names(["a.jpg", "a.png", "A.webp", "sub/a.jpg"]) == ["a.jpg", "a_png.png", "A_webp.webp", "sub/a.jpg"]
    with pytest.raises(SceneError, match="is a device on Windows"):
        scene_names(["con.jpg"])


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"camera_model": "FISH"}, "camera_model 'FISH' is none of auto, SIMPLE_PINHOLE"),
        ({"max_size": 10}, "max_size 10: pictures need at least 64 pixels"),
        ({"frames": 2}, "frames 2: a scene needs at least 3"),
        ({"max_features": 10}, "max_features 10: at least 128 are needed"),
        ({"mapper": "best"}, "mapper 'best' is none of incremental, global"),
    ],
)
def test_impossible_choices_are_refused(choice, message):
    with pytest.raises(SplatError, match=message):
        ConvertOptions(**choice)
