"""The tools of the campaigns must be able to fail."""

from __future__ import annotations

import numpy as np
import pytest
from mutations import Damage, Hang, bounded_memory, bounded_time, judge

from gaussian_splatting.errors import FormatError


def test_memory_above_the_bound_fails() -> None:
    with pytest.raises(AssertionError, match="MiB more than before"), bounded_memory():
        np.ones(100 << 20, np.uint8)


def test_a_case_that_never_ends_is_interrupted() -> None:
    with pytest.raises(Hang), bounded_time() as begin:
        begin()
        while True:
            pass


def test_the_same_seed_gives_the_same_damage() -> None:
    assert list(Damage([b"abcdefgh"], 5).cases(50)) == list(Damage([b"abcdefgh"], 5).cases(50))


def refuse(_: bytes) -> None:
    raise FormatError("f.bin: byte 0: expected a, found b; do c")


def escape(_: bytes) -> None:
    raise KeyError("a")


@pytest.mark.parametrize(
    ("parse", "expected", "fault"),
    [
        (lambda data: 1, 1, None),
        (refuse, None, ""),
        (lambda data: 1, 2, "read 1, expected 2"),
        (lambda data: 1, None, "accepted a bad file"),
        (refuse, 1, "refused a good file"),
        (escape, None, "escaped"),
    ],
)
def test_verdicts(parse, expected, fault) -> None:
    verdict = judge(b"", parse, lambda data: expected, lambda message: True)
    assert verdict == fault or (fault and verdict.startswith(fault))
