"""The render worker: newest wish first, nobody starves, and trouble stays where it is."""

from __future__ import annotations

import threading
import time

import pytest
from browser import wait_until

from gaussian_splatting.viewer.worker import RenderWorker


class Canvas:
    """Remembers what was drawn; may take its time, or fail."""

    def __init__(self, log: list, name: str = "", seconds: float = 0.0, gate: threading.Event | None = None) -> None:
        self.log, self.name, self.seconds, self.gate = log, name, seconds, gate
        self.errors: list[Exception] = []
        self.fail = False

    def draw(self, *, moving: bool, clients: int) -> None:
        if self.gate is not None:
            assert self.gate.wait(10)
        time.sleep(self.seconds)
        self.log.append((self.name, moving, clients))
        if self.fail:
            raise RuntimeError("no picture")

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


@pytest.fixture
def worker():
    made = RenderWorker()
    yield made
    made.stop()


def test_only_the_newest_wish_of_a_client_is_drawn(worker):
    log, gate = [], threading.Event()
    worker.add(1, Canvas(log, gate=gate))
    worker.ask(1, moving=True)
    time.sleep(0.05)  # the first one is in work now
    for _ in range(100):
        worker.ask(1, moving=True)
    gate.set()
    wait_until(lambda: len(log) == 3, "three pictures")
    assert [moving for _, moving, _ in log] == [True, True, False]  # in work, the newest, and the full one
    time.sleep(0.3)
    assert len(log) == 3


def test_who_moves_comes_before_who_stands_still(worker):
    log, gate = [], threading.Event()
    worker.add("busy", Canvas(log, "busy", gate=gate))
    for name in ("still", "moving"):
        worker.add(name, Canvas(log, name))
    worker.ask("busy", moving=False)
    time.sleep(0.05)
    worker.ask("still", moving=False)
    worker.ask("moving", moving=True)
    gate.set()
    wait_until(lambda: len(log) >= 3, "three pictures")
    assert [name for name, _, _ in log][:3] == ["busy", "moving", "still"]


def test_twenty_clients_share_alike(worker):
    log: list = []
    for key in range(20):
        worker.add(key, Canvas(log, str(key), seconds=0.001))
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        for key in range(20):
            worker.ask(key, moving=True)
        time.sleep(0.002)
    names = [name for name, moving, _ in log if moving]
    counts = [names.count(str(key)) for key in range(20)]
    assert min(counts) >= max(counts) - 2 and min(counts) > 3
    assert max(clients for _, _, clients in log) == 20


def test_a_client_that_fails_disturbs_nobody(worker):
    log: list = []
    bad, good = Canvas(log, "bad"), Canvas(log, "good")
    bad.fail = True
    worker.add(1, bad)
    worker.add(2, good)
    worker.ask(1, moving=False)
    worker.ask(2, moving=False)
    wait_until(lambda: len(log) == 2, "both pictures")
    assert [str(error) for error in bad.errors] == ["no picture"]
    assert good.errors == []


def test_nothing_is_drawn_for_a_client_that_has_gone(worker):
    log: list = []
    worker.add(1, Canvas(log))
    worker.ask(1, moving=True)
    wait_until(lambda: len(log) == 1, "a picture")
    worker.remove(1)
    worker.ask(1, moving=True)
    time.sleep(0.3)
    assert len(log) == 1
