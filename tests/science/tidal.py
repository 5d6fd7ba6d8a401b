"""Tidal features in a simulated HSC sky: classes, masks, how faint, and whether anything leaks.

Each step is skipped where its output is there and what it was made from has not changed.
"""

import json
from pathlib import Path

import numpy as np
from lens import area
from run import metrics_of
from sklearn.ensemble import HistGradientBoostingClassifier
from steps import Evaluation, step

from astroml import store

SEED = 1
HSC = ("--survey", "hsc", "--bands", "g,r,i")
PIXELS = ("--size", 128, "--scale", 0.75)
"""96 arcsec a side."""
TEST = {"objects": 5_000, "mu_law": "sky"}
BRIGHT = {"objects": 6_000, "mu_law": "sky", "mu": [24.5, 26.6]}
"""The bright end of the same law: of a whole sky's features 4% are brighter than 26.5."""
REMOVED = {"objects": 3_000, "mu_law": "sky", "strength": 0, "negatives": {"twin": 1, "plain": 1}}
"""Galaxies without the light of their features, and their twins: all else is equal, so that their
labels must be beyond finding."""
VAL = {"objects": 3_000, "mu_law": "sky"}
"""Normalisation is fitted on a tenth of it; the rest chooses the epoch and calibrates."""
BASELINE = {"objects": 6_000}
OPTIONS = {
    "views": 4,
    "train": {"fresh": 6_000, "fresh_only": True, "epochs": 14, "patience": 14},
}
"""At most 30 minutes on two cores."""
KEYS = ("auroc", "average_precision", "completeness_all_at_20pct_contamination_17pct", "ece")
BRIGHT_KEYS = (
    "auroc_bright",
    "completeness_at_10pct_contamination",
    "completeness_at_20pct_contamination",
    "completeness_bright_at_20pct_contamination_6pct",
    "completeness_bright_at_20pct_contamination_23pct",
    "completeness_stream",
    "completeness_shell",
    "completeness_tail",
    "completeness_diffuse",
    "dice",
    "dice_stream",
    "dice_shell",
    "dice_tail",
    "dice_diffuse",
    "iou",
    "flux_bias",
    "flux_scatter",
)
OTHERS = {
    "decals": ("--survey", "decals", "--bands", "g,r,z"),
    "sdss": ("--survey", "sdss", "--bands", "g,r,i"),
}
"""Shallower surveys, to see where the recall falls: each with its own network, trained less."""
OTHER_TEST = {"objects": 2_500}
"""Flat in surface brightness: as many features in each bin."""
OTHER_VAL = {"objects": 1_000}
OTHER_OPTIONS = {"train": {"fresh": 3_000, "fresh_only": True, "epochs": 4, "patience": 4}}
BATCH = 250


def features_of(data: Path) -> np.ndarray:
    """Return the shape statistics (n, k) of a store."""
    from astroml.tasks.tidal.features import features

    out = data.with_suffix(".features.npz")

    def make():
        kept, parts = store.open_store(data), []
        for begin in range(0, len(kept), BATCH):
            planes = kept.read(np.arange(begin, min(begin + BATCH, len(kept))))
            planes = [planes[name] for name in ("image", "mask", "sigma", "psf_fwhm")]
            parts.append(features(*planes, kept.header.pixel_scale)[0])
        np.savez(out, values=np.concatenate(parts))

    step(out, [data], ["features", 1], make)
    return np.load(out)["values"]


def trees(train: Path) -> HistGradientBoostingClassifier:
    """Return gradient boosting on shape statistics, fitted."""
    model = HistGradientBoostingClassifier(
        max_iter=400, learning_rate=0.06, early_stopping=True, random_state=SEED
    )
    return model.fit(features_of(train), store.open_store(train).objects["is_tidal"] == 1)


def baseline(model: HistGradientBoostingClassifier, test: Path, limit: float) -> tuple:
    """Return the AUROC of the trees, and its error, for features brighter than a limit."""
    objects, scores = store.open_store(test).objects, model.decision_function(features_of(test))
    yes = objects["is_tidal"] == 1
    keep = ~yes | (objects["mu_feature"] < limit)
    return area(yes[keep], scores[keep])


def recall(metrics: Path) -> dict[str, float]:
    """Return the share found in each bin of surface brightness."""
    found = json.loads(metrics.read_text())["metrics"]
    return {name: one["value"] for name, one in found.items() if name.startswith("recall_mu")}


def top_of(name: str) -> float:
    """Return the faint end of a bin, mag/arcsec2, from the metric's name."""
    return float(name.rpartition("_")[2])


def evaluate(folder: Path, astroml) -> dict:
    """Simulate, train, infer and score; return the record."""
    run = Evaluation("tidal", folder, astroml, HSC, PIXELS)
    test = run.sky("test", TEST, SEED + 100)
    bright = run.sky("bright", BRIGHT, SEED + 120)
    removed = run.sky("removed", REMOVED, SEED + 150)
    val = run.sky("val", VAL, SEED + 200, "{val: 0.9, test: 0}")
    weights, seconds = run.train("tidal", val, OPTIONS)
    found = {
        run.score(test, run.infer(test, weights)): {name: name for name in KEYS},
        run.score(bright, run.infer(bright, weights)): {name: name for name in BRIGHT_KEYS},
        run.score(removed, run.infer(removed, weights)): {"auroc": "auroc_features_removed"},
    }
    values, errors = {}, {}
    for path, names in found.items():
        some, spread = metrics_of(path, names)
        values, errors = values | some, errors | spread
    model = trees(run.sky("baseline", BASELINE, SEED + 300))
    for name, data, limit in (("auroc", test, np.inf), ("auroc_bright", bright, 26.5)):
        key = f"{name}_baseline"
        values[key], errors[key] = baseline(model, data, limit)
    faint, bright_end, _ = found
    few = {name: value for name, value in recall(bright_end).items() if top_of(name) <= 26.5}
    curves = {"hsc": dict(sorted((recall(faint) | few).items()))}
    curves |= {name: shallower(run, name, survey) for name, survey in OTHERS.items()}
    record = {"seed": SEED, **values, "recall": curves, "train_time_s": round(seconds)}
    return record | {"errors": errors}


def shallower(run: Evaluation, name: str, survey: tuple) -> dict[str, float]:
    """Return the share found in each bin of surface brightness by another survey."""
    test = run.sky(f"{name}_test", OTHER_TEST, SEED + 400, survey=survey)
    val = run.sky(f"{name}_val", OTHER_VAL, SEED + 500, "{val: 0.9, test: 0}", survey)
    weights, _ = run.train(name, val, OTHER_OPTIONS, survey)
    return recall(run.score(test, run.infer(test, weights)))
