"""The training population of tidal features: disturbed galaxies, and what is mistaken for them."""

from __future__ import annotations

import numpy as np

from astroml.errors import AstromlError
from astroml.sky import foreground, galaxies, nearby, tides
from astroml.sky.conditions import UNITS as SEEN
from astroml.sky.conditions import conditions, defects, places
from astroml.sky.conditions import stream as generator
from astroml.sky.disturb import inject
from astroml.sky.halo import MEASURED, draw_cutouts, render
from astroml.sky.kinds import as_stored, draw_kinds, fresh_population, hosts_of, refuse_unknown
from astroml.sky.noise import CLEAN
from astroml.survey import NJY_PER_ZERO_MAG, Survey, galactic_extinction
from astroml.tasks.tidal.kinds import BITS, CLASSES, NEGATIVES, NUISANCES, POSITIVE, Sky

__all__ = ["PLANES", "UNITS", "bare", "fresh", "inject", "labels", "population", "render"]

HOST, OWN, FEATURE = 1, 2, 3
"""Streams of random numbers; a generator is seeded by (seed, stream, object)."""

PLANES = ("truth",)
"""Planes of labels that ``render`` and ``inject`` return."""

UNITS = SEEN | galaxies.UNITS | {
    "mu_feature": "mag / arcsec2",
    "feature_flux": "nJy",
    "feature_area": "arcsec2",
    "mag_r": "mag",
    "mag_abs": "mag",
    "radius": "arcsec",
    "feature_mu": "mag / arcsec2",
    "feature_mu_seen": "mag / arcsec2",
    "feature_phase": "rad",
    "feature_span": "rad",
    "foreground_mu": "mag / arcsec2",
    "foreground_angle": "rad",
    "foreground_star": "mag",
    "foreground_size": "arcsec",
} | {
    f"{kind}_{name}": unit
    for kind in ("feature", "foreground")
    for name, unit in {"x": "arcsec", "y": "arcsec", "phi": "rad", "width": "arcsec"}.items()
} | {"feature_radius": "arcsec", "feature_inner": "arcsec"}  # fmt: skip
"""Unit of each column of the population that has one."""


def population(sky: Sky, survey: Survey, seed: int) -> dict[str, np.ndarray]:
    """Draw every parameter of a sky, but for the pixel noise.

    Parameters
    ----------
    sky : Sky
        How many objects of which kind; brightness and strength of the features.
    survey : Survey
        Bands, seeing and noise.
    seed : int
        Seed; the same seed gives the same objects.

    Returns
    -------
    dict of arrays
        ``object_id``, ``ra``, ``dec``, ``ebv``, ``group`` (-1: none), ``kind``, ``is_tidal``,
        ``z``, ``mag_r``, and what ``render`` takes, each (n, ...). A twin has its tidal galaxy's
        light, field, seeing and group.
    """
    refuse_unknown("classes", sky.classes, CLASSES)
    if not sum(sky.classes.values()) > 0 and sky.tidal_fraction > 0:
        raise AstromlError("classes: all weights are 0; give some class a weight above 0")
    kind = draw_kinds(sky.objects, POSITIVE, sky.tidal_fraction, sky.negatives, NEGATIVES, seed)
    key = hosts_of(kind, POSITIVE)
    wavelengths = np.array([band.wavelength for band in survey.bands.values()])
    # What two objects of one key share is drawn by the kind of the first.
    base = kind[key]
    columns = _galaxies(base, key, wavelengths, seed)
    seen = [conditions(generator(seed, OWN, one), survey) for one in key]
    columns |= {name: np.array([one[name] for one in seen]) for name in seen[0]}
    dimming = 10 ** (-0.4 * galactic_extinction(columns["ebv"], wavelengths))
    columns["part_flux"] = (columns["part_flux"] * dimming[:, None]).astype(np.float32)
    columns |= _features(sky, kind, key, columns, wavelengths, seed)
    columns |= _over(sky, base, key, columns["sigma"], wavelengths, seed)
    columns |= defects(seed, len(kind))
    paired = np.bincount(key, minlength=len(key))[key] > 1
    return columns | {
        "object_id": 1_000_000 + np.arange(len(kind)),
        "key": key,
        "kind": kind,
        "is_tidal": (kind == POSITIVE).astype(np.int64),
        "group": np.where(paired, key, -1),
        **places(seed, key),
    }


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
        ``is_tidal``; ``stream``, ``shell``, ``tail``, ``diffuse`` (0 or 1); ``mu_feature``, the
        mean surface brightness of the features' footprint in r, as it is seen (mag/arcsec2),
        ``feature_flux`` (their light within the cutout, r, nJy), ``feature_area`` (their
        footprint, arcsec2; see ``sky.halo.footprint``) and ``feature_visible`` (the share of it
        that is neither lost in the galaxies' light nor in the noise), all 0 where there is no
        feature; ``kind``;
        ``z``, ``mag_r`` of the host (AB, before the Milky Way's dust); ``artefact`` (1: the pixels
        have a defect) and ``seeing`` (mean FWHM over bands, arcsec).
    """
    bits = np.bitwise_or.reduce(columns["feature_bit"], axis=1)
    return {
        "is_tidal": columns["is_tidal"],
        **{name: (bits & BITS[name] > 0).astype(np.int64) for name in CLASSES},
        **{name: rendered[name] for name in MEASURED},
        "kind": columns["kind"],
        "z": columns["z"].astype(np.float32),
        "mag_r": columns["mag_r"].astype(np.float32),
        "artefact": (columns["defect"] != CLEAN).astype(np.int64),
        "seeing": np.asarray(rendered["psf_fwhm"]).mean(1).astype(np.float32),
    }


def _galaxies(base, key, wavelengths, seed: int) -> dict[str, np.ndarray]:
    """Draw hosts, what overlaps with them, and the field around them, once per key."""
    uniform, normal, bright = [], [], []
    for one in key:
        rng = generator(seed, HOST, one)
        uniform.append(rng.random(nearby.UNIFORMS))
        normal.append(rng.standard_normal(nearby.NORMALS + 2 * len(wavelengths)))
        bright.append(nearby.field(generator(seed, foreground.FIELD, int(one)))[0])
    host = nearby.hosts(np.array(uniform), np.array(normal), wavelengths, base == "spiral")
    mag_i = -2.5 * np.log10(host["part_flux"].sum(1) / NJY_PER_ZERO_MAG)
    near_i = np.abs(wavelengths - galaxies.MAG_WAVELENGTH).argmin()
    lists = [
        nearby.overlapping(
            generator(seed, HOST, one, 1), mag_i[at, near_i], host["radius"][at], host["z"][at],
            pair=name == "pair",
        )
        if (name := base[at]) in ("pair", "neighbours")
        else []
        for at, one in enumerate(key)
    ]  # fmt: skip
    none = np.zeros((len(key), max([len(one) for one in lists], default=0) or 1, len(wavelengths)))
    tables = [
        host,
        galaxies.stack(lists, wavelengths, none),
        nearby.neighbours(bright, wavelengths),
    ]
    joined = {}
    for name in (*(f"part_{one}" for one in galaxies.EMPTY), "part_flux"):
        empty = np.full(host["part_q"].shape, galaxies.EMPTY.get(name.removeprefix("part_"), 0.0))
        parts = [np.asarray(one.get(name, empty), np.float32) for one in tables]
        joined[name] = np.concatenate(parts, 1)
    return joined | {name: host[name] for name in ("z", "mag_r", "mag_abs", "radius")}


def _features(sky: Sky, kind, key, columns: dict, wavelengths, seed: int) -> dict[str, np.ndarray]:
    """Draw the features of tidal galaxies, and empty slots for all others."""
    hosts = {name: columns[name] for name in ("z", "radius")} | {
        "phi": columns["part_phi"][:, 1],
        "light": columns["part_flux"][:, :2].sum(1),
        "dust": galactic_extinction(columns["ebv"], wavelengths)[:, tides.nearest(wavelengths)],
    }
    tidal = np.flatnonzero(kind == POSITIVE).tolist()
    rngs = {row: generator(seed, FEATURE, int(key[row])) for row in tidal}
    return tides.table(rngs, hosts, sky, wavelengths)


def _over(sky: Sky, base, key, sigma, wavelengths, seed: int) -> dict[str, np.ndarray]:
    """Draw what lies over the galaxies, and the residue of the sky's subtraction."""
    drawn, residue = [], []
    for name, one in zip(base, key):
        rng = generator(seed, OWN, int(one), 1)
        extra = rng.choice(NUISANCES) if rng.random() < sky.nuisances else ""
        which = name if name in NUISANCES else extra
        drawn.append(foreground.draw(rng, which, sky.reach, wavelengths, sigma[len(drawn)]))
        residue.append(rng.standard_normal((5, len(wavelengths))))
    found = {f"foreground_{name}": np.array([one[name] for one in drawn]) for name in drawn[0]}
    return found | {"residue": np.array(residue)}


def bare(psf_fwhm: np.ndarray) -> dict[str, np.ndarray]:
    """Return the labels (n,) of hosts without features, of some seeing (n, band), arcsec."""
    rows = len(psf_fwhm)
    nothing = {name: np.zeros(rows) for name in ("defect", "z", "mag_r", *MEASURED)}
    nothing |= {
        "is_tidal": np.zeros(rows, np.int64),
        "kind": np.full(rows, "twin"),
        "feature_bit": np.zeros((rows, 1), np.int64),
    }
    return labels(nothing, nothing | {"psf_fwhm": psf_fwhm})


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
        uint8, ``truth`` (n, y, x) uint8, ``sigma`` (n, band) nJy, ``psf_fwhm`` (n, band) arcsec,
        ``ebv`` (n,) float32. Numpy columns (n,) as in a store: ``object_id``, ``ra``, ``dec``,
        ``group`` and the labels.
    """
    columns, own = fresh_population(population, sky, survey, batch_size, seed, number)
    drawn = draw_cutouts(columns, survey, size, np.arange(batch_size), device, own)
    measured = {name: drawn.pop(name).cpu().numpy() for name in MEASURED}
    known = labels(columns, measured | {"psf_fwhm": columns["psf_fwhm"]})
    return as_stored(columns, drawn, known, device)
