"""Links from a place on the sky to the public viewers of it; nothing is loaded, only linked."""

from __future__ import annotations

from urllib.parse import quote

VIEWERS = {
    "Legacy": "https://www.legacysurvey.org/viewer?ra={ra}&dec={dec}&layer=ls-dr10&zoom=16"
    "&mark={ra},{dec}",
    "Aladin": "https://aladin.cds.unistra.fr/AladinLite/?target={ra}%20{signed}&fov={fov}",
    "ESASky": "https://sky.esa.int/esasky/?target={ra}%20{dec}&fov={fov}&cooframe=J2000&sci=true",
    "SIMBAD": "https://simbad.cds.unistra.fr/simbad/sim-coo?Coord={ra}%20{signed}&CooFrame=ICRS"
    "&Radius={arcsec}&Radius.unit=arcsec",
    "NED": "https://ned.ipac.caltech.edu/conesearch?search_type=Near%20Position%20Search"
    "&coordinates={ra}d%20{signed}d&radius={arcmin}&in_csys=Equatorial&in_equinox=J2000.0",
}
"""Name -> address; what stands in braces is filled in."""


def links(ra: float, dec: float, side: float) -> list[tuple[str, str]]:
    """Return name and address of each viewer, at a place.

    Parameters
    ----------
    ra, dec : float
        deg, ICRS; without a finite place there are no links.
    side : float
        Of what to show, arcsec; tables of known objects are asked for half of it as radius.
    """
    if not (abs(dec) <= 90 and abs(ra) < 1e6):
        return []
    words = {
        "ra": f"{ra % 360:.6f}",
        "dec": f"{dec:.6f}",
        "signed": quote(f"{dec:+.6f}"),
        "fov": f"{2 * side / 3600:.5f}",
        "arcsec": f"{side / 2:.1f}",
        "arcmin": f"{side / 120:.3f}",
    }
    return [(name, address.format_map(words)) for name, address in VIEWERS.items()]
