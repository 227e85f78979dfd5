"""One client: where it stands, what it looks at, and the pictures it gets."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussian_splatting.camera import Camera
from gaussian_splatting.viewer.pace import Pace
from gaussian_splatting.viewer.pose import Pose
from gaussian_splatting.viewer.stage import Picture, Settings, Stage

if TYPE_CHECKING:
    from viser import ClientHandle

    from gaussian_splatting.viewer.scenes import Frame, Scene

ARRIVAL, KEY_HELD = 0.15, 0.5
"""Seconds after a jump, and after one by an arrow key, for which reports of the browser do not count.

It reports places on the way, and viser itself turns the camera while an arrow key is held. A slow browser goes on with
that for longer: every such report counts for a little more, but not for ever.
"""
MORE, AT_MOST = 0.3, 1.5
MOVING_QUALITY, STILL_QUALITY = 80, 95


class Session:
    """The state of one client. GUI callbacks change it, the render worker draws it."""

    def __init__(
        self, client: ClientHandle, scene: Scene, stage: Stage, frame: Frame, ask: Callable[..., None], pace: Pace,
        largest: int,
    ) -> None:  # fmt: skip
        self.client, self.scene, self.stage, self.frame = client, scene, stage, frame
        self._ask, self._pace, self._largest = ask, pace, largest
        self.settings = Settings(background=scene.background)
        self.iteration: int | None = scene.first
        self.model = scene.model(scene.first)
        """What is shown. It is read by whoever chooses it, never by the render worker: that would make all wait."""
        self.viewpoint: int | None = None
        self.pose: Pose | None = None
        self.roll = 0.0
        self.playing = False
        """Whether a camera path is being played; moving the camera ends it."""
        self.last: Picture | None = None
        self.last_size = (0, 0)
        self.frames_drawn = 0
        self.closed = False
        self.on_error: Callable[[Exception], None] = lambda error: None
        self._pinned_at = self._pin_until = 0.0
        self._drifted = False
        self._reported: Pose | None = None
        self._jump: tuple[Pose, int | None] | None = None
        self._lock = threading.RLock()

    # What the client does

    def camera_moved(self) -> None:
        """The browser reports another camera; after a jump, the jump counts and not what a held key makes of it."""
        reported = self.client.camera
        pose = Pose.of_client(reported.wxyz, reported.position, reported.fov)
        with self._lock:
            if self._jump is not None and pose.is_near(self._jump[0]):
                self._reported, (self.pose, self.viewpoint) = pose, self._jump  # exactly, not as the browser rounds
                return self._ask(moving=False)
            still = self._reported is not None and pose.is_near(self._reported)
            self._reported = pose
            if self.pose is not None and (still or pose.is_near(self.pose)):
                return self._ask(moving=False)  # the window may have another size
            self.playing = False
            if time.monotonic() < self._pin_until:
                self._drifted = True
                self._pin_until = max(self._pin_until, min(time.monotonic() + MORE, self._pinned_at + AT_MOST))
                return None
            self.pose, self.viewpoint = pose, None
        self._ask(moving=True)

    def change(self, **settings: Any) -> None:
        """Look in another way."""
        with self._lock:
            self.settings = dataclasses.replace(self.settings, **settings)
        self._ask(moving=True)

    def refresh(self) -> None:
        """Draw again, because the Gaussians may have changed."""
        if self.iteration is None:
            self.model = self.scene.model(None)
        self._ask(moving=False)

    def choose_iteration(self, iteration: int | None) -> None:
        """Show another iteration, None for the newest, from the same place."""
        model = self.scene.model(iteration)
        with self._lock:
            self.iteration, self.model = iteration, model
            self._pin(KEY_HELD)
        self._ask(moving=False)

    def go_to(self, pose: Pose, *, viewpoint: int | None = None, hold: float = ARRIVAL) -> None:
        """Stand somewhere else, exactly, until the client moves; for `hold` seconds that does not count."""
        with self._lock:
            self.pose, self.viewpoint, self._jump = pose, viewpoint, (pose, viewpoint)
            self._pin(hold)
        self._tell_browser(pose)
        self._ask(moving=False)

    def fly(self, pose: Pose) -> None:
        """Show another place without telling the browser: a frame of a path."""
        with self._lock:
            self.pose = pose
        self._ask(moving=True)

    def go_to_viewpoint(self, index: int, *, hold: float = ARRIVAL) -> int:
        """Jump to a camera of the scene, counted around; its index."""
        points = self.scene.viewpoints()
        index %= len(points)
        self.roll = 0.0
        self.go_to(Pose.of_camera(points[index].camera, self.aspect), viewpoint=index, hold=hold)
        return index

    def set_fov(self, radians: float) -> None:
        """Another vertical field of view."""
        if self.pose is not None and abs(self.pose.fov - radians) > 1e-6:
            self.go_to(dataclasses.replace(self.pose, fov=radians))

    def set_roll(self, radians: float) -> None:
        """Tilt the head: the angle from where it was level."""
        if self.pose is not None and abs(self.roll - radians) > 1e-6:
            turned, self.roll = self.pose.rolled(radians - self.roll), radians
            self.go_to(turned)

    def settle(self) -> None:
        """Once a jump is over, bring a browser that moved on meanwhile back to it."""
        with self._lock:
            if not self._drifted or time.monotonic() < self._pin_until or self.pose is None:
                return
            self._drifted = False
            pose = self.pose
        self._tell_browser(pose)

    def _pin(self, seconds: float) -> None:
        self._pinned_at = time.monotonic()
        self._pin_until = self._pinned_at + seconds

    def _tell_browser(self, pose: Pose) -> None:
        distance = max(1e-3, float(np.linalg.norm(self.frame.target - pose.center)))
        # Of the ups that give this picture, the one nearest to the up of the scene: the mouse turns about it.
        right = pose.rotation[:, 0]
        up = self.frame.up - (self.frame.up @ right) * right
        up = up if up @ pose.up > 0.05 else pose.up
        camera = self.client.camera
        with self.client.atomic():
            camera.position = pose.center
            camera.look_at = pose.center + pose.forward * distance
            camera.up_direction = up
            camera.fov = pose.fov

    # What the client sees

    @property
    def aspect(self) -> float:
        """Width / height of the window."""
        width, height = self.full_size()
        return width / height

    def full_size(self) -> tuple[int, int]:
        """The size of a still picture: that of the window, at most `largest` pixels along its longer side."""
        width, height = self.client.camera.image_width, self.client.camera.image_height
        width, height = (width, height) if width > 0 and height > 0 else (1280, 720)
        shrink = min(1.0, self._largest / max(width, height))
        return max(1, round(width * shrink)), max(1, round(height * shrink))

    def camera(self, width: int, height: int) -> Camera:
        """The camera of the client with a picture of this size."""
        pose = self.pose
        assert pose is not None, "the browser has not reported a camera yet"
        return pose.camera(width, height, self.settings.background, self.model.get_xyz.device)

    def picture(self, width: int, height: int) -> Picture:
        """What the client sees, as a picture of this size."""
        return self.stage.render(self.model, self.camera(width, height), self.settings)

    def draw(self, *, moving: bool, clients: int) -> None:
        """Render the newest state and send it: small and fast while `moving`, else in full."""
        self.settle()
        if self.pose is None or self.closed:
            return
        full = self.full_size()
        size = self._pace.size(*full) if moving else full
        started, scale = time.perf_counter(), self._pace.scale
        before = None if self.last is None else self.last.depths
        part = self._pace.part if moving else 1.0
        picture = self.stage.render(self.model, self.camera(*size), self.settings, before, part=part)
        self._send(picture, MOVING_QUALITY if moving else STILL_QUALITY)
        if moving:
            self._pace.took(time.perf_counter() - started, scale, clients)
        self.last, self.last_size = picture, size
        self.frames_drawn += 1

    def _send(self, picture: Picture, quality: int) -> None:
        if not self.closed:
            self.client.scene.set_background_image(picture.pixels, format="jpeg", jpeg_quality=quality)
            self.client.flush()

    def failed(self, error: Exception) -> None:
        """Say that drawing failed."""
        if not self.closed:
            self.on_error(error)
