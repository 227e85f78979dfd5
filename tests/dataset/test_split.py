"""Every eighth view by name is held out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaussian_splatting.dataset.split import split_indices
from gaussian_splatting.errors import SceneError


def test_every_eighth_name_is_a_test_view() -> None:
    names = [f"{index:03d}.jpg" for index in range(20)][::-1]
    assert [names[index] for index in split_indices(names, "test")] == ["000.jpg", "008.jpg", "016.jpg"]


@given(st.lists(st.text(), min_size=2, unique=True), st.integers(2, 9))
def test_train_and_test_views_are_all_views_by_name(names: list[str], llffhold: int) -> None:
    train, test = (split_indices(names, split, llffhold) for split in ("train", "test"))
    assert sorted(train + test) == list(range(len(names)))
    assert not set(train) & set(test)
    assert [names[index] for index in split_indices(names)] == sorted(names)
    assert len(test) == -(-len(names) // llffhold)


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(SceneError, match="the train split of 1 views is empty; use split='all'"):
        split_indices(["a"], "train")


def test_a_hold_of_one_is_refused() -> None:
    with pytest.raises(SceneError, match="llffhold must be at least 2, so that training views remain; found 1"):
        split_indices(["a", "b"], "train", 1)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(SceneError, match="the split must be 'all', 'train' or 'test'; found 'val'"):
        split_indices(["a", "b"], "val")  # pyright: ignore[reportArgumentType]
