"""Worlds by hand for tests, importable by worker processes."""

import numpy as np

from sim.camera import Camera
from sim.errors import BadInputError
from sim.lane_env import LaneConfig, LaneEnv
from sim.road import Segment, road_from_segments
from sim.vehicle import VehicleConfig

STRAIGHT = road_from_segments([Segment(400.0, 0.0, 0.0)])
SIZE = (16, 41)
"""Of a small picture; no side a multiple of the other's."""


class StandInEnv(LaneEnv):
    """A world by hand: the car moves 0.1 m to the left a step, and ten times what is commanded.

    ``crash_at``: by seed, the step that leaves the lane, which is very wide. Every env made is listed in ``made``.
    """

    made: list = []  # noqa: RUF012 (emptied by the fixture)

    def __init__(self, crash_at=(), truncate_at=10**9, size=SIZE, fail_at=10**9):
        camera, config = Camera().resized(*size), LaneConfig(episode_seconds=3600.0)
        super().__init__("stand-in", config, VehicleConfig(), camera)
        self.crash_at, self.truncate_at, self.fail_at = dict(crash_at), truncate_at, fail_at
        self.closed, self.resets = False, []
        self.made.append(self)

    def _begin(self, options):
        self.seed, self.k, self.speed_mps = self._episode_seed, 0, 10.0
        self.along_m, self.offset_m = 0.0, 0.01 * self.seed
        self.resets.append(self.seed)
        return 0.0

    def _put_car(self, along_m, offset_m, heading_error_rad):
        """A new episode begins where its seed says; a car that is put elsewhere sees another picture."""
        if along_m > 0:
            self.k, self.along_m, self.offset_m = round(1000 + along_m), along_m, offset_m

    def _road_here(self):
        return STRAIGHT, self.along_m, 300.0

    def _advance(self, curvature_per_m):
        self.k += 1
        if self.k == self.fail_at:
            raise RuntimeError("the world broke")
        self.offset_m += 0.1 + 10 * curvature_per_m

    def _lane_place(self):
        leaves = self.k > 0 and self.crash_at.get(self.seed) == self.k
        return self.offset_m, 0.0, 0.01 if leaves else 1000.0

    def _driven_curvature_per_m(self):
        return 0.0

    def _expert_curvature_per_m(self):
        return -0.01

    def _early_end(self, info):
        return "its end" if self.k == self.truncate_at else None

    def _see(self):
        rng = np.random.default_rng([self.seed, self.k])
        size = self.observation_space.shape
        frame = np.clip(rng.normal(128 + 20 * self.offset_m, 40, size), 0, 255).astype(np.uint8)
        mask = np.zeros(size[:2], bool)
        mask[:, : size[1] // 2] = True
        return frame, {"road_mask": mask}

    def _pose(self):
        return 0.0, self.offset_m, 0.0

    def _map_lines(self):
        raise NotImplementedError

    def _camera_view(self):
        return self._see()[0].repeat(3, axis=0).repeat(3, axis=1)

    def render(self):
        return self._camera_view()

    def close(self):
        super().close()
        self.closed = True


class SeasonalEnv(StandInEnv):
    """A world whose car crashes in winter; it draws seasons and weathers where it may."""

    def __init__(self, season="any", hue=0.0, episode_seconds=None, render_mode=None):
        if season not in ("any", "summer", "winter"):
            raise BadInputError(f"season: expected any, summer or winter, got {season!r}")
        super().__init__(size=(78, 200))
        self.season, self.episode_seconds = season, episode_seconds

    def _begin(self, options):
        super()._begin(options)
        self.drawn = {
            "season": ("summer", "winter")[self.seed % 2] if self.season == "any" else self.season,
            "weather": ("clear", "fog", "rain")[self.seed % 3],
            "family": "country",
        }
        self.crash_at = {self.seed: 4} if self.drawn["season"] == "winter" else {}
        return 0.0

    def _see(self):
        frame, known = super()._see()
        return frame, known | {"setting": self.drawn}
