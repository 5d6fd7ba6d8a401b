"""The smooth light of the galaxy in the middle of a cutout, and the flux of what lies upon it.

The galaxy is modelled by its mean over elliptical rings of one shape, one pixel wide, from which
what stands out is clipped. All images here are linear in flux.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from astroml.nets.normalise import hypot

STEPS = 6
"""Iterations of the shape; more move it by less than a percent."""

FLATTEST = 0.2
"""Smallest ratio of the axes."""

CLIPS = 3
"""Rounds of clipping."""

CLIP = 2.5
"""Standard deviations of a ring, beyond which a pixel is not the galaxy's."""

BLOCK = 8
"""Side of the boxes whose scatter is the noise on the scale of a feature, px."""

FEWEST = 8
"""Boxes below which their scatter says nothing."""

APART = 2
"""Pixels around a mask that are not taken for the galaxy's either."""


class Rings(NamedTuple):
    """The rings of a galaxy."""

    radius: Tensor
    """(n, y, x), px: of the circle that has the ellipse's area."""
    member: Tensor
    """(n, y, x) int64: the ring of each pixel."""
    count: int
    """Number of rings."""


def shape(light: Tensor) -> Tensor:
    """Return the covariance (n, 2, 2) of an ellipse, as (x, y), px^2.

    Second moments under an elliptical Gaussian weight that is given the shape found (Bernstein &
    Jarvis 2002, section 3), around the middle of the cutout. Where there is no light it is a
    circle.

    Parameters
    ----------
    light : (n, y, x) tensor
        Flux, in any unit.
    """
    n, size = light.shape[0], light.shape[-1]
    at = torch.arange(size, device=light.device, dtype=light.dtype) - (size - 1) / 2
    y, x = at[:, None].expand(size, size), at.expand(size, size)
    square = torch.stack([x * x, x * y, x * y, y * y]).flatten(1)  # (4, y * x)
    light = light.flatten(1).clamp(min=0)
    unit = torch.eye(2, device=light.device, dtype=light.dtype).expand(n, 2, 2)
    ellipse = unit * (size / 12) ** 2
    for _ in range(STEPS):
        weight = light * torch.exp(-0.5 * _inverse(ellipse).flatten(1) @ square)
        total = weight.sum(1).clamp(min=1e-12)
        found = 2 * (weight @ square.T / total[:, None]).view(n, 2, 2)
        ellipse = _bounded(found, size)
    return ellipse


def _inverse(ellipse: Tensor) -> Tensor:
    a, b, c = ellipse[:, 0, 0], ellipse[:, 0, 1], ellipse[:, 1, 1]
    return torch.stack([c, -b, -b, a], 1).view(-1, 2, 2) / (a * c - b * b)[:, None, None]


def _bounded(ellipse: Tensor, size: int) -> Tensor:
    """Keep an ellipse within what a galaxy in a cutout can be: its axes, and their ratio."""
    a, b, c = ellipse[:, 0, 0], ellipse[:, 0, 1], ellipse[:, 1, 1]
    mean, half = (a + c) / 2, hypot((a - c) / 2, b)
    # A ratio q of the axes is a half difference of mean (1 - q^2) / (1 + q^2).
    most = mean * (1 - FLATTEST**2) / (1 + FLATTEST**2)
    shrink = torch.where(half > most, most / half.clamp(min=1e-12), 1.0)
    new_mean = mean.clamp((size / 40) ** 2, (size / 6) ** 2)
    scale = torch.where(mean > 0, new_mean / mean.clamp(min=1e-12), 0.0) * shrink
    first, second = (a - c) / 2 * scale, b * scale
    return torch.stack([new_mean + first, second, second, new_mean - first], 1).view(-1, 2, 2)


def rings_of(ellipse: Tensor, size: int) -> Rings:
    """Return the rings of an ellipse (n, 2, 2) in cutouts of some side, px."""
    at = torch.arange(size, device=ellipse.device, dtype=ellipse.dtype) - (size - 1) / 2
    y, x = at[:, None], at
    inverse = _inverse(ellipse)
    # To the power 1/4 of the determinant: the mean radius of the ellipse.
    area = torch.linalg.det(ellipse).clamp(min=1e-12) ** 0.25
    a, b, c = (inverse[:, i, j, None, None] for i, j in ((0, 0), (0, 1), (1, 1)))
    radius = (a * x * x + 2 * b * x * y + c * y * y).clamp(min=0).sqrt() * area[:, None, None]
    count = size + 2
    return Rings(radius, radius.round().long().clamp(max=count - 1), count)


def ring_sums(values: Tensor, rings: Rings) -> Tensor:
    """Return the sums (n, band, ring) of values (n, band, y, x)."""
    n, bands = values.shape[:2]
    index = rings.member.flatten(1)[:, None].expand(n, bands, -1)
    sums = torch.zeros((n, bands, rings.count), device=values.device, dtype=values.dtype)
    return sums.scatter_add_(2, index, values.flatten(2))


def profile(flux: Tensor, use: Tensor, rings: Rings) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance and number of pixels of each ring, (n, band, ring).

    Where a ring has no pixel to use, mean and variance lie on a line between its neighbours that
    have.
    """
    use = use.to(flux.dtype)
    number = ring_sums(use, rings)
    mean = ring_sums(flux * use, rings) / number.clamp(min=1)
    variance = ring_sums(flux.square() * use, rings) / number.clamp(min=1) - mean.square()
    # A graph has no branches: there the way for all cases is taken, which says the same.
    if not torch.compiler.is_exporting() and bool((number > 0).all()):
        return mean, variance.clamp(min=0), number
    below, above, share = _neighbours(number > 0)

    def filled(per_ring: Tensor) -> Tensor:
        return torch.lerp(per_ring.gather(2, below), per_ring.gather(2, above), share)

    return filled(mean), filled(variance.clamp(min=0)), number


def _neighbours(known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the nearest known ring inside and outside each, (n, band, ring), and how far between.

    A known one is its own; where there is none on one side, both are that of the other.
    """
    last = known.shape[2] - 1
    place = torch.arange(last + 1, device=known.device).expand_as(known)
    below = torch.where(known, place, -1).cummax(2).values
    above = torch.where(known, place, last + 1).flip(2).cummin(2).values.flip(2)
    below, above = torch.where(below < 0, above, below), torch.where(above > last, below, above)
    below, above = below.clamp(0, last), above.clamp(0, last)
    return below, above, (place - below) / (above - below).clamp(min=1)


def spread_out(per_ring: Tensor, rings: Rings) -> Tensor:
    """Return an image (n, band, y, x) of ring values (n, band, ring), linear between rings."""
    n, bands = per_ring.shape[:2]
    low = rings.radius.floor().long().clamp(max=rings.count - 2)
    share = (rings.radius - low).clamp(0, 1)[:, None]
    index = low.flatten(1)[:, None].expand(n, bands, -1)
    size = (n, bands, *low.shape[1:])
    inner, outer = (per_ring.gather(2, index + step).view(size) for step in (0, 1))
    return inner + share * (outer - inner)


def smooth_host(flux: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Rings]:
    """Model the galaxy in the middle.

    Parameters
    ----------
    flux : (n, band, y, x) tensor
        In units of which the noise is about alike in all bands.
    valid : (n, band, y, x) tensor of bool
        Pixels that may be used.

    Returns
    -------
    model : (n, band, y, x) tensor
        The galaxy, and the sky it lies on.
    kept : (n, 1, y, x) tensor of bool
        Pixels that were taken for the galaxy's, seen in the mean of the bands.
    rings : Rings
        The rings that the model is made of.
    """
    weight = valid.to(flux.dtype)
    light = (flux * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
    there = valid.any(1, keepdim=True)
    rings = rings_of(shape(light[:, 0]), flux.shape[-1])
    kept = there
    for _ in range(CLIPS):
        mean, variance, _ = profile(light, kept, rings)
        away = (light - spread_out(mean, rings)).square()
        kept = there & (away <= CLIP**2 * spread_out(variance, rings))
    return spread_out(profile(flux, valid & kept, rings)[0], rings), kept, rings


def flux_in(
    mask: Tensor, flux: Tensor, valid: Tensor, sigma: Tensor, kept: Tensor, rings: Rings
) -> tuple[Tensor, Tensor]:
    """Measure the flux above the galaxy within a mask.

    The galaxy is modelled anew from what is not masked, so that it holds nothing of the feature.

    Parameters
    ----------
    mask : (n, y, x) tensor of bool
        Pixels of the feature.
    flux : (n, y, x) tensor
        One band.
    valid : (n, y, x) tensor of bool
        Pixels that may be used.
    sigma : (n,) tensor
        Noise of one pixel, in the unit of the flux.
    kept, rings
        See ``smooth_host``.

    Returns
    -------
    flux : (n,) tensor
        Sum of flux less galaxy over the mask's valid pixels; nothing is added for what lies beyond.
    error : (n,) tensor
        Two errors added in quadrature. Of the background: the scatter of the means of boxes of
        ``BLOCK`` px, which has in it what noise is correlated and what the sky's subtraction left,
        scaled to the mask's area; at least the white noise. Of the galaxy: of each ring the error
        of its mean, times the ring's pixels in the mask.
    """
    inside = (mask & valid)[:, None]
    near = max_pool2d(mask[:, None].to(flux.dtype), 2 * APART + 1, 1, APART) > 0
    use = valid[:, None] & kept & ~near
    mean, variance, number = profile(flux[:, None], use, rings)
    rest = flux[:, None] - spread_out(mean, rings)
    area = inside.to(flux.dtype).sum((1, 2, 3))
    correlated = box_scatter(rest, valid[:, None] & ~near) / sigma.clamp(min=1e-12)
    correlated = torch.where(torch.isfinite(correlated), correlated, 1.0).clamp(min=1.0)
    background = correlated * sigma * area.sqrt()
    shared = ring_sums(inside.to(flux.dtype), rings).square() * variance / number.clamp(min=1)
    galaxy = correlated * shared.sum((1, 2)).sqrt()
    return (rest * inside).sum((1, 2, 3)), hypot(background, galaxy)


def box_scatter(rest: Tensor, use: Tensor) -> Tensor:
    """Return the noise (n,) of one pixel that the scatter between boxes of pixels implies.

    Robust: 1.4826 times the median distance from the median, over the boxes with no pixel lost; NaN
    where they are too few.

    Parameters
    ----------
    rest : (n, 1, y, x) tensor
        Flux less galaxy.
    use : (n, 1, y, x) tensor of bool
        Pixels without a feature.
    """
    side = min(BLOCK, max(1, rest.shape[-1] // 8))
    boxes = avg_pool2d(rest, side).flatten(1)
    whole = avg_pool2d(use.to(rest.dtype), side).flatten(1) > 1 - 0.5 / side**2
    boxes = torch.where(whole, boxes, torch.nan)
    away = (boxes - boxes.nanmedian(1, keepdim=True).values).abs()
    scatter = 1.4826 * side * away.nanmedian(1).values
    return torch.where(whole.sum(1) >= FEWEST, scatter, torch.nan)
