"""A real conversion of a few small photos: poses, names, masks, resuming, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from photo_sets import demo_photos, turning_photos
from PIL import Image

from gaussian_splatting.convert import ConvertOptions, convert_scene, main, native
from gaussian_splatting.dataset.scenes import open_scene
from gaussian_splatting.errors import SceneError, SplatError
from gaussian_splatting.runs import lock as run_lock

if not native.health.is_importable("pycolmap"):
    pytest.skip("needs the extra 'convert'", allow_module_level=True)

ODD = {0: "straße 1.jpg", 1: "sub/b c.jpg", 2: "zoë.jpg"}
COUNT = 12


def digests(scene: Path) -> dict[str, str]:
    """Digests of the files of a scene."""
    found = [path for name in ("images", "sparse") for path in sorted((scene / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(scene)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.fixture(scope="module")
def photos(demo_scene, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """Neighbouring photos of the shipped scene under odd names, one with a mask; new name -> old name."""
    folder = tmp_path_factory.mktemp("convert") / "my photos"
    names = {}
    for number, path in enumerate(demo_photos(demo_scene, folder, COUNT)):
        name = ODD.get(number, path.name)
        (folder / name).parent.mkdir(exist_ok=True)
        path.rename(folder / name)
        names[name] = path.name
    mask = np.full((270, 360), 255, np.uint8)
    mask[:, :60] = 0
    Image.fromarray(mask).save(folder / "zoë_mask.png")
    (folder / "notes.txt").write_text("ignored")
    return folder, names


@pytest.fixture(scope="module")
def scene(photos) -> Path:
    """The scene that the command makes of them."""
    destination = photos[0].parent / "scene"
    assert main(["-s", str(photos[0]), "-d", str(destination), "--camera_model", "SIMPLE_PINHOLE", "--quiet"]) == 0
    return destination


def test_every_photo_has_a_pose_under_its_own_name(scene, photos):
    assert sorted(open_scene(scene, load_mask=False).names) == sorted(photos[1])
    report = json.loads((scene / "convert.json").read_text())
    assert report["registered"] == sorted(photos[1])
    assert report["without_pose"] == {} and report["accepted_faults"] == []
    assert report["reprojection_error_pixels"] < 1


def test_the_cameras_stand_where_they_stood(scene, photos, demo_scene):
    found, truth = open_scene(scene, load_mask=False), open_scene(demo_scene)
    own = {name: found.geometry(index) for index, name in enumerate(found.names)}
    true = {name: truth.geometry(index) for index, name in enumerate(truth.names)}
    centers = np.array([own[name].camera_center.numpy() for name in photos[1]])
    wanted = np.array([true[old].camera_center.numpy() for old in photos[1].values()])
    size, aligned = similarity(centers, wanted)
    assert np.abs(aligned - wanted).max() < 0.03 * np.ptp(wanted, axis=0).max()
    assert size > 0
    camera, reference = own["zoë.jpg"], true[photos[1]["zoë.jpg"]]
    assert float(camera.K[0, 0]) == pytest.approx(float(reference.K[0, 0]), rel=0.1)


def similarity(points: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """The scale, and the points, of the similarity that moves points [N, 3] nearest to others (Umeyama 1991)."""
    mean, goal = points.mean(0), target.mean(0)
    left, values, right = np.linalg.svd((target - goal).T @ (points - mean))
    signs = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    scale = float((values * signs).sum() / ((points - mean) ** 2).sum())
    return scale, scale * (points - mean) @ (left * signs @ right).T + goal


def test_the_world_is_upright(scene):
    found = open_scene(scene, load_mask=False)
    downs = [found.geometry(index).R.numpy()[1] for index in range(len(found))]
    np.testing.assert_allclose(np.mean(downs, 0) / np.linalg.norm(np.mean(downs, 0)), [0, 1, 0], atol=1e-5)


def test_the_mask_goes_along(scene):
    mask = np.asarray(Image.open(scene / "images" / "zoë_mask.png"))
    photo = np.asarray(Image.open(scene / "images" / "zoë.jpg"))
    assert mask.shape == photo.shape[:2]
    assert np.all(mask[:, :50] == 0) and np.all(mask[:, 70:] == 255)


def test_the_same_command_finds_it_done(scene, photos, capsys):
    before = digests(scene)
    arguments = ["-s", str(photos[0]), "-d", str(scene), "--camera_model", "SIMPLE_PINHOLE", "--quiet"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert told.count("(done before)") == 3 and "the scene is there already" in told
    assert "1 files are neither photos nor videos: notes.txt" in told
    assert digests(scene) == before
    assert main([*arguments, "--mapper", "global"]) == 2
    assert "holds a scene of other photos or settings (its poses would differ)" in capsys.readouterr().err
    assert digests(scene) == before


def test_a_conversion_killed_at_every_stage_ends_with_the_same_bytes(scene, photos, tmp_path, monkeypatch):
    """Killed after each stage and begun anew with another number of threads, by other objects every time."""
    real, done = native.run_stage, []

    def fragile(stage: str, *arguments, **options):
        result = real(stage, *arguments, **options)
        if stage not in done:
            done.append(stage)
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(native, "run_stage", fragile)
    for attempt in range(10):
        options = ConvertOptions(camera_model="SIMPLE_PINHOLE", threads=1 + attempt % 2)
        try:
            convert_scene(photos[0], tmp_path / "again", options, say=lambda text: None)
            break
        except KeyboardInterrupt:
            assert not (tmp_path / "again" / "sparse").exists()
    assert done == ["features", "matching", "mapping", "undistortion"]
    assert digests(tmp_path / "again") == digests(scene)


def test_an_interruption_says_how_to_go_on(photos, tmp_path, capsys, monkeypatch):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(native, "run_stage", stopped)
    assert main(["-s", str(photos[0]), "-d", str(tmp_path / "scene"), "--quiet"]) == 130
    assert "stopped; run the same command again to go on" in capsys.readouterr().out


def test_a_camera_that_turns_is_refused_with_the_reason(tmp_path, capsys):
    turning_photos(tmp_path / "turning")
    assert main(["-s", str(tmp_path / "turning"), "-d", str(tmp_path / "scene"), "--quiet"]) == 2
    assert "no scene: the camera turned on the spot instead of moving" in capsys.readouterr().err
    assert not (tmp_path / "scene" / "sparse").exists()


def test_a_second_process_is_refused(photos, tmp_path):
    (tmp_path / "scene").mkdir()
    with run_lock.RunLock(tmp_path / "scene"), pytest.raises(SplatError, match="is writing to this run; wait for it"):
        convert_scene(photos[0], tmp_path / "scene")


def test_what_others_wrote_is_not_replaced_unasked(photos, tmp_path):
    (tmp_path / "scene" / "images").mkdir(parents=True)
    with pytest.raises(SceneError, match=r"images: is there already, and not from this conversion; choose another -d"):
        convert_scene(photos[0], tmp_path / "scene")


def test_the_photos_are_never_in_the_way_of_the_result(photos, tmp_path):
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    for number in range(3):
        (folder / "images" / f"{number}.jpg").write_bytes(b"x")
    for overwrite in (False, True):
        with pytest.raises(SceneError, match="its images/ holds the photos to convert, where the result would go"):
            convert_scene(folder, folder, overwrite=overwrite)


def test_photos_of_different_places_have_no_poses(tmp_path):
    from photo_sets import save_photo, textured

    for number in range(3):
        save_photo(tmp_path / "in" / f"{number}.jpg", textured(200, 150, seed=number))
    with pytest.raises(SceneError, match=re.escape("no two photos show the same thing")):
        convert_scene(tmp_path / "in", tmp_path / "scene", say=lambda text: None)


def test_cameras_of_other_sizes_and_empty_pictures_have_their_features(demo_scene, tmp_path):
    """Two sizes in one batch, and a picture without any texture, which has features: none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    files = []
    for number, path in enumerate(demo_photos(demo_scene, tmp_path / "in", 4)):
        image = Image.open(path).resize((360, 270) if number % 2 else (240, 180))
        image.save(folder / f"{number}.jpg")
        files.append((f"{number}.jpg", image.size))
    Image.new("RGB", (240, 180)).save(folder / "4.jpg")
    groups = [
        {"files": [file for file, other in files if other == size], "model": "SIMPLE_RADIAL", "width": size[0],
         "height": size[1], "focal": None} for size in ((360, 270), (240, 180))
    ]  # fmt: skip
    groups[1]["files"].append("4.jpg")
    job = {
        "database": str(tmp_path / "d.db"), "photos": str(folder), "masks": str(tmp_path), "masked": [],
        "groups": groups, "max_features": 1000, "threads": 2, "device": "cpu", "seed": 0,
    }  # fmt: skip
    result = native.run_stage("features", job, tmp_path / "log.txt")
    counts = result["features"]
    assert counts.pop("4.jpg") == 0
    assert len(counts) == 4 and min(counts.values()) > 100
    assert len(set(result["cameras"].values())) == 2
