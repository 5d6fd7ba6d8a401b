"""Colour cutouts: asinh RGB with one stretch for a whole mosaic (Lupton et al. 2004)."""

from __future__ import annotations

import base64
import io

import numpy as np

from astroml.store import Store

LINE = (64, 224, 208)
"""Colour of the line around a mask: none that galaxies have."""

STRETCH = 5
"""Brightness shown as mid-grey, in units of the background noise."""

FADE = 2
"""Brightness at which a pixel has half its colour, in units of the background noise."""


DIVERGING = "RdBu_r"
"""Colours of evidence, which differ for the colour-blind too: against is blue, for is red."""


def colour_bands(bands: tuple[str, ...]) -> list[int]:
    """Return the band shown as red, green and blue: the reddest, the middle, the bluest."""
    last = len(bands) - 1
    return [last, last // 2 if last % 2 == 0 else (last + 1) // 2, 0]


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


def colour(image: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Turn fluxes into colours, with one white balance and one stretch for all.

    Parameters
    ----------
    image : (n, 3, y, x) array
        nJy; red, green, blue.
    sigma : (n, 3) array
        Background noise, nJy.

    Returns
    -------
    (n, y, x, 3) array of uint8
    """
    from astropy.visualization import make_lupton_rgb

    # Half-way to a sky whose typical object is white, so that red galaxies look red, not orange.
    bright = np.quantile(image, 0.98, axis=(2, 3))  # (n, 3)
    white = np.sqrt(np.maximum(np.median(bright, axis=0), 1e-30))
    scaled = image / white[:, None, None]
    noise = float(np.median(np.sqrt(np.mean((sigma / white) ** 2, axis=1) / 3)))
    noise = noise or 1e-3
    # Noise has no colour of its own: hue fades into grey below a few sigma.
    grey = scaled.mean(axis=1, keepdims=True)
    weight = grey**2 / (grey**2 + (FADE * noise) ** 2)
    scaled = grey + weight * (scaled - grey)
    # The sky is dark grey, not black: half of the noise would be cut off.
    floor, stretch = -noise, STRETCH * noise
    return np.stack([make_lupton_rgb(*one, minimum=floor, stretch=stretch, Q=8) for one in scaled])


def evidence(maps: list[np.ndarray]) -> tuple[list[str], float]:
    """Return PNG data URIs of maps (y, x) of evidence, red for and blue against, and their scale.

    One symmetric scale for all: full colour at the value that one pixel in 200 exceeds.
    """
    from matplotlib import colormaps

    stacked = np.stack(maps)
    limit = float(np.quantile(np.abs(stacked), 0.995)) or 1.0
    colours = colormaps[DIVERGING](0.5 + 0.5 * np.clip(stacked / limit, -1, 1))[..., :3]
    return [_png(one) for one in np.round(255 * colours).astype(np.uint8)], limit


def scale() -> str:
    """Return the colours of ``evidence`` from the most against to the most for, as CSS."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    stops = ", ".join(to_hex(one) for one in colormaps[DIVERGING](np.linspace(0, 1, 9)))
    return f"linear-gradient(to right, {stops})"


def _png(rgb: np.ndarray) -> str:
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, rgb, format="png", origin="lower", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
