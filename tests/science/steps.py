"""Steps of an evaluation, each skipped where nothing changed, so that a stopped run goes on."""

import json
import time
from pathlib import Path

from astroml.provenance import VERSIONS, digest

SPENT: list[float] = []
"""Seconds that the steps took, those that were kept included."""


def step(out: Path, inputs: list[Path], what: list, make) -> float:
    """Make a file unless it is there and was made in the same way; return the seconds it took.

    Parameters
    ----------
    out : Path
        What ``make`` writes.
    inputs : list of Path
        Files that it reads.
    what : list
        How: the words of a command. Its stage's version counts too, and that of the sky, which
        training draws itself.
    make : callable
        Writes ``out``.
    """
    note = out.with_name(out.name + ".made")
    read = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in inputs]
    versions = [VERSIONS.get(stage) for stage in (what[0], "simulate")]
    key = digest({"what": [str(one) for one in what], "inputs": read, "versions": versions})
    if out.exists() and note.exists():
        known = json.loads(note.read_text())
        if known["key"] == key:
            print(f"kept {out}", flush=True)
            SPENT.append(known["seconds"])
            return known["seconds"]
    out.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    make()
    seconds = time.monotonic() - begun
    SPENT.append(seconds)
    note.write_text(json.dumps({"key": key, "seconds": seconds}))
    return seconds
