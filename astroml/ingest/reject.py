"""What becomes of an object that cannot be stored: one row with a reason a person understands."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from astroml.provenance import replacing

SCHEMA = pa.schema([(name, pa.string()) for name in ("object_id", "file", "stage", "reason")])
"""Columns of a table of rejects, all text."""


class Reject(Exception):
    """One object cannot be stored.

    Parameters
    ----------
    stage : str
        Where it stopped: ``manifest``, ``read``, ``align`` or ``measure``.
    file : str or Path
        The file at fault; empty if none is.
    reason : str
        What a person should know.
    """

    def __init__(self, stage: str, file: str | Path, reason: str):
        super().__init__(reason)
        self.stage, self.file, self.reason = stage, str(file), " ".join(str(reason).split())


class Absent(Reject):
    """A file or HDU is not there or holds nothing, which a layout may allow."""


def unexpected(stage: str, fault: Exception) -> Reject:
    """Return the reason for a fault that nobody foresaw, so that it costs one object and no run.

    With ``ASTROML_DEBUG=1`` it is raised instead.
    """
    if os.environ.get("ASTROML_DEBUG") == "1":
        raise fault
    last = traceback.extract_tb(fault.__traceback__)[-1]
    where = f"{Path(last.filename).name}, line {last.lineno}"
    return Reject(stage, "", f"unexpected {type(fault).__name__} ({str(fault)[:200]}) in {where}")


@dataclass(frozen=True)
class RejectedRow:
    """One row of the table of rejects."""

    object_id: str
    file: str
    stage: str
    reason: str


def write_rejects(path: str | Path, rows: list[RejectedRow]) -> None:
    """Write a table of rejects as Parquet, whole or not at all, even if it has no row."""
    columns = {name: [_clean(getattr(row, name)) for row in rows] for name in SCHEMA.names}
    with replacing(path) as part:
        pq.write_table(pa.table(columns, schema=SCHEMA), part)


def read_rejects(path: str | Path) -> list[RejectedRow]:
    """Read a table of rejects."""
    return [RejectedRow(**row) for row in pq.read_table(path).select(SCHEMA.names).to_pylist()]


def _clean(text: str) -> str:
    """Return text that UTF-8 can hold: file names may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
