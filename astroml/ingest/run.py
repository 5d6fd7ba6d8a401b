"""The stage: manifest and files in, one shard of the store and a table of rejects out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np

from astroml import provenance
from astroml.config import Ingest, Splits
from astroml.errors import AstromlError
from astroml.ingest.block import Part, read_block
from astroml.ingest.clock import Clock
from astroml.ingest.jobs import make_jobs, rows_in_order
from astroml.ingest.manifest import fill_in, read_manifest
from astroml.ingest.reject import RejectedRow, write_rejects
from astroml.ingest.schedule import in_order
from astroml.ingest.tally import tally
from astroml.ingest.templates import check_columns
from astroml.progress import Progress, peak_memory
from astroml.store import Header, open_store, shard_writer, write_shard
from astroml.survey import Survey

__all__ = ["ingest", "tally"]

AT_ONCE = 256
"""Objects that are put in order at once."""


def ingest(
    manifest: str | Path,
    survey: Survey,
    out: str | Path | list,
    rejects: str | Path | list,
    settings: Ingest | None = None,
    *,
    splits: Splits | None = None,
    cutouts: str | list[str] = "galaxy",
    root: str | Path | None = None,
    chunk: str = "0/1",
    workers: int = 1,
    scheduler: str | None = None,
) -> int:
    """Read one part of a manifest's objects into one shard, or one per cutout set.

    Parameters
    ----------
    manifest : path
        Table of objects; environment variables are filled in.
    survey : Survey
        What the files mean, with the bands to keep.
    out, rejects : path or list of path
        The shard, and the Parquet table of what could not be stored. The shard appears last and
        whole, so that where a shard is, its rejects are complete.
    settings, splits : Ingest, Splits
        Sizes, limits, block; how the sky is divided, which the whole manifest decides.
    cutouts : str or list of str
        Cutout sets, keys of ``settings.size``, with as many ``out`` and ``rejects``: the files are
        read once for all of them.
    root : path, optional
        Folder that file names start from; default the manifest's own.
    chunk : str
        ``'I/N'``, I from 0.
    workers, scheduler : int, str
        Processes that read; or the address of a Dask scheduler, or ``slurm`` for workers that are
        jobs. Neither changes the result.

    Returns
    -------
    int
        Objects stored, all sets together.
    """
    settings, splits = settings or Ingest(), splits or Splits()
    sets = [cutouts] if isinstance(cutouts, str) else list(cutouts)
    outs, lists = (one if isinstance(one, list) else [one] for one in (out, rejects))
    _check_sets(sets, outs, lists, settings)
    path = Path(fill_in(manifest))
    table = read_manifest(path, sky=survey.layout.pixel_columns is None)
    check_columns(survey.layout, table.columns, str(path), survey.bands)
    folder = _folder(root, path)
    rows = rows_in_order(table, survey, chunk)
    straight = bool((np.diff(rows) > 0).all())
    sinks = {
        name: _Sink(one, lost, _header(path, survey, settings, splits, name, chunk), straight)
        for name, one, lost in zip(sets, outs, lists)
    }
    clock = Clock()
    with Progress(f"ingest {' '.join(sets)} {chunk}", len(rows)) as progress, ExitStack() as stack:
        for sink in sinks.values():
            stack.enter_context(sink.open())
        jobs = make_jobs(table, survey, settings, splits, folder, sets, rows)
        results = stack.enter_context(closing(in_order(read_block, jobs, workers, scheduler)))
        for done in results:
            clock.add(done.clock)
            with clock.step("write"):
                for name, sink in sinks.items():
                    sink.take(done.parts[name])
            clock.weigh("write")
            progress.advance(done.count)
    print(f"time and memory per step: {clock}")
    for sink in sinks.values():
        _say(sink.out, progress, sink.stored, sink.lost)
        _say_missing(sink.out, sink.missing, sink.stored)
    return sum(sink.stored for sink in sinks.values())


def _check_sets(sets: list[str], outs: list, rejects: list, settings: Ingest) -> None:
    if lost := [name for name in sets if name not in settings.size]:
        raise AstromlError(
            f"ingest: no size for cutout set {lost[0]!r}; 'size' has {', '.join(settings.size)}"
        )
    if not len(set(sets)) == len(outs) == len(rejects):
        raise AstromlError(
            f"ingest: {len(set(sets))} cutout sets, but {len(outs)} outputs and {len(rejects)} "
            "tables of rejects; give one of each per set"
        )


def _say(out: str | Path, progress: Progress, stored: int, lost: int) -> None:
    """Print the closing line."""
    speed = f"{progress.rate:.0f} objects/s, peak memory {peak_memory():.0f} MB"
    print(f"{out}: {progress.done} objects in = {stored} stored + {lost} rejected, {speed}")


def _say_missing(out: str | Path, missing: Counter, stored: int) -> None:
    """Print which bands are missing, of how many objects; nothing if none is."""
    if missing:
        said = ", ".join(f"{band} of {count}" for band, count in missing.items())
        print(f"{out}: bands missing or masked beyond the limit, of {stored} objects: {said}")


def _folder(root: str | Path | None, manifest: Path) -> Path:
    """Return the folder that file names start from."""
    folder = Path(fill_in(root)) if root else manifest.parent
    if not folder.is_dir():
        raise AstromlError(f"{folder}: no such folder, where the files should be; set 'root'")
    return folder


class _Sink:
    """Where the blocks of one cutout set go, and in what order they are to stand there.

    Work is done file by file. Where that is not the manifest's order, blocks go to a file beside
    the shard first, and from there to the shard in the manifest's order.
    """

    def __init__(self, out: str | Path, rejects: str | Path, header: Header, in_order: bool):
        self.out, self.rejects, self._header = Path(out), rejects, header
        self._rough = None if in_order else self.out.with_name(self.out.name + ".unsorted")
        self._rows: list[np.ndarray] = []
        self._lost: list[tuple[int, RejectedRow]] = []
        self.stored, self.missing = 0, Counter()

    @property
    def lost(self) -> int:
        return len(self._lost)

    @contextmanager
    def open(self) -> Iterator[_Sink]:
        """Take blocks; at the end write the rejects, then close the shard."""
        try:
            with shard_writer(self._rough or self.out, self._header) as self._append:
                yield self
                if self._rough is None:
                    self._write_rejects()
            if self._rough is not None:
                self._write_rejects()
                write_shard(self.out, self._header, self._sorted())
        finally:
            if self._rough is not None:
                self._rough.unlink(missing_ok=True)

    def take(self, part: Part) -> None:
        """Store a block and note its rejects."""
        self._lost += part.rejects
        if part.block:
            self.stored += self._append(part.block)
            self._rows.append(part.rows)
            self.missing.update(part.missing)

    def _write_rejects(self) -> None:
        write_rejects(self.rejects, [row for _, row in sorted(self._lost, key=lambda one: one[0])])

    def _sorted(self) -> Iterator[dict]:
        store = open_store([self._rough])
        place = np.argsort(np.concatenate([np.zeros(0, int), *self._rows]))
        names = ["image", "mask", "sigma", "psf_fwhm"] + ["ivar"] * store.has("ivar")
        for start in range(0, len(place), AT_ONCE):
            here = place[start : start + AT_ONCE]
            columns = {name: values[here] for name, values in store.objects.items()}
            yield store.read(here, names) | {"objects": columns}


def _header(
    path: Path, survey: Survey, settings: Ingest, splits: Splits, cutouts: str, chunk: str
) -> Header:
    """Return what the shard's cutouts share, with what made it."""
    made = provenance.stamp(
        "ingest",
        settings.model_dump(mode="json", exclude=set(settings.UNSEEN)),
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
        pixel_scale=settings.scale.get(cutouts) or survey.pixel_scale,
        survey=survey.name,
        provenance=made,
    )
