"""Routes of MetaDrive's road blocks, drawn from a seed: curves and straights that fit into its textured square.

MetaDrive's own generator also draws junctions and roundabouts, where "the lane" is a matter of choice, radii down to
25 m, and maps that leave the square in which roads are drawn; so the sequence of blocks and their sizes come from here
and MetaDrive builds exactly these.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.errors import BadInputError
from sim.road import Road, Segment, road_from_segments

FIRST_BLOCK_M = 50.0
"""MetaDrive begins every map with a straight of this length."""
_CLEARANCE_M = 30.0
_APART_M = 60.0
_N_TRIES = 400


def draw_blocks(
    rng: np.random.Generator, blocks: int | str, min_radius_m: float, max_radius_m: float
) -> list[dict[str, Any]]:
    """Sizes of the blocks after the first one, in the words of MetaDrive's map files.

    ``blocks``: how many, each a curve (three of four) or a straight; or a text of the letters C and S.
    """
    if isinstance(blocks, int):
        blocks = "".join("C" if rng.random() < 0.75 else "S" for _ in range(blocks))
    drawn: list[dict[str, Any]] = []
    to_the_right = bool(rng.random() < 0.5)
    previous = "0I"
    for i, letter in enumerate(blocks, 1):
        size: dict[str, Any] = {"id": letter, "pre_block_socket_index": f"{previous}-socket0"}
        if letter == "C":
            radius_m = float(np.exp(rng.uniform(np.log(min_radius_m), np.log(max_radius_m))))
            largest_deg = min(110.0, math.degrees(120.0 / radius_m))
            size |= {"radius": radius_m, "angle": float(rng.uniform(0.35, 1.0) * largest_deg)}
            to_the_right = to_the_right if rng.random() < 0.3 else not to_the_right
            size |= {"dir": int(to_the_right), "length": float(rng.uniform(5.0, 45.0))}
        else:
            size |= {"length": float(rng.uniform(30.0, 70.0))}
        drawn.append(size)
        previous = f"{i}{letter}"
    return drawn


def centre_line(blocks: list[dict[str, Any]]) -> Road:
    """Middle of the lane through these blocks, from the origin along x."""
    segments = [Segment(FIRST_BLOCK_M, 0.0, 0.0)]
    for block in blocks:
        if block["id"] == "C":
            curvature = (-1.0 if block["dir"] else 1.0) / block["radius"]
            segments.append(Segment(block["radius"] * math.radians(block["angle"]), curvature, curvature))
        segments.append(Segment(block["length"], 0.0, 0.0))
    return road_from_segments(segments)


def fits(road: Road, side_m: float) -> bool:
    """Whether the road lies in a square of this side and keeps away from itself."""
    if max(np.ptp(road.x_m), np.ptp(road.y_m)) > side_m:
        return False
    x, y, s = road.x_m[::10], road.y_m[::10], road.s_m[::10]
    distance_m = np.hypot(x[:, None] - x[None, :], y[:, None] - y[None, :])
    return bool(distance_m[np.abs(s[:, None] - s[None, :]) > _APART_M].min(initial=np.inf) > _CLEARANCE_M)


def draw_route(
    rng: np.random.Generator, blocks: int | str, min_radius_m: float, max_radius_m: float, side_m: float
) -> tuple[list[dict[str, Any]], Road]:
    """Blocks that fit into the square, and their centre line.

    Raises:
        BadInputError: none was found.
    """
    for _ in range(_N_TRIES):
        drawn = draw_blocks(rng, blocks, min_radius_m, max_radius_m)
        road = centre_line(drawn)
        if fits(road, side_m):
            return drawn, road
    raise BadInputError(
        f"map: expected blocks that fit into {side_m:g} x {side_m:g} m, got {blocks!r} with radii of "
        f"{min_radius_m:g} to {max_radius_m:g} m; take fewer blocks or smaller radii"
    )
