"""A run for TensorBoard: what its JSONL logs and progress pictures hold, while it trains or afterwards.

Only files of the run are read, so that the training cannot notice: same seed, same bytes. Needs the extra `log`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaussian_splatting import environment
from gaussian_splatting.cli import commands
from gaussian_splatting.errors import SplatError

if TYPE_CHECKING:
    from gaussian_splatting.runs.folder import RunFolder

FOLDER = "tensorboard"
SECONDS_BETWEEN = 5.0


def require_tensorboard() -> None:
    """Raise SplatError when TensorBoard is not installed: better before a training than in its middle."""
    if importlib.util.find_spec("tensorboard") is None:
        raise SplatError(f'TensorBoard logs need tensorboard: pip install "{environment.OWN_NAME}[log]"')


class TensorBoardLog:
    """Copies what a run folder holds into `<run>/tensorboard`, everything once; `first` is the last step known there.

    Scalars: loss and its terms, PSNR of the training view and of held-out views, number of Gaussians, seconds, steps
    per second. Pictures: the fixed view of the progress pictures.
    """

    def __init__(self, folder: RunFolder, first: int = 0) -> None:
        require_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        self._writer: Any = SummaryWriter(str(folder.path / FOLDER), purge_step=first + 1 if first else None)
        self._done = {"metrics": first, "timing": first, "evaluations": first, "progress": first}

    def update(self) -> None:
        """Copy what is new."""
        for entry in self._new("metrics", self._folder.read_metrics()):
            self._metrics(entry)
        for entry in self._new("timing", self._folder.read_timing()):
            self._scalars(entry, {"seconds": "time/seconds", "iterations_per_second": "time/steps per second"})
        for entry in self._new("evaluations", self._folder.read_evaluations()):
            self._scalars(entry, {"psnr": "psnr/held-out views"})
        for step, path in self._folder.progress_pictures().items():
            if step > self._done["progress"]:
                self._picture(step, path)
                self._done["progress"] = step
        self._writer.flush()

    def close(self) -> None:
        """Copy the rest and end the log."""
        self.update()
        self._writer.close()

    def _new(self, name: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = [entry for entry in entries if entry["step"] > self._done[name]]
        if found:
            self._done[name] = found[-1]["step"]
        return found

    def _metrics(self, entry: dict[str, Any]) -> None:
        self._scalars(entry, {"loss": "loss/total", "psnr": "psnr/training view", "num_gaussians": "Gaussians"})
        terms = entry.get("losses")
        if isinstance(terms, dict):
            self._scalars({**terms, "step": entry["step"]}, {name: f"loss/{name}" for name in terms})

    def _scalars(self, entry: dict[str, Any], tags: dict[str, str]) -> None:
        for name, tag in tags.items():
            value = entry.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self._writer.add_scalar(tag, value, entry["step"])

    def _picture(self, step: int, path: Path) -> None:
        from gaussian_splatting.errors import FormatError
        from gaussian_splatting.rendering.picture_files import decode_picture

        with contextlib.suppress(FormatError):  # a picture that is damaged is missing, no more
            self._writer.add_image("progress", decode_picture(path), step, dataformats="HWC")


@contextlib.contextmanager
def recording(folder: RunFolder, first: int = 0, seconds: float = SECONDS_BETWEEN) -> Iterator[None]:
    """Within, what a run writes after step `first` is copied every few seconds, and the rest at the end."""
    log, end = TensorBoardLog(folder, first), threading.Event()

    def follow() -> None:
        while not end.wait(seconds):
            log.update()

    follower = threading.Thread(target=follow, name="tensorboard", daemon=True)
    follower.start()
    try:
        yield
    finally:
        end.set()
        follower.join()
        log.close()


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m gaussian_splatting.tensorboard_log", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("-d", "--destination", required=True, help="the run folder that train wrote")
    commands.add_common_flags(parser, device=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(convert, build_parser(), argv)


def convert(arguments: argparse.Namespace) -> None:
    """Write the TensorBoard log of a run that was trained without one."""
    from gaussian_splatting.runs.folder import RunFolder, move_aside

    folder = RunFolder(arguments.destination)
    if not folder.metrics.is_file():
        raise SplatError(f"{folder.path}: holds no metrics.jsonl; -d takes the folder that train wrote")
    require_tensorboard()
    if (folder.path / FOLDER).exists():
        commands.say(f"the log that was there is now {move_aside(folder.path / FOLDER)}")
    TensorBoardLog(folder).close()
    commands.say(f"written: {folder.path / FOLDER}; look at it with: tensorboard --logdir {folder.path}")


if __name__ == "__main__":
    sys.exit(main())
