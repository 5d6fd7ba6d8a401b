"""The p(z) of single objects: small drawings for below a cutout."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT, FLOOR = 120, 62, 46
"""Of the drawing, and where its x axis lies."""

NEGLIGIBLE = 0.01
"""Share of its peak below which no p(z) needs room on the axis."""


def gridded(names) -> list[str]:
    """Return which of some columns are p(z): beside them, ``_first`` and ``_step`` of a grid."""
    names = set(names)
    return sorted(name for name in names if {f"{name}_first", f"{name}_step"} <= names)


def densities(rows: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return grid and p(z) of rows, each (k, bins); None where they have none."""
    for name in gridded(rows):
        if rows[name].ndim == 2:
            first, step = (
                np.asarray(rows[f"{name}_{end}"], float)[:, None] for end in ("first", "step")
            )
            pdf = np.asarray(rows[name], float)
            return first + step * np.arange(pdf.shape[1]), pdf
    return None


def drawings(rows: dict[str, np.ndarray], truth: np.ndarray) -> list[Markup]:
    """Return p(z) of rows as SVG, on one axis in redshift for all; empty where there are none.

    Parameters
    ----------
    rows : dict
        Columns (k,), those of lists (k, bins).
    truth : (k,) array
        Known redshifts, NaN where there is none: a dashed line.
    """
    found = densities(rows)
    if found is None or not len(truth):
        return []
    grid, pdf = found
    pdf = np.where(np.isfinite(pdf), np.maximum(pdf, 0), 0)
    peak = pdf.max(1, keepdims=True)
    some = (pdf > NEGLIGIBLE * peak) & (peak > 0)
    last = np.max([*grid[some], *truth[np.isfinite(truth)], grid.min()])
    top = max(np.ceil(10 * last), 1) / 10
    return [_drawn(*one, top) for one in zip(grid, pdf, np.asarray(truth, float))]


def median(grid: np.ndarray, pdf: np.ndarray) -> float:
    """Return the median of a p(z) on the centres (bins,) of its grid; NaN if it is 0 all over."""
    whole = np.cumsum(pdf)
    return float(np.interp(0.5, whole / whole[-1], grid)) if whole[-1] > 0 else np.nan


def _drawn(grid: np.ndarray, pdf: np.ndarray, truth: float, top: float) -> Markup:
    x = lambda z: np.clip(4 + (WIDTH - 8) * np.asarray(z) / top, 4, WIDTH - 4)  # noqa: E731
    inside = grid <= top
    y = FLOOR - (FLOOR - 3) * pdf[inside] / (pdf.max() or 1)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x(grid[inside]), y))
    middle = median(grid, pdf)
    words = f"p(z) against redshift, 0 to {top:g}; median {middle:.3f}"
    lines = ""
    for name, value in (("median", middle), ("truth", truth)):
        if np.isfinite(value):
            at = f"{float(x(value)):.1f}"
            lines += f'<line class="{name}" x1="{at}" x2="{at}" y1="2" y2="{FLOOR}"></line>'
    if np.isfinite(truth):
        words += f", truth {truth:.3f}"
    return Markup(
        f'<svg class="pz" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(words)}">'
        f'<polygon points="4,{FLOOR} {points} {WIDTH - 4},{FLOOR}"></polygon>{lines}'
        f'<line class="axis" x1="4" x2="{WIDTH - 4}" y1="{FLOOR}" y2="{FLOOR}"></line>'
        f'<text x="4" y="{HEIGHT - 4}">0</text>'
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 4}" text-anchor="middle">redshift</text>'
        f'<text x="{WIDTH - 4}" y="{HEIGHT - 4}" text-anchor="end">{top:g}</text></svg>'
    )
