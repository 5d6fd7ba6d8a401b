"""One block of objects: from rows of the manifest to arrays of the store. What a worker does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroml.config import Ingest
from astroml.ingest import measure
from astroml.ingest.adjust import adjust
from astroml.ingest.align import Cutout, cut
from astroml.ingest.centroid import centroid_offset
from astroml.ingest.clock import Clock
from astroml.ingest.files import Files, shared_files
from astroml.ingest.planes import Pixels, read_exposures
from astroml.ingest.reject import Reject, RejectedRow, unexpected
from astroml.ingest.templates import layout_columns
from astroml.store import FLAGS, MASK
from astroml.survey import Survey, njy_per_unit


@dataclass
class Job:
    """What a worker is told.

    Attributes
    ----------
    rows : dict
        Columns (n,) of the manifest, and the text ``id`` of each row under ``""``.
    numbers : (n,) array
        The rows' place in the manifest.
    faults : dict
        row of this block -> why the manifest's row cannot be used.
    kept : list of str
        Columns that become object columns.
    sets : dict
        Cutout set -> side, px, and pixel side to resample to, arcsec, or None.
    placeless : bool
        Whether ``ra`` and ``dec`` are placeholders.
    manifest : str
        Its path, for the table of rejects.
    """

    rows: dict[str, np.ndarray]
    numbers: np.ndarray
    faults: dict[int, str]
    kept: list[str]
    survey: Survey
    settings: Ingest
    sets: dict[str, tuple[int, float | None]]
    placeless: bool
    root: Path
    manifest: str


@dataclass
class Part:
    """One cutout set of a block.

    Attributes
    ----------
    block : dict or None
        For the store; None if nothing is left.
    rows : (n,) array
        The manifest's rows that it holds.
    rejects : list of (int, RejectedRow)
        With the manifest's row.
    """

    block: dict | None
    rows: np.ndarray
    rejects: list[tuple[int, RejectedRow]]


@dataclass
class Done:
    """What a worker hands back: how many rows it was told, a part per cutout set, what it spent."""

    count: int
    parts: dict[str, Part]
    clock: Clock


def read_block(job: Job) -> Done:
    """Read, align, calibrate and measure the objects of one block.

    Every row ends in the ``block`` or in the ``rejects`` of each set.
    """
    cutouts: dict[str, dict[int, Cutout]] = {name: {} for name in job.sets}
    lost: dict[str, dict[int, Reject]] = {
        name: {row: Reject("manifest", job.manifest, why) for row, why in job.faults.items()}
        for name in job.sets
    }
    names = [name for name in job.rows if name]
    used = {
        band: layout_columns(job.survey.layout, {band: facts})
        for band, facts in job.survey.bands.items()
    }
    files, clock = shared_files().refresh(), Clock()
    for row in range(len(job.numbers)):
        if row in job.faults:
            continue
        told = {name: job.rows[name][row].item() for name in names}
        try:
            with clock.step("read"):
                found = _read(files, job, told, used)
        except Exception as fault:
            for fallen in lost.values():
                fallen[row] = _reason(fault)
            continue
        for name, (size, scale) in job.sets.items():
            try:
                with clock.step("align"):
                    cutouts[name][row] = cut(found, job.survey, told, size, scale)
            except Exception as fault:
                lost[name][row] = _reason(fault)
    clock.weigh("read")
    parts = {name: _part(job, name, cutouts[name], lost[name], clock) for name in job.sets}
    clock.weigh("measure")
    return Done(len(job.numbers), parts, clock)


def _reason(fault: Exception) -> Reject:
    return fault if isinstance(fault, Reject) else unexpected("read", fault)


def _part(
    job: Job, name: str, cutouts: dict[int, Cutout], lost: dict[int, Reject], clock: Clock
) -> Part:
    if cutouts:
        with clock.step("align"):
            stacked = _stack(job, list(cutouts.values()))
        clock.weigh("align")
        with clock.step("measure"):
            block, late = _finish(job, job.sets[name][1], cutouts, *stacked)
    else:
        block, late = None, {}
    lost = lost | late
    rejects = [
        (
            int(job.numbers[row]),
            RejectedRow(str(job.rows[""][row]), why.file, why.stage, why.reason),
        )
        for row, why in sorted(lost.items())
    ]
    stored = [row for row in cutouts if row not in lost]
    return Part(block, job.numbers[stored], rejects)


def _read(files: Files, job: Job, row: dict, used: dict[str, set[str]]) -> dict[str, list[Pixels]]:
    """Read the bands of one object, enough for all sets."""
    found, missing = {}, None
    native = job.survey.pixel_scale
    needed = max(
        int(np.ceil(size * (scale or native) / native)) for size, scale in job.sets.values()
    )
    for band in job.survey.bands:
        try:
            found[band] = read_exposures(files, job.survey, band, job.root, row, needed, used[band])
        except Reject as fault:
            missing = missing or fault
            if job.settings.missing_bands == "reject":
                break
    if missing and (job.settings.missing_bands == "reject" or not found):
        raise missing
    return found


def _stack(job: Job, made: list[Cutout]) -> tuple:
    """Return image, ivar and mask (n, band, y, x), calibrated, and which bands are absurd."""
    image = np.stack([one.image for one in made])
    mask = np.stack([one.mask for one in made])
    ivar = None
    if job.survey.layout.noise:
        ivar = np.stack([one.ivar for one in made])
    zero_point = np.stack([one.zero_point for one in made])
    absurd = measure.calibrate(image, ivar, mask, zero_point, job.survey)
    return image, ivar, mask, absurd


def _finish(
    job: Job, scale: float | None, cutouts: dict[int, Cutout], image, ivar, mask, absurd
) -> tuple[dict | None, dict[int, Reject]]:
    """Measure what was calibrated; return the store's block and who fell out."""
    rows, made = np.array(list(cutouts)), list(cutouts.values())
    psf = np.stack([one.psf_fwhm for one in made]).astype(np.float32)
    fraction = measure.masked_fraction(mask)
    missing = fraction > job.settings.max_masked
    late = {
        int(row): _absurd(job, one, odd) if odd.any() else _too_masked(job, one, share, gone)
        for row, one, share, gone, odd in zip(rows, made, fraction, missing, absurd)
        if gone.all() or (gone.any() and job.settings.missing_bands == "reject")
    }
    keep = np.array([row not in late for row in rows])
    if not keep.any():
        return None, late
    parts = (image, mask, psf, fraction, missing)
    image, mask, psf, fraction, missing = (part[keep] for part in parts)
    aligned = np.array([one.aligned for one in made])[keep]
    ivar = None if ivar is None else ivar[keep]
    columns = {name: job.rows[name][rows[keep]] for name in job.kept}
    scale = scale or job.survey.pixel_scale
    columns["flags"] = measure.flags(mask, fraction, missing, aligned, scale)
    if job.placeless:
        columns["flags"] |= np.int32(FLAGS["no_sky"])
    columns["dx"] = np.array([one.dx for one in made], np.float32)[keep]
    columns["dy"] = np.array([one.dy for one in made], np.float32)[keep]
    columns["masked_fraction"] = fraction.max(axis=1).astype(np.float32)
    sigma, level = _background(image, mask, job.survey)
    for place, band in enumerate(job.survey.bands):
        columns[f"masked_{band}"] = fraction[:, place].astype(np.float32)
        columns[f"sky_{band}"] = level[:, place] / sigma[:, place]
    off = centroid_offset(image, mask, sigma, columns["dx"], columns["dy"], scale)
    columns["centroid_dx"], columns["centroid_dy"] = off
    if job.settings.background != "none" or job.settings.match_psf is not None:
        adjust(image, ivar, mask, psf, scale, job.settings)
        sigma, _ = _background(image, mask, job.survey)
    block = {"image": image, "mask": mask, "sigma": sigma, "psf_fwhm": psf, "objects": columns}
    if ivar is not None:
        block["ivar"] = ivar
    return block, late


def _background(
    image: np.ndarray, mask: np.ndarray, survey: Survey
) -> tuple[np.ndarray, np.ndarray]:
    """Return noise and level of the sky (n, band), nJy.

    The noise is the survey's own where it cannot be measured; the level is then NaN.
    """
    good = mask & (measure.UNUSABLE | MASK["interpolated"]) == 0
    sigma, level = measure.sky_noise(image, good)
    usual = [band.sigma * njy_per_unit(band.zero_point) for band in survey.bands.values()]
    with np.errstate(invalid="ignore"):
        sigma = np.where(sigma > 0, sigma, np.array(usual, np.float32))
    return sigma.astype(np.float32), level.astype(np.float32)


def _absurd(job: Job, one: Cutout, odd: np.ndarray) -> Reject:
    said = ", ".join(band for band, wrong in zip(job.survey.bands, odd) if wrong)
    return Reject(
        "measure",
        one.file,
        f"pixels brighter than any star, {measure.BRIGHTEST:.0e} nJy, in {said}: the byte order, "
        "the unit or the zero point is wrong",
    )


def _too_masked(job: Job, one: Cutout, share: np.ndarray, gone: np.ndarray) -> Reject:
    said = [
        f"{band}: {100 * part:.0f}%"
        for band, part, bad in zip(job.survey.bands, share, gone)
        if bad
    ]
    return Reject(
        "measure",
        one.file,
        f"too few usable pixels, masked fraction of {', '.join(said)} against at most "
        f"{100 * job.settings.max_masked:.0f}%",
    )
