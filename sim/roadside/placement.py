"""What stands and drives beside the road: placed once an episode, along the road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.errors import BadInputError
from sim.look.section import CrossSection
from sim.roadside.placing import (
    CELL_M,
    STRETCH_M,
    Barrier,
    Episode,
    Family,
    Placer,
    build,
    line,
    line_median,
    park,
    plant,
    put_sign,
)

__all__ = ["Barrier", "Roadside", "draw_roadside"]

_FAMILIES = {
    "highway": Family(
        (0.40, 0.30, 0.05, 0.25), {"": 0.45, "rail": 0.40, "concrete": 0.10, "rock": 0.05},
        0.02, 0.40, (35.0, 120.0), (22.0, 33.0), 0.0, 0.9, 0.1, 0.15,
    ),
    "country": Family(
        (0.25, 0.30, 0.20, 0.25),
        {"": 0.58, "rail": 0.08, "hedge": 0.12, "fence": 0.14, "stone_wall": 0.08},
        0.16, 0.30, (60.0, 260.0), (13.0, 22.0), 0.02, 0.6, 0.5, 0.05,
    ),
    "mountain": Family(
        (0.20, 0.30, 0.0, 0.50), {"": 0.34, "rail": 0.26, "rock": 0.28, "stone_wall": 0.10, "fence": 0.02},
        0.03, 0.40, (90.0, 350.0), (8.0, 14.0), 0.01, 0.6, 0.25, 0.0,
    ),
    "urban": Family(
        (0.35, 0.35, 0.25, 0.05),
        {"": 0.34, "town_front": 0.42, "hedge": 0.09, "stone_wall": 0.09, "fence": 0.06},
        0.60, 0.50, (50.0, 200.0), (7.0, 13.0), 0.12, 0.05, 0.25, 0.85,
    ),
}  # fmt: skip
_SPECIES = (("leafy",), ("leafy", "leafy", "conifer"), ("conifer", "conifer", "leafy"), ("conifer",))
_RAIL_COLOURS = ((0.66, 0.68, 0.70), (0.52, 0.54, 0.55), (0.60, 0.50, 0.40))


@dataclass(frozen=True)
class Roadside:
    """All objects of an episode; the arrays are (n,), sorted by ``along_m``.

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


def _draw_episode(rng: np.random.Generator, family: Family, n_lanes: int) -> Episode:
    def chance(share: float, low: float, high: float) -> float:
        spacing = rng.uniform(low, high)
        return float(spacing) if rng.random() < share else 0.0

    cover = int(rng.choice(4, p=family.cover))
    species = _SPECIES[int(rng.choice(4, p=(0.4, 0.25, 0.2, 0.15)))]
    return Episode(
        cover=cover,
        species=species,
        n_variants=int(rng.integers(2, 7)),
        density=float(rng.uniform(0.4, 1.0)),
        avenue_m=float(rng.uniform(9.0, 16.0)),
        delineators_m=chance(family.has_delineators, 22.0, 50.0),
        delineator=int(rng.integers(5)),
        poles_m=chance(family.has_poles, 32.0, 50.0),
        pole_side=1 if rng.random() < 0.5 else -1,
        pole=int(rng.integers(4)),
        lamps_m=chance(family.has_lamps, 24.0, 40.0),
        lamp=int(rng.integers(4)),
        traffic_gap_m=float(rng.uniform(*family.traffic_gap_m)) * (1.0 if rng.random() < 0.8 else 4.0),
        lane_speeds_mps=tuple(rng.uniform(*family.speed_mps, n_lanes).tolist()),
        rail_colour=_RAIL_COLOURS[int(rng.choice(3, p=(0.5, 0.35, 0.15)))],
    )


def draw_roadside(
    rng: np.random.Generator, family: str, season: str, section: CrossSection, length_m: float
) -> Roadside:
    """Place the objects of one episode along a road of the given family and length.

    The season chooses the pictures of the same plants and houses and moves nothing. Standing things stay off the
    paved surface (parked cars may stand in bays along its edge), and nothing is ever in the own lane.
    """
    if family not in _FAMILIES:
        raise BadInputError(f"roadside: expected a family of {sorted(_FAMILIES)}, got {family!r}")
    kind = _FAMILIES[family]
    placer = Placer(season, section)
    lanes = (*section.same_way_m, *section.oncoming_m)
    seed = int(rng.integers(2**62))
    episode = _draw_episode(rng, kind, len(lanes))
    for stretch in range(int(np.ceil(length_m / STRETCH_M))):
        own = np.random.default_rng([seed, 0, stretch])
        linings = {side: line(placer, own, kind, episode, side, stretch * STRETCH_M) for side in (-1, 1)}
        line_median(placer, episode, stretch * STRETCH_M)
        thickness = float(own.choice((0.15, 0.7, 1.0), p=(0.25, 0.25, 0.5)))
        for cell in range(int(STRETCH_M / CELL_M)):
            inner = np.random.default_rng([seed, 1, stretch, cell])
            start_m = stretch * STRETCH_M + cell * CELL_M
            for side in (-1, 1):
                plant(placer, inner, episode, side, start_m, linings[side], thickness)
                build(placer, inner, kind, side, start_m, linings[side])
                put_sign(placer, inner, kind, side, start_m)
                park(placer, inner, kind, side, start_m, linings[side])
    _repeat_posts(placer, episode, section, length_m)
    _drive(placer, seed, episode, length_m)
    order = sorted(range(len(placer.rows)), key=lambda i: placer.rows[i][0])
    table = np.array([placer.rows[i] for i in order if placer.rows[i][0] < length_m]).reshape(-1, 7)
    along_m, lateral_m, speed_mps, width_m, height_m, sprite, surface = table.T.copy()
    return Roadside(
        along_m, lateral_m, speed_mps, width_m, height_m, sprite.astype(np.int64), surface.astype(np.uint8),
        tuple(placer.barriers),
    )  # fmt: skip


def _repeat_posts(placer: Placer, episode: Episode, section: CrossSection, length_m: float) -> None:
    """Delineators, poles and lamps at even distances."""
    if episode.delineators_m:
        for along_m in np.arange(0.5 * episode.delineators_m, length_m, episode.delineators_m):
            for side, edge_m in ((-1, -section.right_edge_m), (1, section.left_edge_m)):
                placer.put("delineator", episode.delineator, along_m, side * (edge_m + 0.35))
    if episode.poles_m:
        lateral_m = episode.pole_side * (placer.edge_m(episode.pole_side) + 3.0)
        for along_m in np.arange(0.3 * episode.poles_m, length_m, episode.poles_m):
            placer.put("pole", episode.pole, along_m, lateral_m)
    if episode.lamps_m:
        for along_m in np.arange(0.4 * episode.lamps_m, length_m, episode.lamps_m):
            placer.put("lamp_post", episode.lamp, along_m, -(placer.edge_m(-1) + 0.8))


def _drive(placer: Placer, seed: int, episode: Episode, length_m: float) -> None:
    """Cars in the other lanes; within a lane all drive equally fast, so they never meet."""
    section = placer.section
    lanes = [(lane, 1) for lane in section.same_way_m] + [(lane, -1) for lane in section.oncoming_m]
    for number, ((lane_m, way), speed_mps) in enumerate(zip(lanes, episode.lane_speeds_mps, strict=True)):
        rng = np.random.default_rng([seed, 2, number])
        along_m = rng.uniform(0, episode.traffic_gap_m)
        while along_m < length_m - 12.0:
            variant, wander_m = int(rng.integers(32)), rng.uniform(-0.2, 0.2)
            placer.put("car", variant, along_m, lane_m + wander_m, speed_mps=way * speed_mps)
            along_m += 14.0 + rng.exponential(episode.traffic_gap_m)
