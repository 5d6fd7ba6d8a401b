"""Draw the README's pictures from the demo and the runs in config/examples: ``make picture``."""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

import astroml
from astroml.report.mosaic import colour, colour_bands
from astroml.rows import read_rows
from astroml.store import open_store

OUT = Path("config/examples/real.png")
DEMO = Path("catalogs/demo.png")
BEST = 10
"""Candidates of the demo that are shown."""
HOSTS = 7
"""DES galaxies shown: those whose injected copies score evenly from lowest to highest."""


def pixels(store, ids):
    """Return colour cutouts (n, y, x, 3) of some objects, the first row of each at the bottom."""
    rows = [list(store.objects["object_id"]).index(one) for one in ids]
    data = store.read(rows, names=("image", "sigma"))
    bands = colour_bands(store.header.bands)
    return colour(data["image"][:, bands], data["sigma"][:, bands])


def scored(run, place):
    """Return the store of a run and its lens_prob by object."""
    results = Path("results") / run
    rows = read_rows(sorted((results / "rows/lens" / place).glob("*.parquet")))
    return open_store(results / place / "galaxy"), dict(zip(rows["object_id"], rows["lens_prob"]))


def show(axis, picture, text):
    """Draw one cutout with its label."""
    axis.imshow(picture, origin="lower", interpolation="nearest")
    axis.set_title(text, fontsize=8)
    axis.axis("off")


def draw_demo() -> None:
    """Draw the best candidates of the demo."""
    figure = astroml.open_catalog("lens", run="demo").top(BEST).show(BEST)
    figure.savefig(DEMO, dpi=60, metadata={"Software": None})
    print(f"wrote {DEMO}")


def main() -> None:
    """Draw the demo's best, and what the examples made."""
    draw_demo()
    draw_examples()


def draw_examples() -> None:
    """Draw the two known lenses, and DES galaxies as they are and with arcs added."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    known, galaxies = figure.subfigures(1, 2, width_ratios=(1, HOSTS / 1.6))
    for axis, run in zip(known.subplots(2, 1), ("euclid", "cfhtls")):
        store, prob = scored(run, "store")
        (one,) = store.objects["object_id"]
        show(axis, pixels(store, [one])[0], f"{run}: lens_prob {prob[one]:.2f}")
    real, before = scored("des", "store")
    added, after = scored("des", "injected")
    host = dict(zip(added.objects["object_id"], added.objects["host_id"]))
    order = sorted(after, key=after.get)
    chosen = [order[i] for i in np.linspace(0, len(order) - 1, HOSTS).round().astype(int)]
    axes = galaxies.subplots(2, HOSTS)
    for column, one in enumerate(chosen):
        alone = before[host[one]]
        show(axes[0, column], pixels(real, [host[one]])[0], f"{alone:.2f}")
        show(axes[1, column], pixels(added, [one])[0], f"{after[one]:.2f}")
    galaxies.suptitle("DES galaxies: as they are, and with simulated arcs added", fontsize=9)
    known.suptitle("known lenses", fontsize=9)
    figure.savefig(OUT, dpi=110, metadata={"Software": None})
    print(f"wrote {OUT}")
    count = [sum(value > 0.5 for value in one.values()) for one in (before, after)]
    values = [*before.values(), *after.values()]
    auroc = roc_auc_score([0] * len(before) + [1] * len(after), values)
    print(
        f"des: {count[0]} of {len(before)} above 0.5 as they are, {count[1]} of {len(after)} with"
    )
    print(f"simulated arcs; the AUROC between the two is {auroc:.2f}")


if __name__ == "__main__":
    sys.exit(main())
