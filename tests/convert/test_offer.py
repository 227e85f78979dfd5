"""Train and photos: the command that makes a scene is named, and runs only when asked for."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from gaussian_splatting import train
from gaussian_splatting.convert import command, offer, pipeline
from gaussian_splatting.convert.command import build_parser
from gaussian_splatting.convert.offer import scene_of
from gaussian_splatting.errors import SceneError


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "my photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"x")
    return folder


def test_scenes_and_other_folders_are_left_to_their_readers(demo_scene, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "truck").symlink_to(demo_scene)
    (tmp_path / "data" / "cover.jpg").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    for source in (demo_scene, demo_scene / "images", tmp_path / "data", tmp_path / "empty", tmp_path / "nowhere"):
        assert scene_of(str(source), convert=True) == str(source)


def test_the_command_is_named_and_parses(photos, tmp_path, capsys):
    assert train.main(["-s", str(photos), "-d", str(tmp_path / "out"), "-i", "3"]) == 2
    message = capsys.readouterr().err
    assert "photos or videos, not a scene; make one first: python -m gaussian_splatting.convert" in message
    words = shlex.split(message.partition("python -m gaussian_splatting.convert ")[2].partition(" (or give")[0])
    arguments = build_parser().parse_args(words)
    assert arguments.source == str(photos)
    assert arguments.destination == str(tmp_path / "my photos_scene")
    assert "(or give --convert here, which does that before training)" in message
    assert not (tmp_path / "out").exists()


def test_a_scene_that_was_made_already_is_named(photos, tmp_path):
    for name in ("images", "sparse/0"):
        (tmp_path / "my photos_scene" / name).mkdir(parents=True)
    (tmp_path / "my photos_scene" / "convert.json").write_text("{}")
    with pytest.raises(SceneError, match=r"the scene made of it is there: give -s '.*my photos_scene'"):
        scene_of(str(photos))


def test_convert_runs_when_asked_and_again_when_it_was_killed(photos, tmp_path, monkeypatch):
    runs: list[Path] = []
    monkeypatch.setattr(offer.Conversion, "run", lambda self: runs.append(self.source) or self.destination)
    assert scene_of(str(photos), convert=True) == str(tmp_path / "my photos_scene")
    truck = tmp_path / "truck"
    photos.rename(tmp_path / "input")
    truck.mkdir()
    (tmp_path / "input").rename(truck / "input")
    (truck / "distorted").mkdir()
    (truck / "sparse" / "0").mkdir(parents=True)  # the pictures are missing: killed while the scene was written
    assert scene_of(str(truck), convert=True) == str(truck)
    assert runs == [photos, truck]
    (truck / "images").mkdir()
    (truck / "convert.json").write_text("{}")
    assert scene_of(str(truck), convert=True) == str(truck)
    assert len(runs) == 2


def test_a_faulty_flag_is_refused_before_hours_of_converting(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pipeline.Conversion, "run", lambda self: pytest.fail("converted"))
    arguments = ["-s", str(photos), "-d", str(tmp_path / "out"), "--convert", "--mode", "base", "-o", "no_such=1"]
    assert train.main(arguments) == 2
    assert "no option 'no_such'" in capsys.readouterr().err


def test_the_command_for_training_that_a_conversion_ends_with_is_one_for_a_shell(photos, monkeypatch, capsys):
    monkeypatch.setattr(command.Conversion, "run", lambda self: self.destination)
    assert command.main(["-s", str(photos)]) == 0
    words = shlex.split(capsys.readouterr().out.partition("next: ")[2])
    assert words[3:5] == ["-s", f"{photos}_scene"]
