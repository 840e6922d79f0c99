"""Films of failures: the rule that picks them, and what is in them."""

import av

from driving.harness.failures import AFTER_S, BEFORE_S, Failure, film, typical_failures
from driving.harness.figures import Drives
from driving.models import checkpoint
from driving.settings import env_maker
from tests.test_stress import rows_of


def test_failures_come_from_where_the_networks_differ_and_are_the_middle_ones():
    crashes = {
        ("ltc19@0", "none", 0.0): [0] * 5,
        ("lstm64", "none", 0.0): [0, 0, 0, 0, 1],
        ("ltc19@0", "fog", 1.0): [1, 1, 0, 0, 0],
        ("lstm64", "fog", 1.0): [1, 1, 1, 0, 0],
        ("ltc19@0", "fog", 3.0): [0, 0, 1, 0, 0],
        ("lstm64", "fog", 3.0): [1, 1, 1, 1, 0],
        ("ltc19@0", "gaussian", 0.1): [1, 1, 1, 1, 1],
        ("lstm64", "gaussian", 0.1): [1, 1, 1, 1, 1],
        ("ltc19@0", "blur", 1.0): [0] * 5,
        ("lstm64", "blur", 1.0): [0] * 5,
        ("ltc19@1", "blur", 1.0): [1] * 5,
    }
    rows = rows_of(crashes)
    seeds = sorted({key.seed for key in rows})
    found = typical_failures(Drives(rows), "lstm64", 9)
    assert [failure.condition for failure in found] == ["fog:3", "none:0", "gaussian:0.1"]
    assert found[0].policies == ("ltc19@0", "lstm64")
    assert found[0].seed == seeds[1]  # of the roads 0, 1 and 3, on which one fails alone
    assert found[0].who == ("lstm64",)
    assert found[2].who == ("ltc19@0", "lstm64")
    assert "and" in found[2].text
    assert typical_failures(Drives(rows), "lstm64", 1) == found[:1]
    clean = {key: value for key, value in crashes.items() if key[1] == "blur" and "@1" not in key[0]}
    assert typical_failures(Drives(rows_of(clean)), "lstm64", 3) == []


def test_failures_are_filmed_from_before_to_after(tmp_path):
    policies = {name: checkpoint.load(name) for name in ("ltc19@0", "lstm64@0")}
    make_env = env_maker("lane/Procedural-v0", {"family": "highway", "roadside": False}, 20.0, render=True)
    failure = Failure("fog:3", 4, tuple(policies), BEFORE_S + 0.5, ("ltc19@0",))
    done = []
    rows = film([failure], policies, make_env, tmp_path, lambda: done.append(1))
    assert rows == [{"path": "failures/fog_3_4.mp4", "text": "Fog, severity 3, road 4: ltc19@0 left the lane"}]
    assert done == [1]
    with av.open(str(tmp_path / rows[0]["path"])) as video:
        n = sum(1 for _ in video.decode(video=0))
    assert n == round((BEFORE_S + AFTER_S) * 20)
