"""The descriptions in config/surveys against the files that they describe."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from scipy.ndimage import maximum_filter

from astroml.ingest.measure import sky_noise
from astroml.ingest.psf import fwhm
from astroml.survey import load_survey

SURVEYS = sorted(
    path.stem for path in (Path(__file__).parents[1] / "config/surveys").glob("*.yaml")
)
NO_FILES = {"decals", "hsc"}
"""Layouts of which no real file is at hand: they are read as simulated surveys write them."""

FILES = {
    "cfhtls": ("cfhtls_sl2s_lens/SL2SJ021411-040502_{}_sci.fits", 0, "ugriz"),
    "cfhtls_field": ("cfhtls_field/CFHTLS-test_{}.fits", 0, "gri"),
    "cosmos": ("hsc_hst_cosmos/Cut_HSC.fits", 0, ["i"]),
    "decam_exposures": ("decam_ccd/testcase9/*_ooi_{}_ls9.*.fits", 1, "grz"),
    "euclid": ("euclid_q1_lens/*.fits", "VIS_BGSUB", ["VIS"]),
    "hsc_cutouts": ("hsc_stars/4-cutout-*.fits", 1, ["i"]),
    "hsc_deep": ("hsc_deep_field/{}-10054-0,2-c1.fits.gz", 0, "gri"),
    "hst_wfpc2": ("cluster_fields/a478_hst_f606w.fits.gz", 1, ["F814W"]),
    "kids": ("kids_stamp/KiDS-test_{}.fits", 0, "gri"),
    "kpno_r": ("cluster_fields/coma_kpno_R.fits", 0, ["R"]),
    "legacy_bricks": ("legacy_dr6_brick/legacysurvey-0959p805-image-{}.fits.fz", 1, "g"),
    "ps1": ("ps1_cloverleaf/PS1-test_{}.fits", 0, "riz"),
    "sdss_cutouts": ("sdss_lensed_quasars/0951+2635_{}_sci.fits", 0, "griz"),
    "sdss_mosaics": ("sdss_ngc6976/reprojected_sdss_{}.fits.bz2", 0, "gri"),
}
"""Survey -> files, HDU, and the bands that they show."""


@pytest.fixture(autouse=True)
def _quiet():
    """Survey headers make astropy say a lot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def each(realdata):
    """Return a function that yields band, its facts, pixels, header and primary header."""

    def run(name):
        survey = load_survey(name)
        pattern, hdu, bands = FILES[name]
        for band in bands:
            label = survey.bands[band].label if name == "hsc_deep" else band
            (file,) = realdata.glob(pattern.format(label))
            with fits.open(file) as hdus:
                pixels = np.asarray(hdus[hdu].data, np.float32)
                header, first = hdus[hdu].header, hdus[0].header
            if name == "cosmos":
                pixels = pixels[survey.bands[band].plane]
            yield band, survey.bands[band], pixels, header, first

    return run


@pytest.mark.parametrize("name", SURVEYS)
def test_numbers_are_sane(name):
    survey = load_survey(name)
    assert survey.name == name
    assert survey.title
    waves = [band.wavelength for band in survey.bands.values()]
    assert waves == sorted(waves)
    assert all(300 < wave < 2500 for wave in waves)
    for band in survey.bands.values():
        own = 0.03 if band.names.get("camera") == "HST" else survey.pixel_scale
        assert 0.9 < band.psf_fwhm / own < 12
        # Five sigma in two seeing discs is a magnitude that this kind of telescope reaches.
        pixels = 4 * np.pi * (band.psf_fwhm / 2.355 / own) ** 2
        zero_point = band.zero_point
        if survey.layout.exposure_key:
            zero_point += 2.5 * np.log10(90)
        depth = zero_point - 2.5 * np.log10(5 * band.sigma * np.sqrt(pixels))
        assert 19 < depth < 28.5


@pytest.mark.parametrize("name", SURVEYS)
def test_every_survey_is_read_from_real_files(name):
    """Some test of ingest on real files names it."""
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_realdata*.py")]
    used = any(re.search(rf'"{name}"', text) for text in texts)
    assert used or name in NO_FILES


@pytest.mark.realdata
@pytest.mark.parametrize("name", sorted(set(FILES) - {"hsc_deep"}))
def test_pixel_scale_is_that_of_the_wcs(each, name):
    for _, _, _, header, _ in each(name):
        scales = 3600 * proj_plane_pixel_scales(WCS(header, naxis=2).celestial)
        wanted = load_survey(name).pixel_scale
        # TPV terms stretch a DECam CCD by up to a per cent.
        np.testing.assert_allclose(scales, wanted, rtol=0.01 if "decam" in name else 1e-3)


@pytest.mark.realdata
@pytest.mark.parametrize("name", sorted(set(FILES) - {"hsc_deep", "cosmos", "cfhtls"}))
def test_zero_point_is_that_of_the_header(each, name):
    for band, facts, _, header, first in each(name):
        cards = {key: one[key] for one in (first, header) for key in one if key}
        if name == "hst_wfpc2":
            flux, pivot = cards["PHOTFLAM"], cards["PHOTPLAM"]
            expected = -2.5 * np.log10(flux) - 5 * np.log10(pivot) - 2.408
            assert facts.wavelength == pytest.approx(pivot / 10, rel=0.01)
        elif name == "hsc_cutouts":
            expected = 2.5 * np.log10(cards["FLUXMAG0"])
        elif name.startswith("sdss"):
            assert cards["BUNIT"].strip() == "nanomaggy"
            scale = load_survey(name).pixel_scale
            expected = 22.5 - 5 * np.log10(scale / 0.396)
        elif name == "kpno_r":
            continue  # no calibration comes with the file
        elif name == "decam_exposures":
            nominal = {"g": 26.61, "r": 26.82, "z": 26.48}[band]
            expected = nominal - 2.5 * np.log10(cards["GAINA"])
        else:
            key = {"cfhtls_field": "MZP_AB", "kids": "ZEROPNT", "ps1": "FPA.ZP"}
            expected = cards[key.get(name, "MAGZERO")]
        assert facts.zero_point == pytest.approx(expected, abs=0.12 if "decam" in name else 0.01)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "key"),
    [("cfhtls_field", "GAIN"), ("ps1", "CELL.GAIN"), ("kpno_r", "GAIN"),
     ("decam_exposures", "GAINA"), ("hst_wfpc2", "ATODGAIN")],
)  # fmt: skip
def test_gain_is_that_of_the_header(each, name, key):
    for _, facts, _, header, first in each(name):
        gain = header.get(key, first.get(key))
        seconds = first["EXPTIME"] if name == "hst_wfpc2" else 1  # there pixels are counts/s
        assert facts.gain == pytest.approx(gain * seconds, rel=0.12)


@pytest.mark.realdata
@pytest.mark.parametrize("name", sorted(FILES))
def test_noise_is_that_of_the_pixels(each, name):
    """Survey noise differs from field to field, by far less than a wrong unit would make it."""
    measured_here = ("cfhtls_field", "kids", "ps1", "hsc_deep", "sdss_mosaics")
    for band, facts, pixels, _, _ in each(name):
        sigma = sky_noise(pixels[None], (np.isfinite(pixels) & (pixels != 0))[None])[0][0]
        assert sigma == pytest.approx(facts.sigma, rel=0.07 if name in measured_here else 0.25), (
            band
        )


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "rel"),
    [
        ("hsc_deep", 0.1),
        pytest.param("sdss_mosaics", 0.2, marks=pytest.mark.slow),
        ("kpno_r", 0.15),
        ("hsc_cutouts", 0.1),
    ],
)
def test_seeing_is_that_of_the_stars(each, realdata, name, rel):
    """The narrowest bright sources of a field are stars; those of the star cutouts all are."""
    scale = load_survey(name).pixel_scale
    if name == "hsc_cutouts":
        files = sorted((realdata / "hsc_stars").glob("*cutout*.fits"))
        images = [fits.getdata(file, 1) for file in files]
        found = [fwhm(image - np.median(image[[0, -1]])) * scale for image in images]
        assert np.median(found) == pytest.approx(load_survey(name).bands["i"].psf_fwhm, rel=rel)
        return
    for band, facts, pixels, _, _ in each(name):
        good = np.isfinite(pixels)
        sigma, level = (float(one[0]) for one in sky_noise(pixels[None], good[None]))
        light = pixels - level
        peaks = np.argwhere((light == maximum_filter(light, 15)) & (light > 60 * sigma))
        stamps = [light[max(y - 12, 0) : y + 13, max(x - 12, 0) : x + 13] for y, x in peaks]
        found = [fwhm(one) * scale for one in stamps if one.shape == (25, 25)]
        # Where stars are hardly wider than a pixel, noise makes many of them narrower.
        stars = np.nanpercentile(found, 60 if name == "sdss_mosaics" else 15)
        assert stars == pytest.approx(facts.psf_fwhm, rel=rel), band


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "key", "unit"),
    [("cfhtls_field", "IQIMAGE", 1.0), ("kids", "PSF_RAD", 1.0), ("ps1", "CHIP.SEEING", 0.26),
     ("decam_exposures", "FWHM", 0.262)],
)  # fmt: skip
def test_seeing_is_near_that_of_the_header(each, name, key, unit):
    told = []
    for _, facts, _, header, first in each(name):
        told.append(float(header.get(key, first.get(key))) * unit / facts.psf_fwhm)
    told = np.array(told)[np.isfinite(told)]  # ps1 has none for z
    assert len(told) >= 2
    np.testing.assert_allclose(told, 1, rtol=0.3)
