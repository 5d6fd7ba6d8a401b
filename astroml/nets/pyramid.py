"""An image pyramid whose layers keep amounts: an encoder, a decoder, and a look at some places.

Nothing here normalises over the image. What is said of a place then depends on its surroundings
alone, whatever the size of the image, and how many galaxies there are is not divided out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate


def convolution(inside: int, outside: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps the variance of what comes from a ReLU (He et al. 2015)."""
    made = nn.Conv2d(inside, outside, size, stride, size // 2)
    nn.init.kaiming_normal_(made.weight, nonlinearity="relu")
    nn.init.zeros_(made.bias)
    return made


class Plain(nn.Module):
    """Two 3x3 convolutions and a way around them, without any normalisation."""

    def __init__(self, channels: int):
        super().__init__()
        self.first, self.second = convolution(channels, channels), convolution(channels, channels)
        # Each block starts as its way around: without normalisation, depth has to grow slowly.
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, y, x) to the same."""
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class Pyramid(nn.Module):
    """An encoder that halves the image again and again, and a decoder back to its first level.

    Parameters
    ----------
    inside : int
        Channels that come in.
    planes : tuple of int
        Channels of each level; the first has half the side of what comes in, each next half of
        the one before.
    blocks : int
        Residual blocks per level, but for the first, which is large.
    fine : int
        Channels of the decoder (a feature pyramid: Lin et al. 2017).
    """

    def __init__(self, inside: int, planes: tuple[int, ...], blocks: int, fine: int):
        super().__init__()
        before = (inside, *planes[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(
                convolution(a, b, 3, 2),
                nn.ReLU(),
                *(Plain(b) for _ in range(blocks if at else 0)),
            )
            for at, (a, b) in enumerate(zip(before, planes))
        )
        self.side = nn.ModuleList(nn.Conv2d(one, fine, 1) for one in planes)
        self.mix = nn.ModuleList(convolution(fine, fine) for _ in planes[:-1])
        self.features = fine + sum(planes[1:])
        """Numbers that ``at`` returns of a place."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (n, inside, y, x) to the decoder's last image, then the encoder's but for its first.

        y and x must be multiples of 2 to the number of levels.
        """
        levels = []
        for stage in self.down:
            x = stage(x)
            levels.append(x)
        fine = self.side[-1](x)
        for level in range(len(levels) - 2, -1, -1):
            side = self.side[level](levels[level])
            fine = interpolate(fine, side.shape[-2:], mode="bilinear", align_corners=False)
            fine = torch.relu(self.mix[level](torch.relu(fine + side)))
        return [fine, *levels[1:]]

    def at(self, levels: list[Tensor], place: Tensor) -> Tensor:
        """Return what the levels hold at some places, linear between their pixels.

        Parameters
        ----------
        levels : list of (n, channel, y, x) tensors
            Of ``forward``.
        place : (n, k, 2) tensor
            x and y as parts of the image's sides, 0 to 1.

        Returns
        -------
        (n, k, features) tensor
        """
        grid = (2 * place - 1)[:, :, None]
        found = [
            grid_sample(one.float(), grid, "bilinear", "border", align_corners=False)[..., 0]
            for one in levels
        ]
        return torch.cat(found, 1).mT
