"""MetaDrive's ground: level where the roads are, hills around, with a surface texture of smooth edges.

Importing this module needs MetaDrive.
"""

from __future__ import annotations

import warnings
from typing import Any

import cv2
import numpy as np

from sim.adapters.metadrive_assets import ROAD_REGION_M, TERRAIN_M

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from metadrive.constants import CameraTagStateKey, MetaDriveType
    from metadrive.engine.asset_loader import AssetLoader
    from metadrive.engine.core.terrain import Terrain
    from panda3d.core import SamplerState, Texture

PIXELS_PER_M = 11
"""Of the surface texture: finer costs memory by the square and does not show at 200 columns."""
LINE_WIDTH_M = 0.16
SHOULDER_M = 0.35
"""Asphalt beyond the edge line."""
_CHUNK, _TRIANGLE_PX = 64, 10000.0
"""Coarse, because the road is level: finer chunks cost ten times the frame."""
_SUBPIXEL_BITS = 3
_DILATION_M = 0.35 / PIXELS_PER_M
"""OpenCV's filled polygons reach this far beyond their outline, on average."""


class RoadTerrain(Terrain):
    """The ground with a surface texture of smooth edges instead of one class a texel."""

    _mesh_terrain: Any

    def __init__(self, show_terrain: bool, engine: Any) -> None:
        super().__init__(show_terrain, engine)
        side = ROAD_REGION_M * PIXELS_PER_M
        self.semantic_tex.setup2dTexture(side, side, Texture.TUnsignedByte, Texture.F_rgb)
        self.semantic_tex.setMinfilter(SamplerState.FT_linear_mipmap_linear)
        self.semantic_tex.setMagfilter(SamplerState.FT_linear)
        self.semantic_tex.setWrapU(SamplerState.WM_clamp)
        self.semantic_tex.setWrapV(SamplerState.WM_clamp)

    def _load_mesh_terrain_textures(self, engine: Any, *_: Any, **__: Any) -> None:
        self.road_texture, self.grass_tex = (
            self.loader.loadTexture(AssetLoader.file_path("textures", name)) for name in ("asphalt.png", "grass.png")
        )
        for texture in (self.road_texture, self.grass_tex):
            texture.setWrapU(SamplerState.WM_repeat)
            texture.setWrapV(SamplerState.WM_repeat)
            texture.setMinfilter(SamplerState.FT_linear_mipmap_linear)
            texture.setAnisotropicDegree(1)

    def _generate_mesh_vis_terrain(self, size: float, heightfield: Any, attribute_tex: Any, *_: Any) -> None:
        heightfield.wrap_u = heightfield.wrap_v = SamplerState.WM_clamp
        node = self._mesh_terrain_node
        node.heightfield = heightfield
        node.setTargetTriangleWidth(_TRIANGLE_PX)
        node.setChunkSize(_CHUNK)
        node.generate()
        if self._mesh_terrain is not None:
            self._mesh_terrain.removeNode()
        self._mesh_terrain = self.origin.attach_new_node(node)
        self._mesh_terrain.setTag(CameraTagStateKey.RGB, self.SEMANTIC_LABEL)
        self._mesh_terrain.set_shader_inputs(
            road_tex=self.road_texture,
            grass_tex=self.grass_tex,
            surface_tex=attribute_tex,
            surface_ratio=TERRAIN_M / ROAD_REGION_M,
            height_scale=self._height_scale,
        )
        self._mesh_terrain.set_scale(size, size, self._height_scale)
        self._mesh_terrain.set_pos(-size / 2, -size / 2, 0)

    def get_terrain_semantics(self, center_point: Any) -> bytes:
        """BGR texture: how much of a texel is yellow paint, white paint, road."""
        return surface_texture(self.engine.current_map, center_point).tobytes()


def surface_texture(road_map: Any, centre: Any) -> np.ndarray:
    """uint8 (side, side, 3), first row the least y: coverage by yellow paint, white paint and road."""
    side = ROAD_REGION_M * PIXELS_PER_M
    yellow, white, road = (np.zeros((side, side), np.uint8) for _ in range(3))

    def pixels(points: np.ndarray) -> np.ndarray:
        place = (np.asarray(points)[:, :2] - np.asarray(centre)[:2]) * PIXELS_PER_M + side / 2 - 0.5
        return np.round(place * 2**_SUBPIXEL_BITS).astype(np.int32)

    def stroke(image: np.ndarray, points: np.ndarray, width_m: float) -> None:
        width_m -= 2 * _DILATION_M
        tangent = np.gradient(points, axis=0)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) / np.linalg.norm(tangent, axis=1, keepdims=True)
        outline = np.concatenate([points + normal * width_m / 2, (points - normal * width_m / 2)[::-1]])
        cv2.fillPoly(image, [pixels(outline)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)

    for feature in road_map.get_map_features(interval=1).values():
        kind = feature["type"]
        if MetaDriveType.is_lane(kind):
            cv2.fillPoly(road, [pixels(np.array(feature["polygon"]))], 255, cv2.LINE_8, _SUBPIXEL_BITS)
            continue
        if not (MetaDriveType.is_road_line(kind) or MetaDriveType.is_road_boundary_line(kind)):
            continue
        line = np.asarray(feature["polyline"], float)[:, :2]
        stroke(road, line, 2 * SHOULDER_M + LINE_WIDTH_M)
        stroke(yellow if MetaDriveType.is_yellow_line(kind) else white, line, LINE_WIDTH_M)
    return np.stack([yellow, white, road], -1)
