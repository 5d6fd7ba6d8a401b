"""Pieces of networks for small cutouts; none of them mixes the members of a batch.

A trunk turns an image into a last, small image of many channels (``maps``, ``planes`` of them) and
that into numbers (``pooled``, ``features`` of them).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalise within a cutout, in groups of about eight channels."""
    return nn.GroupNorm(math.gcd(channels, max(1, channels // 8)), channels)


def pooled(maps: Tensor) -> Tensor:
    """Return mean and maximum of each channel over the last image, (n, 2 planes)."""
    return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)


class Residual(nn.Module):
    """Two 3x3 convolutions and a way around them.

    Parameters
    ----------
    inside, outside : int
        Channels of input and output.
    stride : int
        1, or 2 to halve the image.
    """

    def __init__(self, inside: int, outside: int, stride: int = 1):
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([group_norm(outside), group_norm(outside)])
        self.around = (
            nn.Identity()
            if stride == 1 and inside == outside
            else nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True), nn.Conv2d(inside, outside, 1, bias=False)
            )
        )
        # Each block starts as its way around: the network begins shallow and deepens.
        nn.init.zeros_(self.norms[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inside, y, x) to (n, outside, y / stride, x / stride)."""
        inner = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(self.around(x) + self.norms[1](self.second(inner)))


class SmallResNet(nn.Module):
    """A residual network for cutouts of 32 px and more.

    The stem halves the image once; each stage after the first halves it again and doubles the
    channels.

    Parameters
    ----------
    channels : int
        Channels of the input.
    width : int
        Channels of the first stage.
    blocks : int
        Residual blocks per stage.
    stages : int
        Number of stages.
    """

    def __init__(self, channels: int, width: int, blocks: int = 1, stages: int = 4):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 5, 2, 2, bias=False), group_norm(width), nn.ReLU()
        )
        body, inside = [], width
        for stage in range(stages):
            outside = width * 2**stage
            for block in range(blocks):
                body.append(Residual(inside, outside, 2 if stage and not block else 1))
                inside = outside
        self.body = nn.Sequential(*body)
        self.planes = inside
        """Channels of the last image."""
        self.features = 2 * inside
        """Numbers that come out per cutout."""

    def maps(self, x: Tensor) -> Tensor:
        """Map (n, channels, y, x) to the last image, (n, planes, y / 2^stages, x / 2^stages)."""
        return self.body(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, y, x) to (n, features)."""
        return pooled(self.maps(x))
