"""The lens finder's labels and its endless training sky."""

import numpy as np
import pytest
import torch

from astroml import tasks
from astroml.sky.kinds import draw_kinds
from astroml.survey import load_survey
from astroml.tasks.lens import NEGATIVES, Sky

SIZE, BATCH = 32, 32
sky_room = tasks.load("lens", "sky")
OF_LENSES = ("theta_e", "arc_snr", "e1", "e2", "shear_1", "shear_2", "source_x", "lens_mag")
PLANES = ("image", "mask", "sigma", "psf_fwhm", "ebv")


@pytest.fixture(scope="module")
def survey():
    return load_survey("hsc", ["g", "r", "i"])


@pytest.fixture(scope="module")
def drawn(survey):
    return sky_room.population(Sky(objects=120), survey, 7)


@pytest.fixture(scope="module")
def known(drawn, survey):
    rendered = sky_room.render(drawn, survey, SIZE, np.arange(120), seed=7)
    return sky_room.labels(drawn, rendered)


def batches(survey, count, start=0, seed=5, batch=BATCH):
    numbers = range(start, start + count)
    return [sky_room.fresh(Sky(), survey, SIZE, batch, seed, one, "cpu") for one in numbers]


def test_labels_of_a_lens_are_its_parameters(drawn, known):
    lens = drawn["is_lens"] == 1
    for name in OF_LENSES:
        assert (known[name][lens] != 0).all(), name
        assert (known[name][~lens] == 0).all(), name
    size = np.hypot(known["e1"], known["e2"])[lens]
    q = drawn["lens_q"][lens]
    np.testing.assert_allclose((1 - size) / (1 + size), q, rtol=1e-5)
    turn = 0.5 * np.arctan2(known["e2"], known["e1"])[lens]
    np.testing.assert_allclose(np.sin(turn - drawn["lens_phi"][lens]), 0, atol=1e-5)
    assert (np.hypot(known["shear_1"], known["shear_2"]) <= 0.1).all()
    away = np.hypot(known["source_x"], known["source_y"])
    assert (away <= 0.55 * known["theta_e"] + 1e-6).all()
    assert 17.4 < known["lens_mag"][lens].min() <= known["lens_mag"].max() < 20.6


def test_labels_of_all(drawn, known):
    np.testing.assert_array_equal(known["artefact"] == 1, drawn["defect"] != 0)
    assert 0 < known["artefact"].sum() < 30
    np.testing.assert_allclose(known["seeing"], drawn["psf_fwhm"].mean(1), rtol=1e-5)


def test_ellipticity_is_that_of_the_deflection(survey):
    """Mass along the x axis has e1 > 0 and bends more strongly along y."""
    from astroml.sky.lensing import deflection

    names = ("theta_e", "x", "y", "q", "phi", "shear_1", "shear_2")
    lens = {name: torch.tensor(value) for name, value in zip(names, (1.0, 0, 0, 0.6, 0.0, 0, 0))}
    along = deflection(lens, torch.tensor(2.0), torch.tensor(0.0))[0]
    across = deflection(lens, torch.tensor(0.0), torch.tensor(2.0))[1]
    assert along < across


def test_a_batch_is_what_a_store_holds(survey):
    batch = batches(survey, 1)[0]
    assert batch["image"].shape == (BATCH, 3, SIZE, SIZE)
    assert batch["mask"].dtype == torch.uint8
    assert batch["sigma"].shape == batch["psf_fwhm"].shape == (BATCH, 3)
    assert all(isinstance(batch[name], torch.Tensor) for name in PLANES)
    assert all(len(values) == BATCH for values in batch.values())
    targets, labelled = tasks.load("lens").targets(batch)
    assert labelled.all()
    assert 0 < targets["is_lens"].sum() < BATCH


def test_no_object_is_drawn_twice(survey):
    made = batches(survey, 6)
    for name in ("ra", "object_id"):
        values = np.concatenate([one[name] for one in made])
        assert len(np.unique(values)) == len(values)
    theta_e = np.concatenate([one["theta_e"][one["is_lens"] == 1] for one in made])
    assert len(np.unique(theta_e)) == len(theta_e)
    # Pixel noise is new too: blank corners of different objects have nothing in common.
    corner = torch.cat([one["image"][:, 0, :6, :6].flatten(1) for one in made])
    assert len(torch.unique(corner, dim=0)) == len(corner)


def test_a_killed_run_goes_on_where_it_stopped(survey):
    whole, rest = batches(survey, 4), batches(survey, 2, start=2)
    for one, two in zip(whole[2:], rest):
        assert set(one) == set(two)
        for name, values in one.items():
            if isinstance(values, torch.Tensor):
                assert torch.equal(values, two[name]), name
            else:
                np.testing.assert_array_equal(values, two[name], err_msg=name)


def test_seeds_give_different_skies_and_none_is_a_stores(survey):
    one, two = batches(survey, 1, seed=5)[0], batches(survey, 1, seed=6)[0]
    assert not np.intersect1d(one["ra"], two["ra"]).size
    stored = sky_room.population(Sky(objects=BATCH), survey, 5)
    assert not np.intersect1d(one["ra"], stored["ra"]).size


def test_twins_are_in_the_same_batch(survey):
    for batch in batches(survey, 3):
        twins = batch["group"][batch["kind"] == "twin"]
        assert len(twins) == np.unique(twins[twins >= 0]).size > 0
        for group in twins:
            kinds = batch["kind"][batch["group"] == group]
            assert sorted(kinds) == ["lens", "twin"]


def test_fractions_hold_over_many_small_batches(survey):
    """A kind whose share of a batch is below one half still comes, as often as it should."""
    sky = Sky(objects=6)
    drawn = ("lens", sky.lens_fraction, sky.negatives, NEGATIVES)
    kinds = np.concatenate([draw_kinds(sky.objects, *drawn, seed) for seed in range(1500)])
    weights = sky.negatives
    assert np.mean(kinds == "lens") == pytest.approx(0.4, abs=0.01)
    for kind in NEGATIVES:
        expected = 0.6 * weights[kind] / sum(weights.values())
        error = np.sqrt(expected / len(kinds))
        assert np.mean(kinds == kind) == pytest.approx(expected, abs=4 * error), kind


def test_theta_e_is_flat(survey):
    made = [sky_room.population(Sky(objects=64), survey, seed) for seed in range(8)]
    theta_e = np.concatenate([one["lens_theta_e"] for one in made])
    counts = np.histogram(theta_e[theta_e > 0], 5, (0.5, 3.0))[0]
    # Chi square with 4 degrees of freedom: 0.1% beyond 18.5.
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 18.5


def test_one_thread_or_two_draw_the_same(survey):
    torch.set_num_threads(2)
    two = batches(survey, 1)[0]
    torch.set_num_threads(1)
    assert torch.equal(two["image"], batches(survey, 1)[0]["image"])


def test_foreign_mocks_are_foreign_and_labelled(tmp_path, monkeypatch):
    """A few of each, by code that shares nothing with the simulated sky."""
    import ast
    import sys
    from pathlib import Path

    from astroml import store

    source = Path("tests/science/foreign.py")
    imported = [
        name
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(one.name for one in node.names)]
    ]
    assert not [name for name in imported if name and ("sky" in name or name == "torch")]
    monkeypatch.syspath_prepend(str(source.parent))
    foreign = __import__("foreign")
    foreign.write(tmp_path / "0.h5", lenses=3, negatives=6)
    sys.modules.pop("foreign")
    kept = store.open_store(tmp_path / "0.h5")
    objects, planes = kept.objects, kept.read(np.arange(9))
    assert objects["is_lens"].tolist() == [1] * 3 + [0] * 6
    assert kept.header.bands == ("g", "r", "i")
    assert (objects["arc_snr"][:3] > 12).all()
    assert (objects["theta_e"][:3] > 0.5).all()
    assert (objects["theta_e"][3:] == 0).all()
    corner = planes["image"][..., :8, :8] / planes["sigma"][..., None, None]
    assert 0.9 < np.median(corner.std((2, 3))) < 1.5
    middle = planes["image"][..., 28:36, 28:36].sum((2, 3))
    assert (middle / (8 * planes["sigma"]) > 5).all()
