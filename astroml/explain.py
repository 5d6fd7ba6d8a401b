"""Why the best candidates score as they do: maps of the evidence in their cutouts."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from astroml import tasks
from astroml.errors import AstromlError
from astroml.nets.batches import make_ready, read_batches, to_device
from astroml.nets.device import start
from astroml.nets.members import Member, load_members
from astroml.nets.saliency import integrated_gradients
from astroml.progress import Progress
from astroml.provenance import digest, replacing, stamp
from astroml.rows import read_rows
from astroml.store import FLAGS, Store, open_store

BATCH = 16
"""Cutouts per gradient."""


def explain(
    task: str,
    rows_paths: list[Path],
    store_paths: list[Path],
    weights: list[Path],
    out: Path,
    *,
    top: int = 24,
    device: str = "auto",
) -> None:
    """Write maps of the evidence of the objects that score highest.

    Parameters
    ----------
    task : str
        Name of the task; its ``EXPLAINED`` names the output that is explained.
    rows_paths, store_paths : list of Path
        Rows that infer wrote, and the store they were made from.
    weights : list of Path
        The networks they were made with.
    out : Path
        HDF5 file to write: ``object_id`` (n,), the ranking column (n,), and ``map`` (n, y, x)
        float32, evidence for (above 0) and against, in units of the output; best first. Of several
        networks the mean.
    top : int
        Objects.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    """
    module = tasks.load(task)
    if not hasattr(module, "EXPLAINED"):
        raise AstromlError(f"task {task} has no output whose evidence can be drawn in the image")
    column, store = module.COLUMNS[0].name, open_store(list(store_paths))
    chosen = best(read_rows(rows_paths), column, top)
    fabric = start(device)
    members = load_members(task, weights, store, fabric, BATCH, {})
    ids = store.objects["object_id"]
    if len(lost := np.setdiff1d(chosen["object_id"], ids)):
        raise AstromlError(
            f"row {lost[0]} belongs to no object of the store; give the store that the rows were "
            "made from"
        )
    order = np.argsort(ids, kind="stable")
    which = order[np.searchsorted(ids[order], chosen["object_id"])]
    with Progress("explain", len(which)) as progress:
        maps = draw(task, store, which, members, progress)
    facts = stamp(
        "explain", {"top": top}, store.shards, task=task, weights=[digest(one) for one in weights]
    )
    with replacing(out) as part, h5py.File(part, "w") as file:
        for name, values in chosen.items():
            file[name] = np.char.encode(values, "utf-8") if values.dtype.kind == "U" else values
        file["map"] = maps
        file.attrs.update(
            task=task, column=column, output=module.EXPLAINED, provenance=json.dumps(facts)
        )
    print(f"wrote {out}: {len(which)} maps")


def best(rows: dict[str, np.ndarray], column: str, top: int) -> dict[str, np.ndarray]:
    """Return id and value of the rows that lie highest in a column, those without data left out."""
    usable = np.flatnonzero((rows["flags"] & FLAGS["no_data"]) == 0)
    ids, values = rows["object_id"][usable], rows[column][usable]
    order = np.lexsort((ids, -values.astype(float)))[:top]
    return {"object_id": ids[order], column: values[order]}


def draw(
    task: str, store: Store, which: np.ndarray, members: list[Member], progress: Progress
) -> np.ndarray:
    """Return the maps (k, y, x) of some rows (k,) of a store, the mean over the networks.

    They are what the task's ``net.evidence(net, batch)`` draws, and where it has none integrated
    gradients of the output that is explained.
    """
    output = tasks.load(task).EXPLAINED
    size, own = store.header.size, getattr(tasks.load(task, "net"), "evidence", None)
    maps = [np.zeros((0, size, size), np.float32)]
    for raw in read_batches(store, which, BATCH):
        total = 0.0
        for member in members:
            forward = member.forward
            ready = make_ready(to_device(forward.fabric, raw), forward.normalisation)
            drawn = (
                own(forward.net, ready)
                if own
                else (integrated_gradients(forward.net, ready, output))
            )
            total = total + drawn
        maps.append((total / len(members)).cpu().numpy())
        progress.advance(len(raw["image"]))
    return np.concatenate(maps)
