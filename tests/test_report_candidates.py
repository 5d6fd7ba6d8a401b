"""The table of candidates, its links, and the p(z) below a cutout."""

import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from astroml.report import candidates, charts, figures, panels, redshifts
from astroml.report.viewers import VIEWERS, links
from astroml.tasks import Column


@pytest.mark.parametrize(("ra", "dec"), [(359.999, -89.5), (0.0, 12.25), (150.1, 2.2)])
def test_every_viewer_is_sent_to_the_place(ra, dec):
    found = dict(links(ra, dec, 20.0))
    assert list(found) == list(VIEWERS)
    for name, address in found.items():
        parts = urlsplit(address)
        assert parts.scheme == "https"
        query = {key: value[0] for key, value in parse_qs(parts.query).items()}
        if name == "Legacy":
            place = [query["ra"], query["dec"]]
        else:
            words = query.get("target") or query.get("Coord") or query["coordinates"]
            place = words.replace("d", "").split()
        np.testing.assert_allclose([float(one) for one in place], [ra, dec], atol=1e-6)
    assert parse_qs(urlsplit(found["SIMBAD"]).query)["Radius"] == ["10.0"]


def test_no_place_no_links():
    assert links(np.nan, 1.0, 20.0) == links(1.0, np.nan, 20.0) == links(1.0, 91.0, 20.0) == []
    assert "ra=359.000000&" in links(-1.0, 0.0, 20.0)[0][1]


def made(column, n, **more):
    """Return a task's evidence as the table asks for it."""
    rng = np.random.default_rng(2)
    rows = {"object_id": np.arange(n) + 2**60, "ra": np.full(n, 10.0), "dec": np.full(n, -1.0)}
    rows |= {column: rng.random(n), "flags": np.zeros(n, np.int32)} | more
    told = (Column(column, "float32", "arcsec", "", "What it is"),)
    task = SimpleNamespace(COLUMNS=told, SET="galaxy")
    run = SimpleNamespace(store=lambda *names: None, catalogs=Path("c/run"))
    return SimpleNamespace(
        rows=lambda: rows, column=column, ranks=column.endswith("_prob"), task=task, run=run,
        name="lens",
    )  # fmt: skip


def test_the_best_come_first_and_all_that_is_known_is_there():
    flags = np.zeros(300, np.int32)
    evidence = made("lens_prob", 300, flags=flags)
    rows = evidence.rows()
    rows["lens_prob"][5] = np.nan
    best = np.nanargmax(rows["lens_prob"])
    flags[best] = 2 | 128
    table = candidates.table(evidence)
    assert len(table["rows"]) == candidates.ROWS
    assert "100 rows of 300 with the highest lens_prob" in table["text"]
    assert "c/run/lens.parquet" in table["text"]
    names = [one["name"] for one in table["columns"]]
    assert names == ["object_id", "ra", "dec", "lens_prob", "flags"]
    first = dict(zip(names, table["rows"][0]["cells"]))
    assert first["object_id"]["text"] == str(best + 2**60)
    assert first["flags"]["text"] == "masked, trained"
    assert float(first["lens_prob"]["key"]) == rows["lens_prob"][best]
    values = [float(row["cells"][3]["key"]) for row in table["rows"]]
    assert values == sorted(values, reverse=True)
    assert len(table["rows"][0]["links"]) == len(VIEWERS)


def test_of_a_quantity_rows_at_even_steps():
    table = candidates.table(made("z_phot", 300))
    values = [float(row["cells"][3]["key"]) for row in table["rows"]]
    assert values == sorted(values)
    assert "at even steps" in table["text"]
    small = candidates.table(made("z_phot", 3, z_phot=np.array([0.3, np.nan, 0.1])))
    assert [row["cells"][3]["text"] for row in small["rows"]] == ["0.1000", "0.3000"]
    assert candidates.table(made("z_phot", 0)) is None


def gaussian(centre, grid, width=0.03):
    return np.exp(-0.5 * ((grid - centre) / width) ** 2)


def test_a_density_is_drawn_where_it_lies():
    grid = np.linspace(0.005, 0.995, 100)
    pz = np.stack([gaussian(0.2, grid), gaussian(0.4, grid), np.zeros(100)])
    rows = {"pz": pz, "pz_first": np.full(3, 0.005), "pz_step": np.full(3, 0.01)}
    drawn = redshifts.drawings(rows, np.array([0.25, np.nan, np.nan]))
    assert len(drawn) == 3
    said = [re.search(r"median ([\d.a-z]+)", one)[1] for one in drawn]
    np.testing.assert_allclose([float(one) for one in said[:2]], [0.2, 0.4], atol=0.01)
    assert "truth 0.250" in drawn[0]
    assert 'class="truth"' not in drawn[1]
    assert '<line class="median"' not in drawn[2]
    # One axis for all, as long as the farthest needs: 0.4 + 3 sigma, up to the next tenth.
    ends = {re.search(r'anchor="end">([\d.]+)<', one)[1] for one in drawn}
    assert ends == {"0.5"}
    at = [float(re.search(r'class="median" x1="([\d.]+)"', one)[1]) for one in drawn[:2]]
    np.testing.assert_allclose(at, [4 + 112 * z / 0.5 for z in (0.2, 0.4)], atol=2)
    assert redshifts.drawings({"pz": pz}, np.zeros(3)) == []


def test_the_median_splits_the_density_in_halves():
    grid = np.linspace(0, 1, 2001)
    assert redshifts.median(grid, np.ones(2001)) == pytest.approx(0.5, abs=1e-3)
    assert redshifts.median(grid, gaussian(0.3, grid)) == pytest.approx(0.3, abs=1e-3)
    assert np.isnan(redshifts.median(grid, np.zeros(2001)))


def test_purity_falls_with_the_share_of_positives():
    from matplotlib.figure import Figure

    truth = np.repeat([1, 0], [100, 900])
    score = np.concatenate([np.linspace(0.5, 1, 100), np.linspace(0, 0.6, 900)])
    figure = Figure()
    figures.draw_purity(truth, score, {"own": 0.1, "sky": 1e-3})(figure, figures.LIGHT)
    own, sky = figure.axes[0].lines
    assert (own.get_ydata() > sky.get_ydata())[:-1].all()
    # At the sample's own share it is what passes above each threshold.
    cut = 0.55
    passed = score >= cut
    at = np.argmin(np.abs(own.get_xdata() - (passed & (truth == 1)).sum() / 100))
    assert own.get_ydata()[at] == pytest.approx(truth[passed].mean(), abs=0.02)
    # All positives and all negatives pass at the end: purity is the share itself.
    assert sky.get_ydata()[-1] == pytest.approx(1e-3)


def test_calibration_shows_both_histograms():
    from matplotlib.figure import Figure

    figure = Figure()
    before, after = np.array([50, 10, 10, 50]), np.array([29, 31, 30, 30])
    figures.draw_calibration(before, after)(figure, figures.LIGHT)
    axes = figure.axes[0]
    drawn = {one.get_label(): one.get_data().values for one in axes.patches if
             one.get_label() in ("before", "after")}  # fmt: skip
    np.testing.assert_array_equal(drawn["before"], before)
    np.testing.assert_array_equal(drawn["after"], after)
    assert axes.lines[0].get_ydata()[0] == 30


def test_completeness_and_purity_against_magnitude(monkeypatch):
    rng = np.random.default_rng(4)
    mag = rng.uniform(18, 22, 4000)
    yes = rng.random(4000) < 0.5
    # All positives brighter than 20 are found, half of the others; one negative in ten passes.
    passed = np.where(yes, (mag < 20) | (rng.random(4000) < 0.5), rng.random(4000) < 0.1)
    rows = {"flux_r": 10 ** (0.4 * (31.4 - mag)), "mw_transmission_r": np.ones(4000)}
    rows["flux_r"][:7] = [-1, 0, np.nan, np.nan, -3, 0, -1]
    seen = []
    monkeypatch.setattr(charts, "drawn", lambda panel: seen.append(panel) or {})
    evidence = SimpleNamespace(column="lens_prob")
    assert panels.magnitude_figures(evidence, rows, passed * 1.0, yes) == [{}]
    (panel,) = seen
    x, share, error = panel.data["series"]["completeness"]
    assert x.min() > 18
    away = np.abs(x - 20) > 0.4  # one bin lies across the step
    expected = np.where(x < 20, 1, 0.5)
    assert (np.abs(share - expected) <= 4 * error)[away].all()
    x, share, error = panel.data["series"]["purity of what passes"]
    expected, away = np.where(x < 20, 1 / 1.1, 0.5 / 0.6), np.abs(x - 20) > 0.4
    assert (np.abs(share - expected) <= 4 * error)[away].all()
    assert panel.x_label.endswith("in r [AB mag]")
    assert panels.magnitude_figures(evidence, {"flux_r": mag}, passed * 1.0, yes) == []
