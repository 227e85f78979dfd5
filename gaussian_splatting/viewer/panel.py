"""The controls beside the picture, one set for each client."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussian_splatting.geometry.arrays import float64_array
from gaussian_splatting.rendering.looks import LOOKS, Look
from gaussian_splatting.rendering.picture_files import encode_picture
from gaussian_splatting.viewer.controls import Controls, show
from gaussian_splatting.viewer.crop_panel import CropPanel
from gaussian_splatting.viewer.path_panel import PathPanel
from gaussian_splatting.viewer.pose import Pose
from gaussian_splatting.viewer.session import KEY_HELD, Session

if TYPE_CHECKING:
    from gaussian_splatting.viewer.films import FilmMaker
    from gaussian_splatting.viewer.live import LiveScene

LOOK_TITLES: dict[Look, str] = {"color": "Colour", "depth": "Depth", "alpha": "Coverage", "normal": "Normals"}
NEWEST = "newest"
LARGEST_SCREENSHOT = 8192
MOST_FRUSTUMS = 300
KEYS = """| | |
|---|---|
| left mouse | turn |
| right mouse | pan |
| wheel | zoom |
| W A S D, Q E | walk, down, up |
| ← → | previous, next camera |
| ↓ ↑ | previous, next iteration |
| Z X | tilt |
| 1 2 3 4 | colour, depth, coverage, normals |
| C | show the cameras |
| K, P | add a key, play the path |
| R | back to the start |
| F | screenshot |
"""


class Panel:
    """Builds the controls of a client, and keeps them in step with its session."""

    def __init__(self, session: Session, films: FilmMaker, live: LiveScene | None, start: Pose) -> None:
        self.session, self.live, self._start = session, live, start
        self._controls = Controls(session)
        self.gui = session.client.gui
        self._titles = list(LOOK_TITLES.values())
        self._frustums: list[Any] = []
        self._viewpoint = -1
        session.on_error = self._controls.complain
        self.status = self.gui.add_markdown("")
        if live is not None:
            self._build_training(live)
        tabs = self.gui.add_tab_group()
        with tabs.add_tab("View"):
            self._build_view()
        with tabs.add_tab("Crop"):
            self.crop = CropPanel(session, self._controls)
        with tabs.add_tab("Path"):
            self.path = PathPanel(session, films, self._controls)
        with tabs.add_tab("Keys"):
            self.gui.add_markdown(KEYS)
        self._bind_keys()

    # Building

    def _build_training(self, live: LiveScene) -> None:
        self.pause = self.gui.add_button("Pause", color="orange")
        self._controls.on_click(self.pause, lambda: live.set_paused(not live.paused))

    def _build_view(self) -> None:
        scene, names = self.session.scene, [point.name for point in self.session.scene.viewpoints()]
        self.look = self.gui.add_dropdown("Look", self._titles)
        self._controls.on_change(self.look, self._look_chosen)
        iterations = [str(number) for number in scene.iterations()]
        self.iteration = self.gui.add_dropdown("Iteration", [NEWEST, *reversed(iterations)], visible=bool(iterations))
        self._controls.on_change(self.iteration, self._iteration_chosen)
        self.camera = self.gui.add_dropdown("Camera", ["free", *unique(names)])
        self._controls.on_change(self.camera, self._camera_chosen)
        self.frustums = self.gui.add_checkbox("Show cameras", False)
        self._controls.on_change(self.frustums, self._show_frustums)
        self.fov = self.gui.add_slider("Field of view", 5.0, 120.0, 0.1, degrees(self._start.fov), hint="vertical")
        self._controls.on_change(self.fov, lambda: self.session.set_fov(np.radians(self.fov.value)))
        self.roll = self.gui.add_slider("Tilt", -180.0, 180.0, 0.5, 0.0)
        self._controls.on_change(self.roll, lambda: self.session.set_roll(np.radians(self.roll.value)))
        self.size = self.gui.add_slider("Gaussian size", 0.05, 2.0, 0.05, 1.0)
        self._controls.on_change(self.size, lambda: self.session.change(size=self.size.value))
        shade = tuple(round(255 * value) for value in self.session.settings.background)
        self.background = self.gui.add_rgb("Background", (shade[0], shade[1], shade[2]))
        self._controls.on_change(
            self.background,
            lambda: self.session.change(background=tuple(value / 255 for value in self.background.value)),
        )
        self._controls.on_click(self.gui.add_button("Back to the start"), self.reset)
        self.factor = self.gui.add_dropdown("Screenshot size", ["1x", "2x", "4x"])
        self._controls.on_click(self.gui.add_button("Screenshot", color="blue"), self.screenshot)

    def _bind_keys(self) -> None:
        session, step = self.session, np.radians(2.0)
        keys: list[tuple[str, str, Callable[[], Any]]] = [
            ("Previous camera", "arrowleft", lambda: self.step_camera(-1)),
            ("Next camera", "arrowright", lambda: self.step_camera(1)),
            ("Previous iteration", "arrowdown", lambda: self.step_iteration(-1)),
            ("Next iteration", "arrowup", lambda: self.step_iteration(1)),
            ("Tilt left", "Z", lambda: session.set_roll(session.roll - step)),
            ("Tilt right", "X", lambda: session.set_roll(session.roll + step)),
            ("Show the cameras", "C", lambda: self._controls.put(self.frustums, not self.frustums.value)),
            ("Add a key to the path", "K", self.path.add_key),
            ("Play the path", "P", self.path.play),
            ("Back to the start", "R", self.reset),
            ("Screenshot", "F", self.screenshot),
        ]
        for number, title in enumerate(self._titles):
            keys.append((title, str(number + 1), functools.partial(self._controls.put, self.look, title)))
        for label, key, action in keys:
            command: Any = self.gui.add_command(label, hotkey=key)  # pyright: ignore[reportArgumentType]
            command.on_trigger(self._controls.guarded(action))

    # Acting

    def step_camera(self, by: int) -> None:
        """Jump to the camera before or after the one jumped to last."""
        points = self.session.scene.viewpoints()
        if points:
            before = self.session.viewpoint
            self._jumped(
                self.session.go_to_viewpoint((self._viewpoint if before is None else before) + by, hold=KEY_HELD)
            )

    def _jumped(self, index: int) -> None:
        self._viewpoint = index
        self.sync()

    def step_iteration(self, by: int) -> None:
        """Show the saved iteration before or after the one shown."""
        found = self.session.scene.iterations()
        if found:
            shown = self.session.iteration or found[-1]
            place = min(range(len(found)), key=lambda index: abs(found[index] - shown))
            self.session.choose_iteration(found[min(len(found) - 1, max(0, place + by))])
            self.sync()

    def reset(self) -> None:
        """Where the client stood first, level."""
        self.session.roll = 0.0
        if self.session.scene.viewpoints():
            self._jumped(self.session.go_to_viewpoint(0))
        else:
            self.session.go_to(self._start)
            self.sync()

    def screenshot(self) -> None:
        """Send the picture in full size as a PNG, named after what it shows."""
        session = self.session
        width, height = session.full_size()
        factor = min(int(self.factor.value[0]), LARGEST_SCREENSHOT / max(width, height))
        picture = session.picture(round(width * factor), round(height * factor))
        iteration = self._shown_iteration()
        name = f"{session.scene.name}{'' if iteration is None else f'_{iteration}'}_{session.settings.look}.png"
        session.client.send_file_download(name, encode_picture(picture.pixels), save_immediately=True)

    # Following

    def sync(self) -> None:
        """Bring the controls in step with the session."""
        session, index = self.session, self.session.viewpoint
        show(self.camera, "free" if index is None else self.camera.options[index + 1])
        show(self.iteration, NEWEST if session.iteration is None else str(session.iteration))
        if session.pose is not None:
            show(self.fov, min(120.0, max(5.0, degrees(session.pose.fov))))
        show(self.roll, round(float(np.degrees(session.roll)), 1))

    def tick(self) -> None:
        """Twice a second: what is shown and how fast, new iterations, the state of the training."""
        found = [NEWEST, *(str(number) for number in reversed(self.session.scene.iterations()))]
        if list(self.iteration.options) != found:
            self.iteration.options, self.iteration.visible = found, len(found) > 1
            self.session.refresh()
        show(self.status, self._status(), "content")
        self.sync()
        if self.live is not None:
            show(self.pause, "Resume" if self.live.paused else "Pause", "label")
            show(self.pause, not self.live.finished, "visible")

    def _status(self) -> str:
        session, picture = self.session, self.session.last
        lines = [f"**{session.scene.name}**" if self.live is None else f"**{self.live.status()}**"]
        if picture is not None:
            width, height = session.last_size
            lines.append(f"{picture.num_gaussians:,} Gaussians · {width} x {height} · {picture.seconds * 1000:.0f} ms")
        return "  \n".join(lines)

    def _shown_iteration(self) -> int | None:
        found = self.session.scene.iterations()
        return self.session.iteration or (found[-1] if found else None)

    def _look_chosen(self) -> None:
        self.session.change(look=LOOKS[self._titles.index(self.look.value)])

    def _iteration_chosen(self) -> None:
        value = self.iteration.value
        self.session.choose_iteration(None if value == NEWEST else int(value))

    def _camera_chosen(self) -> None:
        if self.camera.value != "free":
            self._jumped(self.session.go_to_viewpoint(list(self.camera.options).index(self.camera.value) - 1))

    def _show_frustums(self) -> None:
        for handle in self._frustums:
            handle.remove()
        self._frustums = []
        if self.frustums.value:
            for index, point in list(enumerate(self.session.scene.viewpoints()))[:MOST_FRUSTUMS]:
                self._frustums.append(self._frustum(index, point.camera))

    def _frustum(self, index: int, camera: Any) -> Any:
        from gaussian_splatting.geometry.rotations import matrix_to_quaternion

        handle = self.session.client.scene.add_camera_frustum(
            f"/cameras/{index}", camera.FoVy, camera.image_width / camera.image_height,
            scale=0.04 * self.session.frame.size, thickness=1.2, thickness_units="screen", color=(255, 170, 0),
            wxyz=float64_array(matrix_to_quaternion(camera.R.T)),
            position=float64_array(camera.camera_center),
        )  # fmt: skip
        handle.on_click(self._controls.guarded(lambda: self._jumped(self.session.go_to_viewpoint(index))))
        return handle


def degrees(radians: float) -> float:
    """An angle as the slider has it."""
    return round(float(np.degrees(radians)), 1)


def unique(names: list[str]) -> list[str]:
    """The names, numbered where one comes twice."""
    found: dict[str, int] = {}
    for index, name in enumerate(names):
        found.setdefault(name if name not in found and name != "free" else f"{name} ({index})", index)
    return list(found)
