"""From drawn parameters to noisy cutouts: components, arcs, seeing, noise and masks."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch

from astroml.sky import noise
from astroml.sky.debris import FEATURE_NAMES, strew
from astroml.sky.paint import FINE, paint, paint_arcs
from astroml.sky.profiles import ARM_NAMES, SHAPE_NAMES
from astroml.sky.psf import blurred, transfer, undersampled
from astroml.survey import Survey, njy_per_unit

PART_NAMES = (*SHAPE_NAMES, *ARM_NAMES)
LENS_NAMES = ("theta_e", "x", "y", "q", "phi", "shear_1", "shear_2")
SOURCE_NAMES = ("x", "y", "q", "phi", "n_sersic", "r_e")
MARGIN = 8
"""Pixels around the cutout whose light is blurred into it; more if the seeing asks for it."""

CHUNK = 2 * noise.BLOCK
"""Objects that one thread of a CPU renders at once: measured the fastest, as caches hold no more
and fewer leave the time to the many small steps."""


def margin(survey: Survey) -> int:
    """Return the canvas's margin, px: twice the widest median seeing."""
    widest = max(band.psf_fwhm for band in survey.bands.values())
    return max(MARGIN, math.ceil(2 * widest / survey.pixel_scale))


def gains(survey: Survey, device) -> torch.Tensor:
    """Return photoelectrons per nJy, (band,)."""
    values = [band.gain / njy_per_unit(band.zero_point) for band in survey.bands.values()]
    return torch.tensor(values, dtype=torch.float32, device=device)


def take(columns: dict[str, np.ndarray], rows, device) -> dict[str, torch.Tensor]:
    """Return the numeric columns of some rows as float32 tensors."""
    rows = np.asarray(rows)
    return {
        name: torch.from_numpy(np.ascontiguousarray(values[rows], dtype=np.float32)).to(device)
        for name, values in columns.items()
        if values.dtype.kind in "fiub"
    }


def in_chunks(draw: Callable, rows, device: str) -> dict[str, torch.Tensor]:
    """Call ``draw(rows)`` in chunks on as many threads as torch has, or at once on a GPU.

    A chunk is many small steps: threads that shared the steps would wait for each other, so each
    takes chunks of its own. The result does not depend on the number of threads.
    """
    if device != "cpu":
        return draw(rows)
    chunks = [rows[begin : begin + CHUNK] for begin in range(0, len(rows), CHUNK)]
    threads = torch.get_num_threads()
    if threads == 1:
        return _joined([draw(chunk) for chunk in chunks])
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            return _joined(list(pool.map(draw, chunks)))
    finally:
        torch.set_num_threads(threads)


def _joined(drawn: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([one[name] for one in drawn]) for name in drawn[0]}


def draw_light(columns: dict, survey: Survey, size: int, rows, device="cpu") -> dict:
    """Render the noiseless light of some objects.

    Parameters
    ----------
    columns : dict
        ``part_<name>`` (n, slot) for each of ``PART_NAMES`` and ``part_flux`` (n, slot, band) nJy;
        ``psf_fwhm`` (n, band) arcsec, ``psf_q``, ``psf_phi`` (n,). Where the sky has lenses:
        ``lens_<name>`` (n,) and ``source_<name>`` (n,), ``source_flux`` (n, band) nJy unlensed,
        where ``lens_theta_e`` above 0 makes a lens. Where it has tails of mergers:
        ``tail_<name>`` (n, slot) of ``debris.FEATURE_NAMES`` and ``tail_flux`` (n, slot, band) nJy.
    survey : Survey
        Bands and pixels.
    size : int
        Side of the cutouts, px.
    rows : sequence of int
        Rows of ``columns``.
    device : str
        Where to render.

    Returns
    -------
    dict
        ``galaxies`` (n, band, y, x) tensor, nJy per pixel; of a sky with lenses also ``arcs``, the
        same, and ``magnification`` (n,), the lensed over the unlensed flux on the canvas, 0 where
        there is no lens.
    """
    return in_chunks(partial(_draw_light, columns, survey, size, device=device), rows, device)


def draw_canvas(here: dict[str, torch.Tensor], size: int, survey: Survey) -> torch.Tensor:
    """Paint the components of some objects on a canvas of cells: (n, band, y, x), nJy per cell."""
    cells, device = FINE * (size + 2 * margin(survey)), here["part_flux"].device
    n, slots = here["part_shape"].shape
    canvas = torch.zeros(n, len(survey.bands), cells, cells, device=device)
    parts = {name: here[f"part_{name}"].flatten() for name in PART_NAMES}
    owner = torch.arange(n, device=device).repeat_interleave(slots)
    paint(canvas, parts, owner, here["part_flux"].flatten(0, 1), survey.pixel_scale / FINE)
    if "tail_shape" in here:
        owner, slot = torch.nonzero(here["tail_shape"], as_tuple=True)
        tails = {name: here[f"tail_{name}"][owner, slot] for name in FEATURE_NAMES}
        flux = here["tail_flux"][owner, slot]
        strew(canvas, tails, owner, flux, survey.pixel_scale / FINE)
    return canvas


def seeing(here: dict[str, torch.Tensor], cells: int, survey: Survey) -> torch.Tensor:
    """Return what ``psf.blurred`` takes for some objects, from their ``psf_<name>``."""
    sharpest = min(band.psf_fwhm for band in survey.bands.values())
    return transfer(
        here["psf_fwhm"], here["psf_q"], here["psf_phi"], survey.psf.beta, cells,
        survey.pixel_scale / FINE, fold=undersampled(sharpest, survey.pixel_scale),
    )  # fmt: skip


@torch.no_grad()
def _draw_light(columns: dict, survey: Survey, size: int, rows, device) -> dict:
    here = take(columns, rows, device)
    scale, edge = survey.pixel_scale / FINE, margin(survey)
    canvas = draw_canvas(here, size, survey)
    through = seeing(here, canvas.shape[-1], survey)
    inside = slice(edge, edge + size)
    light = {"galaxies": blurred(canvas, through)[..., inside, inside]}
    if "lens_theta_e" in here:
        arcs, light["magnification"] = _bend(here, through, canvas.shape[-1], scale)
        light["arcs"] = arcs[..., inside, inside]
    return light


def _bend(here: dict, through, cells: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the arcs as the seeing leaves them, and the magnification of each object."""
    n, bands = here["source_flux"].shape
    device = here["source_flux"].device
    arcs = torch.zeros(n, bands, cells // FINE, cells // FINE, device=device)
    magnification = torch.zeros(n, device=device)
    lenses = torch.nonzero(here["lens_theta_e"] > 0)[:, 0]
    if len(lenses):
        lens = {name: here[f"lens_{name}"][lenses] for name in LENS_NAMES}
        source = {name: here[f"source_{name}"][lenses] for name in SOURCE_NAMES}
        # A source has one shape in all bands: its image is painted and transformed once.
        bent = torch.zeros(len(lenses), 1, cells, cells, device=device)
        each = torch.arange(len(lenses), device=device)
        paint_arcs(bent, lens, source, each, torch.ones(len(lenses), 1, device=device), scale)
        magnification[lenses] = bent.sum((1, 2, 3))
        seen = blurred(bent, through[lenses])
        arcs[lenses] = seen * here["source_flux"][lenses][..., None, None]
    return arcs, magnification


def arc_snr(arcs: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Return the signal-to-noise of arcs: bands in quadrature, pixels above 1 sigma.

    The noise is the background alone: neither the arc's nor the lens galaxy's own photons count,
    nor the correlation of the noise.

    Parameters
    ----------
    arcs : (n, band, y, x) tensor
        Light of the lensed source after the seeing.
    sigma : (n, band) tensor
        Background noise of one pixel, same unit.

    Returns
    -------
    (n,) tensor
    """
    bright = arcs > sigma[..., None, None]
    signal = (arcs * bright).sum((2, 3)) / sigma
    per_band = signal / torch.sqrt(bright.sum((2, 3)).clamp(min=1))
    return torch.sqrt((per_band**2).sum(1))


def render(columns: dict, survey: Survey, size: int, rows, device="cpu", seed: int = 1) -> dict:
    """Render noisy cutouts of some objects.

    Parameters
    ----------
    columns, survey, size, rows, device
        See ``draw_light``. Besides: ``sigma`` (n, band) and ``background`` (n, band), the residue
        of the sky subtraction, nJy per pixel; ``defect`` and what ``noise.spoil`` needs.
    seed : int
        Seed of the pixel noise.

    Returns
    -------
    dict of numpy arrays
        ``image`` (n, band, y, x) float32 nJy; ``mask`` (n, band, y, x) uint8, bits of
        ``store.MASK``; ``sigma`` (n, band) nJy; ``psf_fwhm`` (n, band) arcsec; of a sky with lenses
        also ``arc_snr`` and ``magnification`` (n,).
    """
    drawn = draw_cutouts(columns, survey, size, rows, device, seed)
    return {name: values.cpu().numpy() for name, values in drawn.items()}


def draw_cutouts(columns: dict, survey: Survey, size: int, rows, device, seed: int) -> dict:
    """Do what ``render`` does, and leave the tensors where they were made."""
    return in_chunks(partial(_render, columns, survey, size, device, seed), rows, device)


@torch.no_grad()
def _render(columns: dict, survey: Survey, size: int, device: str, seed: int, rows) -> dict:
    light = _draw_light(columns, survey, size, rows, device)
    total = light["galaxies"] + light["arcs"] if "arcs" in light else light["galaxies"]
    here = take({name: columns[name] for name in ("sigma", "background", "psf_fwhm")}, rows, device)
    sigma = here["sigma"]
    field = noise.unit_noise(rows, total.shape[1], size, survey.noise_correlation, seed).to(device)
    image = total + here["background"][..., None, None]
    image += field * noise.noise_level(total, sigma, gains(survey, device))
    mask = torch.zeros(image.shape, dtype=torch.uint8, device=device)
    noise.spoil(
        image, mask, sigma, {name: columns[name][rows] for name in columns if "defect" in name}
    )
    rendered = {"image": image, "mask": mask, "sigma": sigma, "psf_fwhm": here["psf_fwhm"]}
    if "arcs" in light:
        rendered["arc_snr"] = arc_snr(light["arcs"], sigma)
        rendered["magnification"] = light["magnification"]
    return rendered
