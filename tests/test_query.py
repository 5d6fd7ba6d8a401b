"""Queries from the shell: the rows asked for, in the format asked for, or one line that helps."""

import subprocess
import sys
import time

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from typer.testing import CliRunner

from astroml import cli
from astroml.catalog import query
from astroml.errors import AstromlError
from catalogs import make_run

N = 400


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), N)


@pytest.fixture
def ask(catalogs):
    def ask(*words):
        done = CliRunner().invoke(cli.app, ["query", "--catalogs", str(catalogs), *words])
        if isinstance(done.exception, AstromlError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    return ask


@pytest.fixture
def table(ask):
    return lambda *words: Table.read(ask(*words, "--out", "-").splitlines(), format="ascii.csv")


def test_a_join_in_sql(table, catalogs):
    found = table(
        "SELECT object_id, lens_prob, z_phot FROM lens JOIN photoz USING (object_id) "
        "WHERE lens_prob > 0.5 ORDER BY lens_prob DESC LIMIT 20"
    )
    lens, photoz = (Table.read(catalogs / f"demo/{name}.parquet") for name in ("lens", "photoz"))
    lens = lens[np.isfinite(lens["lens_prob"]) & (lens["lens_prob"] > 0.5)]
    lens = lens[np.argsort(-lens["lens_prob"])][:20]
    redshift = dict(zip(photoz["object_id"], photoz["z_phot"]))
    assert list(found["object_id"]) == list(lens["object_id"])
    np.testing.assert_allclose(found["z_phot"], [redshift[one] for one in lens["object_id"]])


def test_what_is_not_known_is_null(table):
    """DuckDB takes NaN for the largest number: it must neither pass a cut nor lead an order."""
    sql = "SELECT count(*) AS n FROM lens WHERE lens_prob "
    known = table(f"{sql} > -1")["n"][0]
    assert (known, table(f"{sql} IS NULL")["n"][0]) == (N - N // 10 - 7, 7)
    first = table("--task", "lens", "--columns", "ra,lens_prob", "--order", "lens_prob DESC")
    values = np.ma.filled(first["lens_prob"].astype(float), np.nan)
    assert np.isnan(values[-7:]).all()
    assert (np.diff(values[:-7]) <= 0).all()


@pytest.mark.parametrize("name", ["lens", "photoz", "tidal"])
@pytest.mark.parametrize(
    ("cone", "place"),
    [
        (("0", "0", "90"), (0, 0)),
        (("359d59m59s", "-0d0m10s", "60"), (359.99972, -0.0027778)),
        (("12h0m0s", "+90", "100"), (180, 90)),
        (("30", "-89.99", "80"), (30, -89.99)),
    ],
)
def test_cones_of_a_task(table, catalogs, name, cone, place):
    found = table("--task", name, "--cone", *cone, "--columns", "object_id")
    whole = Table.read(catalogs / f"demo/{name}.parquet")
    apart = SkyCoord(whole["ra"], whole["dec"], unit="deg").separation(SkyCoord(*place, unit="deg"))
    inside = whole["object_id"][apart < float(cone[2]) * u.arcsec]
    assert len(inside) > 3
    assert sorted(found["object_id"]) == sorted(inside)


def test_regions_narrow_every_table_of_a_query(table, catalogs):
    sql = "SELECT object_id FROM lens JOIN photoz USING (object_id)"
    box = ("--box", "359.97", "0.01", "-0.03", "0.02")
    found = table(sql, *box)
    lens = Table.read(catalogs / "demo/lens.parquet")
    inside = ((lens["ra"] >= 359.97) | (lens["ra"] <= 0.01)) & (
        np.abs(lens["dec"] + 0.005) <= 0.025
    )
    assert 3 < inside.sum() < 100
    assert sorted(found["object_id"]) == sorted(lens["object_id"][inside])
    # A table of the query's own hides none of them, and two regions both hold.
    within = table(f"WITH few AS ({sql}) SELECT * FROM few", *box, "--cone", "0", "0", "20")
    assert set(within["object_id"]) < set(found["object_id"])


def test_all_needs_no_quotes(table):
    """The word is SQL's own."""
    assert table("SELECT count(*) AS n FROM all WHERE lens_prob IS NOT NULL")["n"][0] == N * 0.9 - 7
    assert len(table("--columns", "object_id,tidal_prob")) == N * 1.5
    dotted = "SELECT all.ra, 1 AS n FROM lens JOIN -- from all\n all USING (object_id, ra)"
    assert len(table(dotted)) == N * 0.9
    # Texts, names in quotes and comments are left alone, and UNION ALL is SQL's.
    text = """SELECT 'é from all' AS "from all" /* join all */ UNION ALL SELECT 'x'"""
    assert query.with_all(text) == text


def test_columns_of_all_keep_their_meaning_unless_computed(ask, tmp_path):
    out = tmp_path / "out.fits"
    ask("SELECT object_id, lens_prob * 2 AS lens_prob, theta_e FROM all", "--out", str(out))
    table = Table.read(out)
    assert not table["lens_prob"].info.meta
    assert table["theta_e"].unit == u.arcsec


def test_the_top_rows_are_the_whole_rows(table, catalogs):
    """Read late, they are the same as those of a whole sort."""
    late = table("--task", "lens", "--order", "theta_e DESC", "--limit", "15")
    whole = Table.read(catalogs / "demo/lens.parquet")
    whole = whole[np.argsort(-whole["theta_e"])][:15]
    assert late.colnames == whole.colnames
    for name in ("object_id", "ra", "weights"):
        assert list(late[name]) == list(whole[name])


@pytest.mark.parametrize("suffix", ["fits", "vot", "ecsv", "parquet"])
def test_columns_keep_their_meaning_in_every_format(ask, tmp_path, suffix):
    out = tmp_path / f"out.{suffix}"
    said = ask(
        "SELECT object_id, ra, theta_e, theta_e AS radius, ra * 3600 AS dec, max(z_phot) AS z_phot,"
        " photoz.pz FROM lens JOIN photoz USING (object_id, ra) GROUP BY ALL ORDER BY object_id",
        *("--out", str(out)),
    )
    assert f"wrote {out}: {N * 9 // 10} rows" in said
    table = Table.read(out)
    assert (table["ra"].unit, table["theta_e"].unit, table["radius"].unit) == (
        u.deg,
        u.arcsec,
        u.arcsec,
    )
    assert table["theta_e"].info.meta["ucd"] == "phys.angSize"
    assert "Einstein radius" in table["radius"].description
    assert not table["dec"].unit  # it is the name of another thing now
    assert not table["z_phot"].description
    assert table["pz"].shape == (N * 9 // 10, 5)


def test_no_rows_are_no_fault(ask, table, tmp_path):
    assert "0 rows" in ask("--task", "lens", "--cone", "100", "60", "0.001")
    out = tmp_path / "none.fits"
    ask("SELECT object_id, ra FROM lens WHERE ra < -1", "--out", str(out))
    none = Table.read(out)
    assert (len(none), none["ra"].unit) == (0, u.deg)
    assert len(table("SELECT object_id FROM lens WHERE false")) == 0


def test_the_screen_shows_the_first_rows(ask):
    shown = ask("--task", "photoz", "--columns", "object_id,z_phot,pz")
    assert "the first 50 rows; --out FILE writes all" in shown
    assert "[5 values]" in shown
    assert "1 row\n" in ask("SELECT count(*) FROM lens")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--run", "demi"], r"run 'demi': no folder .*demi; did you mean demo\?"),
        (["--task", "lenz"], r"table 'lenz': not in run 'demo'; did you mean lens\?"),
        (
            ["--task", "lens", "--columns", "ra,lens_pro"],
            r"'lens_pro': .* did you mean lens_prob\?",
        ),
        (["--task", "lens", "--order", "lens_pro"], r"'lens_pro': .* did you mean lens_prob\?"),
        (["--task", "lens", "--order", "ra down"], r"expected 'COLUMN' or 'COLUMN DESC'"),
        (["SELECT * form lens"], 'syntax error at or near "lens" at character 15'),
        (["SELECT ra\nFROM lens\nWHERE ra >"], r"syntax error .* at character 30"),
        (
            ["SELECT lens_pro FROM lens"],
            r'"lens_pro" not found .*at character 8; did you mean lens_prob',
        ),
        (["SELECT ra FROM all WHERE lens_pro > 1"], r"at character 26; did you mean lens_prob"),
        (["SELECT 1 FROM lenz"], r"lenz does not exist at character 15; did you mean lens\?"),
        (["SELECT frob(ra) FROM lens"], r"name frob does not exist at character 8"),
        (["DROP VIEW lens"], "found DROP, expected one SELECT"),
        (["SELECT 1; SELECT 2"], "found SELECT, SELECT, expected one"),
        ([""], "found nothing, expected one SELECT"),
        (["SELECT CAST(weights AS INT) FROM lens"], "could not convert string"),
        (["SELECT 1", "--limit", "3"], "are said in the SQL"),
        (["--task", "lens", "--cone", "1", "95", "3"], "dec: found 95, expected -90 to 90"),
        (["--task", "lens", "--out", "x.txt"], r"x.txt: found '.txt', expected one of .parquet"),
    ],
)
def test_a_mistake_is_told_in_one_line(ask, words, says):
    with pytest.raises(AstromlError, match=says) as told:
        ask(*words)
    assert "\n" not in str(told.value)


def test_exit_codes_of_the_program(catalogs):
    def code(*words):
        command = [
            sys.executable,
            "-m",
            "astroml.cli",
            "query",
            "--catalogs",
            str(catalogs),
            *words,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    assert code("SELECT object_id FROM lens WHERE false", "--out", "-") == (0, "object_id\n", "")
    number, out, err = code("SELECT nothing FROM lens")
    assert (number, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("ERROR: query: ")


def test_a_query_loads_no_torch(catalogs):
    code = (
        "import sys; from astroml.cli import app\n"
        f"app(['query', '--catalogs', {str(catalogs)!r}], standalone_mode=False)\n"
        "sys.exit(bool({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_memory_is_bounded_and_nothing_is_fetched(catalogs):
    connection = query.connect(query.tables_of("demo", catalogs))
    wanted = "SELECT value FROM duckdb_settings() WHERE name = 'autoinstall_known_extensions'"
    assert connection.sql(wanted).fetchall() == [("false",)]
    begun = time.perf_counter()
    with pytest.raises(AstromlError):
        query.ask(connection, "SELECT * FROM 'https://example.invalid/x.parquet'")
    assert time.perf_counter() - begun < 5
