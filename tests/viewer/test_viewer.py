"""The viewer over a real websocket: what a browser asks for is what it is shown."""

from __future__ import annotations

import io
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import FakeBrowser, psnr, wait_until
from PIL import Image
from small_run import make_run, ring_cameras, splat

from gaussian_splatting import render, video, viewer
from gaussian_splatting.camera import camera2dict, pinhole_camera
from gaussian_splatting.io.formats import write_splats
from gaussian_splatting.rendering.picture_files import decode_picture
from gaussian_splatting.viewer import server
from gaussian_splatting.viewer.pose import Pose
from gaussian_splatting.viewer.scenes import open_scene

needs_ffmpeg = pytest.mark.skipif(video.find_ffmpeg() is None, reason="MP4 videos need ffmpeg, from the extra 'video'")


def assert_shows(browser: FakeBrowser, wanted: np.ndarray) -> None:
    """The browser comes to rest at this picture; a busy machine may rest on the way to it."""
    wait_until(lambda: psnr(browser.still_picture(), wanted) >= 35, "the picture")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run with two iterations: in the first one everything is half as large."""
    made = make_run(tmp_path_factory.mktemp("viewed"))
    smaller = splat()
    with torch.no_grad():
        smaller._scaling -= math.log(2)
    smaller.save_ply(made.point_cloud(10))
    cameras = ring_cameras(9)
    cameras[3] = pinhole_camera(36, 48, 50.0, 54.0, cameras[3].R, cameras[3].T, cx=28.0, cy=15.0)
    made.cameras.write_text(json.dumps([camera2dict(camera, i) for i, camera in enumerate(cameras)]))
    return made.path


@pytest.fixture(scope="module")
def shown(run):
    with server.Viewer(open_scene(str(run), "cpu", "reference"), port=0) as made:
        yield made


@pytest.fixture
def browser(shown):
    with FakeBrowser(shown.server.get_port()) as made:
        made.still_picture()
        yield made
    wait_until(lambda: shown.num_clients() == 0, "the end of the session")


def expected(pose: Pose, model=None, width: int = 96, height: int = 64) -> np.ndarray:
    """The picture that the model gives at a pose, independent of the viewer."""
    camera = pose.camera(width, height, (0.0, 0.0, 0.0), "cpu")
    with torch.no_grad():
        picture = (splat() if model is None else model)(camera)["render"]
    return (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def session(shown):
    wait_until(lambda: shown.num_clients() == 1, "the session")
    return next(iter(shown.sessions.values()))


def test_it_begins_at_the_first_camera(browser):
    assert_shows(browser, expected(Pose.of_camera(ring_cameras(9)[0], 1.5)))


def test_the_picture_follows_the_mouse(browser):
    before = browser.still_picture()
    for step in range(11):
        browser.send_camera(wxyz=(1.0, 0.0, 0.0, 0.0), position=(0.3, -0.2, -3.5 - 0.01 * step), fov=0.9)
    after = browser.still_picture()
    assert psnr(after, expected(Pose(np.array([0.3, -0.2, -3.6]), np.eye(3), 0.9))) >= 35
    assert psnr(before, after) < 25


def test_arrow_keys_step_through_the_cameras_exactly(shown, browser):
    browser.press("Next camera")
    wait_until(lambda: browser.state("Camera")["value"] == "00001", "the second camera")
    browser.send_camera(wxyz=(0.7, 0.7, 0.0, 0.0))  # what viser itself makes of a held arrow key
    assert_shows(browser, expected(Pose.of_camera(ring_cameras(9)[1], 1.5)))
    browser.press("Previous camera")
    wait_until(lambda: browser.state("Camera")["value"] == "00000", "the first camera")
    browser.press("Previous camera")
    wait_until(lambda: browser.state("Camera")["value"] == "00008", "the last camera")
    camera = ring_cameras(9)[8]
    assert_shows(browser, expected(Pose.of_camera(camera, 1.5)))
    center = camera.camera_center.numpy()
    wait_until(lambda: np.allclose(browser.pose["position"], center, atol=1e-5), "the browser at the camera")
    browser.set("Camera", "00004")
    assert_shows(browser, expected(Pose.of_camera(ring_cameras(9)[4], 1.5)))


def test_a_browser_that_drifted_during_a_jump_is_brought_back(browser):
    browser.press("Next camera")
    wait_until(lambda: browser.state("Camera")["value"] == "00001", "the second camera")
    wanted = ring_cameras(9)[1].camera_center.numpy()
    wait_until(lambda: np.allclose(browser.pose["position"], wanted, atol=1e-5), "the camera")
    browser.send_camera(position=(0.0, 0.0, 2.0))
    wait_until(lambda: np.allclose(browser.pose["position"], wanted, atol=1e-5), "the way back")


def test_up_and_down_step_through_the_iterations(run, browser):
    browser.press("Previous iteration")
    wait_until(lambda: browser.state("Iteration")["value"] == "10", "the first iteration")
    smaller = splat()
    with torch.no_grad():
        smaller._scaling -= math.log(2)
    pose = Pose.of_camera(ring_cameras(9)[0], 1.5)
    assert_shows(browser, expected(pose, smaller))
    browser.press("Next iteration")
    assert_shows(browser, expected(pose))
    assert browser.state("Iteration")["value"] == "30"


def test_an_iteration_that_is_saved_meanwhile_appears(run, browser):
    shutil.copytree(run / "point_cloud" / "iteration_30", run / "point_cloud" / "iteration_40")
    try:
        wait_until(lambda: "40" in browser.state("Iteration")["options"], "the new iteration")
    finally:
        shutil.rmtree(run / "point_cloud" / "iteration_40")


def test_depth_coverage_and_normals(browser):
    pictures = [browser.still_picture()]
    for look in ("Depth", "Coverage", "Normals"):
        browser.set("Look", look)
        pictures.append(browser.still_picture())
    for index, first in enumerate(pictures):
        assert all(psnr(first, second) < 25 for second in pictures[index + 1 :])
    coverage = pictures[2].astype(int)
    assert np.abs(coverage[..., 0] - coverage[..., 2]).max() < 8  # grey
    browser.press("Colour")
    assert_shows(browser, pictures[0])
    assert browser.state("Look")["value"] == "Colour"


def test_background_size_field_of_view_and_tilt(browser):
    plain = browser.still_picture()
    browser.set("Background", (255, 255, 255))
    assert browser.still_picture()[0, 0].min() > 240 > plain[0, 0].max() + 100
    browser.set("Background", (0, 0, 0))
    browser.set("Gaussian size", 0.5)
    smaller = splat()
    smaller.scale_modifier = 0.5
    start = Pose.of_camera(ring_cameras(9)[0], 1.5)
    assert_shows(browser, expected(start, smaller))
    browser.set("Gaussian size", 1.0)
    browser.set("Field of view", 60.0)
    wide = Pose(start.center, start.rotation, math.radians(60))
    assert_shows(browser, expected(wide))
    assert browser.pose["fov"] == pytest.approx(math.radians(60))
    browser.set("Tilt", 30.0)
    assert_shows(browser, expected(wide.rolled(math.radians(30))))
    browser.press("Back to the start")
    assert_shows(browser, plain)
    wait_until(lambda: browser.state("Tilt")["value"] == 0, "the level horizon")


def test_a_crop_box(shown, browser):
    whole = browser.still_picture()
    browser.set("To", (0.0, 2.0, 2.0))
    crop = next(iter(shown._panels.values())).crop
    wait_until(lambda: crop.high.value == (0.0, 2.0, 2.0), "the box")
    browser.set("Crop", True)
    browser.find("LineSegmentsMessage", lambda message: message["name"] == "/crop")
    cropped = browser.still_picture()
    assert psnr(whole, cropped) < 30
    browser.set("Crop", False)
    assert_shows(browser, whole)


def test_a_screenshot_is_what_render_writes(shown, run, tmp_path):
    """At a camera with any lens, in a window of the shape of its picture: the screenshot, the window, and `render`."""
    with FakeBrowser(shown.server.get_port(), 96, 72) as browser:
        browser.picture()
        browser.set("Camera", "00003")
        window = browser.still_picture()
        browser.press("Screenshot")
        shot = np.asarray(Image.open(io.BytesIO(browser.download("_color.png"))))
        browser.set("Screenshot size", "2x")
        browser.downloads.clear()
        browser.click("Screenshot")
        assert Image.open(io.BytesIO(browser.download("_color.png"))).size == (192, 144)
    flags = ["--path", str(run / "cameras.json"), "-r", "96x72", "--pictures", str(tmp_path / "frames")]
    assert render.main(["-d", str(run), "--backend", "reference", "--device", "cpu", "--quiet", *flags]) == 0
    rendered = decode_picture(tmp_path / "frames" / "00003.png")
    assert rendered.shape == shot.shape == window.shape == (72, 96, 3)
    assert np.abs(shot.astype(int) - rendered).max() <= 1
    assert psnr(window, rendered) >= 35
    other = decode_picture(tmp_path / "frames" / "00004.png")
    assert psnr(window, other) < 35
    wait_until(lambda: shown.num_clients() == 0, "the end of the session")


def test_a_path_is_edited_played_saved_and_rendered(shown, run, browser, tmp_path):
    for count, index in enumerate((0, 2, 4, 6), start=1):
        browser.set("Camera", f"0000{index}")
        wait_until(lambda index=index: session(shown).viewpoint == index, "the camera")
        browser.click("Add key")
        wait_until(lambda count=count: browser.state("Key")["value"] == f"key {count}", "the key")
    browser.click("Remove key")
    wait_until(lambda: list(browser.state("Key")["options"]) == ["key 1", "key 2", "key 3"], "three keys")
    browser.set("Seconds", 0.5)
    browser.set("Frames per second", 10)
    path = next(iter(shown._panels.values())).path
    wait_until(lambda: (path.seconds.value, path.fps.value) == (0.5, 10), "the speed")
    before = len(browser.picture_times)
    browser.press("Play the path")
    labels = lambda: [m["updates"]["label"] for m in browser.messages if "label" in m.get("updates", {})]  # noqa: E731
    wait_until(lambda: labels() == ["Stop", "Play"], "a flight and its end")
    assert len(browser.picture_times) > before  # how many is a matter of the machine
    assert_shows(browser, expected(Pose.of_camera(ring_cameras(9)[4], 1.5)))
    browser.click("Save as JSON")
    saved = browser.download(".json")
    (tmp_path / "path.json").write_bytes(saved)
    flags = ["--path", str(tmp_path / "path.json"), "-r", "96x54", "--pictures", str(tmp_path / "frames")]
    assert render.main(["-d", str(run), "--backend", "reference", "--device", "cpu", "--quiet", *flags]) == 0
    assert len(list((tmp_path / "frames").glob("*.png"))) == 5
    last = expected(Pose.of_camera(ring_cameras(9)[4], 1.5), width=96, height=54)
    assert psnr(decode_picture(tmp_path / "frames" / "00004.png"), last) >= 35
    panel = next(iter(shown._panels.values())).path
    panel.load(saved, "path.json")
    assert len(panel.keys) == 3
    browser.click("Remove all")
    wait_until(lambda: list(browser.state("Key")["options"]) == ["none"], "no keys")
    browser.click("Save as JSON")
    told = browser.find("Notification")
    assert "the path has no keys" in told["props"]["body"]


def test_a_file_that_is_no_path_leaves_the_path_alone(shown, browser):
    browser.click("Add key")
    wait_until(lambda: browser.state("Key")["value"] == "key 1", "a key")
    content = b'{"keyframes": "none"}'
    browser.send(
        "FileTransferStartUpload", transfer_uuid="1", source_component_uuid=browser.control("Load JSON")["uuid"],
        filename="bad.json", mime_type="application/json", part_count=1, size_bytes=len(content),
    )  # fmt: skip
    browser.send(
        "FileTransferPart", transfer_uuid="1", part_index=0, content=content,
        source_component_uuid=browser.control("Load JSON")["uuid"],
    )  # fmt: skip
    told = browser.find("Notification")
    assert "bad.json: keyframes must be an array" in told["props"]["body"]
    assert list(browser.state("Key")["options"]) == ["key 1"]


@needs_ffmpeg
def test_a_film_of_the_path(shown, browser, monkeypatch):
    from gaussian_splatting.viewer import path_panel

    monkeypatch.setitem(path_panel.SIZES, "1280x720", (64, 36))
    browser.click("Add key")
    wait_until(lambda: browser.state("Key")["value"] == "key 1", "a key")
    browser.set("Camera", "00003")
    wait_until(lambda: session(shown).viewpoint == 3, "the camera")
    browser.click("Add key")
    wait_until(lambda: browser.state("Key")["value"] == "key 2", "two keys")
    browser.set("Seconds", 0.3)
    browser.set("Frames per second", 20)
    path = next(iter(shown._panels.values())).path
    wait_until(lambda: (path.seconds.value, path.fps.value) == (0.3, 20), "the speed")
    browser.click("Render film")
    film = browser.download("film_color.mp4")
    assert film[4:8] == b"ftyp"


def test_the_cameras_are_drawn_and_lead_to_their_views(shown, browser):
    browser.press("Show the cameras")
    frustum = browser.find("CameraFrustumMessage", lambda message: message["name"] == "/cameras/5")
    assert frustum["props"]["aspect"] == pytest.approx(48 / 36)
    browser.find("CameraFrustumMessage", lambda message: message["name"] == "/cameras/8")  # the last one is there
    click = {"ray_origin": (0.0,) * 3, "ray_direction": (0.0, 0.0, 1.0), "screen_pos": (0.5, 0.5)}
    more = {"instance_index": None, "modifier": None, "owner": frustum.get("owner", "")}
    browser.send("SceneNodeClickMessage", name="/cameras/5", **click, **more)
    wait_until(lambda: session(shown).viewpoint == 5, "the view of the camera")
    browser.press("Show the cameras")
    browser.find("RemoveSceneNodeMessage", lambda message: message["name"] == "/cameras/8")


def test_twenty_browsers_at_once(shown):
    """All of them move; all of them get moving pictures and in the end a full one of what they see."""
    port = shown.server.get_port()
    browsers = [FakeBrowser(port) for _ in range(20)]
    try:
        for browser in browsers:
            browser.picture()
        time.sleep(1.0)
        before = [len(browser.picture_times) for browser in browsers]
        for step in range(30):
            for index, browser in enumerate(browsers):
                browser.send_camera(position=(0.02 * step + 0.05 * index, 0.0, -4.0))
            time.sleep(0.03)
        finals = [browser.still_picture() for browser in browsers]
        counts = [len(browser.picture_times) - start for browser, start in zip(browsers, before, strict=True)]
        assert min(counts) >= 2
        for index in (0, 9, 19):
            rotation = session_of(shown, index).pose.rotation
            pose = Pose(np.array([0.58 + 0.05 * index, 0.0, -4.0]), rotation, browsers[index].pose["fov"])
            assert psnr(finals[index], expected(pose)) >= 35
    finally:
        for browser in browsers:
            browser.__exit__()
    wait_until(lambda: shown.num_clients() == 0, "the end of all sessions")


def session_of(shown, index: int):
    return shown.sessions[sorted(shown.sessions)[index]]


def test_no_client_can_share_the_scene_with_the_world(shown, browser, monkeypatch):
    called = []
    monkeypatch.setattr(shown.server, "request_share_url", lambda *a, **k: called.append(1))
    browser.send("ShareUrlRequest")
    browser.press("Next camera")
    wait_until(lambda: browser.state("Camera")["value"] == "00001", "the second camera")
    assert called == []


def test_a_splat_file_has_views_around_it(tmp_path):
    splat().save_ply(tmp_path / "a.ply")
    with (
        server.Viewer(open_scene(str(tmp_path / "a.ply"), "cpu", "reference"), port=0) as made,
        FakeBrowser(made.server.get_port()) as browser,
    ):
        first = browser.still_picture()
        assert first.max() > 50
        browser.press("Next camera")
        wait_until(lambda: psnr(browser.still_picture(), first) < 35, "another view")
        assert not browser.state("Iteration")["visible"]


def test_an_unbundled_sog_is_called_as_its_folder(tmp_path):
    write_splats(tmp_path / "truck" / "meta.json", splat().arrays())
    for path in (tmp_path / "truck", tmp_path / "truck" / "meta.json"):
        assert open_scene(str(path), "cpu", "reference").name == "truck"


def test_the_command_says_where_it_is_and_ends(run, capsys):
    flags = ["--port", "0", "--stop_after", "0.3", "--backend", "reference", "--device", "cpu"]
    assert viewer.main(["-d", str(run), "-i", "10", *flags]) == 0
    said = capsys.readouterr()
    assert f"{run.name}: 80 Gaussians, 9 cameras" in said.out
    assert "viewer: http://127.0.0.1:" in said.out
    assert said.err == ""
    assert viewer.main([str(run), "--host", "0.0.0.0", *flags]) == 0
    assert "there is no password" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give a run folder with -d, or a splat file"),
        (["a.ply", "-d", "b"], "give a run folder with -d, or a splat file"),
        (["-d", "nowhere"], "there is no such folder"),
        (["-d", "RUN", "-i", "11"], "no splat of iteration 11; found the iterations 10, 30"),
        (["-d", "RUN", "--port", "70000"], "70000 is not a port"),
        (["-d", "RUN", "--load_camera", "none.json"], "none.json: cannot be read"),
    ],
)
def test_what_cannot_be_shown_is_refused(run, flags, message, capsys):
    assert viewer.main([str(run) if flag == "RUN" else flag for flag in flags]) == 2
    assert message in capsys.readouterr().err


def test_without_viser_the_extra_is_named(run, capsys, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "viser" else found(name, *a))
    assert viewer.main(["-d", str(run)]) == 2
    assert 'pip install "gaussian-splatting-anywhere[viewer]"' in capsys.readouterr().err
