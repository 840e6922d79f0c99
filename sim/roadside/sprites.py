"""The library of painted pictures of everything that stands or drives beside the road.

The library is fixed: every picture is painted from its own name on first use and is the same in every process. A
picture is found by ``indices(kind, season)``, one for each variant; solid things (cars, houses) have ``N_VIEWS``
pictures from all around, of which only those in use are ever painted.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from sim.errors import BadInputError
from sim.roadside import sprite_cars, sprite_houses, sprite_panels, sprite_posts, sprite_solids, sprite_trees
from sim.roadside.sprite_solids import Lamp, Painted
from sim.seasons import SEASONS, Season
from sim.surface_class import SurfaceClass

N_VIEWS = 48
"""Pictures of a solid thing, one every 7.5 degrees; view 0 shows its back."""
MIP_RATIO = 2.0**0.5
N_KEPT = 256
"""Painted pictures that are remembered, about half a megabyte each; of those in use ``textures`` has its own copy."""


@dataclass(frozen=True)
class Kind:
    """What all pictures of one kind share.

    Attributes:
        paint: makes a picture and the places of its lamps (see ``Painted``).
        surface_class: of its pixels.
        sizes_m: (width, height) of every variant; along the road and height for a panel.
        seasonal: looks different in every season.
        lengths_m: extent along its own axis, for solid things; empty for what always faces the viewer.
        is_panel: runs along the road instead of facing the viewer.
        below: share of the height that the picture reaches below the ground.
        above: share of the height that the picture leaves free on top.
        margin_m: free on both sides of the picture.
    """

    paint: Callable[[np.random.Generator, int, Season, float], Painted]
    surface_class: SurfaceClass
    sizes_m: tuple[tuple[float, float], ...]
    seasonal: bool = False
    lengths_m: tuple[float, ...] = ()
    is_panel: bool = False
    below: float = 0.0
    above: float = 0.0
    margin_m: float = 0.0

    @property
    def n_views(self) -> int:
        return N_VIEWS if self.lengths_m else 1


@dataclass(frozen=True)
class Entry:
    """One picture's place in the library: what it shows."""

    name: str
    season: str
    variant: int
    view: int


@dataclass(frozen=True)
class Sprite:
    """A painted picture.

    Attributes:
        mips: uint8 (h, w, 4) RGB and alpha, premultiplied, each ``MIP_RATIO`` times smaller than the last.
        lamps: what shines in the dark.
    """

    mips: tuple[np.ndarray, ...]
    lamps: tuple[Lamp, ...]


def _solid(sizes_m: tuple[tuple[float, float], ...], lengths_m: tuple[float, ...]) -> dict[str, Any]:
    return {"sizes_m": sizes_m, "lengths_m": lengths_m, "below": sprite_solids.BELOW, "above": 0.04,
            "margin_m": sprite_solids.MARGIN_M}  # fmt: skip


_HOUSES, _BARNS = sprite_houses.HOUSES, sprite_houses.BARNS
_CARS = [sprite_cars.CAR_SHAPES[name] for name, _ in sprite_cars.CARS]
KINDS: dict[str, Kind] = {
    "leafy": Kind(sprite_trees.paint_leafy, SurfaceClass.VEGETATION, ((0.86, 1.0),) * 8, seasonal=True),
    "conifer": Kind(sprite_trees.paint_conifer, SurfaceClass.VEGETATION, ((0.51, 1.0),) * 6, seasonal=True),
    "bush": Kind(sprite_trees.paint_bush, SurfaceClass.VEGETATION, ((1.5, 1.0),) * 6, seasonal=True),
    "tree_row": Kind(sprite_trees.paint_tree_row, SurfaceClass.VEGETATION, ((2.91, 1.0),) * 6, seasonal=True),
    "delineator": Kind(sprite_posts.paint_delineator, SurfaceClass.POST, ((0.19, 1.0),) * 5),
    "lamp_post": Kind(sprite_posts.paint_lamp_post, SurfaceClass.POST, ((2.25, 8.0),) * 4),
    "pole": Kind(sprite_posts.paint_pole, SurfaceClass.POST, ((2.4, 8.5),) * 4),
    "round_sign": Kind(sprite_posts.paint_round_sign, SurfaceClass.SIGN, ((0.82, 2.5),) * 6),
    "triangle_sign": Kind(sprite_posts.paint_triangle_sign, SurfaceClass.SIGN, ((0.93, 2.6),) * 5),
    "board": Kind(sprite_posts.paint_board, SurfaceClass.SIGN, ((2.4, 2.4),) * 5),
    "chevron": Kind(sprite_posts.paint_chevron, SurfaceClass.SIGN, ((1.15, 1.3),) * 4),
    "car": Kind(
        sprite_cars.paint_car, SurfaceClass.VEHICLE,
        **_solid(tuple((c.width_m, c.height_m) for c in _CARS), tuple(c.length_m for c in _CARS)),
    ),
    "house": Kind(
        sprite_houses.paint_house, SurfaceClass.BUILDING, seasonal=True,
        **_solid(tuple((h.width_m, h.ridge_m) for h in _HOUSES), tuple(h.length_m for h in _HOUSES)),
    ),
    "barn": Kind(
        sprite_houses.paint_barn, SurfaceClass.BUILDING, seasonal=True,
        **_solid(tuple((h.width_m, h.ridge_m) for h in _BARNS), tuple(h.length_m for h in _BARNS)),
    ),
    "town_front": Kind(sprite_panels.paint_town_front, SurfaceClass.BUILDING, ((16.0, 11.0),) * 10, is_panel=True),
    "rock": Kind(sprite_panels.paint_rock, SurfaceClass.BARRIER, ((16.0, 5.0),) * 6, is_panel=True),
    "stone_wall": Kind(sprite_panels.paint_stone_wall, SurfaceClass.BARRIER, ((12.0, 1.1),) * 4, is_panel=True),
    "hedge": Kind(sprite_panels.paint_hedge, SurfaceClass.VEGETATION, ((12.0, 1.8),) * 4, seasonal=True, is_panel=True),
    "fence": Kind(sprite_panels.paint_fence, SurfaceClass.BARRIER, ((12.0, 1.2),) * 4, is_panel=True),
}  # fmt: skip


def _entries() -> tuple[Entry, ...]:
    return tuple(
        Entry(name, season, variant, view)
        for name, kind in KINDS.items()
        for season in (SEASONS if kind.seasonal else ("",))
        for variant in range(len(kind.sizes_m))
        for view in range(kind.n_views)
    )


SPRITES = _entries()
"""All entries of the library; an index into it names a picture."""
_FIRST: dict[tuple[str, str, int], int] = {
    (e.name, e.season, e.variant): i for i, e in enumerate(SPRITES) if e.view == 0
}


@functools.cache
def indices(kind: str, season: str) -> tuple[int, ...]:
    """The pictures of a kind in a season, one for each variant (view 0 of a solid thing)."""
    if kind not in KINDS or season not in SEASONS:
        raise BadInputError(f"sprites: expected a kind of {sorted(KINDS)} and a season, got {kind!r}, {season!r}")
    key = season if KINDS[kind].seasonal else ""
    return tuple(_FIRST[kind, key, variant] for variant in range(len(KINDS[kind].sizes_m)))


def _mips(picture: np.ndarray, largest_px: int) -> tuple[np.ndarray, ...]:
    """Ever smaller copies, averaged over areas, down to a few pixels."""
    height, width = picture.shape[:2]
    scale = min(largest_px / height, 1.0)
    mips: list[np.ndarray] = []
    while True:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        # From a copy twice as large: averages of averages, and far less to read.
        mips.append(cv2.resize(mips[-2] if len(mips) > 1 else picture, size, interpolation=cv2.INTER_AREA))
        if min(size) <= 2 or max(size) <= 6:
            return tuple(mips)
        scale /= MIP_RATIO


@functools.lru_cache(maxsize=N_KEPT)
def sprite(index: int) -> Sprite:
    """The painted picture of an index of ``SPRITES``."""
    entry = SPRITES[index]
    kind = KINDS[entry.name]
    rng = np.random.default_rng([zlib.crc32(entry.name.encode()), entry.variant])
    season = SEASONS[entry.season or next(iter(SEASONS))]  # any, where it makes no difference
    picture, lamps = kind.paint(rng, entry.variant, season, 2 * np.pi * entry.view / N_VIEWS)
    return Sprite(_mips(picture, 256), lamps)
