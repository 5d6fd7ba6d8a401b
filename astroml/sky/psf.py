"""The point spread function: an elliptical Moffat law, applied through its Fourier transform."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from scipy.special import gamma, kv

from astroml.sky.paint import FINE

TABLE_END, TABLE_STEPS = 30.0, 2**17
"""Largest argument of the tabulated transform, beyond which it is 0, and steps up to it."""


@cache
def _table(beta: float) -> np.ndarray:
    """Tabulate the transform of a Moffat law of flux 1 against u = 2 pi k alpha.

    2^(2-beta) / Gamma(beta-1) u^(beta-1) K_(beta-1)(u), with K the modified Bessel function:
    the Hankel transform of (1 + r^2/alpha^2)^-beta.
    """
    u = np.linspace(0, TABLE_END, TABLE_STEPS + 1)[1:]
    values = 2 ** (2 - beta) / gamma(beta - 1) * u ** (beta - 1) * kv(beta - 1, u)
    return np.concatenate([[1.0], values[:-1], [0.0]]).astype(np.float32)


def moffat_transform(psf_fwhm, psf_q, psf_phi, beta: float, kx, ky) -> torch.Tensor:
    """Return the Fourier transform of elliptical Moffat laws of flux 1.

    Parameters
    ----------
    psf_fwhm : (n, band) tensor
        Full width at half maximum, geometric mean of both axes, arcsec.
    psf_q, psf_phi : (n,) tensor
        Axis ratio, and angle of the major axis from +x to +y, rad.
    beta : float
        Exponent.
    kx, ky : (x,) and (y,) tensor
        Frequencies, cycles/arcsec.

    Returns
    -------
    (n, band, y, x) tensor
        Real: the law is symmetric.
    """
    alpha = psf_fwhm / (2 * math.sqrt(2 ** (1 / beta) - 1))
    c, s = torch.cos(psf_phi)[:, None, None], torch.sin(psf_phi)[:, None, None]
    along = c * kx[None, None, :] + s * ky[None, :, None]
    across = c * ky[None, :, None] - s * kx[None, None, :]
    q = psf_q[:, None, None]
    k = torch.sqrt(along**2 / q + across**2 * q)  # (n, y, x)
    place = k[:, None] * (2 * math.pi * TABLE_STEPS / TABLE_END * alpha)[..., None, None]
    nearest = place.add_(0.5).clamp_(max=TABLE_STEPS).int()
    table = torch.from_numpy(_table(beta)).to(k.device)
    return table.index_select(0, nearest.flatten()).view(nearest.shape)


def transfer(psf_fwhm, psf_q, psf_phi, beta: float, cells: int, scale: float, fold: bool):
    """Return what turns the spectrum of a canvas into that of the blurred pixels.

    The seeing, and the pixels' own response: cells hold the light of their area, and a pixel is
    the sum of two by two of them, seen from its middle.

    Parameters
    ----------
    psf_fwhm, psf_q, psf_phi, beta
        See ``moffat_transform``.
    cells : int
        Side of the canvas.
    scale : float
        Side of a cell, arcsec.
    fold : bool
        Whether frequencies beyond what the pixels can hold are kept, to be folded back as
        sampling does; without them the work is a quarter. See ``undersampled``.

    Returns
    -------
    (n, band, ky, kx) complex tensor
    """
    ky = torch.fft.fftfreq(cells, scale, device=psf_fwhm.device)
    kx = torch.fft.rfftfreq(cells, scale, device=psf_fwhm.device)
    if not fold:
        ky, kx = _low(ky, cells, 0), kx[: cells // FINE // 2 + 1]
    blur = moffat_transform(psf_fwhm, psf_q, psf_phi, beta, kx, ky)
    along, across = (torch.exp(1j * math.pi * scale * k) for k in (ky, kx))
    response = torch.cos(math.pi * scale * ky)[:, None] * torch.cos(math.pi * scale * kx)
    return blur * (response * along[:, None] * across)


def undersampled(psf_fwhm: float, pixel_scale: float) -> bool:
    """Say whether pixels alias the light of point sources.

    With three pixels in the FWHM, the Moffat law of beta 3 holds 0.2% of its amplitude at the
    pixels' highest frequency.
    """
    return psf_fwhm < 3 * pixel_scale


def _low(spectrum: torch.Tensor, cells: int, axis: int) -> torch.Tensor:
    """Keep the frequencies of a whole axis that pixels can hold, in their own order."""
    pixels = cells // FINE
    first, last = (pixels + 1) // 2, pixels // 2
    parts = spectrum.narrow(axis, 0, first), spectrum.narrow(axis, cells - last, last)
    return torch.cat(parts, axis)


def blurred(canvas: torch.Tensor, through: torch.Tensor) -> torch.Tensor:
    """Blur a canvas and sum its cells into pixels.

    The canvas wraps around: light beyond its margins comes in on the other side.

    Parameters
    ----------
    canvas : (n, band, y, x) tensor
        Flux per cell; one band is blurred for all bands of ``through``.
    through : (n, band, ky, kx) tensor
        What ``transfer`` returned.

    Returns
    -------
    (n, band, y / FINE, x / FINE) tensor
        Flux per pixel.
    """
    cells = canvas.shape[-1]
    pixels = cells // FINE
    half = pixels // 2 + 1
    if through.shape[-2] == pixels:
        rows = torch.fft.rfft(canvas, dim=-1)[..., :half]
        spectrum = _low(torch.fft.fft(rows, dim=-2), cells, -2) * through
    else:
        spectrum = torch.fft.rfft2(canvas) * through
        spectrum = spectrum[..., :pixels, :] + spectrum[..., pixels:, :]
        # Frequency kx - pixels lies, as the light is real, at minus ky and pixels - kx.
        mirror = spectrum[..., pixels - half + 1 :].flip(-1)
        mirror = mirror.flip(-2).roll(1, -2).conj()
        spectrum = spectrum[..., :half] + mirror
    return torch.fft.irfft2(spectrum, s=(pixels, pixels))


def convolve(canvas: torch.Tensor, psf_fwhm, psf_q, psf_phi, beta: float, scale: float):
    """Blur a canvas and sum its cells into pixels: ``blurred`` through ``transfer``, folded."""
    cells = canvas.shape[-1]
    return blurred(canvas, transfer(psf_fwhm, psf_q, psf_phi, beta, cells, scale, fold=True))
