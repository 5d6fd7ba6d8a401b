"""Headers looked at before astropy follows them.

astropy believes what a header says: it counts to NAXIS, multiplies sides, and seeks to where the
next HDU should be. So each header is read here first, as bytes: sizes must be whole numbers, said
once, and the next HDU is looked for no further than the file goes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from astroml.ingest.limits import LARGEST, packing, unpacked
from astroml.ingest.plain import BLOCK, LONGEST, MOST_AXES, NO_END
from astroml.ingest.reject import Reject

CARD = 80

MOST_HDUS = 10_000
"""Most HDUs that are looked through."""

FARTHEST = 8 * LARGEST
"""Bytes of a packed file that are unpacked at most, in search of an HDU."""

SIZE = re.compile(
    rb" *(?:HIERARCH +)?(Z?NAXIS\d*|Z?BITPIX|[PG]COUNT|TFIELDS|THEAP|ZTILE\d+) *=([^/]*)", re.I
)
"""Cards that say how many bytes, columns or tiles there are."""

COUNTS = ("NAXIS", "ZNAXIS", "TFIELDS")
"""Those of them that are counted to."""

WHOLE = re.compile(rb"[+-]?\d{1,40}")

BAD_END = re.compile(rb"END *[^A-Z0-9_ -]")
"""What astropy takes for an END card in one of its two ways of reading, and not in the other."""


class CutOff(Reject):
    """The file ends before an HDU does; there is none behind it."""


class Walk:
    """The headers of one file, looked at as far as they are needed.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path):
        self._steps = _steps(path)
        self._seen = 0
        self._extends = False
        self._fault: Reject | None = None

    def open(self) -> None:
        """Go as far as astropy does to open the file.

        Raises
        ------
        Reject
            If a header says what cannot be.
        """
        self.reach(0)
        if not self._extends:
            self.reach(1)

    def reach(self, hdu: int | str) -> None:
        """Go to an HDU; for a name, or a number from the end, through all of them.

        Raises
        ------
        Reject
            If a header on the way says what cannot be.
        """
        while isinstance(hdu, str) or hdu < 0 or self._seen <= hdu:
            if isinstance(self._fault, CutOff) and isinstance(hdu, str):
                return  # what has that name may lie before
            if self._fault:
                raise self._fault
            try:
                header = next(self._steps, None)
            except Reject as fault:
                self._fault = fault
                continue
            if header is None:
                return
            self._extends = self._extends or header.extends
            self._seen += 1

    def close(self) -> None:
        """Let the file go."""
        self._steps.close()


class _Header:
    """What one header says about sizes.

    Attributes
    ----------
    sizes : dict
        Name -> whole number.
    extends, groups, strange : bool
        Whether it says EXTEND = T, GROUPS = T, SIMPLE = F.
    """

    def __init__(self, path: Path, number: int, cards: list[bytes]):
        self._where = path, number
        self.sizes: dict[str, int] = {}
        for card in cards:
            if found := SIZE.match(card):
                self._note(found[1].upper().decode(), found[2].strip())
        said = {tuple(card.split(b"/")[0].split()) for card in cards if b"= " in card[:10]}
        self.extends = (b"EXTEND", b"=", b"T") in said
        self.groups = (b"GROUPS", b"=", b"T") in said
        self.strange = (b"SIMPLE", b"=", b"F") in said

    def _note(self, name: str, said: bytes) -> None:
        number = int(said) if WHOLE.fullmatch(said) else None
        before = self.sizes.setdefault(name, number)
        wrong = number is None or (name in COUNTS and not 0 <= number <= MOST_AXES)
        if wrong or (number < 0 and not name.endswith("BITPIX")):
            self._refuse(f"{name} = {said.decode('ascii', 'replace')[:30]}")
        if before != number:
            self._refuse(f"{name} = {before}, and {name} = {number}")

    def _refuse(self, about: str) -> None:
        path, number = self._where
        whose = "its header" if number == 0 else f"the header of HDU {number}"
        raise Reject("read", path, f"{whose} says {about}")

    @property
    def bytes(self) -> int | None:
        """Bytes of the pixels or table; None if it does not say."""
        count = self.sizes.get("NAXIS", 0)
        sides = [self.sizes.get(f"NAXIS{n + 1}") for n in range(count)]
        if not sides:
            return 0
        if None in sides or "BITPIX" not in self.sizes:
            return None
        if self.groups and sides[0] == 0:
            sides = sides[1:]
        pixels = 1
        for side in sides:
            pixels *= side
        more, times = self.sizes.get("PCOUNT", 0), self.sizes.get("GCOUNT", 1)
        return abs(self.sizes["BITPIX"]) * times * (more + pixels) // 8


def _steps(path: Path) -> Iterator[_Header]:
    """Yield the headers of a file until it ends."""
    packed = packing(path) is not None
    with unpacked(path) as stream:
        end = FARTHEST if packed else os.fstat(stream.fileno()).st_size
        for number in range(MOST_HDUS + 1):
            cards = _cards(path, stream)
            if not cards:
                return
            if number == MOST_HDUS:
                raise Reject("read", path, f"it has more than {MOST_HDUS} HDUs")
            header = _Header(path, number, cards)
            yield header
            if header.bytes is None or header.strange:
                return
            here = stream.tell()
            if not packed and here + header.bytes > end:
                about = f"found {end - here} bytes of pixels, expected {header.bytes}"
                raise CutOff("read", path, f"HDU {number} is cut off: {about}")
            start = here + -(-header.bytes // BLOCK) * BLOCK
            if stream.seek(min(start, end)) < start and packed and stream.read(1):
                about = f"what follows its HDU {number} begins beyond {end // 10**6} MB"
                raise Reject("read", path, f"{about}, which are unpacked at most")


def _cards(path: Path, stream) -> list[bytes]:
    """Return the cards of the header that begins here, as far as the file goes."""
    cards: list[bytes] = []
    for _ in range(LONGEST // BLOCK):
        block = stream.read(BLOCK)
        for at in range(0, len(block), CARD):
            card = block[at : at + CARD]
            if card.rstrip(b" ") == b"END":
                return cards
            if BAD_END.match(card):
                raise Reject("read", path, f"a header ends with {card[:20]!r}, expected END alone")
            cards.append(card)
        if len(block) < BLOCK:
            return cards
    raise Reject("read", path, NO_END)
