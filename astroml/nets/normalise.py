"""From calibrated pixels to what a network sees; fitted on the train split alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from astroml.errors import AstromlError
from astroml.store import MASK, Store

UNUSABLE = MASK["bad"] | MASK["cosmic"] | MASK["edge"] | MASK["nodata"]
"""Bits whose pixels are set to zero. Saturated pixels say "bright", interpolated ones were mended:
both keep their value."""

SAMPLE = 512
"""Cutouts whose pixels are looked at where a band has no noise estimate."""


@dataclass(frozen=True)
class Normalisation:
    """The stretch ``asinh(flux / scale)``, one scale per band.

    With the noise of one pixel as scale, faint and bright are both seen, and ``sinh`` of a
    network's input is exactly the flux in units of the typical noise.
    """

    scale: tuple[float, ...]
    """nJy, one per band."""

    def stretch(self, flux: Tensor) -> Tensor:
        """Return the stretched image, (n, band, y, x), of a flux in nJy."""
        scale = torch.tensor(self.scale, dtype=flux.dtype, device=flux.device)
        # Beyond 1e15 lies no sky, and the squares of what follows would overflow.
        return asinh((flux / scale[:, None, None]).clamp_(-1e15, 1e15))


def asinh(x: Tensor) -> Tensor:
    """Return the inverse hyperbolic sine; on a CPU several times faster than the library's own."""
    if torch.compiler.is_exporting():
        return torch.asinh(x)  # ONNX has no copysign
    if x.requires_grad and torch.is_grad_enabled():
        return torch.copysign(torch.log(x.abs() + torch.sqrt(x * x + 1)), x)
    # The same in place, where no gradient needs what lies between: half of the time was memory's.
    return (x * x).add_(1).sqrt_().add_(x.abs()).log_().copysign_(x)


def hypot(x: Tensor, y: Tensor) -> Tensor:
    """Return the length of (x, y); ONNX has no such function."""
    return torch.sqrt(x * x + y * y) if torch.compiler.is_exporting() else torch.hypot(x, y)


def sinh(x: Tensor) -> Tensor:
    """Return the hyperbolic sine, from 1e-6 in error; on a CPU, too, faster than the library's."""
    grown = torch.exp(x)
    return 0.5 * (grown - 1 / grown)


def usable(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Set pixels that are masked or not finite to zero.

    Parameters
    ----------
    image : (n, band, y, x) tensor
        nJy.
    mask : (n, band, y, x) tensor of uint8
        Bits of ``MASK``.

    Returns
    -------
    flux : (n, band, y, x) tensor
        nJy, finite everywhere.
    valid : (n, band, y, x) tensor of bool
        Pixels that kept their value.
    """
    # Finite: neither beyond all numbers nor none; three times as fast as to ask for it by name.
    valid = ((mask & UNUSABLE) == 0).logical_and_(image.abs() < math.inf)
    return torch.where(valid, image, 0.0), valid


def fit(store: Store, rows: np.ndarray) -> Normalisation:
    """Fit the stretch: per band the median noise of the given rows.

    Parameters
    ----------
    store : Store
        The store.
    rows : (k,) array of int
        Rows of the train split; no others are read.
    """
    sigma = store.read(rows, ("sigma",))["sigma"].astype(float)
    good = np.isfinite(sigma) & (sigma > 0)
    scale = []
    for band, name in enumerate(store.header.bands):
        if good[:, band].any():
            scale.append(float(np.median(sigma[good[:, band], band])))
        else:
            scale.append(_pixel_scatter(store, rows, band, name))
    return Normalisation(tuple(scale))


def _pixel_scatter(store: Store, rows: np.ndarray, band: int, name: str) -> float:
    """Return the robust scatter of a band's usable pixels, where the store has no noise for it."""
    some = np.sort(rows)[:: max(1, len(rows) // SAMPLE)]
    pixels = store.read(some, ("image", "mask"))
    image = pixels["image"][:, band]
    image = image[np.isfinite(image) & (pixels["mask"][:, band] & UNUSABLE == 0)]
    spread = 1.4826 * np.median(np.abs(image - np.median(image))) if image.size else 0.0
    if not spread > 0:
        raise AstromlError(
            f"{store.shards[0].parent}: band {name} has no usable pixel in the train split; "
            "leave the band out (ingest: bands) or mend its files"
        )
    return float(spread)
