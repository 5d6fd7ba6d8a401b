"""Trained weights as a file that runs without this package."""

from __future__ import annotations

from pathlib import Path

from astroml import config, tasks
from astroml.errors import AstromlError
from astroml.nets import graph, weights
from astroml.nets.device import start
from astroml.nets.forward import Forward


def export(weights_path: Path, out: Path) -> None:
    """Write a trained network as ONNX or in PyTorch's own format, and check that it says the same.

    Parameters
    ----------
    weights_path : Path
        What ``train`` wrote.
    out : Path
        File to write: ``.onnx``, which ONNX Runtime and others run, or ``.pt2``, for
        ``torch.export.load``. In it are the card of the weights and the names of inputs and
        outputs; inputs are as in a store: ``image`` (n, band, y, x) in nJy, ``mask`` the same, and
        what else the network reads.

    Raises
    ------
    AstromlError
        If there is no such format, or the file's outputs are not the network's.
    """
    if out.suffix not in graph.FORMATS:
        raise AstromlError(f"{out}: expected a file ending in {' or '.join(graph.FORMATS)}")
    state, card = weights.load(weights_path)
    module = tasks.load(card["task"])
    options = config.check(module.Options, card["options"], f"{weights_path}: options")
    net, normalisation = weights.rebuild(state, card)
    views, turns = getattr(options, "views", 1), getattr(module, "TURNS", {})
    forward = Forward(start("cpu"), net, normalisation, graph.EXAMPLES, views, turns)
    apart = graph.write(forward, card, out)
    print(f"wrote {out}: outputs within {apart:.0e} of the network's, for any number of cutouts")
