"""Speed of MetaDrive behind our contract on one core: steps a second with picture and road mask, resets.

    LP_NUM_THREADS=1 pytest tests/benchmarks/bench_metadrive.py

A step is physics, expert, picture and mask, which are drawn in one pass. LP_NUM_THREADS holds the software renderer to
one thread; without it the figures are a little higher.
"""

import ctypes.util
import importlib.util
import time
from collections.abc import Iterator

import numpy as np
import pytest

from sim.adapters.metadrive import MetaDriveEnv

N_STEPS = 100
MIN_STEPS_PER_S = 100.0
MAX_RESET_S = 2.0
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("metadrive") is None or ctypes.util.find_library("EGL") is None,
    reason='needs pip install "liquid-lane[metadrive]" and apt install libegl1 libgl1-mesa-dri',
)


@pytest.fixture(scope="module")
def env(tmp_path_factory) -> Iterator[MetaDriveEnv]:
    env = MetaDriveEnv(assets_dir=tmp_path_factory.mktemp("assets"))
    env.reset(seed=0)
    yield env
    env.close()


def test_bench_metadrive_step_with_picture_and_mask(benchmark, env: MetaDriveEnv) -> None:
    def reset() -> None:
        env.reset(seed=1)

    def drive() -> None:
        for _ in range(N_STEPS):
            env.step(np.array([env.expert_curvature_per_m()], np.float32))

    seconds = []
    for _ in range(5):
        reset()
        started_s = time.perf_counter()
        drive()
        seconds.append(time.perf_counter() - started_s)
    steps_per_s = N_STEPS / min(seconds)
    benchmark.extra_info["steps_per_s"] = round(steps_per_s)
    benchmark.pedantic(drive, setup=reset, rounds=3)
    assert steps_per_s >= MIN_STEPS_PER_S


def test_bench_metadrive_reset(benchmark, env: MetaDriveEnv) -> None:
    seconds = []
    for seed in range(3):
        started_s = time.perf_counter()
        env.reset(seed=seed)
        seconds.append(time.perf_counter() - started_s)
    benchmark.pedantic(env.reset, kwargs={"seed": 3}, rounds=3)
    assert min(seconds) < MAX_RESET_S
