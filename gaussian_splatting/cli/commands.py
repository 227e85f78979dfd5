"""What every command shares: how it starts, on which device and threads it runs, and how it fails."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence

from gaussian_splatting import environment
from gaussian_splatting.cli.messages import complain, log, plain_messages, silenced, silenced_warnings, tolerant_streams
from gaussian_splatting.cli.number_flags import positive_integer
from gaussian_splatting.cli.strict_flags import parse_strictly
from gaussian_splatting.errors import BackendError, SplatError
from gaussian_splatting.rasterizer import BACKENDS, require_card, resolve_backend

REFUSED, INTERRUPTED = 2, 130


def add_common_flags(parser: argparse.ArgumentParser, *, device: bool = True) -> None:
    """Add the flags of every command: `--debug`, and with `device` also `--device`, `--backend` and `--threads`."""
    group = parser.add_argument_group("machine")
    if device:
        group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default auto: cuda if present)")
        group.add_argument(
            "--backend", default="auto", metavar="NAME",
            help=f"rasteriser: {', '.join(BACKENDS)} (default auto: gsplat on CUDA, cpu elsewhere)",
        )  # fmt: skip
        group.add_argument("--threads", type=positive_integer, metavar="N", help="processor threads (default all)")
    group.add_argument("--debug", action="store_true", help="show the full traceback of an error")


def run_command(
    main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> int:
    """Parse the flags, run `main` with them, and give the exit status.

    0: done. 2: refused, with the reason on stderr (no traceback unless `--debug`). 130: interrupted. A `SystemExit` of
    `main` keeps its status. An exception that is no `SplatError` is our mistake and keeps its traceback.
    """
    follows = environment.place().follows
    with tolerant_streams():
        try:
            with silenced() if follows else contextlib.nullcontext():
                arguments = parse_strictly(parser, argv)
        except SystemExit as stop:
            return _status(stop)
        with silenced_warnings() if follows else plain_messages():
            return _guarded(main, arguments)


def _guarded(main: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    try:
        if hasattr(arguments, "threads"):
            load_torch()
            set_threads(arguments.threads)
        warn_about_rival()
        main(arguments)
    except KeyboardInterrupt:
        if not environment.place().follows:
            complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return 0
    except SystemExit as stop:
        return _status(stop)
    except Exception as error:
        reason = explained(error)
        if reason is None or getattr(arguments, "debug", False):
            raise
        complain(f"error: {reason}")
        return REFUSED
    return 0


def load_torch() -> None:
    """Import torch, during which Ctrl-C ends the process at once, while there is nothing to lose yet.

    As an exception it is lost: torch imports NumPy from C++ and drops every error of it, so that the command goes on,
    or fails later at a NumPy that was loaded half.
    """
    plain = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if "torch" not in sys.modules and plain and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            importlib.import_module("torch")
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def explained(error: Exception) -> str | None:
    """What to tell the user about an error that is not our mistake, or None when it is."""
    if isinstance(error, SplatError):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        detail = str(error).strip().splitlines()
        return f"out of memory{f' ({detail[0]})' if detail else ''}; use smaller pictures (-r 2) or fewer Gaussians"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    return None


def set_threads(number: int | None) -> None:
    """Bound the threads of torch and of the CPU kernels; their results do not depend on it.

    None leaves the choice to them, unless the quota of a container grants less than they would take.
    """
    shares = environment.place().local_size
    granted = max(1, environment.usable_threads() // shares)
    if number is None and granted < environment.allowed_threads():
        source = "this container grants" if shares == 1 else f"there is for each of {shares} processes"
        log.info("using %d threads: that is what %s (--threads changes it)", granted, source)
        number = granted
    if number is None:
        return
    import torch

    from gaussian_splatting.rasterizer.cpu.threads import MAX_THREADS, set_num_threads

    torch.set_num_threads(number)
    set_num_threads(min(number, MAX_THREADS))


def warn_about_rival() -> None:
    """Say so when another distribution installs a package of our import name into this environment."""
    version = environment.rival_distribution()
    if version is not None:
        warnings.warn(
            f"the distribution {environment.RIVAL_NAME} {version} is installed too and also provides "
            f"`gaussian_splatting`; remove one: pip uninstall {environment.RIVAL_NAME}",
            stacklevel=2,
        )


def chosen_device(arguments: argparse.Namespace) -> str:
    """The torch device that `--device` and `--backend` mean. Raises BackendError when it is not there.

    "auto" is CUDA when torch sees a card and the backend is not one of the processor's.
    """
    import torch

    backend = getattr(arguments, "backend", "auto")
    resolve_backend(backend, "cpu")
    wanted = arguments.device
    if wanted == "auto":
        device = "cuda" if torch.cuda.is_available() and not backend.startswith("cpu") else "cpu"
    else:
        device = _present_device(wanted)
    if backend.startswith("gsplat"):
        require_card(device, elsewhere=backend.replace("gsplat", "cpu"))
    return device


def _present_device(wanted: str) -> str:
    import torch

    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise BackendError(f"--device {wanted!r}: there are no backends for it; use auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise BackendError(
            f"--device {wanted}: torch {torch.__version__} sees {found} CUDA devices here; use --device cpu, or run "
            "`python -m gaussian_splatting.doctor` to see why"
        )
    return wanted


def say(text: str = "") -> None:
    """Print a line of the command's result to stdout; a reader that has gone away is no error."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


def _status(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code
    complain(str(stop.code))
    return 1
