"""Draws what stands and drives beside the road into a camera picture, far to near, and into its class map.

Everything is upright in the pinhole camera: posts, trees and cars are pictures that face the viewer, walls and town
fronts are pictures that run along the road, rails are filled quads. Compiled loops find what is in view, choose the
resolution of every picture and draw (``sim.roadside.strips``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.appearance.atmosphere import Atmosphere
from sim.camera import Camera
from sim.changes import ASIDE_M
from sim.compiled import compiled, interpolate
from sim.ground_profile import GroundProfile
from sim.road import Road
from sim.roadside.library import level_of, library
from sim.roadside.lights import add_glows, lit_classes, see_glows
from sim.roadside.poses import BEHIND_M, FARTHER_M, ObjectLayout
from sim.roadside.rails import Rails
from sim.roadside.sprites import N_VIEWS
from sim.roadside.stretches import Roadside, RoadsideStretches
from sim.roadside.strips import FAR_M, NEAR_M, PANEL, QUAD, THING, UPRIGHT, between, draw_things, panel_share
from sim.surface_class import SurfaceClass

__all__ = ["FAR_M", "ObjectRenderer"]

MAX_THINGS = 600
"""At most so many pictures and quads a frame; the farthest of each kind are dropped."""
MIN_AREA_PX = 2.0
"""Smaller pictures than this in the 78 x 200 frame are left out."""
_VIEWS_PER_RAD = N_VIEWS / (2 * math.pi)


class ObjectRenderer:
    """Draws one roadside through one camera in one atmosphere.

    Args:
        camera: of the pictures to draw into.
        roadside: the objects.
        atmosphere: its light, haze and darkness.
        nearest_vehicle: "gone" or "aside": what becomes of the one nearest in view; see ``sim.changes.Change``.
    """

    def __init__(
        self, camera: Camera, roadside: Roadside | RoadsideStretches, atmosphere: Atmosphere, nearest_vehicle: str = ""
    ) -> None:
        self._nearest_vehicle = nearest_vehicle
        self.camera, self.roadside, self.atmosphere = camera, roadside, atmosphere
        self._road: Road | None = None
        self._laid: dict[int, tuple[Roadside, ObjectLayout, Rails]] = {}
        self._horizon = 255 * np.clip(atmosphere.horizon, 0.0, 1.0).astype(np.float64)
        self._light = np.asarray(atmosphere.light, np.float64)
        optics = (camera.focal_u_px, camera.focal_v_px, camera.horizon_u_px, camera.horizon_v_px, camera.height_m)
        self._optics = np.array(optics)
        # The half of the view that reaches further aside, as left / forward.
        half = max(camera.horizon_u_px, camera.width_px - camera.horizon_u_px) / camera.focal_u_px
        self._view = np.array([*optics, half])
        self._min_area_px = MIN_AREA_PX * (camera.width_px / 200) ** 2
        self._library = library()
        self._things = np.zeros(MAX_THINGS, THING)
        self._is_lit = lit_classes(atmosphere)
        self._glows = np.empty((0, 6))

    def draw(
        self,
        picture: np.ndarray,
        class_map: np.ndarray,
        profile: GroundProfile,
        road: Road,
        s_m: float,
        camera_x_m: float,
        camera_y_m: float,
        heading_rad: float,
        time_s: float,
    ) -> None:
        """Draw into ``picture`` uint8 (H, W, 3) and ``class_map`` uint8 (H, W) from a pose of the lens.

        ``s_m`` is the arc length the car is at; ``time_s`` places the moving cars.
        """
        near = self._lay(road, s_m)
        pose = np.array([camera_x_m, camera_y_m, math.cos(heading_rad), math.sin(heading_rad)])
        ground = profile.forward_m, profile.height_m, profile.crest_px
        things, width_px = self._things, self.camera.width_px
        n = 0
        for objects, _ in near:
            n_cars = objects.place_cars(s_m, time_s, FAR_M)
            low, high = objects.standing(s_m, FAR_M)
            for some in (objects.cars[:n_cars], objects.upright[low:high]):
                if len(some):
                    n = _see_upright(
                        things, n, some, *ground, pose, heading_rad, self._view, self._min_area_px, width_px
                    )
        for objects, _ in near:
            if len(some := objects.panels(s_m, FAR_M)):
                n = _see_panels(things, n, some, *ground, pose, self._view)
        for _, rails in near:
            n = rails.see(things, n, profile, s_m, pose, self._view)
        things = things[:n]
        if self._nearest_vehicle:
            things = self._change_nearest_vehicle(things)
        self._fetch(things)
        order = np.argsort(-things["depth_m"], kind="stable")
        draw_things(
            picture, class_map, things, order, self._library.texels, self._library.places,
            self._light, self._horizon, self.atmosphere.visibility_m, self._optics,
        )  # fmt: skip
        if self._is_lit.any():
            self._glows = see_glows(
                things, class_map, self._library.lamps, self._library.lamps_of, self._is_lit, self._optics,
                self.atmosphere.visibility_m,
            )  # fmt: skip

    def _lay(self, road: Road, s_m: float) -> list[tuple[ObjectLayout, Rails]]:
        """Where the parts of the roadside near the car are on the road, computed when they first come near."""
        if self._road is not road:
            self._road, self._laid = road, {}
        near = []
        for part in self.roadside.near(s_m - BEHIND_M, s_m + FAR_M + FARTHER_M):
            laid = self._laid.get(id(part))
            if laid is None or laid[0] is not part:  # in a copy, an id may be another part's
                laid = part, ObjectLayout(part, road), Rails(part.barriers, road, self.atmosphere)
                self._laid[id(part)] = laid
            near.append(laid[1:])
        return near

    def _change_nearest_vehicle(self, things: np.ndarray) -> np.ndarray:
        depth_m = np.where(things["surface"] == SurfaceClass.VEHICLE, things["depth_m"], np.inf)
        if not np.isfinite(depth_m).any():
            return things
        nearest = int(depth_m.argmin())
        if self._nearest_vehicle == "gone":
            return np.delete(things, nearest)
        things, one = things.copy(), things[nearest]
        side = 1.0 if one["left"] + 0.5 * one["width"] > self.camera.horizon_u_px else -1.0
        things["left"][nearest] += side * ASIDE_M * self.camera.focal_u_px / depth_m[nearest]
        return things

    def draw_lights(self, picture: np.ndarray) -> None:
        """Add the glow of the lamps and lit windows of the last ``draw``; nothing by day."""
        if len(self._glows):
            add_glows(picture, self._glows)

    def _fetch(self, things: np.ndarray) -> None:
        """Choose resolutions, and make every picture available that is drawn for the first time."""
        while True:
            missing = _choose_levels(things, self._library.places, self._library.n_levels, self._optics)
            if missing < 0:
                return
            index, level = int(things["sprite"][missing]), int(things["level"][missing])
            if self._library.n_levels[index]:
                self._library.load(index, level)
            else:
                self._library.look_up(index)


@compiled
def _see_upright(
    things: np.ndarray, n: int, near: np.ndarray, far_m: np.ndarray, height_m: np.ndarray, crest_px: np.ndarray,
    pose: np.ndarray, heading_rad: float, view: np.ndarray, min_area_px: float, width_px: int,
) -> int:  # fmt: skip
    """Add those of the upright things ``near`` (``poses.UPRIGHT``) that are in view."""
    focal_u_px, focal_v_px, horizon_u_px, horizon_v_px, eye_m, half = view
    x, y, cos, sin = pose
    for i in range(len(near)):
        one = near[i]
        dx, dy = one.x_m - x, one.y_m - y
        forward_m, left_m = dx * cos + dy * sin, dy * cos - dx * sin
        reach_m = one.reach_m
        if not (NEAR_M < forward_m < FAR_M and abs(left_m) < half * forward_m + reach_m) or n == len(things):
            continue
        index, width_m, length_m = one.sprite, one.width_m, one.length_m
        if length_m > 0.0:
            yaw = one.heading_rad - heading_rad - math.atan2(left_m, forward_m)
            index += math.floor(yaw * _VIEWS_PER_RAD + 0.5) % N_VIEWS
            width_m = width_m * abs(math.cos(yaw)) + length_m * abs(math.sin(yaw)) + one.margin_m
        scale_u, scale_v = focal_u_px / forward_m, focal_v_px / forward_m
        width, tall = width_m * scale_u, one.tall_m * scale_v
        left = horizon_u_px - scale_u * left_m - 0.5 * width
        base = horizon_v_px + scale_v * (eye_m - interpolate(forward_m, far_m, height_m))
        crest = interpolate(forward_m, far_m, crest_px)
        last = base + one.below_m * scale_v
        if width * tall > min_area_px and tall > 1.0 and left < width_px and left + width > 0:
            thing = things[n]
            thing.kind, thing.depth_m, thing.sprite, thing.surface = (UPRIGHT, forward_m, index, one.surface)
            thing.left, thing.top, thing.width, thing.tall = left, last - tall, width, tall
            thing.last = crest if crest < base - 0.5 else last
            n += 1
    return n


@compiled
def _see_panels(
    things: np.ndarray, n: int, near: np.ndarray, far_m: np.ndarray, height_m: np.ndarray, crest_px: np.ndarray,
    pose: np.ndarray, view: np.ndarray,
) -> int:  # fmt: skip
    """Add those of the panels ``near`` (``poses.PANEL``) that are in view."""
    half = view[5]
    x, y, cos, sin = pose
    for i in range(len(near)):
        if n == len(things):
            break
        one, thing, n_left, n_right = near[i], things[n], 0, 0
        for end in range(2):
            dx, dy = one.x_m[end] - x, one.y_m[end] - y
            f, left = dx * cos + dy * sin, dy * cos - dx * sin
            thing.forward_m[end], thing.left_m[end] = f, left
            thing.ground_m[end], thing.crest[end] = (interpolate(f, far_m, height_m), interpolate(f, far_m, crest_px))
            n_left, n_right = n_left + (left > half * f), n_right + (left < -half * f)
        nearest, farthest = (min(thing.forward_m[0], thing.forward_m[1]), max(thing.forward_m[0], thing.forward_m[1]))
        # Two ends outside on the same side of the view: nothing of the panel is in it.
        if farthest > NEAR_M + 0.3 and nearest < FAR_M - 1.0 and n_left < 2 and n_right < 2:
            thing.kind, thing.depth_m, thing.height_m = PANEL, farthest, one.tall_m
            thing.sprite, thing.surface = one.sprite, one.surface
            n += 1
    return n


@compiled
def _choose_levels(things: np.ndarray, places: np.ndarray, n_levels: np.ndarray, camera: np.ndarray) -> int:
    """Set the resolution of every picture; returns the first that is not available, -1 if all are."""
    for i in range(len(things)):
        thing = things[i]
        if thing.kind == QUAD:
            continue
        index = thing.sprite
        if n_levels[index] == 0:
            return i
        n_rows, n_columns = places[index, 0].n_rows, places[index, 0].n_columns
        rows_px = thing.tall if thing.kind == UPRIGHT else _panel_rows(thing, n_rows, n_columns, camera)
        level = level_of(n_rows, rows_px, n_levels[index])
        thing.level = level
        if places[index, level].offset < 0:
            return i
    return -1


@compiled
def _panel_rows(panel: Any, n_rows: int, n_columns: int, camera: np.ndarray) -> float:
    """Rows of the texture that suit a panel: as many as it has in the picture, fewer where it is seen at an angle."""
    low, high = panel_share(panel, 0), panel_share(panel, 1)
    f_low, f_high = between(panel.forward_m, low), between(panel.forward_m, high)
    l_low, l_high = between(panel.left_m, low), between(panel.left_m, high)
    across = max(abs(camera[0] * (l_low / f_low - l_high / f_high)), 0.5)
    tallest = max(camera[1] * panel.height_m / min(f_low, f_high), 1.0)
    squeeze = n_columns * (high - low) / across * tallest / n_rows  # texels a pixel, along over up
    return tallest / min(math.sqrt(max(squeeze, 1.0)), 2.5)
