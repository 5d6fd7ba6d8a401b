"""The training population of the lens finder: lenses, and what is mistaken for them."""

from __future__ import annotations

import math

import numpy as np

from astroml.sky import galaxies
from astroml.sky.conditions import UNITS as SEEN
from astroml.sky.conditions import conditions, defects, places
from astroml.sky.conditions import stream as generator
from astroml.sky.hosts import inject
from astroml.sky.kinds import as_stored, draw_kinds, fresh_population, hosts_of
from astroml.sky.lenses import draw_lens, draw_source
from astroml.sky.noise import CLEAN
from astroml.sky.render import draw_cutouts, render
from astroml.survey import Survey, galactic_extinction
from astroml.tasks.lens import NEGATIVES, Sky

__all__ = ["UNITS", "bare", "fresh", "inject", "labels", "population", "render"]

LIGHT, OWN, SCATTER = 1, 2, 3
AROUND = 6
"""Streams of random numbers; a generator is seeded by (seed, stream, object). 4 and 5 are those of
injected arcs."""

UNITS = (
    SEEN
    | galaxies.UNITS
    | {
        "theta_e": "arcsec",
        "arc_snr": "",
        "lens_mag": "mag",
        "mag_i": "mag",
        "dispersion": "km/s",
        "source_mag_r": "mag",
        "source_flux": "nJy",
    }
    | {
        f"{kind}_{name}": unit
        for kind in ("lens", "source")
        for name, unit in {
            "x": "arcsec",
            "y": "arcsec",
            "phi": "rad",
            "r_e": "arcsec",
            "width": "arcsec",
            "theta_e": "arcsec",
        }.items()
    }
)
"""Unit of each column of the population that has one."""


def population(sky: Sky, survey: Survey, seed: int) -> dict[str, np.ndarray]:
    """Draw every parameter of a sky, but for the pixel noise.

    Parameters
    ----------
    sky : Sky
        How many objects of which kind.
    survey : Survey
        Bands, seeing and noise.
    seed : int
        Seed; the same seed gives the same objects.

    Returns
    -------
    dict of arrays
        ``object_id``, ``ra``, ``dec``, ``ebv``, ``group`` (-1: none), ``kind``, ``is_lens``, and
        what ``render.render`` takes, each (n, ...). A twin has its lens's light, seeing and group.
    """
    kind = draw_kinds(sky.objects, "lens", sky.lens_fraction, sky.negatives, NEGATIVES, seed)
    key = hosts_of(kind, "lens")
    wavelengths = np.array([band.wavelength for band in survey.bands.values()])
    drawn = [_draw_object(sky, survey, wavelengths, seed, *one) for one in zip(kind, key)]
    lists = [one.pop("parts") for one in drawn]
    slots = max(map(len, lists))
    scatter = np.stack(
        [generator(seed, SCATTER, at).normal(0, 0.04, (40, len(wavelengths)))[:slots] for at in key]
    )
    columns = {name: np.array([one[name] for one in drawn]) for name in drawn[0]}
    columns |= galaxies.stack(lists, wavelengths, scatter)
    columns |= defects(seed, len(kind))
    paired = np.bincount(key, minlength=len(key))[key] > 1
    columns |= {
        "object_id": 1_000_000 + np.arange(len(kind)),
        "kind": kind,
        "is_lens": (kind == "lens").astype(np.int64),
        "group": np.where(paired, key, -1),
        **places(seed, key),
    }
    dimming = 10 ** (-0.4 * galactic_extinction(columns["ebv"], wavelengths))
    columns["part_flux"] *= dimming[:, None].astype(np.float32)
    columns["source_flux"] *= dimming
    return columns


def labels(columns: dict, rendered: dict) -> dict[str, np.ndarray]:
    """Return the labels (n,) that go into manifests and stores.

    Parameters
    ----------
    columns : dict
        Some rows of a population.
    rendered : dict
        What ``render`` made of them.

    Returns
    -------
    dict
        ``is_lens``, ``kind``; of lenses, 0 elsewhere, ``theta_e`` (arcsec), ``arc_snr``, the
        ellipticity ``e1``, ``e2`` of the mass, (1 - q) / (1 + q) times cos and sin of 2 phi, the
        shear ``shear_1``, ``shear_2``, the source's place ``source_x``, ``source_y`` from the
        lens's centre (arcsec) and ``lens_mag``, the galaxy's i (AB, at 775 nm, before the Milky
        Way's dust); of all, ``artefact`` (1: the pixels have a defect) and ``seeing`` (mean FWHM
        over bands, arcsec).
    """
    lens = np.asarray(columns["is_lens"]) == 1
    flat = (1 - columns["lens_q"]) / (1 + columns["lens_q"])
    turn = 2 * columns["lens_phi"]
    mine = {
        "theta_e": columns["lens_theta_e"],
        "arc_snr": rendered["arc_snr"],
        "e1": flat * np.cos(turn),
        "e2": flat * np.sin(turn),
        "shear_1": columns["lens_shear_1"],
        "shear_2": columns["lens_shear_2"],
        "source_x": columns["source_x"] - columns["lens_x"],
        "source_y": columns["source_y"] - columns["lens_y"],
        "lens_mag": columns["mag_i"],
    }
    return {
        "is_lens": columns["is_lens"],
        "kind": columns["kind"],
        **{name: np.where(lens, values, 0).astype(np.float32) for name, values in mine.items()},
        "artefact": (columns["defect"] != CLEAN).astype(np.int64),
        "seeing": np.asarray(rendered["psf_fwhm"]).mean(1).astype(np.float32),
    }


def bare(psf_fwhm: np.ndarray) -> dict[str, np.ndarray]:
    """Return the labels (n,) of hosts without arcs, of some seeing (n, band), arcsec."""
    rows = len(psf_fwhm)
    nothing = {
        name: np.zeros(rows)
        for name in (
            "is_lens", "defect", "mag_i", "source_x", "source_y",
            *(f"lens_{name}" for name in ("theta_e", "x", "y", "q", "phi", "shear_1", "shear_2")),
        )
    }  # fmt: skip
    nothing |= {"is_lens": np.zeros(rows, np.int64), "kind": np.full(rows, "twin")}
    return labels(nothing, {"arc_snr": np.zeros(rows), "psf_fwhm": psf_fwhm})


def fresh(
    sky: Sky, survey: Survey, size: int, batch_size: int, seed: int, number: int, device: str
) -> dict:
    """Render a batch of objects that are in no other batch.

    Parameters
    ----------
    sky, survey, batch_size, seed, number
        See ``sky.kinds.fresh_population``.
    size : int
        Side of the cutouts, px.
    device : str
        ``cpu`` or ``cuda``.

    Returns
    -------
    dict
        Tensors on the device: ``image`` (n, band, y, x) float32 nJy, ``mask`` (n, band, y, x)
        uint8, ``sigma`` (n, band) nJy, ``psf_fwhm`` (n, band) arcsec, ``ebv`` (n,) float32. Numpy
        columns (n,) as in a store: ``object_id``, ``ra``, ``dec``, ``group`` and the labels.
    """
    columns, own = fresh_population(population, sky, survey, batch_size, seed, number)
    drawn = draw_cutouts(columns, survey, size, np.arange(batch_size), device, own)
    measured = {name: drawn.pop(name).cpu().numpy() for name in ("arc_snr", "magnification")}
    known = labels(columns, measured | {"psf_fwhm": columns["psf_fwhm"]})
    return as_stored(columns, drawn, known, device)


def _draw_object(sky, survey, wavelengths, seed: int, kind: str, key: int) -> dict:
    """Draw one object: its components, its lensing, its seeing and noise."""
    rng, own = generator(seed, LIGHT, key), generator(seed, OWN, key)
    lens, core = draw_lens(rng, sky.theta_e, sky.theta_e_law, sky.lens_mag_scatter)
    seeing = conditions(rng, survey)
    source = draw_source(rng, lens, survey, wavelengths, seeing["sigma"], seeing["psf_fwhm"])
    theta_e = lens["lens_theta_e"]
    # What impostors show around their cores is as bright as the arc would have been.
    arc_mag = source["source_mag_r"] - 2.5 * math.log10(source["expected_magnification"]) - 0.2
    parts = {
        "spiral": lambda: galaxies.spiral(own),
        "ring": lambda: galaxies.ring(own, core, theta_e, arc_mag),
        "companion": lambda: galaxies.companions(own, core, theta_e, arc_mag),
        "merger": lambda: galaxies.merger(own),
        "group": lambda: galaxies.group(own, core, theta_e),
        "edge_on": lambda: galaxies.edge_on(own),
    }.get(kind, lambda: [core])()
    if kind != "lens":
        lens["lens_theta_e"] = 0.0
    parts = parts + galaxies.neighbours(own)
    if sky.surroundings:
        around = generator(seed, AROUND, key)
        parts = parts + galaxies.surroundings(around, parts[0], sky.surroundings)
    return {"parts": parts, **lens, **source, **seeing, "mag_i": parts[0]["mag"]}
