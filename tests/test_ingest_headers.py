"""Headers behind the first: whatever they claim, astropy never follows them into the void."""

import bz2
import gzip
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ingest_fits import tan_header, write_image
from test_ingest_bad import MEASURED

from astroml.ingest.files import Files
from astroml.ingest.headers import MOST_HDUS
from astroml.ingest.reject import Absent, Reject


def block(*cards, end="END") -> bytes:
    """Return a header of some cards, as text."""
    text = "".join(f"{key:8}= {value!s:>20}".ljust(80) for key, value in cards)
    text += end
    return text.ljust(-(-len(text) // 2880) * 2880).encode()


def primary(extend="T") -> bytes:
    cards = [("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 0)]
    return block(*cards, *([("EXTEND", extend)] if extend else []))


def extension(*cards, kind="'IMAGE   '", **more) -> bytes:
    """Return the header of an extension; later values of a card replace earlier ones."""
    usual = {"XTENSION": kind, "BITPIX": 8, "NAXIS": 0, "PCOUNT": 0, "GCOUNT": 1}
    return block(*(usual | dict(cards) | more).items())


def image() -> bytes:
    """Return a small image HDU that only astropy reads: it is scaled."""
    header = fits.ImageHDU(np.zeros((4, 4), "i2"), tan_header(), name="SCI").header
    header["BSCALE"] = 2.0
    return header.tostring().encode() + bytes(2880)


def table(**more) -> bytes:
    """Return the header of a tile-compressed image without its tiles."""
    usual = {
        "BITPIX": 8, "NAXIS": 2, "NAXIS1": 8, "NAXIS2": 4, "PCOUNT": 0, "GCOUNT": 1, "TFIELDS": 1,
        "TTYPE1": "'COMPRESSED_DATA'", "TFORM1": "'1PB(10)'", "ZIMAGE": "T", "ZBITPIX": -32,
        "ZNAXIS": 2, "ZNAXIS1": 4, "ZNAXIS2": 4, "ZTILE1": 4, "ZTILE2": 1, "ZCMPTYPE": "'RICE_1'",
    }  # fmt: skip
    return extension(*(usual | more).items(), kind="'BINTABLE'")


BOMBS = {
    "counted to": (extension(NAXIS=10**9), "NAXIS = 1000000000"),
    "text": (extension(NAXIS=2, NAXIS1="'x'", NAXIS2=10**10), "NAXIS1 = 'x'"),
    "text beside": (extension(NAXIS=1, NAXIS1=10**10, GCOUNT="'x'"), "GCOUNT = 'x'"),
    "logical": (extension(NAXIS=1, NAXIS1=5, PCOUNT="T"), "PCOUNT = T"),
    "float": (extension(NAXIS=1, NAXIS1="1E9"), "NAXIS1 = 1E9"),
    "back to itself": (extension(NAXIS=1, NAXIS1=-2880), "NAXIS1 = -2880"),
    "back by groups": (extension(NAXIS=1, NAXIS1=1440, GCOUNT=-2), "GCOUNT = -2"),
    "odd depth": (extension(BITPIX="'x'", NAXIS=1, NAXIS1=10), "BITPIX = 'x'"),
    "said twice": (
        block(("XTENSION", "'IMAGE'"), ("BITPIX", 8), ("NAXIS", 0), ("NAXIS", 10**9)),
        "NAXIS = 1000000000",
    ),
    "two sizes": (
        block(("XTENSION", "'IMAGE'"), ("BITPIX", 8), ("NAXIS", 1), ("NAXIS1", 2), ("NAXIS1", 9)),
        "NAXIS1 = 2, and NAXIS1 = 9",
    ),
    "in small letters": (extension(("naxis", 10**9)).replace(b"NAXIS ", b"OTHER "), "NAXIS = 1000"),
    "by the back door": (
        extension().replace(b"NAXIS   =                    0", b"HIERARCH NAXIS =   999999999"),
        "NAXIS = 999999999",
    ),
    "columns": (
        extension(NAXIS=2, NAXIS1=1, NAXIS2=1, TFIELDS=10**9, kind="'BINTABLE'"), "TFIELDS = 10",
    ),
    "tiles": (table(ZNAXIS=10**9), "ZNAXIS = 1000000000"),
    "sides of tiles": (table(ZNAXIS1="'x'"), "ZNAXIS1 = 'x'"),
    "an end that is none": (
        extension().replace(b"END ", b"END="), "a header ends with b'END=",
    ),
    "no end": (b"X".ljust(80) * 36 * 1200, "no END card"),
}  # fmt: skip


def reject(path, hdu) -> str:
    """Return why an HDU is refused; it must not take long."""
    begun = time.monotonic()
    with Files() as files, pytest.raises(Reject) as told:
        files.image(path, hdu).read(None, slice(0, 4), slice(0, 4))
    assert time.monotonic() - begun < 5
    return told.value.reason


@pytest.mark.parametrize("wrap", [bytes, gzip.compress, bz2.compress], ids=["plain", "gz", "bz2"])
@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_behind_the_first_header(tmp_path, kind, wrap):
    raw, says = BOMBS[kind]
    path = tmp_path / "a.fits"
    for extend in ("T", "F", None):
        path.write_bytes(wrap(primary(extend) + raw + image()))
        for hdu in (1, 2, "SCI"):
            assert says in reject(path, hdu), (extend, hdu)


@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_in_front_is_no_matter_for_whom_needs_it_not(tmp_path, kind, wrap):
    """What lies before the bomb is read; asked again for what lies behind, the answer stays."""
    raw, says = BOMBS[kind]
    path = tmp_path / "a.fits"
    path.write_bytes(wrap(primary() + image() + raw.replace(b"HDU 1", b"HDU 2") + image()))
    with Files() as files:
        assert files.image(path, 1).shape == (4, 4)
        for _ in range(2):
            with pytest.raises(Reject) as told:
                files.image(path, 3)
            assert says.replace("HDU 1", "HDU 2") in told.value.reason
        assert files.image(path, 1).read(None, slice(0, 4), slice(0, 4)).shape == (4, 4)


def test_bombs_behind_the_first_header_cost_no_memory(tmp_path):
    names = []
    for n, (raw, _) in enumerate(BOMBS.values()):
        for wrap in (bytes, gzip.compress):
            (tmp_path / f"{n}.{wrap.__name__}").write_bytes(wrap(primary(None) + raw + image()))
            names.append(f"1:{tmp_path / f'{n}.{wrap.__name__}'}")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *names], capture_output=True, text=True, check=True
    )
    assert float(done.stdout.split()[-1]) < 150, done.stdout
    assert len(done.stdout.splitlines()) == 2 * len(names) + 1


@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["plain", "gz"])
def test_what_is_far_beyond_the_file_is_absent(tmp_path, wrap):
    """A claim of any size ends the search: behind it there is nothing."""
    path = tmp_path / "a.fits"
    for claimed in (10**7, 10**12, 10**18, 10**30):
        path.write_bytes(wrap(primary() + extension(NAXIS=2, NAXIS1=claimed, NAXIS2=1) + image()))
        assert "HDU" in reject(path, 1)
        assert "no HDU 2" in reject(path, 2) or "cut off" in reject(path, 2)


def test_what_follows_a_gigabyte_of_packed_nothing(tmp_path):
    path = tmp_path / "a.fits.gz"
    whole = gzip.compress(primary() + extension(NAXIS=2, NAXIS1=2 * 10**9, NAXIS2=1), 1)
    path.write_bytes(whole + gzip.compress(bytes(10**8), 1) * 12)
    with Files() as files, pytest.raises(Reject, match="its HDU 1 begins beyond 1073 MB"):
        files.image(path, 2)


def test_a_file_of_nothing_but_headers(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(primary() + extension(NAXIS=1, NAXIS1=0, BSCALE=2) * (MOST_HDUS + 10))
    begun = time.monotonic()
    with Files() as files, pytest.raises(Reject, match=f"more than {MOST_HDUS} HDUs"):
        files.image(path, "SCI")
    assert time.monotonic() - begun < 30


def test_ordinary_oddities_are_still_read(tmp_path):
    """Random groups, a table before the image, padding that is missing, EXTEND that is not said."""
    groups = [("SIMPLE", "T"), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 0), ("NAXIS2", 4)]
    groups += [("GROUPS", "T"), ("PCOUNT", 2), ("GCOUNT", 3)]
    before = [
        block(*groups) + bytes(2880),
        primary(None),
        primary() + extension(NAXIS=2, NAXIS1=3, NAXIS2=7, TFIELDS=0, kind="'BINTABLE'")
        + bytes(2880),
        primary() + extension(NAXIS=1, NAXIS1=7, kind="'STRANGE'") + bytes(2880),
    ]  # fmt: skip
    for n, raw in enumerate(before):
        path = tmp_path / f"{n}.fits"
        path.write_bytes(raw + image()[: -2880 + 32])
        with Files() as files:
            found = files.image(path, "SCI").read(None, slice(0, 4), slice(0, 4))
            assert found.shape == (4, 4), n
            with pytest.raises(Absent):
                files.image(path, 3)


SETTINGS = {"BLOCKSIZE": (0, -1, 2**31 - 1, "'x'"), "BYTEPIX": (0, -1, 3, 2**31 - 1, "'x'")}


def test_tiles_that_no_decoder_survives(tmp_path):
    """Each of these ended the process: the decoders wrote beyond their memory."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 99, (50, 70)).astype("i4")
    told = []
    for kind, name in (("RICE_1", "ZVAL"), ("HCOMPRESS_1", "")):
        path = tmp_path / f"{kind}.fits"
        made = fits.CompImageHDU(pixels, compression_type=kind, tile_shape=(20, 30))
        fits.HDUList([fits.PrimaryHDU(), made]).writeto(path)
        with Files() as files:
            found = files.image(path, 1).read(None, slice(0, 50), slice(0, 70))
        np.testing.assert_array_equal(found, pixels)
        raw = path.read_bytes()
        bad = tmp_path / f"bad{kind}.fits"
        for n, values in enumerate(SETTINGS.values()) if name else ():
            at = raw.index(f"ZVAL{n + 1}   = ".encode()) + 10
            for value in values:
                bad.write_bytes(raw[:at] + str(value).rjust(20).encode() + raw[at + 20 :])
                told.append(reject(bad, 1))
                assert f"its tiles say {list(SETTINGS)[n]} = " in told[-1]
        for at in (m for m in range(len(raw)) if raw[m : m + 5] == b"\xdd\x99\0\0\0" and not name):
            for side in (2**31 - 1, -1, 0, 31):
                changed = side.to_bytes(4, "big", signed=True)
                bad.write_bytes(raw[: at + 2] + changed + raw[at + 6 :])
                told.append(reject(bad, 1))
                assert "is coded as" in told[-1]
    assert len(told) == 9 + 9 * 4


NUMBERS = st.one_of(
    st.integers(-3, 99), st.sampled_from([999, 1000, 2**31, 2**63, 10**10, 10**30, -2880]),
    st.sampled_from(["T", "'x'", "1E400", "NaN", "1.5", "", "'"]),
)  # fmt: skip
SAID = """
    NAXIS NAXIS1 NAXIS2 BITPIX PCOUNT GCOUNT TFIELDS THEAP TTYPE1 TFORM1 TDIM1 TSCAL1 TNULL1
    ZIMAGE ZNAXIS ZNAXIS1 ZNAXIS2 ZBITPIX ZTILE1 ZTILE2 ZCMPTYPE ZVAL1 ZNAME1 ZBLANK ZSCALE
    ZQUANTIZ ZDITHER0 BSCALE BLANK EXTNAME GROUPS EXTEND naxis
"""
KEYS = st.sampled_from(SAID.split())
WHOLE = st.sampled_from([image(), table(), extension(), extension(kind="'TABLE   '")])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    first=WHOLE,
    changes=st.lists(st.tuples(KEYS, NUMBERS), max_size=4),
    data=st.binary(max_size=48),
    extend=st.sampled_from(["T", "F", None]),
    wrap=st.sampled_from([bytes, bytes, gzip.compress]),
)
@example(first=table(), changes=[("TFORM1", "'999999999999B'")], data=b"", extend="T", wrap=bytes)
@example(first=table(), changes=[("ZTILE2", 10**30)], data=b"", extend="T", wrap=bytes)
@example(first=table(), changes=[("ZVAL1", 0)], data=b"\0\0\0\4" * 12, extend="T", wrap=bytes)
def test_any_later_header_is_an_image_or_a_reason(
    tmp_path_factory, first, changes, data, extend, wrap
):
    for key, value in changes:
        card = f"{key:8}= {value!s:>20}".ljust(80).encode()[:80]
        at = first.find(f"{key:8}=".encode())
        if at >= 0:
            first = first[:at] + card + first[at + 80 :]
        else:
            first = first.replace(b"END".ljust(80), card + b"END".ljust(80), 1)[: len(first)]
    path = tmp_path_factory.getbasetemp() / "later.fits"
    path.write_bytes(wrap(primary(extend) + first + (data * 60).ljust(2880)[:2880] + image()))
    for hdu in (0, 1, 2, "SCI"):
        told = ""
        with Files() as files:
            try:
                found = files.image(path, hdu)
                high, wide = found.shape[-2:]
                plane = 0 if len(found.shape) == 3 else None
                if len(found.shape) < 4:
                    found.read(plane, slice(0, min(high, 64)), slice(0, min(wide, 64)))
            except Reject as fault:
                told = fault.reason
            else:
                told = "an image"
        assert told


@pytest.mark.parametrize("order", [3000, 10**9, -1, 1e300])
@pytest.mark.parametrize("key", ["A_ORDER", "BP_ORDER"])
def test_a_map_of_absurd_order_is_refused_at_once(tmp_path, key, order):
    """astropy would ask the header for every term of the polynomial."""
    orders = {"A_ORDER": 2, "B_ORDER": 2} | {key: order}
    header = tan_header(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", **orders)
    write_image(tmp_path / "a.fits", np.zeros((64, 64), "f4"), header)
    begun = time.monotonic()
    with Files() as files, pytest.raises(Reject, match=f"its WCS makes no sense .{key} is "):
        files.image(tmp_path / "a.fits", 0).wcs  # noqa: B018
    assert time.monotonic() - begun < 2
