"""What only a whole catalog can say: outliers among all, groups of like residuals, a map."""

from __future__ import annotations

import warnings

import numpy as np

from astroml.neighbours import nearest, whitened
from astroml.store.layout import FLAGS
from astroml.tasks.anomaly.columns import OUTLIERS
from astroml.tasks.anomaly.combine import fit_slices, standardised

FEWEST = 40
"""Objects below which a catalog has neither outliers nor a map nor groups."""

SEED = 1

TREES = 200
"""Of an isolation forest."""

NEIGHBOURS = 20
"""That an object's density is held against."""

ODDEST = (0.05, 30, 5000)
"""Share of the catalog whose residuals are put in groups, and its fewest and most objects."""

GROUPS = range(2, 11)
"""Numbers of groups that are tried."""

MAPPED = 5000
"""Objects that the map is made of, at most: the oddest half of that, and others at even steps. All
others take the mean place of those nearest to them."""

NEAR = 5
"""Of them."""


def whole(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns of a whole catalog, but for the ranks.

    Parameters
    ----------
    rows : dict
        ``flags``, ``anomaly_score`` and ``log_flux`` (n,), ``embedding``, ``residual_embedding``,
        ``pca_coefficients`` (n, k) and ``pca_residual`` (n,), as ``rows`` returned them.

    Returns
    -------
    dict
        ``iforest_score``, ``lof_score``, ``pca_score``, ``umap_x``, ``umap_y`` (n,) float32, NaN,
        and ``residual_cluster`` (n,) int64, -1, of what has no usable pixel, and of all in a
        catalog of fewer than ``FEWEST``.
    """
    from threadpoolctl import threadpool_limits

    usable = usable_rows(rows)
    if len(usable) < FEWEST:
        print(
            f"anomaly: {len(usable)} objects, too few for outliers, groups and a map, which take "
            f"{FEWEST}: their columns are empty"
        )
    # Sums by several threads differ in their last digits from run to run.
    with threadpool_limits(1):
        columns = outlier_scores(rows)
        group = np.full(len(rows["flags"]), -1, np.int64)
        place = np.full((len(group), 2), np.nan, np.float32)
        if len(usable) >= FEWEST:
            odd = np.asarray(rows["anomaly_score"], float)[usable]
            group[usable] = groups(rows["residual_embedding"][usable], odd)
            place[usable] = layout(whitened(rows["embedding"][usable]), odd)
    return columns | {"residual_cluster": group, "umap_x": place[:, 0], "umap_y": place[:, 1]}


def usable_rows(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Return the rows (k,) with pixels and a score."""
    seen = np.isfinite(np.asarray(rows["anomaly_score"], float))
    if "flags" in rows:
        seen &= (np.asarray(rows["flags"]) & FLAGS["no_data"]) == 0
    return np.flatnonzero(seen)


def outlier_scores(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return ``iforest_score``, ``lof_score`` and ``pca_score`` (n,); see ``whole``."""
    usable, n = usable_rows(rows), len(rows["anomaly_score"])
    columns = {f"{name}_score": np.full(n, np.nan, np.float32) for name in OUTLIERS}
    if len(usable) < FEWEST:
        return columns
    learned = whitened(rows["embedding"][usable])
    pixels = np.column_stack([rows["pca_coefficients"], rows["pca_residual"]])[usable]
    found = {
        "iforest": isolation(learned),
        "lof": local_outlier_factor(learned),
        "pca": isolation(pixels),
    }
    # As for the models, so that flux does not decide, for the baseline neither.
    flux = np.asarray(rows["log_flux"], float)[usable]
    for name, values in found.items():
        columns[f"{name}_score"][usable] = standardised(values, flux, fit_slices(values, flux))
    return columns


def isolation(points: np.ndarray) -> np.ndarray:
    """Return how few cuts part each point (n, d) from all others, (n,) in 0 to 1 (Liu et al. 2008).

    1 is the oddest.
    """
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=TREES, random_state=SEED).fit(points)
    return -forest.score_samples(points)


def local_outlier_factor(points: np.ndarray) -> np.ndarray:
    """Return how much thinner it is around each point than around its neighbours, (n,).

    The local outlier factor (Breunig et al. 2000, eq. 7); 1 is usual.
    """
    k = min(NEIGHBOURS, len(points) - 1)
    index, distance = nearest(points, points, k + 1)
    # A point is its own neighbour, but of several at one place not always the first.
    own = index == np.arange(len(points))[:, None]
    own[~own.any(1), -1] = True
    index, distance = (one[~own].reshape(len(points), k) for one in (index, distance))
    reach = np.maximum(distance, distance[index, -1])
    density = 1 / np.maximum(reach.mean(1), 1e-10)
    return density[index].mean(1) / density


def groups(residual: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Return the group (n,) of like residuals of the oddest objects, 0 the largest; -1 the others.

    Groups by k-means; as many as part best (highest mean silhouette, Rousseeuw 1987).

    Parameters
    ----------
    residual : (n, d) array
        Embedding of the residual images.
    odd : (n,) array
        What says which objects are the oddest.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    share, least, most = ODDEST
    count = min(len(odd), int(np.clip(share * len(odd), least, most)))
    oddest = np.sort(np.argsort(-odd, kind="stable")[:count])
    points = whitened(residual[oddest])
    found = np.full(len(odd), -1, np.int64)
    found[oddest] = 0
    different = len(np.unique(points, axis=0))
    best = -np.inf
    for number in GROUPS:
        if number >= different:
            break
        labels = KMeans(number, n_init=4, random_state=SEED).fit_predict(points)
        worth = silhouette_score(points, labels)
        if worth > best:
            best, found[oddest] = worth, by_size(labels)
    return found


def by_size(labels: np.ndarray) -> np.ndarray:
    """Return labels (n,) numbered anew, 0 the most frequent; of equal ones the first seen."""
    known, first, place, counts = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    number = np.empty(len(known), np.int64)
    number[np.lexsort((first, -counts))] = np.arange(len(known))
    return number[place]


def layout(points: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Return a map (n, 2) of points (n, d) in which near is alike (UMAP, McInnes et al. 2018).

    ``odd`` (n,) says which objects it must hold; see ``MAPPED``.
    """
    chosen = np.arange(len(points))
    if len(points) > MAPPED:
        order = np.argsort(-odd, kind="stable")
        rest = np.sort(order[MAPPED // 2 :])
        even = np.linspace(0, len(rest) - 1, MAPPED - MAPPED // 2).round().astype(int)
        chosen = np.sort(np.append(order[: MAPPED // 2], rest[even]))
    place = np.empty((len(points), 2), np.float32)
    place[chosen] = mapped(points[chosen])
    others = np.setdiff1d(np.arange(len(points)), chosen)
    if len(others):
        index, _ = nearest(points[chosen], points[others], NEAR)
        place[others] = place[chosen[index]].mean(1)
    return place


def mapped(points: np.ndarray) -> np.ndarray:
    """Return UMAP's map (n, 2) of all points (n, d), the same for the same seed."""
    with warnings.catch_warnings():
        # It says at its import that its neural variant, which we do not use, lacks a library.
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        from umap import UMAP
    k = min(15, len(points) - 1)
    index, distance = nearest(points, points, k)
    found = UMAP(
        n_neighbors=k,
        init="pca",
        random_state=SEED,
        n_jobs=1,
        precomputed_knn=(index.astype(np.int32), distance.astype(np.float32), None),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)
        return found.fit_transform(points)
