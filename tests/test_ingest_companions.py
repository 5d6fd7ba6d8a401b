"""Masks, noise and names in the words of different surveys."""

import numpy as np
import pytest
from astropy.io import fits
from ingest_fits import gaussian, sky, survey, tan_header, write_image, write_manifest

from astroml.config import Ingest
from astroml.errors import AstromlError
from astroml.ingest.companions import translate, weigh, without_sky
from astroml.ingest.reject import read_rejects
from astroml.ingest.run import ingest
from astroml.ingest.templates import check_columns, exposures, fill, layout_columns
from astroml.store import FLAGS, MASK, assign_splits, open_store
from astroml.survey import Band, Layout, load_survey

HERE = {"ra": 150.0, "dec": 2.0}
BAND = {"wavelength": 500, "zero_point": 27, "psf_fwhm": 1, "sigma": 1, "gain": 1}


def hsc_file(path, *, size=(25, 24), mask=True, variance=True, cards=None):
    """Write a cutout as HSC's service does: an empty primary HDU, image, mask, variance."""
    image = sky(1, size, 1, sigma=0.08)[0]
    header = tan_header(x=(size[1] - 1) / 2, y=(size[0] - 1) / 2, scale=0.168)
    planes = np.zeros(size, np.int32)
    planes[3, 4], planes[5, 6], planes[7, 8] = 1 << 1, 1 << 8 | 1 << 5, 1 << 2
    named = fits.ImageHDU(planes if mask else None)
    for name, number in (
        cards or {"BAD": 0, "SAT": 1, "INTRP": 2, "DETECTED": 5, "NO_DATA": 8}
    ).items():
        named.header[f"MP_{name}" if len(name) < 6 else f"HIERARCH MP_{name}"] = number
    noise = fits.ImageHDU(np.full(size, 0.0064, np.float32) if variance else None)
    primary = fits.PrimaryHDU()
    primary.header["FLUXMAG0"] = 63095734448.0194
    fits.HDUList([primary, fits.ImageHDU(image, header), named, noise]).writeto(path)


def read(folder, described, rows, size=24, **changes):
    manifest = write_manifest(folder / "m.csv", rows)
    out, lost = folder / "0.h5", folder / "0.parquet"
    ingest(manifest, described, out, lost, Ingest(size={"galaxy": size}, **changes))
    store = open_store(out)
    return store, store.read(range(len(store)), ("image", "mask", "ivar")), read_rejects(lost)


def test_hsc_mask_and_variance(tmp_path):
    hsc = load_survey("hsc_cutouts", ["i"])
    where = {"tract": 8279, "rerun": "pdr2_wide"} | HERE
    hsc_file(tmp_path / "2-cutout-HSC-I-8279-pdr2_wide.fits", size=(24, 24))
    hsc_file(tmp_path / "3-cutout-HSC-I-8279-pdr2_wide.fits", size=(24, 24), mask=False)
    hsc_file(
        tmp_path / "4-cutout-HSC-I-8279-pdr2_wide.fits",
        size=(24, 24), variance=False, cards={"SAT": 5, "NO_DATA": 2},
    )  # fmt: skip
    for n, cut in ((5, 2880), (6, 4000)):
        path = tmp_path / f"{n}-cutout-HSC-I-8279-pdr2_wide.fits"
        hsc_file(path, size=(24, 24))
        path.write_bytes(path.read_bytes()[:-cut])
    rows = [{"object_id": n, "name": n} | where for n in (2, 3, 4, 5, 6)]
    store, found, rejects = read(tmp_path, hsc, rows)
    assert store.objects["object_id"].tolist() == [2, 3, 4]
    mask, ivar = found["mask"][:, 0], found["ivar"][:, 0]
    assert mask[0, 3, 4] == MASK["saturated"]
    assert mask[0, 5, 6] == MASK["nodata"]
    assert mask[0, 7, 8] == MASK["interpolated"]
    assert (mask[0] != 0).sum() == 3
    assert (mask[1] == 0).all()
    # Planes are found by name, whatever their number is in this file.
    assert mask[2, 5, 6] == MASK["saturated"]
    assert mask[2, 7, 8] == MASK["nodata"]
    unit = 10 ** (0.4 * (31.4 - 27))
    np.testing.assert_allclose(ivar[0][mask[0] == 0], 1 / 0.0064 / unit**2, rtol=1e-3)
    np.testing.assert_allclose(ivar[2][mask[2] == 0], 0.08**-2 / unit**2, rtol=1e-3)
    # Optional is what is absent, not what is broken.
    assert [row.object_id for row in rejects] == ["5", "6"]
    assert "cut off" in rejects[0].reason
    assert "1760 bytes behind them make no sense" in rejects[1].reason


def test_codes_are_reasons_not_bits():
    layout = Layout(mask_codes={"bad": [1, 6], "saturated": [3, 4], "cosmic": [5]})
    found = translate(np.array([[0, 1, 3, 5, 6, 7]]), {}, layout)
    bad, saturated, cosmic = (MASK[name] for name in ("bad", "saturated", "cosmic"))
    assert found.tolist() == [[0, bad, saturated, cosmic, bad, 0]]


@pytest.mark.parametrize("sigma", [0.01, 3.0])
def test_a_weight_becomes_inverse_variance(sigma):
    rng = np.random.default_rng(0)
    weight = np.where(np.arange(128) < 64, 100.0, 400.0) * np.ones((128, 1))
    image = rng.normal(0, 1, (128, 128)) * sigma * 10 / np.sqrt(weight)
    image += gaussian(image.shape, 60, 60, 12, 300 * sigma)
    found = weigh(image.astype("f4"), weight.astype("f4"))
    np.testing.assert_allclose(found * sigma**2, weight / 100, rtol=0.06)
    assert (weigh(image[:3, :4], np.ones((3, 4), "f4")) == 0).all()


def test_the_sky_of_a_file_is_subtracted():
    rng = np.random.default_rng(0)
    image = (rng.normal(150, 2, (90, 90)) + gaussian((90, 90), 45, 45, 6, 9000)).astype("f4")
    mask = np.zeros(image.shape, np.uint8)
    mask[:, :40] = MASK["bad"]
    image[:, :40] = 1e5
    found = without_sky(image, mask, None)
    assert np.median(found[:20, 40:]) == pytest.approx(0, abs=0.3)
    np.testing.assert_array_equal(without_sky(image, mask | 1, None), image)


def test_templates():
    plain, named = Band(**BAND), Band(**BAND, label="HSC-I", names={"camera": "C1"})
    row = {"visit_g": "v1", "name": "a", "visit_HSC-I": "v2", "camera": "no"}
    assert fill("{name}_{band}.fits", "g", plain, row) == "a_g.fits"
    assert fill("{visit_{band}}_{band}.fits", "g", plain, row) == "v1_g.fits"
    assert fill("{visit_{band}}/{camera}.fits", "i", named, row) == "v2/C1.fits"
    layout = Layout(image={"file": "{visit_{band}}_{camera}.fits"}, pixel_columns=("x", "y"))
    assert layout_columns(layout, {"g": named}) == {"visit_HSC-I", "x", "y"}
    with pytest.raises(AstromlError, match=r"no column 'visit_HSC-I'.*did you mean 'visit_hsc'"):
        check_columns(layout, {"visit_hsc": 0, "x": 0, "y": 0}, "m.csv", {"g": named})
    told = exposures({"a": "1;2", "b": "x; y", "c": "k"}, {"a", "b", "c"})
    assert told == [{"a": "1", "b": "x", "c": "k"}, {"a": "2", "b": "y", "c": "k"}]
    assert exposures({"a": "1;2"}, {"b"}) == [{"a": "1;2"}]
    with pytest.raises(ValueError, match="different numbers"):
        exposures({"a": "1;2", "b": "1;2;3"}, {"a", "b"})


def test_pixel_positions_without_a_sky(tmp_path):
    """No ra, no dec: flagged, split by where on the file, counted from 0, 1 or the edge."""
    image = sky(2, (300, 200), 1)[0]
    image[100, 50] = 50
    write_image(tmp_path / "a.fits", image)
    for origin in (0, 0.5, 1):
        described = survey(
            "g", image={"file": "{file}"}, pixel_columns=("x", "y"), pixel_origin=origin
        )
        rows = [
            {"object_id": 1, "file": "a.fits", "x": 50 + origin, "y": 100 + origin},
            {"object_id": 2, "file": "a.fits", "x": 500, "y": 10},
            {"object_id": 3, "file": "a.fits", "x": "", "y": 10},
        ]
        manifest = write_manifest(tmp_path / "m.csv", rows)
        out, lost = tmp_path / f"{origin}.h5", tmp_path / "0.parquet"
        ingest(manifest, described, out, lost, Ingest(size={"galaxy": 33}))
        store = open_store(out)
        pixels = store.read([0])["image"][0, 0]
        assert np.unravel_index(np.argmax(pixels), pixels.shape) == (16, 16)
        assert store.objects["flags"][0] & FLAGS["no_sky"]
        assert (store.objects["ra"][0], store.objects["dec"][0]) == (0, 0)
        reasons = {row.object_id: row.reason for row in read_rejects(lost)}
        assert "off the image of 200 x 300" in reasons["2"]
        assert "no pixel position" in reasons["3"]
    with pytest.raises(AstromlError, match="no column 'ra'"):
        ingest(manifest, survey("g", image={"file": "{file}"}), out, lost)


def test_splits_by_pixel_cells_and_file(tmp_path):
    from astroml.config import Splits
    from astroml.ingest.manifest import Manifest
    from astroml.ingest.tiles import file_keys, split_positions

    n = 4000
    rng = np.random.default_rng(0)
    columns = {
        "object_id": np.arange(n), "x": rng.uniform(0, 40000, n), "y": rng.uniform(0, 40000, n),
        "file": np.array(["a.fits", "b.fits"])[np.arange(n) % 2], "ra": np.zeros(n),
        "dec": np.zeros(n),
    }  # fmt: skip
    table = Manifest(tmp_path / "m.csv", columns, columns["object_id"].astype(str), {}, True)
    described = survey("g", image={"file": "{file}"}, pixel_columns=("x", "y"))
    ra, dec = split_positions(table, described, file_keys(table, described))
    split = assign_splits(ra, dec, None, Splits())
    assert set(split) == {"train", "val", "test"}
    for name in ("a.fits", "b.fits"):
        mine = columns["file"] == name
        # A cell of nside 256 is 0.229 deg: objects much nearer than that are together.
        x, y = columns["x"][mine], columns["y"][mine]
        near = np.hypot(x - x[:, None], y - y[:, None]) * 0.262 / 3600 < 0.005
        assert (split[mine][:, None] == split[mine])[near].mean() > 0.95
    one = np.subtract(ra[0], ra[2]) * 3600 / 0.262
    assert one == pytest.approx(columns["x"][0] - columns["x"][2], abs=1e-3)


def test_tpv_and_sip_are_followed(tmp_path):
    """A star at a sky position lands in the middle although the map is bent."""
    from astropy.wcs import WCS

    for kind in ("TPV", "SIP"):
        header = tan_header(x=900, y=-700)
        header["CTYPE1"], header["CTYPE2"] = f"RA---{kind}", f"DEC--{kind}"
        if kind == "TPV":
            for axis in (1, 2):
                header[f"PV{axis}_1"], header[f"PV{axis}_4"] = 1.005, 0.02
        else:
            header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
            header["A_ORDER"], header["A_2_0"], header["B_ORDER"], header["B_0_2"] = (
                2,
                2e-6,
                2,
                3e-6,
            )
        world = WCS(header).all_pix2world(40.0, 57.0, 0)
        image = sky(4, (101, 90), 1)[0] * 0 + gaussian((101, 90), 40, 57, 4, 50)
        write_image(tmp_path / f"{kind}.fits", image, header)
        described = survey("g", image={"file": "{file}"})
        row = {"object_id": 1, "file": f"{kind}.fits", "ra": repr(float(world[0]))}
        manifest = write_manifest(tmp_path / "m.csv", [row | {"dec": repr(float(world[1]))}])
        out = tmp_path / f"{kind}.h5"
        ingest(manifest, described, out, tmp_path / "0.parquet", Ingest(size={"galaxy": 31}))
        store = open_store(out)
        assert np.hypot(store.objects["dx"], store.objects["dy"])[0] < 0.005
        pixels = store.read([0])["image"][0, 0]
        assert np.unravel_index(np.argmax(pixels), pixels.shape) == (15, 15)
        plain = WCS(tan_header(x=900, y=-700)).all_world2pix(*world, 0)
        assert np.hypot(plain[0] - 40, plain[1] - 57) > 0.5
