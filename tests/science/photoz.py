"""Redshifts of galaxies rendered from real photometry, and of a fully simulated sky."""

from pathlib import Path

from run import metrics_of
from steps import step

SEED = 1
SPLITS = "{val: 0.12, test: 0.3}"
KEYS = (
    "sigma_mad",
    "sigma_mad_knn",
    "sigma_mad_gbdt",
    "bias",
    "max_abs_bias_in_zphot_bins",
    "eta_005",
    "outlier_rate",
    "crps",
    "pit_ks",
    "coverage_68",
)
TRAIN = "batch_size: 64, lr: 0.002, ema: 0.998"
SKIES = {
    "": ("config/photoz/real.yaml", f"{{z_max: 1.0, train: {{epochs: 8, {TRAIN}}}}}"),
    "sim_": ("{objects: 50000}", f"{{z_max: 0.5, train: {{epochs: 10, {TRAIN}}}}}"),
}
"""Prefix of the record's keys -> what is simulated, and the options of the network."""


def evaluate(folder: Path, astroml) -> dict:
    """Render, train, infer and score both skies."""
    record, errors = {"seed": SEED}, {}

    def run(out: Path, inputs: list[Path], *words) -> float:
        return step(out, inputs, words, lambda: astroml(*words, "--out", out))

    for prefix, (sky, options) in SKIES.items():
        place = folder / (prefix.strip("_") or "real")
        store, weights = place / "store.h5", place / "photoz.safetensors"
        rows, metrics = place / "rows.parquet", place / "metrics.json"
        task = ("--task", "photoz")
        tables = [Path(sky)] if Path(sky).is_file() else []
        run(
            store, tables, "simulate", *task, "--survey", "sdss", "--to", "store",
            "--splits", SPLITS, "--seed", SEED, "--options", sky,
        )  # fmt: skip
        spent = run(weights, [store], "train", *task, "--store", store, "--options", options)
        run(rows, [store, weights], "infer", *task, "--store", store, "--weights", weights)
        run(metrics, [store, rows], "score", *task, "--rows", rows, "--store", store)
        values, spread = metrics_of(metrics, {name: prefix + name for name in KEYS})
        record |= values | {f"{prefix}train_time_s": round(spent)}
        errors |= spread
    return record | {"errors": errors}
