"""Files that are alike: a survey's cutouts differ in their pixels and in a few numbers.

The headers of one object's files are read with care, and it is noted which cards decided anything.
Files of the same length whose headers have the same cards in the same places, with the same values
of those that decided, would be understood in the same way. So their bytes are compared, many files
at once, and their pixels taken from the same places; only the cards that say where on the sky the
image lies may differ, and are read. Any other file is left to the way that looks at each.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroml.ingest.files import Image
from astroml.ingest.find import Found, find_planes
from astroml.ingest.names import KINDS, Names
from astroml.ingest.plain import SMALL, Cards, PlainFile, PlainImage, Unusual, card_value
from astroml.ingest.planes import place_on
from astroml.ingest.reject import Reject
from astroml.ingest.tan import Tan
from astroml.ingest.together import Together, comparable, steps_between, well_inside
from astroml.survey import Survey

MOVING = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")
"""Cards that may differ from file to file: the map's pole, deg, and its pixel, from 1."""

EXAMPLES = 4
"""Objects of a block whose files are looked at as examples for others."""

FEWEST = 4
"""Objects that are worth an example."""

AT_ONCE = 2**21
"""Bytes of files that are read before their pixels are placed; they then stay in the cache."""


class Plainly:
    """Plain files and what was asked of their headers; stands in for ``Files``."""

    def __init__(self):
        self.open: dict[Path, PlainFile] = {}
        self.planes: dict[int, PlainImage] = {}
        self._images: dict[tuple, Image] = {}

    def image(self, path: Path, hdu: int | str) -> Image:
        """Return an image HDU; Unusual if it is not plain."""
        if (path, hdu) not in self._images:
            plain = self._file(path).image(hdu)
            plain.check()
            made = Image(path, f"HDU {hdu}", plain.header, plain.shape, plain.read)
            self._images[path, hdu] = made
            self.planes[id(made)] = plain
        return self._images[path, hdu]

    def primary(self, path: Path) -> Cards:
        """Return the header of a file's first HDU."""
        self._file(path).image(0)
        return self._file(path).primary

    def _file(self, path: Path) -> PlainFile:
        if path not in self.open:
            state = os.stat(path)
            if not stat.S_ISREG(state.st_mode) or state.st_size > SMALL:
                raise Unusual
            self.open[path] = PlainFile(path, state.st_size)
        return self.open[path]


@dataclass
class Pattern:
    """What files have to share to be alike.

    Attributes
    ----------
    size : int
        Bytes of a file.
    place : (m,) int array
        Bytes that have to be the same,
    value : (m,) uint8 array
        and what they are.
    """

    size: int
    place: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, file: PlainFile) -> Pattern | None:
        """Return the pattern of a small file; None if all of its header decided something."""
        raw, places = np.frombuffer(file.raw, np.uint8), []
        for start, header in file.headers:
            if header.whole:
                return None
            count = len(header.raw) // 80 + 1
            fixed = np.zeros((count, 80), bool)
            # Names and whether values follow: the same cards in the same places.
            fixed[:, :10] = True
            for n in range(count - 1):
                name = header.raw[80 * n : 80 * n + 8].decode("latin1").strip()
                fixed[n] |= name in header.asked and name not in MOVING
            places.append(start + np.flatnonzero(fixed))
        place = np.concatenate(places)
        return cls(len(raw), place, raw[place])

    def fit(self, raw: np.ndarray) -> np.ndarray:
        """Say which files (k,), of bytes (k, size), have it."""
        return (raw[:, self.place] == self.value).all(axis=1)


@dataclass
class Kind:
    """A kind of object, learnt from one: its files, and where in them its planes are.

    Attributes
    ----------
    found : list of Found
        By band.
    patterns : list of Pattern
        By column of file names.
    planes : list of dict
        By band, kind -> column of file names, first byte, dtype, shape (y, x).
    moving : list of dict
        By band, card -> first byte of its value in the file of the band's image, and the value.
    """

    found: list[Found]
    patterns: list[Pattern]
    planes: list[dict[str, tuple[int, int, np.dtype, tuple[int, int]]]]
    moving: list[dict[str, tuple[int, bytes]]]


def read_alike(
    survey: Survey, root: Path, rows: list[int], told: list[dict], names: Names
) -> Iterator[Together]:
    """Read objects that have files of their own.

    Parameters
    ----------
    survey : Survey
    root : Path
        Folder that file names start from.
    rows : list of int
        Of the block.
    told : list of dict
        Rows of the manifest, of the whole block.
    names : Names

    Yields
    ------
    Together
        Some objects at a time; their planes are only there until the next are asked for.
    """
    left = list(rows)
    for _ in range(EXAMPLES):
        if len(left) < FEWEST:
            return
        kind = learn(survey, root, left[0], told[left[0]], names)
        if kind is None:
            left = left[1:]
            continue
        step = max(AT_ONCE // sum(one.size for one in kind.patterns), 1)
        # Rows are a little longer than the files, so that numbers stay aligned in each.
        room = [np.empty((step, one.size // 8 * 8 + 8), np.uint8) for one in kind.patterns]
        done: set[int] = set()
        for start in range(0, len(left), step):
            group = _read(kind, survey, root, left[start : start + step], told, names, room)
            if group:
                done.update(group.rows.tolist())
                yield group
        if len(done) < FEWEST:
            return
        left = [row for row in left[1:] if row not in done]


def learn(survey: Survey, root: Path, row: int, told: dict, names: Names) -> Kind | None:
    """Look at one object's files; None if they are not plain or anything is wrong with them."""
    files = Plainly()
    try:
        found = [find_planes(files, survey, band, root, told) for band in survey.bands]
    except Exception:  # the object will say what is wrong
        return None
    if not comparable(found, survey) or not all(one.image[0].small for one in found):
        return None
    patterns, planes, moving = [], [], []
    for column in names.columns:
        if (path := root / column[row]) not in files.open:
            return None
        patterns.append(Pattern.of(files.open[path]))
    if None in patterns:
        return None
    for band, one in zip(survey.bands, found):
        mine = {}
        for kind in KINDS:
            if kind_of := getattr(one, kind):
                plain = files.planes[id(kind_of[0])]
                high, wide = plain.shape[-2:]
                first = plain.start + (kind_of[1] or 0) * high * wide * plain.dtype.itemsize
                column = names.column_of[band, kind]
                mine[kind] = column, first, plain.dtype, (high, wide)
        planes.append(mine)
        moving.append(_moving(files, one) if one.wcs else {})
    return Kind(found, patterns, planes, moving)


def _moving(files: Plainly, found: Found) -> dict[str, tuple[int, bytes]]:
    """Return where the values of an image's moving cards begin in its file, and what they are."""
    image = found.image[0]
    start = next(at for at, one in files.open[image.path].headers if one is image.header)
    cards = image.header.raw
    places = {}
    for at in range(len(cards) - 80, -1, -80):
        name = cards[at : at + 8].decode("latin1").strip()
        if name in MOVING and cards[at + 8 : at + 10] == b"= ":
            places[name] = start + at + 10, cards[at + 10 : at + 80]
    return places


def _read(
    kind: Kind,
    survey: Survey,
    root: Path,
    rows: list[int],
    told: list[dict],
    names: Names,
    room: list[np.ndarray],
) -> Together | None:
    """Read the objects that are of a kind."""
    folder, good = str(root), np.ones(len(rows), bool)
    paths = [[os.path.join(folder, column[row]) for row in rows] for column in names.columns]
    for mine, pattern, buffer in zip(paths, kind.patterns, room):
        good &= [_load(path, pattern.size, raw) for path, raw in zip(mine, buffer)]
        good &= pattern.fit(buffer[: len(rows)])
    shapes = [one.image[0].shape[-2:] for one in kind.found]
    on, place, steps = [], [], []
    for n in np.flatnonzero(good).tolist():
        try:
            maps = _maps(kind, room, n)
            here = place_on(shapes[0], maps[0], survey.layout, told[rows[n]])
        except (ValueError, Reject):
            continue
        if (step := steps_between(maps)) is None:
            continue
        if well_inside(here, step, shapes):
            on.append(n)
            place.append(here)
            steps.append(step)
    if not on:
        return None
    some = slice(0, len(on)) if on[-1] == len(on) - 1 else np.array(on)
    planes = [
        {
            what: _view(room[column][some], first, dtype, shape)
            for what, (column, first, dtype, shape) in mine.items()
        }
        for mine in kind.planes
    ]
    first = paths[kind.planes[0]["image"][0]]
    file = np.array([first[n] for n in on], object)
    here = np.array([rows[n] for n in on])
    return Together(here, np.array(place), np.array(steps), kind.found, planes, file)


def _load(path: str, size: int, buffer: np.ndarray) -> bool:
    """Read a file; say whether it is an ordinary one of just so many bytes."""
    try:
        # Without O_NONBLOCK a pipe would keep us waiting for its other end.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError):
        return False
    try:
        state = os.fstat(file)
        ordinary = stat.S_ISREG(state.st_mode) and state.st_size == size
        return ordinary and os.readv(file, [buffer]) == size
    except OSError:
        return False
    finally:
        os.close(file)


def _view(raw: np.ndarray, first: int, dtype: np.dtype, shape: tuple[int, int]) -> np.ndarray:
    """Return the planes (k, y, x) that begin at a byte of files (k, size)."""
    count = shape[0] * shape[1] * dtype.itemsize
    return raw[:, first : first + count].view(dtype).reshape(-1, *shape)


def _maps(kind: Kind, room: list[np.ndarray], n: int) -> list[Tan | None]:
    """Return the maps of one object's images, by band; ValueError if a number makes no sense."""
    maps: list[Tan | None] = []
    for band, (found, mine, cards) in enumerate(zip(kind.found, kind.planes, kind.moving)):
        same = mine["image"][0] == kind.planes[0]["image"][0] and cards == kind.moving[0]
        if found.wcs is None or (band and same):
            maps.append(maps[0] if band else None)
        else:
            maps.append(_map(found.wcs, memoryview(room[mine["image"][0]][n]), cards))
    return maps


def _map(usual: Tan, raw: memoryview, cards: dict[str, tuple[int, bytes]]) -> Tan:
    """Return the map that is the ``usual`` one but for the cards that differ."""
    told = {}
    for name, (at, usual_field) in cards.items():
        field = bytes(raw[at : at + len(usual_field)])
        if field != usual_field:
            told[name] = _number(field)
    pole = tuple(told.get(f"CRVAL{n + 1}", usual.pole[n]) for n in (0, 1))
    first = "CRPIX1", "CRPIX2"
    origin = tuple(
        told[name] - 1.0 if name in told else one for name, one in zip(first, usual.origin)
    )
    return Tan(pole, origin, usual.matrix)


def _number(field: bytes) -> float:
    """Return the number that a card holds; ValueError if it is none, or not finite."""
    try:
        value = float(field.partition(b"/")[0])
    except ValueError:
        value = card_value(field)
    if type(value) not in (int, float) or not abs(value) < np.inf:
        raise ValueError
    return value
