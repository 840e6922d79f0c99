import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ncps.torch import LTCCell
from ncps.wirings import Wiring as NcpsWiring

from driving.models.ltc import LTC, LTCConfig, softplus_inverse
from driving.models.wiring import Wiring, paper_wiring
from sim.errors import BadInputError

ONE = Wiring(1, ("motor",), [[0, 0, 1]], [])
TINY = Wiring(
    2,
    ("motor", "command", "command", "inter", "inter"),
    [[0, 3, 1], [1, 3, -1], [1, 4, 1]],
    [[3, 1, 1], [4, 2, -1], [2, 2, 1], [1, 2, 1], [1, 0, 1], [2, 0, -1]],
)


def make(config=None, wiring=None, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LTC(config, wiring)


def one_neuron(n_substeps=6, c_m=0.02, g=0.7, v_leak=-0.1, w=0.9, sigma=4.0, mu=0.5, e_rev=1.0):
    ltc = make(LTCConfig(n_substeps=n_substeps), ONE).double()
    values = {
        "c_m_raw": softplus_inverse(torch.tensor([c_m], dtype=torch.float64)),
        "g_leak_raw": softplus_inverse(torch.tensor([g], dtype=torch.float64)),
        "sensory_w_raw": softplus_inverse(torch.tensor([w], dtype=torch.float64)),
        "v_leak": torch.tensor([v_leak]),
        "sensory_sigma": torch.tensor([sigma]),
        "sensory_mu": torch.tensor([mu]),
        "sensory_e_rev": torch.tensor([e_rev]),
        "input_bias": torch.zeros(1),
    }
    with torch.no_grad():
        for name, value in values.items():
            getattr(ltc, name).copy_(value)
    return ltc


def frames(n_batch, n_time, n_inputs, dtype=torch.float64, seed=1):
    return torch.rand(n_batch, n_time, n_inputs, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_ltc_circuit_has_the_parameters_of_the_paper():
    ltc = make()
    n_maps = 2 * 32 + 2  # of the inputs and of the readout
    assert sum(p.numel() for p in ltc.parameters()) == 1_065 + n_maps
    assert all(p.requires_grad for p in ltc.parameters())
    assert sum(v.numel() for v in ltc.state_dict().values()) == 1_065 + n_maps


def test_ltc_initial_values_are_in_the_ranges_of_the_paper():
    ltc = make(LTCConfig(initial_c=7.0, n_substeps=5, reference_dt_s=0.1, initial_input_scale=0.5))
    mean_c_m = 7.0 * 0.1 / 5
    for value, low, high in (
        (ltc.c_m, 0.8 * mean_c_m, 1.2 * mean_c_m),
        (ltc.g_leak, 0.001, 1.0),
        (ltc.v_leak, -0.2, 0.2),
        (ltc.w, 0.001, 1.0),
        (ltc.sensory_w, 0.001, 1.0),
        (ltc.sigma, 3.0, 8.0),
        (ltc.sensory_mu, 0.3, 0.8),
    ):
        assert value.min() >= low * 0.999 if low > 0 else value.min() >= low
        assert value.max() <= high * 1.001
        assert value.max() - value.min() > 0.5 * (high - low)
    np.testing.assert_array_equal(ltc.e_rev.detach(), paper_wiring().synapses[:, 2])
    np.testing.assert_array_equal(ltc.sensory_e_rev.detach(), paper_wiring().sensory[:, 2])
    assert (ltc.input_weight == 0.5).all()
    assert (ltc.input_weight * 0.5 + ltc.input_bias).detach().numpy() == pytest.approx(0.55)


def test_ltc_begins_straight_under_middling_features():
    ltc = make(LTCConfig(initial_readout_weight=3.0))
    outputs, _ = ltc.forward_sequence(torch.full((2, 40, 32), 0.5), ltc.initial_state(2), torch.full((2, 40), 0.05))
    assert outputs[:, -1].abs().max() < 1e-4
    assert (ltc.readout_weight == 3.0).all()


@pytest.mark.parametrize("value", [1e-4, 0.001, 0.3, 1.0, 20.0, 200.0])
def test_ltc_softplus_inverse_is_undone_by_softplus(value):
    raw = softplus_inverse(torch.tensor(value, dtype=torch.float64))
    assert torch.nn.functional.softplus(raw, threshold=1e9).item() == pytest.approx(value, rel=1e-9)


def test_ltc_constant_input_settles_at_the_fixed_point_of_the_equation():
    ltc = one_neuron()
    x = 0.62
    conductance = 0.9 / (1 + math.exp(-4.0 * (x - 0.5)))
    fixed_point = (0.7 * -0.1 + conductance * 1.0) / (0.7 + conductance)
    dt_s = torch.full((1, 60), 0.05, dtype=torch.float64)
    _, state = ltc.forward_sequence(torch.full((1, 60, 1), x, dtype=torch.float64), ltc.initial_state(1), dt_s)
    assert state.item() == pytest.approx(fixed_point, abs=1e-7)


def test_ltc_one_neuron_follows_the_closed_form_of_its_time_constant():
    # Without recurrence, linear: v(t) = v_inf + (v0 - v_inf) exp(-t / tau), tau = C / (g + w s).
    ltc, x, v0, t_s = one_neuron(n_substeps=100), 0.4, -0.8, 0.01
    features, state = torch.tensor([[x]], dtype=torch.float64), torch.tensor([[v0]], dtype=torch.float64)
    conductance = 0.9 / (1 + math.exp(-4.0 * (x - 0.5)))
    tau_s = 0.02 / (0.7 + conductance)
    assert ltc.synapse_trace(features, state).time_constant_s.item() == pytest.approx(tau_s, rel=1e-9)
    v_inf = (0.7 * -0.1 + conductance) / (0.7 + conductance)
    _, after = ltc(features, state, torch.tensor([t_s], dtype=torch.float64))
    assert after.item() == pytest.approx(v_inf + (v0 - v_inf) * math.exp(-t_s / tau_s), abs=3e-3)


@pytest.mark.parametrize(("c", "kept"), [(0.5, 0.00137), (3.0, 0.178), (10.0, 0.5645)])
def test_ltc_state_kept_in_a_frame_without_input_is_c_over_c_plus_g_to_the_sixth(c, kept):
    ltc = one_neuron(c_m=c * 0.05 / 6, g=1.0, v_leak=0.0, w=1e-12)
    _, state = ltc(torch.zeros(1, 1).double(), torch.ones(1, 1).double(), torch.tensor([0.05]).double())
    assert state.item() == pytest.approx(kept, rel=3e-3)
    assert state.item() == pytest.approx((c / (c + 1)) ** 6, rel=1e-6)


def test_ltc_substeps_converge_to_the_ode_with_first_order():
    # The witness is the plain equation, written again in numpy and solved by Runge-Kutta with tiny steps.
    ltc = make(wiring=TINY, seed=4).double()
    x, v0, dt_s = np.array([0.3, 0.8]), np.array([0.1, -0.3, 0.6, 0.2, -0.5]), 0.08
    p = {
        name: getattr(ltc, name).detach().numpy()
        for name in (
            "c_m",
            "g_leak",
            "v_leak",
            "w",
            "sigma",
            "mu",
            "e_rev",
            "sensory_w",
            "sensory_sigma",
            "sensory_mu",
            "sensory_e_rev",
        )
    }

    def slope(v):
        current = p["g_leak"] * (p["v_leak"] - v)
        for r, (j, i, _) in enumerate(TINY.synapses):
            s = 1 / (1 + np.exp(-p["sigma"][r] * (v[j] - p["mu"][r])))
            current[i] += p["w"][r] * s * (p["e_rev"][r] - v[i])
        for r, (j, i, _) in enumerate(TINY.sensory):
            s = 1 / (1 + np.exp(-p["sensory_sigma"][r] * (x[j] - p["sensory_mu"][r])))
            current[i] += p["sensory_w"][r] * s * (p["sensory_e_rev"][r] - v[i])
        return current / p["c_m"]

    exact, h = v0.copy(), dt_s / 400
    for _ in range(400):
        k1 = slope(exact)
        k2 = slope(exact + h / 2 * k1)
        k3 = slope(exact + h / 2 * k2)
        k4 = slope(exact + h * k3)
        exact = exact + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    seen = (x - ltc.input_bias.detach().numpy()) / ltc.input_weight.detach().numpy()
    errors = []
    for n_substeps in (25, 50, 100):
        fine = make(LTCConfig(n_substeps=n_substeps), TINY).double()
        fine.load_state_dict(ltc.state_dict())
        _, state = fine(torch.tensor(seen)[None], torch.tensor(v0)[None], torch.tensor([dt_s]).double())
        errors.append(np.abs(state[0].detach().numpy() - exact).max())
    assert errors[-1] < 0.01
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 1.0, atol=0.1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.0, 1.0, 30.0, 1e4, 1e30]),
    dt_s=st.floats(1e-4, 1e3),
    spread=st.floats(0.1, 5.0),
)
def test_ltc_state_stays_between_its_reversal_and_leak_potentials(seed, scale, dt_s, spread):
    ltc = make(wiring=TINY, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in ltc.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=generator)
    features = scale * torch.randn(3, 4, 2, generator=generator)
    _, state = ltc.forward_sequence(features, ltc.initial_state(3), torch.full((3, 4), dt_s))
    for i in range(TINY.n_neurons):
        into = torch.cat([ltc.e_rev[TINY.synapses[:, 1] == i], ltc.sensory_e_rev[TINY.sensory[:, 1] == i]])
        bounds = torch.cat([into, ltc.v_leak[i : i + 1], torch.zeros(1)]).detach()
        tolerance = 1e-5 * (1 + bounds.abs().max())
        assert (state[:, i] >= bounds.min() - tolerance).all()
        assert (state[:, i] <= bounds.max() + tolerance).all()


class AsNcps(NcpsWiring):
    """Our wiring in the words of the independent package."""

    def __init__(self, wiring):
        super().__init__(wiring.n_neurons)
        self.ours = wiring
        self.set_output_dim(wiring.n_motor)
        for source, target, polarity in wiring.synapses:
            self.add_synapse(source, target, polarity)

    def build(self, input_dim):
        super().build(input_dim)
        for source, target, polarity in self.ours.sensory:
            self.add_sensory_synapse(source, target, polarity)


def as_ncps(ltc, dtype):
    wiring = ltc.wiring
    cell = LTCCell(AsNcps(wiring), in_features=wiring.n_inputs, ode_unfolds=ltc.config.n_substeps).to(dtype)
    values = cell._params
    for name, ours in (("gleak", ltc.g_leak), ("vleak", ltc.v_leak), ("cm", ltc.c_m),
                       ("input_w", ltc.input_weight), ("input_b", ltc.input_bias),
                       ("output_w", ltc.readout_weight), ("output_b", ltc.readout_bias)):  # fmt: skip
        values[name].data.copy_(ours.detach())
    source, target = torch.tensor(wiring.synapses[:, :2]).T
    for name, ours in (("w", ltc.w), ("sigma", ltc.sigma), ("mu", ltc.mu), ("erev", ltc.e_rev)):
        values[name].data[source, target] = ours.detach()
    source, target = torch.tensor(wiring.sensory[:, :2]).T
    for name in ("w", "sigma", "mu"):
        values[f"sensory_{name}"].data[source, target] = getattr(ltc, f"sensory_{name}").detach()
    values["sensory_erev"].data[source, target] = ltc.sensory_e_rev.detach()
    return cell


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("initial_c", [0.5, 10.0])
@pytest.mark.parametrize("form", ["forward_sequence", "plain_sequence"])
def test_ltc_step_agrees_with_ncps(dtype, tolerance, initial_c, form):
    ltc = make(LTCConfig(initial_c=initial_c), seed=5).to(dtype)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():  # away from the initial values, where maps and readout are 1 and 0
        for name in ("input_weight", "input_bias", "readout_weight", "readout_bias", "e_rev", "sensory_e_rev"):
            parameter = getattr(ltc, name)
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=dtype)
        cell = as_ncps(ltc, dtype)
        state = ours = torch.randn(4, 19, generator=generator, dtype=dtype) * 0.3
        for dt_s in (0.05, 0.031, 0.2):
            features = torch.rand(4, 32, generator=generator, dtype=dtype)
            times = torch.full((4, 1), dt_s, dtype=dtype)
            output, ours = getattr(ltc, form)(features[:, None], ours, times)
            expected_output, state = cell(features, state, dt_s)
            torch.testing.assert_close(ours, state, atol=tolerance, rtol=0)
            by_readout = ltc.readout_weight.item()  # the state's rounding, times about 5
            torch.testing.assert_close(output[:, 0], expected_output, atol=tolerance * by_readout, rtol=0)


@pytest.mark.parametrize("n_batch", [3, 5])  # 5: as many samples as neurons
def test_ltc_every_sample_has_its_own_time_step(n_batch):
    ltc = make(wiring=TINY).double()
    features = frames(n_batch, 1, 2)[:, 0]
    state = frames(n_batch, 1, 5, seed=2)[:, 0]
    dt_s = torch.linspace(0.01, 0.4, n_batch, dtype=torch.float64)
    _, together = ltc(features, state, dt_s)
    for b in range(n_batch):
        _, alone = ltc(features[b : b + 1], state[b : b + 1], dt_s[b : b + 1])
        torch.testing.assert_close(together[b : b + 1], alone, atol=1e-13, rtol=0)


def test_ltc_gradient_agrees_with_finite_differences():
    ltc = make(wiring=TINY, seed=6).double()
    names = [name for name, _ in ltc.named_parameters()]
    inputs = [p.detach().clone().requires_grad_() for p in ltc.parameters()]
    features, state = frames(2, 3, 2).requires_grad_(), frames(2, 1, 5, seed=3)[:, 0].requires_grad_()
    dt_s = torch.tensor([[0.05, 0.04, 0.1], [0.02, 0.05, 0.05]], dtype=torch.float64)

    class Sequence(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.ltc = ltc

        def forward(self, features, state, dt_s):
            return self.ltc.forward_sequence(features, state, dt_s)

    def run(features, state, *parameters):
        values = {f"ltc.{name}": value for name, value in zip(names, parameters, strict=True)}
        return torch.func.functional_call(Sequence(), values, (features, state, dt_s))

    assert torch.autograd.gradcheck(run, (features, state, *inputs))


def test_ltc_larger_c_remembers_longer():
    left = []
    for initial_c in (1.0, 5.0, 25.0):
        ltc = make(LTCConfig(initial_c=initial_c))
        features, dt_s = torch.rand(2, 32, generator=torch.Generator().manual_seed(0)), torch.full((2,), 0.05)
        _, high = ltc(features, torch.full((2, 19), 0.5), dt_s)
        _, low = ltc(features, torch.full((2, 19), -0.1), dt_s)
        left.append((high - low)[:, 7:].abs().mean().item())
    assert left[0] < left[1] < left[2]


@pytest.mark.parametrize(
    "setting",
    [{"n_substeps": 0}, {"n_substeps": 2.0}, {"initial_c": 0.0}, {"initial_c": math.nan},
     {"reference_dt_s": -1.0}, {"initial_input_scale": math.inf}],
)  # fmt: skip
def test_ltc_config_rejects_impossible_settings(setting):
    with pytest.raises(BadInputError, match=next(iter(setting))):
        LTCConfig(**setting)
