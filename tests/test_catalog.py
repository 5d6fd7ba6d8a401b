"""Catalogs: checked columns, meaning kept in every format, same bytes for same rows."""

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits, votable
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table

from astroml import tasks
from astroml.catalog.columns import all_columns, quality
from astroml.catalog.write import write_catalog
from astroml.errors import AstromlError
from astroml.store import layout
from astroml.tasks import Column

LEADING = ("lens_prob", "lens_score")
LEFT = ("object_id", "ra", "lens_prob")


def make_rows(n=6, first=100, text=False):
    rng = np.random.default_rng(first)
    ids = np.arange(first, first + n)
    others = [column for column in tasks.load("lens").COLUMNS if column.name not in LEADING]
    return {
        "object_id": pa.array([f"J{one}+05" for one in ids] if text else ids),
        "ra": pa.array(rng.uniform(0, 360, n)),
        "dec": pa.array(rng.uniform(-90, 90, n)),
        "lens_prob": pa.array(rng.uniform(size=n).astype(np.float32)),
        "lens_score": pa.array(rng.normal(size=n).astype(np.float32)),
        **{column.name: pa.array(rng.normal(size=n).astype(column.dtype)) for column in others},
        "flags": pa.array(np.zeros(n, np.int32)),
        "weights": pa.array(["abc123"] * n, pa.string()),
        "input": pa.array(["def456"] * n, pa.string()),
    }


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), path)
    return path


def read(path, by="object_id"):
    """Read a catalog in the order of its ids: its own is that of the sky."""
    table = Table.read(path)
    return table[np.argsort(table[by])]


@pytest.fixture
def rows(tmp_path):
    return [
        write_rows(tmp_path / "rows" / f"{k}.parquet", make_rows(first=100 * k)) for k in (1, 2)
    ]


@pytest.mark.parametrize("task", tasks.names())
def test_every_column_has_a_valid_ucd_unit_and_description(task):
    for column in all_columns(task):
        assert check_ucd(column.ucd, check_controlled_vocabulary=True), column
        u.Unit(column.unit, parse_strict="raise")
        assert column.description
        assert column.dtype == "str" or np.dtype(column.dtype)


def test_quality_columns_keep_their_meaning(tmp_path):
    """Those that a store has are told with unit and UCD; a part without rows may lack them."""
    names = ["masked_fraction", "dx", "dy", "centroid_dx", "centroid_dy", "masked_VIS", "sky_g_2"]
    measured = {name: pa.array(np.arange(6, dtype=np.float32)) for name in names}
    empty = pa.table(make_rows()).slice(0, 0)
    pq.write_table(empty, tmp_path / "0.parquet")
    parts = [tmp_path / "0.parquet", write_rows(tmp_path / "1.parquet", make_rows() | measured)]
    for suffix in ("parquet", "fits"):
        write_catalog("lens", parts, [tmp_path / f"lens.{suffix}"])
        table = read(tmp_path / f"lens.{suffix}")
        found = table.colnames
        assert found[found.index("flags") + 1 : found.index("weights")] == names
        for name in names:
            np.testing.assert_array_equal(table[name], np.arange(6))
            assert check_ucd(table[name].info.meta["ucd"], check_controlled_vocabulary=True)
        assert table["dx"].unit == u.pix
        assert table["masked_VIS"].info.description == "Masked part of band VIS, 0 to 1"
        assert table["sky_g_2"].info.description == "Sky level of band g_2 in units of its noise"
    lost = {name: values for name, values in measured.items() if name != "dx"}
    other = write_rows(tmp_path / "2.parquet", make_rows(first=900) | lost)
    with pytest.raises(AstromlError, match="missing dx"):
        write_catalog("lens", [parts[1], other], [tmp_path / "x.parquet"])


def test_photometry_keeps_its_meaning(tmp_path):
    meant = {
        "r_half": ("arcsec", "phys.angSize"),
        "flux_g": ("nJy", "phot.flux;em.opt.B"),
        "flux_VIS": ("nJy", "phot.flux;em.opt"),
        "flux_F115W": ("nJy", "phot.flux"),
        "flux_err_g": ("nJy", "stat.error;phot.flux;em.opt.B"),
        "mw_transmission_g": ("", "phys.transmission;phys.absorption.gal;em.opt.B"),
    }
    values = pa.array(np.arange(6, dtype=np.float32))
    part = write_rows(tmp_path / "0.parquet", make_rows() | dict.fromkeys(meant, values))
    for suffix in ("parquet", "fits"):
        write_catalog("lens", [part], [tmp_path / f"lens.{suffix}"])
        table = Table.read(tmp_path / f"lens.{suffix}")
        for name, (unit, ucd) in meant.items():
            assert (table[name].unit or "") == u.Unit(unit), name
            assert table[name].info.meta["ucd"] == ucd
            assert check_ucd(ucd, check_controlled_vocabulary=True), ucd
        assert "Error of the flux in band g," in table["flux_err_g"].info.description


def test_every_column_that_a_store_may_measure_has_a_meaning():
    known = [*layout.QUALITY, *layout.PHOTOMETRY]
    known += [f"{kind}_r" for kind in (*layout.QUALITY_PER_BAND, *layout.PHOTOMETRY_PER_BAND)]
    assert [column.name for column in quality(known)] == known


@pytest.mark.parametrize("suffix", ["parquet", "fits", "vot", "ecsv"])
@pytest.mark.parametrize("text", [False, True])
def test_astropy_gives_back_values_units_ucds_and_descriptions(tmp_path, suffix, text):
    parts = [
        write_rows(tmp_path / f"{k}.parquet", make_rows(first=100 * k, text=text)) for k in (2, 1)
    ]
    out = tmp_path / f"lens.{suffix}"
    assert write_catalog("lens", parts, [out]) == 12
    table = Table.read(out)
    expected = [value for part in parts for value in pq.read_table(part)["object_id"].to_pylist()]
    ids = table["object_id"]
    assert sorted(str(one) for one in ids) == sorted(str(one) for one in expected)
    for part in parts:
        given = pq.read_table(part)
        for one, ra, prob in zip(*(given[name].to_pylist() for name in LEFT)):
            (row,) = np.flatnonzero(np.asarray(ids).astype(str) == str(one))
            assert (table["ra"][row], table["lens_prob"][row]) == (ra, np.float32(prob))
    assert ids.dtype.kind in ("USO" if text else "i")
    assert table.colnames == [column.name for column in all_columns("lens")]
    for column in all_columns("lens"):
        found = table[column.name].info
        assert (found.unit or "") == u.Unit(column.unit)
        assert " ".join(found.description.split()) == column.description
        assert found.meta["ucd"] == column.ucd


def test_fits_headers_say_unit_ucd_and_description_to_any_reader(tmp_path, rows):
    write_catalog("lens", rows, [tmp_path / "lens.fits"])
    with fits.open(tmp_path / "lens.fits") as units:
        header = units["lens"].header
        assert (header["TTYPE2"], header["TUNIT2"]) == ("ra", "deg")
        for number, column in enumerate(all_columns("lens"), start=1):
            assert header[f"TUCD{number}"] == column.ucd
            assert header[f"TCOMM{number}"] == column.description
        assert "DATE" not in header
        units.verify("exception")


def test_parquet_carries_the_votable_of_the_convention(tmp_path, rows):
    out = tmp_path / "lens.parquet"
    write_catalog("lens", rows, [out])
    facts = pq.ParquetFile(out).metadata.metadata
    assert facts[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    document = votable.parse(io.BytesIO(facts[b"IVOA.VOTable-Parquet.content"]), verify="exception")
    fields = document.get_first_table().fields
    assert [field.name for field in fields] == [column.name for column in all_columns("lens")]
    assert [field.ucd for field in fields] == [column.ucd for column in all_columns("lens")]
    assert fields[1].unit == "deg"
    assert fields[1].datatype == "double"
    assert fields[3].description == tasks.load("lens").COLUMNS[0].description
    assert b"<DATA" not in facts[b"IVOA.VOTable-Parquet.content"]
    about = json.loads(facts[b"astroml.provenance"])
    assert set(about["inputs"]) == {"1.parquet", "2.parquet"}
    field = pq.read_schema(out).field("ra")
    assert field.metadata[b"unit"] == b"deg"


def test_votable_reader_of_astropy_opens_it(tmp_path, rows):
    out = tmp_path / "lens.parquet"
    write_catalog("lens", rows, [out])
    table = Table.read(out, format="parquet.votable")
    assert len(table) == 12
    assert table["dec"].unit == u.deg


@pytest.mark.parametrize("suffix", ["parquet", "fits", "vot", "ecsv", "csv"])
def test_same_rows_same_bytes(tmp_path, rows, suffix):
    outs = [tmp_path / name / f"lens.{suffix}" for name in ("a", "b")]
    for out in outs:
        write_catalog("lens", rows, [out])
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert [path.name for path in outs[0].parent.iterdir()] == [outs[0].name]


@pytest.mark.parametrize("text", [False, True])
def test_an_empty_catalog_has_its_types(tmp_path, text):
    empty = {name: column.slice(0, 0) for name, column in make_rows(text=text).items()}
    part = write_rows(tmp_path / "0.parquet", empty)
    outs = [tmp_path / "lens.parquet", tmp_path / "lens.fits"]
    assert write_catalog("lens", [part], outs) == 0
    for out in outs:
        table = Table.read(out)
        assert len(table) == 0
        assert table["lens_prob"].dtype.name == "float32"
        assert table["object_id"].dtype.kind in ("US" if text else "i")
        assert table["ra"].unit == u.deg


def test_an_empty_part_does_not_spoil_the_others(tmp_path):
    empty = {name: column.slice(0, 0) for name, column in make_rows().items()}
    parts = [
        write_rows(tmp_path / "0.parquet", empty),
        write_rows(tmp_path / "1.parquet", make_rows(text=True)),
    ]
    assert write_catalog("lens", parts, [tmp_path / "lens.parquet"]) == 6


def drop(rows):
    del rows["lens_prob"]


def extra(rows):
    rows["colour"] = rows["ra"]


def retype(rows):
    rows["lens_prob"] = rows["lens_prob"].cast(pa.float64())


def float_ids(rows):
    rows["object_id"] = rows["object_id"].cast(pa.float64())


def null(rows):
    rows["flags"] = pa.array([None] * 6, pa.int32())


def twice(rows):
    rows["object_id"] = pa.array([7] * 6)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (drop, "columns missing lens_prob; infer again"),
        (extra, "unknown colour"),
        (retype, "lens_prob: found double, expected float"),
        (float_ids, "object_id: found double, expected int64 or string"),
        (null, "flags: 6 values are null"),
        (twice, "1 objects come more than once, such as 7"),
    ],
)
def test_bad_rows_are_refused_in_a_sentence(tmp_path, spoil, says):
    rows = make_rows()
    spoil(rows)
    part = write_rows(tmp_path / "0.parquet", rows)
    with pytest.raises(AstromlError, match=says):
        write_catalog("lens", [part], [tmp_path / "lens.parquet"])
    assert not (tmp_path / "lens.parquet").exists()


def test_the_same_file_given_twice_is_refused(tmp_path, rows):
    with pytest.raises(AstromlError, match="come more than once"):
        write_catalog("lens", rows + rows[:1], [tmp_path / "lens.parquet"])


def test_unknown_ending_missing_rows_and_junk_are_refused(tmp_path, rows):
    with pytest.raises(AstromlError, match=r"expected .parquet or .fits or .vot or .ecsv or .csv"):
        write_catalog("lens", rows, [tmp_path / "lens.txt"])
    with pytest.raises(AstromlError, match="run infer first"):
        write_catalog("lens", [tmp_path / "none.parquet"], [tmp_path / "lens.fits"])
    (tmp_path / "junk.parquet").write_text("junk")
    with pytest.raises(AstromlError, match="not a Parquet file"):
        write_catalog("lens", [tmp_path / "junk.parquet"], [tmp_path / "lens.fits"])
    with pytest.raises(AstromlError, match="no rows given"):
        write_catalog("lens", [], [tmp_path / "lens.fits"])


def test_ids_beyond_ascii_go_to_parquet_and_are_refused_by_fits(tmp_path):
    rows = make_rows()
    rows["object_id"] = pa.array([f"α{k}" for k in range(6)])
    part = write_rows(tmp_path / "0.parquet", rows)
    write_catalog("lens", [part], [tmp_path / "lens.parquet"])
    assert read(tmp_path / "lens.parquet")["object_id"][3] == "α3"
    with pytest.raises(AstromlError, match=r"α\d has a letter beyond ASCII"):
        write_catalog("lens", [part], [tmp_path / "lens.fits"])


def test_a_null_score_becomes_nan(tmp_path):
    rows = make_rows()
    rows["lens_prob"] = pa.array([None, *rows["lens_prob"].to_pylist()[1:]], pa.float32())
    part = write_rows(tmp_path / "0.parquet", rows)
    write_catalog("lens", [part], [tmp_path / "lens.fits"])
    values = np.ma.filled(read(tmp_path / "lens.fits")["lens_prob"], np.nan)
    assert np.isnan(values).tolist() == [True, *[False] * 5]


@pytest.mark.parametrize("text", [False, True])
def test_ranks_are_of_the_whole_catalog(tmp_path, text):
    """Over all parts; ties in the order of the ids, and what has no pixels or no value last."""
    scores = [[0.5, 3.0, np.nan, 0.5, -1.0, 9.0], [2.0, 0.5, 7.0, -2.0, 0.5, 0.1]]
    parts = []
    for first, values in zip((200, 100), scores):
        rows = make_rows(first=first, text=text)
        rows["lens_score"] = pa.array(values, pa.float32())
        rows["flags"] = pa.array([0, 0, 0, 0, 0, 8 | 1] if first == 200 else [2] * 6, pa.int32())
        parts.append(write_rows(tmp_path / f"{first}.parquet", rows))
    assert layout.FLAGS["no_data"] == 8
    outs = [tmp_path / "lens.parquet", tmp_path / "lens.fits"]
    write_catalog("lens", parts, outs)
    expected = [6, 2, 11, 7, 9, 12, 3, 4, 1, 10, 5, 8]
    given = [*range(200, 206), *range(100, 106)]
    for out in outs:
        table = Table.read(out)
        ids = [int(str(one).strip("J").partition("+")[0]) for one in table["object_id"]]
        assert dict(zip(ids, table["lens_score_rank"])) == dict(zip(given, expected))
        assert table["lens_score_rank"].dtype.name == "int64"
        names = table.colnames
        assert names.index("lens_score_rank") == names.index("artefact_prob") + 1
        assert names.index("lens_score_rank") == names.index("flags") - 1
    # Rows have no ranks of their own: a part does not know them.
    known = write_rows(
        tmp_path / "r.parquet", make_rows() | {"lens_score_rank": pa.array(range(6))}
    )
    with pytest.raises(AstromlError, match="unknown lens_score_rank"):
        write_catalog("lens", [known], [tmp_path / "x.parquet"])


BINS = 7


@pytest.fixture
def listing(monkeypatch):
    """Let the name lens stand for a task whose second column holds lists."""
    columns = (
        Column("z_phot", "float32", "", "src.redshift.phot", "Redshift"),
        Column("pz", "float32", "mJy", "stat.probability", "A list", length="bins"),
    )
    task = SimpleNamespace(__doc__="Lists.", COLUMNS=columns)
    monkeypatch.setattr(tasks, "load", lambda name, part="": task)
    return task


def list_rows(n=6, first=100, bins=BINS, dtype=np.float32):
    rows = make_rows(n, first)
    rows["z_phot"] = rows.pop("lens_prob")
    del rows["lens_score"]
    flat = pa.array(np.arange(n * bins, dtype=dtype) + first)
    rows["pz"] = pa.FixedSizeListArray.from_arrays(flat, bins)
    return rows


@pytest.mark.parametrize("suffix", ["parquet", "fits", "vot", "ecsv"])
def test_lists_come_back_with_shape_unit_and_meaning(tmp_path, listing, suffix):
    parts = [write_rows(tmp_path / f"{k}.parquet", list_rows(first=100 * k)) for k in (2, 1)]
    out = tmp_path / f"lens.{suffix}"
    assert write_catalog("lens", parts, [out]) == 12
    table = read(out)
    assert table["pz"].shape == (12, BINS)
    assert table["pz"].dtype.name == "float32"
    values = np.arange(6 * BINS).reshape(6, BINS)
    np.testing.assert_array_equal(table["pz"], np.concatenate([values + 100, values + 200]))
    info = table["pz"].info
    assert (info.unit, info.description, info.meta["ucd"]) == (u.mJy, "A list", "stat.probability")


def test_lists_are_declared_in_every_header(tmp_path, listing):
    part = write_rows(tmp_path / "0.parquet", list_rows())
    write_catalog("lens", [part], [tmp_path / "lens.fits", tmp_path / "lens.parquet"])
    with fits.open(tmp_path / "lens.fits") as units:
        header = units["lens"].header
        number = header["TTYPE*"].values()
        number = [*number].index("pz") + 1
        assert header[f"TFORM{number}"] == f"{BINS}E"
        assert f"TDIM{number}" not in header
        names = ("TUNIT", "TUCD", "TCOMM")
        found = [header[f"{name}{number}"] for name in names]
        assert found == ["mJy", "stat.probability", "A list"]
        units.verify("exception")
    kind = pq.read_schema(tmp_path / "lens.parquet").field("pz").type
    assert kind == pa.list_(pa.float32(), BINS)
    facts = pq.ParquetFile(tmp_path / "lens.parquet").metadata.metadata
    document = votable.parse(io.BytesIO(facts[b"IVOA.VOTable-Parquet.content"]), verify="exception")
    field = document.get_first_table().get_field_by_id_or_name("pz")
    assert (field.datatype, field.arraysize) == ("float", str(BINS))
    told = Table.read(tmp_path / "lens.parquet", format="parquet.votable")
    assert told["pz"].shape == (6, BINS)


def test_an_empty_catalog_of_lists_has_their_type(tmp_path, listing):
    part = write_rows(tmp_path / "0.parquet", list_rows(n=0))
    outs = [tmp_path / "lens.parquet", tmp_path / "lens.fits"]
    assert write_catalog("lens", [part], outs) == 0
    for out in outs:
        table = Table.read(out)
        assert table["pz"].shape == (0, BINS)
        assert table["pz"].dtype.name == "float32"
        assert table["pz"].unit == u.mJy


def test_an_empty_part_does_not_spoil_lists(tmp_path, listing):
    parts = [
        write_rows(tmp_path / "0.parquet", list_rows(n=0)),
        write_rows(tmp_path / "1.parquet", list_rows()),
    ]
    assert write_catalog("lens", parts, [tmp_path / "lens.fits"]) == 6


def test_lists_of_other_lengths_or_types_are_refused(tmp_path, listing):
    good = write_rows(tmp_path / "good.parquet", list_rows())
    longer = write_rows(tmp_path / "longer.parquet", list_rows(first=200, bins=BINS + 1))
    with pytest.raises(AstromlError, match=r"longer.*pz: found lists of 8 values, but of 7 in"):
        write_catalog("lens", [good, longer], [tmp_path / "x.fits"])
    doubles = write_rows(tmp_path / "doubles.parquet", list_rows(dtype=np.float64))
    with pytest.raises(AstromlError, match=r"pz: found fixed_size_list<.*double.*expected float"):
        write_catalog("lens", [doubles], [tmp_path / "x.fits"])
    loose = list_rows()
    loose["pz"] = loose["pz"].cast(pa.list_(pa.float32()))
    with pytest.raises(AstromlError, match=r"pz: found list<.*expected float lists of one length"):
        write_catalog("lens", [write_rows(tmp_path / "l.parquet", loose)], [tmp_path / "x.fits"])
    null = list_rows()
    null["pz"] = pa.array([None, *null["pz"].to_pylist()[1:]], pa.list_(pa.float32(), BINS))
    with pytest.raises(AstromlError, match="pz: 1 values are null"):
        write_catalog("lens", [write_rows(tmp_path / "n.parquet", null)], [tmp_path / "x.fits"])


def test_a_null_in_a_list_becomes_nan(tmp_path, listing):
    rows = list_rows()
    cells = rows["pz"].to_pylist()
    cells[2][3] = None
    rows["pz"] = pa.array(cells, pa.list_(pa.float32(), BINS))
    write_catalog("lens", [write_rows(tmp_path / "0.parquet", rows)], [tmp_path / "lens.parquet"])
    found = read(tmp_path / "lens.parquet")["pz"]
    assert np.argwhere(np.isnan(found)).tolist() == [[2, 3]]


def test_a_task_writes_its_own_files(tmp_path, listing):
    seen = {}

    def export(rows, path):
        """Write numbers."""
        seen.update(rows)
        with path.open("wb") as file:
            np.savez(file, pz=rows["pz"])

    listing.EXPORTS = {".npz": export}
    part = write_rows(tmp_path / "0.parquet", list_rows())
    write_catalog("lens", [part], [tmp_path / "lens.npz", tmp_path / "lens.parquet"])
    assert list(seen) == [column.name for column in all_columns("lens")]
    assert seen["pz"].shape == (6, BINS)
    assert seen["object_id"].dtype == np.int64
    with np.load(tmp_path / "lens.npz") as file:
        np.testing.assert_array_equal(file["pz"], Table.read(tmp_path / "lens.parquet")["pz"])
    with pytest.raises(AstromlError, match=r"expected .parquet or .* or .npz"):
        write_catalog("lens", [part], [tmp_path / "lens.txt"])


def test_an_export_that_fails_leaves_nothing(tmp_path, listing):
    def export(rows, path):
        path.write_text("half")
        raise AstromlError("no")

    listing.EXPORTS = {".npz": export}
    part = write_rows(tmp_path / "0.parquet", list_rows())
    with pytest.raises(AstromlError, match="no"):
        write_catalog("lens", [part], [tmp_path / "lens.npz"])
    assert [path.name for path in tmp_path.iterdir()] == ["0.parquet"]


@pytest.mark.parametrize("module", ["catalog.write", "report.page", "report.terminal", "score"])
def test_no_torch_behind_these_doors(module):
    code = f"import astroml.{module}, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
