"""Trained networks of a task, ready to run: one, or those of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from astroml import config, tasks
from astroml.config import TaskOptions
from astroml.errors import AstromlError
from astroml.nets import weights as trained
from astroml.nets.device import place
from astroml.nets.forward import Forward
from astroml.store import Store


@dataclass(frozen=True)
class Member:
    """A trained network, ready to run: the only one, or one of an ensemble."""

    forward: Forward
    calibration: dict
    options: TaskOptions
    learnt_from: set[str]
    """Hashes of the shards it was trained on."""


def load_members(
    task: str, files: list[Path], store: Store, fabric: Fabric, batch_size: int, late: dict
) -> list[Member]:
    """Load trained networks, and refuse what does not fit the store or each other.

    Parameters
    ----------
    task : str
        Name of the task.
    files : list of Path
        The weights.
    store : Store
        What they are to look at.
    fabric : Fabric
        Device and precision.
    batch_size : int
        See ``Forward``.
    late : dict
        Options in place of those of the cards.
    """
    module, members = tasks.load(task), []
    if not files:
        raise AstromlError("no weights given; name the files that train wrote")
    if len(files) > 1 and not hasattr(module, "combine"):
        raise AstromlError(
            f"task {task} cannot merge the rows of several networks; name one weights file"
        )
    if len(set(files)) < len(files):
        raise AstromlError("the same weights are given twice; name each network once")
    for file in files:
        state, card = trained.load(file)
        trained.check(card, file, task, store.header, store.shards[0].parent)
        net, normalisation = trained.rebuild(state, card)
        options = config.check(module.Options, card["options"] | late, f"{file}: options")
        views, turns = getattr(options, "views", 1), getattr(module, "TURNS", {})
        placed = place(fabric, net)
        forward = Forward(fabric, placed, normalisation, batch_size, views, turns)
        learnt_from = set(card.get("provenance", {}).get("inputs", {}).values())
        members.append(Member(forward, card["calibration"], options, learnt_from))
    return members
