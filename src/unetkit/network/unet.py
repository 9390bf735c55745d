"""The U-Net: one class for the 2015 network and its modern forms, in 2D and 3D.

A level is two 3×3(×3) convolutions. The contracting path pools after each level and doubles the
channels; the expanding path upsamples, takes over the contracting path's map of the same level (the
skip connection) and convolves again; a 1×1 convolution gives one channel per class.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from unetkit.geometry import mirror
from unetkit.network.config import NetworkConfig, Norm


class UNet(nn.Module):
    """A U-Net (Ronneberger, Fischer, Brox 2015, arXiv 1505.04597) and its modern forms.

    Shapes: input (b, c, *in) of any size; output logits (b, k, *out), where `out` equals `in` with
    same padding and is `2 · margin` smaller on every axis with valid convolutions. An input size
    that does not fit the pooling is continued by mirroring and the output is cropped back.

    Example:
        >>> net = UNet(NetworkConfig(ndim=2, channels=1, classes=2, width=4, padding="valid"))
        >>> tuple(net(torch.zeros(1, 1, 572, 572)).shape)
        (1, 2, 388, 388)
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        if config.ndim is None or config.channels is None or config.classes is None:
            raise ValueError("network.ndim, channels and classes must be set before it is built")
        self.config = config
        self.footprint = config.footprint
        depth, ndim = config.depth, config.ndim
        widths = [config.width * 2**level for level in range(depth + 1)]
        rates = (
            config.dropout if isinstance(config.dropout, tuple) else (config.dropout,) * (depth + 1)
        )
        self.skips = [digit == "1" for digit in config.skips or "1" * depth]

        incoming = [config.channels, *widths]
        self.encoder = nn.ModuleList(
            Level(config, incoming[i], widths[i], rates[i]) for i in range(depth + 1)
        )
        self.pool = nn.ModuleList(
            _layer("MaxPool", ndim)(factor, factor) for factor in config.factors
        )
        self.up = nn.ModuleList(
            Up(config, widths[i + 1], widths[i], config.factors[i]) for i in range(depth)
        )
        self.gate = nn.ModuleDict(
            {
                str(i): Gate(config, widths[i])
                for i in range(depth)
                if config.attention and self.skips[i]
            }
        )
        self.decoder = nn.ModuleList(
            Level(config, widths[i] * (2 if self.skips[i] else 1), widths[i]) for i in range(depth)
        )
        heads = depth if config.deep_supervision else 1
        convolution = _layer("Conv", ndim)
        self.head = nn.ModuleList(convolution(widths[i], config.classes, 1) for i in range(heads))
        self.apply(_initialise)

    @property
    def layout(self) -> torch.memory_format:
        """The memory format that convolutions are fastest in: channels last."""
        return torch.channels_last if self.config.ndim == 2 else torch.channels_last_3d

    def place(self, device: torch.device) -> UNet:
        """Move to a device, weights channels last; returns itself."""
        module: Any = self.to(device)  # torch's stubs do not know .to(memory_format=…)
        placed: UNet = module.to(memory_format=self.layout)
        return placed

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the finest head, (b, c, *in) → (b, k, *out)."""
        x, size = self._fit(x)
        return _start(self.head[0](self._paths(x)[0]), size)

    def scales(self, x: Tensor) -> list[Tensor]:
        """Logits of every head, finest first, each brought to the size of the finest.

        Deep supervision trains on all of them; without it there is one.
        """
        x, size = self._fit(x)
        maps = self._paths(x)
        logits = [head(m) for head, m in zip(self.head, maps, strict=False)]
        full = list(logits[0].shape[2:])
        mode = "bilinear" if self.config.ndim == 2 else "trilinear"
        for level in range(1, len(logits)):
            scale = [math.prod(f) for f in zip(*self.config.factors[:level], strict=True)]
            grown = [n * s for n, s in zip(logits[level].shape[2:], scale, strict=True)]
            coarse = F.interpolate(logits[level], size=grown, mode=mode, align_corners=False)
            logits[level] = _centre(coarse, full)
        return [_start(one, size) for one in logits]

    def _paths(self, x: Tensor) -> list[Tensor]:
        """Feature maps of the expanding path, finest level first."""
        depth = self.config.depth
        passed: list[Tensor] = []
        for level in range(depth):
            x = self._run(self.encoder[level], x)
            passed.append(x)
            x = self.pool[level](x)
        x = self._run(self.encoder[depth], x)
        maps: list[Tensor] = []
        for level in reversed(range(depth)):
            x = self.up[level](x)
            if self.skips[level]:
                skip = _centre(passed[level], list(x.shape[2:]))
                if self.config.attention:
                    skip = self.gate[str(level)](skip, x)
                x = torch.cat((skip, x), dim=1)
            x = self._run(self.decoder[level], x)
            maps.insert(0, x)
        return maps

    def _run(self, level: nn.Module, x: Tensor) -> Tensor:
        if self.config.checkpointing and self.training and torch.is_grad_enabled():
            result: Tensor = checkpoint(level, x, use_reentrant=False)
            return result
        out: Tensor = level(x)
        return out

    def _fit(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """Continue `x` to a legal size by mirroring; give also the output size to crop back to."""
        size = [n - 2 * lost for n, lost in zip(x.shape[2:], self.footprint.lost, strict=True)]
        if any(n < 1 for n in size):
            self.footprint.require(x.shape[2:])
        legal = self.footprint.fit(x.shape[2:])
        for axis, (n, wanted) in enumerate(zip(x.shape[2:], legal, strict=True), start=2):
            if wanted != n:
                index = torch.from_numpy(mirror(0, wanted, n)).to(x.device)
                x = x.index_select(axis, index)
        return x, size


class Level(nn.Module):
    """Two convolutions with normalisation and ReLU, optionally residual, then dropout."""

    def __init__(
        self, config: NetworkConfig, incoming: int, width: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        ndim = config.ndim or 2
        convolution = _layer("Conv", ndim)
        padding = 1 if config.padding == "same" else 0
        plain = config.norm == "none"  # a bias before a normalisation would be subtracted again
        self.conv1 = convolution(incoming, width, 3, padding=padding, bias=plain)
        self.norm1 = _norm(config.norm, ndim, width)
        self.conv2 = convolution(width, width, 3, padding=padding, bias=plain)
        self.norm2 = _norm(config.norm, ndim, width)
        self.shortcut = convolution(incoming, width, 1) if config.block == "residual" else None
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, *in) → (b, width, *out)."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        if self.shortcut is not None:
            y = y + _centre(self.shortcut(x), list(y.shape[2:]))
        out: Tensor = self.dropout(F.relu(y, inplace=True))
        return out


class Up(nn.Module):
    """Upsampling by the level's factors that halves the channels."""

    def __init__(
        self, config: NetworkConfig, incoming: int, width: int, factor: tuple[int, ...]
    ) -> None:
        super().__init__()
        ndim = config.ndim or 2
        self.factor = factor
        self.mode: str | None = None
        if config.upsampling == "transposed":
            self.conv = _layer("ConvTranspose", ndim)(incoming, width, factor, factor)
        else:
            linear = "bilinear" if ndim == 2 else "trilinear"
            self.mode = "nearest" if config.upsampling == "nearest" else linear
            self.conv = _layer("Conv", ndim)(incoming, width, 1)
        # Linear interpolation at the rim would look at pixels that valid convolutions do not have.
        rim = config.upsampling == "linear" and config.padding == "valid"
        self.rim = tuple(int(rim and f > 1) for f in factor)

    def forward(self, x: Tensor) -> Tensor:
        """(b, 2w, *in) → (b, w, *in × factor)."""
        x = self.conv(x)
        if self.mode is not None:
            corners = None if self.mode == "nearest" else False
            scale = [float(f) for f in self.factor]
            x = F.interpolate(x, scale_factor=scale, mode=self.mode, align_corners=corners)
        return _centre(x, [n - 2 * r for n, r in zip(x.shape[2:], self.rim, strict=True)])


class Gate(nn.Module):
    """Additive attention: the coarser level says where the skip matters (Oktay 2018, eq. 1)."""

    def __init__(self, config: NetworkConfig, width: int) -> None:
        super().__init__()
        convolution = _layer("Conv", config.ndim or 2)
        inner = max(1, width // 2)
        self.skip = convolution(width, inner, 1, bias=False)
        self.signal = convolution(width, inner, 1)
        self.weight = convolution(inner, 1, 1)

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        """Scale `skip` (b, w, *in) by weights in 0..1 that `signal` (b, w, *in) decides."""
        hidden = F.relu(self.skip(skip) + self.signal(signal), inplace=True)
        return skip * torch.sigmoid(self.weight(hidden))


def probabilities(logits: Tensor, head: Literal["softmax", "sigmoid"]) -> Tensor:
    """Turn logits (b, k, *space) into probabilities of the same shape, in fp32."""
    logits = logits.float()
    return torch.softmax(logits, dim=1) if head == "softmax" else torch.sigmoid(logits)


def count_parameters(network: nn.Module) -> int:
    """Count trainable numbers: weights and biases, not the running statistics of norms."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _layer(name: str, ndim: int) -> Any:
    return getattr(nn, f"{name}{ndim}d")


def _norm(norm: Norm, ndim: int, width: int) -> nn.Module:
    match norm:
        case "batch":
            module: nn.Module = _layer("BatchNorm", ndim)(width)
        case "instance":
            module = _layer("InstanceNorm", ndim)(width, affine=True)
        case "group":
            module = nn.GroupNorm(math.gcd(8, width), width)
        case "none":
            module = nn.Identity()
    return module


def _initialise(module: nn.Module) -> None:
    """He et al. 2015: Gaussian of deviation √(2/N), N the incoming nodes of one neuron."""
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        incoming = module.in_channels * math.prod(module.kernel_size)
    elif isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d):
        incoming = module.in_channels  # kernel = stride: each output pixel sees each input once
    else:
        return
    nn.init.normal_(module.weight, std=math.sqrt(2 / incoming))
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _centre(x: Tensor, size: list[int]) -> Tensor:
    """Crop (b, c, *in) to its centre of `size`."""
    for axis, wanted in enumerate(size, start=2):
        surplus = x.shape[axis] - wanted
        if surplus:
            x = x.narrow(axis, surplus // 2, wanted)
    return x


def _start(x: Tensor, size: list[int]) -> Tensor:
    """Crop what was added at the far end."""
    for axis, wanted in enumerate(size, start=2):
        if x.shape[axis] != wanted:
            x = x.narrow(axis, 0, wanted)
    return x
