"""Pictures a second of every attribution method, on one thread, beside the encoder's forward pass in the same run.

Run by name: ``pytest -s tests/benchmarks/bench_attention.py``.
"""

import pytest
import torch

from driving.attention import ATTRIBUTIONS
from driving.models import checkpoint
from driving.models.policy import to_tensor
from driving.settings import env_maker
from driving.study.run import SLOW
from driving.study.scenes import Stage

N = 16
MOST_OF_ENCODER = 2.0
"""VisualBackProp may take so many times as long as the encoder alone."""
seconds: dict[str, float] = {}


@pytest.fixture(scope="module")
def pictures():
    """Sixteen pictures of a fresh road."""
    torch.set_num_threads(1)
    stage = Stage(env_maker("lane/Procedural-v0", {}, 4.0), {}, 0.2)
    scenes = stage.play(2000, N * 0.2)
    stage.close()
    return to_tensor(scenes.film[scenes.picked])


@pytest.fixture(scope="module")
def policy():
    return checkpoint.load("ltc19@0")


def test_encoder(benchmark, policy, pictures):
    with torch.no_grad():
        benchmark.pedantic(policy.encode, (pictures,), rounds=10, warmup_rounds=2)
    seconds["encoder"] = benchmark.stats["median"]


@pytest.mark.parametrize("name", ATTRIBUTIONS)
def test_attribution(benchmark, policy, pictures, name):
    some = pictures[:2] if name in SLOW else pictures
    look = ATTRIBUTIONS[name]
    benchmark.pedantic(look, (policy, some, policy.initial_state(len(some))), rounds=2 if name in SLOW else 8)
    each = benchmark.stats["median"] / len(some)
    seconds[name] = each
    print(f" {name}: {1 / each:.0f} pictures/s, {each * N / seconds['encoder']:.1f} times the encoder")
    if name == "visual_backprop":
        assert each * N < MOST_OF_ENCODER * seconds["encoder"]
