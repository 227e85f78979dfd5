"""Processes to kill, without paying the imports each time: one process imports everything, its forks are killed.

`Zygote` is the test's end; this file run as a program is the other. The forks use one thread.
"""

from __future__ import annotations

import contextlib
import json
import locale
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


class Zygote:
    """Starts trials and tells how they ended: an exit status, or minus the number of the signal that killed it."""

    def __init__(self) -> None:
        paths = [str(HERE), str(HERE.parent), str(HERE.parents[1])]
        environment = os.environ | {
            "NUMBA_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "MKL_CBWR": "AUTO,STRICT",  # as the command sets it when it is first
            "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
        }
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def trial(
        self, target: str, *arguments: Any, plan: list[Any] | None = None, log: Path | None = None, **hooks: Any
    ) -> int:
        """Run `target` in a fork. `plan` is what is done to it: a list of steps, see `follow`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "target": target,
            "arguments": arguments,
            "plan": plan or [],
            "hooks": hooks,
            "log": str(log or os.devnull),
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the zygote ended with status {self._process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        """End the zygote."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        if self._process.stdout is not None:
            self._process.stdout.close()


# What runs in a fork


def command(*argv: str) -> int:
    """The train command itself."""
    from gaussian_splatting import train

    return train.main(list(argv))


def toy(folder: str, steps: int, num: int) -> int:
    """A toy run with `num` Gaussians."""
    from toy import toy_model, toy_run, toy_trainer

    def make() -> Any:
        return toy_trainer(model=toy_model(num), densify_target_upper_bound=num)

    toy_run(Path(folder), steps, make=make)
    return 0


def seeded_toy(folder: str, seed: int) -> int:
    """A toy run in a process whose global generators hold something else."""
    import random

    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    return toy(folder, 6, 12)


def pair(*argv: str) -> int:
    """The train command in two processes, as torchrun starts them; a signal is passed on to both. The worse status."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in ("0", "1"):
        children.append(os.fork())
        if children[-1] == 0:
            os.environ.update(common, RANK=rank, LOCAL_RANK=rank)
            status = 1
            try:
                status = command(*argv)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: [os.kill(one, number) for one in children])
    return max((os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children), key=abs)


TARGETS: dict[str, Callable[..., int]] = {"command": command, "pair": pair, "toy": toy, "seeded_toy": seeded_toy}


def install(hooks: dict[str, Any], pipe: int) -> None:
    """`slow`: writes go in small pieces with pauses. `naive`: in place, and checkpoints are believed without digest.

    In either case the parent hears when a checkpoint begins ("s") and when it is done ("e").
    """
    from gaussian_splatting.io import checkpoint, storage

    honest_write, honest_save = storage._write_all, checkpoint.write_checkpoint

    def slow_write(descriptor: int, data: Any) -> int:
        view = memoryview(data).cast("B")
        piece = max(1, view.nbytes // 16)
        for start in range(0, view.nbytes, piece):
            honest_write(descriptor, view[start : start + piece])
            time.sleep(0.002)
        return view.nbytes

    def announced(*arguments: Any, **settings: Any) -> None:
        os.write(pipe, b"s")
        honest_save(*arguments, **settings)
        os.write(pipe, b"e")

    def naive(path: Any, data: Any, *, size_hint: int | None = None) -> None:
        import io

        path = Path(path)
        storage.make_folder(path.parent)
        stream = io.BytesIO()
        if callable(data):
            data(stream)
        content = stream.getvalue() if callable(data) else data
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        storage._write_all(descriptor, content)
        os.close(descriptor)

    checkpoint.write_checkpoint = announced
    if hooks.get("slow"):
        storage._write_all = slow_write
    if hooks.get("naive"):
        storage.write_atomically = naive
        checkpoint._require_whole = lambda *_: None


def spoil(streams: str) -> None:
    """Standard streams on a full disk, closed, or with nobody at their other end."""
    match streams:
        case "full":
            other = os.open("/dev/full", os.O_WRONLY)
        case "no reader":
            reader, other = os.pipe()
            os.close(reader)
        case "closed":
            os.close(1)
            os.close(2)
            sys.stdout = sys.stderr = None  # type: ignore[assignment]  # as Python does when it starts so
            return
        case _:
            return
    os.dup2(other, 1)
    os.dup2(other, 2)


def surround(hooks: dict[str, Any]) -> None:
    """Another working directory, environment or locale (the first of those that this system has)."""
    os.chdir(hooks.get("directory", "."))
    os.environ.update(hooks.get("environment", {}))
    time.tzset()
    for name in hooks.get("locale", ()):
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_ALL, name)
            break


def child(request: dict[str, Any], pipe: int) -> int:
    descriptor = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (0, 1, 2):
        os.dup2(descriptor if stream else os.open(os.devnull, os.O_RDONLY), stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    spoil(request["hooks"].get("streams", ""))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for number in request["hooks"].get("ignored", ()):
        signal.signal(number, signal.SIG_IGN)
    surround(request["hooks"])
    install(request["hooks"], pipe)
    return TARGETS[request["target"]](*request["arguments"])


# What is done to it


class Trial:
    def __init__(self, request: dict[str, Any]) -> None:
        self.heard, pipe = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                status = child(request, pipe)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                for stream in (sys.stdout, sys.stderr):
                    with contextlib.suppress(OSError, ValueError, AttributeError):
                        stream.flush()
                os._exit(status)
        os.close(pipe)
        self.status: int | None = None

    def ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def follow(self, plan: list[Any]) -> int:
        """Steps: ["sleep", s], ["hear", "s" or "e", count], ["signal", number]. Then wait for the end."""
        for what, *details in plan:
            if what == "sleep":
                limit = time.monotonic() + details[0]
                while not self.ended() and time.monotonic() < limit:
                    time.sleep(min(0.002, max(0.0, limit - time.monotonic())))
            elif what == "hear":
                self.hear(*details)
            elif not self.ended():
                os.kill(self.pid, details[0])
        while not self.ended():
            time.sleep(0.002)
        os.close(self.heard)
        assert self.status is not None
        return self.status

    def hear(self, letter: str, count: int) -> None:
        while count and not self.ended():
            if select.select([self.heard], [], [], 0.01)[0]:
                found = os.read(self.heard, 1)
                count -= found == letter.encode()
                if not found:
                    return


def warm_up() -> None:
    """Import what a run imports, and load the kernels it uses, once for all forks."""
    import tempfile

    import torch
    import tqdm  # noqa: F401

    from gaussian_splatting import report, train  # noqa: F401
    from gaussian_splatting.options import flat_options
    from gaussian_splatting.trainer.conformance import QUICK
    from gaussian_splatting.trainer.named import DepthSHLiftOpacityResetDensificationTrainer as Recipe
    from gaussian_splatting.trainer.rules import option_groups
    from gaussian_splatting.trainer.tiny_scene import tiny_dataset, tiny_model

    if torch.version.cuda is not None:
        return  # autograd on such a build does not survive a fork
    known = flat_options(option_groups(Recipe))
    options = {name: value for name, value in QUICK.items() if name in known}
    trainer = Recipe(tiny_model(Recipe), tiny_dataset(Recipe), **options)
    for _ in trainer.run(tiny_dataset(Recipe), 8):
        pass
    with tempfile.TemporaryDirectory() as folder:
        toy(folder, 2, 12)


def serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the warm-up prints is no answer
    warm_up()
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(Trial(request).follow(request["plan"])) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
