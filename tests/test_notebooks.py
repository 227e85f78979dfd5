"""The cells of every notebook run, one after the other, with a short training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_cell_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert any("STEPS = 600" in source for source in sources)
    for source in sources:
        exec(compile(source.replace("STEPS = 600", "STEPS = 15"), str(path), "exec"), names)
    assert (tmp_path / "first_steps.spz").stat().st_size > 1000
    assert "Gaussians to start with" in capsys.readouterr().out
    assert [cell for cell in cells if cell.get("outputs")] == [], "notebooks are stored without outputs"
