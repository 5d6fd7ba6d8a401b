"""The lens finder's network."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from astroml.nets.blocks import SmallResNet
from astroml.nets.contrast import RadialContrast, colour_contrast
from astroml.tasks.lens import LABEL, Options


class LensFinder(nn.Module):
    """A small residual network that sees the image and what the lens galaxy leaves of it."""

    def __init__(self, options: Options, bands: int, size: int):
        super().__init__()
        self.radial = RadialContrast(size)
        self.trunk = SmallResNet(3 * bands, options.width, options.blocks)
        self.head = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(self.trunk.features, 1))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Map ``image`` (n, band, y, x), with ``valid``, to ``lens_logit`` (n,)."""
        image, valid = batch["image"], batch["valid"]
        # Divided so that all three are of order one.
        seen = torch.cat(
            [image / 3, colour_contrast(image) * valid / 2, self.radial(image, valid) / 2], dim=1
        )
        return {"lens_logit": self.head(self.trunk(seen))[:, 0]}


def build(options: Options, bands: tuple[str, ...], size: int) -> nn.Module:
    """Build the network for some bands and a cutout side in px."""
    return LensFinder(options, len(bands), size)


def objectives(net: nn.Module, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the one loss: cross entropy, the rarer class weighted up."""
    truth = batch[LABEL]
    logit = net(batch)["lens_logit"]
    lenses = truth.sum()
    # Weights of the batch at hand; one added to each count keeps a batch of one class finite.
    weight = (len(truth) - lenses + 1) / (lenses + 1)
    yield "net", binary_cross_entropy_with_logits(logit, truth, pos_weight=weight)
