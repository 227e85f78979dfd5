"""The viewer itself: a web server (viser), one session and one panel for each client, one render worker for all."""

from __future__ import annotations

import contextlib
import io
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussian_splatting.cli.server_flags import free_port, require_viser
from gaussian_splatting.viewer.films import FilmMaker
from gaussian_splatting.viewer.pace import Pace
from gaussian_splatting.viewer.panel import Panel
from gaussian_splatting.viewer.pose import Pose
from gaussian_splatting.viewer.scenes import Scene, frame_of
from gaussian_splatting.viewer.session import Session
from gaussian_splatting.viewer.stage import Stage
from gaussian_splatting.viewer.worker import RenderWorker

if TYPE_CHECKING:
    import viser

    from gaussian_splatting.viewer.live import LiveScene

LOCAL = "127.0.0.1"
LARGEST = 1920
TICK = 0.25


class Viewer:
    """Shows a scene to any number of browsers. A context manager; `stop` ends it.

    `host` other than 127.0.0.1 lets others in: they see the scene and can use every button. Raises SplatError when
    viser is not installed, or nothing can listen on `host` from `port` on.
    """

    def __init__(
        self, scene: Scene, *, host: str = LOCAL, port: int = 8080, largest: int = LARGEST,
        live: LiveScene | None = None,
    ) -> None:  # fmt: skip
        self.scene, self.live, self._largest = scene, live, largest
        self.stage = Stage()
        self.films = FilmMaker(self.stage)
        self.frame = frame_of(scene)
        self.sessions: dict[int, Session] = {}
        self._panels: dict[int, Panel] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._version = -1
        self._pace = Pace()  # one for all: it is the same machine and the same scene
        self.worker = RenderWorker()
        self.server = _start_server(host, port, scene.name)
        self._place_clients()
        self.server.on_client_connect(self._connected)
        self.server.on_client_disconnect(self._disconnected)
        self._ticker = threading.Thread(target=self._tick, name="viewer-tick", daemon=True)
        self._ticker.start()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where a browser finds the viewer."""
        host = self.server.get_host()
        return f"http://{'localhost' if host in ('0.0.0.0', '::') else host}:{self.server.get_port()}"  # noqa: S104

    def num_clients(self) -> int:
        """How many browsers are looking."""
        return len(self.sessions)

    def stop(self) -> None:
        """Disconnect everybody and end all threads."""
        self._ended.set()
        for session in list(self.sessions.values()):
            session.closed = True
        self.worker.stop()
        if threading.current_thread() is not self._ticker:
            self._ticker.join(timeout=5)
        with _quietly():
            self.server.stop()

    # Clients

    def start_pose(self, aspect: float) -> Pose:
        """Where clients begin: at the first camera of the scene."""
        points = self.scene.viewpoints()
        if points:
            return Pose.of_camera(points[0].camera, aspect)
        center = self.frame.target - np.array([0.0, 0.0, self.frame.size])
        return Pose(center, np.eye(3), np.radians(50.0))

    def _place_clients(self) -> None:
        pose = self.start_pose(16 / 9)
        distance = float(np.linalg.norm(self.frame.target - pose.center))
        self.server.scene.set_up_direction(_vector(self.frame.up))
        start = self.server.initial_camera
        start.position = _vector(pose.center)
        start.look_at = _vector(pose.center + pose.forward * distance)
        start.fov = pose.fov

    def _connected(self, client: viser.ClientHandle) -> None:
        key = client.client_id

        def ask(*, moving: bool) -> None:
            self.worker.ask(key, moving=moving)

        session = Session(client, self.scene, self.stage, self.frame, ask, self._pace, self._largest)
        start = self.start_pose(session.aspect)
        panel = Panel(session, self.films, self.live, start)
        with self._lock:
            self.sessions[key], self._panels[key] = session, panel
        self.worker.add(key, session)

        async def moved(camera: Any) -> None:  # on the event loop, so that the order of the reports is kept
            session.camera_moved()

        client.camera.on_update(moved)
        panel.reset()

    def _disconnected(self, client: viser.ClientHandle) -> None:
        with self._lock:
            session = self.sessions.pop(client.client_id, None)
            self._panels.pop(client.client_id, None)
        if session is not None:
            session.closed = True
            self.worker.remove(client.client_id)

    def _tick(self) -> None:
        while not self._ended.wait(TICK):
            with self._lock:
                panels = list(self._panels.values())
            if self.live is not None and panels:
                self.live.want_copy()
                if self.live.version != self._version:
                    self._version = self.live.version
                    for panel in panels:
                        panel.session.refresh()
            for panel in panels:
                self._tick_panel(panel)

    def _tick_panel(self, panel: Panel) -> None:
        try:
            if not panel.session.closed:
                panel.session.settle()
                panel.tick()
        except Exception as error:  # one client's trouble is not the others'
            panel.session.failed(error)

    def wait(self, seconds: float | None = None) -> None:
        """Serve until `stop`, or for so many seconds."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._ended.wait(0.2):
            if deadline is not None and time.monotonic() >= deadline:
                return


def _start_server(host: str, port: int, title: str) -> viser.ViserServer:
    require_viser()
    port = free_port(host, port)
    import viser

    # viser warns when something is sent to a browser that has just gone; that is how browsers are.
    warnings.filterwarnings("ignore", message="Queued a .* on a closed connection")
    with _quietly():
        server = viser.ViserServer(host=host, port=port, verbose=False)
    _refuse_sharing(server)
    server.gui.configure_theme(
        dark_mode=True, show_logo=False, show_share_button=False, brand_color=(90, 140, 240), control_width="medium"
    )
    server.gui.set_panel_label(title)
    return server


def _refuse_sharing(server: Any) -> None:
    """No client may open the scene to the world through the share service of viser."""
    from viser import _messages

    connection = server._websock_server
    for message in (_messages.ShareUrlRequest, _messages.ShareUrlDisconnect):
        if message in connection._incoming_handlers:
            connection.unregister_handler(message)


def _quietly() -> contextlib.AbstractContextManager[Any]:
    """Within, what viser prints on its own is dropped: the command says where the viewer is."""
    return contextlib.redirect_stdout(io.StringIO())


def _vector(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
