"""Every layout of config/surveys reads real files of that layout, onto the right pixels."""

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from ingest_fits import write_manifest

from astroml import config
from astroml.ingest.reject import read_rejects
from astroml.ingest.run import ingest
from astroml.store import FLAGS, MASK, open_store
from astroml.survey import load_survey

pytestmark = pytest.mark.realdata

SURVEYS = Path(__file__).parents[1] / "config/surveys"


@pytest.fixture
def read(realdata, tmp_path):
    """Return a function that ingests rows: the store, its pixels, and the rejects."""

    def run(name, folder, rows, size=32, bands=None, **changes):
        survey = load_survey(str(SURVEYS / f"{name}.yaml"), bands)
        settings = config.Ingest(size={"galaxy": size}, **changes)
        out, rejects = tmp_path / f"{name}.h5", tmp_path / f"{name}.parquet"
        manifest = write_manifest(tmp_path / f"{name}.csv", rows)
        ingest(manifest, survey, out, rejects, settings, root=realdata / folder)
        store = open_store(out)
        names = ["image", "mask", "sigma", "psf_fwhm"] + ["ivar"] * store.has("ivar")
        return store, store.read(range(len(store)), names), read_rejects(rejects)

    return run


def brightest(path, hdu=0, inside=np.s_[:, :]):
    """Return the sky position of an image's brightest pixel, and that pixel (y, x)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image, header = fits.getdata(path, hdu, header=True)
        part = np.full(image.shape, -np.inf)
        part[inside] = np.nan_to_num(image[inside], nan=-np.inf)
        y, x = np.unravel_index(np.argmax(part), image.shape)
        ra, dec = WCS(header, naxis=2).wcs_pix2world(x, y, 0)
    return {"ra": float(ra), "dec": float(dec)}, (int(y), int(x)), image


def independent_centroid(folder, row) -> tuple:
    """Return, in px from a star's position by astropy's WCS, the stamp's middle and the light."""
    from photutils.centroids import centroid_2dg

    with fits.open(folder / f"{row['name']}-cutout-HSC-I-8279-pdr2_wide.fits") as hdus:
        image, wcs = hdus[1].data.astype(float), WCS(hdus[1].header)
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    place = np.array(wcs.wcs_world2pix(float(row["ra"]), float(row["dec"]), 0))
    middle = (np.array(image.shape)[::-1] - 1) / 2
    return middle - place, centroid_2dg(image - np.median(border)) - place


def test_hsc_cutout_service(read, realdata):
    """Stamps of 24x25 and 25x24 pixels, mask and variance HDUs that are there and hold nothing."""
    with open(realdata / "hsc_stars/star_cat_correct.csv") as stream:
        table = list(csv.DictReader(stream))
    rows = [
        {
            "object_id": one[" object_id"] if " object_id" in one else one["# object_id"],
            "ra": one["ira"],
            "dec": one["idec"],
            "mag": one["imag_psf"],
            "name": Path(one["star_filename"]).name.split("-")[0],
            "tract": one["tract"],
            "rerun": "pdr2_wide",
        }
        for one in table
    ]
    store, found, rejects = read("hsc_cutouts", "hsc_stars", rows, 24, ["i"])
    assert rejects == []
    assert len(store) == 10
    assert store.objects["object_id"].tolist() == [int(row["object_id"]) for row in rows]
    assert (found["mask"] == 0).all()
    # Stars: their light within 2" is their catalog magnitude, and they are in the middle.
    light = found["image"][:, 0].sum(axis=(1, 2), dtype=float)
    sky = store.objects["sky_i"] * found["sigma"][:, 0] * 24**2
    magnitude = 31.4 - 2.5 * np.log10(light - sky)
    assert np.median(magnitude - store.objects["mag"]) == pytest.approx(0, abs=0.1)
    # Where their light is, an independent code finds too, on the files' own pixels. It is not where
    # the catalog says: all ten stars lie 0.08" east and 0.15" south of it. Not the pixels are
    # shifted: the stamps' middles are the catalog's positions (to the rounding of a stamp to whole
    # pixels), so the cutout service used the very WCS that it wrote. The offset changes smoothly
    # across the 0.25 deg of the stars (-0.6 to -1.0 px in y) and not with magnitude, as between two
    # astrometric solutions: that of the catalog and that of the coadd.
    ours = np.stack([store.objects["centroid_dx"], store.objects["centroid_dy"]], axis=1)
    stamps, theirs = zip(*[independent_centroid(realdata / "hsc_stars", one) for one in rows])
    np.testing.assert_allclose(ours, theirs, atol=0.05)
    np.testing.assert_allclose(ours.mean(axis=0), [-0.47, -0.87], atol=0.05)
    assert ours.std(axis=0).max() < 0.15
    assert np.abs(stamps).max() < 0.51
    assert np.median(found["sigma"]) == pytest.approx(0.08 * 57.54, rel=0.2)
    # Without a variance HDU the usual noise stands in.
    np.testing.assert_allclose(found["ivar"], (0.08 * 57.54) ** -2.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("survey", "folder", "name", "zero_point"),
    [
        ("cfhtls_field", "cfhtls_field", "CFHTLS-test", 30.0),
        ("kids", "kids_stamp", "KiDS-test", 0.0),
    ],
)
def test_file_per_band(read, realdata, survey, folder, name, zero_point):
    inside = np.s_[30:-30, 30:-30]
    place, (y, x), _ = brightest(realdata / folder / f"{name}_r.fits", inside=inside)
    store, found, rejects = read(survey, folder, [{"object_id": 1, "name": name} | place], 33)
    assert rejects == []
    assert store.header.bands == ("g", "r", "i")
    for n, band in enumerate("gri"):
        pixels = fits.getdata(realdata / folder / f"{name}_{band}.fits")
        part = pixels[y - 16 : y + 17, x - 16 : x + 17] * 10 ** (0.4 * (31.4 - zero_point))
        good = found["mask"][0, n] == 0
        np.testing.assert_allclose(found["image"][0, n][good], part[good], rtol=1e-4)
        saturated = found["mask"][0, n] == MASK["saturated"]
        limit = fits.getheader(realdata / folder / f"{name}_{band}.fits").get("SATURATE", np.inf)
        part = pixels[y - 16 : y + 17, x - 16 : x + 17]
        np.testing.assert_array_equal(saturated, part >= limit)
    assert abs(store.objects["dx"][0]) < 1e-3
    assert bool(store.objects["flags"][0] & FLAGS["saturated"]) == (survey == "cfhtls_field")


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
def test_pan_starrs_mirrored_and_a_third_missing(read, realdata):
    row = {"object_id": 1, "name": "PS1-test", "ra": 213.94267, "dec": 11.4954}
    store, found, rejects = read("ps1", "ps1_cloverleaf", [row], 41)
    assert rejects == []
    place = WCS(fits.getheader(realdata / "ps1_cloverleaf/PS1-test_r.fits")).wcs_world2pix(
        row["ra"], row["dec"], 0
    )
    left, bottom = (round(float(one)) - 20 for one in place)
    for n, (band, seconds, zero_point) in enumerate(
        [("r", 40, 24.76097), ("i", 45, 24.78062), ("z", 30, 24.31745)]
    ):
        pixels = fits.getdata(realdata / f"ps1_cloverleaf/PS1-test_{band}.fits")
        part = pixels[bottom : bottom + 41, left : left + 41]
        unit = 10 ** (0.4 * (31.4 - zero_point)) / seconds
        np.testing.assert_allclose(found["image"][0, n], np.nan_to_num(part) * unit, rtol=1e-4)
        np.testing.assert_array_equal(found["mask"][0, n] == MASK["nodata"], np.isnan(part))
    assert store.objects["masked_z"][0] == pytest.approx(np.isnan(part).mean())
    assert 0.25 < store.objects["masked_z"][0] < 0.4
    _, _, rejects = read("ps1", "ps1_cloverleaf", [row], 41, max_masked=0.2)
    assert "masked fraction of z" in rejects[0].reason


@pytest.mark.parametrize("size", [24, 25])
def test_misregistered_sdss_quasar_is_on_one_pixel(read, realdata, size):
    place, _, _ = brightest(realdata / "sdss_lensed_quasars/0951+2635_i_sci.fits")
    row = {"object_id": "q", "name": "0951+2635"} | place
    store, found, rejects = read("sdss_cutouts", "sdss_lensed_quasars", [row], size, max_masked=0.6)
    assert rejects == []
    assert store.objects["flags"][0] & FLAGS["aligned"]
    middle = slice(size // 2 - 4, size // 2 + 4)
    image = found["image"][0, :, middle, middle]
    y, x = np.indices((8, 8))
    weight = np.where(image > 0.2 * image.max(axis=(1, 2), keepdims=True), image, 0)
    total = weight.sum(axis=(1, 2))
    places = np.stack([(weight * axis).sum(axis=(1, 2)) / total for axis in (x, y)])
    assert np.abs(places - places.mean(axis=1, keepdims=True)).max() < 0.2


def test_brick_of_tiles_packed(read, realdata):
    """A real edge-of-footprint brick: g covers an eighth, z next to nothing, r has no file."""
    folder = realdata / "legacy_dr6_brick"
    with fits.open(folder / "legacysurvey-0959p805-image-g.fits.fz") as hdus:
        image, wcs = hdus[1].data, WCS(hdus[1].header)
    weight = fits.getdata(folder / "legacysurvey-0959p805-invvar-g.fits.fz", 1)
    y, x = (axis[:: len(axis) // 40] for axis in np.nonzero(weight > 0))
    ra, dec = wcs.wcs_pix2world(x, y, 0)
    rows = [
        {"object_id": n, "ra": repr(float(a)), "dec": repr(float(d)), "brick": "0959p805"}
        for n, (a, d) in enumerate(zip(ra, dec))
    ]
    store, found, rejects = read(
        "legacy_bricks", "legacy_dr6_brick", rows, 21, bands=["g", "z"], missing_bands="keep",
        max_masked=0.9,
    )  # fmt: skip
    assert len(store) + len(rejects) == len(rows)
    assert len(store) > 30
    assert all("too few usable pixels" in row.reason for row in rejects)
    for n, one in enumerate(store.objects["object_id"]):
        left, bottom = x[one] - 10, y[one] - 10
        rows_, columns = (slice(max(first, 0), first + 21) for first in (bottom, left))
        told = image[rows_, columns] * 3630.780548
        mine = found["image"][n, 0][21 - told.shape[0] :, 21 - told.shape[1] :]
        part = found["ivar"][n, 0][21 - told.shape[0] :, 21 - told.shape[1] :]
        if told.shape != (21, 21) and (bottom + 21 > 3600 or left + 21 > 3600):
            continue
        np.testing.assert_allclose(mine[part > 0], told[part > 0], rtol=1e-5)
    _, _, rejects = read("legacy_bricks", "legacy_dr6_brick", rows, 21)
    assert "legacysurvey-0959p805-image-r.fits.fz" in rejects[0].file
    assert rejects[0].reason == "no such file or directory"


@pytest.mark.parametrize(
    ("survey", "folder", "name", "file", "hdu"),
    [
        ("sdss_mosaics", "sdss_ngc6976", "reprojected_sdss", "reprojected_sdss_r.fits.bz2", 0),
        ("kpno_r", "cluster_fields", "coma_kpno_R", "coma_kpno_R.fits", 0),
        ("hst_wfpc2", "cluster_fields", "a478_hst_f606w", "a478_hst_f606w.fits.gz", 1),
    ],
)
def test_mosaics(read, realdata, survey, folder, name, file, hdu):
    """A row in the middle, the same from another reading of the sky, and one across the border."""
    place, (y, x), image = brightest(realdata / folder / file, hdu, np.s_[60:-60, 60:-60])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(fits.getheader(realdata / folder / file, hdu), naxis=2)
        ra, dec = wcs.wcs_pix2world(4, y, 0)
    rows = [
        {"object_id": 1, "name": name} | place,
        {"object_id": 2, "name": name, "ra": float(ra), "dec": float(dec)},
    ]
    store, found, rejects = read(survey, folder, rows, 31)
    assert rejects == []
    band = list(store.header.bands).index("r") if "r" in store.header.bands else 0
    told = image[y - 15 : y + 16, x - 15 : x + 16].astype(float)
    ratio = np.polyfit(told.ravel(), found["image"][0, band].ravel(), 1)
    np.testing.assert_allclose(
        found["image"][0, band], np.polyval(ratio, told), atol=1e-4 * np.ptp(told) * ratio[0]
    )
    assert np.hypot(store.objects["dx"], store.objects["dy"])[0] < 0.02  # FK5 is not quite ICRS
    assert (store.objects["flags"] & FLAGS["edge"]).tolist() == [0, FLAGS["edge"]]
    edge = (found["mask"][1] & MASK["edge"]) != 0
    assert edge[:, :, :11].all()
    assert not edge[:, :, 11:].any()


def test_deep_field_by_pixels(read, realdata):
    """454 objects of three images without WCS; the catalog's magnitudes are found again."""
    with open(realdata / "hsc_deep_field/objects.csv") as stream:
        table = list(csv.DictReader(stream))
    rows = [
        {"object_id": one["row"], "x": one["x"], "y": one["y"], "mag": one["i_mag"]}
        | {"patch": '"10054-0,2-c1"', "width": one["width"]}
        for one in table
    ]
    store, found, rejects = read("hsc_deep", "hsc_deep_field", rows, 21)
    assert rejects == []
    assert len(store) == 454
    objects = store.objects
    assert (objects["flags"] & FLAGS["no_sky"] != 0).all()
    assert (objects["ra"] == 0).all()
    assert len(set(objects["split"])) == 1
    inside = (objects["flags"] & FLAGS["edge"]) == 0
    few = inside & (objects["width"].astype(int) == 21) & (objects["mag"] < 23)
    light = found["image"][:, 2].sum(axis=(1, 2), dtype=float)[few]
    assert np.median(31.4 - 2.5 * np.log10(light) - objects["mag"][few]) == pytest.approx(
        0, abs=0.1
    )
    near = inside & (objects["mag"] < 22)
    for name in ("centroid_dx", "centroid_dy"):
        assert abs(np.nanmedian(objects[name][near])) < 0.35


def test_bands_of_two_telescopes(read, realdata):
    """HST's 0.03" pixels are averaged to HSC's 0.168", flux and place kept."""
    file = realdata / "hsc_hst_cosmos/Cut_HST.fits"
    place, (y, x), hst = brightest(file, inside=np.s_[80:-80, 80:-80])
    store, found, rejects = read("cosmos", "hsc_hst_cosmos", [{"object_id": 1} | place], 21)
    assert rejects == []
    assert store.header.bands == ("g", "r", "i", "F814W", "z", "y")
    # The flux within 1.4": HST's own pixels against those it was averaged to.
    own = np.hypot(*(np.indices(hst.shape) - np.array([y, x])[:, None, None])) * 0.03 < 1.4
    dy, dx = np.indices((21, 21)) - 10
    near = np.hypot(dx - store.objects["dx"][0], dy - store.objects["dy"][0]) * 0.168 < 1.4
    unit = 10 ** (0.4 * (31.4 - 25.94))
    assert found["image"][0, 3][near].sum() == pytest.approx(hst[own].sum() * unit, rel=0.05)
    # The same object in the same place: i of HSC and F814W agree where the light is.
    y, x = np.indices((9, 9)) - 4
    centre = []
    for n in (2, 3):
        light = np.clip(found["image"][0, n, 6:15, 6:15], 0, None)
        centre.append([(light * axis).sum() / light.sum() for axis in (x, y)])
    assert np.abs(np.subtract(*centre)).max() < 0.5
    assert found["psf_fwhm"][0, 2] == pytest.approx(0.58, abs=0.01)


def visits(folder):
    """Return the manifest's cells for all exposures in a folder."""
    row = {}
    for band in "grz":
        names = sorted(path.name for path in folder.glob(f"*_ooi_{band}_ls9.*.fits"))
        row[f"visit_{band}"] = ";".join(name.split(f"_ooi_{band}")[0] for name in names)
        row[f"ccd_{band}"] = ";".join(name.split(".")[1] for name in names)
    return row


def test_single_exposures_with_distortion(read, realdata):
    folder = realdata / "decam_ccd/testcase9"
    file = next(folder.glob("*_ooi_g_ls9.*"))
    place, (y, x), image = brightest(file, 1, np.s_[20:-20, 20:-20])
    row = {"object_id": 1} | place | visits(folder)
    _, found, rejects = read("decam_exposures", "decam_ccd/testcase9", [row], 41)
    assert rejects == []
    told = image[y - 20 : y + 21, x - 20 : x + 21]
    mask = fits.getdata(next(folder.glob("*_ood_g_ls9.*")), 1)[y - 20 : y + 21, x - 20 : x + 21]
    weight = fits.getdata(next(folder.glob("*_oow_g_ls9.*")), 1)[y - 20 : y + 21, x - 20 : x + 21]
    np.testing.assert_array_equal((found["mask"][0, 0] & MASK["cosmic"]) != 0, mask == 5)
    good = (found["mask"][0, 0] == 0) & (weight > 0)
    unit = 10 ** (0.4 * (31.4 - 25.1)) / 90
    level = np.median((told - found["image"][0, 0] / unit)[good])
    np.testing.assert_allclose(found["image"][0, 0][good], (told[good] - level) * unit, atol=1e-2)
    assert 140 < level < 160
    np.testing.assert_allclose(found["ivar"][0, 0][good], weight[good] / unit**2, rtol=1e-3)
    assert found["psf_fwhm"][0, 0] == pytest.approx(3.819242 * 0.262, rel=0.01)
    # The bright star is on one pixel in all bands although the CCDs differ.
    peaks = [np.unravel_index(np.argmax(one), one.shape) for one in found["image"][0]]
    assert np.ptp(peaks, axis=0).max() <= 1


def test_exposures_are_combined(read, realdata):
    """Three exposures of a band give less noise than one, and no jump where one ends."""
    folder = realdata / "decam_ccd/testcase3"
    file = sorted(folder.glob("*_ooi_g_ls9.*"))[0]
    place, _, _ = brightest(file, 1, np.s_[15:-15, 15:-15])
    row = {"object_id": 1} | place | visits(folder)
    store, found, rejects = read("decam_exposures", "decam_ccd/testcase3", [row], 25)
    assert rejects == []
    assert row["visit_g"].count(";") == 2
    alone = dict(row)
    for name in ("visit_g", "ccd_g", "visit_r", "ccd_r", "visit_z", "ccd_z"):
        alone[name] = row[name].split(";")[0]
    _, single, rejects = read("decam_exposures", "decam_ccd/testcase3", [alone], 25)
    assert rejects == []
    both = (found["mask"] == 0) & (single["mask"] == 0)
    assert both.mean() > 0.7
    gain = np.median(found["ivar"][both] / single["ivar"][both])
    assert gain > 1.7
    assert store.objects["flags"][0] & FLAGS["aligned"]
    core = np.s_[0, :, 8:17, 8:17]
    np.testing.assert_allclose(
        found["image"][core].sum(axis=(1, 2)), single["image"][core].sum(axis=(1, 2)), rtol=0.15
    )
