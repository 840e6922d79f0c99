"""Speed of the cores and the policy, as ratios against a peer in the same run.

    pytest tests/benchmarks/bench_models.py

The peer is ``ncps.torch.LTC``; threads are pinned to one.
"""

import time

import pytest
import torch

from driving.models.ltc import LTC
from driving.models.policy import PolicyConfig, build_policy

BATCH, TIME = 20, 32


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def best_of(function, n=15):
    """Seconds of the fastest of n calls: the one that the machine disturbed least."""
    times = []
    for _ in range(n):
        started_s = time.perf_counter()
        function()
        times.append(time.perf_counter() - started_s)
    return min(times)


@pytest.mark.filterwarnings("default")
def test_bench_ltc_sequence_forward_and_backward_against_ncps(benchmark):
    ncps_torch = pytest.importorskip("ncps.torch")
    from ncps.wirings import AutoNCP

    features = torch.rand(BATCH, TIME, 32)
    ours, theirs = LTC(), ncps_torch.LTC(32, AutoNCP(19, 1), batch_first=True)
    dt_s = torch.full((BATCH, TIME), 0.05)

    def run_ours():
        ours.zero_grad()
        ours.forward_sequence(features, ours.initial_state(BATCH), dt_s)[0].sum().backward()

    def run_theirs():
        theirs.zero_grad()
        theirs(features)[0].sum().backward()

    run_theirs()
    benchmark.extra_info["times_faster_than_ncps"] = best_of(run_theirs) / best_of(run_ours)
    benchmark(run_ours)
    assert benchmark.extra_info["times_faster_than_ncps"] > 1.0


@pytest.mark.parametrize("core", ["ltc", "lstm"])
def test_bench_policy_step_against_its_encoder(benchmark, core):
    policy = build_policy(PolicyConfig(core)).eval()
    frame, state = torch.rand(1, 3, 78, 200), policy.initial_state(1)

    @torch.no_grad()
    def encode():
        policy.encode(frame)

    @torch.no_grad()
    def step():
        policy.step(frame, state, 0.05)

    step()
    benchmark.extra_info["step_over_encoder"] = best_of(step, 100) / best_of(encode, 100)
    benchmark(step)
    assert benchmark.extra_info["step_over_encoder"] < 2.0
