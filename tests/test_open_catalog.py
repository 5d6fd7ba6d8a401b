"""A catalog in Python: steps that chain, tables that keep their meaning, pixels of the store."""

import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

import astroml
from astroml.errors import AstromlError
from astroml.rgb import colour, colour_bands
from astroml.store import Header, write_shard
from catalogs import make_run

N = 200
BANDS = ("g", "r", "z")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with catalogs, and a store of some of its objects."""
    folder = tmp_path_factory.mktemp("run")
    catalogs = make_run(folder, N)
    lens = Table.read(catalogs / "demo/lens.parquet")
    rng = np.random.default_rng(2)
    n, size = len(lens), 12
    columns = {
        "image": rng.normal(size=(n, len(BANDS), size, size)).astype(np.float32),
        "mask": np.zeros((n, len(BANDS), size, size), np.uint8),
        "sigma": np.ones((n, len(BANDS)), np.float32),
        "psf_fwhm": np.ones((n, len(BANDS)), np.float32),
    }
    objects = {
        "object_id": np.array(lens["object_id"]),
        "ra": np.array(lens["ra"]),
        "dec": np.array(lens["dec"]),
        "ebv": np.zeros(n, np.float32),
        "flags": np.zeros(n, np.int32),
        "split": np.array(["test"] * n),
    }
    header = Header("galaxy", BANDS, size, 0.25, "decals")
    write_shard(folder / "results/demo/store/galaxy/0.h5", header, [columns | {"objects": objects}])
    return folder, columns, objects


@pytest.fixture
def lens(run):
    return astroml.open_catalog("lens", "demo", run[0] / "catalogs", run[0] / "results")


def test_steps_chain_and_read_the_same_as_by_hand(lens, run):
    whole = Table.read(run[0] / "catalogs/demo/lens.parquet")
    place = SkyCoord(0, 0, unit="deg")
    apart = SkyCoord(whole["ra"], whole["dec"], unit="deg").separation(place)
    near = whole[apart < 100 * u.arcsec]
    cone = lens.cone(0, "0d00m00s", 100)
    assert type(cone) is type(lens)
    assert len(cone) == len(near) > 10
    top = cone.top(4, by="theta_e")
    best = near[np.argsort(-near["theta_e"])][:4]
    assert list(top.to_astropy()["object_id"]) == list(best["object_id"])
    # A cone of the best four is among them; the best of a cone are not the cone of the best.
    assert set(top.cone(0, 0, 50).to_astropy()["object_id"]) <= set(best["object_id"])
    assert len(lens.top(4, by="theta_e").cone(0, 0, 100)) <= 4
    # In SQL the name means the rows of the cone, and other tasks stay whole.
    counted = cone.sql("SELECT count(*) AS n FROM lens JOIN photoz USING (object_id)")
    assert counted.to_astropy()["n"][0] == len(near)
    again = cone.sql("WITH a AS (SELECT * FROM lens) SELECT object_id, ra, dec FROM a;").box(
        359, 1, -90, 0
    )
    assert sorted(again.to_astropy()["object_id"]) == sorted(near["object_id"][near["dec"] <= 0])
    assert "rows" in repr(lens)
    assert "<table" in cone._repr_html_()


def test_top_takes_the_score_and_leaves_what_is_not_known(lens):
    best = lens.top(20).to_astropy()
    values = np.array(lens.to_astropy()["lens_prob"])
    np.testing.assert_array_equal(best["lens_prob"], -np.sort(-values[np.isfinite(values)])[:20])
    with pytest.raises(AstromlError, match="'lens_pro': not in lens; did you mean lens_prob"):
        lens.top(3, by="lens_pro")


def test_tables_keep_their_meaning(lens):
    table = lens.cone(0, 0, 200).to_astropy()
    assert (table["ra"].unit, table["theta_e"].unit) == (u.deg, u.arcsec)
    assert table["lens_prob"].info.meta["ucd"] == "stat.probability"
    frame = lens.to_pandas()
    assert len(frame) == len(lens) == N * 9 // 10
    assert frame["lens_prob"].isna().sum() == 7


def test_crossmatch_takes_tables_files_and_catalogs(lens, run, tmp_path):
    other = Table({"name": ["a", "b"], "ra": [10.0, 0.0], "dec": [89.0, 0.0]})
    row = lens.to_astropy()[5]
    other["ra"][0], other["dec"][0] = row["ra"], np.clip(row["dec"] + 1 / 3600, -90, 90)
    found = lens.crossmatch(other, radius=2)
    assert row["object_id"] in list(found["object_id"])
    other.write(tmp_path / "other.csv")
    assert list(lens.crossmatch(tmp_path / "other.csv", 2)["name"]) == list(found["name"])
    photoz = astroml.open_catalog("photoz", "demo", run[0] / "catalogs")
    both = lens.crossmatch(photoz, 0.01)
    assert (both["object_id"] == both["object_id_other"]).mean() > 0.99


def test_a_cutout_is_the_objects_own_pixels(lens, run):
    _, columns, objects = run
    found = lens.cutout(objects["object_id"][7])
    for name in ("image", "mask", "sigma", "psf_fwhm"):
        np.testing.assert_array_equal(getattr(found, name), columns[name][7])
    assert (found.bands, found.pixel_scale) == (BANDS, 0.25)
    assert (found.ra, found.dec) == (objects["ra"][7], objects["dec"][7])
    assert found.extent == (-1.5, 1.5, -1.5, 1.5)
    assert found.rgb.shape == (12, 12, 3)
    with pytest.raises(AstromlError, match=r"object 5: not in .*galaxy"):
        lens.cutout(5)
    astray = astroml.open_catalog("lens", "demo", run[0] / "catalogs", run[0] / "nowhere")
    with pytest.raises(AstromlError, match="no store; open the catalog with results="):
        astray.cutout(5)


def test_a_mosaic_shows_the_best_in_order(lens, run):
    _, columns, objects = run
    best = lens.top(7)
    figure = best.show(6)
    shown = [one for one in figure.axes if one.images]
    ids = list(best.to_astropy()["object_id"])[:6]
    assert [int(one.get_title().split("\n")[0]) for one in shown] == ids
    rows = [list(objects["object_id"]).index(one) for one in ids]
    bands = colour_bands(BANDS)
    wanted = colour(columns["image"][rows][:, bands], columns["sigma"][rows][:, bands])
    for one, picture in zip(shown, wanted):
        np.testing.assert_array_equal(one.images[0].get_array(), picture)
        assert one.images[0].origin == "lower"
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows
    with pytest.raises(AstromlError, match="no rows to show"):
        lens.cone(77, 77, 0.001).show()


def test_a_catalog_that_is_not_there_is_told(run):
    with pytest.raises(AstromlError, match=r"table 'lenss': .*did you mean lens"):
        astroml.open_catalog("lenss", "demo", run[0] / "catalogs")
    with pytest.raises(AstromlError, match=r"run 'deno': .*did you mean demo"):
        astroml.open_catalog("lens", "deno", run[0] / "catalogs")
    with pytest.raises(AttributeError, match="no attribute 'open_catalogs'"):
        astroml.open_catalogs  # noqa: B018


def test_opening_is_quick_and_loads_no_torch(run):
    """In a fresh interpreter; what other jobs of the machine take is not counted."""
    code = (
        "import time; begun = time.process_time(); import astroml\n"
        f"astroml.open_catalog('lens', 'demo', {str(run[0] / 'catalogs')!r})\n"
        "import sys; print(time.process_time() - begun, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, torch = done.stdout.split()
    assert torch == "False"
    assert float(seconds) < 0.5
