"""Numbers of flags: what is no number, not finite, or out of range is refused by what it should have been."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)

LAST_PORT = 65535
HIGHEST_DEGREE = 4


def positive_integer(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    return _number(text, int, lambda number: number >= 1, "an integer of at least 1")


def natural_number(text: str) -> int:
    """An argparse type: an integer of at least 0."""
    return _number(text, int, lambda number: number >= 0, "an integer of at least 0")


def positive_number(text: str) -> float:
    """An argparse type: a finite number above 0."""
    return _number(text, float, lambda number: 0 < number < math.inf, "a positive number")


def amount_of(unit: str, *, above_zero: bool = False) -> Callable[[str], float]:
    """An argparse type: a finite number of seconds, say, of at least 0 or `above_zero`."""
    if above_zero:
        return lambda text: _number(text, float, lambda number: 0 < number < math.inf, f"a number of {unit} above 0")
    wanted = f"a number of {unit} of at least 0"
    return lambda text: _number(text, float, lambda number: 0 <= number < math.inf, wanted)


def harmonics_degree(text: str) -> int:
    """An argparse type: a degree of spherical harmonics, 0 to 4."""
    return _number(text, int, lambda number: 0 <= number <= HIGHEST_DEGREE, f"a degree from 0 to {HIGHEST_DEGREE}")


def share(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    return _number(text, float, lambda number: 0 <= number <= 1, "a share from 0 to 1")


def port(text: str) -> int:
    """An argparse type: a TCP port; 0 is any free one."""
    return _number(text, int, lambda number: 0 <= number <= LAST_PORT, f"a port from 0 to {LAST_PORT}")


def _number(text: str, read: Callable[[str], Number], fits: Callable[[Number], bool], wanted: str) -> Number:
    """The number; a text that is none is refused like a number out of range, not with the name of a function."""
    try:
        number = read(text)
    except ValueError:
        number = None
    if number is None or not fits(number):
        raise argparse.ArgumentTypeError(f"{text} is not {wanted}")
    return number
