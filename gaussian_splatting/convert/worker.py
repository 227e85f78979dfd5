"""The process of one stage: `python -m gaussian_splatting.convert.worker STAGE`, a job on stdin, answers on stdout.

An answer is a line of JSON: `{"done", "total"}` while it runs, and at the end `{"result"}`, `{"refused"}` (the input is
at fault) or `{"failed"}` (the library is).
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

Report = Callable[[int, int], None]

OLDEST = 4
"""First version of pycolmap whose functions are those used here."""


def main(stage: str) -> int:
    """Run a stage; the status of the process."""
    answers = _own_stdout()
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    from gaussian_splatting.errors import SplatError

    try:
        run = _stage(stage)
        answer(result=run(job, lambda done, total: answer(done=done, total=total)))
    except SplatError as error:
        answer(refused=str(error))
    except (ValueError, RuntimeError, MemoryError, OSError, AttributeError, TypeError, ImportError) as error:
        answer(failed=" ".join(str(error).split())[:500] or type(error).__name__)
    return 0


def _stage(name: str) -> Callable[[dict[str, Any], Report], dict[str, Any]]:
    import numpy  # noqa: F401  # before pycolmap, whose libraries must not come first
    import pycolmap

    require_version(pycolmap.__version__)
    from gaussian_splatting.convert import features, mapping, matching, undistortion

    pycolmap.set_random_seed(0)
    stages = {
        "features": features.run,
        "preselection": matching.preselect,
        "matching": matching.run,
        "mapping": mapping.run,
        "undistortion": undistortion.run,
    }
    return stages[name]


def require_version(version: str) -> None:
    """Raise SceneError for a pycolmap whose functions have other names."""
    from gaussian_splatting.errors import SceneError

    if int(version.partition(".")[0]) < OLDEST:
        raise SceneError(f'pycolmap {version} is too old: pip install --upgrade "pycolmap>={OLDEST}"')


def _own_stdout() -> IO[str]:
    """The stream of the answers; what libraries print goes to stderr instead."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _end_with_parent() -> None:
    """The parent never writes again: the stream ends when it does, and then this process must not go on alone."""
    sys.stdin.read()
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
