"""Lenses and non-lenses that another code rendered from other priors: does the finder know them?

lenstronomy bends the light and GalSim draws it; nothing of ``astroml.sky`` is used, and neither are
its laws: power-law mass of any slope, clumpy sources, Kolmogorov seeing, colours off a table, sizes
and magnitudes of their own. Pixels are those of HSC in g, r, i.

Run as a script, it writes a store and a picture of it: ``python tests/science/foreign.py OUT.h5``.
"""

import math
import sys
from pathlib import Path

import galsim
import numpy as np
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel

from astroml import store

BANDS, PIXEL, SIZE = ("g", "r", "i"), 0.168, 64
SIGMA = np.array([2.4, 3.6, 4.6])
"""Noise of one pixel, nJy: 26.5, 26.1, 25.9 mag at 5 sigma in 2 arcsec."""
GAIN = np.array([1000.0, 1000.0, 1500.0])
"""Photoelectrons per nJy."""
SEEING = np.array([0.79, 0.75, 0.61])
"""Median FWHM, arcsec."""
RED = np.array(
    [[0.2, 1.15, 0.52], [0.3, 1.41, 0.60], [0.4, 1.60, 0.69], [0.5, 1.52, 0.93], [0.6, 1.48, 1.18],
     [0.7, 1.58, 1.33], [0.8, 1.77, 1.36]]
)  # fmt: skip
"""z, g-r and r-i of ellipticals through the HSC filters (CWW templates)."""
FINE = 3
"""Rays along the side of a pixel, for arcs."""
NEGATIVES = {
    "elliptical": 110, "spiral": 100, "ring": 50, "companion": 110, "merger": 70, "edge_on": 60
}  # fmt: skip
FAINTEST = 12.0
"""Arc S/N below which a lens is drawn again."""


def njy(mag):
    """Return the flux of an AB magnitude."""
    return 10 ** (-0.4 * (np.asarray(mag) - 31.4))


def colours(i, g_r, r_i):
    """Return g, r, i fluxes, nJy."""
    return njy([i + r_i + g_r, i + r_i, i])


def red_fluxes(rng, i, z):
    """Return g, r, i of a passive galaxy."""
    g_r, r_i = (np.interp(z, RED[:, 0], RED[:, at]) for at in (1, 2))
    return colours(i, g_r + rng.normal(0, 0.05), r_i + rng.normal(0, 0.03))


def blue_fluxes(rng, i, red=0.0):
    """Return g, r, i of a galaxy that forms stars; ``red`` is added to its colours."""
    return colours(i, rng.normal(0.35, 0.15) + red, rng.normal(0.15, 0.1) + red / 2)


def draw_seeing(rng):
    """Return the FWHM per band, arcsec, and its Kolmogorov profiles."""
    fwhm = SEEING * np.exp(rng.normal(0, 0.1, 3))
    size, turn = abs(rng.normal(0, 0.03)), rng.uniform(0, math.pi)
    shape = {"g1": size * math.cos(2 * turn), "g2": size * math.sin(2 * turn)}
    return fwhm, [galsim.Kolmogorov(fwhm=one).shear(**shape) for one in fwhm]


def sheared(profile, q=1.0, phi=0.0, x=0.0, y=0.0):
    """Flatten, turn and move a profile."""
    return profile.shear(q=q, beta=phi * galsim.radians).shift(x, y)


def sersic(n, r_e, trunc=6.0):
    """Return a truncated Sersic profile of flux 1."""
    return galsim.Sersic(n, half_light_radius=r_e, trunc=trunc * r_e)


def cloud(x, y, light):
    """Return a profile of flux 1 made of many points, arcsec, each a Gaussian of 0.1 arcsec."""
    side, step = SIZE * FINE, PIXEL / FINE
    edges = (np.arange(side + 1) - side / 2) * step
    image = np.histogram2d(y, x, [edges, edges], weights=light)[0]
    points = galsim.InterpolatedImage(
        galsim.Image(image, scale=step), flux=1.0, normalization="flux", x_interpolant="linear"
    )
    return galsim.Convolve(points, galsim.Gaussian(sigma=0.1))


# Each draws a list of (profile of flux 1, fluxes in g, r, i).


def elliptical(rng, i=None, z=None):
    """Draw a massive red galaxy: core and halo of one angle, as cD galaxies have."""
    i = np.clip(rng.normal(19.0, 0.7), 17.2, 20.8) if i is None else i
    z = rng.uniform(0.2, 0.75) if z is None else z
    q, phi = rng.uniform(0.55, 1.0), rng.uniform(0, math.pi)
    r_e = np.clip(0.9 * 10 ** (-0.22 * (i - 19)) * math.exp(rng.normal(0, 0.3)), 0.3, 2.5)
    halo = rng.uniform(0, 0.25)
    parts = [
        (sheared(sersic(4.0 * rng.uniform(0.8, 1.3), r_e), q=q, phi=phi), 1 - halo),
        (sheared(sersic(1.0, 2 * r_e), q=max(0.5, q - 0.1), phi=phi), halo),
    ]
    flux = red_fluxes(rng, i, z)
    return [(profile, flux * part) for profile, part in parts], (i, z, q, phi)


def spiral(rng):
    """Draw a face-on disc: bulge, knots along arms, knots anywhere, all flattened alike."""
    i, q, phi = rng.uniform(17.2, 20.0), rng.uniform(0.5, 1), rng.uniform(0, math.pi)
    h = np.clip(1.2 * 10 ** (-0.1 * (i - 18.5)) * math.exp(rng.normal(0, 0.25)), 0.6, 2.5)
    arms, pitch = rng.integers(2, 5), math.radians(rng.uniform(12, 30))
    count = 1500
    radius = np.minimum(rng.gamma(2.0, h, count), 6 * h)
    turn = np.log(radius / h + 0.2) / math.tan(pitch)
    turn += rng.integers(0, arms, count) * 2 * math.pi / arms
    turn += rng.normal(0, rng.uniform(0.15, 0.4), count)
    # A few knots outshine the rest.
    knots = cloud(radius * np.cos(turn), radius * np.sin(turn), rng.pareto(1.5, count))
    share = rng.dirichlet([2, 4, 3])
    old = colours(i, rng.uniform(0.7, 1.2), rng.uniform(0.35, 0.5))
    parts = [
        (sersic(rng.uniform(1, 3), rng.uniform(0.2, 0.5) * h), share[0] * old),
        (galsim.Exponential(scale_radius=h), share[1] * blue_fluxes(rng, i, 0.2)),
        (knots, share[2] * blue_fluxes(rng, i, -0.15)),
    ]
    return [(sheared(profile, q=q, phi=phi), flux) for profile, flux in parts]


def ring(rng):
    """Draw a red core within a blue ring of beads."""
    core, (i, *_) = elliptical(rng)
    radius, q, phi = rng.uniform(0.8, 2.6), rng.uniform(0.6, 1), rng.uniform(0, math.pi)
    turn = rng.uniform(0, 2 * math.pi, 1500)
    away = radius + rng.normal(0, rng.uniform(0.08, 0.3), 1500)
    patchy = np.exp(rng.uniform(0, 1.5) * np.cos(rng.integers(1, 4) * turn + rng.uniform(0, 6)))
    beads = cloud(away * np.cos(turn), away * np.sin(turn), patchy * rng.pareto(2.5, 1500))
    flux = blue_fluxes(rng, rng.uniform(max(20.0, i + 0.5), 22.8))
    return [*core, (sheared(beads, q=q, phi=phi), flux)]


def companion(rng):
    """Draw a red galaxy with blue ones where images of a source might be."""
    parts, _ = elliptical(rng)
    for _ in range(rng.choice([1, 1, 2, 2, 3])):
        away, turn = rng.uniform(0.8, 3.2), rng.uniform(0, 2 * math.pi)
        tangential = turn + math.pi / 2 + rng.normal(0, 0.3)
        phi = tangential if rng.random() < 0.5 else rng.uniform(0, math.pi)
        one = sheared(
            sersic(rng.uniform(0.6, 1.6), rng.uniform(0.15, 0.6)),
            q=rng.uniform(0.3, 0.95), phi=phi, x=away * math.cos(turn), y=away * math.sin(turn),
        )  # fmt: skip
        parts.append((one, blue_fluxes(rng, rng.uniform(21.0, 23.5))))
    return parts


def merger(rng):
    """Draw two galaxies and a curved tail of stars between or behind them."""
    i, turn, away = rng.uniform(17.5, 20), rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 3.5)
    red = rng.uniform(0, 0.7)
    parts = []
    for at, share in ((0.0, 0.55), (away, 0.3)):
        body = sersic(rng.uniform(1, 3.5), rng.uniform(0.3, 1.1))
        flux = share * blue_fluxes(rng, i, red + rng.normal(0, 0.15))
        place = {"x": at * math.cos(turn), "y": at * math.sin(turn)}
        body = sheared(body, q=rng.uniform(0.4, 1), phi=rng.uniform(0, math.pi), **place)
        parts.append((body, flux))
    bend, first = rng.choice([-1, 1]) * rng.uniform(0.3, 1.0), rng.uniform(0, 2 * math.pi)
    along = rng.uniform(0.3, rng.uniform(2.0, 5.0), 1500)
    turn = first + bend * along + rng.normal(0, 0.25, 1500)
    tail = cloud(along * np.cos(turn), along * np.sin(turn), np.exp(-along / 2))
    return [*parts, (tail, rng.uniform(0.05, 0.15) * blue_fluxes(rng, i, red - 0.1))]


def edge_on(rng):
    """Draw an inclined disc with a bulge, and a blue galaxy beside it now and then."""
    i, phi = rng.uniform(17.8, 20.5), rng.uniform(0, math.pi)
    h = np.clip(0.9 * 10 ** (-0.1 * (i - 19)) * math.exp(rng.normal(0, 0.25)), 0.4, 2.0)
    disc = galsim.InclinedExponential(
        rng.uniform(78, 90) * galsim.degrees, scale_radius=h, scale_h_over_r=rng.uniform(0.08, 0.15)
    ).rotate(phi * galsim.radians)
    red, bulge = rng.uniform(0.1, 0.7), rng.uniform(0.05, 0.4)
    core = sheared(sersic(2.0, 0.3 * h), q=0.7, phi=phi)
    parts = [
        (disc, (1 - bulge) * blue_fluxes(rng, i, red)),
        (core, bulge * red_fluxes(rng, i, 0.2)),
    ]
    if rng.random() < 0.5:
        turn, away = rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 2.5)
        knot = sersic(1.0, rng.uniform(0.15, 0.4)).shift(
            away * math.cos(turn), away * math.sin(turn)
        )
        parts.append((knot, blue_fluxes(rng, rng.uniform(21.3, 23.5))))
    return parts


def neighbours(rng):
    """Draw field galaxies: 27 per square arcminute to i 24, counts rising as 10^(0.32 i)."""
    parts, half = [], SIZE * PIXEL / 2 + 2
    for _ in range(rng.poisson(27 * (2 * half / 60) ** 2)):
        i = 24 + math.log10(rng.uniform(10 ** (0.32 * (19 - 24)), 1)) / 0.32
        x, y = rng.uniform(-half, half, 2)
        body = sersic(rng.choice([1.0, 1.0, 2.0, 4.0]), math.exp(rng.normal(-1.0, 0.4)))
        place = {"q": rng.uniform(0.3, 1), "phi": rng.uniform(0, math.pi), "x": x, "y": y}
        parts.append((sheared(body, **place), blue_fluxes(rng, i, max(0, rng.normal(0.15, 0.3)))))
    return parts


def draw_lens(rng, seeing):
    """Draw a lens whose arc can be seen; return its parts and its labels."""
    cosmic = LensCosmos()
    while True:
        light, (i, z, q, phi) = elliptical(rng, z=float(np.clip(rng.gamma(9, 0.06), 0.2, 0.8)))
        z_source = rng.uniform(z + 0.3, 3.2)
        dispersion = (
            245 * 10 ** (-0.1 * (i - 18.7 - 3 * (z - 0.45))) * math.exp(rng.normal(0, 0.12))
        )
        theta_e = cosmic.theta_e(np.clip(dispersion, 170, 400), z, z_source)
        if not 0.55 < theta_e < 3.0:
            continue
        mass_q = np.clip(rng.normal(q, 0.12), 0.45, 0.97)
        size = (1 - mass_q) / (1 + mass_q)
        turn = phi + math.radians(rng.normal(0, 10))
        tide, to = abs(rng.normal(0, 0.04)), rng.uniform(0, 2 * math.pi)
        mass = {
            "theta_E": theta_e, "gamma": np.clip(rng.normal(2.08, 0.16), 1.6, 2.5),
            "e1": size * math.cos(2 * turn), "e2": size * math.sin(2 * turn),
            "center_x": 0.0, "center_y": 0.0,
        }  # fmt: skip
        shear = {"gamma1": min(tide, 0.1) * math.cos(to), "gamma2": min(tide, 0.1) * math.sin(to)}
        away, at = theta_e * rng.uniform(0, 0.6), rng.uniform(0, 2 * math.pi)
        source = (away * math.cos(at), away * math.sin(at))
        arcs = bend(rng, [mass, shear], source)
        if (snr := arc_snr(arcs, seeing)) > FAINTEST:
            break
    labels = {
        "theta_e": theta_e, "arc_snr": snr, "e1": mass["e1"], "e2": mass["e2"],
        "shear_1": shear["gamma1"], "shear_2": shear["gamma2"],
        "source_x": source[0], "source_y": source[1], "lens_mag": i,
    }  # fmt: skip
    return light + arcs, labels


class LensCosmos:
    """Einstein radii of isothermal spheres in astropy's Planck cosmology."""

    def theta_e(self, dispersion, z_lens, z_source):
        """Return theta_e, arcsec, of a velocity dispersion, km/s."""
        from astropy.cosmology import Planck18

        # Flat: comoving distances are subtracted.
        ratio = 1 - float(Planck18.comoving_distance(z_lens) / Planck18.comoving_distance(z_source))
        return float(4 * math.pi * (dispersion / 299792.458) ** 2 * ratio * 206264.806)


def bend(rng, kwargs, source):
    """Return the parts that are the image of a clumpy source."""
    model, side = LensModel(["EPL", "SHEAR"]), 2 * SIZE * FINE // 2
    axis = (np.arange(side) - (side - 1) / 2) * PIXEL / FINE
    x, y = (one.ravel() for one in np.meshgrid(axis, axis))
    beta = model.ray_shooting(x, y, kwargs)
    r = rng.triangular(22.0, 25.2, 25.2)
    # Brighter galaxies are larger, about as the root of their light.
    r_e = np.clip(0.28 * 10 ** (-0.12 * (r - 24)) * math.exp(rng.normal(0, 0.3)), 0.08, 0.6)
    body = [{"R_sersic": r_e, "n_sersic": rng.uniform(0.6, 2.0), "x": 0.0, "y": 0.0, "share": 1.0}]
    for _ in range(rng.integers(0, 4)):
        place = rng.normal(0, 0.7 * r_e, 2)
        body.append(
            {"R_sersic": rng.uniform(0.1, 0.3) * r_e, "n_sersic": 1.0, "x": place[0], "y": place[1],
             "share": rng.uniform(0.05, 0.25)}
        )  # fmt: skip
    parts, light = [], LightModel(["SERSIC_ELLIPSE"])
    total, e1, e2 = sum(one["share"] for one in body), *rng.uniform(-0.25, 0.25, 2)
    colour, i = rng.normal(0, 0.12), r - rng.normal(0.15, 0.1)
    for number, one in enumerate(body):
        facts = {
            "amp": 1.0, "R_sersic": one["R_sersic"], "n_sersic": one["n_sersic"],
            "e1": e1 if number == 0 else 0.0, "e2": e2 if number == 0 else 0.0,
            "center_x": source[0] + one["x"], "center_y": source[1] + one["y"],
        }  # fmt: skip
        unit = light.total_flux([facts])[0]
        image = light.surface_brightness(*beta, [facts]).reshape(side, side) / unit
        flux = one["share"] / total * blue_fluxes(rng, i, colour - (0.1 if number else 0.0))
        gain = image.sum() * (PIXEL / FINE) ** 2
        if gain > 0:
            seen = galsim.Image(np.ascontiguousarray(image), scale=PIXEL / FINE)
            parts.append(
                (galsim.InterpolatedImage(seen, flux=1.0, normalization="flux"), flux * gain)
            )
    return parts


def arc_snr(parts, seeing):
    """Return the arc's S/N: pixels above 1 sigma, bands in quadrature."""
    image = paint(parts, seeing)
    total = 0.0
    for plane, sigma in zip(image, SIGMA):
        bright = plane[plane > sigma]
        total += (bright.sum() / sigma) ** 2 / max(len(bright), 1)
    return math.sqrt(total)


def paint(parts, seeing):
    """Return the noiseless image (band, y, x), nJy."""
    out = np.zeros((3, SIZE, SIZE), np.float32)
    params = galsim.GSParams(maximum_fft_size=16384, folding_threshold=1e-2, maxk_threshold=1e-2)
    for band, psf in enumerate(seeing):
        whole = galsim.Sum([profile.withFlux(max(flux[band], 1e-9)) for profile, flux in parts])
        whole = galsim.Convolve(whole, psf, gsparams=params)
        out[band] = whole.drawImage(nx=SIZE, ny=SIZE, scale=PIXEL).array
    return out


def observe(rng, image):
    """Add noise whose neighbours correlate a little, and return it with its level per band."""
    sigma = SIGMA * np.exp(rng.normal(0, 0.05, 3))
    kernel = np.array([[0.03, 0.12, 0.03], [0.12, 1.0, 0.12], [0.03, 0.12, 0.03]])
    kernel /= np.sqrt((kernel**2).sum())
    white = rng.normal(0, 1, (3, SIZE + 2, SIZE + 2))
    field = sum(
        kernel[a, b] * white[:, a : a + SIZE, b : b + SIZE] for a in range(3) for b in range(3)
    )
    level = np.sqrt(sigma[:, None, None] ** 2 + np.clip(image, 0, None) / GAIN[:, None, None])
    residue = sigma * rng.normal(0, 0.04, 3)
    return (image + field * level + residue[:, None, None]).astype(np.float32), sigma


LABELS = (
    "theta_e", "arc_snr", "e1", "e2", "shear_1", "shear_2", "source_x", "source_y", "lens_mag"
)  # fmt: skip


def draw_one(seed, number, kind):
    """Draw one object as a store's row: planes and object columns."""
    rng = np.random.default_rng([seed, number])
    fwhm, seeing = draw_seeing(rng)
    labels = dict.fromkeys(LABELS, 0.0)
    if kind == "lens":
        parts, found = draw_lens(rng, seeing)
        labels |= found
    else:
        parts = {"elliptical": lambda rng: elliptical(rng)[0]}.get(kind) or globals()[kind]
        parts = parts(rng)
    image, sigma = observe(rng, paint(parts + neighbours(rng), seeing))
    return image, sigma, fwhm, {"kind": kind, "is_lens": int(kind == "lens"), **labels}


def write(out, seed=1, lenses=500, negatives=500) -> None:
    """Write a store of foreign lenses and non-lenses.

    Parameters
    ----------
    out : path
        The shard.
    seed : int
        Seed of every draw.
    lenses, negatives : int
        How many of each; the negatives in the shares of ``NEGATIVES``.
    """
    total = sum(NEGATIVES.values())
    kinds = ["lens"] * lenses
    edges = np.round(np.cumsum([0, *NEGATIVES.values()]) * negatives / total).astype(int)
    for kind, count in zip(NEGATIVES, np.diff(edges)):
        kinds += [kind] * count
    drawn = [draw_one(seed, number, kind) for number, kind in enumerate(kinds)]
    image, sigma, fwhm, labels = zip(*drawn)
    objects = {name: np.array([one[name] for one in labels]) for name in labels[0]}
    rng = np.random.default_rng([seed, 10**6])
    n = len(kinds)
    objects |= {
        "object_id": np.arange(n),
        "ra": rng.uniform(0, 360, n),
        "dec": rng.uniform(-40, 40, n),
    }
    objects |= {"ebv": np.zeros(n), "flags": np.zeros(n, np.int32), "split": np.full(n, "test")}
    objects |= {"group": np.full(n, -1), "artefact": np.zeros(n, np.int64)}
    objects["seeing"] = np.mean(fwhm, axis=1).astype(np.float32)
    image = np.stack(image)
    block = {"image": image, "mask": np.zeros(image.shape, np.uint8), "objects": objects}
    block |= {"sigma": np.array(sigma, np.float32), "psf_fwhm": np.array(fwhm, np.float32)}
    made = {"stage": "foreign", "seed": seed, "lenstronomy": True, "galsim": galsim.__version__}
    header = store.Header("galaxy", BANDS, SIZE, PIXEL, "hsc", provenance=made)
    store.write_shard(out, header, [block])


def picture(paths, out, rows=4, columns=16) -> None:
    """Draw lenses, then negatives, of each of some stores as colour images."""
    from astropy.visualization import make_lupton_rgb
    from matplotlib.figure import Figure

    strips = []
    for path in paths:
        kept = store.open_store(path)
        label = kept.objects["is_lens"]
        for which in (1, 0):
            pick = np.flatnonzero(label == which)[: rows * columns]
            image = (
                kept.read(pick)["image"][:, ::-1] / np.array([4.6, 3.6, 2.4])[None, :, None, None]
            )
            tiles = [make_lupton_rgb(*one, minimum=-1, stretch=12, Q=8) for one in image]
            tiles += [np.zeros_like(tiles[0])] * (rows * columns - len(tiles))
            grid = np.array(tiles).reshape(rows, columns, SIZE, SIZE, 3).transpose(0, 2, 1, 3, 4)
            strips += [grid.reshape(rows * SIZE, columns * SIZE, 3)[::-1]]
            strips += [np.full((6, columns * SIZE, 3), 255, np.uint8)]
    whole = np.concatenate(strips)
    figure = Figure(figsize=(whole.shape[1] / 100, whole.shape[0] / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(whole)
    axes.axis("off")
    figure.savefig(out)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    write(target, lenses=int(sys.argv[2]) if len(sys.argv) > 2 else 500,
          negatives=int(sys.argv[2]) if len(sys.argv) > 2 else 500)  # fmt: skip
    picture([target], target.with_suffix(".png"))
