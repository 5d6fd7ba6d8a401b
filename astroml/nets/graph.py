"""A trained network as one graph that runs without this package: ONNX, or PyTorch's own format.

In go the pixels and values of a store, out come the network's outputs: the stretch of the pixels
and the mean over the views are part of it. Calibration is not; its numbers are in the card.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from astroml.errors import AstromlError
from astroml.nets.batches import make_ready
from astroml.nets.forward import Forward
from astroml.nets.normalise import Normalisation
from astroml.provenance import replacing

EXAMPLES = 3
"""Cutouts that the graph is drawn with; it takes any number."""

CHECKED = (1, 5)
"""Numbers of cutouts that it is checked with."""


class Whole(nn.Module):
    """From what a store holds to what a network says.

    Parameters
    ----------
    forward : Forward
        The network, its stretch and its views.
    inputs : list of str
        Names of what ``forward`` is given, in order; the first two are ``image`` and ``mask``.
    outputs : list of str
        Names of what it returns, in order.
    """

    def __init__(self, forward: Forward, inputs: list[str], outputs: list[str]):
        super().__init__()
        self.net, self.inputs, self.outputs = forward.net, inputs, outputs
        self._of, self._normalisation = forward.mean_of_views, forward.normalisation

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Map the inputs to the outputs."""
        ready = make_ready(dict(zip(self.inputs, given)), self._normalisation)
        output = self._of(ready)
        return tuple(output[name].float() for name in self.outputs)


class _Watched(dict):
    """A batch that remembers what was asked of it."""

    def __init__(self, values: dict):
        super().__init__(values)
        self.asked = set()

    def __getitem__(self, name: str) -> Tensor:
        self.asked.add(name)
        return super().__getitem__(name)

    def __or__(self, other: dict) -> _Watched:
        mixed = _Watched(dict(self) | other)
        mixed.asked = self.asked
        return mixed


def example(card: dict, normalisation: Normalisation, number: int) -> dict[str, Tensor]:
    """Return made-up cutouts, as ``read_batches`` would: galaxies in noise, some pixels masked."""
    draw = torch.Generator().manual_seed(number)
    size, bands = card["size"], len(card["bands"])
    at = torch.arange(size) - (size - 1) / 2
    radius = torch.hypot(at[:, None], at)
    scale = torch.tensor(normalisation.scale)[:, None, None]
    light = 10 ** (1 + 1.5 * torch.rand((number, bands, 1, 1), generator=draw))
    noise = torch.randn((number, bands, size, size), generator=draw)
    image = (noise + light * torch.exp(-radius / (size / 12))) * scale

    def per_band(value: float) -> Tensor:
        return value * (1 + 0.2 * torch.rand((number, bands), generator=draw))

    return {
        "image": image,
        "mask": (torch.rand(image.shape, generator=draw) < 0.002).to(torch.uint8),
        "sigma": torch.tensor(normalisation.scale).expand(number, -1).clone(),
        "psf_fwhm": per_band(1.1),
        "flux": per_band(1e4),
        "flux_err": per_band(1e2),
        "mw_transmission": per_band(0.8),
        "ebv": torch.full((number,), 0.03),
        "r_half": 1 + torch.rand(number, generator=draw),
        "pixel_scale": torch.full((number,), float(card["pixel_scale"])),
    }


def whole(forward: Forward, batch: dict[str, Tensor]) -> Whole:
    """Return a network with the inputs that it reads of a batch, and its outputs."""
    ready = _Watched(make_ready(batch, forward.normalisation))
    output = forward.mean_of_views(ready)
    read = [name for name in batch if name in ready.asked or name in ("image", "mask")]
    return Whole(forward, read, list(output))


@torch.no_grad()
def write(forward: Forward, card: dict, out: Path) -> float:
    """Write a network as ``.onnx`` or ``.pt2``; return how far its outputs are from the network's.

    Parameters
    ----------
    forward : Forward
        The network, on the CPU.
    card : dict
        Its card; it goes into the file, with the names of inputs and outputs.
    out : Path
        File to write.

    Raises
    ------
    AstromlError
        If the network cannot be drawn as a graph, or the graph's outputs are not the network's.
    """
    batch = example(card, forward.normalisation, EXAMPLES)
    net = whole(forward, batch).eval()
    given = tuple(batch[name] for name in net.inputs)
    told = card | {"inputs": net.inputs, "outputs": net.outputs}
    shapes = ({0: torch.export.Dim.DYNAMIC},) * len(given)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library, about its own ways
            program = torch.export.export(net, given, dynamic_shapes=(shapes,))
    except Exception as fault:
        first = str(fault).strip().splitlines()[0]
        raise AstromlError(
            f"task {card['task']}: the network has steps that cannot be drawn as a graph ({first})"
        ) from fault
    with replacing(out) as part:
        run = FORMATS[out.suffix](program, net, json.dumps(told, sort_keys=True), part)
        return max(difference(net, run, example(card, forward.normalisation, n)) for n in CHECKED)


def difference(net: Whole, run: Callable, batch: dict[str, Tensor]) -> float:
    """Return the largest difference of a graph's outputs from a network's, and refuse a large one.

    It is in units of the larger of 1 and the output itself.
    """
    given = tuple(batch[name] for name in net.inputs)
    largest = 0.0
    for name, expected, got in zip(net.outputs, net(*given), run(given), strict=True):
        if got.shape != expected.shape:
            raise AstromlError(f"output {name}: found shape {got.shape}, expected {expected.shape}")
        apart = (got - expected).abs() / expected.abs().clamp(min=1)
        largest = max(largest, float(apart.max()))
        if not torch.allclose(got, expected, rtol=1e-3, atol=1e-3):
            raise AstromlError(
                f"output {name} of the graph differs from the network's by {largest:.1e}; the file "
                "was not written: try the other format (.onnx, .pt2)"
            )
    return largest


def _onnx(program, net: Whole, card: str, out: Path) -> Callable:
    """Write ONNX; return a function that runs what was written."""
    onnx, onnxruntime = library()
    names = {"input_names": net.inputs, "output_names": net.outputs}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(program, dynamo=True, verbose=False, **names)
    except torch.onnx.OnnxExporterError as fault:
        why = str(fault).rsplit("Error", 1)[-1].strip(" '>:").splitlines()[0]
        raise AstromlError(
            f"the network has steps that cannot be written as ONNX ({why}); write a .pt2 file"
        ) from fault
    proto = made.model_proto
    onnx.helper.set_model_props(proto, {"astroml": card})
    onnx.save(proto, out)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])

    def run(given: tuple[Tensor, ...]) -> list[Tensor]:
        named = {name: values.numpy() for name, values in zip(net.inputs, given)}
        return [torch.from_numpy(values) for values in session.run(net.outputs, named)]

    return run


def _pt2(program, net: Whole, card: str, out: Path) -> Callable:
    """Write PyTorch's own format; return a function that runs what was written."""
    with out.open("wb") as stream:
        torch.export.save(program, stream, extra_files={"astroml.json": card})
    with out.open("rb") as stream:
        again = torch.export.load(stream).module()
    return lambda given: again(*given)


FORMATS = {".onnx": _onnx, ".pt2": _pt2}
"""Endings of the files, and what writes them."""


def library():
    """Return onnx and onnxruntime, or say how to get them."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (torch asks for it)
    except ImportError:
        raise AstromlError(
            "export: onnx is not installed; run pip install 'astroml-survey[export]', or write a "
            ".pt2 file"
        ) from None
    return onnx, onnxruntime
