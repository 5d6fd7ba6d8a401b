"""Nothing is lost silently: rows in = rows stored + rows rejected."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from astroml.errors import AstromlError
from astroml.ingest.manifest import read_manifest
from astroml.ingest.reject import RejectedRow, read_rejects, write_rejects
from astroml.store import open_store


def tally(
    store: list[Path], rejects: list[Path], manifest: Path, out: Path, max_rejects: float = 1.0
) -> None:
    """Check that every row of the manifest was stored or rejected, and gather the rejects.

    Parameters
    ----------
    store : list of Path
        Folder of shards, or shards: all parts of the manifest.
    rejects : list of Path
        The parts' tables of rejects.
    manifest : Path
        Table of objects that was ingested.
    out : Path
        Parquet table of all rejects; written even when a check fails.
    max_rejects : float
        Largest fraction that may be rejected.

    Raises
    ------
    AstromlError
        If a row is in neither place or in both, or if too many were rejected.
    """
    gathered: list[RejectedRow] = []
    for path in rejects:
        if not Path(path).is_file():
            raise AstromlError(f"{path}: no such table of rejects; run ingest of that part first")
        gathered += read_rejects(path)
    write_rejects(out, gathered)
    expected = Counter(read_manifest(manifest, sky=False).ids.tolist())
    stored = [str(one) for one in open_store(list(store)).objects["object_id"]]
    _check_balance(expected, stored, [row.object_id for row in gathered], manifest)
    total = expected.total()
    print(f"{total} objects in the manifest = {len(stored)} stored + {len(gathered)} rejected")
    if total and len(gathered) > max_rejects * total:
        (stage, reason), count = Counter(_kind(row) for row in gathered).most_common(1)[0]
        raise AstromlError(
            f"{len(gathered)} of {total} objects were rejected, more than max_rejects "
            f"{max_rejects:g} allows; the commonest reason ({count} times), at stage {stage}: "
            f"{reason}; see {out}"
        )


def _check_balance(expected: Counter, stored: list, rejected: list, manifest: Path) -> None:
    found = Counter(stored) + Counter(rejected)
    if found == expected:
        return
    lost, extra = expected - found, found - expected
    clauses = []
    if lost:
        clauses.append(f"{lost.total()} neither stored nor rejected, first {_first(lost)}")
    if extra:
        clauses.append(f"{extra.total()} too many, first {_first(extra)}")
    raise AstromlError(
        f"{manifest}: {expected.total()} rows, but {len(stored)} stored and {len(rejected)} "
        f"rejected: {'; '.join(clauses)}; ingest all parts anew from this manifest"
    )


def _first(ids: Counter) -> str:
    return f"object_id {next(iter(ids))!r}"


def _kind(row: RejectedRow) -> tuple[str, str]:
    """Return stage and reason without the numbers that differ from object to object."""
    return row.stage, row.reason.split(":")[0] if row.stage == "manifest" else row.reason
