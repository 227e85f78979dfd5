"""The editor of camera paths: key cameras are added where the client stands, played, saved, loaded and filmed."""

from __future__ import annotations

import itertools
import json
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from gaussian_splatting.camera import Camera
from gaussian_splatting.dataset.strict_json import parse_json
from gaussian_splatting.errors import SplatError
from gaussian_splatting.rendering.camera_path_file import CameraPath, camera_path_json, parse_camera_path
from gaussian_splatting.viewer.pose import Pose

if TYPE_CHECKING:
    from gaussian_splatting.viewer.controls import Controls
    from gaussian_splatting.viewer.films import FilmMaker
    from gaussian_splatting.viewer.session import Session

FILE_NAME = "camera_path.json"
LINE_POINTS = 100
SIZES = {"1280x720": (1280, 720), "1920x1080": (1920, 1080), "854x480": (854, 480), "1080x1080": (1080, 1080)}


class PathPanel:
    """The controls of the path of one client, and the path."""

    def __init__(self, session: Session, films: FilmMaker, controls: Controls) -> None:
        self.session, self.films = session, films
        self.keys: list[Pose] = []
        self._drawing = threading.Lock()  # two clicks in quick succession are handled at once
        gui = session.client.gui
        controls.on_click(gui.add_button("Add key", color="blue"), self.add_key)
        self.chosen = gui.add_dropdown("Key", ["none"])
        controls.on_click(gui.add_button("Go to key"), self.go_to_key)
        controls.on_click(gui.add_button("Move key here"), self.replace_key)
        controls.on_click(gui.add_button("Remove key"), self.remove_key)
        controls.on_click(gui.add_button("Remove all"), self.clear)
        self.seconds = gui.add_number("Seconds", 6.0, min=0.1, max=600.0, step=0.1)
        self.fps = gui.add_number("Frames per second", 30, min=1, max=120, step=1)
        self.closed = gui.add_checkbox("Closed", False, hint="lead back to the first key")
        self.closed.on_update(lambda event: self._changed())
        self.play_button = gui.add_button("Play", color="green")
        controls.on_click(self.play_button, self.play)
        controls.on_click(gui.add_button("Save as JSON", hint="for render --path"), self.save)
        self.upload = gui.add_upload_button("Load JSON", mime_type="application/json")
        self.upload.on_upload(controls.guarded(self._load))
        self.size = gui.add_dropdown("Film size", list(SIZES))
        self.film_button = gui.add_button("Render film", color="blue")
        controls.on_click(self.film_button, self.film)
        self.progress = gui.add_progress_bar(0.0, visible=False)

    # The keys

    def add_key(self) -> None:
        """Add where the client stands to the end of the path."""
        self.keys.append(self._pose())
        self._changed(len(self.keys) - 1)

    def replace_key(self) -> None:
        """Move the chosen key to where the client stands."""
        self.keys[self._index()] = self._pose()
        self._changed(self._index())

    def remove_key(self) -> None:
        """Remove the chosen key."""
        index = self._index()
        del self.keys[index]
        self._changed(max(0, index - 1))

    def clear(self) -> None:
        """Remove all keys."""
        self.keys.clear()
        self._changed()

    def go_to_key(self) -> None:
        """Stand where the chosen key is."""
        self.session.go_to(self.keys[self._index()])

    def path(self, width: int = 1280, height: int = 720) -> CameraPath:
        """The path with pictures of this size. Raises SplatError without keys."""
        if not self.keys:
            raise SplatError("the path has no keys; stand somewhere and press Add key (K)")
        background = self.session.settings.background
        device = self.session.model.get_xyz.device
        cameras = tuple(key.camera(width, height, background, device) for key in self.keys)
        return CameraPath(cameras, float(self.seconds.value), int(self.fps.value), bool(self.closed.value))

    # What is done with them

    def play(self) -> None:
        """Fly along the path in the window, or stop."""
        session = self.session
        if session.playing:
            session.playing = False
            return
        poses = [_pose_of(camera) for camera in self.path().cameras()]
        session.playing = True
        self.play_button.label = "Stop"
        seconds = float(self.seconds.value)
        threading.Thread(target=self._fly, args=(poses, seconds), name="viewer-path", daemon=True).start()

    def _fly(self, poses: list[Pose], seconds: float) -> None:
        session, started = self.session, time.monotonic()
        while session.playing and not session.closed:
            share = (time.monotonic() - started) / seconds
            if share >= 1:
                break
            session.fly(poses[min(len(poses) - 1, int(share * len(poses)))])
            time.sleep(1 / 60)
        if session.playing and not session.closed:  # to its end: the client stands there
            session.playing = False
            session.go_to(poses[-1])
        if not session.closed:
            self.play_button.label = "Play"

    def save(self) -> None:
        """Send the path as a file that `render --path` reads."""
        width, height = SIZES[self.size.value]
        text = json.dumps(camera_path_json(self.path(width, height)), indent=2)
        self.session.client.send_file_download(FILE_NAME, text.encode(), save_immediately=True)

    def load(self, content: bytes, name: str) -> None:
        """Take over the path of a file. Raises FormatError, and leaves the path as it is, when it is none."""
        flight = parse_camera_path(parse_json(content, name))
        self.keys = [_pose_of(camera) for camera in flight.keys]
        if not flight.every_frame:
            self.seconds.value, self.fps.value, self.closed.value = flight.seconds, flight.fps, flight.closed
        self._changed()

    def _load(self) -> None:
        self.load(self.upload.value.content, self.upload.value.name)

    def film(self) -> None:
        """Render the path, with what is shown now, and send the film."""
        session, path = self.session, self.path(*SIZES[self.size.value])
        self.film_button.disabled, self.progress.visible = True, True
        try:
            name, content = self.films.make(session.model, path, session.settings, self._progressed)
            if not session.closed:
                session.client.send_file_download(name, content, save_immediately=True)
        finally:
            if not session.closed:
                self.film_button.disabled, self.progress.visible = False, False

    def _progressed(self, share: float) -> None:
        if self.session.closed:
            raise SplatError("the client has gone")
        percent = round(100 * share)
        if percent != round(self.progress.value):
            self.progress.value = float(percent)

    # Keeping the page in step

    def _pose(self) -> Pose:
        pose = self.session.pose
        assert pose is not None, "the browser has not reported a camera yet"
        return pose.simple()

    def _index(self) -> int:
        if not self.keys:
            raise SplatError("the path has no keys; stand somewhere and press Add key (K)")
        return min(len(self.keys) - 1, list(self.chosen.options).index(self.chosen.value))

    def _changed(self, chosen: int = 0) -> None:
        with self._drawing:
            self._show_keys(chosen)

    def _show_keys(self, chosen: int) -> None:
        names = tuple(f"key {index + 1}" for index in range(len(self.keys))) or ("none",)
        self.chosen.options = names
        self.chosen.value = names[min(chosen, len(names) - 1)]
        scene = self.session.client.scene
        if len(self.keys) < 2:
            scene.remove_by_name("/path")
            return
        places = [_pose_of(key).center for key in _line(self.path())]
        line = np.array(list(itertools.pairwise(places)), dtype=np.float32)
        scene.add_line_segments("/path", line, (60, 160, 255), thickness=2.0, thickness_units="screen")


def _line(path: CameraPath) -> list[Camera]:
    return path.cameras(LINE_POINTS)


def _pose_of(camera: Camera) -> Pose:
    return Pose.of_camera(camera, camera.image_width / camera.image_height).simple()
