"""What ran: the survey, how many objects each cutout set has, what was rejected, and why."""

from __future__ import annotations

from collections import Counter

import numpy as np

from astroml import __version__
from astroml.config import chosen_tasks
from astroml.errors import AstromlError
from astroml.provenance import digest
from astroml.report.gather import Run
from astroml.store import FLAGS, SPLITS
from astroml.survey import load_survey

REJECTS = 12
"""Rejected objects that are listed."""

REASONS = 20
"""Reasons for a rejection that are counted."""


def facts(run: Run) -> list[tuple[str, str]]:
    """Return what the run was, as term and text."""
    config, told = run.config, []
    try:
        survey = load_survey(str(config.survey))
        told.append(("Survey", f"{survey.name}: {survey.title}" if survey.title else survey.name))
    except AstromlError:
        told.append(("Survey", str(config.survey)))
    source = config.input.manifest or f"simulated, seed {config.seed}"
    told.append(("Objects from", str(source)))
    if config.train_on == "simulated":
        sky = next(filter(None, (run.store("sky", name) for name in _sets(run))), None)
        count = f" of {len(sky):,} objects" if sky is not None else ""
        told.append(("Trained on", f"a simulated sky{count}, seed {config.seed}"))
    elif any(task.weights is None for task in chosen_tasks(config).values()):
        told.append(("Trained on", "the run's own labelled objects (train split)"))
    told.append(("Made by", f"astroml {__version__}, config {digest(config)}"))
    return told


def _sets(run: Run) -> list[str]:
    """Return the cutout sets that the run's tasks look at."""
    return sorted({evidence.task.SET for evidence in run.evidence()})


def sets(run: Run) -> list[dict]:
    """Return one line per cutout set that was stored: its cutouts, counts, splits and flags."""
    lines = []
    for name in _sets(run):
        store = run.store("store", name)
        if store is None:
            continue
        header, lost = store.header, run.rejects(name)
        count = None if lost is None else len(lost["object_id"])
        splits = Counter(store.objects["split"].tolist())
        flags = np.asarray(store.objects.get("flags", []), int)
        marked = {word: int(np.count_nonzero(flags & bit)) for word, bit in FLAGS.items()}
        lines.append(
            {
                "name": name,
                "tasks": [one.name for one in run.evidence() if name == one.task.SET],
                "bands": ", ".join(header.bands),
                "cutout": f'{header.size} px of {header.pixel_scale:g}", '
                f'{header.size * header.pixel_scale:.1f}" a side',
                "counted": None if count is None else len(store) + count,
                "stored": len(store),
                "rejected": count,
                "splits": ", ".join(f"{splits[one]:,} {one}" for one in SPLITS if splits[one]),
                "flags": ", ".join(f"{n:,} {word}" for word, n in marked.items() if n) or "none",
            }
        )
    return lines


def rejects(run: Run) -> dict | None:
    """Return reasons with their numbers, and the first rows; None without a table."""
    table = run.rejects()
    if table is None:
        return None
    n = len(table["object_id"])
    pairs = zip(table.get("stage", [""] * n), table.get("reason", [""] * n))
    counts = sorted(Counter(pairs).items(), key=lambda one: (-one[1], one[0]))
    names = [name for name in ("object_id", "file", "stage", "reason") if name in table]
    first = [[str(table[name][row]) for name in names] for row in range(min(n, REJECTS))]
    return {
        "count": n,
        "reasons": [(count, *pair) for pair, count in counts[:REASONS]],
        "more": max(len(counts) - REASONS, 0),
        "names": names,
        "rows": first,
    }


def total(benchmarks: list[dict]) -> dict:
    """Return all stages as one line: sums of jobs and times, the largest job and memory."""
    jobs, seconds, cpu, longest, memory = (
        [line[name] or 0 for line in benchmarks]
        for name in ("jobs", "seconds", "cpu", "longest", "memory")
    )
    return {
        "stage": "all",
        "jobs": sum(jobs),
        "seconds": sum(seconds),
        "cpu": sum(cpu) or None,
        "longest": max(longest, default=0.0),
        "memory": max(memory, default=0.0) or None,
    }
