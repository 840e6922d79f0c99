"""Everything too far to move when the car does: sky, clouds, sun, hills and far ground, by bearing."""

from __future__ import annotations

import cv2
import numpy as np

from sim.appearance.scene import Scene
from sim.appearance.skyline import TOP_RAD
from sim.camera import Camera
from sim.conventions import wrap_angle
from sim.surface_class import SurfaceClass

MAX_PITCH = 0.12
"""The horizon may move by this share of the focal length to either side."""
SUN_ELEVATION_RAD = 0.085
_TOP_RAD = 0.45
"""Elevation of the upper edge of the clouds' map."""
_FAR_M = 160.0
_N_STARS = 420
_N_SECTORS = 8


class Panorama:
    """The surroundings for all bearings, one column a pixel of the camera's middle; one slice copy a picture.

    A sector is painted when the car first looks that way.

    Args:
        camera: of the picture to draw.
        scene: appearance of the episode.
        verge: mean colour (3,) of the ground beside the road, 0 to 255.
    """

    def __init__(self, camera: Camera, scene: Scene, verge: np.ndarray) -> None:
        self._scene, self._focal_v_px = scene, camera.focal_v_px
        self._width_px, self._focal_u_px = camera.width_px, camera.focal_u_px
        self._n_bearings = n = round(2 * np.pi * camera.focal_u_px)
        self._pad = int(np.ceil(MAX_PITCH * camera.focal_v_px)) + 1
        n_rows = camera.height_px + 2 * self._pad
        elevation = (camera.horizon_v_px + self._pad - np.arange(n_rows)) / camera.focal_v_px
        n_above = int(np.clip(np.ceil(camera.horizon_v_px) + self._pad + 2, 1, n_rows))
        self._elevation = elevation[:n_above].astype(np.float32)
        # The middle of the picture's column 0 looks along +horizon_u / focal when the car heads along x.
        bearing = wrap_angle((camera.horizon_u_px - np.arange(n)) / camera.focal_u_px)
        self._bearing = np.asarray(bearing, np.float32)
        clear = np.exp(-_FAR_M / scene.atmosphere.visibility_m)
        self._ground = np.float32(clear * (verge / 255) + (1 - clear) * scene.atmosphere.horizon)
        # The first columns stand again behind the last ones, so that every picture is one slice.
        self._picture = np.empty((n_rows, n + camera.width_px, 3), np.uint8)
        self._picture[:] = np.round(255 * np.clip(self._ground, 0, 1))
        self._classes = np.full(self._picture.shape[:2], SurfaceClass.HILLS, np.uint8)
        self._ends = np.linspace(0, n, _N_SECTORS + 1).round().astype(int)
        self._is_ready = np.zeros(_N_SECTORS, bool)

    def _make_ready(self, first: int, last: int) -> None:
        """The sectors of these columns, counted on beyond the last bearing."""
        n = 2 + self._width_px * _N_SECTORS // self._n_bearings  # so many meet every sector of the picture
        columns = np.linspace(first, last, n).astype(int) % self._n_bearings
        for k in np.unique(np.searchsorted(self._ends, columns, side="right") - 1):
            if not self._is_ready[k]:
                self._paint(slice(int(self._ends[k]), int(self._ends[k + 1])))
                self._is_ready[k] = True

    def _paint(self, here: slice) -> None:
        elevation, bearing, n_above = self._elevation, self._bearing[here], len(self._elevation)
        picture = _sky(self._scene, elevation, bearing)
        if self._scene.atmosphere.weather.stars:
            _add_stars(picture, elevation, self._bearing, here)
        _add_clouds(picture, self._scene, elevation, bearing)
        classes = _add_ridges(picture, self._scene, elevation, bearing, self._focal_v_px)
        below = np.clip(0.5 - elevation * self._focal_v_px, 0, 1)[:, None, None]
        picture += below * (self._ground - picture)
        classes[below[:, 0, 0] >= 0.5] = SurfaceClass.HILLS
        painted = cv2.convertScaleAbs(picture.reshape(n_above, -1), alpha=255).reshape(picture.shape)
        n_again = min(max(self._width_px - here.start, 0), here.stop - here.start)
        again = slice(self._n_bearings + here.start, self._n_bearings + here.start + n_again)
        for whole, part in ((self._picture, painted), (self._classes, classes)):
            whole[:n_above, here] = part
            whole[:n_above, again] = part[:, :n_again]

    def draw(
        self, picture: np.ndarray, class_map: np.ndarray, n_rows: int, heading_rad: float, pitch_px: float
    ) -> None:
        """Fill the first ``n_rows`` rows of ``picture`` (H, W, 3) and ``class_map`` (H, W), both uint8.

        ``pitch_px`` moves the horizon down by that many rows (rounded, held within ``MAX_PITCH``).
        """
        column = round(-heading_rad * self._focal_u_px) % self._n_bearings
        top = min(max(self._pad - round(pitch_px), 0), 2 * self._pad)
        if not self._is_ready.all():
            self._make_ready(column, column + self._width_px - 1)
        here = slice(top, top + n_rows), slice(column, column + self._width_px)
        picture[:n_rows] = self._picture[here]
        class_map[:n_rows] = self._classes[here]


def _sky(scene: Scene, elevation: np.ndarray, bearing: np.ndarray) -> np.ndarray:
    """Clear sky (R, B, 3) float32."""
    air = scene.atmosphere
    blend = np.clip(elevation / 0.35, 0, 1)[:, None, None] ** np.float32(0.7)
    shape = len(elevation), len(bearing), 3
    return np.broadcast_to(air.horizon + (air.zenith - air.horizon) * blend, shape).copy()


def _add_clouds(picture: np.ndarray, scene: Scene, elevation: np.ndarray, bearing: np.ndarray) -> None:
    """Clouds, and the sun where one is seen, in place."""
    air = scene.atmosphere
    n_rows, n_columns = scene.clouds.shape
    map_y = np.clip((1 - elevation / _TOP_RAD) * n_rows - 0.5, 0, n_rows - 1)
    map_x = (bearing / (2 * np.pi) % 1.0) * n_columns
    wrapped = np.concatenate([scene.clouds, scene.clouds[:, :1]], axis=1)
    shape = picture.shape[:2]
    cover = cv2.remap(
        wrapped, np.broadcast_to(map_x, shape).astype(np.float32),
        np.broadcast_to(map_y[:, None], shape).astype(np.float32), cv2.INTER_LINEAR,
    )  # fmt: skip
    colour = np.minimum(air.horizon * np.float32(air.weather.cloud_gain), 1)
    picture += 0.75 * cover[..., None] * (colour - picture)
    if air.sun_bearing_rad is not None:
        _add_sun(picture, air.sun_bearing_rad, elevation, bearing)


def _add_sun(picture: np.ndarray, sun_bearing_rad: float, elevation: np.ndarray, bearing: np.ndarray) -> None:
    """A disc and its halo, in place."""
    aside = np.asarray(wrap_angle(bearing - sun_bearing_rad))
    squared = (elevation[:, None] - SUN_ELEVATION_RAD) ** 2 + (aside**2)[None]
    halo = 0.75 * np.exp(-np.sqrt(squared) / 0.16) + 2.0 * np.exp(-squared / 0.026**2)
    warm = np.array([1.0, 0.93, 0.76], np.float32)
    picture += np.clip(halo, 0, 1).astype(np.float32)[..., None] * (warm - picture)


def _add_stars(picture: np.ndarray, elevation: np.ndarray, bearing: np.ndarray, here: slice) -> None:
    """The fixed stars on the columns ``here`` of all bearings: the same every night, in place."""
    rng = np.random.default_rng(0)
    where = rng.uniform((0.0, -np.pi), (_TOP_RAD, np.pi), (_N_STARS, 2))
    bright = rng.random(_N_STARS).astype(np.float32) ** 4
    rows = np.round((elevation[0] - where[:, 0]) / (elevation[0] - elevation[-1]) * (len(elevation) - 1)).astype(int)
    columns = np.round((bearing[0] - where[:, 1]) * len(bearing) / (2 * np.pi)).astype(int) % len(bearing)
    seen = (rows >= 0) & (columns >= here.start) & (columns < here.stop)
    picture[rows[seen], columns[seen] - here.start] += (0.25 + 0.75 * bright[seen])[:, None]


def _add_ridges(
    picture: np.ndarray, scene: Scene, elevation: np.ndarray, bearing: np.ndarray, focal_v_px: float
) -> np.ndarray:
    """Lay the ridges over the sky in place, far to near; returns the classes (R, B) uint8."""
    classes = np.full(picture.shape[:2], SurfaceClass.SKY, np.uint8)
    n_ridge_bearings = scene.ridges.shape[1]
    at = (bearing / (2 * np.pi) % 1.0) * n_ridge_bearings
    for ridge, colour, texture in zip(scene.ridges, scene.ridge_colours, scene.ridge_textures, strict=True):
        top = np.interp(at, np.arange(n_ridge_bearings), ridge, period=n_ridge_bearings).astype(np.float32)
        first = int(np.argmax(elevation <= top.max() + 1 / focal_v_px))
        depth = top[None] - elevation[first:, None]
        cover = np.clip(depth * np.float32(focal_v_px) + np.float32(0.5), 0, 1)
        wrapped = np.concatenate([texture, texture[:, :1]], axis=1)
        row = np.clip((1 - elevation[first:, None] / TOP_RAD) * len(texture) - 0.5, 0, len(texture) - 1)
        map_x, map_y = (np.broadcast_to(axis, depth.shape).astype(np.float32) for axis in (at, row))
        gain = cv2.remap(wrapped, map_x, map_y, cv2.INTER_LINEAR)
        part = picture[first:]
        part += cover[..., None] * (np.minimum(gain[..., None] * colour, 1) - part)
        classes[first:][cover > 0.5] = SurfaceClass.HILLS
    return classes
