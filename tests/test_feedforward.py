import pytest
import torch
from torch import nn

from driving.models.encoder import EncoderConfig, whiten
from driving.models.feedforward import FeedforwardConfig, FeedforwardCore, PaperCNNEncoder, PilotNetEncoder
from driving.models.policy import PolicyConfig, build_policy
from sim.errors import BadInputError


@pytest.mark.parametrize(
    ("encoder", "height_px", "n_features", "n_parameters"),
    [
        ("cnn", 78, 4 * 19 * 64, 5_068_900),  # Lechner et al. 2020
        ("pilotnet", 66, 1_152, 252_219),  # Bojarski et al. 2016: "about 250 thousand"
        ("pilotnet", 78, 3_456, 482_619),
    ],
)
def test_feedforward_network_has_the_published_number_of_parameters(encoder, height_px, n_features, n_parameters):
    policy = build_policy(PolicyConfig("feedforward", encoder=encoder, height_px=height_px))
    assert policy.core.config.n_inputs == n_features
    assert sum(p.numel() for p in policy.parameters()) == n_parameters


def test_feedforward_pilotnet_maps_have_the_sizes_of_its_paper():
    shapes = [
        tuple(m.shape[1:]) for m in PilotNetEncoder(EncoderConfig(66, 200)).feature_maps(torch.rand(1, 3, 66, 200))
    ]
    assert shapes == [(24, 31, 98), (36, 14, 47), (48, 5, 22), (64, 3, 20), (64, 1, 18)]


@pytest.mark.parametrize("encoder_class", [PaperCNNEncoder, PilotNetEncoder])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_feedforward_network_agrees_with_a_torch_sequential(encoder_class, dtype, tolerance):
    encoder = encoder_class(EncoderConfig(66, 75)).to(dtype)
    core = FeedforwardCore(FeedforwardConfig(encoder.n_features(encoder.config), "7-5")).to(dtype)
    layers: list[nn.Module] = []
    for conv in encoder.convs:
        layers += [conv, nn.ReLU()]
    layers.append(nn.Flatten())
    for dense in core.hidden:
        layers += [dense, nn.ReLU()]
    frames = torch.rand(3, 3, 66, 75, generator=torch.Generator().manual_seed(2)).to(dtype)
    expected = core.readout(nn.Sequential(*layers)(whiten(frames)))
    output, _ = core(encoder(frames), core.initial_state(3), torch.full((3,), 0.05, dtype=dtype))
    torch.testing.assert_close(output, expected, atol=tolerance, rtol=tolerance)


def test_feedforward_core_has_no_memory_and_no_time():
    core = FeedforwardCore()
    features = torch.rand(2, 4, 32)
    outputs, state = core.forward_sequence(features, core.initial_state(2), torch.full((2, 4), 0.05))
    for t in (3, 0, 2):
        alone, hidden = core(features[:, t], torch.full((2, 10), 9.0), torch.full((2,), 7.0))
        torch.testing.assert_close(alone, outputs[:, t])
    assert hidden.shape == state.shape == (2, 10)
    assert (state >= 0).all()


def test_feedforward_maps_are_of_one_picture_each_and_input_is_kept():
    encoder = PilotNetEncoder(EncoderConfig(66, 75))
    frames = torch.rand(2, 3, 66, 75)
    given = frames.clone()
    together = encoder(frames)
    assert torch.equal(frames, given)
    torch.testing.assert_close(together[1:], encoder(frames[1:]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("height_px", "width_px"), [(18, 30), (64, 200), (66, 20)])
def test_feedforward_encoder_rejects_pictures_too_small_for_its_layers(height_px, width_px):
    if (height_px, width_px) == (64, 200):
        assert PilotNetEncoder.n_features(EncoderConfig(64, 200)) == 1_152  # still one row
        return
    with pytest.raises(BadInputError, match="larger pictures"):
        PilotNetEncoder(EncoderConfig(height_px, width_px))


def test_feedforward_encoder_rejects_other_sizes():
    with pytest.raises(BadInputError, match=r"\(B, 3, 66, 75\)"):
        PaperCNNEncoder(EncoderConfig(66, 75))(torch.rand(1, 3, 66, 76))


@pytest.mark.parametrize(
    "setting",
    [{"layers": ""}, {"layers": "10,5"}, {"layers": "0-5"}, {"layers": "9999"}, {"layers": "-".join(["3"] * 17)},
     {"layers": 5}, {"n_inputs": 0}, {"output_bias": 1}],
)  # fmt: skip
def test_feedforward_config_rejects_impossible_settings(setting):
    with pytest.raises(BadInputError, match=next(iter(setting))):
        FeedforwardConfig(**setting)
