"""Catalogs of a made-up run, for the tests that ask them."""

from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from astroml import tasks
from astroml.catalog.columns import HEALPIX, all_columns
from astroml.catalog.write import export, write_catalog

BINS = 5


def sky(n, seed=1):
    """Draw places (n,) all over the sky, many of them at RA 0 and at the poles, deg."""
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    part = n // 4
    ra[:part] = rng.normal(0, 0.02, part) % 360
    dec[:part] = rng.normal(0, 0.02, part)
    dec[part : 2 * part] = np.clip(90 - np.abs(rng.normal(0, 0.02, part)), -90, 90)
    dec[part : part + part // 2] *= -1
    return ra, dec


def rows_of(task, ids, ra, dec, seed=1):
    """Return rows as infer writes them."""
    rng = np.random.default_rng(seed)
    n, rows = len(ids), {}
    ranks = [column.name for column in getattr(tasks.load(task), "RANK_COLUMNS", ())]
    for column in all_columns(task):
        if column.length:
            flat = pa.array(rng.uniform(size=n * BINS).astype(column.dtype))
            rows[column.name] = pa.FixedSizeListArray.from_arrays(flat, BINS)
        elif column.dtype == "str":
            rows[column.name] = pa.array([f"{column.name}{seed}"] * n, pa.string())
        elif column.name not in {*ranks, HEALPIX.name}:
            rows[column.name] = pa.array(rng.uniform(size=n).astype(column.dtype))
    given = {"object_id": ids, "ra": ra, "dec": dec, "flags": np.zeros(n, np.int32)}
    return rows | {name: pa.array(values) for name, values in given.items()}


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), path)
    return path


def make_run(folder, n=400, run="demo"):
    """Write catalogs of every task, and all of them; tidal's objects are partly its own."""
    ra, dec = sky(n)
    made = []
    for seed, task in enumerate(tasks.names()):
        if getattr(tasks.load(task), "MANY_ROWS", False):
            continue
        ids = np.arange(1000, 1000 + n)
        keep = np.ones(n, bool)
        if task == "tidal":  # half of them under other ids, the rest as they are
            ids = np.where(ids % 2 == 0, ids, ids + 10_000)
        if task == "lens":
            keep[: n // 10] = False
        rows = rows_of(task, ids[keep], ra[keep], dec[keep], seed)
        if task == "lens":
            values = rows["lens_prob"].to_numpy().copy()
            values[:7] = np.nan
            rows["lens_prob"] = pa.array(values)
        part = write_rows(folder / f"rows/{task}.parquet", rows)
        made.append(folder / f"catalogs/{run}/{task}.parquet")
        # The compilation of a map of neighbours takes longer than all else here.
        with patch("astroml.tasks.anomaly.outliers.mapped", lambda points: points[:, :2]):
            write_catalog(task, [part], made[-1:])
    export(made, [folder / f"catalogs/{run}/all.parquet"])
    return folder / "catalogs"
