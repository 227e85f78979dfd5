"""Row B3: whatever pictures are called, no two views are written to one file, and nothing outside the folder is."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import ToyDataset, toy_camera

from gaussian_splatting.errors import SplatError
from gaussian_splatting.rendering import views as module
from gaussian_splatting.rendering.quality import ViewQuality

NUM_CASES = 500
TWINS = (
    "a.png", "A.png", "a.jpg", "a", "sub/a.png", "sub_a.png", "sub\\a.png", "../a.png", "/etc/a.png", "a.png.png",
    "é.png", "e\u0301.png", "İ.png", "i.png", "00000.png", "00001.png", "00000_mask.png", "renders/00000.png", " a.png",
    "CON.png", "x" * 250 + ".png", "x" * 250 + ".jpg", "cameras.json", "results.json", "",
)  # fmt: skip


class Silent:
    """Stands for a model: the same picture every time."""

    get_xyz = torch.zeros(1, 3)

    def __call__(self, camera: Any) -> dict[str, torch.Tensor]:
        return {"render": torch.zeros(3, 6, 8), "invdepth": torch.zeros(1, 6, 8)}

    def __len__(self) -> int:
        return 1


def named_views(names: list[str]) -> ToyDataset:
    dataset = ToyDataset()
    mask = torch.ones(6, 8)
    dataset.cameras = [
        toy_camera(0)._replace(ground_truth_image_path=name, ground_truth_image_mask=mask) for name in names
    ]
    return dataset


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every path that is written; nothing is encoded or measured, which is not at stake here."""
    paths: list[Path] = []
    for name in ("write_atomically", "write_text", "write_json"):
        monkeypatch.setattr(module.storage, name, lambda path, *_, **__: paths.append(Path(path)))
    monkeypatch.setattr(ToyDataset, "save_cameras", lambda self, path: paths.append(Path(path)))
    for name in ("encode_picture", "encode_tiff", "depth_picture", "_mask_bytes"):
        monkeypatch.setattr(module, name, lambda *_: np.zeros((6, 8), np.uint8))
    quality = ViewQuality("", 1.0, 1.0, None)
    monkeypatch.setattr(module, "measure", lambda *_: quality)
    monkeypatch.setattr("gaussian_splatting.environment.versions", dict)
    return paths


Render = Callable[[ToyDataset, Path], object]


def honest(views: ToyDataset, target: Path) -> object:
    return module.rendering(views, Silent(), target, lpips="none")  # pyright: ignore[reportArgumentType]


def spelling(path: Path) -> str:
    """The path as the most forgetful file system keeps it."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def faults(written: list[Path], render: Render, target: Path) -> list[str]:
    found, draw = [], random.Random(6)
    for _ in range(NUM_CASES):
        names = [draw.choice(TWINS) for _ in range(draw.randint(2, 5))]
        written.clear()
        render(named_views(names), target)
        assert len(written) == 4 + 5 * len(names)
        if len({spelling(path) for path in written}) < len(written):
            found.append(f"{names}: two things in one file")
        if any(target not in path.parents or ".." in path.parts for path in written):
            found.append(f"{names}: outside")
    return found


def test_no_two_views_share_a_file(written: list[Path], tmp_path: Path) -> None:
    assert faults(written, honest, tmp_path / "ours_30") == []


def test_names_taken_from_the_pictures_fail(written: list[Path], tmp_path: Path) -> None:
    """The control."""

    def trusting(views: ToyDataset, target: Path) -> None:
        for name in ("cameras.json", "quality.csv", "per_view.json", "results.json"):
            written.append(target / name)
        for camera in views:
            stem = str(camera.ground_truth_image_path).rsplit(".", 1)[0]
            written.extend(target / "renders" / f"{stem}{ending}.png" for ending in ("", "_depth", "_invdepth"))
            written.extend(target / "gt" / f"{stem}{ending}.png" for ending in ("", "_mask"))

    found = faults(written, trusting, tmp_path / "ours_30")
    assert any("two things in one file" in fault for fault in found)
    assert any("outside" in fault for fault in found)


def test_rendered_views_are_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "renders").mkdir()
    with pytest.raises(SplatError, match="already holds rendered views; choose another folder"):
        honest(named_views(["a.png"]), tmp_path)
    assert list((tmp_path / "renders").iterdir()) == []
