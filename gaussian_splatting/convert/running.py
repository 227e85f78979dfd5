"""How stages run: with a bar each, and those of pycolmap in a process of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaussian_splatting import environment
from gaussian_splatting.convert import native
from gaussian_splatting.convert.options import ConvertOptions
from gaussian_splatting.runs.progress import progress_bar

Tick = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


@dataclass(frozen=True)
class Runner:
    """Runs stages and shows how far they are; `log` is where the words of a failed one go."""

    options: ConvertOptions
    log: Path
    show_progress: bool = False
    verbose: bool = False

    @contextmanager
    def bar(self, title: str) -> Iterator[Tick]:
        """A progress bar; the tick that is given moves it."""
        with progress_bar(1, 0, self.show_progress) as bar:
            bar.set_description(title, refresh=False)

            def move(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield move

    def native(self, stage: str, job: dict[str, Any], title: str) -> dict[str, Any]:
        """The result of a stage of pycolmap."""
        machine = {
            "threads": self.options.threads or environment.usable_threads(),
            "device": self.options.device,
            "seed": self.options.seed,
        }
        with self.bar(title) as tick:
            return native.run_stage(stage, job | machine, self.log, verbose=self.verbose, tick=tick)
