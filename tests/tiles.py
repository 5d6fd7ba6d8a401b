"""Tiles of clusters without pixels: truth, and what a network of known faults says of it."""

import numpy as np

from astroml.tasks.cluster import SLOTS, Options
from astroml.tasks.cluster.match import plane_of, sky_of

SCALE, SIZE, PEAKS = 1.048, 320, 16


def objects(n, seed=1, clusters=None, dec=(-60, 60)):
    """Return the object table of tiles with 0 to 2 clusters each; ``clusters`` fixes how many."""
    rng = np.random.default_rng(seed)
    number = rng.integers(0, 3, n) if clusters is None else np.full(n, clusters)
    table = {
        "object_id": 1000 + np.arange(n),
        "ra": rng.uniform(0, 360, n),
        "dec": rng.uniform(*dec, n),
        "flags": np.zeros(n, np.int32),
        "clusters": number,
        "kind": np.where(number > 0, "cluster", np.where(np.arange(n) % 2, "blank", "disc")),
        "split": np.full(n, "test"),
    }
    for k in range(SLOTS):
        there = number > k
        # Two clusters of a tile lie in two halves of it.
        x = rng.uniform(20, 140, n) * (-1) ** k
        ra, dec_k = sky_of(table["ra"], table["dec"], x, rng.uniform(-140, 140, n))
        z = rng.uniform(0.1, 0.6, n)
        richness = np.exp(rng.uniform(np.log(10), np.log(100), n))
        for name, values in {"ra": ra, "dec": dec_k, "z": z, "richness": richness}.items():
            table[f"cluster_{name}_{k}"] = np.where(there, values, np.nan)
    return table


def output(table, seed=2, sigma_z=0.012, sigma_ln=0.25, claimed=1.0, lean=1.0, false=0.0, miss=0.0):
    """Return what a network says of tiles: scatter, claimed over true error, false and missed."""
    rng = np.random.default_rng(seed)
    n, options = len(table["object_id"]), Options()
    edges = np.linspace(*options.z_range, options.z_bins + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    said = {
        "peak_logit": rng.normal(-6, 1, (n, PEAKS)),
        "peak_x": rng.uniform(-150, 150, (n, PEAKS)),
        "peak_y": rng.uniform(-150, 150, (n, PEAKS)),
        "richness_mean": rng.normal(2.5, 0.3, (n, PEAKS)),
        "richness_logvar": np.full((n, PEAKS), 2 * np.log(sigma_ln * claimed)),
    }
    z = rng.uniform(0.1, 0.6, (n, PEAKS))
    said["peak_logit"][:, -4:] = -20  # none
    loud = rng.random(n) < false
    said["peak_logit"][loud, 2] = rng.normal(2, 1, loud.sum())
    said["richness_mean"][loud, 2] = 3.4
    for k in range(2):
        x, y = plane_of(
            table["ra"], table["dec"], table[f"cluster_ra_{k}"], table[f"cluster_dec_{k}"]
        )
        there = np.isfinite(table[f"cluster_z_{k}"]) & (rng.random(n) >= miss)
        some, m = np.flatnonzero(there), there.sum()
        said["peak_logit"][some, k] = rng.normal(3, 1, m)
        said["peak_x"][some, k] = x[some] / SCALE + rng.normal(0, 3, m)
        said["peak_y"][some, k] = y[some] / SCALE + rng.normal(0, 3, m)
        true_z = table[f"cluster_z_{k}"][some]
        z[some, k] = true_z + sigma_z * (1 + true_z) * rng.standard_normal(m)
        ln = np.log(table[f"cluster_richness_{k}"][some])
        said["richness_mean"][some, k] = 3.4 + lean * (ln - 3.4) + sigma_ln * rng.normal(size=m)
    width = np.maximum(sigma_z * claimed * (1 + z), 1e-3)[..., None]
    said["z_logits"] = -0.5 * ((centres - z[..., None]) / width) ** 2
    return {name: values.astype(np.float32) for name, values in said.items()} | {
        "options": options,
        "pixel_scale": SCALE,
        "size": SIZE,
    }
