"""Ingest beside bare fitsio on the same files, and what grows with the whole manifest.

The cubes are names of 1,000 files, each read anew. From large images: ``python bench_ingest.py``.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import fitsio
import numpy as np
from astropy.io import fits
from bench import Case
from bench_store import make_store
from ingest_fits import SCALE, sky, survey, tan_header, write_manifest
from pyarrow import csv

from astroml.config import Ingest, Splits
from astroml.ingest.jobs import make_jobs, rows_in_order
from astroml.ingest.manifest import read_manifest
from astroml.ingest.reject import write_rejects
from astroml.ingest.run import ingest, tally
from astroml.store import open_store

FILES = 1000
SIDE = 4096
"""px, of a mosaic."""

CUTOUTS = 4000
CHUNKS = 1000
"""Parts of the manifest of which one is begun."""


def prepare_ingest(folder: Path, objects: int) -> None:
    """Write cubes of three bands, 64 px wide, and their manifest."""
    place, rows = folder / "cubes", []
    place.mkdir(exist_ok=True)
    for n in range(objects):
        ra, dec, path = 100 + 0.01 * (n % FILES), 2 + 0.003 * (n % FILES), place / f"{n}.fits"
        rows.append({"object_id": n, "ra": ra, "dec": dec, "file": path.name})
        if path.exists():
            continue
        if n < FILES:
            header = tan_header(ra=ra, dec=dec, BANDS="grz", OBJECT=f"object {n}")
            fits.PrimaryHDU(sky(n), header).writeto(path)
        else:
            path.hardlink_to(place / f"{n % FILES}.fits")
    write_manifest(place / f"manifest_{objects}.csv", rows)


def case_ingest(folder: Path, objects: int) -> Case:
    """Return a manifest of ready-made cubes ingested to a shard."""
    place, out = folder / "cubes", folder / "ingested.h5"
    paths = [str(place / f"{n}.fits") for n in range(objects)]
    described = survey(image={"file": "{file}", "hdu": 0, "axis": "band"})
    facts = {"fits_bytes_per_object": os.path.getsize(paths[0])}

    def subject() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            ingest(place / f"manifest_{objects}.csv", described, out, f"{out}.rejects", Ingest())

    def bound() -> None:
        for path in paths:
            fitsio.read(path)

    rounds = max(1, min(5, 20_000 // objects))
    return Case(subject, objects, bound, objects, "bare fitsio", rounds, facts)


def prepare_manifest(folder: Path, objects: int) -> None:
    """Write a manifest of objects all over the sky."""
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, objects), np.degrees(np.arcsin(rng.uniform(-1, 1, objects)))
    rows = zip(range(objects), ra.round(6), dec.round(6))
    lines = (f"{n},{one},{two},{n // 1000:06d}/{n}.fits" for n, one, two in rows)
    text = "\n".join(["object_id,ra,dec,file", *lines, ""])
    (folder / f"manifest_{objects}.csv").write_text(text)


def case_manifest(folder: Path, objects: int) -> Case:
    """Return what each chunk does with the whole manifest before it reads its first file."""
    path = folder / f"manifest_{objects}.csv"
    described = survey(image={"file": "{file}", "hdu": 0, "axis": "band"})

    def subject() -> None:
        table = read_manifest(path)
        rows = rows_in_order(table, described, f"0/{CHUNKS}")
        next(make_jobs(table, described, Ingest(), Splits(), folder, ["galaxy"], rows), None)

    def bound() -> None:
        csv.read_csv(path)

    facts = {"bytes_per_object": path.stat().st_size / objects}
    return Case(subject, objects, bound, objects, "bare Arrow CSV", 2, facts)


def prepare_tally(folder: Path, objects: int) -> None:
    """Write a store with its manifest and no rejects."""
    ids = open_store(make_store(folder, objects)).objects["object_id"].tolist()
    write_manifest(
        folder / f"ids_{objects}.csv", [{"object_id": n, "ra": 1.0, "dec": 2.0} for n in ids]
    )
    write_rejects(folder / "none.parquet", [])


def case_tally(folder: Path, objects: int) -> Case:
    """Return the check that no object was lost, over all chunks at once."""
    store, manifest = make_store(folder, objects), folder / f"ids_{objects}.csv"

    def subject() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            tally([store], [folder / "none.parquet"], manifest, folder / "rejects.parquet")

    def bound() -> None:
        csv.read_csv(manifest)

    return Case(subject, objects, bound, objects, "bare Arrow CSV", 3)


def mosaics(folder: Path) -> Path:
    """Write three large images and a catalog of places on them; return the manifest."""
    rng = np.random.default_rng(1)
    middle = (SIDE - 1) / 2
    for band in "grz":
        image = rng.normal(0, 0.01, (SIDE, SIDE)).astype(np.float32)
        fits.PrimaryHDU(image, tan_header(x=middle, y=middle)).writeto(folder / f"{band}.fits")
    x, y = rng.uniform(40, SIDE - 40, (2, CUTOUTS)) - middle
    dec = 2 + y * SCALE / 3600
    ra = 150 - x * SCALE / 3600 / np.cos(np.radians(dec))
    rows = [{"object_id": n, "ra": ra[n], "dec": dec[n]} for n in range(CUTOUTS)]
    return write_manifest(folder / "mosaics.csv", rows)


def main(folder: Path) -> None:
    """Cut objects out of three large images, and say how fast."""
    manifest = mosaics(folder)
    described = survey(image={"file": "{band}.fits", "hdu": 0})
    ingest(manifest, described, folder / "out.h5", folder / "rejects.parquet", Ingest())


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        main(Path(place))
