"""MetaDrive itself, set up for a front camera without a display and without a graphics card.

Importing this module needs MetaDrive; ``sim.adapters.metadrive`` does it when an environment is made. As it comes,
MetaDrive asks llvmpipe for more samples than it has and then takes ten seconds a frame. What is done about it: no
shadow pass, no main window, no tone mapping, no anisotropic filter, coarse terrain chunks, a ground shader of our own.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sim.adapters.metadrive_assets import HEIGHT_SCALE_M, ROAD_REGION_M, TERRAIN_M, Daylight
from sim.adapters.metadrive_route import FIRST_BLOCK_M
from sim.adapters.metadrive_shaders import ROAD_ALPHA
from sim.camera import Camera

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from metadrive.component.sensors.rgb_camera import RGBCamera
    from metadrive.constants import CameraTagStateKey, CamMask, Semantics
    from metadrive.engine import engine_utils
    from metadrive.engine.asset_loader import AssetLoader
    from metadrive.engine.base_engine import BaseEngine
    from metadrive.engine.core import engine_core
    from metadrive.engine.core.terrain import Terrain
    from metadrive.envs import MetaDriveEnv as UpstreamEnv
    from metadrive.obs.observation_base import DummyObservation
    from panda3d.core import FrameBufferProperties, SamplerState, Shader, Vec3

    from sim.adapters.metadrive_terrain import RoadTerrain

PHYSICS_STEP_S = 0.01
N_PHYSICS_STEPS = 5
_N_SETTLING_STEPS = 150


class RoadCamera(RGBCamera):
    """One pass, no tone mapping; the lens has exactly the project's pinhole geometry."""

    def _create_buffer(self, width: int, height: int, frame_buffer_property: Any) -> None:
        wanted = FrameBufferProperties()
        wanted.set_rgba_bits(8, 8, 8, 8)
        wanted.set_depth_bits(24)
        self.buffer = self.engine.win.makeTextureBuffer("road camera", width, height, fbp=wanted)

    def _setup_effect(self) -> None:
        node = self.get_cam().node()
        node.setTagStateKey(CameraTagStateKey.RGB)
        node.setTagState(
            Semantics.TERRAIN.label, Terrain.make_render_state(self.engine, "terrain.vert.glsl", "terrain.frag.glsl")
        )

    def set_geometry(self, camera: Camera) -> None:
        """A film that is not centred on the axis puts the horizon where ``camera`` has it, without any pitch."""
        self.lens.setFilmSize(camera.width_px, camera.height_px * camera.focal_u_px / camera.focal_v_px)
        self.lens.setFocalLength(camera.focal_u_px)
        self.lens.setFilmOffset(
            (camera.width_px - 1) / 2 - camera.horizon_u_px, camera.horizon_v_px - (camera.height_px - 1) / 2
        )
        self.lens.setNear(0.5)

    def pixels(self) -> np.ndarray:
        """uint8 (H, W, 4), BGRA, of the last frame that was drawn."""
        shot = self.buffer.getDisplayRegion(1).getScreenshot()
        raw = np.frombuffer(shot.getRamImage().getData(), np.uint8)
        return raw.reshape(shot.getYSize(), shot.getXSize(), -1)[::-1]


class RoadEngine(UpstreamEnv):
    """MetaDrive's environment on a map of given blocks, with our camera; seeds have no upper end.

    ``camera_forward_m`` is counted from the middle of the rear axle.
    """

    def __init__(
        self, assets: Path, camera: Camera, display: Camera | None, camera_forward_m: float, traffic_density: float
    ) -> None:
        AssetLoader.asset_path = type(AssetLoader.asset_path)(assets)
        super().__init__(_settings(camera, display, traffic_density))
        with _lighter_engine():
            self.lazy_init()
        engine = self.engine
        engine.map_manager.maps = defaultdict(lambda: None)
        engine.world_light.ambient_np.node().setColor((0.8, 0.8, 0.8, 1.0))
        self.road_camera = engine.get_sensor("rgb_camera")
        self.road_camera.set_geometry(camera)
        self.display: Any = None if display is None else engine.get_sensor("display")
        if self.display is not None:
            self.display.set_geometry(display)
        self._show_only(self.road_camera)
        self._camera, self._camera_forward_m = camera, camera_forward_m
        self._sky = self._make_sky()

    def _reset_global_seed(self, force_seed: int | None = None) -> None:
        # MetaDrive's own keeps a table of all seeds.
        engine = self.engine
        engine.global_random_seed = force_seed
        super(BaseEngine, engine).seed(force_seed)
        for manager in engine.managers.values():
            manager.seed(force_seed)

    def drive_map(self, seed: int, blocks: list[dict[str, Any]], start: tuple[float, float]) -> None:
        """Build the map and put the car at its start, ready for ``place``."""
        first = {"id": "I", "pre_block_socket_index": None}
        self.config["map_config"].update({"config": [first, *blocks], "start_position": list(start)})
        self._show_only(None)  # a reset draws several frames that nobody looks at
        self.reset(seed=seed)
        self._show_only(self.road_camera)

    def _show_only(self, sensor: RoadCamera | None) -> None:
        for window in self.engine.graphicsEngine.getWindows():
            window.setActive(sensor is not None and window == sensor.buffer)

    def place(self, x_m: float, y_m: float, heading_rad: float, speed_mps: float) -> None:
        """Set the car down with the middle of its rear axle at this pose, its springs at rest, and let it roll."""
        car = self.agent
        ahead_m = car.REAR_WHEELBASE
        position = (x_m + ahead_m * np.cos(heading_rad), y_m + ahead_m * np.sin(heading_rad))
        car.set_position(position, car.get_z())
        car.set_heading_theta(heading_rad)
        for _ in range(_N_SETTLING_STEPS):
            self.engine.step_physics_world()
        # It crept by less than a millimetre.
        car.set_position(position, car.get_z())
        car.set_heading_theta(heading_rad)
        car.set_velocity((1.0, 0.0), speed_mps, in_local_frame=True)
        lens = (0.0, self._camera_forward_m - ahead_m, self._camera.height_m - car.get_z())
        level = (0.0, -car.origin.getP(), -car.origin.getR())
        for sensor in (self.road_camera, self.display):
            if sensor is not None:
                sensor.track(car.origin, lens, level)
        car.origin.hide(CamMask.RgbCam)
        self.engine.graphicsEngine.renderFrame()

    def drive(self, steering: float, throttle: float) -> None:
        """One step of ``PHYSICS_STEP_S * N_PHYSICS_STEPS``; both in [-1, 1], steering to the left positive."""
        engine = self.engine
        engine.before_step({"default_agent": (steering, throttle)})
        engine.step(N_PHYSICS_STEPS)
        engine.after_step()

    def picture_and_road(self) -> tuple[np.ndarray, np.ndarray]:
        """What the camera sees, uint8 (H, W, 3) RGB, and where that is road, bool (H, W)."""
        pixels = self.road_camera.pixels()
        return np.ascontiguousarray(pixels[..., 2::-1]), pixels[..., 3] == ROAD_ALPHA

    def display_picture(self) -> np.ndarray:
        """The same view by the large camera, drawn now: uint8 (H, W, 3) RGB."""
        self._show_only(self.display)
        self.engine.graphicsEngine.renderFrame()
        self._show_only(self.road_camera)
        return np.ascontiguousarray(self.display.pixels()[..., 2::-1])

    def collided(self) -> bool:
        """Whether the car touches another car or an object."""
        car = self.agent
        return bool(car.crash_vehicle or car.crash_object or car.crash_building)

    def other_cars(self) -> list[tuple[float, float, float]]:
        """x, y and speed (m/s) of all cars but ours."""
        cars = self.engine.traffic_manager.vehicles
        others = [car for car in cars if car is not self.agent]
        return [(float(car.position[0]), float(car.position[1]), float(car.speed)) for car in others]

    def rear_axle(self) -> tuple[float, float, float]:
        """x, y and heading of the middle of the rear axle."""
        car = self.agent
        (x, y), heading = car.position, car.heading_theta
        return (
            float(x - car.REAR_WHEELBASE * np.cos(heading)),
            float(y - car.REAR_WHEELBASE * np.sin(heading)),
            float(heading),
        )

    def set_daylight(self, daylight: Daylight, sun_azimuth_rad: float, grass_tint: Any, road_brightness: float) -> None:
        """Sky and light of an episode."""
        name = AssetLoader.file_path("textures", f"sky_{daylight.name}.png")
        texture = self.engine.loader.loadTexture(name)
        texture.setWrapU(SamplerState.WM_repeat)
        texture.setWrapV(SamplerState.WM_clamp)
        self._sky.setShaderInput("sky_tex", texture)
        low = 0.6 if daylight.name == "evening" else 1.1
        sun = (np.cos(sun_azimuth_rad) * np.cos(low), np.sin(sun_azimuth_rad) * np.cos(low), np.sin(low))
        warm = (1.12, 1.0, 0.86) if daylight.name == "evening" else (1.03, 1.0, 0.95)
        self.engine.terrain.origin.set_shader_inputs(
            sun_direction=Vec3(*sun),
            sun_colour=Vec3(*(daylight.sun * part for part in warm)),
            ambient_colour=Vec3(daylight.ambient, daylight.ambient, daylight.ambient * 1.04),
            haze_colour=Vec3(*daylight.horizon),
            haze_m=daylight.haze_m,
            grass_tint=Vec3(*grass_tint),
            road_brightness=road_brightness,
        )

    def _make_sky(self) -> Any:
        sky = self.engine.loader.loadModel(AssetLoader.file_path("models", "sky.gltf"))
        sky.setShader(
            Shader.load(
                Shader.SL_GLSL,
                AssetLoader.file_path("../shaders", "sky.vert.glsl"),
                AssetLoader.file_path("../shaders", "sky.frag.glsl"),
            )
        )
        sky.setTwoSided(True)
        sky.setScale(10 * TERRAIN_M)
        sky.reparentTo(self.engine.render)
        return sky


@contextmanager
def _lighter_engine() -> Iterator[None]:
    """While the engine starts: our ground in place of MetaDrive's, nothing fetched, no samples asked for."""
    plain = engine_core.init

    def init_without_samples(**options: Any) -> Any:
        return plain(**(options | {"msaa_samples": 0}))

    changes = [
        (engine_core, "Terrain", RoadTerrain),
        (engine_core, "init", init_without_samples),
        (engine_utils, "_fix_offscreen_rendering", lambda: None),
        (BaseEngine, "try_pull_asset", staticmethod(lambda: None)),
    ]
    kept = [(owner, name, vars(owner)[name]) for owner, name, _ in changes]
    utf8 = os.environ.get("PYTHONUTF8")
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)
        # MetaDrive sets it to "on", with which no Python starts any more.
        os.environ.pop("PYTHONUTF8", None)
        if utf8 is not None:
            os.environ["PYTHONUTF8"] = utf8


def _settings(camera: Camera, display: Camera | None, traffic_density: float) -> dict[str, Any]:
    sensors = {"rgb_camera": (RoadCamera, camera.width_px, camera.height_px)}
    if display is not None:
        sensors["display"] = (RoadCamera, display.width_px, display.height_px)
    return {
        "image_observation": True,
        "agent_observation": DummyObservation,
        "sensors": sensors,
        "log_level": logging.CRITICAL,
        "multi_thread_render": False,
        "preload_models": False,
        "show_skybox": False,
        "show_sidewalk": False,
        "show_crosswalk": False,
        "show_interface": False,
        "show_logo": False,
        "show_fps": False,
        "map_region_size": ROAD_REGION_M,
        "height_scale": HEIGHT_SCALE_M,
        "drivable_area_extension": 7,
        "physics_world_step_size": PHYSICS_STEP_S,
        "decision_repeat": N_PHYSICS_STEPS,
        "traffic_density": traffic_density,
        "need_inverse_traffic": True,
        "store_map": False,
        "force_destroy": True,  # a car used again remembers its last episode
        "random_spawn_lane_index": False,
        "vehicle_config": {"vehicle_model": "static_default", "show_navi_mark": False},
        "map_config": {
            "type": "pg_map_file",
            "config": [],
            "lane_num": 1,
            "lane_width": 3.5,
            "exit_length": FIRST_BLOCK_M,
            "start_position": [0.0, 0.0],
        },
    }
