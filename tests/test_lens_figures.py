"""The lens finder's own figures: what is drawn is what was planted."""

import numpy as np
import pytest

from astroml.report import charts
from astroml.tasks import lens
from astroml.tasks.lens.parameters import PARAMETERS

N = 6000
BIAS, SCATTER = 0.04, 0.08
"""Of theta_e, relative."""


def planted(seed=1, claimed=1.0):
    """Half of the objects are lenses; errors are claimed so many times too large."""
    rng = np.random.default_rng(seed)
    truth = {"is_lens": (np.arange(N) % 2).astype(int), "seeing": np.full(N, 0.8)}
    truth |= {"theta_e": rng.uniform(0.5, 3, N), "arc_snr": rng.uniform(10, 200, N)}
    log = rng.normal(np.log1p(BIAS), SCATTER, N)
    rows = {"theta_e": truth["theta_e"] * np.exp(log)}
    rows["theta_e_err"] = rows["theta_e"] * np.sinh(claimed * SCATTER)
    for name in [name for name in PARAMETERS if name != "theta_e"]:
        truth[name] = rng.normal(0, 0.2, N)
        # The larger a lens, the better it is measured.
        width = 0.2 / truth["theta_e"]
        rows[name] = truth[name] + 0.01 + width * rng.normal(size=N)
        rows[f"{name}_err"] = claimed * width
    return truth, rows


def by_title(truth, rows):
    return {panel.title: panel for panel in lens.panels(truth, rows)}


@pytest.fixture(scope="module")
def drawn():
    return by_title(*planted())


def test_all_are_there_and_can_be_drawn(drawn):
    assert list(drawn) == [
        "Einstein radius, measured against true",
        "Einstein radius: bias and scatter",
        "Ellipticity: bias and scatter",
        "External shear: bias and scatter",
        "Source position: bias and scatter",
        "Do the errors hold what they claim?",
    ]
    for panel in drawn.values():
        assert charts.drawn(panel)["light"].startswith("data:image/png")
        assert len(panel.text) > 40
        assert len(panel.alt) > 20


def test_only_detectable_lenses_are_drawn(drawn):
    truth, rows = planted()
    seen = lens.detectable(truth)
    data = drawn["Einstein radius, measured against true"].data
    assert 0 < seen.sum() < N / 2
    np.testing.assert_array_equal(data["x"], truth["theta_e"][seen])
    np.testing.assert_array_equal(data["y"], rows["theta_e"][seen])


def test_bias_and_scatter_are_those_planted(drawn):
    panel = drawn["Einstein radius: bias and scatter"]
    (x, bias, error), (_, width, width_error) = (
        panel.data["series"][name] for name in ("bias", "half-width")
    )
    assert (np.diff(x) > 0).all()
    assert (x[0] > 1.2, x[-1] < 3 / 0.8, len(x)) == (True, True, 6)
    assert (np.abs(bias - BIAS) < 4 * error).all()
    assert (np.abs(width - SCATTER * (1 + BIAS)) < 4 * width_error).all()
    assert (error < 0.02).all()
    assert panel.data["bands"] == [(-0.05, 0.05)]


def test_scatter_falls_with_size_and_the_truths_own_is_the_limit(drawn):
    series = drawn["Ellipticity: bias and scatter"].data["series"]
    assert list(series) == [
        "e1: bias", "e2: bias", "e1: half-width", "e2: half-width", "spread of the truth",
    ]  # fmt: skip
    x, width, error = series["e1: half-width"]
    assert (np.abs(width - 0.2 / (0.8 * x)) < 5 * error).all()
    np.testing.assert_allclose(series["spread of the truth"][1], 0.2, atol=0.01)
    assert "arcsec" in drawn["Source position: bias and scatter"].y_label
    assert "arcsec" not in drawn["External shear: bias and scatter"].y_label


def test_coverage_says_whether_errors_are_honest():
    title = "Do the errors hold what they claim?"
    for claimed in (1.0, 0.5, 2.0):
        truth, rows = planted(claimed=claimed)
        rows["theta_e"] = rows["theta_e"] / (1 + BIAS)
        rows["theta_e_err"] = rows["theta_e"] * np.sinh(claimed * SCATTER)
        series = dict(by_title(truth, rows)[title].data["series"])
        x, exact, none = series.pop("exact")
        assert none is None
        np.testing.assert_array_equal(x, exact)
        assert len(series) == 4
        for _, share, error in series.values():
            if claimed == 1:
                assert (np.abs(share - x) < 4 * error + 0.02).all()
            else:
                assert ((share - x)[3:-1] * (claimed - 1) > 0.03).all()


def test_what_is_not_known_is_not_drawn():
    truth, rows = planted()
    assert by_title({"is_lens": truth["is_lens"]}, rows) == {}
    few = {name: values[:60] for name, values in truth.items()}
    assert by_title(few, {name: values[:60] for name, values in rows.items()}) == {}
    few = {name: values[:100] for name, values in truth.items()}
    titles = list(by_title(few, {name: values[:100] for name, values in rows.items()}))
    assert titles == [
        "Einstein radius, measured against true", "Do the errors hold what they claim?",
    ]  # fmt: skip
    some = {name: values for name, values in rows.items() if not name.startswith("e")}
    titles = list(by_title(truth, some))
    assert len(titles) == 5
    assert not [title for title in titles if "Ellipticity" in title]
    blind = {name: values for name, values in truth.items() if name != "seeing"}
    assert list(by_title(blind, rows)) == [
        "Einstein radius, measured against true", "Do the errors hold what they claim?",
    ]  # fmt: skip
    truth["theta_e"][::3] = np.nan
    for panel in lens.panels(truth, rows):
        charts.drawn(panel)
