"""A car: kinematic bicycle at low speed, dynamic bicycle with tyre slip at speed, and a steering that takes time.

Dynamic bicycle: R. Rajamani, *Vehicle Dynamics and Control*, 2012, ch. 2; its limits against the kinematic one: Kong,
Pfeiffer, Schildbach, Borrelli, IV 2015. Both run in one set of equations, written for the rear axle: u its lateral
velocity, r the yaw rate, v the longitudinal speed, w = v tan(road-wheel angle), l_f and l_r the distances of the axles
from the centre of gravity, L = l_f + l_r:

    F_f = C_f (w - u - L r) / (v lambda)        F_r = -C_r u / (v lambda)
    r' = (l_f F_f - l_r F_r) / I                u' = (F_f + F_r) / m - v r - l_r r'

lambda rises from 0 at ``blend_min_mps`` to 1 at ``blend_max_mps`` and scales the tyres' compliance. At 0 nothing slips,
which is the kinematic bicycle u = 0, r = w / L. (Kabzan et al., AMZ Driverless, 2020, blend over the same range but mix
the two models' derivatives; mixing compliances has the right steady state at every speed and cannot drift.) The
force saturates smoothly at friction mu times the axle's static load: F = mu F_z tanh(C alpha / (mu F_z)).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from sim.checks import NOT_NEGATIVE, POSITIVE, check_number, check_numbers, whole
from sim.conventions import MAX_CURVATURE_PER_M
from sim.errors import BadInputError

GRAVITY_MPS2 = 9.81
_GAMMA = 1 - math.sqrt(0.5)  # of the two-stage stiffly accurate SDIRK method of second order (Alexander 1977)


@dataclass(frozen=True)
class VehicleConfig:
    """A mid-size passenger car with mild understeer: the numbers are close to Rajamani's example sedan.

    Attributes:
        wheelbase_m: between the axles, L.
        front_axle_m: from the centre of gravity to the front axle, l_f; the rest of the wheelbase is ``rear_axle_m``.
        mass_kg: of the loaded car.
        yaw_inertia_kg_m2: about the vertical axis.
        cornering_stiffness_front_n_per_rad, cornering_stiffness_rear_n_per_rad: both tyres of the axle together.
        friction: mu between tyre and road (dry asphalt 0.9, wet 0.6, snow 0.3).
        steering_delay_s: time between a command and the first motion of the wheels.
        steering_lag_s: time constant of the road wheels following their command (first order).
        max_road_wheel_rate_rad_s: fastest the road wheels turn.
        max_curvature_per_m: steering stop, as path curvature without slip.
        blend_min_mps, blend_max_mps: kinematic up to the first speed, fully dynamic from the second.
        n_substeps: integration steps within one call of ``advance``.
    """

    wheelbase_m: float = 2.7
    front_axle_m: float = 1.1
    mass_kg: float = 1570.0
    yaw_inertia_kg_m2: float = 2870.0
    cornering_stiffness_front_n_per_rad: float = 160e3
    cornering_stiffness_rear_n_per_rad: float = 160e3
    friction: float = 0.9
    steering_delay_s: float = 0.05
    steering_lag_s: float = 0.15
    max_road_wheel_rate_rad_s: float = 0.6
    max_curvature_per_m: float = MAX_CURVATURE_PER_M
    blend_min_mps: float = 4.0
    blend_max_mps: float = 8.0
    n_substeps: int = 4

    def __post_init__(self) -> None:
        late = ("steering_delay_s", "steering_lag_s")
        check_numbers("vehicle", self, NOT_NEGATIVE, *late)
        check_numbers("vehicle", self, POSITIVE, *(vars(self).keys() - {*late}))
        if self.n_substeps != int(self.n_substeps):  # a command line gives 4.0
            check_number("vehicle", "n_substeps", self.n_substeps, whole(1))
        for low, high in (("front_axle_m", "wheelbase_m"), ("blend_min_mps", "blend_max_mps")):
            if not getattr(self, low) < getattr(self, high):
                raise BadInputError(
                    f"vehicle: expected {low} < {high}, got {getattr(self, low)}, {getattr(self, high)}"
                )

    @property
    def rear_axle_m(self) -> float:
        """From the centre of gravity to the rear axle, l_r."""
        return self.wheelbase_m - self.front_axle_m

    @property
    def understeer_s2_per_m2(self) -> float:
        """K of the yaw gain r / delta = v / (L (1 + K v^2)); above 0 the car understeers (Rajamani, ch. 3)."""
        rear_share = self.rear_axle_m / self.cornering_stiffness_front_n_per_rad
        front_share = self.front_axle_m / self.cornering_stiffness_rear_n_per_rad
        return self.mass_kg * (rear_share - front_share) / self.wheelbase_m**2

    @property
    def rear_slip_s2_per_m(self) -> float:
        """Slip angle of the rear axle in a steady curve for each m/s^2 of lateral acceleration (rad s^2 / m)."""
        return self.mass_kg * self.front_axle_m / (self.wheelbase_m * self.cornering_stiffness_rear_n_per_rad)

    def blend(self, speed_mps: float) -> float:
        """lambda: 0 where the car is kinematic, 1 where it is fully dynamic."""
        share = (speed_mps - self.blend_min_mps) / (self.blend_max_mps - self.blend_min_mps)
        return min(max(share, 0.0), 1.0)


@dataclass(frozen=True)
class VehicleState:
    """Pose of the rear axle, its motion, and the steering.

    Attributes:
        x_m, y_m, heading_rad: pose in the world.
        road_wheel_angle_rad: where the road wheels stand.
        lateral_velocity_mps: of the rear axle, left positive; 0 where nothing slips.
        yaw_rate_rad_s: left positive.
        steering_queue: (due in seconds, road-wheel angle in rad) of each command that still matters, oldest first;
            the first one acts once it is due, and while there is none the wheels stay.
    """

    x_m: float = 0.0
    y_m: float = 0.0
    heading_rad: float = 0.0
    road_wheel_angle_rad: float = 0.0
    lateral_velocity_mps: float = 0.0
    yaw_rate_rad_s: float = 0.0
    steering_queue: tuple[tuple[float, float], ...] = ()


def road_wheel_angle_for(curvature_per_m: float, speed_mps: float, config: VehicleConfig) -> float:
    """Angle (rad) of the road wheels that holds a path curvature in the steady state, within the steering stop.

    tan(angle) = L curvature (1 + lambda K v^2), the inverse of the yaw gain: the slip of the tyres is allowed for,
    so a commanded curvature is the one that the car runs on.
    """
    limit = config.max_curvature_per_m
    gain = 1.0 + config.blend(speed_mps) * config.understeer_s2_per_m2 * speed_mps * speed_mps
    curvature = min(max(curvature_per_m * gain, -limit), limit)
    return math.atan(curvature * config.wheelbase_m)


def path_curvature_per_m(state: VehicleState, speed_mps: float, config: VehicleConfig) -> float:
    """Curvature (1/m) of the path that the rear axle runs on: yaw rate / speed, by the wheels where nothing slips."""
    if speed_mps <= config.blend_min_mps:
        return math.tan(state.road_wheel_angle_rad) / config.wheelbase_m
    return state.yaw_rate_rad_s / speed_mps


def steady_state(
    x_m: float, y_m: float, heading_rad: float, curvature_per_m: float, speed_mps: float, config: VehicleConfig
) -> VehicleState:
    """The car at a pose in the steady state (linear tyres) of a path curvature.

    ``heading_rad`` is where the body points; its path runs ``rear_slip_s2_per_m`` v^2 curvature to the outside of that.
    """
    slip_rad = config.blend(speed_mps) * config.rear_slip_s2_per_m * speed_mps * speed_mps * curvature_per_m
    angle = road_wheel_angle_for(curvature_per_m, speed_mps, config)
    motion = (angle, float(-slip_rad * speed_mps), float(speed_mps * curvature_per_m))
    return VehicleState(float(x_m), float(y_m), float(heading_rad), *motion, ((0.0, angle),))


def advance(
    state: VehicleState, curvature_command_per_m: float, speed_mps: float, dt_s: float, config: VehicleConfig
) -> VehicleState:
    """The state after ``dt_s`` under a constant command and longitudinal speed (at least 0).

    The command acts ``steering_delay_s`` later. The time step is cut where a queued command falls due, so the
    steering is exact for any ``dt_s``.
    """
    command = road_wheel_angle_for(curvature_command_per_m, speed_mps, config)
    queue = [*state.steering_queue, (config.steering_delay_s, command)]
    cuts_s = [0.0, *(due_s for due_s, _ in queue if 1e-9 < due_s < dt_s - 1e-9), dt_s]
    for start_s, end_s in itertools.pairwise(cuts_s):
        target = state.road_wheel_angle_rad
        for due_s, angle in queue:
            if due_s <= start_s + 1e-9:
                target = angle
        n_substeps = math.ceil(config.n_substeps * (end_s - start_s) / dt_s - 1e-9)
        state = _move(state, target, speed_mps, (end_s - start_s) / n_substeps, n_substeps, config)
    left = [(due_s - dt_s, angle) for due_s, angle in queue]
    acting = max((i for i, (due_s, _) in enumerate(left) if due_s <= 1e-9), default=0)
    return VehicleState(
        state.x_m,
        state.y_m,
        state.heading_rad,
        state.road_wheel_angle_rad,
        state.lateral_velocity_mps,
        state.yaw_rate_rad_s,
        tuple(left[acting:]),
    )


def wheel_angle_after(angle_rad: float, target_rad: float, t_s: float, config: VehicleConfig) -> float:
    """Angle of the road wheels ``t_s`` later: at the top rate while far off, then first-order, in closed form."""
    lag_s, rate = config.steering_lag_s, config.max_road_wheel_rate_rad_s
    error = target_rad - angle_rad
    beyond = abs(error) - rate * lag_s
    if beyond > 0:
        if beyond >= rate * t_s:
            return angle_rad + math.copysign(rate * t_s, error)
        t_s -= beyond / rate
        error = math.copysign(rate * lag_s, error)
    return target_rad - error * math.exp(-t_s / lag_s) if lag_s > 0 else target_rad


def tyre_secant_n_per_rad(slip_rad: float, stiffness_n_per_rad: float, grip_n: float) -> float:
    """Lateral force / slip angle of an axle whose force is grip tanh(stiffness slip / grip)."""
    z = stiffness_n_per_rad * slip_rad / grip_n
    return stiffness_n_per_rad * math.tanh(z) / z if abs(z) > 1e-6 else stiffness_n_per_rad


def _move(
    state: VehicleState, target_rad: float, speed_mps: float, h_s: float, n_substeps: int, config: VehicleConfig
) -> VehicleState:
    """``n_substeps`` of ``h_s`` towards one steering target.

    A sub-step is an L-stable SDIRK step (Alexander 1977, order 2) with the tyres' secant stiffness frozen, so it holds
    for arbitrarily stiff tyres and low speeds; the rear axle moves with the mean of the stages' velocities along
    an exact arc. While a slip grows, the frozen secant can exceed the grip by a few per cent for one sub-step.
    (One long function on plain floats: it runs at every frame.)
    """
    blend = config.blend(speed_mps)
    wheelbase_m, l_f, l_r = config.wheelbase_m, config.front_axle_m, config.rear_axle_m
    inertia, mass = config.yaw_inertia_kg_m2, config.mass_kg
    stiffness_f = config.cornering_stiffness_front_n_per_rad
    stiffness_r = config.cornering_stiffness_rear_n_per_rad
    grip = config.friction * mass * GRAVITY_MPS2 / wheelbase_m
    grip_f, grip_r = grip * l_r, grip * l_f
    u_by_f, u_by_r = 1 / mass - l_r * l_f / inertia, 1 / mass + l_r * l_r / inertia  # u' by each force
    x, y, heading, angle = state.x_m, state.y_m, state.heading_rad, state.road_wheel_angle_rad
    u, r = state.lateral_velocity_mps, state.yaw_rate_rad_s
    gh = _GAMMA * h_s
    for _ in range(n_substeps):
        w_early = speed_mps * math.tan(wheel_angle_after(angle, target_rad, gh, config))
        angle = wheel_angle_after(angle, target_rad, h_s, config)
        w = speed_mps * math.tan(angle)
        if blend == 0.0:
            u = u_mean = 0.0
            r = w / wheelbase_m
            r_mean = ((1 - _GAMMA) * w_early + _GAMMA * w) / wheelbase_m
        else:
            slip_f, slip_r = (w_early - u - wheelbase_m * r) / speed_mps, -u / speed_mps
            c_f = tyre_secant_n_per_rad(slip_f, stiffness_f, grip_f) / (speed_mps * blend)
            c_r = tyre_secant_n_per_rad(slip_r, stiffness_r, grip_r) / (speed_mps * blend)
            # (u, r)' = A (u, r) + b w
            b_u, b_r = u_by_f * c_f, l_f / inertia * c_f
            a_uu, a_ur = -b_u - u_by_r * c_r, -b_u * wheelbase_m - speed_mps
            a_ru, a_rr = -b_r + l_r / inertia * c_r, -b_r * wheelbase_m
            m_uu, m_rr = 1 - gh * a_uu, 1 - gh * a_rr
            scale = 1 / (m_uu * m_rr - gh * gh * a_ur * a_ru)
            du, dr = a_uu * u + a_ur * r + b_u * w_early, a_ru * u + a_rr * r + b_r * w_early
            du_1, dr_1 = scale * (m_rr * du + gh * a_ur * dr), scale * (gh * a_ru * du + m_uu * dr)
            u_1, r_1 = u + gh * du_1, r + gh * dr_1
            u_0, r_0 = u + (h_s - gh) * du_1, r + (h_s - gh) * dr_1
            du, dr = a_uu * u_0 + a_ur * r_0 + b_u * w, a_ru * u_0 + a_rr * r_0 + b_r * w
            u = u_0 + gh * scale * (m_rr * du + gh * a_ur * dr)
            r = r_0 + gh * scale * (gh * a_ru * du + m_uu * dr)
            u_mean, r_mean = (1 - _GAMMA) * u_1 + _GAMMA * u, (1 - _GAMMA) * r_1 + _GAMMA * r
        half = 0.5 * r_mean * h_s
        chord = h_s * (math.sin(half) / half if abs(half) > 1e-9 else 1.0)
        c, s = math.cos(heading + half), math.sin(heading + half)
        x += chord * (speed_mps * c - u_mean * s)
        y += chord * (speed_mps * s + u_mean * c)
        heading += 2.0 * half
    return VehicleState(x, y, heading, angle, u, r)
