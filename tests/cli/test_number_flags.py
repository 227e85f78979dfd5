"""Numbers of flags, and the words with which others are refused."""

from __future__ import annotations

import argparse

import pytest

from gaussian_splatting.cli.number_flags import HIGHEST_DEGREE, amount_of, harmonics_degree
from gaussian_splatting.geometry.sh import MAX_DEGREE


@pytest.mark.parametrize("text", ["-1", "inf", "nan", "soon"])
@pytest.mark.parametrize("unit", ["seconds", "pixels"])
def test_an_amount_is_finite_and_at_least_0(unit: str, text: str) -> None:
    assert amount_of(unit)("0") == 0
    assert amount_of(unit)("1.5") == 1.5
    with pytest.raises(argparse.ArgumentTypeError) as refusal:
        amount_of(unit)(text)
    assert str(refusal.value) == f"{text} is not a number of {unit} of at least 0"


@pytest.mark.parametrize("text", ["-1", "0", "-0.0", "inf", "nan", "soon"])
def test_an_amount_may_have_to_be_above_0(text: str) -> None:
    minutes = amount_of("minutes", above_zero=True)
    assert minutes("1e-3") == 0.001
    with pytest.raises(argparse.ArgumentTypeError) as refusal:
        minutes(text)
    assert str(refusal.value) == f"{text} is not a number of minutes above 0"


def test_the_degrees_are_those_that_there_are_harmonics_for() -> None:
    """The command line must not load torch to know them."""
    assert HIGHEST_DEGREE == MAX_DEGREE == harmonics_degree(str(MAX_DEGREE))
    with pytest.raises(argparse.ArgumentTypeError, match="5 is not a degree from 0 to 4"):
        harmonics_degree("5")
