"""The network of the redshifts: pixels and integrated fluxes to p(z)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from astroml.nets.backbones import backbone
from astroml.nets.normalise import hypot, sinh
from astroml.tasks.photoz import LABEL, Options

NJY_AT_20 = 36_308.0
"""Flux of 20th magnitude (AB), nJy."""


RINGS = (0.03, 0.06, 0.1, 0.16, 0.25, 0.4)
"""Outer radii of the rings, as parts of the cutout's side."""

WINDOW = 0.15
"""Width of the Gaussian under which the flattening is measured, as a part of the side."""

SEEN = 0.75
"""Part of the cutout's side that the network looks at."""


class Redshifts(nn.Module):
    """A classifier over redshift bins (Pasquet et al. 2019, A&A 621, A26).

    A residual network looks at the cutout, dense layers at the integrated fluxes, the light
    in rings, reddening and seeing; both meet before the last layers.
    """

    def __init__(self, options: Options, bands: int, size: int):
        super().__init__()
        self.drop_band, self.z_max = options.drop_band, options.z_max
        side = middle(torch.empty(1, 1, size, size)).shape[-1]
        self.trunk = backbone(options.backbone, 2 * bands, options.width, options.blocks, side)
        self.rings = Rings(size)
        hidden, seen = options.hidden, features_of(bands) + len(RINGS) * (2 * bands - 1) + 1
        self.fluxes = nn.Sequential(
            nn.Linear(seen, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        self.pixels = nn.Sequential(nn.Linear(self.trunk.features, hidden), nn.GELU())
        self.head = nn.Sequential(
            nn.Dropout(options.dropout),
            nn.Linear(2 * hidden, hidden),
            nn.GELU(),
            nn.Dropout(options.dropout),
            nn.Linear(hidden, options.bins),
        )

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Map a batch to ``pdf`` (n, bins), summing to 1, and ``summary`` (n, k), what was seen.

        Parameters
        ----------
        batch : dict
            ``image``, ``valid`` (n, band, y, x); ``flux``, ``flux_err``, ``mw_transmission``,
            ``psf_fwhm`` (n, band); ``ebv``, ``r_half`` (n,).
        """
        shown = self.choose_bands(batch)
        image = middle(batch["image"]) * shown[..., None, None]
        valid = (middle(batch["valid"]) & shown[..., None, None]).to(image.dtype)
        table = measured(batch, shown)
        rings = self.rings(batch["image"] * shown[..., None, None])
        pixels = self.pixels(self.trunk(torch.cat([image / 3, valid], dim=1)))
        fluxes = self.fluxes(torch.cat([table, rings], dim=1))
        logits = self.head(torch.cat([pixels, fluxes], dim=1))
        return {"pdf": torch.softmax(logits.float(), dim=1), "summary": table}

    def choose_bands(self, batch: dict[str, Tensor]) -> Tensor:
        """Return which bands (n, band) the network may see: in training, now and then not all."""
        shown = batch["valid"].flatten(2).any(2)
        if not self.training or not self.drop_band:
            return shown
        kept = torch.rand(shown.shape, device=shown.device) >= self.drop_band
        # An object of which nothing is left teaches nothing.
        return torch.where((shown & kept).any(1, keepdim=True), shown & kept, shown)


class Rings(nn.Module):
    """The light in rings around the middle, and how flat the galaxy is.

    Bulge and disc have colours of their own, of which the integrated colours are a mixture. A
    network whose layers normalise each cutout finds small differences of colour slowly.

    Parameters
    ----------
    size : int
        Side of a cutout, px.
    """

    def __init__(self, size: int):
        super().__init__()
        at = torch.arange(size) - (size - 1) / 2
        radius = torch.hypot(at[:, None], at).flatten()
        edges = torch.tensor([0.0, *RINGS]) * size
        inside = (radius[:, None] >= edges[:-1]) & (radius[:, None] < edges[1:])  # (y * x, ring)
        self.register_buffer("inside", inside.float(), persistent=False)
        window = torch.exp(-0.5 * (radius / (WINDOW * size)) ** 2)
        y, x = (one.flatten() for one in torch.meshgrid(at, at, indexing="ij"))
        moments = torch.stack([x * x - y * y, 2 * x * y, x * x + y * y], 1) * window[:, None]
        self.register_buffer("moments", moments, persistent=False)  # (y * x, 3)

    def forward(self, image: Tensor) -> Tensor:
        """Map stretched images (n, band, y, x) to (n, k) values of order one.

        They are the magnitude of each ring and band, 0 at its noise, the colours of neighbouring
        bands, and the ellipticity of all bands together.
        """
        with torch.autocast(image.device.type, enabled=False):
            flux = sinh(image.float().clamp(-40, 40)).flatten(2)  # in units of the noise
            light = flux @ self.inside  # (n, band, ring)
            noise = self.inside.sum(0).clamp(min=1).sqrt()
            mag = torch.log10((light / noise).clamp(1.0, 1e12))
            colour = mag[:, 1:] - mag[:, :-1]
            along, across, size = (flux.sum(1) @ self.moments).unbind(1)
            flat = hypot(along, across) / size.abs().clamp(min=1e-3)
        return torch.cat([mag.flatten(1), 2 * colour.flatten(1), flat.clamp(0, 2)[:, None]], dim=1)


def middle(image: Tensor) -> Tensor:
    """Return the middle of images (n, band, y, x): the galaxy, with less of its neighbours."""
    edge = round(image.shape[-1] * (1 - SEEN) / 2)
    return image[..., edge : image.shape[-2] - edge, edge : image.shape[-1] - edge]


def features_of(bands: int) -> int:
    """Return the number of values per object that ``measured`` makes."""
    return 4 * bands + (bands - 1) + 2


def measured(batch: dict[str, Tensor], shown: Tensor) -> Tensor:
    """Return what was measured of each object, each value of order one, absent ones 0.

    Magnitudes and colours are corrected for the Milky Way's dust. A flux below its error counts as
    its error: what is not seen has a limit.

    Parameters
    ----------
    batch : dict
        See ``Redshifts.forward``.
    shown : (n, band) bool tensor
        Bands that count.

    Returns
    -------
    (n, k) tensor
        Per band magnitude, signal-to-noise, seeing, and whether it is there; colours of
        neighbouring bands; size; reddening.
    """
    clear = batch["mw_transmission"]
    flux, error = batch["flux"] / clear, batch["flux_err"] / clear
    there = shown & torch.isfinite(flux) & torch.isfinite(error) & (error > 0)
    flux, error = torch.where(there, flux, 0.0), torch.where(there, error, 1.0)
    seen = torch.maximum(flux, error)
    mag = -2.5 * torch.log10((seen / NJY_AT_20).clamp(1e-12, 1e12)) * there
    both = there[:, 1:] & there[:, :-1]
    colour = (mag[:, :-1] - mag[:, 1:]) * both
    snr = torch.log1p((flux / error).clamp(0.0, 1e6)) * there
    seeing = torch.nan_to_num(batch["psf_fwhm"]).clamp(0, 10) * there
    size = torch.log(torch.nan_to_num(batch["r_half"], nan=1.0).clamp(0.05, 50.0))
    ebv = torch.nan_to_num(batch["ebv"]).clamp(-1, 10)
    rest = torch.stack([size, 10 * ebv], dim=1)
    return torch.cat([mag / 2, snr / 3, seeing - 1, there.to(mag.dtype), colour, rest], dim=1)


def build(options: Options, bands: tuple[str, ...], size: int) -> Redshifts:
    """Build the network for cutouts of ``size`` pixels in the given bands."""
    return Redshifts(options, len(bands), size)


def objectives(net: nn.Module, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the loss of the network's only part: cross-entropy with the true redshift.

    The truth is a Gaussian about the spectroscopic redshift as wide as one bin: the grid then
    shifts nothing, and few objects per bin are not learnt by heart.
    """
    pdf = net(batch)["pdf"]
    bins = pdf.shape[1]
    centres = torch.arange(bins, device=pdf.device) + 0.5  # in bins
    place = (batch[LABEL] / net_of(net).z_max * bins).clamp(0, bins)
    truth = torch.softmax(-0.5 * (centres - place[:, None]).square(), dim=1)
    yield "net", -(truth * torch.log(pdf + 1e-12)).sum(1).mean()


def net_of(net: nn.Module) -> Redshifts:
    """Return the network inside the engine's wrapping."""
    return getattr(net, "module", net)
