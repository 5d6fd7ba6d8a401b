"""Cutouts on the page: the best candidates, a walk across the values, the worst mistakes."""

from __future__ import annotations

import numpy as np

from astroml.maps import beside, masks_of
from astroml.report import mosaic, redshifts
from astroml.report.candidates import chosen
from astroml.report.gather import PLACE, Evidence
from astroml.report.viewers import links
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
    order = chosen(evidence, count)
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
        ``scale``, the colours as CSS for both schemes, and ``text``, what the task says of its own
        maps.
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
    uris, wide, outlined = _pictures(evidence, store, place, rows, order)
    bar = 30.0 if wide > 120 else 5.0 if wide > 10 else 1.0
    drawn = _redshifts(evidence, store, place, rows, order)
    if size is not None:
        what = f"{what}, and the error"
    header = store.header
    return [
        {
            "uri": uris[at],
            "id": str(one),
            "value": f"{rows[evidence.column][row]:.3f}",
            "column": evidence.column,
            "noted": what,
            "notes": [*truth.get(one, []), *([] if size is None else [f"error {size[row]:.3f}"])],
            "trained": bool(rows["flags"][row] & FLAGS["trained"]) if "flags" in rows else False,
            "ra": f"{rows['ra'][row]:.5f}" if "ra" in rows else "",
            "dec": f"{rows['dec'][row]:+.5f}" if "dec" in rows else "",
            "links": links(rows["ra"][row], rows["dec"][row], wide) if "ra" in rows else [],
            "bar": f"{100 * bar / wide:.2f}",
            "bar_text": f'{bar:g}"',
            "outlined": outlined,
            "pz": drawn[at] if drawn else None,
            "bands": [header.bands[band] for band in mosaic.colour_bands(header.bands)],
        }
        for at, (one, row) in enumerate(zip(ids.tolist(), order))
    ]


def _pictures(
    evidence: Evidence, store: Store, place: str, rows: dict, order: np.ndarray
) -> tuple[list[str], float, bool]:
    """Return cutouts as data URIs, their side (arcsec), and whether masks are outlined."""
    header, masks, centres = store.header, None, None
    ids, side = rows["object_id"][order], header.size
    if hasattr(evidence.task, "MAPS"):
        files = [beside(path) for path in evidence.row_files(place)]
        masks = masks_of(files, ids, header.size)
    if evidence.many:
        # Of a tile, the half around what the row is about.
        side = header.size // 2
        centres = np.stack([rows[name][order] for name in "xy"], axis=1) / header.pixel_scale
    uris = mosaic.cutouts(store, ids, masks, side, centres)
    return uris, side * header.pixel_scale, masks is not None


def _redshifts(evidence: Evidence, store: Store, place: str, rows: dict, order: np.ndarray) -> list:
    """Return the p(z) of rows as drawings; none of a task without any."""
    if not redshifts.gridded(column.name for column in evidence.task.COLUMNS):
        return []
    some = {name: values[order] for name, values in rows.items() if values.ndim == 1}
    truth = np.full(len(order), np.nan)
    if not evidence.ranks:
        targets, labelled = evidence.task.targets(store.objects)
        label = getattr(evidence.task, "LABEL", "")
        known = np.where(labelled, targets.get(label, np.nan), np.nan).tolist()
        of = dict(zip(store.objects["object_id"].tolist(), known))
        truth = np.array([of.get(one, np.nan) for one in some["object_id"].tolist()], float)
    return redshifts.drawings(some | evidence.lists(place, some[PLACE]), truth)


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
