"""A circuit wired by the package ncps becomes a driver of this project: save it, train it, look inside.

``python -m driving.examples.liquid_from_ncps --out policies/mine``, then ``liquid-lane train --env lane/Procedural-v0
--init policies/mine --out policies/trained``. ``pip install ncps``.
"""

from __future__ import annotations

import argparse

from ncps.torch import LTCCell
from ncps.wirings import AutoNCP

from driving.models import checkpoint
from driving.models.ltc import LTC
from driving.models.policy import Policy, PolicyConfig, build_policy
from sim.conventions import FRAME_RATE_HZ

N_FEATURES = 32
"""That the encoder gives a frame."""


def convert(n_neurons: int = 24) -> Policy:
    """A policy around an untrained cell of ``ncps``; one unit of its time is one frame, as is usual there."""
    cell = LTCCell(AutoNCP(n_neurons, 1), in_features=N_FEATURES)
    core = LTC.from_ncps(cell, unit_s=1 / FRAME_RATE_HZ)
    policy = build_policy(PolicyConfig(core="ltc", core_config=core.config))
    policy.core.load_state_dict(core.state_dict())
    return policy


def main() -> None:
    """Convert and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neurons", type=int, default=24)
    parser.add_argument("--out", default="policies/from-ncps")
    given = parser.parse_args()
    policy = convert(given.neurons)
    checkpoint.save(policy, given.out)
    print(f"{given.out}: {policy}")


if __name__ == "__main__":
    main()
