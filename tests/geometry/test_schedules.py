"""Schedules start and end where they say, and depend on nothing but the step."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaussian_splatting.errors import SplatError
from gaussian_splatting.geometry.schedules import cosine, exponential, get_expon_lr_func, linear, warm_up

SCHEDULES = (exponential, linear, cosine)


@pytest.mark.parametrize("schedule", SCHEDULES)
@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3), st.integers(1, 100_000))
def test_the_ends_are_exact_and_hold_outside(schedule, initial, final, steps):
    rate = schedule(initial, final, steps)
    assert rate(0) == rate(-5) == pytest.approx(initial, rel=1e-14)
    assert rate(steps) == rate(steps + 7) == pytest.approx(final, rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_falls_all_the_way(schedule):
    rates = [schedule(1.0, 0.01, 100)(step) for step in range(101)]
    assert rates == sorted(rates, reverse=True)


def test_the_depth_weight_falls_as_documented():
    weight = exponential(1.0, 0.01, 30_000)
    assert weight(7_500) == pytest.approx(10**-0.5)
    assert weight(30_000) == pytest.approx(0.01)


def test_the_exponential_is_a_line_in_the_logarithm():
    rate = exponential(1.6e-4, 1.6e-6, 30_000)
    for step in (1, 1_000, 29_999):
        u = step / 30_000
        assert rate(step) == pytest.approx(math.exp((1 - u) * math.log(1.6e-4) + u * math.log(1.6e-6)))


def test_two_zero_ends_switch_a_rate_off():
    assert exponential(0.0, 0.0, 10)(3) == 0.0
    assert get_expon_lr_func(0.0, 0.0)(3) == 0.0


@pytest.mark.parametrize(("initial", "final"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (math.nan, 1.0)])
def test_an_exponential_through_zero_is_refused(initial, final):
    with pytest.raises(SplatError, match="make both ends positive, or both zero"):
        exponential(initial, final, 10)


def test_a_schedule_of_no_steps_is_at_its_end():
    assert linear(1.0, 0.5, 0)(0) == 0.5


def test_warm_up_is_off_without_a_delay():
    assert warm_up(0.01, 0)(0) == 1.0
    assert warm_up(0.01, 100)(0) == 0.01
    assert warm_up(0.01, 100)(100) == pytest.approx(1.0)


def test_the_known_name_multiplies_warm_up_and_schedule():
    rate = get_expon_lr_func(1e-2, 1e-4, lr_delay_steps=50, lr_delay_mult=0.1, max_steps=100)
    assert rate(-1) == 0.0
    assert rate(0) == pytest.approx(1e-3)
    assert rate(25) == pytest.approx((0.1 + 0.9 * math.sin(math.pi / 4)) * 10**-2.5)
    assert rate(100) == pytest.approx(1e-4)
