"""How a command speaks: plain lines on stderr, none where another process says the same, no fuss without a reader."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import IO, Any

log = logging.getLogger("gaussian_splatting")


class PlainHandler(logging.Handler):
    """Writes log records as single lines to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a reader that has gone away is no error."""
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        complain(prefix + record.getMessage())


@contextlib.contextmanager
def plain_messages() -> Iterator[None]:
    """Within, warnings and log records of the package are plain lines on stderr."""
    handler, level = PlainHandler(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show_warning
            yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Within, nothing is printed: another process prints the same."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def silenced_warnings() -> Iterator[None]:
    """Within, warnings and log records are dropped: another process prints the same."""
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: IO[str] | None = None,
    line: str | None = None,
) -> None:
    complain("warning: " + " ".join(str(message).split()))


def complain(text: str) -> None:
    """Write a line to stderr, above a progress bar if there is one; a reader that has gone away is no error."""
    with contextlib.suppress(OSError, ValueError):  # stderr may be closed
        bar: Any = sys.modules.get("tqdm")
        if bar is not None:
            bar.tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def tolerant_streams() -> Iterator[None]:
    """Within and after, a closed stdout (`| head`) neither kills the command nor complains when Python exits."""
    _occupy_standard_descriptors()
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except (OSError, ValueError, AttributeError):  # no reader, a full disk, closed, or none at all
            with contextlib.suppress(OSError, ValueError, AttributeError):
                # What is still buffered has no reader; without this, Python reports the failure once more at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _occupy_standard_descriptors() -> None:
    """Open what was closed of 0, 1 and 2: a result file with one of these numbers would receive error messages."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
