"""Calibrate and measure a block of cutouts at once: nJy, masks, sky noise, flags."""

from __future__ import annotations

import numpy as np

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

BOX = 4
"""Side, px, of the boxes in which sources are looked for."""

AT_ONCE = 2**21
"""Pixels whose sky is measured at once, to bound the memory for large cutouts."""


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
        mask |= (ivar <= 0) * np.uint8(MASK["nodata"])
        mask |= ((ivar > 0) & (ivar < least)) * np.uint8(MASK["bad"])
    touched = (union(mask) & UNUSABLE) != 0
    if touched.any():
        usable = (mask[touched] & UNUSABLE) == 0
        image[touched] = np.where(usable, image[touched], 0)
        if ivar is not None:
            ivar[touched] = np.where(usable, ivar[touched], 0)
    return absurd


def union(mask: np.ndarray) -> np.ndarray:
    """Return the bits (n, band) that any pixel of a mask (n, band, y, x) has.

    Most planes are clean, and a look at these few bits spares a look at all their pixels.
    """
    return np.bitwise_or.reduce(mask, axis=(2, 3))


def sky_noise(image: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure the noise of one pixel of background.

    Boxes of 4 x 4 pixels whose mean stands out by 3 sigma hold a source; they and the boxes next
    to them are left out. What remains is clipped at 3 sigma; the noise is the scatter below the
    median, where no faint source adds any. All pixels of the remaining boxes count: of fewer, the
    noise would be known less well (to 1.5 / sqrt(pixels), 2.4% for 64 x 64). Rows and columns at
    the end that fill no box are left out.

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
    shape, side = image.shape[:-2], [n // BOX * BOX for n in image.shape[-2:]]
    planes = image.reshape(-1, *image.shape[-2:])[:, : side[0], : side[1]]
    good = usable.reshape(-1, *usable.shape[-2:])[:, : side[0], : side[1]]
    sigma, level = (np.full(len(planes), np.nan, np.float32) for _ in range(2))
    if min(side):
        step = max(AT_ONCE // (side[0] * side[1]), 1)
        for start in range(0, len(planes), step):
            some = slice(start, start + step)
            sigma[some], level[some] = _sky_noise(planes[some], good[some])
    return sigma.reshape(shape), level.reshape(shape)


def _sky_noise(planes: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return noise and level (n,) of planes (n, y, x) whose sides are multiples of a box."""
    if good.all():
        lost, count = None, np.full((len(planes), *np.array(good.shape[1:]) // BOX), BOX**2, "f4")
    else:
        lost, planes = ~good, np.where(good, planes, 0)
        count = _boxes(good.astype(np.float32))
    mean = _boxes(planes) / np.maximum(count, 1)
    # How far noise survives the averaging depends on its correlation, so that is measured too.
    told = count >= BOX**2 / 2
    flat = np.where(told, mean, np.inf).reshape(len(mean), -1)
    scatter, middle = _clipped(flat, told.reshape(len(told), -1).sum(axis=1))
    with np.errstate(invalid="ignore"):
        limit = scatter[:, None, None] * 3 * np.sqrt(BOX**2 / np.maximum(count, 1))
        source = mean > middle[:, None, None] + limit
    source = _grown(source)
    # A source that fills the cutout leaves no sky: then the first, cruder answer stays.
    total, left = count.sum(axis=(1, 2)), (count * ~source).sum(axis=(1, 2))
    crude = left < 0.1 * total
    source[crude] = False
    # What is added to a row of boxes is added to each of their rows of pixels.
    extra = np.repeat(np.where(source, np.float32(np.inf), np.float32(0)), BOX, axis=2)
    rows = planes.reshape(len(planes), -1, BOX, planes.shape[2])
    values = (rows + extra[:, :, None]).reshape(len(planes), -1)
    if lost is not None:
        values[lost.reshape(len(planes), -1)] = np.inf
    return _clipped(values, np.where(crude, total, left).astype(int))


def _boxes(planes: np.ndarray) -> np.ndarray:
    """Return the sums over boxes of planes (n, y, x)."""
    rows = sum(planes[:, n::BOX] for n in range(BOX))
    return sum(rows[:, :, n::BOX] for n in range(BOX))


def _grown(found: np.ndarray) -> np.ndarray:
    """Return (n, y, x) masks that include the four neighbours."""
    grown = found.copy()
    grown[:, 1:] |= found[:, :-1]
    grown[:, :-1] |= found[:, 1:]
    grown[:, :, 1:] |= found[:, :, :-1]
    grown[:, :, :-1] |= found[:, :, 1:]
    return grown


def _clipped(values: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scatter below the median, and median, of the values within 3 sigma of it; (n,).

    Of each row (n, k), which is sorted in place, the ``last`` (n,) smallest count.
    """
    values.sort(axis=1)
    flat, rows = values.ravel(), np.arange(len(values)) * values.shape[1]
    first = np.zeros(len(values), int)
    few = last < 32
    last = np.where(few, 1, last)
    for _ in range(5):
        count = last - first
        median = flat[rows + first + count // 2]
        with np.errstate(invalid="ignore"):
            sigma = median - flat[rows + first + (count * 0.15866).astype(int)]
            ends = (
                _below(flat, rows, last, np.nextafter(median + 3 * sigma, np.float32(np.inf))),
                _below(flat, rows, last, median - 4 * sigma),
            )
        if (ends[0] == last).all() and (ends[1] == first).all():
            break
        last, first = ends
        last = np.maximum(last, first + 1)
    return np.where(few, np.nan, sigma), np.where(few, np.nan, median)


def _below(flat: np.ndarray, rows: np.ndarray, high: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Return how many of the first ``high`` values of each sorted row are below its limit (n,)."""
    low = np.zeros(len(rows), int)
    for _ in range(int(high.max()).bit_length()):
        middle = (low + high) // 2
        found = (flat[rows + np.minimum(middle, high - 1)] < limit) & (low < high)
        low, high = np.where(found, middle + 1, low), np.where(found, high, middle)
    return low


def masked_fraction(mask: np.ndarray) -> np.ndarray:
    """Return the fraction of unusable pixels, (n, band), of masks (n, band, y, x)."""
    touched = (union(mask) & UNUSABLE) != 0
    fraction = np.zeros(touched.shape)
    fraction[touched] = ((mask[touched] & UNUSABLE) != 0).mean(axis=(1, 2))
    return fraction


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
    bits = union(mask)
    saturated = ((bits & MASK["saturated"]) != 0).any(axis=1)
    saturated[saturated] = ((mask[saturated] & MASK["saturated"] != 0) & core).any(axis=(1, 2, 3))
    found = {
        "missing_band": missing.any(axis=1),
        "masked": (fraction > MUCH).any(axis=1),
        "edge": ((bits & MASK["edge"]) != 0).any(axis=1),
        "no_data": (fraction == 1).all(axis=1),
        "saturated": saturated,
        "aligned": np.asarray(aligned, bool),
    }
    return sum(np.int32(FLAGS[name]) * yes.astype(np.int32) for name, yes in found.items())
