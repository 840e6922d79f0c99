"""Camera pictures of the world, with exact masks of what every pixel shows.

The camera does not roll and the ground's height depends on the forward distance alone, so every image row is one
forward distance and a pixel's place on the ground is known in closed form. Its road coordinates (arc length s,
lateral position d) are found exactly on a coarse grid of columns, against the nearest stretch of the centre line,
and interpolated in between; a ground texture in (s, d) then gives everything below the skyline, and the same (s, d) say
what the surface is. Sky and hills are a panorama; what stands on the ground comes last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sim.appearance.ground_atlas import GroundAtlas
from sim.appearance.panorama import Panorama
from sim.appearance.scene import Scene
from sim.appearance.weather_overlay import Overlay
from sim.camera import Camera
from sim.compiled import compiled, interpolate
from sim.ground_profile import GroundProfile, fill_rows
from sim.poster import Posters
from sim.road import STEP_M, Road
from sim.roadside.objects import ObjectRenderer
from sim.roadside.stretches import Roadside, RoadsideStretches
from sim.surface_class import SurfaceClass

CAMERA_FORWARD_M = 1.5
"""The lens is this far ahead of the rear axle."""
FAR_M = 160.0
"""Ground further than this is drawn as part of the panorama."""
NEAR_M = 2.0
COLUMN_STEP_PX = 20
BEHIND_M = 4.0
_FINE_M, _COARSE_M = np.arange(0.0, 64.0, 2.0), np.arange(64.0, FAR_M + 16.0, 5.0)
_SAMPLES = (np.concatenate([_FINE_M, _COARSE_M]) / STEP_M).astype(int)
"""Which stored points of the centre line, from ``BEHIND_M`` behind the car on, stand for it."""
_REACH_M = np.repeat([2.0, 5.0], [len(_FINE_M), len(_COARSE_M)])
"""How far from such a point its circle is followed."""


def lens_of(x_m: float, y_m: float, heading_rad: float) -> tuple[float, float]:
    """Where the lens is when the rear axle is at (x, y)."""
    return x_m + CAMERA_FORWARD_M * math.cos(heading_rad), y_m + CAMERA_FORWARD_M * math.sin(heading_rad)


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
        # Smaller values wrap round to large ones.
        return self.class_map - np.uint8(SurfaceClass.ROAD) <= SurfaceClass.MARKING - SurfaceClass.ROAD


class Renderer:
    """Draws one scene through one camera; make a new one when the scene changes.

    Args:
        camera: of the picture to draw.
        scene: appearance of the episode.
        roadside: what stands beside the road; None for an empty one.
        rng: of the weather's grain.
        nearest_vehicle: see ``sim.changes.Change``.

    Attributes:
        posters: what is printed on boards beside the road, if anything.
    """

    def __init__(
        self,
        camera: Camera,
        scene: Scene,
        roadside: Roadside | RoadsideStretches | None,
        rng: np.random.Generator,
        nearest_vehicle: str = "",
    ) -> None:
        self.camera, self.scene = camera, scene
        self.posters: Posters | None = None
        self._atlas = GroundAtlas(scene)
        self._panorama = Panorama(camera, scene, self._atlas.mean_verge())
        self._objects = ObjectRenderer(camera, roadside, scene.atmosphere, nearest_vehicle) if roadside else None
        self._overlay = Overlay(camera, scene.atmosphere, rng)
        height, width = camera.height_px, camera.width_px
        self._step_px = COLUMN_STEP_PX * width // 200
        nearest_m = camera.focal_v_px * camera.height_m / (height - 1 - camera.horizon_v_px)
        self._distances_m = np.geomspace(min(NEAR_M, 0.8 * nearest_m), FAR_M, 48)

    def draw(self, road: Road, s_m: float, x_m: float, y_m: float, heading_rad: float, time_s: float = 0.0) -> View:
        """What the camera sees from a pose of the rear axle beside arc length ``s_m``."""
        camera = self.camera
        ahead = self._ahead(road, s_m, x_m, y_m, heading_rad)
        grade = road.grade_at(s_m)
        profile, forward_m, footprint_m = self._survey(road, ahead, s_m, grade)
        top = camera.height_px - len(forward_m)
        picture = np.empty((camera.height_px, camera.width_px, 3), np.uint8)
        class_map = np.empty(picture.shape[:2], np.uint8)
        lane_mask = np.zeros(picture.shape[:2], bool)
        self._panorama.draw(picture, class_map, top, heading_rad, camera.focal_v_px * grade)
        s, d = self.road_coordinates(ahead, forward_m)
        self._atlas.draw(picture, class_map, lane_mask, s, d, forward_m, footprint_m)
        lens = lens_of(x_m, y_m, heading_rad)
        if self._objects is not None:
            self._objects.draw(picture, class_map, profile, road, s_m, *lens, heading_rad, time_s)
        if self.posters is not None:
            self.posters.draw(picture, class_map, road, s_m, *lens, heading_rad)
        if self._objects is not None or self.posters is not None:
            lane_mask &= class_map <= SurfaceClass.MARKING
        if self._overlay.is_needed:
            self._overlay.apply(picture, round(time_s * 20.0), heading_rad)
        if self._objects is not None:
            self._objects.draw_lights(picture)
        return View(picture, class_map, lane_mask)

    def _ahead(self, road: Road, s_m: float, x_m: float, y_m: float, heading_rad: float) -> np.ndarray:
        """The centre line ahead: table (n, 8) of the columns ``FORWARD`` to ``REACH``."""
        first = max(int((s_m - BEHIND_M) / STEP_M), 0)
        table = np.empty((len(_SAMPLES), 8))
        _look_ahead(
            road.s_m, road.x_m, road.y_m, road.heading_rad, road.curvature_per_m,
            first, _SAMPLES, _REACH_M, x_m, y_m, heading_rad, table,
        )  # fmt: skip
        return table

    def _survey(
        self, road: Road, ahead: np.ndarray, s_m: float, grade: float
    ) -> tuple[GroundProfile, np.ndarray, np.ndarray]:
        """The ground's profile; for the rows that show ground, the distance (R,) and what a pixel covers (2, R)."""
        camera, distances_m = self.camera, self._distances_m
        profile = np.empty((3, len(distances_m)))
        forward_m, footprint_m = np.empty(camera.height_px), np.empty((2, camera.height_px))
        top = _survey_ground(
            ahead, road.z_m, road.elevation_at(s_m), grade, distances_m, camera.height_m,
            camera.focal_u_px, camera.focal_v_px, camera.horizon_v_px, profile, forward_m, footprint_m,
        )  # fmt: skip
        return GroundProfile(distances_m, *profile), forward_m[top:], footprint_m[:, top:]

    def road_coordinates(self, ahead: np.ndarray, forward_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Arc length and lateral position, float32 (R, W), of the ground seen in rows of these forward distances."""
        camera = self.camera
        s, d = np.empty((2, len(forward_m), camera.width_px), np.float32)
        _road_coordinates(ahead, forward_m, self._step_px, camera.horizon_u_px, 1.0 / camera.focal_u_px, s, d)
        return s, d


FORWARD, LEFT, TURN, COS, SIN, CURVATURE, ARC, REACH = range(8)
"""Of a point of the centre line: its place in the camera's axes, direction against the car's (and its cosine and
sine), curvature, arc length, and how far from it its circle is followed."""


@compiled
def _look_ahead(
    s_m: np.ndarray, x_m: np.ndarray, y_m: np.ndarray, heading_rad: np.ndarray, curvature: np.ndarray,
    first: int, samples: np.ndarray, reach_m: np.ndarray, x: float, y: float, heading: float, table: np.ndarray,
) -> None:  # fmt: skip
    cos, sin = math.cos(heading), math.sin(heading)
    for i in range(len(samples)):
        near = min(first + samples[i], len(s_m) - 1)
        dx, dy, turn = x_m[near] - x, y_m[near] - y, heading_rad[near] - heading
        table[i, FORWARD] = dx * cos + dy * sin - CAMERA_FORWARD_M
        table[i, LEFT] = dy * cos - dx * sin
        table[i, TURN], table[i, COS], table[i, SIN] = turn, math.cos(turn), math.sin(turn)
        table[i, CURVATURE], table[i, ARC], table[i, REACH] = curvature[near], s_m[near], reach_m[i]


@compiled
def _survey_ground(
    ahead: np.ndarray, z_m: np.ndarray, elevation_m: float, grade: float, distances_m: np.ndarray,
    height_m: float, focal_u_px: float, focal_v_px: float, horizon_v_px: float,
    profile: np.ndarray, forward_m: np.ndarray, footprint_m: np.ndarray,
) -> int:  # fmt: skip
    """Fill ``profile`` (height, row and crest by distance) and the rows' distances; returns the first ground row.

    Heights are above the plane the car stands on; where the road turns back, its height there goes on.
    """
    n, n_rows = 0, len(forward_m)
    reached_m, above_m, turn_rad = np.empty(len(ahead)), np.empty(len(ahead)), np.empty(len(ahead))
    for i in range(len(ahead)):
        if n == 0 or ahead[i, FORWARD] > reached_m[n - 1]:
            index = min(int(ahead[i, ARC] * (1 / STEP_M)), len(z_m) - 1)
            reached_m[n], above_m[n], turn_rad[n] = (ahead[i, FORWARD], z_m[index] - elevation_m, ahead[i, TURN])
            n += 1
    reached_m, above_m, turn_rad = reached_m[:n], above_m[:n], turn_rad[:n]
    height, row_px, crest_px = profile[0], profile[1], profile[2]
    for i in range(len(distances_m)):
        far = distances_m[i]
        height[i] = interpolate(far, reached_m, above_m) - grade * (far + CAMERA_FORWARD_M)
    fill_rows(distances_m, height, height_m, focal_v_px, horizon_v_px, row_px, crest_px)
    top = min(max(math.ceil(crest_px[-1]), 0), n_rows - 1)
    at = len(distances_m) - 1
    for row in range(top, n_rows):
        # On the skyline's way up a row sees the nearest ground that reaches it; 1 / forward is linear in the row.
        while at > 0 and crest_px[at - 1] < row:
            at -= 1
        inverse = 1.0 / distances_m[at]
        if at > 0 and crest_px[at - 1] > crest_px[at]:
            share = max(row - crest_px[at], 0.0) / (crest_px[at - 1] - crest_px[at])
            inverse += share * (1.0 / distances_m[at - 1] - inverse)
        far = 1.0 / inverse
        forward_m[row] = far
        across_m = far / focal_u_px
        clearance_m = max(height_m - interpolate(far, distances_m, height), 0.3)
        along_m = far * far / (focal_v_px * clearance_m)
        turn = interpolate(far, reached_m, turn_rad)
        sin, cos = abs(math.sin(turn)), abs(math.cos(turn))
        footprint_m[0, row] = along_m * cos + across_m * sin
        footprint_m[1, row] = along_m * sin + across_m * cos
    return top


@compiled
def _road_coordinates(
    ahead: np.ndarray, forward_m: np.ndarray, step_px: int, horizon_u_px: float, per_focal: float,
    s: np.ndarray, d: np.ndarray,
) -> None:  # fmt: skip
    n_rows, width = s.shape
    n = len(ahead)
    for row in range(n_rows):
        forward = forward_m[row]
        before_s = before_d = 0.0
        for column in range(0, width - 1 + step_px, step_px):
            left = (horizon_u_px - column) * per_focal * forward
            # The nearest of every third point, then of its neighbours.
            nearest, least = 0, np.inf
            for i in range(1, n, 3):
                east, north = forward - ahead[i, FORWARD], left - ahead[i, LEFT]
                squared = east * east + north * north
                if squared < least:
                    nearest, least = i, squared
            for i in range(max(nearest - 2, 0), min(nearest + 3, n)):
                east, north = forward - ahead[i, FORWARD], left - ahead[i, LEFT]
                squared = east * east + north * north
                if squared < least:
                    nearest, least = i, squared
            point = ahead[nearest]
            east, north = forward - point[FORWARD], left - point[LEFT]
            along = east * point[COS] + north * point[SIN]
            aside = north * point[COS] - east * point[SIN]
            # Between two samples the centre line bends away from the tangent by k a^2 / 2.
            bend = max(min(along, point[REACH]), -point[REACH])
            here_d = aside - 0.5 * point[CURVATURE] * bend * bend
            here_s = point[ARC] + along / max(1.0 - point[CURVATURE] * aside, 0.3)
            if column > 0:
                slope_s, slope_d = (here_s - before_s) / step_px, (here_d - before_d) / step_px
                for k in range(min(step_px, width - column + step_px)):
                    s[row, column - step_px + k] = before_s + k * slope_s
                    d[row, column - step_px + k] = before_d + k * slope_d
                if column < width:
                    s[row, column], d[row, column] = here_s, here_d
            before_s, before_d = here_s, here_d
