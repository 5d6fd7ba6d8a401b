"""The sky of the anomaly search: ordinary galaxies, a few rare ones, a few artefacts."""

from __future__ import annotations

import numpy as np
import torch

from astroml.errors import AstromlError
from astroml.nets import artefacts
from astroml.sky import galaxies, noise, oddities, ordinary, profiles
from astroml.sky import render as pixels
from astroml.sky.conditions import UNITS as SEEN
from astroml.sky.conditions import conditions, defects, places
from astroml.sky.conditions import stream as generator
from astroml.sky.counts import WAVELENGTH
from astroml.sky.galaxies import MAG_WAVELENGTH
from astroml.sky.kinds import as_stored, draw_kinds, fresh_population, refuse_unknown
from astroml.survey import NJY_PER_ZERO_MAG, Survey, galactic_extinction
from astroml.tasks.anomaly.kinds import ARTEFACTS, INTERESTING, NORMAL, Sky

__all__ = ["UNITS", "fresh", "labels", "population", "render"]

HOST, OWN, ODD, ARTEFACT = 1, 2, 3, 4
"""Streams of random numbers; a generator is seeded by (seed, stream, object)."""

SCATTER = 0.04
"""Scatter of a component's spectrum from its type's, mag per band."""

SLOTS = 40
"""Most components of an object's neighbours and of what makes it rare."""

UNITS = (
    SEEN
    | galaxies.UNITS
    | {
        "mag_i": "mag",
        "mag_r": "mag",
        "source_flux": "nJy",
        "tail_flux": "nJy",
        "tail_phase": "rad",
        "tail_span": "rad",
        "tail_radius": "arcsec",
        "tail_inner": "arcsec",
        "lens_theta_e": "arcsec",
    }
    | {
        f"{kind}_{name}": unit
        for kind in ("lens", "source", "tail")
        for name, unit in {
            "x": "arcsec",
            "y": "arcsec",
            "phi": "rad",
            "r_e": "arcsec",
            "width": "arcsec",
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
        ``object_id``, ``ra``, ``dec``, ``ebv``, ``group`` (-1: none), ``kind``, ``is_interesting``,
        ``is_artefact``, ``z`` and magnitudes ``mag_i``, ``mag_r`` of the whole galaxy (AB, before
        the Milky Way's dust; of lenses, r without the arc), and what ``render`` takes, each
        (n, ...). An object's ordinary galaxy and its seeing do not depend on its kind.
    """
    kind = _kinds(sky, seed)
    bands = [band.wavelength for band in survey.bands.values()]
    # Two more, in which magnitudes are told.
    wavelengths = np.array([*bands, MAG_WAVELENGTH, WAVELENGTH], float)
    seen = [conditions(generator(seed, OWN, at), survey) for at in range(len(kind))]
    host = _hosts(sky, kind, wavelengths, seed)
    columns = _light(sky, kind, host, wavelengths, survey, seen, seed)
    columns |= {name: np.array([one[name] for one in seen]) for name in seen[0]}
    dimming = 10 ** (-0.4 * galactic_extinction(columns["ebv"], bands))
    for name in ("part_flux", "tail_flux"):
        columns[name] = (columns[name] * dimming[:, None]).astype(np.float32)
    columns["source_flux"] = columns["source_flux"] * dimming
    columns |= _flagged(defects(seed, len(kind)))
    dice = [generator(seed, ARTEFACT, at).random(artefacts.DICE) for at in range(len(kind))]
    return columns | {
        "object_id": 1_000_000 + np.arange(len(kind)),
        "kind": kind,
        "is_interesting": np.isin(kind, INTERESTING).astype(np.int64),
        "is_artefact": np.isin(kind, ARTEFACTS).astype(np.int64),
        "artefact_dice": np.array(dice, np.float32),
        "group": np.full(len(kind), -1),
        **places(seed, np.arange(len(kind))),
    }


def render(columns: dict, survey: Survey, size: int, rows, device="cpu", seed: int = 1) -> dict:
    """Render noisy cutouts of some objects, artefacts and all.

    Parameters
    ----------
    columns, survey, size, rows, device, seed
        See ``sky.render.render``.

    Returns
    -------
    dict of numpy arrays
        ``image`` (n, band, y, x) float32 nJy; ``mask`` (n, band, y, x) uint8, bits of
        ``store.MASK``; ``sigma`` (n, band) nJy; ``psf_fwhm`` (n, band) arcsec; ``arc_snr`` and
        ``magnification`` (n,), 0 where there is no lens.
    """
    drawn = draw_cutouts(columns, survey, size, rows, device, seed)
    return {name: values.cpu().numpy() for name, values in drawn.items()}


def draw_cutouts(columns: dict, survey: Survey, size: int, rows, device, seed: int) -> dict:
    """Do what ``render`` does, and leave the tensors where they were made."""
    drawn = pixels.draw_cutouts(columns, survey, size, rows, device, seed)
    kind = columns["kind"][rows]
    some = torch.from_numpy(np.flatnonzero(np.isin(kind, ARTEFACTS))).to(device)
    if len(some):
        which = [artefacts.KINDS.index(one) for one in kind[some.cpu().numpy()]]
        dice = columns["artefact_dice"][rows][some.cpu().numpy()]
        drawn["image"][some], drawn["mask"][some] = artefacts.paint(
            drawn["image"][some], drawn["mask"][some], drawn["sigma"][some],
            torch.tensor(which, device=device), torch.from_numpy(dice).to(device),
            drawn["psf_fwhm"][some] / survey.pixel_scale,
        )  # fmt: skip
    return drawn


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
        ``kind``; ``is_interesting`` and ``is_artefact`` (0 or 1); ``mag_i`` and ``mag_r`` of the
        whole galaxy (AB, before the Milky Way's dust); ``z``; ``seeing`` (mean FWHM over bands,
        arcsec).
    """
    return {
        **{name: columns[name] for name in ("kind", "is_interesting", "is_artefact")},
        **{name: columns[name].astype(np.float32) for name in ("mag_i", "mag_r", "z")},
        "seeing": np.asarray(rendered["psf_fwhm"]).mean(1).astype(np.float32),
    }


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
    known = labels(columns, {"psf_fwhm": columns["psf_fwhm"]})
    kept = {name: drawn[name] for name in ("image", "mask", "sigma", "psf_fwhm")}
    return as_stored(columns, kept, known, device)


def _kinds(sky: Sky, seed: int) -> np.ndarray:
    """Return the kind (n,) of each object."""
    weights = {}
    for what, fraction, given, known in (
        ("classes", sky.interesting_fraction, sky.classes, INTERESTING),
        ("artefacts", sky.artefact_fraction, sky.artefacts, ARTEFACTS),
    ):
        refuse_unknown(what, given, known)
        total = sum(given.values())
        if fraction > 0 and not total > 0:
            raise AstromlError(f"{what}: all weights are 0; give some kind a weight above 0")
        weights |= {name: fraction * weight / max(total, 1e-9) for name, weight in given.items()}
    ordinary_ = 1 - sky.interesting_fraction - sky.artefact_fraction
    known = (*INTERESTING, *ARTEFACTS)
    return draw_kinds(sky.objects, NORMAL, ordinary_, weights, known, seed)


def _flagged(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keep the defects that pipelines flag; trails and edges come as artefacts alone."""
    usual = np.isin(found["defect"], (noise.COLUMN, noise.COSMIC))
    return found | {"defect": np.where(usual, found["defect"], noise.CLEAN)}


def _hosts(sky: Sky, kind, wavelengths, seed: int) -> dict[str, np.ndarray]:
    """Draw the ordinary galaxy of each object."""
    uniform, normal = [], []
    for at in range(len(kind)):
        rng = generator(seed, HOST, at)
        uniform.append(rng.random(ordinary.UNIFORMS))
        normal.append(rng.standard_normal(ordinary.NORMALS + 2 * len(wavelengths)))
    return ordinary.draw(np.array(uniform), np.array(normal), wavelengths, sky.mag_i)


def _light(sky, kind, host, wavelengths, survey, seen, seed: int) -> dict[str, np.ndarray]:
    """Draw the components, tails and lensed sources of objects, and the field around them."""
    bands, odd, lists, scatter = len(survey.bands), {}, [], []
    for row, name in enumerate(kind):
        rng, own = generator(seed, OWN, row, 1), ordinary.row_of(host, row)
        parts = ordinary.details(rng, own, sky.overlapping)
        if name in oddities.DRAW:
            own |= {"wavelengths": wavelengths, "bands": bands, "survey": survey}
            odd[row] = oddities.DRAW[name](generator(seed, ODD, row), own | seen[row])
            parts = odd[row]["parts"]
        lists.append(parts + galaxies.neighbours(rng))
        scatter.append(rng.normal(0, SCATTER, (SLOTS, len(wavelengths))))
    scatter = np.array(scatter)
    # A component's magnitude is that in i.
    scatter[..., -2] = 0
    table = galaxies.stack(lists, wavelengths, scatter[:, : max(map(len, lists), default=1)])
    columns = oddities.blank(len(kind), bands)
    whole = host["part_flux"].sum(1)
    for row, found in odd.items():
        flux = table["part_flux"][row]
        flux[: len(found["parts"])] *= found.get("tint", 1.0)
        tails = oddities.note(columns, row, found, whole[row], wavelengths)
        whole[row] = flux[: len(found["parts"])].sum(0) + tails
        host["part_shape"][row] = profiles.NONE
        host["part_flux"][row] = 0
    for name, values in table.items():
        own = host.get(name, np.full(host["part_q"].shape, galaxies.EMPTY.get(name[5:], 0.0)))
        columns[name] = np.concatenate([own.astype(np.float32), values], 1)
    columns["part_flux"] = columns["part_flux"][..., :bands]
    mag_r = -2.5 * np.log10(whole[:, -1] / NJY_PER_ZERO_MAG)
    return columns | {"z": host["z"], "mag_i": host["mag_i"], "mag_r": mag_r}
