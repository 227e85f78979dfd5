"""The doctor: what it finds, how it says so, and what it exits with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gaussian_splatting import card_health, doctor, environment, health
from gaussian_splatting.health import Finding

REPOSITORY = Path(__file__).resolve().parents[1]


def without(monkeypatch, *modules: str) -> None:
    real = health.is_importable
    monkeypatch.setattr(health, "is_importable", lambda module: module not in modules and real(module))


def named(found: list[Finding], name: str) -> Finding:
    return next(finding for finding in found if finding.name == name)


def test_this_environment_can_run(capsys):
    assert doctor.main([]) == 0
    text = capsys.readouterr().out
    for topic in ("PYTHON", "LIBRARIES", "PROCESSOR", "BACKEND", "STORAGE", "EXTRAS"):
        assert topic in text.splitlines()


def test_json_holds_every_finding(capsys):
    assert doctor.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"topic", "name", "state", "text", "cure", "blocks"} == set(found[0])
    assert {entry["topic"] for entry in found} >= {"python", "libraries", "backend", "storage", "extras"}


def test_without_torch_nothing_runs_and_the_cure_is_named(monkeypatch, capsys):
    without(monkeypatch, "torch")
    assert doctor.main([]) == 1
    text = capsys.readouterr().out
    assert "nothing can run without torch" in text
    assert "pip install torch" in text


def test_without_numba_and_card_nothing_runs(monkeypatch, capsys):
    without(monkeypatch, "numba")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert doctor.main([]) == 1
    assert "numba is missing" in capsys.readouterr().out


def test_without_gsplat_a_card_is_no_use_but_the_processor_is(monkeypatch):
    without(monkeypatch, "gsplat")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    (finding,) = health.backend_findings()
    assert finding.state == "bad" and not finding.blocks
    assert finding.cure == "pip install gsplat; until then give --device cpu"


def test_a_missing_library_that_only_some_need_does_not_block(monkeypatch):
    without(monkeypatch, "tifffile")
    finding = named(health.library_findings(), "tifffile")
    assert finding.state == "bad" and not finding.blocks
    assert finding.text == "missing; needed for depth maps"


def test_a_missing_extra_is_optional_and_has_its_pip_line(monkeypatch):
    without(monkeypatch, "viser")
    finding = named(health.extra_findings(), "viewer")
    assert finding.state == "optional"
    assert finding.cure == 'pip install "gaussian-splatting-anywhere[viewer]"'


def test_every_extra_of_the_project_is_looked_at():
    lines = (REPOSITORY / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1].split("\n[")[0]
    declared = {line.split(" =")[0] for line in lines.splitlines() if line and line[0].isalpha()} - {
        "dev",
        "docs",
        "all",
    }
    assert {extra for extra, *_ in health.EXTRAS} == declared


def test_the_other_distribution_is_reported(monkeypatch):
    monkeypatch.setattr(environment, "rival_distribution", lambda: "2.9")
    finding = named(health.python_findings(), "gaussian-splatting")
    assert finding.state == "bad" and "pip uninstall gaussian-splatting" in (finding.cure or "")


@pytest.mark.parametrize(
    ("driver", "built_for", "text"),
    [
        (None, None, "no NVIDIA driver"),
        ("550.1", None, "built without CUDA"),
        ("550.1", "12.4", "sees no card"),
    ],
)
def test_why_there_is_no_card(monkeypatch, driver, built_for, text):
    monkeypatch.setattr(card_health, "_driver_version", lambda: driver)
    torch = SimpleNamespace(version=SimpleNamespace(cuda=built_for), __version__="2.9")
    assert text in card_health._why_no_cuda(torch)[0]


@pytest.mark.parametrize(
    ("built", "capability", "state"),
    [
        (["sm_80", "sm_90"], "9.0", "good"),
        (["sm_80", "sm_90"], "8.6", "good"),
        (["sm_80", "sm_90a"], "12.0", "bad"),
        (["sm_75", "sm_80"], "7.0", "bad"),
        (["sm_80", "compute_80"], "12.0", "good"),
        ([], "9.0", "bad"),
    ],
)
def test_a_card_that_torch_was_not_built_for_is_noticed(built, capability, state):
    torch = SimpleNamespace(cuda=SimpleNamespace(get_arch_list=lambda: built))
    assert card_health._architectures(torch, capability).state == state


def test_kernels_that_can_neither_be_found_nor_compiled_are_noticed(monkeypatch):
    monkeypatch.setattr(card_health.gsplat_build, "is_shipped", lambda: False)
    monkeypatch.setattr(card_health.gsplat_build, "toolkit", lambda: None)
    monkeypatch.setattr(card_health.gsplat_build, "compiler_version", lambda nvcc: "12.6")
    monkeypatch.setattr(card_health.shutil, "which", lambda *arguments, **named: None)
    assert card_health._kernels_of_gsplat("12.4").state == "bad"
    monkeypatch.setattr(card_health.shutil, "which", lambda name, path=None: "/x/nvcc" if name == "nvcc" else None)
    assert card_health._kernels_of_gsplat("12.4").cure == "pip install ninja"
    monkeypatch.setattr(card_health.shutil, "which", lambda name, path=None: f"/x/{name}")
    monkeypatch.setattr(card_health.gsplat_build, "jobs", lambda: 3)
    text = card_health._kernels_of_gsplat("12.4").text
    assert text == "compiled on first use, some minutes, 3 jobs at a time, by /x/nvcc of CUDA 12.6"


def a_compiler(folder: Path, answer: str) -> Path:
    """A CUDA toolkit whose nvcc says `answer`."""
    program = folder / "bin" / "nvcc"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    return program


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    ("answer", "state", "text"),
    [
        ("echo Cuda compilation tools, release 12.8", "good", "{nvcc} of CUDA 12.8"),
        ("echo Cuda compilation tools, release 11.8", "bad", "{nvcc} is of CUDA 11.8, but torch of CUDA 12.4"),
        ("echo nothing to say", "bad", "{nvcc} --version gives no version"),
        ("exit 3", "bad", "{nvcc} --version gives no version"),
    ],
)
def test_a_compiler_of_another_cuda_than_that_of_torch_is_noticed(monkeypatch, tmp_path, answer, state, text):
    nvcc = a_compiler(tmp_path, answer)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setattr(card_health.gsplat_build, "is_shipped", lambda: False)
    monkeypatch.setattr(card_health.gsplat_build, "ninja", lambda: "/x/ninja")
    finding = card_health._kernels_of_gsplat("12.4")
    assert finding.state == state
    assert text.format(nvcc=nvcc) in finding.text
    assert state == "good" or "install the CUDA toolkit 12.4" in (finding.cure or "")


def test_a_folder_that_cannot_be_written_is_noticed(tmp_path):
    (tmp_path / "file").write_text("")
    assert health.is_writable(tmp_path / "not" / "yet")
    assert not health.is_writable(Path("/proc/self/none"))


def test_the_cache_folder_of_the_environment_counts(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/nowhere")
    assert health._cache_folder().state == "bad"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert str(tmp_path) in health._cache_folder().text


def test_nothing_heavy_but_torch_is_imported():
    program = (
        "import sys; from gaussian_splatting import doctor; found = doctor.examine();"
        "print([m for m in ('numba', 'gsplat', 'scipy', 'cv2', 'PIL', 'open3d', 'viser') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert result.stdout.strip() == "[]"


def test_cures_stand_below_their_findings():
    found = [Finding("a", "one", "good", "fine"), Finding("a", "two", "bad", "broken", "mend it")]
    lines = doctor.spoken(found).splitlines()
    assert lines == ["A", "  ok one  fine", "  !! two  broken", "          mend it", "", "1 to mend, marked with !!"]
