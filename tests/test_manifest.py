"""The manifest: every fault is told, of a row or of the table, and no id loses a digit."""

import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from astroml.errors import AstromlError
from astroml.ingest.manifest import chunk_rows, fill_in, read_manifest

BIG = 2**53 + 1


def table(**columns) -> Table:
    base = {"object_id": [1, 2], "ra": [10.0, 20.0], "dec": [0.0, -5.0]}
    return Table(base | columns)


def write(folder, name, content) -> str:
    path = folder / name
    if isinstance(content, str):
        path.write_text(content)
    else:
        content.write(path, overwrite=True)
    return path


@pytest.mark.parametrize("name", ["m.csv", "m.ecsv", "m.fits", "m.parquet"])
def test_every_format_keeps_long_ids_and_columns(tmp_path, name):
    path = write(tmp_path, name, table(object_id=[BIG, -3], kind=["a", "bc"], mag=[1.5, 2.5]))
    found = read_manifest(path)
    assert found.columns["object_id"].dtype == np.int64
    assert found.columns["object_id"].tolist() == [BIG, -3]
    assert found.ids.tolist() == [str(BIG), "-3"]
    assert found.columns["kind"].tolist() == ["a", "bc"]
    assert found.columns["mag"].tolist() == [1.5, 2.5]
    assert found.columns["ebv"].tolist() == [0, 0]
    assert found.columns["mag"].dtype.isnative
    assert found.faults == {}


def test_text_ids_stay_text(tmp_path):
    found = read_manifest(write(tmp_path, "m.csv", "object_id,ra,dec\n007,1,1\nJ1+2,2,2\n"))
    assert found.columns["object_id"].tolist() == ["007", "J1+2"]
    found = read_manifest(write(tmp_path, "n.csv", f"object_id,ra,dec\n007,1,1\n{2**64},2,2\n"))
    assert found.columns["object_id"].tolist() == ["007", str(2**64)]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("m.csv", ["1.0", "2.0"]),
        ("m.csv", ["1.2e18", "7"]),
        ("m.parquet", [1.0, 2.0]),
        ("m.fits", [1e18, 2.0]),
    ],
)
def test_float_ids_are_refused(tmp_path, name, ids):
    path = write(tmp_path, name, table(object_id=ids))
    with pytest.raises(AstromlError, match=r"object_id .*floats lose the last digits"):
        read_manifest(path)


def test_missing_column_names_the_nearest(tmp_path):
    path = write(tmp_path, "m.csv", "object_id,RA,dec\n1,2,3\n")
    with pytest.raises(AstromlError, match=r"no column 'ra'; did you mean 'RA'"):
        read_manifest(path)


def test_positions_wrap_and_bad_rows_are_told(tmp_path):
    text = "object_id,ra,dec\n1,360.0,90\n2,-0.1,-90\n3,nan,0\n4,10,90.1\n5,361,0\n6,abc,0\n7,,0\n"
    found = read_manifest(write(tmp_path, "m.csv", text))
    assert found.columns["ra"][:2] == pytest.approx([0.0, 359.9])
    assert sorted(found.faults) == [2, 3, 4, 5, 6]
    assert found.faults[3] == "dec is 90.1, expected a number from -90 to 90"
    assert found.faults[5].startswith("ra is abc")
    assert found.faults[6].startswith("ra is nothing")


def test_tiny_negative_ra_is_not_360(tmp_path):
    found = read_manifest(write(tmp_path, "m.csv", "object_id,ra,dec\n1,-1e-20,0\n"))
    assert found.columns["ra"].tolist() == [0.0]


def test_later_duplicates_are_rejected(tmp_path):
    found = read_manifest(write(tmp_path, "m.csv", "object_id,ra,dec\n5,1,1\n6,2,2\n5,3,3\n,4,4\n"))
    assert found.faults == {2: "object_id 5 is already in row 1", 3: "object_id is empty"}
    assert found.ids.tolist() == ["5", "6", "5", ""]


def test_masked_cells(tmp_path):
    rows = table(
        n=MaskedColumn([7, 8], mask=[True, False]), ebv=MaskedColumn([1, 2.0], mask=[True, False])
    )
    rows["word"] = MaskedColumn(["a", "b"], mask=[False, True])
    found = read_manifest(write(tmp_path, "m.ecsv", rows))
    np.testing.assert_array_equal(found.columns["n"], [np.nan, 8.0])
    assert found.columns["ebv"].tolist() == [0.0, 2.0]
    assert found.columns["word"].tolist() == ["a", ""]


def test_a_column_of_nan_holds_numbers(tmp_path):
    path = write(tmp_path, "m.csv", "object_id,ra,dec,z,labels\n1,10,0,nan,\n2,20,0,nan,\n")
    found = read_manifest(path).columns
    assert found["z"].dtype == float
    assert np.isnan(found["z"]).all()
    assert found["labels"].tolist() == ["", ""]


def test_position_units_are_honoured(tmp_path):
    rows = table(ra=Column([1.0, 2.0], unit="hourangle"))
    found = read_manifest(write(tmp_path, "m.ecsv", rows))
    assert found.columns["ra"] == pytest.approx([15.0, 30.0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "object_id,ra,dec,ra\n1,1,1,1\n", "'ra' is there twice"),
        ("m.csv", "object_id,ra,dec,flags\n1,1,1,1\n", "'flags' cannot be carried along"),
        ("m.csv", "object_id,ra,dec,a/b\n1,1,1,1\n", "'a/b' cannot be carried along"),
        ("m.csv", "object_id,ra,dec\n1,1\n", "cannot be read as a table"),
        ("m.csv", "", "cannot be read as a table"),
        ("m.parquet", "no parquet", "cannot be read as a table"),
        ("m.txt", "a", "unknown kind of table"),
    ],
)
def test_broken_tables_are_one_sentence(tmp_path, name, content, message):
    with pytest.raises(AstromlError, match=message) as told:
        read_manifest(write(tmp_path, name, content))
    assert "\n" not in str(told.value)


def test_columns_of_arrays_are_refused(tmp_path):
    path = write(tmp_path, "m.fits", table(flux=np.zeros((2, 3))))
    with pytest.raises(AstromlError, match="'flux' holds arrays"):
        read_manifest(path)


def test_no_such_file(tmp_path):
    with pytest.raises(AstromlError, match="no such manifest"):
        read_manifest(tmp_path / "none.csv")


@given(n=st.integers(0, 300), parts=st.integers(1, 40))
def test_chunks_are_the_whole(n, parts):
    rows = [one for i in range(parts) for one in range(n)[chunk_rows(n, f"{i}/{parts}")]]
    assert rows == list(range(n))


@pytest.mark.parametrize("chunk", ["4/4", "1", "-1/3", "a/b", "0/0", "1/2/3"])
def test_bad_chunks(chunk):
    with pytest.raises(AstromlError, match="expected 'I/N'"):
        chunk_rows(10, chunk)


def test_environment_is_filled_in(monkeypatch):
    monkeypatch.delenv("ASTROML_REALDATA", raising=False)
    monkeypatch.setenv("SOMEWHERE", "/data")
    assert fill_in("${ASTROML_REALDATA}/des") == "../shared/data/des"
    assert fill_in("$SOMEWHERE/x") == "/data/x"
    monkeypatch.setenv("ASTROML_REALDATA", "/real")
    assert fill_in("${ASTROML_REALDATA}/des") == "/real/des"
    with pytest.raises(AstromlError, match="NOWHERE is not set"):
        fill_in("$NOWHERE/x")


IDS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([1, 2, 3]))
NUMBERS = st.one_of(st.floats(-400, 800), st.sampled_from([0.0, 360.0, np.nan, np.inf]))


@given(rows=st.lists(st.tuples(IDS, NUMBERS, NUMBERS), min_size=1, max_size=30))
def test_every_row_is_good_or_told(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("m") / "m.csv"
    lines = [f"{one},{ra!r},{dec!r}" for one, ra, dec in rows]
    path.write_text("\n".join(["object_id,ra,dec", *lines]) + "\n")
    found = read_manifest(path)
    assert found.columns["object_id"].tolist() == [one for one, _, _ in rows]
    good = [row for row in range(len(rows)) if row not in found.faults]
    ra, dec = found.columns["ra"][good], found.columns["dec"][good]
    assert ((ra >= 0) & (ra < 360) & (np.abs(dec) <= 90)).all()
    assert len(set(found.ids[good])) == len(good)
    for row, (one, right, declination) in enumerate(rows):
        sane = -180 <= right <= 360 and -90 <= declination <= 90
        seen = one in [before for before, _, _ in rows[:row]]
        assert (row in found.faults) == (not sane or seen)
