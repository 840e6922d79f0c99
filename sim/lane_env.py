"""The contract of all lane-keeping environments, kept once: a world adds how its car moves and what its camera sees."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, NotRequired, Protocol, TypedDict, TypeVar, cast, final

import gymnasium
import numpy as np

from sim.birds_eye import draw_birds_eye, side_by_side
from sim.camera import Camera
from sim.checks import NOT_NEGATIVE, Number, check_choice, check_numbers
from sim.conventions import FRAME_HEIGHT_PX, FRAME_RATE_HZ, FRAME_WIDTH_PX
from sim.errors import BadInputError
from sim.expert import PurePursuit
from sim.road import Road
from sim.window import Window

RENDER_VIEWS = ("camera", "birds_eye", "both")
ACTIONS = ("curvature", "normalized")
DISPLAY_SCALE = 3
DISPLAY_SIZE = (FRAME_HEIGHT_PX * DISPLAY_SCALE, FRAME_WIDTH_PX * DISPLAY_SCALE)
"""Rows and columns of a picture for people."""
MAP_AHEAD_M, MAP_BEHIND_M = 45.0, 15.0
N_TRAIL = 200
END_OF_TIME = "end of time"


class Info(TypedDict):
    """What ``reset`` and ``step`` tell beside the picture; it belongs to the picture."""

    lateral_offset_m: float  # car minus middle of its lane, left positive
    heading_error_rad: float  # car's heading minus the lane's
    speed_mps: float
    dt_s: float  # length of the last step
    distance_m: float  # driven since the start
    lane_half_width_m: float
    curvature_per_m: float  # what the car does, 1/m
    setting: dict[str, str]  # what the world drew for the episode
    truncation: NotRequired[str]  # why the episode is truncated
    road_mask: NotRequired[np.ndarray]  # bool (H, W), paved surface, wherever the source knows it
    lane_mask: NotRequired[np.ndarray]  # bool (H, W), own lane
    marking_mask: NotRequired[np.ndarray]  # bool (H, W)
    class_map: NotRequired[np.ndarray]  # uint8 (H, W) of ``sim.surface_class.SurfaceClass``
    road_curvature_per_m: NotRequired[float]  # of the lane's middle here
    recorded_curvature_per_m: NotRequired[float]  # of a recording: what its driver did,
    row: NotRequired[int]  # which row is shown,
    unseen_share: NotRequired[float]  # the share of the picture that it does not hold,
    episode_seconds_available: NotRequired[float]  # and the time from the start to its end


class Surroundings(NamedTuple):
    """The road from above in the car's own axes (forward, left) in metres.

    Attributes:
        lane_middle: of the own lane, (n, 2), as far as ``MAP_AHEAD_M`` and ``MAP_BEHIND_M``.
        trail: where the car was, (m, 2), the oldest first.
        left_edge_m, right_edge_m: from the lane's middle to the road's edges; lane_half_width_m: to the lane's.
    """

    lane_middle: np.ndarray
    trail: np.ndarray
    left_edge_m: float
    right_edge_m: float
    lane_half_width_m: float


class Vehicle(Protocol):
    """What a world tells of its car."""

    @property
    def wheelbase_m(self) -> float: ...

    @property
    def max_curvature_per_m(self) -> float: ...


@dataclass(frozen=True)
class LaneConfig:
    """Options that every environment has.

    Attributes:
        episode_seconds: after this time the episode is truncated.
        start_offset_m, start_heading_rad: the car starts this far off at most, uniformly drawn.
        render_view: what ``render`` shows: ``camera``, ``birds_eye`` or ``both``.
        action: what an action is: ``curvature`` (1/m), or ``normalized``, -1 to 1 of the vehicle's limit, as programs
            for reinforcement learning want it.
    """

    episode_seconds: float = 60.0
    start_offset_m: float = 0.2
    start_heading_rad: float = 0.02
    render_view: str = "camera"
    action: str = "curvature"

    def __post_init__(self) -> None:
        for field in fields(self):
            value, default = getattr(self, field.name), field.default
            if isinstance(default, bool):
                if not isinstance(value, bool):
                    raise BadInputError(f"world: {field.name} must be true or false, got {value!r}")
            elif str(field.type).removesuffix(" | None") == "float":
                check_numbers("world", self, NOT_NEGATIVE, field.name)
        check_numbers("world", self, Number(0, 3600, is_above=True), "episode_seconds")
        check_choice("world", "action", self.action, ACTIONS)
        check_choice("world", "render_view", self.render_view, RENDER_VIEWS)


class LaneEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """Keep a car in its lane, seen by a front camera.

    | | |
    | --- | --- |
    | observation | uint8 (H, W, 3), RGB camera picture; 78 x 200 in all registered worlds |
    | action | float32 (1,), path curvature in 1/m, left positive, within the vehicle's limit; or a share of that |
    | reward | 1 - (offset / half lane width)^2, in [0, 1]; 0 on leaving the lane |
    | terminated | the middle of the rear axle left its lane: a crash |
    | truncated | the end of the time, or of what the world has; ``info["truncation"]`` says which |
    | info | ``Info`` |

    ``render_mode`` "rgb_array" returns a picture, "human" shows it in a window at every reset and step. What is shown
    is ``render_view``: the camera's view (234, 600, 3), a map from above (234, 234, 3), or both side by side.

    A world overrides the methods that begin with an underscore below, and never ``reset`` or ``step``.

    Attributes:
        MAX_PER_PROCESS: so many of these worlds may live in one process; None for any number.
        START_OPTIONS: what ``reset(options=...)`` knows.
        STREAMS: key of each cause's random stream beside the episode's seed: changing one leaves the others.
        camera, vehicle: that see and drive.
        curvature_per_action: path curvature (1/m) that an action of 1 stands for.
        dt_s: typical length of a step.
        speed_mps, step_s: of the car in the last step, and that step's length; ``_advance`` sets them.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": int(FRAME_RATE_HZ)}  # noqa: RUF012 (Gymnasium's name)
    MAX_PER_PROCESS: ClassVar[int | None] = None
    START_OPTIONS: ClassVar[tuple[str, ...]] = ("along_road_m", "lateral_offset_m", "heading_error_rad")
    STREAMS: ClassVar[dict[str, int]] = {"start": 0}
    observation_space: gymnasium.spaces.Box

    def __init__(
        self,
        title: str,
        config: LaneConfig,
        vehicle: Vehicle,
        camera: Camera,
        dt_s: float = 1.0 / FRAME_RATE_HZ,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise BadInputError(f"expected render_mode None, 'rgb_array' or 'human', got {render_mode!r}")
        self.render_mode, self._title, self._lane_config = render_mode, title, config
        self.vehicle, self.camera, self.dt_s = vehicle, camera, dt_s
        self.speed_mps, self.step_s = 0.0, dt_s
        self._window: Window | None = None
        self._trail: deque[tuple[float, float]] = deque(maxlen=N_TRAIL)
        self.curvature_per_action = vehicle.max_curvature_per_m if config.action == "normalized" else 1.0
        limit = vehicle.max_curvature_per_m / self.curvature_per_action
        self.action_space = gymnasium.spaces.Box(-limit, limit, (1,), np.float32)
        shape = (camera.height_px, camera.width_px, 3)
        self.observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)

    # What a world gives --------------------------------------------------------------------------------------

    @abstractmethod
    def _begin(self, options: dict[str, Any]) -> float:
        """Make the world of the episode; where along its road the car begins (m)."""

    @abstractmethod
    def _put_car(self, along_m: float, offset_m: float, heading_error_rad: float) -> None:
        """Put the car so far along the road and beside the middle of its lane, running as the lane does there."""

    @abstractmethod
    def _road_here(self) -> tuple[Road, float, float]:
        """The middle of the own lane, where on it the car is (m), and the last place where a car may be put (m)."""

    @abstractmethod
    def _advance(self, curvature_per_m: float) -> None:
        """Drive one step with a commanded path curvature; set ``speed_mps`` and, where steps differ, ``step_s``."""

    @abstractmethod
    def _lane_place(self) -> tuple[float, float, float]:
        """Lateral offset (m), heading error (rad), and half of the lane's width (m)."""

    @abstractmethod
    def _driven_curvature_per_m(self) -> float:
        """What the car does."""

    @abstractmethod
    def _see(self) -> tuple[np.ndarray, dict[str, Any]]:
        """The camera's picture, uint8 (H, W, 3), and what else of ``Info`` this world knows."""

    @abstractmethod
    def _expert_curvature_per_m(self) -> float:
        """What the privileged teacher would command now."""

    def _early_end(self, info: Info) -> str | None:
        """Why the episode must end now, though its time is not over and the car in its lane; None if it need not."""
        return None

    @abstractmethod
    def _camera_view(self) -> np.ndarray:
        """What the camera sees, larger: uint8 (h, w, 3) of at least ``DISPLAY_SIZE``."""

    @abstractmethod
    def _map_lines(self) -> tuple[np.ndarray, float, float, float]:
        """Of the road around the car: middle of the own lane (n, 2), left and right edge from it, half the lane; m."""

    @abstractmethod
    def _pose(self) -> tuple[float, float, float]:
        """x, y and heading of the rear axle on the map."""

    # The contract --------------------------------------------------------------------------------------------

    @final
    def reset(  # type: ignore[override]  # Info is a dict with known keys
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, Info]:
        """Start the episode of ``seed``; without one the next seed comes from the env's own generator."""
        options = options or {}
        if unknown := options.keys() - set(self.START_OPTIONS):
            raise BadInputError(f"unknown start option in {sorted(unknown)}; known are {', '.join(self.START_OPTIONS)}")
        super().reset(seed=seed)
        self._episode_seed = seed if seed is not None else int(self.np_random.integers(2**31))
        self.step_s, self._time_s, self._distance_m = self.dt_s, 0.0, 0.0
        config = self._lane_config
        start = draw_start(self._stream("start"), config.start_offset_m, config.start_heading_rad) | options
        offset_m, error_rad = float(start["lateral_offset_m"]), float(start["heading_error_rad"])
        if not (math.isfinite(offset_m) and math.isfinite(error_rad)):
            raise BadInputError(f"reset: expected a finite offset and heading, got {offset_m}, {error_rad}")
        self._put_car(self._begin(options), offset_m, error_rad)
        answer = self._observe()
        self._trail.clear()
        self._show()
        return answer

    @final
    def place(
        self, along_road_m: float, lateral_offset_m: float = 0.0, heading_error_rad: float = 0.0
    ) -> tuple[np.ndarray, Info]:
        """Put the car somewhere else in the episode that runs, and see: the same world, and no time passes.

        ``along_road_m`` is of the episode's own road, and goes up to ``road_m``.
        """
        if not 0 <= along_road_m <= self.road_m:
            raise BadInputError(f"place: expected along_road_m from 0 to {self.road_m:.1f}, got {along_road_m}")
        if not (math.isfinite(lateral_offset_m) and math.isfinite(heading_error_rad)):
            raise BadInputError(
                f"place: expected a finite offset and heading, got {lateral_offset_m}, {heading_error_rad}"
            )
        self._put_car(along_road_m, lateral_offset_m, heading_error_rad)
        return self._observe()

    @property
    def road_m(self) -> float:
        """Length of the episode's road, as far as a car may be put on it."""
        return self._road_here()[2]

    @property
    def along_road_m(self) -> float:
        """Where on the episode's road the car is."""
        return self._road_here()[1]

    @final
    def surroundings(self, spacing_m: float = 3.0) -> Surroundings:
        """The road around the car from above, for whoever draws it."""
        middle, left_m, right_m, half_lane_m = self._map_lines()
        x_m, y_m, heading = self._pose()
        turn = np.array([[math.cos(heading), math.sin(heading)], [-math.sin(heading), math.cos(heading)]])
        middle, trail = ((np.reshape(points, (-1, 2)) - (x_m, y_m)) @ turn.T for points in (middle, list(self._trail)))
        is_near = (middle[:, 0] > -MAP_BEHIND_M) & (middle[:, 0] < MAP_AHEAD_M) & (np.abs(middle[:, 1]) < MAP_AHEAD_M)
        near = middle[is_near]
        gone_m = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(near, axis=0).T))]) if len(near) else np.zeros(0)
        kept = np.unique(np.floor(gone_m / spacing_m), return_index=True)[1]
        return Surroundings(near[kept], trail[::4], float(np.mean(left_m)), float(np.mean(right_m)), half_lane_m)

    @final
    def pursuit_curvatures_per_m(self, distances_m: Sequence[float]) -> np.ndarray:
        """Curvatures (n,) of the circles from the car to points of its lane's middle so far ahead, in 1/m."""
        road, s_m, _ = self._road_here()
        return np.array([PurePursuit(d, 0.0).curvature_per_m(road, s_m, *self._pose(), 0.0) for d in distances_m])

    @final
    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, Info]:  # type: ignore[override]
        """Drive one time step with a commanded path curvature (1/m), or a share of its limit; it must be finite."""
        if np.size(action) != 1 or not np.isfinite(action).all():
            what = "curvature in 1/m" if self._lane_config.action == ACTIONS[0] else "share of the limit"
            raise BadInputError(f"action: expected one finite {what}, got {action}")
        self._advance(float(np.asarray(action).reshape(-1)[0]) * self.curvature_per_action)
        self._time_s += self.step_s
        self._distance_m += self.speed_mps * self.step_s
        observation, info = self._observe()
        share = info["lateral_offset_m"] / info["lane_half_width_m"]
        terminated = bool(abs(share) > 1.0)
        if not terminated:
            is_time_over = self._time_s > self._lane_config.episode_seconds - 0.5 * self.step_s
            if reason := self._early_end(info) or (END_OF_TIME if is_time_over else None):
                info["truncation"] = reason
        self._show()
        return observation, max(0.0, 1.0 - share * share), terminated, "truncation" in info, info

    @final
    def expert_curvature_per_m(self) -> float:
        """What the privileged teacher would command now (1/m), within the vehicle's limit."""
        limit = self.vehicle.max_curvature_per_m
        return min(max(self._expert_curvature_per_m(), -limit), limit)

    def _stream(self, cause: str) -> np.random.Generator:
        return np.random.default_rng([self._episode_seed, self.STREAMS[cause]])

    def _observe(self) -> tuple[np.ndarray, Info]:
        offset_m, error_rad, half_width_m = self._lane_place()
        picture, known = self._see()
        info: dict[str, Any] = {
            "lateral_offset_m": offset_m,
            "heading_error_rad": error_rad,
            "speed_mps": self.speed_mps,
            "dt_s": self.step_s,
            "distance_m": self._distance_m,
            "lane_half_width_m": half_width_m,
            "curvature_per_m": self._driven_curvature_per_m(),
            "setting": {},
        }
        return picture, cast(Info, info | known)

    # For people ----------------------------------------------------------------------------------------------

    def render(self) -> np.ndarray | None:
        """The present picture for people; None without a render mode or where a window shows it."""
        if self.render_mode is None:
            return None
        view = self._lane_config.render_view
        pictures = [self._camera_view()] if view != "birds_eye" else []
        pictures += [self._map()] if view != "camera" else []
        picture = pictures[0] if len(pictures) == 1 else side_by_side(*pictures)
        if self.render_mode == "rgb_array":
            return picture
        self._window = self._window or Window(self._title, FRAME_RATE_HZ)
        self._window.show(picture)
        return None

    def _map(self) -> np.ndarray:
        trail = np.array(self._trail).reshape(-1, 2)
        return draw_birds_eye(
            *self._map_lines(), self._pose(), trail, size_px=DISPLAY_SIZE[0], ahead_m=MAP_AHEAD_M, behind_m=MAP_BEHIND_M
        )

    def _show(self) -> None:
        """After every reset and step: remember where the car is, and show it in a window."""
        self._trail.append(self._pose()[:2])
        if self.render_mode == "human":
            self.render()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None


def draw_start(rng: np.random.Generator, max_offset_m: float, max_heading_error_rad: float) -> dict[str, float]:
    """Where an episode begins beside its path: start options, drawn evenly within these bounds, in this order."""
    return {
        "lateral_offset_m": rng.uniform(-max_offset_m, max_offset_m),
        "heading_error_rad": rng.uniform(-max_heading_error_rad, max_heading_error_rad),
    }


ConfigT = TypeVar("ConfigT")


def config_of(config_class: type[ConfigT], options: dict[str, Any], also_known: tuple[str, ...] = ()) -> ConfigT:
    """The configuration of the given options; an unknown one is named, with those that exist."""
    known = tuple(field.name for field in fields(config_class))  # type: ignore[arg-type]
    if unknown := options.keys() - set(known):
        raise BadInputError(
            f"unknown environment option in {sorted(unknown)}; known are {', '.join([*known, *also_known])}"
        )
    return config_class(**options)
