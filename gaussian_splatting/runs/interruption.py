"""Ctrl-C and friends during training: the first asks the run to save and stop, the second ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn

from gaussian_splatting import environment

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # Windows has no SIGHUP


class Interruption:
    """Within, SIGINT, SIGTERM and SIGHUP set `received` once, and end the process the second time.

    Signals that the process was told to ignore (`nohup`) stay ignored. Outside the main thread nothing is changed.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @staticmethod
    def stop(received: signal.Signals) -> NoReturn:
        """Leave as a signal asks: KeyboardInterrupt for SIGINT, else SystemExit with 128 + its number."""
        if received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            # Not sys.exit(): what is half written must not be finished by somebody's clean-up.
            os._exit(128 + number)
        self.received = signal.Signals(number)
        if not environment.place().follows:
            _tell(f"{self.received.name}: this step is finished and saved first; once more ends at once")


def _tell(text: str) -> None:
    """A line on stderr from a handler of signals, where Python's own streams may be in the middle of a write."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())
