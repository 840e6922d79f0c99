"""``lane/Procedural-v0``: the embedded world, fast and without display or OpenGL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from sim.camera import Camera
from sim.conventions import FRAME_RATE_HZ, road_wheel_angle_from_curvature, wrap_angle
from sim.errors import BadInputError
from sim.expert import PurePursuit
from sim.render import Renderer
from sim.road import random_road
from sim.scene import draw_scene
from sim.vehicle import VehicleConfig, VehicleState, advance

# One random stream for each cause: changing one leaves the others as they were.
_STREAMS = {"road": 0, "look": 1, "vehicle": 2, "start": 3}
DISPLAY_SCALE = 3
START_OPTIONS = ("along_road_m", "lateral_offset_m", "heading_error_rad")


@dataclass(frozen=True)
class ProceduralConfig:
    """Options of ``gymnasium.make("lane/Procedural-v0", ...)``.

    Attributes:
        episode_seconds: after this time the episode is truncated.
        min_radius_m, max_radius_m: range of the curves' radii.
        min_speed_mps, max_speed_mps: range of the constant speed of an episode; it is lowered where the
            tightest curve would ask for more than ``max_lateral_acceleration_mps2``.
        start_offset_m, start_heading_rad: the car starts this far off at most, uniformly drawn.
    """

    episode_seconds: float = 60.0
    min_radius_m: float = 40.0
    max_radius_m: float = 400.0
    min_speed_mps: float = 8.0
    max_speed_mps: float = 14.0
    max_lateral_acceleration_mps2: float = 3.5
    start_offset_m: float = 0.2
    start_heading_rad: float = 0.02

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (isinstance(value, (int, float)) and 0 <= value < float("inf")):
                raise BadInputError(f"expected a finite number of at least 0 for {name}, got {value!r}")
        if not 0 < self.episode_seconds <= 3600:
            raise BadInputError(f"expected episode_seconds in (0, 3600], got {self.episode_seconds}")
        for low, high in (("min_radius_m", "max_radius_m"), ("min_speed_mps", "max_speed_mps")):
            if not 0 < getattr(self, low) <= getattr(self, high):
                raise BadInputError(
                    f"expected 0 < {low} <= {high}, got {getattr(self, low)}, {getattr(self, high)}"
                )
        if self.min_radius_m < 20:
            raise BadInputError(
                f"expected min_radius_m >= 20 (the car turns on 10 m), got {self.min_radius_m}"
            )


class ProceduralEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """Keep a car in its lane on an endless variety of winding roads, seen by a front camera.

    | | |
    | --- | --- |
    | observation | uint8 (78, 200, 3), RGB camera picture |
    | action | float32 (1,), path curvature in 1/m, left positive, within +-0.1 |
    | step | ``1 / FRAME_RATE_HZ`` = 0.05 s |
    | reward | 1 - (offset / half lane width)^2, in [0, 1]; 0 on leaving the lane |
    | terminated | the middle of the rear axle left its lane: a crash |
    | truncated | ``episode_seconds`` are over |

    ``info``: ``lateral_offset_m``, ``heading_error_rad``, ``speed_mps``, ``dt_s``, ``distance_m`` (driven since
    the start), ``road_mask`` bool (78, 200), ``lane_half_width_m``, ``curvature_per_m`` (what the car does),
    ``road_curvature_per_m``.

    Every episode draws its road, its looks, its car and its start from the seed, each from a stream of its own.
    ``reset(options={"along_road_m": 120.0, "lateral_offset_m": 0.5, "heading_error_rad": 0.0})`` starts at a chosen
    place, the wheels turned as the road is there; ``distance_m`` still counts from the start.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": int(FRAME_RATE_HZ)}  # noqa: RUF012 (Gymnasium's name)

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        if render_mode not in (None, "rgb_array"):
            raise BadInputError(f"expected render_mode None or 'rgb_array', got {render_mode!r}")
        try:
            self.config = ProceduralConfig(**options)
        except TypeError:
            known = ", ".join(ProceduralConfig.__dataclass_fields__)
            raise BadInputError(
                f"unknown environment option in {sorted(options)}; known are {known}"
            ) from None
        self.render_mode = render_mode
        self.camera = Camera()
        self.vehicle = VehicleConfig()
        self.expert = PurePursuit()
        self.dt_s = 1.0 / FRAME_RATE_HZ
        limit = self.vehicle.max_curvature_per_m
        self.action_space = gymnasium.spaces.Box(-limit, limit, (1,), np.float32)
        shape = (self.camera.height_px, self.camera.width_px, 3)
        self.observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self._display: Renderer | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start the episode of ``seed``; without one the next seed comes from the env's own generator."""
        if unknown := (options or {}).keys() - START_OPTIONS:
            raise BadInputError(
                f"unknown start option in {sorted(unknown)}; known are {', '.join(START_OPTIONS)}"
            )
        super().reset(seed=seed)
        episode_seed = seed if seed is not None else int(self.np_random.integers(2**31))
        streams = {name: np.random.default_rng([episode_seed, key]) for name, key in _STREAMS.items()}
        config = self.config
        speed_mps = streams["vehicle"].uniform(config.min_speed_mps, config.max_speed_mps)
        grip_mps = np.sqrt(config.max_lateral_acceleration_mps2 * config.min_radius_m)
        self.speed_mps = float(min(speed_mps, grip_mps))
        self._s_m = float((options or {}).get("along_road_m", 5.0))
        if not 0 <= self._s_m <= 1e5:
            raise BadInputError(f"reset: expected along_road_m from 0 to 100 km, got {self._s_m}")
        length_m = self._s_m + self.speed_mps * config.episode_seconds + 200.0
        self.road = random_road(streams["road"], length_m, config.min_radius_m, config.max_radius_m)
        self.scene = draw_scene(streams["look"])
        self._renderer = Renderer(self.camera, self.scene)
        self._display = None
        start = streams["start"]
        offset_m = start.uniform(-config.start_offset_m, config.start_offset_m)
        error_rad = start.uniform(-config.start_heading_rad, config.start_heading_rad)
        offset_m = float((options or {}).get("lateral_offset_m", offset_m))
        error_rad = float((options or {}).get("heading_error_rad", error_rad))
        if not np.isfinite([offset_m, error_rad]).all():
            raise BadInputError(f"reset: expected a finite offset and heading, got {offset_m}, {error_rad}")
        x_m, y_m, heading = self.road.pose_at(self._s_m)
        self.state = VehicleState(
            x_m - offset_m * np.sin(heading),
            y_m + offset_m * np.cos(heading),
            heading + error_rad,
            float(
                road_wheel_angle_from_curvature(self.road.curvature_at(self._s_m), self.vehicle.wheelbase_m)
            ),
        )
        self._time_s, self._distance_m = 0.0, 0.0
        return self._observe()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Drive one time step with a commanded path curvature (1/m); it must be finite."""
        if np.size(action) != 1 or not np.isfinite(action).all():
            raise BadInputError(f"action: expected one finite curvature in 1/m, got {action}")
        command = float(np.asarray(action).reshape(-1)[0])
        self.state = advance(self.state, command, self.speed_mps, self.dt_s, self.vehicle)
        self._time_s += self.dt_s
        self._distance_m += self.speed_mps * self.dt_s
        observation, info = self._observe()
        share = info["lateral_offset_m"] / info["lane_half_width_m"]
        terminated = bool(abs(share) > 1.0)
        truncated = not terminated and self._time_s > self.config.episode_seconds - 0.5 * self.dt_s
        return observation, max(0.0, 1.0 - share * share), terminated, truncated, info

    def expert_curvature_per_m(self) -> float:
        """What the privileged teacher would command now (1/m)."""
        state = self.state
        command = self.expert.curvature_per_m(
            self.road, self._s_m, state.x_m, state.y_m, state.heading_rad, self.speed_mps
        )
        limit = self.vehicle.max_curvature_per_m
        return min(max(command, -limit), limit)

    def render(self) -> np.ndarray | None:
        """The camera's view at three times the size, for people: uint8 (234, 600, 3)."""
        if self.render_mode is None:
            return None
        if self._display is None:
            size = (self.camera.height_px * DISPLAY_SCALE, self.camera.width_px * DISPLAY_SCALE)
            self._display = Renderer(self.camera.resized(*size), self.scene)
        state = self.state
        return self._display.draw(self.road, self._s_m, state.x_m, state.y_m, state.heading_rad)[0]

    def _observe(self) -> tuple[np.ndarray, dict[str, Any]]:
        state = self.state
        self._s_m, offset_m, lane_heading = self.road.locate(state.x_m, state.y_m, self._s_m)
        picture, road_mask = self._renderer.draw(
            self.road, self._s_m, state.x_m, state.y_m, state.heading_rad
        )
        info = {
            "lateral_offset_m": offset_m,
            "heading_error_rad": float(wrap_angle(state.heading_rad - lane_heading)),
            "speed_mps": self.speed_mps,
            "dt_s": self.dt_s,
            "distance_m": self._distance_m,
            "road_mask": road_mask,
            "lane_half_width_m": self.scene.section.lane_width_m / 2,
            "curvature_per_m": float(np.tan(state.road_wheel_angle_rad) / self.vehicle.wheelbase_m),
            "road_curvature_per_m": self.road.curvature_at(self._s_m),
        }
        return picture, info
