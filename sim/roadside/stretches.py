"""What stands and drives beside the road: placed stretch by stretch, as the car comes to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.appearance.section import CrossSection
from sim.families import RoadsideStyle
from sim.roadside.placer import (
    CELL_M,
    STRETCH_M,
    Barrier,
    Placer,
    Theme,
    build,
    line,
    line_median,
    park,
    plant,
    put_sign,
)
from sim.seasons import Season
from sim.surface_class import SurfaceClass

__all__ = ["Barrier", "Roadside", "RoadsideStretches"]

_SPECIES = (("leafy",), ("leafy", "leafy", "conifer"), ("conifer", "conifer", "leafy"), ("conifer",))
_RAIL_COLOURS = ((0.66, 0.68, 0.70), (0.52, 0.54, 0.55), (0.60, 0.50, 0.40))


@dataclass(frozen=True)
class Roadside:
    """Objects beside a road; the arrays are (n,), sorted by ``along_m``.

    Attributes:
        along_m, lateral_m: place at time 0: arc length of the road, distance from the own lane's middle (left +).
        speed_mps: along the road, negative against it; 0 for what stands.
        width_m, height_m: of the upright picture; of the body for cars and houses, which are seen from any side;
            the length along the road and the height for what runs along it.
        sprite: index into the sprite library.
        surface_class: of the pixels it covers.
        barriers: everything that runs along the road.
    """

    along_m: np.ndarray
    lateral_m: np.ndarray
    speed_mps: np.ndarray
    width_m: np.ndarray
    height_m: np.ndarray
    sprite: np.ndarray
    surface_class: np.ndarray
    barriers: tuple[Barrier, ...]

    def near(self, first_m: float, last_m: float) -> list[Roadside]:
        """The parts that may reach into this stretch of the road: itself."""
        return [self]


def _draw_theme(rng: np.random.Generator, style: RoadsideStyle, n_lanes: int) -> Theme:
    def chance(share: float, low: float, high: float) -> float:
        spacing = rng.uniform(low, high)
        return float(spacing) if rng.random() < share else 0.0

    cover = int(rng.choice(4, p=style.cover))
    species = _SPECIES[int(rng.choice(4, p=(0.4, 0.25, 0.2, 0.15)))]
    return Theme(
        cover=cover,
        species=species,
        n_variants=int(rng.integers(2, 7)),
        density=float(rng.uniform(0.4, 1.0)),
        avenue_m=float(rng.uniform(9.0, 16.0)),
        delineators_m=chance(style.delineators, 22.0, 50.0),
        delineator=int(rng.integers(5)),
        poles_m=chance(style.poles, 32.0, 50.0),
        pole_side=1 if rng.random() < 0.5 else -1,
        pole=int(rng.integers(4)),
        lamps_m=chance(style.lamps, 24.0, 40.0),
        lamp=int(rng.integers(4)),
        traffic_gap_m=float(rng.uniform(*style.traffic_gap_m)) * (1.0 if rng.random() < 0.8 else 4.0),
        lane_speeds_mps=tuple(rng.uniform(*style.traffic_mps, n_lanes).tolist()),
        rail_colour=_RAIL_COLOURS[int(rng.choice(3, p=(0.5, 0.35, 0.15)))],
    )


class RoadsideStretches:
    """The roadside of one episode along a road of the given style and length, drawn from ``rng``.

    The season chooses the pictures of the same plants and houses and moves nothing. Standing things stay off the
    paved surface (parked cars may stand in bays along its edge), and nothing is ever in the own lane. What stands in a
    stretch of ``STRETCH_M`` is placed when it is first asked for, from generators of its own.

    What is placed does not depend on the classes it is ``without``: these are left out afterwards.

    Attributes:
        traffic: what moves.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        style: RoadsideStyle,
        season: Season,
        section: CrossSection,
        length_m: float,
        without: frozenset[SurfaceClass] = frozenset(),
    ) -> None:
        self._without = without
        self._style, self._season, self._section, self._length_m = style, season, section, length_m
        self._seed = int(rng.integers(2**62))
        self._theme = _draw_theme(rng, self._style, len(section.lanes_m) - 1)
        placer = Placer(season, section)
        _add_traffic(placer, self._seed, self._theme, length_m)
        self.traffic = _roadside(placer, length_m, without)
        self._stretches: dict[int, Roadside] = {}
        self.n_stretches = int(np.ceil(length_m / STRETCH_M))

    def near(self, first_m: float, last_m: float) -> list[Roadside]:
        """The parts that may reach into this stretch of the road: what moves, then what stands."""
        first = max(int((first_m - _REACH_M) // STRETCH_M), 0)
        last = min(int((last_m + _REACH_M) // STRETCH_M), self.n_stretches - 1)
        return [self.traffic, *(self.stretch(k) for k in range(first, last + 1))]

    def stretch(self, k: int) -> Roadside:
        """What stands in one stretch, and barriers that begin there."""
        if k not in self._stretches:
            self._stretches[k] = self._place(k)
        return self._stretches[k]

    def _place(self, k: int) -> Roadside:
        placer, style, theme = Placer(self._season, self._section), self._style, self._theme
        own = np.random.default_rng([self._seed, 0, k])
        linings = {side: line(placer, own, style, theme, side, k * STRETCH_M) for side in (-1, 1)}
        line_median(placer, theme, k * STRETCH_M)
        thickness = float(own.choice((0.15, 0.7, 1.0), p=(0.25, 0.25, 0.5)))
        for cell in range(int(STRETCH_M / CELL_M)):
            inner = np.random.default_rng([self._seed, 1, k, cell])
            start_m = k * STRETCH_M + cell * CELL_M
            for side in (-1, 1):
                plant(placer, inner, theme, side, start_m, linings[side], thickness)
                build(placer, inner, style, side, start_m, linings[side])
                put_sign(placer, inner, style, side, start_m)
                park(placer, inner, style, side, start_m, linings[side])
        _repeat_posts(placer, theme, self._section, k * STRETCH_M, min((k + 1) * STRETCH_M, self._length_m))
        return _roadside(placer, self._length_m, self._without)


_REACH_M = 60.0
"""Things placed in a stretch may reach this far out of it."""


def _roadside(placer: Placer, length_m: float, without: frozenset[SurfaceClass]) -> Roadside:
    kept = (row for row in placer.rows if row[0] < length_m and row[6] not in without)
    rows = sorted(kept, key=lambda row: row[0])
    along_m, lateral_m, speed_mps, width_m, height_m, sprite, surface = np.array(rows).reshape(-1, 7).T.copy()
    return Roadside(
        along_m, lateral_m, speed_mps, width_m, height_m, sprite.astype(np.int64), surface.astype(np.uint8),
        () if SurfaceClass.BARRIER in without else tuple(placer.barriers),
    )  # fmt: skip


def _evenly(offset_m: float, spacing_m: float, first_m: float, end_m: float) -> list[float]:
    """Places at even distances from the beginning of the road, those of one stretch."""
    places_m = np.arange(offset_m, end_m, spacing_m)
    return [place_m for place_m in places_m.tolist() if place_m >= first_m]


def _repeat_posts(placer: Placer, theme: Theme, section: CrossSection, first_m: float, end_m: float) -> None:
    """Delineators, poles and lamps at even distances, those of one stretch."""
    if theme.delineators_m:
        for along_m in _evenly(0.5 * theme.delineators_m, theme.delineators_m, first_m, end_m):
            for side, edge_m in ((-1, -section.right_edge_m), (1, section.left_edge_m)):
                placer.put("delineator", theme.delineator, along_m, side * (edge_m + 0.35))
    if theme.poles_m:
        lateral_m = theme.pole_side * (placer.edge_m(theme.pole_side) + 3.0)
        for along_m in _evenly(0.3 * theme.poles_m, theme.poles_m, first_m, end_m):
            placer.put("pole", theme.pole, along_m, lateral_m)
    if theme.lamps_m:
        for along_m in _evenly(0.4 * theme.lamps_m, theme.lamps_m, first_m, end_m):
            placer.put("lamp_post", theme.lamp, along_m, -(placer.edge_m(-1) + 0.8))


def _add_traffic(placer: Placer, seed: int, theme: Theme, length_m: float) -> None:
    """Cars in the other lanes; within a lane all drive equally fast, so they never meet."""
    section = placer.section
    lanes = [(lane, 1) for lane in section.same_way_m] + [(lane, -1) for lane in section.oncoming_m]
    for number, ((lane_m, way), speed_mps) in enumerate(zip(lanes, theme.lane_speeds_mps, strict=True)):
        rng = np.random.default_rng([seed, 2, number])
        along_m = rng.uniform(0, theme.traffic_gap_m)
        while along_m < length_m - 12.0:
            variant, wander_m = int(rng.integers(32)), rng.uniform(-0.2, 0.2)
            placer.put("car", variant, along_m, lane_m + wander_m, speed_mps=way * speed_mps)
            along_m += 14.0 + rng.exponential(theme.traffic_gap_m)
