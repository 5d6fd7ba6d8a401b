"""What established methods say of the same galaxies, from the same noisy fluxes.

Both learn from the labelled rows of the train split alone; what can be chosen is chosen without a
look at the test split. They are made as good as is reasonable: a weak rival proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from astroml.store import Store
from astroml.tasks.photoz.metrics import flux_bands

NEIGHBOURS = (5, 8, 12, 20, 30, 40, 60, 80)
"""Numbers of neighbours that are tried."""

MAGNITUDE_WEIGHTS = (0.1, 0.3, 1.0, 2.0)
"""Weights of the magnitude beside the colours that are tried."""

WAYS = ("mean", "median", "plane")
"""What is made of the neighbours: their mean, weighted by inverse distance, their median, or a
plane fitted through them (Beck et al. 2016, MNRAS 460, 1371, as in SDSS DR12)."""

LOSSES = ("absolute_error", "squared_error")
"""Losses of the gradient boosting that are tried."""

LEAVES = (8, 16, 31)
"""Leaves per tree of the boosted models that are averaged: better than any of them alone."""

ROUNDS = 1500
"""Trees at most; the validation split says when to stop."""

FEWEST = 10
"""Labelled validation rows without which gradient boosting stops by the train split's own."""

FEWEST_TO_HOLD = 50
"""Labelled train rows without which it does not stop early then."""

BLOCK = 2000
"""Galaxies whose neighbours are looked at together."""


def baselines(store: Store, seed: int = 1) -> dict[str, np.ndarray]:
    """Estimate the redshift of every object by neighbours and by trees.

    Parameters
    ----------
    store : Store
        Its object columns are all that is read: ``flux_<band>``, ``flux_err_<band>``, nJy, and
        where known ``mw_transmission_<band>``, ``ebv``; ``z_spec``, ``split``.
    seed : int
        Seed of the trees.

    Returns
    -------
    dict
        ``z_knn`` and ``z_gbdt`` (n,) float32, never NaN; nothing if there are no fluxes or no
        labelled rows in the train split.
    """
    from astroml.tasks.photoz import targets

    objects = store.objects
    truth, labelled = targets(objects)
    bands = flux_bands(objects)
    train = np.flatnonzero(labelled & (objects["split"] == "train"))
    val = np.flatnonzero(labelled & (objects["split"] == "val"))
    if not bands or len(train) < 2:
        return {}
    # Errors are wanted small in (z_phot - z_spec) / (1 + z_spec), which is a step in ln(1 + z).
    y = np.log1p(np.asarray(truth["z_spec"], float))
    magnitudes, errors = asinh_magnitudes(objects, bands, train)
    found = {
        "z_knn": _neighbours(magnitudes, errors, y, train, val),
        "z_gbdt": _trees(magnitudes, errors, objects.get("ebv"), y, train, val, seed),
    }
    return {name: np.expm1(values).astype(np.float32) for name, values in found.items()}


def asinh_magnitudes(
    objects: dict[str, np.ndarray], bands: list[str], train: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return magnitudes and their errors (n, band), corrected for dust; finite at any finite flux.

    m = 31.4 - 2.5 / ln 10 (asinh(f / 2b) + ln b) with f in nJy and softening b, the median error of
    the train split's fluxes (Lupton, Gunn & Szalay 1999, AJ 118, 1406, eq. 3).

    Parameters
    ----------
    objects : dict
        Columns (n,).
    bands : list of str
        Bands with fluxes.
    train : (k,) array of int
        Rows that the softening is taken from.
    """
    pogson = 2.5 / np.log(10)
    columns = []
    for band in bands:
        dust = objects.get(f"mw_transmission_{band}", 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            flux = np.asarray(objects[f"flux_{band}"], float) / dust
            error = np.asarray(objects[f"flux_err_{band}"], float) / dust
        usable = np.isfinite(flux) & np.isfinite(error) & (error > 0)
        known = train[usable[train]]
        soft = float(np.median(error[known])) if len(known) else 1.0
        flux, error = np.where(usable, flux, np.nan), np.where(usable, error, np.nan)
        magnitude = 31.4 - pogson * (np.arcsinh(flux / (2 * soft)) + np.log(soft))
        columns.append((magnitude, pogson * error / np.hypot(flux, 2 * soft)))
    magnitudes, errors = zip(*columns)
    return np.stack(magnitudes, axis=1), np.stack(errors, axis=1)


def _sigma_mad(y: np.ndarray, truth: np.ndarray) -> float:
    """Return sigma_MAD of dz, both given as ln(1 + z)."""
    dz = np.expm1(y - truth)
    return float(np.median(np.abs(dz - np.median(dz))))


def _neighbours(
    magnitudes: np.ndarray, errors: np.ndarray, y: np.ndarray, train: np.ndarray, val: np.ndarray
) -> np.ndarray:
    """Return ln(1 + z) (n,) from the neighbours in the train split, by the best way.

    The best is that with the lowest sigma_MAD on validation and train, where no row of the train
    split is its own neighbour: the validation split alone is too small to tell 90 ways apart.
    """
    known = np.concatenate([train, val])
    best, chosen = np.inf, np.zeros(0)
    counts = [k for k in NEIGHBOURS if k < len(train)] or [len(train) - 1]
    for weight in MAGNITUDE_WEIGHTS if magnitudes.shape[1] > 1 else (1.0,):
        features = _features(magnitudes, errors, train, weight)
        for values in _predictions(features, y, train, counts):
            if (loss := _sigma_mad(values[known], y[known])) < best:
                best, chosen = loss, values
    return chosen


def _features(
    magnitudes: np.ndarray, errors: np.ndarray, train: np.ndarray, weight: float
) -> np.ndarray:
    """Return colours of neighbouring bands and the mean magnitude, (n, band).

    The unit of a colour is the geometric mean of its spread and its noise in the train split: a
    noisy colour counts less, one that tells little apart too.

    Parameters
    ----------
    magnitudes, errors : (n, band) array
        NaN where not measured: becomes the train split's median.
    train : (k,) array of int
        Rows that units and medians are taken from.
    weight : float
        Of the magnitude.
    """
    magnitudes = np.where(np.isfinite(magnitudes), magnitudes, _medians(magnitudes[train]))
    noise = _medians(np.hypot(errors[:, :-1], errors[:, 1:])[train])
    features = np.column_stack([magnitudes[:, :-1] - magnitudes[:, 1:], magnitudes.mean(1)])
    unit = features[train].std(0)
    unit[:-1] = np.sqrt(unit[:-1] * noise)
    features = features / np.where(unit > 0, unit, 1.0)
    features[:, -1] *= weight
    return features


def _medians(values: np.ndarray) -> np.ndarray:
    """Return the median (k,) of each column's finite values, 0 where there are none."""
    finite = [column[np.isfinite(column)] for column in values.T]
    return np.array([np.median(column) if len(column) else 0.0 for column in finite])


def _predictions(
    features: np.ndarray, y: np.ndarray, train: np.ndarray, counts: list[int]
) -> Iterator[np.ndarray]:
    """Yield ln(1 + z) (n,) by every way and number of neighbours."""
    distances, places = _nearest(features, train, counts[-1])
    for k in counts:
        near, weights = y[train][places[:, :k]], 1 / np.maximum(distances[:, :k], 1e-9)
        yield (weights * near).sum(1) / weights.sum(1)
        yield np.median(near, axis=1)
        if k > 2 * features.shape[1]:
            yield _plane(features, features[train], places[:, :k], near)


def _nearest(features: np.ndarray, train: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and places in ``train`` (n, k) of the nearest others, nearest first."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=k + 1).fit(features[train])
    distances, places = search.kneighbors(features)
    own = np.full(len(features), -1)
    own[train] = np.arange(len(train))
    out = places == own[:, None]
    out[~out.any(1), -1] = True  # not of the train split, or hidden behind others just like it
    shape = (len(features), k)
    return distances[~out].reshape(shape), places[~out].reshape(shape)


def _plane(
    features: np.ndarray, train: np.ndarray, places: np.ndarray, near: np.ndarray
) -> np.ndarray:
    """Return the value (n,) of the plane through each row's neighbours, within their range."""
    found = np.empty(len(features))
    for begin in range(0, len(features), BLOCK):
        part = slice(begin, begin + BLOCK)
        offset = train[places[part]] - features[part, None]
        offset = np.concatenate([np.ones((*offset.shape[:2], 1)), offset], axis=2)
        # A little ridge on the slopes: neighbours may lie in a line.
        ridge = 1e-2 * np.diag(np.arange(offset.shape[2]) > 0)
        normal = np.einsum("nki,nkj->nij", offset, offset) + ridge
        right = np.einsum("nki,nk->ni", offset, near[part])
        found[part] = np.linalg.solve(normal, right[..., None])[:, 0, 0]
    return np.clip(found, near.min(1), near.max(1))


def _trees(
    magnitudes: np.ndarray,
    errors: np.ndarray,
    ebv: np.ndarray | None,
    y: np.ndarray,
    train: np.ndarray,
    val: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Return ln(1 + z) (n,) of boosted trees, by the loss that is better on validation."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    # Trees know no differences: colours spare them many steps. What is not measured stays NaN.
    table = [magnitudes, magnitudes[:, :-1] - magnitudes[:, 1:], errors]
    if ebv is not None:
        table.append(np.asarray(ebv, float)[:, None])
    x = np.concatenate(table, axis=1)
    held = {"X_val": x[val], "y_val": y[val]} if len(val) >= FEWEST else {}
    judged = val if held else train
    stop = bool(held) or len(train) >= FEWEST_TO_HOLD
    best, chosen = np.inf, np.zeros(0)
    for loss in LOSSES:
        values = np.zeros(len(x))
        for leaves in LEAVES:
            model = HistGradientBoostingRegressor(
                loss=loss,
                learning_rate=0.05,
                max_iter=ROUNDS if stop else 100,
                max_leaf_nodes=leaves,
                early_stopping=stop,
                n_iter_no_change=30,
                random_state=seed,
            )
            values += model.fit(x[train], y[train], **held).predict(x) / len(LEAVES)
        if (score := _sigma_mad(values[judged], y[judged])) < best:
            best, chosen = score, values
    return chosen
