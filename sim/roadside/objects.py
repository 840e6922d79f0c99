"""Draws what stands and drives beside the road into a camera picture, far to near, and into its class map.

Everything is an upright picture in the pinhole camera: posts, trees and cars face the viewer and need one
``cv2.warpAffine`` each, walls and town fronts run along the road and need one ``cv2.warpPerspective``, rails are
filled quads.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from sim.camera import Camera
from sim.ground_profile import GroundProfile
from sim.look.atmosphere import Atmosphere
from sim.road import Road
from sim.roadside import layout
from sim.roadside.layout import ObjectLayout, Pose, to_camera
from sim.roadside.lights import Glow, draw_glow, is_lit, retain_visible
from sim.roadside.placement import Roadside
from sim.roadside.rails import Rails, draw_rail
from sim.roadside.sprites import MIP_RATIO, N_VIEWS, Sprite, sprite
from sim.surface_class import SurfaceClass

FAR_M = 100.0
FADE_M = 18.0
"""Over this last stretch things fade in, so that nothing pops up."""
NEAR_M = 1.5
HAZE_STEPS, FADE_STEPS = 48, 12
"""How finely haze and fading in are graded: a picture is kept in each that occurs."""
HAZE_STEP, MAX_PIECES = 0.08, 8
"""A panel along which the haze changes more than this is drawn in pieces."""
MAX_PICTURES = 18
"""At most so many upright pictures a frame; the farthest are dropped."""
MIN_AREA_PX = 2.0
"""Smaller pictures than this in the 78 x 200 frame are left out."""
_WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_CLEAR = (0, 0, 0, 255)
_BARRIER = int(SurfaceClass.BARRIER)
_MIP_PER_OCTAVE = math.log(2.0) / math.log(MIP_RATIO)
_VIEWS_PER_RAD = N_VIEWS / (2 * math.pi)


class ObjectRenderer:
    """Draws one roadside through one camera in one atmosphere.

    Args:
        camera: of the pictures to draw into.
        roadside: the objects.
        atmosphere: its light, haze and darkness.
    """

    def __init__(self, camera: Camera, roadside: Roadside, atmosphere: Atmosphere) -> None:
        self.camera, self.roadside, self.atmosphere = camera, roadside, atmosphere
        self._laid: tuple[Road, ObjectLayout, Rails] | None = None
        self._horizon = np.clip(atmosphere.horizon, 0.0, 1.0).astype(np.float64)
        self._light = np.asarray(atmosphere.light, np.float64)
        self._affine = np.zeros((2, 3))
        self._bakery: dict[tuple[int, int, int, int], np.ndarray] = {}
        shape = (camera.height_px, camera.width_px)
        self._surfaces = {int(surface): np.full(shape, surface, np.uint8) for surface in SurfaceClass}
        self._min_area_px = MIN_AREA_PX * (camera.width_px / 200) ** 2
        self._glows: list[Glow] = []

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
        if self._laid is None or self._laid[0] is not road:
            rails = Rails(self.roadside.barriers, road, self.camera, self.atmosphere)
            self._laid = (road, ObjectLayout(self.roadside, road), rails)
        _, objects, rails = self._laid
        pose = (camera_x_m, camera_y_m, heading_rad)
        self._glows = []
        items: list[tuple[Any, ...]] = self._upright(objects.upright(s_m, time_s, FAR_M), profile, pose)
        items += self._panels(objects.panels(s_m, FAR_M), profile, pose)
        items += rails.items(profile, s_m, pose)
        items.sort(key=_depth, reverse=True)
        for item in items:
            if len(item) == 3:
                draw_rail(picture, class_map, item, _BARRIER)
            elif len(item) == 7:
                self._draw_panel(picture, class_map, item)
            else:
                self._draw_upright(picture, class_map, item)
        self._glows = retain_visible(self._glows, class_map)

    def draw_lights(self, picture: np.ndarray) -> None:
        """Add the glow of the lamps and lit windows of the last ``draw``; nothing by day."""
        for glow in self._glows:
            draw_glow(picture, glow)

    def _upright(self, near: np.ndarray, profile: GroundProfile, pose: Pose) -> list[tuple[Any, ...]]:
        """(depth, sprite, class, left, top, width, height, last row): what faces the viewer, in pixels."""
        camera = self.camera
        f, left_m = to_camera(near[:, layout.X], near[:, layout.Y], pose)
        half = max(camera.horizon_u_px, camera.width_px - camera.horizon_u_px) / camera.focal_u_px
        keep = (f > NEAR_M) & (f < FAR_M) & (np.abs(left_m) < half * f + near[:, layout.REACH_M])
        near, f, left_m = near[keep], f[keep], left_m[keep]
        if len(f) > MAX_PICTURES:
            nearest = np.argsort(f, kind="stable")[:MAX_PICTURES]
            near, f, left_m = near[nearest], f[nearest], left_m[nearest]
        scale = camera.focal_v_px / f
        base = camera.horizon_v_px + scale * (camera.height_m - profile.height_at(f))
        crest = profile.crest_at(f)
        table = np.concatenate([near, np.array([f, left_m, base, crest, scale]).T], axis=1).tolist()
        items: list[tuple[Any, ...]] = []
        for (_, _, heading, _, width_m, length_m, margin_m, tall_m, below_m, index, surface,
             forward_m, left, base_px, crest_px, scale_v) in table:  # fmt: skip
            if length_m:
                yaw = heading - pose[2] - math.atan2(left, forward_m)
                index += round(yaw * _VIEWS_PER_RAD) % N_VIEWS
                width_m = width_m * abs(math.cos(yaw)) + length_m * abs(math.sin(yaw)) + margin_m
            scale_u = camera.focal_u_px / forward_m
            width, tall = width_m * scale_u, tall_m * scale_v
            left_px = camera.horizon_u_px - scale_u * left - 0.5 * width
            last = base_px + below_m * scale_v
            top = last - tall
            if crest_px < base_px - 0.5:
                last = crest_px
            if (
                width * tall > self._min_area_px
                and tall > 1.0
                and left_px < camera.width_px
                and left_px + width > 0
            ):
                items.append((forward_m, int(index), int(surface), left_px, top, width, tall, last))
        return items

    def _draw_upright(self, picture: np.ndarray, class_map: np.ndarray, item: tuple[Any, ...]) -> None:
        depth_m, index, surface, left, top, width, tall, last = item
        camera = self.camera
        x0, x1 = max(math.floor(left + 0.5), 0), min(math.ceil(left + width + 0.5), camera.width_px)
        y0, y1 = max(math.floor(top + 0.5), 0), min(math.ceil(last + 0.5), camera.height_px)
        if x0 >= x1 or y0 >= y1:
            return
        painted = sprite(index)
        mip = self._baked(painted, index, tall, depth_m)
        step_x, step_y = mip.shape[1] / width, mip.shape[0] / tall
        affine = self._affine
        affine[0, 0], affine[0, 2] = step_x, (x0 - left) * step_x - 0.5
        affine[1, 1], affine[1, 2] = step_y, (y0 - top) * step_y - 0.5
        size = (x1 - x0, y1 - y0)
        tile = cv2.warpAffine(
            mip, affine, size, flags=_WARP, borderMode=cv2.BORDER_CONSTANT, borderValue=_CLEAR
        )
        self._blend(picture[y0:y1, x0:x1], class_map[y0:y1, x0:x1], tile, surface)
        if painted.lamps and is_lit(surface, self.atmosphere):
            for lamp in painted.lamps:
                self._shine(surface, lamp, left + lamp.x * width, top + lamp.y * tall, depth_m)

    def _panels(self, near: np.ndarray, profile: GroundProfile, pose: Pose) -> list[tuple[Any, ...]]:
        """(depth, sprite, class, height, ends in the camera's axes, ground, crest) of what runs along the road."""
        if not len(near):
            return []
        camera = self.camera
        f, left_m = to_camera(near[:, [layout.X, layout.X_END]], near[:, [layout.Y, layout.Y_END]], pose)
        # Two ends outside on the same side of the view: nothing of the panel is in it.
        half = max(camera.horizon_u_px, camera.width_px - camera.horizon_u_px) / camera.focal_u_px * f
        keep = (f.max(axis=1) > NEAR_M + 0.3) & (f.min(axis=1) < FAR_M - 1.0)
        keep &= ~((left_m > half).all(axis=1) | (left_m < -half).all(axis=1))
        near, f, left_m = near[keep], f[keep], left_m[keep]
        ground, crest, ends = profile.height_at(f), profile.crest_at(f), np.stack([f, left_m], axis=1)
        return [
            (max(end[0]), int(row[layout.PANEL_SPRITE]), int(row[layout.PANEL_SURFACE]),
             float(row[layout.PANEL_TALL_M]), end, low, edge)
            for row, end, low, edge in zip(near, ends.tolist(), ground.tolist(), crest.tolist(), strict=True)
        ]  # fmt: skip

    def _draw_panel(self, picture: np.ndarray, class_map: np.ndarray, item: tuple[Any, ...]) -> None:
        _, index, surface, height_m, ((f0, f1), (l0, l1)), (g0, g1), crests = item
        camera = self.camera
        fu, fv, u0, v0 = camera.focal_u_px, camera.focal_v_px, camera.horizon_u_px, camera.horizon_v_px
        df, dl, dg = f1 - f0, l1 - l0, g1 - g0
        # The part in front of the lens, in shares of the panel's length.
        shares = (0.0 if f0 > NEAR_M else (NEAR_M - f0) / df, 1.0 if f1 > NEAR_M else (NEAR_M - f0) / df)
        columns, tops, bottoms = [], [], []
        for share, crest in zip(shares, crests, strict=True):
            f, eye_m = f0 + share * df, camera.height_m - (g0 + share * dg)
            columns.append(u0 - fu * (l0 + share * dl) / f)
            tops.append(v0 + fv * (eye_m - height_m) / f)
            base = v0 + fv * eye_m / f
            bottoms.append(crest if crest < base - 0.5 else base)
        across = max(columns) - min(columns)
        x0, x1 = max(math.floor(min(columns) + 0.5), 0), min(math.ceil(max(columns) + 0.5), camera.width_px)
        y0, y1 = max(math.floor(min(tops) + 0.5), 0), min(math.ceil(max(bottoms) + 0.5), camera.height_px)
        if x0 >= x1 or y0 >= y1 or across < 0.5:
            return
        painted = sprite(index)
        tallest = max(bottom - top for bottom, top in zip(bottoms, tops, strict=True))
        rows, cols = painted.mips[0].shape[:2]
        squeeze = (
            cols * (shares[1] - shares[0]) / across * max(tallest, 1.0) / rows
        )  # texels a pixel, along over up
        rows_px = tallest / min(math.sqrt(max(squeeze, 1.0)), 2.5)
        # u f, v f and f are linear in the place (along, down) on the panel, both from 0 to 1: a homography.
        across_u, across_v = u0 * df - fu * dl, v0 * df - fv * dg
        start_v = v0 * f0 + fv * (camera.height_m - g0 - height_m)
        plane = np.array(
            [[across_u, 0.0, u0 * f0 - fu * l0], [across_v, fv * height_m, start_v], [df, 0.0, f0]]
        )
        near_m, far_m = (f0 + share * df for share in shares)
        clear = [math.exp(-distance_m / self.atmosphere.visibility_m) for distance_m in (near_m, far_m)]
        n_pieces = min(max(math.ceil(abs(clear[1] - clear[0]) / HAZE_STEP), 1), MAX_PIECES)
        for i in range(n_pieces):
            part = [shares[0] + (shares[1] - shares[0]) * k / n_pieces for k in (i, i + 1)]
            ends = [u0 - fu * (l0 + share * dl) / (f0 + share * df) for share in part]
            left = x0 if min(ends) <= min(columns) else max(math.floor(min(ends) + 0.5), x0)
            right = x1 if max(ends) >= max(columns) else min(math.floor(max(ends) + 0.5), x1)
            if left < right:
                depth_m = min(f0 + 0.5 * (part[0] + part[1]) * df, FAR_M)
                mip = self._baked(painted, index, rows_px, depth_m)
                places = picture[y0:y1, left:right], class_map[y0:y1, left:right]
                self._blend(*places, _unfold(mip, plane, (left, y0, right, y1)), surface)
        if painted.lamps and is_lit(surface, self.atmosphere):
            for lamp in painted.lamps:
                u, v, w = plane @ (lamp.x, lamp.y, 1.0)
                if w > NEAR_M:
                    self._shine(surface, lamp, u / w, v / w, w)

    def _baked(self, painted: Sprite, index: int, rows_px: float, depth_m: float) -> np.ndarray:
        """The copy of a picture that has about as many rows as are to be drawn, in this light and haze.

        Kept for the episode. Premultiplied RGB; the last channel is what shows through, 255 minus alpha.
        """
        level = round(_MIP_PER_OCTAVE * math.log2(max(painted.mips[0].shape[0] / rows_px, 1.0)))
        level = min(level, len(painted.mips) - 1)
        clear = round(HAZE_STEPS * math.exp(-depth_m / self.atmosphere.visibility_m))
        fade = round(FADE_STEPS * min((FAR_M - depth_m) / FADE_M, 1.0))
        key = (index, level, clear, fade)
        baked = self._bakery.get(key)
        if baked is None:
            clear_share, fade_share = clear / HAZE_STEPS, fade / FADE_STEPS
            matrix = np.zeros((4, 5))
            np.fill_diagonal(matrix, (*(self._light * clear_share * fade_share), -fade_share))
            matrix[:3, 3] = self._horizon * (1.0 - clear_share) * fade_share
            matrix[3, 4] = 255.0
            baked = self._bakery[key] = cv2.transform(painted.mips[level], matrix)
        return baked

    def _blend(self, place: np.ndarray, classes: np.ndarray, tile: np.ndarray, surface: int) -> None:
        """Lay a baked tile over its place in the picture and in the class map."""
        through = cv2.extractChannel(tile, 3)
        cv2.multiply(place, cv2.cvtColor(through, cv2.COLOR_GRAY2BGR), dst=place, scale=1 / 255)
        cv2.add(place, cv2.cvtColor(tile, cv2.COLOR_BGRA2BGR), dst=place)
        solid = cv2.threshold(through, 127, 255, cv2.THRESH_BINARY_INV)[1]
        rows, columns = solid.shape
        cv2.copyTo(self._surfaces[surface][:rows, :columns], solid, classes)

    def _shine(self, surface: int, lamp: Any, u_px: float, v_px: float, depth_m: float) -> None:
        """Note a lamp's glow; it reaches further through the air than what is only lit."""
        clear = math.exp(-0.6 * depth_m / self.atmosphere.visibility_m)
        red, green, blue = (clear * channel for channel in lamp.colour)
        radius_px = lamp.radius_m * self.camera.focal_v_px / depth_m
        self._glows.append((u_px, v_px, radius_px, (red, green, blue), surface))


def _unfold(mip: np.ndarray, plane: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The part of a panel seen in a box of pixels; ``plane`` maps shares of the panel to pixels."""
    x0, y0, x1, y1 = box
    rows, columns = mip.shape[:2]
    texels = np.array([[1 / columns, 0.0, 0.5 / columns], [0.0, 1 / rows, 0.5 / rows], [0.0, 0.0, 1.0]])
    shifted = plane - np.array([[x0], [y0], [0.0]]) * plane[2]
    return cv2.warpPerspective(
        mip, shifted @ texels, (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=_CLEAR,
    )  # fmt: skip


def _depth(item: tuple[Any, ...]) -> float:
    depth_m: float = item[0]
    return depth_m
