"""Resampling, combining, and what may be done to cutouts: the laws they obey."""

import numpy as np
import pytest
from ingest_fits import (
    SCALE,
    gaussian,
    survey,
    tan_header,
    write_cube,
    write_image,
    write_manifest,
)

from astroml.config import Ingest
from astroml.ingest import adjust
from astroml.ingest.align import cut
from astroml.ingest.centroid import centroid_offset
from astroml.ingest.combine import combine, cosmic_rays
from astroml.ingest.planes import Pixels
from astroml.ingest.reject import Reject, read_rejects
from astroml.ingest.resample import Planes
from astroml.ingest.run import ingest
from astroml.ingest.tan import sky_to_pixels
from astroml.store import FLAGS, MASK, open_store

HERE = {"ra": 150.0, "dec": 2.0}


def pixels(image, header=None, zero_point=22.5, ivar=None) -> Pixels:
    wcs = None if header is None else sky_to_pixels(header)
    mask = np.zeros(image.shape, np.uint8)
    return Pixels(image, ivar, mask, wcs, zero_point, 1.2, "a.fits")


def moments(image):
    y, x = np.indices(image.shape)
    return np.array([(x * image).sum(), (y * image).sum()]) / image.sum()


@pytest.mark.parametrize("size", [40, 41])
@pytest.mark.parametrize("scale", [SCALE, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("place", [(99.5, 99.5), (100.0, 98.0), (97.3, 101.85)])
@pytest.mark.parametrize("turn", [0.0, 30.0])
def test_resampled_to_the_hundredth_of_a_pixel(size, scale, place, turn):
    """A source at the object's position lands on pixel (n-1)/2, for odd and even n."""
    image = gaussian((200, 200), *place, fwhm=9, flux=7)
    found = cut(
        {"g": [pixels(image, tan_header(x=place[0], y=place[1], turn=turn))]},
        survey("g"), HERE, size, scale,
    )  # fmt: skip
    assert (found.dx, found.dy, found.aligned) == (0, 0, True)
    assert moments(found.image[0]) == pytest.approx((size - 1) / 2, abs=0.01)
    assert found.image[0].sum() == pytest.approx(7, rel=0.005)


@pytest.mark.parametrize("scale", [SCALE, 0.524])
def test_north_is_up_and_east_left(scale):
    image = gaussian((200, 200), 99.5, 99.5, fwhm=6, flux=7)
    header = tan_header(x=99.5, y=99.5, turn=130.0, scale=SCALE)
    header["CD1_1"], header["CD1_2"] = -header["CD1_1"], -header["CD1_2"]  # mirrored
    wcs = sky_to_pixels(header)
    x, y = wcs.pixel(150.0 - 5 / 3600, 2.0 + 8 / 3600)  # 5" west, 8" north
    image += gaussian((200, 200), x, y, fwhm=6, flux=7)
    found = cut({"g": [pixels(image, header)]}, survey("g"), HERE, 81, scale)
    middle = 40 + np.array([5, 8]) / scale / 2
    assert moments(found.image[0]) == pytest.approx(middle, abs=0.02)


@pytest.mark.parametrize("scale", [0.131, 0.524, 1.0])
def test_noise_and_seeing_are_told_after_resampling(scale):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.5, (240, 240)).astype("f4")
    ivar = np.full(noise.shape, 4.0, np.float32)
    ivar[100:102, 100:102] = 0
    header = tan_header(x=119.5, y=119.5)
    side = int(50 * SCALE / scale)
    found = cut({"g": [pixels(noise, header, ivar=ivar)]}, survey("g", noise={}), HERE, side, scale)
    good = found.mask[0] == 0
    assert 0 < (~good).sum() <= max(25, (3 * SCALE / scale) ** 2)
    told = np.median(found.ivar[0][good]) ** -0.5
    # Finer pixels share what one pixel had; the noise of one is then as told, but correlated.
    assert found.image[0][good].std() == pytest.approx(told, rel=0.35 if scale < SCALE else 0.1)
    star = gaussian(noise.shape, 119.5, 119.5, 1.2 / SCALE, 100)
    found = cut({"g": [pixels(star, header)]}, survey("g"), HERE, side, scale)
    y = np.indices((side, side))[0] - (side - 1) / 2
    width = 2.3548 * scale * np.sqrt((y**2 * found.image[0]).sum() / found.image[0].sum())
    assert width == pytest.approx(found.psf_fwhm[0], rel=0.03)


def test_pixels_without_a_map_are_resampled_too():
    image = gaussian((101, 90), 40.2, 55.7, fwhm=6, flux=3)
    one = pixels(image)
    one.place = (40.2, 55.7)
    found = cut({"g": [one]}, survey("g"), {"ra": 0.0, "dec": 0.0}, 33, 0.524)
    assert moments(found.image[0]) == pytest.approx(16, abs=0.01)
    assert found.image[0].sum() == pytest.approx(3, rel=0.01)


def exposures(n=3, sigma=0.01, shape=(64, 64), seed=0):
    rng = np.random.default_rng(seed)
    star = gaussian(shape, 31.5, 31.5, fwhm=4, flux=20)
    weight = np.full(shape, sigma**-2, np.float32)
    return [
        Planes(star + rng.normal(0, sigma, shape).astype("f4"), weight, np.zeros(shape, np.uint8))
        for _ in range(n)
    ]


def test_exposures_add_up_by_inverse_variance():
    parts = exposures(2)
    parts[1] = parts[1].times(2.0).times(0.5)
    noisy = Planes(parts[0].image + 1.0, parts[0].ivar / 9, parts[0].mask)
    found = combine([parts[1], noisy])
    np.testing.assert_allclose(found.ivar, 1e4 * (1 + 1 / 9), rtol=1e-4)
    expected = (parts[1].image + noisy.image / 9) / (1 + 1 / 9)
    np.testing.assert_allclose(found.image, expected, atol=1e-4)
    assert (found.mask == 0).all()


def test_a_bad_pixel_comes_from_the_other_exposure():
    parts = exposures(2)
    for part, bit, row in zip(parts, ("saturated", "cosmic"), (5, 9)):
        part.mask[row, 7] |= MASK[bit]
        part.mask[20, 20] |= MASK[bit]
        part.image[row, 7] = 1e6
    found = combine(parts)
    assert found.mask[5, 7] == found.mask[9, 7] == 0
    assert abs(found.image[[5, 9], [7, 7]]).max() < 0.1
    assert found.ivar[5, 7] == pytest.approx(1e4)
    assert found.mask[20, 20] == MASK["saturated"] | MASK["cosmic"]
    assert found.ivar[20, 20] == 0


@pytest.mark.parametrize("n", [2, 3, 5])
def test_cosmic_rays_are_what_one_exposure_shows(n):
    parts = exposures(n)
    clean = combine(parts).image
    track = [(10 + k, 20 + k // 2) for k in range(8)] + [(32, 30)]
    for y, x in track:
        parts[0].image[y, x] += 2.0
    image, weight = np.stack([one.image for one in parts]), np.stack([one.ivar for one in parts])
    struck = cosmic_rays(image, weight, 6.0)
    assert all(struck[0, y, x] for y, x in track)
    assert struck[0].sum() <= len(track) + 2
    assert struck[1:].sum() == 0
    found = combine(parts, 6.0)
    assert (found.mask == 0).all()
    assert abs(found.image - clean).max() < 0.06
    assert abs(combine(parts).image - clean).max() > 0.3


def test_better_seeing_is_no_cosmic_ray():
    sharp, blurred = exposures(2)
    sharp = sharp._replace(image=sharp.image - gaussian((64, 64), 31.5, 31.5, 4.0, 20)
                           + gaussian((64, 64), 31.5, 31.5, 3.4, 20))  # fmt: skip
    image = np.stack([sharp.image, blurred.image])
    assert cosmic_rays(image, np.full(image.shape, 1e4), 6.0).sum() <= 4


def tiles(folder, where=(("left", 20.0), ("right", -10.0))):
    """Write two tiles of one sky, 64 px wide, the second 30 px further along x."""
    rng = np.random.default_rng(3)
    sky = rng.normal(0, 0.01, (64, 120)).astype("f4")
    for x, y in ((20, 30), (55, 32), (80, 20)):
        sky += gaussian(sky.shape, x, y, 4.0, 10)
    for name, start in (("left", 0), ("right", 30)):
        header = tan_header(x=20 - start, y=30)
        write_image(folder / f"{name}.fits", sky[:, start : start + 64], header)
    wcs = sky_to_pixels(tan_header(x=20, y=30)).wcs
    return sky, lambda x, y: dict(zip(("ra", "dec"), map(float, wcs.wcs_pix2world(x, y, 0))))


def run(folder, described, rows, size=32, sets=("galaxy",), **changes):
    manifest = write_manifest(folder / "m.csv", rows)
    size = size if isinstance(size, dict) else dict.fromkeys(sets, size)
    settings = Ingest(**{"size": size, "max_masked": 0.9} | changes)
    outs = [folder / f"{name}.h5" for name in sets]
    lost = [folder / f"{name}.parquet" for name in sets]
    ingest(manifest, described, outs, lost, settings, cutouts=list(sets))
    return [(open_store(out), read_rejects(one)) for out, one in zip(outs, lost)]


def test_the_neighbouring_tile_fills_the_border(tmp_path):
    sky, at = tiles(tmp_path)
    toy = survey("g", image={"file": "{tile}.fits"})
    rows = [
        {"object_id": 1, "tile": "left"} | at(55, 32),
        {"object_id": 2, "tile": "left;right"} | at(55, 32),
        {"object_id": 3, "tile": "right;left"} | at(55, 32),
        {"object_id": 4, "tile": "left;right"} | at(200, 32),
    ]
    [(store, rejects)] = run(tmp_path, toy, rows)
    assert [row.object_id for row in rejects] == ["4"]
    assert "off the image" in rejects[0].reason
    edge = (store.objects["flags"] & FLAGS["edge"]) != 0
    assert edge.tolist() == [True, False, False]
    image = store.read([0, 1, 2])["image"][:, 0] / 3630.78
    for n in (1, 2):
        np.testing.assert_allclose(image[n], sky[16:48, 39:71], atol=1e-5)
    assert (image[0][:, 25:] == 0).all()


def test_an_object_in_two_tiles_is_kept_once(tmp_path):
    _, at = tiles(tmp_path)
    toy = survey("g", image={"file": "{tile}.fits"}, same_object=0.3)
    near = at(55, 32)
    rows = [
        {"object_id": 1, "tile": "left"} | near,
        {"object_id": 2, "tile": "right"} | near | {"dec": near["dec"] + 0.2 / 3600},
        {"object_id": 1, "tile": "right"} | near,
        {"object_id": 3, "tile": "left"} | near | {"dec": near["dec"] + 0.1 / 3600},
        {"object_id": 4, "tile": "right"} | near | {"dec": near["dec"] + 0.5 / 3600},
    ]
    [(store, rejects)] = run(tmp_path, toy, rows, size=12)
    assert store.objects["object_id"].tolist() == [1, 3, 4]
    assert rejects[0].reason == (
        "the same object as row 1 (object_id 1), 0.20 arcsec away in another file; kept once"
    )
    assert rejects[1].reason == "object_id 1 is already in row 1"


def test_each_file_is_read_once_and_the_order_is_the_manifests(tmp_path, monkeypatch):
    """Rows hop from tile to tile: work goes tile by tile, the store has them as they were told."""
    from astroml.ingest import files

    _, at = tiles(tmp_path)
    toy = survey("g", image={"file": "{tile}.fits"})
    rows = [
        {"object_id": n, "tile": ("left", "right")[n % 2], "tag": f"t{n}"}
        | at(35 + n % 20, 10 + n % 40) | ({"ra": 151.0} if n == 7 else {})
        for n in range(40)
    ]  # fmt: skip
    opened = []
    whole = files._Opened.__init__
    monkeypatch.setattr(
        files._Opened, "__init__", lambda self, path: opened.append(path.name) or whole(self, path)
    )
    files.shared_files().__exit__()
    files.shared_files()._keep = 1
    try:
        [(store, rejects)] = run(tmp_path, toy, rows, size=12, block=4)
    finally:
        files.shared_files()._keep = 64
    assert opened == ["left.fits", "right.fits"]
    assert store.objects["object_id"].tolist() == [n for n in range(40) if n != 7]
    assert store.objects["tag"].tolist() == [f"t{n}" for n in range(40) if n != 7]
    assert [row.object_id for row in rejects] == ["7"]
    assert not list(tmp_path.glob("*.unsorted*"))
    third = store.read([3])["image"][0]
    alone = run(tmp_path, toy, [rows[3]], size=12)[0][0]
    np.testing.assert_array_equal(alone.read([0])["image"][0], third)


def test_three_sets_from_one_reading(tmp_path):
    rng = np.random.default_rng(1)
    image = rng.normal(0, 0.01, (300, 300)).astype("f4")
    image += gaussian(image.shape, 150, 150, 6, 10)
    write_image(tmp_path / "a.fits", image, tan_header(x=150, y=150))
    toy = survey("g", image={"file": "a.fits"})
    size = {"galaxy": 64, "halo": 200, "field": 61}
    rows = [{"object_id": 1} | HERE]
    found = run(tmp_path, toy, rows, sets=tuple(size), size=size, scale={"field": 1.0})
    for (store, rejects), (name, side) in zip(found, size.items()):
        image = store.read([0])["image"]
        assert rejects == []
        assert store.header.set == name
        assert store.header.size == side
        assert store.header.pixel_scale == (1.0 if name == "field" else SCALE)
        alone = run(tmp_path, toy, rows, sets=(name,), size=size, scale={"field": 1.0})[0][0]
        np.testing.assert_array_equal(alone.read([0])["image"], image)
    field = found[2][0].read([0])["image"][0, 0]
    assert np.unravel_index(np.argmax(field), field.shape) == (30, 30)
    assert field[20:41, 20:41].sum() == pytest.approx(10 * 3630.78, rel=0.1)


@pytest.mark.parametrize("kind", ["median", "mesh"])
def test_the_sky_is_subtracted(kind):
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, (2, 1, 96, 96)).astype("f4")
    image += gaussian((96, 96), 47.5, 47.5, 5, 5000)
    mask = np.zeros(image.shape, np.uint8)
    mask[..., :5] = MASK["nodata"]
    image[mask != 0] = 0
    level = np.array([300.0, -40.0])[:, None, None, None]
    slope = (np.arange(96) - 47.5)[:, None] * (0.05 if kind == "mesh" else 0.0)
    lit = np.where(mask == 0, image + level + slope, 0).astype("f4")
    settings = Ingest(background=kind, background_box=24)
    width = np.ones((2, 1), "f4")
    for one in (image, lit):
        adjust.adjust(one, None, mask, width, SCALE, settings)
    assert abs(np.median(lit[mask == 0])) < 0.2
    np.testing.assert_allclose(lit, image, atol=1.0 if kind == "mesh" else 0.05)
    core = lit[:, 0, 35:61, 35:61].sum(axis=(1, 2))
    np.testing.assert_allclose(core, 5000, rtol=0.05)
    assert (lit[mask != 0] == 0).all()


def test_seeing_is_matched():
    """Flux stays, the widths become one, the noise is what the inverse variance says."""
    rng = np.random.default_rng(0)
    shape = (96, 96)
    widths = np.array([[0.8, 1.1, 1.6]], "f4")
    stars = np.stack([gaussian(shape, 47.5, 47.5, one / SCALE, 1000) for one in widths[0]])
    image, ivar = stars[None].copy(), np.full((1, 3, *shape), 4.0, "f4")
    mask = np.zeros(image.shape, np.uint8)
    mask[0, :, 10, 10] = MASK["bad"]
    image[mask != 0] = ivar[mask != 0] = 0
    psf = widths.copy()
    adjust.adjust(image, ivar, mask, psf, SCALE, Ingest(match_psf=1.3))
    np.testing.assert_allclose(psf[0], [1.3, 1.3, 1.6])
    np.testing.assert_allclose(image.sum(axis=(2, 3))[0], 1000, rtol=1e-3)
    expected = gaussian(shape, 47.5, 47.5, 1.3 / SCALE, 1000)
    for n in (0, 1):
        np.testing.assert_allclose(image[0, n], expected, atol=0.01 * expected.max())
    np.testing.assert_array_equal(image[0, 2], stars[2] * (mask[0, 2] == 0))
    noise = rng.normal(0, 0.5, (1, 1, 200, 200)).astype("f4")
    told = np.full(noise.shape, 4.0, "f4")
    adjust.adjust(
        noise, told, np.zeros(noise.shape, np.uint8), np.array([[0.8]], "f4"), SCALE,
        Ingest(match_psf=1.3),
    )  # fmt: skip
    middle = np.s_[0, 0, 20:-20, 20:-20]
    assert noise[middle].std() == pytest.approx(told[middle].mean() ** -0.5, rel=0.05)
    assert noise[middle].std() < 0.2


@pytest.mark.parametrize("off", [(0, 0), (1.3, -0.7), (-2.5, 2.0)])
def test_centroid_offset_is_where_the_light_is(off):
    rng = np.random.default_rng(0)
    image = rng.normal(0, 0.01, (3, 2, 64, 64)).astype("f4")
    image[:2] += gaussian((64, 64), 31.7 + off[0], 31.1 + off[1], 4, 10)
    mask = np.zeros(image.shape, np.uint8)
    found = centroid_offset(
        image, mask, np.full((3, 2), 0.01), np.full(3, 0.2), np.full(3, -0.4), SCALE
    )
    for one, expected in zip(found, off):
        np.testing.assert_allclose(one[:2], expected, atol=0.04)
        assert np.isnan(one[2])


def test_quality_columns(tmp_path):
    rng = np.random.default_rng(5)
    cube = rng.normal(0, 0.01, (3, 64, 64)).astype("f4") + gaussian((64, 64), 32.5, 31, 5, 10)
    cube[1] += 0.02
    cube[2, :16] = np.nan
    write_cube(tmp_path / "a.fits", cube)
    row = {"object_id": 1, "file": "a.fits"} | HERE
    [(store, rejects)] = run(tmp_path, survey(), [row], size=64)
    assert rejects == []
    one = {name: values[0] for name, values in store.objects.items()}
    assert (one["masked_g"], one["masked_r"], one["masked_z"]) == (0, 0, 0.25)
    assert one["sky_g"] == pytest.approx(0, abs=0.2)
    assert one["sky_r"] == pytest.approx(2, abs=0.3)
    assert (one["centroid_dx"], one["centroid_dy"]) == pytest.approx((1, -0.5), abs=0.03)
    with pytest.raises(Exception, match="sky_g"):
        run(tmp_path, survey(), [row | {"sky_g": 1}], size=64)


def test_as_many_files_in_every_column(tmp_path):
    tiles(tmp_path)
    toy = survey("g", image={"file": "{tile}.fits"}, noise={"file": "{noise}.fits"})
    row = {"object_id": 1, "tile": "left;right", "noise": "a;b;c"} | HERE
    [(store, rejects)] = run(tmp_path, toy, [row])
    assert len(store) == 0
    assert "name different numbers of files" in rejects[0].reason
    assert issubclass(Reject, Exception)
