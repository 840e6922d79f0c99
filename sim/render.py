"""Camera pictures of the world, with exact masks of what every pixel shows.

The camera does not roll and the ground's height depends on the forward distance alone, so every image row is one
forward distance and a pixel's place on the ground is known in closed form. Its road coordinates (arc length s,
lateral position d) are found exactly on a coarse grid of columns, against the nearest stretch of the centre line,
and interpolated in between; one ``cv2.remap`` of a ground texture in (s, d) then draws everything below the skyline,
and the same (s, d) say what the surface is. Sky and hills are a panorama; what stands on the ground comes last.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sim.camera import Camera
from sim.ground_profile import GroundProfile, ground_profile
from sim.look.ground_atlas import GroundAtlas
from sim.look.overlay import Overlay
from sim.look.panorama import Panorama
from sim.look.scene import Scene
from sim.road import STEP_M, Road
from sim.roadside.objects import ObjectRenderer
from sim.roadside.placement import Roadside
from sim.surface_class import SurfaceClass

CAMERA_FORWARD_M = 1.5
"""The lens is this far ahead of the rear axle."""
FAR_M = 160.0
"""Ground further than this is drawn as part of the panorama."""
NEAR_M = 2.0
COLUMN_STEP_PX = 20
N_HAZE_STEPS = 256
BEHIND_M = 4.0
_FINE_M, _COARSE_M = np.arange(0.0, 64.0, 2.0), np.arange(64.0, FAR_M + 16.0, 5.0)
_SAMPLES = (np.concatenate([_FINE_M, _COARSE_M]) / STEP_M).astype(int)
"""Which stored points of the centre line, from ``BEHIND_M`` behind the car on, stand for it."""
_REACH_M = np.repeat([2.0, 5.0], [len(_FINE_M), len(_COARSE_M)])
"""How far from such a point its circle is followed."""


@dataclass(frozen=True)
class View:
    """One picture and what is in it.

    Attributes:
        picture: uint8 (H, W, 3) RGB.
        class_map: uint8 (H, W) of ``SurfaceClass``.
        lane_mask: bool (H, W), own lane with the markings on it, where nothing hides it.
    """

    picture: np.ndarray
    class_map: np.ndarray
    lane_mask: np.ndarray

    @property
    def road_mask(self) -> np.ndarray:
        """bool (H, W), the paved surface where nothing hides it."""
        return (self.class_map >= SurfaceClass.ROAD) & (self.class_map <= SurfaceClass.MARKING)


@dataclass(frozen=True)
class _Ahead:
    """The centre line ahead, float32 (n,) each: place in the camera's axes, direction, arc length.

    ``table`` (n, 7) has forward, left, cosine and sine of the direction, curvature, arc length and reach of a point
    side by side, to be looked up at once.
    """

    forward_m: np.ndarray
    left_m: np.ndarray
    turn_rad: np.ndarray
    s_m: np.ndarray
    table: np.ndarray


class Renderer:
    """Draws one scene through one camera; make a new one when the scene changes.

    Args:
        camera: of the picture to draw.
        scene: looks of the episode.
        roadside: what stands beside the road; None for an empty one.
        rng: of the weather's grain.
    """

    def __init__(
        self, camera: Camera, scene: Scene, roadside: Roadside | None, rng: np.random.Generator
    ) -> None:
        self.camera, self.scene = camera, scene
        self._atlas = GroundAtlas(scene)
        self._panorama = Panorama(camera, scene)
        self._objects = ObjectRenderer(camera, roadside, scene.atmosphere) if roadside else None
        self._overlay = Overlay(camera, scene.atmosphere, rng)
        height, width = camera.height_px, camera.width_px
        self._rows = np.arange(height, dtype=np.float64)
        step_px = COLUMN_STEP_PX * width // 200
        columns = np.arange(0, width - 1 + step_px, step_px, dtype=np.float32)
        self._left_per_forward = ((camera.horizon_u_px - columns) / camera.focal_u_px).astype(np.float32)
        weight = 1 - np.abs(np.arange(width)[None] - columns[:, None]) / step_px
        self._interpolate = np.maximum(weight, 0).astype(np.float32)  # (columns, width)
        nearest_m = camera.focal_v_px * camera.height_m / (height - 1 - camera.horizon_v_px)
        self._distances_m = np.geomspace(min(NEAR_M, 0.8 * nearest_m), FAR_M, 48)
        share = np.linspace(0, 1, N_HAZE_STEPS)[:, None, None]
        horizon = np.clip(scene.atmosphere.horizon, 0, 1)
        shape = (N_HAZE_STEPS, width, 3)  # a whole row each
        self._haze_keeps = np.ascontiguousarray(np.broadcast_to(np.rint(share * 255), shape), np.uint8)
        self._haze_adds = np.ascontiguousarray(
            np.broadcast_to(np.rint((1 - share) * horizon * 255), shape), np.uint8
        )

    def draw(
        self, road: Road, s_m: float, x_m: float, y_m: float, heading_rad: float, time_s: float = 0.0
    ) -> View:
        """What the camera sees from a pose of the rear axle beside arc length ``s_m``."""
        camera, scene = self.camera, self.scene
        ahead = self._ahead(road, s_m, x_m, y_m, heading_rad)
        grade = road.grade_at(s_m)
        profile = self._profile(road, ahead, s_m, grade)
        top = int(np.clip(np.ceil(profile.crest_px[-1]), 0, camera.height_px - 1))
        # On the skyline's way up a row sees the nearest ground that reaches it; 1 / forward is linear in the row.
        inverse = np.interp(self._rows[top:], profile.crest_px[::-1], 1.0 / profile.forward_m[::-1])
        forward_m = (1.0 / inverse).astype(np.float32)
        picture = np.empty((camera.height_px, camera.width_px, 3), np.uint8)
        class_map = np.empty(picture.shape[:2], np.uint8)
        self._panorama.draw(picture, class_map, top, heading_rad, camera.focal_v_px * grade)
        s, d = self.road_coordinates(ahead, forward_m)
        level_s, level_d = self._levels(ahead, profile, forward_m)
        ground = picture[top:]
        surface = self._atlas.draw(ground, s, d, level_s, level_d)
        paved = surface >= SurfaceClass.ROAD
        lane = paved & (np.abs(d) < 0.5 * scene.section.lane_width_m)
        surface += (lane & (surface == SurfaceClass.ROAD)).view(np.uint8)  # ROAD + 1 is OWN_LANE
        class_map[top:] = surface
        if scene.atmosphere.wetness > 0:
            self._mirror_sky(picture, top, forward_m, paved)
        self._add_haze(ground, forward_m)
        if self._objects is not None:
            # The lens, not the rear axle.
            camera_x_m = x_m + CAMERA_FORWARD_M * np.cos(heading_rad)
            camera_y_m = y_m + CAMERA_FORWARD_M * np.sin(heading_rad)
            self._objects.draw(
                picture, class_map, profile, road, s_m, camera_x_m, camera_y_m, heading_rad, time_s
            )
        if self._overlay.is_needed:
            self._overlay.apply(picture, round(time_s * 20.0), heading_rad)
        if self._objects is not None:
            self._objects.draw_lights(picture)
        lane_mask = np.zeros(class_map.shape, bool)
        lane_mask[top:] = lane & (class_map[top:] <= SurfaceClass.MARKING)
        return View(picture, class_map, lane_mask)

    def _ahead(self, road: Road, s_m: float, x_m: float, y_m: float, heading_rad: float) -> _Ahead:
        first = max(int((s_m - BEHIND_M) / STEP_M), 0)
        near = np.minimum(first + _SAMPLES, len(road.s_m) - 1)
        cos, sin = np.cos(heading_rad), np.sin(heading_rad)
        dx, dy = road.x_m[near] - x_m, road.y_m[near] - y_m
        forward_m = (dx * cos + dy * sin - CAMERA_FORWARD_M).astype(np.float32)
        left_m = (dy * cos - dx * sin).astype(np.float32)
        turn = (road.heading_rad[near] - heading_rad).astype(np.float32)
        s_near = road.s_m[near].astype(np.float32)
        table = np.stack(
            [forward_m, left_m, np.cos(turn), np.sin(turn), road.curvature_per_m[near], s_near, _REACH_M],
            axis=-1,
        ).astype(np.float32)
        return _Ahead(forward_m, left_m, turn, s_near, table)

    def _profile(self, road: Road, ahead: _Ahead, s_m: float, grade: float) -> GroundProfile:
        """Heights above the plane the car stands on; where the road turns back, its height there goes on."""
        reach_m = np.maximum.accumulate(ahead.forward_m)
        new = np.append(True, reach_m[1:] > reach_m[:-1])
        index = np.minimum((ahead.s_m[new] * (1 / STEP_M)).astype(np.intp), len(road.z_m) - 1)
        above_m = road.z_m[index] - road.elevation_at(s_m)
        level_m = np.interp(self._distances_m, reach_m[new], above_m)
        return ground_profile(
            self.camera, self._distances_m, level_m - grade * (self._distances_m + CAMERA_FORWARD_M)
        )

    def road_coordinates(self, ahead: _Ahead, forward_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Arc length and lateral position, float32 (R, W), of the ground seen in rows of these forward distances."""
        grid = np.empty((len(forward_m), len(self._left_per_forward), 2), np.float32)
        grid[..., 0] = forward_m[:, None]
        np.multiply(forward_m[:, None], self._left_per_forward, out=grid[..., 1])
        points = grid.reshape(-1, 2)
        squared = points @ np.stack([-2.0 * ahead.forward_m, -2.0 * ahead.left_m])
        squared += ahead.forward_m**2 + ahead.left_m**2
        forward, left, cos, sin, k, s_near, reach = ahead.table[squared.argmin(axis=1)].T
        east, north = points[:, 0] - forward, points[:, 1] - left
        along, left = east * cos + north * sin, north * cos - east * sin
        # Between two samples the centre line bends away from the tangent by k a^2 / 2.
        bend = np.maximum(np.minimum(along, reach), -reach)
        shape = grid.shape[:2]
        d = (left - 0.5 * k * bend * bend).reshape(shape)
        s = (s_near + along / np.maximum(1 - k * left, 0.3)).reshape(shape)
        return s @ self._interpolate, d @ self._interpolate

    def _levels(
        self, ahead: _Ahead, profile: GroundProfile, forward_m: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Resolution of the texture along and across the road in every row."""
        camera = self.camera
        across_m = forward_m / camera.focal_u_px
        clearance_m = np.maximum(camera.height_m - profile.height_at(forward_m), 0.3)
        along_m = forward_m**2 / (camera.focal_v_px * clearance_m)
        turn = np.interp(forward_m, np.maximum.accumulate(ahead.forward_m), ahead.turn_rad)
        sin, cos = np.abs(np.sin(turn)), np.abs(np.cos(turn))
        level_s = self._atlas.levels(along_m * cos + across_m * sin, across=False)
        level_d = self._atlas.levels(along_m * sin + across_m * cos, across=True)
        return level_s, level_d

    def _mirror_sky(self, picture: np.ndarray, top: int, forward_m: np.ndarray, paved: np.ndarray) -> None:
        """What stands above the skyline, in a wet road: the more, the flatter one looks at it."""
        ground = picture[top:]
        mirrored = picture[np.clip(2 * top - 1 - np.arange(top, len(picture)), 0, max(top - 1, 0))]
        share = self.scene.atmosphere.wetness * 0.75 * forward_m / (forward_m + 14.0)
        weight = np.round(share * 255).astype(np.uint8)[:, None, None]
        weight = np.broadcast_to(weight, ground.shape)
        mixed = cv2.multiply(mirrored, weight, scale=1 / 255)
        mixed = cv2.add(mixed, cv2.multiply(ground, 255 - weight, scale=1 / 255))
        np.copyto(ground, mixed, where=paved[..., None])

    def _add_haze(self, ground: np.ndarray, forward_m: np.ndarray) -> None:
        """Mix every row with the horizon's colour by its distance."""
        keeps = np.exp(forward_m * np.float32(-1 / self.scene.atmosphere.visibility_m))
        step = (keeps * (N_HAZE_STEPS - 1) + 0.5).astype(np.intp)
        kept, added = self._haze_keeps[step], self._haze_adds[step]
        cv2.add(cv2.multiply(ground, kept, scale=1 / 255), added, dst=ground)
