"""Light of tidal features on a canvas: streams, shells, tails, plumes and fans.

A feature is a row of numbers, ``FEATURE_NAMES``; nothing here is random. Streams, tails and plumes
are chains of round Gaussians along a curve, shells and fans are sectors of ellipses.
"""

from __future__ import annotations

import math

import torch

from astroml.sky.paint import canvas_axis

NONE, ORBIT, SPIRAL, SHELLS, FAN = range(5)
"""Shapes of a feature: a piece of an orbit (stream), of a spiral (tail, plume), arcs, a fan."""

FEATURE_NAMES = (
    "shape", "x", "y", "radius", "inner", "phi", "q", "phase", "span", "ecc", "kappa", "width",
    "growth", "fade", "counter", "count", "ratio", "lumps", "lump_phase",
)  # fmt: skip
"""Numbers that describe a feature; see ``paint_features``."""

KNOTS = 192
"""Gaussians of a chain: a stream of 150 kpc and sigma 1 kpc has them 0.8 sigma apart, which leaves
ripples below 1e-5 (2 exp(-2 pi^2 / 0.8^2))."""

PIECE = 8
"""Sectors that are in memory at once."""


@torch.no_grad()
def paint_features(features: dict[str, torch.Tensor], cells: int, scale: float) -> torch.Tensor:
    """Paint features, each alone, with a brightness of order 1.

    Parameters
    ----------
    features : dict of (m,) tensors
        ``shape``; centre ``x``, ``y`` of the host, ``radius`` (its largest extent), ``inner``
        (where it begins), ``width`` (Gaussian sigma across; of shells and fans, the scale of the
        radial decay), all arcsec; ``phi`` (rad) and ``q`` turn and flatten the plane it lies in;
        ``phase`` (rad) where on the plane it begins, ``span`` (rad) how far it goes round, or the
        opening of a sector; ``ecc`` and ``kappa``, eccentricity and radial over angular frequency
        of an orbit; ``growth``, sigma at the end over that at the beginning; ``fade``, the scale of
        the decay along it in units of its length; ``counter``, brightness of a second tail on the
        other side; ``count`` shells, each ``ratio`` as large as the one before, on alternating
        sides; ``lumps``, how much brightness varies along a chain, and ``lump_phase`` (rad).
    cells : int
        Side of the canvas.
    scale : float
        Side of a cell, arcsec.

    Returns
    -------
    (m, y, x) tensor
        Light per cell.
    """
    device = features["shape"].device
    light = torch.zeros(len(features["shape"]), cells, cells, device=device)
    for shapes, way in (((ORBIT, SPIRAL), _chains), ((SHELLS, FAN), _sectors)):
        mine = torch.isin(features["shape"], torch.tensor(shapes, device=device).float())
        if mine.any():
            some = {name: features[name][mine] for name in FEATURE_NAMES}
            light[mine] = way(some, cells, scale)
    return light


@torch.no_grad()
def strew(canvas: torch.Tensor, chains: dict[str, torch.Tensor], owner, flux, scale: float) -> None:
    """Add streams and tails of known flux to a canvas, in place.

    Parameters
    ----------
    canvas : (n, band, y, x) tensor
        Flux per cell.
    chains : dict of (m,) tensors
        See ``paint_features``; shapes are ORBIT or SPIRAL.
    owner : (m,) tensor of int
        Object of each chain.
    flux : (m, band) tensor
        Flux of each chain, that beyond the canvas too.
    scale : float
        Side of a cell, arcsec.
    """
    light = _chains(chains, canvas.shape[-1], scale)
    whole = knots(chains)[3].sum(1)
    for at, which in enumerate(owner.tolist()):
        canvas[which].addcmul_(light[at] / whole[at], flux[at, :, None, None])


def _chains(some: dict[str, torch.Tensor], cells: int, scale: float) -> torch.Tensor:
    """Return the light (m, y, x) of chains: Gaussians are products, so that sums are matrices'."""
    x, y, sigma, weight = knots(some)
    edges = (torch.arange(cells + 1, device=x.device) - cells / 2) * scale

    def share(place):
        """The part of each Gaussian in each cell along one axis, (m, knot, cells)."""
        wide = (math.sqrt(2) * sigma)[..., None]
        return torch.erf((edges - place[..., None]) / wide).diff(dim=-1) / 2

    return torch.bmm((share(y) * weight[..., None]).transpose(1, 2), share(x))


def knots(some: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Return place, sigma and flux of the Gaussians of chains, each (m, KNOTS).

    An orbit is a rosette, r = p / (1 + e cos(kappa phi)), with the stars where they dwell longest:
    equal areas are swept in equal times. A spiral's radius grows as an exponential of its angle.

    Parameters
    ----------
    some : dict of (m,) tensors
        See ``paint_features``.
    """
    wide = {name: value[:, None] for name, value in some.items()}
    t = torch.linspace(0, 1, KNOTS, device=wide["x"].device)
    orbit = wide["shape"] == ORBIT
    # Every second knot of a spiral lies on the other side.
    other = (torch.arange(KNOTS, device=t.device) % 2 == 1) & (wide["counter"] > 0)
    turn = wide["phase"] + wide["span"] * torch.where(orbit, t - 0.5, t)
    wave = 1 + wide["ecc"] * torch.cos(wide["kappa"] * turn)
    rosette = wide["radius"] * (1 - wide["ecc"]) / wave
    arm = wide["inner"] * (wide["radius"] / wide["inner"]) ** t
    r = torch.where(orbit, rosette, arm)
    turn = turn + torch.where(orbit, 0.0, math.pi * other)
    u, v = r * torch.cos(turn), r * torch.sin(turn) * wide["q"]
    c, s = torch.cos(wide["phi"]), torch.sin(wide["phi"])
    x, y = wide["x"] + c * u - s * v, wide["y"] + s * u + c * v
    ends = torch.exp(-0.5 * ((t - 0.5) / wide["fade"].clamp(min=0.05)) ** 2)
    along = torch.where(orbit, ends * r**2, torch.exp(-t / wide["fade"]) * _pace(wide, t))
    # Three waves whose lengths have no common multiple: gaps and knots, as streams have.
    lumps = sum(torch.cos(k * t + (1 + k) * wide["lump_phase"]) for k in (4.3, 9.1, 17.7)) / 3
    weight = along * torch.where(other, wide["counter"], 1.0) * (1 + wide["lumps"] * lumps)
    sigma = wide["width"] * (1 + (wide["growth"] - 1) * t)
    return x, y, sigma, weight / wide["width"]


def _pace(wide: dict[str, torch.Tensor], t: torch.Tensor) -> torch.Tensor:
    """Return the length of a spiral per unit of ``t``, so that brightness follows its fading."""
    log = torch.log(wide["radius"] / wide["inner"])
    return wide["inner"] * torch.exp(log * t) * torch.sqrt(log**2 + wide["span"] ** 2)


def _sectors(some: dict[str, torch.Tensor], cells: int, scale: float) -> torch.Tensor:
    """Return the light (m, y, x) of shells and fans."""
    whole = len(some["shape"])
    axis = canvas_axis(cells, scale, some["x"].device)
    parts = []
    for begin in range(0, whole, PIECE):
        piece = {name: value[begin : begin + PIECE, None, None] for name, value in some.items()}
        x, y = axis[None, None, :] - piece["x"], axis[None, :, None] - piece["y"]
        c, s = torch.cos(piece["phi"]), torch.sin(piece["phi"])
        u, v = c * x + s * y, (c * y - s * x) / piece["q"]
        r, angle = torch.sqrt(u * u + v * v), torch.atan2(v, u)
        shells = _arcs(piece, r, angle, scale)
        parts.append(torch.where(piece["shape"] == SHELLS, shells, _fan(piece, r, angle)))
    return torch.cat(parts) * scale**2


def _arcs(piece: dict, r: torch.Tensor, angle: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the brightness of shells: a sharp outer edge, an exponential decay inwards.

    Stars turn back at the edge, where they pile up (Quinn 1984, ApJ 279, 596).
    """
    light = torch.zeros_like(r)
    for which in range(int(piece["count"].max())):
        edge = piece["radius"] * piece["ratio"] ** which
        inside = ((edge - r) / scale + 0.5).clamp(0, 1)
        depth = ((edge - r) / piece["width"]).clamp(min=0)
        arc = inside * torch.exp(-depth) * _window(piece, angle, which * math.pi)
        light += arc * (which < piece["count"])
    return light


def _fan(piece: dict, r: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Return the brightness of fans: wedges that fade outwards and end softly."""
    begin = 1 - torch.exp(-((r / piece["inner"]) ** 2))
    end = torch.sigmoid((piece["radius"] - r) / (0.12 * piece["radius"]))
    return begin * end * torch.exp(-r / piece["width"]) * _window(piece, angle, 0.0)


def _window(piece: dict, angle: torch.Tensor, side: float) -> torch.Tensor:
    """Return 1 within the opening around a side, with soft ends: 0.5 at the opening's own."""
    off = torch.remainder(angle - piece["phase"] - side + math.pi, 2 * math.pi) - math.pi
    return torch.exp(-math.log(2) * (2 * off / piece["span"]).square().square())
