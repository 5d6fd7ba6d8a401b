"""The same cluster, seen more than once: in tiles that overlap, or by several networks."""

from __future__ import annotations

import numpy as np

from astroml.store.layout import FLAGS
from astroml.tasks.cluster import mass, redshift
from astroml.tasks.cluster.columns import COLUMNS, designations
from astroml.tasks.cluster.match import RADIUS, WINDOW, mpc_per_arcsec, sky_of

ASIDE = FLAGS["no_data"] | FLAGS["no_sky"]
"""Flags of rows that merge with none: they hold nothing, or no place on the sky."""

AT_ONCE = 20_000
"""Rows whose neighbours are listed at once."""


def unique(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Say which rows of a catalog stay, so that overlapping tiles count no cluster twice.

    The row of the highest probability stays first. Rows of other tiles within 0.5 Mpc at its
    redshift, and within 0.05 (1 + z) of it in redshift, are the same cluster and go.

    Parameters
    ----------
    rows : dict
        ``object_id``, ``ra``, ``dec`` (deg), ``cluster_prob``, ``cluster_score``, ``z_cluster``,
        ``flags``, each (n,).

    Returns
    -------
    (n,) array of bool
    """
    from scipy.spatial import cKDTree

    n = len(rows["object_id"])
    ra, dec, z, prob = (
        np.asarray(rows[name], float) for name in ("ra", "dec", "z_cluster", "cluster_prob")
    )
    stays = np.ones(n, bool)
    some = np.isfinite([ra, dec, z, prob]).all(0)
    some &= np.asarray(rows.get("flags", np.zeros(n, int))) & ASIDE == 0
    tile = np.unique(rows["object_id"], return_inverse=True)[1]
    score = np.nan_to_num(np.asarray(rows["cluster_score"], float))
    order = np.lexsort((dec, ra, tile, -score, -prob))
    order = order[some[order]]
    if not len(order):
        return stays
    a, d = np.radians(ra[order]), np.radians(dec[order])
    place = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)
    tree, z, tile = cKDTree(place), z[order], tile[order]
    angle = np.radians(RADIUS / mpc_per_arcsec(z) / 3600)
    chord = 2 * np.sin(np.minimum(angle, np.pi / 2) / 2)
    here = np.ones(len(order), bool)
    for begin in range(0, len(order), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        for at, near in enumerate(tree.query_ball_point(place[part], chord[part]), begin):
            if not here[at] or len(near) == 1:
                continue
            near = np.array(near)
            same = (near > at) & (tile[near] != tile[at])
            same &= np.abs(z[near] - z[at]) < WINDOW * (1 + z[at])
            here[near[same]] = False
    stays[order] = here
    return stays


def combine(members: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Merge the rows of the networks of an ensemble, cluster by cluster.

    In each tile, rows of several networks within 0.5 Mpc and 0.05 (1 + z) of the surest are one.

    Parameters
    ----------
    members : list of dict
        What ``rows`` returned for each network, with any further columns.

    Returns
    -------
    dict
        The same columns. Means; p(z) is that of all who found it, so that it holds their scatter;
        the variance of ln richness is their mean and the scatter between them.
    """
    first = members[0]
    all_rows = {name: np.concatenate([one[name] for one in members]) for name in first}
    whose = np.repeat(np.arange(len(members)), [len(one["object_id"]) for one in members])
    # Tiles keep the order in which they came.
    ids, begin, tile = np.unique(first["object_id"], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(begin))
    tile = rank[np.searchsorted(ids, all_rows["object_id"])]
    group = _groups(all_rows, tile, whose)
    order = np.lexsort((-all_rows["cluster_score"].astype(float), group))
    lead = order[np.unique(group[order], return_index=True)[1]]
    merged = {name: values[lead] for name, values in all_rows.items()}
    return merged | _means(all_rows, group, len(members), lead)


def _groups(rows: dict, tile: np.ndarray, whose: np.ndarray) -> np.ndarray:
    """Return the number of the cluster (n,) that each row is of; numbers rise with the tile."""
    x, y, z, score = (
        np.asarray(rows[name], float) for name in ("x", "y", "z_cluster", "cluster_score")
    )
    group, count = np.full(len(tile), -1), 0
    by_tile = np.lexsort((-score, tile))
    for some in np.split(by_tile, np.flatnonzero(np.diff(tile[by_tile])) + 1):
        for at in some.tolist():
            if group[at] >= 0:
                continue
            apart = np.hypot(x[some] - x[at], y[some] - y[at]) * mpc_per_arcsec(z[at])
            near = (apart <= RADIUS) & (np.abs(z[some] - z[at]) < WINDOW * (1 + z[at]))
            for network in np.unique(whose[some]):
                # Its nearest: one network never says twice that the same cluster is there.
                mine = some[near & (whose[some] == network) & (group[some] < 0)]
                if network == whose[at]:
                    mine = np.array([at])
                if len(mine):
                    nearest = np.hypot(x[mine] - x[at], y[mine] - y[at]).argmin()
                    group[mine[nearest]] = count
            count += 1
    return group


def _means(rows: dict, group: np.ndarray, members: int, lead: np.ndarray) -> dict:
    """Return the columns of merged rows, each the mean over a group."""
    count = np.bincount(group)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, values) / count

    ln_richness = np.log(np.asarray(rows["richness"], float))
    middle = mean(ln_richness)
    error = np.asarray(rows["ln_richness_err"], float)
    variance = mean(error**2) + np.maximum(mean(ln_richness**2) - middle**2, 0)
    p_z = np.zeros((len(count), rows["z_pdf"].shape[1]))
    np.add.at(p_z, group, rows["z_pdf"])
    p_z /= count[:, None]
    first, step = (np.asarray(rows[name], float)[lead] for name in ("z_pdf_first", "z_pdf_step"))
    bins = p_z.shape[1]
    edges = first[:1] + step[:1] * (np.arange(bins + 1) - 0.5) if len(lead) else np.zeros(bins + 1)
    weight = p_z * step[:, None]
    z, z_err = redshift.describe(weight / weight.sum(1, keepdims=True), edges)
    x, y = (mean(np.asarray(rows[name], float)) for name in ("x", "y"))
    richness, sigma = np.exp(middle), np.sqrt(variance)
    ra, dec = _moved(rows, lead, x, y)
    columns = {
        "cluster_prob": np.bincount(group, rows["cluster_prob"]) / members,
        "cluster_score": mean(np.asarray(rows["cluster_score"], float)),
        "z_cluster": z,
        "z_cluster_err": z_err,
        "richness": richness,
        "richness_err": richness * sigma,
        "ln_richness_err": sigma,
        "m200m": mass.m200m(richness, z),
        "m200m_err": mass.m200m_err(richness, sigma, z, z_err),
        "x": x,
        "y": y,
        "name": designations(ra, dec),
        "z_pdf": p_z,
    }
    kinds = {column.name: column.dtype for column in COLUMNS}
    typed = {name: values.astype(kinds[name]) for name, values in columns.items()}
    return typed | {"ra": ra, "dec": dec}


def _moved(rows: dict, lead: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple:
    """Return the sky positions of the means, a few arcsec from their leading rows."""
    shift = x - rows["x"][lead], y - rows["y"][lead]
    return sky_of(rows["ra"][lead], rows["dec"][lead], *shift)
