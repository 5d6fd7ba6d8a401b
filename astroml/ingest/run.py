"""The stage: manifest and files in, one shard of the store and a table of rejects out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from astroml import provenance
from astroml.config import Ingest, Splits
from astroml.errors import AstromlError
from astroml.ingest.block import Done, Job, read_block
from astroml.ingest.manifest import Manifest, chunk_rows, fill_in, read_manifest
from astroml.ingest.planes import check_columns, layout_columns
from astroml.ingest.reject import RejectedRow, write_rejects
from astroml.ingest.schedule import in_order
from astroml.ingest.tally import tally
from astroml.progress import Progress, peak_memory
from astroml.store import Header, assign_splits, write_shard
from astroml.survey import Survey

__all__ = ["ingest", "tally"]

ALWAYS = ("object_id", "ra", "dec", "ebv", "group")
"""Columns that are kept even where file names are made of them."""


def ingest(
    manifest: str | Path,
    survey: Survey,
    out: str | Path,
    rejects: str | Path,
    settings: Ingest | None = None,
    *,
    splits: Splits | None = None,
    cutouts: str = "galaxy",
    root: str | Path | None = None,
    chunk: str = "0/1",
    workers: int = 1,
    scheduler: str | None = None,
) -> int:
    """Read one part of a manifest's objects into one shard.

    Parameters
    ----------
    manifest : path
        Table of objects; environment variables are filled in.
    survey : Survey
        What the files mean, with the bands to keep.
    out, rejects : path
        The shard, and the Parquet table of what could not be stored. The shard appears last and
        whole, so that where a shard is, its rejects are complete.
    settings, splits : Ingest, Splits
        Sizes, limits, block; how the sky is divided, which the whole manifest decides.
    cutouts : str
        Cutout set, a key of ``settings.size``.
    root : path, optional
        Folder that file names start from; default the manifest's own.
    chunk : str
        ``'I/N'``, I from 0.
    workers, scheduler : int, str
        Processes that read, or the address of a Dask scheduler; neither changes the result.

    Returns
    -------
    int
        Objects stored.
    """
    settings, splits = settings or Ingest(), splits or Splits()
    if cutouts not in settings.size:
        raise AstromlError(
            f"ingest: no size for cutout set {cutouts!r}; 'size' has {', '.join(settings.size)}"
        )
    path = Path(fill_in(manifest))
    table = read_manifest(path)
    check_columns(survey.layout, table.columns, str(path))
    folder = _folder(root, path)
    jobs = _jobs(table, survey, settings, splits, folder, cutouts, chunk)
    header = _header(path, survey, settings, splits, cutouts, chunk)
    rows = chunk_rows(len(table), chunk)
    lost: list[RejectedRow] = []
    with Progress(f"ingest {cutouts} {chunk}", rows.stop - rows.start) as progress:
        results = in_order(read_block, jobs, workers, scheduler)
        stored = write_shard(out, header, _blocks(results, lost, rejects, progress))
    _say(out, progress, stored, len(lost))
    return stored


def _say(out: str | Path, progress: Progress, stored: int, lost: int) -> None:
    """Print the closing line."""
    speed = f"{progress.rate:.0f} objects/s, peak memory {peak_memory():.0f} MB"
    print(f"{out}: {progress.done} objects in = {stored} stored + {lost} rejected, {speed}")


def _folder(root: str | Path | None, manifest: Path) -> Path:
    """Return the folder that file names start from."""
    folder = Path(fill_in(root)) if root else manifest.parent
    if not folder.is_dir():
        raise AstromlError(f"{folder}: no such folder, where the files should be; set 'root'")
    return folder


def _blocks(
    results: Iterator[Done], lost: list[RejectedRow], rejects: str | Path, progress: Progress
) -> Iterator[dict]:
    """Yield what is to be stored; at the end, before the shard is closed, write the rejects."""
    for done in results:
        lost += done.rejects
        rows = len(done.rejects)
        if done.block:
            rows += len(done.block["image"])
            yield done.block
        progress.advance(rows)
    write_rejects(rejects, lost)


def _jobs(
    table: Manifest,
    survey: Survey,
    settings: Ingest,
    splits: Splits,
    root: Path,
    cutouts: str,
    chunk: str,
) -> Iterator[Job]:
    """Yield the blocks of one part of the manifest, as what workers are told."""
    split = _splits(table, splits)
    used = layout_columns(survey.layout)
    kept = [name for name in table.columns if name in ALWAYS or name not in used]
    part = chunk_rows(len(table), chunk)
    for start in range(part.start, part.stop, settings.block):
        stop = min(start + settings.block, part.stop)
        here = slice(start, stop)
        rows = table.rows(here) | {"": table.ids[here], "split": split[here]}
        faults = {row - start: why for row, why in table.faults.items() if start <= row < stop}
        yield Job(
            rows, faults, [*kept, "split"], survey, settings, settings.size[cutouts], root,
            str(table.path),
        )  # fmt: skip


def _splits(table: Manifest, splits: Splits) -> np.ndarray:
    """Return the split of each row; rows that cannot be used get one that nobody reads."""
    good = np.ones(len(table), bool)
    good[list(table.faults)] = False
    group = table.columns.get("group")
    found = assign_splits(
        table.columns["ra"][good],
        table.columns["dec"][good],
        None if group is None else group[good],
        splits,
    )
    split = np.full(len(table), "train")
    split[good] = found
    return split


def _header(
    path: Path, survey: Survey, settings: Ingest, splits: Splits, cutouts: str, chunk: str
) -> Header:
    """Return what the shard's cutouts share, with what made it."""
    made = provenance.stamp(
        "ingest",
        settings,
        [path],
        survey=survey.name,
        survey_hash=provenance.digest(survey),
        bands=list(survey.bands),
        unit="nJy",
        chunk=chunk,
        splits=splits.model_dump(mode="json"),
        seed=splits.seed,
    )
    return Header(
        set=cutouts,
        bands=tuple(survey.bands),
        size=settings.size[cutouts],
        pixel_scale=survey.pixel_scale,
        survey=survey.name,
        provenance=made,
    )
