"""The compiled form of the cell against its plain definition, and when it is used."""

import copy
import pickle
import shutil

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from driving.models.ltc import LTC, LTCConfig
from driving.models.ltc_fast import fast_sequence
from driving.models.wiring import Wiring

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def random_wiring(seed, n_inputs=3, n_neurons=7, n_motor=2, density=0.4):
    rng = np.random.default_rng(seed)

    def synapses(n_sources):
        source, target = np.nonzero(rng.random((n_sources, n_neurons)) < density)
        return np.stack([source, target, rng.choice([-1, 1], len(source))], axis=1)

    role = ["motor"] * n_motor + ["inter"] * (n_neurons - n_motor)
    return Wiring(n_inputs, tuple(rng.permutation(role)), synapses(n_inputs), synapses(n_neurons))


def make(wiring=None, dtype=torch.float64, seed=0, n_substeps=6):
    """A cell away from the initial values, where maps are 1 and reversal potentials +-1."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        ltc = LTC(LTCConfig(n_substeps=n_substeps), wiring)
        with torch.no_grad():
            for parameter in ltc.parameters():
                parameter += 0.2 * torch.randn(parameter.shape)
    return ltc.to(dtype)


def arguments(ltc, n_batch=3, n_time=4, seed=1):
    draw = torch.Generator().manual_seed(seed)
    features = torch.rand(n_batch, n_time, ltc.wiring.n_inputs, generator=draw, dtype=torch.float64)
    state = torch.rand(n_batch, ltc.wiring.n_neurons, generator=draw, dtype=torch.float64) - 0.5
    dt_s = 0.01 + 0.1 * torch.rand(n_batch, n_time, generator=draw, dtype=torch.float64)
    dtype = ltc.v_leak.dtype
    return tuple(x.to(dtype).requires_grad_() for x in (features, state, dt_s))


def results(ltc, given, method="forward_sequence"):
    """Outputs, last state and all gradients, by name."""
    outputs, last = getattr(ltc, method)(*given)
    draw = torch.Generator().manual_seed(5)
    loss = sum((x * torch.randn(x.shape, generator=draw).to(x.dtype)).sum() for x in (outputs, last))
    named = dict(ltc.named_parameters()) | dict(zip(("features", "state", "dt_s"), given, strict=True))
    wanted = {name: x for name, x in named.items() if x.requires_grad}
    grads = torch.autograd.grad(loss, list(wanted.values()))
    return {"outputs": outputs, "last": last, **dict(zip(wanted, grads, strict=True))}


def assert_same(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = value.detach().abs().max().item() if value.numel() else 1.0
        torch.testing.assert_close(
            found[name].to(value.dtype), value, atol=tolerance * max(scale, 1e-3), rtol=0, msg=name
        )


def is_fast(outputs):
    return "Sequence" in type(outputs.grad_fn).__name__


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(3, 4), (7, 1), (17, 2), (1, 5)])  # (7, ...): as many samples as neurons
def test_fast_values_and_gradients_are_those_of_the_plain_form_float64(shape, seed):
    ltc = make(random_wiring(seed), seed=seed, n_substeps=1 + 2 * seed)
    given = arguments(ltc, *shape, seed=seed)
    found = results(ltc, given)
    assert is_fast(found["outputs"])
    assert_same(found, results(ltc, given, "plain_sequence"), TOLERANCE[torch.float64])


@pytest.mark.parametrize("n_batch", [2, 19, 20])
def test_fast_float32_is_as_exact_as_the_plain_form(n_batch):
    # Both against float64: the rounding of float32 itself is what the plain form shows.
    ltc = make(dtype=torch.float32)
    given = arguments(ltc, n_batch, 8)
    exact = results(copy.deepcopy(ltc).double(), tuple(x.detach().double().requires_grad_() for x in given))
    plain, found = results(ltc, given, "plain_sequence"), results(ltc, given)
    assert is_fast(found["outputs"])
    for name, value in exact.items():
        scale = value.abs().max().item()
        error = (found[name].double() - value).abs().max().item() / scale
        of_plain = (plain[name].double() - value).abs().max().item() / scale
        tolerance = TOLERANCE[torch.float32] * (1 if name in ("outputs", "last") else 10)  # a sum may cancel
        assert error <= max(tolerance, 4 * of_plain), name


@pytest.mark.parametrize("wiring", [
    Wiring(1, ("motor",), [[0, 0, 1]], []),
    Wiring(2, ("inter", "motor"), [], [[0, 1, -1]]),
    Wiring(1, ("motor", "motor"), [], []),
])  # fmt: skip
def test_fast_circuits_without_one_kind_of_synapse(wiring):
    ltc = make(wiring)
    given = arguments(ltc)
    assert_same(results(ltc, given), results(ltc, given, "plain_sequence"), 1e-12)


def test_fast_gradient_agrees_with_finite_differences():
    ltc = make(random_wiring(3, n_inputs=2, n_neurons=4))
    features, state, dt_s = arguments(ltc, 2, 2)
    names = [name for name, _ in ltc.named_parameters()]

    def run(*values):
        return torch.func.functional_call(ltc, dict(zip(names, values[3:], strict=True)), values[:3])

    step = (features[:, 0], state, dt_s[:, 0])
    inputs = [x.detach().clone().requires_grad_() for x in (*step, *ltc.parameters())]
    assert is_fast(run(*inputs)[1])
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs, atol=1e-4)


@pytest.mark.parametrize("subset", [(), ("features",), ("state",), ("dt_s",), ("w_raw",), ("readout_bias", "state")])
def test_fast_gradients_of_any_subset(subset):
    ltc = make(random_wiring(1))
    given = tuple(
        x.detach().requires_grad_(name in subset)
        for name, x in zip(("features", "state", "dt_s"), arguments(ltc), strict=True)
    )
    for name, parameter in ltc.named_parameters():
        parameter.requires_grad_(name in subset)
    if not subset:
        assert not ltc.forward_sequence(*given)[0].requires_grad
        return
    found = results(ltc, given)
    assert set(found) == {"outputs", "last", *subset}
    assert_same(found, results(ltc, given, "plain_sequence"), 1e-12)


def test_fast_gradient_flows_through_the_state_that_is_carried_on():
    ltc = make(random_wiring(2))
    features, state, dt_s = arguments(ltc, 3, 6)
    first, middle = ltc.forward_sequence(features[:, :2], state, dt_s[:, :2])
    second, last = ltc.forward_sequence(features[:, 2:], middle, dt_s[:, 2:])
    whole, whole_last = ltc.forward_sequence(features, state, dt_s)
    for parts, one in ((torch.cat([first, second], 1), whole), (last, whole_last)):
        wanted = [features, state, *ltc.parameters()]
        found = torch.autograd.grad(parts.square().sum(), wanted, retain_graph=True, allow_unused=True)
        expected = torch.autograd.grad(one.square().sum(), wanted, retain_graph=True, allow_unused=True)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(torch.zeros(()) if a is None else a, torch.zeros(()) if b is None else b)


def test_fast_repeated_backward_gives_the_same():
    ltc = make(random_wiring(2))
    given = arguments(ltc)
    loss = ltc.forward_sequence(*given)[0].sum()
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in ltc.parameters()]
    loss.backward()
    for before, p in zip(once, ltc.parameters(), strict=True):
        torch.testing.assert_close(p.grad, 2 * before)


def test_fast_second_derivative_is_that_of_the_plain_form():
    ltc = make(random_wiring(2))
    given = arguments(ltc)

    def second(method):
        outputs, last = getattr(ltc, method)(*given)
        (g,) = torch.autograd.grad((outputs.sum() + last.square().sum()), given[0], create_graph=True)
        return torch.autograd.grad(g.square().sum(), [*given, *ltc.parameters()], allow_unused=True)

    for found, expected in zip(second("forward_sequence"), second("plain_sequence"), strict=True):
        assert (found is None) == (expected is None) or not (expected if found is None else found).any()
        if found is not None and expected is not None:
            torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)


def test_fast_takes_any_memory_layout_and_changes_nothing():
    ltc = make(random_wiring(4))
    features, state, dt_s = (x.detach() for x in arguments(ltc, 4, 6))
    odd = (features.mT.contiguous().mT, state.T.contiguous().T, dt_s[:, :1].expand(4, 6))
    assert not any(x.is_contiguous() for x in odd)
    given = [x.clone() for x in odd]
    weights = {k: v.clone() for k, v in ltc.state_dict().items()}
    outputs, last = ltc.forward_sequence(*odd)
    expected, expected_last = ltc.plain_sequence(*odd)
    torch.testing.assert_close(outputs, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(last, expected_last, atol=1e-12, rtol=0)
    assert all(torch.equal(a, b) for a, b in zip(odd, given, strict=True))
    assert all(torch.equal(v, weights[k]) for k, v in ltc.state_dict().items())


def test_fast_results_share_no_memory_with_arguments_or_each_other():
    ltc = make(random_wiring(4))
    given = tuple(x.detach() for x in arguments(ltc, 2, 1))
    with torch.no_grad():
        outputs, last = ltc.forward_sequence(*given)
    places = {x.untyped_storage().data_ptr() for x in (*given, outputs, last)}
    assert len(places) == 5


def test_fast_stream_without_gradient_is_the_sequence():
    ltc = make(random_wiring(5))
    features, state, dt_s = (x.detach() for x in arguments(ltc, 2, 5))
    expected, expected_last = ltc.plain_sequence(features, state, dt_s)
    with torch.inference_mode():
        for t in range(5):
            output, state = ltc(features[:, t], state, dt_s[:, t])
            torch.testing.assert_close(output, expected[:, t].detach(), atol=1e-12, rtol=0)
    torch.testing.assert_close(state, expected_last.detach(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("how", ["in_place", "optimizer", "load", "assign", "functional_call", "data"])
def test_fast_changed_weights_act_at_once(how):
    ltc = make(random_wiring(6))
    given = tuple(x.detach() for x in arguments(ltc))
    weights = {k: v.detach() + 0.3 for k, v in ltc.state_dict().items()}
    before, _ = ltc.forward_sequence(*given)
    call = ltc.forward_sequence
    if how == "in_place":
        with torch.no_grad():
            for p in ltc.parameters():
                p += 0.3
    elif how == "optimizer":
        optimizer = torch.optim.SGD(ltc.parameters(), lr=0.1)
        before.sum().backward()
        optimizer.step()
    elif how == "data":
        for p in ltc.parameters():
            p.data = p.data + 0.3
    elif how == "functional_call":
        step = (given[0][:, 0], given[1], given[2][:, 0])
        output, _ = torch.func.functional_call(ltc, weights, step)
        ltc.load_state_dict(weights)
        torch.testing.assert_close(output, ltc.plain_sequence(*given)[0][:, 0], atol=1e-12, rtol=0)
        return
    else:
        ltc.load_state_dict(weights, assign=how == "assign")
    after, _ = call(*given)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, ltc.plain_sequence(*given)[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda ltc: pickle.loads(pickle.dumps(ltc))])
def test_fast_copies_stand_on_their_own(twin_of):
    ltc = make(random_wiring(7))
    given = arguments(ltc)
    expected = results(ltc, given)
    twin = twin_of(ltc)
    assert not np.shares_memory(twin.synapse_table, ltc.synapse_table)
    del ltc
    assert_same(results(twin, given), expected, 1e-15)


def test_fast_nan_stays_in_its_sample():
    ltc = make(dtype=torch.float32)
    features, state, dt_s = (x.detach().clone() for x in arguments(ltc, 3, 2))
    features[1, 0, :] = torch.nan
    outputs, _ = ltc.forward_sequence(features, state, dt_s)
    assert torch.isnan(outputs[1]).all()
    assert torch.isfinite(outputs[[0, 2]]).all()


def test_fast_saturated_synapses_stay_finite():
    for dtype in (torch.float32, torch.float64):
        ltc = make(dtype=dtype)
        features, state, dt_s = (x.detach() for x in arguments(ltc))
        for scale in (1e4, -1e4, 1e30):
            given = ((scale * features).requires_grad_(), state, dt_s)
            found = results(ltc, given)
            assert all(torch.isfinite(x).all() for x in found.values())
            plain = results(ltc, given, "plain_sequence")
            torch.testing.assert_close(found["outputs"], plain["outputs"], atol=2e-5, rtol=1e-5)


def test_fast_inside_autocast_computes_in_the_parameters_type():
    ltc = make(dtype=torch.float32)
    given = arguments(ltc)
    expected = results(ltc, given)
    with torch.autocast("cpu", torch.bfloat16):
        found = results(ltc, given)
        rough, _ = ltc.forward_sequence(given[0].bfloat16(), *given[1:])
    assert_same(found, expected, 1e-7)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, expected["outputs"], atol=0.05, rtol=0.05)


def test_fast_bfloat16_cell_is_plain_and_near():
    ltc = make(dtype=torch.float32)
    given = tuple(x.detach() for x in arguments(ltc))
    expected, _ = ltc.plain_sequence(*given)
    rough = ltc.bfloat16()
    given = tuple(x.bfloat16() for x in given)
    assert fast_sequence(rough, *given) is None
    outputs, _ = rough.forward_sequence(*given)
    assert outputs.dtype == torch.bfloat16
    torch.testing.assert_close(outputs.float(), expected, atol=0.1 * expected.abs().max().item(), rtol=0)


def test_fast_wrong_shapes_are_left_to_the_plain_form():
    ltc = make(random_wiring(8))
    features, state, dt_s = (x.detach() for x in arguments(ltc, 3, 4))
    assert fast_sequence(ltc, features, state, dt_s) is not None
    for wrong in (
        (features[..., :2], state, dt_s),
        (features, state[:, :3], dt_s),
        (features, state[:2], dt_s),
        (features, state, dt_s[:, :2]),
        (features[:, :0], state, dt_s[:, :0]),
        (features.float(), state, dt_s),
        (features.to("meta"), state, dt_s),
        (features[:0], state[:0], dt_s[:0]),
    ):
        assert fast_sequence(ltc, *wrong) is None


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own use of it
def test_fast_torch_func_transforms_go_through_the_plain_form():
    ltc = make(random_wiring(9))
    features, state, dt_s = (x.detach() for x in arguments(ltc, 3, 4))
    weights = {k: v.detach() for k, v in ltc.named_parameters()}

    def loss(weights, features, state, dt_s):
        step = (features[None], state[None], dt_s[None])
        output, last = torch.func.functional_call(ltc, weights, step)
        return output.sum() + last.square().sum()

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0, 0))(
        weights, features[:, 0], state, dt_s[:, 0]
    )
    for b in range(3):
        output, last = ltc(features[b : b + 1, 0], state[b : b + 1], dt_s[b : b + 1, 0])
        grads = torch.autograd.grad(output.sum() + last.square().sum(), list(ltc.parameters()))
        for (name, _), grad in zip(ltc.named_parameters(), grads, strict=True):
            torch.testing.assert_close(per_sample[name][b], grad, atol=1e-12, rtol=1e-9)
    jacobian = torch.func.jacfwd(lambda s: ltc(features[:1, 0], s[None], dt_s[:1, 0])[1][0])(state[0])
    reverse = torch.func.jacrev(lambda s: ltc(features[:1, 0], s[None], dt_s[:1, 0])[1][0])(state[0])
    torch.testing.assert_close(jacobian, reverse)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own use of it
def test_fast_forward_mode_goes_through_the_plain_form():
    ltc = make(random_wiring(9))
    features, state, dt_s = (x.detach() for x in arguments(ltc))
    with forward_ad.dual_level():
        outputs, _ = ltc.forward_sequence(forward_ad.make_dual(features, torch.ones_like(features)), state, dt_s)
        tangent = forward_ad.unpack_dual(outputs).tangent
    small = 1e-6
    with torch.no_grad():
        up, down = (ltc.forward_sequence(features + h, state, dt_s)[0] for h in (small, -small))
    torch.testing.assert_close(tangent.detach(), (up - down) / (2 * small), atol=1e-7, rtol=1e-6)


def test_fast_without_gradient_takes_arguments_that_want_one():
    ltc = make(random_wiring(9))
    given = arguments(ltc)
    with torch.no_grad():
        found = ltc.forward_sequence(*given)
    for x, expected in zip(found, ltc.plain_sequence(*given), strict=True):
        assert not x.requires_grad
        torch.testing.assert_close(x, expected.detach(), atol=1e-12, rtol=0)


def test_fast_is_one_operation_to_whoever_traces_operations():
    # Not numbers that were taken out of the graph: the traced program follows its arguments.
    ltc = make(random_wiring(9))
    given, others = (tuple(x.detach() for x in arguments(ltc, seed=seed)) for seed in (1, 2))
    with torch.no_grad():
        program = make_fx(lambda x, v, dt_s: ltc.forward_sequence(x, v, dt_s))(*given)
        assert any("ltc_forward" in str(node.target) for node in program.graph.nodes)
        for found, expected in zip(program(*others), ltc.forward_sequence(*others), strict=True):
            assert torch.equal(found, expected)


def test_fast_export_sees_plain_operations():
    ltc = make(random_wiring(9))
    features, state, dt_s = (x.detach() for x in arguments(ltc))
    step = (features[:, 0], state, dt_s[:, 0])
    program = torch.export.export(ltc, step)
    assert not any("Sequence" in str(node.target) for node in program.graph.nodes)
    for found, expected in zip(program.module()(*step), ltc(*step), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)]
)  # inductor takes a minute
@pytest.mark.filterwarnings("default")
def test_fast_compiles_with_torch_compile(backend):
    if backend == "inductor" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler here")
    ltc = make(random_wiring(9), n_substeps=2)
    features, state, dt_s = arguments(ltc)
    step = (features[:, 0], state, dt_s[:, 0])
    found, expected = torch.compile(ltc, fullgraph=True, backend=backend)(*step), ltc(*step)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)
    wanted = [features, state, ltc.w_raw, ltc.sensory_mu]
    grads = [torch.autograd.grad(x[0].sum() + x[1].square().sum(), wanted) for x in (found, expected)]
    torch.testing.assert_close(*grads, atol=1e-12, rtol=1e-9)
