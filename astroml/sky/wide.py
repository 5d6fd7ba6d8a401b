"""From drawn parameters to tiles of the sky: galaxies, stars, haloes, discs, noise."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from astroml.sky import bright, fields, foreground, groups, noise
from astroml.sky.render import gains, in_chunks, take
from astroml.sky.surroundings import STAR
from astroml.survey import Survey

PIECE = 4
"""Tiles of 320 px whose canvases a CPU works on at once: measured the fastest."""


def draw_light(columns: dict, survey: Survey, size: int, rows, device="cpu", seed: int = 1):
    """Render the noiseless light of some tiles.

    Parameters
    ----------
    columns : dict
        A population: what ``groups.draw`` and ``bright.parts`` take, ``psf_fwhm`` (n, band)
        arcsec, ``psf_q``, ``psf_phi`` (n,), ``sigma`` (n, band) nJy.
    survey : Survey
        Bands and pixels.
    size : int
        Side of the tiles, px.
    rows : sequence of int
        Rows of ``columns``.
    device : str
        Where to render.
    seed : int
        Seed of the population.

    Returns
    -------
    light : (n, band, y, x) tensor
        nJy per pixel.
    mask : (n, band, y, x) uint8 tensor
        Bits of ``store.MASK``: what stars bleed into.
    """
    rows, scale = np.asarray(rows), survey.pixel_scale
    parts = groups.draw(columns, rows, survey, seed)
    seeing = {name: columns[name][rows] for name in ("psf_fwhm", "psf_q", "psf_phi")}
    sigma = np.asarray(columns["sigma"])[rows][parts["owner"]]
    widest = seeing["psf_fwhm"].max(1)[parts["owner"]]
    parts["reach"] = fields.reach(parts, sigma, widest, survey.psf.beta, scale)
    light = torch.zeros(len(rows), len(survey.bands), size, size, device=device)
    mask = torch.zeros(light.shape, dtype=torch.uint8, device=device)
    fields.paint(light, parts, seeing, survey.psf.beta, scale)
    bright.paint_discs(light, columns, rows, survey)
    star = parts["system"] == STAR
    bright.paint_haloes(light, mask, {name: one[star] for name, one in parts.items()}, survey)
    return light, mask


def draw_tiles(columns: dict, survey: Survey, size: int, rows, device, seed: int) -> dict:
    """Render noisy tiles, and leave the tensors where they were made.

    Parameters
    ----------
    columns : dict
        See ``draw_light``. Besides: ``background`` (n, band), nJy per pixel; ``residue``
        (n, 5, band); ``defect`` and what ``noise.spoil`` needs.
    survey, size, rows, device, seed
        See ``draw_light``.

    Returns
    -------
    dict of tensors
        ``image`` (n, band, y, x) float32 nJy; ``mask`` (n, band, y, x) uint8, bits of
        ``store.MASK``; ``sigma`` (n, band) nJy; ``psf_fwhm`` (n, band) arcsec.
    """
    rows = np.asarray(rows)
    return in_chunks(partial(_render, columns, survey, size, device, seed), rows, device)


@torch.no_grad()
def _render(columns: dict, survey: Survey, size: int, device: str, seed: int, rows) -> dict:
    names = ("sigma", "psf_fwhm", "background", "residue")
    here = take({name: columns[name] for name in names}, rows, device)
    bands = len(survey.bands)
    image = torch.empty(len(rows), bands, size, size, device=device)
    mask = torch.empty(image.shape, dtype=torch.uint8, device=device)
    # Blocks of noise are drawn whole: a block at a time, and no pixel of it twice.
    for block in np.unique(rows // noise.BLOCK):
        mine = np.flatnonzero(rows // noise.BLOCK == block)
        field = noise.unit_noise(rows[mine], bands, size, survey.noise_correlation, seed)
        step = PIECE if device == "cpu" else len(mine)
        for begin in range(0, len(mine), step):
            some = mine[begin : begin + step]
            light, bled = draw_light(columns, survey, size, rows[some], device, seed)
            level = noise.noise_level(light, here["sigma"][some], gains(survey, device))
            total = field[begin : begin + step].to(device).mul_(level).add_(light)
            total += here["background"][some][..., None, None]
            modes = here["residue"][some].transpose(1, 2)
            total += foreground.residue(light, here["sigma"][some], modes, survey.pixel_scale)
            bright.saturate(total, bled, survey.pixel_scale)
            image[some], mask[some] = total, bled
    defect = {name: columns[name][rows] for name in columns if "defect" in name}
    noise.spoil(image, mask, here["sigma"], defect)
    return {"image": image, "mask": mask, "sigma": here["sigma"], "psf_fwhm": here["psf_fwhm"]}
