"""Compiled loops that draw upright things, walls and rails into a picture, column by column."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.compiled import channel, compiled, inlined, mix, spread, to_byte, weight_of
from sim.surface_class import SurfaceClass

FAR_M = 100.0
FADE_M = 18.0
"""Over this last stretch things fade in, so that nothing pops up."""
NEAR_M = 1.5

UPRIGHT, PANEL, QUAD = range(3)
"""Kinds of things in a list of what is to be drawn."""
THING = np.dtype(
    [
        ("kind", "i8"), ("depth_m", "f8"), ("surface", "i8"),
        # of pictures: which, and at what resolution
        ("sprite", "i8"), ("level", "i8"),
        # of what faces the viewer, in pixels; ``last`` is the lowest row that is seen
        ("left", "f8"), ("top", "f8"), ("width", "f8"), ("tall", "f8"), ("last", "f8"),
        # of a panel: for both its ends the place in the camera's axes, the ground's height and the crest's row
        ("height_m", "f8"), ("forward_m", "f8", 2), ("left_m", "f8", 2), ("ground_m", "f8", 2), ("crest", "f8", 2),
        # of a quad with two upright sides, in pixels, and its colour, haze included
        ("side_u", "f8", 2), ("side_top", "f8", 2), ("side_bottom", "f8", 2), ("colour", "f8", 3),
    ]
)  # fmt: skip
"""What is to be drawn; each kind has fields of its own."""
_BARRIER = int(SurfaceClass.BARRIER)
_NOTHING = np.uint32(0)


@compiled
def draw_things(
    picture: np.ndarray, class_map: np.ndarray, things: np.ndarray, order: np.ndarray,
    texels: np.ndarray, places: np.ndarray, light: np.ndarray, horizon: np.ndarray, visibility_m: float,
    camera: np.ndarray,
) -> None:  # fmt: skip
    """Draw the ``things``, of type ``THING``, in the given order, far to near."""
    for i in order:
        thing = things[i]
        if thing.kind == QUAD:
            _draw_quad(picture, class_map, thing)
            continue
        place = places[thing.sprite, thing.level]
        n_rows, n_columns = place.n_rows, place.n_columns
        texture = texels[place.offset : place.offset + n_rows * n_columns]
        if thing.kind == UPRIGHT:
            _draw_upright(picture, class_map, thing, texture, n_rows, n_columns, light, horizon, visibility_m)
        else:
            _draw_panel(picture, class_map, thing, texture, n_rows, n_columns, light, horizon, visibility_m, camera)


@compiled
def _air(
    depth_m: float, visibility_m: float, light: np.ndarray, horizon: np.ndarray
) -> tuple[int, int, int, int, int, int, int]:
    """At this depth, in 1 / 256: gain of RGB, what the haze adds to RGB for each unit of alpha, and opacity."""
    clear = math.exp(-depth_m / visibility_m)
    fade = 256.0 * min((FAR_M - depth_m) / FADE_M, 1.0)
    gain, haze = clear * fade, (1.0 - clear) * fade / 255.0
    return (
        int(light[0] * gain + 0.5), int(light[1] * gain + 0.5), int(light[2] * gain + 0.5),
        int(horizon[0] * haze + 0.5), int(horizon[1] * haze + 0.5), int(horizon[2] * haze + 0.5), int(fade + 0.5),
    )  # fmt: skip


@inlined
def _texel(texture: np.ndarray, n_rows: int, n_columns: int, row: int, column: int) -> np.uint32:
    """One colour of a texture; outside it is nothing."""
    is_inside = 0 <= row < n_rows and 0 <= column < n_columns
    return texture[row * n_columns + column] if is_inside else _NOTHING


@inlined
def _lay(
    picture: np.ndarray, class_map: np.ndarray, row: int, column: int, colour: np.uint64,
    air: tuple[int, int, int, int, int, int, int], surface: int,
) -> None:  # fmt: skip
    """Lay a premultiplied colour over one pixel."""
    alpha = channel(colour, 3)
    through = (65280 - alpha * air[6] + 127) // 255  # 0 to 256
    for k in range(3):
        own = min((channel(colour, k) * air[k] + alpha * air[3 + k] + 128) >> 8, 255)
        picture[row, column, k] = min(own + ((through * picture[row, column, k] + 128) >> 8), 255)
    if alpha * air[6] >= 32640:
        class_map[row, column] = surface


@compiled
def _draw_upright(
    picture: np.ndarray, class_map: np.ndarray, thing: Any, texture: np.ndarray, n_rows: int, n_columns: int,
    light: np.ndarray, horizon: np.ndarray, visibility_m: float,
) -> None:  # fmt: skip
    left, top, width, tall = thing.left, thing.top, thing.width, thing.tall
    first_column = max(math.floor(left + 0.5), 0)
    last_column = min(math.ceil(left + width + 0.5), picture.shape[1])
    first_row, last_row = max(math.floor(top + 0.5), 0), min(math.ceil(thing.last + 0.5), picture.shape[0])
    air = _air(thing.depth_m, visibility_m, light, horizon)
    step_x, step_y, surface = n_columns / width, n_rows / tall, thing.surface
    for row in range(first_row, last_row):
        place_y = (row - top) * step_y - 0.5
        y = math.floor(place_y)
        lower = weight_of(place_y - y)
        for column in range(first_column, last_column):
            place_x = (column - left) * step_x - 0.5
            x = math.floor(place_x)
            a = _texel(texture, n_rows, n_columns, y, x)
            b = _texel(texture, n_rows, n_columns, y, x + 1)
            c = _texel(texture, n_rows, n_columns, y + 1, x)
            d = _texel(texture, n_rows, n_columns, y + 1, x + 1)
            if (a | b | c | d) != _NOTHING:
                right = weight_of(place_x - x)
                _lay(
                    picture,
                    class_map,
                    row,
                    column,
                    mix(mix(spread(a), spread(b), right), mix(spread(c), spread(d), right), lower),
                    air,
                    surface,
                )


@compiled
def _draw_panel(
    picture: np.ndarray, class_map: np.ndarray, thing: Any, texture: np.ndarray, n_rows: int, n_columns: int,
    light: np.ndarray, horizon: np.ndarray, visibility_m: float, camera: np.ndarray,
) -> None:  # fmt: skip
    focal_u_px, focal_v_px, horizon_u_px, horizon_v_px, eye_m = camera
    f0, df = thing.forward_m[0], thing.forward_m[1] - thing.forward_m[0]
    l0, dl = thing.left_m[0], thing.left_m[1] - thing.left_m[0]
    g0, dg = thing.ground_m[0], thing.ground_m[1] - thing.ground_m[0]
    low, high = panel_share(thing, 0), panel_share(thing, 1)
    u_low = horizon_u_px - focal_u_px * (l0 + low * dl) / (f0 + low * df)
    u_high = horizon_u_px - focal_u_px * (l0 + high * dl) / (f0 + high * df)
    first_column = max(math.floor(min(u_low, u_high) + 0.5), 0)
    end_column = min(math.ceil(max(u_low, u_high) + 0.5), picture.shape[1])
    surface = thing.surface
    for column in range(first_column, end_column):
        # The ray through this column meets the panel's foot line at this share of its length.
        slope = (horizon_u_px - column) / focal_u_px
        across = dl - slope * df
        if across == 0.0:
            continue
        share = min(max((slope * f0 - l0) / across, low), high)
        depth_m = f0 + share * df
        if depth_m >= FAR_M:
            continue
        base = horizon_v_px + focal_v_px * (eye_m - g0 - share * dg) / depth_m
        tall = focal_v_px * thing.height_m / depth_m
        top = base - tall
        crest = between(thing.crest, share)
        bottom = crest if crest < base - 0.5 else base
        air = _air(depth_m, visibility_m, light, horizon)
        place_x = min(max(share * n_columns - 0.5, 0.0), n_columns - 1.0)
        x, step_y = int(place_x), n_rows / tall
        right, x1 = weight_of(place_x - x), min(x + 1, n_columns - 1)
        for row in range(max(math.floor(top + 0.5), 0), min(math.ceil(bottom + 0.5), picture.shape[0])):
            place_y = (row - top) * step_y - 0.5
            y = math.floor(place_y)
            a = _texel(texture, n_rows, n_columns, y, x)
            b = _texel(texture, n_rows, n_columns, y, x1)
            y += 1
            c = _texel(texture, n_rows, n_columns, y, x)
            d = _texel(texture, n_rows, n_columns, y, x1)
            if (a | b | c | d) != _NOTHING:
                above, below = mix(spread(a), spread(b), right), mix(spread(c), spread(d), right)
                colour = mix(above, below, weight_of(place_y + 1 - y))
                _lay(picture, class_map, row, column, colour, air, surface)


@inlined
def between(ends: np.ndarray, share: float) -> float:
    """What lies at a share of the way from the first end to the second."""
    return ends[0] + share * (ends[1] - ends[0])


@compiled
def panel_share(panel: Any, end: int) -> float:
    """Where a panel begins (end 0) or ends (1) in front of the lens, as share of its length."""
    if panel.forward_m[end] > NEAR_M:
        return float(end)
    return (NEAR_M - panel.forward_m[0]) / (panel.forward_m[1] - panel.forward_m[0])


@compiled
def _draw_quad(picture: np.ndarray, class_map: np.ndarray, quad: Any) -> None:
    """Fill between two upright sides, by the share of each pixel that is covered."""
    u0, u1 = quad.side_u[0], quad.side_u[1]
    top0, bottom0, top1, bottom1 = (quad.side_top[0], quad.side_bottom[0], quad.side_top[1], quad.side_bottom[1])
    if u0 > u1:
        u0, u1, top0, top1, bottom0, bottom1 = u1, u0, top1, top0, bottom1, bottom0
    height, width = class_map.shape
    for column in range(max(math.floor(u0 + 0.5), 0), min(math.floor(u1 + 0.5) + 1, width)):
        # Pixel middles decide, so that the next quad goes on without a seam; thin ones cover a share of a pixel.
        is_in = 1.0 if u0 <= column < u1 else 0.0
        wide = min(u1, column + 0.5) - max(u0, column - 0.5) if u1 - u0 < 1.0 else is_in
        if wide <= 0.0:
            continue
        share = min(max((column - u0) / (u1 - u0), 0.0), 1.0)
        top, bottom = top0 + share * (top1 - top0), bottom0 + share * (bottom1 - bottom0)
        for row in range(max(math.floor(top + 0.5), 0), min(math.floor(bottom + 0.5) + 1, height)):
            cover = wide * (min(bottom, row + 0.5) - max(top, row - 0.5))
            if cover <= 0.0:
                continue
            for k in range(3):
                below = float(picture[row, column, k])
                picture[row, column, k] = to_byte(below + cover * (quad.colour[k] - below))
            if cover >= 0.5:
                class_map[row, column] = _BARRIER
