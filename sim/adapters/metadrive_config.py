"""Options of ``lane/MetaDrive-v0`` and facts about its car."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from sim.checks import Number, check_numbers
from sim.conventions import MAX_CURVATURE_PER_M
from sim.errors import BadInputError
from sim.lane_env import LaneConfig


@dataclass(frozen=True)
class MetaDriveConfig(LaneConfig):
    """Options of ``gymnasium.make("lane/MetaDrive-v0", ...)`` beside those of ``LaneConfig``.

    Attributes:
        map: number of MetaDrive's blocks after the first straight, or a text of the letters C (curve and straight)
            and S (straight). Junctions and roundabouts are left out: there, "the lane" is a matter of choice.
        min_radius_m, max_radius_m: range of the curves' radii.
        traffic_density: cars per 10 m of lane, in both directions; 0 leaves the road empty.
        speed_mps: held by a controller in the env, lowered for curves and for cars ahead.
        max_lateral_acceleration_mps2: how far it is lowered for curves.
        assets_dir: cache folder of the generated textures and models; None for the user's own.
    """

    map: int | str = 6
    min_radius_m: float = 40.0
    max_radius_m: float = 160.0
    traffic_density: float = 0.0
    speed_mps: float = 10.0
    max_lateral_acceleration_mps2: float = 3.0
    assets_dir: str | Path | None = None

    def __post_init__(self) -> None:
        given: object = self.map
        if isinstance(given, float) and given.is_integer():  # as a command line gives it
            object.__setattr__(self, "map", int(given))
        super().__post_init__()
        bounds = {
            "episode_seconds": (0.05, 3600.0),
            "min_radius_m": (20.0, 1000.0),
            "max_radius_m": (self.min_radius_m, 1000.0),
            "traffic_density": (0.0, 0.5),
            "speed_mps": (1.0, 20.0),
            "max_lateral_acceleration_mps2": (0.5, 5.0),
            "start_offset_m": (0.0, 1.5),
            "start_heading_rad": (0.0, 0.5),
        }
        for name, (low, high) in bounds.items():
            check_numbers("world", self, Number(low, high), name)
        text = isinstance(self.map, str) and 0 < len(self.map) <= 20 and set(self.map) <= {"C", "S"}
        number = isinstance(self.map, int) and not isinstance(self.map, bool) and 1 <= self.map <= 20
        if not (text or number):
            raise BadInputError(f"world: map must be 1 to 20 blocks or a text of the letters C and S, got {self.map!r}")


@dataclass(frozen=True)
class CarFacts:
    """What MetaDrive's default car is to its driver; both front wheels turn by the same angle, without delay."""

    wheelbase_m: float = 1.05234 + 1.4166
    max_road_wheel_angle_rad: float = math.radians(40.0)
    max_curvature_per_m: float = MAX_CURVATURE_PER_M
