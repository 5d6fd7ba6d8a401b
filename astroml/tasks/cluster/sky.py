"""The training population of clusters: tiles of the sky, with clusters and what looks like them."""

from __future__ import annotations

import math

import numpy as np
import torch

from astroml.errors import AstromlError
from astroml.sky import bright, groups, members, noise, patch
from astroml.sky.conditions import UNITS as SEEN
from astroml.sky.conditions import conditions, defects
from astroml.sky.conditions import stream as generator
from astroml.sky.kinds import as_stored, draw_kinds, fresh_population
from astroml.sky.lensing import angular_scale, comoving_distance
from astroml.sky.wide import draw_tiles
from astroml.survey import Survey
from astroml.tasks.cluster.kinds import MIN_RICHNESS, NEGATIVES, POSITIVE, SLOTS, Sky
from astroml.tasks.cluster.match import marked

__all__ = ["PLANES", "UNITS", "fresh", "inputs", "labels", "population", "render"]

OWN, TILE = 1, 2
"""Streams of random numbers; a generator is seeded by (seed, stream, tile)."""

PLANES = ("truth",)
"""Planes of labels that ``render`` returns."""

TRUTH = {"ra": "deg", "dec": "deg", "z": "", "richness": ""}
"""What a store tells of each cluster, and its unit."""

UNITS = SEEN | {
    "half": "arcsec",
    "bright_mag": "mag",
    "disc_mag": "mag",
    "disc_size": "arcsec",
    "disc_phi": "rad",
    "disc_pitch": "rad",
    "system_bcg": "mag",
} | {f"{kind}_{name}": "arcsec" for kind in ("bright", "disc", "system") for name in "xy"} | {
    f"cluster_{name}_{slot}": unit for name, unit in TRUTH.items() if unit for slot in range(SLOTS)
}  # fmt: skip
"""Unit of each column of the population and of the labels that has one."""

MOST_GROUPS = 26
"""Poor groups of a tile at most."""

PLACES = {"cluster": (0, 2), "outside": (2, 3), "projection": (3, 6), "group": (6, 6 + MOST_GROUPS)}
"""Slots of a tile's systems."""

EDGE = 5.0
"""Least distance of a centre from the edge of the tile, arcsec."""

APART, APART_Z = 60.0, 0.05
"""Two clusters of a tile are at least so far from each other, arcsec, and in redshift."""

GROUP_Z = 0.05, 0.9
"""Redshifts of the field's groups."""

STEEP = 3.5
"""The sky's clusters: numbers per unit of richness go as its power -3.5."""


def population(sky: Sky, survey: Survey, seed: int) -> dict[str, np.ndarray]:
    """Draw every parameter of a sky, but for single galaxies and the pixel noise.

    Galaxies are drawn where they are needed (``groups.draw``), from the same seed.

    Parameters
    ----------
    sky : Sky
        How many tiles of which kind; the clusters' redshifts and richness.
    survey : Survey
        Bands, seeing and noise.
    seed : int
        Seed; the same seed gives the same tiles.

    Returns
    -------
    dict of arrays
        ``object_id``, ``ra``, ``dec``, ``ebv``, ``group`` (-1: none), ``kind``, and what
        ``render`` and ``groups.draw`` take, each (n, ...).
    """
    if sky.members:
        members.real_table(sky.members)
    kind = draw_kinds(sky.objects, POSITIVE, sky.cluster_fraction, sky.negatives, NEGATIVES, seed)
    drawn, seen = [], []
    for key, name in enumerate(kind):
        drawn.append(_tile(generator(seed, TILE, key), str(name), sky))
        seen.append(conditions(generator(seed, OWN, key), survey))
    residue = [generator(seed, OWN, key, 1).standard_normal((5, len(survey.bands)))
               for key in range(len(kind))]  # fmt: skip
    columns = {name: np.array([one[name] for one in drawn]) for name in drawn[0]}
    columns |= {name: np.array([one[name] for one in seen]) for name in seen[0]}
    columns |= defects(seed, len(kind))
    return columns | {
        "object_id": 1_000_000 + np.arange(len(kind)),
        "key": np.arange(len(kind)),
        "kind": kind,
        "group": np.full(len(kind), -1),
        "half": np.full(len(kind), sky.side / 2),
        "members": np.full(len(kind), sky.members),
        "residue": np.array(residue),
        **patch.grid(len(kind), sky.side, seed),
    }


def inputs(sky: Sky) -> list:
    """Return the files that the population is drawn from."""
    return [members.real_table(sky.members)] if sky.members else []


def _tile(rng: np.random.Generator, kind: str, sky: Sky) -> dict:
    """Draw one tile: its clusters and groups, a disc, a star."""
    middle = sky.side / 2 - EDGE
    extra = str(rng.choice(NEGATIVES[1:])) if rng.random() < sky.nuisances else ""
    slots = PLACES["group"][1]
    system = {name: np.full(slots, np.nan) for name in ("x", "y", "z")}
    system |= {"richness": np.zeros(slots, int), "bcg": np.zeros(slots)}
    drawn = {
        "cluster": _clusters(rng, sky, middle) if kind == POSITIVE else [],
        "outside": _outside(rng, sky) if rng.random() < sky.outside else [],
        "projection": _projection(rng, sky, middle) if "projection" in (kind, extra) else [],
        "group": _groups(rng, sky),
    }
    for name, ones in drawn.items():
        for at, (x, y, z, richness) in enumerate(ones, PLACES[name][0]):
            for column, value in zip(("x", "y", "z", "richness"), (x, y, z, richness)):
                system[column][at] = value
            system["bcg"][at] = _brightest(rng, richness)
    disc = bright.draw_disc(rng, middle)
    disc["mag"] = disc["mag"] if "disc" in (kind, extra) else bright.ABSENT
    starry, crowd = "stars" in (kind, extra), rng.random() < 0.4
    star = {"x": rng.uniform(-middle, middle), "y": rng.uniform(-middle, middle)}
    star["mag"] = rng.uniform(7, 11) if starry and not crowd else bright.ABSENT
    density = math.exp(rng.normal(0, 0.4)) * (rng.uniform(6, 20) if starry and crowd else 1)
    return {
        "star_density": density,
        **{f"system_{name}": values for name, values in system.items()},
        **{f"disc_{name}": value for name, value in disc.items()},
        **{f"bright_{name}": value for name, value in star.items()},
    }


def _brightest(rng, richness: int) -> float:
    """Draw by how many magnitudes the brightest member is above m*: more in rich clusters."""
    if richness < MIN_RICHNESS:
        return float(np.clip(0.3 + math.log10(richness / 2) + 0.3 * rng.normal(), 0, 2))
    return float(np.clip(1.75 + 0.5 * math.log10(richness / 40) + 0.3 * rng.normal(), 1, 2.5))


def _clusters(rng, sky: Sky, middle: float) -> list[tuple]:
    """Draw the clusters of a tile as x, y, z, richness, the richest first."""
    found = []
    for _ in range(2 if rng.random() < sky.several else 1):
        for _ in range(20):
            x, y = rng.uniform(-middle, middle, 2)
            z, richness = _redshift(rng, sky.z_law, sky.z), _richness(rng, sky)
            near = [math.hypot(x - one[0], y - one[1]) < APART or abs(z - one[2]) < APART_Z
                    for one in found]  # fmt: skip
            if not any(near):
                found.append((x, y, z, richness))
                break
    return sorted(found, key=lambda one: -one[3])


def _outside(rng, sky: Sky) -> list[tuple]:
    """Draw a cluster beside a tile: 5 to 60 arcsec beyond one of its edges."""
    far, along = sky.side / 2 + rng.uniform(5, 60), rng.uniform(-0.5, 0.5) * sky.side
    x, y = [(far, along), (-far, along), (along, far), (along, -far)][rng.integers(4)]
    return [(x, y, _redshift(rng, sky.z_law, sky.z), _richness(rng, sky))]


def _projection(rng, sky: Sky, middle: float) -> list[tuple]:
    """Draw two or three poor groups on one line of sight, far from each other in redshift."""
    x, y = rng.uniform(-middle, middle, 2)
    first, found = rng.random(), []
    for which in range(int(rng.integers(2, 4))):
        z = sky.z[0] + (sky.z[1] - sky.z[0]) * ((first + which / 3) % 1)
        away = rng.normal(0, 150, 2) / angular_scale(z)
        found.append((x + away[0], y + away[1], z, int(rng.integers(4, MIN_RICHNESS))))
    return found


def _groups(rng, sky: Sky) -> list[tuple]:
    """Draw the field's groups: 2 to 9 red members, numbers as their power -2.5."""
    half = sky.side / 2 + 2 * groups.BEYOND
    # The number is that of a tile of 5.6 arcmin.
    number = min(int(rng.poisson(sky.groups * (2 * half / 335.36) ** 2)), MOST_GROUPS)
    sizes = np.arange(2, MIN_RICHNESS)
    share = sizes**-2.5 / (sizes**-2.5).sum()
    return [
        (*rng.uniform(-half, half, 2), _redshift(rng, "sky", GROUP_Z), rng.choice(sizes, p=share))
        for _ in range(number)
    ]


def _redshift(rng, law: str, limits: tuple[float, float]) -> float:
    """Draw a redshift: flat, or by comoving volume."""
    if law == "flat":
        return rng.uniform(*limits)
    near, far = comoving_distance(np.array(limits)) ** 3
    z = np.linspace(*limits, 200)
    return float(np.interp(rng.uniform(near, far), comoving_distance(z) ** 3, z))


def _richness(rng, sky: Sky) -> int:
    """Draw a richness: flat in its logarithm, or numbers as its power -3.5."""
    low, high = sky.richness
    if sky.richness_law == "flat":
        return round(math.exp(rng.uniform(math.log(low), math.log(high))))
    power = 1 - STEEP
    ends = sorted((low**power, high**power))
    return round(min(max(rng.uniform(*ends) ** (1 / power), low), high))


def truth(columns: dict, rows, survey: Survey, size: int) -> dict[str, np.ndarray]:
    """Return what is known of the clusters whose centres lie in tiles of ``size`` px.

    Returns
    -------
    dict
        ``truth`` (n, y, x) uint8, 1 + k at the pixel of the centre of cluster k; ``clusters`` (n,),
        their number; ``cluster_<name>_<k>`` (n,) for ``TRUTH``, NaN where there is none.
    """
    rows, slots = np.asarray(rows), slice(*PLACES["cluster"])
    x, y, z, richness = (
        columns[f"system_{name}"][rows, slots] for name in ("x", "y", "z", "richness")
    )
    column, line = (np.rint(np.nan_to_num(one, nan=-1e6) / survey.pixel_scale + (size - 1) / 2)
                    for one in (x, y))  # fmt: skip
    inside = (richness > 0) & (column >= 0) & (column < size) & (line >= 0) & (line < size)
    centre = columns["ra"][rows, None], columns["dec"][rows, None]
    ra, dec = patch.sky_position(*centre, x, y)
    slot = np.cumsum(inside, 1) - 1
    tables = {}
    for name, values in zip((*TRUTH, "x", "y"), (ra, dec, z, richness, x, y)):
        kind = np.float32 if TRUTH.get(name) == "" else np.float64
        tables[name] = np.full((len(rows), SLOTS), np.nan, kind)
        tables[name][np.nonzero(inside)[0], slot[inside]] = values[inside]
    places = {f"cluster_{name}": tables.pop(name) for name in "xy"}
    known = {f"cluster_{name}_{k}": one[:, k] for name, one in tables.items() for k in range(SLOTS)}
    plane = marked(places, size, survey.pixel_scale)
    return plane | {"clusters": inside.sum(1)} | known


NUMBERS = ("clusters", *(f"cluster_{name}_{k}" for name in TRUTH for k in range(SLOTS)))
"""What ``truth`` tells besides the plane."""


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
        ``clusters``, how many clusters have their centres in the tile, and of each, the richest
        first, ``cluster_ra_<k>``, ``cluster_dec_<k>`` (deg), ``cluster_z_<k>``,
        ``cluster_richness_<k>``, NaN where there is none; ``kind``; ``artefact`` (1: the pixels
        have a defect) and ``seeing`` (mean FWHM over bands, arcsec).
    """
    return {name: np.asarray(rendered[name]) for name in NUMBERS} | {
        "kind": columns["kind"],
        "artefact": (columns["defect"] != noise.CLEAN).astype(np.int64),
        "seeing": np.asarray(rendered["psf_fwhm"]).mean(1).astype(np.float32),
    }


def render(columns: dict, survey: Survey, size: int, rows, device="cpu", seed: int = 1) -> dict:
    """Render noisy tiles.

    Parameters
    ----------
    columns : dict
        What ``population`` drew.
    survey : Survey
        Bands, pixels, gains.
    size : int
        Side of the tiles, px; not wider than the sky that was drawn.
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
        ``store.MASK``; ``sigma`` (n, band) nJy; ``psf_fwhm`` (n, band) arcsec; and what ``truth``
        returns.
    """
    _check_width(columns, survey, size)
    drawn = draw_tiles(columns, survey, size, rows, device, seed)
    return {name: values.cpu().numpy() for name, values in drawn.items()} | truth(
        columns, rows, survey, size
    )


def _check_width(columns: dict, survey: Survey, size: int) -> None:
    """Refuse tiles that are wider than the sky that was drawn."""
    wide, side = size * survey.pixel_scale, 2 * float(np.max(columns["half"], initial=0))
    if wide > side + groups.BEYOND:
        raise AstromlError(
            f"tiles of {size} px x {survey.pixel_scale:.4g} arcsec: found {wide:.0f} arcsec, "
            f"expected at most the {side:.0f} that the sky fills; set the sky's side to {wide:.0f}"
        )


def fresh(
    sky: Sky, survey: Survey, size: int, batch_size: int, seed: int, number: int, device: str
) -> dict:
    """Render a batch of tiles that are in no other batch.

    Parameters
    ----------
    sky, survey, batch_size, seed, number
        See ``sky.kinds.fresh_population``.
    size : int
        Side of the tiles, px.
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
    _check_width(columns, survey, size)
    drawn = draw_tiles(columns, survey, size, np.arange(batch_size), device, own)
    known = truth(columns, np.arange(batch_size), survey, size)
    drawn["truth"] = torch.from_numpy(known.pop("truth")).to(device)
    told = labels(columns, known | {"psf_fwhm": columns["psf_fwhm"]})
    return as_stored(columns, drawn, told, device)
