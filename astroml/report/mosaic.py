"""Pictures of the page: colour cutouts with outlines, and maps of evidence, as PNG."""

from __future__ import annotations

import base64
import io

import numpy as np

from astroml.rgb import colour, colour_bands
from astroml.store import Store

LINE = (64, 224, 208)
"""Colour of the line around a mask: none that galaxies have."""

DIVERGING = {"light": "RdBu_r", "dark": "berlin"}
"""Colours of evidence on light and on dark screens, nothing the colour of the paper in both.

They differ for the colour-blind too: against is blue, for is red.
"""


def cutouts(
    store: Store,
    object_ids: np.ndarray,
    masks: np.ndarray | None = None,
    side: int = 0,
    centres: np.ndarray | None = None,
) -> list[str]:
    """Return PNG data URIs of some objects, in the order given.

    Parameters
    ----------
    store : Store
        Where their pixels lie.
    object_ids : (k,) array
        Ids; each must be in the store.
    masks : (k, y, x) array of bool, optional
        What to draw a line around.
    side : int
        Side of the part that is drawn, px, where ``centres`` are given.
    centres : (k, 2) array, optional
        Its centre from the cutout's, px: along a row, and across the rows.

    Returns
    -------
    list of str
        Data URIs; row 0 of the pixels is at the bottom, as the survey has it.
    """
    place = {one: row for row, one in enumerate(store.objects["object_id"].tolist())}
    rows = [place[one] for one in np.asarray(object_ids).tolist()]
    if not rows:
        return []
    data = store.read(rows, names=("image", "sigma"))
    bands = colour_bands(store.header.bands)
    image = np.nan_to_num(data["image"][:, bands], posinf=0.0, neginf=0.0)
    drawn = colour(image, np.nan_to_num(data["sigma"][:, bands]))
    if masks is not None:
        drawn[rim(masks)] = LINE
    if centres is not None:
        drawn = np.stack([part(*pair, side) for pair in zip(drawn, centres)])
    return [_png(one) for one in drawn]


def part(rgb: np.ndarray, centre: np.ndarray, side: int) -> np.ndarray:
    """Return the square of a picture (y, x, 3) around a place, black where there is no picture.

    Parameters
    ----------
    rgb : (y, x, 3) array of uint8
    centre : (2,) array
        From the picture's centre, px: along a row, and across the rows.
    side : int
        Of the square, px.
    """
    corner = (np.array(rgb.shape[1::-1]) - side) / 2 + centre + 0.5
    x, y = np.floor(corner).astype(int) + side
    padded = np.pad(rgb, ((side, side), (side, side), (0, 0)))
    x, y = np.clip([x, y], 0, np.array(padded.shape[1::-1]) - side)
    return padded[y : y + side, x : x + side]


def rim(masks: np.ndarray) -> np.ndarray:
    """Return the pixels (k, y, x) just outside masks: what is marked stays to be seen."""
    from scipy.ndimage import binary_dilation

    return binary_dilation(masks, np.ones((1, 3, 3), bool)) & ~masks


def evidence(maps: list[np.ndarray]) -> tuple[list[dict[str, str]], float]:
    """Return PNG data URIs of maps (y, x) of evidence, red for and blue against, and their scale.

    One symmetric scale for all: full colour at the value that one pixel in 200 exceeds. Each map is
    drawn in both schemes, ``light`` and ``dark``.
    """
    from matplotlib import colormaps

    stacked = np.stack(maps)
    limit = float(np.quantile(np.abs(stacked), 0.995)) or 1.0
    share = 0.5 + 0.5 * np.clip(stacked / limit, -1, 1)
    drawn = [
        {
            scheme: _png(np.round(255 * colormaps[name](one)[..., :3]).astype(np.uint8))
            for scheme, name in DIVERGING.items()
        }
        for one in share
    ]
    return drawn, limit


def scale() -> dict[str, str]:
    """Return the colours of ``evidence`` from the most against to the most for, as CSS."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    stops = {
        scheme: ", ".join(to_hex(one) for one in colormaps[name](np.linspace(0, 1, 9)))
        for scheme, name in DIVERGING.items()
    }
    return {scheme: f"linear-gradient(to right, {one})" for scheme, one in stops.items()}


def _png(rgb: np.ndarray) -> str:
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, rgb, format="png", origin="lower", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
