"""Anomalies in a simulated HSC sky: what each model finds, against a baseline and after labels.

One percent of the objects is rare, one percent has an artefact; both stay in what is trained on.
Each step is skipped where its output is there and what it was made from has not changed.
"""

import json
from pathlib import Path

import numpy as np
from run import metrics_of
from steps import SPENT, Evaluation

from astroml import store
from astroml.rows import join, read_rows
from astroml.tasks.anomaly.columns import OUTLIERS, SCORES
from astroml.tasks.anomaly.kinds import INTERESTING
from astroml.tasks.anomaly.metrics import overlap

SEED = 1
HSC = ("--survey", "hsc", "--bands", "g,r,i")
TRAIN = {"objects": 20_000}
"""One percent rare, one percent artefacts, as is the default."""
TEST = {"objects": 15_000}
"""150 rare objects, 150 artefacts: a sky of its own, of the same shares."""
SPLITS = "{val: 0.15, test: 0}"
OPTIONS = {"train": {"epochs": 4, "patience": 4}}
"""Training of two seeds, and inference: at most 30 minutes on two cores. Longer training does not
pay: autoencoders then learn to draw rare galaxies too."""
SEEDS = (1, 2)
"""The second network sees the same sky as the first, in another order from other beginnings."""
KEYS = (
    "auroc",
    "auroc_baseline",
    "auroc_artefact",
    "average_precision",
    "precision_top_50",
    "precision_top_100",
    "precision_top1pct",
    "recall_top1pct",
    "artefact_share_top1pct",
    "rank_score",
    "recall_top1pct_before_labels",
    "recall_top1pct_after_labels",
    "recall_unlabelled_before",
    "recall_unlabelled_after",
    "spearman_rank_magnitude",
)
EACH = (
    "auroc",
    "average_precision",
    "precision_top1pct",
    "artefact_share_top1pct",
    "spearman_rank_magnitude",
)
"""Keys that each model and method has too; those of PCA + isolation forest end in baseline."""


def evaluate(folder: Path, astroml) -> dict:
    """Simulate, train two seeds, infer and score; return the record."""
    run, found = Evaluation("anomaly", folder, astroml, HSC, ("--size", 64)), []
    data = run.sky("train", TRAIN, SEED + 200, SPLITS)
    test = run.sky("test", TEST, SEED + 100)
    before = len(SPENT)
    for seed in SEEDS:
        options = OPTIONS | {"train": OPTIONS["train"] | {"seed": seed}}
        weights, _ = run.train(f"anomaly.{seed}", data, options)
        found.append(run.infer(test, weights, f"test.anomaly.{seed}"))
    seconds = sum(SPENT[before:])
    first = run.score(test, found[0])
    told = json.loads(first.read_text())["metrics"]
    of_models = [f"{key}_{name}" for name in (*SCORES, *OUTLIERS) for key in EACH]
    of_models += [f"{key}_baseline" for key in EACH]
    of_kinds = [f"{key}_of_{kind}" for kind in INTERESTING for key in ("auroc", "recall_top1pct")]
    names = [name for name in dict.fromkeys((*KEYS, *of_models, *of_kinds)) if name in told]
    values, errors = metrics_of(first, {name: name for name in names})
    objects = store.open_store(test).objects
    pair = [join("anomaly", read_rows([rows]), objects, "all")[1] for rows in found]
    values["overlap_top1pct_seeds"] = same = overlap(*pair)
    errors["overlap_top1pct_seeds"] = float(
        np.sqrt(max(same * (1 - same), 1e-3) / (0.01 * len(objects["ra"])))
    )
    for name in SCORES:
        if np.isfinite(pair[0][f"{name}_score"]).all():
            values[f"overlap_top1pct_seeds_{name}"] = overlap(*pair, f"{name}_score")
    return {"seed": SEED, **values, "train_and_infer_time_s": round(seconds), "errors": errors}
