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


def convolve(canvas: torch.Tensor, psf_fwhm, psf_q, psf_phi, beta: float, scale: float):
    """Blur a canvas and sum its cells into pixels.

    A cell holds the integral over its area, which has blurred the profile by a square of its size:
    the transform of that square is divided out. Summing cells is the pixels' own response. The
    canvas wraps around: light beyond its margins comes in on the other side.

    Parameters
    ----------
    canvas : (n, band, y, x) tensor
        Flux per cell.
    psf_fwhm, psf_q, psf_phi, beta
        See ``moffat_transform``.
    scale : float
        Side of a cell, arcsec.

    Returns
    -------
    (n, band, y / FINE, x / FINE) tensor
        Flux per pixel.
    """
    cells = canvas.shape[-1]
    ky = torch.fft.fftfreq(cells, scale, device=canvas.device)
    kx = torch.fft.rfftfreq(cells, scale, device=canvas.device)
    blur = moffat_transform(psf_fwhm, psf_q, psf_phi, beta, kx, ky)
    blur /= torch.sinc(ky * scale)[:, None] * torch.sinc(kx * scale)
    blurred = torch.fft.irfft2(torch.fft.rfft2(canvas) * blur, s=(cells, cells))
    return torch.nn.functional.avg_pool2d(blurred, FINE) * FINE**2
