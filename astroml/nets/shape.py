"""What marked pixels are, told by their shape and place."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from astroml.nets.blocks import group_norm

SIDE = 64
"""Side of what is looked at, px."""

FAINTLY = 0.1
"""How much of what is not marked is seen: an unsure mask must not hide all."""


class Shape(nn.Module):
    """Tell marked pixels by their shape: thin or filled, around the host or away from it.

    Parameters
    ----------
    channels : int
        Of the maps beside the mark.
    width : int
        Channels of the first layer.
    features : int
        Numbers that are made of it.
    """

    def __init__(self, channels: int, width: int, features: int):
        super().__init__()
        planes = [1 + channels, width, 2 * width, 4 * width, 4 * width]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(inside, outside, 3, 1 if at == 3 else 2, 1, bias=False),
                    group_norm(outside),
                    nn.ReLU(),
                )
                for at, (inside, outside) in enumerate(pairwise(planes))
            )
        )
        # Where it lies counts: pooled over the image, a ring's arc is like a spiral's.
        self.dense = nn.Sequential(nn.Linear(planes[-1] * (SIDE // 8) ** 2, features), nn.ReLU())

    def forward(self, marked: Tensor, maps: Tensor) -> Tensor:
        """Map pixels marked (n, 1, y, x), 0 to 1, of any side, to (n, features).

        ``maps`` (n, channel, SIDE, SIDE) are what is seen there, see ``small``.
        """
        marked = small(marked)
        seen = torch.cat([marked, maps * (FAINTLY + marked)], 1)
        return self.dense(self.layers(seen).flatten(1))


def small(maps: Tensor) -> Tensor:
    """Return maps (n, channel, y, x) averaged, or repeated, to ``SIDE``."""
    return adaptive_avg_pool2d(maps, SIDE)
