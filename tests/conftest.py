"""What several tests share: small drives, a stand-in world and untrained policies."""

import cv2
import numpy as np
import pytest
import torch

from driving.models import checkpoint
from driving.models.policy import PolicyConfig, build_policy
from sim import drive as drive_io
from sim.camera import Camera
from sim.drive import Drive, DriveMeta, VehicleFacts
from sim.lane_env import LaneConfig, LaneEnv
from sim.vehicle import VehicleConfig

SIZE = (16, 41)
"""Rows and columns of the small pictures: a policy's 78:200 shape."""


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small recurrent operations become slower with more threads, and sums come out otherwise."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(autouse=True, scope="session")
def own_cache_folder(tmp_path_factory):
    """Nothing is left in the user's; worker processes have the same one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIQUID_LANE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _make_drive(n_rows=40, gaps=(), size=SIZE, seed=0, step_s=0.05, known_masks=None, steering_ratio=None):
    """A drive whose pictures get brighter to the left or to the right as its curvature says.

    ``gaps``: rows before which two seconds are missing; ``known_masks``: rows with a road mask (left half).
    """
    rng = np.random.default_rng(seed)
    height, width = size
    curvature = (0.03 * np.sin(np.arange(n_rows) / 7.0 + seed)).astype(np.float32)
    ramp = np.linspace(-1, 1, width)[None, :] * np.ones((height, 1))
    level = 128 + 3000 * curvature[:, None, None] * ramp + rng.normal(0, 3, (n_rows, height, width))
    steps_s = np.full(n_rows, step_s)
    steps_s[list(gaps)] += 2.0
    masks = known = None
    if known_masks is not None:
        masks, known = np.zeros((n_rows, height, width), bool), np.zeros(n_rows, bool)
        masks[known_masks, :, : width // 2] = True
        known[known_masks] = True
    return Drive(
        frames=np.clip(level, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=3),
        timestamps_s=100.0 + np.cumsum(steps_s),
        curvature_per_m=curvature,
        camera=Camera().resized(height, width),
        meta=DriveMeta("test", "CC0-1.0", VehicleFacts("test car", 2.5, steering_ratio)),
        speed_mps=np.full(n_rows, 10.0, np.float32),
        road_masks=masks,
        road_mask_known=known,
    )


@pytest.fixture(scope="session")
def make_drive():
    return _make_drive


@pytest.fixture(scope="session")
def small_policy():
    """Maker of an untrained policy for the small pictures."""
    return lambda core="ltc", seed=0: build_policy(
        PolicyConfig(core=core, height_px=SIZE[0], width_px=SIZE[1]), seed
    ).eval()


@pytest.fixture(scope="session")
def saved_drive(tmp_path_factory):
    """Folder of a drive of 30 small pictures with three known road masks."""
    folder = tmp_path_factory.mktemp("drives") / "small"
    drive_io.save(_make_drive(30, gaps=(18,), known_masks=[2, 5, 20]), folder)
    return folder


@pytest.fixture(scope="session")
def saved_policies(tmp_path_factory):
    """Folders of untrained policies of the full picture size, by core."""
    root = tmp_path_factory.mktemp("policies")
    for core in ("ltc", "lstm"):
        checkpoint.save(build_policy(PolicyConfig(core=core), seed=1), root / core)
    return {core: root / core for core in ("ltc", "lstm")}


class _StandInEnv(LaneEnv):
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

    def _begin(self, options, offset_m, heading_error_rad):
        self.seed, self.k, self.speed_mps = self._episode_seed, 0, 10.0
        self.offset_m = 0.01 * self.seed
        self.resets.append(self.seed)

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


@pytest.fixture
def stand_in_env():
    _StandInEnv.made.clear()
    return _StandInEnv
