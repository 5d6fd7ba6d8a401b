"""Trained weights: one safetensors file that carries all it takes to use them rightly.

The card, a JSON text, lies in the file's metadata and, for people, beside it as ``<name>.json``.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from astroml import config, tasks
from astroml.errors import AstromlError
from astroml.nets.normalise import Normalisation
from astroml.provenance import replacing
from astroml.store import Header

KEY = "astroml"
"""Where the card lies in the metadata; a single key, for several would be in no fixed order."""

FORMAT = 1
"""Version of the card; a reader refuses any other."""


def describe(task: str, settings: config.TaskOptions, header: Header, **facts) -> dict:
    """Make the card: what the weights are for, and what else is known of them."""
    return {
        "format": FORMAT,
        "task": task,
        "set": header.set,
        "survey": header.survey,
        "bands": list(header.bands),
        "size": header.size,
        "pixel_scale": header.pixel_scale,
        "unit": header.unit,
        "options": settings.model_dump(mode="json"),
        "torch": torch.__version__.split("+")[0],
        **facts,
    }


def save(path: Path, state: dict[str, Tensor], card: dict) -> None:
    """Write the weights with their card, and the card beside them."""
    text = json.dumps(card, sort_keys=True)
    tensors = {name: values.detach().cpu().contiguous() for name, values in state.items()}
    with replacing(path) as part:
        save_file(tensors, part, metadata={KEY: text})
    with replacing(Path(path).with_suffix(".json")) as part:
        part.write_text(json.dumps(card, indent=2, sort_keys=True) + "\n")


def load(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Read weights and card.

    Raises
    ------
    AstromlError
        If the file is not there, or not one that ``save`` wrote.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise AstromlError(f"{path}: no such weights; run train first") from None
    except (SafetensorError, OSError) as fault:
        raise AstromlError(f"{path}: not a safetensors file that can be read ({fault})") from None
    if KEY not in metadata:
        raise AstromlError(f"{path}: weights without astroml's card; use weights that train wrote")
    card = json.loads(metadata[KEY])
    if card.get("format") != FORMAT:
        raise AstromlError(
            f"{path}: found card format {card.get('format')}, expected {FORMAT}; train anew"
        )
    return state, card


def check(card: dict, path: Path, task: str, header: Header, store: Path) -> None:
    """Refuse weights of another task, or a store whose pixels are not those trained on."""
    if card["task"] != task:
        raise AstromlError(f"{path}: weights of task {card['task']}, not {task}; name others")
    trained = Header(
        set=card["set"],
        bands=tuple(card["bands"]),
        size=card["size"],
        pixel_scale=card["pixel_scale"],
        survey=card["survey"],
        unit=card["unit"],
    )
    wrong = trained.differences(header)
    if np.isclose(trained.pixel_scale, header.pixel_scale, rtol=1e-3):
        wrong = [clause for clause in wrong if not clause.startswith("pixel_scale")]
    if getattr(tasks.load(task), "ANY_SIZE", False):
        wrong = [clause for clause in wrong if not clause.startswith("size")]
    if wrong:
        raise AstromlError(
            f"{path} was trained on other pixels than {store} holds: {'; '.join(wrong)}; train on "
            "such a store, or ingest this one to match"
        )


def rebuild(state: dict[str, Tensor], card: dict) -> tuple[nn.Module, Normalisation]:
    """Build the network that a card describes, with its weights, and its normalisation."""
    options = config.check(tasks.load(card["task"]).Options, card["options"], "weights' card")
    net = tasks.load(card["task"], "net").build(options, tuple(card["bands"]), card["size"])
    try:
        net.load_state_dict(state)
    except RuntimeError:
        raise AstromlError(
            f"weights of task {card['task']} are of a network that is built otherwise now; "
            "train anew"
        ) from None
    return net.eval(), Normalisation(tuple(card["normalisation"]["scale"]))


def normalisation_facts(normalisation: Normalisation) -> dict:
    """Return the normalisation as the card keeps it."""
    return {"stretch": "asinh(flux / scale)", **asdict(normalisation)}


def number(value: float | None) -> float | None:
    """Return a float that JSON can hold: what could not be measured is null."""
    return float(value) if value is not None and math.isfinite(value) else None
