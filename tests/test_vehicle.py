"""The car against closed forms, a fine independent solve, and what a bad configuration answers."""

import copy
import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.conventions import MAX_CURVATURE_PER_M
from sim.errors import BadInputError
from sim.vehicle import (
    GRAVITY_MPS2,
    VehicleConfig,
    VehicleState,
    advance,
    path_curvature_per_m,
    road_wheel_angle_for,
    steady_state,
    tyre_secant_n_per_rad,
)

PROMPT = {"steering_delay_s": 0.0, "steering_lag_s": 0.0, "max_road_wheel_rate_rad_s": 1e6}
KINEMATIC = VehicleConfig(blend_min_mps=100.0, blend_max_mps=101.0, steering_delay_s=0.0, n_substeps=3)
SMOOTH = dataclasses.replace(
    KINEMATIC, wheelbase_m=2.5, steering_lag_s=0.2, max_road_wheel_rate_rad_s=1e6, n_substeps=3
)
LINEAR = VehicleConfig(friction=1e6, **PROMPT)  # tyres far from their grip
SLIPPERY = VehicleConfig(friction=0.3, **PROMPT)


def drive(state, curvature_per_m, speed_mps, dt_s, config, n_steps):
    for _ in range(n_steps):
        state = advance(state, curvature_per_m, speed_mps, dt_s, config)
    return state


def fine_solve(state, angle_rad, speed_mps, seconds, config, h_s=2e-5):
    """Witness: textbook equations about the centre of gravity (v_y, yaw rate), classical Runge-Kutta of order 4."""
    l_f, l_r, v = config.front_axle_m, config.rear_axle_m, speed_mps
    load = config.friction * config.mass_kg * GRAVITY_MPS2 / config.wheelbase_m

    def force(slip, stiffness, grip):
        return grip * math.tanh(stiffness * slip / grip)

    def rate(q):
        _, _, heading, v_y, r = q
        f_f = force(math.tan(angle_rad) - (v_y + l_f * r) / v, config.cornering_stiffness_front_n_per_rad, load * l_r)
        f_r = force(-(v_y - l_r * r) / v, config.cornering_stiffness_rear_n_per_rad, load * l_f)
        c, s, u = math.cos(heading), math.sin(heading), v_y - l_r * r
        return np.array(
            [v * c - u * s, v * s + u * c, r, (f_f + f_r) / config.mass_kg - v * r,
             (l_f * f_f - l_r * f_r) / config.yaw_inertia_kg_m2]
        )  # fmt: skip

    v_y = state.lateral_velocity_mps + l_r * state.yaw_rate_rad_s
    q = np.array([state.x_m, state.y_m, state.heading_rad, v_y, state.yaw_rate_rad_s])
    for _ in range(round(seconds / h_s)):
        k1 = rate(q)
        k2 = rate(q + 0.5 * h_s * k1)
        k3 = rate(q + 0.5 * h_s * k2)
        q = q + h_s / 6 * (k1 + 2 * k2 + 2 * k3 + rate(q + h_s * k3))
    return np.array([*q[:3], q[3] - l_r * q[4], q[4]])


def motion(state):
    return [state.x_m, state.y_m, state.heading_rad, state.lateral_velocity_mps, state.yaw_rate_rad_s]


# Kinematic car


@pytest.mark.parametrize("curvature", [0.05, -0.02, 1e-12, 0.0])
@pytest.mark.parametrize("dt_s", [0.05, 0.7])
def test_vehicle_kinematic_steady_steering_traces_the_circle_exactly(curvature, dt_s):
    x0, y0, heading0, speed_mps, n_steps = 3.0, -2.0, 0.4, 9.0, 11
    start = VehicleState(x0, y0, heading0, math.atan(curvature * KINEMATIC.wheelbase_m))
    end = drive(start, curvature, speed_mps, dt_s, KINEMATIC, n_steps)
    distance_m = speed_mps * dt_s * n_steps
    heading = heading0 + curvature * distance_m
    if abs(curvature) > 1e-9:
        x = x0 + (math.sin(heading) - math.sin(heading0)) / curvature
        y = y0 - (math.cos(heading) - math.cos(heading0)) / curvature
    else:
        x, y = x0 + distance_m * math.cos(heading0), y0 + distance_m * math.sin(heading0)
    assert (end.x_m, end.y_m, end.heading_rad) == pytest.approx((x, y, heading), abs=1e-8)
    assert path_curvature_per_m(end, speed_mps, KINEMATIC) == pytest.approx(curvature, abs=1e-12)


def test_vehicle_kinematic_integration_is_of_second_order_while_the_wheels_turn():
    def end(n_substeps):
        config = dataclasses.replace(SMOOTH, n_substeps=n_substeps)
        return advance(VehicleState(), 0.08, 12.0, 0.4, config)

    exact = end(2048)
    error_m = [math.dist((end(n).x_m, end(n).y_m), (exact.x_m, exact.y_m)) for n in (16, 32, 64)]
    assert error_m[0] / error_m[1] == pytest.approx(4.0, rel=0.2)
    assert error_m[1] / error_m[2] == pytest.approx(4.0, rel=0.2)


def test_vehicle_at_low_speed_is_the_kinematic_car():
    # Up to blend_min exactly, whatever tyres it has; a little above the difference is of the order of the blend.
    angle = VehicleState(road_wheel_angle_rad=0.1)
    kinematic = dataclasses.replace(KINEMATIC, steering_delay_s=VehicleConfig().steering_delay_s)
    for speed_mps, tolerance_m in ((1.0, 0.0), (4.0, 0.0), (4.001, 1e-3)):
        slip, rigid = (
            drive(angle, 0.06, speed_mps, 0.05, dataclasses.replace(config, n_substeps=4), 40)
            for config in (VehicleConfig(), kinematic)
        )
        assert math.dist((slip.x_m, slip.y_m), (rigid.x_m, rigid.y_m)) <= tolerance_m
        assert abs(slip.heading_rad - rigid.heading_rad) <= tolerance_m


def test_vehicle_with_rigid_tyres_and_much_grip_is_the_kinematic_car_at_any_speed():
    rigid = VehicleConfig(
        cornering_stiffness_front_n_per_rad=1e12, cornering_stiffness_rear_n_per_rad=1e12, friction=1e9
    )
    kinematic = dataclasses.replace(rigid, blend_min_mps=100.0, blend_max_mps=101.0)
    ends = [drive(VehicleState(), 0.03, 25.0, 0.05, config, 30) for config in (rigid, kinematic)]
    assert motion(ends[0]) == pytest.approx(motion(ends[1]), abs=1e-5)
    assert ends[0].yaw_rate_rad_s == pytest.approx(0.03 * 25.0, rel=1e-3)


def test_vehicle_standing_turns_its_wheels_only():
    state = drive(VehicleState(1.0, 2.0, 0.5), 0.05, 0.0, 0.05, VehicleConfig(), 10)
    assert (state.x_m, state.y_m, state.heading_rad) == (1.0, 2.0, 0.5)
    assert state.road_wheel_angle_rad > 0.1
    assert path_curvature_per_m(state, 0.0, VehicleConfig()) == pytest.approx(
        math.tan(state.road_wheel_angle_rad) / 2.7
    )


# Steering


@pytest.mark.parametrize("dt_s", [0.05, 0.03, 0.11])
@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.12])
def test_vehicle_steering_waits_for_the_delay_and_then_follows_with_the_lag(dt_s, delay_s):
    config = dataclasses.replace(SMOOTH, steering_delay_s=delay_s)
    target, state = road_wheel_angle_for(0.03, 8.0, config), VehicleState()
    for i in range(1, 16):
        state = advance(state, 0.03, 8.0, dt_s, config)
        since_s = max(i * dt_s - delay_s, 0.0)
        expected = target * (1 - math.exp(-since_s / config.steering_lag_s))
        assert state.road_wheel_angle_rad == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_vehicle_steering_plays_changing_commands_in_order_after_the_delay():
    # Without a lag the wheels stand, at any time, where the command stood one delay before.
    config = dataclasses.replace(KINEMATIC, **{**PROMPT, "steering_delay_s": 0.13})
    commands = [0.01, -0.02, 0.05, 0.03, -0.04, 0.02, 0.0, 0.01]
    state = VehicleState()
    for i, command in enumerate(commands):
        state = advance(state, command, 8.0, 0.05, config)
        acting = math.floor(((i + 1) * 0.05 - 0.13) / 0.05 + 1e-9)
        expected = road_wheel_angle_for(commands[acting], 8.0, config) if acting >= 0 else 0.0
        assert state.road_wheel_angle_rad == pytest.approx(expected, abs=1e-12)
        assert len(state.steering_queue) <= 4


def test_vehicle_steering_does_not_depend_on_the_substeps_nor_on_the_cut_of_the_time_step():
    config = VehicleConfig(steering_delay_s=0.08)
    coarse = drive(VehicleState(), 0.05, 8.0, 0.3, dataclasses.replace(config, n_substeps=1), 2)
    fine = drive(VehicleState(), 0.05, 8.0, 0.02, dataclasses.replace(config, n_substeps=7), 30)
    assert coarse.road_wheel_angle_rad == pytest.approx(fine.road_wheel_angle_rad, rel=1e-9)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_vehicle_large_command_turns_the_wheels_at_the_top_rate(side):
    config = VehicleConfig(steering_delay_s=0.05, steering_lag_s=0.01, max_road_wheel_rate_rad_s=0.3)
    state = VehicleState()
    for i in range(15):
        state = advance(state, side * 0.1, 8.0, 0.05, config)
        assert state.road_wheel_angle_rad == pytest.approx(side * 0.3 * 0.05 * i)


def test_vehicle_rate_limit_goes_over_into_the_lag_where_both_are_equally_fast():
    config = dataclasses.replace(SMOOTH, max_road_wheel_rate_rad_s=0.5)
    target = math.atan(0.08 * config.wheelbase_m)
    t_join_s = (target - 0.5 * 0.2) / 0.5
    state = advance(VehicleState(), 0.08, 5.0, t_join_s + 0.3, config)
    assert state.road_wheel_angle_rad == pytest.approx(target - 0.1 * math.exp(-0.3 / 0.2))


@pytest.mark.parametrize("command", [0.3, -0.3, math.inf])
@pytest.mark.parametrize("speed_mps", [5.0, 30.0])
def test_vehicle_steering_has_a_stop(command, speed_mps):
    state = drive(VehicleState(), command, speed_mps, 0.05, VehicleConfig(), 100)
    assert math.tan(state.road_wheel_angle_rad) / 2.7 == pytest.approx(math.copysign(MAX_CURVATURE_PER_M, command))


# Tyres


def test_vehicle_tyre_force_is_linear_then_bounded_by_the_grip():
    stiffness, grip = 90e3, 4000.0
    assert tyre_secant_n_per_rad(0.0, stiffness, grip) == stiffness
    assert tyre_secant_n_per_rad(1e-3, stiffness, grip) == pytest.approx(stiffness, rel=1e-3)
    slips = np.linspace(-1.5, 1.5, 301)
    forces = np.array([slip * tyre_secant_n_per_rad(slip, stiffness, grip) for slip in slips])
    assert np.abs(forces).max() <= grip * (1 + 1e-12)
    assert forces[-1] == pytest.approx(grip)
    assert (np.diff(forces) >= -1e-9).all()
    np.testing.assert_allclose(forces, -forces[::-1], atol=1e-9)


@pytest.mark.parametrize("speed_mps", [8.0, 15.0, 27.0, 40.0])
def test_vehicle_steady_yaw_rate_is_the_linear_bicycles(speed_mps):
    angle = 0.01
    l_f, l_r, c_f, c_r = 1.1, 1.6, 90e3, 120e3
    config = dataclasses.replace(
        LINEAR, cornering_stiffness_front_n_per_rad=c_f, cornering_stiffness_rear_n_per_rad=c_r
    )
    K = config.mass_kg / 2.7**2 * (l_r / c_f - l_f / c_r)
    assert config.understeer_s2_per_m2 == pytest.approx(K)
    command = angle / (2.7 * (1 + K * speed_mps**2))
    end = drive(VehicleState(), command, speed_mps, 0.05, config, 200)
    assert end.road_wheel_angle_rad == pytest.approx(angle, rel=1e-4)
    assert end.yaw_rate_rad_s == pytest.approx(speed_mps * angle / (2.7 * (1 + K * speed_mps**2)), rel=1e-4)


@pytest.mark.parametrize("speed_mps", [3.0, 5.0, 7.0, 12.0, 27.0])
@pytest.mark.parametrize("command", [0.004, -0.003])
def test_vehicle_runs_on_the_commanded_curvature_at_every_speed(speed_mps, command):
    end = drive(VehicleState(), command, speed_mps, 0.05, VehicleConfig(), 200)
    assert path_curvature_per_m(end, speed_mps, VehicleConfig()) == pytest.approx(command, rel=0.02)
    before = end.heading_rad
    end = advance(end, command, speed_mps, 0.05, VehicleConfig())
    assert end.heading_rad - before == pytest.approx(command * speed_mps * 0.05, rel=0.02)


@pytest.mark.parametrize("speed_mps", [3.0, 6.0, 14.0, 27.0])
def test_vehicle_steady_state_stays_as_it_is(speed_mps):
    config, curvature = dataclasses.replace(LINEAR, steering_delay_s=0.05), 0.012
    start = steady_state(3.0, -2.0, 0.4, curvature, speed_mps, config)
    end = drive(start, curvature, speed_mps, 0.05, config, 30)
    for name in ("road_wheel_angle_rad", "lateral_velocity_mps", "yaw_rate_rad_s"):
        assert getattr(end, name) == pytest.approx(getattr(start, name), rel=1e-6, abs=1e-9)
    # The rear axle traces the circle; its path leaves the body's direction by the rear slip.
    slip = math.atan2(start.lateral_velocity_mps, speed_mps)
    radius_m = math.hypot(start.lateral_velocity_mps, speed_mps) / start.yaw_rate_rad_s
    centre = -2.0 + radius_m * math.cos(0.4 + slip), 3.0 - radius_m * math.sin(0.4 + slip)
    assert math.dist((end.y_m, end.x_m), centre) == pytest.approx(radius_m, rel=1e-6)
    expected = -config.blend(speed_mps) * config.rear_slip_s2_per_m * speed_mps**2 * curvature
    assert slip == pytest.approx(expected, rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("speed_mps", [9.0, 22.0, 38.0])
def test_vehicle_decays_with_the_eigenvalues_of_the_linear_bicycle(speed_mps):
    # Rajamani ch. 2: lateral velocity and yaw rate about the centre of gravity, wheels straight.
    m, inertia, l_f, l_r, c, v = 1570.0, 2870.0, 1.1, 1.6, 160e3, speed_mps
    A = np.array(
        [
            [-2 * c / (m * v), -v - (l_f * c - l_r * c) / (m * v)],
            [-(l_f * c - l_r * c) / (inertia * v), -(l_f**2 * c + l_r**2 * c) / (inertia * v)],
        ]
    )
    values, vectors = np.linalg.eig(A)
    first = np.array([0.2, 0.05])
    t_s = 0.3
    expected = (vectors @ np.diag(np.exp(values * t_s)) @ np.linalg.solve(vectors, first)).real
    assert values.real.max() < 0
    config = dataclasses.replace(LINEAR, n_substeps=300)
    start = VehicleState(lateral_velocity_mps=0.2 - l_r * 0.05, yaw_rate_rad_s=0.05)
    end = advance(start, 0.0, v, t_s, config)
    found = [end.lateral_velocity_mps + l_r * end.yaw_rate_rad_s, end.yaw_rate_rad_s]
    assert found == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("config", [LINEAR, SLIPPERY], ids=["linear", "saturating"])
@pytest.mark.parametrize("speed_mps", [9.0, 25.0])
def test_vehicle_step_response_is_that_of_a_fine_solve(config, speed_mps):
    command, seconds = 0.01, 0.6
    exact = fine_solve(
        VehicleState(), road_wheel_angle_for(command, speed_mps, config), speed_mps, seconds, config, 2e-4
    )
    start = VehicleState()
    usual = drive(start, command, speed_mps, 0.05, config, 12)
    assert motion(usual) == pytest.approx(exact, abs=0.03)
    fine = drive(start, command, speed_mps, 0.05, dataclasses.replace(config, n_substeps=64), 12)
    assert motion(fine) == pytest.approx(exact, abs=1.5e-3)


@pytest.mark.parametrize(("config", "order"), [(LINEAR, 2), (SLIPPERY, 1)], ids=["linear", "saturating"])
def test_vehicle_dynamic_integration_converges(config, order):
    def end(n_substeps):
        return advance(VehicleState(), 0.02, 22.0, 0.4, dataclasses.replace(config, n_substeps=n_substeps))

    exact = fine_solve(VehicleState(), road_wheel_angle_for(0.02, 22.0, config), 22.0, 0.4, config, 1e-4)
    error = [np.abs(motion(end(n)) - exact).max() for n in (32, 64, 128)]
    for coarse, fine in itertools.pairwise(error):
        assert coarse / fine == pytest.approx(2.0**order, rel=0.25)


@pytest.mark.parametrize("friction", [0.9, 0.3])
@pytest.mark.parametrize("speed_mps", [10.0, 20.0, 27.0])
def test_vehicle_lateral_acceleration_stays_within_the_grip(friction, speed_mps):
    config = VehicleConfig(friction=friction, n_substeps=1)
    h_s, state, largest = 0.0025, VehicleState(), 0.0
    for i in range(1200):
        new = advance(state, MAX_CURVATURE_PER_M * (1 if i // 300 % 2 == 0 else -1), speed_mps, h_s, config)
        slide = [s.lateral_velocity_mps + config.rear_axle_m * s.yaw_rate_rad_s for s in (state, new)]
        turn = 0.5 * (state.yaw_rate_rad_s + new.yaw_rate_rad_s)
        largest = max(largest, abs((slide[1] - slide[0]) / h_s + speed_mps * turn))
        state = new
    grip = friction * GRAVITY_MPS2
    assert 0.85 * grip < largest <= 1.01 * grip


def test_vehicle_skids_wide_where_the_grip_ends():
    def radius_m(friction):
        config = dataclasses.replace(SLIPPERY, friction=friction)
        end = drive(VehicleState(), 0.03, 15.0, 0.05, config, 60)
        return 1 / path_curvature_per_m(end, 15.0, config)

    assert radius_m(100.0) == pytest.approx(1 / 0.03, rel=0.01)  # asks for 6.75 m/s^2
    assert radius_m(0.3) > 1.8 / 0.03  # has 2.94


# Invariances


@pytest.mark.parametrize("speed_mps", [3.0, 6.0, 20.0])
def test_vehicle_positive_command_turns_left_and_its_mirror_image_right(speed_mps):
    left, right = (drive(VehicleState(), k, speed_mps, 0.05, VehicleConfig(), 20) for k in (0.05, -0.05))
    assert left.y_m > 0.05
    assert left.heading_rad > 0.05
    mirrored = np.array(motion(left)) * [1, -1, -1, -1, -1]
    assert motion(right) == pytest.approx(mirrored, abs=1e-9)


def test_vehicle_leaves_the_given_state_as_it_was_and_a_copy_goes_on_identically():
    start = VehicleState(1.0, 2.0, 0.5, 0.02)
    state = drive(start, 0.1, 9.0, 0.05, VehicleConfig(steering_delay_s=0.12), 3)
    assert start == VehicleState(1.0, 2.0, 0.5, 0.02)
    twin = copy.deepcopy(state)
    assert advance(state, -0.1, 9.0, 0.05, VehicleConfig()) == advance(twin, -0.1, 9.0, 0.05, VehicleConfig())
    assert state == twin


@settings(max_examples=60, deadline=None)
@given(
    commands=st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0.0, 40.0)), min_size=1, max_size=30),
    dt_s=st.floats(0.005, 0.2),
    delay_s=st.floats(0.0, 0.3),
    lag_s=st.floats(0.0, 0.5),
    friction=st.floats(0.05, 2.0),
    front_share=st.floats(0.2, 0.8),
    stiffness=st.floats(2e4, 1e7),
    n_substeps=st.integers(1, 5),
)
def test_vehicle_stays_finite(commands, dt_s, delay_s, lag_s, friction, front_share, stiffness, n_substeps):
    config = VehicleConfig(
        front_axle_m=2.7 * front_share, cornering_stiffness_rear_n_per_rad=stiffness, friction=friction,
        steering_delay_s=delay_s, steering_lag_s=lag_s, n_substeps=n_substeps,
    )  # fmt: skip
    state = VehicleState()
    for command, speed_mps in commands:
        state = advance(state, command, speed_mps, dt_s, config)
        assert np.isfinite([*motion(state), state.road_wheel_angle_rad]).all()
        assert np.abs(motion(state)[3:]).max() < 1e3
        assert abs(state.road_wheel_angle_rad) <= math.atan(MAX_CURVATURE_PER_M * 2.7) + 1e-9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wheelbase_m", 0.0),
        ("front_axle_m", 2.7),
        ("mass_kg", -1.0),
        ("yaw_inertia_kg_m2", math.nan),
        ("cornering_stiffness_rear_n_per_rad", math.inf),
        ("friction", "dry"),
        ("steering_delay_s", -0.01),
        ("steering_lag_s", -0.1),
        ("blend_min_mps", 9.0),
        ("n_substeps", 2.5),
        ("n_substeps", 0),
    ],
)
def test_vehicle_rejects_a_field_out_of_range_by_its_name(name, value):
    with pytest.raises(BadInputError, match=name) as caught:
        VehicleConfig(**{name: value})
    assert "\n" not in str(caught.value)
