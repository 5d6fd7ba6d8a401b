"""Rare galaxies: mergers, rings, lenses, polar rings, extreme colours.

Each is drawn from an ordinary galaxy and has the light of that galaxy in i, so that brightness does
not tell it. What makes it rare can be seen by an expert in most cases: it is a good part of the
light, and larger than the seeing.
"""

from __future__ import annotations

import math

import numpy as np

from astroml.sky import galaxies
from astroml.sky.colours import red_sequence_mag
from astroml.sky.debris import FEATURE_NAMES, SPIRAL
from astroml.sky.galaxies import MAG_WAVELENGTH, angle, component, share
from astroml.sky.lenses import draw_mass, draw_source
from astroml.sky.lensing import velocity_dispersion
from astroml.sky.tides import EMPTY as NO_TAIL
from astroml.survey import NJY_PER_ZERO_MAG

TAILS = 2
"""Tails that an object may have."""

REACH = 4.6
"""Largest extent of tails, arcsec: they fit into cutouts of 64 pixels."""

BLUER = 0.3
"""Power of the wavelength by which tails are bluer than their galaxies."""

THETA_E, CLEAR_SNR, ARC_SHARE, ALIGNED = (1.2, 2.4), 100.0, (0.07, 0.3), 0.33
"""Einstein radii, arcsec; and what sources are drawn for: the expected signal-to-noise of the arc,
its share of the light in i, and the source's distance from the axis in Einstein radii."""

TRIES = 24
"""Sources drawn for each lens: it gets the first whose arc is clear, else the brightest."""

LARGEST = 1.4
"""Largest effective radius of a lens, arcsec."""

LENS_Z = np.linspace(0.12, 0.85, 74)
"""Redshifts of lenses."""

NO_LENS = {
    "lens_theta_e": 0.0, "lens_x": 0.0, "lens_y": 0.0, "lens_q": 1.0, "lens_phi": 0.0,
    "lens_shear_1": 0.0, "lens_shear_2": 0.0, "source_x": 0.0, "source_y": 0.0,
    "source_r_e": 1.0, "source_q": 1.0, "source_phi": 0.0, "source_n_sersic": 1.0,
}  # fmt: skip
"""What an object has that is no lens."""


def merger(rng: np.random.Generator, host: dict) -> dict:
    """Draw two galaxies in contact, with tidal tails and a bridge between them.

    The tails are those of two discs (Toomre & Toomre 1972, ApJ 178, 623): one on each galaxy, or
    one with a counterpart on the other side.
    """
    second, stray, bridge = (
        rng.uniform(0.18, 0.45),
        rng.uniform(0.08, 0.22),
        rng.uniform(0.02, 0.06),
    )
    first, mag = 1 - second - stray - bridge, host["mag_i"]
    radius = float(np.clip(host["radius"], 0.5, 1.3))
    small = max(radius * (second / first) ** 0.4, 0.4)
    turn, away = rng.uniform(0, 2 * math.pi), rng.uniform(0.9, 1.6) * (radius + small)
    away = float(np.clip(away, 1.2, 3.0))
    x, y = away * math.cos(turn), away * math.sin(turn)
    # The primary has its own light and shape, dimmed and no larger than the contact lets it be.
    squeeze = radius / host["radius"]
    parts = [
        part | {"mag": share(part["mag"], first), "r_e": part["r_e"] * min(squeeze, 1.0)}
        for part in host["parts"]
    ]
    old, bulge = float(np.clip(host["old"] + rng.normal(0, 0.2), 0.1, 1)), rng.uniform(0.15, 0.6)
    alike = {"x": x, "y": y, "phi": angle(rng), "z": host["z"]}
    parts += [
        component(
            mag=share(mag, second * bulge),
            n_sersic=rng.uniform(1.5, 3.5),
            r_e=0.35 * small,
            q=rng.uniform(0.6, 1),
            old=max(old, 0.8),
            **alike,
        ),
        component(
            mag=share(mag, second * (1 - bulge)),
            r_e=small,
            q=rng.uniform(0.35, 1),
            old=old,
            **alike,
        ),
        component(
            x=x / 2, y=y / 2, phi=turn, q=0.3, r_e=0.6 * away, n_sersic=0.7,
            mag=share(mag, bridge), old=0.7 * old, z=host["z"],
        ),
    ]  # fmt: skip
    return {"parts": parts, "tails": _tails(rng, (0.0, 0.0), (x, y), turn, radius, small, stray)}


def _tails(rng, here, there, turn: float, radius: float, small: float, stray: float) -> list:
    """Draw the tails of two galaxies: rows of ``debris.FEATURE_NAMES`` and shares of the light."""
    alone = rng.random() < 0.35
    spin = rng.choice([-1, 1])
    tails = []
    for at, size, phase in ((here, radius, turn + math.pi), (there, small, turn)):
        reach = float(np.clip(size * rng.uniform(3.0, 4.5), 2.4, REACH))
        tails.append(
            NO_TAIL
            | {
                "shape": SPIRAL,
                "x": at[0],
                "y": at[1],
                "radius": reach,
                "inner": 0.7 * size,
                "phi": 0.0,
                "q": 1.0,
                "phase": phase - spin * rng.uniform(0.5, 1.2),
                "span": spin * math.radians(rng.uniform(80, 190)),
                "width": rng.uniform(0.18, 0.35),
                "growth": rng.uniform(1.2, 2.2),
                "fade": rng.uniform(0.6, 1.4),
                "counter": rng.uniform(0.4, 1) if alone else 0.0,
                "lumps": rng.uniform(0, 0.4),
                "lump_phase": rng.uniform(0, 2 * math.pi),
            }
        )
    if alone:
        return [(tails[0], stray)]
    part = rng.uniform(0.4, 0.7)
    return [(tails[0], stray * part), (tails[1], stray * (1 - part))]


def ring(rng: np.random.Generator, host: dict) -> dict:
    """Draw a ring galaxy: a core, a blue ring around it, and a faint disc between them.

    In half of them the core is off the middle, as where a galaxy went through a disc (Lynds &
    Toomre 1976, ApJ 209, 382).
    """
    bright, faint = rng.uniform(0.3, 0.6), rng.uniform(0.05, 0.2)
    radius, mag = rng.uniform(1.5, 3.0), host["mag_i"]
    core = component(
        q=rng.uniform(0.7, 1),
        phi=angle(rng),
        n_sersic=rng.uniform(1.5, 4),
        r_e=min(max(host["radius"] * 0.5, 0.25), 0.28 * radius),
        mag=share(mag, 1 - bright - faint),
        old=rng.uniform(0.8, 1),
        z=host["z"],
    )
    core, blue = galaxies.ring(rng, core, radius, share(mag, bright))
    disc = blue | {"shape": core["shape"], "n_sersic": 0.6, "r_e": 0.7 * blue["r_e"]}
    disc |= {"mag": share(mag, faint), "arm_strength": 0.0, "old": 0.6}
    if rng.random() < 0.5:
        off, turn = rng.uniform(0.1, 0.3) * radius, angle(rng) * 2
        shift = {"x": off * math.cos(turn), "y": off * math.sin(turn)}
        blue, disc = blue | shift, disc | shift
    return {"parts": [core, disc, blue]}


def polar_ring(rng: np.random.Generator, host: dict) -> dict:
    """Draw an early-type galaxy with a blue ring or disc over its poles.

    Sizes and tilts after Whitmore et al. (1990, AJ 100, 1489): within 20 deg of the pole.
    """
    mag, bright, phi = host["mag_i"], rng.uniform(0.2, 0.4), angle(rng)
    r_e = float(np.clip(host["radius"], 0.45, 1.0))
    tilt = phi + math.pi / 2 + math.radians(rng.uniform(-20, 20))
    radius = float(np.clip(r_e * rng.uniform(2.0, 3.2), 1.6, 3.4))
    core = component(
        q=rng.uniform(0.4, 0.7),
        phi=phi,
        n_sersic=rng.uniform(1.5, 3.5),
        r_e=r_e,
        mag=share(mag, 1 - bright),
        old=rng.uniform(0.9, 1),
        z=host["z"],
    )
    part = rng.uniform(0.5, 0.85)
    over = {"phi": tilt, "q": rng.uniform(0.12, 0.3), "z": host["z"], "old": rng.uniform(0, 0.45)}
    loop = component(
        shape=galaxies.RING, r_e=radius, width=rng.uniform(0.15, 0.3),
        mag=share(mag, bright * part), **over,
    )  # fmt: skip
    disc = component(n_sersic=0.6, r_e=0.75 * radius, mag=share(mag, bright * (1 - part)), **over)
    return {"parts": [core, loop, disc]}


def extreme_colour(rng: np.random.Generator, host: dict) -> dict:
    """Draw a galaxy of ordinary shape and a rare spectrum.

    One third each: young stars under a rising blue continuum, as of nuclei; stars behind much
    dust; and one band lit by emission lines, as in green peas (Cardamone et al. 2009, MNRAS 399,
    1191).
    """
    wavelengths = np.asarray(host["wavelengths"], float)
    which = rng.choice(["blue", "dusty", "line"])
    tint = np.ones(len(wavelengths))
    parts = host["parts"]
    if which == "blue":
        parts = [part | {"old": rng.uniform(0, 0.1), "dust": 0.0} for part in parts]
        tint = (wavelengths / MAG_WAVELENGTH) ** -rng.uniform(0.8, 1.7)
    elif which == "dusty":
        dust = rng.uniform(0.55, 1.0)
        parts = [part | {"dust": part["dust"] + dust} for part in parts]
    else:
        bands = wavelengths[: host["bands"]]
        line = bands[int(rng.integers(len(bands)))]
        parts = [part | {"old": 0.5 * part["old"]} for part in parts]
        tint[np.abs(wavelengths / line - 1) < 0.08] = 10 ** (0.4 * rng.uniform(0.6, 1.3))
    return {"parts": parts, "tint": tint / tint[-2]}


def lens(rng: np.random.Generator, host: dict) -> dict:
    """Draw a red galaxy with a lensed source around it.

    Its redshift is the one at which the galaxy that bends by the drawn Einstein radius has the
    wanted magnitude: luminosity follows the velocity dispersion as in
    ``galaxies.massive_elliptical``.
    """
    theta_e, z_source = rng.uniform(*THETA_E), rng.uniform(1.3, 3.0)
    dispersion = velocity_dispersion(theta_e, LENS_Z, z_source)
    mags = red_sequence_mag(LENS_Z) - 10 * np.log10(dispersion / 220) + rng.normal(0, 0.3)
    at = int(np.abs(mags - host["mag_i"]).argmin())
    core = galaxies.massive_elliptical(rng, float(dispersion[at]), float(LENS_Z[at]))
    # Larger ones would hide their arcs, and reach out of the cutout.
    core |= {"r_e": min(core["r_e"], LARGEST), "n_sersic": min(core["n_sersic"], 4.0)}
    bent = draw_mass(rng, theta_e, core["q"], core["phi"]) | {"z_source": z_source}
    wavelengths = host["wavelengths"][: host["bands"]]
    near = int(np.abs(wavelengths - MAG_WAVELENGTH).argmin())
    best = {}, 0.0
    for _ in range(TRIES):
        source = draw_source(
            rng, bent, host["survey"], wavelengths, host["sigma"], host["psf_fwhm"]
        )
        arc = source["expected_magnification"] * source["source_flux"][near]
        part = arc / (NJY_PER_ZERO_MAG * 10 ** (-0.4 * host["mag_i"]))
        off = math.hypot(source["source_x"], source["source_y"]) / theta_e
        best = max(best, (source, min(part, ARC_SHARE[1])), key=lambda one: one[1])
        if source["expected_snr"] > CLEAR_SNR and off < ALIGNED and part > ARC_SHARE[0]:
            best = source, part
            break
    source, part = best
    if part > ARC_SHARE[1]:
        source["source_flux"], part = source["source_flux"] * ARC_SHARE[1] / part, ARC_SHARE[1]
    # The arc's light is the object's too.
    core["mag"] = share(host["mag_i"], 1 - part)
    bent |= {name: source[name] for name in source if name in (*NO_LENS, "source_flux")}
    return {"parts": [core], "lens": {name: bent[name] for name in (*NO_LENS, "source_flux")}}


DRAW = {
    "merger": merger, "ring": ring, "lens": lens, "polar_ring": polar_ring,
    "extreme_colour": extreme_colour,
}  # fmt: skip
"""How each kind is drawn.

Each takes a generator and its ordinary galaxy: ``mag_i``, ``z``, ``radius`` (arcsec), ``old``
(share of old stars), ``parts`` (components), ``wavelengths`` (nm, first those of the ``bands``
bands, last but one that of i), ``survey``, ``sigma`` and ``psf_fwhm`` (band,). Each returns
``parts``, and where it has them ``tails`` ((features, share of the light) each), ``lens`` (see
``render.draw_light``) and ``tint`` (wavelength,), a factor on the light.
"""


def blank(n: int, bands: int) -> dict[str, np.ndarray]:
    """Return the columns of objects without tails and lensed sources, as ``render`` takes them."""
    columns = {f"tail_{name}": np.full((n, TAILS), float(NO_TAIL[name])) for name in FEATURE_NAMES}
    columns |= {name: np.full(n, value) for name, value in NO_LENS.items()}
    return columns | {
        "tail_flux": np.zeros((n, TAILS, bands)),
        "source_flux": np.zeros((n, bands)),
    }


def note(columns: dict, row: int, found: dict, light, wavelengths) -> np.ndarray:
    """Write the tails and the lensed source of an object into columns, in place.

    Parameters
    ----------
    columns : dict
        What ``blank`` returned.
    row : int
        The object.
    found : dict
        What one of ``DRAW`` returned.
    light : (wavelength,) array
        The ordinary galaxy's, nJy.
    wavelengths : (wavelength,) array
        nm; first those of the bands.

    Returns
    -------
    (wavelength,) array
        Light of the tails, nJy.
    """
    blue = light * (np.asarray(wavelengths) / MAG_WAVELENGTH) ** -BLUER
    bands = columns["tail_flux"].shape[-1]
    for slot, (tail, part) in enumerate(found.get("tails", [])):
        for name in FEATURE_NAMES:
            columns[f"tail_{name}"][row, slot] = tail[name]
        columns["tail_flux"][row, slot] = part * blue[:bands]
    for name, value in found.get("lens", {}).items():
        columns[name][row] = value
    return blue * sum(part for _, part in found.get("tails", []))
