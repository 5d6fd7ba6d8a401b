"""The sky of clusters: laws of its galaxies, light that is conserved, labels that hit."""

import galsim
import numpy as np
import pytest
import torch
from astropy.wcs import WCS
from scipy.special import exp1

from astroml.errors import AstromlError
from astroml.sky import fields, groups, members, patch, surroundings, wide
from astroml.sky.lensing import angular_scale, comoving_distance
from astroml.sky.surroundings import DE_VAUCOULEURS, EXPONENTIAL, POINT
from astroml.survey import load_survey
from astroml.tasks import cluster
from astroml.tasks.cluster import sky as room
from astroml.tasks.cluster.kinds import MIN_RICHNESS, NEGATIVES, Sky

SURVEY = load_survey("decals").rescaled(1.048)
WAVELENGTHS = [band.wavelength for band in SURVEY.bands.values()]
MILKY = np.array([3.2, 2.2, 1.2])

# DECam g-r and r-z of the red sequence at z of 0.1 to 0.6: an elliptical through real filters.
TABLE_Z = np.arange(1, 7) / 10
TABLE = np.array([[0.92, 1.21, 1.51, 1.74, 1.70, 1.66], [0.64, 0.75, 0.85, 0.96, 1.17, 1.45]]).T


@pytest.fixture(scope="module")
def many():
    """Return rich clusters in the middle of wide tiles, and their galaxies."""
    sky = Sky(objects=30, cluster_fraction=1, several=0, outside=0, nuisances=0, groups=0,
              richness=(40, 120), z=(0.2, 0.4), side=1500)  # fmt: skip
    columns = room.population(sky, SURVEY, 5)
    columns["system_x"][:, 0] = columns["system_y"][:, 0] = 0
    return columns, groups.draw(columns, range(30), SURVEY, 5)


def one_source(profile, r_e=0.0, q=1.0, phi=0.0, x=0.0, y=0.0, flux=1e5, fwhm=1.2, size=81):
    """Paint one source; return its image (y, x)."""
    parts = {"owner": np.array([0]), "profile": np.array([profile]), "flux": np.array([[flux]])}
    numbers = {"r_e": r_e, "q": q, "phi": phi, "x": x, "y": y}
    parts |= {name: np.array([value]) for name, value in numbers.items()}
    parts["reach"] = fields.reach(parts, np.array([[100.0]]), np.array([fwhm]), 3.0, 1.048)
    canvas = torch.zeros(1, 1, size, size)
    seeing = {"psf_fwhm": np.array([[fwhm]]), "psf_q": np.ones(1), "psf_phi": np.zeros(1)}
    fields.paint(canvas, parts, seeing, 3.0, 1.048)
    return canvas[0, 0].numpy()


CASES = [
    (POINT, 0.0, 1.0, 0.0), (EXPONENTIAL, 0.5, 0.6, 0.7), (EXPONENTIAL, 2.5, 0.4, 2.0),
    (DE_VAUCOULEURS, 0.7, 0.8, 0.3), (DE_VAUCOULEURS, 3.0, 0.7, 1.2),
]  # fmt: skip


@pytest.mark.parametrize("flux", [3e3, 1e6])
@pytest.mark.parametrize("case", CASES)
def test_light_is_conserved(case, flux):
    profile, r_e, q, phi = case
    image = one_source(profile, r_e, q, phi, x=0.3, y=-0.4, flux=flux)
    assert image.sum() == pytest.approx(flux, rel=0.015)


@pytest.mark.parametrize("case", CASES)
def test_a_galaxy_is_what_galsim_draws(case):
    profile, r_e, q, phi = case
    image = one_source(profile, r_e, q, phi, x=0.37, y=-0.21, flux=1e6)
    psf = galsim.Moffat(beta=3, fwhm=1.2)
    if profile == POINT:
        seen = psf
    else:
        n, cut = (1, 5.0) if profile == EXPONENTIAL else (4, 8.0)
        round_ = galsim.Sersic(n, half_light_radius=r_e * np.sqrt(q), trunc=cut * r_e * np.sqrt(q),
                               flux_untruncated=False)  # fmt: skip
        # The half-light radius is that of the whole profile, which is then cut.
        whole = galsim.Sersic(n, half_light_radius=r_e * np.sqrt(q))
        round_ = galsim.Sersic(n, scale_radius=whole.scale_radius, trunc=cut * r_e * np.sqrt(q))
        seen = galsim.Convolve(round_.shear(q=q, beta=phi * galsim.radians), psf)
    seen = (seen * 1e6).shift(0.37, -0.21)
    expected = seen.drawImage(nx=81, ny=81, scale=1.048).array
    assert np.abs(image - expected).max() < 0.025 * expected.max()


def test_sources_lie_where_they_are_put_and_stamps_add_up():
    image = one_source(POINT, x=5 * 1.048, y=-3 * 1.048)
    assert np.unravel_index(image.argmax(), image.shape) == (37, 45)
    outside = one_source(POINT, x=0.5 * 81 * 1.048 + 1.0)
    assert 0 < outside.sum() < 0.5e5
    assert outside[:, :70].max() == 0


def test_a_tile_holds_the_flux_of_its_catalog():
    columns = room.population(
        Sky(objects=2, nuisances=0, side=80, negatives={"blank": 1}), SURVEY, 2
    )
    # Stars are left out, as their haloes are wide.
    columns["star_density"] *= 0
    parts = groups.draw(columns, [0, 1], SURVEY, 2)
    wide_light, _ = wide.draw_light(columns, SURVEY, 400, [0, 1], seed=2)
    for at in range(2):
        wanted = parts["flux"][parts["owner"] == at].sum(0)
        assert wide_light[at].sum((1, 2)).numpy() == pytest.approx(wanted, rel=0.01)


def test_members_follow_the_table_of_colours():
    for z, wanted in zip(TABLE_Z, TABLE):
        mags = members.red_sequence(np.full(4000, z), np.zeros(4000),
                                    np.random.default_rng(1).standard_normal((4000, 3)),
                                    WAVELENGTHS)  # fmt: skip
        colours = -np.diff(mags, axis=1)
        assert np.median(colours, 0) == pytest.approx(wanted, abs=0.1)
        assert colours.std(0) == pytest.approx([0.04, 0.04], rel=0.08)
    bright, faint = (
        members.red_sequence(np.full(1, 0.3), np.full(1, d), np.zeros((1, 3)), WAVELENGTHS)[0]
        for d in (-1.0, 1.0)
    )
    assert (faint - bright)[0] - (faint - bright)[1] == pytest.approx(-0.06, abs=1e-6)


def test_drawn_members_have_these_colours(many):
    columns, drawn = many
    red = np.flatnonzero(drawn["red"])
    # Near m*, where the slope says nothing.
    red = red[np.abs(drawn["mag"] - members.m_star(np.maximum(drawn["z"], 0.1), 775.0))[red] < 1]
    mags = 31.4 - 2.5 * np.log10(drawn["flux"][red])
    mags -= columns["ebv"][drawn["owner"][red]][:, None] * MILKY
    for axis, wanted in enumerate(TABLE.T):
        away = mags[:, axis] - mags[:, axis + 1] - np.interp(drawn["z"][red], TABLE_Z, wanted)
        assert abs(np.median(away)) < 0.1
        assert away.std() < 0.08


def test_richness_is_the_number_of_bright_red_members_within_the_radius(many):
    columns, drawn = many
    for row in range(30):
        mine = (drawn["owner"] == row) & drawn["red"] & (drawn["system"] == 0)
        z, richness = columns["system_z"][row, 0], columns["system_richness"][row, 0]
        kpc = np.hypot(drawn["x"], drawn["y"]) * angular_scale(z)
        within = kpc < 1000 * (richness / 100) ** 0.2 / 0.7 * (1 + 1e-9)
        limit = members.m_star(z, 775.0) + 2.5 * np.log10(5) + 1e-5
        assert (mine & within & (drawn["mag"] < limit)).sum() == richness
        assert drawn["counted"][drawn["owner"] == row].sum() == richness
    assert columns["system_richness"].min() >= 0


def test_members_follow_a_projected_nfw_law(many):
    columns, drawn = many
    some = drawn["red"] & (drawn["system"] == 0)
    owner = drawn["owner"][some]
    z, richness = (columns[f"system_{name}"][owner, 0] for name in ("z", "richness"))
    radius = np.hypot(drawn["x"], drawn["y"])[some] * angular_scale(z)
    radius /= 1000 * groups.radius_of(richness)

    def mass(x):
        # Bartelmann (1996), eq. 13 and 14, the mass within a projected radius.
        inner = np.arccosh(1 / x) / np.sqrt(1 - x**2) if x < 1 else (
            np.arccos(1 / x) / np.sqrt(x**2 - 1))  # fmt: skip
        return np.log(x / 2) + inner

    for edge in (0.1, 0.2, 0.5, 0.8):
        share = ((radius < edge) & (radius > 0)).sum() / ((radius < 1) & (radius > 0)).sum()
        assert share == pytest.approx(mass(3 * edge) / mass(3.0), abs=0.02)


def test_luminosities_follow_a_schechter_law(many):
    _, drawn = many
    some = drawn["red"] & (drawn["system"] == 0)
    ratio = 10 ** (-0.4 * (drawn["mag"][some] - members.m_star(drawn["z"][some], 775.0)))
    assert (ratio > 0.1).sum() / (ratio > 0.2).sum() == pytest.approx(
        exp1(0.1) / exp1(0.2), rel=0.04
    )
    assert (ratio > 0.5).sum() / (ratio > 0.2).sum() == pytest.approx(
        exp1(0.5) / exp1(0.2), rel=0.07
    )


def test_red_galaxies_are_most_in_the_middle_and_fewer_outside(many):
    columns, drawn = many
    ours = drawn["system"] == 0
    depth = drawn["mag"] - members.m_star(np.where(ours, drawn["z"], 0.3), 775.0)
    ours &= depth < 1.74
    owner = drawn["owner"]
    radius = np.hypot(drawn["x"], drawn["y"]) * angular_scale(columns["system_z"][owner, 0])
    radius /= 1000 * groups.radius_of(columns["system_richness"][owner, 0])
    inner, outer = (drawn["red"][ours & near].mean() for near in (radius < 0.4, radius > 1.2))
    assert 0.7 < inner < 0.9
    assert outer < inner - 0.15


def test_the_brightest_member_is_at_the_centre(many):
    columns, drawn = many
    for row in range(30):
        mine = np.flatnonzero((drawn["owner"] == row) & (drawn["system"] == 0))
        best = mine[drawn["mag"][mine].argmin()]
        assert np.hypot(drawn["x"][best], drawn["y"][best]) < 1e-6
        above = members.m_star(columns["system_z"][row, 0], 775.0) - drawn["mag"][best]
        assert 1 <= above <= 2.5


def test_the_field_has_the_counts_of_deep_surveys():
    sky = Sky(objects=40, cluster_fraction=0, nuisances=0, outside=0, negatives={"blank": 1})
    columns = room.population(sky, SURVEY, 3)
    drawn = groups.draw(columns, range(40), SURVEY, 3)
    galaxy = drawn["system"] != surroundings.STAR
    area = 40 * ((2 * columns["half"][0] + 50) / 3600) ** 2
    for low, high, wanted in ((19, 20, 600), (21, 22, 4500), (23, 24, 24000)):
        mag_r = 31.4 - 2.5 * np.log10(drawn["flux"][:, 1])
        number = (galaxy & (mag_r > low) & (mag_r < high)).sum() / area
        assert wanted / 1.5 < number < 1.5 * wanted
    # Galaxies and stars to i = 24 in 30,400 arcsec2 of a patch of HSC Deep: 174.
    patch_ = (drawn["mag"] < 24).sum() / area * 30400 / 3600**2
    assert patch_ == pytest.approx(174, rel=0.15)


def test_labels_hit_the_pixel_and_the_sky():
    columns = room.population(Sky(objects=20, cluster_fraction=1, several=0.5), SURVEY, 4)
    found = room.truth(columns, range(20), SURVEY, 320)
    assert (found["clusters"] >= 1).all()
    assert (found["clusters"] == 2).any()
    assert (found["cluster_richness_0"] >= np.nan_to_num(found["cluster_richness_1"])).all()
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [160.5, 160.5]
    wcs.wcs.cd = np.diag([-1.048, 1.048]) / 3600
    for row in range(20):
        wcs.wcs.crval = columns["ra"][row], columns["dec"][row]
        for k in range(found["clusters"][row]):
            place = found[f"cluster_ra_{k}"][row], found[f"cluster_dec_{k}"][row]
            x, y = wcs.world_to_pixel_values(*place)
            ((line, column),) = np.argwhere(found["truth"][row] == 1 + k)
            assert abs(x - column) <= 0.501
            assert abs(y - line) <= 0.501
            centre = columns["system_x"][row, k] / 1.048 + 159.5
            assert x == pytest.approx(centre, abs=1e-6)


def test_the_brightest_member_shines_where_the_truth_says():
    sky = Sky(objects=6, cluster_fraction=1, several=0, nuisances=0, groups=0, outside=0,
              z=(0.2, 0.3), richness=(10, 14), side=100)  # fmt: skip
    columns = room.population(sky, SURVEY, 9)
    columns["star_density"] *= 0
    light, _ = wide.draw_light(columns, SURVEY, 95, range(6), seed=9)
    plane = room.truth(columns, range(6), SURVEY, 95)["truth"]
    for row in range(6):
        ((line, column),) = np.argwhere(plane[row])
        near = light[row, 1, max(line - 2, 0) : line + 3, max(column - 2, 0) : column + 3]
        assert light[row, 1, line, column] == near.max()


def test_smaller_tiles_lose_the_centres_outside_and_wider_ones_are_refused():
    columns = room.population(Sky(objects=40, cluster_fraction=1, several=1), SURVEY, 4)
    whole, cut = (room.truth(columns, range(40), SURVEY, size) for size in (320, 160))
    assert cut["clusters"].sum() < whole["clusters"].sum()
    assert (cut["truth"].max((1, 2)) == cut["clusters"]).all()
    assert np.isfinite(cut["cluster_z_0"]).sum() == (cut["clusters"] > 0).sum()
    with pytest.raises(AstromlError, match="set the sky's side to 419"):
        room.render(columns, SURVEY, 400, [0])


def test_laws_of_richness_and_redshift():
    rng = np.random.default_rng(2)
    flat = np.array([room._richness(rng, Sky(richness=(10, 150))) for _ in range(4000)])
    steep = np.array([room._richness(rng, Sky(richness_law="sky")) for _ in range(4000)])
    assert (flat < 39).mean() == pytest.approx(0.5, abs=0.03)
    # The integral of the power law, lambda^-2.5, from 10.
    assert (steep >= 20).mean() == pytest.approx(19.5**-2.5 / 10**-2.5, abs=0.02)
    assert flat.min() >= 10
    assert max(flat.max(), steep.max()) <= 150
    z = np.array([room._redshift(rng, "sky", (0.1, 0.6)) for _ in range(4000)])
    near, middle, far = comoving_distance(np.array([0.1, 0.4, 0.6])) ** 3
    assert (z < 0.4).mean() == pytest.approx((middle - near) / (far - near), abs=0.03)
    flat_z = np.array([room._redshift(rng, "flat", (0.1, 0.6)) for _ in range(4000)])
    assert (flat_z < 0.35).mean() == pytest.approx(0.5, abs=0.03)


def test_tiles_without_clusters_hold_poor_groups_alone():
    columns = room.population(Sky(objects=200, cluster_fraction=0, outside=0), SURVEY, 6)
    assert set(np.unique(columns["kind"])) == set(NEGATIVES)
    assert columns["system_richness"].max() < MIN_RICHNESS
    found = room.truth(columns, range(200), SURVEY, 320)
    assert not found["clusters"].any()
    assert not found["truth"].any()
    pair = columns["kind"] == "projection"
    slots = slice(*room.PLACES["projection"])
    z = columns["system_z"][pair, slots]
    assert (np.isfinite(z).sum(1) >= 2).all()
    assert np.nanmin(np.abs(z[:, 0] - z[:, 1])) > 0.1
    apart = np.hypot(np.diff(columns["system_x"][pair, slots])[:, 0],
                     np.diff(columns["system_y"][pair, slots])[:, 0])  # fmt: skip
    assert np.median(apart) < 90


def test_centres_drawn_from_columns_are_those_of_the_sky():
    columns = room.population(Sky(objects=24), SURVEY, 7)
    known = room.truth(columns, np.arange(24), SURVEY, 320)
    objects = {name: columns[name] for name in ("object_id", "ra", "dec")} | known
    targets, _ = cluster.targets(objects)
    drawn = cluster.marked(targets, 320, SURVEY.pixel_scale)["truth"]
    np.testing.assert_array_equal(drawn, known["truth"])
    assert (drawn > 0).sum() >= 10


def test_fresh_tiles_have_the_targets_of_stored_ones():
    drawn = room.fresh(Sky(), SURVEY, 64, 4, 1, 0, "cpu")
    targets, labelled = cluster.targets(drawn)
    assert labelled.all()
    assert set(targets) == {"clusters", *cluster.OPTIONAL}
    np.testing.assert_array_equal(np.isfinite(targets["cluster_z"]).sum(1), drawn["clusters"])


def test_tiles_do_not_overlap_on_the_sky():
    place = patch.grid(30, 335.36, 1)
    east = (place["ra"][:, None] - place["ra"]) * np.cos(np.radians(place["dec"]))
    north = place["dec"][:, None] - place["dec"]
    apart = np.maximum(np.abs(east), np.abs(north)) + np.eye(30)
    assert apart.min() * 3600 > 335.36


def test_same_seed_same_tiles_whatever_is_drawn_with_them():
    columns = room.population(Sky(objects=36), SURVEY, 7)
    again = room.population(Sky(objects=36), SURVEY, 7)
    for name, values in columns.items():
        np.testing.assert_array_equal(values, again[name])
    whole = room.render(columns, SURVEY, 96, range(34), seed=7)
    alone = room.render(columns, SURVEY, 96, [33, 2], seed=7)
    np.testing.assert_allclose(alone["image"], whole["image"][[33, 2]], rtol=1e-5, atol=0.5)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        other = room.render(columns, SURVEY, 96, range(34), seed=7)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(other["image"], whole["image"])
    different = room.render(room.population(Sky(objects=2), SURVEY, 8), SURVEY, 96, [0], seed=8)
    assert np.abs(different["image"][0] - whole["image"][0]).max() > 1e3


def test_noise_has_the_level_that_is_stated():
    columns = room.population(Sky(objects=1, cluster_fraction=0, negatives={"blank": 1}), SURVEY, 3)
    columns["defect"][:] = 0
    drawn = room.render(columns, SURVEY, 256, [0], seed=3)
    light, _ = wide.draw_light(columns, SURVEY, 256, [0], seed=3)
    rest = drawn["image"][0] - light[0].numpy()
    spread = 1.4826 * np.median(np.abs(rest - np.median(rest, (1, 2), keepdims=True)), (1, 2))
    assert spread == pytest.approx(drawn["sigma"][0], rel=0.12)


def test_fresh_batches_go_on():
    sky = Sky(objects=1, side=100)
    first, after = (
        room.fresh(sky, SURVEY, 95, 3, seed=1, number=number, device="cpu") for number in (4, 5)
    )
    again = room.fresh(sky, SURVEY, 95, 3, seed=1, number=4, device="cpu")
    assert torch.equal(first["image"], again["image"])
    assert first["truth"].shape == (3, 95, 95)
    assert first["truth"].dtype == torch.uint8
    assert not torch.equal(first["image"], after["image"])
    assert first["cluster_ra_0"].dtype == np.float64
    assert first["clusters"].shape == (3,)


def test_the_catalog_is_a_noisy_copy_of_the_truth():
    columns = room.population(Sky(objects=3, cluster_fraction=1, nuisances=0), SURVEY, 11)
    rows = [groups.catalog(columns, row, SURVEY, 11) for row in range(3)]
    one = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    pull = (one["flux"] - one["true_flux"]) / one["flux_err"]
    small = one["true_flux"][:, 1] < 3e3
    assert np.abs(np.median(pull[small])) < 0.3
    assert pull[~one["true_star"] & small].std() == pytest.approx(1, abs=0.2)
    # The survey's depth for a point source: 23.9 in r.
    star = one["true_star"] & (one["true_flux"][:, 1] < 1e4)
    depth = 31.4 - 2.5 * np.log10(5 * np.median(one["flux_err"][star, 1]))
    assert depth == pytest.approx(23.8, abs=0.35)
    clear = one["true_flux"][:, 1] > 3e4
    assert (one["is_star"] == one["true_star"])[clear].mean() > 0.9
    assert (one["system"] == 0).sum() > 20


def test_members_can_have_the_colours_of_real_ones(realdata, monkeypatch):
    monkeypatch.setenv("ASTROML_REALDATA", str(realdata))
    table = "${ASTROML_REALDATA}/redmapper_dr8/test_dr8_trainredseq_gals.fit"
    sky = Sky(objects=2, cluster_fraction=1, z=(0.14, 0.16), richness=(100, 150), several=0,
              members=table)  # fmt: skip
    columns = room.population(sky, SURVEY, 1)
    assert [path.name for path in room.inputs(sky)] == ["test_dr8_trainredseq_gals.fit"]
    drawn = groups.draw(columns, [0, 1], SURVEY, 1)
    plain = groups.draw(columns | {"members": np.full(2, "")}, [0, 1], SURVEY, 1)
    red = drawn["red"] & (drawn["system"] == 0)
    colour = [-2.5 * np.log10(one["flux"][red][:, 0] / one["flux"][red][:, 1])
              for one in (drawn, plain)]  # fmt: skip
    assert abs(np.median(colour[0]) - np.median(colour[1])) < 0.12
    assert (colour[0] != colour[1]).all()
    np.testing.assert_array_equal(drawn["flux"][~drawn["red"]], plain["flux"][~drawn["red"]])
    # In SDSS's own bands the colours are the table's: real galaxies at the same redshift.
    real_z, _ = members.real_members(table, (477.0, 623.0))
    assert len(real_z) > 1000
    assert 0.09 < real_z[0] < real_z[-1] < 0.21


def test_what_cannot_be_drawn_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(AstromlError, match="no such table"):
        room.population(Sky(objects=1, members=str(tmp_path / "none.fit")), SURVEY, 1)
    with pytest.raises(AstromlError, match="NOT_SET is not set"):
        room.population(Sky(objects=1, members="${NOT_SET}/a.fit"), SURVEY, 1)
    with pytest.raises(AstromlError, match="expected some of blank"):
        room.population(Sky(objects=1, negatives={"void": 1}), SURVEY, 1)
    with pytest.raises(ValueError, match="expected two numbers in order"):
        Sky(richness=(5, 20))
