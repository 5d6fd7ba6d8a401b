"""The run's catalogs as one: every object once, what each task says of it, and nothing else."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.table import Table

from astroml import tasks
from astroml.catalog.join import join
from astroml.catalog.sheet import cells, read_sheet
from astroml.catalog.write import export, write_catalog
from astroml.errors import AstromlError
from catalogs import make_run, rows_of, write_rows

N = 200


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), N) / "demo"


def test_every_object_is_there_once_with_its_own_values(demo):
    whole = pq.read_table(demo / "all.parquet").to_pylist()
    assert len(whole) == len({(one["object_id"], one["ra"]) for one in whole}) == N * 3 // 2
    rows = {one["object_id"]: one for one in whole}
    for task in ("lens", "photoz", "tidal"):
        own = pq.read_table(demo / f"{task}.parquet").to_pylist()
        first = tasks.load(task).COLUMNS[0].name
        for one in own:
            row = rows[one["object_id"]]
            assert (row["ra"], row["dec"]) == (one["ra"], one["dec"])
            assert row[first] == one[first]
            assert row[f"{task}_weights"] == one["weights"]
        lost = [one for one in whole if one["object_id"] not in {row["object_id"] for row in own}]
        assert {(one[first], one[f"{task}_flags"], one[f"{task}_weights"]) for one in lost} <= {
            (None, None, "")
        }


def test_only_names_that_collide_get_a_prefix(demo):
    schemas = {
        task: pq.read_schema(demo / f"{task}.parquet") for task in ("lens", "photoz", "tidal")
    }
    names = pq.read_schema(demo / "all.parquet").names
    assert names[:3] == ["object_id", "ra", "dec"]
    assert names[-1] == "_healpix_29"
    shared = set.intersection(*(set(schema.names) for schema in schemas.values()))
    for name in shared - {*names[:3], names[-1]}:
        assert name not in names
        assert {f"{task}_{name}" for task in schemas} <= set(names)
    for name in ("lens_prob", "z_phot", "tidal_prob"):
        assert name in names
    assert "pz" not in names  # a list stays in its own catalog


@pytest.mark.parametrize("suffix", ["parquet", "fits", "vot", "ecsv"])
def test_it_keeps_its_meaning_in_every_format(demo, tmp_path, suffix):
    parts = [demo / f"{task}.parquet" for task in ("lens", "photoz", "tidal")]
    for name in ("a", "b"):
        export(parts, [tmp_path / name / f"all.{suffix}"])
    files = [(tmp_path / name / f"all.{suffix}").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]
    table = Table.read(tmp_path / f"a/all.{suffix}")
    assert (table["ra"].unit, table["theta_e"].unit) == (u.deg, u.arcsec)
    assert table["lens_flags"].info.meta["ucd"] == "meta.code.qual"
    assert table["z_phot"].description
    assert np.isnan(np.ma.filled(table["lens_prob"], np.nan)).sum() == N * 3 // 2 - N * 9 // 10 + 7


def test_one_id_at_two_places_is_two_objects(tmp_path):
    """As in a simulated run, where galaxies and halos are numbered alike."""
    ids = np.arange(5)
    for task, ra in (("lens", ids + 10.0), ("tidal", np.array([10.0, 51, 52, 53, 14]))):
        part = write_rows(tmp_path / f"{task}_rows.parquet", rows_of(task, ids, ra, ids * 1.0))
        write_catalog(task, [part], [tmp_path / f"{task}.parquet"])
    whole = join([tmp_path / "lens.parquet", tmp_path / "tidal.parquet"]).table
    assert len(whole) == 8
    both = whole.filter(pc.is_valid(pc.add(whole["lens_prob"], whole["tidal_prob"])))
    assert sorted(both["object_id"].to_pylist()) == [0, 4]


def test_a_catalog_without_rows_joins_ids_of_text(tmp_path):
    for task, count in (("lens", 3), ("tidal", 0)):
        ids = np.array([f"J{one}" for one in range(count)], dtype=str if count else np.int64)
        places = np.arange(count, dtype=float)
        part = write_rows(tmp_path / f"{task}_rows.parquet", rows_of(task, ids, places, places))
        write_catalog(task, [part], [tmp_path / f"{task}.parquet"])
    for order in (("lens", "tidal"), ("tidal", "lens")):
        whole = join([tmp_path / f"{task}.parquet" for task in order]).table
        assert sorted(whole["object_id"].to_pylist()) == ["J0", "J1", "J2"]


def test_what_cannot_be_joined_is_told(demo, tmp_path, monkeypatch):
    part = write_rows(
        tmp_path / "rows.parquet", rows_of("tidal", np.array(["a", "b"]), np.ones(2), np.ones(2))
    )
    write_catalog("tidal", [part], [tmp_path / "tidal.parquet"])
    with pytest.raises(AstromlError, match="a number in some catalogs, text in others"):
        join([demo / "lens.parquet", tmp_path / "tidal.parquet"])
    with pytest.raises(AstromlError, match="no such catalog; run astroml catalog first"):
        join([demo / "lens.parquet", tmp_path / "none.parquet"])
    old = pq.read_table(demo / "lens.parquet").drop_columns(["_healpix_29"])
    pq.write_table(old, tmp_path / "lens.parquet")
    with pytest.raises(AstromlError, match="lens: the catalog has no column _healpix_29; write it"):
        join([demo / "photoz.parquet", tmp_path / "lens.parquet"])
    monkeypatch.setattr(tasks, "load", lambda name, part="": SimpleNamespace(MANY_ROWS=True))
    with pytest.raises(AstromlError, match="several rows per object, so it joins no other"):
        join([demo / "photoz.parquet", demo / "lens.parquet"])


def test_rows_lie_along_the_sky_in_groups_that_a_search_can_skip(demo, tmp_path, monkeypatch):
    from astroml.catalog import formats

    monkeypatch.setattr(formats, "GROUP_ROWS", 16)
    for name in ("lens", "all"):
        sheet = read_sheet(demo / f"{name}.parquet")
        cell = sheet.table["_healpix_29"].to_numpy()
        assert (np.diff(cell) >= 0).all()
        places = (sheet.table[one].to_numpy() for one in ("ra", "dec"))
        np.testing.assert_array_equal(cell, cells(*places))
        formats.write(sheet, tmp_path / "out.parquet")
        file = pq.ParquetFile(tmp_path / "out.parquet")
        assert file.num_row_groups == -(-len(cell) // 16)
        at = file.schema_arrow.names.index("_healpix_29")
        limits = [
            file.metadata.row_group(k).column(at).statistics for k in range(file.num_row_groups)
        ]
        assert all(one.max <= two.min for one, two in zip(limits, limits[1:]))  # noqa: RUF007
        assert limits[0].min == cell[0]


def test_wide_rows_have_fewer_to_a_group():
    from astroml.catalog.formats import GROUP_BYTES, GROUP_ROWS, group_rows

    narrow = pa.table({"x": np.zeros(200_000)})
    flat = pa.array(np.zeros(2000 * 300, np.float32))
    wide = pa.table({"x": pa.FixedSizeListArray.from_arrays(flat, 300)})
    assert group_rows(narrow) == GROUP_ROWS
    assert group_rows(wide) == pytest.approx(GROUP_BYTES / 1200, rel=0.01)
    assert group_rows(narrow.slice(0, 0)) == GROUP_ROWS


def test_a_place_without_a_position_has_no_cell():
    assert cells(np.array([np.nan, 1.0]), np.array([0.0, np.nan])).tolist() == [-1, -1]
    # The first cell of order 29 touches the corner of base pixel 0, at RA 45 deg on the equator.
    assert cells(np.array([45.0]), np.array([1e-9])) == [0]
