"""The galaxies and stars of an image as a list: where they are, how bright, of what colours.

What hangs on how many small things of a kind there are is learnt far sooner from a list of them
than from pixels: a layer that looks at each and sums over all is a count (Zaheer et al. 2017,
Deep Sets).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d

from astroml.nets.colours import AB_OF_1_NJY, dust_of
from astroml.nets.normalise import sinh

APERTURES = ((0.8, 3), (1.6, 7))
"""Gaussian apertures: width and side, px. The first is about the seeing of an image that is binned
to it, the second tells the large from the small."""

DETECTED = 4.0
"""Signal-to-noise ratio in the mean of the bands from which a maximum is a source."""

DENSITY = 0.0075
"""Sources per pixel at most; the brightest are kept."""

WHOLE = 0.5
"""Share of an aperture's weight on valid pixels, without which a band tells nothing."""

TYPICAL_MAG, TYPICAL_COLOUR, TYPICAL_FWHM = 20.0, 0.9, 1.3
"""What facts are told relative to, mag and arcsec, so that they are of order one."""


class Sources(NamedTuple):
    """The sources of images, brightest first, as many slots for each image."""

    place: Tensor
    """(n, k, 2): pixel x and y."""
    there: Tensor
    """(n, k) bool."""
    facts: Tensor
    """(n, k, fact), of order one; 0 where there is none."""

    def of(self, which: Tensor) -> Sources:
        """Return those of some images, by their numbers (m,)."""
        return Sources(*(one[which] for one in self))


class SourceFinder(nn.Module):
    """List the local maxima of an image and what is seen of each; nothing is learnt.

    Parameters
    ----------
    bands : tuple of str
        Bands of the image, by wavelength.
    """

    def __init__(self, bands: tuple[str, ...]):
        super().__init__()
        self.bands = len(bands)
        self.register_buffer("dust", dust_of(bands), persistent=False)
        for name, (sigma, side) in zip(("small", "large"), APERTURES):
            at = (torch.arange(side) - (side - 1) / 2) / sigma
            weight = torch.exp(-0.5 * (at.square() + at[:, None].square()))
            weight = weight.expand(self.bands, 1, -1, -1).clone()
            self.register_buffer(name, weight, persistent=False)
        self.facts = 2 + 2 * (self.bands - 1) + 4 * self.bands
        """Facts of a source: its magnitude in the reddest band in both apertures, its colours in
        both, and of each band its noise, the light outside the smaller aperture, seeing, and how
        much of the larger aperture is valid."""

    @torch.no_grad()
    def forward(self, image: Tensor, valid: Tensor, batch: dict[str, Tensor]) -> Sources:
        """List the sources.

        Parameters
        ----------
        image, valid : (n, band, y, x) tensors
            Stretched by ``Normalisation``; pixels that may be used.
        batch : dict
            ``scale`` (n, band), nJy; ``sigma`` (n, band), nJy, that scale where it is not finite;
            ``psf_fwhm`` (n, band), arcsec; ``ebv`` (n,), mag.
        """
        with torch.autocast(image.device.type, enabled=False):
            weight = valid.to(torch.float32)
            light = sinh(image.float()) * weight
            small = conv2d(light, self.small, padding="same", groups=self.bands)
            share = conv2d(weight, self.large, padding="same", groups=self.bands)
            share = share / self.large[0].sum()
            scale, noise = batch["scale"].float(), batch["sigma"].float()
            noise = torch.where(torch.isfinite(noise) & (noise > 0), noise, scale) / scale
            seen = (share > WHOLE).float()
            height = (small / noise[..., None, None] * seen).sum(1)
            height = height / (seen.sum(1).clamp(min=1).sqrt() * norm_of(self.small))
            cell, there = self._maxima(height)

            def at(values: Tensor) -> Tensor:
                """Return values (n, band, y, x) at the sources, (n, k, band)."""
                return values.flatten(2).gather(2, cell[:, None].expand(-1, self.bands, -1)).mT

            # The larger aperture's sum is needed at the sources alone, but costs less everywhere.
            large = conv2d(light, self.large, padding="same", groups=self.bands)
            facts = self._facts(at(small), at(large), at(share), noise, batch)
            wide = image.shape[-1]
            place = torch.stack([cell % wide, cell // wide], 2).float()
            return Sources(place, there, facts * there[..., None])

    def _maxima(self, height: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pixels (n, k) of the highest maxima of maps (n, y, x), and which are there."""
        highest = max_pool2d(height[:, None], 3, 1, 1)[:, 0]
        found = torch.where((height == highest) & (height > DETECTED), height, 0.0).flatten(1)
        high, wide = height.shape[-2:]
        top, cell = found.topk(min(math.ceil(DENSITY * high * wide), high * wide), dim=1)
        return cell, top > 0

    def _facts(self, small, large, share, noise, batch) -> Tensor:
        """Return what is told of sources (n, k, fact), whose light in apertures is (n, k, band)."""
        dust = torch.nan_to_num(batch["ebv"].float(), posinf=0, neginf=0).clamp(0, 2)
        zero = 2.5 * torch.log10(batch["scale"].float()) + dust[:, None] * self.dust
        known = share > WHOLE
        mags = []
        for light, aperture in ((small, self.small), (large, self.large)):
            least = noise[:, None] * norm_of(aperture)
            mags.append(AB_OF_1_NJY - 2.5 * torch.log10(torch.maximum(light, least)))
            mags[-1] = mags[-1] - zero[:, None]
        ratio = small / (noise[:, None] * norm_of(self.small))
        both = known[..., 1:] & known[..., :-1]
        fwhm = torch.nan_to_num(batch["psf_fwhm"].float(), nan=TYPICAL_FWHM).clamp(0, 10)
        told = [(mag[..., -1:] - TYPICAL_MAG) / 2 * known[..., -1:] for mag in mags]
        told += [(mag[..., :-1] - mag[..., 1:] - TYPICAL_COLOUR) * both for mag in mags]
        told += [1 / torch.log1p(ratio.clamp(min=0.5)), (mags[0] - mags[1]) * known]
        told += [(fwhm - TYPICAL_FWHM)[:, None].expand_as(share), share - 1]
        return torch.cat(told, 2)


def norm_of(weight: Tensor) -> Tensor:
    """Return the noise of an aperture's sum, in units of that of a pixel."""
    return weight[0].square().sum().sqrt()
