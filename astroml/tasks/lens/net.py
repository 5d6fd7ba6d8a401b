"""The lens finder's network."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from astroml.nets.blocks import SmallResNet
from astroml.tasks.lens import LABEL, Options


class LensFinder(nn.Module):
    """A small residual network over the stretched image."""

    def __init__(self, options: Options, bands: int):
        super().__init__()
        self.trunk = SmallResNet(bands, options.width, options.blocks)
        self.head = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(self.trunk.features, 1))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Map ``image`` (n, band, y, x) to ``lens_logit`` (n,)."""
        return {"lens_logit": self.head(self.trunk(batch["image"]))[:, 0]}


def build(options: Options, bands: tuple[str, ...], size: int) -> nn.Module:
    """Build the network for some bands and a cutout side in px."""
    return LensFinder(options, len(bands))


def objectives(net: nn.Module, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the one loss: cross entropy, the rarer class weighted up."""
    truth = batch[LABEL]
    logit = net(batch)["lens_logit"]
    lenses = truth.sum()
    # Weights of the batch at hand; one added to each count keeps a batch of one class finite.
    weight = (len(truth) - lenses + 1) / (lenses + 1)
    yield "net", binary_cross_entropy_with_logits(logit, truth, pos_weight=weight)
