"""The page with the viewer: what it holds, and in a real browser, what it shows."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gaussian_splatting.camera import camera2dict, pinhole_camera
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.html_viewer import FirstView, first_view, write_page
from gaussian_splatting.io.formats import read_splats
from gaussian_splatting.io.gaussian_arrays import FIELDS
from gaussian_splatting.io.ply import GaussianArrays, read_gaussians
from gaussian_splatting.rendering.scene_frame import looking

WIDTH, HEIGHT = 480, 360
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)


def some(number: int, degree: int = 3, seed: int = 0) -> GaussianArrays:
    random = np.random.default_rng(seed)
    return GaussianArrays(
        random.normal(0, 1, (number, 3)).astype(np.float32),
        random.uniform(-1, 1, (number, 1, 3)).astype(np.float32),
        random.uniform(-0.4, 0.4, (number, (degree + 1) ** 2 - 1, 3)).astype(np.float32),
        random.uniform(-1, 4, (number, 1)).astype(np.float32),
        random.uniform(-4, -1.5, (number, 3)).astype(np.float32),
        random.normal(0, 1, (number, 4)).astype(np.float32),
    )


def element(page: str, name: str) -> str:
    found = re.search(rf'<script type="[^"]+" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_page_carries_the_gaussians_and_the_view(tmp_path: Path) -> None:
    view = FirstView((1.0, 2.0, 3.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 40.0)
    write_page(tmp_path / "a<b.html", some(100, 4), view=view, antialiased=True)
    page = (tmp_path / "a<b.html").read_text(encoding="utf-8")
    assert "<title>a&lt;b</title>" in page
    (tmp_path / "page.spz").write_bytes(base64.b64decode(element(page, "splats")))
    found = read_splats(tmp_path / "page.spz")
    assert (len(found), found.gaussians.sh_degree, found.antialiased) == (100, 3, True)
    settings = json.loads(element(page, "settings"))
    assert settings["antialiased"] is True
    assert settings["view"] == {
        "position": [1, 2, 3], "target": [0, 0, 0], "up": [0, 0, 1], "field_of_view_degrees": 40,
    }  # fmt: skip
    assert gzip.decompress(base64.b64decode(element(page, "splats")))[:4] == b"NGSP"


def test_the_first_view_shows_everything_from_the_front() -> None:
    gaussians = some(1000)
    view = first_view(gaussians)
    offset = np.array(view.target) - view.position
    np.testing.assert_allclose(offset[:2], 0, atol=1e-6)
    reach = np.abs(gaussians.xyz - view.target)[:, :2] / (gaussians.xyz[:, 2:] - view.position[2])
    assert (reach < np.tan(np.radians(view.field_of_view_degrees) / 2)).mean() > 0.9
    assert first_view(gaussians.select(np.array([0]))).position != first_view(gaussians.select(np.array([0]))).target


def test_the_first_view_of_a_run_is_its_first_camera(tmp_path: Path) -> None:
    camera = pinhole_camera(
        30, 40, 50.0, 50.0, looking(np.array([4.0, 1, 2]), np.zeros(3), np.array([0.0, 0, 1])).T, np.ones(3)
    )
    entries = [camera2dict(camera, 0)]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "cameras.json").write_text(json.dumps(entries))
    view = first_view(some(10), tmp_path / "run")
    np.testing.assert_allclose(view.position, entries[0]["position"], atol=1e-9)
    forward = np.array(view.target) - view.position
    rotation = np.array(entries[0]["rotation"])
    np.testing.assert_allclose(forward / np.linalg.norm(forward), rotation[:, 2], atol=1e-9)
    np.testing.assert_allclose(view.up, -rotation[:, 1], atol=1e-9)


# In a browser


class Browser:
    """A headless Chromium, spoken to through a pair of pipes."""

    def __init__(self, folder: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        os.set_inheritable(to_browser, True)
        os.set_inheritable(from_browser, True)
        flags = [
            "--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
            f"--user-data-dir={folder}", f"--window-size={WIDTH},{HEIGHT}", "--hide-scrollbars",
            "--remote-debugging-pipe", "--disable-gpu-watchdog", "about:blank",
        ]  # fmt: skip
        pipes = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", pipes, "bash", CHROMIUM, *flags], pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._number, self._buffer, self.session = 0, b"", None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                piece = os.read(self._read, 1 << 20)
                assert piece, "the browser ended"
                self._buffer += piece
            text, _, self._buffer = self._buffer.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str) -> None:
        for _ in range(300):
            if self.evaluate(expression):
                return
            time.sleep(0.1)
        raise AssertionError(f"never true: {expression}; the page says {self.evaluate('document.body.innerText')!r}")

    def show(self, page: Path) -> None:
        self.call("Page.navigate", url=page.as_uri())
        self.wait_for("window.viewer !== undefined && viewer.renderer.isSorted && !viewer.isDirty")
        self.evaluate("document.getElementById('status').remove()")

    def picture(self) -> np.ndarray:
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.wait_for("!viewer.renderer.isSorting && !viewer.isDirty")
        data = self.call("Page.captureScreenshot", format="png")["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) / 255.0

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)

    def drag(self, button: str, dx: int, dy: int) -> None:
        held = {"left": 1, "right": 2}[button]
        places = [("mousePressed", 0, 0), ("mouseMoved", dx, dy), ("mouseReleased", dx, dy)]
        for kind, x, y in places:
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=WIDTH // 2 + x, y=HEIGHT // 2 + y, button=button,
                buttons=0 if kind == "mouseReleased" else held, clickCount=1,
            )  # fmt: skip

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._read)
        os.close(self._write)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    if not CHROMIUM:
        pytest.skip("chromium is not installed")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def rendered(gaussians: GaussianArrays, view: FirstView, antialiased: bool) -> np.ndarray:
    """What our own rasteriser shows from the same place."""
    eye, target = np.array(view.position), np.array(view.target)
    rotation = looking(eye, target, np.array(view.up))
    focal = HEIGHT / 2 / np.tan(np.radians(view.field_of_view_degrees) / 2)
    camera = pinhole_camera(HEIGHT, WIDTH, focal, focal, rotation.T, -rotation.T @ eye)
    model = GaussianModel(gaussians.sh_degree, backend="cpu")
    for name in FIELDS:
        setattr(model, f"_{name}", torch.nn.Parameter(torch.from_numpy(getattr(gaussians, name).copy())))
    model.active_sh_degree = gaussians.sh_degree
    model.antialiasing = antialiased
    with torch.no_grad():
        return model(camera)["render"].permute(1, 2, 0).numpy().astype(np.float64)


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((first - second) ** 2)))


@pytest.mark.slow
@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_the_page_shows_what_render_shows(tmp_path: Path, browser: Browser, degree: int, antialiased: bool) -> None:
    view = FirstView((0.5, -1.0, -4.0), (0.1, 0.2, 0.0))
    write_page(tmp_path / "a.html", some(300, degree), view=view, antialiased=antialiased)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    (tmp_path / "a.spz").write_bytes(base64.b64decode(element(page, "splats")))
    browser.show(tmp_path / "a.html")
    shown = rendered(read_splats(tmp_path / "a.spz").gaussians, view, antialiased)
    assert psnr(browser.picture(), shown) > 38


@pytest.mark.slow
def test_a_real_model_is_shown_as_it_is(shared_data: Path, tmp_path: Path, browser: Browser) -> None:
    gaussians = read_gaussians(shared_data / "splats" / "playbot_lod4.ply")
    view = first_view(gaussians)
    write_page(tmp_path / "a.html", gaussians, view=view)
    browser.show(tmp_path / "a.html")
    assert psnr(browser.picture(), rendered(gaussians, view, False)) > 32  # SPZ's steps cost some


@pytest.mark.slow
def test_mouse_and_keys_move_the_camera(tmp_path: Path, browser: Browser) -> None:
    write_page(tmp_path / "a.html", some(300, 1))
    browser.show(tmp_path / "a.html")
    first = browser.picture()
    for act, undo in (
        (lambda: browser.drag("left", 60, 20), lambda: browser.drag("left", -60, -20)),
        (lambda: browser.drag("right", 60, 20), lambda: browser.drag("right", -60, -20)),
        (lambda: browser.press("ArrowLeft"), lambda: browser.press("ArrowRight")),
        (lambda: browser.press("+"), lambda: browser.press("-")),
        (lambda: browser.press("w"), lambda: browser.press("s")),
        (lambda: browser.press("a"), lambda: browser.press("r")),
    ):
        act()
        assert psnr(browser.picture(), first) < 40
        undo()
        assert psnr(browser.picture() + 1e-9, first) > 45
    browser.press("b")
    assert browser.picture().mean() > first.mean() + 0.2
    browser.press("h")
    assert "rotate" in browser.evaluate("document.body.innerText")
