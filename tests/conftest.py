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
from tests.stand_in import SIZE, StandInEnv

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


@pytest.fixture
def stand_in_env():
    StandInEnv.made.clear()
    return StandInEnv
