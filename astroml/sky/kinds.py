"""Which objects a sky holds: kinds in stated shares, pairs, and batches that nobody drew before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from astroml.errors import AstromlError
from astroml.sky.conditions import stream
from astroml.survey import Survey

LAYOUT = 0
"""Stream of random numbers of the kinds and their order; a task's own begin above it."""

FRESH = 2**32
"""Seeds of fresh batches start at multiples of this, above those that people choose."""


def refuse_unknown(what: str, given: dict[str, float], known) -> None:
    """Refuse weights by names that are not known, or below 0."""
    if odd := set(given) - set(known):
        raise AstromlError(
            f"{what}: found {', '.join(sorted(odd))}, expected some of {', '.join(known)}"
        )
    if odd := [name for name, weight in given.items() if not weight >= 0]:
        raise AstromlError(f"{what}: {odd[0]} weighs {given[odd[0]]}, expected 0 or more")


def draw_kinds(
    objects: int, positive: str, fraction: float, negatives: dict[str, float], known, seed: int
) -> np.ndarray:
    """Return the kind (n,) of each object, in a random order.

    Each kind's number is its share rounded up or down, by chance, so that the mean over many small
    populations is the share.

    Parameters
    ----------
    objects : int
        Number of objects.
    positive : str
        The kind that the task looks for.
    fraction : float
        Its share.
    negatives : dict
        Relative numbers of the other kinds.
    known : tuple of str
        All other kinds, in the order that decides what is drawn.
    seed : int
        Seed of the population.
    """
    refuse_unknown("negatives", negatives, known)
    weights = np.array([negatives.get(kind, 0.0) for kind in known])
    if not weights.sum() > 0 and fraction < 1:
        raise AstromlError("negatives: all weights are 0; give some kind a weight above 0")
    rest = (1 - fraction) * weights / max(weights.sum(), 1e-9)
    edges = objects * np.cumsum([0, fraction, *rest])
    edges[-1] = objects
    # Rounded first: 24.000000001 is 24.
    shift = stream(seed, LAYOUT, 1).random()
    counts = np.diff(np.floor(np.round(edges, 6) + shift).astype(int))
    kind = np.repeat([positive, *known], counts)
    return kind[stream(seed, LAYOUT, 0).permutation(len(kind))]


def hosts_of(kind: np.ndarray, positive: str) -> np.ndarray:
    """Return whose light each object has (n,): its own, or of a ``twin`` a positive's."""
    key = np.arange(len(kind))
    twins, hosts = np.flatnonzero(kind == "twin"), np.flatnonzero(kind == positive)
    paired = min(len(twins), len(hosts))
    key[twins[:paired]] = hosts[:paired]
    return key


def fresh_population(
    population: Callable, sky, survey: Survey, batch_size: int, seed: int, number: int
) -> tuple[dict[str, np.ndarray], int]:
    """Draw the objects of a batch that are in no other batch.

    Parameters
    ----------
    population : callable
        Of the task.
    sky : Strict
        The task's ``Sky``; ``objects`` is not used.
    survey : Survey
        Bands, seeing and noise.
    batch_size : int
        Objects; of a pair both are in the same batch.
    seed, number : int
        Which batch: both decide every draw.

    Returns
    -------
    columns : dict
        What ``population`` returned, with an ``object_id`` of its own for each.
    own : int
        Seed of the batch, of its pixel noise too.
    """
    own = (seed + 1) * FRESH + number
    columns = population(sky.model_copy(update={"objects": batch_size}), survey, own)
    return columns | {"object_id": number * batch_size + columns["object_id"]}, own


def as_stored(columns: dict, drawn: dict, labels: dict, device: str) -> dict:
    """Return a batch as a store's objects are read: pixels, what was seen, where, and labels.

    Parameters
    ----------
    columns : dict
        Of the population.
    drawn : dict
        Tensors on the device: pixels, noise, seeing.
    labels : dict
        Columns (n,).
    device : str
        ``cpu`` or ``cuda``.
    """
    ebv = torch.from_numpy(columns["ebv"].astype(np.float32)).to(device)
    where = {name: columns[name] for name in ("object_id", "ra", "dec", "group")}
    return drawn | {"ebv": ebv} | where | labels
