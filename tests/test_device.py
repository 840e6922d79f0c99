"""Where a policy is trained. Without a GPU the device of no numbers ("meta") shows that everything moves together."""

import pytest
import torch

from driving.data import AugmentConfig
from driving.models.device import pick_device
from driving.models.policy import CORES, to_tensor
from driving.train import EncodedWindows, TrainConfig, encode, train, weighted_squared_error
from sim.errors import BadInputError

META = torch.device("meta")


def test_device_auto_is_a_gpu_only_where_there_is_one(monkeypatch):
    assert pick_device("cpu") == torch.device("cpu")
    for has_gpu, kind in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_gpu=has_gpu: has_gpu)
        assert pick_device("auto").type == kind
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(BadInputError, match="sees 2 GPUs, got 'cuda:2'"):
        pick_device("cuda:2")


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:-1", "cuda:x", "", "cpu:"])
def test_device_of_another_name_is_bad_input(name):
    with pytest.raises(BadInputError, match="expected auto, cpu, cuda or cuda:N"):
        pick_device(name)


@pytest.mark.parametrize("core", sorted(CORES))
def test_device_step_of_training_stays_on_the_policys_device(small_policy, core):
    policy = small_policy(core).to(META)
    frames = torch.zeros(6, 16, 41, 3, dtype=torch.uint8).numpy()
    features = encode(policy, to_tensor(frames), False).unflatten(0, (2, 3))
    labels = [torch.zeros(2, 3) for _ in range(3)]
    windows = EncodedWindows(features, None, *labels, counts=torch.ones(2, 3, dtype=torch.bool)).to(META)
    # Below ``decode``, whose checks of the times ask for numbers.
    outputs, state = policy.core.forward_sequence(windows.features, policy.initial_state(2), windows.dt_s)
    predicted = outputs.squeeze(-1)
    loss = weighted_squared_error(
        predicted, windows.curvature_per_m, windows.speed_mps, 0.01, 0.02, 2.0, 0, windows.counts
    )
    loss.backward()
    assert {x.device for x in (features, predicted, state, loss)} == {META}
    assert all(p.grad is not None and p.grad.device == META for p in policy.encoder.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_device_gpu_learns_what_the_cpu_learns(small_policy, make_drive, tmp_path):
    config = TrainConfig(n_steps=5, batch=3, window=4, n_warmup=1, augment=AugmentConfig(light=0.0))
    losses = {}
    for name in ("cpu", "cuda"):
        seen = losses[name] = []
        policy = small_policy()
        train(
            policy, [make_drive()], config, tmp_path / name, on_step=lambda step, loss, seen=seen: seen.append(loss),
            device=torch.device(name),
        )  # fmt: skip
        assert next(policy.parameters()).device.type == "cpu"
    assert losses["cpu"] == pytest.approx(losses["cuda"], rel=1e-3)
