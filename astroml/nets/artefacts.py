"""Artefacts painted onto cutouts: what instruments and pipelines leave behind.

The simulated sky paints them on its own objects, training on whatever it reads. Brightness is in
units of the background noise, so that a survey's depth does not matter.

Masks get what a pipeline would flag, and no more: the heart and the bleeding columns of a saturated
star (``saturated``), what lies beyond an edge and, in half of all cases, a missing band
(``nodata``). Trails, ghosts, cosmic rays that the rejection has missed, the spikes and wings of
stars, the strip along an edge, and a band of empty sky are in no mask.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from astroml.store import MASK

KINDS = ("trail", "ghost", "cosmic_ray", "saturated_star", "edge", "missing_band")
"""What can be painted, by number."""

NONE = -1
"""Number of a cutout that stays as it is."""

DICE = 20
"""Uniform deviates that decide one artefact."""

FAINTEST = 0.02
"""Light below this, in units of the noise, is left out, so that artefacts end somewhere."""

FULL = 4000.0
"""Brightness at which a pixel is full, in units of the noise."""

TRACKS = 3
"""Most cosmic rays of one artefact."""

SEEING = 4.0
"""FWHM of stars where it is not known, px."""


def roll(n: int, draw: torch.Generator) -> Tensor:
    """Return the deviates (n, DICE) of n artefacts, from a generator on the CPU."""
    return torch.rand((n, DICE), generator=draw)


@torch.no_grad()
def paint(
    image: Tensor, mask: Tensor, sigma: Tensor, which: Tensor, dice: Tensor, fwhm=None
) -> tuple[Tensor, Tensor]:
    """Paint artefacts over cutouts.

    Parameters
    ----------
    image : (n, band, y, x) tensor
        Noisy images, nJy; NaN stays NaN.
    mask : (n, band, y, x) uint8 tensor
        Bits of ``store.MASK``.
    sigma : (n, band) tensor
        Background noise of one pixel, nJy.
    which : (n,) tensor of int
        Place in ``KINDS`` of what is painted, or ``NONE``.
    dice : (n, DICE) tensor
        Deviates in [0, 1) that decide everything else; see ``roll``.
    fwhm : (n, band) tensor, optional
        Seeing, px; ``SEEING`` where it is absent or not finite.

    Returns
    -------
    image, mask : tensors like the input
        Copies.
    """
    image, mask = image.clone(), mask.clone()
    dice = dice.to(image)
    level = torch.where(sigma > 0, sigma, 1.0).to(image)[..., None, None]
    seeing = torch.full_like(sigma, SEEING) if fwhm is None else fwhm
    seeing = torch.where((seeing > 0) & seeing.isfinite(), seeing, SEEING).to(image)
    lights = (_trail, _ghost, _cosmic_ray)
    for number, light in enumerate(lights):
        rows = torch.nonzero(which == number)[:, 0]
        if len(rows):
            painted = light(dice[rows], *image.shape[1:3])
            image[rows] += torch.where(painted > FAINTEST, painted, 0.0) * level[rows]
    for number, change in enumerate((_saturated_star, _edge, _missing_band), len(lights)):
        rows = torch.nonzero(which == number)[:, 0]
        if len(rows):
            before = image[rows] / level[rows]
            after, flags = change(before, dice[rows], seeing[rows])
            # Not all of them: to divide and multiply again would round what was not touched.
            image[rows] = torch.where(after == before, image[rows], after * level[rows])
            mask[rows] |= flags.to(torch.uint8)
    return image, mask


def ghost(x: Tensor, y: Tensor, size, off_x, off_y) -> Tensor:
    """Return the reflection of a star outside the image, brightness about 1.

    The out-of-focus pupil: a disc with soft edges, and a hole that is off its middle.

    Parameters
    ----------
    x, y : tensor
        Positions from the middle that broadcast.
    size : float or tensor
        Radius of the disc.
    off_x, off_y : float or tensor
        Place of the hole, in units of the radius.
    """
    radius = torch.sqrt(x**2 + y**2) / size
    hole = torch.sqrt((x / size - off_x) ** 2 + (y / size - off_y) ** 2)
    disc = torch.sigmoid((1 - radius) / 0.02)
    return disc * (1 - 0.8 * torch.sigmoid((0.35 - hole) / 0.03)) * (0.8 + 0.3 * radius)


def _plane(dice: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return positions (1, 1, x) and (1, y, 1), px from the middle."""
    axis = torch.arange(size, device=dice.device, dtype=dice.dtype) - (size - 1) / 2
    return axis[None, None, :], axis[None, :, None]


def _wide(dice: Tensor) -> list[Tensor]:
    """Return the deviates, one after the other, each (n, 1, 1)."""
    return list(dice[:, :, None, None].unbind(1))


def _one_band(light: Tensor, deviate: Tensor, bands: int) -> Tensor:
    """Put light (n, y, x) into the band (n, band, y, x) that a deviate (n, 1, 1) says."""
    chosen = (deviate * bands).long().clamp(max=bands - 1)
    return light[:, None] * (
        chosen[:, None] == torch.arange(bands, device=light.device).view(-1, 1, 1)
    )


def _turned(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Return positions along and across a direction."""
    c, s = torch.cos(angle), torch.sin(angle)
    return c * x + s * y, c * y - s * x


def _trail(dice: Tensor, bands: int, size: int) -> Tensor:
    """Return a satellite's trail in one band, (n, band, y, x), as a coadd keeps part of it."""
    turn, place, width, bright, band, tumble, period, phase, *_ = _wide(dice)
    along, across = _turned(*_plane(dice, size), math.pi * turn)
    across = across - (place - 0.5) * 0.7 * size
    width = 0.9 + 1.1 * width
    peak = 3 * 9**bright  # 3 to 27 sigma
    wave = torch.cos(2 * math.pi * (along / (10 + 60 * period) + phase))
    light = peak * torch.exp(-0.5 * (across / width) ** 2) * (1 + 0.8 * tumble**3 * wave)
    return _one_band(light, band, bands)


def _ghost(dice: Tensor, bands: int, size: int) -> Tensor:
    """Return a ghost, (n, band, y, x): in all bands, of another brightness and place in each."""
    turn, away, wide, bright, hole, tint, shift, *_ = _wide(dice)
    x, y = (one[:, None] for one in _plane(dice, size))
    # The golden section spreads the bands' own deviates evenly.
    steps = torch.arange(bands, device=dice.device, dtype=dice.dtype).view(1, -1, 1, 1) * 0.618034
    own, other = ((one[:, None] + steps) % 1 for one in (tint, shift))
    turn, hole = 2 * math.pi * turn[:, None], 2 * math.pi * hole[:, None]
    away = size * (0.08 + 0.34 * away[:, None]) + 0.06 * size * (other - 0.5)
    radius = (0.2 + 0.3 * wide[:, None]) * size * (0.95 + 0.1 * other)
    peak = 2.5 * 5 ** bright[:, None] * (0.2 + 0.8 * own)  # up to 12 sigma in the best band
    x, y = x - away * torch.cos(turn), y - away * torch.sin(turn)
    return peak * ghost(x, y, radius, 0.15 * torch.cos(hole), 0.15 * torch.sin(hole))


def _cosmic_ray(dice: Tensor, bands: int, size: int) -> Tensor:
    """Return one to three tracks in one band, (n, band, y, x), sharper than any star."""
    *tracks, band, count = [*_wide(dice)[: 5 * TRACKS], *_wide(dice)[-2:]]
    x, y = _plane(dice, size)
    light = torch.zeros(len(dice), size, size, device=dice.device, dtype=dice.dtype)
    for number in range(TRACKS):
        turn, right, up, length, bright = tracks[5 * number : 5 * number + 5]
        along, across = _turned(
            x - 0.8 * size * (right - 0.5), y - 0.8 * size * (up - 0.5), math.pi * turn
        )
        half = 1.5 + 11 * length**2
        inside = torch.sigmoid((half - along.abs()) / 0.15)
        track = 25 * 16**bright * inside * torch.exp(-0.5 * (across / 0.4) ** 2)
        light += track * (number <= count * TRACKS)
    return _one_band(light, band, bands)


def _saturated_star(image: Tensor, dice: Tensor, fwhm: Tensor) -> tuple[Tensor, Tensor]:
    """Add a star too bright for the detector: a full heart, wings, spikes, bleeding columns."""
    turn, away, bright, tint, spikes, cross, bleed, side, *_ = _wide(dice)
    size = image.shape[-1]
    x, y = _plane(dice, size)
    away, turn = size * (0.2 + 0.35 * away), 2 * math.pi * turn
    x, y = x - away * torch.cos(turn), y - away * torch.sin(turn)
    square = (x**2 + y**2)[:, None]
    alpha = (fwhm / (2 * math.sqrt(2 ** (1 / 3) - 1)))[..., None, None]
    order = torch.linspace(-1, 1, image.shape[1], device=image.device).view(1, -1, 1, 1)
    # Total light of 2e5 to 2.4e6 times the noise: i of 17 to 14.5 in a survey like HSC Wide.
    flux = 2e5 * 12 ** bright[:, None] * 10 ** (0.25 * tint[:, None] * order)
    peak = 2 * flux / (math.pi * alpha**2)
    star = peak * (1 + square / alpha**2) ** -3 + 1e-3 * flux / (square + 8 * alpha**2)
    arms = torch.zeros_like(x * y)
    for quarter in (0, 1):
        along, thin = _turned(x, y, math.pi / 2 * (cross + quarter))
        arms += torch.exp(-along.abs() / (0.08 * size * (1 + spikes)) - 0.5 * (thin / 0.9) ** 2)
    star += 0.004 * peak * arms[:, None] * (0.3 + spikes[:, None])
    across, along = torch.where(side < 0.7, x, y), torch.where(side < 0.7, y, x)
    length = (1 + 3 * bleed)[:, None] * alpha * (peak / FULL).clamp(min=0) ** 0.25
    bleeds = (across.abs() < 0.8)[:, None] & (along.abs()[:, None] < length) & (peak > FULL)
    full = star > FULL
    whole = torch.where(full, FULL, image + torch.where(star > FAINTEST, star, 0.0))
    whole = torch.where(bleeds & ~full, whole.clamp(min=0.4 * FULL), whole)
    return whole, (full | bleeds) * MASK["saturated"]


def _edge(image: Tensor, dice: Tensor, fwhm: Tensor) -> tuple[Tensor, Tensor]:
    """Lose what lies beyond a straight edge; the strip along it is too bright or too dark."""
    side, tilt, away, band, every, width, bright, dark, *_ = _wide(dice)
    bands, size = image.shape[1:3]
    turn = math.pi / 2 * torch.floor(4 * side) + 0.5 * (tilt - 0.5)
    beyond = _turned(*_plane(dice, size), turn)[0] - (0.04 + 0.3 * away) * size
    mine = _one_band(torch.ones_like(beyond), band, bands).bool() | (every < 0.5)[:, None]
    peak = torch.where(dark < 0.5, -1.0, 1.0) * 4 * 6**bright
    strip = peak * torch.exp(beyond.clamp(max=0) / (1 + 3 * width))
    strip = torch.where(strip.abs() > FAINTEST, strip, 0.0)
    lost = mine & (beyond > 0)[:, None]
    return torch.where(lost, 0.0, image + strip[:, None] * mine), lost * MASK["nodata"]


def _missing_band(image: Tensor, dice: Tensor, fwhm: Tensor) -> tuple[Tensor, Tensor]:
    """Lose a band: half of the time flagged zeros, else empty sky that nobody has noticed."""
    band, flagged, seed, *_ = _wide(dice)
    mine = _one_band(torch.ones_like(image[:, 0]), band, image.shape[1]).bool()
    sky = torch.zeros_like(image)
    for row, number in enumerate(seed.flatten().tolist()):
        draw = torch.Generator().manual_seed(int(number * 2**24))
        sky[row] = torch.randn(image.shape[1:], generator=draw).to(image)
    empty = torch.where((flagged < 0.5)[:, None], 0.0, sky)
    gone = mine & (flagged < 0.5)[:, None]
    return torch.where(mine, empty, image), gone * MASK["nodata"]
