"""Which pairs are compared: counts, overlap, and that look-alikes find each other."""

from __future__ import annotations

import numpy as np
import pytest

from gaussian_splatting.convert import pairs


@pytest.mark.parametrize(
    ("matcher", "count", "is_film", "wanted"),
    [
        ("auto", 100, False, ("exhaustive",)),
        ("auto", 101, False, ("preselected",)),
        ("auto", 40, True, ("exhaustive",)),
        ("auto", 41, True, ("sequential", "preselected")),
        ("sequential", 5, False, ("sequential",)),
    ],
)
def test_the_way_follows_from_the_count(matcher, count, is_film, wanted):
    assert pairs.strategy(matcher, count, is_film) == wanted


def test_exhaustive_pairs_are_all():
    assert pairs.exhaustive(4) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_sequential_pairs_are_neighbours_and_powers_of_two():
    found = pairs.sequential(40, overlap=3)
    assert {second - first for first, second in found} == {1, 2, 3, 16, 32}
    assert all(0 <= first < second < 40 for first, second in found)
    assert len(found) == 39 + 38 + 37 + 24 + 8


def test_preselected_pairs_are_the_most_similar_of_each():
    similar = np.zeros((5, 5), int)
    for first, second, count in ((0, 1, 9), (0, 2, 8), (0, 3, 7), (3, 4, 2)):
        similar[first, second] = similar[second, first] = count
    assert pairs.preselected(similar, partners=2) == [
        (0, 1),
        (0, 2),
        (0, 3),
    ]  # 3 has 0 as its best; 2 in common is chance


def test_common_features_are_mutual_and_clear():
    generator = np.random.default_rng(0)
    base = np.abs(generator.normal(size=(40, 128))).astype(np.float32)

    def unit(values: np.ndarray) -> np.ndarray:
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    noisy = unit(base[:25] + 0.05 * generator.normal(size=(25, 128)).astype(np.float32))
    strangers = unit(np.abs(generator.normal(size=(30, 128))).astype(np.float32))
    assert pairs.num_common(unit(base), np.concatenate([noisy, strangers])) == 25
    assert pairs.num_common(unit(base), strangers) <= 2
    assert pairs.num_common(unit(base), strangers[:1]) == 0


def test_joined_pairs_are_each_once():
    assert pairs.joined([[(0, 1), (2, 3)], [(2, 3), (1, 2)]]) == [(0, 1), (1, 2), (2, 3)]
