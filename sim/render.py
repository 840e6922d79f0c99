"""Camera pictures of the road with the exact mask of its paved surface.

On flat ground and without roll every image row is one forward distance, so a pixel's place on the ground is
known in closed form. Its road coordinates (arc length s, lateral position d) are found exactly on a coarse grid
of columns, against the nearest stretch of the centre line, and interpolated in between; one ``cv2.remap`` of a
ground texture in (s, d) then draws everything below the horizon. The mask is read from the same d.
"""

from __future__ import annotations

import cv2
import numpy as np

from sim.camera import Camera
from sim.road import STEP_M, Road
from sim.scene import N_D, N_S, TEXEL_D_M, TEXEL_S_M, Scene

CAMERA_FORWARD_M = 1.5
"""The lens is this far ahead of the rear axle."""
FAR_M = 110.0
"""Ground further than this is drawn as part of the panorama."""
LEVEL_DISTANCES_M = (4.0, 6.0, 9.0, 13.5, 20.0, 30.0, 45.0, 67.0, 100.0)
"""The texture is kept pre-blurred for these distances, against aliasing."""
COLUMN_STEP_PX = 20
SAMPLE_STEP_M = 2.0


def _level(ground: np.ndarray, footprint_d_m: float, footprint_s_m: float) -> np.ndarray:
    """The texture averaged over a pixel's footprint on the ground, uint8."""
    n_d = int(np.clip(round(N_D * TEXEL_D_M / footprint_d_m), 2, N_D))
    n_s = int(np.clip(round(N_S * TEXEL_S_M / footprint_s_m), 2, N_S))
    small = cv2.convertScaleAbs(cv2.resize(ground, (n_s, n_d), interpolation=cv2.INTER_AREA), alpha=255)
    small = np.concatenate([small[:, -1:], small, small[:, :1]], axis=1)  # periodic along the road
    pad = round(N_S / n_s)
    return cv2.resize(small, (N_S + 2 * pad, N_D), interpolation=cv2.INTER_LINEAR)[:, pad : pad + N_S]


class Renderer:
    """Draws one scene through one camera; make a new one when the scene changes.

    Args:
        camera: of the picture to draw.
        scene: looks of the episode.
    """

    def __init__(self, camera: Camera, scene: Scene) -> None:
        self.camera, self.scene = camera, scene
        height, width = camera.height_px, camera.width_px
        rows = np.arange(height)
        forward_m = np.full(height, np.inf)
        below = rows > camera.horizon_v_px
        forward_m[below] = camera.focal_v_px * camera.height_m / (rows[below] - camera.horizon_v_px)
        self._top = int(np.argmax(forward_m <= FAR_M))  # first row of drawn ground
        self._forward_m = forward_m[self._top :].astype(np.float32)
        step_px = COLUMN_STEP_PX * width // 200
        columns = np.arange(0, width - 1 + step_px, step_px, dtype=np.float32)
        left_per_forward = (camera.horizon_u_px - columns) / camera.focal_u_px
        self._points = np.stack(  # (rows, columns, 2) ground points ahead of the camera, forward and left
            [
                np.broadcast_to(self._forward_m[:, None], (len(self._forward_m), len(columns))),
                self._forward_m[:, None] * left_per_forward,
            ],
            axis=-1,
        ).astype(np.float32)
        weight = 1 - np.abs(np.arange(width)[None] - columns[:, None]) / step_px
        self._interpolate = np.maximum(weight, 0).astype(np.float32)  # (columns, width)
        self._make_atlas()
        self._make_panorama()

    def _make_atlas(self) -> None:
        """All blur levels under one another, and what the haze leaves and adds at each row."""
        camera, scene = self.camera, self.scene
        levels = []
        for distance_m in LEVEL_DISTANCES_M:
            footprint_s_m = distance_m**2 / (camera.focal_v_px * camera.height_m)
            levels.append(_level(scene.ground, distance_m / camera.focal_u_px, footprint_s_m))
        self._atlas = np.concatenate(levels)
        self._level_footprints_d_m = np.array(LEVEL_DISTANCES_M[1:]) / camera.focal_u_px / np.sqrt(1.5)
        clear = np.exp(-self._forward_m / scene.visibility_m)[:, None, None]
        shape = (len(self._forward_m), camera.width_px, 3)
        self._haze_keeps = cv2.convertScaleAbs(np.broadcast_to(clear, shape).reshape(shape[0], -1), alpha=255)
        added = (1 - clear) * scene.sky[1]
        self._haze_adds = cv2.convertScaleAbs(np.broadcast_to(added, shape).reshape(shape[0], -1), alpha=255)
        self._haze_keeps, self._haze_adds = self._haze_keeps.reshape(shape), self._haze_adds.reshape(shape)
        self._footprint_across_m = self._forward_m / camera.focal_u_px
        self._footprint_along_m = self._forward_m**2 / (camera.focal_v_px * camera.height_m)

    def _make_panorama(self) -> None:
        """Sky, hills and the far ground for all bearings, one column a pixel of the camera's middle."""
        camera, scene = self.camera, self.scene
        n_columns = round(2 * np.pi * camera.focal_u_px)
        elevation = (camera.horizon_v_px - np.arange(self._top)) / camera.focal_v_px
        zenith, horizon = scene.sky
        blend = np.clip(elevation / 0.25, 0, 1)[:, None, None] ** 0.7
        picture = np.tile(horizon + (zenith - horizon) * blend, (1, n_columns, 1)).astype(np.float32)
        clouds = (
            cv2.resize(scene.clouds, (n_columns, 4 * camera.height_px))[-self._top :] if self._top else None
        )
        if clouds is not None:
            white = np.minimum(horizon * 1.12, 1)
            picture += 0.7 * clouds[..., None] * (white - picture)
        bearing = np.arange(n_columns) * scene.ridges.shape[1] / n_columns
        for ridge, colour in zip(scene.ridges, scene.ridge_colours, strict=True):
            top = np.interp(bearing, np.arange(len(ridge)), ridge, period=len(ridge))
            cover = np.clip((top[None] - elevation[:, None]) * camera.focal_v_px + 0.5, 0, 1)
            picture += cover[..., None] * (colour - picture)
        clear = np.exp(-FAR_M / scene.visibility_m)
        ground = clear * self._atlas[-N_D:].mean((0, 1)) / 255 + (1 - clear) * horizon
        below = np.clip(-elevation * camera.focal_v_px + 0.5, 0, 1)[:, None, None]
        picture += below * (ground - picture)
        picture_u8 = cv2.convertScaleAbs(picture.reshape(self._top, -1), alpha=255).reshape(picture.shape)
        self._panorama = np.concatenate([picture_u8, picture_u8[:, : camera.width_px]], axis=1)
        self._n_bearings = n_columns

    def road_coordinates(
        self, road: Road, s_m: float, x_m: float, y_m: float, heading_rad: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Arc length and lateral position (rows, W) of the ground seen by every pixel below the panorama.

        ``s_m`` is the car's own arc length, (x, y, heading) the pose of its rear axle.
        """
        first = max(int((s_m - 4.0) / STEP_M), 0)
        stride = int(SAMPLE_STEP_M / STEP_M)
        near = slice(first, min(first + int((FAR_M + 12.0) / STEP_M), len(road.s_m)), stride)
        cos, sin = np.cos(heading_rad), np.sin(heading_rad)
        dx, dy = road.x_m[near] - x_m, road.y_m[near] - y_m
        centre = np.stack([dx * cos + dy * sin - CAMERA_FORWARD_M, dy * cos - dx * sin]).astype(np.float32)
        turn = road.heading_rad[near] - heading_rad
        curvature = road.curvature_per_m[near].astype(np.float32)
        points = self._points.reshape(-1, 2)
        squared = points @ (-2.0 * centre)
        squared += np.einsum("ij,ij->j", centre, centre)
        nearest = squared.argmin(axis=1)
        tangent = np.stack([np.cos(turn), np.sin(turn)]).astype(np.float32)
        delta = points - centre.T[nearest]
        t = tangent.T[nearest]
        ahead = delta[:, 0] * t[:, 0] + delta[:, 1] * t[:, 1]
        left = delta[:, 1] * t[:, 0] - delta[:, 0] * t[:, 1]
        k = curvature[nearest]
        # Between two samples the centre line bends away from the tangent by k a^2 / 2.
        bend = np.clip(ahead, -SAMPLE_STEP_M, SAMPLE_STEP_M)
        shape = self._points.shape[:2]
        d = (left - 0.5 * k * bend * bend).reshape(shape)
        s = (road.s_m[near].astype(np.float32)[nearest] + ahead / np.maximum(1 - k * left, 0.3)).reshape(
            shape
        )
        # How far the road has turned across the view at each row: it decides the blur there.
        row_turn = np.interp(self._forward_m, centre[0], turn) if centre[0, -1] > centre[0, 0] else 0.0
        self._row_turn = np.abs(np.sin(row_turn))
        return s @ self._interpolate, d @ self._interpolate

    def draw(
        self, road: Road, s_m: float, x_m: float, y_m: float, heading_rad: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Picture uint8 (H, W, 3) RGB and road mask bool (H, W) from a pose of the rear axle."""
        camera = self.camera
        s, d = self.road_coordinates(road, s_m, x_m, y_m, heading_rad)
        footprint = self._footprint_across_m + self._row_turn * self._footprint_along_m
        level = np.searchsorted(self._level_footprints_d_m, footprint).astype(np.float32)
        # d is clipped, so the wrap of cv2.remap only ever acts along s, the texture's period.
        period_m = N_S * TEXEL_S_M
        map_s = s * np.float32(1 / TEXEL_S_M) - np.float32(s_m // period_m * N_S)
        map_d = np.clip(d * np.float32(-1 / TEXEL_D_M) + np.float32(N_D / 2 - 0.5), 0, N_D - 1) + level[
            :, None
        ] * np.float32(N_D)
        picture = np.empty((camera.height_px, camera.width_px, 3), np.uint8)
        ground = picture[self._top :]
        cv2.remap(self._atlas, map_s, map_d, cv2.INTER_LINEAR, dst=ground, borderMode=cv2.BORDER_WRAP)
        cv2.add(cv2.multiply(ground, self._haze_keeps, scale=1 / 255), self._haze_adds, dst=ground)
        column = round(-heading_rad * camera.focal_u_px) % self._n_bearings
        picture[: self._top] = self._panorama[:, column : column + camera.width_px]
        mask = np.zeros((camera.height_px, camera.width_px), bool)
        section = self.scene.section
        mask[self._top :] = (d < section.left_edge_m) & (d > section.right_edge_m)
        return picture, mask
