"""The table of candidates: the best rows of a run, each with links to the viewers of the sky."""

from __future__ import annotations

import math

import numpy as np

from astroml.report.gather import Evidence, evenly
from astroml.report.viewers import links
from astroml.store import FLAGS

ROWS = 100
"""Rows of the table, at most; the catalog has them all."""

FIRST = ("object_id", "ra", "dec")


def chosen(evidence: Evidence, count: int) -> np.ndarray:
    """Return which of the run's rows to show.

    Where the first column ranks, those that rank highest; where it is a quantity, such as a
    redshift, rows at even steps from its lowest to its highest value.
    """
    rows = evidence.rows()
    value = rows[evidence.column].astype(float)
    order = np.lexsort((rows["object_id"], -value if evidence.ranks else value))
    known = int(np.isfinite(value).sum())
    return order[: min(count, known)] if evidence.ranks else order[evenly(known, count)]


def table(evidence: Evidence) -> dict | None:
    """Return the table of candidates; None where there is no row.

    Returns
    -------
    dict
        ``text`` of what it holds; ``columns``, each with name, unit, description and whether it is
        a number; ``rows``, each with ``cells`` (text, and what to sort by) and ``links``;
        ``after``, the column that the links follow.
    """
    rows = evidence.rows()
    if rows is None or not len(rows["object_id"]):
        return None
    order = chosen(evidence, ROWS)
    told = [one for one in evidence.task.COLUMNS if not one.length and one.name in rows]
    names = [*(name for name in FIRST if name in rows), *(one.name for one in told)]
    columns = [
        {"name": name, "unit": "deg" if name in ("ra", "dec") else "", "description": text}
        for name, text in (
            ("object_id", "Object, as the input names it."),
            ("ra", "Right ascension, ICRS."),
            ("dec", "Declination, ICRS."),
        )
        if name in names
    ]
    columns += [
        {"name": one.name, "unit": one.unit, "description": one.description} for one in told
    ]
    for column in columns:
        column["number"] = rows[column["name"]].dtype.kind in "fiub"
    if "flags" in rows:
        words = "What to be careful of; empty if nothing."
        columns.append({"name": "flags", "unit": "", "description": words, "number": False})
    store = evidence.run.store("store", evidence.task.SET)
    side = store.header.size * store.header.pixel_scale if store else 60.0
    return {
        "text": _words(evidence, len(order), len(rows["object_id"])),
        "columns": columns,
        "after": evidence.column,
        "rows": [_row(rows, row, columns, side) for row in order],
    }


def _words(evidence: Evidence, shown: int, n: int) -> str:
    if shown == n:
        what = f"All {n:,} rows"
    elif evidence.ranks:
        what = f"The {shown:,} rows of {n:,} with the highest {evidence.column}"
    else:
        what = f"{shown:,} rows of {n:,}, at even steps in the order of {evidence.column}"
    file = evidence.run.catalogs / f"{evidence.name}.parquet"
    return f"{what}; the whole catalog is {file}."


def _row(rows: dict, row: int, columns: list[dict], side: float) -> dict:
    place = [float(rows[name][row]) if name in rows else math.nan for name in ("ra", "dec")]
    cells = [_cell(column["name"], rows[column["name"]][row]) for column in columns]
    return {"id": str(rows["object_id"][row]), "cells": cells, "links": links(*place, side)}


def _cell(name: str, value) -> dict:
    """Return a cell's text, and what it is sorted by: a number in full, empty where missing."""
    if name == "flags":
        text = ", ".join(word for word, bit in FLAGS.items() if int(value) & bit)
        return {"text": text, "key": text}
    if isinstance(value, np.floating):
        if not np.isfinite(value):
            return {"text": "", "key": ""}
        digits = f"{value:.5f}" if name in ("ra", "dec") else f"{value:#.4g}".rstrip(".")
        return {"text": digits, "key": repr(float(value))}
    return {"text": str(value), "key": str(value)}
