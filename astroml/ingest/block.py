"""One block of objects: from rows of the manifest to arrays of the store. What a worker does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroml.config import Ingest
from astroml.ingest import measure
from astroml.ingest.adjust import adjust
from astroml.ingest.align import cut
from astroml.ingest.centroid import centroid_offset
from astroml.ingest.clock import Clock
from astroml.ingest.files import Files, shared_files
from astroml.ingest.gather import can_gather, read_together
from astroml.ingest.planes import Pixels, read_exposures
from astroml.ingest.reject import Reject, RejectedRow, unexpected
from astroml.ingest.stack import Stack
from astroml.ingest.templates import layout_columns
from astroml.ingest.together import put
from astroml.photometry import photometry_columns
from astroml.store import FLAGS, MASK
from astroml.survey import Survey, galactic_extinction, njy_per_unit


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
    missing : dict
        band -> how many objects of the block lack it.
    """

    block: dict | None
    rows: np.ndarray
    rejects: list[tuple[int, RejectedRow]]
    missing: dict[str, int]


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
    count = len(job.numbers)
    stacks = {name: Stack.empty(count, job.survey, size) for name, (size, _) in job.sets.items()}
    lost: dict[str, dict[int, Reject]] = {
        name: {row: Reject("manifest", job.manifest, why) for row, why in job.faults.items()}
        for name in job.sets
    }
    lists = {name: values.tolist() for name, values in job.rows.items() if name}
    told = [dict(zip(lists, one)) for one in zip(*lists.values())]
    files, clock = shared_files().refresh(), Clock()
    left = [row for row in range(count) if row not in job.faults]
    if can_gather(job.survey, job.sets):
        left = _together(files, job, stacks, left, told, lists, clock)
    _one_by_one(files, job, stacks, lost, left, told, clock)
    clock.weigh("read")
    parts = {name: _part(job, name, stacks[name], lost[name], clock) for name in job.sets}
    clock.weigh("measure")
    return Done(count, parts, clock)


def _together(files: Files, job: Job, stacks, left, told, lists, clock: Clock) -> list[int]:
    """Fill in what can be read together; return the rows that are left."""
    with clock.step("read"):
        groups = read_together(files, job.survey, job.root, left, told, lists)
    while True:
        with clock.step("read"):
            group = next(groups, None)
        if group is None:
            break
        with clock.step("align"):
            for name, (size, _) in job.sets.items():
                put(group, stacks[name], size, job.survey)
    filled = next(iter(stacks.values())).filled
    return [row for row in left if not filled[row]]


def _one_by_one(files: Files, job: Job, stacks, lost, left, told, clock: Clock) -> None:
    """Read, align and cut objects each by itself; note what is wrong with them."""
    used = {
        band: layout_columns(job.survey.layout, {band: facts})
        for band, facts in job.survey.bands.items()
    }
    for row in left:
        try:
            with clock.step("read"):
                found = _read(files, job, told[row], used)
        except Exception as fault:
            for fallen in lost.values():
                fallen[row] = _reason(fault)
            continue
        for name, (size, scale) in job.sets.items():
            try:
                with clock.step("align"):
                    stacks[name].put(row, cut(found, job.survey, told[row], size, scale))
            except Exception as fault:
                lost[name][row] = _reason(fault)


def _reason(fault: Exception) -> Reject:
    return fault if isinstance(fault, Reject) else unexpected("read", fault)


def _part(job: Job, name: str, stack: Stack, lost: dict[int, Reject], clock: Clock) -> Part:
    rows, block, late = np.flatnonzero(stack.filled), None, {}
    if len(rows):
        stack = stack.only(stack.filled)
        with clock.step("align"):
            absurd = measure.calibrate(
                stack.image, stack.ivar, stack.mask, stack.zero_point, job.survey
            )
        clock.weigh("align")
        with clock.step("measure"):
            block, late = _finish(job, job.sets[name][1], rows, stack, absurd)
    lost = lost | late
    rejects = [
        (
            int(job.numbers[row]),
            RejectedRow(str(job.rows[""][row]), why.file, why.stage, why.reason),
        )
        for row, why in sorted(lost.items())
    ]
    stored = [row for row in rows.tolist() if row not in lost]
    return Part(block, job.numbers[stored], rejects, _missing(job, block))


def _missing(job: Job, block: dict | None) -> dict[str, int]:
    """Return how many objects of a block lack a band, by band, those bands that any lacks."""
    if block is None:
        return {}
    lost = {
        band: int((block["objects"][f"masked_{band}"] > job.settings.max_masked).sum())
        for band in job.survey.bands
    }
    return {band: count for band, count in lost.items() if count}


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


def _finish(
    job: Job, scale: float | None, rows: np.ndarray, stack: Stack, absurd: np.ndarray
) -> tuple[dict | None, dict[int, Reject]]:
    """Measure what was calibrated; return the store's block and who fell out."""
    fraction = measure.masked_fraction(stack.mask)
    missing = fraction > job.settings.max_masked
    strict = job.settings.missing_bands == "reject"
    gone = missing.any(axis=1) if strict else missing.all(axis=1)
    late = {
        int(rows[n]): _absurd(job, stack.file[n], absurd[n])
        if absurd[n].any()
        else _too_masked(job, stack.file[n], fraction[n], missing[n])
        for n in np.flatnonzero(gone)
    }
    if gone.all():
        return None, late
    keep = ~gone
    stack, rows, fraction, missing = stack.only(keep), rows[keep], fraction[keep], missing[keep]
    image, mask, ivar, psf = stack.image, stack.mask, stack.ivar, stack.psf_fwhm
    columns = {name: job.rows[name][rows] for name in job.kept}
    scale = scale or job.survey.pixel_scale
    columns["flags"] = measure.flags(mask, fraction, missing, stack.aligned, scale)
    if job.placeless:
        columns["flags"] |= np.int32(FLAGS["no_sky"])
    columns["dx"], columns["dy"] = stack.dx.astype(np.float32), stack.dy.astype(np.float32)
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
    columns |= _photometry(job, columns, image, mask, sigma, psf, scale)
    block = {"image": image, "mask": mask, "sigma": sigma, "psf_fwhm": psf, "objects": columns}
    if ivar is not None:
        block["ivar"] = ivar
    return block, late


def _photometry(job: Job, columns: dict, image, mask, sigma, psf, scale: float) -> dict:
    """Return the object columns of the integrated fluxes."""
    wavelengths = [band.wavelength for band in job.survey.bands.values()]
    clear = 10 ** (-0.4 * galactic_extinction(columns["ebv"], wavelengths))
    return photometry_columns(image, mask, sigma, psf, scale, job.survey.bands, clear)


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


def _absurd(job: Job, file: Path | str, odd: np.ndarray) -> Reject:
    said = ", ".join(band for band, wrong in zip(job.survey.bands, odd) if wrong)
    return Reject(
        "measure",
        Path(file),
        f"pixels brighter than any star, {measure.BRIGHTEST:.0e} nJy, in {said}: the byte order, "
        "the unit or the zero point is wrong",
    )


def _too_masked(job: Job, file: Path | str, share: np.ndarray, gone: np.ndarray) -> Reject:
    said = [
        f"{band}: {100 * part:.0f}%"
        for band, part, bad in zip(job.survey.bands, share, gone)
        if bad
    ]
    return Reject(
        "measure",
        Path(file),
        f"too few usable pixels, masked fraction of {', '.join(said)} against at most "
        f"{100 * job.settings.max_masked:.0f}%",
    )
