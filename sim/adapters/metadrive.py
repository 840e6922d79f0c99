"""``lane/MetaDrive-v0``: an independent physics simulator behind our contract, without display and graphics card.

MetaDrive (Li et al., "MetaDrive: Composing Diverse Driving Scenarios for Generalizable RL", TPAMI 2022): rigid bodies,
suspension and tyre friction by Bullet, roads of MetaDrive's own blocks, drawn by panda3d.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sim.adapters.metadrive_assets import DAYLIGHTS, ROAD_REGION_M
from sim.adapters.metadrive_config import CarFacts, MetaDriveConfig
from sim.adapters.metadrive_process import check_installed, claim, release, start_engine
from sim.adapters.metadrive_route import draw_route
from sim.camera import Camera
from sim.conventions import road_wheel_angle_from_curvature, wrap_angle
from sim.errors import BadInputError
from sim.expert import PurePursuit
from sim.lane_env import DISPLAY_SIZE, Info, LaneEnv, config_of
from sim.road import Road
from sim.speed import speed_profile

if TYPE_CHECKING:
    from sim.adapters.metadrive_engine import RoadEngine

LANE_HALF_WIDTH_M = 1.75
CAMERA_FORWARD_M = 1.5
"""The lens is this far ahead of the rear axle, as in the embedded world."""
REAR_SLIP_S2_PER_M = 0.002
"""Measured: slip angle of the rear axle for each m/s^2 of lateral acceleration."""
FIRST_START_M, END_MARGIN_M = 5.0, 30.0
"""Episodes begin at least so far from the start of the map and end this far before its end, where the road stops."""
_ROAD_MARGIN_M = 25.0


class MetaDriveEnv(LaneEnv):
    """Keep a car in its lane on MetaDrive's roads (see ``LaneEnv``).

    A step is 0.05 s: five physics steps of 0.01 s, half of MetaDrive's own, at the rate of the other worlds.
    ``info["truncation"]`` is the end of time or of the map, or a collision. ``info`` has ``road_mask`` (road and its
    lines, without what cars hide; drawn in the same pass as the picture) and ``road_curvature_per_m``; ``speed_mps`` is
    of the rear axle over the last step.

    The road is two lanes of 3.5 m, one for each direction, on level ground. Every episode draws its road, its sky and
    light and its start from the seed, each from a stream of its own. ``reset(options={"along_road_m": 120.0,
    "lateral_offset_m": 0.5, "heading_error_rad": 0.0})`` starts at a chosen place, clipped to the map.

    MetaDrive has one engine for a process: it belongs to the first environment that is reset, until that is closed.
    The camera is fixed to the body, which dips and rolls with the springs: by about a pixel at most in a curve.
    """

    MAX_PER_PROCESS: ClassVar[int | None] = 1
    STREAMS: ClassVar[dict[str, int]] = {"road": 0, "daylight": 1, "start": 3}

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        self.config = config_of(MetaDriveConfig, options)
        self.car = CarFacts()
        super().__init__("lane/MetaDrive-v0", self.config, self.car, Camera(), render_mode=render_mode)
        check_installed()
        self.expert = PurePursuit(max(0.8 * self.config.speed_mps, 8.0), REAR_SLIP_S2_PER_M)
        self._engine: RoadEngine | None = None
        self._s_m = FIRST_START_M
        self._rear_axle: tuple[float, float, float]  # of the middle of the rear axle, in MetaDrive's world

    def _begin(self, options: dict[str, Any]) -> float:
        config = self.config
        side_m = ROAD_REGION_M - 2 * _ROAD_MARGIN_M
        blocks, self.road = draw_route(
            self._stream("road"), config.map, config.min_radius_m, config.max_radius_m, side_m
        )
        self._speed_profile_mps = speed_profile(self.road, config.speed_mps, config.max_lateral_acceleration_mps2)
        s_m = float(options.get("along_road_m", FIRST_START_M))
        if not math.isfinite(s_m):
            raise BadInputError(f"reset: expected a finite along_road_m, got {s_m}")
        engine = self._started_engine()
        self._origin_m = (-_middle(self.road.x_m), -_middle(self.road.y_m))
        _draw_daylight(engine, self._stream("daylight"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            engine.drive_map(self._episode_seed % 2**31, blocks, self._origin_m)
        return min(max(s_m, FIRST_START_M), self._last_start_m())

    def _advance(self, curvature_per_m: float) -> None:
        engine, car = self._engine_or_error(), self.car
        command = min(max(curvature_per_m, -car.max_curvature_per_m), car.max_curvature_per_m)
        angle_rad = float(road_wheel_angle_from_curvature(command, car.wheelbase_m))
        x_m, y_m, heading = self._rear_axle
        engine.drive(angle_rad / car.max_road_wheel_angle_rad, self._throttle())
        self._rear_axle = engine.rear_axle()
        moved_m = math.hypot(self._rear_axle[0] - x_m, self._rear_axle[1] - y_m)
        self.speed_mps = moved_m / self.dt_s
        turned = float(wrap_angle(self._rear_axle[2] - heading))
        self._curvature_per_m = turned / moved_m if moved_m > 0.01 else command

    def _lane_place(self) -> tuple[float, float, float]:
        x_m, y_m, heading = self._pose()
        self._s_m, offset_m, lane_heading = self.road.locate(x_m, y_m, self._s_m)
        return offset_m, float(wrap_angle(heading - lane_heading)), LANE_HALF_WIDTH_M

    def _driven_curvature_per_m(self) -> float:
        return self._curvature_per_m

    def _expert_curvature_per_m(self) -> float:
        return self.expert.curvature_per_m(self.road, self._s_m, *self._pose(), self.speed_mps)

    def _early_end(self, info: Info) -> str | None:
        if self._engine_or_error().collided():
            return "collision"
        return "end of map" if self._s_m > self.road.length_m - END_MARGIN_M else None

    def _see(self) -> tuple[np.ndarray, dict[str, Any]]:
        picture, road_mask = self._engine_or_error().picture_and_road()
        return picture, {"road_mask": road_mask, "road_curvature_per_m": self.road.curvature_at(self._s_m)}

    def _camera_view(self) -> np.ndarray:
        return self._engine_or_error().display_picture()

    def _pose(self) -> tuple[float, float, float]:
        """Of the middle of the rear axle on the road's own plan, which MetaDrive's world is shifted against."""
        x_m, y_m, heading = self._rear_axle
        return x_m - self._origin_m[0], y_m - self._origin_m[1], heading

    def _map_lines(self) -> tuple[np.ndarray, float, float, float]:
        return self.road.points_near(self._s_m), 3 * LANE_HALF_WIDTH_M, LANE_HALF_WIDTH_M, LANE_HALF_WIDTH_M

    def close(self) -> None:
        """Free the process's one engine, and the window if there is one."""
        super().close()
        release(self)
        self._engine = None

    def _started_engine(self) -> RoadEngine:
        if self._engine is None:
            claim(self)
            camera = self.camera
            display = camera.resized(*DISPLAY_SIZE) if self.render_mode is not None else None
            self._engine = start_engine(self.config, camera, display, CAMERA_FORWARD_M)
        return self._engine

    def _engine_or_error(self) -> RoadEngine:
        if self._engine is None:
            raise BadInputError("MetaDrive: expected reset() before step() and render(), got no episode")
        return self._engine

    def _last_start_m(self) -> float:
        return self.road.length_m - 2 * END_MARGIN_M

    def _road_here(self) -> tuple[Road, float, float]:
        return self.road, self._s_m, self._last_start_m()

    def _put_car(self, along_m: float, offset_m: float, heading_error_rad: float) -> None:
        x_m, y_m, heading = self.road.pose_at(along_m)
        self._s_m, self.speed_mps = along_m, self._target_speed_mps(along_m)
        self._curvature_per_m = self.road.curvature_at(along_m)
        engine = self._engine_or_error()
        engine.place(
            x_m - offset_m * math.sin(heading) + self._origin_m[0],
            y_m + offset_m * math.cos(heading) + self._origin_m[1],
            heading + heading_error_rad,
            self.speed_mps,
        )
        self._rear_axle = engine.rear_axle()

    def _target_speed_mps(self, s_m: float) -> float:
        return self.road.interpolate(self._speed_profile_mps, s_m)

    def _throttle(self) -> float:
        target_mps = self._target_speed_mps(self._s_m + self.speed_mps * self.dt_s)
        for gap_m, speed_mps in self._cars_ahead():
            target_mps = min(target_mps, max(speed_mps + 0.3 * (gap_m - 12.0), 0.0))
        return min(max(0.5 * (target_mps - self.speed_mps), -1.0), 1.0)

    def _cars_ahead(self) -> list[tuple[float, float]]:
        """(gap, speed) of the cars on our lane within 40 m."""
        if self.config.traffic_density == 0:
            return []
        x_m, y_m, heading = self._rear_axle
        ahead = []
        for other_x_m, other_y_m, speed_mps in self._engine_or_error().other_cars():
            distance_m = math.hypot(other_x_m - x_m, other_y_m - y_m)
            bearing = float(wrap_angle(math.atan2(other_y_m - y_m, other_x_m - x_m) - heading))
            if distance_m < 40.0 and abs(bearing) < 1.2:
                place = (other_x_m - self._origin_m[0], other_y_m - self._origin_m[1])
                _, offset_m, _ = self.road.locate(*place, self._s_m + distance_m)
                if abs(offset_m) < LANE_HALF_WIDTH_M:
                    ahead.append((distance_m, speed_mps))
        return ahead


def _middle(values: np.ndarray) -> float:
    return float(values.min() + values.max()) / 2


def _draw_daylight(engine: RoadEngine, rng: np.random.Generator) -> None:
    daylight = DAYLIGHTS[int(rng.integers(len(DAYLIGHTS)))]
    dryness = rng.uniform(0.0, 1.0)
    tint = (0.85 + 0.4 * dryness, 0.95 + 0.1 * dryness, 0.9 + 0.1 * dryness)
    engine.set_daylight(daylight, rng.uniform(-math.pi, math.pi), tint, rng.uniform(0.75, 1.15))
