"""What every lane-keeping environment shares: its spaces, and how it shows itself to people."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from typing import Any

import gymnasium
import numpy as np

from sim.birds_eye import draw_birds_eye, side_by_side
from sim.conventions import FRAME_HEIGHT_PX, FRAME_RATE_HZ, FRAME_WIDTH_PX
from sim.errors import BadInputError
from sim.window import Window

RENDER_VIEWS = ("camera", "birds_eye", "both")
DISPLAY_SCALE = 3
DISPLAY_SIZE = (FRAME_HEIGHT_PX * DISPLAY_SCALE, FRAME_WIDTH_PX * DISPLAY_SCALE)
"""Rows and columns of a picture for people."""
MAP_AHEAD_M, MAP_BEHIND_M = 45.0, 15.0
N_TRAIL = 200


class LaneEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """Base of the environments: uint8 (78, 200, 3) pictures, a curvature as action, ``render`` for people.

    ``render_mode`` "rgb_array" returns a picture, "human" shows it in a window at every reset and step. What is shown
    is ``render_view``: the camera's view (234, 600, 3), a map from above (234, 234, 3), or both side by side.

    Args:
        title: of the window.
        render_mode: None, "rgb_array" or "human".
        render_view: "camera", "birds_eye" or "both".
        max_curvature_per_m: limit of the action.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": int(FRAME_RATE_HZ)}  # noqa: RUF012 (Gymnasium's name)

    def __init__(
        self, title: str, render_mode: str | None, render_view: str, max_curvature_per_m: float
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise BadInputError(f"expected render_mode None, 'rgb_array' or 'human', got {render_mode!r}")
        if render_view not in RENDER_VIEWS:
            raise BadInputError(f"expected render_view of {', '.join(RENDER_VIEWS)}, got {render_view!r}")
        self.render_mode, self.render_view, self._title = render_mode, render_view, title
        self._window: Window | None = None
        self._trail: deque[tuple[float, float]] = deque(maxlen=N_TRAIL)
        limit = max_curvature_per_m
        self.action_space = gymnasium.spaces.Box(-limit, limit, (1,), np.float32)
        shape = (FRAME_HEIGHT_PX, FRAME_WIDTH_PX, 3)
        self.observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)

    @abstractmethod
    def _camera_view(self) -> np.ndarray:
        """What the camera sees, larger: uint8 (h, w, 3) of at least ``DISPLAY_SIZE``."""

    @abstractmethod
    def _map_lines(self) -> tuple[np.ndarray, float, float, float]:
        """Of the road around the car: middle of the own lane (n, 2), left and right edge from it, half the lane; m."""

    @abstractmethod
    def _pose(self) -> tuple[float, float, float]:
        """x, y and heading of the rear axle on the map."""

    def render(self) -> np.ndarray | None:
        """The present picture for people; None without a render mode or where a window shows it."""
        if self.render_mode is None:
            return None
        pictures = [self._camera_view()] if self.render_view != "birds_eye" else []
        pictures += [self._map()] if self.render_view != "camera" else []
        picture = pictures[0] if len(pictures) == 1 else side_by_side(*pictures)
        if self.render_mode == "rgb_array":
            return picture
        self._window = self._window or Window(self._title, FRAME_RATE_HZ)
        self._window.show(picture)
        return None

    def _map(self) -> np.ndarray:
        centre_m, left_m, right_m, half_lane_m = self._map_lines()
        return draw_birds_eye(
            centre_m,
            left_m,
            right_m,
            half_lane_m,
            self._pose(),
            np.array(self._trail).reshape(-1, 2),
            size_px=DISPLAY_SIZE[0],
            ahead_m=MAP_AHEAD_M,
            behind_m=MAP_BEHIND_M,
        )

    def _moved(self, is_new_episode: bool) -> None:
        """After every reset and step: remember where the car is, and show it."""
        if is_new_episode:
            self._trail.clear()
        self._trail.append(self._pose()[:2])
        if self.render_mode == "human":
            self.render()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None


def curvature_of(action: np.ndarray) -> float:
    """The commanded curvature (1/m) in an action; it must be one finite number."""
    if np.size(action) != 1 or not np.isfinite(action).all():
        raise BadInputError(f"action: expected one finite curvature in 1/m, got {action}")
    return float(np.asarray(action).reshape(-1)[0])


def config_of(config_class: type[Any], options: dict[str, Any], also_known: tuple[str, ...] = ()) -> Any:
    """The configuration of the given options; an unknown one is named, with those that exist."""
    known = tuple(config_class.__dataclass_fields__)
    if unknown := options.keys() - set(known):
        raise BadInputError(
            f"unknown environment option in {sorted(unknown)}; known are {', '.join([*known, *also_known])}"
        )
    return config_class(**options)


def check_start_options(options: dict[str, Any] | None, known: tuple[str, ...]) -> dict[str, Any]:
    """The options of a ``reset``, {} for None; an unknown one is named, with those that exist."""
    if unknown := (options or {}).keys() - set(known):
        raise BadInputError(f"unknown start option in {sorted(unknown)}; known are {', '.join(known)}")
    return options or {}


def draw_offsets(rng: np.random.Generator, config: Any, options: dict[str, Any]) -> tuple[float, float]:
    """Where an episode begins beside its path: offset (m) and heading error (rad), as ``options`` say or drawn.

    Drawn evenly within ``config.start_offset_m`` and ``config.start_heading_rad``, in this order, whatever is given.
    """
    drawn = {
        "lateral_offset_m": rng.uniform(-config.start_offset_m, config.start_offset_m),
        "heading_error_rad": rng.uniform(-config.start_heading_rad, config.start_heading_rad),
    }
    offset_m, error_rad = (float(options.get(name, value)) for name, value in drawn.items())
    if not (math.isfinite(offset_m) and math.isfinite(error_rad)):
        raise BadInputError(f"reset: expected a finite offset and heading, got {offset_m}, {error_rad}")
    return offset_m, error_rad
