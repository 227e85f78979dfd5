"""The progress bar and printing never stop a run."""

from __future__ import annotations

import io
import sys

import pytest

from gaussian_splatting.runs.progress import TolerantStream, progress_bar, say


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")

    def isatty(self) -> bool:
        raise ValueError("I/O operation on closed file")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [Full(), closed(), None])
def test_text_that_cannot_be_written_is_dropped(stream):
    tolerant = TolerantStream(stream)
    assert tolerant.write("text") == 4
    tolerant.flush()
    assert tolerant.isatty() is False


@pytest.mark.parametrize("stream", [Full(), closed(), None])
def test_saying_and_showing_go_on_without_anybody(monkeypatch, stream):
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(3, 0, True) as bar:
        for _ in range(3):
            bar.update()
            say("text")


def test_what_is_said_stands_on_a_line_of_its_own(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(3, 0, True) as bar:
        bar.update()
        say("text")
    assert "\rtext\n" in terminal.getvalue().replace(" ", "")
