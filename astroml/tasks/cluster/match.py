"""Where clusters lie in a tile and on the sky, and which detection belongs to which of them."""

from __future__ import annotations

import numpy as np

from astroml.tasks.cluster.kinds import SLOTS

RADIUS = 0.5
"""Distance, Mpc, within which a detection may belong to a cluster."""

WINDOW = 0.05
"""Difference in redshift over 1 + z within which it may."""

MPC = 299792.458 / 70 / 206264.806
"""Mpc that one arcsec spans at a distance of c/H0, for H0 = 70 km/s/Mpc."""

MATTER = 0.3
"""Omega_m of a flat universe."""

GRID = np.linspace(0, 5, 5001)
"""Redshifts at which the distance is tabulated."""

SLOPE = 1 / np.sqrt(MATTER * (1 + GRID) ** 3 + 1 - MATTER)

DISTANCE = np.append(0, np.cumsum((SLOPE[1:] + SLOPE[:-1]) / 2 * np.diff(GRID)))
"""Comoving distance in units of c/H0 (Hogg 1999, astro-ph/9905116, eq. 15)."""


def mpc_per_arcsec(z) -> np.ndarray:
    """Return the Mpc in one arcsec at redshift ``z``, H0 = 70 km/s/Mpc, Omega_m = 0.3, flat."""
    # At a redshift of 0 an arcsec is nothing: whatever divides by it wants a number.
    z = np.clip(np.asarray(z, float), 1e-3, GRID[-1])
    return np.interp(z, GRID, DISTANCE) * MPC / (1 + z)


def plane_of(ra_0, dec_0, ra, dec) -> tuple[np.ndarray, np.ndarray]:
    """Project sky positions onto the plane that touches the sky at a tile's centre.

    The gnomonic projection (Calabretta & Greisen 2002, A&A 395, 1077, sect. 5.1.3), north up and
    east left.

    Parameters
    ----------
    ra_0, dec_0 : array
        The tile's centre, deg.
    ra, dec : array
        Positions, deg, that broadcast with it.

    Returns
    -------
    x, y : array
        arcsec from the centre: x to the west, along a row of pixels, y to the north. NaN on the far
        side of the sky.
    """
    ra, dec, ra_0, dec_0 = (np.radians(np.asarray(one, float)) for one in (ra, dec, ra_0, dec_0))
    depth = np.sin(dec) * np.sin(dec_0) + np.cos(dec) * np.cos(dec_0) * np.cos(ra - ra_0)
    depth = np.where(depth > 0, depth, np.nan)
    east = np.cos(dec) * np.sin(ra - ra_0) / depth
    north = np.sin(dec) * np.cos(dec_0) - np.cos(dec) * np.sin(dec_0) * np.cos(ra - ra_0)
    return -3600 * np.degrees(east), 3600 * np.degrees(north / depth)


def sky_of(ra_0, dec_0, x, y) -> tuple[np.ndarray, np.ndarray]:
    """Return ``ra`` in 0 to 360 and ``dec``, deg, of positions in a tile: ``plane_of`` undone."""
    ra_0, dec_0 = (np.radians(np.asarray(one, float)) for one in (ra_0, dec_0))
    east, north = (np.radians(np.asarray(one, float) / 3600) for one in (-np.asarray(x), y))
    along = np.cos(dec_0) - north * np.sin(dec_0)
    up = np.sin(dec_0) + north * np.cos(dec_0)
    ra = np.mod(np.degrees(ra_0 + np.arctan2(east, along)), 360)
    # A hair below 0 is 360 after rounding.
    return np.where(ra >= 360, 0.0, ra), np.degrees(np.arctan2(up, np.hypot(along, east)))


def true_clusters(objects: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the true clusters of tiles, richest first, NaN where there are none.

    Parameters
    ----------
    objects : dict
        Columns (n,) of the store: ``ra``, ``dec``, and of each slot k ``cluster_ra_k``,
        ``cluster_dec_k`` (deg), ``cluster_z_k``, ``cluster_richness_k``, where it has them.

    Returns
    -------
    dict
        ``cluster_z``, ``cluster_richness``, and ``cluster_x``, ``cluster_y`` in arcsec from the
        tile's centre, each (n, SLOTS) float32.
    """
    n = len(objects["object_id"])

    def stacked(name: str) -> np.ndarray:
        slots = [objects.get(f"cluster_{name}_{k}", np.full(n, np.nan)) for k in range(SLOTS)]
        return np.stack([np.asarray(one, float) for one in slots], axis=1)

    centre = (np.asarray(objects[name], float)[:, None] for name in ("ra", "dec"))
    x, y = plane_of(*centre, stacked("ra"), stacked("dec"))
    found = {"z": stacked("z"), "richness": stacked("richness"), "x": x, "y": y}
    return {f"cluster_{name}": values.astype(np.float32) for name, values in found.items()}


def marked(targets: dict[str, np.ndarray], size: int, pixel_scale: float) -> dict:
    """Draw the plane of true centres from their places.

    Parameters
    ----------
    targets : dict
        ``cluster_x``, ``cluster_y`` (n, SLOTS), arcsec from the tile's centre, NaN for none.
    size : int
        Side of the tiles, px.
    pixel_scale : float
        arcsec

    Returns
    -------
    dict
        ``truth`` (n, y, x) uint8: 1 + k at the pixel of cluster k's centre.
    """
    x, y = (np.asarray(targets[f"cluster_{name}"], float) for name in "xy")
    column, row = (np.rint(np.nan_to_num(one, nan=1e9) / pixel_scale + (size - 1) / 2)
                   for one in (x, y))  # fmt: skip
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    truth = np.zeros((len(x), size, size), np.uint8)
    tile, slot = np.nonzero(inside)
    at = (tile, row[inside].astype(int), column[inside].astype(int))
    truth[at] = 1 + slot
    return {"truth": truth}


def listed(slots: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the clusters of ``true_clusters`` as a list.

    Returns
    -------
    dict
        ``tile`` (c,), the row that each lies in; ``z``, ``richness``, ``x``, ``y`` (c,).
    """
    names = ("z", "richness", "x", "y")
    table = [np.asarray(slots[f"cluster_{name}"], float) for name in names]
    there = np.isfinite(table).all(0)
    return {"tile": np.nonzero(there)[0]} | {
        name: values[there] for name, values in zip(names, table)
    }


def match(detections: dict[str, np.ndarray], clusters: dict[str, np.ndarray]) -> np.ndarray:
    """Say which cluster each detection belongs to.

    Within ``RADIUS`` at the cluster's redshift and ``WINDOW`` of it in redshift, in the same tile;
    one to one: the detection of the highest score chooses first, the cluster that is nearest in
    units of both limits, squares added.

    Parameters
    ----------
    detections : dict
        ``tile``, ``x``, ``y`` (arcsec), ``z``, ``score``, each (d,).
    clusters : dict
        ``tile``, ``x``, ``y``, ``z``, each (c,).

    Returns
    -------
    (d,) array of int
        Place of the cluster, -1 for none.
    """
    one, two, apart, shift = _pairs(detections, clusters)
    apart = apart * mpc_per_arcsec(clusters["z"][two]) / RADIUS
    inside = (apart <= 1) & (shift <= 1)
    gap = apart**2 + shift**2
    found = np.full(len(detections["tile"]), -1)
    return _one_to_one(one[inside], two[inside], detections["score"], gap[inside], found)


def match_places(
    detections: dict[str, np.ndarray], clusters: dict[str, np.ndarray], found: np.ndarray
) -> np.ndarray:
    """Add to what ``match`` found the pairs whose redshift alone is wrong: outliers in redshift.

    Of what is left, those within ``RADIUS`` at either redshift; one to one, by score.

    Parameters
    ----------
    detections, clusters
        See ``match``.
    found : (d,) array of int
        What ``match`` returned.
    """
    one, two, apart, _ = _pairs(detections, clusters)
    here, there = (mpc_per_arcsec(z) for z in (detections["z"][one], clusters["z"][two]))
    apart = apart * np.maximum(here, there) / RADIUS
    taken = np.isin(two, found[found >= 0]) | (found[one] >= 0)
    inside = (apart <= 1) & ~taken
    return _one_to_one(one[inside], two[inside], detections["score"], apart[inside], found)


def _pairs(detections: dict, clusters: dict) -> tuple[np.ndarray, ...]:
    """Return all pairs of one tile: places of both, arcsec apart, and dz in units of the window."""
    order = np.argsort(clusters["tile"], kind="stable")
    tiles = clusters["tile"][order]
    low = np.searchsorted(tiles, detections["tile"], side="left")
    count = np.searchsorted(tiles, detections["tile"], side="right") - low
    one = np.repeat(np.arange(len(count)), count)
    begin = np.cumsum(count) - count
    two = order[np.arange(len(one)) - begin[one] + low[one]]
    step = [detections[name][one] - clusters[name][two] for name in ("x", "y", "z")]
    z = clusters["z"][two]
    return one, two, np.hypot(*step[:2]), np.abs(step[2]) / (WINDOW * (1 + z))


def _one_to_one(one, two, score: np.ndarray, gap: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return ``found`` (d,) with pairs added, by falling score, then rising gap; none twice."""
    found, taken = found.copy(), set()
    for at in np.lexsort((gap, one, -score[one])).tolist():
        if found[one[at]] < 0 and two[at] not in taken:
            found[one[at]] = two[at]
            taken.add(two[at])
    return found
