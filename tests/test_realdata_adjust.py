"""What may be asked of ingest, on real files: sky subtracted, seeing made equal, several sets."""

import csv
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from ingest_fits import write_manifest

from astroml import config
from astroml.ingest.measure import sky_noise
from astroml.ingest.psf import fwhm
from astroml.ingest.reject import read_rejects
from astroml.ingest.run import ingest
from astroml.store import FLAGS, MASK, open_store
from astroml.survey import load_survey

pytestmark = pytest.mark.realdata

ARCMIN = 60
PLANES = ("image", "mask", "sigma", "psf_fwhm")


@pytest.fixture
def read(realdata, tmp_path):
    """Return a function that ingests rows into sets, and gives a store for each."""

    def run(name, folder, rows, size, bands=None, **changes):
        survey = load_survey(name, bands)
        settings = config.Ingest(size=size, **changes)
        outs = [tmp_path / f"{one}.h5" for one in size]
        lost = [tmp_path / f"{one}.parquet" for one in size]
        manifest = write_manifest(tmp_path / "m.csv", rows)
        root = realdata / folder
        ingest(manifest, survey, outs, lost, settings, root=root, cutouts=list(size))
        assert all(read_rejects(one) == [] for one in lost)
        return {one: open_store(out) for one, out in zip(size, outs)}

    return run


def middle(path, hdu=0) -> dict:
    """Return the sky position of an image's middle."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = fits.getheader(path, hdu)
        wcs = WCS(header, naxis=2)
        ra, dec = wcs.wcs_pix2world(header["NAXIS1"] / 2, header["NAXIS2"] / 2, 0)
    return {"ra": float(ra), "dec": float(dec)}


def levels(image, good, sigma, boxes=8) -> np.ndarray:
    """Return the level of the sky in boxes of an image, in units of its noise."""
    side = len(image) // boxes
    parts = [
        np.s_[j * side : (j + 1) * side, i * side : (i + 1) * side]
        for j in range(boxes)
        for i in range(boxes)
    ]
    found = [sky_noise(image[part][None], good[part][None])[1][0] / sigma for part in parts]
    return np.array(found)[np.isfinite(found)]


def spread(values) -> float:
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def aperture(image, y, x, inner=5, outer=(12, 18)) -> float:
    """Return the light of a source above the sky around it."""
    away = np.hypot(*(np.indices(image.shape) - np.array([y, x])[:, None, None]))
    ring = image[(away > outer[0]) & (away < outer[1])]
    return image[away < inner].sum() - np.median(ring) * (away < inner).sum()


@pytest.mark.parametrize(
    ("survey", "folder", "name", "file", "size", "before", "after"),
    [
        # The light of the two giants of Coma fills the field.
        ("kpno_r", "cluster_fields", "coma_kpno_R", "coma_kpno_R.fits", 500, 0.2, 0.09),
        # A sky that was flat before stays so.
        ("cfhtls_field", "cfhtls_field", "CFHTLS-test", "CFHTLS-test_r.fits", 400, 0.05, 0.1),
    ],
)
def test_a_mesh_makes_the_sky_flat(read, realdata, survey, folder, name, file, size, before, after):
    row = {"object_id": 1, "name": name} | middle(realdata / folder / file)
    found = {}
    for kind in ("none", "median", "mesh"):
        store = read(survey, folder, [row], {"galaxy": size}, background=kind)["galaxy"]
        found[kind] = store.read([0], PLANES) | {"objects": store.objects}
    band = 1 if survey == "cfhtls_field" else 0
    image = {kind: one["image"][0, band] for kind, one in found.items()}
    good = found["none"]["mask"][0, band] == 0
    sigma = float(found["none"]["sigma"][0, band])
    told = {kind: levels(one, good, sigma) for kind, one in image.items()}
    assert spread(told["none"]) > before
    assert spread(told["median"]) == pytest.approx(spread(told["none"]), rel=0.01)
    assert spread(told["mesh"]) < after
    for kind in ("median", "mesh"):
        assert abs(np.median(told[kind])) < 0.06
        # What the sky was before is what the store says, whatever is then done to it.
        key = "sky_R" if survey == "kpno_r" else "sky_r"
        assert found[kind]["objects"][key] == found["none"]["objects"][key]
    level = sky_noise(image["none"][None], good[None])[1][0]
    np.testing.assert_allclose(
        image["none"][good] - image["median"][good], level, atol=1e-3 * sigma
    )
    # Compact sources keep their light.
    bright = np.where(good, image["none"], 0)[30:-30, 30:-30]
    for _ in range(8):
        y, x = np.unravel_index(np.argmax(bright), bright.shape)
        bright[max(y - 20, 0) : y + 20, max(x - 20, 0) : x + 20] = 0
        here = [aperture(image[kind], y + 30, x + 30) for kind in ("none", "mesh")]
        assert here[1] == pytest.approx(here[0], rel=0.05)


def test_bands_of_different_seeing_are_made_equal(read, realdata):
    """Stars of the deep HSC patch: 0.77, 0.65 and 0.56" in g, r and i become 0.9" and a little."""
    with open(realdata / "hsc_deep_field/objects.csv") as stream:
        table = [one for one in csv.DictReader(stream) if float(one["i_mag"]) < 21.4]
    rows = [
        {"object_id": one["row"], "x": one["x"], "y": one["y"], "patch": '"10054-0,2-c1"'}
        for one in table
    ]
    widths, light = [], []
    for wanted in (None, 0.9):
        store = read("hsc_deep", "hsc_deep_field", rows, {"galaxy": 41}, match_psf=wanted)["galaxy"]
        found = store.read(range(len(store)), PLANES)
        sky = np.median(found["image"], axis=(2, 3), keepdims=True)
        widths.append([[fwhm(one) * 0.168 for one in bands] for bands in found["image"] - sky])
        light.append([[aperture(one, 20, 20, 9, (13, 19)) for one in bands]
                      for bands in found["image"]])  # fmt: skip
    before, after = np.array(widths)
    stars = (np.abs(before[:, 2] - 0.56) < 0.02) & (before[:, 0] < 0.85)
    assert stars.sum() >= 8
    spread_before, spread_after = (np.ptp(np.median(one[stars], axis=0)) for one in (before, after))
    assert spread_before > 0.2
    assert spread_after < 0.05
    # The kernel is that of Gaussians; the wings of real stars make them a tenth wider.
    np.testing.assert_allclose(np.median(after[stars], axis=0), 0.95, atol=0.06)
    np.testing.assert_allclose(found["psf_fwhm"], 0.9, rtol=1e-6)
    ratio = np.array(light[1])[stars] / np.array(light[0])[stars]
    np.testing.assert_allclose(np.median(ratio, axis=0), 1, atol=0.03)


def check_quality(store, survey) -> None:
    """Check that every quality column is there and says what the pixels say."""
    found = store.read(range(len(store)), PLANES)
    lost = (found["mask"] & ~np.uint8(MASK["interpolated"])) != 0
    fraction = lost.mean(axis=(2, 3))
    columns = store.objects
    for place, band in enumerate(survey.bands):
        np.testing.assert_allclose(columns[f"masked_{band}"], fraction[:, place], atol=1e-6)
        sigma, level = sky_noise(found["image"][:, place], ~lost[:, place])
        known = np.isfinite(sigma) & (sigma > 0)
        np.testing.assert_allclose(found["sigma"][:, place][known], sigma[known], rtol=1e-4)
        np.testing.assert_allclose(
            columns[f"sky_{band}"][known], (level / sigma)[known], rtol=1e-3, atol=1e-3
        )
    np.testing.assert_allclose(columns["masked_fraction"], fraction.max(axis=1), atol=1e-6)
    edge = ((found["mask"] & MASK["edge"]) != 0).any(axis=(1, 2, 3))
    np.testing.assert_array_equal((columns["flags"] & FLAGS["edge"]) != 0, edge)
    for name in ("dx", "dy"):
        assert (np.abs(columns[name]) <= 0.501).all()
    for name in ("centroid_dx", "centroid_dy"):
        assert columns[name].dtype == np.float32
        assert len(columns[name]) == len(store)
    assert set(columns) >= {"object_id", "ra", "dec", "ebv", "split", "flags"}


@pytest.mark.parametrize(
    ("survey", "folder", "name", "file", "hdu", "bands", "size", "scale"),
    [
        (
            "sdss_mosaics", "sdss_ngc6976", {"name": "reprojected_sdss"},
            "reprojected_sdss_r.fits.bz2", 0, None,
            {"galaxy": 17, "halo": 76, "field": 5 * ARCMIN + 1}, 1.0,
        ),
        (
            "kpno_r", "cluster_fields", {"name": "coma_kpno_R"}, "coma_kpno_R.fits", 0, None,
            {"galaxy": 31, "halo": 150, "field": 5 * ARCMIN}, 1.0,
        ),
        (
            "hst_wfpc2", "cluster_fields", {"name": "a478_hst_f606w"}, "a478_hst_f606w.fits.gz",
            1, None, {"galaxy": 128, "halo": 350, "field": 41}, 1.0,
        ),
        pytest.param(
            "legacy_bricks", "legacy_dr6_brick", {"brick": "0959p805"},
            "legacysurvey-0959p805-image-g.fits.fz", 1, ["g"],
            {"galaxy": 64, "halo": 320, "field": 5 * ARCMIN}, 1.0, marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_three_sets_of_a_mosaic_in_one_pass(
    read, realdata, survey, folder, name, file, hdu, bands, size, scale
):
    """The same sources with the same light in all sets; the field is north up, on pixels of 1"."""
    path = realdata / folder / file
    place = middle(path, hdu)
    if survey == "legacy_bricks":  # where g has seen something
        with fits.open(str(path).replace("image", "invvar")) as hdus:
            y, x = (int(np.median(axis)) for axis in np.nonzero(hdus[1].data))
            ra, dec = WCS(hdus[1].header).wcs_pix2world(x, y, 0)
        place = {"ra": float(ra), "dec": float(dec)}
    described = load_survey(survey, bands)
    rows = [{"object_id": 7} | name | place]
    stores = read(
        survey, folder, rows, size, bands, scale={"field": scale}, max_masked=0.95
    )  # fmt: skip
    for one, store in stores.items():
        assert (store.header.set, store.header.size) == (one, size[one])
        assert store.header.pixel_scale == (scale if one == "field" else described.pixel_scale)
        check_quality(store, described)
    found = {one: store.read([0], PLANES) for one, store in stores.items()}
    # The smaller set is the middle of the larger, pixel for pixel.
    start = [
        round((size["halo"] - size["galaxy"]) / 2
              + float(stores["halo"].objects[axis][0] - stores["galaxy"].objects[axis][0]))
        for axis in ("dy", "dx")
    ]  # fmt: skip
    part = tuple(slice(one, one + size["galaxy"]) for one in start)
    for plane in ("image", "mask"):
        inner = found["halo"][plane][0][(slice(None), *part)]
        np.testing.assert_array_equal(inner, found["galaxy"][plane][0])
    # The light within a circle is the same on the field's pixels.
    for band in range(len(described.bands)):
        reach = 0.3 * min(size["halo"] * described.pixel_scale, size["field"] * scale)
        sums = []
        for one, step in (("halo", described.pixel_scale), ("field", scale)):
            at = (size[one] - 1) / 2
            off = [float(stores[one].objects[axis][0]) for axis in ("dy", "dx")]
            away = np.indices((size[one],) * 2) - at - np.array(off)[:, None, None]
            inside = np.hypot(*away) * step < reach
            assert inside.sum() > 300
            assert (found[one]["mask"][0, band][inside] != 0).mean() < 0.2
            sums.append(found[one]["image"][0, band][inside].sum(dtype=float))
        noise = found["halo"]["sigma"][0, band] * np.sqrt(inside.sum()) * 3
        assert sums[1] == pytest.approx(sums[0], rel=0.06, abs=noise)
