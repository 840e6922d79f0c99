"""The ground beside the pavement by season, and the snow that lies on both."""

from __future__ import annotations

import numpy as np

from sim.appearance.ground_loops import mix_noises, paint_gravel, paint_verge
from sim.appearance.section import CrossSection
from sim.appearance.surface import (
    N_D,
    N_S,
    Colour,
    grain,
    grid_d_m,
    lane_phase,
    noise,
    paint_by,
    ramp,
    rows_between,
    to_u8,
    white_noise,
)
from sim.families import RoadFamily
from sim.seasons import Season

_LEAST_CONTRAST = 0.15
"""By how much the colour of the ground beside the road differs from the pavement's at least."""


def _grey(colour: np.ndarray) -> float:
    return float(np.asarray(colour, float) @ (0.3, 0.59, 0.11))


def _apart(stops: tuple[Colour, ...], grey: float) -> tuple[Colour, ...]:
    """The colours made darker or brighter, so that their mean stands off a pavement of this brightness."""
    mean = np.mean(stops, axis=0)
    own = _grey(mean)
    least = max(_LEAST_CONTRAST - 0.5 * float(np.ptp(mean)), 0.07)  # green beside grey needs less
    if abs(own - grey) >= least:
        return stops
    wanted = grey + least if own > grey or grey < 0.25 else grey - least
    return tuple(tuple(np.minimum(np.array(stop) * wanted / own, 1)) for stop in stops)


def draw_verge(
    rng: np.random.Generator, family: RoadFamily, season: Season, section: CrossSection, grey: float
) -> np.ndarray:
    """Colours (N_D, N_S, 3) uint8 of everything that is not paved; ``grey`` is the pavement's brightness."""
    near, far = (str(rng.choice(kinds)) for kinds in (family.near_ground, family.far_ground))
    contrast = rng.uniform(0.6, 1.2)
    mix = mix_noises(
        noise(rng, 2.5, 5.0), np.float32(0.42 * contrast), noise(rng, 0.4, 0.6), np.float32(0.33 * contrast),
        grain(rng), np.float32(0.22 * contrast),
    )  # fmt: skip
    edges_m = np.float32(section.left_edge_m), np.float32(section.right_edge_m)
    beyond_m = np.float32(rng.uniform(2.0, 14.0))
    ragged = noise(rng, 3.0, 6.0)
    near_colours, far_colours = (ramp(*_apart(season.ground[kind], grey))[:, 0] for kind in (near, far))
    verge = np.empty((N_D, N_S, 3), np.uint8)
    paint_verge(
        verge, mix, grid_d_m[:, 0], *edges_m, near_colours, far_colours, beyond_m, ragged,
        np.float32(rng.uniform(0.0, 1.5)),
    )  # fmt: skip
    has_gravel, gravel_m = rng.random() < 0.55, rng.uniform(0.2, 1.6)
    stone, litter = np.array([0.54, 0.49, 0.42]) * rng.uniform(0.6, 1.2), rng.uniform(0.0, 1.0)
    if section.has_kerb:
        _pave_footway(rng, verge, section, grey)
    elif has_gravel:
        ragged = noise(rng, 1.0, 2.0)
        (gravel,) = _apart((tuple(stone),), grey)
        table = ramp(tuple(np.array(gravel) * 0.6), gravel, tuple(np.array(gravel) * 1.35))[:, 0]
        paint_gravel(
            verge, mix, grid_d_m[:, 0], *edges_m, np.float32(gravel_m), ragged, grain(rng), table, np.float32(0.55),
            np.float32(0.2),
        )  # fmt: skip
    _scatter(rng, verge, season, litter, np.arange(N_D))
    return verge


def _pave_footway(rng: np.random.Generator, verge: np.ndarray, section: CrossSection, grey: float) -> None:
    """A kerbstone and a footway of slabs on both sides."""
    width_m, slab_m = rng.uniform(1.6, 3.5), rng.choice([0.5, 1.0, 1.5])
    (stone,) = _apart((tuple(np.array([0.58, 0.56, 0.53]) * rng.uniform(0.7, 1.2)),), grey)
    fine, coarse = grain(rng), noise(rng, 0.5, 1.0)
    kerb = np.clip(np.array(stone) * 255 * (1.3 if _grey(np.array(stone)) < 0.6 else 0.75), 0, 255).astype(np.uint8)
    for side, edge_m in ((1, section.left_edge_m), (-1, section.right_edge_m)):
        low_m, high_m = sorted((edge_m, edge_m + side * width_m))
        rows = rows_between(low_m, high_m)
        shade = 1 + np.float32(0.10) * (fine[rows].astype(np.float32) * np.float32(1 / 128)) + 0.07 * coarse[rows]
        shade[:, :: int(slab_m / 0.1)] *= 0.75
        shade[-rows.start % int(slab_m / 0.05) :: int(slab_m / 0.05)] *= 0.75
        verge[rows] = paint_by(to_u8(0.5 * shade), ramp((0.0, 0.0, 0.0), stone, tuple(np.array(stone) * 2.0)))
        low_m, high_m = sorted((edge_m, edge_m + side * 0.18))
        verge[rows_between(low_m, high_m)] = kerb


def _scatter(rng: np.random.Generator, picture: np.ndarray, season: Season, amount: float, rows: np.ndarray) -> None:
    """Leaves, flowers or twigs as single texels on some rows."""
    n = int(len(rows) * season.litter_per_row * amount)
    colours = (np.array(season.litter) * 255).astype(np.uint8)
    where = rows[rng.integers(0, len(rows), n)], rng.integers(0, N_S - 1, n)
    chosen = colours[rng.integers(0, len(colours), n)]
    picture[where] = chosen
    picture[where[0], where[1] + 1] = chosen


def litter_road(rng: np.random.Generator, ground: np.ndarray, season: Season, section: CrossSection) -> None:
    """Leaves blown onto the sides of the pavement."""
    amount = rng.uniform(0.0, 0.5) ** 2
    sides = [rows_between(edge - 0.7, edge + 0.7) for edge in (section.left_edge_m, section.right_edge_m)]
    if season.leaves_on_road:
        _scatter(rng, ground, season, float(amount), np.concatenate([np.arange(N_D)[side] for side in sides]))


def draw_snow(
    rng: np.random.Generator, section: CrossSection, cover: float, is_falling: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lying snow: how much of the verge and of the pavement it hides, and its colours on each.

    Returns:
        Hidden shares (N_D, N_S) float32 of verge and road, colours (N_D, N_S, 3) uint8 on verge and road.
    """
    kind, packed_grey = rng.random(), rng.uniform(0.72, 0.86)
    coarse = noise(rng, 2.0, 4.0) + np.float32(0.5) * noise(rng, 0.5, 0.8)
    fine = white_noise(rng)
    verge = np.clip((cover * 2.0 - 0.55 + 0.5 * coarse + 0.25 * fine) * 2.5, 0, 1)
    phase = np.abs(lane_phase(section))
    ruts = np.exp(-(((phase - 0.24) / 0.10) ** 2))
    inside_m = np.minimum(section.left_edge_m - grid_d_m, grid_d_m - section.right_edge_m)
    bank = np.clip(0.5 - inside_m + 0.35 * coarse, 0, 1) * cover  # pushed to the sides by the plough
    if kind > 0.7 and cover > 0.55:  # packed snow: white all over, ruts worn down to ice and dirt
        road = np.clip(cover * 1.4 + 0.25 * coarse - 0.75 * ruts, 0, 1)
    elif kind > 0.4 or is_falling:  # wheel tracks are bare and wet
        road = np.clip((1.3 * cover - 0.35 + 0.35 * coarse + 0.15 * fine - 1.2 * ruts) * 1.8, 0, 0.92)
    else:  # cleared
        road = np.zeros((N_D, N_S), np.float32)
    road = np.maximum(road, np.clip(bank * 2, 0, 0.95))
    field = to_u8(0.62 + 0.25 * coarse + 0.15 * fine)
    white = paint_by(field, ramp((0.66, 0.70, 0.78), (0.86, 0.88, 0.92), (0.97, 0.98, 1.0)))
    dirty = np.array([0.98, 0.99, 1.02]) * packed_grey
    packed = paint_by(
        to_u8(0.6 + 0.3 * coarse - 0.5 * ruts + 0.12 * fine), ramp(tuple(dirty * 0.66), tuple(dirty * 1.08))
    )
    return verge.astype(np.float32), road.astype(np.float32), white, packed
