"""The networks of the tools we measure ourselves beside, as they are published.

* `Milesial`: milesial/Pytorch-UNet with its defaults (transposed convolutions, batch norm), written
  afresh from its published architecture because it is no package.
* `basic_unet`: MONAI's `BasicUNet` with its defaults, features scaled to the width.
* `plain_conv_unet`: nnU-Net's PlainConvUNet as its 2D plans set it (instance norm, leaky ReLU,
  strided convolutions, two convolutions a stage), from the package
  `dynamic-network-architectures` where it can be imported; else written afresh, and said so.
  (`pip install --no-deps dynamic-network-architectures`: it needs nothing but PyTorch and NumPy.)

Width is the number of channels of the first level; levels below double it. All have four
poolings, so that nobody is given less to do: nnU-Net's own plan for 512² would go two or three
levels deeper and stop at 512 channels.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 5


class Milesial(nn.Module):
    """The network of milesial/Pytorch-UNet: one logit per class."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        self.down = nn.ModuleList(
            MilesialBlock(a, b) for a, b in zip([channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[:-1])
        self.merge = nn.ModuleList(MilesialBlock(2 * w, w) for w in widths[:-1])
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, y, x) → (b, k, y, x)."""
        passed = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            passed.append(x)
        for level in reversed(range(LEVELS - 1)):
            x = self.merge[level](torch.cat([passed[level], self.up[level](x)], dim=1))
        out: Tensor = self.head(x)
        return out


class MilesialBlock(nn.Sequential):
    """Convolution, batch norm and ReLU, twice."""

    def __init__(self, incoming: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(incoming, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )


def basic_unet(channels: int, classes: int, width: int) -> tuple[nn.Module, str]:
    """Give MONAI's BasicUNet and where it came from.

    Raises:
        ImportError: MONAI is not installed.
    """
    from monai.networks.nets import BasicUNet

    # the defaults (32, 32, 64, 128, 256, 32), scaled
    features = (width, width, 2 * width, 4 * width, 8 * width, width)
    network: nn.Module = BasicUNet(2, channels, classes, features)
    return network, f"monai {version('monai')}"


def plain_conv_unet(channels: int, classes: int, width: int) -> tuple[nn.Module, str]:
    """Give nnU-Net's PlainConvUNet and where it came from."""
    try:
        from dynamic_network_architectures.architectures.unet import PlainConvUNet
    except ImportError:
        source = "written afresh from the published architecture: its package is not installed"
        return Plain(channels, classes, width), source
    network: nn.Module = PlainConvUNet(
        input_channels=channels,
        n_stages=LEVELS,
        features_per_stage=[width * 2**level for level in range(LEVELS)],
        conv_op=nn.Conv2d,
        kernel_sizes=3,
        strides=[1, *[2] * (LEVELS - 1)],
        n_conv_per_stage=2,
        num_classes=classes,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=False,
    )
    try:
        number = version("dynamic-network-architectures")
    except PackageNotFoundError:
        number = "of unknown version"
    return network, f"dynamic-network-architectures {number}"


class Plain(nn.Module):
    """nnU-Net's PlainConvUNet without deep supervision."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        self.down = nn.ModuleList(
            _plain_stage(a, b, stride=2 if level else 1)
            for level, (a, b) in enumerate(zip([channels, *widths], widths, strict=False))
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[:-1])
        self.merge = nn.ModuleList(_plain_stage(2 * w, w, stride=1) for w in widths[:-1])
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, y, x) → (b, k, y, x)."""
        passed = []
        for stage in self.down:
            x = stage(x)
            passed.append(x)
        for level in reversed(range(LEVELS - 1)):
            x = self.merge[level](torch.cat([self.up[level](x), passed[level]], dim=1))
        out: Tensor = self.head(x)
        return out


def _plain_stage(incoming: int, width: int, *, stride: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, step in ((incoming, stride), (width, 1)):
        layers += [
            nn.Conv2d(channels, width, 3, step, padding=1),
            nn.InstanceNorm2d(width, affine=True),
            nn.LeakyReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
