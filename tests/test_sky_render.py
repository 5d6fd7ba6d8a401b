"""The renderer against GalSim and lenstronomy, and against what light must do."""

import math

import galsim
import numpy as np
import pytest
import torch

from astroml.sky import profiles
from astroml.sky.paint import FINE, extent, paint, paint_arcs
from astroml.sky.psf import convolve
from astroml.sky.render import MARGIN
from astroml.survey import load_survey


@pytest.fixture(autouse=True)
def _one_thread(_seed_and_threads):
    """Rendering shares objects among threads; a few images are quickest on one."""
    torch.set_num_threads(1)


SURVEYS = {"decals": "r", "hsc": "i", "sdss": "r"}
SIZE = 64


def parts_of(rows):
    """Turn a list of dicts into component tensors, with round smooth defaults."""
    base = dict.fromkeys((*profiles.SHAPE_NAMES, *profiles.ARM_NAMES), 0.0)
    base |= {"shape": profiles.SERSIC, "q": 1.0, "n_sersic": 1.0, "r_e": 1.0, "width": 0.1}
    rows = [base | row for row in rows]
    return {name: torch.tensor([float(row[name]) for row in rows]) for name in base}


def draw(rows, pixel, fwhm, psf_q=1.0, psf_phi=0.0, beta=3.0, size=SIZE, margin=MARGIN):
    """Render one component per image, flux 1, and return (n, y, x) float64."""
    cells, count = FINE * (size + 2 * margin), len(rows)
    canvas = torch.zeros(count, 1, cells, cells)
    paint(canvas, parts_of(rows), torch.arange(count), torch.ones(count, 1), pixel / FINE)
    seeing = (
        torch.full((count, 1), fwhm),
        torch.full((count,), psf_q),
        torch.full((count,), psf_phi),
    )
    image = convolve(canvas, *seeing, beta, pixel / FINE)
    return image[:, 0, margin : margin + size, margin : margin + size].double().numpy()


def oracle(row, pixel, fwhm, psf_q=1.0, psf_phi=0.0, beta=3.0, size=SIZE):
    """Render the same with GalSim."""
    q, phi = row.get("q", 1.0), row.get("phi", 0.0)
    galaxy = galsim.Sersic(row["n_sersic"], half_light_radius=row["r_e"] * math.sqrt(q))
    galaxy = galaxy.shear(q=q, beta=phi * galsim.radians).shift(row.get("x", 0), row.get("y", 0))
    psf = galsim.Moffat(beta, fwhm=fwhm).shear(q=psf_q, beta=psf_phi * galsim.radians)
    whole = galsim.Convolve(galaxy, psf)
    params = galsim.GSParams(folding_threshold=1e-3, maxk_threshold=1e-3)
    return whole.withGSParams(params).drawImage(nx=size, ny=size, scale=pixel).array


def moments(image, pixel):
    """Return flux, and xx, yy, xy (arcsec^2) under a Gaussian window of 1.5 arcsec."""
    axis = (np.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2) * pixel
    x, y = axis[None, :], axis[:, None]
    light = image * np.exp(-0.5 * (x**2 + y**2) / 1.5**2)
    return image.sum(), *((light * one).sum() / light.sum() for one in (x * x, y * y, x * y))


CASES = [
    {"n_sersic": n, "q": q, "r_e": r_e, "phi": 0.6, "x": 0.03, "y": -0.05}
    for n, r_e in ((0.5, 0.8), (1, 0.5), (1, 1.0), (2, 0.7), (4, 0.5), (4, 1.0))
    for q in (0.4, 0.7, 1.0)
]


@pytest.mark.parametrize("name", SURVEYS)
def test_fluxes_and_shapes_agree_with_galsim(name):
    survey = load_survey(name)
    pixel, fwhm = survey.pixel_scale, survey.bands[SURVEYS[name]].psf_fwhm
    ours = draw(CASES, pixel, fwhm, 0.92, 1.1)
    for row, image in zip(CASES, ours):
        theirs = oracle(row, pixel, fwhm, 0.92, 1.1)
        flux, xx, yy, xy = moments(image, pixel)
        flux_0, xx_0, yy_0, xy_0 = moments(theirs, pixel)
        size = (xx_0 + yy_0) / 2
        assert flux == pytest.approx(flux_0, rel=0.01), row
        for ours_, theirs_ in ((xx, xx_0), (yy, yy_0), (xy, xy_0)):
            assert ours_ == pytest.approx(theirs_, abs=0.01 * size), row
        assert np.abs(image - theirs).max() < 0.015 * theirs.max(), row


@pytest.mark.parametrize("beta", [2.5, 3.0, 4.0])
def test_point_source_is_galsim_moffat(beta):
    pixel, fwhm = 0.262, 1.2
    star = {"n_sersic": 0.5, "r_e": 0.05, "x": 0.1, "y": 0.2}
    ours = draw([star], pixel, fwhm, 0.85, 0.4, beta)[0]
    psf = galsim.Moffat(beta, fwhm=fwhm).shear(q=0.85, beta=0.4 * galsim.radians).shift(0.1, 0.2)
    psf = galsim.Convolve(psf, galsim.Gaussian(half_light_radius=0.05))
    theirs = psf.drawImage(nx=SIZE, ny=SIZE, scale=pixel).array
    assert np.abs(ours - theirs).max() < 0.01 * theirs.max()


def test_odd_sizes_have_their_centre_in_the_middle_pixel():
    for size in (33, 40):
        image = draw([{"n_sersic": 1.0, "r_e": 0.3}], 0.262, 1.0, size=size)[0]
        axis = np.arange(size) - (size - 1) / 2
        assert (image * axis).sum() == pytest.approx(0, abs=1e-3)
        assert (image * axis[:, None]).sum() == pytest.approx(0, abs=1e-3)


SHAPES = {
    "sersic": {"n_sersic": 1.0},
    "arms": {"n_sersic": 1.0, "arms": 2, "arm_strength": 3.0, "arm_pitch": 0.3, "q": 0.7},
    "ring": {"shape": profiles.RING, "r_e": 2.0, "width": 0.25, "q": 0.6},
    "patchy ring": {"shape": profiles.RING, "r_e": 1.5, "arms": 1, "arm_strength": 2.0},
    "edge on": {"n_sersic": 1.0, "q": 0.12, "r_e": 1.5},
}


@pytest.mark.parametrize("name", SHAPES)
def test_all_shapes_conserve_flux(name):
    image = draw([SHAPES[name]], 0.262, 1.1, size=96)[0]
    # A Moffat law with beta 3 has 0.4% of its light beyond the cutout; no shape has more.
    assert image.sum() == pytest.approx(1, abs=0.012)


@pytest.mark.parametrize("name", SHAPES)
def test_turning_the_parameters_turns_the_image(name):
    here = {"x": 0.4, "y": -0.3, "phi": 0.5} | SHAPES[name]
    turned = here | {"x": 0.3, "y": 0.4, "phi": 0.5 + math.pi / 2}
    image, other = draw([here, turned], 0.262, 1.1, 1.0)
    np.testing.assert_allclose(np.rot90(image, -1), other, atol=2e-4 * image.max())


def test_arms_are_seen():
    smooth, armed = draw([SHAPES["sersic"] | {"q": 0.7}, SHAPES["arms"]], 0.168, 0.6)
    assert np.abs(armed - smooth).sum() > 0.15


def test_extent_holds_the_light():
    parts = parts_of([{"n_sersic": n} for n in (0.5, 1, 2, 4)])
    from scipy.special import gammainc

    for n, reach in zip((0.5, 1, 2, 4), extent(parts).tolist()):
        k = 2 * n - 1 / 3 + 4 / (405 * n)
        assert 0.9965 < gammainc(2 * n, k * reach ** (1 / n)) < 0.9999


LENS = {
    "theta_e": 1.4,
    "x": 0.02,
    "y": -0.03,
    "q": 0.72,
    "phi": 0.5,
    "shear_1": 0.04,
    "shear_2": -0.05,
}
SOURCE = {"x": 0.21, "y": 0.12, "q": 0.65, "phi": 1.2, "n_sersic": 1.3, "r_e": 0.22}


def lenstronomy_arc(pixel, size, source=SOURCE):
    from lenstronomy.Data.imaging_data import ImageData
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel

    def ellipticity(q, phi):
        size_ = (1 - q) / (1 + q)
        return {"e1": size_ * math.cos(2 * phi), "e2": size_ * math.sin(2 * phi)}

    start = -(size - 1) / 2 * pixel
    grid = ImageData(
        np.zeros((size, size)),
        ra_at_xy_0=start,
        dec_at_xy_0=start,
        transform_pix2angle=np.eye(2) * pixel,
        background_rms=1.0,
        exposure_time=1.0,
    )
    model = ImageModel(
        grid,
        PSF("NONE"),
        LensModel(["SIE", "SHEAR"]),
        LightModel(["SERSIC_ELLIPSE"]),
        kwargs_numerics={"supersampling_factor": 15},
    )
    mass = {"theta_E": LENS["theta_e"], "center_x": LENS["x"], "center_y": LENS["y"]}
    tide = {"gamma1": LENS["shear_1"], "gamma2": LENS["shear_2"]}
    tide |= {"ra_0": LENS["x"], "dec_0": LENS["y"]}
    q = torch.tensor(source["q"])
    light = {
        "amp": float(
            profiles.sersic_amplitude(*map(torch.tensor, (source["n_sersic"], source["r_e"])), q)
        ),
        "R_sersic": source["r_e"] * math.sqrt(source["q"]),
        "n_sersic": source["n_sersic"],
        "center_x": source["x"],
        "center_y": source["y"],
    }
    light |= ellipticity(source["q"], source["phi"])
    mass |= ellipticity(LENS["q"], LENS["phi"])
    return model.image([mass, tide], [light])


def own_arc(pixel, size, source):
    """Paint the image of a source, of flux 1 before lensing, and sum it into pixels."""
    canvas = torch.zeros(1, 1, FINE * size, FINE * size)
    lens, source = (
        {name: torch.tensor([value]) for name, value in one.items()} for one in (LENS, source)
    )
    paint_arcs(
        canvas, lens, source, torch.zeros(1, dtype=torch.long), torch.ones(1, 1), pixel / FINE
    )
    return (torch.nn.functional.avg_pool2d(canvas, FINE)[0, 0] * FINE**2).double().numpy()


# Smallest and flattest, and largest and steepest, of the sources that are drawn.
SMALL = SOURCE | {"q": 0.4, "r_e": 0.1, "n_sersic": 1.0}
LARGE = SOURCE | {"r_e": 0.4, "n_sersic": 2.0}


@pytest.mark.parametrize("source", [SOURCE, SMALL, LARGE], ids=["middling", "small", "large"])
@pytest.mark.parametrize("pixel", [0.168, 0.262, 0.396])
def test_arcs_agree_with_lenstronomy(source, pixel):
    size = round(12.6 / pixel)
    ours, theirs = own_arc(pixel, size, source), lenstronomy_arc(pixel, size, source)
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.005)
    # Stated tolerance: summed over pixels, one percent of the arc's light; 2% of its peak.
    assert np.abs(ours - theirs).sum() < 0.01 * theirs.sum()
    assert np.abs(ours - theirs).max() < 0.02 * theirs.max()


def test_no_image_falls_between_the_rays():
    """Images smaller than a pixel, wherever they lie: none is lost."""
    gaps = []
    for step in np.linspace(0, 0.396, 7):
        source = SMALL | {"x": 0.5 + step, "y": 0.3, "phi": 1.1}
        whole, coarse = own_arc(0.1, 120, source).sum(), own_arc(0.396, 31, source).sum()
        gaps.append(coarse / whole - 1)
    assert np.abs(gaps).max() < 0.05


def test_bessel_function_is_scipys():
    from scipy.special import i0

    for top in (4.0, 9.0):
        x = torch.linspace(0, top, 500)
        np.testing.assert_allclose(profiles.bessel_i0(x).numpy(), i0(x.numpy()), rtol=3e-6)


def test_smooth_galaxies_are_painted_on_pixels_as_on_cells():
    """Beyond the window around the centre, cells and pixels tell the same."""
    from astroml.sky import paint as room

    rows = [
        {"n_sersic": n, "q": q, "r_e": 2.0, "phi": 0.4, "x": 0.3} for n, q in ((1, 0.4), (4, 0.8))
    ]
    ours = draw(rows, 0.168, 0.6)
    keep = room.SMOOTH
    try:
        room.SMOOTH = 2.0
        fine = draw(rows, 0.168, 0.6)
    finally:
        room.SMOOTH = keep
    assert not np.array_equal(ours, fine)
    np.testing.assert_allclose(ours, fine, atol=5e-4 * fine.max())


@pytest.mark.parametrize("pixels", [16, 17])
def test_pixels_are_sums_of_blurred_cells(pixels):
    """Even where pixels undersample: against blurring every cell and summing afterwards."""
    from astroml.sky.psf import moffat_transform

    cells, scale = FINE * pixels, 0.1
    canvas = torch.rand(2, 1, cells, cells, generator=torch.Generator().manual_seed(3))
    seeing = torch.tensor([[0.15], [0.3]]), torch.tensor([0.8, 0.9]), torch.tensor([0.5, 2.0])
    k = torch.fft.fftfreq(cells, scale)
    blur = moffat_transform(*seeing, 3.0, k, k)
    whole = torch.fft.ifft2(torch.fft.fft2(canvas) * blur).real
    expected = torch.nn.functional.avg_pool2d(whole, FINE) * FINE**2
    torch.testing.assert_close(convolve(canvas, *seeing, 3.0, scale), expected, rtol=0, atol=2e-3)


def test_folding_matters_only_where_pixels_undersample():
    from astroml.sky.psf import blurred, transfer, undersampled

    canvas = torch.zeros(1, 1, 64, 64)
    canvas[0, 0, 33, 30] = 1.0
    for fwhm in (0.4, 0.61, 0.8, 1.2):
        seeing = torch.full((1, 1), fwhm), torch.full((1,), 0.95), torch.full((1,), 0.3)
        folded, low = (
            blurred(canvas, transfer(*seeing, 3.0, 64, 0.1, fold)) for fold in (True, False)
        )
        gap = float((folded - low).abs().max() / folded.max())
        assert (gap > 0.01) == (fwhm < 0.5)
        assert undersampled(fwhm, 0.2) == (fwhm < 0.59)


def test_a_point_behind_the_centre_of_a_sphere_becomes_a_ring_of_theta_e():
    pixel, cells = 0.1, 120
    canvas = torch.zeros(1, 1, cells, cells)
    lens = {"theta_e": 2.0, "x": 0, "y": 0, "q": 0.9999, "phi": 0, "shear_1": 0, "shear_2": 0}
    source = {"x": 0, "y": 0, "q": 1, "phi": 0, "n_sersic": 0.5, "r_e": 0.1}
    lens, source = (
        {name: torch.tensor([float(v)]) for name, v in one.items()} for one in (lens, source)
    )
    paint_arcs(canvas, lens, source, torch.zeros(1, dtype=torch.long), torch.ones(1, 1), pixel)
    axis = (np.arange(cells) + 0.5 - cells / 2) * pixel
    radius = np.hypot(axis[None], axis[:, None])
    light = canvas[0, 0].double().numpy()
    assert (light * radius).sum() / light.sum() == pytest.approx(2.0, abs=0.01)


def test_painting_is_the_same_in_any_batch():
    rows = [{"n_sersic": n, "r_e": r} for n, r in ((4.0, 1.5), (1.0, 0.3), (0.5, 0.05))]
    together = draw(rows, 0.262, 1.1)
    for row, image in zip(rows, together):
        np.testing.assert_allclose(draw([row], 0.262, 1.1)[0], image, atol=1e-6 * image.max())
