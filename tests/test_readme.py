"""The README is true: every command in it runs, and every file it links to exists."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)
LINES = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
MODULES = [line for line in LINES if line.startswith("python -m gaussian_splatting.")]
# Held by other tests: bootstrap.py is what CI itself runs, pip install is its first act.
ELSEWHERE = {"python tools/bootstrap.py demo", "python tools/bootstrap.py test", "pip install ."}


def test_no_command_is_unknown():
    unknown = [line for line in LINES if line and line not in ELSEWHERE and line not in MODULES]
    assert unknown == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory, demo_scene) -> Path:
    """A working folder whose data/truck is the shipped scene, and whose photos are a few of it."""
    place = tmp_path_factory.mktemp("readme")
    (place / "data").mkdir()
    (place / "data" / "truck").symlink_to(demo_scene)
    (place / "photos").mkdir()
    for path in sorted((demo_scene / "images").glob("*.jpg"))[:9]:
        shutil.copy(path, place / "photos")
    return place


@pytest.mark.parametrize("line", MODULES)
def test_command_runs(line, folder, monkeypatch):
    words = shlex.split(line)
    module, arguments = importlib.import_module(words[2]), words[3:]
    if words[2].endswith(".train") and "--help" not in arguments:
        arguments = [*without_length(arguments), "-i", "12", "--quiet"]
    if words[2].endswith(".viewer"):
        pytest.importorskip("viser", reason="the viewer needs the extra 'viewer'")
        arguments = [*arguments, "--port", "0", "--stop_after", "0.5"]  # it would serve for ever
    monkeypatch.chdir(folder)
    assert module.main(arguments) == 0


def without_length(arguments: list[str]) -> list[str]:
    """The arguments without `-i N`: in a test the run is short."""
    if "-i" not in arguments:
        return arguments
    place = arguments.index("-i")
    return arguments[:place] + arguments[place + 2 :]


def test_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_launch_entries_name_modules_that_exist():
    import json

    entries = json.loads((ROOT / ".vscode" / "launch.json").read_text(encoding="utf-8"))["configurations"]
    launched = {entry["module"] for entry in entries}
    commands = {line.split()[2] for line in MODULES} | {"gaussian_splatting.demo"}
    assert commands <= launched
    for module in launched:
        assert importlib.util.find_spec(module), module
