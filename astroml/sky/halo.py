"""From drawn parameters to wide, deep cutouts: galaxies, tidal features, foreground, noise."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from astroml.sky import foreground, nearby, noise
from astroml.sky.colours import magnitudes
from astroml.sky.conditions import stream
from astroml.sky.debris import FEATURE_NAMES, NONE, paint_features
from astroml.sky.galaxies import MAG_WAVELENGTH
from astroml.sky.paint import FINE
from astroml.sky.psf import blurred
from astroml.sky.render import draw_canvas, gains, in_chunks, margin, seeing, take
from astroml.sky.tides import nearest
from astroml.survey import NJY_PER_ZERO_MAG, Survey, summed_noise

OF_MEAN = 0.25
"""Surface brightness that bounds a footprint, over the feature's mean weighted by its own light."""

OF_NOISE, BOX = 0.3, 5
"""Surface brightness that bounds what can be seen, over the noise of a mean of BOX x BOX px."""

OF_LIGHT = 0.05
"""Share of a pixel's light below which a feature is lost in that of the galaxies."""

PIECE = 8
"""Objects whose canvases are in a CPU's caches at once: measured the fastest."""

MEASURED = ("mu_feature", "feature_flux", "feature_area", "feature_visible")
"""What is measured of the features while they are drawn; see ``render``."""

FAINT_TYPES = ((0.15, 0.7), (0.6, 0.5))
"""Share of old stars and redshift of unresolved galaxies."""


def render(columns: dict, survey: Survey, size: int, rows, device="cpu", seed: int = 1) -> dict:
    """Render noisy cutouts of some objects.

    Parameters
    ----------
    columns : dict
        What the task's ``population`` drew.
    survey : Survey
        Bands, pixels, gains.
    size : int
        Side of the cutouts, px.
    rows : sequence of int
        Rows of ``columns``.
    device : str
        ``cpu`` or ``cuda``.
    seed : int
        Seed of the population and of the pixel noise.

    Returns
    -------
    dict of numpy arrays
        ``image`` (n, band, y, x) float32 nJy; ``mask`` (n, band, y, x) uint8, bits of
        ``store.MASK``; ``sigma`` (n, band) nJy; ``psf_fwhm`` (n, band) arcsec; ``truth`` (n, y, x)
        uint8, a bit per class where a feature can be seen in r: its own light, blurred, is above
        ``OF_MEAN`` of its mean (see ``footprint``), above ``OF_NOISE`` of the sky noise of a mean
        over 5 x 5 px, and at least ``OF_LIGHT`` of all light in the pixel. And (n,):
        ``mu_feature``, the mean surface brightness of the features' footprint in r, mag/arcsec2;
        ``feature_flux``, their light within the cutout, r, nJy; ``feature_area`` of the footprint,
        arcsec2; ``feature_visible``, the share of the footprint that is in the truth. All are 0
        without a feature, and of features at full strength.
    """
    drawn = draw_cutouts(columns, survey, size, rows, device, seed)
    return {name: values.cpu().numpy() for name, values in drawn.items()}


def draw_cutouts(columns: dict, survey: Survey, size: int, rows, device, seed: int) -> dict:
    """Do what ``render`` does, and leave the tensors where they were made."""
    rows = np.asarray(rows)
    return in_chunks(partial(_render, columns, survey, size, device, seed), rows, device)


@torch.no_grad()
def _render(columns: dict, survey: Survey, size: int, device: str, seed: int, rows) -> dict:
    light = draw_light(columns, survey, size, rows, device, seed)
    here = take(columns, rows, device)
    total, sigma = light["galaxies"] + light["features"], here["sigma"]
    mask = torch.zeros(total.shape, dtype=torch.uint8, device=device)
    image = total + here["background"][..., None, None]
    modes = here["residue"].transpose(1, 2)
    image += foreground.residue(light["galaxies"], sigma, modes, survey.pixel_scale)
    over = torch.zeros_like(total)
    keys = columns["key"][rows]
    foreground.paint_foreground(over, mask, here, keys, seed, survey.pixel_scale)
    field = noise.unit_noise(rows, total.shape[1], size, survey.noise_correlation, seed).to(device)
    level = noise.noise_level(total + over, sigma, gains(survey, device))
    image += over + field * level
    defect = {name: columns[name][rows] for name in columns if "defect" in name}
    noise.spoil(image, mask, sigma, defect)
    known = {name: light[name] for name in ("truth", *MEASURED)}
    return {"image": image, "mask": mask, "sigma": sigma, "psf_fwhm": here["psf_fwhm"]} | known


def draw_light(columns: dict, survey: Survey, size: int, rows, device="cpu", seed=1) -> dict:
    """Render the noiseless light of some objects, without foreground.

    Returns
    -------
    dict of tensors
        ``galaxies`` and ``features`` (n, band, y, x), nJy per pixel, the latter at the strength of
        the sky; ``truth``, ``mu_feature``, ``feature_flux``, ``feature_area``: see ``render``.
    """
    step = PIECE if device == "cpu" else len(rows)
    drawn = [
        _light(columns, survey, size, rows[begin : begin + step], device, seed)
        for begin in range(0, len(rows), step)
    ]
    return {name: torch.cat([one[name] for one in drawn]) for name in drawn[0]}


@torch.no_grad()
def _light(columns: dict, survey: Survey, size: int, rows, device: str, seed: int) -> dict:
    here = take(columns, rows, device)
    edge = margin(survey)
    canvas = draw_canvas(here, size, survey)
    _faint(canvas, columns, rows, survey, seed)
    through = seeing(here, canvas.shape[-1], survey)
    inside = slice(edge, edge + size)
    stars = blurred(canvas, through)[..., inside, inside]
    features, known = draw_features(here, through, stars, survey, inside)
    return {"galaxies": stars, "features": features} | known


def draw_features(here: dict, through, stars, survey: Survey, inside: slice) -> tuple:
    """Draw the light of tidal features.

    Parameters
    ----------
    here : dict of (n, ...) tensors
        What ``tides.table`` drew, and ``sigma`` (n, band) nJy.
    through : (n, band, ky, kx) tensor
        Seeing; see ``render.seeing``.
    stars : (n, band, y, x) tensor
        All other light, nJy per pixel, in which features may be lost.
    survey : Survey
        Bands and pixels.
    inside : slice
        Pixels of the canvas that the cutout shows.

    Returns
    -------
    features : (n, band, y, x) tensor
        nJy per pixel, at the strength of the sky.
    known : dict of tensors
        ``truth`` and ``MEASURED``; see ``render``.
    """
    n, size = len(stars), stars.shape[-1]
    scale, red = survey.pixel_scale, nearest([band.wavelength for band in survey.bands.values()])
    some = torch.nonzero(here["feature_shape"] != NONE)
    owner, slot = some[:, 0], some[:, 1]
    shapes = {name: here[f"feature_{name}"][owner, slot] for name in FEATURE_NAMES}
    painted = paint_features(shapes, FINE * (size + 2 * inside.start), scale / FINE)
    seen = blurred(painted[:, None], through[owner])[..., inside, inside]
    feet, mean = footprint(seen[:, red])
    level = foreground.surface(here["feature_mu_seen"][owner, slot], scale)
    gain = torch.where(mean > 0, level / mean.clamp(min=1e-30), 0.0)
    colour = here["feature_colour"][owner, slot]
    own = seen * (gain[:, None] * colour)[..., None, None]
    red_light = torch.zeros(n, size, size, device=stars.device)
    red_light.index_add_(0, owner, own[:, red])
    feet_of = torch.zeros_like(red_light).index_add_(0, owner, feet.float()) > 0
    noise5 = OF_NOISE * summed_noise(survey.noise_correlation, BOX) / BOX**2
    visible = own[:, red] > (noise5 * here["sigma"][owner, red])[:, None, None]
    visible &= own[:, red] > OF_LIGHT * (stars[:, red] + red_light)[owner]
    truth = torch.zeros(n, size, size, dtype=torch.uint8, device=stars.device)
    bits = here["feature_bit"][owner, slot].to(torch.uint8)
    for which, one in enumerate(owner.tolist()):
        truth[one] |= (feet & visible)[which] * bits[which]
    area = feet_of.sum((1, 2))
    flux = (red_light * feet_of).sum((1, 2)) / (area * scale**2).clamp(min=1e-9)
    mu = torch.where(flux > 0, 31.4 - 2.5 * torch.log10(flux.clamp(min=1e-30)), 0.0)
    features = torch.zeros_like(stars)
    features.index_add_(0, owner, own * here["feature_gain"][owner, slot, None, None, None])
    return features, {
        "truth": truth,
        "mu_feature": mu,
        "feature_flux": red_light.sum((1, 2)),
        "feature_area": area * scale**2,
        "feature_visible": (truth > 0).sum((1, 2)) / area.clamp(min=1),
    }


def footprint(light: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where features are, and their mean brightness there.

    Parameters
    ----------
    light : (m, y, x) tensor
        Light of one feature each, the seeing applied.

    Returns
    -------
    footprint : (m, y, x) tensor of bool
        Pixels brighter than ``OF_MEAN`` of the mean weighted by the light itself, the sum of the
        squares over the sum.
    mean : (m,) tensor
        Mean of these pixels; 0 where there is no light.
    """
    light = light.clamp(min=0)
    mean = light.square().sum((1, 2)) / light.sum((1, 2)).clamp(min=1e-30)
    feet = (light > OF_MEAN * mean[:, None, None]) & (mean > 0)[:, None, None]
    return feet, (light * feet).sum((1, 2)) / feet.sum((1, 2)).clamp(min=1)


def _faint(canvas, columns: dict, rows, survey: Survey, seed: int) -> None:
    """Add unresolved galaxies and stars to a canvas of cells, in place."""
    cells, scale = canvas.shape[-1], survey.pixel_scale / FINE
    wavelengths = np.array([band.wavelength for band in survey.bands.values()])
    old, z = np.array(FAINT_TYPES).T
    mags = magnitudes(old, z, wavelengths, np.zeros(2), MAG_WAVELENGTH)
    tints = NJY_PER_ZERO_MAG * 10 ** (-0.4 * mags)
    for at, row in enumerate(rows):
        faint = nearby.field(stream(seed, foreground.FIELD, int(columns["key"][row])))[1]
        place = np.floor(faint[:, 2:4] / scale + cells / 2).astype(int)
        inside = ((place >= 0) & (place < cells)).all(1)
        flux = tints[(faint[inside, 8] > 0.6).astype(int)] * 10 ** (-0.4 * faint[inside, :1])
        flat = torch.from_numpy(place[inside, 1] * cells + place[inside, 0]).to(canvas.device)
        light = torch.from_numpy(flux.T.astype(np.float32)).to(canvas.device)
        canvas[at].view(len(wavelengths), -1).index_add_(1, flat, light)
