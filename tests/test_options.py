"""Options: one declaration, four spellings, and a clear refusal of everything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from gaussian_splatting.options import (
    Options,
    conform,
    describe,
    flat_options,
    option,
    parse,
    scaled_to_length,
    with_values,
)


@dataclass(frozen=True, kw_only=True)
class Growth(Options):
    from_iter: int = option(500, "first step", moment=True)
    interval: int = option(100, "period", minimum=1)
    reset_interval: int = option(3000, "period", minimum=1)
    rate: float = option(0.5, "a rate", maximum=2.0)
    color: Literal["random"] | tuple[float, float, float] | None = option(
        None, "a colour", name="bg_color", maximum=1.0
    )
    strict: bool = option(False, "a switch")


GROUPS = {"growth": Growth()}


def test_flat_names_come_from_the_group_unless_declared():
    assert set(flat_options(GROUPS)) == {
        "growth_from_iter", "growth_interval", "growth_reset_interval", "growth_rate", "bg_color", "growth_strict",
    }  # fmt: skip


def test_values_by_flat_name():
    changed = with_values(GROUPS, {"growth_rate": 1, "bg_color": "random"}, "Mine")["growth"]
    assert (changed.rate, changed.color) == (1.0, "random")
    assert isinstance(changed.rate, float)


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(TypeError, match="Mine has no option 'growth_ratte'; nearest: growth_rate"):
        with_values(GROUPS, {"growth_ratte": 1}, "Mine")


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("1e-4", float, 1e-4),
        ("3", float, 3.0),
        ("30_000", int, 30_000),
        ("1e3", int, 1000),
        ("true", bool, True),
        ("none", int | None, None),
        ("random", str, "random"),
        ("0.1,0.2,0.3", tuple[float, float, float], (0.1, 0.2, 0.3)),
        ("(1,1,1)", Literal["random"] | tuple[float, float, float] | None, (1.0, 1.0, 1.0)),
    ],
)
def test_text_is_parsed_by_declared_type(text, annotation, value):
    assert parse("x", text, annotation) == value


@pytest.mark.parametrize(
    "text", ["__import__('os').system('touch x')", "$(touch x)", "1;2", "", "nan?", "9" * 10_000_000, "1.5", "0x10"]
)
def test_text_that_is_no_integer_is_refused(text):
    with pytest.raises(ValueError, match="option x is .*; expected an integer") as error:
        parse("x", text, int)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 2.5, 1e30])
def test_numbers_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match=r"option rate is .*; it must be between 0 and 2"):
        Growth(rate=value)


def test_wrong_type_is_refused():
    with pytest.raises(ValueError, match="option growth_interval is 1.5; expected an integer"):
        conform("growth_interval", 1.5, int)
    with pytest.raises(ValueError, match="expected true or false"):
        conform("x", "maybe", bool)


def test_description_in_words():
    assert describe(int | None) == "an integer or none"
    assert describe(Literal["a", "b"]) == "a or b"


def test_short_runs_scale_moments_and_keep_periods():
    scaled = scaled_to_length(GROUPS, 3_000)["growth"]
    assert (scaled.from_iter, scaled.interval, scaled.reset_interval) == (50, 100, 3000)


def test_explicit_step_numbers_are_not_scaled():
    scaled = scaled_to_length(GROUPS, 3_000, explicit=["growth_from_iter"])["growth"]
    assert scaled.from_iter == 500


def test_a_run_of_the_reference_length_changes_nothing():
    assert scaled_to_length(GROUPS, 30_000) == GROUPS


def test_a_flat_name_claimed_twice_is_refused():
    with pytest.raises(TypeError, match="bg_color is declared by both"):
        flat_options({"growth": Growth(), "other": Growth()})
