"""Reading: plain and odd files, layouts, noise kinds, mask bits, PSF widths."""

import numpy as np
import pytest
from astropy.io import fits
from ingest_fits import gaussian, sky, survey, tan_header, write_cube, write_image

from astroml.errors import AstromlError
from astroml.ingest.companions import inverse_variance, our_bits
from astroml.ingest.files import Files
from astroml.ingest.planes import read_band
from astroml.ingest.psf import fwhm
from astroml.ingest.reject import Reject
from astroml.ingest.templates import check_columns
from astroml.store import MASK
from astroml.survey import Layout

ALL = slice(0, 64), slice(0, 64)


def read(path, hdu=0, plane=None):
    with Files() as files:
        image = files.image(path, hdu)
        high, wide = image.shape[-2:]
        return np.array(image.read(plane, slice(0, high), slice(0, wide)))


def band(survey, name, root, size=64, **row):
    with Files() as files:
        return read_band(files, survey, name, root, {"ra": 150.0, "dec": 2.0} | row, size)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8"])
def test_plain_files_read_as_astropy_does(tmp_path, dtype):
    image = np.arange(12 * 7).reshape(12, 7).astype(dtype)
    path = write_image(tmp_path / "a.fits", image, tan_header(NOTE="it''s / odd", BIG=1.5e10))
    np.testing.assert_array_equal(read(path), fits.getdata(path))
    with Files() as files:
        header = files.image(path, 0).header
        for key, value in fits.getheader(path).items():
            assert header.get(key) == value, key


@pytest.mark.parametrize("kind", ["scaled", "unsigned", "gzip", "rice", "bzip2", "named"])
def test_odd_files_go_to_astropy(tmp_path, kind):
    image = np.arange(40 * 30).reshape(40, 30).astype("i2")
    path, hdu = tmp_path / "a.fits", 0
    if kind == "scaled":
        made = fits.PrimaryHDU(image.astype("f4"))
        made.scale("int16", bscale=0.5, bzero=10)
        made.writeto(path)
        image = fits.getdata(path)
    elif kind == "unsigned":
        write_image(path, image.astype("u2"))
    elif kind == "rice":
        hdu = 1
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image)]).writeto(path)
    elif kind == "named":
        hdu = "sci"
        table = fits.BinTableHDU(np.zeros(3, dtype=[("a", "f4")]))
        science = fits.ImageHDU(image, name="SCI")
        fits.HDUList([fits.PrimaryHDU(), table, science]).writeto(path)
    else:
        path = tmp_path / {"gzip": "a.fits.gz", "bzip2": "a.fits.bz2"}[kind]
        write_image(path, image)
    np.testing.assert_array_equal(read(path, hdu), image)


def test_a_large_image_is_read_around_the_object(tmp_path, monkeypatch):
    big = np.arange(300 * 200, dtype=np.float32).reshape(300, 200)
    write_image(tmp_path / "a.fits", big, tan_header(x=120, y=250))
    monkeypatch.setattr("astroml.ingest.files.WHOLE", 1000)
    monkeypatch.setattr("astroml.ingest.plain.SMALL", 1000)
    found = band(survey("g", image={"file": "a.fits"}), "g", tmp_path, size=20)
    assert found.image.shape == (63, 63)
    x, y = found.wcs.pixel(150.0, 2.0)
    assert found.image[round(y), round(x)] == big[250, 120]
    with pytest.raises(Reject, match="off the image of 200 x 300"):
        band(survey("g", image={"file": "a.fits"}), "g", tmp_path, ra=151.0)


def test_bands_header_decides_the_order(tmp_path):
    cube = np.stack([np.full((64, 64), value, np.float32) for value in (1, 2, 3)])
    write_cube(tmp_path / "a.fits", cube, bands="zrg")
    found = {name: band(survey(), name, tmp_path, file="a.fits").image[0, 0] for name in "grz"}
    assert found == {"g": 3, "r": 2, "z": 1}
    with pytest.raises(Reject, match="no band i; it has z, r, g"):
        band(survey("gi"), "i", tmp_path, file="a.fits")


def test_cube_without_bands_needs_as_many_as_the_survey(tmp_path):
    write_image(tmp_path / "a.fits", np.zeros((3, 8, 8), np.float32))
    cubes = {"image": {"axis": "band"}}
    assert band(survey("grz", **cubes), "r", tmp_path, file="a.fits").image.shape == (8, 8)
    with pytest.raises(Reject, match="has 3 planes for bands g, r"):
        band(survey("gr", **cubes), "r", tmp_path, file="a.fits")
    with pytest.raises(Reject, match="is a cube of"):
        band(survey("gr", image={}), "r", tmp_path, file="a.fits")


def test_axis_object_takes_the_index(tmp_path):
    cube = np.arange(5, dtype=np.float32)[:, None, None] * np.ones((1, 9, 9), np.float32)
    write_image(tmp_path / "g.fits.gz", cube)
    toy = survey("g", image={"file": "{band}.fits.gz", "axis": "object"})
    assert band(toy, "g", tmp_path, index=3).image[0, 0] == 3
    for wrong in (5, -1, 1.5, np.nan):
        with pytest.raises(Reject, match=r"no plane|expected a number"):
            band(toy, "g", tmp_path, index=wrong)


def test_file_per_band_and_hdu_per_band(tmp_path):
    for name in "gr":
        write_image(tmp_path / f"obj_DES-{name}_sci.fits", np.full((8, 8), ord(name), np.float32))
    toy = survey("gr", label="DES-{}", image={"file": "{lens}_{band}_sci.fits"})
    assert band(toy, "r", tmp_path, lens="obj").image[0, 0] == ord("r")
    hdus = [fits.ImageHDU(np.full((8, 8), n, "f4"), name=f"{b}_BG") for n, b in enumerate("GR")]
    hdus[1].header["ZP"] = 30.0
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "m.fits")
    image = {"file": "m.fits", "hdu": "{band}_BG"}
    toy = survey("GR", image=image, zero_point_key="ZP")
    assert band(toy, "R", tmp_path).image[0, 0] == 1
    assert [band(toy, name, tmp_path).zero_point for name in "GR"] == [22.5, 30.0]


def test_noise_kinds_agree():
    rms = np.array([[0.1, 2.0], [np.nan, 0.0]])
    with np.errstate(divide="ignore"):
        kinds = {"rms": rms, "variance": rms**2, "ivar": rms**-2.0}
    for kind, plane in kinds.items():
        found = inverse_variance(plane, kind)
        np.testing.assert_allclose(found, [[100, 0.25], [0, 0]], rtol=1e-6, err_msg=kind)
    assert inverse_variance(np.array([[-1.0, np.inf]]), "ivar").tolist() == [[0, 0]]


def test_mask_bits():
    found = np.array([[0, 1, 4], [12, 64, 128]], np.int32)
    bits = {"saturated": 1 | 8, "cosmic": 64}
    expected = [[0, MASK["saturated"], 0], [MASK["saturated"], MASK["cosmic"], 0]]
    assert our_bits(found, bits).tolist() == expected
    assert our_bits(found, {}).tolist() == [[0, 1, 1], [1, 1, 1]]
    assert our_bits(np.array([[0.0, np.nan]]), bits).tolist() == [[0, MASK["bad"]]]


@pytest.mark.parametrize("width", [1.7, 2.5, 4.5, 9.0])
@pytest.mark.parametrize("beta", [2.5, 4.0, None])
def test_psf_width_of_known_profiles(width, beta):
    y, x = np.indices((41, 41)) - 20.0
    r2 = 4 * ((x - 0.4) ** 2 + (y + 0.2) ** 2) / width**2
    image = 2.0**-r2 if beta is None else (1 + r2 * (2 ** (1 / beta) - 1)) ** -beta
    assert fwhm(image / image.sum()) == pytest.approx(width, rel=0.02)


def test_psf_image_or_the_survey(tmp_path):
    write_image(tmp_path / "a.fits", sky()[0], tan_header())
    write_image(tmp_path / "psf.fits", gaussian((31, 31), 15, 15, fwhm=4.0))
    assert band(survey("g", image={"file": "a.fits"}), "g", tmp_path).psf_fwhm == 1.2
    toy = survey("g", image={"file": "a.fits"}, psf={"file": "psf.fits"})
    assert band(toy, "g", tmp_path).psf_fwhm == pytest.approx(4 * 0.262, rel=0.02)
    write_image(tmp_path / "psf.fits", np.zeros((31, 31), np.float32))
    with pytest.raises(Reject, match="no point spread function"):
        band(toy, "g", tmp_path)


def test_a_noise_plane_of_another_shape_is_refused(tmp_path):
    write_image(tmp_path / "a.fits", sky()[0])
    write_image(tmp_path / "n.fits", np.ones((63, 64), np.float32))
    toy = survey("g", image={"file": "a.fits"}, noise={"file": "n.fits"})
    with pytest.raises(Reject, match=r"is \(63, 64\) pixels, its image \(64, 64\)"):
        band(toy, "g", tmp_path)


def test_a_file_cut_at_any_byte_is_read_or_told(tmp_path):
    whole = write_cube(tmp_path / "a.fits", sky()).read_bytes()
    toy = survey()
    for size in [*range(1, len(whole), 7919), 2880, 2881, len(whole) - 1]:
        (tmp_path / "b.fits").write_bytes(whole[:size])
        if size < len(whole) - (-64 * 64 * 2) % 2880:
            with pytest.raises(Reject, match=r"cut off|cannot be read|no HDU|not a FITS file"):
                band(toy, "g", tmp_path, file="b.fits")
        else:  # only padding is lost
            found = band(toy, "g", tmp_path, file="b.fits")
            np.testing.assert_array_equal(found.image, sky()[0])


def test_columns_that_the_layout_needs():
    layout = Layout.model_validate({"image": {"file": "{nmae}_{band}.fits", "axis": "object"}})
    with pytest.raises(AstromlError, match=r"no column 'index'"):
        check_columns(layout, {"name": 0}, "m.csv")
    with pytest.raises(AstromlError, match=r"no column 'nmae', .*did you mean 'name'"):
        check_columns(layout, {"name": 0, "index": 0}, "m.csv")
