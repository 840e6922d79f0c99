"""The speed profile against closed forms, its bounds, and the plain loop that it replaces."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import BadInputError
from sim.road import STEP_M, Segment, random_road, road_from_segments
from sim.speed import speed_profile


def by_loops(road, top, lateral, gain, loss):
    """Witness: one point after the other, forwards and back."""
    v2 = [min(top**2, lateral / max(abs(k), 1e-12)) for k in road.curvature_per_m]
    for i in range(1, len(v2)):
        v2[i] = min(v2[i], v2[i - 1] + 2 * gain * STEP_M)
    for i in range(len(v2) - 2, -1, -1):
        v2[i] = min(v2[i], v2[i + 1] + 2 * loss * STEP_M)
    return np.sqrt(v2)


def test_speed_on_a_straight_is_the_top_speed():
    road = road_from_segments([Segment(90.0, 0.0, 0.0)])
    speed = speed_profile(road, 13.0, 3.0)
    assert (speed.shape, speed.dtype) == (road.s_m.shape, np.float64)
    np.testing.assert_allclose(speed, 13.0, rtol=1e-12)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_speed_brakes_into_an_arc_and_leaves_it_by_the_closed_form(side):
    radius_m, top, lateral, gain, loss = 30.0, 20.0, 2.7, 1.2, 3.0
    road = road_from_segments(
        [Segment(150.0, 0.0, 0.0), Segment(40.0, side / radius_m, side / radius_m), Segment(200.0, 0.0, 0.0)]
    )
    speed = speed_profile(road, top, lateral, gain, loss)
    inside = (road.s_m >= 150.0) & (road.s_m < 190.0)
    arc_mps = np.sqrt(lateral * radius_m)
    np.testing.assert_allclose(speed[inside], arc_mps, rtol=1e-12)
    braking_m = (top**2 - arc_mps**2) / (2 * loss)
    np.testing.assert_allclose(speed[road.s_m <= 150.0 - braking_m], top, rtol=1e-12)
    before = (road.s_m > 150.0 - braking_m) & (road.s_m <= 150.0)
    expected = np.sqrt(arc_mps**2 + 2 * loss * (150.0 - road.s_m[before]))
    np.testing.assert_allclose(speed[before], expected, rtol=1e-12)
    after = road.s_m >= 190.0
    gone_m = road.s_m[after] - (190.0 - STEP_M)  # the last stored point of the arc
    expected = np.minimum(np.sqrt(arc_mps**2 + 2 * gain * gone_m), top)
    np.testing.assert_allclose(speed[after], expected, rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99),
    top=st.floats(2.0, 40.0),
    lateral=st.floats(0.5, 6.0),
    gain=st.floats(0.3, 4.0),
    loss=st.floats(0.3, 6.0),
)
def test_speed_keeps_every_bound_and_agrees_with_the_loops(seed, top, lateral, gain, loss):
    road = random_road(np.random.default_rng(seed), 500.0, 25.0, 300.0)
    speed = speed_profile(road, top, lateral, gain, loss)
    np.testing.assert_allclose(speed, by_loops(road, top, lateral, gain, loss), rtol=1e-9)
    assert speed.max() <= top * (1 + 1e-12)
    assert (speed**2 * np.abs(road.curvature_per_m)).max() <= lateral * (1 + 1e-9)
    along = np.diff(speed**2) / (2 * STEP_M)
    assert -loss - 1e-9 <= along.min() <= along.max() <= gain + 1e-9


def test_speed_is_the_fastest_that_keeps_the_bounds():
    # Idempotence: as its own bound (as a curvature that allows just this speed) it comes out unchanged.
    road = random_road(np.random.default_rng(5), 700.0)
    speed = speed_profile(road, 17.0, 3.0)
    again = speed_profile(dataclasses.replace(road, curvature_per_m=3.0 / speed**2), 17.0, 3.0)
    np.testing.assert_allclose(again, speed, rtol=1e-9)
    # At every point one of the bounds is met, so no point can be raised.
    along = np.diff(speed**2) / (2 * STEP_M)
    tight = np.isclose(speed, 17.0) | np.isclose(speed**2 * np.abs(road.curvature_per_m), 3.0)
    tight[1:] |= np.isclose(along, 1.5)
    tight[:-1] |= np.isclose(along, -2.5)
    assert tight.all()


def test_speed_of_a_road_driven_backwards_swaps_gaining_and_braking():
    road = random_road(np.random.default_rng(8), 400.0)
    reverse = dataclasses.replace(road, curvature_per_m=road.curvature_per_m[::-1])
    np.testing.assert_allclose(
        speed_profile(road, 16.0, 2.5, 1.1, 2.9), speed_profile(reverse, 16.0, 2.5, 2.9, 1.1)[::-1], rtol=1e-9
    )


@pytest.mark.parametrize(
    ("values", "name"),
    [((0.0, 3.0), "top_speed_mps"), ((9.0, float("nan")), "lateral"), ((9.0, 3.0, 1.0, -2.0), "deceleration")],
)
def test_speed_rejects_bounds_that_are_not_positive(values, name):
    with pytest.raises(BadInputError, match=name):
        speed_profile(road_from_segments([Segment(9.0, 0.0, 0.0)]), *values)
