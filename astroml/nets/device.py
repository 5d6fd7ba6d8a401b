"""Where networks run and in which precision, decided once."""

from __future__ import annotations

import fcntl
import os
import tempfile
import warnings
from functools import cache
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from torch import nn

from astroml.errors import AstromlError
from astroml.nets.several import Together, hush

_LOCKS = []
"""Open for as long as this process lives."""


def start(device: str = "auto", together: bool = False) -> Fabric:
    """Choose the device and say so in one line.

    Parameters
    ----------
    device : str
        ``auto`` takes a CUDA GPU if there is one; ``cpu``; ``cuda``.
    together : bool
        Whether the processes that ``torchrun`` started work on one task, a GPU each.

    Returns
    -------
    Fabric
        bfloat16 where it pays and float32 elsewhere on a GPU that has it, float32 on a CPU.
    """
    with warnings.catch_warnings():
        # A driver that is too old is a warning and no GPU: the line printed below says which.
        warnings.filterwarnings("ignore", message="CUDA initialization")
        there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise AstromlError("--device cuda: no CUDA GPU on this machine; use --device cpu or auto")
    on_gpu = there and device != "cpu"
    short = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    how = {"accelerator": "cuda" if on_gpu else "cpu"}
    how |= {"precision": "bf16-mixed" if short else "32-true"}
    if TorchElasticEnvironment.detect():
        if not together:
            raise AstromlError(
                "torchrun: of all commands train alone runs as several processes; start this one "
                "by itself, and score many shards by one command for each"
            )
        fabric = several(how, on_gpu)
    else:
        # Named so that a batch system's variables do not start other processes.
        how |= {"plugins": [LightningEnvironment()], "devices": [my_gpu()] if on_gpu else 1}
        fabric = Fabric(**how)
    if on_gpu:
        torch.backends.cudnn.benchmark = True
    print(f"device: {told(fabric, short)}")
    return fabric


def several(how: dict, on_gpu: bool) -> Fabric:
    """Join the processes that ``torchrun`` started; all but the first fall silent."""
    here, all_ = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    if on_gpu and here > torch.cuda.device_count():
        raise AstromlError(
            f"torchrun: {here} processes on a machine of {torch.cuda.device_count()} GPUs; start "
            "one process for each GPU (--nproc-per-node)"
        )
    how = how | {"devices": here, "num_nodes": all_ // here}
    fabric = Fabric(**how, strategy=Together(), plugins=[TorchElasticEnvironment()])
    fabric.launch()
    hush(fabric)
    return fabric


def told(fabric: Fabric, short: bool) -> str:
    """Return the device and the precision in words."""
    if fabric.device.type == "cuda":
        text = torch.cuda.get_device_name(fabric.device)
        count = torch.cuda.device_count()
        text += f" (number {fabric.device.index} of {count})" if count > 1 else ""
        text += ", bfloat16 where it pays" if short else ", float32"
    else:
        threads = torch.get_num_threads()
        text = f"cpu, {threads} thread{'s' if threads > 1 else ''}, float32"
    return text + (f"; {fabric.world_size} processes" if fabric.world_size > 1 else "")


@cache
def my_gpu() -> int:
    """Return the number of this process's GPU."""
    count = torch.cuda.device_count()
    names = [str(torch.cuda.get_device_properties(at).uuid) for at in range(count)]
    return free_one(names, Path(tempfile.gettempdir())) if count > 1 else 0


def free_one(names: list[str], folder: Path) -> int:
    """Return which GPU no other process of this user has taken, and take it.

    Jobs that score the chunks of a store side by side then spread over the GPUs of a machine by
    themselves. The operating system gives a lock back when its process ends, however it ends.

    Parameters
    ----------
    names : list of str
        One for each GPU, the same in all processes.
    folder : Path
        Where the locks lie.
    """
    for at, name in enumerate(names):
        lock = (folder / f"astroml.{os.getuid()}.{name}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _LOCKS.append(lock)
        return at
    return os.getpid() % len(names)


def place(fabric: Fabric, net: nn.Module) -> nn.Module:
    """Move a network to the device, channels last: convolutions are fastest that way."""
    return fabric.to_device(net).to(memory_format=torch.channels_last)
