import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from driving.models.ctrnn import CTRNNConfig, CTRNNCore
from sim.errors import BadInputError


def make(dtype=torch.float64, seed=0, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CTRNNCore(CTRNNConfig(n_inputs=3, n_units=5, **settings)).to(dtype)


def weights(core):
    return [x.detach().numpy() for x in (core.input_map.weight, core.recurrent_map.weight, core.input_map.bias)]


def frames(n_batch=2, n_time=4, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n_batch, n_time, 3, generator=generator, dtype=torch.float64)
    dt_s = 0.02 + 0.1 * torch.rand(n_batch, n_time, generator=generator, dtype=torch.float64)
    return features.to(dtype), dt_s.to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_ctrnn_agrees_with_the_equation_written_out_in_numpy(dtype, tolerance):
    core, (features, dt_s) = make(dtype), frames(dtype=dtype)
    _, state = core.forward_sequence(features, core.initial_state(2), dt_s)
    w_in, w, b = weights(core)
    for i in range(2):
        x = np.zeros(5)
        for t in range(4):
            for _ in range(6):
                h = float(dt_s[i, t]) / 6
                x = x + h * (-x / (0.05 / 0.6) + np.tanh(w_in @ features[i, t].numpy() + w @ x + b) * 12)
        np.testing.assert_allclose(state[i].detach().numpy(), x, atol=tolerance)


def test_ctrnn_default_frame_is_six_steps_of_a_tenth_of_the_time_constant():
    config = CTRNNConfig()
    assert 0.05 / config.n_substeps / config.tau_s == pytest.approx(0.1)


def test_ctrnn_substeps_converge_to_the_ode_with_first_order():
    x0, (features, _) = np.linspace(-0.4, 0.6, 5), frames(1, 1)
    w_in, w, b = weights(make())
    drive = w_in @ features[0, 0].numpy() + b
    solved = solve_ivp(
        lambda t, x: (-x + np.tanh(drive + w @ x)) / 0.1, (0, 0.15), x0, rtol=1e-11, atol=1e-12, method="DOP853"
    )
    errors = []
    for n_substeps in (20, 40, 80):
        core = make(n_substeps=n_substeps, tau_s=0.1)
        _, state = core(features[:, 0], torch.tensor(x0)[None], torch.tensor([0.15]).double())
        errors.append(np.abs(state[0].detach().numpy() - solved.y[:, -1]).max())
    assert errors[-1] < 0.01
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 1.0, atol=0.1)


def test_ctrnn_without_recurrence_decays_with_its_time_constant_to_its_fixed_point():
    core = make(n_substeps=100, tau_s=0.2)
    with torch.no_grad():
        core.recurrent_map.weight.zero_()
    features, start = frames(1, 1)[0][:, 0], torch.linspace(-0.9, 0.9, 5).double()[None]
    target = torch.tanh(core.input_map(features))
    _, state = core(features, start, torch.tensor([0.3]).double())
    torch.testing.assert_close(state, target + (start - target) * np.exp(-0.3 / 0.2), atol=4e-3, rtol=0)
    _, state = core(features, start, torch.tensor([20.0]).double())  # h = tau: there at once
    torch.testing.assert_close(state, target, atol=1e-14, rtol=0)


def test_ctrnn_state_is_clipped_where_the_explicit_steps_are_unstable():
    core, (features, _) = make(), frames(2, 30)
    _, state = core.forward_sequence(features, core.initial_state(2), torch.full((2, 30), 3.0).double())
    assert state.abs().max().item() == 5.0
    _, state = core.forward_sequence(features, core.initial_state(2), torch.full((2, 30), 1e300, dtype=torch.float64))
    assert torch.isfinite(state).all()


@pytest.mark.parametrize(
    "setting", [{"n_units": 0}, {"n_substeps": 0}, {"n_substeps": 1.0}, {"tau_s": 0.0}, {"state_limit": float("nan")}]
)
def test_ctrnn_config_rejects_impossible_settings(setting):
    with pytest.raises(BadInputError, match=next(iter(setting))):
        CTRNNConfig(**setting)
