"""Colours of faint galaxies, pixel by pixel, so that a network can count those of one colour.

A network that is given brightness in each band must learn logarithms and differences first. Here
each small aperture gets its AB colours, corrected for the Milky Way's dust, spread over a few
overlapping bins of colour, and its brightness over bins of magnitude: what is then summed over a
field is a histogram.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d

from astroml.nets.normalise import asinh, sinh
from astroml.survey import NJY_PER_ZERO_MAG, galactic_extinction

WAVELENGTH = {"u": 365, "g": 478, "r": 642, "i": 775, "z": 926, "y": 990, "Y": 990}
"""Effective wavelength, nm, of the bands whose dust is corrected for; of others it stays."""

APERTURE = (1.0, 3.0, 3.0, 1.0)
"""Weights along each axis of the aperture, px: about as wide as an image that is binned to its
seeing, and even, as it stands on two pixels."""

BLUEST, REDDEST, BINS = -0.5, 2.8, 12
"""Centres of the first and the last bin of colour, mag, and their number."""

BRIGHTEST, FAINTEST, MAGS = 15.5, 23.5, 9
"""Centres of the first and the last bin of brightness in the reddest band, AB mag, and their
number."""

AB_OF_1_NJY = 2.5 * math.log10(NJY_PER_ZERO_MAG)
"""AB magnitude of 1 nJy."""

SEEN = 5.0
"""Signal-to-noise ratio at which a colour counts half."""

ROBUST = 1e6
"""Flux, in units of the noise, beyond which it no longer matters how much it is."""


class ColourBins(nn.Module):
    """What is seen in apertures on every second pixel: brightness, and bins of colour.

    Parameters
    ----------
    bands : tuple of str
        Bands of the image, by wavelength.
    """

    def __init__(self, bands: tuple[str, ...]):
        super().__init__()
        self.bands = len(bands)
        self.register_buffer("dust", dust_of(bands), persistent=False)
        colours = torch.linspace(BLUEST, REDDEST, BINS)
        self.register_buffer("colour_centres", colours, persistent=False)
        mags = torch.linspace(BRIGHTEST, FAINTEST, MAGS)
        self.register_buffer("mag_centres", mags, persistent=False)
        along = torch.tensor(APERTURE)
        weight = along[:, None] * along
        # So that the noise of an aperture is that of a pixel.
        weight = (weight / weight.square().sum().sqrt()).expand(self.bands, 1, -1, -1).clone()
        self.register_buffer("weight", weight, persistent=False)
        self.gain = 2.5 * math.log10(float(weight.amax()))
        """Magnitudes from an aperture's sum to the flux within it, its middle pixels counting 1."""
        self.channels = self.bands + 1 + (self.bands - 1) * BINS + MAGS
        """Channels that come out."""

    @torch.no_grad()
    def forward(self, image: Tensor, valid: Tensor, scale: Tensor, ebv: Tensor) -> Tensor:
        """Return channels (n, channel, y / 2, x / 2) of order one.

        They are the brightness of each band, stretched; the share of the pixels that is valid; and
        of each pair of neighbouring bands the bins of colour: an aperture's colour lies between the
        centres of two bins, which share a weight of one, less where it is faint in the redder band;
        last, likewise, the bins of its magnitude in the reddest band. A band that is fainter than
        its noise counts as bright as that.

        Parameters
        ----------
        image : (n, band, y, x) tensor
            Stretched by ``Normalisation``; y and x even.
        valid : (n, band, y, x) tensor of bool
            Pixels that may be used.
        scale : (n, band) tensor
            nJy that flux was divided by.
        ebv : (n,) tensor
            Reddening, mag; what is not finite counts 0.
        """
        with torch.autocast(image.device.type, enabled=False):
            weight = valid.to(torch.float32)
            light = sinh(image.float()) * weight
            light = conv2d(light, self.weight, stride=2, padding=1, groups=self.bands)
            share = avg_pool2d(weight, 2)
            zero = torch.log10(scale) + 0.4 * self.dimming(ebv)  # (n, band)
            mag = -2.5 * (torch.log10(light.clamp(1.0, ROBUST)) + zero[..., None, None])
            colour = mag[:, :-1] - mag[:, 1:]  # (n, pair, y, x)
            square = light.clamp(0.0, ROBUST).square()
            good = share > 0.5
            seen = square / (square + SEEN**2) * good
            trust = seen[:, 1:] * good[:, :-1]
            # Channels last from the start: to turn so many of them costs as much as to make them.
            n, _, high, wide = light.shape
            out = light.new_empty((n, high, wide, self.channels))
            first = self.bands + 1
            out[..., : self.bands] = asinh(light).permute(0, 2, 3, 1) / 3
            out[..., self.bands] = share.mean(1)
            for pair in range(self.bands - 1):
                bins = spread(colour[:, pair], self.colour_centres)
                bins = bins.mul_(trust[:, pair, ..., None])
                out[..., first + pair * BINS : first + (pair + 1) * BINS] = bins
            bins = spread(mag[:, -1] + AB_OF_1_NJY + self.gain, self.mag_centres)
            out[..., -MAGS:] = bins.mul_(seen[:, -1, ..., None])
            return out.permute(0, 3, 1, 2)

    def dimming(self, ebv: Tensor) -> Tensor:
        """Return the Milky Way's extinction (n, band), mag, for a reddening (n,)."""
        ebv = torch.nan_to_num(ebv.float(), posinf=0, neginf=0).clamp(0, 2)
        return ebv[:, None] * self.dust


def dust_of(bands: tuple[str, ...]) -> Tensor:
    """Return the Milky Way's extinction per reddening (band,); 0 of an unknown band."""
    known = [WAVELENGTH.get(band, 650) for band in bands]
    dust = galactic_extinction(1.0, known)[0] * [band in WAVELENGTH for band in bands]
    return torch.tensor(dust, dtype=torch.float32)


def spread(values: Tensor, centres: Tensor) -> Tensor:
    """Return the weights (..., bin) of evenly spaced bins for values (...).

    Linear between the centres of two bins; beyond the first and the last these have all.
    """
    step = centres[1] - centres[0]
    away = (values.clamp(centres[0], centres[-1])[..., None] - centres).abs_()
    return away.mul_(-1 / step).add_(1).relu_()
