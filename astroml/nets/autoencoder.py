"""Autoencoders of small images, plain and variational, whose pixels have noise.

A decoder says of each pixel how bright it is and how far galaxies scatter about that. The
likelihood is that of a normal distribution whose variance is the noise, a fraction of the light
and this scatter, added up.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from astroml.nets.blocks import group_norm
from astroml.nets.canonical import Seen

LEAST, MOST = -7.0, 2.0
"""Range of the logarithm of the scatter, of stretched pixels."""


class Drawn(NamedTuple):
    """What a decoder says of the pixels, stretched as ``Seen.image``."""

    mean: Tensor
    """(n, band, y, x)"""
    log_scatter: Tensor
    """(n, band, y, x): natural logarithm of the standard deviation."""


def shown(seen: Seen) -> Tensor:
    """Return what goes into an encoder: stretched bands, and which share of them is valid."""
    share = seen.valid.mean(1, keepdim=True)
    both = torch.cat([seen.image / 3, share], 1)
    return both.contiguous(memory_format=torch.channels_last)


def encoder(channels: int, width: int, outputs: int, side: int) -> nn.Sequential:
    """Build an encoder: (n, channels, side, side) to (n, outputs); three times halved."""
    last = -(-side // 8)
    return nn.Sequential(
        nn.Conv2d(channels, width, 5, 2, 2, bias=False),
        group_norm(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False),
        group_norm(2 * width),
        nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, 3, 2, 1, bias=False),
        group_norm(4 * width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * width * last**2, outputs),
    )


class Decoder(nn.Module):
    """Turn numbers into an image, three times doubled.

    Parameters
    ----------
    inputs : int
        Numbers that come in.
    width : int
        Channels of the widest image.
    channels : int
        Channels of the output.
    side : int
        Side of the output, a multiple of 8.
    """

    def __init__(self, inputs: int, width: int, channels: int, side: int):
        super().__init__()
        self.first = (4 * width, side // 8, side // 8)
        self.dense = nn.Linear(inputs, math.prod(self.first))
        self.body = nn.Sequential(
            group_norm(4 * width),
            nn.ReLU(),
            nn.Conv2d(4 * width, 8 * width, 3, 1, 1),
            nn.PixelShuffle(2),
            group_norm(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 3, 1, 1),
            nn.PixelShuffle(2),
            group_norm(width),
            nn.ReLU(),
        )
        self.last = nn.Conv2d(width, 4 * channels, 3, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, inputs) to (n, channels, side, side)."""
        x = self.dense(z).view(-1, *self.first)
        return pixel_shuffle(self.last(self.body(x)), 2)


class Autoencoder(nn.Module):
    """Encoder and decoder; the latent numbers are means or, of a variational one, distributions.

    Parameters
    ----------
    bands : int
        Bands of the image.
    width : int
        Channels of the first stage.
    latent : int
        Latent numbers.
    side : int
        Side of the image.
    variational : bool
        Whether the encoder gives a mean and a variance (Kingma & Welling 2014).
    """

    def __init__(self, bands: int, width: int, latent: int, side: int, variational: bool = False):
        super().__init__()
        self.variational = variational
        self.encoder = encoder(bands + 1, width, latent * (1 + variational), side)
        self.decoder = Decoder(latent, width, 2 * bands, side)
        nn.init.zeros_(self.decoder.last.bias)

    def encode(self, seen: Seen) -> tuple[Tensor, Tensor | None]:
        """Return the latent numbers (n, latent), and the logarithm of their variance if any."""
        latent = self.encoder(shown(seen)).float()
        if not self.variational:
            return latent, None
        mean, log_var = latent.chunk(2, 1)
        return mean, log_var.clamp(-10, 5)

    def decode(self, z: Tensor) -> Drawn:
        """Return what the latent numbers (n, latent) look like."""
        mean, log_scatter = self.decoder(z).float().chunk(2, 1)
        middle, half = (LEAST + MOST) / 2, (MOST - LEAST) / 2
        return Drawn(mean, middle + half * torch.tanh((log_scatter - 1) / half))


def variance(seen: Seen, mean: Tensor, floor: float) -> Tensor:
    """Return the variance (n, band, y, x) of stretched pixels: noise and a fraction of the light.

    Errors are carried through the stretch by its slope at the mean, 1 / sqrt(1 + flux^2).

    Parameters
    ----------
    seen : Seen
        For its noise.
    mean : (n, band, y, x) tensor
        Stretched.
    floor : float
        Error as a fraction of the light.
    """
    square = torch.sinh(mean.detach().clamp(-12, 12)).square()
    return (seen.noise.square() + floor**2 * square) / (1 + square) + 1e-6


def pixel_nll(seen: Seen, drawn: Drawn, floor: float) -> Tensor:
    """Return the negative log-likelihood (n, band, y, x) of pixels, nats; 0 where not valid."""
    total = variance(seen, drawn.mean, floor) + torch.exp(2 * drawn.log_scatter)
    away = (seen.image - drawn.mean).square() / total
    return 0.5 * (away + torch.log(2 * math.pi * total)) * seen.valid


def divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return the divergence (n,) of a normal distribution from the unit one, nats.

    Kingma & Welling 2014, appendix B.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)


def mean_of(values: Tensor, seen: Seen) -> Tensor:
    """Return the weighted mean (n,) of values (n, band, y, x) over pixels; 0 if none is valid."""
    return (values * seen.weight).sum((1, 2, 3)) / seen.weight.sum((1, 2, 3)).clamp(min=1e-6)


def misfit(seen: Seen, mean: Tensor, floor: float) -> Tensor:
    """Return the weighted mean squared residual (n,), in units of the pixels' variance."""
    return mean_of((seen.image - mean).square() / variance(seen, mean, floor), seen)


def negative_elbo(
    net: Autoencoder, seen: Seen, deviates: Tensor, floor: float
) -> tuple[Tensor, Tensor]:
    """Return the negative evidence lower bound, nats: residual and divergence.

    Kingma & Welling 2014, eq. 10. Where pixels have weights below one, their likelihood is taken
    to that power.

    Parameters
    ----------
    net : Autoencoder
        A variational one.
    seen : Seen
        The images.
    deviates : (m, 1 or n, latent) tensor
        Standard normal ones, over which the mean is taken.
    floor : float
        Error as a fraction of the light.

    Returns
    -------
    bound : (n,) tensor
        The negative bound.
    entropy : (n,) tensor
        What the residual's part of it is, in the mean, of images as the decoder draws them.
    """
    mean, log_var = net.encode(seen)
    bound, entropy = divergence(mean, log_var), torch.zeros_like(mean[:, 0])
    for deviate in deviates:
        drawn = net.decode(mean + torch.exp(0.5 * log_var) * deviate)
        total = variance(seen, drawn.mean, floor) + torch.exp(2 * drawn.log_scatter)
        expected = 0.5 * torch.log(2 * math.pi * math.e * total)
        nll = pixel_nll(seen, drawn, floor)
        bound = bound + (nll * seen.weight).sum((1, 2, 3)) / len(deviates)
        entropy = entropy + (expected * seen.weight).sum((1, 2, 3)) / len(deviates)
    return bound, entropy


def bound_of(net: Autoencoder, seen: Seen, deviates: Tensor, floor: float) -> Tensor:
    """Return the negative bound (n,) of a fixed error, twice it per pixel, from its least value.

    As ``negative_elbo``, but that pixels have the error of noise and floor alone: a decoder that
    says of an odd place that galaxies scatter there excuses nothing.
    """
    mean, log_var = net.encode(seen)
    drawn = [net.decode(mean + torch.exp(0.5 * log_var) * one).mean for one in deviates]
    left = torch.stack([misfit(seen, one, floor) for one in drawn]).mean(0)
    return left + 2 * divergence(mean, log_var) / seen.weight.sum((1, 2, 3)).clamp(min=1)
