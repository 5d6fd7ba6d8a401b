"""Matching on the sphere, and the table of known lenses."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from astroml.catalog import known
from astroml.catalog.crossmatch import crossmatch, nearest, positions, read_table
from astroml.cli import app
from astroml.errors import AstromlError


def moved(ra, dec, arcsec, angle):
    """Positions a known way off, by astropy's own spherical trigonometry."""
    there = SkyCoord(ra, dec, unit="deg").directional_offset_by(
        angle * units.deg, arcsec * units.arcsec
    )
    return there.ra.deg, there.dec.deg


@settings(max_examples=60, deadline=None)
@given(
    ra=st.sampled_from([0.0, 1e-5, 359.99999, 180.0, 12.3]),
    dec=st.sampled_from([-90.0, -89.9999, 0.0, 45.0, 89.99995, 90.0]),
    arcsec=st.floats(0.01, 30),
    angle=st.floats(0, 360),
    radius=st.floats(0.1, 20),
)
def test_separations_are_those_of_the_sphere(ra, dec, arcsec, angle, radius):
    there = moved(ra, dec, arcsec, angle)
    index, separation = nearest(
        np.array([ra]), np.array([dec]), *(np.array([one]) for one in there), radius
    )
    # The step itself is coarse at a pole; the separation of what came out is not.
    away = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(*there, unit="deg")).arcsec
    if abs(away - radius) > 1e-6:
        assert (index[0] == 0) == (away < radius)
    if index[0] == 0:
        assert separation[0] == pytest.approx(away, abs=1e-6)
    else:
        assert np.isnan(separation[0])


def test_agrees_with_astropy_on_many():
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 3000), np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))
    pick = rng.integers(0, 3000, 500)
    there = moved(ra[pick], dec[pick], rng.uniform(0, 4, 500), rng.uniform(0, 360, 500))
    index, separation = nearest(ra, dec, *there, 2.0)
    theirs, away, _ = SkyCoord(*there, unit="deg").match_to_catalog_sky(
        SkyCoord(ra, dec, unit="deg")
    )
    near = away.arcsec <= 2
    assert (index[near] == theirs[near]).all()
    assert (index[~near] == -1).all()
    np.testing.assert_allclose(separation[near], away.arcsec[near], atol=1e-6)


def test_the_nearest_of_several_wins_and_several_may_share():
    ra, dec = np.array([10.0, 10.0 + 1 / 3600, np.nan]), np.array([0.0, 0.0, 0.0])
    other = np.array([10.0 + 0.4 / 3600, 10.0 + 0.6 / 3600, 10.0 + 0.1 / 3600, np.nan, 50.0])
    index, separation = nearest(ra, dec, other, np.zeros(5), 2.0)
    assert index.tolist() == [0, 1, 0, -1, -1]
    np.testing.assert_allclose(separation[:3], [0.4, 0.4, 0.1], atol=1e-6)


def test_nothing_matches_nothing():
    none = np.zeros(0)
    assert nearest(none, none, np.ones(2), np.ones(2), 1.0)[0].tolist() == [-1, -1]
    assert len(nearest(np.ones(2), np.ones(2), none, none, 1.0)[0]) == 0


@pytest.mark.parametrize(
    "names",
    [("ra", "dec"), ("RA", "DEC"), ("RAJ2000", "DEJ2000"), ("RA [deg]", "DEC [deg]"),
     ("ra_deg", "dec_deg"), ("ALPHA_J2000", "DELTA_J2000"), ("RA_ICRS", "DE_ICRS")],
)  # fmt: skip
def test_columns_are_known_by_name(names):
    table = Table({"x": [1.0], names[0]: [150.1], names[1]: [2.2]})
    assert [one[0] for one in positions(table, "t")] == [150.1, 2.2]


def test_units_of_columns_count():
    table = Table({"RA": [10.0], "Dec": [0.5]})
    table["RA"].unit, table["Dec"].unit = "hourangle", "rad"
    ra, dec = positions(table, "t")
    assert ra[0] == pytest.approx(150)
    assert dec[0] == pytest.approx(np.degrees(0.5))
    text = Table({"ra": ["10:00:36"], "dec": ["-02:30:00"]})
    ra, dec = positions(text, "t")
    assert (ra[0], dec[0]) == pytest.approx((150.15, -2.5))
    masked = Table({"ra": np.ma.array([1.0, 2.0], mask=[0, 1]), "dec": [0.0, 0.0]})
    assert np.isnan(positions(masked, "t")[0][1])


def test_faults_are_told(tmp_path):
    with pytest.raises(AstromlError, match="no columns ra and dec among x, y"):
        positions(Table({"x": [1], "y": [2]}), "t")
    wrong = Table({"ra": [1.0], "dec": [2.0]})
    wrong["ra"].unit = "Jy"
    with pytest.raises(AstromlError, match="column ra: unit Jy, expected an angle"):
        positions(wrong, "t")
    with pytest.raises(AstromlError, match="no such table"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE  = nonsense")
    with pytest.raises(AstromlError, match="not a table that astropy reads"):
        read_table(tmp_path / "broken.fits")
    (tmp_path / "broken.parquet").write_bytes(b"PAR?")
    with pytest.raises(AstromlError, match="not a Parquet file"):
        read_table(tmp_path / "broken.parquet")


@pytest.fixture
def tables(tmp_path):
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 50), rng.uniform(-80, 80, 50)
    catalog = pa.table(
        {
            "object_id": np.arange(50),
            "ra": ra,
            "dec": dec,
            "lens_prob": np.linspace(0, 1, 50),
            "pdf": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(100)), 2),
        }
    )
    pq.write_table(catalog, tmp_path / "lens.parquet")
    lenses = moved(ra[:8], dec[:8], 1.0, 77.0)
    clusters = ["Lopes et al. (2004) - doi:10.1086/423038"] * 2
    table = Table(
        {
            "name": [f"L{n} | other" for n in range(8)],
            "RA [deg]": lenses[0],
            "DEC [deg]": lenses[1],
            "zlens": ["0.6 | 0.64 | nan", "not measured", *["0.3"] * 6],
            "type": ["galaxy"] * 8,
            "grading": ["confident"] * 8,
            "ref": ["Bolton et al. (2008) - arXiv:0805.1931"] * 6 + clusters,
        }
    )
    table.write(tmp_path / "lenscat.csv", format="ascii.csv")
    return tmp_path


@pytest.mark.parametrize("ending", ["csv", "ecsv", "fits", "vot", "parquet"])
def test_known_lenses_and_how_they_scored(tables, ending, capsys):
    out = tables / f"known.{ending}"
    words = ["crossmatch", tables / "lens.parquet", tables / "lenscat.csv", "--out", out]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exception is None, done.output
    assert "left out: 2 entries that come from catalogs of clusters alone" in done.output
    assert "matched: 6 of 6 entries with 6 of 50 objects within 2 arcsec" in done.output
    kinds = {"vot": "votable", "csv": "ascii.csv", "ecsv": "ascii.ecsv"}
    table = Table.read(out, format=kinds.get(ending, ending))
    assert table.colnames[:6] == ["name", "grade", "type", "z_lens", "separation", "entries"]
    assert list(table["object_id"]) == [5, 4, 3, 2, 1, 0]
    assert (np.diff(table["lens_prob"]) < 0).all()
    np.testing.assert_allclose(table["separation"], 1, atol=1e-5)
    z = np.ma.filled(np.ma.asarray(table["z_lens"], float), np.nan)
    np.testing.assert_allclose(z, [0.3, 0.3, 0.3, 0.3, np.nan, 0.62])
    assert str(table["name"][0]) == "L5"


def test_any_other_table_keeps_its_columns(tables, capsys):
    catalog = read_table(tables / "lens.parquet")
    other = Table({"object_id": [7, 8], "ra": catalog["ra"][[3, 3]], "dec": catalog["dec"][[3, 3]]})
    other.write(tables / "other.fits")
    table = crossmatch(tables / "lens.parquet", tables / "other.fits", radius=0.5)
    assert table["object_id_other"].tolist() == [7, 8]
    assert table["object_id"].tolist() == [3, 3]
    assert table["entries"].tolist() == [2, 2]
    assert "pdf" not in table.colnames
    assert "separation" in capsys.readouterr().out
    none = crossmatch(tables / "other.fits", tables / "lenscat.csv", radius=1e-4)
    assert len(none) == 0


@pytest.mark.parametrize(
    ("words", "said"), [(("--radius", "0"), "more than 0"), (("--out", "x.txt"), "expected one of")]
)
def test_bad_options_are_told(tables, words, said):
    given = ["crossmatch", str(tables / "lens.parquet"), str(tables / "lenscat.csv"), *words]
    done = CliRunner().invoke(app, given)
    assert isinstance(done.exception, AstromlError)
    assert said in str(done.exception)


@pytest.mark.parametrize(
    ("text", "z"),
    [("0.6 | 0.64 | nan", 0.62), ("0.5", 0.5), ("nan | 0.4", 0.4), ("0.3?", 0.3),
     ("0.33 |0.33", 0.33),
     ("not measured", np.nan), ("L", np.nan), ("-", np.nan), ("measured", np.nan), ("", np.nan),
     ("-1 | 0.2", 0.2), ("0", np.nan), ("2 | 3 | 100", 2.5)],
)  # fmt: skip
def test_redshifts_in_words(text, z):
    assert known.redshift(text) == pytest.approx(z, nan_ok=True)


def test_lenscat_as_it_is(realdata, tmp_path, capsys):
    path = realdata / "lenscat/catalog.csv.gz"
    table = read_table(path)
    assert known.is_lenscat(table)
    kept, keep, left_out = known.read(table)
    assert len(table) == 32838
    # The three largest catalogs of clusters alone make 11,850; the others add a tenth.
    assert 11_850 < left_out < 14_000
    assert len(kept) == keep.sum() == 32838 - left_out
    dropped = [str(text) for text in table["ref"][~keep]]
    assert not [text for text in dropped if "Bolton" in text or "Moustakas" in text]
    lopes = np.array(["Lopes" in str(text) for text in table["ref"]])
    assert (lopes & keep).sum() < 10
    assert 0.4 < np.isfinite(kept["z_lens"]).mean() < 0.95
    assert 0.3 < np.nanmedian(kept["z_lens"]) < 0.7
    assert np.nanmax(kept["z_lens"]) < 10
    assert set(kept["grade"]) == {"confident", "probable"}
    # A catalog of some of its own positions, moved by a known way, is found again.
    some = np.flatnonzero(keep)[::700]
    ra, dec = moved(table["RA [deg]"][some], table["DEC [deg]"][some], 0.7, 200.0)
    Table({"object_id": some, "RAJ2000": ra, "DEJ2000": dec}).write(tmp_path / "mine.fits")
    found = crossmatch(tmp_path / "mine.fits", path, radius=0.71, out=tmp_path / "known.ecsv")
    assert f"left out: {left_out} entries" in capsys.readouterr().out
    assert set(found["object_id"]) == set(some)
    np.testing.assert_allclose(found["separation"].max(), 0.7, atol=1e-4)
