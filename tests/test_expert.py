import math

import numpy as np
import pytest

from sim.expert import PurePursuit, recovery_curvature_per_m
from sim.families import FAMILIES
from sim.road import STEP_M, Road, Segment, random_road, road_from_segments
from sim.speed import speed_profile
from sim.vehicle import VehicleConfig, advance, steady_state

DT_S = 0.05


def offsets_of_a_drive(
    road: Road,
    seconds: float,
    speed_mps: float | np.ndarray,
    offset_m: float = 0.0,
    heading_rad: float = 0.0,
    vehicle: VehicleConfig | None = None,
) -> np.ndarray:
    """Lateral offsets (m) at every step of a drive that the expert steers from 5 m on.

    ``speed_mps``: one speed or one for each stored point of the road.
    """
    vehicle = vehicle or VehicleConfig()
    expert, s_m = PurePursuit(max(1.0 * np.max(speed_mps), 8.0), vehicle.rear_slip_s2_per_m), 5.0
    speeds_mps = np.broadcast_to(speed_mps, road.s_m.shape).tolist()
    x_m, y_m, heading = road.pose_at(s_m)
    state = steady_state(
        x_m - offset_m * math.sin(heading),
        y_m + offset_m * math.cos(heading),
        heading + heading_rad,
        road.curvature_at(s_m),
        speeds_mps[10],
        vehicle,
    )
    offsets_m = []
    for _ in range(round(seconds / DT_S)):
        speed = speeds_mps[int(s_m / STEP_M)]
        command = expert.curvature_per_m(road, s_m, state.x_m, state.y_m, state.heading_rad, speed)
        state = advance(state, command, speed, DT_S, vehicle)
        s_m, offset, _ = road.locate(state.x_m, state.y_m, s_m)
        offsets_m.append(offset)
    return np.array(offsets_m)


def test_expert_on_a_straight_steers_straight():
    road = road_from_segments([Segment(80.0, 0.0, 0.0)])
    assert PurePursuit(12.0).curvature_per_m(road, 20.0, 20.0, 0.0, 0.0, 10.0) == 0.0
    assert not offsets_of_a_drive(road, 5.0, 10.0).any()


@pytest.mark.parametrize("radius_m", [40.0, -70.0])
def test_expert_on_an_arc_answers_its_curvature(radius_m):
    # The body of the car points into the curve by the slip of its rear axle, its course along the road.
    road = road_from_segments([Segment(90.0, 1 / radius_m, 1 / radius_m)])
    x_m, y_m, heading = road.pose_at(30.0)
    slip_rad = VehicleConfig().rear_slip_s2_per_m * 11.0**2 / radius_m
    expert = PurePursuit(11.0, VehicleConfig().rear_slip_s2_per_m)
    for driver, body_rad in ((expert, heading + slip_rad), (PurePursuit(11.0, 0.0), heading)):
        answer = driver.curvature_per_m(road, 30.0, x_m, y_m, body_rad, 11.0)
        assert answer == pytest.approx(1 / radius_m, rel=1e-3)


def test_expert_suits_the_default_car():
    assert PurePursuit(12.0).rear_slip_s2_per_m == pytest.approx(VehicleConfig().rear_slip_s2_per_m, rel=0.01)


@pytest.mark.parametrize(("radius_m", "speed_mps"), [(30.0, 9.0), (-80.0, 15.0), (250.0, 27.0)])
def test_expert_runs_in_the_middle_of_a_steady_curve(radius_m, speed_mps):
    road = road_from_segments([Segment(speed_mps * 16.0, 1 / radius_m, 1 / radius_m)])
    offsets_m = offsets_of_a_drive(road, 10.0, speed_mps)
    assert np.abs(offsets_m[-40:]).max() < 0.04  # without regard to the slip: up to 0.3


def test_expert_answer_to_an_offset_does_not_depend_on_the_speed():
    # Beside a straight by e, the circle through the point L ahead has the curvature -2 e / (L^2 + e^2).
    road = road_from_segments([Segment(80.0, 0.0, 0.0)])
    expert, offset_m = PurePursuit(10.0), 0.4
    for speed_mps in (20.0, 8.0):
        answer = expert.curvature_per_m(road, 10.0, 10.0, offset_m, 0.0, speed_mps)
        assert answer == pytest.approx(-2 * offset_m / (10.0**2 + offset_m**2), rel=1e-9)


def test_expert_answer_does_not_depend_on_where_the_world_is():
    road = road_from_segments([Segment(20.0, 0.0, 0.02), Segment(60.0, 0.02, 0.02)])
    angle, (shift_x, shift_y) = 2.1, (300.0, -70.0)
    c, s = math.cos(angle), math.sin(angle)
    moved = Road(
        road.s_m, c * road.x_m - s * road.y_m + shift_x, s * road.x_m + c * road.y_m + shift_y,
        road.heading_rad + angle, road.curvature_per_m, road.z_m, road.grade,
    )  # fmt: skip
    pose, moved_pose = ((23.0, 1.2, 0.15), (c * 23.0 - s * 1.2 + shift_x, s * 23.0 + c * 1.2 + shift_y, 0.15 + angle))
    answers = [
        PurePursuit(12.0).curvature_per_m(*arguments, 12.0)
        for arguments in ((road, 23.0, *pose), (moved, 23.0, *moved_pose))
    ]
    assert answers[0] == pytest.approx(answers[1], rel=1e-9)


@pytest.mark.parametrize("speed_mps", [6.0, 8.0, 14.0, 27.0])
@pytest.mark.parametrize(("offset_m", "heading_rad"), [(0.9, 0.0), (-0.9, 0.0), (0.0, 0.03), (0.5, 0.03)])
def test_expert_returns_to_the_lane_centre_without_swinging(speed_mps, offset_m, heading_rad):
    road = road_from_segments([Segment(450.0, 0.0, 0.0)])
    offsets_m = offsets_of_a_drive(road, 10.0, speed_mps, offset_m, heading_rad)
    side = 1.0 if offset_m >= 0 else -1.0
    drift_m = abs(heading_rad) * speed_mps  # the first heading error carries it out for about a second
    assert (side * offsets_m).max() < abs(offset_m) + 0.6 * drift_m + 1e-9
    assert (side * offsets_m).min() > -0.22 * (abs(offset_m) + 0.6 * drift_m)  # overshoot
    assert np.abs(offsets_m[-60:]).max() < 0.01


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_expert_keeps_the_lane_on_the_roads_of_every_family(name, seed):
    family, rng = FAMILIES[name], np.random.default_rng([seed, 9])
    top_mps = rng.uniform(family.min_speed_mps, family.max_speed_mps)
    road = random_road(
        rng, top_mps * 60.0 + 100.0, family.min_radius_m, family.max_radius_m,
        mean_straight_m=family.mean_straight_m, max_arc_turn_rad=family.max_arc_turn_rad,
    )  # fmt: skip
    offsets_m = np.abs(offsets_of_a_drive(road, 60.0, speed_profile(road, top_mps, 3.0), 0.1))
    assert offsets_m.mean() < 0.03
    assert offsets_m.max() < 0.15


@pytest.mark.parametrize(
    "change", [{"mass_kg": 1900.0}, {"friction": 0.6}, {"steering_delay_s": 0.1}, {"steering_lag_s": 0.25}]
)
def test_expert_keeps_the_lane_with_another_car(change):
    road = random_road(np.random.default_rng(11), 900.0)
    speed_mps = speed_profile(road, 14.0, 3.0)
    offsets_m = np.abs(offsets_of_a_drive(road, 50.0, speed_mps, 0.2, vehicle=VehicleConfig(**change)))
    assert offsets_m.mean() < 0.05
    assert offsets_m.max() < 0.25


def test_expert_recovery_curvature_leads_back_to_the_path():
    """The arc of the corrected curvature, driven for the recovery distance, ends on the old straight path."""
    left_m, yaw_rad, speed_mps, recovery_s = 0.5, 0.03, 10.0, 2.0
    k = float(recovery_curvature_per_m(left_m, yaw_rad, np.array([speed_mps]), recovery_s)[0])
    assert k < 0  # car is left of the path and looks left: it steers right
    s_m = np.linspace(0, speed_mps * recovery_s, 4001)
    y_m = left_m + np.sum(np.sin(yaw_rad + k * s_m[:-1]) * np.diff(s_m))
    assert abs(y_m) < 0.01
    # A standing car gets no endless curvature.
    assert np.isfinite(recovery_curvature_per_m(1.0, 0.1, np.zeros(2))).all()
