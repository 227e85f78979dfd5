"""Stages of pycolmap in a process of their own: what crashes there ends in one error here, and nothing else is lost.

Pillow and pycolmap bring libraries of the same names in different builds; in one process they spoil each other's
memory. The process of a stage imports numpy and pycolmap only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from gaussian_splatting import environment, health
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io import storage

WORKER = "gaussian_splatting.convert.worker"
LINES_KEPT = 400


def require_pycolmap() -> None:
    """Raise SceneError with the install command when pycolmap is missing."""
    if not health.is_importable("pycolmap"):
        raise SceneError(
            f'converting photos needs pycolmap: pip install "{environment.OWN_NAME}[convert]" (for its GPU build, '
            "pip install pycolmap-cuda12 instead)"
        )


def run_stage(
    stage: str,
    job: dict[str, Any],
    log: Path,
    *,
    verbose: bool = False,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Run a stage of the worker with a job (JSON) and give its result; `tick(done, total)` follows it.

    Raises SceneError when the stage refuses, fails or crashes; then what the library said is in `log`.
    """  # fmt: skip
    process = _started(stage)
    said: deque[str] = deque(maxlen=LINES_KEPT)
    listener = threading.Thread(target=_listen, args=(process.stderr, said, verbose), daemon=True)
    listener.start()
    try:
        answer = _converse(process, job, tick)
        process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        listener.join(timeout=5)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    if "result" in answer:
        return answer["result"]
    storage.write_text(log, "".join(said))
    if "refused" in answer:
        raise SceneError(answer["refused"])
    raise SceneError(f"{stage}: {_what_happened(process.returncode, answer, said)}; its messages are in {log}. "
                     "What was finished is kept: the same command goes on from there")  # fmt: skip


def _started(stage: str) -> subprocess.Popen[str]:
    # Beside our own package, wherever this process found it.
    places = [str(Path(__file__).resolve().parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places)), "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", WORKER, stage], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, encoding="utf-8", errors="replace", env=environ, start_new_session=os.name != "nt",
    )  # fmt: skip


def _converse(process: subprocess.Popen[str], job: dict[str, Any], tick: Callable[[int, int], None]) -> dict[str, Any]:
    """Hand over the job and follow the answers; the last one says how it ended."""
    assert process.stdin is not None and process.stdout is not None
    answer: dict[str, Any] = {}
    try:
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()  # left open: the worker ends when it closes, so it never outlives us
    except BrokenPipeError:
        return answer
    for line in process.stdout:
        try:
            answer = json.loads(line)
        except ValueError:
            continue  # printed by a library
        if "done" in answer:
            tick(answer["done"], answer["total"])
            answer = {}
    return answer


def _listen(stream: IO[str] | None, said: deque[str], verbose: bool) -> None:
    for line in stream or ():
        said.append(line)
        if verbose:
            sys.stderr.write(line)


def _what_happened(status: int, answer: dict[str, Any], said: deque[str]) -> str:
    if "failed" in answer:
        return f"pycolmap failed: {answer['failed']}"
    if status < 0:
        name = signal.Signals(-status).name if -status in signal.Signals._value2member_map_ else str(-status)
        hint = " (out of memory? try a smaller --max_size or --threads 1)" if name == "SIGKILL" else ""
        return f"the process of pycolmap was ended by {name}{hint}"
    words = next((line.strip() for line in reversed(said) if line.strip()), "without a word")
    return f"the process of pycolmap ended with status {status}: {words}"
