"""Galaxy clusters in a simulated DECaLS sky: the network, and a matched filter on true catalogs.

Each step is skipped where its output is there and what it was made from has not changed.
"""

import json
from pathlib import Path

import numpy as np
import redsequence
from run import metrics_of
from steps import Evaluation, step

from astroml import store
from astroml.sky import groups
from astroml.survey import load_survey
from astroml.tasks import cluster
from astroml.tasks.cluster.sky import population, truth

SEED = 1
BANDS = ("g", "r", "z")
DECALS = ("--survey", "decals", "--bands", ",".join(BANDS))
SIZE, SCALE = 320, 1.048
"""Tiles of 5.6 arcmin: pixels of four by four of the survey's, summed."""
STEEP = {"richness_law": "sky", "cluster_fraction": 0.75}
TEST = STEEP | {"objects": 2_500, "z": [0.1, 0.6]}
"""About 2,250 clusters of richness 10 and more, 400 of 20 and more, of which 320 at z < 0.5."""
VAL = STEEP | {"objects": 1_200}
"""Normalisation is fitted on a tenth of it; the rest chooses the epoch and calibrates."""
BLANK = {"objects": 300, "cluster_fraction": 0}
KNOWN = STEEP | {"objects": 400}
"""Tiles that the matched filter learns background and richness from."""
OPTIONS = {
    "train": {
        "fresh": 2_500,
        "fresh_only": True,
        "epochs": 14,
        "patience": 14,
        "batch_size": 8,
        "shift": 0,
    }
}
"""At most 30 minutes on two cores."""
SKY = {"cluster_fraction": 0.65, "several": 0.8}
"""More clusters to learn from in as many tiles."""
KEYS = (
    "completeness",
    "purity",
    "sigma_z",
    "bias_z",
    "outliers_z",
    "z_limit",
    "sigma_lnlambda",
    "bias_lnlambda",
    "centring_mpc",
    "coverage_68_z",
    "coverage_68_lambda",
    "false_per_deg2",
    "ece",
)
FILTER_KEYS = {
    "completeness": "completeness_matched_filter",
    "purity": "purity_matched_filter",
    "sigma_z": "sigma_z_matched_filter",
    "sigma_lnlambda": "sigma_lnlambda_matched_filter",
    "centring_mpc": "centring_mpc_matched_filter",
}


def catalogs(options: dict, seed: int) -> tuple[list[dict], dict]:
    """Return the galaxy catalogs of a sky's tiles, as an extractor has them, and the tiles."""
    survey = load_survey("decals", list(BANDS)).rescaled(SCALE)
    columns = population(cluster.Sky(**options), survey, seed)
    rows = np.arange(len(columns["object_id"]))
    known = truth(columns, rows, survey, SIZE)
    objects = {name: columns[name] for name in ("object_id", "ra", "dec")} | known
    return [groups.catalog(columns, row, survey, seed) for row in rows], objects


def matched_filter(data: Path) -> Path:
    """Find clusters in the test tiles' true catalogs; return metrics as ``score`` writes them."""
    out = data.with_suffix(".filter.json")

    def make():
        survey = load_survey("decals", list(BANDS))
        wavelengths = [band.wavelength for band in survey.bands.values()]
        method = redsequence.Filter(wavelengths, SIZE * SCALE)
        method.learn(catalogs(BLANK, SEED + 300)[0])
        method.learn_shift(*catalogs(KNOWN, SEED + 400))
        seen, objects = catalogs(TEST, SEED + 100)
        found = redsequence.as_rows([method.find(one) for one in seen], objects["object_id"],
                                    SIZE * SCALE)  # fmt: skip
        metrics = cluster.score(store.open_store(data).objects, found)
        told = {name: {"value": value, "error": error} for name, (value, error) in metrics.items()}
        out.write_text(json.dumps({"metrics": told}, indent=1))

    source = Path(redsequence.__file__)
    step(out, [data, source], ["filter", TEST, BLANK, KNOWN], make)
    return out


def by_redshift(path: Path) -> dict[str, float]:
    """Return the completeness in each bin of redshift."""
    found = json.loads(path.read_text())["metrics"]
    return {name: one["value"] for name, one in found.items() if name.startswith("completeness_z_")}


def evaluate(folder: Path, astroml) -> dict:
    """Simulate, train, infer and score; return the record."""
    run = Evaluation("cluster", folder, astroml, DECALS, ("--size", SIZE, "--scale", SCALE))
    test = run.sky("test", TEST, SEED + 100)
    val = run.sky("val", VAL, SEED + 200, "{val: 0.9, test: 0}")
    weights, seconds = run.train("cluster", val, OPTIONS, sky=SKY)
    found, other = run.score(test, run.infer(test, weights)), matched_filter(test)
    values, errors = metrics_of(found, {name: name for name in KEYS})
    rivals, spread = metrics_of(other, FILTER_KEYS)
    record = {"seed": SEED, **values, **rivals}
    record |= {"completeness_by_z": by_redshift(found)}
    record |= {"completeness_by_z_matched_filter": by_redshift(other)}
    record["train_time_s"] = round(seconds)
    return record | {"errors": errors | spread}
