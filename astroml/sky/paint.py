"""Paint components and lensed sources onto a grid finer than the pixels.

Each cell of the canvas holds the flux that falls into it. Centres of profiles, where brightness
varies within a cell, are integrated on nested finer grids; so are the cells of an arc. What varies
little within a pixel is painted on pixels.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from caustics.light.func import k_sersic

from astroml.sky.lensing import deflection
from astroml.sky.profiles import (
    NONE,
    SERSIC,
    elliptical_radius,
    sersic_terms,
    surface_brightness,
)

FINE = 2
"""Cells of the canvas along the side of a pixel."""

CORE = ((3, 4), (1, 16))
"""Nested grids around a centre: half-width in cells, samples along the side of a cell."""

WINDOWS = ((12, 2), (24, 1), (48, 1))
"""Windows that small components are painted in: half-width in cells, samples along a cell."""

NEAR = 24
"""Half-width, cells, around the centre of a smooth component within which cells are painted."""

SMOOTH = 0.35
"""Axis ratio above which a component without arms varies little within a pixel beyond ``NEAR``."""


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
    plain = (parts["shape"] == SERSIC) & (parts["arm_strength"] == 0) & (parts["q"] > SMOOTH)
    ways = [(reach < window[0], partial(_paint_window, window=window)) for window in WINDOWS]
    for fits, way in (*ways, (plain, _paint_smooth), (todo, _paint_whole)):
        mine = todo & fits
        todo = todo & ~mine
        if mine.any():
            some = {name: value[mine, None, None] for name, value in parts.items()}
            way(canvas, some, owner[mine], flux[mine], scale)


def _paint_window(canvas, parts, owner, flux, scale: float, window: tuple) -> None:
    """Paint components that lie within a window."""
    cells = canvas.shape[-1]
    row, column = (_corner(parts[name], cells, scale) for name in "yx")
    light = _window(parts, row, column, cells, scale, (window, *CORE))
    _deposit(canvas, light, row, column, owner, flux)


def _paint_whole(canvas, parts, owner, flux, scale: float) -> None:
    """Paint components on every cell of the canvas."""
    cells = canvas.shape[-1]
    row, column = (_corner(parts[name], cells, scale) for name in "yx")
    axis = canvas_axis(cells, scale, canvas.device)
    light = surface_brightness(parts, axis[None, None, :], axis[None, :, None]) * scale**2
    light.masked_fill_(_square(cells, row, column, CORE[0][0]), 0.0)
    _spread(canvas, light, owner, flux)
    core = _window(parts, row, column, cells, scale, CORE)
    _deposit(canvas, core, row, column, owner, flux)


def _paint_smooth(canvas, parts, owner, flux, scale: float) -> None:
    """Paint components that vary little within a pixel, but near their centres."""
    cells, device = canvas.shape[-1], canvas.device
    row, column = (_corner(parts[name], cells, scale) for name in "yx")
    core = _window(parts, row, column, cells, scale, CORE)
    _deposit(canvas, core, row, column, owner, flux)
    # The window's edges are also edges of pixels.
    even = [FINE * torch.div(one + 1, FINE, rounding_mode="floor") for one in (row, column)]
    light = _window(parts, *even, cells, scale, ((NEAR, 1),))
    inside = [one - two + NEAR for one, two in zip((row, column), even)]
    light.masked_fill_(_square(2 * NEAR, *inside, CORE[0][0]), 0.0)
    _deposit(canvas, light, *even, owner, flux)
    pixels = cells // FINE
    axis = canvas_axis(pixels, FINE * scale, device)
    # Pixels are painted as if all their cells shone as their middle does.
    far = surface_brightness(parts, axis[None, None, :], axis[None, :, None]) * scale**2
    far.masked_fill_(_square(pixels, *(one // FINE for one in even), NEAR // FINE), 0.0)
    coarse = torch.zeros(*canvas.shape[:2], pixels, pixels, device=device)
    _spread(coarse, far, owner, flux)
    shape = (*coarse.shape[:3], FINE, pixels, FINE)
    canvas.view(shape).add_(coarse[..., :, None, :, None])


def _square(cells: int, row, column, half: int) -> torch.Tensor:
    """Return where (m, y, x) a square around each corner (m,) is."""
    at = torch.arange(cells, device=row.device)
    near = [(at >= one[:, None] - half) & (at < one[:, None] + half) for one in (row, column)]
    return near[0][:, :, None] & near[1][:, None, :]


def _spread(canvas, light, owner, flux) -> None:
    """Add light (m, y, x) that covers a whole canvas, in place."""
    if canvas.device.type == "cpu":
        for at, which in enumerate(owner.tolist()):
            canvas[which].addcmul_(light[at], flux[at, :, None, None])
        return
    for band in range(canvas.shape[1]):
        canvas[:, band].index_add_(0, owner, light * flux[:, band, None, None])


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
    if canvas.device.type == "cpu":
        # One step per window: scattering cell by cell costs a CPU ten times as much.
        places = zip(owner.tolist(), row.tolist(), column.tolist())
        for at, (which, *middle) in enumerate(places):
            low = [max(one - half, 0) for one in middle]
            high = [min(one + half, cells) for one in middle]
            if low[0] < high[0] and low[1] < high[1]:
                there = tuple(map(slice, low, high))
                here = tuple(
                    slice(a - m + half, b - m + half) for a, b, m in zip(low, high, middle)
                )
                light = window[at][here]
                canvas[which][(slice(None), *there)].addcmul_(light, flux[at, :, None, None])
        return
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


ARC_SAMPLES = 5
"""Rays along the side of a cell that the brighter part of an arc crosses."""

ARC_REACH = (4.0, 1.0, 4.0)
"""How far from the source's centre rays end whose pixels are sampled once per cell, in effective
radii; and whose cells are sampled ``ARC_SAMPLES`` times a side: the larger of so many effective
radii and so many cells, but not beyond the first."""


def paint_arcs(canvas: torch.Tensor, lens: dict, source: dict, owner, flux, scale: float) -> None:
    """Add lensed Sersic sources to a canvas, in place, by tracing rays back to the source plane.

    Surface brightness is conserved by lensing, so each ray carries the source's. One ray is traced
    per pixel; pixels near the image of the source are traced anew cell by cell, and cells whose
    ray ends nearer still by ``ARC_SAMPLES`` rays a side.

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
    cells, device = canvas.shape[-1], canvas.device
    wide = {name: value[:, None, None] for name, value in lens.items()}
    facts = _source_facts(source)
    axis = canvas_axis(cells // FINE, FINE * scale, device)
    light, radius = _trace(wide, facts, axis[None, None, :], axis[None, :, None])
    # A small image may lie between the middles of pixels or of cells, half a diagonal off.
    slack = math.sqrt(0.5) * scale / (source["r_e"] * source["q"])
    near = radius < ((ARC_REACH[0] + FINE * slack) ** 2)[:, None, None]
    inner = torch.clamp(ARC_REACH[2] * scale / source["r_e"], *ARC_REACH[1::-1]) + slack
    which, row, column = torch.nonzero(near, as_tuple=True)
    light = light.repeat_interleave(FINE, 1).repeat_interleave(FINE, 2)
    axis = canvas_axis(cells, scale, device)
    step = torch.arange(FINE, device=device)
    rows, columns = (one[:, None] * FINE + step for one in (row, column))
    fine, radius = _rays(lens, facts, which, axis[columns], axis[rows])
    close = torch.nonzero(radius < inner[which, None, None] ** 2, as_tuple=True)
    step = ((torch.arange(ARC_SAMPLES, device=device) + 0.5) / ARC_SAMPLES - 0.5) * scale
    xs, ys = axis[columns[close[0], close[2]], None] + step, axis[rows[close[:2]], None] + step
    fine[close] = _rays(lens, facts, which[close[0]], xs, ys)[0].mean((1, 2))
    light[which[:, None, None], rows[:, :, None], columns[:, None, :]] = fine
    _spread(canvas, light.mul_(scale**2), owner, flux)


def _rays(lens, facts, which, x, y) -> tuple[torch.Tensor, torch.Tensor]:
    """Trace a small grid of rays, x and y (k, s), of each of some lenses (k,)."""
    one, other = (
        {name: value.flatten()[which, None, None] for name, value in some.items()}
        for some in (lens, facts)
    )
    return _trace(one, other, x[:, None, :], y[:, :, None])


def _source_facts(source: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what ``_trace`` needs of sources, each (m, 1, 1)."""
    wide = {name: value[:, None, None] for name, value in source.items()}
    k, amplitude = sersic_terms(wide["n_sersic"], wide["r_e"], wide["q"])
    return wide | {"k": k, "amplitude": amplitude}


def _trace(lens, source, x, y) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the brightness (flux 1 before lensing) seen along rays, and where they end.

    The latter is the square of the elliptical radius in the source, in effective radii.
    """
    bend_x, bend_y = deflection(lens, x, y)
    radius = elliptical_radius(source, x - bend_x, y - bend_y)
    light = radius.pow(0.5 / source["n_sersic"])
    return torch.addcmul(source["amplitude"], light, -source["k"], out=light).exp_(), radius
