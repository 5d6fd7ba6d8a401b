"""Cones, boxes and MOCs hold what astropy says they hold, at RA 0 and the poles too."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from hypothesis import example, given, settings
from hypothesis import strategies as st

from astroml.catalog import region
from astroml.catalog.sheet import cells
from astroml.errors import AstromlError
from catalogs import sky

RA, DEC = sky(1200)
PLACES = SkyCoord(RA, DEC, unit="deg")
TABLE = pa.table({"ra": RA, "dec": DEC, "_healpix_29": cells(RA, DEC)})
CONNECTION = duckdb.connect(config={"threads": 1})
CONNECTION.register("places", TABLE)

ras = st.one_of(st.floats(0, 360), st.sampled_from([0.0, 359.999, 360.0, 90.0, 180.0]))
decs = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 89.99, 0.0, 41.8103]))


def found(part):
    """Return which rows (n,) SQL finds."""
    sql = f"SELECT ({part.where('places')}) AS yes FROM places"
    return np.asarray(CONNECTION.sql(sql).to_arrow_table()["yes"].to_pylist(), bool)


def covered(part, cell):
    """Return which cells lie in the ranges of a region."""
    return np.searchsorted(part.ranges.ravel(), cell, side="right") % 2 == 1


@settings(deadline=None, max_examples=60)
@given(ras, decs, st.floats(-1, 5.5))
@example(0.0, 0.0, 2.0)
@example(123.0, 90.0, 2.0)
@example(10.0, -90.0, 3.0)
@example(200.0, 10.0, np.log10(180 * 3600))
def test_a_cone_holds_what_is_within_its_radius(ra, dec, logarithm):
    radius = 10**logarithm
    apart = PLACES.separation(SkyCoord(ra, dec, unit="deg")).arcsec
    part = region.cone(ra, dec, radius)
    clear = np.abs(apart - radius) > 1e-6 * radius + 1e-6
    np.testing.assert_array_equal(found(part)[clear], (apart <= radius)[clear])
    # The cells alone never lose a place, which the exact condition could not bring back.
    assert covered(part, np.asarray(TABLE["_healpix_29"]))[apart <= radius].all()


def test_the_cover_of_a_cone_is_small_and_whole():
    """Places on its rim are within it, and it is little larger than the cone."""
    rng = np.random.default_rng(3)
    for ra, dec in [(0, 0), (45, 41.81), (10, 90), (300, -89.99), (359.9999, -66), *zip(RA, DEC)][
        :60
    ]:
        for radius in (0.3, 60, 7200):
            part = region.cone(ra, dec, radius)
            rim = SkyCoord(ra, dec, unit="deg").directional_offset_by(
                rng.uniform(0, 360, 50) * u.deg, radius * u.arcsec
            )
            assert covered(part, cells(rim.ra.deg, rim.dec.deg)).all()
            area = (part.ranges[:, 1] - part.ranges[:, 0]).sum() / (12 * 4.0**29) * 41252.96
            assert area < 40 * np.pi * (radius / 3600) ** 2
            assert len(part.ranges) <= 4 * region.CELLS


@settings(deadline=None, max_examples=60)
@given(ras, st.floats(0, 360), decs, st.floats(0, 60))
@example(359.0, 2.0, -1.0, 2.0)
@example(0.0, 360.0, 89.0, 1.0)
@example(350.0, 10.0, -90.0, 180.0)
def test_a_box_goes_east_from_its_first_edge(ra, width, dec, height):
    low, high = dec, min(dec + height, 90)
    part = region.box(ra, ra + width if ra + width <= 360 else ra + width - 360, low, high)
    if width < 360:
        across = (RA - ra) % 360
        clear = (np.abs(across - width) > 1e-9) & (across > 1e-9) & (across < 360 - 1e-9)
        inside = across <= width
    elif ra == 0:
        inside, clear = np.ones(len(RA), bool), np.ones(len(RA), bool)
    else:
        return
    np.testing.assert_array_equal(
        found(part)[clear], (inside & (low <= DEC) & (high >= DEC))[clear]
    )


def test_a_box_knows_right_ascensions_beyond_the_circle():
    table = pa.table({"ra": [-1.0, 359.0, 1.0, 361.0, 5.0], "dec": [0.0] * 5})
    CONNECTION.register("odd", table)
    part = region.box(358, 2, -1, 1)
    rows = CONNECTION.sql(f"SELECT {part.exact} AS yes FROM odd").fetchall()
    assert [one for (one,) in rows] == [True, True, True, True, False]


@pytest.mark.parametrize("kind", ["v1", "v2"])
@pytest.mark.parametrize("order", [3, 9])
def test_a_moc_holds_what_mocpy_says(tmp_path, kind, order):
    mocpy = pytest.importorskip("mocpy")
    places = SkyCoord([0.01, 200, 30, 359.99], [0, 90, -89.9, 60], unit="deg")
    drawn = [
        mocpy.MOC.from_cone(one.ra, one.dec, radius=size * u.deg, max_depth=order)
        for one, size in zip(places, (3.0, 2.0, 9.0, 20.0))
    ]
    whole = drawn[0].union(*drawn[1:])
    path = tmp_path / "sky.fits"
    if kind == "v1":
        from astropy.io import fits

        column = fits.Column("UNIQ", "K", array=whole.uniq_hpx.astype(np.int64))
        unit = fits.BinTableHDU.from_columns([column])
        unit.header.update({"ORDERING": "NUNIQ", "COORDSYS": "C", "MOCORDER": order})
        unit.writeto(path)
    else:
        whole.save(path, format="fits")
    part = region.moc(path)
    assert (len(part.ranges) > region.CELLS) == (order == 9)  # both ways of asking are tried
    inside = whole.contains_lonlat(RA * u.deg, DEC * u.deg)
    assert 0.1 < inside.mean() < 0.9
    np.testing.assert_array_equal(found(part), inside)


@pytest.mark.parametrize("count", [10, 200])
def test_a_range_holds_its_first_cell_and_not_the_one_behind_its_last(count):
    ranges = np.stack([np.arange(count) * 100, np.arange(count) * 100 + 7], axis=1)
    CONNECTION.register("edges", pa.table({"_healpix_29": np.arange(-1, count * 100)}))
    part = region.Region("MOC", ranges)
    sql = f"SELECT _healpix_29 AS cell FROM edges WHERE {part.where('edges')} ORDER BY cell"
    wanted = (ranges[:, :1] + np.arange(7)).ravel()
    np.testing.assert_array_equal(CONNECTION.sql(sql).to_arrow_table()["cell"].to_numpy(), wanted)


def test_ranges_are_bridged_where_the_gaps_are_small():
    ranges = np.array([[0, 1], [2, 3], [100, 101], [103, 110], [1000, 1001]])
    assert region._bridged(ranges, 3).tolist() == [[0, 3], [100, 110], [1000, 1001]]
    assert region._merged(ranges[[3, 1, 0]]).tolist() == [[0, 1], [2, 3], [103, 110]]
    overlapping = np.array([[0, 50], [10, 20], [50, 60], [61, 62]])
    assert region._merged(overlapping).tolist() == [[0, 60], [61, 62]]


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 23), st.integers(0, 59), st.floats(0, 59.99))
def test_angles_are_read_as_astropy_reads_them(whole, minutes, seconds):
    for text in (f"{whole}h{minutes}m{seconds:.4f}s", f"{whole}:{minutes}:{seconds:.4f}"):
        wanted = Angle(text, unit="hourangle").deg
        assert region.angle(text, "ra") == pytest.approx(wanted, abs=1e-9)
    for sign in ("", "-", "+"):
        for text in (
            f"{sign}{whole}d{minutes}m{seconds:.4f}s",
            f"{sign}{whole} {minutes} {seconds:.4f}",
        ):
            wanted = Angle(text, unit="deg").deg
            assert region.angle(text, "dec") == pytest.approx(wanted, abs=1e-9)
    assert region.angle(f"{whole}h{minutes}m", "ra") == pytest.approx(15 * whole + minutes / 4)


@pytest.mark.parametrize(
    ("text", "what", "says"),
    [
        ("abc", "ra", "ra: found 'abc', expected a number, 10h05m30s"),
        ("nan", "dec", "dec: found 'nan'"),
        ("91", "dec", "dec: found 91, expected -90 to 90 deg"),
        ("25h00m", "ra", "expected 0 to 360 deg, or 0h to 24h"),
        ("10:61:00", "ra", "minutes and seconds below 60"),
        ("10h00m", "dec", "in hours, expected degrees"),
    ],
)
def test_bad_angles_are_told(text, what, says):
    with pytest.raises(AstromlError, match=says):
        region.angle(text, what)


def test_bad_regions_are_told(tmp_path):
    with pytest.raises(AstromlError, match="radius: found -1, expected more than 0"):
        region.cone(1, 2, -1)
    with pytest.raises(AstromlError, match="expected the lower first"):
        region.box(1, 2, 5, 4)
    with pytest.raises(AstromlError, match="no such MOC"):
        region.moc(tmp_path / "none.fits")
    (tmp_path / "junk.fits").write_text("junk")
    with pytest.raises(AstromlError, match="not a MOC"):
        region.moc(tmp_path / "junk.fits")
