"""Work by index in a few background threads, where the item that somebody waits for comes first."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Decoder(Generic[Item]):
    """Calls `decode(index)` once for every index that is wanted, and keeps each result until it is taken.

    Threads start with the first wish and end with the last; they also end with the interpreter, and when nobody holds
    the decoder any more. An error of `decode` is raised by `take`, every time.
    """

    def __init__(self, decode: Callable[[int], Item], workers: int) -> None:
        self._decode = _weak_method(decode)
        self._workers = workers
        self._lock = threading.Lock()
        self._queue: deque[int] = deque()
        self._futures: dict[int, Future[Item]] = {}
        self._running = 0

    def want(self, indices: Iterable[int]) -> None:
        """Puts these items in the queue, in this order, unless they are done, running or queued."""
        with self._lock:
            for index in indices:
                if index not in self._futures:
                    self._futures[index] = Future()
                    self._queue.append(index)
            missing = min(self._workers - self._running, len(self._queue))
            self._running += missing
        for _ in range(missing):
            threading.Thread(target=_work, args=(weakref.ref(self),), name="pictures").start()

    def take(self, index: int) -> Item:
        """The item, which the decoder then forgets; decoded here and now when no thread has begun it."""
        with self._lock:
            future = self._futures.get(index)
            begun = future is not None and not future.cancel()
            if not begun:
                self._futures.pop(index, None)
        if future is None or not begun:
            return self._decode(index)
        item = future.result()  # an error stays in the future, for those who ask again
        self.forget(index)
        return item

    def forget(self, index: int) -> None:
        """Drops an item that nobody will take."""
        with self._lock:
            future = self._futures.pop(index, None)
            if future is not None:
                future.cancel()

    def run_next(self) -> bool:
        """Decodes the next item of the queue in the calling thread; False when the queue is empty."""
        with self._lock:
            if not self._queue:
                self._running -= 1
                return False
            index = self._queue.popleft()
            future = self._futures.get(index)
            if future is None or not future.set_running_or_notify_cancel():
                return True
        try:
            future.set_result(self._decode(index))
        except BaseException as error:  # handed to the one who takes the item
            future.set_exception(error)
        return True


def _work(reference: weakref.ref[Decoder[Item]]) -> None:
    """One thread: holds the decoder only while it decodes."""
    while threading.main_thread().is_alive():
        decoder = reference()
        if decoder is None or not decoder.run_next():
            return
        del decoder


def _weak_method(decode: Callable[[int], Item]) -> Callable[[int], Item]:
    """`decode` without keeping its object alive, so that dropping the owner ends the threads."""
    if not inspect.ismethod(decode):
        return decode
    method = weakref.WeakMethod(decode)

    def call(index: int) -> Item:
        bound = method()
        if bound is None:
            raise RuntimeError("the pictures are no longer wanted")
        return bound(index)

    return call
