"""Average an image over larger pixels whose sides are all but parallel to its own, and fast."""

from __future__ import annotations

import numpy as np

LARGEST_TURN = 0.01
"""Angle, rad, up to which sides count as parallel: within one new pixel of five by five old ones
the error is a twentieth of an old one's side. Beyond it ``reproject_exact`` takes minutes."""

STRAIGHT = 0.02
"""Old pixels by which the map from new pixels to old ones may differ from an affine one."""

NODES = 7
"""Points along a side at which the map is looked at."""


def averaged(layers: list[np.ndarray], source, target, size: int) -> tuple | None:
    """Return the layers' means over the pixels of a new grid, each old pixel by the area shared.

    Columns are added up first, then rows; of each the sum between the edges of the new pixels is
    read from the running sum, between whose steps a straight line is exact. Both passes follow the
    small turn of the grid, so that flux is conserved.

    Parameters
    ----------
    layers : list of (y, x) arrays
        Surface brightness, variance, bits: finite everywhere.
    source, target : WCS
        Of the layers, and of the new grid.
    size : int
        Side of the new grid, px.

    Returns
    -------
    (list of (size, size) arrays, (size, size) array) or None
        The means, NaN where nothing is shared, and the share of each new pixel that lies on the
        image; None where the new pixels are smaller, or the grids turned or bent.
    """
    found = _affine(source, target, size)
    if found is None:
        return None
    along_x, along_y = found
    high, wide = layers[0].shape
    # First pass: every old column on the new rows, where the new grid's turn moves its edges.
    new_x = (np.arange(wide) - along_x[2]) / along_x[0]
    rows = np.arange(size + 1)[:, None] - 0.5
    row_edges = along_y[0] * new_x + along_y[1] * rows + along_y[2] + 0.5  # (size + 1, wide)
    # Second pass: every new row on the new columns.
    columns = np.arange(size + 1)[:, None] - 0.5
    column_edges = along_x[0] * columns + along_x[1] * np.arange(size) + along_x[2] + 0.5

    def gathered(layer: np.ndarray) -> np.ndarray:
        return _between(_between(layer, row_edges).T, column_edges).T

    cover = gathered(np.ones((high, wide)))
    with np.errstate(invalid="ignore"):
        means = [np.where(cover > 0, gathered(one) / cover, np.nan) for one in layers]
    return means, cover / abs(along_x[0] * along_y[1])


def _affine(source, target, size: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (a, b, c) of x = a X + b Y + c, and of y; None where that is not what the map is."""
    nodes = np.linspace(-0.5, size - 0.5, NODES)
    x, y = (one.ravel() for one in np.meshgrid(nodes, nodes))
    # By way of the sky and not of its numbers: the frames may differ.
    old = source.world_to_pixel(target.pixel_to_world(x, y))
    if not np.isfinite(old).all():
        return None
    design = np.stack([x, y, np.ones_like(x)], axis=1)
    maps = [np.linalg.lstsq(design, np.asarray(one, float), rcond=None)[0] for one in old]
    off = max(np.abs(design @ each - one).max() for each, one in zip(maps, old))
    (x_x, x_y, _), (y_x, y_y, _) = maps
    finer = min(abs(x_x), abs(y_y)) < 1
    turned = abs(x_y) > LARGEST_TURN * abs(x_x) or abs(y_x) > LARGEST_TURN * abs(y_y)
    return None if off > STRAIGHT or finer or turned else (maps[0], maps[1])


def _between(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the sums of each column of (n, m) values between its edges (k + 1, m), (k, m)."""
    running = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=running[1:])
    place = np.clip(edges, 0, len(values))
    below = np.minimum(place.astype(int), len(values) - 1)
    low = np.take_along_axis(running, below, 0)
    high = np.take_along_axis(running, below + 1, 0)
    sums = np.diff(low + (place - below) * (high - low), axis=0)
    return sums if edges[-1, 0] > edges[0, 0] else -sums
