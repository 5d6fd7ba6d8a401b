"""What made a file: version, options, inputs, seed. No clocks: same input gives same bytes."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from astroml import __version__
from astroml.errors import AstromlError

VERSIONS = {
    "simulate": 3,
    "ingest": 5,
    "train": 3,
    "inject": 2,
    "selection": 1,
    "infer": 6,
    "explain": 1,
    "score": 3,
    "catalog": 5,
    "report": 5,
    "notebook": 1,
}
"""Raised by hand when a stage's output changes, so that the workflow makes it anew."""


def digest(what: Any) -> str:
    """Return 16 hex digits of the SHA-256 of a file, a model, or anything JSON can hold."""
    if isinstance(what, Path):
        with what.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    if isinstance(what, BaseModel):
        what = what.model_dump(mode="json")
    text = json.dumps(what, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stamp(stage: str, options: Any, inputs: list[Path] | None = None, **facts: Any) -> dict:
    """Describe how a file is made.

    Parameters
    ----------
    stage : str
        The command, such as ``ingest``.
    options : BaseModel or dict
        What was asked for; kept whole, with its hash.
    inputs : list of Path
        Files read, each kept by name with its hash.
    **facts
        Anything else that changes the answer: bands, seed, unit.
    """
    if isinstance(options, BaseModel):
        options = options.model_dump(mode="json")
    return {
        "stage": stage,
        "version": __version__,
        "stage_version": VERSIONS.get(stage, 0),
        "options": options,
        "options_hash": digest(options),
        "inputs": _digests(inputs or []),
        **facts,
    }


def _digests(paths: list[Path]) -> dict[str, str]:
    """Return the hash of each file by its name, with its folder where two share a name."""
    names = [path.name for path in paths]
    twice = {name for name in names if names.count(name) > 1}
    return {
        f"{path.parent.name}/{path.name}" if path.name in twice else path.name: digest(path)
        for path in paths
    }


class replacing:
    """Write a file whole or not at all.

    Used as ``with replacing(path) as part:``; the block writes ``part``, which becomes ``path``
    when the block ends well and is removed when it does not. The name holds the process id, so
    that two writers never share it; what killed writers left behind goes when one succeeds.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")

    def __enter__(self) -> Path:
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise self._told(fault) or fault from None
        if not os.access(folder, os.W_OK):
            raise AstromlError(f"{folder}: cannot be written to; choose another folder")
        return self.part

    def __exit__(self, kind, fault, trace) -> None:
        if kind is None:
            os.replace(self.part, self.path)
            for left in self.path.parent.glob(f"{glob.escape(self.path.name)}.*.part"):
                left.unlink(missing_ok=True)
        else:
            self.part.unlink(missing_ok=True)
            if told := self._told(fault):
                raise told from None

    def _told(self, fault: BaseException) -> AstromlError | None:
        """Return what to tell the user of a fault of the disk; None of any other."""
        if not isinstance(fault, OSError):
            return None
        if fault.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(fault):
            return AstromlError(f"{self.path}: the disk is full; free some space and rerun")
        if fault.errno in (errno.EROFS, errno.EACCES, errno.ENOTDIR):
            about = (fault.strerror or str(fault)).lower()
            return AstromlError(f"{self.path}: cannot be written ({about}); choose another place")
        return None
