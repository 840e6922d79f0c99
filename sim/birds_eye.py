"""The road around the car from above, a map for people."""

from __future__ import annotations

import cv2
import numpy as np

SUPERSAMPLING = 4
"""The map is drawn this many times larger and averaged down: smooth edges whatever the shape."""
CAR_FRONT_M, CAR_REAR_M, CAR_HALF_WIDTH_M = 3.6, 0.9, 0.9
"""The car's outline about the middle of its rear axle."""
SCALE_BAR_M = 10.0
SPACING_M = 0.5
"""Between the points of the centre line that are drawn."""
GAP_PX = 6
"""Between the two pictures of ``side_by_side``."""

# Lightness alone tells the surfaces apart; the car's and the trail's hues (Okabe and Ito's set) stay apart for
# every kind of colour vision.
VERGE, ROAD, LANE = (222, 228, 216), (150, 153, 156), (122, 126, 131)
LINE, CENTRE, INK = (250, 250, 250), (230, 214, 150), (40, 44, 48)
CAR, GLASS, TRAIL = (213, 94, 0), (255, 214, 176), (0, 114, 178)


def draw_birds_eye(
    centre_xy_m: np.ndarray,
    half_width_left_m: float | np.ndarray,
    half_width_right_m: float | np.ndarray,
    lane_half_width_m: float,
    car_xy_heading: tuple[float, float, float],
    trail_xy_m: np.ndarray,
    size_px: int = 234,
    ahead_m: float = 45.0,
    behind_m: float = 15.0,
) -> np.ndarray:
    """Draw the road, the own lane, the car to scale and where it came from; the car's forward is up.

    Args:
        centre_xy_m: centre line of the own lane in the world, (n, 2), in the direction of driving.
        half_width_left_m, half_width_right_m: from the centre line to the road's edges, one for all or (n,) each.
        lane_half_width_m: from the centre line to the edges of the own lane.
        car_xy_heading: middle of the rear axle and heading (rad) in the world.
        trail_xy_m: (m, 2), the car's past places; may be empty.
        size_px: rows and columns of the map, which shows ``ahead_m + behind_m`` metres each way.

    Returns:
        uint8 (size_px, size_px, 3) RGB.
    """
    n_px = size_px * SUPERSAMPLING
    px_per_m = n_px / (ahead_m + behind_m)
    x_m, y_m, heading = car_xy_heading
    c, s = np.cos(heading), np.sin(heading)

    def to_px(world_m: np.ndarray) -> np.ndarray:
        """World (n, 2) in metres -> column and row on the large canvas."""
        dx_m, dy_m = world_m[:, 0] - x_m, world_m[:, 1] - y_m
        forward_m, left_m = c * dx_m + s * dy_m, c * dy_m - s * dx_m
        return np.column_stack([n_px / 2 - left_m * px_per_m, (ahead_m - forward_m) * px_per_m])

    centre = np.asarray(centre_xy_m, float)
    # Points that crowd together, as where a recorded car stood still, have no direction.
    along_m = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(centre, axis=0).T))])
    kept = np.diff(np.floor(along_m / SPACING_M), prepend=-1) > 0
    left_edge_m = np.broadcast_to(half_width_left_m, len(centre))[kept]
    right_edge_m = -np.broadcast_to(half_width_right_m, len(centre))[kept]
    centre = centre[kept]
    near = np.hypot(*(centre - (x_m, y_m)).T) < 1.5 * (ahead_m + behind_m)
    tangent = np.gradient(centre, axis=0) if len(centre) > 1 else np.ones((len(centre), 2))
    left = np.column_stack([-tangent[:, 1], tangent[:, 0]]) / np.hypot(*tangent.T)[:, None]

    def beside(offset_m: float | np.ndarray) -> list[np.ndarray]:
        """The line at an offset from the centre line, left positive: its visible stretches, (n, 2) each."""
        line_px = to_px(centre + left * np.broadcast_to(offset_m, len(centre))[:, None])
        edges = np.flatnonzero(np.diff(near, prepend=False, append=False))
        return [line_px[start:stop] for start, stop in edges.reshape(-1, 2)]

    canvas = np.full((n_px, n_px, 3), VERGE, np.uint8)
    line_px = 0.15 * px_per_m + 0.5 * SUPERSAMPLING
    for edges_m, colour in (((left_edge_m, right_edge_m), ROAD), ((lane_half_width_m, -lane_half_width_m), LANE)):
        for one, other in zip(*map(beside, edges_m), strict=True):
            _fill_between(canvas, one, other, colour)
    for edge_m in (left_edge_m, right_edge_m, lane_half_width_m, -lane_half_width_m):
        for stretch in beside(edge_m):
            _draw_line(canvas, stretch, LINE, line_px)
    for stretch in beside(0.0):
        _draw_line(canvas, stretch, CENTRE, 0.5 * line_px)
    _draw_line(canvas, to_px(np.asarray(trail_xy_m, float).reshape(-1, 2)), TRAIL, 0.45 * px_per_m)
    _draw_car(canvas, n_px / 2, ahead_m * px_per_m, px_per_m)
    _draw_scale_bar(canvas, px_per_m)
    return cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA)


def side_by_side(camera_picture: np.ndarray, map_picture: np.ndarray) -> np.ndarray:
    """The camera's picture left, the map right, ``GAP_PX`` apart: uint8 (H, W + gap + W', 3).

    The map is resized to the height of the picture where it differs.
    """
    height_px = camera_picture.shape[0]
    if map_picture.shape[0] != height_px:
        width_px = round(map_picture.shape[1] * height_px / map_picture.shape[0])
        map_picture = cv2.resize(map_picture, (width_px, height_px), interpolation=cv2.INTER_AREA)
    gap = np.full((height_px, GAP_PX, 3), INK, np.uint8)
    return np.concatenate([camera_picture, gap, map_picture], axis=1)


def _fixed(points_px: np.ndarray) -> np.ndarray:
    """Points as OpenCV's fixed-point numbers: whole sixteenths of a pixel."""
    return np.round(points_px * 16).astype(np.int32)


def _fill_between(canvas: np.ndarray, one: np.ndarray, other: np.ndarray, colour: tuple[int, int, int]) -> None:
    # Piece by piece: one polygon of a road that crosses itself would leave holes.
    quads = _fixed(np.stack([one[:-1], one[1:], other[1:], other[:-1]], axis=1))  # (n - 1, 4, 2)
    for quad in quads:
        cv2.fillConvexPoly(canvas, quad, colour, shift=4)


def _draw_line(canvas: np.ndarray, points_px: np.ndarray, colour: tuple[int, int, int], width_px: float) -> None:
    if len(points_px) > 1:
        cv2.polylines(canvas, [_fixed(points_px)], False, colour, max(round(width_px), 1), shift=4)


def _draw_car(canvas: np.ndarray, u_px: float, v_px: float, px_per_m: float) -> None:
    """The outline to scale with a windscreen, forward up; (u, v) is the middle of its rear axle."""

    def box(front_m: float, rear_m: float, half_width_m: float, colour: tuple[int, int, int]) -> None:
        corners = [(-half_width_m, front_m), (half_width_m, front_m), (half_width_m, rear_m), (-half_width_m, rear_m)]
        points = np.array([(u_px + px_per_m * across, v_px - px_per_m * ahead) for across, ahead in corners])
        cv2.fillConvexPoly(canvas, _fixed(points), colour, shift=4)

    rim_m = 0.3
    box(CAR_FRONT_M + rim_m, -CAR_REAR_M - rim_m, CAR_HALF_WIDTH_M + rim_m, LINE)
    box(CAR_FRONT_M, -CAR_REAR_M, CAR_HALF_WIDTH_M, CAR)
    box(2.3, 1.4, 0.7, GLASS)


def _draw_scale_bar(canvas: np.ndarray, px_per_m: float) -> None:
    left, bottom = 8 * SUPERSAMPLING, canvas.shape[0] - 8 * SUPERSAMPLING
    right, tick = left + SCALE_BAR_M * px_per_m, 2 * SUPERSAMPLING
    for start, stop in (
        ((left, bottom), (right, bottom)),
        ((left, bottom - tick), (left, bottom + tick)),
        ((right, bottom - tick), (right, bottom + tick)),
    ):
        _draw_line(canvas, np.array([start, stop]), INK, 1.3 * SUPERSAMPLING)
    text, scale = f"{SCALE_BAR_M:g} m", 0.32 * SUPERSAMPLING
    cv2.putText(canvas, text, (left, bottom - 5 * SUPERSAMPLING), cv2.FONT_HERSHEY_SIMPLEX, scale, INK, SUPERSAMPLING)
