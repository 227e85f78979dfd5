"""What the doctor looks at, one function per topic. Nothing heavy is imported except torch, for CUDA."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gaussian_splatting import environment
from gaussian_splatting.rasterizer import gsplat_build, resolve_backend

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


def cuda_findings() -> list[Finding]:
    """Whether torch sees a graphics card; for gsplat, whether the compiler of its kernels is there."""
    if not is_importable("torch"):
        return []
    import torch

    if not torch.cuda.is_available():
        return [Finding("cuda", "graphics card", "optional", *_why_no_cuda(torch))]
    name, capability = torch.cuda.get_device_name(0), "{}.{}".format(*torch.cuda.get_device_capability(0))
    memory = torch.cuda.get_device_properties(0).total_memory / 1e9
    text = f"{name}, {memory:.0f} GB, compute capability {capability}, torch for CUDA {torch.version.cuda}"
    found = [Finding("cuda", "graphics card", "good", text), _architectures(torch, capability)]
    return [*found, _kernels_of_gsplat(torch.version.cuda)]


def _kernels_of_gsplat(built_for: str | None) -> Finding:
    """gsplat either comes with compiled kernels, or compiles them when it is first used, for torch's CUDA."""
    name = "gsplat kernels"
    if gsplat_build.is_shipped():
        return Finding("cuda", name, "good", "compiled, in the installed package")
    nvcc = gsplat_build.compiler()
    if nvcc is None:
        cure = "install a wheel of gsplat with compiled kernels (https://docs.gsplat.studio/whl), or the CUDA toolkit"
        return Finding("cuda", name, "bad", "not compiled, and there is no nvcc to compile them", cure)
    version = gsplat_build.compiler_version(nvcc)
    if version is None:
        cure = "install the CUDA toolkit" + (f" {built_for}" if built_for else "") + ", and set CUDA_HOME to its folder"
        return Finding("cuda", name, "bad", f"not compiled, and {nvcc} --version gives no version", cure)
    if built_for is not None and version.split(".")[0] != built_for.split(".")[0]:
        text = f"not compiled, and {nvcc} is of CUDA {version}, but torch of CUDA {built_for}"
        cure = (
            f"install the CUDA toolkit {built_for} and set CUDA_HOME to its folder, or install a torch for CUDA "
            f"{version.split('.')[0]}: https://pytorch.org/get-started/locally"
        )
        return Finding("cuda", name, "bad", text, cure)
    if gsplat_build.ninja() is None:
        return Finding("cuda", name, "bad", "not compiled, and ninja is missing", "pip install ninja")
    cards = os.environ.get("TORCH_CUDA_ARCH_LIST")
    text = f"compiled on first use, some minutes, {gsplat_build.jobs()} jobs at a time, by {nvcc} of CUDA {version}"
    return Finding("cuda", name, "good", text + (f", for cards of {cards}" if cards else ""))


def _architectures(torch: Any, capability: str) -> Finding:
    """Whether torch has kernels for the card: compiled for its generation, or as PTX of an older one."""
    built, wanted = torch.cuda.get_arch_list(), int(capability.replace(".", ""))
    fits = False
    for name in built:
        kind, _, digits = name.partition("_")
        number = int(digits.rstrip("af"))
        fits |= number <= wanted and (kind == "compute" or number // 10 == wanted // 10)
    cure = None if fits else f"install a torch for cards of {capability}: https://pytorch.org/get-started/locally"
    return Finding("cuda", "torch kernels", "good" if fits else "bad", ", ".join(built) or "none", cure)


def _why_no_cuda(torch: Any) -> tuple[str, str]:
    driver = _driver_version()
    if driver is None:
        return "none found (no NVIDIA driver)", "the cpu backend needs none"
    if torch.version.cuda is None:
        cure = "install a torch for CUDA: https://pytorch.org/get-started/locally"
        return f"driver {driver} is here, but torch {torch.__version__} is built without CUDA", cure
    return (
        f"driver {driver} is here, but torch {torch.__version__} (CUDA {torch.version.cuda}) sees no card",
        "update the driver, or look at CUDA_VISIBLE_DEVICES",
    )


def _driver_version() -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return (answer.stdout.strip().splitlines() or ["of unknown version"])[0]


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


def is_importable(module: str) -> bool:
    """Whether a module can be found, without importing it."""
    if module in sys.modules:
        return sys.modules[module] is not None
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
