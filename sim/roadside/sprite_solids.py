"""Solids to paint: small models of flat faces, seen from any side.

A model stands in metres: x forward, y left, z up, its foot in the origin. It is drawn in parallel projection from
slightly above, so a picture needs no distance; ``yaw_rad`` turns its x axis to the left of the line of sight.
Pictures are uint8 (H, W, 4), RGB premultiplied with alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

Colour = tuple[float, ...]
Points = list[tuple[float, float, float]]

PITCH_RAD = 0.05
"""The camera looks down on what stands around it by about this much."""
BELOW = 0.16
"""A picture reaches this share of the model's height below the ground, for the near side and the shadow."""
MARGIN_M = 0.25
GLASS: Colour = (46, 56, 66)


@dataclass(frozen=True)
class Lamp:
    """Something that shines in the dark: its place in shares of the picture, its size in metres and its colour."""

    x: float
    y: float
    radius_m: float
    colour: Colour


Painted = tuple[np.ndarray, tuple[Lamp, ...]]
"""What every painter ``paint(rng, variant, season, yaw_rad)`` gives: a picture uint8 (h, w, 4), RGB and alpha,
premultiplied, and what shines in it. Only what is solid looks different from another side."""


@dataclass
class Painter:
    """Draws faces, those turned away left out, back to front as they are called."""

    size_m: tuple[float, float, float]
    yaw_rad: float
    pixels_per_m: float
    lamps: list[Lamp] = field(default_factory=list)

    def __post_init__(self) -> None:
        length_m, width_m, height_m = self.size_m
        self._cos, self._sin = float(np.cos(self.yaw_rad)), float(np.sin(self.yaw_rad))
        self._cos_pitch, self._sin_pitch = float(np.cos(PITCH_RAD)), float(np.sin(PITCH_RAD))
        turned_m = width_m * abs(self._cos) + length_m * abs(self._sin)
        self._left_m, self._top_m = turned_m / 2 + MARGIN_M, height_m * 1.04
        rows = round((self._top_m + BELOW * height_m) * self.pixels_per_m)
        self.picture = np.zeros((rows, round(2 * self._left_m * self.pixels_per_m), 4), np.uint8)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (n, 2), column and row, of points (n, 3) of the model."""
        away, left = self._turned(points[:, 0], points[:, 1])
        up = points[:, 2] * self._cos_pitch + away * self._sin_pitch
        return np.stack([self._left_m - left, self._top_m - up], axis=1) * self.pixels_per_m

    def _turned(self, x: Any, y: Any) -> tuple[Any, Any]:
        return x * self._cos - y * self._sin, x * self._sin + y * self._cos

    def normal(self, points: Points) -> tuple[float, float, float]:
        """Unit normal of a face in the viewer's axes (away, left, up); corners run counter-clockwise from outside."""
        # Plain numbers: numpy takes ten times as long for three of them.
        (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = points[:3]
        ax, ay, az, bx, by, bz = x1 - x0, y1 - y0, z1 - z0, x2 - x0, y2 - y0, z2 - z0
        x, y, up = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        away, left = self._turned(x, y)
        length = math.sqrt(x * x + y * y + up * up)
        return away / length, left / length, up / length

    def _is_seen(self, normal: tuple[float, float, float]) -> bool:
        return normal[0] * self._cos_pitch - normal[2] * self._sin_pitch < -0.02

    def sees(self, points: Points) -> bool:
        return self._is_seen(self.normal(points))

    def face(self, points: Points, colour: Colour, shaded: bool = True) -> bool:
        """Fill a face in a colour, lit from above, the left and behind the viewer; False where it is turned away."""
        away, left, up = normal = self.normal(points)
        if not self._is_seen(normal):
            return False
        gain = 0.62 + 0.34 * up - 0.18 * away + 0.12 * left if shaded else 1.0
        tone = tuple(float(min(gain * c, 255.0)) for c in colour)
        pixels = np.round(self.project(np.array(points)) * 16).astype(np.int32)
        cv2.fillPoly(self.picture, [pixels], (*tone, 255.0), cv2.LINE_AA, 4)
        return True

    def lamp(self, point: tuple[float, float, float], radius_m: float, colour: Colour) -> None:
        column, row = self.project(np.array([point]))[0]
        rows, columns = self.picture.shape[:2]
        self.lamps.append(Lamp(float(column / columns), float(row / rows), radius_m, colour))

    def shadow(self, depth: float) -> None:
        """A soft dark ellipse on the ground, to be called first; never more than half opaque."""
        length_m, width_m, _ = self.size_m
        turn = np.linspace(0, 2 * np.pi, 40)
        ring = np.stack([0.54 * length_m * np.cos(turn), 0.60 * width_m * np.sin(turn), 0 * turn], axis=1)
        cover = np.zeros(self.picture.shape[:2], np.uint8)
        cv2.fillPoly(cover, [self.project(ring).astype(np.int32)], 255.0 * depth)
        self.picture[..., 3] = cv2.blur(cover, (9, 9))


def inset(points: Points, left: float, right: float, low: float, high: float) -> Points:
    """The part of a face with four corners, given in shares of its two directions."""
    corners = list(zip(*points, strict=True))  # of each axis

    def at(u: float, v: float) -> tuple[float, float, float]:
        x, y, z = ((1 - u) * (1 - v) * a + u * (1 - v) * b + u * v * c + (1 - u) * v * d for a, b, c, d in corners)
        return (float(x), float(y), float(z))

    return [at(left, low), at(right, low), at(right, high), at(left, high)]
