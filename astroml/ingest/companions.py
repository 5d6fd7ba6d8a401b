"""What lies beside the image: masks and noise, in whatever words a survey says them."""

from __future__ import annotations

import numpy as np

from astroml.ingest.measure import UNUSABLE, sky_noise
from astroml.store import MASK
from astroml.survey import Layout


def translate(found: np.ndarray, header, layout: Layout) -> np.ndarray:
    """Translate a survey's mask plane as its layout says: bits, named planes or codes.

    Parameters
    ----------
    found : (y, x) array
    header : mapping
        Of the mask's HDU.
    layout : Layout

    Returns
    -------
    (y, x) uint8 array
        Bits of ``store.MASK``.
    """
    if layout.mask_codes:
        mask = np.zeros(found.shape, np.uint8)
        for name, codes in layout.mask_codes.items():
            mask[np.isin(found, codes)] |= MASK[name]
        return mask
    if layout.mask_planes:
        bits = {
            name: sum({_plane_value(header, plane) for plane in planes})
            for name, planes in layout.mask_planes.items()
        }
        return our_bits(found, bits)
    return our_bits(found, layout.mask_bits)


def _plane_value(header, plane: str) -> int:
    """Return the value of a bit plane that the header names, 0 if it does not."""
    number = header.get(f"MP_{plane}")
    return 1 << int(number) if number is not None else 0


def our_bits(found: np.ndarray, bits: dict[str, int]) -> np.ndarray:
    """Translate a survey's mask plane of bits.

    Parameters
    ----------
    found : (y, x) array
        The file's mask: bits, or any value but 0 for a bad pixel.
    bits : dict
        Our name -> the file's value; empty: any value but 0 is bad.

    Returns
    -------
    (y, x) uint8 array
        Bits of ``store.MASK``.
    """
    lost = ~np.isfinite(found) if found.dtype.kind == "f" else np.zeros(found.shape, bool)
    if not bits:
        return ((found != 0) | lost).astype(np.uint8) * MASK["bad"]
    values = np.where(lost, 0, found).astype(np.int64)
    mask = lost.astype(np.uint8) * MASK["bad"]
    for name, value in bits.items():
        mask |= ((values & value) != 0).astype(np.uint8) * MASK[name]
    return mask


def inverse_variance(found: np.ndarray, kind: str) -> np.ndarray:
    """Turn a noise plane into inverse variance.

    Parameters
    ----------
    found : (y, x) array
        Inverse variance, variance, rms or relative weight, as ``kind`` says.
    kind : {'ivar', 'variance', 'rms', 'weight'}

    Returns
    -------
    (y, x) float32 array
        0 where the plane holds no positive finite number; of a weight, still without its factor.
    """
    found = found.astype(np.float64)
    usable = np.isfinite(found) & (found > 0)
    found[~usable] = 1.0
    with np.errstate(over="ignore", under="ignore"):
        ivar = {"variance": 1 / found, "rms": found**-2.0}.get(kind, found)
        return np.where(usable & np.isfinite(ivar), ivar, 0).astype(np.float32)


def weigh(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Turn relative weights into inverse variance by the scatter of the background.

    Differences between neighbours do not see the sources' slow changes; their median absolute
    value, times the root of the weight, is the noise of weight 1. Noise that is correlated from
    pixel to pixel comes out too small, as it does in any measure on pixels.

    Parameters
    ----------
    image, weight : (y, x) array

    Returns
    -------
    (y, x) float32 array
        0 everywhere if fewer than 32 pixels tell the noise.
    """
    left, right = np.asarray(image[:, :-1], float), np.asarray(image[:, 1:], float)
    both = np.minimum(weight[:, :-1], weight[:, 1:])
    usable = (both > 0) & np.isfinite(left) & np.isfinite(right)
    if usable.sum() < 32:
        return np.zeros_like(weight)
    steps = np.abs(right - left)[usable] * np.sqrt(both[usable] / 2)
    scatter = 1.4826 * np.median(steps)
    return (weight / scatter**2).astype(np.float32) if scatter > 0 else np.zeros_like(weight)


def without_sky(image: np.ndarray, mask: np.ndarray, ivar: np.ndarray | None) -> np.ndarray:
    """Subtract the clipped median of the background, where there is enough of it to tell.

    All that was read counts, which is more than the cutout: the wings of a bright source in the
    middle are then not taken for sky.
    """
    good = ((mask & UNUSABLE) == 0) & np.isfinite(image)
    if ivar is not None:
        good &= ivar > 0
    level = sky_noise(image[None], good[None])[1][0]
    return image - level if np.isfinite(level) else image
