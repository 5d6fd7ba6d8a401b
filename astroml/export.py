"""Trained weights as a file that runs without this package: a command, which loads torch late."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astroml.errors import AstromlError


def export(
    weights: Annotated[Path, typer.Option(help="Trained weights, .safetensors.")],
    out: Annotated[Path, typer.Option(help="What to write: .onnx, or .pt2 for torch.export.load.")],
) -> None:
    """Write a trained network as one file that runs without astroml, checked for equal output."""
    # In the file are the card of the weights and the names of inputs and outputs. Inputs are as in
    # a store: image (n, band, y, x) in nJy, mask the same, and what else the network reads.
    from astroml import config, tasks
    from astroml.nets import graph
    from astroml.nets import weights as trained
    from astroml.nets.device import start
    from astroml.nets.forward import Forward

    if out.suffix not in graph.FORMATS:
        raise AstromlError(f"{out}: expected a file ending in {' or '.join(graph.FORMATS)}")
    state, card = trained.load(weights)
    module = tasks.load(card["task"])
    options = config.check(module.Options, card["options"], f"{weights}: options")
    net, normalisation = trained.rebuild(state, card)
    views, turns = getattr(options, "views", 1), getattr(module, "TURNS", {})
    forward = Forward(start("cpu"), net, normalisation, graph.EXAMPLES, views, turns)
    apart = graph.write(forward, card, out)
    print(f"wrote {out}: outputs within {apart:.0e} of the network's, for any number of cutouts")
