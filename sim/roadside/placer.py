"""How single things are placed beside a road: plants, houses, signs, parked cars and what lines the road."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sim.appearance.section import CrossSection
from sim.families import RoadsideStyle
from sim.roadside.sprites import KINDS, indices
from sim.seasons import Season

STRETCH_M = 200.0
"""What lines the road changes from stretch to stretch."""
CELL_M = 50.0
"""Everything in a cell comes from a generator of its own, so a longer road begins like a shorter one."""
LANE_CLEARANCE_M = 0.3
"""Nothing comes nearer than this to the own lane."""
_HEIGHTS_M = {"leafy": (6.0, 14.0), "conifer": (7.0, 17.0), "bush": (0.7, 2.0), "tree_row": (9.0, 15.0)}


@dataclass(frozen=True)
class Barrier:
    """A wall, fence or guard rail that runs along the road.

    Attributes:
        start_m, end_m: arc lengths it begins and ends at.
        lateral_m: distance from the own lane's middle, left positive.
        bottom_m, top_m: heights above the ground (a guard rail floats above it).
        colour: (3,) RGB in [0, 1], before light.
        post_spacing_m: a darker post every so often, 0 for none.
    """

    start_m: float
    end_m: float
    lateral_m: float
    bottom_m: float
    top_m: float
    colour: tuple[float, float, float]
    post_spacing_m: float


@dataclass(frozen=True)
class Theme:
    """What stays the same along the whole road."""

    cover: int
    species: tuple[str, ...]
    n_variants: int
    density: float
    avenue_m: float
    delineators_m: float
    delineator: int
    poles_m: float
    pole_side: int
    pole: int
    lamps_m: float
    lamp: int
    traffic_gap_m: float
    lane_speeds_mps: tuple[float, ...]
    rail_colour: tuple[float, float, float]


@dataclass
class Placer:
    """Collects the objects; knows where the road ends on both sides."""

    season: Season
    section: CrossSection
    rows: list[tuple[float, float, float, float, float, int, int]] = field(default_factory=list)
    barriers: list[Barrier] = field(default_factory=list)

    def edge_m(self, side: int) -> float:
        """Distance from the own lane's middle to the end of everything paved, on the left (1) or right (-1)."""
        if side < 0:
            return -self.section.right_edge_m
        far = self.section.far_carriageway_m
        return far[1] if far else self.section.left_edge_m

    def put(
        self, kind: str, variant: int, along_m: float, lateral_m: float,
        size_m: tuple[float, float] | None = None, speed_mps: float = 0.0,
    ) -> None:  # fmt: skip
        known = KINDS[kind]
        choice = indices(kind, self.season.name)
        variant %= len(choice)
        width_m, height_m = size_m or known.sizes_m[variant]
        self.rows.append((along_m, lateral_m, speed_mps, width_m, height_m, choice[variant], int(known.surface_class)))

    def grow(self, rng: np.random.Generator, kind: str, along_m: float, side: int, clear_m: float) -> None:
        """A plant whose trunk stands ``clear_m`` beyond the edge, further where its lower boughs need room."""
        variant = int(rng.integers(32))
        low_m, high_m = _HEIGHTS_M[kind]
        height_m = rng.uniform(low_m, high_m)
        width_m = KINDS[kind].sizes_m[0][0] * height_m * rng.uniform(0.88, 1.15)
        room_m = {"leafy": 0.10, "conifer": 0.45}.get(kind, 0.52) * width_m
        lateral_m = side * (self.edge_m(side) + max(clear_m, room_m))
        self.put(kind, variant, along_m, lateral_m, (width_m, height_m))


def line(
    placer: Placer, rng: np.random.Generator, style: RoadsideStyle, theme: Theme, side: int, start_m: float
) -> str:
    """Choose and place what runs along one side for a stretch; returns its name, empty for nothing."""
    names = list(style.linings)
    weights = np.array(list(style.linings.values()))
    name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    begin_m, length_m = start_m + rng.uniform(0, 60), rng.uniform(70, STRETCH_M - 60)
    gap_m, size, variant = rng.uniform(0, 1), rng.uniform(0, 1), int(rng.integers(32))
    edge_m = placer.edge_m(side)
    if name == "rail":
        lateral_m = side * (edge_m + 0.4 + 0.8 * gap_m)
        placer.barriers.append(Barrier(begin_m, begin_m + length_m, lateral_m, 0.45, 0.76, theme.rail_colour, 4.0))
    elif name == "concrete":
        lateral_m = side * (edge_m + 0.5)
        placer.barriers.append(Barrier(begin_m, begin_m + length_m, lateral_m, 0.0, 0.85, (0.66, 0.65, 0.62), 0.0))
    elif name:
        low_m, high_m, clear_m = {
            "rock": (3.0, 7.0, 1.6), "stone_wall": (0.8, 1.5, 1.2), "hedge": (1.0, 2.2, 1.4),
            "fence": (1.0, 1.4, 1.4), "town_front": (9.5, 11.5, 2.4),
        }[name]  # fmt: skip
        width_m = KINDS[name].sizes_m[0][0]
        height_m = low_m + size * (high_m - low_m)
        n_panels = max(round((STRETCH_M if name == "town_front" else length_m) / width_m), 1)
        first_m = start_m if name == "town_front" else begin_m
        lateral_m = side * (edge_m + clear_m * (1 + gap_m))
        for i in range(n_panels):
            own = variant + (i * 7 if name == "town_front" else 0)
            if name == "town_front" and rng.random() < 0.12:
                continue  # a gap between the houses
            if name == "rock":
                own = variant % 4 + (4 * (i % 2) if variant % 4 < 2 else 0)
            placer.put(name, own, first_m + (i + 0.5) * width_m, lateral_m, (width_m, height_m))
    return name


def line_median(placer: Placer, theme: Theme, start_m: float) -> None:
    """Between two carriageways there is always a rail."""
    far = placer.section.far_carriageway_m
    if far:
        lateral_m = 0.5 * (placer.section.left_edge_m + far[0])
        placer.barriers.append(Barrier(start_m, start_m + STRETCH_M, lateral_m, 0.45, 0.76, theme.rail_colour, 4.0))


def plant(
    placer: Placer, rng: np.random.Generator, theme: Theme, side: int, start_m: float, lining: str, thickness: float
) -> None:
    """Trees and bushes of one cell of one side, as the theme's cover and the stretch's thickness have it."""
    is_blocked = lining in ("rock", "town_front")
    base_m = {"": 1.2, "rail": 2.2, "concrete": 1.8, "town_front": 0.9}.get(lining, 3.6)
    if theme.cover == 2 and lining != "rock":  # an avenue
        for along_m in np.arange(start_m + 0.5 * theme.avenue_m, start_m + CELL_M, theme.avenue_m):
            if rng.random() < 0.93:
                placer.grow(rng, theme.species[0], along_m + rng.normal(0, 0.4), side, max(base_m, 1.8))
        return
    if is_blocked:
        if lining == "town_front" and rng.random() < 0.15:
            placer.grow(rng, "leafy", start_m + rng.uniform(0, CELL_M), side, 1.2)
        return
    n_trees = (0.25, 1.6, 0.0, 3.6)[theme.cover] * theme.density * thickness
    for _ in range(rng.poisson(n_trees)):
        name = theme.species[int(rng.integers(len(theme.species)))]
        placer.grow(rng, name, start_m + rng.uniform(0, CELL_M), side, base_m + rng.gamma(1.6, 2.6))
    for _ in range(rng.poisson((0.4, 1.0, 0.3, 1.2)[theme.cover] * theme.density)):
        placer.grow(rng, "bush", start_m + rng.uniform(0, CELL_M), side, base_m + rng.gamma(1.3, 2.0))
    rows = (0.12, 0.35, 0.2, 2.0 * max(thickness, 0.5))[theme.cover]
    for i in range(int(rows + rng.random())):
        clear_m = (26.0 if theme.cover != 3 else 5.0) + rng.uniform(0, 8)
        wide_m = 2.91 * rng.uniform(*_HEIGHTS_M["tree_row"])
        variant = int(rng.integers(3)) * 2 + (1 if theme.species[0] == "conifer" else 0)
        lateral_m = side * (placer.edge_m(side) + clear_m + 0.5 * wide_m)
        placer.put("tree_row", variant, start_m + (i + rng.random()) * 25.0, lateral_m, (wide_m, wide_m / 2.91))


def build(
    placer: Placer, rng: np.random.Generator, style: RoadsideStyle, side: int, start_m: float, lining: str
) -> None:
    """Perhaps a house or a barn in this cell of this side."""
    wanted, along_m, variant = rng.random(), start_m + rng.uniform(10, CELL_M - 10), int(rng.integers(32))
    back_m = rng.uniform(4.0, 14.0) if lining != "town_front" else 0.0
    if lining in ("rock", "town_front") or wanted > style.houses:
        return
    name = "barn" if style.houses < 0.5 and variant % 3 == 0 else "house"
    width_m = KINDS[name].sizes_m[variant % len(KINDS[name].sizes_m)][0]
    placer.put(name, variant, along_m, side * (placer.edge_m(side) + back_m + 0.5 * width_m))


def put_sign(placer: Placer, rng: np.random.Generator, style: RoadsideStyle, side: int, start_m: float) -> None:
    """Perhaps a traffic sign; most stand on the right, those on the left show their backs to others and are rarer."""
    name = ("round_sign", "triangle_sign", "board", "chevron")[int(rng.choice(4, p=(0.38, 0.28, 0.2, 0.14)))]
    wanted, along_m, variant = rng.random(), start_m + rng.uniform(0, CELL_M), int(rng.integers(32))
    clear_m = rng.uniform(0.5, 1.4)
    if wanted > style.signs * (1.0 if side < 0 else 0.35):
        return
    width_m, height_m = KINDS[name].sizes_m[variant % len(KINDS[name].sizes_m)]
    if name == "board" and style.large_boards:
        width_m, height_m = 2 * width_m, 2 * height_m
    placer.put(name, variant, along_m, side * (placer.edge_m(side) + clear_m + 0.5 * width_m), (width_m, height_m))


def park(
    placer: Placer, rng: np.random.Generator, style: RoadsideStyle, side: int, start_m: float, lining: str
) -> None:
    """Cars parked on the verge, or in the bays of a wide paved edge in towns."""
    half_m = placer.section.lane_width_m / 2
    edge_m = placer.edge_m(side)
    lanes = [lane for lane in (0.0, *placer.section.same_way_m, *placer.section.oncoming_m) if side * lane >= 0]
    bay_m = edge_m - (max(side * lane for lane in lanes) + half_m)
    has_bays = bay_m > 2.1 and placer.section.has_kerb  # a highway has a hard shoulder there
    is_narrow = not has_bays and lining in ("rail", "concrete", "rock", "stone_wall", "hedge", "fence")
    for i in range(int(CELL_M / 7.0)):
        wanted, variant, shift_m = rng.random(), int(rng.integers(32)), rng.uniform(-0.3, 0.3)
        if wanted > (max(style.parked, 0.3) if has_bays else style.parked) or is_narrow:
            continue
        width_m = KINDS["car"].sizes_m[variant % len(KINDS["car"].sizes_m)][0]
        lateral_m = edge_m - 0.12 - 0.5 * width_m if has_bays else edge_m + 0.2 + 0.5 * width_m
        if lateral_m - 0.5 * width_m > half_m + LANE_CLEARANCE_M:
            placer.put("car", variant, start_m + (i + 0.5) * 7.0 + shift_m, side * lateral_m)
