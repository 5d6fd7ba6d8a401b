"""Calibrate and measure a block of cutouts at once: nJy, masks, sky noise, flags."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from astroml.store import FLAGS, MASK
from astroml.survey import Survey, njy_per_unit

UNUSABLE = sum(bit for name, bit in MASK.items() if name != "interpolated")
"""Bits of pixels whose value means nothing; interpolated ones keep theirs."""

NOISY = 1000.0
"""A pixel this many times noisier than the survey's background holds no measurement."""

MUCH = 0.1
"""Masked fraction of a band from which the object is flagged ``masked``."""

CORE = 2.0
"""Radius, arcsec, within which a saturated pixel is flagged."""


BRIGHTEST = 1e15
"""No pixel of the sky holds so many nJy: Sirius in one pixel would not."""

ABSURD = 0.01
"""Share of such pixels from which a whole band is disbelieved."""


def calibrate(image, ivar, mask, zero_point, survey: Survey) -> np.ndarray:
    """Turn fluxes into nJy and mask what is no measurement, in place.

    Parameters
    ----------
    image : (n, band, y, x) float32 array
        In units of ``zero_point``; afterwards nJy, and 0 in every unusable pixel.
    ivar : (n, band, y, x) float32 array or None
        In the same units; afterwards 1/nJy^2, and 0 in every unusable pixel.
    mask : (n, band, y, x) uint8 array
        Bits of ``store.MASK``; NaN, infinite and weightless pixels become ``nodata``, constant
        bands too, and pixels with absurd noise or flux ``bad``.
    zero_point : (n, band) array
        AB magnitude of one unit.
    survey : Survey

    Returns
    -------
    (n, band) bool array
        Bands that cannot be believed, as of a file in the wrong byte order; all ``bad``.
    """
    unit = njy_per_unit(np.asarray(zero_point))[:, :, None, None]
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        image *= unit.astype(np.float32)
        if ivar is not None:
            ivar /= (unit**2).astype(np.float32)
    # The extremes of a band tell whether its pixels need a closer look: NaN and infinities show.
    highest, lowest = image.max(axis=(2, 3)), image.min(axis=(2, 3))
    constant = highest == lowest
    odd = ~((highest < BRIGHTEST) & (lowest > -BRIGHTEST))
    absurd = np.zeros(odd.shape, bool)
    if odd.any():
        pixels, bits = image[odd], mask[odd]
        bright = np.isfinite(pixels) & (np.abs(pixels) > BRIGHTEST)
        absurd[odd] = bright.mean(axis=(1, 2)) > ABSURD
        bits[~np.isfinite(pixels)] |= MASK["nodata"]
        bits[bright | absurd[odd][:, None, None]] |= MASK["bad"]
        mask[odd] = bits
    mask[constant] |= MASK["nodata"]
    if ivar is not None:
        sky = [band.sigma * njy_per_unit(band.zero_point) for band in survey.bands.values()]
        least = (1 / (NOISY * np.array(sky)) ** 2).astype(np.float32)[:, None, None]
        mask[ivar <= 0] |= MASK["nodata"]
        mask[(ivar > 0) & (ivar < least)] |= MASK["bad"]
    unusable = (mask & UNUSABLE) != 0
    image[unusable] = 0
    if ivar is not None:
        ivar[unusable] = 0
    return absurd


def sky_noise(image: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure the noise of one pixel of background.

    Sources are found in the image smoothed over 5 x 5 pixels and left out; what remains is clipped
    at 3 sigma; the noise is the scatter below the median, where no faint source adds any.

    Parameters
    ----------
    image : (..., y, x) float32 array
    usable : (..., y, x) bool array
        True where a pixel counts.

    Returns
    -------
    sigma, level : (...) float32 array
        Noise and median of the background; NaN where fewer than 32 pixels remain.
    """
    shape, side = image.shape[:-2], image.shape[-2:]
    planes = image.reshape(-1, *side)
    good = usable.reshape(-1, *side)
    sigma, level = _clipped(planes, good)
    filled = np.where(good, planes, np.nan_to_num(level)[:, None, None])
    smooth = uniform_filter(filled, size=(0, 5, 5), mode="nearest")
    # How far noise survives the smoothing depends on its correlation, so that is measured too.
    coarse = smooth[:, 1::3, 1::3]
    scatter, middle = _clipped(coarse, np.ones(coarse.shape, bool))
    with np.errstate(invalid="ignore"):
        source = smooth > (middle + 3 * scatter)[:, None, None]
    sky = good & ~source
    # A source that fills the cutout leaves no sky: then the first, cruder answer stays.
    enough = sky.sum(axis=(1, 2)) >= 0.1 * good.sum(axis=(1, 2))
    sky[~enough] = good[~enough]
    sigma, level = _clipped(planes, sky)
    return sigma.reshape(shape), level.reshape(shape)


def _clipped(planes: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scatter below the median, and median, of the pixels within 3 sigma of it; (n,)."""
    values = np.where(good, planes, np.inf).reshape(len(planes), -1)
    values.sort(axis=1)
    rows = np.arange(len(values))
    first = np.zeros(len(values), int)
    last = good.reshape(len(planes), -1).sum(axis=1)
    few = last < 32
    last = np.where(few, 1, last)
    for _ in range(5):
        count = last - first
        median = values[rows, first + count // 2]
        with np.errstate(invalid="ignore"):
            sigma = median - values[rows, first + (count * 0.15866).astype(int)]
            ends = (
                _below(values, np.nextafter(median + 3 * sigma, np.float32(np.inf))),
                _below(values, median - 4 * sigma),
            )
        if (ends[0] == last).all() and (ends[1] == first).all():
            break
        last, first = np.minimum(last, ends[0]), ends[1]
        last = np.maximum(last, first + 1)
    return np.where(few, np.nan, sigma), np.where(few, np.nan, median)


def _below(values: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Return how many values of each sorted row (n, k) are below the row's limit (n,)."""
    rows = np.arange(len(values))
    low, high = np.zeros(len(values), int), np.full(len(values), values.shape[1])
    for _ in range(values.shape[1].bit_length()):
        middle = (low + high) // 2
        found = values[rows, np.minimum(middle, values.shape[1] - 1)] < limit
        open_ = low < high
        low = np.where(open_ & found, middle + 1, low)
        high = np.where(open_ & ~found, middle, high)
    return low


def masked_fraction(mask: np.ndarray) -> np.ndarray:
    """Return the fraction of unusable pixels, (n, band), of masks (n, band, y, x)."""
    return ((mask & UNUSABLE) != 0).mean(axis=(2, 3))


def flags(mask, fraction, missing, aligned, pixel_scale: float) -> np.ndarray:
    """Return the object column ``flags``.

    Parameters
    ----------
    mask : (n, band, y, x) uint8 array
    fraction : (n, band) array
        Of unusable pixels.
    missing : (n, band) bool array
    aligned : (n,) bool array
    pixel_scale : float
        arcsec

    Returns
    -------
    (n,) int32 array
        Bits of ``store.FLAGS``.
    """
    side = mask.shape[-1]
    offset = np.arange(side) - (side - 1) / 2
    core = np.hypot(offset[:, None], offset) * pixel_scale <= CORE
    found = {
        "missing_band": missing.any(axis=1),
        "masked": (fraction > MUCH).any(axis=1),
        "edge": ((mask & MASK["edge"]) != 0).any(axis=(1, 2, 3)),
        "no_data": (fraction == 1).all(axis=1),
        "saturated": (((mask & MASK["saturated"]) != 0) & core).any(axis=(1, 2, 3)),
        "aligned": np.asarray(aligned, bool),
    }
    return sum(np.int32(FLAGS[name]) * yes.astype(np.int32) for name, yes in found.items())
