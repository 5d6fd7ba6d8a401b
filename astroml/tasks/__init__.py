"""The science tasks: one folder each, found by listing the folders.

A task is small functions (see ``lens`` for the model):

- ``__init__.py`` (numpy only): ``SET``, ``Options``, ``Sky``, ``COLUMNS``, ``targets``,
  ``calibrate``, ``rows``, ``score``; where it has them, ``panels`` (figures of the report),
  ``baselines`` (what other methods say of the same objects), ``EXPORTS`` (further files of its
  catalog), ``combine`` (the rows of an ensemble's networks into one), ``RANKS`` (columns of a whole
  catalog), ``TURNS`` (targets and outputs that turn with the image), ``OPTIONAL`` (targets that a
  labelled row may lack) and ``EXPLAINED`` (the output whose evidence is mapped)
- ``net.py`` (torch): ``build``, ``objectives``
- ``sky.py`` (torch): ``population``; ``stream`` where training can draw fresh objects, ``inject``
  where a signal can be added to real pixels
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType

from astroml.errors import AstromlError


@dataclass(frozen=True)
class Column:
    """One catalog column: what a reader must know to use it."""

    name: str
    dtype: str
    """numpy dtype, or ``str``."""
    unit: str
    """Unit in astropy's spelling; empty if it has none."""
    ucd: str
    """UCD1+ words of the IVOA."""
    description: str
    length: str = ""
    """Option that says how many values a cell holds, of a column of lists; empty for one."""


@dataclass(frozen=True)
class Panel:
    """A figure of the report, as numbers: what a task wants drawn of its truth and rows.

    ``kind`` says what ``data`` holds: ``density`` has ``x`` and ``y`` (n,) and is drawn as counts,
    with the line y = x; ``points`` has series, name -> (x, y, y_err), joined by lines, and ``bands``
    (low, high) of y to shade; ``bars`` has ``edges`` (k + 1,), ``counts`` (k,), and ``expected``, a
    number or None.
    """

    kind: str
    title: str
    alt: str
    """What a reader who cannot see it must know."""
    text: str
    """The caption."""
    x_label: str
    y_label: str
    data: dict


def names() -> list[str]:
    """Return the names of all tasks, alphabetically."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def load(name: str, part: str = "") -> ModuleType:
    """Import a task's ``__init__`` or one of its parts (``net``, ``sky``)."""
    if name not in names():
        raise AstromlError(f"task {name!r}: no such task; there are {', '.join(names())}")
    return importlib.import_module(f"astroml.tasks.{name}" + (f".{part}" if part else ""))
