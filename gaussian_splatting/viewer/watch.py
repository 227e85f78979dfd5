"""`train --viewer`: a run that browsers look at while it goes on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gaussian_splatting.cli.server_flags import warn_about_host
from gaussian_splatting.viewer.live import LiveScene
from gaussian_splatting.viewer.server import LOCAL, Viewer

if TYPE_CHECKING:
    from gaussian_splatting.runs.training import TrainingRun


@contextlib.contextmanager
def watching(run: TrainingRun, host: str = LOCAL, port: int = 8080) -> Iterator[None]:
    """Within, browsers can look at the run, pause it and have it go on. Its result is the same to the byte.

    After the end it stays up for as long as a browser looks, or until Ctrl-C.
    """
    live = LiveScene(run.trainer, run.cameras, run.iterations, run.folder.path.resolve().name, run.say)
    warn_about_host(host)
    with Viewer(live, host=host, port=port, live=live) as viewer:
        run.say(f"viewer: {viewer.url}")
        run.watcher = live
        try:
            yield
        finally:
            run.watcher = None
        live.end(run.trainer)
        if viewer.num_clients():
            run.say(f"the training is done; {viewer.url} stays up while a browser looks (Ctrl-C ends it)")
            with contextlib.suppress(KeyboardInterrupt):
                while viewer.num_clients():
                    time.sleep(0.2)
