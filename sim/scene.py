"""What the world of one episode looks like: the road's cross-section, its ground texture and the panorama."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

TEXEL_D_M = 0.05
TEXEL_S_M = 0.1
HALF_WIDTH_M = 20.0
"""The texture reaches this far to both sides of the lane centre; beyond, its edge is repeated."""
N_D = int(2 * HALF_WIDTH_M / TEXEL_D_M)
N_S = 768
"""Texels along the road, one period of 76.8 m; a multiple of every dash period used."""
DASH_PERIODS_M = (6.4, 9.6, 12.8)

VERGES = {  # two colours between which the ground beside the road varies, RGB in [0, 1]
    "grass": ((0.20, 0.33, 0.12), (0.38, 0.47, 0.20)),
    "dry grass": ((0.48, 0.42, 0.22), (0.63, 0.56, 0.33)),
    "soil": ((0.33, 0.24, 0.16), (0.50, 0.38, 0.26)),
    "sand": ((0.66, 0.57, 0.41), (0.80, 0.71, 0.53)),
    "forest floor": ((0.12, 0.17, 0.08), (0.29, 0.26, 0.14)),
}
SKIES = {  # zenith, horizon
    "clear": ((0.25, 0.45, 0.80), (0.72, 0.83, 0.93)),
    "haze": ((0.55, 0.64, 0.74), (0.84, 0.86, 0.87)),
    "overcast": ((0.60, 0.62, 0.65), (0.78, 0.79, 0.80)),
    "evening": ((0.32, 0.38, 0.58), (0.95, 0.72, 0.50)),
    "heavy cloud": ((0.36, 0.39, 0.43), (0.62, 0.64, 0.66)),
}


@dataclass(frozen=True)
class CrossSection:
    """Lateral layout, metres from the centre of the own lane, left positive.

    Attributes:
        lane_width_m: of the own lane.
        left_edge_m, right_edge_m: the paved surface lies between them; what the road mask shows.
    """

    lane_width_m: float
    left_edge_m: float
    right_edge_m: float


@dataclass(frozen=True)
class Scene:
    """Everything that is drawn once an episode.

    Attributes:
        section: lateral layout of the road.
        ground: (N_D, N_S, 3) float32 RGB in [0, 1]; row 0 is HALF_WIDTH_M to the left, columns run along the road.
        sky: zenith and horizon colour, each (3,).
        ridges: (n, 360) heights of the hills above the horizon in radians by bearing, far to near.
        ridge_colours: (n, 3).
        clouds: (64, 512) cover in [0, 1] by elevation and bearing.
        visibility_m: distance at which haze takes 63 % of a colour.
    """

    section: CrossSection
    ground: np.ndarray
    sky: tuple[np.ndarray, np.ndarray]
    ridges: np.ndarray
    ridge_colours: np.ndarray
    clouds: np.ndarray
    visibility_m: float


def _noise(rng: np.random.Generator, cell_d_m: float, cell_s_m: float) -> np.ndarray:
    """Smooth noise (N_D, N_S) in [-1, 1] with features of the given size, periodic along the road."""
    n_d = max(int(N_D * TEXEL_D_M / cell_d_m), 2)
    n_s = max(int(N_S * TEXEL_S_M / cell_s_m), 2)
    grid = rng.uniform(-1, 1, (n_d, n_s)).astype(np.float32)
    pad = 2
    wrapped = np.concatenate([grid[:, -pad:], grid, grid[:, :pad]], axis=1)
    cell = N_S / n_s
    margin = round(pad * cell)
    wide = cv2.resize(wrapped, (N_S + 2 * margin, N_D), interpolation=cv2.INTER_CUBIC)
    return wide[:, margin : margin + N_S]


def _d_m() -> np.ndarray:
    """Lateral position of every texture row, (N_D, 1)."""
    return (HALF_WIDTH_M - (np.arange(N_D, dtype=np.float32) + 0.5) * TEXEL_D_M)[:, None]


def _draw_section(rng: np.random.Generator) -> tuple[CrossSection, bool]:
    lane_width_m = rng.uniform(3.0, 3.9)
    two_lanes = rng.random() < 0.75
    right_edge_m = -(lane_width_m / 2 + rng.uniform(0.15, 1.0))
    left_edge_m = lane_width_m * (1.5 if two_lanes else 0.5) + rng.uniform(0.15, 0.8)
    return CrossSection(float(lane_width_m), float(left_edge_m), float(right_edge_m)), two_lanes


def _paint(
    ground: np.ndarray,
    rng: np.random.Generator,
    centre_m: float,
    width_m: float,
    colour: np.ndarray,
    dash: float | None,
) -> None:
    """Lay one marking along the road: solid, or dashed with the given period; worn in patches."""
    d_m = _d_m()
    cover = np.clip((width_m / 2 - np.abs(d_m - centre_m)) / TEXEL_D_M + 0.5, 0, 1)
    rows = np.flatnonzero(cover[:, 0] > 0)
    strip = slice(rows[0], rows[-1] + 1)
    along = np.ones((1, N_S), np.float32)
    if dash is not None:
        phase_m = (np.arange(N_S) * TEXEL_S_M + rng.uniform(0, dash)) % dash
        along = (phase_m < dash * rng.uniform(0.3, 0.55)).astype(np.float32)[None]
    wear = rng.uniform(0.0, 0.7)
    # Coarse gaps and fine grain; strength drawn once for each line.
    patches = _noise(rng, 0.4, 2.5)[strip] + 0.6 * _noise(rng, 0.1, 0.2)[strip]
    alpha = cover[strip] * along * np.clip(1.15 - wear * (0.6 + patches), 0, 1) * rng.uniform(0.75, 1.0)
    ground[strip] += alpha[..., None] * (colour - ground[strip])


def _draw_markings(
    ground: np.ndarray, rng: np.random.Generator, section: CrossSection, two_lanes: bool
) -> None:
    white = np.array([0.86, 0.86, 0.84], np.float32) * rng.uniform(0.85, 1.08)
    yellow = np.array([0.85, 0.66, 0.18], np.float32) * rng.uniform(0.85, 1.05)
    half_m = section.lane_width_m / 2
    width_m = rng.uniform(0.10, 0.20)
    has_edges = rng.random() < 0.85
    if has_edges:
        _paint(
            ground,
            rng,
            -half_m,
            width_m,
            white,
            None if rng.random() < 0.9 else float(rng.choice(DASH_PERIODS_M)),
        )
        left_m = half_m * (3 if two_lanes else 1)
        _paint(ground, rng, left_m, width_m, white if rng.random() < 0.8 else yellow, None)
    if two_lanes and (not has_edges or rng.random() < 0.92):
        colour = yellow if rng.random() < 0.5 else white
        if rng.random() < 0.4:  # double line
            gap_m = rng.uniform(0.10, 0.16)
            for side in (-1, 1):
                dash = float(rng.choice(DASH_PERIODS_M)) if rng.random() < 0.2 else None
                _paint(ground, rng, half_m + side * (gap_m / 2 + width_m / 2), width_m, colour, dash)
        else:
            dash = float(rng.choice(DASH_PERIODS_M)) if rng.random() < 0.65 else None
            _paint(ground, rng, half_m, width_m, colour, dash)


def _draw_ground(rng: np.random.Generator, section: CrossSection, two_lanes: bool) -> np.ndarray:
    dark, bright = (np.array(c, np.float32) for c in VERGES[str(rng.choice(list(VERGES)))])
    mix = 0.5 + 0.35 * _noise(rng, 4.0, 6.0) + 0.25 * _noise(rng, 0.6, 0.9) + 0.12 * _noise(rng, 0.1, 0.2)
    ground = dark + np.clip(mix, 0, 1)[..., None] * (bright - dark)
    d_m = _d_m()
    gravel_m = rng.uniform(0.0, 1.5) if rng.random() < 0.6 else 0.0
    grain = _noise(rng, 0.1, 0.1)
    if gravel_m > 0.2:
        stone = np.array([0.52, 0.47, 0.40], np.float32) * rng.uniform(0.75, 1.15)
        ragged = gravel_m * (1 + 0.35 * _noise(rng, 1.0, 2.0))
        inside = (d_m < section.left_edge_m + ragged) & (d_m > section.right_edge_m - ragged)
        ground[inside] = (stone * (1 + 0.14 * grain[..., None]))[inside]
    tint = np.array([1.0, 1.0, 1.0], np.float32) + rng.uniform(-0.05, 0.05, 3).astype(np.float32)
    grey = rng.uniform(0.22, 0.56)
    if abs(grey - float(ground.mean())) < 0.07:  # an unmarked road must still stand out from its verge
        grey += 0.12 if grey < 0.4 else -0.12
    lane_phase = (d_m - section.lane_width_m * np.round(d_m / section.lane_width_m)) / section.lane_width_m
    tracks = np.exp(-(((np.abs(lane_phase) - 0.23) / 0.09) ** 2)) * rng.uniform(-0.07, 0.05)
    shade = (
        1
        + tracks
        + 0.09 * _noise(rng, 1.2, 8.0)
        + 0.05 * _noise(rng, 0.3, 0.8)
        + rng.uniform(0.02, 0.07) * grain
    )
    asphalt = (grey * np.clip(shade, 0.3, 1.7))[..., None] * tint
    for _ in range(rng.integers(0, 5)):  # patched and cracked places
        d0, s0 = rng.integers(0, N_D - 60), rng.integers(0, N_S - 90)
        asphalt[d0 : d0 + rng.integers(6, 60), s0 : s0 + rng.integers(10, 90)] *= rng.uniform(0.72, 1.15)
    for _ in range(rng.integers(0, 3)):
        track = np.cumsum(rng.normal(0, 0.6, N_S)) * np.sin(np.linspace(0, np.pi, N_S))
        rows = np.clip(N_D // 2 + rng.integers(-90, 90) + track.astype(int), 0, N_D - 1)
        asphalt[rows, np.arange(N_S)] *= 0.6
    paved = ((d_m < section.left_edge_m) & (d_m > section.right_edge_m))[:, 0]
    ground[paved] = asphalt[paved]
    _draw_markings(ground, rng, section, two_lanes)
    return ground


def _shadow(rng: np.random.Generator) -> np.ndarray:
    """Light left by trees and bridges, (N_D, N_S) factor."""
    light = np.ones((N_D, N_S), np.float32)
    depth = rng.uniform(0.35, 0.75)
    if rng.random() < 0.45:  # canopies that reach in from one side or both
        reach = _noise(rng, 6.0, 7.0) + 0.5 * _noise(rng, 1.2, 1.5) + 0.3 * _noise(rng, 0.4, 0.5)
        side = np.tanh((_d_m() + rng.uniform(-4, 4)) / 6.0) * (1 if rng.random() < 0.5 else -1)
        cover = np.clip((reach + 0.7 * side - rng.uniform(0.0, 0.5)) * 4, 0, 1)
        light *= 1 - (1 - depth) * cover
    if rng.random() < 0.35:  # trunks, poles, bridges: straight bands at an angle
        s_m = np.arange(N_S, dtype=np.float32)[None] * TEXEL_S_M
        for _ in range(rng.integers(1, 7)):
            skewed = (s_m + _d_m() * rng.uniform(-1.5, 1.5) - rng.uniform(0, 76.8)) % (N_S * TEXEL_S_M)
            light *= 1 - (1 - depth) * np.clip((rng.uniform(0.3, 3.0) - skewed) * 3, 0, 1) * (skewed >= 0)
    return light


def _draw_ridges(rng: np.random.Generator, haze: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Skyline of hills and woods: sums of whole waves around the circle, so there is no seam."""
    bearing = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    n_ridges = int(rng.integers(1, 4))
    ridges, colours = [], []
    for i in range(n_ridges):
        near = (i + 1) / n_ridges
        waves = rng.integers(2, 60, 14)
        heights = sum(
            rng.normal() / (1 + w / 6.0) * np.sin(w * bearing + rng.uniform(0, 2 * np.pi)) for w in waves
        )
        trees = rng.uniform(0.0, 0.012) * near * rng.random(720)
        ridges.append(np.clip(rng.uniform(0.0, 0.10) + 0.022 * heights + trees, 0, 0.35))
        wood = np.array([0.16, 0.24, 0.12]) + rng.uniform(-0.06, 0.16, 3)
        colours.append(haze + (wood - haze) * (0.35 + 0.55 * near * rng.random()))
    return np.array(ridges, np.float32), np.array(colours, np.float32)


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw the looks of one episode: section, surface, markings and wear, shadows, sky, light."""
    section, two_lanes = _draw_section(rng)
    sky_name = str(rng.choice(list(SKIES)))
    zenith, horizon = (np.array(c, np.float32) for c in SKIES[sky_name])
    ground = _draw_ground(rng, section, two_lanes)
    if sky_name in ("clear", "haze", "evening"):
        ground *= _shadow(rng)[..., None]
    exposure = rng.uniform(0.55, 1.3)
    light = exposure * (0.6 * np.ones(3) + 0.4 * horizon / horizon.mean()) * (1 + rng.uniform(-0.06, 0.06, 3))
    light = light.astype(np.float32)
    ridges, ridge_colours = _draw_ridges(rng, horizon)
    clouds = sum(
        weight * cv2.resize(rng.random(shape).astype(np.float32), (512, 64), interpolation=cv2.INTER_CUBIC)
        for weight, shape in ((1.0, (20, 24)), (0.4, (40, 96)), (0.2, (64, 256)))
    )
    fade = 0.5 - 0.5 * np.cos(np.linspace(0, 2 * np.pi, 512))  # no seam behind the car
    clouds = np.clip((clouds - rng.uniform(0.6, 1.3)) * 2.0, 0, 1) * np.minimum(fade * 8, 1)
    return Scene(
        section=section,
        ground=np.clip(ground * light, 0, 1).astype(np.float32),
        sky=(np.clip(zenith * light, 0, 1), np.clip(horizon * light, 0, 1)),
        ridges=ridges,
        ridge_colours=np.clip(ridge_colours * light, 0, 1).astype(np.float32),
        clouds=clouds.astype(np.float32),
        visibility_m=float(np.exp(rng.uniform(np.log(70), np.log(600)))),
    )
