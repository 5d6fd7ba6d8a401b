"""Any model of timm's as a trunk, and weights from a file for it to start from.

timm holds some thousand image networks by name. Their weights are not fetched here: who has a file,
of timm's own or of an encoder trained on galaxies such as Zoobot's (Walmsley et al. 2023, JOSS 8,
5312), names it.
"""

from __future__ import annotations

import pickle
import sys
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor, nn

from astroml.errors import AstromlError
from astroml.nets.blocks import pooled

PREFIX = "timm/"
"""What the names of timm's models begin with in a config."""


class Timm(nn.Module):
    """A model of timm's without its classifier.

    It keeps its own stem, which the weights in a file were trained with, and its own norms: those
    with batch norm mix the members of a batch in training, though not in inference.

    Parameters
    ----------
    name : str
        Such as ``convnext_nano``.
    channels : int
        Channels of the input.
    size : int
        Side of the input, px; networks of patches are made for one.
    """

    def __init__(self, name: str, channels: int, size: int):
        super().__init__()
        self.name, timm = name, library()
        if not timm.is_model(name.split(".")[0]):
            near = timm.list_models(f"*{name.split('_')[0]}*")[:3]
            hint = f"such as {', '.join(near)}" if near else "see timm.list_models()"
            raise AstromlError(f"backbone {PREFIX}{name}: timm has no such model; {hint}")
        fixed = timm.get_pretrained_cfg(name)
        kept = {"img_size": size} if fixed and fixed.fixed_input_size else {}
        self.net = timm.create_model(
            name, pretrained=False, in_chans=channels, num_classes=0, global_pool="", **kept
        )
        self.planes = self.net.num_features
        """Channels of the last image."""
        self.features = 2 * self.planes
        """Numbers that come out per cutout."""

    def maps(self, x: Tensor) -> Tensor:
        """Map (n, channels, y, x) to the last image, (n, planes, y', x')."""
        maps = self.net.forward_features(x)
        if maps.ndim == 3:  # (n, token, plane), of a square of patches and perhaps some before it
            maps = maps[:, getattr(self.net, "num_prefix_tokens", 0) :]
            side = round(maps.shape[1] ** 0.5)
            return maps.mT.unflatten(2, (side, side))
        if maps.shape[1] != self.planes:  # (n, y, x, plane)
            return maps.permute(0, 3, 1, 2)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, y, x) to (n, features)."""
        return pooled(self.maps(x))


def library():
    """Return timm, or say how to get it."""
    try:
        import timm
    except ImportError:
        raise AstromlError(
            "backbone timm/...: timm is not installed; run pip install 'astroml-survey[zoo]'"
        ) from None
    return timm


def load_encoder(net: nn.Module, path: Path) -> None:
    """Let the trunk of a network start from weights in a file.

    Names in the file may have any prefix (as in ``encoder.stem.0.weight``), and a classifier is
    left out. Where the file's network has another number of input channels, its first layer's
    weights are averaged over them, and scaled so that as much comes out of it.

    Parameters
    ----------
    net : nn.Module
        A network whose ``trunk`` is a ``Timm``.
    path : Path
        Weights of the same model: ``.safetensors``, or what ``torch.save`` wrote of them.

    Raises
    ------
    AstromlError
        If the file cannot be read, or does not hold every tensor of the trunk.
    """
    trunk = getattr(net, "trunk", None)
    if not isinstance(trunk, Timm):
        raise AstromlError(
            "train.encoder: only a backbone of timm can start from a file; set backbone: "
            "timm/<name>, or leave encoder empty"
        )
    wanted, first, head = trunk.net.state_dict(), *places(trunk)
    state = unprefixed(read(path), first)
    unlike = getattr(sys.modules[type(trunk.net).__module__], "checkpoint_filter_fn", None)
    if unlike and lacking(state, wanted, (first, head)):
        # Older names, or patches of another image size; files of other networks are refused below.
        with suppress(KeyError, RuntimeError, ValueError):
            state = unlike(state, trunk.net)
    if first in state and state[first].shape[1] != wanted[first].shape[1]:
        inside, channels = state[first].shape[1], wanted[first].shape[1]
        mean = state[first].mean(1, keepdim=True) * (inside / channels)
        state[first] = mean.expand(-1, channels, *mean.shape[2:])
    if lost := lacking(state, wanted, (head,)):
        raise AstromlError(
            f"{path}: {len(lost)} of {len(wanted)} tensors of {PREFIX}{trunk.name} are not there, "
            f"or of another shape, such as {lost[0]}; name the backbone that the file was made with"
        )
    known = {name: values for name, values in state.items() if name in wanted}
    trunk.net.load_state_dict(known, strict=False)
    left = sorted(state.keys() - wanted.keys())
    also = f"; left out: {', '.join(left[:3])}{', ...' if len(left) > 3 else ''}" if left else ""
    print(f"encoder: {len(known)} tensors of {path}{also}")


def places(trunk: Timm) -> tuple[str, str]:
    """Return the name of the first layer's weights, and what the head's names begin with."""
    known = trunk.net.pretrained_cfg
    one = [known.get("first_conv"), known.get("classifier")]
    first, classifier = (each[0] if isinstance(each, tuple | list) else each or "" for each in one)
    return f"{first}.weight", f"{classifier.split('.')[0]}."


def lacking(state: dict, wanted: dict, but: tuple[str, ...]) -> list[str]:
    """Return the names that are wanted and not there in that shape, but for some beginnings."""
    return [
        name
        for name, values in wanted.items()
        if (name not in state or state[name].shape != values.shape) and not name.startswith(but)
    ]


def unprefixed(state: dict[str, Tensor], first: str) -> dict[str, Tensor]:
    """Return a trunk's tensors under its own names, given the name of its first."""
    found = [name for name in state if name == first or name.endswith(f".{first}")]
    prefix = min(found, key=len).removesuffix(first) if found else ""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a file of weights."""
    from timm.models import load_state_dict

    if not Path(path).is_file():
        raise AstromlError(f"{path}: no such file; train.encoder names weights on disk")
    try:
        return dict(load_state_dict(str(path), weights_only=True))
    except (RuntimeError, SafetensorError, pickle.UnpicklingError, OSError, EOFError) as fault:
        raise AstromlError(
            f"{path}: not weights that can be read ({str(fault).splitlines()[0]}); save the "
            "network's state_dict alone, as .safetensors or by torch.save"
        ) from None
