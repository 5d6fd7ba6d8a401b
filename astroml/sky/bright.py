"""What is large in a wide tile: haloes and saturated hearts of stars, discs in the foreground."""

from __future__ import annotations

import math

import numpy as np
import torch

from astroml.sky import members, profiles
from astroml.sky.foreground import SATURATED, aureole, surface
from astroml.sky.paint import canvas_axis
from astroml.sky.surroundings import DE_VAUCOULEURS, FIELD, POINT, STAR
from astroml.store import MASK
from astroml.survey import Survey, galactic_extinction

HALO = 13.5
"""Stars brighter than this, r, have a halo that can be seen."""

BLEEDS = 12.0
"""Stars brighter than this, r, bleed along their columns."""

ABSENT = 99.0
"""Magnitude of a star or disc that is not there."""

NEAR_Z = 0.01
"""Redshift of discs in the foreground."""


def parts(columns: dict, rows, survey: Survey) -> dict[str, np.ndarray]:
    """Return what a tile holds besides the galaxies and stars of ``groups.draw``, like these.

    Parameters
    ----------
    columns : dict of (n,) arrays
        ``bright_mag`` (r, AB; ``ABSENT`` for none), ``bright_x``, ``bright_y`` (arcsec) of a
        star; ``disc_mag``, ``disc_x``, ``disc_y``, ``disc_bulge`` (share of the light),
        ``disc_size`` (half-light radius, arcsec), ``disc_q``, ``disc_phi``; ``ebv``.
    rows : sequence of int
        Rows of ``columns``.
    survey : Survey
        Bands.

    Returns
    -------
    dict of (k,) arrays
        The star, and the bulge of the disc; see ``groups.draw``.
    """
    rows = np.asarray(rows)
    here = {name: np.asarray(columns[name])[rows] for name in columns}
    star, disc = (np.flatnonzero(here[f"{name}_mag"] < ABSENT) for name in ("bright", "disc"))
    wavelengths = [band.wavelength for band in survey.bands.values()]
    tint = members.stars(np.full(len(star), 0.25), (*wavelengths, members.REFERENCE))
    red = _disc_colour(np.full(len(disc), 0.97), (*wavelengths, members.REFERENCE))
    bulge = here["disc_mag"][disc] - 2.5 * np.log10(np.maximum(here["disc_bulge"][disc], 1e-3))
    owner = np.concatenate([star, disc])
    mags = np.concatenate([here["bright_mag"][star, None] + tint, bulge[:, None] + red])
    dust = galactic_extinction(here["ebv"][owner], wavelengths)
    none, one = np.zeros(len(star)), np.ones(len(disc))
    found = {
        "owner": owner,
        "x": np.concatenate([here["bright_x"][star], here["disc_x"][disc]]),
        "y": np.concatenate([here["bright_y"][star], here["disc_y"][disc]]),
        "system": np.repeat([STAR, FIELD], [len(star), len(disc)]),
        "z": np.concatenate([none, NEAR_Z * one]),
        "mag": mags[:, -1],
        "flux": 10 ** (-0.4 * (mags[:, :-1] + dust - 31.4)),
        "profile": np.repeat([POINT, DE_VAUCOULEURS], [len(star), len(disc)]),
        "r_e": np.concatenate([none, 0.15 * here["disc_size"][disc]]),
        "q": np.concatenate([none + 1, np.sqrt(here["disc_q"][disc])]),
        "phi": np.concatenate([none, here["disc_phi"][disc]]),
    }
    return found | {name: np.zeros(len(owner), bool) for name in ("red", "counted")}


def _disc_colour(old, wavelengths) -> np.ndarray:
    """Return magnitudes minus that in r, (n, band), of galaxies nearby."""
    colour = members.relative(old, np.full(len(old), NEAR_Z), (*wavelengths, members.RED))
    return colour[:, :-1] - colour[:, -1:]


@torch.no_grad()
def paint_discs(canvas: torch.Tensor, columns: dict, rows, survey: Survey) -> None:
    """Add the discs, without their bulges, to a canvas (n, band, y, x), in place.

    They are so much larger than the seeing that it is left out. See ``parts``; besides:
    ``disc_old`` (share of old stars), ``disc_arms``, ``disc_strength``, ``disc_pitch`` of the arms.
    """
    wavelengths = [band.wavelength for band in survey.bands.values()]
    axis = canvas_axis(canvas.shape[-1], survey.pixel_scale, canvas.device)
    for at, row in enumerate(rows):
        one = {name: values[row] for name, values in columns.items() if name.startswith("disc_")}
        if one["disc_mag"] >= ABSENT:
            continue
        mags = one["disc_mag"] + _disc_colour(np.array([one["disc_old"]]), wavelengths)[0]
        mags = mags + galactic_extinction(columns["ebv"][row], wavelengths)[0]
        flux = 10 ** (-0.4 * (mags - 31.4)) * (1 - one["disc_bulge"]) * survey.pixel_scale**2
        shape = {"shape": profiles.SERSIC, "n_sersic": 1.0, "width": 0.1, "arm_phase": 0.0}
        shape |= {name: one[f"disc_{name}"] for name in ("x", "y", "q", "phi", "arms")}
        shape |= {"r_e": one["disc_size"], "arm_pitch": one["disc_pitch"]}
        shape["arm_strength"] = one["disc_strength"]
        shape = {
            name: torch.full((1, 1, 1), float(value), device=canvas.device)
            for name, value in shape.items()
        }
        light = profiles.surface_brightness(shape, axis[None, None, :], axis[None, :, None])
        canvas[at] += torch.from_numpy(flux.astype(np.float32)).to(canvas)[:, None, None] * light


@torch.no_grad()
def paint_haloes(canvas, mask, stars: dict, survey: Survey) -> None:
    """Add the haloes of bright stars, and mask what bleeds, in place.

    Parameters
    ----------
    canvas : (n, band, y, x) tensor
        nJy per pixel.
    mask : (n, band, y, x) uint8 tensor
        Bits of ``store.MASK``.
    stars : dict of (k,) arrays
        ``owner``, ``x``, ``y`` (arcsec), ``flux`` (k, band) nJy.
    survey : Survey
        Bands and pixels.
    """
    scale, device = survey.pixel_scale, canvas.device
    axis = canvas_axis(canvas.shape[-1], scale, device)
    red = np.abs([band.wavelength - 642 for band in survey.bands.values()]).argmin()
    mag = 31.4 - 2.5 * np.log10(stars["flux"][:, red])
    for one in np.flatnonzero(mag < HALO):
        at, flux = stars["owner"][one], torch.from_numpy(stars["flux"][one].astype(np.float32))
        x, y = axis - float(stars["x"][one]), axis - float(stars["y"][one])
        radius = torch.sqrt(x[None, :] ** 2 + y[:, None] ** 2)
        # 31.4 is the magnitude of 1 nJy.
        canvas[at] += flux.to(device)[:, None, None] * aureole(radius, 31.4, scale)
        if mag[one] < BLEEDS:
            length = 6 * 10 ** (0.2 * (BLEEDS - mag[one]))
            trail = (x.abs() < 0.75 * scale)[None, :] & (y.abs() < length)[:, None]
            mask[at] |= MASK["saturated"] * trail
            full = surface(SATURATED, scale)
            canvas[at] = torch.where(trail, canvas[at].clamp(min=0.3 * full), canvas[at])


def saturate(image, mask, scale: float) -> None:
    """Cut (n, band, y, x) images off where pixels are full, and mask these, in place."""
    full = surface(SATURATED, scale)
    mask |= (image > full) * MASK["saturated"]
    image.clamp_(max=full)


def draw_disc(rng: np.random.Generator, half: float) -> dict[str, float]:
    """Draw a large galaxy in the foreground, anywhere in a square of half side ``half``, arcsec."""
    mag, mu = rng.uniform(12.0, 15.5), rng.uniform(20.4, 22.3)
    old, bulge = rng.uniform(0.3, 0.9), rng.uniform(0.05, 0.4)
    q = rng.uniform(0.2, 1.0)
    # The mean surface brightness within the radius that holds half of the light.
    size = 10 ** (0.2 * (mu - mag)) / math.sqrt(2 * math.pi * q)
    return {
        "mag": mag,
        "x": rng.uniform(-half, half),
        "y": rng.uniform(-half, half),
        "size": min(max(size, 5.0), 60.0),
        "q": q,
        "phi": rng.uniform(0, math.pi),
        "old": old,
        "bulge": bulge,
        "arms": float(rng.choice([2, 2, 3, 4])),
        "strength": rng.uniform(0.3, 1.8),
        "pitch": math.radians(rng.uniform(12, 30)),
    }
