import numpy as np
import pytest
import torch

from driving.models.encoder import Encoder, EncoderConfig, same_padding, whiten
from sim.errors import BadInputError


@pytest.fixture
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Encoder()


def test_encoder_has_the_parameters_of_the_paper(encoder):
    assert sum(p.numel() for p in encoder.parameters()) == 79_420


def test_encoder_maps_and_features_have_the_sizes_of_the_paper(encoder):
    frames = torch.rand(2, 3, 78, 200)
    shapes = [tuple(m.shape) for m in encoder.feature_maps(frames)]
    assert shapes == [(2, 24, 39, 100), (2, 36, 20, 50), (2, 48, 10, 25), (2, 64, 10, 25), (2, 8, 10, 25)]
    assert encoder(frames).shape == (2, 32)
    assert [shape[1] for shape in shapes] == [n for n, _, _ in Encoder.LAYERS]


@pytest.mark.parametrize(("height_px", "width_px"), [(1, 1), (17, 33), (40, 64)])
def test_encoder_takes_any_picture_size(height_px, width_px):
    encoder = Encoder(EncoderConfig(height_px, width_px))
    assert encoder(torch.rand(3, 3, height_px, width_px)).shape == (3, 32)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 10, 39, 78, 200])
@pytest.mark.parametrize(("kernel", "stride"), [(5, 2), (3, 2), (3, 1)])
def test_encoder_same_padding_gives_the_rounded_up_size_with_the_odd_zero_after(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)
    assert after - before in (0, 1)


def test_encoder_first_map_samples_the_pixels_of_same_padding():
    # 4 rows, 5 columns, kernel 5, stride 2: by hand (1, 2) zeros around rows and (2, 2) around columns, so
    # the window of output (i, j) is centred on row 2 i + 1, column 2 j. A kernel with one 1 shows one pixel.
    encoder = Encoder(EncoderConfig(height_px=4, width_px=5)).double()
    with torch.no_grad():
        conv = encoder.convs[0]
        conv.weight.zero_()
        conv.bias.zero_()
        conv.weight[0, 0, 2, 2] = 1.0
        conv.weight[1, 0, 0, 0] = 1.0  # two up, two to the left of the centre
    frames = torch.arange(60, dtype=torch.float64).reshape(1, 3, 4, 5)
    white = whiten(frames)[0, 0].clamp(min=-100)
    first = encoder.feature_maps(frames)[0][0]
    np.testing.assert_allclose(first[0].detach(), white[1::2, 0::2].relu())
    by_hand = torch.zeros(2, 3, dtype=torch.float64)
    by_hand[1, 1:] = white[1, [0, 2]].relu()  # centres (3, 2) and (3, 4); all others look at the zeros
    np.testing.assert_allclose(first[1].detach(), by_hand)


def test_encoder_whitened_picture_has_mean_0_and_deviation_1():
    gain = torch.tensor([0.3, 1.0, 7.0], dtype=torch.float64).view(3, 1, 1, 1)
    white = whiten(gain * torch.rand(3, 3, 11, 17, dtype=torch.float64))
    np.testing.assert_allclose(white.mean(dim=(1, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(white.std(dim=(1, 2, 3), correction=0), 1, rtol=1e-12)


def test_encoder_features_do_not_depend_on_gain_and_offset(encoder):
    frames = torch.rand(2, 3, 78, 200)
    torch.testing.assert_close(encoder(frames * 0.3 + 0.2), encoder(frames), atol=1e-4, rtol=1e-4)


def test_encoder_even_picture_has_finite_features_and_gradient(encoder):
    frames = torch.full((1, 3, 78, 200), 0.7, requires_grad=True)
    features = encoder(frames)
    features.sum().backward()
    assert torch.isfinite(features).all()
    assert torch.isfinite(frames.grad).all()


def test_encoder_dense_layer_sees_only_its_own_map(encoder):
    frames = torch.rand(2, 3, 78, 200)
    last = encoder.feature_maps(frames)[-1]
    expected = [torch.relu(last[:, i].flatten(1) @ encoder.dense_weight[i] + encoder.dense_bias[i]) for i in range(8)]
    torch.testing.assert_close(encoder(frames), torch.cat(expected, dim=1))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_encoder_features_begin_around_0_to_1_and_alive(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Encoder()
        coarse = torch.rand(12, 3, 6, 15)
    frames = torch.nn.functional.interpolate(coarse, size=(78, 200), mode="bilinear")
    features = encoder(frames)
    assert 0.3 < features.mean() < 0.8
    assert features.max() < 3.0
    assert (features.amax(dim=0) > 0).all()
    assert features.std(dim=0).mean() > 0.05


def test_encoder_does_not_change_its_input(encoder):
    frames = torch.rand(1, 3, 78, 200)
    before = frames.clone()
    encoder(frames)
    assert torch.equal(frames, before)


def test_encoder_rejects_other_sizes(encoder):
    with pytest.raises(BadInputError, match=r"\(B, 3, 78, 200\), got \(1, 3, 80, 200\)"):
        encoder(torch.rand(1, 3, 80, 200))
    with pytest.raises(BadInputError, match="height_px"):
        EncoderConfig(height_px=0)
    with pytest.raises(BadInputError, match="width_px"):
        EncoderConfig(width_px=10**9)
