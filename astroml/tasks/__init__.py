"""The science tasks: one folder each, found by listing the folders.

A task is small functions (see ``lens`` for the model):

- ``__init__.py`` (numpy only): ``SET``, ``Options``, ``Sky``, ``COLUMNS``, ``targets``,
  ``calibrate``, ``rows``, ``score``
- ``net.py`` (torch): ``build``, ``objectives``
- ``sky.py`` (torch): ``population``, and ``inject`` where a signal can be added to real pixels
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


def names() -> list[str]:
    """Return the names of all tasks, alphabetically."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def load(name: str, part: str = "") -> ModuleType:
    """Import a task's ``__init__`` or one of its parts (``net``, ``sky``)."""
    if name not in names():
        raise AstromlError(f"task {name!r}: no such task; there are {', '.join(names())}")
    return importlib.import_module(f"astroml.tasks.{name}" + (f".{part}" if part else ""))
