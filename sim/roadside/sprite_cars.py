"""Painted cars, uint8 (H, W, 4) premultiplied, seen from any side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.roadside.sprite_solids import GLASS, Colour, Painted, Painter, inset
from sim.seasons import Season


@dataclass(frozen=True)
class CarShape:
    """Side view of a car in metres; x as shares of the length from the rear (0) to the front (1).

    The cabin stands on the body from ``cabin`` (rear and front foot) and ends in ``roof`` (rear and front edge).
    """

    length_m: float
    width_m: float
    height_m: float
    belt_m: float
    hood_m: float
    tail_m: float
    cabin: tuple[float, float]
    roof: tuple[float, float]


CAR_SHAPES = {
    "sedan": CarShape(4.6, 1.80, 1.45, 0.92, 0.80, 0.90, (0.10, 0.76), (0.27, 0.58)),
    "hatch": CarShape(4.1, 1.74, 1.50, 0.94, 0.84, 0.94, (0.01, 0.76), (0.10, 0.58)),
    "suv": CarShape(4.6, 1.90, 1.75, 1.08, 1.02, 1.08, (0.01, 0.78), (0.07, 0.62)),
    "pickup": CarShape(5.2, 1.92, 1.80, 1.10, 1.04, 1.06, (0.36, 0.78), (0.41, 0.64)),
    "van": CarShape(5.1, 1.98, 2.25, 1.15, 1.10, 1.15, (0.0, 0.90), (0.01, 0.76)),
}
PAINTS: tuple[Colour, ...] = (
    (214, 216, 218), (30, 32, 36), (150, 156, 162), (140, 26, 28), (36, 58, 104), (92, 96, 100),
    (232, 232, 228), (58, 66, 62), (176, 166, 146), (24, 44, 66),
)  # fmt: skip
CARS = (
    ("sedan", 2), ("hatch", 3), ("suv", 1), ("sedan", 4), ("hatch", 0), ("suv", 6),
    ("pickup", 9), ("van", 6), ("sedan", 1), ("suv", 5), ("hatch", 8), ("sedan", 7),
)  # fmt: skip
"""Shape and paint of every variant."""


def _wheels(painter: Painter, shape: CarShape, outside: bool) -> None:
    """Tyres under the body, or their outer discs with the rims."""
    half = shape.width_m / 2
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    for x in (-0.31 * shape.length_m, 0.32 * shape.length_m):
        for side in (-1, 1):
            for radius_m, colour in ((0.33, (20, 20, 21)), (0.20, (120, 122, 124))):
                y = side * (half + 0.01)
                ring = [(x + radius_m * np.cos(a), y, 0.33 + radius_m * np.sin(a)) for a in side * -turn]
                if outside:
                    painter.face(ring, colour, shaded=False)
            if not outside:
                inner, outer = side * (half - 0.22), side * half
                low, high = min(inner, outer), max(inner, outer)
                for front, edge in ((1, x + 0.28), (-1, x - 0.28)):
                    box = [(edge, low, 0.0), (edge, high, 0.0), (edge, high, 0.5), (edge, low, 0.5)]
                    painter.face(box[:: 1 if front > 0 else -1], (18, 18, 19), shaded=False)


def _body(painter: Painter, shape: CarShape, paint: Colour) -> None:
    rear, front, half = -shape.length_m / 2, shape.length_m / 2, shape.width_m / 2
    cabin_rear, cabin_front = (rear + s * shape.length_m for s in shape.cabin)
    profile = [
        (rear + 0.10, 0.24), (front - 0.12, 0.22), (front, 0.36), (front, shape.hood_m - 0.16),
        (front - 0.22, shape.hood_m), (cabin_front, shape.belt_m), (cabin_rear, shape.belt_m),
        (rear + 0.08, shape.tail_m), (rear, shape.tail_m - 0.14), (rear, 0.40),
    ]  # fmt: skip
    for (x0, z0), (x1, z1) in zip(profile, profile[1:] + profile[:1], strict=True):
        painter.face([(x0, -half, z0), (x0, half, z0), (x1, half, z1), (x1, -half, z1)], paint)
    for side in (-1, 1):
        flank = [(x, side * half, z) for x, z in profile][::-side]
        painter.face(flank, paint)
        sill = [(rear, side * half * 1.001, 0.24), (front, side * half * 1.001, 0.24),
                (front, side * half * 1.001, 0.40), (rear, side * half * 1.001, 0.40)]  # fmt: skip
        painter.face(sill[::-side], (34, 34, 36))


def _cabin(painter: Painter, shape: CarShape, paint: Colour) -> None:
    rear, half = -shape.length_m / 2, shape.width_m / 2
    foot = [rear + s * shape.length_m for s in shape.cabin]
    roof = [rear + s * shape.length_m for s in shape.roof]
    wide, slim = 0.96 * half, (0.80 if shape.height_m < 2.0 else 0.90) * half
    low, high = shape.belt_m, shape.height_m
    faces = {
        "front": [(foot[1], -wide, low), (foot[1], wide, low), (roof[1], slim, high), (roof[1], -slim, high)],
        "rear": [(foot[0], wide, low), (foot[0], -wide, low), (roof[0], -slim, high), (roof[0], slim, high)],
        "left": [(foot[1], wide, low), (foot[0], wide, low), (roof[0], slim, high), (roof[1], slim, high)],
        "right": [(foot[0], -wide, low), (foot[1], -wide, low), (roof[1], -slim, high), (roof[0], -slim, high)],
        "roof": [(roof[0], -slim, high), (roof[1], -slim, high), (roof[1], slim, high), (roof[0], slim, high)],
    }
    for corners in faces.values():
        painter.face(corners, paint)
    painter.face(inset(faces["front"], 0.05, 0.95, 0.06, 0.92), GLASS)
    painter.face(inset(faces["front"], 0.05, 0.95, 0.55, 0.92), (84, 98, 110))  # the sky in the glass
    painter.face(inset(faces["rear"], 0.08, 0.92, 0.25, 0.90), GLASS)
    for name in ("left", "right"):
        if shape.height_m > 2.0:  # a van has windows in front only
            spans: tuple[tuple[float, float], ...] = ((0.72, 0.94),) if name == "right" else ((0.06, 0.28),)
        else:
            spans = ((0.07, 0.34), (0.37, 0.62), (0.65, 0.92))
        for left, right in spans:
            painter.face(inset(faces[name], left, right, 0.10, 0.88), GLASS)


def _ends(painter: Painter, shape: CarShape) -> None:
    """Grille, plates, lamps in front and behind."""
    half, end = shape.width_m / 2, shape.length_m / 2 + 0.005

    def patch(x: float, y0: float, y1: float, z0: float, z1: float, colour: Colour) -> None:
        corners = [(x, y0, z0), (x, y1, z0), (x, y1, z1), (x, y0, z1)]
        painter.face(corners if x > 0 else corners[::-1], colour, shaded=False)

    high = shape.hood_m - 0.16
    patch(end, -0.62 * half, 0.62 * half, high - 0.18, high, (26, 27, 29))
    patch(end, -0.80 * half, 0.80 * half, 0.30, 0.42, (30, 30, 32))
    patch(end, -0.26, 0.26, 0.42, 0.53, (228, 228, 222))
    tail = shape.tail_m - 0.14
    patch(-end, -0.86 * half, 0.86 * half, 0.30, 0.44, (40, 40, 42))
    patch(-end, -0.26, 0.26, tail - 0.26, tail - 0.14, (228, 226, 206))
    for side in (-1, 1):
        inner, outer = sorted((side * 0.60 * half, side * 0.97 * half))
        patch(end, inner, outer, high - 0.15, high + 0.02, (238, 240, 242))
        patch(-end, inner, outer, tail - 0.20, tail - 0.01, (168, 18, 20))
        if np.cos(painter.yaw_rad) < -0.3:
            painter.lamp((end, side * 0.76 * half, high - 0.06), 0.75, (255, 244, 214))
        elif np.cos(painter.yaw_rad) > 0.3:
            painter.lamp((-end, side * 0.78 * half, tail - 0.10), 0.34, (220, 24, 16))


def paint_car(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A car of ``CARS``; yaw 0 shows its rear, pi its front."""
    name, colour = CARS[variant % len(CARS)]
    shape = CAR_SHAPES[name]
    painter = Painter((shape.length_m, shape.width_m, shape.height_m), yaw_rad, 110.0)
    painter.shadow(0.47)
    _wheels(painter, shape, outside=False)
    _body(painter, shape, PAINTS[colour])
    _cabin(painter, shape, PAINTS[colour])
    _wheels(painter, shape, outside=True)
    _ends(painter, shape)
    return painter.picture, tuple(painter.lamps)
