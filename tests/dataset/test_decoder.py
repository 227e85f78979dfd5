"""Background work: done once, wanted items first, errors handed over, threads that end."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from gaussian_splatting.dataset.decoder import Decoder


def wait_for_threads() -> None:
    deadline = time.monotonic() + 5
    while any(thread.name == "pictures" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the threads do not end"
        time.sleep(0.005)


def test_every_wanted_item_is_decoded_once() -> None:
    calls: list[int] = []
    lock = threading.Lock()

    def decode(index: int) -> int:
        with lock:
            calls.append(index)
        return index * index

    decoder = Decoder(decode, workers=3)
    decoder.want(range(40))
    decoder.want(range(40))
    assert [decoder.take(index) for index in range(40)] == [index * index for index in range(40)]
    wait_for_threads()
    assert sorted(calls) == list(range(40))


def test_an_item_that_nobody_wanted_is_decoded_by_the_caller() -> None:
    threads: list[threading.Thread] = []
    decoder = Decoder(lambda index: threads.append(threading.current_thread()), workers=2)
    decoder.take(5)
    assert threads == [threading.current_thread()]


def test_a_queued_item_does_not_wait_for_the_queue() -> None:
    release = threading.Event()

    def decode(index: int) -> int:
        if index == 0:
            assert release.wait(5)
        return index

    decoder = Decoder(decode, workers=1)
    decoder.want(range(10))
    assert decoder.take(9) == 9
    release.set()
    assert decoder.take(0) == 0
    wait_for_threads()


def test_an_error_is_raised_every_time_and_does_not_stop_the_others() -> None:
    def decode(index: int) -> int:
        if index == 1:
            raise ValueError("picture 1 is damaged")
        return index

    decoder = Decoder(decode, workers=2)
    decoder.want(range(4))
    wait_for_threads()
    for _ in range(2):
        with pytest.raises(ValueError, match="picture 1 is damaged"):
            decoder.take(1)
    assert [decoder.take(index) for index in (0, 2, 3)] == [0, 2, 3]


def test_forgotten_items_are_decoded_again_when_taken() -> None:
    calls: list[int] = []
    decoder = Decoder(calls.append, workers=1)
    decoder.want([3])
    wait_for_threads()
    decoder.forget(3)
    decoder.take(3)
    assert calls == [3, 3]


def test_the_threads_end_when_the_owner_is_dropped() -> None:
    class Owner:
        def __init__(self) -> None:
            self.num_calls = 0
            self.decoder = Decoder(self.decode, workers=1)

        def decode(self, index: int) -> int:
            time.sleep(0.01)
            return index

    owner = Owner()
    reference = weakref.ref(owner)
    owner.decoder.want(range(100_000))
    time.sleep(0.03)
    del owner
    gc.collect()
    wait_for_threads()
    assert reference() is None
