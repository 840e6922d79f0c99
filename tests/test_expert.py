import math

import numpy as np
import pytest

from sim.expert import PurePursuit
from sim.road import Road, Segment, random_road, road_from_segments
from sim.vehicle import VehicleConfig, VehicleState, advance

DT_S = 0.05


def offsets_of_a_drive(
    road: Road, seconds: float, speed_mps: float, offset_m: float = 0.0, heading_rad: float = 0.0
) -> np.ndarray:
    """Lateral offsets (m) at every step of a drive that the expert steers from 5 m on."""
    expert, vehicle, s_m = PurePursuit(), VehicleConfig(), 5.0
    x_m, y_m, heading = road.pose_at(s_m)
    state = VehicleState(
        x_m - offset_m * math.sin(heading), y_m + offset_m * math.cos(heading), heading + heading_rad
    )
    offsets_m = []
    for _ in range(round(seconds / DT_S)):
        command = expert.curvature_per_m(road, s_m, state.x_m, state.y_m, state.heading_rad, speed_mps)
        state = advance(state, command, speed_mps, DT_S, vehicle)
        s_m, offset, _ = road.locate(state.x_m, state.y_m, s_m)
        offsets_m.append(offset)
    return np.array(offsets_m)


def test_expert_on_a_straight_steers_straight():
    road = road_from_segments([Segment(80.0, 0.0, 0.0)])
    assert PurePursuit().curvature_per_m(road, 20.0, 20.0, 0.0, 0.0, 10.0) == 0.0
    assert not offsets_of_a_drive(road, 5.0, 10.0).any()


@pytest.mark.parametrize("radius_m", [40.0, -70.0])
def test_expert_on_an_arc_answers_its_curvature(radius_m):
    road = road_from_segments([Segment(90.0, 1 / radius_m, 1 / radius_m)])
    x_m, y_m, heading = road.pose_at(30.0)
    answer = PurePursuit().curvature_per_m(road, 30.0, x_m, y_m, heading, 11.0)
    assert answer == pytest.approx(1 / radius_m, rel=1e-3)


def test_expert_looks_ahead_by_time_or_by_the_least_distance():
    # Beside a straight by e, the circle through the point L ahead has the curvature -2 e / (L^2 + e^2).
    road = road_from_segments([Segment(80.0, 0.0, 0.0)])
    expert, offset_m = PurePursuit(look_ahead_s=0.5, min_look_ahead_m=6.0), 0.4
    for speed_mps, ahead_m in ((20.0, 10.0), (8.0, 6.0)):
        answer = expert.curvature_per_m(road, 10.0, 10.0, offset_m, 0.0, speed_mps)
        assert answer == pytest.approx(-2 * offset_m / (ahead_m**2 + offset_m**2), rel=1e-9)


def test_expert_answer_does_not_depend_on_where_the_world_is():
    road = road_from_segments([Segment(20.0, 0.0, 0.02), Segment(60.0, 0.02, 0.02)])
    angle, (shift_x, shift_y) = 2.1, (300.0, -70.0)
    c, s = math.cos(angle), math.sin(angle)
    moved = Road(
        road.s_m, c * road.x_m - s * road.y_m + shift_x, s * road.x_m + c * road.y_m + shift_y,
        road.heading_rad + angle, road.curvature_per_m,
    )  # fmt: skip
    pose, moved_pose = (
        (23.0, 1.2, 0.15),
        (c * 23.0 - s * 1.2 + shift_x, s * 23.0 + c * 1.2 + shift_y, 0.15 + angle),
    )
    answers = [
        PurePursuit().curvature_per_m(*arguments, 12.0)
        for arguments in ((road, 23.0, *pose), (moved, 23.0, *moved_pose))
    ]
    assert answers[0] == pytest.approx(answers[1], rel=1e-9)


@pytest.mark.parametrize("speed_mps", [8.0, 14.0])
@pytest.mark.parametrize(("offset_m", "heading_rad"), [(0.9, 0.0), (-0.9, 0.0), (0.0, 0.06), (0.9, 0.06)])
def test_expert_returns_to_the_lane_centre_without_swinging(speed_mps, offset_m, heading_rad):
    road = road_from_segments([Segment(250.0, 0.0, 0.0)])
    offsets_m = offsets_of_a_drive(road, 10.0, speed_mps, offset_m, heading_rad)
    side = 1.0 if offset_m >= 0 else -1.0
    assert (side * offsets_m).max() < abs(offset_m) + 0.35  # the first heading error carries it out
    assert (side * offsets_m).min() > -0.1  # overshoot
    assert np.abs(offsets_m[-60:]).max() < 0.01


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_expert_keeps_the_lane_on_random_roads(seed):
    road = random_road(np.random.default_rng(seed), 600.0)
    offsets_m = np.abs(offsets_of_a_drive(road, 50.0, 10.0, 0.2))
    assert offsets_m.mean() < 0.05
    assert offsets_m.max() < 0.3
