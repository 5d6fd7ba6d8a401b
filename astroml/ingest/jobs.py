"""From the manifest to what each worker is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from astroml.config import Ingest, Splits
from astroml.errors import AstromlError
from astroml.ingest.block import Job
from astroml.ingest.manifest import Manifest, chunk_rows
from astroml.ingest.templates import layout_columns
from astroml.ingest.tiles import file_keys, same_objects, split_positions, work_order
from astroml.store import assign_splits
from astroml.survey import Survey

ALWAYS = ("object_id", "ra", "dec", "ebv", "group")
"""Columns that are kept even where file names are made of them."""


def rows_in_order(table: Manifest, survey: Survey, chunk: str) -> np.ndarray:
    """Return the rows of one part of the manifest, (n,), those of one file together."""
    part = chunk_rows(len(table), chunk)
    return part.start + work_order(file_keys(table, survey)[part])


def make_jobs(
    table: Manifest,
    survey: Survey,
    settings: Ingest,
    splits: Splits,
    root: Path,
    sets: list[str],
    order: np.ndarray,
) -> Iterator[Job]:
    """Yield the rows of ``order`` in blocks, as what workers are told."""
    keys = file_keys(table, survey)
    cuts = {name: (settings.size[name], settings.scale.get(name)) for name in sets}
    native = survey.pixel_scale
    reach = max(size * (scale or native) / native for size, scale in cuts.values()) / 2
    faults = same_objects(table, survey, keys, root, reach, order) | table.faults
    split = _splits(table, survey, keys, splits)
    used = layout_columns(survey.layout, survey.bands)
    made = {f"{what}_{band}" for what in ("masked", "sky") for band in survey.bands}
    kept = [name for name in table.columns if name in ALWAYS or name not in used]
    if taken := made & set(kept):
        raise AstromlError(
            f"{table.path}: column {min(taken)!r} cannot be carried along, since the store uses "
            "that name; rename it"
        )
    for start in range(0, len(order), settings.block):
        here = order[start : start + settings.block]
        rows = table.rows(here) | {"": table.ids[here], "split": split[here]}
        wrong = {n: faults[row] for n, row in enumerate(here.tolist()) if row in faults}
        yield Job(
            rows, here, wrong, [*kept, "split"], survey, settings, cuts, table.placeless, root,
            str(table.path),
        )  # fmt: skip


def _splits(table: Manifest, survey: Survey, keys: np.ndarray, splits: Splits) -> np.ndarray:
    """Return the split of each row; rows that cannot be used get one that nobody reads."""
    good = np.ones(len(table), bool)
    good[list(table.faults)] = False
    group = table.columns.get("group")
    ra, dec = split_positions(table, survey, keys)
    found = assign_splits(ra[good], dec[good], None if group is None else group[good], splits)
    split = np.full(len(table), "train")
    split[good] = found
    return split
