"""Pictures are decoded once within the budget, and beyond it only when they are asked for."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from example_scenes import picture
from PIL import Image

import gaussian_splatting.dataset.pictures as pictures_module
from gaussian_splatting.dataset.load import Pictures, load_pictures
from gaussian_splatting.dataset.pictures import PictureLimits, PictureStore, free_memory
from gaussian_splatting.dataset.view import View
from gaussian_splatting.errors import SceneError

SIZE = (40, 30)
BYTES = 40 * 30 * 3


@pytest.fixture
def views(tmp_path: Path) -> list[View]:
    made = []
    for index in range(6):
        path = tmp_path / f"{index}.png"
        Image.fromarray(picture(SIZE, index)).save(path)
        made.append(View(path.name, *SIZE, 35.0, 36.0, 20.0, 15.0, np.eye(3), np.zeros(3), path, stored_size=SIZE))
    return made


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each view was decoded."""
    counts: Counter[str] = Counter()

    def count(view: View, *rest: object) -> Pictures:
        counts[view.name] += 1
        return load_pictures(view, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(pictures_module, "load_pictures", count)
    return counts


def check(store: PictureStore, index: int) -> None:
    colors = store[index].colors
    assert colors is not None
    np.testing.assert_array_equal(colors.numpy(), picture(SIZE, index))


def test_each_picture_is_decoded_once(views: list[View], decoded: Counter[str]) -> None:
    store = PictureStore(views)
    for index in [3, 1, 3, 5, 0, 2, 4, 1, 0]:
        check(store, index)
    store.load_all()
    assert decoded == Counter({view.name: 1 for view in views})


def test_nothing_is_decoded_before_it_is_asked_for(views: list[View], decoded: Counter[str]) -> None:
    PictureStore(views)
    time.sleep(0.05)
    assert not decoded


def test_views_beyond_the_budget_are_decoded_each_time(views: list[View], decoded: Counter[str]) -> None:
    store = PictureStore(views, limits=PictureLimits(memory=4 * BYTES))
    message = r"only 4 of 6 views stay in memory, .* lower resolution, or raise the budget of 0 MiB"
    with pytest.warns(UserWarning, match=message):
        store.load_all()
    for _ in range(3):
        for index in range(6):
            check(store, index)
    assert decoded == Counter({f"{index}.png": 1 if index < 4 else 3 for index in range(6)})


@pytest.mark.filterwarnings("ignore:only")
def test_prefetched_views_are_decoded_once_in_the_background(views: list[View], decoded: Counter[str]) -> None:
    store = PictureStore(views, limits=PictureLimits(memory=0, ahead=3))
    store.prefetch([4, 2, 0, 1])
    deadline = time.monotonic() + 5
    while sum(decoded.values()) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.02)
    assert decoded == Counter({"4.png": 1, "2.png": 1, "0.png": 1})
    for index in (4, 2, 0):
        check(store, index)
    assert sum(decoded.values()) == 3


@pytest.mark.filterwarnings("ignore:only")
def test_prefetched_views_that_are_no_longer_wanted_are_dropped(views: list[View], decoded: Counter[str]) -> None:
    store = PictureStore(views, limits=PictureLimits(memory=0, ahead=2))
    store.prefetch([0, 1])
    check(store, 0)
    store.prefetch([2, 3])
    check(store, 2)
    check(store, 1)
    assert len(store._decoder._futures) <= 2


def test_the_budget_is_said_once(views: list[View], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        store = PictureStore(views, limits=PictureLimits(memory=1 << 20))
        store.load_all()
        store.load_all()
    assert caplog.messages == ["pictures of 6 views: 0 MiB decoded, budget 1 MiB (as asked)"]


def test_a_damaged_picture_is_named_when_all_are_loaded(views: list[View], tmp_path: Path) -> None:
    content = (tmp_path / "4.png").read_bytes()
    (tmp_path / "4.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(SceneError, match=r"4\.png: the picture cannot be decoded: .*; replace the file"):
        PictureStore(views).load_all()


def test_masks_that_hide_everything_are_named_once(views: list[View], tmp_path: Path) -> None:
    for index, value in enumerate([0, 255, 0, 255, 255, 255]):
        Image.new("L", SIZE, value).save(tmp_path / f"{index}_mask.png")
    masked = [replace(view, image_mask_path=tmp_path / f"{index}_mask.png") for index, view in enumerate(views)]
    store = PictureStore(masked)
    with pytest.warns(UserWarning, match=r"the masks of 2 views hide everything: 0\.png, 2\.png; check them"):
        store.load_all()


def test_pictures_move_with_the_store(views: list[View], decoded: Counter[str]) -> None:
    store = PictureStore(views)
    assert store[0].colors is not None
    store.to("meta")
    assert {getattr(store[index].colors, "device", None) for index in range(6)} == {torch.device("meta")}
    assert max(decoded.values()) == 1


def test_the_default_budget_is_below_the_memory_of_the_machine() -> None:
    assert 0 < free_memory() < 2**50


@pytest.mark.parametrize("limits", [{"memory": -1}, {"max_pixels": 0}, {"workers": 0}, {"ahead": -1}])
def test_impossible_limits_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(SceneError, match="must not be negative|at least one thread"):
        PictureLimits(**limits)


@pytest.mark.gpu
def test_pictures_move_to_the_gpu_and_back(views: list[View], decoded: Counter[str]) -> None:
    store = PictureStore(views).to("cuda")
    for index in range(6):
        colors = store[index].colors
        assert colors is not None
        assert colors.device.type == "cuda"
        np.testing.assert_array_equal(colors.cpu().numpy(), picture(SIZE, index))
    store.to("cpu")
    for index in range(6):
        check(store, index)
    assert max(decoded.values()) == 1
