"""Lensed sources in real cutouts: the galaxy at the centre becomes the lens."""

from __future__ import annotations

import numpy as np
import torch

from astroml.photometry import UNUSABLE
from astroml.sky import galaxies
from astroml.sky.conditions import stream
from astroml.sky.lenses import draw_mass, draw_source, draw_theta_e
from astroml.sky.noise import CLEAN, noise_level, unit_noise
from astroml.sky.render import arc_snr, draw_light, gains
from astroml.survey import NJY_PER_ZERO_MAG, Survey

INJECTED, GRID = 4, 5
"""Streams of random numbers; a generator is seeded by (seed, stream, host)."""

THETA_E_CELLS, SNR_CELLS = 10, 10
"""Cells of the grid: equal in theta_e over its range, and in the logarithm of the arc's S/N."""

SNR = (5.0, 200.0)
"""Range of the arc's signal-to-noise on a grid."""

APERTURE = 3.0
"""Radius, arcsec, within which a host's magnitude is measured."""

DIMMEST, HALVINGS = 1e-4, 30
"""How far down from its brightest a source is dimmed for a wanted S/N, and steps of the search."""


@torch.no_grad()
def inject(
    image: np.ndarray,
    sigma: np.ndarray,
    psf_fwhm: np.ndarray,
    survey: Survey,
    sky,
    seed: int,
    rows: np.ndarray,
    device: str = "cpu",
    *,
    mask: np.ndarray | None = None,
    grid: bool = False,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Add lensed sources, and the noise of their photons, around the galaxies of real cutouts.

    The galaxy at the centre is the lens: its second moments give the mass its shape. Nothing else
    of the image is read or changed, and pixels without data stay so.

    Parameters
    ----------
    image : (n, band, y, x) array
        nJy per pixel.
    sigma : (n, band) array
        Background noise of one pixel, nJy.
    psf_fwhm : (n, band) array
        arcsec
    survey : Survey
        Pixels, gains; its bands are those of ``image``.
    sky : BaseModel
        Range and law of theta_e: ``theta_e`` and ``theta_e_law``.
    seed : int
        Seed; with ``rows`` it decides every draw.
    rows : (n,) array of int
        Number of each host, from which its random numbers come.
    device : str
        Where to render.
    mask : (n, band, y, x) uint8 array, optional
        Bits of ``store.MASK``, of pixels that the host's magnitude must not count.
    grid : bool
        Whether the arc's S/N is wanted too: theta_e and S/N then fill a grid evenly, one cell of
        ``THETA_E_CELLS`` times ``SNR_CELLS`` after the other, and the source is made as bright as
        that asks for, whatever its place and size.

    Returns
    -------
    image : (n, band, y, x) float32 array
        The cutouts with arcs.
    truth : dict of (n, ...) arrays
        What the task's ``labels`` reads: ``is_lens``, ``kind``, ``defect`` (none is added),
        ``mag_i`` (the host's, from its own light), ``arc_snr``, ``magnification``, and the drawn
        parameters.
    """
    wavelengths = np.array([band.wavelength for band in survey.bands.values()])
    axis_ratio, turn = moments(image, sigma, survey.pixel_scale)
    wanted = _cells(sky.theta_e, seed, rows) if grid else None
    drawn = []
    for which, row in enumerate(rows):
        rng = stream(seed, INJECTED, int(row))
        theta_e = draw_theta_e(rng, sky.theta_e, sky.theta_e_law)
        theta_e = wanted[0][which] if grid else theta_e
        lens = draw_mass(rng, theta_e, axis_ratio[which], turn[which])
        lens["z_source"] = rng.uniform(0.8, 3.0)
        noise, seeing = sigma[which].astype(float), psf_fwhm[which].astype(float)
        drawn.append(lens | draw_source(rng, lens, survey, wavelengths, noise, seeing))
    columns = {name: np.array([one[name] for one in drawn]) for name in drawn[0]}
    blank = galaxies.stack([[] for _ in rows], wavelengths, np.zeros((len(rows), 1, len(sigma[0]))))
    round_ = {"psf_fwhm": psf_fwhm, "psf_q": np.ones(len(rows)), "psf_phi": np.zeros(len(rows))}
    light = draw_light(columns | blank | round_, survey, image.shape[-1], range(len(rows)), device)
    arcs, level = light["arcs"], torch.from_numpy(np.asarray(sigma, np.float32)).to(device)
    if grid:
        factor = _brightness(arcs, level, torch.as_tensor(wanted[1], device=device))
        arcs = arcs * factor[:, None, None, None]
        _dim(columns, factor.cpu().numpy().astype(float))
    photons = noise_level(arcs, torch.zeros_like(level), gains(survey, device))
    noise = unit_noise(rows, arcs.shape[1], arcs.shape[-1], survey.noise_correlation, seed)
    added = (arcs + noise.to(device) * photons).cpu().numpy()
    truth = {
        "is_lens": np.ones(len(rows), np.int64),
        "kind": np.full(len(rows), "lens"),
        "defect": np.full(len(rows), CLEAN),
        "arc_snr": arc_snr(arcs, level).cpu().numpy(),
        "magnification": light["magnification"].cpu().numpy(),
        "mag_i": host_mag(image, mask, survey),
    }
    return (image + added).astype(np.float32), truth | columns


def _cells(limits: tuple[float, float], seed: int, rows) -> tuple[np.ndarray, np.ndarray]:
    """Return theta_e (arcsec) and S/N (n,) that fill the grid evenly, whatever rows come first."""
    cells = THETA_E_CELLS * SNR_CELLS
    order = stream(seed, GRID, 0).permutation(cells)
    cell = order[np.asarray(rows) % cells]
    inside = np.array([stream(seed, GRID, int(row) + 1).random(2) for row in rows]).reshape(-1, 2)
    across = (cell // SNR_CELLS + inside[:, 0]) / THETA_E_CELLS
    up = (cell % SNR_CELLS + inside[:, 1]) / SNR_CELLS
    theta_e = limits[0] + across * (limits[1] - limits[0])
    return theta_e, (SNR[0] * (SNR[1] / SNR[0]) ** up).astype(np.float32)


def _brightness(arcs: torch.Tensor, sigma: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the factors (n,) on arcs that give them a wanted S/N, by halving intervals.

    The S/N counts pixels above the noise, so that it is no simple law of brightness, but it rises
    with it from 0.
    """
    # At this brightness one pixel alone has the wanted S/N.
    peak = (arcs / sigma[..., None, None]).amax((1, 2, 3)).clamp(min=1e-20)
    high = torch.log(2 * wanted.clamp(min=2) / peak) + 3
    low = high + torch.log(torch.tensor(DIMMEST))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = arc_snr(arcs * torch.exp(middle)[:, None, None, None], sigma) >= wanted
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return torch.exp(high)


def _dim(columns: dict[str, np.ndarray], factor: np.ndarray) -> None:
    """Write what a factor on a source's brightness changes into its drawn parameters, in place."""
    columns["source_flux"] = columns["source_flux"] * factor[:, None]
    columns["source_mag_r"] = columns["source_mag_r"] - 2.5 * np.log10(factor)
    columns["expected_snr"] = columns["expected_snr"] * factor


def host_mag(image, mask, survey: Survey) -> np.ndarray:
    """Return the magnitude (n,) of the central galaxies, AB, in the band nearest to i.

    Of the light within ``APERTURE``: about 0.4 mag fainter than the whole of a de Vaucouleurs
    galaxy of 1.5 arcsec, and brighter where a neighbour lies inside; 0 where there is no light.
    """
    far = [abs(band.wavelength - galaxies.MAG_WAVELENGTH) for band in survey.bands.values()]
    band = int(np.argmin(far))
    good = np.isfinite(image[:, band])
    if mask is not None:
        good &= mask[:, band] & UNUSABLE == 0
    axis = (np.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2) * survey.pixel_scale
    inside = np.hypot(axis[None, :], axis[:, None]) < APERTURE
    flux = np.where(good & inside, image[:, band], 0).sum((1, 2))
    # Light under masked pixels is taken to be as bright as under the others.
    flux = flux * inside.sum() / np.maximum((good & inside).sum((1, 2)), 1)
    return np.where(flux > 0, -2.5 * np.log10(np.maximum(flux, 1e-9) / NJY_PER_ZERO_MAG), 0.0)


def moments(image, sigma, pixel_scale: float, width=1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return axis ratio and angle (n,), rad, of the central galaxy from its second moments.

    Bands are added with the weight of their noise, under a Gaussian of sigma ``width`` arcsec, a
    number or (n,); the ratio is that of the blurred light, no flatter than 0.5.
    """
    weight = 1 / np.maximum(sigma, 1e-12)[..., None, None]
    stack = np.nan_to_num(image * weight).sum(1)
    axis = (np.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2) * pixel_scale
    x, y = axis[None, None, :], axis[None, :, None]
    wide = np.reshape(width, (-1, 1, 1))
    light = np.clip(stack, 0, None) * np.exp(-0.5 * (x**2 + y**2) / wide**2)
    total = np.maximum(light.sum((1, 2)), 1e-12)
    xx, yy, xy = ((light * one).sum((1, 2)) / total for one in (x * x, y * y, x * y))
    spread, sum_ = np.hypot(xx - yy, 2 * xy), np.maximum(xx + yy, 1e-12)
    ratio = np.sqrt(np.clip((sum_ - spread) / (sum_ + spread), 0.25, 1))
    return ratio, 0.5 * np.arctan2(2 * xy, xx - yy)
