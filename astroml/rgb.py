"""Colour cutouts: asinh RGB with one stretch for a whole mosaic (Lupton et al. 2004)."""

from __future__ import annotations

import numpy as np

STRETCH = 5
"""Brightness shown as mid-grey, in units of the background noise."""

FADE = 2
"""Brightness at which a pixel has half its colour, in units of the background noise."""


def colour_bands(bands: tuple[str, ...]) -> list[int]:
    """Return the band shown as red, green and blue: the reddest, the middle, the bluest."""
    last = len(bands) - 1
    return [last, last // 2 if last % 2 == 0 else (last + 1) // 2, 0]


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
