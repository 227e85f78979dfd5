"""One thread that renders for everybody: the newest wish of each client counts, and nobody waits for one client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Protocol

STILL_AFTER = 0.2
"""Seconds without movement after which the full picture is drawn."""


ACTIVE = 1.0
"""Seconds for which a client that moved counts as moving."""


class Canvas(Protocol):
    """What a client shows."""

    def draw(self, *, moving: bool, clients: int) -> None:
        """Render what the client wants to see now, and send it. `clients` is how many are moving."""
        ...

    def failed(self, error: Exception) -> None:
        """Drawing raised an error."""
        ...


@dataclass
class _Wish:
    due: float
    moving: bool


@dataclass
class RenderWorker:
    """Draws on canvases, one at a time: who moves comes first, and among these who has waited longest.

    A canvas that moved is drawn once more, in full, when it has been still for a moment.
    """

    clock: Callable[[], float] = time.monotonic
    _wishes: dict[Hashable, _Wish] = field(default_factory=dict, init=False)
    _canvases: dict[Hashable, Canvas] = field(default_factory=dict, init=False)
    _served: dict[Hashable, float] = field(default_factory=dict, init=False)
    _moved: dict[Hashable, float] = field(default_factory=dict, init=False)
    _stopped: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="viewer-render", daemon=True)
        self._thread.start()

    def add(self, key: Hashable, canvas: Canvas) -> None:
        """Draw for this client from now on."""
        with self._changed:
            self._canvases[key] = canvas

    def remove(self, key: Hashable) -> None:
        """Forget a client; what is being drawn for it is finished."""
        with self._changed:
            for known in (self._canvases, self._wishes, self._served, self._moved):
                known.pop(key, None)

    def ask(self, key: Hashable, *, moving: bool) -> None:
        """The client wants another picture; an older wish of it is forgotten."""
        with self._changed:
            if key in self._canvases:
                self._wishes[key] = _Wish(self.clock(), moving)
                if moving:
                    self._moved[key] = self.clock()
                self._changed.notify()

    def stop(self) -> None:
        """End the thread, once the picture in work is done."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=10)

    def _work(self) -> None:
        while (task := self._next()) is not None:
            key, canvas, moving, clients = task
            try:
                canvas.draw(moving=moving, clients=clients)
            except Exception as error:  # a client's trouble must not end the others' pictures
                canvas.failed(error)
            with self._changed:
                self._served[key] = self.clock()
                if moving and key in self._canvases:
                    self._wishes.setdefault(key, _Wish(self.clock() + STILL_AFTER, False))

    def _next(self) -> tuple[Hashable, Canvas, bool, int] | None:
        with self._changed:
            while not self._stopped:
                now = self.clock()
                due = [key for key, wish in self._wishes.items() if wish.due <= now]
                if due:
                    key = min(due, key=lambda key: (not self._wishes[key].moving, self._served.get(key, 0.0)))
                    moving = sum(now - moment < ACTIVE for moment in self._moved.values())
                    return key, self._canvases[key], self._wishes.pop(key).moving, max(1, moving)
                later = min((wish.due for wish in self._wishes.values()), default=None)
                self._changed.wait(None if later is None else max(0.0, later - now))
            return None
