"""Painted posts, lamps, poles and traffic signs, uint8 (H, W, 4) premultiplied."""

from __future__ import annotations

import cv2
import numpy as np

from sim.roadside.sprite_solids import Lamp, Painted
from sim.seasons import Season

Colour = tuple[float, ...]
WHITE, BLACK, RED, BLUE = (236, 236, 232), (26, 26, 28), (190, 30, 34), (28, 76, 160)
YELLOW, GREEN, GREY, WOOD = (228, 186, 40), (24, 104, 66), (138, 142, 146), (104, 84, 64)


def _rgba(colour: Colour, gain: float = 1.0) -> tuple[float, float, float, float]:
    red, green, blue = (min(gain * c, 255.0) for c in colour)
    return (red, green, blue, 255.0)


def _box(picture: np.ndarray, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    """A filled rectangle given in shares of the picture."""
    height, width = picture.shape[:2]
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    points = np.round(np.array(corners) * (width - 1, height - 1) * 16).astype(np.int32)
    cv2.fillConvexPoly(picture, points, _rgba(colour), cv2.LINE_AA, 4)


def paint_delineator(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A marker post at the edge of the road."""
    picture = np.zeros((144, 28, 4), np.uint8)
    body = (WHITE, WHITE, WOOD, YELLOW, (214, 214, 206))[variant % 5]
    _box(picture, 0.2, 0.03, 0.8, 1.0, body)
    _box(picture, 0.62, 0.03, 0.8, 1.0, tuple(0.7 * c for c in body))
    if variant % 5 != 2:
        _box(picture, 0.2, 0.13, 0.8, 0.33, BLACK if variant % 5 != 4 else RED)
        _box(picture, 0.38, 0.17, 0.62, 0.29, (230, 120, 40) if variant % 2 else (245, 245, 240))
    return picture, ()


def paint_lamp_post(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A street lamp; its arm reaches to the left, over a road seen on that side."""
    picture = np.zeros((256, 72, 4), np.uint8)
    steel = (GREY, (96, 100, 102), (70, 84, 74), (168, 168, 164))[variant % 4]
    for gain, thick, shift in ((0.65, 4, 0), (1.05, 1, -1)):
        tone = _rgba(steel, gain)
        cv2.line(picture, (60 + shift, 255), (60 + shift, 26), tone, thick, cv2.LINE_AA)
        if variant % 2 == 0:
            cv2.ellipse(picture, (36, 30), (24 + shift, 22 + shift), 0, 180, 360, tone, max(thick - 1, 1), cv2.LINE_AA)
        else:
            cv2.line(picture, (60 + shift, 26), (16, 12 + shift), tone, max(thick - 1, 1), cv2.LINE_AA)
    head = (13, 31) if variant % 2 == 0 else (14, 13)
    cv2.ellipse(picture, head, (11, 5), 0, 0, 360, _rgba(steel, 0.7), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (head[0], head[1] + 2), (8, 3), 0, 0, 360, _rgba((232, 230, 214)), -1, cv2.LINE_AA)
    return picture, (Lamp(head[0] / 72, (head[1] + 2) / 256, 1.6, (255, 214, 150)),)


def paint_pole(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A wooden pole that carries wires."""
    picture = np.zeros((256, 72, 4), np.uint8)
    wood = ((96, 80, 66), (122, 108, 94), (74, 62, 54), (142, 134, 124))[variant % 4]
    cv2.fillPoly(picture, [np.array([(32, 255), (34, 2), (38, 2), (40, 255)], np.int32)], _rgba(wood, 0.7), cv2.LINE_AA)
    cv2.fillPoly(picture, [np.array([(32, 255), (34, 2), (35, 2), (35, 255)], np.int32)], _rgba(wood, 1.1), cv2.LINE_AA)
    for row in ((14, 30), (14,), (18, 34, 50), (12,))[variant % 4]:
        cv2.line(picture, (8, row), (64, row), _rgba(wood, 0.75), 3, cv2.LINE_AA)
        for x in (10, 24, 48, 62):
            cv2.line(picture, (x, row - 5), (x, row), _rgba((180, 184, 180)), 2)
    if variant % 4 == 2:
        cv2.rectangle(picture, (40, 62), (52, 86), _rgba((120, 122, 122)), -1)
    return picture, ()


def _plate(picture: np.ndarray, corners: list[tuple[float, float]], border: Colour, face: Colour) -> None:
    """A polygon with a border; the corners are in pixels, the border is an eighth of the way to the middle."""
    outer = np.array(corners, np.float64)
    middle = outer.mean(axis=0)
    for shape, colour in ((outer, border), (middle + 0.82 * (outer - middle), face)):
        cv2.fillConvexPoly(picture, np.round(shape * 16).astype(np.int32), _rgba(colour), cv2.LINE_AA, 4)


def _text(picture: np.ndarray, text: str, middle: tuple[int, int], scale: float, colour: Colour) -> None:
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 4)
    origin = (middle[0] - width // 2, middle[1] + height // 2)
    # On the colours alone: text is drawn on an opaque plate.
    rgb = np.ascontiguousarray(picture[..., :3])
    cv2.putText(rgb, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 4, cv2.LINE_AA)
    picture[..., :3] = rgb


def _stand(height: int, width: int, legs: tuple[float, ...] = (0.5,)) -> np.ndarray:
    picture = np.zeros((height, width, 4), np.uint8)
    for leg in legs:
        x = round(leg * width)
        cv2.line(picture, (x, height), (x, 20), _rgba(GREY, 0.75), 5)
        cv2.line(picture, (x - 1, height), (x - 1, 20), _rgba(GREY, 1.15), 2)
    return picture


def paint_round_sign(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A speed limit, an end of one or an order, on a post."""
    picture = _stand(256, 84)
    mark = ("50", "70", "30", "100", "", "60")[variant % 6]
    border, face = (BLUE, BLUE) if variant % 6 == 4 else (RED, WHITE)
    for radius, colour in ((40, WHITE), (38, border), (29, face)):
        cv2.circle(picture, (42, 42), radius, _rgba(colour), -1, cv2.LINE_AA)
    if mark:
        _text(picture, mark, (42, 42), 0.95 if len(mark) == 2 else 0.7, BLACK)
    else:
        cv2.arrowedLine(picture, (42, 64), (42, 20), _rgba(WHITE), 7, cv2.LINE_AA, tipLength=0.4)
    return picture, ()


def paint_triangle_sign(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A warning on a post: a triangle, or a yellow diamond."""
    picture = _stand(256, 92)
    if variant % 5 == 4:
        _plate(picture, [(46, 1), (91, 46), (46, 91), (1, 46)], BLACK, YELLOW)
        cv2.polylines(
            picture, [np.array([(40, 70), (40, 48), (56, 40), (56, 24)], np.int32)], False, _rgba(BLACK), 7, cv2.LINE_AA
        )
        return picture, ()
    _plate(picture, [(46, 2), (91, 80), (1, 80)], RED, WHITE)
    if variant % 5 == 0:
        cv2.line(picture, (46, 32), (46, 54), _rgba(BLACK), 7, cv2.LINE_AA)
        cv2.circle(picture, (46, 65), 4, _rgba(BLACK), -1, cv2.LINE_AA)
    elif variant % 5 == 3:
        cv2.ellipse(picture, (46, 56), (14, 7), -15, 0, 360, _rgba(BLACK), -1, cv2.LINE_AA)
        cv2.line(picture, (36, 58), (32, 70), _rgba(BLACK), 3, cv2.LINE_AA)
        cv2.line(picture, (54, 56), (58, 38), _rgba(BLACK), 4, cv2.LINE_AA)
    else:
        bend = (
            [(40, 70), (40, 54), (54, 46), (52, 34)] if variant % 5 == 1 else [(52, 70), (52, 54), (38, 46), (40, 34)]
        )
        cv2.polylines(picture, [np.array(bend, np.int32)], False, _rgba(BLACK), 6, cv2.LINE_AA)
    return picture, ()


def paint_board(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A direction board or the name of a place: two legs, lines of text, an arrow."""
    picture = _stand(176, 176, (0.2, 0.8))
    face, ink = ((BLUE, WHITE), (GREEN, WHITE), (WHITE, BLACK), (YELLOW, BLACK), ((120, 76, 46), WHITE))[variant % 5]
    _plate(picture, [(2, 4), (173, 4), (173, 104), (2, 104)], ink, ink)
    cv2.rectangle(picture, (7, 9), (168, 99), _rgba(face), -1)
    for row in (34, 74) if variant % 5 < 2 else (54,):
        left = int(rng.integers(18, 40))
        while left < 118:  # words, too far away to be read
            right = left + int(rng.integers(14, 44))
            cv2.rectangle(picture, (left, row - 9), (min(right, 128), row + 7), _rgba(ink, 0.92), -1)
            for x in range(left + 4, min(right, 128), 9):
                cv2.line(picture, (x, row - 9), (x, row + 7), _rgba(face), 2)
            left = right + 12
        cv2.arrowedLine(picture, (140, row), (162, row), _rgba(ink), 6, cv2.LINE_AA, tipLength=0.5)
    return picture, ()


def paint_chevron(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A board with arrows that stands on the outside of a curve; even variants point to the left."""
    picture = _stand(144, 128, (0.5,))
    face, ink = ((RED, WHITE), (BLACK, YELLOW))[variant // 2 % 2]
    _plate(picture, [(1, 2), (126, 2), (126, 78), (1, 78)], ink, ink)
    cv2.rectangle(picture, (4, 5), (123, 75), _rgba(face), -1)
    for x in (10, 48, 86):
        arrow = [(x + 22, 8), (x + 34, 8), (x + 14, 40), (x + 34, 72), (x + 22, 72), (x, 40)]
        cv2.fillPoly(picture, [np.array(arrow, np.int32)], _rgba(ink), cv2.LINE_AA)
    return (picture if variant % 2 == 0 else np.ascontiguousarray(picture[:, ::-1])), ()
