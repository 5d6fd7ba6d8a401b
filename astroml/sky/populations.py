"""The populations of one simulated survey: of one task, or of several beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from pydantic import BaseModel

from astroml import store, tasks
from astroml.config import Splits
from astroml.errors import AstromlError
from astroml.survey import Survey

BLOCK = 128
"""Objects rendered and written at once."""

APART = 10**8
"""Step in ``object_id`` from one task's objects to the next's."""

GROUPS = 2**40
"""Step in ``group`` from one task's groups to the next's."""

SEEDS = 1_000_000_007
"""Step in the seed from one task to the next: neither places nor noise are shared."""


@dataclass
class Population:
    """The objects of one task."""

    task: str
    sky: ModuleType
    seed: int
    columns: dict[str, np.ndarray]
    rows: np.ndarray
    """Those that are rendered."""

    def __len__(self) -> int:
        return len(self.rows)


def cutout_set(skies: dict[str, BaseModel]) -> str:
    """Return the cutout set that all tasks look at."""
    sets = {task: tasks.load(task).SET for task in skies}
    if len(set(sets.values())) > 1:
        told = ", ".join(f"{task} {name}" for task, name in sets.items())
        raise AstromlError(f"tasks of different cutout sets ({told}): simulate one set at a time")
    return next(iter(sets.values()))


def draw(
    skies: dict[str, BaseModel], survey: Survey, seed: int, splits: Splits | None = None
) -> list[Population]:
    """Draw the objects of each task.

    Where there are several tasks, ids and groups are kept apart, and a column ``labels`` names the
    task whose labels a row has.

    Parameters
    ----------
    skies : dict
        The ``Sky`` of each task.
    survey : Survey
        Bands, seeing and noise.
    seed : int
        Seed of the sky.
    splits : Splits, optional
        How the sky is split; absent, there is no column ``split``.
    """
    drawn = []
    for number, (task, options) in enumerate(skies.items()):
        sky = tasks.load(task, "sky")
        own = seed + number * SEEDS
        columns = sky.population(options, survey, own)
        if len(skies) > 1:
            group = columns["group"]
            columns["object_id"] = columns["object_id"] + number * APART
            columns["group"] = np.where(group < 0, -1, group + number * GROUPS)
            columns["labels"] = np.full(len(group), task)
        drawn.append(Population(task, sky, own, columns, np.arange(len(columns["object_id"]))))
    if splits:
        places = [
            np.concatenate([one.columns[name] for one in drawn]) for name in ("ra", "dec", "group")
        ]
        split = store.assign_splits(*places, splits)
        ends = np.cumsum([len(one) for one in drawn])
        for one, part in zip(drawn, np.split(split, ends[:-1])):
            one.columns["split"] = part
    for one in drawn:
        one.rows = _wanted(one.columns)
    return drawn


def _wanted(columns: dict) -> np.ndarray:
    """Return the rows to render: of a galaxy drawn several times, one outside the train split."""
    copy = columns.get("copy", np.zeros(len(columns["object_id"]), int))
    return np.flatnonzero((copy == 0) | (columns.get("split", "") == "train"))


def render_blocks(one: Population, survey: Survey, size: int, device: str) -> Iterator[tuple]:
    """Render a population block by block, in order; yield columns, pixels and labels of each.

    The next block is rendered while the caller writes the last one.
    """
    blocks = [one.rows[begin : begin + BLOCK] for begin in range(0, len(one), BLOCK)]

    def render(rows: np.ndarray) -> tuple:
        rendered = one.sky.render(one.columns, survey, size, rows, device=device, seed=one.seed)
        some = {name: values[rows] for name, values in one.columns.items()}
        labels = one.sky.labels(some, rendered)
        if "labels" in some:
            labels = labels | {"labels": some["labels"]}
        return some, rendered, labels

    with ThreadPoolExecutor(1) as ahead:
        waiting = None
        for block in blocks:
            coming = ahead.submit(render, block)
            if waiting:
                yield waiting.result()
            waiting = coming
        if waiting:
            yield waiting.result()


def without(drawn: list[Population], survey: Survey, size: int, device: str) -> dict:
    """Return, for each label of any task, what a row holds that has none: NaN or empty text."""
    empty = {}
    if len(drawn) > 1:
        for one in drawn:
            first = Population(one.task, one.sky, one.seed, one.columns, one.rows[:1])
            for _, _, labels in render_blocks(first, survey, size, device):
                for name, values in labels.items():
                    empty[name] = "" if np.asarray(values).dtype.kind in "UO" else np.nan
    return empty
