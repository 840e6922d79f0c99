import warnings

import numpy as np
import pytest
import torch
from torch import nn

from driving.attention import ATTRIBUTIONS, input_gradient, visual_backprop
from driving.attention.min_max import min_max
from driving.attention.score import map_similarity, on_road_share, road_area_share
from driving.models.policy import CORES, PolicyConfig, build_policy
from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX

with warnings.catch_warnings():  # torchmetrics brings warnings of its own imports
    warnings.simplefilter("ignore")
    from torchmetrics.functional.image import structural_similarity_index_measure


class TinyEncoder(nn.Module):
    """Two strided 1x1 convolutions whose maps can be written out by hand."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1, stride=2), nn.Conv2d(3, 1, 1, stride=2)
        with torch.no_grad():
            for conv, bias in ((self.first, 0.0), (self.second, 1.0)):
                conv.weight.zero_()
                conv.bias.fill_(bias)
            self.first.weight[:, 0, 0, 0] = torch.tensor([1.0, -1.0, 5.0])
            self.second.weight[0, 0] = 1.0

    def feature_maps(self, frames):
        first = torch.relu(self.first(frames))
        return [first, torch.relu(self.second(first))]


class TinyPolicy(nn.Module):
    """Curvature = state + dt x weights . frame: its input gradient is the weights."""

    def __init__(self, height=4, width=8):
        super().__init__()
        self.encoder = TinyEncoder()
        self.weight = nn.Parameter(torch.linspace(-2, 1, 3 * height * width).reshape(3, height, width))
        self.dropout = nn.Dropout(0.5)

    def step(self, frame, state, dt_s):
        return state[:, 0] * (1 + dt_s * (frame * self.weight).sum(dim=(1, 2, 3))), state


class FailingPolicy(TinyPolicy):
    def step(self, frame, state, dt_s):
        raise RuntimeError("on purpose")


def _ramp_frame():
    frame = torch.zeros(1, 3, 4, 8)
    frame[0, 0] = torch.arange(32.0).reshape(4, 8)
    return frame


def test_visual_backprop_equals_the_map_written_out_by_hand():
    # Channel means 2 x [[0, 2, 4, 6], [16, 18, 20, 22]]; last map [1, 5], upsampled to [1, 2, 4, 5].
    product_top, product_bottom = [0, 8, 32, 60], [32, 72, 160, 220]
    # Bilinear, align_corners=False: quarters between neighbours, the edge values kept.
    top = np.array([0, 2, 6, 14, 26, 39, 53, 60]) / 220
    bottom = np.array([32, 42, 62, 94, 138, 175, 205, 220]) / 220
    assert (top[0], top[-1]) == (product_top[0] / 220, product_top[-1] / 220)
    assert (bottom[0], bottom[-1]) == (product_bottom[0] / 220, product_bottom[-1] / 220)
    by_hand = np.stack([top, 0.75 * top + 0.25 * bottom, 0.25 * top + 0.75 * bottom, bottom])

    attention = visual_backprop(TinyPolicy(), _ramp_frame(), torch.zeros(1, 5))

    np.testing.assert_allclose(attention[0].numpy(), by_hand, atol=1e-6)


def test_visual_backprop_of_a_single_layer_is_its_channel_mean():
    policy = TinyPolicy()
    policy.encoder.feature_maps = lambda frames: [torch.relu(policy.encoder.first(frames))]
    attention = visual_backprop(policy, _ramp_frame(), torch.zeros(1, 5))
    np.testing.assert_allclose(attention[0, 0].numpy(), np.array([0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6]) / 22, atol=1e-6)


def test_visual_backprop_looks_where_the_picture_differs():
    frame = torch.zeros(1, 3, 40, 64)
    frame[0, 0, 8:12, 40:48] = 1.0
    attention = visual_backprop(TinyPolicy(), frame, torch.zeros(1, 5))[0]
    assert divmod(int(attention.argmax()), 64)[0] in range(6, 14)
    assert divmod(int(attention.argmax()), 64)[1] in range(38, 50)
    assert attention[20:].max() == 0


def test_visual_backprop_survives_products_below_float32():
    policy = TinyPolicy()
    policy.encoder.feature_maps = lambda frames: [1e-12 * frames[:, :1].abs() for _ in range(5)]
    attention = visual_backprop(policy, _ramp_frame(), torch.zeros(1, 5))
    assert attention.max() == 1
    np.testing.assert_allclose(attention[0].numpy(), (np.arange(32).reshape(4, 8) / 31) ** 5, atol=1e-6)


def test_input_gradient_of_a_linear_policy_is_the_size_of_its_weights():
    policy = TinyPolicy()
    attention = input_gradient(policy, torch.rand(2, 3, 4, 8), torch.full((2, 5), 0.7))
    size = policy.weight.detach().abs().amax(dim=0)
    expected = (size - size.min()) / (size.max() - size.min())
    torch.testing.assert_close(attention, expected.expand(2, 4, 8), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_input_gradient_works_where_gradients_are_off(mode):
    policy = TinyPolicy()
    with mode():
        attention = input_gradient(policy, torch.rand(2, 3, 4, 8), torch.ones(2, 5))
    assert attention.max() == 1


def test_input_gradient_is_zero_where_nothing_matters():
    assert not input_gradient(TinyPolicy(), torch.rand(2, 3, 4, 8), torch.zeros(2, 5)).any()


@pytest.mark.parametrize("name", ATTRIBUTIONS)
@pytest.mark.parametrize("n_batch", [1, 3])
def test_attribution_keeps_the_contract(name, n_batch):
    policy, frame = TinyPolicy(), torch.rand(n_batch, 3, 4, 8)
    attention = ATTRIBUTIONS[name](policy, frame, torch.ones(n_batch, 5))
    assert attention.shape == (n_batch, 4, 8)
    assert attention.dtype == frame.dtype
    assert not attention.requires_grad
    for i_frame in range(n_batch):
        assert (attention[i_frame].min(), attention[i_frame].max()) == (0, 1)
        alone = ATTRIBUTIONS[name](policy, frame[i_frame : i_frame + 1], torch.ones(1, 5))
        torch.testing.assert_close(attention[i_frame], alone[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ATTRIBUTIONS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("policy_class", [TinyPolicy, FailingPolicy])
def test_attribution_leaves_no_trace(name, training, policy_class):
    policy = policy_class().train(training)
    policy.weight.requires_grad_(False)
    frame, state = torch.rand(2, 3, 4, 8), torch.ones(2, 5)
    frame_before, state_before = frame.clone(), state.clone()
    if policy_class is FailingPolicy and name == "input_gradient":
        with pytest.raises(RuntimeError, match="on purpose"):
            ATTRIBUTIONS[name](policy, frame, state)
    else:
        ATTRIBUTIONS[name](policy, frame, state)
    for module in policy.modules():
        assert module.training is training
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert [parameter.requires_grad for parameter in policy.parameters()] == [False, True, True, True, True]
    assert all(parameter.grad is None for parameter in policy.parameters())
    for tensor, before in ((frame, frame_before), (state, state_before)):
        assert not tensor.requires_grad
        assert tensor.grad is None
        assert torch.equal(tensor, before)


def test_min_max_scales_each_map_alone_and_makes_a_constant_map_zero():
    maps = torch.stack([torch.arange(6.0).reshape(2, 3), torch.full((2, 3), 7.0), torch.tensor([[1.0] * 3, [3.0] * 3])])
    expected = [[[0, 0.2, 0.4], [0.6, 0.8, 1]], [[0, 0, 0]] * 2, [[0, 0, 0], [1, 1, 1]]]
    torch.testing.assert_close(min_max(maps), torch.tensor(expected))


def test_min_max_of_a_map_that_is_not_finite_is_zero():
    assert not min_max(torch.tensor([[[1.0, float("nan"), 2.0]], [[1.0, float("inf"), 2.0]]])).any()


def test_on_road_share_of_a_uniform_map_is_the_road_area_share():
    mask = np.zeros((5, 7), dtype=bool)
    mask[3:, 1:6] = True
    assert road_area_share(mask) == 10 / 35
    np.testing.assert_allclose(on_road_share(np.full((5, 7), 0.3), mask), 10 / 35)


def test_on_road_share_counts_mass_by_hand_and_leaves_empty_maps_out():
    maps = np.array([[[3.0, 1.0]], [[0.0, 0.0]], [[0.0, 2.0]]])
    share = on_road_share(maps, np.array([[True, False]]))
    np.testing.assert_array_equal(share, [0.75, np.nan, 0.0])
    assert np.nanmean(share) == 0.375
    masks = np.array([[[False, True]], [[True, True]], [[False, True]]])
    np.testing.assert_array_equal(on_road_share(maps, masks), [0.25, np.nan, 1.0])
    np.testing.assert_array_equal(road_area_share(masks), [0.5, 1.0, 0.5])


def test_map_similarity_agrees_with_torchmetrics():
    rng = np.random.default_rng(5)
    clean = rng.random((3, 31, 47))
    noisy = np.clip(clean + rng.normal(0, [[[0.05]], [[0.2]], [[0.6]]], clean.shape), 0, 1)
    _, full = structural_similarity_index_measure(
        torch.from_numpy(noisy)[:, None],
        torch.from_numpy(clean)[:, None],
        sigma=1.5,
        data_range=1.0,
        return_full_image=True,
    )
    # torchmetrics also averages over the border, where its 11 x 11 window hangs over; skimage does not.
    witness = full[:, 0, 5:-5, 5:-5].mean(dim=(1, 2))
    similarity = map_similarity(clean, noisy)
    np.testing.assert_allclose(similarity, witness.numpy(), atol=1e-9)
    assert similarity[0] > similarity[1] > similarity[2]


def test_map_similarity_of_a_map_with_itself_is_one():
    clean = np.random.default_rng(6).random((12, 15))
    assert map_similarity(clean, clean) == pytest.approx(1.0)
    assert map_similarity(clean, clean).shape == ()


def test_map_similarity_rejects_two_shapes():
    with pytest.raises(ValueError, match="one shape"):
        map_similarity(np.zeros((12, 15)), np.zeros((15, 12)))


@pytest.mark.parametrize("name", ATTRIBUTIONS)
@pytest.mark.parametrize("core", CORES)
def test_attribution_of_a_real_policy_keeps_the_contract(name, core):
    policy = build_policy(PolicyConfig(core=core), seed=2)
    frame = torch.rand(2, 3, FRAME_HEIGHT_PX, FRAME_WIDTH_PX, generator=torch.Generator().manual_seed(4))
    attention = ATTRIBUTIONS[name](policy, frame, policy.initial_state(2))
    assert attention.shape == (2, FRAME_HEIGHT_PX, FRAME_WIDTH_PX)
    assert torch.isfinite(attention).all()
    torch.testing.assert_close(attention.amin(dim=(1, 2)), torch.zeros(2))
    torch.testing.assert_close(attention.amax(dim=(1, 2)), torch.ones(2))
    assert all(parameter.grad is None for parameter in policy.parameters())
