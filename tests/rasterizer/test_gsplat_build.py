"""What surrounds the first build of gsplat's kernels: memory, programs, folders, and other processes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
from pathlib import Path

import pytest

from gaussian_splatting.rasterizer import gsplat_build


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a toolkit, whose builds go into a folder of the test."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    for name in ("MAX_JOBS", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gsplat_build, "_TOOLKITS", tmp_path / "local")
    monkeypatch.setattr(gsplat_build, "is_shipped", lambda: False)
    return tmp_path


def a_toolkit(folder: Path) -> Path:
    (folder / "include").mkdir(parents=True)
    (folder / "include" / "cuda_runtime.h").write_text("")
    return a_program(folder / "bin" / "nvcc").parents[1]


def a_program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("gigabytes", "threads", "expected"), [(64, 8, 8), (10, 8, 3), (1, 8, 1), (None, 4, 4)])
def test_free_memory_bounds_the_jobs(monkeypatch, gigabytes, threads, expected):
    memory = None if gigabytes is None else gigabytes << 30
    monkeypatch.setattr(gsplat_build.environment, "available_memory", lambda: memory)
    monkeypatch.setattr(gsplat_build.environment, "usable_threads", lambda: threads)
    assert gsplat_build.jobs() == expected


def test_a_script_named_nvcc_does_not_mislead(bare):
    a_program(bare / "nvcc")
    assert gsplat_build.toolkit() is None
    real = a_toolkit(bare / "local" / "cuda-12.4")
    assert gsplat_build.toolkit() == real


def test_variables_are_there_for_the_build_only(monkeypatch, bare, caplog):
    home = a_toolkit(bare / "local" / "cuda")
    ninja = a_program(bare / "python" / "ninja")
    monkeypatch.setattr(sys, "executable", str(bare / "python" / "python3"))
    monkeypatch.setattr(gsplat_build, "jobs", lambda: 2)
    before = dict(os.environ)
    with caplog.at_level(logging.INFO, "gaussian_splatting"), gsplat_build.building():
        assert os.environ["MAX_JOBS"] == "2"
        assert os.environ["CUDA_HOME"] == str(home)
        assert os.environ["PATH"].split(os.pathsep)[0] == str(ninja.parent)
    assert dict(os.environ) == before
    assert "gsplat builds its CUDA kernels, once: some minutes, 2 jobs at a time" in caplog.text


def test_what_the_user_set_stays(monkeypatch, bare):
    monkeypatch.setenv("MAX_JOBS", "5")
    monkeypatch.setenv("CUDA_HOME", "/opt/mine")
    with gsplat_build.building():
        assert (os.environ["MAX_JOBS"], os.environ["CUDA_HOME"]) == ("5", "/opt/mine")


def test_kernels_that_are_there_are_not_announced(bare, caplog):
    a_toolkit(bare / "local" / "cuda")
    (gsplat_build.build_folder() / "gsplat_cuda.so").write_text("")
    with caplog.at_level(logging.INFO, "gaussian_splatting"), gsplat_build.building():
        pass
    assert caplog.text == ""


def hold(started: object, folder: Path) -> None:
    with gsplat_build._one_at_a_time(folder / "gsplat_cuda"):
        started.set()  # type: ignore[attr-defined]
        time.sleep(0.3)
        (folder / "done").touch()


@pytest.mark.skipif(sys.platform == "win32", reason="no locks on folders there")
def test_a_second_process_waits_for_the_first(tmp_path):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    other = context.Process(target=hold, args=(started, tmp_path))
    other.start()
    assert started.wait(20)
    with gsplat_build._one_at_a_time(tmp_path / "gsplat_cuda"):
        assert (tmp_path / "done").exists()
    other.join()
