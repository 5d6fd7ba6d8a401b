"""Where a training run can be taken up again after it was killed."""

from __future__ import annotations

import pickle
from pathlib import Path
from zipfile import BadZipFile

import torch

from astroml import __version__
from astroml.config import TaskOptions
from astroml.provenance import VERSIONS, digest, replacing
from astroml.store import Store


def resume_key(task: str, settings: TaskOptions, store: Store, **facts) -> str:
    """Hash what changes the answer and nothing else: neither the device nor file names do."""
    left = dict.fromkeys(settings.AFTERWARDS, True) | {"train": {"encoder"}}
    options = settings.model_dump(mode="json", exclude=left)
    if settings.train.encoder:
        facts = facts | {"encoder": digest(Path(settings.train.encoder))}
    shards = [digest(shard) for shard in store.shards]
    version = [__version__, VERSIONS["train"]]
    told = {"task": task, "options": options, "shards": shards, "version": version}
    return digest(told | facts)


def save(path: Path, key: str, state: dict) -> None:
    """Write a checkpoint whole or not at all."""
    with replacing(path) as part:
        torch.save({"key": key, "state": state}, part)


def load(path: Path, key: str) -> dict | None:
    """Return the state under ``key``; None if there is none, it is another's, or unreadable."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (pickle.UnpicklingError, RuntimeError, EOFError, BadZipFile):
        print(f"{path}: a checkpoint that cannot be read; starting anew")
        return None
    if found["key"] != key:
        print(f"{path}: checkpoint of other options or another store; starting anew")
        return None
    return found["state"]
