"""Files that differ by their number alone, as one word: ``store/galaxy/{0..9999}.h5``.

A command that reads thousands of shards could not be started otherwise: what a shell is told in one
line is limited to 128 kB on Linux.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

RANGE = re.compile(r"([^{}]*/|)\{(\d+)\.\.(\d+)\}([^{}/]*)")
"""Folder, first and last number, ending. No other braces: options in JSON are left alone."""


def numbered(files: Iterable[str]) -> list[str]:
    """Return the files as one word if they are numbered from 0 in one folder, else as they are.

    Parameters
    ----------
    files : iterable of str
        Paths, such as ``a/0.h5``, ``a/1.h5``.

    Returns
    -------
    list of str
        Such as ``a/{0..1}.h5``; ``spelled_out`` gives the files back.
    """
    files = list(files)
    if len(files) < 2 or "{" in files[0]:
        return files
    name = os.path.basename(files[0])
    folder, ending = files[0].removesuffix(name), name.removeprefix("0")
    if files != [f"{folder}{n}{ending}" for n in range(len(files))]:
        return files
    return [f"{folder}{{0..{len(files) - 1}}}{ending}"]


def spelled_out(words: Iterable[str]) -> list[str]:
    """Return the words of a command line, an option with a range once for each of its files."""
    told: list[str] = []
    for word in words:
        found = RANGE.fullmatch(word)
        if not (found and told and told[-1].startswith("--")):
            told.append(word)
            continue
        option, (head, begin, end, tail) = told.pop(), found.groups()
        for n in range(int(begin), int(end) + 1):
            told += [option, f"{head}{n}{tail}"]
    return told
