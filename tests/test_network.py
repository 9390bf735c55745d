"""The 2015 network by hand-checked facts, the modern forms by what holds for all of them."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from unetkit.network import NetworkConfig, UNet, count_parameters, probabilities

PAPER = NetworkConfig(ndim=2, channels=1, classes=2, padding="valid", norm="none")


def build(**choices):
    torch.manual_seed(0)
    config = {"ndim": 2, "channels": 1, "classes": 2, "width": 4, **choices}
    return UNet(NetworkConfig(**config)).eval()


def test_parameters_of_the_2015_network_counted_by_hand():
    # Weights and biases of every layer: out · (in · 3 · 3 + 1) per convolution, out · (in · 2 · 2)
    # + out per up-convolution, out · (in + 1) for the head.
    def conv(i, o):
        return o * (i * 9 + 1)

    down = sum(conv(i, o) + conv(o, o) for i, o in [(1, 64), (64, 128), (128, 256), (256, 512)])
    bottom = conv(512, 1024) + conv(1024, 1024)
    up = sum(o * 2 * o * 4 + o + conv(2 * o, o) + conv(o, o) for o in (512, 256, 128, 64))
    by_hand = down + bottom + up + 2 * (64 + 1)
    assert by_hand == 31_030_658
    with torch.device("meta"):
        assert count_parameters(UNet(PAPER)) == by_hand


def test_the_2015_network_has_23_convolutional_layers():
    with torch.device("meta"):
        network = UNet(PAPER)
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    assert sum(isinstance(module, kinds) for module in network.modules()) == 23


@pytest.mark.parametrize(("depth", "size", "out"), [
    (1, 20, 4), (2, 60, 20), (3, 140, 52), (4, 572, 388), (5, 412, 36),
])  # fmt: skip
def test_output_sizes_of_valid_convolutions(depth, size, out):
    network = build(depth=depth, padding="valid", norm="none", width=1)
    assert network(torch.zeros(1, 1, size, size)).shape == (1, 2, out, out)


def test_initialisation_has_the_paper_s_deviation():
    torch.manual_seed(0)
    network = UNet(NetworkConfig(ndim=2, channels=1, classes=2, depth=1, width=64, norm="none"))
    for weight, incoming in [
        (network.encoder[0].conv2.weight, 9 * 64),
        (network.up[0].conv.weight, 128),
    ]:
        assert weight.std().item() == pytest.approx((2 / incoming) ** 0.5, rel=0.03)
        assert weight.mean().item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("upsampling", ["transposed", "nearest", "linear"])
@pytest.mark.parametrize(("block", "attention"), [("plain", False), ("residual", True)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_every_form_has_the_size_its_footprint_says(norm, upsampling, block, attention, padding):
    network = build(
        norm=norm, upsampling=upsampling, block=block, attention=attention, padding=padding,
        depth=2, skips="10",
    )  # fmt: skip
    size = network.footprint.fit((60, 75))
    assert network(torch.randn(1, 1, *size)).shape[2:] == network.footprint.shrink(size)


@pytest.mark.parametrize("size", [(1, 1), (7, 50), (33, 31)])
def test_any_size_is_padded_and_cropped_back(size):
    assert build(depth=4)(torch.randn(1, 1, *size)).shape == (1, 2, *size)
    assert build(depth=2, padding="valid")(torch.randn(1, 1, 67, 59)).shape == (1, 2, 27, 19)


def test_three_dimensions_with_strides_per_axis():
    network = build(ndim=3, depth=3, strides=[(1, 2, 2), 2, (1, 2, 2)])
    assert network.footprint.stride == (2, 8, 8)
    assert network(torch.randn(1, 1, 5, 17, 20)).shape == (1, 2, 5, 17, 20)
    assert build(ndim=3, depth=2, padding="valid")(torch.randn(1, 1, 44, 52, 60)).shape[2:] == (
        4,
        12,
        20,
    )


def test_a_skip_that_is_off_saves_its_channels():
    on, off = build(skips="1111"), build(skips="0111")
    assert off.decoder[0].conv1.in_channels * 2 == on.decoder[0].conv1.in_channels
    x = torch.randn(1, 1, 32, 32)
    hidden = []
    off.encoder[0].register_forward_hook(lambda *_: hidden.append(1))
    assert off(x).shape == on(x).shape


def test_deep_supervision_brings_every_head_to_the_finest_size():
    for padding, size in [("same", 45), ("valid", 100)]:
        network = build(depth=3, deep_supervision=True, padding=padding)
        scales = network.scales(torch.randn(1, 1, size, size))
        assert len(scales) == 3
        assert {s.shape for s in scales} == {scales[0].shape}
    torch.testing.assert_close(scales[0], network(torch.zeros(1, 1, size, size)) * 0 + scales[0])


def test_checkpointing_changes_memory_but_not_gradients():
    plain, saving = build(norm="none"), build(norm="none", checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    x = torch.randn(1, 1, 32, 32)
    for network in (plain, saving):
        network.train()(x).square().mean().backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_dropout_is_in_the_contracting_path_only_and_by_level():
    network = build(depth=2, dropout=(0.0, 0.1, 0.5))
    rates = [getattr(level.dropout, "p", 0.0) for level in network.encoder]
    assert rates == [0.0, 0.1, 0.5]
    assert all(isinstance(level.dropout, nn.Identity) for level in network.decoder)


def test_state_has_no_module_twice():
    network = build(attention=True, deep_supervision=True, block="residual")
    names = {n for n, _ in network.named_parameters()} | {n for n, _ in network.named_buffers()}
    assert set(network.state_dict()) == names
    assert len({p.data_ptr() for p in network.parameters()}) == len(list(network.parameters()))


def test_heads():
    logits = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(probabilities(logits, "softmax").sum(1), torch.ones(2, 4, 4))
    torch.testing.assert_close(probabilities(logits, "sigmoid"), torch.sigmoid(logits))
    assert NetworkConfig(classes=1).activation == "sigmoid"
    assert NetworkConfig(classes=2).activation == "softmax"


@pytest.mark.parametrize("choices", [
    {"depth": 3, "skips": "1111"}, {"skips": "12"}, {"dropout": 1.5}, {"dropout": (0.1, 0.2)},
    {"strides": [2, 2]}, {"depth": 7}, {"widht": 3},
])  # fmt: skip
def test_inconsistent_choices_are_refused(choices):
    with pytest.raises(ValidationError):
        NetworkConfig(**choices)
