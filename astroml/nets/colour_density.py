"""How usual the colours of a galaxy are: a mixture of normal distributions of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from astroml.nets.canonical import Seen

WITHIN = 0.15
"""Width of the weight under which light is summed, as a part of the view's side."""

SEEN = 0.25
"""Share of that weight that has to be on valid pixels, or the colour is not known."""

MIXTURE = 4
"""Normal distributions: the types of galaxies move along curved tracks with redshift."""

NARROWEST = 0.02
"""Least width of one of them along any axis, in natural logarithms of flux."""


def colours_of(seen: Seen) -> Tensor:
    """Return the natural logarithm of the flux ratio of neighbouring bands, (n, bands - 1).

    Both are summed over the pixels that are valid in both; NaN where these are too few. Fluxes
    below their noise count as the noise.
    """
    side = seen.image.shape[-1]
    at = (torch.arange(side, device=seen.image.device) - (side - 1) / 2) / (WITHIN * side)
    window = torch.exp(-0.5 * (at.square() + at[:, None].square()))
    flux, noise = torch.sinh(seen.image), seen.noise[:, :, 0, 0]
    both = seen.valid[:, :-1] * seen.valid[:, 1:] * window
    least = both.square().sum((2, 3)).sqrt().clamp(min=1e-6)
    blue, red = (
        torch.maximum((flux[:, part] * both).sum((2, 3)), noise[:, part] * least).clamp(min=1e-9)
        for part in (slice(None, -1), slice(1, None))
    )
    known = both.sum((2, 3)) >= SEEN * window.sum()
    return torch.where(known, torch.log(blue / red), torch.nan)


class ColourDensity(nn.Module):
    """A mixture of normal distributions of a galaxy's colours, learnt by descent.

    Parameters
    ----------
    colours : int
        Colours of a galaxy; with none of them all galaxies are alike.
    """

    def __init__(self, colours: int):
        super().__init__()
        self.colours = colours
        # Vectors, which training does not let decay towards zero.
        self.log_weight = nn.Parameter(torch.zeros(MIXTURE))
        self.mean = nn.Parameter(torch.linspace(-1, 0, MIXTURE).repeat_interleave(colours))
        self.log_width = nn.Parameter(torch.full((MIXTURE * colours,), -1.0))
        self.slant = nn.Parameter(torch.zeros(MIXTURE * colours**2))

    def forward(self, colours: Tensor) -> tuple[Tensor, Tensor]:
        """Return the negative log-density (n,), nats, and its least possible value.

        A colour that is not known counts as the mean of all.
        """
        size, k = self.colours, MIXTURE
        share, mean = self.log_weight.log_softmax(0), self.mean.view(k, size)
        usual = (share.exp()[:, None] * mean).sum(0)
        colours = torch.where(torch.isnan(colours), usual, colours)
        log_width = self.log_width.view(k, size).clamp(min=math.log(NARROWEST))
        # Each colour is measured from what those before it make likely.
        slant = torch.tril(self.slant.view(k, size, size), -1)
        away = colours[:, None] - mean
        away = (away - torch.einsum("kij,nkj->nki", slant, away)) / log_width.exp()
        peak = share - log_width.sum(1) - 0.5 * size * math.log(2 * math.pi)
        return -torch.logsumexp(peak - 0.5 * away.square().sum(2), 1), -torch.logsumexp(peak, 0)

    def oddness(self, colours: Tensor) -> Tensor:
        """Return how rare the colours are (n,): of one normal distribution, sigmas off its mean."""
        nll, least = self(colours)
        return torch.sqrt(2 * (nll - least).clamp(min=0) + 1e-6)
