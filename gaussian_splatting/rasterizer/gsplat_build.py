"""The build of gsplat's CUDA kernels at first use: announced, by one process, with what it needs at hand."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from gaussian_splatting import environment

log = logging.getLogger("gaussian_splatting")
JOB_BYTES = 3 << 30
"""Memory that a compiler of one file of gsplat's may take."""
NAME = "gsplat_cuda"
_TOOLKITS = Path("/usr/local")


@contextlib.contextmanager
def building() -> Iterator[None]:
    """Within, gsplat may build its kernels. Where it has to, a line says so, and other processes wait for this one."""
    if is_shipped():
        yield
        return
    with _environment(), _one_at_a_time(folder := build_folder()):
        if toolkit() is not None and not is_built(folder):
            log.info(
                "gsplat builds its CUDA kernels, once: some minutes, %s jobs at a time (MAX_JOBS)",
                os.environ["MAX_JOBS"],
            )
        yield


def is_shipped() -> bool:
    """Whether the installed gsplat has its kernels with it."""
    try:
        spec = importlib.util.find_spec("gsplat")
    except ValueError:  # a stand-in that was put there by hand
        return False
    folders = (spec.submodule_search_locations or []) if spec is not None else []
    return any(list(Path(folder).glob(f"csrc{end}")) for folder in folders for end in ("*.so", "*.pyd"))


def build_folder() -> Path:
    """Where torch builds kernels for this Python and this CUDA."""
    from torch.utils import cpp_extension

    return Path(cpp_extension._get_build_directory(NAME, verbose=False))


def is_built(folder: Path) -> bool:
    """Whether the kernels lie in `folder` from an earlier use."""
    return any((folder / f"{NAME}{end}").is_file() for end in (".so", ".pyd"))


def jobs() -> int:
    """How many files to compile at a time: one for each thread, as far as free memory reaches."""
    memory = environment.available_memory()
    most = environment.usable_threads()
    return max(1, most if memory is None else min(most, memory // JOB_BYTES))


def toolkit() -> Path | None:
    """The folder of the CUDA toolkit: what CUDA_HOME says, else of the nvcc on PATH, else the usual one.

    A folder without headers is none: nvcc on PATH may be a script that lies elsewhere.
    """
    given = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if given:
        return Path(given)
    found = shutil.which("nvcc")
    candidates = [] if found is None else [Path(found).resolve().parents[1]]
    candidates += [_TOOLKITS / "cuda", *sorted(_TOOLKITS.glob("cuda-*"), reverse=True)]
    return next((one for one in candidates if (one / "include" / "cuda_runtime.h").is_file()), None)


def compiler() -> str | None:
    """The nvcc that will compile: the toolkit's, else the one on PATH."""
    home = toolkit()
    return (shutil.which("nvcc", path=str(home / "bin")) if home is not None else None) or shutil.which("nvcc")


def compiler_version(nvcc: str) -> str | None:
    """The version of CUDA that an nvcc is of, as in 12.4; None when it does not say."""
    try:
        answer = subprocess.run([nvcc, "--version"], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"release (\d+\.\d+)", answer.stdout)
    return None if found is None else found[1]


def ninja() -> str | None:
    """The program that runs the compilers; it may lie beside Python, in an environment that is not activated."""
    return shutil.which("ninja") or shutil.which("ninja", path=str(Path(sys.executable).parent))


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Within, the variables that the build reads are set, unless they were; then they are what they were."""
    home, program = toolkit(), ninja()
    wanted = {"MAX_JOBS": os.environ.get("MAX_JOBS") or str(jobs())}
    if home is not None:
        wanted["CUDA_HOME"] = str(home)
    if program is not None and shutil.which("ninja") is None:
        wanted["PATH"] = os.pathsep.join([str(Path(program).parent), os.environ.get("PATH", os.defpath)])
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Within, no other process builds in `folder`: gsplat empties it first, also under another's hands."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    handle = os.open(folder.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
