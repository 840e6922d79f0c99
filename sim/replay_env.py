"""``lane/Replay-v0``: closed loop on a recorded drive, its frames re-projected to where the car is."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, wrap_angle
from sim.drive import FACTS, Drive, load_drive, parse_drive_spec
from sim.errors import BadInputError
from sim.lane_keeping import LaneEnv, check_start_options, config_of, curvature_of, draw_offsets
from sim.odometry import RecordedPath, recorded_paths, speed_of
from sim.vehicle import VehicleConfig, VehicleState, advance, path_curvature_per_m, steady_state
from sim.viewpoint import Move, Viewpoint, camera_move

_STREAMS = {"place": 0, "start": 1}
START_OPTIONS = ("along_road_m", "row", "lateral_offset_m", "heading_error_rad")
SHORTEST_EPISODE_S = 2.0
"""No episode begins nearer to the end of its stretch of the recording."""
RECOVERY_S, MIN_RECOVERY_M = 1.5, 6.0
"""The teacher's circle meets the recorded path again after this time, and not nearer than that."""
STANDING_M = 0.01
MAX_ASPECT_ERROR = 0.02


@dataclass(frozen=True)
class ReplayConfig:
    """Options of ``gymnasium.make("lane/Replay-v0", drive=..., ...)``.

    Attributes:
        drive: ``FOLDER`` or ``FOLDER@A:B`` (rows, B not included) of a recorded drive, or a ``sim.drive.Drive``.
        episode_seconds: after this time the episode is truncated.
        lane_width_m: half of it is how far the car may leave the recorded path before that is a crash.
        start_offset_m, start_heading_rad: the car starts this far off at most, uniformly drawn.
        start_every_s: 0 draws the place of the start from the seed; above 0, seed k starts k times as many seconds
            into the recording (from its beginning again after the last one), so that seeds 0:n cover it evenly.
        max_unseen_share: the deviation to a side and in heading each end where, alone, they would leave this share
            of the picture without a recorded pixel.
        max_shift_m, max_yaw_rad: the same limits said outright; None derives them.
        speed_mps: of a drive whose speed was not recorded; None estimates it from the pictures.
        camera_forward_m: from the rear axle to the lens.
        steering_delay_s, steering_lag_s: of the car. 0 because a recorded curvature is one that was driven, so
            what the steering took to get there is in the recording already.
        render_view: what ``render`` shows: ``camera``, ``birds_eye`` or ``both``.
    """

    drive: str | Path | Drive | None = None
    episode_seconds: float = 60.0
    lane_width_m: float = 3.66
    start_offset_m: float = 0.2
    start_heading_rad: float = 0.02
    start_every_s: float = 0.0
    max_unseen_share: float = 0.25
    max_shift_m: float | None = None
    max_yaw_rad: float | None = None
    speed_mps: float | None = None
    camera_forward_m: float = 1.5
    steering_delay_s: float = 0.0
    steering_lag_s: float = 0.0
    render_view: str = "camera"

    def __post_init__(self) -> None:
        if not isinstance(self.drive, (str, Path, Drive)) or self.drive == "":
            raise BadInputError(
                f"lane/Replay-v0: expected a recorded drive, got {self.drive!r}; name one with "
                "--env-option drive=FOLDER or gymnasium.make(..., drive=FOLDER)"
            )
        may_be_none = {"max_shift_m", "max_yaw_rad", "speed_mps"}
        above_0 = {"lane_width_m", *may_be_none}
        for name, value in vars(self).items():
            if name in ("drive", "render_view") or (value is None and name in may_be_none):
                continue
            number = isinstance(value, (int, float)) and math.isfinite(value)
            if not number or value < 0 or (value == 0 and name in above_0):
                kind = "above 0" if name in above_0 else "of at least 0"
                raise BadInputError(f"expected a finite number {kind} for {name}, got {value!r}")
        if not 0 < self.episode_seconds <= 3600:
            raise BadInputError(f"expected episode_seconds in (0, 3600], got {self.episode_seconds}")
        if not 0 < self.max_unseen_share < 1:
            raise BadInputError(f"expected max_unseen_share between 0 and 1, got {self.max_unseen_share}")
        if (self.max_yaw_rad or 0.0) > 1.2:
            raise BadInputError(f"expected max_yaw_rad of at most 1.2, got {self.max_yaw_rad}")


class ReplayEnv(LaneEnv):
    """Keep a car on the path of a recorded drive, seen through the recorded camera.

    | | |
    | --- | --- |
    | observation | uint8 (78, 200, 3), RGB: the recorded frame taken nearest, re-projected (``sim.viewpoint``) |
    | action | float32 (1,), path curvature in 1/m, left positive, within +-0.1 |
    | step | the recording's own time from one row to the next, at the recorded speed |
    | reward | 1 - (offset / half lane width)^2, in [0, 1]; 0 on leaving the lane |
    | terminated | the middle of the rear axle is half a lane width off the recorded path: a crash |
    | truncated | ``info["truncation"]`` is ``"end of recording"``, ``"end of time"``, ``"gap"`` (in the recording's |
    | | times), ``"beyond support: lateral"`` or ``"beyond support: heading"`` (a deviation that the frames |
    | | cannot show): neither a crash nor a success |

    **Offset and heading error are against the path that was driven**, the integral of recorded curvature and speed,
    and a person's path is not the middle of the lane. The recorded curvature must be the executed one: a recording
    with disturbances, whose labels steer back while the car was pushed away, has another path than its labels.

    ``info``: ``lateral_offset_m``, ``heading_error_rad``, ``speed_mps``, ``dt_s``, ``distance_m`` (driven since the
    start), ``lane_half_width_m``, ``curvature_per_m`` (what the car does), ``recorded_curvature_per_m`` and ``row``
    (of the frame shown), ``unseen_share`` (of the picture, invented by repeating its border), ``setting`` ({}),
    ``episode_seconds_available`` (until time or recording end, from the start), ``road_mask`` bool (78, 200) where
    the row's is known, ``truncation`` once truncated.

    The seed draws the place and the start, each from a stream of its own. ``reset(options=...)`` takes
    ``lateral_offset_m``, ``heading_error_rad`` (both cut to the support, and the offset to the lane), and either
    ``row`` or ``along_road_m``, the distance from the beginning of the recording, which begins again at its end.
    """

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        self.config: ReplayConfig = config_of(ReplayConfig, options)
        config = self.config
        super().__init__("lane/Replay-v0", render_mode, config.render_view, VehicleConfig.max_curvature_per_m)
        self.drive = _drive_of(config.drive)
        _check_aspect(self.drive)
        self.camera = self.drive.camera.resized(FRAME_HEIGHT_PX, FRAME_WIDTH_PX)
        self._viewpoint = Viewpoint(self.drive.camera)
        shift_m, yaw_rad = self._viewpoint.support(config.max_unseen_share)
        self.max_shift_m, self.max_yaw_rad = config.max_shift_m or shift_m, config.max_yaw_rad or yaw_rad
        wheelbase_m = self.drive.meta.vehicle.wheelbase_m or VehicleConfig.wheelbase_m
        self.vehicle = VehicleConfig(
            wheelbase_m=wheelbase_m,
            front_axle_m=0.4 * wheelbase_m,
            steering_delay_s=config.steering_delay_s,
            steering_lag_s=config.steering_lag_s,
            blend_min_mps=1e3,  # no tyre slip: the recorded path has none either
            blend_max_mps=2e3,
        )
        self._lay_paths()
        self.dt_s = float(np.median(self.drive.dt_s()))

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

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start the episode of ``seed``; without one the next seed comes from the env's own generator."""
        options = check_start_options(options, START_OPTIONS)
        super().reset(seed=seed)
        episode_seed = seed if seed is not None else int(self.np_random.integers(2**31))
        place, start = (np.random.default_rng([episode_seed, key]) for key in _STREAMS.values())
        self._path, self._s_m = self._place(episode_seed, place, options)
        self._i = self._path.nearest(self._s_m)
        config = self.config
        offset_m, error_rad = draw_offsets(start, config, options)
        widest_m = 0.95 * min(self.max_shift_m, 0.5 * config.lane_width_m)
        offset_m = min(max(offset_m, -widest_m), widest_m)
        error_rad = min(max(error_rad, -0.95 * self.max_yaw_rad), 0.95 * self.max_yaw_rad)
        x_m, y_m, heading = self._path.road.pose_at(self._s_m)
        x_m, y_m = x_m - offset_m * math.sin(heading), y_m + offset_m * math.cos(heading)
        self._speed_mps = float(self._path.step_mps[min(self._i, len(self._path) - 2)])
        self.state: VehicleState = steady_state(
            x_m, y_m, heading + error_rad, self._recorded_curvature(), self._speed_mps, self.vehicle
        )
        left_s = float(self._path.time_s[-1] - self._path.time_s[self._i])
        self._available_s = min(config.episode_seconds, left_s)
        self._time_s, self._distance_m, self._dt_s = 0.0, 0.0, self.dt_s
        self._moved(is_new_episode=True)
        return self._observe()

    def _place(
        self, seed: int, rng: np.random.Generator, options: dict[str, Any]
    ) -> tuple[RecordedPath, float]:
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
            return starts[seed % len(starts)]
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

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Drive to the next row with a commanded path curvature (1/m); it must be finite."""
        command = curvature_of(action)
        path, i = self._path, min(self._i, len(self._path) - 2)
        self._speed_mps = float(path.step_mps[i])
        self._dt_s = float(path.time_s[i + 1] - path.time_s[i])
        self.state = advance(self.state, command, self._speed_mps, self._dt_s, self.vehicle)
        self._time_s += self._dt_s
        self._distance_m += self._speed_mps * self._dt_s
        self._s_m = path.road.locate(self.state.x_m, self.state.y_m, self._s_m)[0]
        # Where the recorded car stands, time goes on instead of the way.
        standing = self._speed_mps * self._dt_s < STANDING_M
        self._i = i + 1 if standing else max(self._i, path.nearest(self._s_m))
        observation, info = self._observe()
        share = info["lateral_offset_m"] / info["lane_half_width_m"]
        terminated = bool(abs(share) > 1.0)
        reason = None if terminated else self._truncation(info)
        if reason:
            info["truncation"] = reason
        self._moved(is_new_episode=False)
        return observation, max(0.0, 1.0 - share * share), terminated, reason is not None, info

    def _truncation(self, info: dict[str, Any]) -> str | None:
        if abs(info["lateral_offset_m"]) > self.max_shift_m:
            return "beyond support: lateral"
        if abs(info["heading_error_rad"]) > self.max_yaw_rad:
            return "beyond support: heading"
        if self._i >= len(self._path) - 1:
            is_last = self._path.start_row + len(self._path) == len(self.drive)
            return "end of recording" if is_last else "gap"
        return "end of time" if self._time_s > self.config.episode_seconds - 0.5 * self._dt_s else None

    def _recorded_curvature(self) -> float:
        return float(np.interp(self._s_m, self._path.s_m, self._path.curvature_per_m))

    def expert_curvature_per_m(self) -> float:
        """What leads back to the recorded path (1/m): its curvature here, and on the path nothing else.

        The circle that meets it again at a distance L changes the curvature by -2 offset / L^2 - 2 heading error / L
        (pure pursuit, Coulter 1992).
        """
        _, offset_m, heading = self._path.road.locate(self.state.x_m, self.state.y_m, self._s_m)
        error_rad = float(wrap_angle(self.state.heading_rad - heading))
        ahead_m = max(self._speed_mps * RECOVERY_S, MIN_RECOVERY_M)
        back = -2.0 * offset_m / ahead_m**2 - 2.0 * error_rad / ahead_m
        limit = self.vehicle.max_curvature_per_m
        return min(max(self._recorded_curvature() + back, -limit), limit)

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

    def _observe(self) -> tuple[np.ndarray, dict[str, Any]]:
        state, drive, move = self.state, self.drive, self._move()
        row = self._path.start_row + self._i
        _, offset_m, heading = self._path.road.locate(state.x_m, state.y_m, self._s_m)
        info = {
            "lateral_offset_m": offset_m,
            "heading_error_rad": float(wrap_angle(state.heading_rad - heading)),
            "speed_mps": self._speed_mps,
            "dt_s": self._dt_s,
            "distance_m": self._distance_m,
            "lane_half_width_m": 0.5 * self.config.lane_width_m,
            "curvature_per_m": float(path_curvature_per_m(state, self._speed_mps, self.vehicle)),
            "recorded_curvature_per_m": float(drive.curvature_per_m[row]),
            "row": row,
            "unseen_share": self._viewpoint.unseen_share(move),
            "setting": {},
            "episode_seconds_available": self._available_s,
        }
        known = drive.road_mask_known
        if drive.road_masks is not None and (known is None or known[row]):
            info["road_mask"] = self._viewpoint.mask(drive.road_masks[row], move)
        return self._viewpoint.frame(drive.frames[row], move), info


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


def _check_aspect(drive: Drive) -> None:
    _, height, width, _ = drive.frames.shape
    if abs((width / height) / (FRAME_WIDTH_PX / FRAME_HEIGHT_PX) - 1) > MAX_ASPECT_ERROR:
        raise BadInputError(
            f"drive: expected pictures shaped {FRAME_WIDTH_PX}:{FRAME_HEIGHT_PX} (any size), "
            f"got {width}x{height}; import it again"
        )
