import dataclasses
import math

import pytest

from sim.conventions import MAX_CURVATURE_PER_M
from sim.vehicle import VehicleConfig, VehicleState, advance

SMOOTH = VehicleConfig(wheelbase_m=2.5, steering_lag_s=0.2, max_road_wheel_rate_rad_s=1e6, n_substeps=3)


def drive(state, curvature_per_m, speed_mps, dt_s, config, n_steps):
    for _ in range(n_steps):
        state = advance(state, curvature_per_m, speed_mps, dt_s, config)
    return state


@pytest.mark.parametrize("curvature", [0.05, -0.02, 1e-12, 0.0])
@pytest.mark.parametrize("dt_s", [0.05, 0.7])
def test_vehicle_steady_steering_traces_the_circle_exactly(curvature, dt_s):
    config = VehicleConfig(n_substeps=3)
    x0, y0, heading0, speed_mps, n_steps = 3.0, -2.0, 0.4, 9.0, 11
    start = VehicleState(x0, y0, heading0, math.atan(curvature * config.wheelbase_m))
    end = drive(start, curvature, speed_mps, dt_s, config, n_steps)
    distance_m = speed_mps * dt_s * n_steps
    heading = heading0 + curvature * distance_m
    if abs(curvature) > 1e-9:
        x = x0 + (math.sin(heading) - math.sin(heading0)) / curvature
        y = y0 - (math.cos(heading) - math.cos(heading0)) / curvature
    else:
        x, y = x0 + distance_m * math.cos(heading0), y0 + distance_m * math.sin(heading0)
    assert (end.x_m, end.y_m, end.heading_rad) == pytest.approx((x, y, heading), abs=1e-8)


def test_vehicle_full_circle_comes_back_to_its_start():
    config, curvature, n_steps = VehicleConfig(), 0.08, 40
    dt_s = 2 * math.pi / curvature / 6.0 / n_steps
    end = drive(
        VehicleState(road_wheel_angle_rad=math.atan(0.08 * 2.7)), curvature, 6.0, dt_s, config, n_steps
    )
    assert (end.x_m, end.y_m, end.heading_rad) == pytest.approx((0.0, 0.0, 2 * math.pi), abs=1e-9)


def test_vehicle_steering_follows_its_command_with_the_first_order_lag():
    command, dt_s = 0.03, 0.05
    target = math.atan(command * SMOOTH.wheelbase_m)
    state = VehicleState()
    for i in range(1, 13):
        state = advance(state, command, 8.0, dt_s, SMOOTH)
        expected = target * (1 - math.exp(-i * dt_s / SMOOTH.steering_lag_s))
        assert state.road_wheel_angle_rad == pytest.approx(expected, rel=1e-12)


def test_vehicle_small_command_stays_below_the_rate_limit():
    # The fastest turn is at the start, target / lag: below the limit the lag alone acts.
    config = VehicleConfig(steering_lag_s=0.2, max_road_wheel_rate_rad_s=0.5)
    command = 0.9 * 0.5 * 0.2 / config.wheelbase_m
    limited, free = (
        drive(
            VehicleState(), command, 8.0, 0.05, dataclasses.replace(config, max_road_wheel_rate_rad_s=rate), 4
        )
        for rate in (0.5, 1e6)
    )
    assert limited == free


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_vehicle_large_command_turns_the_wheels_at_the_top_rate(side):
    config = VehicleConfig(steering_lag_s=0.01, max_road_wheel_rate_rad_s=0.3)
    state = VehicleState()
    for i in range(1, 15):
        state = advance(state, side * 0.1, 8.0, 0.05, config)
        assert state.road_wheel_angle_rad == pytest.approx(side * 0.3 * 0.05 * i)


@pytest.mark.parametrize("command", [0.3, -0.3, math.inf])
def test_vehicle_steering_has_a_stop(command):
    state = drive(VehicleState(), command, 5.0, 0.05, VehicleConfig(), 100)
    assert math.tan(state.road_wheel_angle_rad) / 2.7 == pytest.approx(
        math.copysign(MAX_CURVATURE_PER_M, command)
    )


def test_vehicle_without_lag_obeys_at_once():
    config = dataclasses.replace(SMOOTH, steering_lag_s=0.0)
    state = advance(VehicleState(), 0.04, 5.0, 0.05, config)
    assert state.road_wheel_angle_rad == pytest.approx(math.atan(0.04 * 2.5))


def test_vehicle_integration_is_of_second_order_while_the_wheels_turn():
    def end(n_substeps):
        config = dataclasses.replace(SMOOTH, n_substeps=n_substeps)
        return advance(VehicleState(), 0.08, 12.0, 0.4, config)

    exact = end(2048)
    error_m = [math.dist((end(n).x_m, end(n).y_m), (exact.x_m, exact.y_m)) for n in (4, 8, 16)]
    assert error_m[0] / error_m[1] == pytest.approx(4.0, rel=0.15)
    assert error_m[1] / error_m[2] == pytest.approx(4.0, rel=0.15)


def test_vehicle_positive_command_turns_left():
    left, right = (drive(VehicleState(), k, 8.0, 0.05, VehicleConfig(), 20) for k in (0.05, -0.05))
    assert left.y_m > 0.5
    assert left.heading_rad > 0.1
    assert (right.x_m, right.y_m, right.heading_rad) == pytest.approx(
        (left.x_m, -left.y_m, -left.heading_rad)
    )


def test_vehicle_standing_turns_its_wheels_only():
    state = drive(VehicleState(1.0, 2.0, 0.5), 0.05, 0.0, 0.05, VehicleConfig(), 10)
    assert (state.x_m, state.y_m, state.heading_rad) == (1.0, 2.0, 0.5)
    assert state.road_wheel_angle_rad > 0.1


def test_vehicle_leaves_the_given_state_as_it_was():
    state = VehicleState(1.0, 2.0, 0.5, 0.02)
    advance(state, 0.1, 9.0, 0.05, VehicleConfig())
    assert state == VehicleState(1.0, 2.0, 0.5, 0.02)
