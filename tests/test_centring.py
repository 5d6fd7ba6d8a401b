"""Centring through the whole stage, from FITS headers to the store, to a hundredth of a pixel."""

import itertools
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from ingest_fits import SCALE, gaussian, survey, tan_header, write_image, write_manifest

from astroml.config import Ingest
from astroml.ingest.reject import read_rejects
from astroml.ingest.run import ingest
from astroml.store import FLAGS, open_store

SIDE, APART = 400, 66
SIZES = {"even": 32, "odd": 33, "large": 64, "larger": 65}


def headers() -> dict[str, fits.Header]:
    """Return headers that map the sky in the ways that surveys do."""
    plain = tan_header(x=190.3, y=210.8)
    sip = tan_header(x=190.3, y=210.8, CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP")
    sip.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 3e-6, "B_0_2": -4e-6, "A_1_1": 2e-6})
    tpv = tan_header(x=190.3, y=210.8, CTYPE1="RA---TPV", CTYPE2="DEC--TPV")
    tpv.update({"PV1_0": 1e-5, "PV1_1": 1.0, "PV1_4": 0.02, "PV2_0": 0.0, "PV2_1": 1.0,
                "PV2_5": 0.03})  # fmt: skip
    mirrored = tan_header(x=190.3, y=210.8)
    mirrored["CD1_1"] = -mirrored["CD1_1"]
    return {
        "tan": plain,
        "turned": tan_header(x=190.3, y=210.8, turn=37.0),
        "pole": tan_header(77.0, 89.99, x=190.3, y=210.8),
        "seam": tan_header(0.0001, -30.0, x=190.3, y=210.8),
        "mirrored": mirrored,
        "sip": sip,
        "tpv": tpv,
    }


HEADERS = headers()


def delivered(folder, header, packed=False, few=None):
    """Write a mosaic of round sources at odd places, and their positions by astropy's WCS."""
    rng = np.random.default_rng(1)
    places = [
        (APART * i + 35 + rng.uniform(-0.5, 0.5), APART * j + 35 + rng.uniform(-0.5, 0.5))
        for i, j in itertools.product(range(6), range(6))
    ]
    # Whole and half pixels, where a cutout's middle is on an edge.
    places[:4] = [(35.0, 35.0), (35.5, 101.0), (35.0, 167.5), (34.5, 233.5)]
    image = np.zeros((SIDE, SIDE), np.float32)
    for x, y in places:
        image += gaussian(image.shape, x, y, 6.0, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ra, dec = WCS(header).all_pix2world(*np.transpose(places), 0)
    if packed:
        hdu = fits.CompImageHDU(image, header, compression_type="GZIP_1", quantize_level=0)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(folder / "a.fits")
    else:
        write_image(folder / "a.fits", image, header)
    rows = [{"object_id": n, "ra": repr(float(a)), "dec": repr(float(d))}
            for n, (a, d) in enumerate(zip(ra, dec))][:few]  # fmt: skip
    return write_manifest(folder / "m.csv", rows), survey(
        "g", image={"file": "a.fits", "hdu": int(packed)}
    )


def cut(folder, manifest, described, size, **changes):
    outs = [folder / f"{name}.h5" for name in size]
    lost = [folder / f"{name}.parquet" for name in size]
    settings = Ingest(size=size, max_masked=0.9, **changes)
    ingest(manifest, described, outs, lost, settings, cutouts=list(size))
    assert all(read_rejects(one) == [] for one in lost)
    return {name: open_store(out) for name, out in zip(size, outs)}


def light(store) -> np.ndarray:
    """Return where the light near the middle of each cutout is, (n, 2) px, from that middle."""
    image = store.read(range(len(store)))["image"][:, 0].astype(float)
    axis = np.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2
    image[:, np.abs(axis) > 15] = 0
    image[:, :, np.abs(axis) > 15] = 0
    total = image.sum(axis=(1, 2))
    return (
        np.stack([(image.sum(1) * axis).sum(1), (image.sum(2) * axis).sum(1)], 1) / total[:, None]
    )


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "tiles"])
@pytest.mark.parametrize("kind", HEADERS)
def test_the_recorded_offset_is_where_the_light_is(tmp_path, kind, packed):
    """Nothing is resampled: objects are within half a pixel of the middle, dx and dy say where."""
    stores = cut(tmp_path, *delivered(tmp_path, HEADERS[kind], packed), SIZES)
    for name, store in stores.items():
        told = np.stack([store.objects["dx"], store.objects["dy"]], axis=1)
        assert np.abs(told).max() <= 0.5 + 1e-4
        np.testing.assert_allclose(light(store), told, atol=0.01, err_msg=name)
        assert ((store.objects["flags"] & FLAGS["aligned"]) == 0).all()
        off = np.stack([store.objects["centroid_dx"], store.objects["centroid_dy"]], axis=1)
        np.testing.assert_allclose(off, 0, atol=0.01, err_msg=name)


@pytest.mark.parametrize("scale", [SCALE, 0.2])
@pytest.mark.parametrize("kind", HEADERS)
def test_resampled_objects_are_in_the_middle(tmp_path, kind, scale):
    sizes = {"even": 32, "odd": 33} if scale == SCALE else {"even": 40, "odd": 41}
    stores = cut(
        tmp_path,
        *delivered(tmp_path, HEADERS[kind], few=8),
        sizes,
        scale=dict.fromkeys(sizes, scale),
    )
    for name, store in stores.items():
        assert (store.objects["dx"] == 0).all()
        assert (store.objects["dy"] == 0).all()
        np.testing.assert_allclose(light(store), 0, atol=0.01, err_msg=name)
        assert ((store.objects["flags"] & FLAGS["aligned"]) != 0).all()


@pytest.mark.parametrize("size", [32, 33])
def test_an_aligned_band_keeps_the_offset_of_the_first(tmp_path, size):
    """Bands on their own pixels end on those of the first; its offset counts for all."""
    ra, dec = 150.0, 2.0
    for band, (x, y, turn) in {
        "g": (60.27, 59.64, 0),
        "r": (57.9, 61.13, 12),
        "z": (62, 60.5, 0),
    }.items():
        header = tan_header(ra, dec, x, y, turn=turn)
        write_image(tmp_path / f"{band}.fits", gaussian((121, 121), x, y, 6.0, 10), header)
    row = {"object_id": 1, "ra": ra, "dec": dec}
    described = survey("grz", image={"file": "{band}.fits"})
    manifest = write_manifest(tmp_path / "m.csv", [row])
    store = cut(tmp_path, manifest, described, {"galaxy": size})["galaxy"]
    dx, dy = float(store.objects["dx"][0]), float(store.objects["dy"][0])
    assert (dx, dy) == pytest.approx((0.27, -0.36) if size % 2 else (-0.23, 0.14), abs=1e-4)
    y, x = np.indices((size, size)) - (size - 1) / 2
    for image in store.read([0])["image"][0].astype(float):
        where = (image * x).sum() / image.sum(), (image * y).sum() / image.sum()
        assert where == pytest.approx((dx, dy), abs=0.01)
