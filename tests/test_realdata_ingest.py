"""Real survey files end in the store with the right flux, on the right pixels."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from ingest_fits import write_manifest

from astroml import config
from astroml.ingest.files import Files
from astroml.ingest.reject import Reject, read_rejects
from astroml.ingest.run import ingest
from astroml.store import FLAGS, open_store
from astroml.survey import Survey, load_survey

pytestmark = pytest.mark.realdata

ROOT = Path(__file__).parent.parent


@pytest.fixture
def example(realdata, tmp_path, monkeypatch):
    """Return a function that ingests one of the example runs."""
    monkeypatch.setenv("ASTROML_REALDATA", str(realdata))

    def run(name, cutouts="galaxy", **changes):
        whole = config.load(ROOT / f"config/examples/{name}.yaml")
        settings = whole.ingest.model_copy(update=changes)
        survey = load_survey(str(ROOT / f"config/surveys/{whole.survey}.yaml"), settings.bands)
        out, rejects = tmp_path / f"{name}.h5", tmp_path / f"{name}.parquet"
        ingest(
            ROOT / whole.input.manifest, survey, out, rejects, settings,
            root=whole.input.root, cutouts=cutouts,
        )  # fmt: skip
        assert read_rejects(rejects) == []
        return open_store(out), survey

    return run


def test_euclid_in_eight_bands(example, realdata):
    store, survey = example("euclid")
    assert store.header.bands == ("g", "r", "VIS", "i", "z", "Y", "J", "H")
    found = store.read([0], ("image", "mask", "ivar", "sigma", "psf_fwhm"))
    file = next((realdata / "euclid_q1_lens").glob("*.fits"))
    for n, (band, facts) in enumerate(survey.bands.items()):
        pixels, header = fits.getdata(file, f"{facts.label}_BGSUB", header=True)
        rms = fits.getdata(file, f"{facts.label}_RMS")[10:90, 10:90]
        good = found["mask"][0, n] == 0
        assert (good == (rms < 1e3)).all(), band
        # The magnitude of the central 3 x 3 arcsec, by hand: m = MAGZERO - 2.5 log10(sum), and
        # 0 mag is 3631 Jy.
        core = np.where(good, pixels[10:90, 10:90], 0)[25:55, 25:55].sum(dtype=float)
        by_hand = header["MAGZERO"] - 2.5 * np.log10(core)
        njy = found["image"][0, n, 25:55, 25:55].sum(dtype=float)
        assert -2.5 * np.log10(njy * 1e-9 / 3631) == pytest.approx(by_hand, abs=1e-3), band
        unit = 3631e9 * 10 ** (-0.4 * header["MAGZERO"])
        weight = found["ivar"][0, n][good]
        np.testing.assert_allclose(weight, 1 / (rms[good] * unit) ** 2, rtol=1e-3)
        usual = facts.sigma * unit
        assert found["sigma"][0, n] == pytest.approx(usual, rel=0.1), band
        assert found["psf_fwhm"][0, n] == pytest.approx(facts.psf_fwhm, rel=0.02), band
    assert store.objects["flags"].tolist() == [0]
    assert np.hypot(store.objects["dx"], store.objects["dy"])[0] < 0.001
    # The lens is where the catalog says: the brightest VIS pixel is the central one.
    place = np.unravel_index(np.argmax(found["image"][0, 2]), (80, 80))
    assert np.hypot(place[0] - 39.5, place[1] - 39.5) < 1


def test_cfhtls_file_per_band(example, realdata):
    store, survey = example("cfhtls")
    found = store.read([0], ("image", "mask", "ivar", "sigma", "psf_fwhm"))
    assert (found["mask"] == 0).all()
    stem = realdata / "cfhtls_sl2s_lens/SL2SJ021411-040502"
    for n, (band, facts) in enumerate(survey.bands.items()):
        pixels = fits.getdata(f"{stem}_{band}_sci.fits")[:40, :40]
        by_hand = 30.0 - 2.5 * np.log10(pixels.sum(dtype=float))
        njy = found["image"][0, n].sum(dtype=float)
        assert -2.5 * np.log10(njy * 1e-9 / 3631) == pytest.approx(by_hand, abs=1e-3), band
        assert found["sigma"][0, n] == pytest.approx(3.631 * facts.sigma, rel=0.1), band
        assert found["psf_fwhm"][0, n] == pytest.approx(facts.psf_fwhm, rel=0.02), band
    assert store.objects["dx"][0] == pytest.approx(0.5, abs=0.01)


def test_des_cubes_of_objects(example, realdata):
    store, survey = example("des", bands=["g", "r", "i", "z", "Y"])
    assert len(store) == 46
    found = store.read(range(46), ("image", "mask", "sigma"))
    for n, band in enumerate(survey.bands):
        pixels = fits.getdata(realdata / f"des_galaxies/{band}.fits.gz")
        np.testing.assert_allclose(
            found["image"][:, n], pixels[:, 13:77, 13:77] * 3.630780548, rtol=1e-5
        )
    assert (found["mask"] == 0).all()
    assert (store.objects["dx"] == 0.5).all()
    usual = [3.631 * band.sigma for band in survey.bands.values()]
    np.testing.assert_allclose(np.median(found["sigma"], axis=0), usual, rtol=0.15)


def test_misregistered_sdss_bands_are_aligned(realdata, tmp_path):
    """In pixels the quasar moves by up to 4.6" between bands; only the WCS aligns them."""
    folder = realdata / "sdss_lensed_quasars"
    facts = load_survey("sdss").model_dump()
    facts["bands"] = {band: facts["bands"][band] for band in "griz"}
    facts["layout"] = {"image": {"file": "{name}_{band}_sci.fits"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        i_band, header = fits.getdata(folder / "0951+2635_i_sci.fits", header=True)
        peak = np.unravel_index(np.argmax(i_band), i_band.shape)[::-1]
        place = WCS(header).pixel_to_world(*peak)
    row = {"object_id": "q", "ra": place.ra.deg, "dec": place.dec.deg, "name": "0951+2635"}
    manifest = write_manifest(tmp_path / "m.csv", [row])
    out, rejects = tmp_path / "0.h5", tmp_path / "0.parquet"
    settings = config.Ingest(size={"galaxy": 24}, max_masked=0.6)
    ingest(manifest, Survey.model_validate(facts), out, rejects, settings, root=folder)
    assert read_rejects(rejects) == []
    store = open_store(out)
    assert store.objects["flags"][0] & FLAGS["aligned"]
    image = store.read([0])["image"][0, :, 8:16, 8:16]
    y, x = np.indices((8, 8))
    weight = np.where(image > 0.2 * image.max(axis=(1, 2), keepdims=True), image, 0)
    total = weight.sum(axis=(1, 2))
    places = np.stack([(weight * axis).sum(axis=(1, 2)) / total for axis in (x, y)])
    assert np.abs(places - places.mean(axis=1, keepdims=True)).max() < 0.2


def test_every_odd_file_is_an_image_or_a_reason(realdata):
    """Nothing but a Reject may come out of astropy's own collection of odd files."""
    images, told = 0, []
    for path in sorted((realdata / "odd_fits").iterdir()):
        for hdu in (0, 1, 2):
            with Files() as files:
                try:
                    image = files.image(path, hdu)
                    high, wide = image.shape[-2:]
                    plane = 0 if len(image.shape) == 3 else None
                    found = np.asarray(image.read(plane, slice(0, high), slice(0, wide)))
                except Reject as fault:
                    told.append((fault.reason, fault.file == str(path)))
                    continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = fits.getdata(path, hdu)
            expected = expected if plane is None else expected[0]
            np.testing.assert_array_equal(found, expected, err_msg=f"{path} {hdu}")
            images += 1
    assert images > 20
    assert len(told) > 20
    assert all(reason and right for reason, right in told)


def test_hsc_lsb_on_summed_pixels(example, realdata):
    store, survey = example("hsc_lsb", "halo")
    found = store.read([0], ("image", "mask", "sigma", "psf_fwhm"))
    assert store.header.pixel_scale == pytest.approx(4 * survey.pixel_scale)
    file = realdata / "hsc_lsb_galaxy/lsbg_hsc.fits"
    for n, (band, facts) in enumerate(survey.bands.items()):
        pixels = fits.getdata(file, f"IMAGE_{facts.label}").astype(float)
        unit = 3631e9 * 10 ** (-0.4 * facts.zero_point)
        # The cutout's 42 pixels are 168 of the file's, about the manifest's position.
        by_hand = pixels[9:177, 22:190].sum() * unit
        assert found["image"][0, n].sum(dtype=float) == pytest.approx(by_hand, rel=0.01), band
        assert found["psf_fwhm"][0, n] > facts.psf_fwhm
        # Four by four pixels: four times the noise, were it white.
        assert 3.5 < found["sigma"][0, n] / (facts.sigma * unit) < 8, band
    assert not found["mask"].any()
