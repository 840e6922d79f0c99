"""Latency of one frame through a whole policy, one thread, each row in the same run and on the same frames.

    python tests/benchmarks/bench_latency.py [--policy ltc19] [--steps 1000]

Rows: PyTorch eager (``policy.step``), PyTorch compiled (``torch.compile``; left out where no C++ compiler works), a
saved program of torch.export, ONNX Runtime on the exported model, and the runtime's whole ``Driver.step``. The rows
take turns, frame by frame, so that a busy machine disturbs all of them alike; the processor time (``cpu``) of the
thread is what a busy machine leaves as it is.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from driving.console import print_table
from driving.export import PolicyStep, export, onnx_step, torch_step
from driving.models import checkpoint
from driving.runtime import Driver

N_WARMUP = 20


def compiled_step(policy):
    """The step compiled, as a function of arrays, or None where it cannot be."""
    module = torch.compile(PolicyStep(policy), dynamic=False)

    @torch.no_grad()
    def step(*arrays):
        return [answer.numpy() for answer in module(*map(torch.from_numpy, arrays))]

    config = policy.config
    frame = np.zeros((1, config.height_px, config.width_px, 3), np.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            step(frame, policy.initial_state(1).numpy(), np.array([0.05], np.float32))
    except Exception as error:  # whatever the compiler of this machine stumbles over
        print(f"compiled: left out ({str(error).splitlines()[0]})")
        return None
    return step


def eager_step(policy):
    @torch.no_grad()
    def step(frame, state, dt_s):
        tensor = torch.from_numpy(frame).movedim(-1, 1)
        curvature, state = policy.step(tensor, torch.from_numpy(state), torch.from_numpy(dt_s))
        return [curvature.numpy(), state.numpy()]

    return step


def passed_ms(started_s, started_cpu_s):
    return 1e3 * (time.perf_counter() - started_s), 1e3 * (time.thread_time() - started_cpu_s)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", default="ltc19")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes a minute")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    policy = checkpoint.load(arguments.policy)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for format_name in ("onnx", "torch"):
            export(policy, folder, arguments.policy, format_name)
        steps = {
            "PyTorch eager": eager_step(policy),
            "PyTorch compiled": None if arguments.no_compile else compiled_step(policy),
            "torch.export": torch_step(str(folder / "policy.pt2")),
            "ONNX Runtime": onnx_step(str(folder / "policy.onnx")),
        }
        driver = Driver(folder)
    steps = {row: step for row, step in steps.items() if step is not None}
    states = dict.fromkeys(steps, policy.initial_state(1).numpy())
    times_ms = {row: [] for row in [*steps, "Driver.step"]}
    rng = np.random.default_rng(0)
    size = (policy.config.height_px, policy.config.width_px, 3)
    frames = rng.integers(0, 256, (16, *size), dtype=np.uint8)
    dt_s = np.array([0.05], np.float32)
    for k in range(N_WARMUP + arguments.steps):
        frame = frames[k % len(frames)]
        for row, step in steps.items():
            started_s, started_cpu_s = time.perf_counter(), time.thread_time()
            _, states[row] = step(frame[None], states[row], dt_s)
            times_ms[row].append(passed_ms(started_s, started_cpu_s))
        started_s, started_cpu_s = time.perf_counter(), time.thread_time()
        driver.step(frame, dt_s=0.05)
        times_ms["Driver.step"].append(passed_ms(started_s, started_cpu_s))
    measured = {row: np.array(times[N_WARMUP:]) for row, times in times_ms.items()}
    print_table(
        f"{arguments.policy}: one frame {size[0]}x{size[1]}, one thread, {arguments.steps} steps",
        [
            {
                "by": row,
                "median_ms": float(np.median(ms[:, 0])),
                "p99_ms": float(np.percentile(ms[:, 0], 99)),
                "cpu_median_ms": float(np.median(ms[:, 1])),
            }
            for row, ms in measured.items()
        ],
    )


if __name__ == "__main__":
    main()
