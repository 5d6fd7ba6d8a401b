"""Names of files and HDUs: templates that a band and a row of the manifest fill in."""

from __future__ import annotations

import re
import string
from functools import cache

from astroml.errors import AstromlError
from astroml.ingest.manifest import hint
from astroml.survey import Band, Layout

SEVERAL = ";"
"""Stands between the files of one band in a cell of the manifest."""


def fill(template: str, band: str, facts: Band, row: dict) -> str:
    """Fill in a template for one band of one row."""
    label = facts.label or band
    return _for_band(template, facts, label).format_map(row | facts.names | {"band": label})


def fill_all(template: str, band: str, facts: Band, columns: dict[str, list]) -> list[str]:
    """Fill in a template for one band of many rows, whose ``columns`` are lists of one length."""
    label = facts.label or band
    known = facts.names | {"band": label}
    names = sorted(fields(template, band, facts))
    template = _for_band(template, facts, label)
    if not names:
        return [template.format_map(known)] * len(next(iter(columns.values())))
    told = zip(*(columns[name] for name in names))
    return [template.format_map(dict(zip(names, one)) | known) for one in told]


def _for_band(template: str, facts: Band, label: str) -> str:
    if facts.names or "_{band}}" in template or "{{band}" in template:
        return _inner(template, label)
    return template


@cache
def _inner(template: str, label: str) -> str:
    """Fill the band into names that are themselves made of it: ``{visit_{band}}``."""
    return re.sub(r"(?<=\{)([^{}]*)\{band\}([^{}]*)(?=\})", rf"\g<1>{label}\g<2>", template)


def fields(template: str, band: str = "", facts: Band | None = None) -> set[str]:
    """Return the columns of the manifest that a template names."""
    label = (facts.label or band) if facts else band
    try:
        parts = string.Formatter().parse(_inner(template, label))
        named = {part[1] for part in parts if part[1]}
    except ValueError as fault:
        raise AstromlError(f"layout: template {template!r}: {fault}") from None
    return named - {"band"} - set(facts.names if facts else {})


def layout_columns(layout: Layout, bands: dict[str, Band] | None = None) -> set[str]:
    """Return the manifest columns that the layout's names, axes and positions use."""
    used = set(layout.pixel_columns or ())
    for plane in (layout.image, layout.noise, layout.mask, layout.psf):
        if plane is None:
            continue
        for template in (plane.file, str(plane.hdu)):
            for band, facts in (bands or {"": None}).items():
                used |= fields(template, band, facts)
        if plane.axis == "object":
            used.add("index")
    return used


def check_columns(
    layout: Layout, columns, where: str, bands: dict[str, Band] | None = None
) -> None:
    """Refuse a manifest without the columns that the layout needs."""
    for name in sorted(layout_columns(layout, bands)):
        if name not in columns:
            raise AstromlError(
                f"{where}: no column {name!r}, which the survey's file layout needs; "
                f"{hint(name, columns)}"
            )


def exposures(row: dict, used: set[str]) -> list[dict]:
    """Return one row for each file that the row's cells name.

    Cells of the used columns with several names are taken side by side; those with one name count
    for every file. An empty cell names no file.

    Raises
    ------
    ValueError
        If two cells name different numbers of files.
    """
    lists = {
        name: [part.strip() for part in row[name].split(SEVERAL)]
        for name in used
        if isinstance(row.get(name), str) and SEVERAL in row[name]
    }
    if not lists:
        return [row]
    counts = {len(parts) for parts in lists.values()}
    if len(counts) > 1:
        raise ValueError(f"columns {', '.join(sorted(lists))} name different numbers of files")
    return [row | {name: parts[n] for name, parts in lists.items()} for n in range(counts.pop())]
