"""Which objects of a block are read together, and how."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from astroml.ingest.alike import MOVING, read_alike
from astroml.ingest.files import Files
from astroml.ingest.names import KINDS, find_names, several_files
from astroml.ingest.shared import read_shared
from astroml.ingest.templates import layout_columns
from astroml.ingest.together import Together
from astroml.survey import Survey


def read_together(
    files: Files,
    survey: Survey,
    root: Path,
    rows: list[int],
    told: list[dict],
    lists: dict[str, list],
) -> Iterator[Together]:
    """Read the objects of a block that need no look at each one.

    What is odd in any way is left out, and for the caller to read by itself: so the reasons of
    rejects are all found in one place.

    Parameters
    ----------
    files : Files
    survey : Survey
    root : Path
        Folder that file names start from.
    rows : list of int
        Of the block, those to read.
    told : list of dict
        Rows of the manifest, of the whole block.
    lists : dict
        The same by column.

    Yields
    ------
    Together
        Some objects at a time; their planes are only there until the next are asked for.
    """
    layout = survey.layout
    several = several_files(lists, layout_columns(layout, survey.bands))
    try:
        names = find_names(survey, lists)
    except Exception:  # a template that does not fit; each object will say so
        return
    groups, single = names.groups([row for row in rows if row not in several])
    for some in groups:
        if (group := read_shared(files, survey, root, some, told)) is not None:
            yield group
    planes = [one for kind in KINDS if (one := getattr(layout, kind))]
    if not names.hdus and all(one.axis != "object" for one in planes):
        yield from read_alike(survey, root, single, told, names)


def can_gather(survey: Survey, sets: dict[str, tuple[int, float | None]]) -> bool:
    """Say whether a layout's objects can be read together at all.

    Not if they are resampled, or if something is measured on each one's surroundings.

    Parameters
    ----------
    survey : Survey
    sets : dict
        Cutout set -> side, px, and pixel side to resample to, arcsec, or None.
    """
    layout = survey.layout
    measured = layout.psf or layout.sky_in_files or (layout.noise and layout.noise_kind == "weight")
    keys = {layout.zero_point_key, layout.saturation_key, layout.psf_key, layout.exposure_key}
    resampled = any(scale is not None for _, scale in sets.values())
    return not (measured or resampled or keys & set(MOVING))
