"""Named kinds of road: their course, their lanes and lines, and what lies, stands and drives beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim.checks import POSITIVE, check_numbers
from sim.errors import BadInputError

Shares = Mapping[str, float]
"""Weights of the kinds of something, by name."""
Range = tuple[float, float]


@dataclass(frozen=True)
class Lanes:
    """One layout of lanes beside the own one: how many run the same way and how many come towards it."""

    same_way: int
    oncoming: int
    divided: bool  # a median lies between the directions
    weight: float


@dataclass(frozen=True)
class RoadsideStyle:
    """What stands and drives beside a road; gaps in metres, shares from 0 to 1.

    Attributes:
        cover: weights of open country, scattered trees, avenue and wood.
        linings: weights of what runs along a side for a stretch (``sim.roadside.placer``), "" for nothing.
        houses, signs, parked: share of the places for one that are taken.
        traffic_gap_m, traffic_mps: range of the mean distance between cars in a lane, and of their speeds.
        delineators, poles, lamps: share of the roads that have them.
        large_boards: direction boards of twice the size, for fast traffic.
    """

    cover: tuple[float, float, float, float]
    linings: Shares
    houses: float
    signs: float
    traffic_gap_m: Range
    traffic_mps: Range
    parked: float
    delineators: float
    poles: float
    lamps: float
    large_boards: bool = False


@dataclass(frozen=True)
class RoadFamily:
    """Everything that one kind of road is drawn from; a new kind is one more value in ``FAMILIES``.

    Rounded from what road design guides (AASHTO Green Book; the German RAA, RAL and RASt) give for such roads; the
    tightest radii and steepest crests go below what is built new, as old roads do.

    Attributes:
        name: key in ``FAMILIES``.
        min_radius_m, max_radius_m: of the curves in plan.
        min_lane_width_m, max_lane_width_m: of one lane.
        min_speed_mps, max_speed_mps: an episode's top speed is drawn from here; curves are driven slower.
        mean_straight_m: mean length of the straights between curves.
        max_grade: steepest slope of the road, m/m.
        max_arc_turn_rad: furthest that one arc with one of its clothoids turns, about.
        min_vertical_radius_m: tightest crest or sag.
        shoulder_m: range of the paved width beyond the edge lines.
        lanes: layouts of the lanes.
        has_kerb: a raised footway runs along both sides, with parking bays here and there.
        concrete: share of roads of concrete slabs.
        centre_lines: weights of the kinds of line between the directions (``sim.appearance.markings``).
        edge_lines: share of roads with lines along their edges.
        incidents: weights of what may lie on a stretch of road (``sim.appearance.tiles``).
        near_ground, far_ground: kinds of ground beside the road and further away (``sim.seasons``).
        shadows: weights of what throws shadows on a sunny road (``sim.appearance.shadows``).
        far_hills_rad, near_hills_rad: range of the heights of hills above the horizon.
        ruggedness: of the hills' outline.
        towns_at_horizon: rows of houses stand among the hills.
        roadside: what stands and drives beside the road.
    """

    name: str
    min_radius_m: float
    max_radius_m: float
    min_lane_width_m: float
    max_lane_width_m: float
    min_speed_mps: float
    max_speed_mps: float
    mean_straight_m: float
    max_grade: float
    max_arc_turn_rad: float
    min_vertical_radius_m: float
    shoulder_m: Range
    lanes: tuple[Lanes, ...]
    centre_lines: Shares
    edge_lines: float
    incidents: Shares
    near_ground: tuple[str, ...]
    far_ground: tuple[str, ...]
    shadows: Shares
    far_hills_rad: Range
    near_hills_rad: Range
    ruggedness: float
    roadside: RoadsideStyle
    has_kerb: bool = False
    concrete: float = 0.06
    towns_at_horizon: bool = False

    def __post_init__(self) -> None:
        check_numbers(f"road family {self.name}", self, POSITIVE, *list(vars(self))[1:11])
        for quantity in ("radius_m", "lane_width_m", "speed_mps"):
            low, high = getattr(self, f"min_{quantity}"), getattr(self, f"max_{quantity}")
            if low > high:
                raise BadInputError(
                    f"road family {self.name}: expected min_{quantity} <= max_{quantity}, got {low}, {high}"
                )


_ALL = (
    RoadFamily(
        "highway", 250.0, 1500.0, 3.5, 3.9, 18.0, 27.0, 80.0, 0.04, 0.8, 600.0,
        shoulder_m=(0.8, 2.8),
        lanes=(Lanes(1, 2, True, 0.6), Lanes(2, 1, True, 0.15), Lanes(1, 2, False, 0.25)),
        concrete=0.2,
        centre_lines={"double": 0.8, "solid": 0.2},
        edge_lines=0.97,
        incidents={"resurfaced": 2, "bridge": 2, "widening": 3, "missing": 1, "ghost": 2},
        near_ground=("grass", "grass", "meadow"),
        far_ground=("grass", "meadow", "soil", "forest"),
        shadows={"none": 0.4, "poles": 0.2, "trees": 0.2, "bridge": 0.15, "slope": 0.05},
        far_hills_rad=(0.0, 0.05),
        near_hills_rad=(0.0, 0.04),
        ruggedness=0.7,
        roadside=RoadsideStyle(
            cover=(0.40, 0.30, 0.05, 0.25),
            linings={"": 0.45, "rail": 0.40, "concrete": 0.10, "rock": 0.05},
            houses=0.02, signs=0.40, traffic_gap_m=(35.0, 120.0), traffic_mps=(22.0, 33.0), parked=0.0,
            delineators=0.9, poles=0.1, lamps=0.15, large_boards=True,
        ),
    ),
    RoadFamily(
        "country", 50.0, 400.0, 3.0, 3.7, 10.0, 18.0, 35.0, 0.06, 1.5, 250.0,
        shoulder_m=(0.15, 0.9),
        lanes=(Lanes(0, 1, False, 0.92), Lanes(0, 0, False, 0.08)),
        centre_lines={"dashed": 0.42, "double": 0.22, "solid": 0.1, "half": 0.11, "none": 0.15},
        edge_lines=0.72,
        incidents={
            "side_road_right": 2, "side_road_left": 2, "crossroads": 1.5, "resurfaced": 1.5, "bridge": 1, "missing": 1,
            "ghost": 1.5, "widening": 1,
        },
        near_ground=("grass", "grass", "meadow", "sand"),
        far_ground=("meadow", "soil", "forest", "grass", "sand"),
        shadows={"none": 0.15, "poles": 0.15, "trees": 0.4, "forest": 0.2, "slope": 0.1},
        far_hills_rad=(0.0, 0.09),
        near_hills_rad=(0.01, 0.10),
        ruggedness=1.0,
        roadside=RoadsideStyle(
            cover=(0.25, 0.30, 0.20, 0.25),
            linings={"": 0.58, "rail": 0.08, "hedge": 0.12, "fence": 0.14, "stone_wall": 0.08},
            houses=0.16, signs=0.30, traffic_gap_m=(60.0, 260.0), traffic_mps=(13.0, 22.0), parked=0.02,
            delineators=0.6, poles=0.5, lamps=0.05,
        ),
    ),
    RoadFamily(
        "mountain", 25.0, 120.0, 2.8, 3.4, 7.0, 12.0, 15.0, 0.10, 2.0, 150.0,
        shoulder_m=(0.10, 0.5),
        lanes=(Lanes(0, 1, False, 0.85), Lanes(0, 0, False, 0.15)),
        centre_lines={"dashed": 0.22, "double": 0.2, "solid": 0.13, "half": 0.05, "none": 0.4},
        edge_lines=0.5,
        incidents={
            "side_road_right": 2, "side_road_left": 2, "resurfaced": 2, "bridge": 1, "missing": 2, "ghost": 1,
        },
        near_ground=("grass", "forest", "rock", "sand"),
        far_ground=("forest", "rock", "meadow", "forest"),
        shadows={"none": 0.12, "poles": 0.08, "trees": 0.33, "forest": 0.32, "slope": 0.15},
        far_hills_rad=(0.05, 0.20),
        near_hills_rad=(0.04, 0.22),
        ruggedness=1.7,
        roadside=RoadsideStyle(
            cover=(0.20, 0.30, 0.0, 0.50),
            linings={"": 0.34, "rail": 0.26, "rock": 0.28, "stone_wall": 0.10, "fence": 0.02},
            houses=0.03, signs=0.40, traffic_gap_m=(90.0, 350.0), traffic_mps=(8.0, 14.0), parked=0.01,
            delineators=0.6, poles=0.25, lamps=0.0,
        ),
    ),
    RoadFamily(
        "urban", 20.0, 150.0, 2.9, 3.5, 6.0, 11.0, 70.0, 0.03, 1.6, 150.0,
        shoulder_m=(0.25, 0.6),
        lanes=(Lanes(0, 1, False, 0.65), Lanes(1, 2, False, 0.25), Lanes(0, 0, False, 0.10)),
        has_kerb=True,
        concrete=0.2,
        centre_lines={"dashed": 0.5, "double": 0.18, "solid": 0.15, "none": 0.17},
        edge_lines=0.2,
        incidents={
            "side_road_right": 1.5, "side_road_left": 1.5, "crossroads": 2, "zebra": 3, "resurfaced": 1, "missing": 1,
            "ghost": 1, "lane_arrows": 1.5,
        },
        near_ground=("grass", "grass", "soil"),
        far_ground=("grass", "soil", "sand"),
        shadows={"none": 0.15, "poles": 0.2, "trees": 0.35, "slope": 0.3},
        far_hills_rad=(0.0, 0.05),
        near_hills_rad=(0.01, 0.08),
        ruggedness=0.6,
        towns_at_horizon=True,
        roadside=RoadsideStyle(
            cover=(0.35, 0.35, 0.25, 0.05),
            linings={"": 0.34, "town_front": 0.42, "hedge": 0.09, "stone_wall": 0.09, "fence": 0.06},
            houses=0.60, signs=0.50, traffic_gap_m=(50.0, 200.0), traffic_mps=(7.0, 13.0), parked=0.12,
            delineators=0.05, poles=0.25, lamps=0.85,
        ),
    ),
)  # fmt: skip
FAMILIES: dict[str, RoadFamily] = {family.name: family for family in _ALL}
"""Every kind of road by its name."""
