"""One block of objects: from rows of the manifest to arrays of the store. What a worker does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroml.config import Ingest
from astroml.ingest import measure
from astroml.ingest.align import Cutout, cut
from astroml.ingest.files import Files
from astroml.ingest.planes import read_band
from astroml.ingest.reject import Reject, RejectedRow, unexpected
from astroml.store import MASK
from astroml.survey import Survey, njy_per_unit


@dataclass
class Job:
    """What a worker is told.

    Attributes
    ----------
    rows : dict
        Columns (n,) of the manifest, and the text ``id`` of each row under ``""``.
    faults : dict
        row of this block -> why the manifest's row cannot be used.
    kept : list of str
        Columns that become object columns.
    manifest : str
        Its path, for the table of rejects.
    """

    rows: dict[str, np.ndarray]
    faults: dict[int, str]
    kept: list[str]
    survey: Survey
    settings: Ingest
    size: int
    root: Path
    manifest: str


@dataclass
class Done:
    """What a worker hands back: the store's block, or None if nothing is left, and the rejects."""

    block: dict | None
    rejects: list[RejectedRow]


def read_block(job: Job) -> Done:
    """Read, align, calibrate and measure the objects of one block.

    Every row ends in ``block`` or in ``rejects``, both in the manifest's order.
    """
    ids = job.rows[""]
    cutouts: dict[int, Cutout] = {}
    lost: dict[int, Reject] = {
        row: Reject("manifest", job.manifest, reason) for row, reason in job.faults.items()
    }
    names = [name for name in job.rows if name]
    with Files() as files:
        for row in range(len(ids)):
            if row in lost:
                continue
            told = {name: job.rows[name][row].item() for name in names}
            try:
                cutouts[row] = _cutout(files, job, told)
            except Reject as fault:
                lost[row] = fault
            except Exception as fault:
                lost[row] = unexpected("read", fault)
    block, late = _finish(job, cutouts)
    lost |= late
    rejects = [
        RejectedRow(str(ids[row]), lost[row].file, lost[row].stage, lost[row].reason)
        for row in sorted(lost)
    ]
    return Done(block, rejects)


def _cutout(files: Files, job: Job, row: dict) -> Cutout:
    """Read the bands of one object and bring them onto one grid."""
    found, missing = {}, None
    for band in job.survey.bands:
        try:
            found[band] = read_band(files, job.survey, band, job.root, row, job.size)
        except Reject as fault:
            missing = missing or fault
            if job.settings.missing_bands == "reject":
                break
    if missing and (job.settings.missing_bands == "reject" or not found):
        raise missing
    return cut(found, job.survey, row, job.size)


def _finish(job: Job, cutouts: dict[int, Cutout]) -> tuple[dict | None, dict[int, Reject]]:
    """Calibrate and measure what was read; return the store's block and who fell out."""
    if not cutouts:
        return None, {}
    rows, made = np.array(list(cutouts)), list(cutouts.values())
    image = np.stack([one.image for one in made])
    mask = np.stack([one.mask for one in made])
    ivar = None
    if job.survey.layout.noise:
        ivar = np.stack(
            [np.zeros_like(one.image) if one.ivar is None else one.ivar for one in made]
        )
    zero_point = np.stack([one.zero_point for one in made])
    psf = np.stack([one.psf_fwhm for one in made]).astype(np.float32)
    absurd = measure.calibrate(image, ivar, mask, zero_point, job.survey)
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
    columns = {name: job.rows[name][rows[keep]] for name in job.kept}
    columns["flags"] = measure.flags(mask, fraction, missing, aligned, job.survey.pixel_scale)
    columns["dx"] = np.array([one.dx for one in made], np.float32)[keep]
    columns["dy"] = np.array([one.dy for one in made], np.float32)[keep]
    columns["masked_fraction"] = fraction.max(axis=1).astype(np.float32)
    sigma = _background(image, mask, job.survey)
    block = {"image": image, "mask": mask, "sigma": sigma, "psf_fwhm": psf, "objects": columns}
    if ivar is not None:
        block["ivar"] = ivar[keep]
    return block, late


def _background(image: np.ndarray, mask: np.ndarray, survey: Survey) -> np.ndarray:
    """Return the sky noise (n, band), nJy; the survey's own where it cannot be measured."""
    sigma, _ = measure.sky_noise(image, mask & (measure.UNUSABLE | MASK["interpolated"]) == 0)
    usual = [band.sigma * njy_per_unit(band.zero_point) for band in survey.bands.values()]
    with np.errstate(invalid="ignore"):
        return np.where(sigma > 0, sigma, np.array(usual, np.float32)).astype(np.float32)


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
