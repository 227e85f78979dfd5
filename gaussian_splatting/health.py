"""What the doctor looks at, one function per topic; `card_health` has the cards.

Nothing heavy is imported except torch.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gaussian_splatting import environment
from gaussian_splatting.environment import is_importable
from gaussian_splatting.rasterizer import resolve_backend

State = Literal["good", "optional", "bad"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `cure` is what to do, where something can be done."""

    topic: str
    name: str
    state: State
    text: str
    cure: str | None = None
    blocks: bool = False  # nothing can run because of it


OLDEST_PYTHON = (3, 10)
LITTLE_MEMORY, LITTLE_DISK = 2e9, 2e9  # bytes

# Distribution, import name, what does not work without it.
LIBRARIES = (
    ("torch", "torch", "everything"),
    ("numpy", "numpy", "everything"),
    ("numba", "numba", "the cpu backend"),
    ("scipy", "scipy", "starting from points"),
    ("pillow", "PIL", "everything"),
    ("opencv-python-headless", "cv2", "undistorting and resizing pictures"),
    ("tifffile", "tifffile", "depth maps"),
    ("safetensors", "safetensors", "checkpoints"),
    ("tqdm", "tqdm", "progress bars"),
)

# Extra, its distribution and import name, what it adds.
EXTRAS = (
    ("mesh", "open3d", "open3d", "meshes"),
    ("convert", "pycolmap", "pycolmap", "photos and videos to scenes"),
    ("viewer", "viser", "viser", "the viewer in the browser"),
    ("video", "imageio-ffmpeg", "imageio_ffmpeg", "MP4 videos"),
    ("depth", "transformers", "transformers", "depth maps from photos"),
    ("formats", "plyfile", "plyfile", "unusual point clouds"),
    ("log", "tensorboard", "tensorboard", "TensorBoard logs"),
)

_VECTOR_UNITS = (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("avx", "AVX"), ("asimd", "NEON"), ("sse4_2", "SSE4.2"))


def python_findings() -> list[Finding]:
    """The interpreter, and whether another distribution shares our import name."""
    version, good = platform.python_version(), sys.version_info >= OLDEST_PYTHON
    needed = ".".join(map(str, OLDEST_PYTHON))
    found = [Finding("python", "python", "good" if good else "bad", f"{version} ({sys.executable})",
                     None if good else f"install Python {needed} or newer")]  # fmt: skip
    own = environment.versions()["gaussian_splatting"]
    found.append(Finding("python", "gaussian_splatting", "good", f"{own} ({Path(__file__).parent})"))
    rival = environment.rival_distribution()
    if rival is not None:
        cure = f"pip uninstall {environment.RIVAL_NAME}, then install this package again"
        text = f"{rival} is installed too, and provides the same import name"
        found.append(Finding("python", environment.RIVAL_NAME, "bad", text, cure))
    return found


def library_findings() -> list[Finding]:
    """The libraries that the package cannot do without."""
    return [_library(*entry) for entry in LIBRARIES]


def _library(distribution: str, module: str, purpose: str) -> Finding:
    version = environment.version_of(distribution)
    if is_importable(module):
        return Finding("libraries", distribution, "good", version or "from another distribution")
    text, cure = f"missing; needed for {purpose}", f"pip install {distribution}"
    return Finding("libraries", distribution, "bad", text, cure, blocks=purpose == "everything")


def processor_findings() -> list[Finding]:
    """The processor: its threads, and the widest vector instructions."""
    threads, flags = environment.usable_threads(), environment.processor_flags()
    widest = next((name for flag, name in _VECTOR_UNITS if flag in flags), None)
    if widest is None:
        widest = "NEON" if platform.machine().lower() in ("arm64", "aarch64") else "unknown"
    text = f"{threads} of {os.cpu_count() or 1}"
    if threads < environment.allowed_threads():
        text += ", which is what this container grants"
    return [
        Finding("processor", "processor", "good", environment.processor_name()),
        Finding("processor", "threads", "good", text),
        Finding("processor", "vector units", "good" if widest != "unknown" else "optional", widest),
    ]


def backend_findings() -> list[Finding]:
    """Which backend `auto` uses, and why; bad when it cannot run."""
    if not is_importable("torch"):
        return [Finding("backend", "auto", "bad", "nothing can run without torch", "pip install torch", blocks=True)]
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = resolve_backend("auto", device)
    why = "torch sees a CUDA card" if device == "cuda" else "torch sees no CUDA card"
    needed = {"gsplat": "gsplat", "cpu": "numba"}[name]
    if is_importable(needed):
        version = environment.version_of(needed) or "of unknown version"
        return [Finding("backend", "auto", "good", f"{name} ({needed} {version}), because {why}")]
    rest = name == "gsplat" and is_importable("numba")
    cure = f"pip install {needed}" + ("; until then give --device cpu" if rest else "")
    return [Finding("backend", "auto", "bad", f"{name}, because {why}; {needed} is missing", cure, blocks=not rest)]


def storage_findings() -> list[Finding]:
    """Free memory and disk, and whether compiled kernels can be kept."""
    found = [_cache_folder()]
    memory = environment.available_memory()
    if memory is not None:
        state = "good" if memory > LITTLE_MEMORY else "bad"
        cure = None if state == "good" else "close other programs, or train on smaller pictures: -r 4"
        found.append(Finding("storage", "free memory", state, f"{memory / 1e9:.1f} GB", cure))
    free = shutil.disk_usage(".").free
    state = "good" if free > LITTLE_DISK else "bad"
    cure = None if state == "good" else "free some space, or write runs to another disk"
    return [*found, Finding("storage", "free disk", state, f"{free / 1e9:.1f} GB in {Path.cwd()}", cure)]


def _cache_folder() -> Finding:
    """Where Numba keeps compiled kernels: NUMBA_CACHE_DIR, else beside the sources, else the user's cache folder."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    beside = Path(__file__).parent / "rasterizer" / "cpu"
    candidates = [Path(given)] if given else [beside, Path.home() / ".cache" / "numba"]
    for folder in candidates:
        if is_writable(folder):
            return Finding("storage", "kernel cache", "good", f"{folder} can be written")
    cure = "set NUMBA_CACHE_DIR to a folder you may write to; without it every start compiles for some seconds"
    return Finding("storage", "kernel cache", "bad", f"{candidates[-1]} cannot be written", cure)


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in its nearest parent that exists."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def extra_findings() -> list[Finding]:
    """What can be installed on top."""
    return [_extra(*entry) for entry in EXTRAS]


def _extra(extra: str, distribution: str, module: str, purpose: str) -> Finding:
    if is_importable(module):
        version = environment.version_of(distribution)
        return Finding("extras", extra, "good", f"{purpose}: {distribution} {version or 'of unknown version'}")
    cure = f'pip install "{environment.OWN_NAME}[{extra}]"'
    return Finding("extras", extra, "optional", f"{purpose}: {distribution} is not installed", cure)
