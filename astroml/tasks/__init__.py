"""The science tasks: one folder each, found by listing the folders.

A task is small functions (see ``lens`` for the model):

- ``__init__.py`` (numpy only): ``SET``, ``Options``, ``Sky``, ``COLUMNS``, ``targets``,
  ``calibrate``, ``rows``, ``score``; where it has them, ``panels`` (figures of the report,
  of labelled rows), ``catalog_panels`` (those of the whole catalog and its object table),
  ``baselines`` (columns that other methods make of a store: what they say of its test split),
  ``RIVALS`` (those of them that score as the task's own does, column -> name for people),
  ``BESIDE`` (methods whose metrics stand beside the task's own: end of their names -> name),
  ``error`` and ``ERROR`` (how wrong each labelled row is, and what that is called), ``AXES`` (names
  of what metrics are binned in), ``EXPORTS`` (further files of its catalog), ``combine`` (the rows
  of an ensemble's networks into one), ``RANKS`` and ``RANK_COLUMNS`` (columns of a whole catalog),
  ``whole`` (those of them that are no ranks, of all rows: ``(rows)`` -> name -> (n,)),
  ``TURNS`` (targets and outputs that turn with the image), ``OPTIONAL`` (targets that a labelled
  row may lack) and ``EXPLAINED`` (the output whose evidence is mapped;
  where ``net.evidence`` draws other maps, ``EVIDENCE`` says what they show)
  A task whose objects have any number of rows, as a tile of the sky has clusters, says
  ``MANY_ROWS = True``; its rows may have their own ``ra`` and ``dec``. Where objects overlap on the
  sky, ``unique(rows)`` says which rows of a whole catalog stay, (n,) bool, so that nothing is
  counted twice; the others are left out where the catalog is written. ``ANY_SIZE = True``: its
  weights score cutouts of other sides than they were trained on.
- ``net.py`` (torch): ``build``, ``objectives``; ``watch`` where validation has more to show,
  ``evidence`` where a task draws maps of its own
- ``sky.py`` (torch): ``population``; ``fresh`` where training can draw objects of its own,
  ``inject`` where a signal can be added to real pixels

A task that marks pixels names ``PLANES`` (planes of labels that training reads; where a store has
none, ``marked(targets, size, pixel_scale)`` may draw them from columns), ``MAPS`` (maps
that infer keeps beside the rows: name -> the output whose logits they are) and ``CHANNELS`` (the
names of each map's channels).
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from astroml.errors import AstromlError

NUMBER = r"-?\d+(?:\.\d+)?"
BIN = re.compile(rf"(?P<stem>.+)_(?P<low>{NUMBER})_(?P<high>{NUMBER})")
"""Name of a metric measured in a bin: ``<metric>_<axis>_<low>_<high>``."""


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

    ``kind`` says what ``data`` holds:

    - ``density``: ``x`` and ``y`` (n,) of the same kind, drawn as counts, with the line y = x;
    - ``points``: ``series``, name -> (x, y, y_err), each (k,), joined by lines; a series whose
      errors are None or 0 is drawn as a plain line to compare with; ``bands``, a list of
      (low, high) of y to shade, with a line at 0 where one holds it;
    - ``bars``: ``edges`` (k + 1,), ``counts`` (k,), and ``expected``, a number or None, shown with
      what chance alone makes of it;
    - ``curves``: ``series``, name -> (x, y), one small figure each, on the same x; ``marks``,
      name -> (number of series,), drawn as vertical lines, NaN for none;
    - ``lines``: ``series``, name -> (x, y), plain lines, the first the thickest; ``log`` for a
      logarithmic x;
    - ``scatter``: ``series``, name -> (x, y), dots, the first faint behind the others.
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


def labelled(objects: dict[str, np.ndarray], task: str, label: str) -> np.ndarray:
    """Return which rows (n,) of a store have a label for a task.

    All of them if the store has the column, unless a text column ``labels`` names the tasks that a
    row has labels for.
    """
    rows = len(objects["object_id"])
    if label not in objects:
        return np.zeros(rows, bool)
    if "labels" not in objects:
        return np.ones(rows, bool)
    return np.array([task in str(value).split() for value in objects["labels"]], bool)


def names() -> list[str]:
    """Return the names of all tasks, alphabetically."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def load(name: str, part: str = "") -> ModuleType:
    """Import a task's ``__init__`` or one of its parts (``net``, ``sky``)."""
    if name not in names():
        raise AstromlError(f"task {name!r}: no such task; there are {', '.join(names())}")
    return importlib.import_module(f"astroml.tasks.{name}" + (f".{part}" if part else ""))
