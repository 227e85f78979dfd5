"""Open3D, imported when it is asked for, with a cure in the message when that fails."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
from typing import Any

from gaussian_splatting import environment
from gaussian_splatting.errors import SplatError


def open3d_library() -> Any:
    """The module `open3d`. Raises SplatError that says how to install it, or what the system lacks.

    Open3D needs the system's libusb for depth cameras that nobody has here; where it is missing, the one that the
    package libusb-package carries is loaded first.
    """
    if importlib.util.find_spec("open3d") is None:
        raise SplatError(f'meshes need Open3D: pip install "{environment.OWN_NAME}[mesh]"')
    try:
        return importlib.import_module("open3d")
    except (ImportError, OSError) as error:
        first = error
    _load_libusb()
    try:
        return importlib.import_module("open3d")
    except (ImportError, OSError):
        raise SplatError(
            f"Open3D is installed and cannot be loaded: {first}; install what is missing, on Debian and Ubuntu: "
            "apt-get install libusb-1.0-0 libgl1 libegl1 libgomp1 libx11-6"
        ) from first


def _load_libusb() -> None:
    with contextlib.suppress(ImportError, OSError, TypeError):  # the message above then names the library
        package: Any = importlib.import_module("libusb_package")
        ctypes.CDLL(str(package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
