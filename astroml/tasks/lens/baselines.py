"""What gradient boosting on hand-made features says of the same cutouts: the network's rival."""

from __future__ import annotations

import numpy as np

from astroml.store import FLAGS, Store
from astroml.tasks.lens.features import features
from astroml.tasks.lens.parameters import LABEL

RIVAL = "lens_prob_gbdt"
"""Column of what it says. Only its order means something: it is not calibrated."""

MOST = 20_000
"""Labelled rows of the train split that it learns from, at most: of lenses and of others up to half
as many each, at even steps in the order of object_id."""

FEWEST = 100
"""Rows of each class without which it does not stop early."""

BLOCK = 500
"""Cutouts that are measured together."""


def baselines(store: Store, seed: int = 1) -> dict[str, np.ndarray]:
    """Classify the labelled objects of the test split by trees.

    Parameters
    ----------
    store : Store
        Cutouts, with ``is_lens`` and ``split``.
    seed : int
        Seed of the trees.

    Returns
    -------
    dict
        ``lens_prob_gbdt`` (n,) float32, NaN outside the test split and without a label; nothing if
        the train split's labels are not of both classes, or there is nothing to test.
    """
    from astroml.tasks.lens import targets

    objects = store.objects
    values, labelled = targets(objects)
    usable = labelled & np.isin(values[LABEL], (0, 1)) & (objects["flags"] & FLAGS["no_data"] == 0)
    train = chosen(values[LABEL], objects["object_id"], usable & (objects["split"] == "train"))
    test = np.flatnonzero(labelled & (objects["split"] == "test"))
    known = values[LABEL][train] == 1
    if not len(test) or known.all() or not known.any():
        return {}
    model = fitted(measured(store, train), known, seed)
    said = np.full(len(store), np.nan, np.float32)
    said[test] = model.predict_proba(measured(store, test))[:, 1]
    return {RIVAL: said}


def chosen(label: np.ndarray, object_id: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Return the rows to learn from, in the store's order; see ``MOST``."""
    kept = []
    for value in (0, 1):
        rows = np.flatnonzero(usable & (label == value))
        rows = rows[np.argsort(object_id[rows], kind="stable")]
        count = min(len(rows), MOST // 2)
        kept.append(rows[np.arange(count) * len(rows) // max(count, 1)])
    return np.sort(np.concatenate(kept))


def measured(store: Store, rows: np.ndarray) -> np.ndarray:
    """Return the hand-made features (k, feature) of some rows (k,) of a store."""
    parts = []
    for begin in range(0, len(rows), BLOCK):
        planes = store.read(rows[begin : begin + BLOCK])
        planes = [planes[name] for name in ("image", "mask", "sigma", "psf_fwhm")]
        parts.append(features(*planes, store.header.pixel_scale)[0])
    return np.concatenate(parts)


def fitted(values: np.ndarray, is_lens: np.ndarray, seed: int = 1):
    """Return gradient boosting trained on features (k, feature) and classes (k,)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    # A tenth says when to stop: with few rows it says little, and may lack a class.
    stop = min(np.count_nonzero(is_lens), np.count_nonzero(~is_lens)) >= FEWEST
    model = HistGradientBoostingClassifier(
        max_iter=400 if stop else 60, learning_rate=0.06, early_stopping=stop, random_state=seed
    )
    return model.fit(values, is_lens)
