"""The progress bar, and printing that never stops a run: whoever reads may leave, and disks of logs may be full."""

from __future__ import annotations

import contextlib
import sys
from typing import IO, Any

FAILURES = (OSError, ValueError)  # a closed stream is a ValueError
TERMINAL_SECONDS, LOG_SECONDS = 0.5, 30.0


class TolerantStream:
    """Text written here goes to `stream` as long as that works, and nowhere after."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write as far as possible."""
        with contextlib.suppress(*FAILURES):
            if self._stream is not None:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush as far as possible."""
        with contextlib.suppress(*FAILURES):
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether a person watches."""
        with contextlib.suppress(*FAILURES):
            return self._stream is not None and self._stream.isatty()
        return False

    @property
    def encoding(self) -> str:
        """The encoding of the stream, which decides between blocks and # in the bar."""
        return getattr(self._stream, "encoding", None) or "ascii"


def progress_bar(total: int, first: int, shown: bool) -> Any:
    """A bar on stderr that starts at `first`; it moves rarely where it goes to a file instead of a terminal."""
    from tqdm import tqdm

    stream: Any = TolerantStream(sys.stderr)
    pause = TERMINAL_SECONDS if stream.isatty() else LOG_SECONDS
    return tqdm(total=total, initial=first, unit="it", disable=not shown, mininterval=pause, file=stream)


def say(text: str) -> None:
    """Print a line to stdout, as far as possible; above the progress bars, which may share its terminal."""
    module: Any = sys.modules.get("tqdm")
    # Not tqdm.write(): it knows only the bare streams as those of a terminal, and fails when they do.
    bars = [] if module is None else list(getattr(module.tqdm, "_instances", ()))
    for bar in bars:
        bar.clear()
    stream = TolerantStream(sys.stdout)
    stream.write(text + "\n")
    stream.flush()
    for bar in bars:
        bar.refresh()
