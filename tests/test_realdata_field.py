"""Tiles of the set ``field`` of real clusters in one band: through ingest, and through inference.

The first file shows the sky east of the core of Coma, with IC 4051 and NGC 4908; the two giants of
the core lie 7 arcmin and more to the west of its middle. The second shows the core of Abell 478.
"""

import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter
from toy import FLOORS, toy_store

from astroml import config, infer, tasks, train
from astroml.ingest.reject import read_rejects
from astroml.ingest.run import ingest
from astroml.store import FLAGS, MASK, open_store
from astroml.survey import load_survey, njy_per_unit

pytestmark = pytest.mark.realdata

ROOT = Path(__file__).parent.parent
SIDE, SCALE = 320, 1.048
BANDS = ["g", "r", "z"]

RUNS = {"cluster_fields": ("kpno_grz", 1), "cluster_a478": ("hst_grz", 2)}
"""Example run -> its survey, and which band has an image."""

GALAXIES = {
    "IC 4051": ("cluster_fields", "coma-east-north", 195.2269, 28.0076),
    "NGC 4908": ("cluster_fields", "coma-east-north", 195.2149, 28.0430),
    "Abell 478": ("cluster_a478", "abell-478", 63.3553, 10.4653),
}
"""Name -> run, tile, and the position in catalogs, deg."""


@pytest.fixture(scope="module")
def stores(realdata, tmp_path_factory):
    """Ingest both example runs; return each one's store."""
    folder, made = tmp_path_factory.mktemp("field"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASTROML_REALDATA", str(realdata))
        for name in RUNS:
            run = config.load(ROOT / f"config/examples/{name}.yaml")
            survey = load_survey(str(ROOT / f"config/surveys/{run.survey}.yaml"), run.ingest.bands)
            out, lost = folder / f"{name}.h5", folder / f"{name}.parquet"
            ingest(
                ROOT / run.input.manifest, survey, out, lost, run.ingest, cutouts="field",
                root=run.input.root,
            )  # fmt: skip
            assert read_rejects(lost) == []
            made[name] = out
    return made


def tile_of(store, tile: str, band: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """Return image and mask of a tile's band, and the tile's columns."""
    row = store.objects["object_id"].tolist().index(tile)
    found = store.read([row], ("image", "mask"))
    columns = {name: values[row] for name, values in store.objects.items()}
    return found["image"][0, band], found["mask"][0, band], columns


def raw(realdata, name) -> tuple[np.ndarray, WCS, float]:
    """Return pixels, WCS and nJy per unit of the file behind a run."""
    file = {"cluster_fields": "coma_kpno_R.fits", "cluster_a478": "a478_hst_f606w.fits.gz"}[name]
    hdu = {"cluster_fields": 0, "cluster_a478": "SCI"}[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels, header = fits.getdata(realdata / "cluster_fields" / file, hdu, header=True)
        # Beside it the header has CDELT and CROTA, and cards of a second map named P.
        names = ("CD1_1", "CD1_2", "CD2_1", "CD2_2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")
        plain = fits.Header({one: header[one] for one in (*names, "CTYPE1", "CTYPE2")})
        wcs = WCS(plain)
    zero_point = {"cluster_fields": 22 + 2.5 * np.log10(400), "cluster_a478": 22.08}[name]
    return pixels.astype(float), wcs, njy_per_unit(zero_point)


def on_tile(columns: dict, ra: float, dec: float) -> tuple[float, float]:
    """Return the pixel (x, y) of a sky position on a tile that is north up."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [columns["ra"], columns["dec"]]
    wcs.wcs.crpix = [(SIDE + 1) / 2] * 2
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    x, y = wcs.wcs_world2pix(ra, dec, 0)
    return float(x), float(y)


@pytest.mark.parametrize("name", RUNS)
def test_tiles_keep_the_bands_that_are_missing_and_say_so(stores, name, capsys):
    store, (survey, band) = open_store(stores[name]), RUNS[name]
    header = store.header
    assert (header.set, header.bands, header.size) == ("field", tuple(BANDS), SIDE)
    assert (header.pixel_scale, header.survey) == (SCALE, survey)
    found = store.read(range(len(store)), ("image", "mask", "sigma"))
    assert (store.objects["flags"] & FLAGS["missing_band"] != 0).all()
    for place, one in enumerate(BANDS):
        masked = store.objects[f"masked_{one}"]
        if place == band:
            assert (masked < (0.98 if name == "cluster_a478" else 0.01)).all()
            assert np.isfinite(store.objects[f"sky_{one}"]).all()
        else:
            np.testing.assert_array_equal(masked, 1)
            assert (found["mask"][:, place] & MASK["nodata"] != 0).all()
            assert not found["image"][:, place].any()
    assert np.isfinite(found["image"]).all()
    assert (found["sigma"] > 0).all()


def test_ingest_says_which_bands_are_missing(realdata, tmp_path, capsys):
    run = config.load(ROOT / "config/examples/cluster_fields.yaml")
    survey = load_survey(str(ROOT / "config/surveys/kpno_grz.yaml"))
    out, settings = tmp_path / "a.h5", run.ingest.model_copy(update={"size": {"field": 64}})
    manifest, root = ROOT / run.input.manifest, realdata / "cluster_fields"
    ingest(manifest, survey, out, tmp_path / "a.parquet", settings, cutouts="field", root=root)
    assert "bands missing or masked beyond the limit, of 2 objects: g of 2, z of 2" in (
        capsys.readouterr().out
    )
    strict = settings.model_copy(update={"missing_bands": "reject"})
    ingest(manifest, survey, out, tmp_path / "a.parquet", strict, cutouts="field", root=root)
    assert len(read_rejects(tmp_path / "a.parquet")) == 2
    assert "bands missing" not in capsys.readouterr().out


@pytest.mark.parametrize("galaxy", GALAXIES)
def test_galaxies_are_where_catalogs_say(stores, galaxy):
    """Without the rotation by half a degree, which CD has, they would be 6 arcsec off."""
    name, tile, ra, dec = GALAXIES[galaxy]
    image, _, columns = tile_of(open_store(stores[name]), tile, RUNS[name][1])
    x, y = on_tile(columns, ra, dec)
    smooth = gaussian_filter(image, 2.0)
    left, bottom = round(x) - 12, round(y) - 12
    part = smooth[bottom : bottom + 25, left : left + 25]
    peak = np.unravel_index(np.argmax(part), part.shape)
    assert np.hypot(left + peak[1] - x, bottom + peak[0] - y) * SCALE < 2.5


@pytest.mark.parametrize("galaxy", GALAXIES)
def test_resampling_conserves_the_flux(stores, realdata, galaxy):
    """The light within a circle is that of the file's own pixels, less its sky, in nJy."""
    name, tile, ra, dec = GALAXIES[galaxy]
    image, mask, columns = tile_of(open_store(stores[name]), tile, RUNS[name][1])
    pixels, wcs, unit = raw(realdata, name)
    x, y = on_tile(columns, ra, dec)
    away = np.hypot(*(np.indices(image.shape) - np.array([y, x])[:, None, None])) * SCALE
    there = wcs.wcs_world2pix(ra, dec, 0)
    step = 3600 * np.sqrt(abs(np.linalg.det(wcs.wcs.cd)))
    apart = np.indices(pixels.shape) - np.array(there[::-1])[:, None, None]
    distance = np.hypot(*apart) * step
    inner, outer = (9.0, 12.0) if name == "cluster_a478" else (15.0, 25.0)
    light = []
    for plane, radius, of_unit in ((image, away, 1.0), (pixels, distance, unit)):
        # Above the ring around it, so that the sky's level, which is no resampling's, drops out.
        inside, ring = radius < inner, (radius > inner) & (radius < outer)
        light.append((plane[inside].mean() - plane[ring].mean()) * inside.sum() * of_unit)
    assert not mask[away < outer].any() or name == "cluster_a478"
    assert light[0] == pytest.approx(light[1], rel=0.03)


def test_a_finder_of_three_bands_looks_at_one(stores, tmp_path, capsys):
    """Rows for every tile, finite, flagged, and a sentence: nothing falls over."""
    train_on = toy_store(tmp_path / "toy.h5", "cluster", 48)
    options = FLOORS["cluster"]["options"] | {
        "train": FLOORS["cluster"]["options"]["train"] | {"epochs": 1}
    }
    settings = tasks.load("cluster").Options(**options)
    weights = tmp_path / "cluster.safetensors"
    train.train("cluster", settings, [train_on], weights, device="cpu")
    # The toy sky has other pixels; the network is convolutional.
    claim(weights, size=SIDE, pixel_scale=SCALE)
    for name in RUNS:
        out = tmp_path / f"{name}.rows.parquet"
        infer.infer("cluster", [stores[name]], weights, out, config.Infer(), device="cpu")
        rows = pq.read_table(out).to_pandas()
        said = capsys.readouterr().out
        assert f"{len(rows)} of {len(rows)} rows lack a band: flag missing_band" in said
        store = open_store(stores[name])
        assert set(rows["object_id"]) == set(store.objects["object_id"].tolist())
        assert (rows["flags"] & FLAGS["missing_band"] != 0).all()
        assert rows["cluster_prob"].between(0, 1).all()
        for column in ("z_cluster", "richness", "ra", "dec", "cluster_score"):
            assert np.isfinite(rows[column]).all()
        absent = [band for place, band in enumerate(BANDS) if place != RUNS[name][1]]
        assert (rows[[f"masked_{band}" for band in absent]] == 1).all(axis=None)


def claim(weights: Path, **facts) -> None:
    """Change what the card of weights says they were trained on."""
    from astroml.nets.weights import load, save

    state, card = load(weights)
    save(weights, state, card | facts)


def test_the_file_of_abell_478_is_f814w(realdata):
    """Whatever its name says: the survey's description takes it for z."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = fits.getheader(realdata / "cluster_fields/a478_hst_f606w.fits.gz", 1)
    assert "F814W" in header["PHOTMODE"]
    assert load_survey("hst_grz").bands["z"].wavelength == 800
