"""Bad input: everything ends in an image or in one row of rejects, memory bounded, run alive."""

import gzip
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ingest_fits import NJY, sky, survey, tan_header, write_cube, write_image, write_manifest

from astroml.config import Ingest
from astroml.errors import AstromlError
from astroml.ingest import block
from astroml.ingest.files import Files
from astroml.ingest.reject import Reject
from astroml.ingest.run import ingest
from astroml.store import open_store

PLAIN = {"image": {"file": "{file}", "hdu": 0}}
HUGE = (200_000, 250_000)
"""Rows and columns of 200 GB of floats."""


def run(folder, rows, toy=None, **more):
    """Ingest rows; return the store and the rejects, of which none may be unforeseen."""
    manifest = write_manifest(folder / "m.csv", rows)
    out, rejects = folder / "out/0.h5", folder / "out/0.parquet"
    ingest(manifest, toy or survey(), out, rejects, Ingest(block=5), **more)
    store, lost = open_store(out), pq.read_table(rejects).to_pylist()
    assert len(store) + len(lost) == len(rows)
    assert not [row for row in lost if "unexpected" in row["reason"]], lost
    return store, lost


def objects(*files) -> list[dict]:
    return [{"object_id": n, "ra": 150, "dec": 2, "file": one} for n, one in enumerate(files)]


def header_of(high, wide, kind="f4") -> bytes:
    """Return the header of an image that is larger than what follows it."""
    header = fits.PrimaryHDU(np.zeros((2, 2), kind), tan_header()).header
    header["NAXIS1"], header["NAXIS2"] = wide, high
    return header.tostring().encode()


def compressed(path, **cards) -> None:
    """Write a tile-compressed image, then change cards of its table."""
    image = fits.CompImageHDU(sky()[0], tan_header(), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    raw = path.read_bytes()
    for key, value in cards.items():
        at = raw.index(key.ljust(8).encode() + b"= ")
        raw = raw[: at + 10] + str(value).rjust(20).encode() + raw[at + 30 :]
    path.write_bytes(raw)


def write_bombs(folder) -> dict[str, tuple[int, str]]:
    """Write files that claim 200 GB; return file -> HDU and what the reason must say."""
    (folder / "cut.fits").write_bytes(header_of(*HUGE))
    (folder / "gz.fits.gz").write_bytes(gzip.compress(header_of(*HUGE) + bytes(10**6)))
    for name, shape in (("hole.fits", HUGE), ("wide.fits", (2, HUGE[0] * HUGE[1] // 2))):
        (folder / name).write_bytes(header_of(*shape))
        os.truncate(folder / name, 2880 + 4 * HUGE[0] * HUGE[1])
    endless = fits.Header([("SIMPLE", True)]).tostring(endcard=False, padding=False).encode()
    (folder / "endless.fits").write_bytes(endless)
    os.truncate(folder / "endless.fits", 10**9)
    with gzip.open(folder / "endless.fits.gz", "wb", 1) as packed:
        packed.write(endless)
        for _ in range(100):
            packed.write(b" " * 10**7)
    sides = {"ZNAXIS1": HUGE[1], "ZNAXIS2": HUGE[0]}
    compressed(folder / "tiles.fits", **sides)
    compressed(folder / "tile.fits", **sides, ZTILE1=HUGE[1], ZTILE2=HUGE[0])
    compressed(folder / "rows.fits", NAXIS2=25_000_000_000)
    compressed(folder / "heap.fits", PCOUNT=200_000_000_000)
    return {
        "cut.fits": (0, "cut off"),
        "gz.fits.gz": (0, "off the image"),
        "wide.fits": (0, "off the image"),
        "hole.fits": (0, "off the image"),
        "endless.fits": (0, "no END card"),
        "endless.fits.gz": (0, "no END card"),
        "tiles.fits": (1, "cut off: found 64 tiles"),
        "tile.fits": (1, "a tile of HDU 1: claims 50000000000 pixels"),
        "rows.fits": (1, "cut off"),
        "heap.fits": (1, "cut off"),
    }


MEASURED = """
import resource, sys
from pathlib import Path
from astroml.ingest.files import Files
from astroml.ingest.reject import Reject

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = peak()
for told in sys.argv[1:]:
    hdu, path = told.split(":", 1)
    with Files() as files:
        for whole in (False, True):
            try:
                image = files.image(Path(path), int(hdu))
                high, wide = image.shape if whole else (64, 64)
                image.read(None, slice(0, min(high, image.shape[0])), slice(0, wide))
            except Reject as fault:
                print(fault.reason)
print(f"grew {peak() - before:.0f}")
"""


def test_200_gigabytes_in_a_header_cost_no_memory(tmp_path):
    bombs = write_bombs(tmp_path)
    names = [f"{hdu}:{tmp_path / name}" for name, (hdu, _) in bombs.items()]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *names], capture_output=True, text=True, check=True
    )
    grew = float(done.stdout.split()[-1])
    assert grew < 150, done.stdout
    reasons = done.stdout.splitlines()[:-1]
    assert len(reasons) == 2 * len(bombs) - 1  # a corner of ``hole`` can be read


def test_bombs_are_rejected_with_the_reason(tmp_path):
    for hdu in (0, 1):
        folder = tmp_path / str(hdu)
        folder.mkdir()
        bombs = {name: says for name, (at, says) in write_bombs(folder).items() if at == hdu}
        write_image(folder / "good.fits", sky()[0], tan_header())
        compressed(folder / "tiny.fits")
        names = [*bombs, "tiny.fits" if hdu else "good.fits"]
        rows = objects(*names)
        toy = survey("r", image={"file": "{file}", "hdu": hdu})
        for row in rows[:-1]:
            row["ra"] = 151  # nothing is there
        store, lost = run(folder, rows, toy)
        assert store.objects["object_id"].tolist() == [len(bombs)]
        for row, (name, says) in zip(lost, bombs.items()):
            assert row["file"].endswith(name)
            assert says in row["reason"], (name, row)


def test_packed_in_ways_that_are_not_read(tmp_path):
    write_cube(tmp_path / "good.fits", sky())
    whole = (tmp_path / "good.fits").read_bytes()
    packed = gzip.compress(whole)
    (tmp_path / "a.fits.gz").write_bytes(packed)
    (tmp_path / "half.fits.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "lzw.fits.Z").write_bytes(b"\x1f\x9d" + whole)
    (tmp_path / "zip.fits").write_bytes(b"PK\x03\x04" + whole)
    names = ("a.fits.gz", "half.fits.gz", "lzw.fits.Z", "zip.fits", "good.fits")
    store, lost = run(tmp_path, objects(*names))
    assert store.objects["object_id"].tolist() == [0, 4]
    for row, says in zip(lost, ("end-of-stream", "LZW (.Z)", "packed as zip")):
        assert says in row["reason"], row


def test_wrong_byte_order_is_told(tmp_path):
    write_cube(tmp_path / "good.fits", sky())
    write_cube(tmp_path / "swapped.fits", sky().byteswap())
    store, (row,) = run(tmp_path, objects("good.fits", "swapped.fits"))
    assert len(store) == 1
    assert "the byte order, the unit or the zero point is wrong" in row["reason"]
    assert "in g, r, z" in row["reason"]


def test_objects_around_ra_zero(tmp_path):
    """RA 360.0 is 0, -0.1 is 359.9, and both find their pixels across the seam."""
    write_cube(tmp_path / "seam.fits", sky(), tan_header(0.0, 2.0))
    write_cube(tmp_path / "below.fits", sky(), tan_header(359.9, 2.0))
    write_cube(tmp_path / "beyond.fits", sky(), tan_header(0.0005, 2.0, x=31.5, y=31.5))
    rows = objects("seam.fits", "below.fits", "beyond.fits", "seam.fits", "seam.fits")
    for row, (ra, dec) in zip(rows, [(360.0, 2), (-0.1, 2), (359.9995, 2), (0, 90.5), (0, -91)]):
        row["ra"], row["dec"] = ra, dec
    store, lost = run(tmp_path, rows)
    assert store.objects["ra"].tolist() == pytest.approx([0.0, 359.9, 359.9995])
    np.testing.assert_allclose(store.objects["dx"][:2], 0, atol=1e-4)
    found = store.read([0, 1, 2])
    np.testing.assert_allclose(found["image"][:2], np.stack([sky()] * 2) * NJY, rtol=1e-5)
    shift = round(0.001 * np.cos(np.radians(2)) * 3600 / 0.262)
    np.testing.assert_allclose(
        found["image"][2, :, :, : 64 - shift], sky()[:, :, shift:] * NJY, rtol=1e-5
    )
    assert [row["reason"].split(",")[0] for row in lost] == ["dec is 90.5", "dec is -91.0"]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_files_that_may_not_be_read():
    """As another user, since root may read everything."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        write_cube(folder / "good.fits", sky())
        write_cube(folder / "secret.fits", sky())
        write_cube(folder / "closed/a.fits", sky())
        (folder / "out").mkdir()
        (folder / "out").chmod(0o777)
        manifest = write_manifest(
            folder / "m.csv", objects("good.fits", "secret.fits", "closed/a.fits")
        )
        (folder / "secret.fits").chmod(0)
        (folder / "closed").chmod(0)
        folder.chmod(0o755)
        root = os.geteuid() == 0
        try:
            if root:
                os.seteuid(65534)
            out, rejects = folder / "out/0.h5", folder / "out/0.parquet"
            ingest(manifest, survey(), out, rejects, Ingest())
            with pytest.raises(AstromlError, match="cannot be written"):
                ingest(manifest, survey(), folder / "0.h5", rejects, Ingest())
        finally:
            if root:
                os.seteuid(0)
            (folder / "closed").chmod(0o755)
        assert len(open_store(out)) == 1
        lost = pq.read_table(rejects).to_pylist()
        assert [row["reason"] for row in lost] == ["permission denied"] * 2


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip(f"cannot mount a small disk, which needs root ({done.stderr.strip()})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("size", [1, 8, 40])
def test_a_full_disk_is_one_line_and_leaves_nothing(small_disk, tmp_path, size):
    for n in range(40):
        write_cube(tmp_path / f"{n}.fits", sky(n))
    manifest = write_manifest(tmp_path / "m.csv", objects(*[f"{n}.fits" for n in range(40)]))
    words = ["--manifest", manifest, "--out", small_disk / "s/0.h5", "--survey", "decals"]
    words += ["--rejects", small_disk / "s/0.parquet", "--options", f"{{block: {size}}}"]
    command = [sys.executable, "-m", "astroml.cli", "ingest", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    said = f"ERROR: {small_disk}/s/0.h5: the disk is full; free some space and rerun\n"
    assert done.stderr == said
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


def test_a_surprise_costs_one_object(tmp_path, monkeypatch):
    for n in range(3):
        write_cube(tmp_path / f"{n}.fits", sky(n))
    manifest = write_manifest(tmp_path / "m.csv", objects("0.fits", "1.fits", "2.fits"))
    work = block.cut

    def fails(bands, described, row, size, *more):
        return 1 / 0 if row["object_id"] == 1 else work(bands, described, row, size, *more)

    monkeypatch.setattr(block, "cut", fails)
    words = manifest, survey(), tmp_path / "0.h5", tmp_path / "0.parquet", Ingest()
    ingest(*words)
    assert open_store(tmp_path / "0.h5").objects["object_id"].tolist() == [0, 2]
    (row,) = pq.read_table(tmp_path / "0.parquet").to_pylist()
    assert row["object_id"] == "1"
    assert "unexpected ZeroDivisionError (division by zero) in test_ingest_bad" in row["reason"]
    monkeypatch.setenv("ASTROML_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        ingest(*words)


@pytest.mark.realdata
@pytest.mark.parametrize("hdu", [0, 1, 2])
@pytest.mark.parametrize("missing", ["reject", "keep"])
def test_every_odd_file_goes_through_the_stage(realdata, tmp_path, hdu, missing):
    files = sorted((realdata / "odd_fits").iterdir())
    assert len(files) > 40
    toy = survey("r", image={"file": "{file}", "hdu": hdu})
    rows = objects(*files)
    manifest = write_manifest(tmp_path / "m.csv", rows)
    out, rejects = tmp_path / "0.h5", tmp_path / "0.parquet"
    ingest(manifest, toy, out, rejects, Ingest(missing_bands=missing, max_masked=1))
    lost = pq.read_table(rejects).to_pylist()
    assert len(open_store(out)) + len(lost) == len(rows)
    for row in lost:
        assert row["reason"]
        assert row["file"].startswith(str(realdata))
        assert "unexpected" not in row["reason"], row
        assert "Traceback" not in row["reason"]
        assert "AttributeError" not in row["reason"], row
        assert len(row["reason"]) < 300


WORDS = st.sampled_from(["T", "F", "'x'", "1E400", "NaN", "1.5D3", "-1", "1e", "", "1/2", "'"])
SIDES = st.one_of(st.integers(-2, 70), st.sampled_from([0, 2**31, 10**10, 2**63, 10**30]), WORDS)
SCALES = st.one_of(st.sampled_from([0, 1, 32768, 2**63, -128]), st.floats(-1e9, 1e9), WORDS)


@st.composite
def raw_files(draw):
    """Draw the bytes of a FITS file whose header may say anything."""
    sides = draw(st.lists(SIDES, max_size=5))
    cards = [
        ("SIMPLE", draw(st.sampled_from(["T", "T", "T", "F", "1"]))),
        ("BITPIX", draw(st.sampled_from([8, 16, 32, 64, -32, -64, -32, 7, "x", "-32.0"]))),
        ("NAXIS", draw(st.one_of(st.just(len(sides)), st.sampled_from([0, -1, 999, 10**9, "T"])))),
        *[(f"NAXIS{n + 1}", side) for n, side in enumerate(sides)],
    ]
    extra = {"BSCALE": SCALES, "BZERO": SCALES, "BLANK": SCALES, "EXTEND": WORDS, "PCOUNT": SIDES}
    extra |= {"GCOUNT": SIDES, "GROUPS": WORDS, "CTYPE1": WORDS, "ZIMAGE": WORDS, "CRVAL1": WORDS}
    cards += [(key, draw(how)) for key, how in extra.items() if draw(st.booleans())]
    order = draw(st.permutations(cards)) if draw(st.integers(0, 4)) == 0 else cards
    text = "".join(f"{key:8}= {value!s:>20}".ljust(80)[:80] for key, value in order)
    text += draw(st.sampled_from(["END".ljust(80), "END".ljust(80), "", "END=", "end".ljust(80)]))
    text = text.ljust(-(-len(text) // 2880) * 2880)
    data = draw(st.binary(max_size=64)) * draw(st.integers(0, 600))
    return text.encode()[: draw(st.sampled_from([len(text)] * 4 + [80, 2879]))] + data


def bare(*cards) -> bytes:
    """Return a header of some cards."""
    text = "".join(f"{key:8}= {value:>20}".ljust(80) for key, value in cards)
    return (text + "END").ljust(2880).encode()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(raw=raw_files())
@example(raw=bare(("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 10**9)))
@example(raw=bare(("SIMPLE", "T"), ("BITPIX", 7), ("NAXIS", 10**9)))
@example(raw=bare(("SIMPLE", "T"), ("NAXIS", 10**9), ("BITPIX", 8)))
@example(raw=bare(("SIMPLE", 1), ("BITPIX", 8), ("NAXIS", 10**9)))
@example(raw=bare(("SIMPLE", "T"), ("BITPIX", "x"), ("NAXIS", 10**9)))
@example(raw=bare(("SIMPLE", "T"), ("GROUPS", "T"), ("BITPIX", 8), ("NAXIS", 10**9)))
@example(raw=bare(("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 10**9)).replace(b"END", b"end"))
@example(
    raw=bare(("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", "'x'"), ("NAXIS2", 10**10))
)
@example(
    raw=bare(("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 1), ("NAXIS1", 10**10), ("GCOUNT", "'x'"))
)
@example(raw=bare(("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 1), ("NAXIS2", -1)))
@example(raw=gzip.compress(bare(("SIMPLE", "T"), ("BITPIX", 7), ("NAXIS", 10**9))))
@example(raw=bare(("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 0), ("GCOUNT", "1e")))
def test_any_header_is_an_image_or_a_reason(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "any.fits"
    path.write_bytes(raw)
    with Files() as files:
        try:
            image = files.image(path, 0)
            plane = 0 if len(image.shape) == 3 else None
            shape = image.shape[-2:]
            if len(image.shape) > 3:
                raise Reject("read", path, "four axes")
            found = np.asarray(image.read(plane, slice(0, shape[0]), slice(0, shape[1])))
            image.wcs  # noqa: B018, a header with nonsense for a WCS must say so
        except Reject as fault:
            told = fault.reason
        else:
            told = "an image" if found.shape == shape else ""
    assert told


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["u1", "i2", "i4", "i8", "f4", "f8"]),
    scale=st.sampled_from([None, 1.0, 0.5, -2.0]),
    zero=st.sampled_from([None, 0.0, 10.0, -3.5]),
    blank=st.booleans(),
    seed=st.integers(0, 99),
)
@example(kind="i2", scale=None, zero=32768.0, blank=False, seed=0)
@example(kind="i4", scale=None, zero=2.0**31, blank=True, seed=0)
def test_scaled_pixels_mean_what_the_standard_says(
    tmp_path_factory, kind, scale, zero, blank, seed
):
    """Physical value = BZERO + BSCALE x stored, and stored BLANK means none."""
    stored = np.random.default_rng(seed).integers(0, 100, (5, 7)).astype(kind)
    blank = blank and kind[0] != "f"
    cards = {"BSCALE": scale, "BZERO": zero, "BLANK": 13 if blank else None}
    header = fits.PrimaryHDU(stored).header
    header.update({key: value for key, value in cards.items() if value is not None})
    raw = header.tostring().encode() + stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    path = tmp_path_factory.getbasetemp() / "scaled.fits"
    path.write_bytes(raw.ljust(5760, b"\0"))
    expected = (zero or 0) + (1 if scale is None else scale) * stored.astype(float)
    if blank:
        expected[stored == 13] = np.nan
    with Files() as files:
        found = files.image(path, 0).read(None, slice(1, 4), slice(2, 7))
    np.testing.assert_allclose(np.asarray(found, float), expected[1:4, 2:7], rtol=1e-6)


CHOICES = st.tuples(
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([1, 2, 2**53, 2**53 + 1])),
    st.sampled_from([150.0, 510.0, -210.0, 360.0, -0.1, np.nan, 150.01]),
    st.sampled_from([2.0, 2.0, 2.0, 90.0, 90.1, -91.0, np.inf]),
    st.sampled_from(["good.fits", "good.fits", "none.fits", "empty.fits", ".", "", "ü/ž.fits"]),
)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(CHOICES, min_size=1, max_size=12), parts=st.integers(1, 3))
def test_any_manifest_loses_nothing(tmp_path_factory, rows, parts):
    folder = tmp_path_factory.mktemp("any")
    write_image(folder / "good.fits", sky()[0], tan_header())
    write_image(folder / "ü/ž.fits", sky(1)[0], tan_header())
    (folder / "empty.fits").touch()
    names = ("object_id", "ra", "dec", "file")
    manifest = write_manifest(folder / "m.csv", [dict(zip(names, row)) for row in rows])
    stored, lost = [], []
    for part in range(parts):
        out, rejects = folder / f"{part}.h5", folder / f"{part}.parquet"
        ingest(
            manifest, survey("r", **PLAIN), out, rejects, Ingest(block=2), chunk=f"{part}/{parts}"
        )
        stored += open_store(out).objects["object_id"].tolist()
        lost += pq.read_table(rejects).to_pylist()
    assert sorted(stored + [int(row["object_id"]) for row in lost]) == sorted(
        row[0] for row in rows
    )
    assert len(set(stored)) == len(stored)
    assert not [row for row in lost if "unexpected" in row["reason"]], lost
    usual = {row[0] for row in rows if row[1:] == (150.0, 2.0, "good.fits")}
    first = {}
    for row in rows:
        first.setdefault(row[0], row)
    assert {one for one in usual if first[one][1:] == (150.0, 2.0, "good.fits")} <= set(stored)
