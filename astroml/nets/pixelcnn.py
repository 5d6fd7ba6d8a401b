"""The likelihood of an image, pixel after pixel: a small PixelCNN with one pass for all of them.

Van den Oord et al. 2016: row by row, each pixel is predicted from those before it by masked
convolutions. Bands follow one another within a pixel, each shifted by what the bands before it are
off by, as Salimans et al. 2017 (PixelCNN++, section 2.2) do. Pixels here are real numbers with
noise: each has a mixture of normal distributions, to whose variances that of the noise is added.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from astroml.nets.autoencoder import shown, variance
from astroml.nets.canonical import Seen

MIXTURE = 3
"""Normal distributions of a pixel."""

KERNEL = 5, 3, 3, 3
"""Sides of the convolutions, px."""


class Causal(nn.Conv2d):
    """A convolution that sees the pixels before its own, and its own if it is not the first.

    Parameters
    ----------
    inside, outside : int
        Channels of input and output.
    side : int
        Side of the kernel.
    first : bool
        Whether the pixel itself is hidden.
    """

    def __init__(self, inside: int, outside: int, side: int, first: bool = False):
        super().__init__(inside, outside, side, padding=side // 2)
        seen = torch.ones(side * side)
        seen[side * side // 2 + (0 if first else 1) :] = 0
        self.register_buffer("seen", seen.view(1, 1, side, side), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inside, y, x) to (n, outside, y, x)."""
        return conv2d(x, self.weight * self.seen, self.bias, padding=self.padding)


class PixelCnn(nn.Module):
    """Masked convolutions, and the mixture of each pixel.

    Parameters
    ----------
    bands : int
        Bands of the image.
    width : int
        Channels of the layers.
    """

    def __init__(self, bands: int, width: int):
        super().__init__()
        self.bands = bands
        self.first = Causal(bands + 1, width, KERNEL[0], first=True)
        self.layers = nn.ModuleList(Causal(width, width, side) for side in KERNEL[1:])
        outputs = MIXTURE * (3 * bands) + bands * (bands - 1) // 2
        self.last = nn.Conv2d(2 * width, outputs, 1)
        nn.init.normal_(self.last.weight, std=0.01)

    def forward(self, seen: Seen) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mixture of each pixel.

        Returns
        -------
        log_weight, mean, log_scatter : (n, mixture, band, y, x) tensors
            Of stretched pixels; the weights add up to one.
        """
        x = start = torch.relu(self.first(shown(seen)))
        for layer in self.layers:
            x = x + torch.relu(layer(x))
        out = self.last(torch.cat([start, x], 1)).float()
        n, _, high, wide = out.shape
        split = MIXTURE * self.bands * 3
        log_weight, mean, log_scatter = (
            out[:, :split].view(n, 3, MIXTURE, self.bands, high, wide).unbind(1)
        )
        mean = mean + self.from_bands_before(seen, mean, out[:, split:])
        # The distributions begin apart: narrow, middling and wide.
        apart = torch.linspace(-3.0, 0.0, MIXTURE, device=out.device).view(-1, 1, 1, 1)
        return log_weight.log_softmax(1), mean, (log_scatter + apart).clamp(-7, 2)

    def from_bands_before(self, seen: Seen, mean: Tensor, slopes: Tensor) -> Tensor:
        """Return the shift of the means (n, mixture, band, y, x) by the bands before each."""
        off = (seen.image[:, None] - mean) * seen.valid[:, None]
        shift, at = [torch.zeros_like(mean[:, :, 0])], 0
        for band in range(1, self.bands):
            slope = slopes[:, None, at : at + band]
            shift.append((slope * off[:, :, :band]).sum(2))
            at += band
        return torch.stack(shift, 2)

    def nll(self, seen: Seen, floor: float) -> tuple[Tensor, Tensor]:
        """Return the negative log-likelihood of pixels, nats; 0 where not valid.

        Returns
        -------
        nll : (n, band, y, x) tensor
            Of the pixels as they are.
        entropy : (n, band, y, x) tensor
            That of a normal distribution of the mixture's variance: about what is expected.
        """
        log_weight, mean, log_scatter = self(seen)
        weight = log_weight.exp()
        about = (weight * mean).sum(1)
        total = variance(seen, about, floor)[:, None] + torch.exp(2 * log_scatter)
        away = (seen.image[:, None] - mean).square() / total
        log_density = log_weight - 0.5 * (away + torch.log(2 * math.pi * total))
        spread = (weight * (total + (mean - about[:, None]).square())).sum(1)
        entropy = 0.5 * torch.log(2 * math.pi * math.e * spread)
        return -torch.logsumexp(log_density, 1) * seen.valid, entropy * seen.valid
