"""How kernels are compiled: lazily, once per machine, again after every edit, and without a cache if need be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cpu_scenes
import numpy as np
import pytest
import torch

from gaussian_splatting.rasterizer import cpu

PACKAGE = Path(cpu.__file__).parent
REPOSITORY = PACKAGE.parents[2]

TINY = """
import numpy as np
from gaussian_splatting.rasterizer import cpu
arrays = [np.ones(40, np.float32) for _ in range(4)]
cpu.adam_step(*arrays, 0.1, 0.9, 0.999, 1e-15, 0.1, 0.001)
from gaussian_splatting.rasterizer.cpu.adam import update_all
print("hits", sum(update_all.stats.cache_hits.values()), "misses", sum(update_all.stats.cache_misses.values()))
"""


def python(code: str, root: Path = REPOSITORY, **environment: str) -> str:
    """Run code in a fresh interpreter with `root` on the path, and give what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"} | environment
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_importing_does_not_import_numba() -> None:
    code = "import sys, gaussian_splatting, gaussian_splatting.rasterizer.cpu as cpu; print('numba' in sys.modules)"
    assert python(code).strip() == "False"


def test_a_second_process_finds_the_compiled_kernels(tmp_path: Path) -> None:
    assert "hits 0 misses 1" in python(TINY, NUMBA_CACHE_DIR=str(tmp_path))
    assert "hits 1 misses 0" in python(TINY, NUMBA_CACHE_DIR=str(tmp_path))


def test_an_edit_of_the_intrinsics_compiles_the_kernels_again(tmp_path: Path) -> None:
    root, cache = tmp_path / "copy", str(tmp_path / "cache")
    for source in (*PACKAGE.glob("*.py"), PACKAGE.parent / "__init__.py", PACKAGE.parent / "contract.py"):
        target = root / source.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    for name in ("__init__.py", "errors.py"):
        (root / "gaussian_splatting" / name).write_bytes((REPOSITORY / "gaussian_splatting" / name).read_bytes())
    assert "misses 1" in python(TINY, root, NUMBA_CACHE_DIR=cache)
    assert "hits 1" in python(TINY, root, NUMBA_CACHE_DIR=cache)
    with (root / "gaussian_splatting/rasterizer/cpu/simd.py").open("a") as file:
        file.write("# edited\n")
    assert "misses 1" in python(TINY, root, NUMBA_CACHE_DIR=cache)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no permissions of this kind")
def test_nowhere_to_cache_costs_time_but_works(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    code = "import numba.core.caching as c\nc.CacheImpl._locator_classes = []\n" + TINY
    printed = python(code)
    assert "hits 0" in printed
    assert "not cached" in printed
    code = TINY.replace("cpu.adam_step", "import os; os.environ; cpu.adam_step", 1)
    assert "misses" in python(code, NUMBA_CACHE_DIR=str(tmp_path / "made"))


def test_a_full_disk_costs_the_cache_only(tmp_path: Path) -> None:
    code = (
        "import numba.core.caching as c\n"
        "def fail(*arguments): raise OSError(28, 'No space left on device')\n"
        "c.IndexDataCacheFile.save = fail\n" + TINY
    )
    assert "No space left on device" in python(code, NUMBA_CACHE_DIR=str(tmp_path))


def test_a_read_only_home_costs_time_but_works(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    code = (
        "import numba.core.caching as c\n"
        "def fail(self): raise OSError(30, 'Read-only file system')\n"
        "names = ('InTreeCacheLocator', '_InTreeCacheLocator')\n"
        "locator = next(getattr(c, name) for name in names if hasattr(c, name))\n"
        "locator.ensure_cache_path = fail\n" + TINY
    )
    home = {name: str(blocked / "cache") for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA")}
    printed = python(code, **home)
    assert "hits 0" in printed
    assert "compiled kernels are not cached" in printed


def test_processes_that_compile_at_the_same_time_share_one_cache(tmp_path: Path) -> None:
    """Each writes what it compiled under a name of its own and moves it into place: nobody reads half a kernel."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "NUMBA_CACHE_DIR": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", TINY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        for _ in range(4)
    ]
    for process in running:
        printed, errors = process.communicate()
        assert process.returncode == 0, errors
        assert b"hits" in printed
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".nbi", ".nbc")]
    assert "hits 1 misses 0" in python(TINY, NUMBA_CACHE_DIR=str(tmp_path))


def test_the_garbage_collector_rests_only_while_kernels_are_compiled() -> None:
    import gc

    from gaussian_splatting.rasterizer.cpu.jit import kernel

    def double(values):
        for index in range(values.shape[0]):
            values[index] *= 2.0

    twice, values = kernel(double), np.ones(3, np.float32)
    assert gc.isenabled()
    twice(values)
    assert gc.isenabled()
    assert values.tolist() == [2, 2, 2]
    with pytest.raises(TypeError):
        twice("nothing that has a shape", 1)
    assert gc.isenabled()


def test_every_kernel_is_compiled_for_one_signature() -> None:
    """Models with and without further coefficients, all inputs and modes: nothing is compiled twice."""
    from numba.core.dispatcher import Dispatcher

    for degree, num_coefficients in ((3, 16), (0, 1)):
        values = cpu_scenes.scene(degree=degree)
        parameters, view = cpu_scenes.raw(values, degree, num_coefficients)
        named = cpu_scenes.raw_leaves(parameters, view, torch.float32)
        out = cpu_scenes.raw_call(cpu, named, view)
        target = torch.rand(*out.alphas.shape, 3).permute(2, 0, 1)
        cpu.fused_photometric(out.colors.permute(2, 0, 1), target, 0.2)[0].backward()
        single = {name: value.float() for name, value in values.items()}
        cpu.rasterization(**single, width=20, height=20, sh_degree=degree, render_mode="RGB+ED")
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(cpu.__name__ + ".")]
    kernels = {id(item): item for module in modules for item in vars(module).values() if isinstance(item, Dispatcher)}
    cached = [item for item in kernels.values() if type(item._cache).__name__ == "_VersionedCache"]
    assert len(cached) > 10
    assert {item.py_func.__name__: len(item.signatures) for item in cached if len(item.signatures) > 1} == {}
