import numpy as np
import pytest
from scipy.special import fresnel

from sim.errors import BadInputError
from sim.road import STEP_M, Road, Segment, random_road, road_from_segments


def brute_force(road: Road, x_m: float, y_m: float, s_guess_m: float) -> tuple[float, float]:
    """Nearest point within 10 m of arc length, on the centre line cut into pieces of 2 mm."""
    s_m = np.arange(max(s_guess_m - 10.0, 0.0), min(s_guess_m + 10.0, road.length_m), 0.002)
    dx, dy = x_m - np.interp(s_m, road.s_m, road.x_m), y_m - np.interp(s_m, road.s_m, road.y_m)
    i = int(np.argmin(dx * dx + dy * dy))
    heading = np.interp(s_m[i], road.s_m, road.heading_rad)
    return float(s_m[i]), float(np.hypot(dx, dy)[i] * np.sign(dy[i] * np.cos(heading) - dx[i] * np.sin(heading)))


def test_road_straight_lies_on_the_x_axis():
    road = road_from_segments([Segment(30.0, 0.0, 0.0)])
    np.testing.assert_allclose(road.x_m, road.s_m, atol=1e-12)
    assert not road.y_m.any()
    assert not road.heading_rad.any()
    assert road.length_m == 30.0


@pytest.mark.parametrize("curvature", [1 / 40, -1 / 25, 1 / 300])
def test_road_arc_is_the_circle(curvature):
    road = road_from_segments([Segment(60.0, curvature, curvature)])
    turn = curvature * road.s_m
    np.testing.assert_allclose(road.heading_rad, turn, atol=1e-12)
    np.testing.assert_allclose(road.x_m, np.sin(turn) / curvature, atol=1e-9)
    np.testing.assert_allclose(road.y_m, (1 - np.cos(turn)) / curvature, atol=1e-9)


@pytest.mark.parametrize("end_curvature", [1 / 30, -1 / 50])
def test_road_clothoid_is_the_fresnel_integral(end_curvature):
    length_m = 45.0
    road = road_from_segments([Segment(length_m, 0.0, end_curvature)])
    np.testing.assert_allclose(road.curvature_per_m, end_curvature * road.s_m / length_m, atol=1e-15)
    np.testing.assert_allclose(road.heading_rad, end_curvature * road.s_m**2 / (2 * length_m), atol=1e-12)
    # Heading = a s^2 / 2 with a = end_curvature / length, so x = q C(s / q), q = sqrt(pi / |a|).
    q = np.sqrt(np.pi * length_m / abs(end_curvature))
    sine, cosine = fresnel(road.s_m / q)
    np.testing.assert_allclose(road.x_m, q * cosine, atol=1e-8)
    np.testing.assert_allclose(road.y_m, np.sign(end_curvature) * q * sine, atol=1e-8)


def test_road_joined_segments_agree_with_a_fine_integration():
    # Joints fall between the stored points, where a step integrates across two laws of curvature.
    segments = [Segment(7.3, 0.0, 0.03), Segment(11.9, 0.03, 0.03), Segment(9.6, 0.03, -0.02), Segment(5.7, 0.0, 0.0)]
    road = road_from_segments(segments)
    ends = np.cumsum([seg.length_m for seg in segments])
    h = 0.0005
    s_m = np.arange(h / 2, ends[-1], h)
    i = np.searchsorted(ends, s_m)
    share = 1 - (ends[i] - s_m) / np.array([seg.length_m for seg in segments])[i]
    k0, k1 = (
        np.array([getattr(seg, name) for seg in segments]) for name in segments[0].__dataclass_fields__ if "c" in name
    )
    heading = np.cumsum(k0[i] + share * (k1 - k0)[i]) * h
    at = np.round(road.s_m[1:] / h).astype(int) - 1
    np.testing.assert_allclose(road.heading_rad[1:], heading[at], atol=1e-4)
    middle = heading - 0.5 * h * (k0[i] + share * (k1 - k0)[i])
    np.testing.assert_allclose(road.x_m[1:], (np.cumsum(np.cos(middle)) * h)[at], atol=1e-3)
    np.testing.assert_allclose(road.y_m[1:], (np.cumsum(np.sin(middle)) * h)[at], atol=1e-3)


def test_road_pose_between_the_points_is_on_the_curve_within_a_millimetre():
    radius_m = 40.0
    road = road_from_segments([Segment(50.0, 1 / radius_m, 1 / radius_m)])
    for s_m in (0.25, 13.37, 49.9):
        x_m, y_m, heading = road.pose_at(s_m)
        assert abs(np.hypot(x_m, y_m - radius_m) - radius_m) < 1e-3
        assert heading == pytest.approx(s_m / radius_m, abs=1e-12)


def test_road_pose_stops_at_both_ends():
    road = road_from_segments([Segment(20.0, 0.0, 0.0)])
    assert road.pose_at(-3.0) == pytest.approx((0.0, 0.0, 0.0))
    assert road.pose_at(99.0) == pytest.approx((20.0, 0.0, 0.0), abs=1e-5)


def test_road_locate_agrees_with_brute_force():
    rng = np.random.default_rng(0)
    road = random_road(rng, 400.0)
    for _ in range(60):
        s_true_m, d_m = rng.uniform(10.0, 390.0), rng.uniform(-4.0, 4.0)
        x_m, y_m, heading = road.pose_at(s_true_m)
        x_m, y_m = x_m - d_m * np.sin(heading), y_m + d_m * np.cos(heading)
        guess_m = s_true_m + rng.uniform(-2.0, 2.0)
        s_m, offset_m, lane_heading = road.locate(x_m, y_m, guess_m)
        s_brute_m, offset_brute_m = brute_force(road, x_m, y_m, guess_m)
        assert s_m == pytest.approx(s_brute_m, abs=0.02)  # the stored line is a polygon: its corners are flat there
        assert offset_m == pytest.approx(offset_brute_m, abs=1e-3)
        assert lane_heading == pytest.approx(np.interp(s_m, road.s_m, road.heading_rad), abs=1e-9)


@pytest.mark.parametrize("offset_m", [9.0, -9.0])
def test_road_locate_converges_from_a_poor_guess_in_a_tight_curve(offset_m):
    radius_m, turn = 25.0, 1.2
    road = road_from_segments([Segment(60.0, 1 / radius_m, 1 / radius_m)])
    x_m, y_m = (radius_m - offset_m) * np.sin(turn), radius_m - (radius_m - offset_m) * np.cos(turn)
    for guess_m in (radius_m * turn - 4.0, radius_m * turn + 4.0):
        s_m, offset, heading = road.locate(x_m, y_m, guess_m)
        assert (s_m, offset, heading) == pytest.approx((radius_m * turn, offset_m, turn), abs=0.01)


def test_road_locate_left_is_positive():
    road = road_from_segments([Segment(40.0, 0.0, 0.0)])
    assert road.locate(11.0, 1.5, 10.0) == pytest.approx((11.0, 1.5, 0.0))
    assert road.locate(11.0, -0.7, 12.0) == pytest.approx((11.0, -0.7, 0.0))


def test_road_locate_stays_on_its_own_branch_where_the_road_meets_itself():
    radius_m = 30.0  # a circle and a quarter: the second lap passes over the first
    road = road_from_segments([Segment(2.5 * np.pi * radius_m, 1 / radius_m, 1 / radius_m)])
    lap_m = 2 * np.pi * radius_m
    x_m, y_m, _ = road.pose_at(10.0)
    assert road.locate(x_m, y_m, 11.0)[0] == pytest.approx(10.0, abs=1e-3)
    assert road.locate(x_m, y_m, lap_m + 9.0)[0] == pytest.approx(lap_m + 10.0, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_road_random_has_no_jump_and_keeps_its_radii(seed):
    min_radius_m, max_radius_m = 50.0, 220.0
    road = random_road(np.random.default_rng(seed), 900.0, min_radius_m, max_radius_m)
    assert road.length_m >= 900.0
    assert {len(getattr(road, name)) for name in Road.__dataclass_fields__} == {len(road.s_m)}
    assert np.abs(road.curvature_per_m).max() <= 1 / min_radius_m + 1e-12
    # The shortest clothoid of the tightest curve is 8 m + a quarter of its radius.
    steepest = (1 / min_radius_m) / (8.0 + 0.25 * min_radius_m)
    assert np.abs(np.diff(road.curvature_per_m)).max() <= steepest * STEP_M + 1e-12
    np.testing.assert_allclose(np.hypot(np.diff(road.x_m), np.diff(road.y_m)), STEP_M, rtol=1e-3)
    peaks = np.abs(road.curvature_per_m)[np.abs(np.diff(road.curvature_per_m, prepend=0)) < 1e-15]
    assert np.all((peaks < 1e-12) | (peaks > 1 / max_radius_m - 1e-12))


def test_road_random_turns_both_ways_and_differs_by_seed():
    roads = [random_road(np.random.default_rng(seed), 800.0) for seed in range(4)]
    assert all(road.curvature_per_m.min() < 0 < road.curvature_per_m.max() for road in roads)
    assert len({road.heading_rad[400] for road in roads}) == len(roads)


HILLY = {"max_grade": 0.08, "min_vertical_radius_m": 200.0}


def hilly_road(seed: int, length_m: float, hills_seed: int = 1, **options) -> Road:
    rngs = np.random.default_rng(seed), np.random.default_rng([hills_seed, 9])
    return random_road(rngs[0], length_m, elevation_rng=rngs[1], **{**HILLY, **options})


@pytest.mark.parametrize("length_m", [0.3, 40.0, 200.1, 333.3, 512.49, 999.9])
def test_road_random_is_at_least_as_long_as_asked(length_m):
    for seed in range(6):
        assert random_road(np.random.default_rng(seed), length_m).length_m >= length_m


def test_road_longer_begins_with_the_shorter_of_the_same_seed():
    short, long = (hilly_road(7, length_m) for length_m in (200.0, 650.0))
    n = len(short.s_m)
    assert len(long.s_m) > n
    for name in Road.__dataclass_fields__:
        np.testing.assert_allclose(getattr(long, name)[:n], getattr(short, name), atol=1e-9)


def test_road_is_flat_unless_hills_are_asked_for():
    for road in (
        random_road(np.random.default_rng(3), 300.0),
        hilly_road(3, 300.0, max_grade=0.0),
        road_from_segments([Segment(30.0, 0.0, 0.02)]),
    ):
        assert not road.z_m.any()
        assert not road.grade.any()
        assert road.z_m.shape == road.s_m.shape


def test_road_hills_never_move_the_plan_nor_the_plan_the_hills():
    flat = random_road(np.random.default_rng(3), 500.0)
    one, other_hills, other_plan = hilly_road(3, 500.0), hilly_road(3, 500.0, 2), hilly_road(4, 500.0)
    for road in (one, other_hills):
        for name in ("s_m", "x_m", "y_m", "heading_rad", "curvature_per_m"):
            np.testing.assert_array_equal(getattr(road, name), getattr(flat, name))
    n = min(len(one.s_m), len(other_plan.s_m))
    np.testing.assert_array_equal(one.z_m[:n], other_plan.z_m[:n])
    assert np.abs(one.z_m - other_hills.z_m).max() > 0.5


@pytest.mark.parametrize("seed", range(4))
def test_road_hills_keep_their_grade_and_their_vertical_radius(seed):
    road = hilly_road(seed, 1500.0, seed)
    level = road.s_m <= 20.0
    assert not road.z_m[level].any()
    assert np.abs(road.grade).max() <= 0.08 + 1e-12
    assert road.grade.min() < -0.02 < 0.02 < road.grade.max()
    assert np.abs(np.diff(road.grade)).max() <= STEP_M / 200.0 + 1e-12
    # The grade is the slope of the elevation: exact at the middle of a step but where a knot lies inside.
    middle = 0.5 * (road.grade[1:] + road.grade[:-1])
    np.testing.assert_allclose(np.diff(road.z_m) / STEP_M, middle, atol=STEP_M / 200.0 / 4)
    # Constant grades joined by parabolas: the grade's own slope is one constant on each stretch.
    assert np.mean(np.abs(np.diff(road.grade, 2)) < 1e-12) > 0.8


def test_road_vertical_curve_is_the_parabola_between_its_grades():
    # Level, from 10 m on a crest of radius 250 m down to -8 %, a straight descent from 30 m on.
    road = road_from_segments([Segment(60.0, 0.01, 0.01)], [(0.0, 0.0), (10.0, 0.0), (30.0, -0.08)])
    s_m = road.s_m
    expected = -(np.clip(s_m - 10.0, 0.0, 20.0) ** 2) / 500.0 - 0.08 * np.clip(s_m - 30.0, 0.0, None)
    np.testing.assert_allclose(road.z_m, expected, atol=1e-12)
    np.testing.assert_allclose(road.grade, -np.clip(s_m - 10.0, 0.0, 20.0) / 250.0, atol=1e-12)
    for place_m in (3.3, 17.77, 41.2):
        assert road.elevation_at(place_m) == pytest.approx(np.interp(place_m, s_m, road.z_m), abs=1e-12)
        assert road.grade_at(place_m) == pytest.approx(np.interp(place_m, s_m, road.grade), abs=1e-12)
        assert road.curvature_at(place_m) == pytest.approx(0.01)
    assert isinstance(road.elevation_at(17.77), float)
    assert road.elevation_at(99.0) == pytest.approx(road.z_m[-1], abs=1e-5)


def test_road_answers_are_plain_floats():
    road = random_road(np.random.default_rng(0), 100.0)
    answers = [*road.pose_at(np.float64(33.3)), *road.locate(33.0, 0.5, 30.0), road.curvature_at(2.0)]
    assert {type(value) for value in [*answers, road.grade_at(3.0), road.length_m]} == {float}


def test_road_random_straights_and_turns_follow_their_options():
    def straight_share(mean_m):
        road = random_road(np.random.default_rng(2), 6000.0, mean_straight_m=mean_m)
        return np.mean(road.curvature_per_m == 0)

    assert straight_share(5.0) < 0.2 < 0.4 < straight_share(150.0)
    road = random_road(np.random.default_rng(2), 3000.0, 30.0, 60.0, max_arc_turn_rad=0.9)
    at_rest = np.flatnonzero(road.curvature_per_m == 0)
    turns = np.abs(np.diff(road.heading_rad[at_rest]))
    # Two clothoids and an arc: at most the bound and a half clothoid on either side, or the 5 m an arc has at least.
    assert 0.9 < turns.max() < 0.9 + 38.0 / 30.0


def test_road_rejects_hills_without_a_generator():
    with pytest.raises(BadInputError, match="elevation_rng"):
        random_road(np.random.default_rng(0), 100.0, max_grade=0.05)


@pytest.mark.parametrize("knots", [[(1.0, 0.0)], [(0.0, 0.0), (5.0, 0.1), (5.0, 0.0)]])
def test_road_rejects_grade_knots_that_do_not_rise_from_0(knots):
    with pytest.raises(BadInputError, match="grade_knots"):
        road_from_segments([Segment(30.0, 0.0, 0.0)], knots)


@pytest.mark.parametrize(
    "segments", [[], [Segment(0.0, 0.0, 0.0)], [Segment(5.0, 0.0, 0.0), Segment(float("nan"), 0, 0)]]
)
def test_road_rejects_segments_without_length(segments):
    with pytest.raises(BadInputError, match="longer than 0 m"):
        road_from_segments(segments)
