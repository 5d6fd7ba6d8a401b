"""What lies over deep images: cirrus, haloes and ghosts of stars, residues of flat and sky."""

from __future__ import annotations

import math

import numpy as np
import torch

from astroml.nets.artefacts import ghost
from astroml.sky.conditions import stream
from astroml.sky.paint import canvas_axis
from astroml.store import MASK

NONE, CIRRUS, HALO, GHOST, FLAT = range(5)
"""What lies over a galaxy."""

FOREGROUND_NAMES = ("which", "mu", "x", "y", "angle", "size", "star")
"""Numbers that describe it; see ``paint_foreground``."""

FIELD, CLOUDS = 103, 104
"""Streams of random numbers that are drawn here; a task's own are below 100."""

SLOPE = -2.9
"""Power of the spatial spectrum of cirrus (Miville-Deschenes et al. 2016, A&A 593, A4)."""

AUREOLE = 0.03
"""Share of a star's light in the aureole, which falls as r^-2 between these radii, arcsec."""

AUREOLE_REACH = 3.0, 100.0

SATURATED = 17.0
"""Surface brightness, AB mag/arcsec2, above which a star saturates."""

RESIDUE = 2.5
"""Scatter of the large-scale residue of the sky in units of the noise of a 10 x 10 arcsec box, the
box in which limits in surface brightness are stated."""

BOX, BOWL, CLIP = 15.0, 0.8, 1.5
"""The sky's mesh: sigma of its smoothing (arcsec), the share of undetected light that is taken for
sky, and the brightness in units of a pixel's noise above which light counts as detected."""


def surface(mu, scale: float):
    """Return the flux of a pixel of side ``scale`` arcsec at a surface brightness, nJy."""
    return 10 ** (-0.4 * (mu - 31.4)) * scale**2


def draw(rng, name: str, reach: float, wavelengths, sigma) -> dict[str, np.ndarray | float]:
    """Draw what lies over a galaxy.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    name : str
        ``cirrus``, ``halo``, ``ghost``, ``flat``, or anything else for nothing.
    reach : float
        Half the side of the region of interest, arcsec.
    wavelengths : (band,) array
        nm
    sigma : (band,) array
        Noise of a pixel, nJy.

    Returns
    -------
    dict
        ``FOREGROUND_NAMES`` and ``colour`` (band,); see ``paint_foreground``.
    """
    which = {"cirrus": CIRRUS, "halo": HALO, "ghost": GHOST, "flat": FLAT}.get(name, NONE)
    u, lag = rng.random(6), np.log(np.asarray(wavelengths) / 620) / math.log(620 / 478)
    turn, red = 2 * math.pi * u[0], 0.3 + 0.9 * u[2]
    away = reach * (0.55 + 0.9 * u[1] if which == HALO else 0.9 * u[1])
    steps = rng.normal(1, 0.4, len(lag)) * np.asarray(sigma)
    # g-r of cirrus 0.55 to 0.75, and bluer in r-i than galaxies (Roman et al. 2020, A&A 644, A42).
    cirrus_ = np.where(lag < 0, 0.55 + 0.2 * u[2], 0.2 + 0.2 * u[2]) * lag
    colour = {
        CIRRUS: 10 ** (0.4 * cirrus_),
        FLAT: steps / np.asarray(sigma)[np.abs(lag).argmin()],
    }.get(which, 10 ** (0.4 * red * np.where(lag < 0, lag, 0.45 * lag)))
    mu = {CIRRUS: 26.8 + 1.8 * u[3], GHOST: 25.8 + 2 * u[3], FLAT: 27 + 2 * u[3]}.get(which, 0.0)
    return {
        "which": which,
        "mu": mu,
        "x": away * math.cos(turn),
        "y": away * math.sin(turn),
        "angle": 2 * math.pi * u[4],
        "size": 0.5 * 30 ** u[5] if which == FLAT else 12 + 25 * u[5],
        "star": 10 + 5 * u[3],
        "colour": np.asarray(colour, float),
    }


def paint_foreground(image, mask, here: dict, keys, seed: int, scale: float) -> None:
    """Add what lies over the galaxies, in place.

    Parameters
    ----------
    image : (n, band, y, x) tensor
        nJy per pixel.
    mask : (n, band, y, x) uint8 tensor
        Bits of ``store.MASK``; the heart of a star is saturated.
    here : dict of (n,) tensors
        ``foreground_<name>``: ``which`` it is; ``mu``, r mag/arcsec2, of cirrus its scatter, of a
        ghost its middle, of flat residue half the step; ``x``, ``y`` (arcsec) the star, the middle
        of the ghost or a point on the step; ``angle`` of the step (rad), ``size`` of a ghost or a
        step's width (arcsec), ``star`` the star's r magnitude; ``foreground_colour`` (n,
        band), flux over that in r.
    keys : sequence of int
        Key of each object, which the cirrus is seeded by.
    seed : int
        Seed.
    scale : float
        Pixel side, arcsec.
    """
    size, device = image.shape[-1], image.device
    axis = canvas_axis(size, scale, device)
    for row in torch.nonzero(here["foreground_which"])[:, 0].tolist():
        one = {name: float(here[f"foreground_{name}"][row]) for name in FOREGROUND_NAMES}
        colour = here["foreground_colour"][row][:, None, None]
        x, y = axis[None, :] - one["x"], axis[:, None] - one["y"]
        level = surface(one["mu"], scale)
        if one["which"] == CIRRUS:
            light = level * cirrus(size, scale, seed, int(keys[row])).to(device)
        elif one["which"] == FLAT:
            along = (math.cos(one["angle"]) * x + math.sin(one["angle"]) * y) / one["size"]
            light = level * torch.tanh(along)
        elif one["which"] == GHOST:
            off = 0.15 * math.cos(one["angle"]), 0.15 * math.sin(one["angle"])
            light = level * ghost(x, y, one["size"], *off)
        else:
            radius = torch.sqrt(x**2 + y**2)
            light = aureole(radius, one["star"], scale)
            image[row] += colour * _core(radius, one["star"], scale)
            _saturate(image[row], mask[row], radius, x, one["star"], scale)
        image[row] += colour * light


def cirrus(size: int, scale: float, seed: int, key: int) -> torch.Tensor:
    """Return a field (y, x) of Galactic cirrus, mean 0 and scatter 1.

    Random phases under a power law, then raised to a lognormal field, whose bright filaments are
    fewer than its voids. It is drawn with a margin, so that it does not wrap around.
    """
    rng, wide = stream(seed, CLOUDS, key), 2 * size
    white = np.fft.rfft2(rng.standard_normal((wide, wide)).astype(np.float32))
    k = np.hypot(np.fft.fftfreq(wide)[:, None], np.fft.rfftfreq(wide)[None, :])
    k[0, 0] = np.inf
    # Nothing is larger than the field, as the sky is subtracted on such scales.
    field = np.fft.irfft2(white * np.maximum(k, 1 / size) ** (SLOPE / 2), s=(wide, wide))
    field = field[:size, :size]
    field = np.exp(0.7 * (field - field.mean()) / field.std())
    return torch.from_numpy(((field - field.mean()) / field.std()).astype(np.float32))


def aureole(radius: torch.Tensor, mag: float, scale: float) -> torch.Tensor:
    """Return the aureole of a star, flux per pixel, at distances ``radius`` arcsec.

    An r^-2 law (King 1971, PASP 83, 199), flat within the inner radius, that holds ``AUREOLE`` of
    the star's light.
    """
    inner, outer = AUREOLE_REACH
    flux = AUREOLE * surface(mag, scale) / (2 * math.pi * math.log(outer / inner))
    return flux / (radius**2 + inner**2) * torch.exp(-((radius / outer) ** 4))


def _core(radius: torch.Tensor, mag: float, scale: float) -> torch.Tensor:
    """Return the inner light of a star: a Moffat law of 0.8 arcsec FWHM and exponent 3."""
    alpha = 0.8 / (2 * math.sqrt(2 ** (1 / 3) - 1))
    return surface(mag, scale) * 2 / (math.pi * alpha**2) * (1 + (radius / alpha) ** 2) ** -3


def _saturate(image, mask, radius, x, mag: float, scale: float) -> None:
    """Mask what saturates, and the columns that its charge bleeds along, in place."""
    alpha = 0.8 / (2 * math.sqrt(2 ** (1 / 3) - 1))
    peak = 10 ** (-0.4 * (mag - SATURATED)) * 2 / (math.pi * alpha**2)
    reach = alpha * math.sqrt(max(peak ** (1 / 3) - 1, 0))
    bleeds = (x.abs() < 0.7) & (radius < 4 * reach)
    mask[:, (radius < reach) | bleeds] |= MASK["saturated"]
    # Charge fills the columns up to what a pixel holds.
    full = surface(SATURATED, scale)
    image[:, bleeds] = image[:, bleeds].clamp(min=0.3 * full)
    image.clamp_(max=full)


def residue(light, sigma, modes, scale: float) -> torch.Tensor:
    """Return what a sky subtraction leaves, (n, band, y, x) nJy.

    A smooth surface of second order, and a bowl around galaxies: their wings that no detection
    masks are taken for sky, smoothed and subtracted (Aihara et al. 2019, PASJ 71, 114, section
    4.1, tell of it in HSC).

    Parameters
    ----------
    light : (n, band, y, x) tensor
        Noiseless light, nJy per pixel.
    sigma : (n, band) tensor
        Background noise of one pixel, nJy.
    modes : (n, band, 5) tensor
        Standard normal deviates: coefficients of x, y, x^2, xy, y^2.
    scale : float
        Pixel side, arcsec.
    """
    size, device = light.shape[-1], light.device
    axis = torch.linspace(-1, 1, size, device=device)
    x, y = axis[None, :].expand(size, size), axis[:, None].expand(size, size)
    shapes = torch.stack([x, y, x * x - 1 / 3, x * y, y * y - 1 / 3])
    level = RESIDUE * sigma * scale / 10 / math.sqrt(5)
    smooth = torch.einsum("nbk,kyx->nbyx", modes, shapes) * level[..., None, None]
    mesh = 8
    undetected = torch.minimum(light.clamp(min=0), CLIP * sigma[..., None, None])
    coarse = torch.nn.functional.avg_pool2d(undetected, mesh, ceil_mode=True)
    place = torch.arange(coarse.shape[-1], device=device) * mesh * scale
    near = torch.exp(-0.5 * ((place[:, None] - place) / BOX) ** 2)
    near = near / near.sum(1, keepdim=True)
    bowl = torch.einsum("yk,nbkl,xl->nbyx", near, coarse, near)
    wide = torch.nn.functional.interpolate(bowl, size=(size, size), mode="bilinear")
    return smooth - BOWL * wide
