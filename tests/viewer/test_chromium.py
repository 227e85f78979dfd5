"""The viewer in a real browser: headless Chromium turns the scene, switches cameras, and saves what it sees.

pip install playwright && apt-get install chromium
python -m pytest -m slow tests/viewer/test_chromium.py
"""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import psnr, wait_until
from PIL import Image
from small_run import make_run, ring_cameras, splat

from gaussian_splatting.camera import camera2dict
from gaussian_splatting.rendering.looks import picture_of
from gaussian_splatting.viewer.pose import Pose
from gaussian_splatting.viewer.scenes import open_scene
from gaussian_splatting.viewer.server import Viewer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WINDOW = {"width": 960, "height": 720}
PICTURE = {"x": 40, "y": 200, "width": 500, "height": 400}  # a part of the page that no control covers
ARGUMENTS = [
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)"),
    # The driver of the browser leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("chromium"))
    run.cameras.write_text(json.dumps([camera2dict(camera, i) for i, camera in enumerate(ring_cameras(9))]))
    with Viewer(open_scene(str(run.path), "cpu", "cpu"), port=0) as made:
        yield made


@pytest.fixture(scope="module")
def page(viewer):
    playwright = pytest.importorskip("playwright.sync_api", reason="driving Chromium needs: pip install playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        made = browser.new_page(viewport=WINDOW)
        made.goto(viewer.url)
        made.wait_for_selector("canvas")
        wait_until(lambda: viewer.num_clients() == 1 and session(viewer).frames_drawn > 0, "a picture", 60)
        yield made
        browser.close()


def session(viewer):
    return next(iter(viewer.sessions.values()))


def settled(page, viewer) -> None:
    """Wait until the full picture has been shown for a while."""
    seen = -1
    while seen != session(viewer).frames_drawn or session(viewer).last_size != session(viewer).full_size():
        seen = session(viewer).frames_drawn
        page.wait_for_timeout(1000)


def window(page, viewer, name: str) -> np.ndarray:
    """What the page shows where no control is. With VIEWER_SHOTS, the whole page is kept in that folder."""
    settled(page, viewer)
    if folder := os.environ.get("VIEWER_SHOTS"):
        page.screenshot(path=Path(folder, f"{name}.png"))
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=PICTURE))).convert("RGB"))


def expected(viewer, look: str = "color") -> np.ndarray:
    """The same part of the picture that the model itself gives."""
    camera = session(viewer).pose.camera(WINDOW["width"], WINDOW["height"], (0.0, 0.0, 0.0), "cpu")
    model = splat()
    model.backend = "cpu"
    with torch.no_grad():
        picture = picture_of(model(camera), camera, look)  # type: ignore[arg-type]
    left, top = PICTURE["x"], PICTURE["y"]
    return picture[top : top + PICTURE["height"], left : left + PICTURE["width"]]


def test_the_page_shows_the_picture(page, viewer):
    assert psnr(window(page, viewer, "start"), expected(viewer)) >= 35


def test_the_left_button_turns_and_the_right_one_pans_and_the_wheel_zooms(page, viewer):
    for button, name in (("left", "turned"), ("right", "panned")):
        before = session(viewer).pose
        page.mouse.move(300, 400)
        page.mouse.down(button=button)
        page.mouse.move(380, 430, steps=12)
        page.mouse.up(button=button)
        shown = window(page, viewer, name)
        after = session(viewer).pose
        turned = np.abs(before.rotation - after.rotation).max()
        assert (turned > 0.05) == (button == "left")
        assert not before.is_near(after)
        assert psnr(shown, expected(viewer)) >= 35
    before = session(viewer).pose
    page.mouse.wheel(0, -400)
    window(page, viewer, "zoomed")
    assert np.dot(session(viewer).pose.center - before.center, before.forward) > 0


def test_arrow_keys_go_through_the_cameras(page, viewer):
    page.mouse.click(300, 400)
    page.keyboard.press("r")
    settled(page, viewer)
    page.keyboard.press("ArrowRight", delay=120)
    shown = window(page, viewer, "next_camera")
    assert session(viewer).viewpoint == 1
    assert session(viewer).pose.is_near(Pose.of_camera(ring_cameras(9)[1], WINDOW["width"] / WINDOW["height"]))
    assert psnr(shown, expected(viewer)) >= 35


def test_depth_is_shown(page, viewer):
    page.keyboard.press("2")
    shown = window(page, viewer, "depth")
    assert session(viewer).settings.look == "depth"
    assert psnr(shown, expected(viewer, "depth")) >= 25  # the range of depths follows slowly
    page.keyboard.press("1")
    window(page, viewer, "color")


def test_the_screenshot_is_the_picture(page, viewer):
    settled(page, viewer)
    with page.expect_download() as download:
        page.keyboard.press("f")
    shot = np.asarray(Image.open(download.value.path()).convert("RGB"))
    # A browser that is slow at drawing has a canvas of fewer pixels than its window.
    width, height = session(viewer).full_size()
    assert shot.shape == (height, width, 3)
    assert width / height == pytest.approx(WINDOW["width"] / WINDOW["height"], rel=0.01)
    camera, model = session(viewer).pose.camera(width, height, (0.0, 0.0, 0.0), "cpu"), splat()
    model.backend = "cpu"
    with torch.no_grad():
        assert psnr(shot, picture_of(model(camera), camera, "color")) >= 35
