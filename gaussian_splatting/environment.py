"""Facts about this installation and this machine, found without importing the libraries they are about."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

LIBRARIES = (
    "torch",
    "numpy",
    "numba",
    "scipy",
    "pillow",
    "opencv-python-headless",
    "tifffile",
    "safetensors",
    "gsplat",
)
_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
OWN_NAME = "gaussian-splatting-anywhere"
RIVAL_NAME = "gaussian-splatting"


@dataclass(frozen=True)
class Place:
    """Which of the processes this one is, among all and on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def follows(self) -> bool:
        """Whether another process speaks and writes for this one."""
        return self.rank > 0


def place() -> Place:
    """The place that torchrun gave this process; the only one when it was not started by torchrun."""
    if any(name not in os.environ for name in _PLACE):
        return Place()
    try:
        found = Place(*(int(os.environ[name]) for name in _PLACE[:4]))
    except ValueError:
        return Place()
    return found if found.size > 1 else Place()


def is_importable(module: str) -> bool:
    """Whether a module can be found, without importing it."""
    if module in sys.modules:
        return sys.modules[module] is not None
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of the libraries that decide a result."""
    found = {"python": platform.python_version(), "gaussian_splatting": version_of(OWN_NAME) or "source checkout"}
    installed = {name: version_of(name) for name in LIBRARIES}
    return found | {name: version for name, version in installed.items() if version is not None}


def machine() -> dict[str, str | int | float | None]:
    """What ran: processor, threads, memory, and the graphics card when torch is loaded and sees one."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor_name(),
        "threads": usable_threads(),
        "memory_gb": _rounded_gigabytes(total_memory()),
        "gpu": gpu_name(),
    }


def rival_distribution() -> str | None:
    """The version of the other distribution that installs a package of the same import name, if it is installed."""
    return version_of(RIVAL_NAME)


def processor_name() -> str:
    """The processor's name as its maker gives it, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def processor_flags() -> set[str]:
    """The instruction sets of the processor, on Linux; empty elsewhere."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return set(line.partition(":")[2].split())
    except OSError:
        pass
    return set()


def usable_threads() -> int:
    """Threads this process can keep busy: processors that its affinity allows, less where a container sets a quota."""
    quota = container_quota()
    return allowed_threads() if quota is None else max(1, min(allowed_threads(), round(quota)))


def allowed_threads() -> int:
    """Processors that the affinity of this process allows."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def container_quota() -> float | None:
    """Processors that the container's quota allows (cgroup v2), or None without a quota."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        return None


def total_memory() -> int | None:
    """Bytes of memory, or None where the system does not tell."""
    return _memory_pages("SC_PHYS_PAGES")


def available_memory() -> int | None:
    """Bytes that can be taken without swapping, or None where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return _memory_pages("SC_AVPHYS_PAGES")


def gpu_name() -> str | None:
    """The name of the CUDA card, if torch is already imported and sees one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_name(0)


def _memory_pages(name: str) -> int | None:
    if not hasattr(os, "sysconf") or name not in os.sysconf_names:
        return None
    pages = os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    return pages if pages > 0 else None


def _rounded_gigabytes(size: int | None) -> float | None:
    return None if size is None else round(size / 1e9, 1)
