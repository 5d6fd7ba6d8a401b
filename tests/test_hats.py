"""HATS: LSDB opens what we write and finds what is there; the layout is the published one."""

from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from astroml.catalog import hats
from astroml.catalog.sheet import cells, read_sheet
from astroml.catalog.write import export
from astroml.errors import AstromlError
from catalogs import make_run, sky


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), 400)


def test_tiles_split_where_the_sky_is_crowded():
    cell = np.sort(cells(*sky(4000)))
    tiles = hats.split(cell, 100)
    spans = [hats.span(cell, *tile) for tile in tiles]
    assert spans[0][0] == 0
    assert spans[-1][1] == len(cell)
    assert all(end == begin for (_, end), (begin, _) in pairwise(spans))
    assert all(end - begin <= 100 or order == 10 for (order, _), (begin, end) in zip(tiles, spans))
    assert len({order for order, _ in tiles}) > 2
    for (order, pixel), (begin, end) in zip(tiles, spans):
        assert set(cell[begin:end] >> 2 * (29 - order)) == {pixel}


@pytest.mark.parametrize("name", ["lens", "photoz", "all"])
@pytest.mark.filterwarnings("ignore")  # its own, and those of what it is made of
def test_lsdb_opens_it_and_searches_a_cone(catalogs, tmp_path, name):
    lsdb = pytest.importorskip("lsdb")
    dask = pytest.importorskip("dask")
    from hats.io.validation import is_valid_catalog

    sheet = read_sheet(catalogs / f"demo/{name}.parquet")
    tiles = hats.write_hats(sheet, tmp_path / "sky", rows=50)
    assert len(tiles) > 12
    assert is_valid_catalog(tmp_path / "sky", strict=True)
    ra, dec = (sheet.table[one].to_numpy() for one in ("ra", "dec"))
    ids = sheet.table["object_id"].to_numpy()
    with dask.config.set(scheduler="synchronous"):
        catalog = lsdb.open_catalog(tmp_path / "sky")
        assert len(catalog) == len(ids)
        for place, radius in [((0, 0), 90), ((77, 90), 100), ((200, -20), 30 * 3600)]:
            found = catalog.cone_search(*place, radius_arcsec=radius).compute()
            apart = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(*place, unit="deg"))
            inside = ids[apart < radius * u.arcsec]
            assert len(inside) > 5
            assert sorted(found["object_id"]) == sorted(inside)


def test_the_folder_is_whole_and_its_bytes_are_the_rows_own(catalogs, tmp_path):
    for name in ("a", "b", "b"):  # the second b replaces the first
        assert export([catalogs / "demo/lens.parquet"], [], tmp_path / name) == 360
    files = [
        {one.relative_to(top): one.read_bytes() for one in top.rglob("*") if one.is_file()}
        for top in (tmp_path / "a", tmp_path / "b")
    ]
    assert len(files[0]) > 5
    assert files[0] == files[1]
    facts = dict(
        line.split("=", 1) for line in (tmp_path / "a/hats.properties").read_text().splitlines()
    )
    assert (facts["hats_nrows"], facts["hats_col_healpix"]) == ("360", "_healpix_29")
    rows = sum(pq.read_metadata(one).num_rows for one in tmp_path.glob("a/dataset/*/*/*.parquet"))
    assert rows == 360 == pq.read_metadata(tmp_path / "a/dataset/_metadata").num_rows
    field = pq.read_schema(tmp_path / "a/dataset/_common_metadata").field("theta_e")
    assert field.metadata[b"unit"] == b"arcsec"
    assert not list(tmp_path.glob("*.part"))


def test_a_folder_of_something_else_is_left_alone(catalogs, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    with pytest.raises(AstromlError, match="no HATS catalog; choose another folder"):
        export([catalogs / "demo/lens.parquet"], [], tmp_path / "mine")
    assert (tmp_path / "mine/thesis.tex").exists()
