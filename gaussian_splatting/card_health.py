"""What the doctor says of graphics cards: whether torch sees one, and whether there are kernels for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

from gaussian_splatting import health
from gaussian_splatting.health import Finding
from gaussian_splatting.rasterizer import gsplat_build


def cuda_findings() -> list[Finding]:
    """Whether torch sees a graphics card; for gsplat, whether the compiler of its kernels is there."""
    if not health.is_importable("torch"):
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
