"""The lens finder's network: is it a lens, of which parameters, and is the image sound."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from astroml.nets.backbones import backbone
from astroml.nets.blocks import pooled
from astroml.nets.contrast import RadialContrast, colour_contrast
from astroml.tasks.lens import Options
from astroml.tasks.lens.parameters import ARTEFACT, LABEL, PARAMETERS

PARAMETER_WEIGHT = 0.2
"""Weight of the mean loss of the parameters against that of the classes."""

ARTEFACT_WEIGHT = 0.1
"""The same of the artefacts' loss."""

WIDEST = 7.0
"""Largest |ln variance| of a parameter: sigma is kept between 0.03 and 33 of the parameter's scale,
so that no single lens, fitted too well, outweighs the others."""

GRID = 4
"""Side of the small image in which the parameters' head still sees where things are."""


class LensFinder(nn.Module):
    """A residual network that sees the image and what the lens galaxy leaves of it.

    Parameters
    ----------
    options : Options
        Backbone, its width, dropout.
    bands : int
        Bands of the image.
    size : int
        Side of a cutout, px.
    """

    def __init__(self, options: Options, bands: int, size: int):
        super().__init__()
        self.radial = RadialContrast(size)
        self.trunk = backbone(options.backbone, 3 * bands + 1, options.width, options.blocks, size)
        self.head = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(self.trunk.features, 2))
        self.parameters_head = nn.Sequential(
            nn.Conv2d(self.trunk.planes, 32, 1),
            nn.AdaptiveAvgPool2d(GRID),
            nn.Flatten(),
            nn.Dropout(options.dropout),
            nn.Linear(32 * GRID**2, 128),
            nn.ReLU(),
            nn.Linear(128, 2 * len(PARAMETERS)),
        )

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Map ``image`` (n, band, y, x), with ``valid``, to what is said of each cutout, (n,) each.

        Returns
        -------
        dict
            ``lens_logit``, ``artefact_logit``; of each parameter ``<name>_mean`` and
            ``<name>_logvar``, the natural logarithm of the variance, in the parameter's scale.
        """
        image, valid = batch["image"], batch["valid"]
        whole = valid.to(image.dtype).mean(1, keepdim=True)
        # Divided so that all three are of order one.
        seen = torch.cat(
            [image / 3, colour_contrast(image) * valid / 2, self.radial(image, valid) / 2, whole],
            dim=1,
        )
        maps = self.trunk.maps(seen)
        # Scores of eight bits would tie, and errors of one percent be rounding.
        with torch.autocast(image.device.type, enabled=False):
            maps = maps.float()
            logits = self.head(pooled(maps))
            means, raw = self.parameters_head(maps).chunk(2, dim=1)
            logvar = WIDEST * torch.tanh(raw / WIDEST)
        output = {"lens_logit": logits[:, 0], "artefact_logit": logits[:, 1]}
        for at, name in enumerate(PARAMETERS):
            output |= {f"{name}_mean": means[:, at], f"{name}_logvar": logvar[:, at]}
        return output


def build(options: Options, bands: tuple[str, ...], size: int) -> nn.Module:
    """Build the network for some bands and a cutout side in px."""
    return LensFinder(options, len(bands), size)


def objectives(net: nn.Module, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the one loss: that of the classes, of the parameters and of the artefacts, weighted."""
    output, truth = net(batch), batch[LABEL].float()
    lenses = truth.sum()
    # Weights of the batch at hand; one added to each count keeps a batch of one class finite.
    weight = (len(truth) - lenses + 1) / (lenses + 1)
    loss = binary_cross_entropy_with_logits(output["lens_logit"], truth, pos_weight=weight)
    loss = loss + PARAMETER_WEIGHT * parameter_loss(output, batch)
    yield "net", loss + ARTEFACT_WEIGHT * artefact_loss(output, batch)


def parameter_loss(output: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Return the mean negative log-likelihood of the parameters of the lenses.

    Each is normally distributed with the mean and variance that the network claims (Kendall & Gal
    2017, eq. 5; for lenses Pearson et al. 2019). Parameters without a label count nothing.
    """
    losses = [output["lens_logit"].sum() * 0.0]
    for name, parameter in PARAMETERS.items():
        if name not in batch:
            continue
        value = batch[name].float()
        known = (batch[LABEL] > 0) & torch.isfinite(value)
        if parameter.log:
            known &= value > 0
            value = torch.log(torch.where(known, value, 1.0))
        value = (torch.where(known, value, 0.0) - parameter.centre) / parameter.scale
        logvar = output[f"{name}_logvar"]
        each = 0.5 * (logvar + (value - output[f"{name}_mean"]).square() * torch.exp(-logvar))
        losses.append((each * known).sum() / known.sum().clamp(min=1) / len(PARAMETERS))
    return torch.stack(losses).sum()


def artefact_loss(output: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Return the cross entropy of the artefacts; 0 where a store has no labels of them."""
    logit = output["artefact_logit"]
    if ARTEFACT not in batch:
        return logit.sum() * 0.0
    truth = batch[ARTEFACT].float()
    known = torch.isfinite(truth)
    each = binary_cross_entropy_with_logits(logit, torch.nan_to_num(truth), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)
