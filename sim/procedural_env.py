"""``lane/Procedural-v0``: the embedded world, fast and without display or OpenGL."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar

import numpy as np

from sim.appearance.atmosphere import draw_atmosphere
from sim.appearance.scene import draw_scene
from sim.camera import Camera
from sim.changes import change_of
from sim.conventions import wrap_angle
from sim.errors import BadInputError
from sim.expert import PurePursuit
from sim.families import FAMILIES
from sim.lane_env import DISPLAY_SIZE, LaneEnv, config_of
from sim.poster import Posters, read_poster
from sim.procedural_config import ProceduralConfig
from sim.render import Renderer
from sim.road import Road, random_road
from sim.roadside.stretches import RoadsideStretches
from sim.seasons import SEASONS
from sim.speed import speed_profile
from sim.surface_class import SurfaceClass
from sim.vehicle import VehicleConfig, VehicleState, advance, path_curvature_per_m, steady_state
from sim.weathers import WEATHERS

_VEHICLE_OPTIONS = tuple(field.name for field in fields(VehicleConfig))

LOOK_AHEAD_S = 1.0
"""Of the expert, at the highest speed of the family or of the options."""
BEYOND_END_M = 250.0
"""Of the road, behind the farthest place that the car can reach: so far the camera sees."""


class ProceduralEnv(LaneEnv):
    """Keep a car in its lane on an endless variety of roads, seasons and weathers (see ``LaneEnv``).

    A step is ``1 / FRAME_RATE_HZ`` = 0.05 s. ``info`` has ``road_mask`` (paved surface), ``lane_mask`` (own lane),
    ``marking_mask`` and ``class_map`` in every frame, all of them exact and without what an object hides,
    ``road_curvature_per_m``, and ``setting`` with ``family``, ``season``, ``weather``.

    Options are the fields of ``ProceduralConfig`` and of ``sim.vehicle.VehicleConfig``. Every episode draws its
    setting, road, hills, appearance, roadside, air, car and start from the seed, each from a stream of its own.
    ``reset(options={"along_road_m": 120.0, "lateral_offset_m": 0.5, "heading_error_rad": 0.0})`` starts at a chosen
    place, the car running on the road's curvature; ``distance_m`` still counts from the start.
    """

    STREAMS: ClassVar[dict[str, int]] = {
        "road": 0,
        "appearance": 1,
        "vehicle": 2,
        "start": 3,
        "setting": 4,
        "hills": 5,
        "roadside": 6,
        "air": 7,
        "grain": 8,
    }

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        car = {name: options.pop(name) for name in list(options) if name in _VEHICLE_OPTIONS}
        self.config = config_of(ProceduralConfig, options, _VEHICLE_OPTIONS)
        self.car = VehicleConfig(**car)
        super().__init__("lane/Procedural-v0", self.config, self.car, self.config.camera, render_mode=render_mode)
        self._display: Renderer | None = None
        self._laid: tuple[int, float] | None = None
        self._poster = read_poster(self.config.poster) if self.config.poster else None

    def _begin(self, options: dict[str, Any]) -> float:
        self._s_m = float(options.get("along_road_m", 5.0))
        if not 0 <= self._s_m <= 1e5:
            raise BadInputError(f"reset: expected along_road_m from 0 to 100 km, got {self._s_m}")
        wanted = self._episode_seed, self._s_m
        if wanted != self._laid:  # the same episode once more needs nothing anew, and finds its ground painted
            self._laid = None
            self.setting = self.config.draw_setting(self._stream("setting"))
            self._lay_road()
            self._draw_appearance()
            self._laid = wanted
        return self._s_m

    def _put_car(self, along_m: float, offset_m: float, heading_error_rad: float) -> None:
        self._s_m = along_m
        x_m, y_m, heading = self.road.pose_at(along_m)
        self.speed_mps = self.road.interpolate(self._speed_mps, along_m)
        self.state: VehicleState = steady_state(
            x_m - offset_m * np.sin(heading),
            y_m + offset_m * np.cos(heading),
            heading + heading_error_rad,
            self.road.curvature_at(along_m),
            self.speed_mps,
            self.car,
        )

    def _road_here(self) -> tuple[Road, float, float]:
        return self.road, self._s_m, self.road.length_m - BEYOND_END_M

    def _lay_road(self) -> None:
        config, family = self.config, FAMILIES[self.setting["family"]]
        slowest, fastest = config.range_of("min_speed_mps", "max_speed_mps", family.name)
        top_speed_mps = float(self._stream("vehicle").uniform(slowest, fastest))
        self.expert = PurePursuit(LOOK_AHEAD_S * max(fastest, family.max_speed_mps), self.car.rear_slip_s2_per_m)
        tightest_m, widest_m = config.range_of("min_radius_m", "max_radius_m", family.name)
        self.road: Road = random_road(
            self._stream("road"),
            self._s_m + top_speed_mps * config.episode_seconds + BEYOND_END_M,
            tightest_m,
            widest_m,
            max_grade=family.max_grade if config.hills else 0.0,
            mean_straight_m=family.mean_straight_m,
            elevation_rng=self._stream("hills"),
            max_arc_turn_rad=family.max_arc_turn_rad,
            min_vertical_radius_m=family.min_vertical_radius_m,
        )
        self._speed_mps = speed_profile(self.road, top_speed_mps, config.max_lateral_acceleration_mps2)

    def _draw_appearance(self) -> None:
        family, season = FAMILIES[self.setting["family"]], SEASONS[self.setting["season"]]
        atmosphere = draw_atmosphere(self._stream("air"), season, WEATHERS[self.setting["weather"]])
        change = change_of(self.config.change)
        self.scene = draw_scene(self._stream("appearance"), family, atmosphere, self.config.lane_width_m, change)
        self.roadside = (
            RoadsideStretches(
                self._stream("roadside"), family.roadside, season, self.scene.section, self.road.length_m,
                change.without,
            )
            if self.config.roadside
            else None
        )  # fmt: skip
        self._renderer = self._renderer_of(self.camera)
        self._display = None

    def _renderer_of(self, camera: Camera) -> Renderer:
        nearest_vehicle = change_of(self.config.change).nearest_vehicle
        renderer = Renderer(camera, self.scene, self.roadside, self._stream("grain"), nearest_vehicle)
        if self._poster is not None:
            edge_m = self.scene.section.right_edge_m
            renderer.posters = Posters(self._poster, camera, self.scene.atmosphere, edge_m)
        return renderer

    def _advance(self, curvature_per_m: float) -> None:
        self.speed_mps = self.road.interpolate(self._speed_mps, self._s_m)
        self.state = advance(self.state, curvature_per_m, self.speed_mps, self.dt_s, self.car)

    def _lane_place(self) -> tuple[float, float, float]:
        state = self.state
        self._s_m, offset_m, lane_heading = self.road.locate(state.x_m, state.y_m, self._s_m)
        error_rad = float(wrap_angle(state.heading_rad - lane_heading))
        return offset_m, error_rad, self.scene.section.lane_width_m / 2

    def _driven_curvature_per_m(self) -> float:
        return path_curvature_per_m(self.state, self.speed_mps, self.car)

    def _expert_curvature_per_m(self) -> float:
        return self.expert.curvature_per_m(self.road, self._s_m, *self._pose(), self.speed_mps)

    def _see(self) -> tuple[np.ndarray, dict[str, Any]]:
        view = self._renderer.draw(self.road, self._s_m, *self._pose(), self._time_s)
        return view.picture, {
            "road_mask": view.road_mask,
            "lane_mask": view.lane_mask,
            "marking_mask": view.class_map == SurfaceClass.MARKING,
            "class_map": view.class_map,
            "road_curvature_per_m": self.road.curvature_at(self._s_m),
            "setting": dict(self.setting),
        }

    def _camera_view(self) -> np.ndarray:
        if self._display is None:
            self._display = self._renderer_of(self.camera.resized(*DISPLAY_SIZE))
        return self._display.draw(self.road, self._s_m, *self._pose(), self._time_s).picture

    def _pose(self) -> tuple[float, float, float]:
        return self.state.x_m, self.state.y_m, self.state.heading_rad

    def _map_lines(self) -> tuple[np.ndarray, float, float, float]:
        section = self.scene.section
        half_lane_m = section.lane_width_m / 2
        return self.road.points_near(self._s_m), section.left_edge_m, -section.right_edge_m, half_lane_m
