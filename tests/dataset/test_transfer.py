"""Pictures that do not fit on a card: pinned, copied a step ahead, and waited for by those who use them only."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from example_scenes import picture
from PIL import Image

import gaussian_splatting.dataset.pictures as pictures_module
from gaussian_splatting.dataset import transfer
from gaussian_splatting.dataset.load import Pictures
from gaussian_splatting.dataset.pictures import PictureStore
from gaussian_splatting.dataset.view import View

SIZE = (40, 30)
log: list[str] = []


class FakeEvent:
    def record(self) -> None:
        log.append("copied")


class FakeStream:
    def __init__(self, device: object) -> None:
        self.device = device

    def wait_event(self, event: FakeEvent) -> None:
        log.append("wait")


@contextlib.contextmanager
def fake_stream(stream: FakeStream) -> Iterator[None]:
    log.append("aside")
    yield
    log.append("back")


@pytest.fixture(autouse=True)
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams and events that only write down what happens."""
    log.clear()
    fakes = {"Stream": FakeStream, "Event": FakeEvent, "stream": fake_stream, "current_stream": FakeStream}
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: log.append("held"), raising=False)


def pictures_of(value: int) -> Pictures:
    return Pictures(colors=torch.full((2, 3, 3), value, dtype=torch.uint8))


def test_a_copy_is_begun_once_on_its_own_stream_and_waited_for_when_it_is_taken():
    moving = transfer.Transfer(torch.device("cpu"))
    moving.start(3, lambda: pictures_of(3), {3, 4})
    moving.start(3, lambda: pytest.fail("begun twice"), {3, 4})
    assert log == ["aside", "copied", "back"]
    log.clear()
    found = moving.take(3, lambda: pytest.fail("read again"))
    assert log == ["wait", "held"]
    assert torch.equal(found.colors, pictures_of(3).colors)


def test_what_was_not_begun_is_copied_at_once():
    moving = transfer.Transfer(torch.device("meta"))
    found = moving.take(5, lambda: pictures_of(5))
    assert found.colors is not None
    assert found.colors.device.type == "meta"
    assert log == []


def test_copies_that_nobody_wants_any_more_are_dropped():
    moving = transfer.Transfer(torch.device("cpu"))
    moving.start(1, lambda: pictures_of(1), {1, 2})
    moving.start(2, lambda: pictures_of(2), {2, 3})
    assert set(moving._coming) == {2}


def test_pictures_that_cannot_be_pinned_stay_as_they_are(monkeypatch, caplog):
    def refuse(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: out of pinned memory\nmore")

    monkeypatch.setattr(torch.Tensor, "pin_memory", refuse)
    given = pictures_of(7)
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        assert transfer.pinned(given) is given
    assert caplog.messages == ["pictures are not pinned: CUDA error: out of pinned memory"]


class FakeTransfer:
    """A transfer to memory of the processor that writes down which views are begun and which are taken."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def start(self, index: int, pictures: Callable[[], Pictures], keep: set[int]) -> None:
        pictures()
        log.append(f"start {index}")

    def take(self, index: int, pictures: Callable[[], Pictures]) -> Pictures:
        log.append(f"take {index}")
        return pictures()


def test_a_store_that_does_not_fit_copies_the_next_view_while_this_one_is_used(tmp_path: Path, monkeypatch, caplog):
    views = []
    for index in range(4):
        path = tmp_path / f"{index}.png"
        Image.fromarray(picture(SIZE, index)).save(path)
        views.append(View(path.name, *SIZE, 35.0, 36.0, 20.0, 15.0, np.eye(3), np.zeros(3), path, stored_size=SIZE))
    monkeypatch.setattr(pictures_module, "Transfer", FakeTransfer)
    monkeypatch.setattr(pictures_module, "pinned", lambda pictures: (log.append("pinned"), pictures)[1])
    monkeypatch.setattr(pictures_module, "_free_cuda_memory", lambda device: 4 * 40 * 30 * 3 * 2)
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        store = PictureStore(views).to("cuda:0")
    assert "they stay in pinned memory, and are copied a step ahead" in caplog.text
    store.load_all()
    assert log.count("pinned") == 4
    log.clear()
    for order in ([2, 0, 1], [0, 1, 3]):
        store.prefetch(order)
        colors = store[order[0]].colors
        assert colors is not None
        np.testing.assert_array_equal(colors.numpy(), picture(SIZE, order[0]))
    assert log == ["start 2", "start 0", "take 2", "start 0", "start 1", "take 0"]


def test_the_bytes_stay_on_a_card_that_has_twice_as_many(tmp_path: Path, monkeypatch, caplog):
    path = tmp_path / "0.png"
    Image.fromarray(picture(SIZE, 0)).save(path)
    view = View(path.name, *SIZE, 35.0, 36.0, 20.0, 15.0, np.eye(3), np.zeros(3), path, stored_size=SIZE)
    monkeypatch.setattr(pictures_module, "_free_cuda_memory", lambda device: 40 * 30 * 3 * 2 + 2)
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        store = PictureStore([view]).to("cuda:0")
    assert "(half of its free memory): they stay there" in caplog.text
    assert store._transfer is None
