"""Options of the embedded world: where one drives, in which season and weather, and how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from sim.camera import Camera, focal_of
from sim.changes import UNCHANGED, change_of
from sim.checks import Number, check_numbers
from sim.errors import BadInputError
from sim.families import FAMILIES
from sim.lane_env import LaneConfig
from sim.seasons import SEASONS
from sim.weathers import WEATHERS

ANY = "any"
LIMITS = {
    "lane_width_m": Number(2.4, 5.0),
    "fov_deg": Number(15, 120),
    "camera_height_m": Number(0.1, 4.0),
    "horizon_px": Number(0, 60),
}
"""Of some options."""


def choices(option: str, text: object, known: Iterable[str]) -> tuple[str, ...]:
    """The names meant by ``any``, one name, or several joined with ``+``.

    >>> choices("season", "winter+spring", SEASONS)
    ('winter', 'spring')
    """
    known = tuple(known)
    if text == ANY:
        return known
    chosen = tuple(text.split("+")) if isinstance(text, str) else ()
    if not chosen or not set(chosen) <= set(known):
        raise BadInputError(
            f"world: expected {option} to be {ANY} or of {', '.join(known)} (several joined with +), got {text!r}"
        )
    return chosen


@dataclass(frozen=True)
class ProceduralConfig(LaneConfig):
    """Options of ``gymnasium.make("lane/Procedural-v0", ...)`` beside those of ``LaneConfig``.

    Family, season and weather name one setting, several joined with ``+``, or ``any``; each episode draws one of
    them. The defaults leave out winter, snow and night, so that those stay unseen conditions for a policy trained
    in the default world. What is ``None`` comes from the family.

    Attributes:
        family: kind of road: highway, country, mountain, urban (``sim.families``).
        season: spring, summer, autumn, winter.
        weather: clear, overcast, rain, fog, snow, low_sun, dusk, night.
        roadside: objects beside the road and traffic in the other lanes.
        hills: the road rises and falls.
        min_radius_m, max_radius_m: range of the curves' radii.
        lane_width_m: of the own lane.
        min_speed_mps, max_speed_mps: range of an episode's top speed, held on straights.
        max_lateral_acceleration_mps2: the car slows down for curves to stay below it.
        change: one thing that is not as the seed has it (``sim.changes``): the counterfactual world.
        fov_deg: field of view of the camera from the left to the right border; None for its own 67.4 degrees.
        camera_height_m: of the lens above the ground.
        horizon_px: row of the horizon in the picture of 78 rows, counted from the top.
        poster: a PNG or JPEG file that is printed on boards beside the road (``sim.poster``).
    """

    family: str = ANY
    season: str = "spring+summer+autumn"
    weather: str = "clear+overcast+rain+fog+low_sun+dusk"
    roadside: bool = True
    hills: bool = True
    min_radius_m: float | None = None
    max_radius_m: float | None = None
    lane_width_m: float | None = None
    min_speed_mps: float | None = None
    max_speed_mps: float | None = None
    max_lateral_acceleration_mps2: float = 3.0
    change: str = UNCHANGED.name
    poster: str = ""
    fov_deg: float | None = None
    camera_height_m: float = Camera.height_m
    horizon_px: float = Camera.horizon_v_px

    def __post_init__(self) -> None:
        change_of(self.change)
        for option, known in (("family", FAMILIES), ("season", SEASONS), ("weather", WEATHERS)):
            choices(option, getattr(self, option), known)
        super().__post_init__()
        for option, limits in LIMITS.items():
            check_numbers("world", self, limits, option)
        for low, high in (("min_radius_m", "max_radius_m"), ("min_speed_mps", "max_speed_mps")):
            for family in choices("family", self.family, FAMILIES):
                smallest, largest = self.range_of(low, high, family)
                if not 0 < smallest <= largest:
                    raise BadInputError(f"world: expected 0 < {low} <= {high}, got {smallest}, {largest} ({family})")
        if self.min_radius_m is not None and self.min_radius_m < 20:
            raise BadInputError(f"world: expected min_radius_m >= 20 (the car turns on 10 m), got {self.min_radius_m}")

    @property
    def camera(self) -> Camera:
        """That sees."""
        known: dict[str, float] = {"height_m": self.camera_height_m, "horizon_v_px": self.horizon_px}
        if self.fov_deg is not None:
            known["focal_u_px"] = known["focal_v_px"] = focal_of(self.fov_deg, Camera.width_px)
        return replace(Camera(), **known)  # type: ignore[arg-type]  # the sizes stay as they are

    def range_of(self, low: str, high: str, family: str) -> tuple[float, float]:
        """The two named options, with the family's values where they are None.

        One option alone pushes the family's other bound out of its way.
        """
        given_low, given_high = getattr(self, low), getattr(self, high)
        smallest = getattr(FAMILIES[family], low) if given_low is None else given_low
        largest = getattr(FAMILIES[family], high) if given_high is None else given_high
        if given_high is None:
            largest = max(largest, smallest)
        if given_low is None:
            smallest = min(smallest, largest)
        return float(smallest), float(largest)

    def draw_setting(self, rng: np.random.Generator) -> dict[str, str]:
        """Family, season and weather of an episode; what one option allows does not move the others."""
        setting = {}
        for option, known in (("family", FAMILIES), ("season", SEASONS), ("weather", WEATHERS)):
            allowed = choices(option, getattr(self, option), known)
            setting[option] = allowed[int(rng.random() * len(allowed))]
        return setting
