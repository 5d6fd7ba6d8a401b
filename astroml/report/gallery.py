"""Cutouts on the page: the best candidates, a walk across the values, the worst mistakes."""

from __future__ import annotations

import numpy as np

from astroml.maps import beside, masks_of
from astroml.report import mosaic
from astroml.report.gather import Evidence, evenly
from astroml.store import FLAGS, Store

MISTAKES = 8
"""Worst mistakes of each sort that are drawn."""


def shown(evidence: Evidence) -> dict:
    """Return the cutouts of the run's objects, with title and caption.

    Where the first column ranks, those are drawn that rank highest; where it is a quantity, such
    as a redshift, objects from its lowest to its highest value. ``explained`` says what the maps of
    the evidence below the cutouts show, and is None if there are none.
    """
    rows, count = evidence.rows(), evidence.run.config.report.top
    column = evidence.column
    if evidence.ranks:
        title, text = "Top candidates", ""
    else:
        title = f"From the lowest to the highest {column}"
        text = f"Objects at even steps in the order of {column}, lowest first."
    if rows is None:
        return {"title": title, "text": text, "tiles": [], "explained": None}
    value = rows[column].astype(float)
    order = np.lexsort((rows["object_id"], -value if evidence.ranks else value))
    order = order[:count] if evidence.ranks else order[evenly(np.isfinite(value).sum(), count)]
    drawn = tiles(evidence, "store", rows, order)
    if any(tile["outlined"] for tile in drawn):
        text = f"{text} Lines surround the pixels that the network marks.".strip()
    explained = with_evidence(evidence, rows["object_id"][order], drawn)
    return {"title": title, "text": text, "tiles": drawn, "explained": explained}


def with_evidence(evidence: Evidence, ids: np.ndarray, drawn: list[dict]) -> dict | None:
    """Add the map of the evidence to each tile that has one, and return what they show.

    Returns
    -------
    dict or None
        ``output`` that the evidence is for or against, ``limit`` at which colours are full,
        ``scale``, the colours as CSS, and ``text``, what the task says of its own maps.
    """
    found = evidence.explained()
    shown = [one for one in ids.tolist() if found and one in found["maps"]]
    if not drawn or not shown:
        return None
    uris, limit = mosaic.evidence([found["maps"][one] for one in shown])
    by_id = dict(zip(shown, uris))
    for one, tile in zip(ids.tolist(), drawn):
        if one in by_id:
            tile["evidence"] = by_id[one]
    text = getattr(evidence.task, "EVIDENCE", None)
    told = {"output": found["output"], "limit": f"{limit:.2g}", "scale": mosaic.scale()}
    return told | {"text": text}


def mistakes(evidence: Evidence) -> list[dict] | None:
    """Return the worst mistakes on the labelled test split, in groups.

    Returns
    -------
    list of dict or None
        ``title``, ``count`` (of all mistakes of the sort, None where mistakes have sizes only) and
        ``tiles``; none without labels, None if the task cannot say what a mistake is.
    """
    pair, task = evidence.truth_and_rows, evidence.task
    if pair is None:
        return []
    truth, rows = pair
    if hasattr(task, "error"):
        size = np.asarray(task.error(truth, rows), float)
        order = np.lexsort((rows["object_id"], -size))[: min(MISTAKES, np.isfinite(size).sum())]
        title = f"Largest {task.ERROR} among {len(size):,} objects"
        drawn = tiles(evidence, evidence.labelled, rows, order, size)
        return [{"title": title, "count": None, "tiles": drawn}]
    if not evidence.binary:
        return None
    label = getattr(task, "LABEL", None)
    if label not in truth:
        return []
    yes, value = truth[label] == 1, rows[evidence.column].astype(float)
    wrong = {
        f"Missed: {evidence.name} by truth, scored lowest": (yes & (value < 0.5), value),
        f"False positives: no {evidence.name}, scored highest": (~yes & (value > 0.5), -value),
    }
    groups = []
    for title, (which, key) in wrong.items():
        order = np.lexsort((rows["object_id"], key))
        order = order[which[order]]
        drawn = tiles(evidence, evidence.labelled, rows, order[:MISTAKES])
        groups.append({"title": title, "count": int(which.sum()), "tiles": drawn})
    return groups


def tiles(
    evidence: Evidence, place: str, rows: dict, order: np.ndarray, size: np.ndarray | None = None
) -> list[dict]:
    """Return cutouts with what stands under them.

    Parameters
    ----------
    evidence : Evidence
        The task's.
    place : str
        Store that the pixels are in.
    rows : dict
        Columns (n,).
    order : (k,) array of int
        Which rows.
    size : (n,) array, optional
        How wrong each row is.
    """
    store = evidence.run.store(place, evidence.task.SET)
    ids = rows["object_id"][order]
    if store is None or not len(ids):
        return []
    what, truth = known(evidence, store)
    header, masks = store.header, None
    if hasattr(evidence.task, "MAPS"):
        files = [beside(path) for path in evidence.row_files(place)]
        masks = masks_of(files, ids, header.size)
    side, centres = header.size, None
    if evidence.many:
        # Of a tile, the half around what the row is about.
        side = header.size // 2
        centres = np.stack([rows[name][order] for name in "xy"], axis=1) / header.pixel_scale
    wide = side * header.pixel_scale
    bar = 30.0 if wide > 120 else 5.0 if wide > 10 else 1.0
    if size is not None:
        what = f"{what}, and the error"
    return [
        {
            "uri": uri,
            "id": str(one),
            "value": f"{rows[evidence.column][row]:.3f}",
            "column": evidence.column,
            "noted": what,
            "notes": [*truth.get(one, []), *([] if size is None else [f"error {size[row]:.3f}"])],
            "trained": bool(rows["flags"][row] & FLAGS["trained"]) if "flags" in rows else False,
            "ra": f"{rows['ra'][row]:.5f}" if "ra" in rows else "",
            "dec": f"{rows['dec'][row]:+.5f}" if "dec" in rows else "",
            "bar": f"{100 * bar / wide:.2f}",
            "bar_text": f'{bar:g}"',
            "outlined": masks is not None,
            "bands": [header.bands[band] for band in mosaic.colour_bands(header.bands)],
        }
        for one, row, uri in zip(
            ids.tolist(), order, mosaic.cutouts(store, ids, masks, side, centres)
        )
    ]


def known(evidence: Evidence, store: Store) -> tuple[str, dict[object, list[str]]]:
    """Return what is told of the truth, and that truth as texts by object, where there is any."""
    objects = store.objects
    ids = objects["object_id"].tolist()
    if evidence.ranks:
        kinds = objects["kind"].tolist() if "kind" in objects else []
        return "the true kind", {
            one: [str(kind).replace("_", "-")] for one, kind in zip(ids, kinds) if str(kind)
        }
    label = getattr(evidence.task, "LABEL", "")
    targets, labelled = evidence.task.targets(objects)
    values = np.where(labelled, targets.get(label, np.nan), np.nan).tolist()
    return f"{label} where it is known", {
        one: [f"{label} {value:.3f}"] for one, value in zip(ids, values) if np.isfinite(value)
    }
