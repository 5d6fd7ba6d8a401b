"""Surface brightness of galaxies: Sersic profiles, rings, and arms that modulate them.

Every profile has total flux 1, by the analytic integral over the plane. Positions are arcsec on a
plane with x along axis -1 and y along axis -2 of images; angles are radians from +x towards +y.
"""

from __future__ import annotations

import math

import torch
from caustics.light.func import k_sersic
from caustics.utils import translate_rotate

NONE, SERSIC, RING = 0, 1, 2
"""Shapes of a component; 0 is an empty slot."""

SHAPE_NAMES = ("shape", "x", "y", "q", "phi", "n_sersic", "r_e", "width")
ARM_NAMES = ("arms", "arm_strength", "arm_phase", "arm_pitch")
"""Numbers that describe a component; see ``surface_brightness``."""


def sersic_amplitude(n, r_e, q) -> torch.Tensor:
    """Return the brightness at the effective isophote of a Sersic profile of flux 1.

    Graham & Driver (2005, PASA 22, 118), eq. 4: L = 2 pi n r_e^2 q e^k k^(-2n) Gamma(2n) I_e.

    Parameters
    ----------
    n, r_e, q : tensor
        Sersic index, semi-major axis of the isophote that holds half the light (arcsec), axis
        ratio.

    Returns
    -------
    tensor
        1/arcsec^2.
    """
    k = k_sersic(n)
    log_area = k - 2 * n * torch.log(k) + torch.lgamma(2 * n)
    return torch.exp(-log_area) / (2 * math.pi * n * r_e**2 * q)


def sersic(parts: dict[str, torch.Tensor], x, y) -> torch.Tensor:
    """Return the brightness (m, y, x) of Sersic profiles of flux 1, 1/arcsec^2.

    Graham & Driver (2005, PASA 22, 118), eq. 1. The elliptical radius is a quadratic form, and the
    rest is done in place: on a CPU, passes over memory are what painting costs.

    Parameters
    ----------
    parts : dict of (m, 1, 1) tensors
        ``x``, ``y``, ``q``, ``phi``, ``n_sersic``, ``r_e``; see ``surface_brightness``.
    x, y : (m or 1, 1, x) and (m or 1, y, 1) tensor, or both (m, y, x)
        arcsec
    """
    k, amplitude = sersic_terms(parts["n_sersic"], parts["r_e"], parts["q"])
    light = elliptical_radius(parts, x, y).pow_(0.5 / parts["n_sersic"])
    return torch.addcmul(amplitude, light, -k, out=light).exp_()


def sersic_terms(n, r_e, q) -> tuple[torch.Tensor, torch.Tensor]:
    """Return k and a of brightness = exp(a - k (r / r_e)^(1/n))."""
    k = k_sersic(n)
    return k, torch.log(sersic_amplitude(n, r_e, q)) + k


def elliptical_radius(parts: dict[str, torch.Tensor], x, y) -> torch.Tensor:
    """Return the square of the elliptical radius in units of ``r_e``, along the major axis."""
    c, s = torch.cos(parts["phi"]), torch.sin(parts["phi"])
    flat, size = parts["q"] ** -2, parts["r_e"] ** -2
    x, y = x - parts["x"], y - parts["y"]
    square = x**2 * ((c**2 + s**2 * flat) * size) + y**2 * ((s**2 + c**2 * flat) * size)
    # Rounding may leave a centre slightly below 0.
    return square.addcmul_(x * (2 * c * s * (1 - flat) * size), y).clamp_(min=0)


def ring_amplitude(radius, width, q) -> torch.Tensor:
    """Return the peak brightness of an elliptical Gaussian ring of flux 1, 1/arcsec^2."""
    inner = width**2 * torch.exp(-(radius**2) / (2 * width**2))
    arc = radius * width * math.sqrt(math.pi / 2) * (1 + torch.erf(radius / (width * math.sqrt(2))))
    return 1 / (2 * math.pi * q * (inner + arc))


def surface_brightness(parts: dict[str, torch.Tensor], x, y) -> torch.Tensor:
    """Evaluate components of flux 1 on a grid.

    Parameters
    ----------
    parts : dict of (m, 1, 1) tensors
        ``shape`` (SERSIC or RING), centre ``x``, ``y`` (arcsec), axis ratio ``q``, angle ``phi`` of
        the major axis (rad), ``n_sersic``, ``r_e`` (semi-major effective radius, or the ring's
        radius, arcsec), ``width`` (sigma of the ring, arcsec), and ``arms`` (number of arms),
        ``arm_strength`` (concentration of the von Mises law; 0 is smooth), ``arm_phase`` and
        ``arm_pitch`` (rad; 0 does not wind).
    x, y : tensor
        Positions that broadcast with (m, 1, 1), arcsec.

    Returns
    -------
    (m, ...) tensor
        1/arcsec^2.
    """
    light = sersic(parts, x, y)
    ring = (parts["shape"] == RING).flatten()
    armed = (parts["arm_strength"] > 0).flatten()
    for special, change in ((ring, _ring), (armed, _arms)):
        if special.any():
            chosen = {name: value[special] for name, value in parts.items()}
            xs = x[special] if x.ndim == 3 and len(x) > 1 else x
            ys = y[special] if y.ndim == 3 and len(y) > 1 else y
            light[special] = change(chosen, xs, ys, light[special])
    return light


def _plane(parts, x, y) -> tuple[torch.Tensor, torch.Tensor]:
    """Return radius (arcsec) and angle (rad) in the plane of the disc."""
    u, v = translate_rotate(x, y, parts["x"], parts["y"], parts["phi"])
    v = v / parts["q"]
    return torch.sqrt(u**2 + v**2), torch.atan2(v, u)


def _ring(parts, x, y, light) -> torch.Tensor:
    radius, _ = _plane(parts, x, y)
    peak = ring_amplitude(parts["r_e"], parts["width"], parts["q"])
    return peak * torch.exp(-0.5 * ((radius - parts["r_e"]) / parts["width"]) ** 2)


def _arms(parts, x, y, light) -> torch.Tensor:
    """Modulate light by logarithmic arms; the mean over each circle of the disc stays what it was.

    The law across the arms is von Mises', exp(s cos t) / I0(s), which averages to 1 for any
    strength s, so that the total flux does not change.
    """
    radius, angle = _plane(parts, x, y)
    wound = torch.tan(parts["arm_pitch"]).clamp(min=1e-3)
    turn = torch.where(parts["arm_pitch"] > 0, torch.log(radius.clamp(min=1e-3)) / wound, 0.0)
    inner = (0.3 * parts["r_e"]) ** 2
    strength = parts["arm_strength"] * radius**2 / (radius**2 + inner)
    wave = torch.cos(parts["arms"] * (angle - parts["arm_phase"] - turn))
    return light * torch.exp(strength * wave) / bessel_i0(strength)


def bessel_i0(x: torch.Tensor) -> torch.Tensor:
    """Return the modified Bessel function I0, to a millionth of itself.

    Abramowitz & Stegun (1964), 9.8.1, up to 4: torch's own is not vectorised on a CPU.
    """
    if x.numel() and float(x.abs().max()) > 4:
        return torch.special.i0(x)
    square = (x / 3.75) ** 2
    value = torch.full_like(square, BESSEL[-1])
    for term in BESSEL[-2::-1]:
        value.mul_(square).add_(term)
    return value


BESSEL = (1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813)
"""Coefficients of I0 in powers of (x / 3.75)^2."""
