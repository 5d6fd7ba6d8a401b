"""Paint components and lensed sources onto a grid finer than the pixels.

Each cell of the canvas holds the flux that falls into it. Centres of profiles, where brightness
varies within a cell, are integrated on nested finer grids; so are the cells of an arc.
"""

from __future__ import annotations

import torch
from caustics.light.func import brightness_sersic, k_sersic

from astroml.sky.lensing import deflection
from astroml.sky.profiles import NONE, sersic_amplitude, surface_brightness

FINE = 2
"""Cells of the canvas along the side of a pixel."""

CORE = ((3, 4), (1, 16))
"""Nested grids around a centre: half-width in cells, samples along the side of a cell."""

WINDOWS = ((12, 2), (24, 1), (48, 1))
"""Windows that small components are painted in: half-width in cells, samples along a cell."""


def canvas_axis(cells: int, scale: float, device) -> torch.Tensor:
    """Return the positions (cells,) of cell centres, arcsec from the middle of the canvas."""
    return (torch.arange(cells, device=device, dtype=torch.float32) + 0.5 - cells / 2) * scale


def extent(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return a radius (m,) that holds about 99.8% of a component's light, arcsec.

    The light of a Sersic profile grows as the gamma law of shape 2n does, whose quantile is taken
    as its mean plus three standard deviations plus 2.
    """
    n = parts["n_sersic"]
    reach = 2 * n + 3 * torch.sqrt(2 * n) + 2
    sersic = parts["r_e"] * (reach / k_sersic(n)) ** n
    return torch.maximum(sersic, parts["r_e"] + 4 * parts["width"])


def paint(canvas: torch.Tensor, parts: dict[str, torch.Tensor], owner, flux, scale: float) -> None:
    """Add components to a canvas, in place.

    Parameters
    ----------
    canvas : (n, band, y, x) tensor
        Flux per cell.
    parts : dict of (m,) tensors
        Components, as ``surface_brightness`` takes them, without the trailing axes.
    owner : (m,) tensor of int
        Object of each component.
    flux : (m, band) tensor
        Total flux of each component.
    scale : float
        Side of a cell, arcsec.
    """
    reach = extent(parts) / scale
    off = torch.maximum(parts["x"].abs(), parts["y"].abs()) / scale - canvas.shape[-1] / 2
    todo = (parts["shape"] != NONE) & (off < reach)
    for window in (*WINDOWS, None):
        mine = todo if window is None else todo & (reach < window[0])
        todo = todo & ~mine
        if mine.any():
            some = {name: value[mine, None, None] for name, value in parts.items()}
            _paint_some(canvas, some, owner[mine], flux[mine], scale, window)


def _paint_some(canvas, parts, owner, flux, scale: float, window: tuple | None) -> None:
    """Paint components in windows of one kind, or on the whole canvas."""
    cells = canvas.shape[-1]
    row, column = (_corner(parts[name], cells, scale) for name in "yx")
    core = _window(parts, row, column, cells, scale, CORE)
    if window is not None:
        light = _window(parts, row, column, cells, scale, (window,))
        _nest(light, core)
        _deposit(canvas, light, row, column, owner, flux)
        return
    axis = canvas_axis(cells, scale, canvas.device)
    light = surface_brightness(parts, axis[None, None, :], axis[None, :, None]) * scale**2
    at, reach = torch.arange(cells, device=canvas.device), CORE[0][0]
    near = [(at >= one[:, None] - reach) & (at < one[:, None] + reach) for one in (row, column)]
    light.masked_fill_(near[0][:, :, None] & near[1][:, None, :], 0.0)
    for band in range(canvas.shape[1]):
        canvas[:, band].index_add_(0, owner, light * flux[:, band, None, None])
    _deposit(canvas, core, row, column, owner, flux)


def _corner(place, cells: int, scale: float) -> torch.Tensor:
    """Return the index (m,) of the cell corner nearest to each centre, along one axis."""
    # Centres far off the canvas are kept countable.
    return torch.round((place.flatten() / scale + cells / 2).clamp(-9999, 9999)).long()


def _window(parts, row, column, cells: int, scale: float, levels) -> torch.Tensor:
    """Return the light of cells (m, 2 half, 2 half) around each centre, flux 1 per component.

    ``levels`` are nested grids, outermost first: half-width and samples along the side of a cell.
    """
    outer = None
    for half, samples in levels:
        step = torch.arange(2 * half * samples, device=row.device, dtype=torch.float32)
        step = (step + 0.5) / samples - half  # cells from the corner
        x = ((column[:, None] - cells / 2 + step) * scale)[:, None, :]
        y = ((row[:, None] - cells / 2 + step) * scale)[:, :, None]
        light = surface_brightness(parts, x, y) * scale**2
        if samples > 1:
            light = torch.nn.functional.avg_pool2d(light, samples)
        if outer is None:
            outer = light
        else:
            _nest(outer, light)
    return outer


def _nest(outer: torch.Tensor, inner: torch.Tensor) -> None:
    """Replace the middle of windows by windows computed more finely, in place."""
    begin = (outer.shape[-1] - inner.shape[-1]) // 2
    end = begin + inner.shape[-1]
    outer[:, begin:end, begin:end] = inner


def _deposit(canvas, window, row, column, owner, flux) -> None:
    """Add windows (m, w, w) around cell corners to a canvas, in place; the rest falls off it."""
    cells, half = canvas.shape[-1], window.shape[-1] // 2
    offset = torch.arange(-half, half, device=canvas.device)
    rows, columns = row[:, None] + offset, column[:, None] + offset
    inside = [(one >= 0) & (one < cells) for one in (rows, columns)]
    window = window * (inside[0][:, :, None] & inside[1][:, None, :])
    rows, columns = rows.clamp(0, cells - 1), columns.clamp(0, cells - 1)
    flat = (owner[:, None] * canvas.shape[1] * cells + rows)[:, :, None] * cells
    flat = (flat + columns[:, None, :]).flatten()
    for band in range(canvas.shape[1]):
        light = (window * flux[:, band, None, None]).flatten()
        canvas.view(-1).index_add_(0, flat + band * cells**2, light)


def paint_arcs(canvas: torch.Tensor, lens: dict, source: dict, owner, flux, scale: float) -> None:
    """Add lensed Sersic sources to a canvas, in place, by tracing rays back to the source plane.

    Surface brightness is conserved by lensing, so each ray carries the source's. Cells whose ray
    ends near the source are sampled anew with ``ARC_SAMPLES`` rays a side.

    Parameters
    ----------
    canvas : (n, band, y, x) tensor
        Flux per cell.
    lens : dict of (m,) tensors
        See ``lensing.deflection``.
    source : dict of (m,) tensors
        ``x``, ``y`` (arcsec, source plane), ``q``, ``phi`` (rad), ``n_sersic``, ``r_e`` (arcsec).
    owner : (m,) tensor of int
        Object of each lens.
    flux : (m, band) tensor
        Unlensed flux of each source.
    scale : float
        Side of a cell, arcsec.
    """
    if not len(owner):
        return
    cells = canvas.shape[-1]
    axis = canvas_axis(cells, scale, canvas.device)
    x, y = axis[None, None, :], axis[None, :, None]
    wide = [{name: value[:, None, None] for name, value in one.items()} for one in (lens, source)]
    light, near = _trace(*wide, x, y)
    which, row, column = torch.nonzero(near > 0, as_tuple=True)
    step = (torch.arange(ARC_SAMPLES, device=canvas.device) + 0.5) / ARC_SAMPLES - 0.5
    step = step * scale
    some = [
        {name: value[which, None, None] for name, value in one.items()} for one in (lens, source)
    ]
    xs = axis[column, None, None] + step[None, None, :]
    ys = axis[row, None, None] + step[None, :, None]
    light[which, row, column] = _trace(*some, xs, ys)[0].mean((1, 2))
    light *= scale**2
    for band in range(canvas.shape[1]):
        canvas[:, band].index_add_(0, owner, light * flux[:, band, None, None])


ARC_SAMPLES = 5
"""Rays along the side of a cell that an arc crosses."""

ARC_REACH = 4.0
"""Effective radii from the source's centre within which a ray is near it."""


def _trace(lens, source, x, y) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the brightness (flux 1 before lensing) seen along rays, and whether they end near."""
    bend_x, bend_y = deflection(lens, x, y)
    at_x, at_y = x - bend_x, y - bend_y
    names = ("x", "y", "q", "phi", "n_sersic", "r_e")
    peak = sersic_amplitude(source["n_sersic"], source["r_e"], source["q"])
    k = k_sersic(source["n_sersic"])
    light = brightness_sersic(*(source[name] for name in names), peak, at_x, at_y, k)
    # The Sersic law falls with radius: its value says how far out a ray ends.
    edge = peak * torch.exp(-k * (ARC_REACH ** (1 / source["n_sersic"]) - 1))
    return light, light > edge
