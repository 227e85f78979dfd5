"""A browser without a screen: it speaks the protocol of viser over a real websocket, and keeps what it is shown."""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec.msgpack
import numpy as np
import viser
import zstandard
from PIL import Image
from websockets.sync.client import connect

Message = dict[str, Any]


class FakeBrowser:
    """One client of the viewer at a port of this machine."""

    def __init__(self, port: int, width: int = 96, height: int = 64) -> None:
        self.width, self.height = width, height
        self.messages: list[Message] = []
        self.picture_times: list[float] = []
        self.last_picture: bytes | None = None
        self.sent = 0.0
        self.downloads: dict[str, bytes] = {}
        self._parts: dict[str, tuple[str, int, dict[int, bytes]]] = {}
        self.pose: Message = {
            "wxyz": (1.0, 0.0, 0.0, 0.0), "position": (0.0, 0.0, -4.0), "look_at": (0.0, 0.0, 0.0),
            "up_direction": (0.0, -1.0, 0.0), "fov": 0.8,
        }  # fmt: skip
        protocol: Any = f"viser-v{viser.__version__}"
        self._socket = connect(
            f"ws://127.0.0.1:{port}", subprotocols=[protocol], max_size=None, compression=None, proxy=None
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self.send_camera()

    def __enter__(self) -> FakeBrowser:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()
        self._thread.join(timeout=5)

    # What a browser does

    def send(self, kind: str, **fields: Any) -> None:
        self.sent = time.monotonic()
        self._socket.send(msgspec.msgpack.encode({"type": kind, **fields}))

    def send_camera(self, **changes: Any) -> None:
        """Report the camera, as a browser does after every movement."""
        self.pose |= changes
        size = {"near": 0.01, "far": 1000.0, "image_height": self.height, "image_width": self.width}
        self.send("ViewerCameraMessage", **self.pose, **size)

    def press(self, label: str) -> None:
        """Use the hotkey of a command."""
        self.send("CommandTriggerMessage", uuid=self.command(label)["uuid"])

    def command(self, label: str) -> Message:
        return self.find("RegisterCommandMessage", lambda message: message["props"]["label"] == label)

    def control(self, label: str) -> Message:
        """The message that made a control with this label."""
        return self.find("Gui", lambda message: message.get("props", {}).get("label") == label)

    def set(self, label: str, value: Any) -> None:
        """Change a control; a button is clicked."""
        change = {"uuid": self.control(label)["uuid"], "updates": {"value": value}}
        self.messages.append({"type": "GuiUpdateMessage", **change})  # what the user sees at once
        self.send("GuiUpdateMessage", **change)

    def click(self, label: str) -> None:
        self.set(label, True)

    # What a browser sees

    def find(self, kind: str, wanted: Callable[[Message], bool] = lambda message: True) -> Message:
        """The last message of a kind, waited for."""
        found: list[Message] = []

        def arrived() -> bool:
            found[:] = [m for m in list(self.messages) if m["type"].startswith(kind) and wanted(m)]
            return bool(found)

        wait_until(arrived, f"a message {kind}")
        return found[-1]

    def state(self, label: str) -> Message:
        """The properties of a control now: those it was made with, and all changes since."""
        made = self.control(label)
        state = {**made["props"], "value": made.get("value")}
        for message in list(self.messages):
            if message["type"] == "GuiUpdateMessage" and message["uuid"] == made["uuid"]:
                state |= message["updates"]
        return state

    def picture(self) -> np.ndarray:
        """The picture in the window [H, W, 3]."""
        wait_until(lambda: self.last_picture is not None, "a picture")
        assert self.last_picture is not None
        return np.asarray(Image.open(io.BytesIO(self.last_picture)).convert("RGB"))

    def still_picture(self) -> np.ndarray:
        """The picture in full size that answers what was done last, once nothing has come for a while."""

        def settled() -> bool:
            now, last = time.monotonic(), self.picture_times[-1] if self.picture_times else -math.inf
            answered = last > self.sent or (math.isfinite(last) and now - self.sent > 2.0)
            return answered and now - last > 0.5 and self.picture().shape[:2] == (self.height, self.width)

        wait_until(settled, "a picture in full size")
        return self.picture()

    def download(self, ending: str) -> bytes:
        """The content of a file that was sent, waited for."""
        wait_until(lambda: any(name.endswith(ending) for name in self.downloads), f"a file {ending}")
        return next(content for name, content in self.downloads.items() if name.endswith(ending))

    def _listen(self) -> None:
        try:
            for raw in self._socket:
                assert isinstance(raw, bytes)
                self._receive(raw)
        except Exception:  # the connection was closed, by either side
            return

    def _receive(self, raw: bytes) -> None:
        size = int.from_bytes(raw[8:16], "little")
        window = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(raw[16 : 16 + size]))
        for message in window["messages"]:
            self._take(message)

    def _take(self, message: Message) -> None:
        match message["type"]:
            case "BackgroundImageMessage":
                self.last_picture = message["rgb_data"]
                self.picture_times.append(time.monotonic())
                return
            case "SetCameraPositionMessage":
                self.pose["position"] = tuple(message["position"])
            case "SetCameraLookAtMessage":
                self.pose["look_at"] = tuple(message["look_at"])
            case "SetCameraUpDirectionMessage":
                self.pose["up_direction"] = tuple(message["position"])
            case "SetCameraFovMessage":
                self.pose["fov"] = message["fov"]
            case "FileTransferStartDownload":
                self._parts[message["transfer_uuid"]] = (message["filename"], message["part_count"], {})
            case "FileTransferPart":
                name, count, parts = self._parts[message["transfer_uuid"]]
                parts[message["part_index"]] = message["content"]
                if len(parts) == count:
                    self.downloads[name] = b"".join(parts[index] for index in range(count))
                return
        self.messages.append(message)


def wait_until(happened: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait for something; AssertionError when it does not happen."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"{what} did not come within {seconds} seconds"
        time.sleep(0.01)


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Of two pictures [H, W, 3] of 0 to 255, in dB; finite where they are equal."""
    error = np.mean((first.astype(float) - second) ** 2)
    return 10 * math.log10(255**2 / max(error, 1e-9))
