"""A training that is watched ends with the same bytes as one that is not."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest
import torch
from browser import FakeBrowser, wait_until
from small_run import make_scene, ring_cameras, splat

from gaussian_splatting import train
from gaussian_splatting.trainer.tiny_scene import tiny_dataset, tiny_model
from gaussian_splatting.viewer.live import LiveScene

STEPS = 120
SETTINGS = [
    "--mode", "densify", "-i", str(STEPS), "--sh_degree", "1", "--densify_interval", "20", "--densify_from_iter", "10",
    "--prune_interval", "20", "--prune_from_iter", "30", "--checkpoint_seconds", "0", "--quiet",
]  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    return make_scene(tmp_path_factory.mktemp("scene") / "scene", splat())


def digest(run: Path) -> str:
    return hashlib.sha256((run / f"point_cloud/iteration_{STEPS}/point_cloud.ply").read_bytes()).hexdigest()


def test_train_with_the_viewer_gives_the_same_bytes(scene, tmp_path, monkeypatch, capsys):
    """A browser turns, looks at depth, pauses and resumes while the run goes on."""
    from gaussian_splatting.viewer import watch

    assert train.main(["-s", str(scene), "-d", str(tmp_path / "alone"), *SETTINGS]) == 0
    viewers, seen = [], {}

    class Watched(watch.Viewer):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            viewers.append(self)
            self.live.set_paused(True)  # until the browser has come
            threading.Thread(target=browse, args=(self,), daemon=True).start()

    def browse(viewer) -> None:
        with FakeBrowser(viewer.server.get_port()) as browser:
            seen["first"] = browser.picture()
            turn = 0.0
            while len(browser.picture_times) <= 5:
                turn += 0.05
                browser.send_camera(position=(turn, 0.3, -4.0))
                time.sleep(0.03)
            browser.click("Pause")  # pressed once more: it goes on
            while not viewer.live.finished:
                turn += 0.05
                browser.send_camera(position=(turn, 0.3, -4.0))
                if len(browser.picture_times) % 7 == 0:
                    browser.set("Look", "Depth" if len(browser.picture_times) % 2 else "Colour")
                if viewer.live.step in (40, 41, 42, 43, 44, 45) and "paused" not in seen:
                    browser.click("Pause")
                    wait_until(lambda: viewer.live.paused, "the pause")
                    time.sleep(0.15)
                    seen["paused"] = viewer.live.step
                    time.sleep(0.15)
                    seen["still paused"] = viewer.live.step
                    browser.click("Pause")
                time.sleep(0.03)
            seen["pictures"] = len(browser.picture_times)

    monkeypatch.setattr(watch, "Viewer", Watched)
    flags = ["--viewer", "--port", "0", "-d", str(tmp_path / "watched")]
    assert train.main(["-s", str(scene), *flags, *SETTINGS]) == 0
    assert digest(tmp_path / "watched") == digest(tmp_path / "alone")
    assert seen["pictures"] > 5 and viewers[0].live.version > 1
    assert seen.get("paused") == seen.get("still paused")
    said = capsys.readouterr().out
    assert "viewer: http://127.0.0.1:" in said
    assert "stays up while a browser looks" in said


class Run:
    """What a live scene needs of a training."""

    def __init__(self) -> None:
        self.model, self.curr_step = tiny_model(), 0


@pytest.fixture
def live():
    run = Run()
    return run, LiveScene(run, tiny_dataset(), 10, "run")  # type: ignore[arg-type]


def never() -> bool:
    return False


def test_copies_are_independent_and_made_only_when_somebody_looks(live):
    run, scene = live
    scene._clock = lambda: 1.0
    first = scene.model(None)
    with torch.no_grad():
        run.model._xyz += 1.0
    scene.after_step(run, torch.tensor(0.5), never)
    assert scene.model(None) is first and scene.version == 0
    scene.want_copy()
    run.curr_step = 3
    scene.after_step(run, torch.tensor(0.25), never)
    second = scene.model(None)
    torch.testing.assert_close(second.get_xyz, first.get_xyz + 1.0)
    assert second.get_xyz.data_ptr() != run.model.get_xyz.data_ptr()
    assert scene.version == 1 and scene.status() == "training: step 3 of 10, loss 0.2500"
    scene.want_copy()
    scene.after_step(run, torch.tensor(0.25), never)
    assert scene.version == 1  # too soon
    scene._clock = lambda: 1.3
    scene.after_step(run, torch.tensor(0.25), never)
    assert scene.version == 2


def test_a_pause_ends_when_the_run_must_stop_and_its_time_is_told(live):
    run, scene = live
    scene.set_paused(True)
    until = time.monotonic() + 0.3
    waited = scene.after_step(run, torch.tensor(0.5), lambda: time.monotonic() > until)
    assert 0.2 < waited < 5 and scene.status().startswith("paused")
    scene.set_paused(False)
    assert scene.after_step(run, torch.tensor(0.5), never) < 0.1


def test_a_pause_is_told_where_the_training_runs():
    run, told = Run(), []
    scene = LiveScene(run, tiny_dataset(), 10, "run", told.append)  # type: ignore[arg-type]
    run.curr_step = 4
    scene.set_paused(True)
    scene.after_step(run, torch.tensor(0.5), lambda: True)
    assert told == ["paused in the viewer after step 4; Resume there goes on, Ctrl-C saves and ends"]
    threading.Timer(0.1, lambda: scene.set_paused(False)).start()
    scene.after_step(run, torch.tensor(0.5), never)
    assert told[2:] == ["resumed in the viewer"]
    scene.after_step(run, torch.tensor(0.5), never)
    assert len(told) == 3


def test_the_end_of_a_training_cannot_be_paused(live):
    run, scene = live
    run.curr_step = 10
    scene.end(run)
    scene.set_paused(True)
    assert not scene.paused
    assert scene.status().startswith("done: step 10 of 10")


def test_the_cameras_are_copies_without_pictures(live):
    _, scene = live
    camera = scene.viewpoints()[0].camera
    assert camera.ground_truth_image is None
    assert not camera.R.requires_grad
    assert len(scene.viewpoints()) == len(tiny_dataset()) != len(ring_cameras(1))
