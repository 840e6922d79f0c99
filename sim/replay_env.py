"""``lane/Replay-v0``: closed loop on a recorded drive, its frames re-projected to where the car is."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, wrap_angle
from sim.drive import FACTS, Drive, load_drive, parse_drive_spec
from sim.errors import BadInputError
from sim.expert import recovery_curvature_per_m
from sim.lane_env import Info, LaneEnv, config_of
from sim.odometry import RecordedPath, recorded_paths, speed_of
from sim.replay_config import ReplayConfig
from sim.road import Road
from sim.vehicle import VehicleConfig, VehicleState, advance, path_curvature_per_m, steady_state
from sim.viewpoint import Move, Viewpoint, camera_move

SHORTEST_EPISODE_S = 2.0
"""No episode begins nearer to the end of its stretch of the recording."""
STANDING_M = 0.01


class ReplayEnv(LaneEnv):
    """Keep a car on the path of a recorded drive, seen through the recorded camera (see ``LaneEnv``).

    The recorded frame taken nearest is re-projected (``sim.viewpoint``); a step is the recording's own time from one
    row to the next, at the recorded speed. ``info["truncation"]`` is ``"end of recording"``, ``"end of time"``,
    ``"gap"`` (in the recording's times), ``"beyond support: lateral"`` or ``"beyond support: heading"`` (a deviation
    that the frames cannot show): neither a crash nor a success.

    **Offset and heading error are against the path that was driven**, the integral of recorded curvature and speed,
    and a person's path is not the middle of the lane. The recorded curvature must be the executed one: a recording
    with disturbances, whose labels steer back while the car was pushed away, has another path than its labels.

    ``info`` has ``recorded_curvature_per_m`` and ``row`` (of the frame shown), ``unseen_share`` (of the picture,
    invented by repeating its border), ``episode_seconds_available``, and ``road_mask`` where the row's is known.

    The seed draws the place and the start, each from a stream of its own. ``reset(options=...)`` takes
    ``lateral_offset_m``, ``heading_error_rad`` (both cut to the support, and the offset to the lane), and either
    ``row`` or ``along_road_m``, the distance from the beginning of the recording, which begins again at its end.
    """

    START_OPTIONS: ClassVar[tuple[str, ...]] = (*LaneEnv.START_OPTIONS, "row")
    STREAMS: ClassVar[dict[str, int]] = {"place": 0, "start": 1}

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        self.config = config = config_of(ReplayConfig, options)
        self.drive = _drive_of(config.drive)
        self.drive.check_aspect(FRAME_HEIGHT_PX, FRAME_WIDTH_PX)
        wheelbase_m = self.drive.meta.vehicle.wheelbase_m or VehicleConfig.wheelbase_m
        self.car = VehicleConfig(
            wheelbase_m=wheelbase_m,
            front_axle_m=0.4 * wheelbase_m,
            steering_delay_s=config.steering_delay_s,
            steering_lag_s=config.steering_lag_s,
            blend_min_mps=1e3,  # no tyre slip: the recorded path has none either
            blend_max_mps=2e3,
        )
        camera = self.drive.camera.resized(FRAME_HEIGHT_PX, FRAME_WIDTH_PX)
        dt_s = float(np.median(self.drive.dt_s()))
        super().__init__("lane/Replay-v0", config, self.car, camera, dt_s, render_mode)
        self._viewpoint = Viewpoint(self.drive.camera)
        shift_m, yaw_rad = self._viewpoint.support(config.max_unseen_share)
        self.max_shift_m, self.max_yaw_rad = config.max_shift_m or shift_m, config.max_yaw_rad or yaw_rad
        self._lay_paths()

    def _lay_paths(self) -> None:
        """The recorded paths that are long enough, and in each of them the rows where an episode may begin."""
        config, drive = self.config, self.drive
        if drive.speed_mps is None and config.speed_mps is not None:
            speed_mps = np.full(len(drive), config.speed_mps)
        else:
            speed_mps = speed_of(drive)
        paths = recorded_paths(drive, speed_mps)
        self._paths = [path for path in paths if path.time_s[-1] >= SHORTEST_EPISODE_S]
        if not self._paths:
            raise BadInputError(
                f"lane/Replay-v0: expected a drive with at least {SHORTEST_EPISODE_S:g} s without a gap, "
                f"got {len(drive)} rows in {len(drive.segments())} stretches; give a longer one"
            )
        self._n_starts = [
            int(np.searchsorted(path.time_s, path.time_s[-1] - SHORTEST_EPISODE_S + 1e-9, side="right"))
            for path in self._paths
        ]

    # Where an episode begins ---------------------------------------------------------------------------------

    def _begin(self, options: dict[str, Any]) -> float:
        self._path, along_m = self._draw_place(self._stream("place"), options)
        left_s = float(self._path.time_s[-1] - self._path.time_s[self._path.nearest(along_m)])
        self._available_s = min(self.config.episode_seconds, left_s)
        return along_m

    def _put_car(self, along_m: float, offset_m: float, heading_error_rad: float) -> None:
        self._s_m, self._i, config = along_m, self._path.nearest(along_m), self.config
        widest_m = 0.95 * min(self.max_shift_m, 0.5 * config.lane_width_m)
        offset_m = min(max(offset_m, -widest_m), widest_m)
        error_rad = min(max(heading_error_rad, -0.95 * self.max_yaw_rad), 0.95 * self.max_yaw_rad)
        x_m, y_m, heading = self._path.road.pose_at(self._s_m)
        x_m, y_m = x_m - offset_m * math.sin(heading), y_m + offset_m * math.cos(heading)
        self.speed_mps = float(self._path.step_mps[min(self._i, len(self._path) - 2)])
        self.state: VehicleState = steady_state(
            x_m, y_m, heading + error_rad, self._recorded_curvature(), self.speed_mps, self.car
        )

    def _road_here(self) -> tuple[Road, float, float]:
        return self._path.road, self._s_m, float(self._path.s_m[-1])

    def _draw_place(self, rng: np.random.Generator, options: dict[str, Any]) -> tuple[RecordedPath, float]:
        """The stretch of the recording and the arc length in it."""
        if "along_road_m" in options:
            return self._place_along(float(options["along_road_m"]))
        if "row" in options:
            row = int(options["row"])
            for path, n_starts in zip(self._paths, self._n_starts, strict=True):
                if path.start_row <= row < path.start_row + n_starts:
                    return path, float(path.s_m[row - path.start_row])
            raise BadInputError(
                f"reset: expected a row with {SHORTEST_EPISODE_S:g} s of the recording behind it, got {row}"
            )
        if self.config.start_every_s > 0:
            starts = [
                (path, float(path.s_m[i]))
                for path, n_starts in zip(self._paths, self._n_starts, strict=True)
                for i in np.unique(
                    np.searchsorted(
                        path.time_s, np.arange(0, path.time_s[n_starts - 1] + 1e-9, self.config.start_every_s)
                    )
                )
            ]
            return starts[self._episode_seed % len(starts)]
        k = int(rng.integers(sum(self._n_starts)))
        for path, n_starts in zip(self._paths, self._n_starts, strict=True):
            if k < n_starts:
                return path, float(path.s_m[k])
            k -= n_starts
        raise AssertionError("drawn below the sum")

    def _place_along(self, along_m: float) -> tuple[RecordedPath, float]:
        if not 0 <= along_m <= 1e6:
            raise BadInputError(f"reset: expected along_road_m from 0 to 1000 km, got {along_m}")
        lengths_m = [float(path.s_m[n - 1]) for path, n in zip(self._paths, self._n_starts, strict=True)]
        along_m = math.fmod(along_m, sum(lengths_m)) if sum(lengths_m) > 0 else 0.0
        for path, length_m in zip(self._paths, lengths_m, strict=True):
            if along_m <= length_m:
                return path, along_m
            along_m -= length_m
        return self._paths[-1], lengths_m[-1]

    # Driving -------------------------------------------------------------------------------------------------

    def _advance(self, curvature_per_m: float) -> None:
        path, i = self._path, min(self._i, len(self._path) - 2)
        self.speed_mps = float(path.step_mps[i])
        self.step_s = float(path.time_s[i + 1] - path.time_s[i])
        self.state = advance(self.state, curvature_per_m, self.speed_mps, self.step_s, self.car)
        self._s_m = path.road.locate(self.state.x_m, self.state.y_m, self._s_m)[0]
        # Where the recorded car stands, time goes on instead of the way.
        standing = self.speed_mps * self.step_s < STANDING_M
        self._i = i + 1 if standing else max(self._i, path.nearest(self._s_m))

    def _early_end(self, info: Info) -> str | None:
        if abs(info["lateral_offset_m"]) > self.max_shift_m:
            return "beyond support: lateral"
        if abs(info["heading_error_rad"]) > self.max_yaw_rad:
            return "beyond support: heading"
        if self._i >= len(self._path) - 1:
            is_last = self._path.start_row + len(self._path) == len(self.drive)
            return "end of recording" if is_last else "gap"
        return None

    def _recorded_curvature(self) -> float:
        return float(np.interp(self._s_m, self._path.s_m, self._path.curvature_per_m))

    def _expert_curvature_per_m(self) -> float:
        """What leads back to the recorded path: its curvature here, and on the path nothing else."""
        offset_m, error_rad, _ = self._lane_place()
        back = recovery_curvature_per_m(offset_m, error_rad, self.speed_mps)
        return self._recorded_curvature() + float(back)

    def _lane_place(self) -> tuple[float, float, float]:
        state = self.state
        _, offset_m, heading = self._path.road.locate(state.x_m, state.y_m, self._s_m)
        return offset_m, float(wrap_angle(state.heading_rad - heading)), 0.5 * self.config.lane_width_m

    def _driven_curvature_per_m(self) -> float:
        return float(path_curvature_per_m(self.state, self.speed_mps, self.car))

    # What is seen --------------------------------------------------------------------------------------------

    def _pose(self) -> tuple[float, float, float]:
        return self.state.x_m, self.state.y_m, self.state.heading_rad

    def _map_lines(self) -> tuple[np.ndarray, float, float, float]:
        """Of the road only the recorded path and a lane around it are known."""
        half_m = self.config.lane_width_m / 2
        return self._path.road.points_near(self._s_m), half_m, half_m, half_m

    def _camera_view(self) -> np.ndarray:
        """The same view, larger if the recording is."""
        row = self._path.start_row + self._i
        scale = max(3 * FRAME_HEIGHT_PX / self.drive.camera.height_px, 1.0)
        size = [math.ceil(scale * n - 1e-6) for n in self.drive.frames.shape[1:3]]
        return Viewpoint(self.drive.camera, *size).frame(self.drive.frames[row], self._move())

    def _move(self) -> Move:
        """Pose of the camera in the axes of the camera that took the frame shown."""
        x_m, y_m, heading = self._path.road.pose_at(float(self._path.s_m[self._i]))
        dx, dy = self.state.x_m - x_m, self.state.y_m - y_m
        c, s = math.cos(heading), math.sin(heading)
        yaw_rad = float(wrap_angle(self.state.heading_rad - heading))
        return camera_move(dx * c + dy * s, dy * c - dx * s, yaw_rad, self.config.camera_forward_m)

    def _see(self) -> tuple[np.ndarray, dict[str, Any]]:
        drive, move = self.drive, self._move()
        row = self._path.start_row + self._i
        known: dict[str, Any] = {
            "recorded_curvature_per_m": float(drive.curvature_per_m[row]),
            "row": row,
            "unseen_share": self._viewpoint.unseen_share(move),
            "episode_seconds_available": self._available_s,
        }
        if drive.road_masks is not None and (drive.road_mask_known is None or drive.road_mask_known[row]):
            known["road_mask"] = self._viewpoint.mask(drive.road_masks[row], move)
        return self._viewpoint.frame(drive.frames[row], move), known


def _drive_of(source: str | Path | Drive | None) -> Drive:
    if isinstance(source, Drive):
        return source
    folder, _ = parse_drive_spec(str(source))
    facts = folder / FACTS
    return _loaded(str(source), facts.stat().st_mtime_ns if facts.is_file() else 0)


@functools.lru_cache(maxsize=2)
def _loaded(spec: str, stamp_ns: int) -> Drive:
    """Environments of one recording share its frames; ``stamp_ns`` tells a recording that was written anew."""
    return load_drive(spec, masks=True)
