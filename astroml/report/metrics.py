"""Metrics for people: names, meaning, digits, and those of bins apart from the others."""

from __future__ import annotations

import fnmatch
from types import ModuleType

import numpy as np

from astroml.tasks import BIN


def headlines(metrics: dict[str, dict]) -> dict[str, dict]:
    """Return the metrics that are not of a bin."""
    return {name: metric for name, metric in metrics.items() if not BIN.fullmatch(name)}


def lines(task: ModuleType, metrics: dict[str, dict]) -> list[dict]:
    """Return the headline metrics with their names for people and their meaning."""
    told, found = set(), []
    plain = headlines(metrics)
    elsewhere = {one for names in variants(task, plain).values() for one in names.values()}
    for name, metric in plain.items():
        if name in elsewhere:
            continue
        label, meaning = explained(task, name)
        # Once for a family of metrics.
        found.append({"label": label, "meaning": "" if meaning in told else meaning, **metric})
        told.add(meaning)
    return found


def variants(task: ModuleType, metrics: dict[str, dict]) -> dict[str, dict[str, str]]:
    """Return the metrics that further methods of the task have too: metric -> method -> its name.

    A task names the methods as ``BESIDE``: the end of the metrics' names -> name for people.
    """
    found = {}
    for stem in metrics:
        names = {end: f"{stem}_{end}" for end in getattr(task, "BESIDE", {})}
        if there := {end: name for end, name in names.items() if name in metrics}:
            found[stem] = there
    return found


def side_by_side(task: ModuleType, metrics: dict[str, dict]) -> list[dict]:
    """Return the table of the task's methods beside each other, as ``tables`` does; or none."""
    plain = headlines(metrics)
    found, ends = variants(task, plain), getattr(task, "BESIDE", {})
    if not found:
        return []
    rows = [("all together", [plain[stem] for stem in found])]
    for end, name in ends.items():
        cells = [plain.get(there.get(end)) for there in found.values()]
        if any(cells):
            rows.append((name, cells))
    return [
        {"axis": "method", "columns": [explained(task, stem)[0] for stem in found], "rows": rows}
    ]


def explained(task: ModuleType, name: str) -> tuple[str, str]:
    """Return a metric's name for people, and its meaning, as the task's ``METRICS`` has them."""
    for pattern, words in getattr(task, "METRICS", {}).items():
        if fnmatch.fnmatchcase(name, pattern):
            rest = name[len(pattern) - 1 :] if pattern.endswith("*") else ""
            return words[0].replace("*", rest.replace("_", "-")), words[1].replace("*", rest)
    return name, ""


def tables(task: ModuleType, metrics: dict[str, dict]) -> list[dict]:
    """Return one table per axis that metrics were binned in.

    Parameters
    ----------
    task : module
        Whose ``METRICS`` names the columns, and whose ``AXES`` (axis -> name) the axes.
    metrics : dict
        Name -> value and error; what has no bin is left out.

    Returns
    -------
    list of dict
        Of methods beside each other, then of each axis: ``axis``; ``columns``, names for people;
        ``rows``, each the bin or method as text and one metric or
        None per column, from the lowest bin up.
    """
    drawn = side_by_side(task, metrics)
    plain, known = headlines(metrics), getattr(task, "AXES", {})
    axes: dict[str, dict] = {}
    for name, metric in metrics.items():
        if not (found := BIN.fullmatch(name)):
            continue
        what, axis = parted(found["stem"], plain)
        place = (found["low"], found["high"])
        axes.setdefault(axis, {}).setdefault(place, {})[what] = metric
    for axis, bins in axes.items():
        columns = list(dict.fromkeys(what for one in bins.values() for what in one))
        places = sorted(bins, key=lambda place: (float(place[0]), float(place[1])))
        drawn.append(
            {
                "axis": known.get(axis, axis),
                "columns": [explained(task, what)[0] for what in columns],
                "rows": [
                    (" to ".join(place), [bins[place].get(what) for what in columns])
                    for place in places
                ],
            }
        )
    return drawn


def parted(stem: str, plain: dict[str, dict]) -> tuple[str, str]:
    """Return metric and axis: the metric is one known without bins, else all but the last word."""
    known = [name for name in plain if stem.startswith(f"{name}_")]
    metric = max(known, key=len, default=stem.rpartition("_")[0] or stem)
    return metric, stem[len(metric) + 1 :]


def value_text(metric: dict) -> str:
    """Return value and uncertainty with as many digits as the uncertainty deserves."""
    value, error = metric["value"], metric["error"]
    if value is None:
        return "not measured"
    if not error:
        count = value == round(value) and abs(value) > 1
        return f"{value:,.0f}" if count else f"{value:.3f}"
    digits = int(np.clip(1 - np.floor(np.log10(error)), 2, 5))
    return f"{value:.{digits}f} ± {error:.{digits}f}"
