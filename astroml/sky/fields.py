"""Paint many small galaxies: sums of Gaussians, blurred by a seeing that is a sum of Gaussians.

A Gaussian blurred by a Gaussian is one again, so that a galaxy behind the seeing is known in closed
form at every pixel (Bendinelli 1991, ApJ 366, 599; Hogg & Lang 2013, PASP 125, 719). The pixels'
own response is taken as a Gaussian of the same variance, 1/12 px2.
"""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
import torch
from scipy.optimize import least_squares
from scipy.special import gammainc

from astroml.sky.surroundings import DE_VAUCOULEURS, EXPONENTIAL, POINT

NUMBER = {EXPONENTIAL: 4, DE_VAUCOULEURS: 6}
"""Gaussians of a profile; half of them are enough for the stamps up to ``FEW``."""

FEW = 5
"""Half side, px, of stamps of galaxies so small that the seeing hides what fewer Gaussians miss."""

SEEING, WINGS = 3, 5
"""Gaussians of the seeing: on stamps up to ``FEW``, and on larger ones, where its wings show."""

CUT = {EXPONENTIAL: 5.0, DE_VAUCOULEURS: 8.0}
"""Radius at which profiles end, in half-light radii; the light within is scaled to all of it."""

HALVES = (4, 5, 7, 10, 14, 20, 28, 40, 56, 80, 112, 160, 224)
"""Half sides of stamps, px."""

VISIBLE = 0.03
"""Light per pixel, in units of the noise, below which a stamp may end."""

LARGEST = 60.0
"""Largest half side of a stamp, arcsec."""

ELEMENTS = 2**18
"""Values of one step on a CPU, so that they stay in its caches: measured the fastest."""


def growth(profile: int, radius: np.ndarray) -> np.ndarray:
    """Return the share of a profile's light within a radius, in half-light radii.

    Sersic profiles of index 1 and 4, cut at ``CUT``; b after Ciotti & Bertin (1999, A&A 352, 447).
    """
    n, b = {EXPONENTIAL: (1.0, 1.6783), DE_VAUCOULEURS: (4.0, 7.6692)}[profile]
    within = gammainc(2 * n, b * np.minimum(radius, CUT[profile]) ** (1 / n))
    return within / gammainc(2 * n, b * CUT[profile] ** (1 / n))


@cache
def galaxy_gaussians(profile: int, few: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (k,), whose sum is 1, and sigmas (k,), half-light radii, of a profile."""
    if profile == POINT:
        return np.ones(1), np.zeros(1)
    first = {EXPONENTIAL: 0.2, DE_VAUCOULEURS: 0.05}[profile] * (2 if few else 1)
    start = np.geomspace(first, 0.3 * CUT[profile], NUMBER[profile] // (2 if few else 1))
    return _fit(partial(growth, profile), np.geomspace(0.02, 1.2 * CUT[profile], 200), start)


@cache
def seeing_gaussians(beta: float, number: int = SEEING) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (k,), whose sum is 1, and sigmas (k,), FWHM, of a Moffat law."""
    alpha = 1 / (2 * math.sqrt(2 ** (1 / beta) - 1))

    def law(radius):
        return 1 - (1 + (radius / alpha) ** 2) ** (1 - beta)

    return _fit(law, np.geomspace(0.05, 4 * number - 6, 200), np.geomspace(0.3, number / 2, number))


def _gaussians(profile: int, side: int, beta: float) -> tuple:
    """Return the Gaussians of a profile and of the seeing for stamps of some half side."""
    few = side <= FEW
    return galaxy_gaussians(profile, few), seeing_gaussians(beta, SEEING if few else WINGS)


def _fit(law, radius, start) -> tuple[np.ndarray, np.ndarray]:
    """Fit Gaussians to a curve of growth by least squares."""
    wanted = law(radius)

    def unpack(numbers):
        weights = numbers[: len(start)] ** 2
        return weights / weights.sum(), np.exp(numbers[len(start) :])

    def away(numbers):
        weights, sigmas = unpack(numbers)
        inside = -np.expm1(-0.5 * (radius[:, None] / sigmas) ** 2)
        off = inside @ weights - wanted
        # The light within, the slope of its growth, and the wings, which few photons make visible.
        wings = np.log((1e-4 + 1 - wanted - off) / (1e-4 + 1 - wanted))
        return np.concatenate([off, 5 * np.diff(off), 0.01 * wings])

    first = np.concatenate([np.ones(len(start)), np.log(start)])
    return unpack(least_squares(away, first).x)


def reach(parts: dict, sigma, fwhm, beta: float, scale: float) -> np.ndarray:
    """Return how far, px, from their centres galaxies are above ``VISIBLE`` or hold their light.

    Parameters
    ----------
    parts : dict of (k,) arrays
        ``flux`` (k, band) nJy, ``profile``, ``r_e`` (arcsec).
    sigma : (k, band) array
        Noise of a pixel, nJy.
    fwhm : (k,) array
        Widest seeing of each one's tile, arcsec.
    beta, scale : float
        The Moffat law's exponent; pixel side, arcsec.
    """
    r_e = np.maximum(parts["r_e"], 0.05)
    # Light per pixel of a profile of radius 1 arcsec, in units of what can be seen.
    level = (parts["flux"] / sigma).max(1) * scale**2 / VISIBLE
    alpha = fwhm / (2 * math.sqrt(2 ** (1 / beta) - 1))
    centre = np.maximum(level * (beta - 1) / (math.pi * alpha**2), 1)
    point = alpha * np.sqrt(np.minimum(centre ** (1 / beta), 200) - 1)
    disc = r_e / 1.678 * np.log(np.maximum(level * 0.448 / r_e**2, 1))
    bulge = r_e * (1 + np.log(np.maximum(level / (22.67 * r_e**2), 1e-3)) / 7.669).clip(0) ** 4
    profile = parts["profile"]
    far = np.select(
        [profile == POINT, profile == EXPONENTIAL],
        [point, np.clip(disc, 4 * r_e, CUT[EXPONENTIAL] * r_e) + fwhm],
        np.clip(bulge, 6 * r_e, CUT[DE_VAUCOULEURS] * r_e) + fwhm,
    )
    return np.minimum(np.maximum(far, 2.5 * fwhm), LARGEST) / scale


@torch.no_grad()
def paint(canvas: torch.Tensor, parts: dict, seeing: dict, beta: float, scale: float) -> None:
    """Add galaxies and stars to a canvas, in place.

    Parameters
    ----------
    canvas : (n, band, y, x) tensor
        nJy per pixel; its middle is the tile's centre.
    parts : dict of (k,) arrays
        ``owner`` (tile), ``x``, ``y`` (arcsec from the centre), ``flux`` (k, band) nJy,
        ``profile``, ``r_e`` (semi-major half-light radius, arcsec), ``q``, ``phi`` (rad, from +x
        to +y), ``reach`` (px; see there).
    seeing : dict of (n, ...) arrays
        ``psf_fwhm`` (n, band) arcsec, ``psf_q``, ``psf_phi`` (n,).
    beta, scale : float
        Exponent of the Moffat law; pixel side, arcsec.
    """
    size = canvas.shape[-1]
    pad = max(HALVES)
    half = np.array(HALVES)[np.searchsorted(HALVES[:-1], np.ceil(parts["reach"]))]
    x, y = (parts[name] / scale + (size - 1) / 2 for name in ("x", "y"))
    for profile in (POINT, EXPONENTIAL, DE_VAUCOULEURS):
        for side in np.unique(half[parts["profile"] == profile]):
            near = (x > -side) & (x < size + side) & (y > -side) & (y < size + side)
            some = np.flatnonzero((parts["profile"] == profile) & (half == side) & near)
            terms = canvas.shape[1] * np.prod(
                [len(one[0]) for one in _gaussians(profile, side, beta)]
            )
            step = len(some)
            if canvas.device.type == "cpu":
                step = ELEMENTS // (terms * (2 * side + 1) ** 2)
            for begin in range(0, len(some), max(step, 1)):
                one = some[begin : begin + max(step, 1)]
                chosen = {name: values[one] for name, values in parts.items()}
                chosen |= {"x": x[one], "y": y[one]}
                _stamps(canvas, chosen, profile, int(side), seeing, beta, scale, pad)


def _stamps(canvas, parts, profile, side, seeing, beta, scale, pad) -> None:
    """Add stamps of one size and profile to the canvas."""
    device, (_, bands, size, _) = canvas.device, canvas.shape
    middle = np.rint(np.stack([parts["x"], parts["y"]])).astype(int)  # (2, k)
    terms = _exponents(parts, middle, _gaussians(profile, side, beta), seeing, scale)
    steps = torch.arange(-side, side + 1, dtype=torch.float32, device=device)
    x, y = steps.repeat(len(steps)), steps.repeat_interleave(len(steps))
    shapes = torch.stack([x * x, x * y, y * y, x, y, torch.ones_like(x)])
    light = (torch.from_numpy(terms.astype(np.float32)).to(device) @ shapes).clamp_(min=-20)
    light = light.exp_().view(len(parts["x"]), bands, -1, len(x)).sum(2)
    owner, whole = torch.from_numpy(parts["owner"]).to(device), steps.long()
    column, row = (torch.from_numpy(one).to(device)[:, None] + whole for one in middle)
    inside = ((column >= 0) & (column < size))[:, None, :] & ((row >= 0) & (row < size))[:, :, None]
    place = row.clamp(0, size - 1)[:, :, None] * size + column.clamp(0, size - 1)[:, None, :]
    light = light.view(len(owner), bands, len(steps), len(steps)) * inside[:, None]
    base = (owner[:, None] * bands + torch.arange(bands, device=device)) * size**2
    canvas.view(-1).index_add_(
        0, (place[:, None] + base[..., None, None]).flatten(), light.flatten()
    )


def _exponents(parts, middle, gaussians, seeing, scale) -> np.ndarray:
    """Return the coefficients of x2, xy, y2, x, y, 1 in each Gaussian's logarithm: (m, 6).

    x and y are pixels from ``middle``; m runs over galaxies, bands and Gaussians.
    """
    (weights, sigmas), (psf_weights, psf_sigmas) = gaussians
    owner = parts["owner"]
    own = _covariance(parts["r_e"] / scale, parts["q"], parts["phi"])  # (3, k)
    blur = _covariance(
        seeing["psf_fwhm"][owner].T / scale, seeing["psf_q"][owner], seeing["psf_phi"][owner], True
    )  # (3, band, k)
    own = own[:, :, None, None, None] * (sigmas**2)[:, None]
    blur = np.moveaxis(blur, 1, 2)[..., None, None] * psf_sigmas**2
    xx, xy, yy = own + blur  # (k, band, gaussian, seeing)
    xx, yy = xx + 1 / 12, yy + 1 / 12
    det = xx * yy - xy**2
    dx, dy = (parts[name] - one for name, one in zip(("x", "y"), middle))
    dx, dy = dx[:, None, None, None], dy[:, None, None, None]
    flux = parts["flux"][:, :, None, None] * np.outer(weights, psf_weights)
    a, b, c = yy / det, -xy / det, xx / det
    top = np.log(np.maximum(flux, 1e-9) / (2 * math.pi * np.sqrt(det)))
    constant = top - 0.5 * (a * dx**2 + 2 * b * dx * dy + c * dy**2)
    terms = [-a / 2, -b, -c / 2, a * dx + b * dy, c * dy + b * dx, constant]
    return np.stack([one.ravel() for one in terms], 1)


def _covariance(size, q, phi, mean: bool = False) -> np.ndarray:
    """Return xx, xy, yy of an ellipse of major axis ``size``, or of that geometric mean."""
    major = size**2 / q if mean else size**2
    minor = size**2 * q if mean else size**2 * q**2
    c, s = np.cos(phi), np.sin(phi)
    return np.stack([major * c**2 + minor * s**2, (major - minor) * c * s,
                     major * s**2 + minor * c**2])  # fmt: skip
