"""The files and HDUs that the objects of a block name, and who can be read with whom."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from astroml.ingest.templates import SEVERAL, fields, fill_all
from astroml.survey import Survey

KINDS = ("image", "mask", "noise")
"""Planes that are read together."""


@dataclass
class Names:
    """What some rows name.

    Attributes
    ----------
    columns : list of list of str
        File names, (column, row); columns that are equal are kept once.
    hdus : list of list of str
        HDU names that rows fill in, (column, row).
    column_of : dict
        (band, kind) -> number of its column of file names.
    """

    columns: list[list[str]]
    hdus: list[list[str]]
    column_of: dict[tuple[str, str], int]

    def key(self, row: int) -> tuple:
        """Return what is the same for objects on the same images."""
        return tuple(one[row] for one in (*self.columns, *self.hdus))

    def groups(self, rows: list[int]) -> tuple[list[list[int]], list[int]]:
        """Return the rows that share all their files, in groups, and those that share none."""
        shared = defaultdict(list)
        for row in rows:
            shared[self.key(row)].append(row)
        groups = list(shared.values())
        return [some for some in groups if len(some) > 1], [
            some[0] for some in groups if len(some) == 1
        ]


def find_names(survey: Survey, lists: dict[str, list]) -> Names:
    """Return the names that columns of the manifest, as lists, fill in."""
    layout = survey.layout
    names = Names([], [], {})
    for band, facts in survey.bands.items():
        for kind in KINDS:
            if (plane := getattr(layout, kind)) is None:
                continue
            files = fill_all(plane.file, band, facts, lists)
            if files not in names.columns:
                names.columns.append(files)
            names.column_of[band, kind] = names.columns.index(files)
            if fields(str(plane.hdu), band, facts):
                names.hdus.append(fill_all(plane.hdu, band, facts, lists))
    return names


def several_files(lists: dict[str, list], used: set[str]) -> set[int]:
    """Return the rows of which a used column names several files for one band."""
    return {
        row
        for name in used & set(lists)
        for row, value in enumerate(lists[name])
        if isinstance(value, str) and SEVERAL in value
    }
