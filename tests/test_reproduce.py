"""The published experiment: its figures of neurons and maps, and verdicts that claim no more than trainings show."""

import numpy as np
import pytest

from driving.harness.figures import Drives
from driving.harness.reproduce import (
    NOISES,
    OF_TWO_NETWORKS,
    Plan,
    claims,
    inside_of_all,
    look_inside,
    roughness,
    verdict_of,
)
from driving.harness.statistics import CANNOT_BE_TOLD, DOES_NOT_HOLD, HOLDS
from driving.models.policy import PolicyConfig, build_policy
from driving.noise import Noise, condition_of
from sim.procedural_env import ProceduralEnv
from tests.test_stress import rows_of

TINY = Plan(range(1000, 1002), 0.5, range(1000, 1001), 1.5)


def world():
    return ProceduralEnv(roadside=False, hills=False, family="urban")


def test_reproduce_roughness_of_white_noise_of_a_ramp_and_of_stillness():
    rng = np.random.default_rng(0)
    white = rng.standard_normal((4000, 3))
    assert roughness([white]) == pytest.approx(2 / np.sqrt(np.pi), rel=0.03)
    ramp = np.linspace(0, 1, 101)[:, None]
    assert roughness([ramp]) == pytest.approx(0.01 / ramp.std())
    assert roughness([ramp, ramp[::-1]]) == pytest.approx(0.01 / ramp.std())  # the jump between episodes does not count
    assert roughness([np.zeros((5, 2))]) is None


@pytest.mark.parametrize("core", ["ltc", "lstm", "feedforward"])
def test_reproduce_looks_inside(core):
    policy = build_policy(PolicyConfig(core), 1).eval()
    clean, noisy = (look_inside(policy, world, TINY, noise) for noise in (None, Noise("gaussian", 0.1)))
    assert clean["ssim"] is None
    assert 0 < noisy["ssim"] < 1
    assert 0 < clean["principal_share"] <= 1
    assert clean["roughness"] > 0
    assert noisy["roughness"] > 0
    if core != "feedforward":  # whose state is its last layer: it remembers nothing, and is rough as it is
        assert noisy["roughness"] > clean["roughness"]


def test_reproduce_looks_inside_alike_with_any_number_of_workers():
    policies = {name: build_policy(PolicyConfig(core), 1).eval() for name, core in (("a", "ltc"), ("b", "feedforward"))}
    alone, steps = inside_of_all(policies, world, TINY, 1), []
    assert inside_of_all(policies, world, TINY, 2, lambda: steps.append(1)) == alone
    assert list(alone) == [(name, condition_of(noise)) for name in policies for noise in NOISES]
    assert len(steps) == len(alone)


def test_reproduce_verdict_needs_trainings():
    assert verdict_of([0.9], [0.5], 1) == CANNOT_BE_TOLD
    assert verdict_of([0.9, 0.8, 0.85], [0.5, 0.4, 0.45], 1) == CANNOT_BE_TOLD  # 2 of 20 ways
    high, low = [0.9, 0.8, 0.85, 0.95], [0.5, 0.4, 0.45, 0.55]
    assert verdict_of(high, low, 1) == HOLDS
    assert verdict_of(high, low, -1) == DOES_NOT_HOLD
    assert verdict_of([0.5, 0.9, 0.1, 0.6], [0.4, 0.8, 0.2, 0.7], 1) == CANNOT_BE_TOLD


def test_reproduce_claims_are_those_of_the_rows():
    crashes, inside = {}, {}
    for k in range(4):
        for name, n_crashes, share in ((f"ltc19@{k}", 1, 0.9 + k / 100), (f"lstm64@{k}", 9, 0.5 + k / 100)):
            for condition, severity in (("none", 0.0), ("gaussian", 0.1), ("gaussian", 0.2), ("gaussian", 0.3)):
                crashes[name, condition, severity] = [int(i < n_crashes) for i in range(10)]
                inside[name, f"{condition}:{severity:g}"] = {
                    "principal_share": share if condition == "none" else None,
                    "roughness": 0.1,
                    "ssim": None if condition == "none" else share,
                }
    rows = claims(Drives(rows_of(crashes)), inside, {"ltc19": "ltc", "lstm64": "lstm"})
    assert len(rows) == 3 + 3 + 3 + 1
    by_claim = {(row["claim"], row["noise"]): row for row in rows}
    assert by_claim["ltc19 crashes less than lstm64", "gaussian:0.2"]["verdict"] == HOLDS
    share = by_claim["ltc19 has more in the first component than lstm64", "none:0"]
    assert (share["published"], share["here"], share["verdict"]) == ("92% against 51%", "0.915 against 0.515", HOLDS)
    assert by_claim["ltc19 has smoother neurons than lstm64", "gaussian:0.1"]["verdict"] == CANNOT_BE_TOLD


def test_reproduce_says_that_one_training_of_a_kind_is_no_kind():
    conditions = [("none", 0.0), ("gaussian", 0.1), ("gaussian", 0.2), ("gaussian", 0.3)]
    names = {"ltc19@0": 1, "lstm64@0": 9}
    crashes = {(name, *c): [int(i < n) for i in range(10)] for name, n in names.items() for c in conditions}
    nothing = dict.fromkeys(("principal_share", "roughness", "ssim"))
    inside = {(name, f"{c[0]}:{c[1]:g}"): nothing for name in names for c in conditions}
    rows = claims(Drives(rows_of(crashes)), inside, {"ltc19": "ltc", "lstm64": "lstm"})
    assert [row["verdict"] for row in rows] == [HOLDS + OF_TWO_NETWORKS] * 3
