"""``lane/Procedural-v0``: the embedded world, fast and without display or OpenGL."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from sim.camera import Camera
from sim.conventions import FRAME_RATE_HZ, wrap_angle
from sim.errors import BadInputError
from sim.expert import PurePursuit
from sim.families import FAMILIES
from sim.lane_keeping import DISPLAY_SIZE, LaneEnv, check_start_options, config_of, curvature_of, draw_offsets
from sim.look.atmosphere import draw_atmosphere
from sim.look.scene import draw_scene
from sim.procedural_config import ProceduralConfig
from sim.render import Renderer
from sim.road import Road, random_road
from sim.roadside.placement import draw_roadside
from sim.speed import speed_profile
from sim.surface_class import SurfaceClass
from sim.vehicle import VehicleConfig, VehicleState, advance, path_curvature_per_m, steady_state

# One random stream for each cause: changing one leaves the others as they were.
_STREAMS = {
    "road": 0,
    "look": 1,
    "vehicle": 2,
    "start": 3,
    "setting": 4,
    "hills": 5,
    "roadside": 6,
    "air": 7,
    "grain": 8,
}
START_OPTIONS = ("along_road_m", "lateral_offset_m", "heading_error_rad")
_VEHICLE_OPTIONS = tuple(field.name for field in fields(VehicleConfig))


class ProceduralEnv(LaneEnv):
    """Keep a car in its lane on an endless variety of roads, seasons and weathers, seen by a front camera.

    | | |
    | --- | --- |
    | observation | uint8 (78, 200, 3), RGB camera picture |
    | action | float32 (1,), path curvature in 1/m, left positive, within +-0.1 |
    | step | ``1 / FRAME_RATE_HZ`` = 0.05 s |
    | reward | 1 - (offset / half lane width)^2, in [0, 1]; 0 on leaving the lane |
    | terminated | the middle of the rear axle left its lane: a crash |
    | truncated | ``episode_seconds`` are over |

    ``info``: ``lateral_offset_m``, ``heading_error_rad``, ``speed_mps``, ``dt_s``, ``distance_m`` (driven since
    the start), ``lane_half_width_m``, ``curvature_per_m`` (what the car does), ``road_curvature_per_m``,
    ``setting`` (``family``, ``season``, ``weather``); bool (78, 200) ``road_mask`` (paved surface), ``lane_mask``
    (own lane), ``marking_mask``, and uint8 ``class_map`` of ``sim.surface_class.SurfaceClass``: all of them exact,
    and without what an object hides. ``truncation`` says why, once the episode is truncated.

    Options are the fields of ``ProceduralConfig`` and of ``sim.vehicle.VehicleConfig``. Every episode draws its
    setting, road, hills, looks, roadside, air, car and start from the seed, each from a stream of its own.
    ``reset(options={"along_road_m": 120.0, "lateral_offset_m": 0.5, "heading_error_rad": 0.0})`` starts at a chosen
    place, the car running on the road's curvature; ``distance_m`` still counts from the start.
    """

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        car = {name: options.pop(name) for name in list(options) if name in _VEHICLE_OPTIONS}
        self.config: ProceduralConfig = config_of(ProceduralConfig, options, _VEHICLE_OPTIONS)
        self.vehicle = VehicleConfig(**car)
        super().__init__(
            "lane/Procedural-v0", render_mode, self.config.render_view, self.vehicle.max_curvature_per_m
        )
        self.camera = Camera()
        self.expert = PurePursuit(rear_slip_s2_per_m=self.vehicle.rear_slip_s2_per_m)
        self.dt_s = 1.0 / FRAME_RATE_HZ
        self._display: Renderer | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start the episode of ``seed``; without one the next seed comes from the env's own generator."""
        options = check_start_options(options, START_OPTIONS)
        super().reset(seed=seed)
        self._episode_seed = seed if seed is not None else int(self.np_random.integers(2**31))
        self._s_m = float(options.get("along_road_m", 5.0))
        if not 0 <= self._s_m <= 1e5:
            raise BadInputError(f"reset: expected along_road_m from 0 to 100 km, got {self._s_m}")
        self.setting = self.config.draw_setting(self._stream("setting"))
        self._lay_road()
        self._draw_looks()
        self._place_car(options)
        self._time_s, self._distance_m = 0.0, 0.0
        self._moved(is_new_episode=True)
        return self._observe()

    def _stream(self, cause: str) -> np.random.Generator:
        return np.random.default_rng([self._episode_seed, _STREAMS[cause]])

    def _lay_road(self) -> None:
        config, family = self.config, FAMILIES[self.setting["family"]]
        slowest, fastest = config.range_of("min_speed_mps", "max_speed_mps", family.name)
        top_speed_mps = float(self._stream("vehicle").uniform(slowest, fastest))
        tightest_m, widest_m = config.range_of("min_radius_m", "max_radius_m", family.name)
        self.road: Road = random_road(
            self._stream("road"),
            self._s_m + top_speed_mps * config.episode_seconds + 250.0,
            tightest_m,
            widest_m,
            max_grade=family.max_grade if config.hills else 0.0,
            mean_straight_m=family.mean_straight_m,
            elevation_rng=self._stream("hills"),
            max_arc_turn_rad=family.max_arc_turn_rad,
            min_vertical_radius_m=family.min_vertical_radius_m,
        )
        self._speed_mps = speed_profile(self.road, top_speed_mps, config.max_lateral_acceleration_mps2)

    def _draw_looks(self) -> None:
        family, season = self.setting["family"], self.setting["season"]
        atmosphere = draw_atmosphere(self._stream("air"), season, self.setting["weather"])
        self.scene = draw_scene(self._stream("look"), family, atmosphere, self.config.lane_width_m)
        self.roadside = (
            draw_roadside(self._stream("roadside"), family, season, self.scene.section, self.road.length_m)
            if self.config.roadside
            else None
        )
        self._renderer = Renderer(self.camera, self.scene, self.roadside, self._stream("grain"))
        self._display = None

    def _place_car(self, options: dict[str, Any]) -> None:
        offset_m, error_rad = draw_offsets(self._stream("start"), self.config, options)
        x_m, y_m, heading = self.road.pose_at(self._s_m)
        self.speed_mps = self.road.interpolate(self._speed_mps, self._s_m)
        self.state: VehicleState = steady_state(
            x_m - offset_m * np.sin(heading),
            y_m + offset_m * np.cos(heading),
            heading + error_rad,
            self.road.curvature_at(self._s_m),
            self.speed_mps,
            self.vehicle,
        )

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Drive one time step with a commanded path curvature (1/m); it must be finite."""
        command = curvature_of(action)
        self.speed_mps = self.road.interpolate(self._speed_mps, self._s_m)
        self.state = advance(self.state, command, self.speed_mps, self.dt_s, self.vehicle)
        self._time_s += self.dt_s
        self._distance_m += self.speed_mps * self.dt_s
        observation, info = self._observe()
        share = info["lateral_offset_m"] / info["lane_half_width_m"]
        terminated = bool(abs(share) > 1.0)
        truncated = not terminated and self._time_s > self.config.episode_seconds - 0.5 * self.dt_s
        if truncated:
            info["truncation"] = "end of time"
        self._moved(is_new_episode=False)
        return observation, max(0.0, 1.0 - share * share), terminated, truncated, info

    def expert_curvature_per_m(self) -> float:
        """What the privileged teacher would command now (1/m)."""
        state = self.state
        command = self.expert.curvature_per_m(
            self.road, self._s_m, state.x_m, state.y_m, state.heading_rad, self.speed_mps
        )
        limit = self.vehicle.max_curvature_per_m
        return min(max(command, -limit), limit)

    def _camera_view(self) -> np.ndarray:
        if self._display is None:
            self._display = Renderer(
                self.camera.resized(*DISPLAY_SIZE), self.scene, self.roadside, self._stream("grain")
            )
        state = self.state
        return self._display.draw(
            self.road, self._s_m, state.x_m, state.y_m, state.heading_rad, self._time_s
        ).picture

    def _pose(self) -> tuple[float, float, float]:
        return self.state.x_m, self.state.y_m, self.state.heading_rad

    def _map_lines(self) -> tuple[np.ndarray, float, float, float]:
        section = self.scene.section
        half_lane_m = section.lane_width_m / 2
        return self.road.points_near(self._s_m), section.left_edge_m, -section.right_edge_m, half_lane_m

    def _observe(self) -> tuple[np.ndarray, dict[str, Any]]:
        state = self.state
        self._s_m, offset_m, lane_heading = self.road.locate(state.x_m, state.y_m, self._s_m)
        view = self._renderer.draw(
            self.road, self._s_m, state.x_m, state.y_m, state.heading_rad, self._time_s
        )
        info = {
            "lateral_offset_m": offset_m,
            "heading_error_rad": float(wrap_angle(state.heading_rad - lane_heading)),
            "speed_mps": self.speed_mps,
            "dt_s": self.dt_s,
            "distance_m": self._distance_m,
            "road_mask": view.road_mask,
            "lane_mask": view.lane_mask,
            "marking_mask": view.class_map == SurfaceClass.MARKING,
            "class_map": view.class_map,
            "lane_half_width_m": self.scene.section.lane_width_m / 2,
            "curvature_per_m": path_curvature_per_m(state, self.speed_mps, self.vehicle),
            "road_curvature_per_m": self.road.curvature_at(self._s_m),
            "setting": dict(self.setting),
        }
        return view.picture, info
