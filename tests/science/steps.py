"""Steps of an evaluation, each skipped where nothing changed, so that a stopped run goes on."""

import json
import time
from pathlib import Path

from astroml.provenance import VERSIONS, digest

SPENT: list[float] = []
"""Seconds that the steps took, those that were kept included."""


def step(out: Path, inputs: list[Path], what: list, make) -> float:
    """Make a file unless it is there and was made in the same way; return the seconds it took.

    Parameters
    ----------
    out : Path
        What ``make`` writes.
    inputs : list of Path
        Files that it reads.
    what : list
        How: the words of a command. Its stage's version counts too, and that of the sky, which
        training draws itself.
    make : callable
        Writes ``out``.
    """
    note = out.with_name(out.name + ".made")
    read = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in inputs]
    versions = [VERSIONS.get(stage) for stage in (what[0], "simulate")]
    key = digest({"what": [str(one) for one in what], "inputs": read, "versions": versions})
    if out.exists() and note.exists():
        known = json.loads(note.read_text())
        if known["key"] == key:
            print(f"kept {out}", flush=True)
            SPENT.append(known["seconds"])
            return known["seconds"]
    out.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    make()
    seconds = time.monotonic() - begun
    SPENT.append(seconds)
    note.write_text(json.dumps({"key": key, "seconds": seconds}))
    return seconds


class Evaluation:
    """The commands of a task's evaluation in one folder, each skipped where nothing changed.

    Parameters
    ----------
    task : str
        Name of the task.
    folder : Path
        Where the files go.
    astroml : callable
        Runs a command of words.
    survey : tuple of str
        Words that name the usual survey and its bands, ``--survey`` first.
    pixels : tuple
        Words that give side and scale of the cutouts.
    """

    def __init__(self, task: str, folder: Path, astroml, survey: tuple, pixels: tuple):
        self.task, self.folder, self.astroml = task, folder, astroml
        self.survey, self.pixels = survey, pixels

    def run(self, out: Path, inputs: list[Path], *words) -> float:
        """Run a command that writes ``out``; return the seconds it took."""
        return step(out, inputs, list(words), lambda: self.astroml(*words, "--out", out))

    def sky(self, name: str, options: dict, seed: int, splits="{}", survey=None) -> Path:
        """Simulate a store."""
        out = self.folder / f"{name}.h5"
        self.run(
            out, [], "simulate", "--task", self.task, "--to", "store", *(survey or self.survey),
            *self.pixels, "--seed", seed, "--splits", splits, "--options", json.dumps(options),
        )  # fmt: skip
        return out

    def train(self, name: str, data: Path, options: dict, survey=None, sky=None):
        """Train; return the weights and the seconds it took."""
        out = self.folder / f"{name}.safetensors"
        drawn = ("--sky", json.dumps(sky)) if sky else ()
        seconds = self.run(
            out, [data], "train", "--task", self.task, "--store", data,
            *(survey or self.survey)[:2], "--work", self.folder / f"{name}.work",
            "--options", json.dumps(options), *drawn,
        )  # fmt: skip
        return out, seconds

    def infer(self, data: Path, weights: Path, name: str = "") -> Path:
        """Score a store; return the rows, called as the store unless a name is given."""
        out = self.folder / f"{name or data.stem}.rows.parquet"
        words = ("infer", "--task", self.task, "--store", data, "--weights", weights)
        self.run(out, [data, weights], *words)
        return out

    def score(self, data: Path, rows: Path) -> Path:
        """Measure all rows of a store; return the metrics."""
        out = rows.with_name(rows.name.replace(".rows.parquet", ".metrics.json"))
        words = ("score", "--task", self.task, "--rows", rows, "--store", data, "--split", "all")
        self.run(out, [data, rows], *words)
        return out
