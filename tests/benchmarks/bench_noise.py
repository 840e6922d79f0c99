"""What every kind of noise costs a frame of 78 x 200, at its strong level, against drawing the frame.

``pytest -s tests/benchmarks/bench_noise.py``; 0.3 ms a frame is what each may cost.
"""

import time

import cv2
import numpy as np
import pytest

from driving.noise import KINDS, Noise
from sim.procedural_env import ProceduralEnv

N_FRAMES = 50


@pytest.fixture(scope="module")
def world():
    cv2.setNumThreads(1)
    env = ProceduralEnv(family="country", weather="clear", season="summer")
    frame, _ = env.reset(seed=1003)
    return env, frame


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.is_picture])
def test_bench_noise(benchmark, world, name):
    env, frame = world
    injection = Noise(name, KINDS[name].levels[2])(1003)
    injection.see(frame)  # tables and patterns of an episode are made once

    def frames():
        for _ in range(N_FRAMES):
            injection.see(frame)

    benchmark.pedantic(frames, rounds=5, warmup_rounds=1)
    started_s = time.perf_counter()
    for _ in range(N_FRAMES):
        env.step(np.zeros(1, np.float32))
    drawn_s = time.perf_counter() - started_s
    env.reset(seed=1003)
    best_s = benchmark.stats.stats.min
    benchmark.extra_info |= {"ms_per_frame": 1e3 * best_s / N_FRAMES, "of_drawing": best_s / drawn_s}
    print(f"\n{name}: {1e3 * best_s / N_FRAMES:.3f} ms a frame, {best_s / drawn_s:.2f} of a step of the world")
