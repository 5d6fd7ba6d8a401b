"""Where networks run and in which precision, decided once."""

from __future__ import annotations

import warnings

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import nn

from astroml.errors import AstromlError


def start(device: str = "auto") -> Fabric:
    """Choose the device and say so in one line.

    Parameters
    ----------
    device : str
        ``auto`` takes a CUDA GPU if there is one; ``cpu``; ``cuda``.

    Returns
    -------
    Fabric
        bfloat16 where it pays and float32 elsewhere on a GPU, float32 on a CPU.
    """
    with warnings.catch_warnings():
        # A driver that is too old is a warning and no GPU: the line printed below says which.
        warnings.filterwarnings("ignore", message="CUDA initialization")
        there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise AstromlError("--device cuda: no CUDA GPU on this machine; use --device cpu or auto")
    on_gpu = there and device != "cpu"
    # The environment is named so that a batch system's variables do not start other processes.
    fabric = Fabric(
        accelerator="cuda" if on_gpu else "cpu",
        devices=1,
        precision="bf16-mixed" if on_gpu else "32-true",
        plugins=[LightningEnvironment()],
    )
    if on_gpu:
        torch.backends.cudnn.benchmark = True
        print(f"device: {torch.cuda.get_device_name(fabric.device)}, bfloat16 where it pays")
    else:
        threads = torch.get_num_threads()
        print(f"device: cpu, {threads} thread{'s' if threads > 1 else ''}, float32")
    return fabric


def place(fabric: Fabric, net: nn.Module) -> nn.Module:
    """Move a network to the device, channels last: convolutions are fastest that way."""
    return fabric.to_device(net).to(memory_format=torch.channels_last)
