"""Set-up in one command, with nothing but Python: `python tools/bootstrap.py demo` or `python tools/bootstrap.py test`.

Makes a virtual environment (`.venv` beside this folder unless `--venv` names another), installs PyTorch and this
package into it, and runs the demo, or lint, type check and tests. Where no NVIDIA driver answers, PyTorch's CPU build
is taken.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"

# A slow CI machine should not wait for the whole history of a dependency to be tried.
PIP = ["-m", "pip", "install", "--disable-pip-version-check", "--quiet"]


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("demo", "test"))
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="virtual environment (default .venv)")
    parser.add_argument("--torch", help="pip requirement for PyTorch, for example torch==2.13.0")
    arguments, passed_on = parser.parse_known_args()
    if sys.version_info < (3, 10):  # noqa: UP036 - any Python may start this file
        raise SystemExit(f"Python 3.10 or newer is needed; this is {sys.version.split()[0]}")
    python = environment(arguments.venv)
    install(python, arguments.torch, "[dev]" if arguments.what == "test" else "[video]")
    commands = test_commands(python, passed_on) if arguments.what == "test" else demo_commands(python, passed_on)
    for command in commands:
        print("+", " ".join(str(part) for part in command), flush=True)
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if status:
            return status
    return 0


def environment(folder: Path) -> Path:
    """The Python of the virtual environment, made when it is missing."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"making the virtual environment {folder}", flush=True)
        venv.create(folder, with_pip=True)
    return python


def install(python: Path, torch: str | None, extra: str) -> None:
    """Install PyTorch unless it is there, then this package with an extra."""
    if subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode:
        print("installing PyTorch", flush=True)
        subprocess.run([python, *PIP, *torch_requirement(torch)], check=True)
    print(f"installing gaussian_splatting{extra}", flush=True)
    subprocess.run([python, *PIP, "--editable", f"{ROOT}{extra}"], check=True)


def torch_requirement(torch: str | None) -> list[str]:
    """What pip is asked for: the given requirement, the plain package beside an NVIDIA driver, else the CPU build."""
    if torch:
        return [torch]
    if sys.platform == "darwin" or shutil.which("nvidia-smi"):
        return ["torch"]
    return ["torch", "--index-url", CPU_WHEELS]


def test_commands(python: Path, passed_on: list[str]) -> list[list[str | Path]]:
    """Lint, format, types, tests."""
    return [
        [python, "-m", "ruff", "check"],
        [python, "-m", "ruff", "format", "--check"],
        [python, "-m", "pyright", "--pythonpath", python],
        [python, "-m", "pytest", *passed_on],
    ]


def demo_commands(python: Path, passed_on: list[str]) -> list[list[str | Path]]:
    """The demo."""
    return [[python, "-m", "gaussian_splatting.demo", *passed_on]]


if __name__ == "__main__":
    sys.exit(main())
