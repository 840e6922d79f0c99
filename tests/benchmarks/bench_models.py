"""Speed of the cores and the policy, as ratios within one run; the last lines are the table.

    pytest tests/benchmarks/bench_models.py -m ""

The peer is ``ncps.torch.LTC``. One thread, but for the training step: two, as ``liquid-lane train`` on two cores.
Each figure is the best of many calls, those of peer and ours in turns, so that a busy machine disturbs both; with
one thread it is processor time, which waiting for a processor does not lengthen.
"""

import gc
import time
import warnings

import pytest
import torch

from driving.models.ltc import LTC
from driving.models.policy import PolicyConfig, build_policy

BATCH, TIME = 20, 32
TABLE: list[tuple[str, str]] = []
LEAST = {"fast": 15.0, "plain": 1.5}
"""How many times faster than the peer a sequence must be at least, by form."""
STEP_LIMIT_US = {"fast": 60.0}
TRAINING_BATCH, TRAINING_TIME = 20, 16


@pytest.fixture(scope="module", autouse=True)
def table():
    TABLE.clear()
    yield
    print("\n" + "\n".join(f"{name:<58} {value:>12}" for name, value in TABLE))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def peer():
    ncps_torch = pytest.importorskip("ncps.torch")
    from ncps.wirings import AutoNCP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ncps_torch.LTC(32, AutoNCP(19, 1), batch_first=True)


@pytest.fixture(params=LEAST)
def form(request):
    return request.param


def in_form(ltc, form):
    """The cell, computing in its fast or in its plain form."""
    if form == "plain":
        ltc.forward_sequence = ltc.plain_sequence
    return ltc


def best_of(*functions, n=15, clock=time.thread_time):
    """Seconds of the fastest of n calls of each, in turns: the ones that the machine disturbed least."""
    times = [float("inf")] * len(functions)
    for _ in range(n):
        for i, function in enumerate(functions):
            started_s = clock()
            function()
            times[i] = min(times[i], clock() - started_s)
    return times


def training_step(core, features, *args):
    def run():
        core.zero_grad()
        outputs = core(features) if not args else core.forward_sequence(features, *args)
        outputs[0].sum().backward()

    run()
    return run


def saved_bytes(run):
    """Memory that autograd keeps between forward and backward: every storage once."""
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    gc.collect()
    return sum(storages.values())


@pytest.mark.filterwarnings("default")
def test_bench_ltc_sequence_forward_and_backward_against_ncps(benchmark, peer, form):
    features, ours = torch.rand(BATCH, TIME, 32), in_form(LTC(), form)
    run_theirs = training_step(peer, features)
    run_ours = training_step(ours, features, ours.initial_state(BATCH), torch.full((BATCH, TIME), 0.05))
    theirs_s, ours_s = best_of(run_theirs, run_ours, n=25)
    memory = saved_bytes(run_ours) / saved_bytes(run_theirs)
    benchmark.extra_info.update(times_faster_than_ncps=theirs_s / ours_s, memory_over_ncps=memory)
    TABLE.append((f"LTC {form}: sequence {BATCH} x {TIME}, forward + backward, ms", f"{1e3 * ours_s:.2f}"))
    TABLE.append((f"LTC {form}: times faster than ncps ({1e3 * theirs_s:.1f} ms)", f"{theirs_s / ours_s:.1f}"))
    TABLE.append((f"LTC {form}: memory kept for backward, over ncps", f"{memory:.3f}"))
    benchmark.pedantic(run_ours, rounds=10)
    assert theirs_s / ours_s > LEAST[form]
    assert memory <= 1.0


@pytest.mark.filterwarnings("default")
def test_bench_ltc_streaming_step_against_ncps(benchmark, peer, form):
    ltc, features, dt_s = in_form(LTC(), form), torch.rand(1, 32), torch.full((1,), 0.05)
    state = ltc.initial_state(1)

    @torch.no_grad()
    def ours():
        ltc(features, state, dt_s)

    @torch.no_grad()
    def theirs():
        peer.rnn_cell(features, state, 0.05)

    ours_s, theirs_s = best_of(ours, theirs, n=1000)
    benchmark.extra_info.update(step_us=1e6 * ours_s, times_faster_than_ncps=theirs_s / ours_s)
    TABLE.append((f"LTC {form}: streaming step, us (ncps {1e6 * theirs_s:.0f})", f"{1e6 * ours_s:.0f}"))
    benchmark.pedantic(ours, rounds=10)
    assert 1e6 * ours_s < STEP_LIMIT_US.get(form, float("inf"))


def test_bench_training_step_against_plain_eager_float32(benchmark):
    """Encoder and LTC as ``driving.train`` runs them with bfloat16, against plain eager float32."""
    torch.set_num_threads(2)
    frames = torch.randint(0, 256, (TRAINING_BATCH * TRAINING_TIME, 78, 200, 3), dtype=torch.uint8).movedim(-1, 1)
    shape = (TRAINING_BATCH, TRAINING_TIME)

    def runner(bfloat16, form, memory_format):
        policy = build_policy(PolicyConfig("ltc"))
        policy.encoder.to(memory_format=memory_format)
        in_form(policy.core, form)

        def run():
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                features = policy.encode(frames)
            curvature, _ = policy.decode(features.float().unflatten(0, shape))
            policy.zero_grad()
            curvature.square().sum().backward()

        run()
        return run

    fast = runner(True, "fast", torch.channels_last)
    plain = runner(False, "plain", torch.contiguous_format)
    float32 = runner(False, "fast", torch.channels_last)
    fast_s, plain_s, float32_s = best_of(fast, plain, float32, n=4, clock=time.perf_counter)
    n_frames = TRAINING_BATCH * TRAINING_TIME
    benchmark.extra_info.update(frames_per_s=n_frames / fast_s, times_faster_than_plain=plain_s / fast_s)
    TABLE.append(("training step 20 x 16, two threads: frames/s", f"{n_frames / fast_s:.0f}"))
    TABLE.append(("  bfloat16 + channels-last + fast LTC, over plain", f"{plain_s / fast_s:.2f}"))
    TABLE.append(("  float32 + channels-last + fast LTC, over plain", f"{plain_s / float32_s:.2f}"))
    benchmark.pedantic(fast, rounds=1)
    if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        assert plain_s / fast_s > 1.5


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

    encode_s, step_s = best_of(encode, step, n=200)
    benchmark.extra_info["step_over_encoder"] = step_s / encode_s
    TABLE.append((f"policy {core}: streaming step over its encoder", f"{step_s / encode_s:.2f}"))
    TABLE.append((f"policy {core}: streaming step, ms", f"{1e3 * step_s:.2f}"))
    benchmark.pedantic(step, rounds=10)
    assert step_s / encode_s < 1.3
