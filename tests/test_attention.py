import copy
import warnings

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from driving.attention import (
    ATTRIBUTIONS,
    grad_cam,
    guided_backprop,
    input_gradient,
    occlusion,
    smooth_grad,
    visual_backprop,
)
from driving.attention.ablation import class_effects
from driving.attention.command import blurred_picture
from driving.attention.integrated_gradients import signed_integrated_gradients
from driving.attention.min_max import min_max
from driving.attention.score import (
    centre_px,
    class_shares,
    evenness,
    map_similarity,
    on_road_share,
    pointing_hit,
    rank_accuracy,
    rank_similarity,
    road_area_share,
)
from driving.attention.through_time import memory_shares, through_time
from driving.attention.visual_backprop import _enlarged
from driving.models import checkpoint
from driving.models.policy import CORES, PolicyConfig, build_policy, to_tensor
from driving.study.run import SLOW
from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX
from sim.procedural_env import ProceduralEnv

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


WITHOUT_LAYERS = ("visual_backprop", "input_gradient", "smooth_grad", "integrated_gradients", "occlusion")
"""Methods that need no more of a policy than the tiny one has."""


@pytest.mark.parametrize("name", WITHOUT_LAYERS)
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
        torch.testing.assert_close(attention[i_frame], alone[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", WITHOUT_LAYERS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("policy_class", [TinyPolicy, FailingPolicy])
def test_attribution_leaves_no_trace(name, training, policy_class):
    policy = policy_class().train(training)
    policy.weight.requires_grad_(False)
    _leaves_no_trace(name, policy, torch.rand(2, 3, 4, 8), torch.ones(2, 5), policy_class is FailingPolicy)
    assert [parameter.requires_grad for parameter in policy.parameters()] == [False, True, True, True, True]


def _leaves_no_trace(name, policy, frame, state, fails=False):
    training, frame_before, state_before = policy.training, frame.clone(), state.clone()
    random_before = torch.random.get_rng_state()
    if fails and name != "visual_backprop":
        with pytest.raises(RuntimeError, match="on purpose"):
            ATTRIBUTIONS[name](policy, frame, state)
    else:
        ATTRIBUTIONS[name](policy, frame, state)
    assert torch.equal(torch.random.get_rng_state(), random_before)
    for module in policy.modules():
        assert module.training is training
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert all(parameter.grad is None for parameter in policy.parameters())
    for tensor, before in ((frame, frame_before), (state, state_before)):
        assert not tensor.requires_grad
        assert tensor.grad is None
        assert torch.equal(tensor, before)


@pytest.fixture(scope="module")
def real():
    """An LTC policy, two pictures and states that it has come to."""
    policy = build_policy(PolicyConfig("ltc"), seed=2)
    frames = torch.randint(0, 256, (2, 3, FRAME_HEIGHT_PX, FRAME_WIDTH_PX), dtype=torch.uint8,
                           generator=torch.Generator().manual_seed(4))  # fmt: skip
    with torch.no_grad():
        _, state = policy.step(frames, policy.initial_state(2), 0.05)
    return policy, frames, state


@pytest.mark.parametrize("name", ATTRIBUTIONS)
def test_attribution_of_bytes_is_that_of_the_same_floats(name, real):
    policy, frames, state = real
    maps = ATTRIBUTIONS[name](policy, frames[:1], state[:1])
    torch.testing.assert_close(maps, ATTRIBUTIONS[name](policy, frames[:1] / 255.0, state[:1]), atol=1e-5, rtol=0)
    _leaves_no_trace(name, policy, frames[:1], state[:1])


@pytest.mark.parametrize("name", [name for name in ATTRIBUTIONS if "visual_backprop" not in name])
def test_attribution_depends_on_the_state(name, real):
    policy, frames, state = real
    one, other = (ATTRIBUTIONS[name](policy, frames[:1], s) for s in (state[:1], policy.initial_state(1) + 0.8))
    assert not torch.allclose(one, other, atol=1e-3)


def test_visual_backprop_published_spreads_by_kernels_of_ones(real):
    policy, _, _ = real
    conv, small = policy.encoder.convolutions()[0], torch.zeros(1, 1, 39, 100)
    small[0, 0, 10, 20] = 1.0
    large = _enlarged(small, torch.Size((78, 200)), conv)
    # SAME padding of 5 at stride 2 over 78 x 200 is one row and column before: output 10, 20 sees 19..23, 39..43.
    rows, columns = np.nonzero(large[0, 0].numpy())
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (19, 23, 39, 43)
    picture = torch.zeros(1, 3, 78, 200, requires_grad=True)
    padded = torch.nn.functional.pad(picture, (conv.padding[1], conv.padding[3], conv.padding[0], conv.padding[2]))
    torch.nn.functional.conv2d(padded, conv.weight, conv.bias, conv.stride)[0, 3, 10, 20].backward()
    assert torch.equal((picture.grad.abs().sum(1) > 0), large[0] > 0)


def test_integrated_gradients_of_a_linear_policy_are_its_parts_and_complete():
    policy, frame = TinyPolicy(), torch.rand(2, 3, 4, 8)
    parts, gaps = signed_integrated_gradients(policy, frame, torch.full((2, 5), 0.7))
    expected = 0.7 * 0.05 * policy.weight.detach() * (frame - blurred_picture(frame))
    torch.testing.assert_close(parts, expected, atol=1e-6, rtol=0)
    assert gaps.abs().max() < 1e-6


def test_integrated_gradients_add_up_to_the_difference_from_the_blurred_picture():
    policy, env = checkpoint.load("lstm64@0"), ProceduralEnv()
    frames = np.stack([env.reset(seed=seed, options={"along_road_m": 100.0})[0] for seed in (2000, 2003, 2006)])
    pictures, state = to_tensor(frames), policy.initial_state(3)
    parts, gaps = signed_integrated_gradients(policy, pictures, state)
    with torch.no_grad():
        whole, blurred = (policy.step(x, state, 0.05)[0] for x in (pictures, blurred_picture(pictures / 255.0)))
    torch.testing.assert_close(parts.sum(dim=(1, 2, 3)), whole - blurred, atol=5e-4, rtol=0.1)
    torch.testing.assert_close(parts.sum(dim=(1, 2, 3)) - (whole - blurred), gaps, atol=1e-4, rtol=0)


def test_smooth_grad_of_a_linear_policy_is_its_gradient():
    policy, frame, state = TinyPolicy(), torch.rand(2, 3, 4, 8), torch.full((2, 5), 0.7)
    torch.testing.assert_close(smooth_grad(policy, frame, state), input_gradient(policy, frame, state))


def test_grad_cam_equals_maps_weighted_by_their_mean_gradient(real):
    policy, frames, state = real
    maps = policy.encoder.feature_maps(frames / 255.0)[-1].detach().requires_grad_()
    dense = torch.einsum("bcp,cpk->bck", maps.flatten(2), policy.encoder.dense_weight) + policy.encoder.dense_bias
    curvature, _ = policy.decode(torch.relu(dense).flatten(1).unsqueeze(1), state, torch.full((2, 1), 0.05))
    (gradient,) = torch.autograd.grad(curvature.sum(), maps)
    cam = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True).detach()
    larger = torch.nn.functional.interpolate(cam, (78, 200), mode="bilinear", align_corners=False)
    torch.testing.assert_close(grad_cam(policy, frames, state), min_max(larger.squeeze(1).abs()), atol=1e-4, rtol=0)


class Guided(torch.autograd.Function):
    """A ReLU that lets only positive gradients through where it was open."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient.clamp(min=0) * (x > 0)


class GuidedReLU(nn.Module):
    def forward(self, x):
        return Guided.apply(x)


def test_guided_backprop_stops_negative_gradients_at_every_relu_of_the_encoder(real):
    policy, frames, state = real
    other = copy.deepcopy(policy)
    other.encoder.activations = nn.ModuleList(GuidedReLU() for _ in other.encoder.activations)
    other.encoder.dense_activation = GuidedReLU()
    picture = (frames / 255.0).requires_grad_()
    (gradient,) = torch.autograd.grad(other.step(picture, state, 0.05)[0].sum(), picture)
    expected = min_max(gradient.abs().amax(dim=1))
    torch.testing.assert_close(guided_backprop(policy, frames, state), expected, atol=1e-4, rtol=0)
    assert not torch.allclose(input_gradient(policy, frames, state), expected, atol=1e-2)


def test_occlusion_is_strongest_where_all_that_counts_is_covered():
    policy = TinyPolicy(16, 40)
    with torch.no_grad():
        policy.weight.zero_()
        policy.weight[:, 8:10, 20:22] = 1.0
    frame = torch.zeros(1, 3, 16, 40)
    frame[:, :, 8:10, 20:22] = 1.0
    found = occlusion(policy, frame, torch.ones(1, 5))[0]
    assert found[8:10, 20:22].min() == 1
    assert found[:4].max() == 0
    assert found[:, :10].max() == 0


def test_through_time_ends_with_the_input_gradient_and_a_stateless_network_has_no_past(real):
    policy, frames, state = real
    film = torch.stack([frames, frames.flip(0), frames], dim=1)  # (2, 3, 3, H, W)
    maps = through_time(policy, film, state)
    with torch.no_grad():
        _, before_last = policy(film[:, :2], state, 0.05)
    torch.testing.assert_close(
        min_max(maps[:, -1]), input_gradient(policy, film[:, -1], before_last), atol=1e-4, rtol=0
    )
    shares = memory_shares(maps)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2))
    assert (shares[:, 0] > 0).all()
    stateless = build_policy(PolicyConfig("feedforward"), seed=2)
    alone = memory_shares(through_time(stateless, film, stateless.initial_state(2)))
    torch.testing.assert_close(alone, torch.tensor([[0.0, 0.0, 1.0]] * 2))


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
    size = (FRAME_HEIGHT_PX // 2, FRAME_WIDTH_PX // 2) if name in SLOW else (FRAME_HEIGHT_PX, FRAME_WIDTH_PX)
    policy = build_policy(PolicyConfig(core=core, height_px=size[0], width_px=size[1]), seed=2)
    frame = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(4))
    attention = ATTRIBUTIONS[name](policy, frame, policy.initial_state(2))
    assert attention.shape == (2, *size)
    assert torch.isfinite(attention).all()
    torch.testing.assert_close(attention.amin(dim=(1, 2)), torch.zeros(2))
    torch.testing.assert_close(attention.amax(dim=(1, 2)), torch.ones(2))
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_class_shares_add_up_and_an_even_map_has_those_of_the_picture():
    classes = np.array([[0, 0, 2], [2, 1, 2]])
    even = class_shares(np.full((2, 3), 0.4), classes, 4)
    np.testing.assert_allclose(even, [2 / 6, 1 / 6, 3 / 6, 0])
    maps = np.array([[[1.0, 0, 3], [0, 4, 0]], [[0.0, 0, 0], [0, 0, 0]]])
    shares = class_shares(maps, np.stack([classes, classes]), 3)
    np.testing.assert_allclose(shares[0], [1 / 8, 4 / 8, 3 / 8])
    assert np.isnan(shares[1]).all()


def test_rank_accuracy_counts_the_brightest_pixels_and_shares_ties():
    mask = np.array([[True, True, False, False]])
    assert rank_accuracy(np.array([[4.0, 1, 3, 0]]), mask) == 0.5
    assert rank_accuracy(np.array([[4.0, 3, 1, 0]]), mask) == 1.0
    assert rank_accuracy(np.full((1, 4), 0.2), mask) == 0.5  # what an even map scores: the mask's share
    assert rank_accuracy(np.array([[5.0, 1, 1, 1]]), mask) == pytest.approx((1 + 1 / 3) / 2)
    assert np.isnan(rank_accuracy(np.zeros((1, 4)), mask))
    assert np.isnan(rank_accuracy(np.ones((1, 4)), np.zeros((1, 4), bool)))
    both = rank_accuracy(np.array([[[4.0, 1, 3, 0]], [[4.0, 3, 1, 0]]]), np.stack([mask, mask]))
    np.testing.assert_array_equal(both, [0.5, 1.0])


def test_pointing_hit_is_where_the_brightest_pixel_lies():
    maps = np.array([[[0.0, 2.0], [1.0, 0.0]], [[3.0, 2.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    mask = np.array([[[False, True], [False, False]]] * 3)
    np.testing.assert_array_equal(pointing_hit(maps, mask), [1.0, 0.0, np.nan])


def test_centre_of_two_points_lies_between_them():
    maps = np.zeros((2, 5, 9))
    maps[0, 1, 2], maps[0, 3, 8] = 3.0, 1.0
    np.testing.assert_allclose(centre_px(maps)[0], [(2 * 3 + 8) / 4, (1 * 3 + 3) / 4])
    assert np.isnan(centre_px(maps)[1]).all()


def test_evenness_is_one_for_an_even_map_and_zero_for_a_point():
    point = np.zeros((4, 6))
    point[2, 3] = 0.7
    half = np.zeros((4, 6))
    half[:2] = 0.1
    maps = np.stack([np.full((4, 6), 0.2), point, half, np.zeros((4, 6))])
    np.testing.assert_allclose(evenness(maps), [1.0, 0.0, np.log(12) / np.log(24), np.nan], atol=1e-12)


def test_rank_similarity_agrees_with_scipy_and_sees_order_alone():
    rng = np.random.default_rng(3)
    one, other = rng.random((2, 3, 11, 12))
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(rank_similarity(one, other), expected)
    assert rank_similarity(one[0], one[0] ** 3) == pytest.approx(1.0)
    assert np.isnan(rank_similarity(one[0], np.ones((11, 12))))


def test_class_effects_are_those_of_covering_every_pixel_of_a_class():
    policy, frames = TinyPolicy(), torch.rand(2, 3, 4, 8)
    classes = torch.randint(0, 3, (2, 4, 8), generator=torch.Generator().manual_seed(1)) * 2  # 0, 2, 4
    state = torch.full((2, 5), 0.7)
    found = class_effects(policy, frames, state, classes, 6)
    assert found.shape == (2, 6)
    for i in range(2):
        for k in range(6):
            covered = torch.where(classes[i] == k, frames[i].mean(dim=(1, 2), keepdim=True), frames[i])
            whole, other = (policy.step(x[None], state[:1], 0.05)[0] for x in (frames[i], covered))
            assert found[i, k] == pytest.approx(float((whole - other).detach()), abs=1e-6)
    assert (found[:, [1, 3, 5]] == 0).all()
