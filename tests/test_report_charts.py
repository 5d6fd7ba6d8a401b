"""Every kind of panel: what is drawn is what was given, in both schemes, with words."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from astroml.report import charts, figures, metrics, panels
from astroml.tasks import Panel

X = np.linspace(0, 1, 5)
RNG = np.random.default_rng(1)
DATA = {
    "density": {"x": RNG.random(500), "y": RNG.random(500)},
    "points": {
        "series": {"one": (X, X**2 - 0.3, X / 10 + 0.01), "line": (X, X, None)},
        "bands": [(-0.1, 0.2)],
    },
    "bars": {"edges": X, "counts": np.array([90, 110, 100, 140]), "expected": 110},
    "curves": {
        "series": dict.fromkeys("abcdef", (X, X * (1 - X))),
        "marks": {"truth": np.array([np.nan, 0.2, 0.3, 0.4, 0.5, 0.6])},
    },
    "lines": {"series": {name: (X + 0.1, X**at) for at, name in enumerate("abcdef")}, "log": True},
    "scatter": {"series": {name: (RNG.random(9), RNG.random(9)) for name in "abc"}},
}


def panel(kind, **changes):
    return Panel(kind, "A title", "What is seen", "A caption", "x [unit]", "y [unit]",
                 DATA[kind] | changes)  # fmt: skip


def figure_of(one, palette=figures.LIGHT):
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    draw = {"density": charts.draw_density, "points": charts.draw_points,
            "bars": charts.draw_bars, "curves": charts.draw_curves,
            "lines": charts.draw_lines, "scatter": charts.draw_scatter}[one.kind]  # fmt: skip
    draw(one)(figure, palette)
    figure.canvas.draw()
    return figure


@pytest.mark.parametrize("kind", DATA)
def test_every_kind_is_drawn_twice_with_its_words(kind):
    drawn = charts.drawn(panel(kind))
    assert (drawn["title"], drawn["alt"], drawn["text"]) == ("A title", "What is seen", "A caption")
    for scheme in ("light", "dark"):
        assert drawn[scheme].startswith("data:image/png;base64,")
    assert drawn["light"] != drawn["dark"]


@pytest.mark.parametrize("kind", DATA)
def test_axes_are_labelled(kind):
    figure = figure_of(panel(kind))
    if kind == "curves":
        assert (figure.get_supxlabel(), figure.get_supylabel()) == ("x [unit]", "y [unit]")
    else:
        assert figure.axes[0].get_xlabel() == "x [unit]"
        assert figure.axes[0].get_ylabel() == "y [unit]"


def test_legends_stay_within_the_figure():
    names = [f"source_{axis}: {what}" for axis in "xy" for what in ("bias", "half-width")]
    series = dict.fromkeys(names, (X, X, X / 10 + 0.01)) | {"spread of the truth": (X, X, None)}
    with rc_context({"font.size": 12, "figure.figsize": (6.4, 4.2)}):
        figure = figure_of(panel("points", series=series, bands=[]))
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert (box.x0 >= 0, box.x1 <= figure.bbox.x1) == (True, True)
    assert len(legend.get_texts()) == 5


def test_density_counts_every_object_on_equal_axes():
    x = np.append(RNG.normal(0.3, 0.02, 400), [2.0, np.nan, 0.3])
    y = np.append(RNG.normal(0.3, 0.02, 400), [0.1, 0.3, np.inf])
    axes, side = figure_of(panel("density", x=x, y=y)).axes
    (mesh,) = axes.collections
    counts = mesh.get_array()
    assert counts.sum() == 401
    assert axes.get_xlim() == axes.get_ylim()
    assert axes.get_aspect() == 1
    assert (axes.get_xlim()[0] < 0.1, axes.get_xlim()[1] > 2) == (True, True)
    # x runs along the columns: the object far to the right lies in the last one.
    filled = np.argwhere(counts.filled(0).reshape(mesh.get_coordinates().shape[0] - 1, -1))
    assert filled[:, 1].max() > 2 * filled[:, 0].max()
    assert side.get_ylabel() == "objects per bin"
    assert {"1", "2", "5"} <= {label.get_text() for label in side.get_yticklabels()}
    line = axes.lines[0]
    np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())


def test_density_of_nothing_or_one_is_drawn():
    for values in (np.zeros(0), np.array([0.3]), np.array([np.nan])):
        charts.drawn(panel("density", x=values, y=values))


def test_points_have_errors_bands_and_names():
    figure = figure_of(panel("points"))
    axes = figure.axes[0]
    (bar,) = axes.containers
    np.testing.assert_allclose(bar.lines[0].get_ydata(), X**2 - 0.3)
    ends = bar.lines[2][0].get_segments()
    np.testing.assert_allclose([end[1, 1] - end[0, 1] for end in ends], 2 * (X / 10 + 0.01))
    (band,) = axes.patches
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((-0.1, 0.2))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["line", "one"]
    zero = [line for line in axes.lines if np.all(np.asarray(line.get_ydata()) == 0)]
    assert len(zero) == 1


def test_points_without_bands_have_no_zero_line():
    axes = figure_of(panel("points", bands=[])).axes[0]
    assert not axes.patches
    assert not [line for line in axes.lines if np.all(np.asarray(line.get_ydata()) == 0)]


def test_many_series_and_empty_ones_are_told_apart():
    values = (X, X, X)
    names = [f"s{k}" for k in range(6)]
    series = dict.fromkeys(names, values) | {"none": (X[:0], X[:0], X[:0])}
    figure = figure_of(panel("points", series=series))
    looks = {
        (bar.lines[0].get_color(), bar.lines[0].get_marker(), bar.lines[0].get_linestyle())
        for bar in figure.axes[0].containers
    }
    assert len(looks) >= 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    charts.drawn(panel("points", series={}))


def test_bars_show_what_chance_makes_of_the_level():
    axes = figure_of(panel("bars")).axes[0]
    spans = sorted(
        (patch.get_y(), patch.get_y() + patch.get_height())
        for patch in axes.patches
        if hasattr(patch, "get_height")
    )
    (low_95, high_95), (low_68, high_68) = spans
    # Poisson of mean 110: sigma is 10.5.
    assert high_68 - low_68 == pytest.approx(2 * 10.5, abs=1.5)
    assert high_95 - low_95 == pytest.approx(2 * 1.96 * 10.5, abs=2)
    assert low_95 < low_68 < 110 < high_68 < high_95
    assert axes.get_ylim()[0] == 0
    bare = figure_of(panel("bars", expected=None))
    assert not bare.legends
    assert not [patch for patch in bare.axes[0].patches if hasattr(patch, "get_height")]


def test_curves_stand_each_alone_with_its_mark():
    figure = figure_of(panel("curves"))
    assert [axes.get_title() for axes in figure.axes] == list("abcdef")
    marks = [[line.get_xdata()[0] for line in axes.lines[1:]] for axes in figure.axes]
    assert marks == [[], [0.2], [0.3], [0.4], [0.5], [0.6]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["truth"]
    lone = figure_of(panel("curves", series={"a": (X, X)}, marks={}))
    assert sum(axes.get_visible() for axes in lone.axes) == 1
    assert not lone.legends


TASK = SimpleNamespace(
    METRICS={"bias": ("Bias", "How far off."), "eta_*": ("Outliers, *", "Far off.")},
    AXES={"zspec": "z_spec"},
)


def one(value=0.1):
    return {"value": value, "error": 0.01}


def test_bins_are_known_by_two_numbers_at_the_end():
    names = ["bias", "eta_005", "coverage_68", "tpr_at_fpr_1e-2", "fpr_ring", "pit_ks"]
    binned = ["bias_zspec_0.10_0.15", "eta_005_mag_17_17.5", "bias_b_-1.5_2"]
    every = {name: one() for name in names + binned}
    assert list(metrics.headlines(every)) == names
    tables = metrics.tables(TASK, every)
    assert [table["axis"] for table in tables] == ["z_spec", "mag", "b"]
    assert [table["columns"] for table in tables] == [["Bias"], ["Outliers, 005"], ["Bias"]]
    assert tables[2]["rows"] == [("-1.5 to 2", [one()])]


def test_bins_stand_in_order_and_gaps_are_empty():
    every = {
        "bias_zspec_10_20": one(3),
        "bias_zspec_2_10": one(2),
        "odd_thing_zspec_2_10": one(5),
        "bias": one(),
    }
    (table,) = metrics.tables(TASK, every)
    assert table["columns"] == ["Bias", "odd_thing"]
    assert table["rows"] == [("2 to 10", [one(2), one(5)]), ("10 to 20", [one(3), None])]
    assert metrics.tables(TASK, {"bias": one()}) == []


def test_the_longest_known_metric_names_the_column():
    plain = {"sigma_mad": 1, "sigma": 1, "sigma_mad_knn": 1}
    assert metrics.parted("sigma_mad_z_phot", plain) == ("sigma_mad", "z_phot")
    assert metrics.parted("sigma_mad_knn_z", plain) == ("sigma_mad_knn", "z")
    assert metrics.parted("other_thing_z", plain) == ("other_thing", "z")
    assert metrics.parted("n", plain) == ("n", "")


def test_lines_are_all_there_and_on_the_axis_asked_for():
    axes = figure_of(panel("lines")).axes[0]
    assert [line.get_label() for line in axes.get_lines()] == list("abcdef")
    for line, (x, y) in zip(axes.get_lines(), DATA["lines"]["series"].values()):
        assert np.array_equal(line.get_xdata(), x)
        assert np.array_equal(line.get_ydata(), y)
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}
    assert len(looks) == 6
    assert axes.get_xscale() == "log"
    assert figure_of(panel("lines", log=False)).axes[0].get_xscale() == "linear"


def test_dots_lie_where_they_are_and_say_how_many():
    axes = figure_of(panel("scatter")).axes[0]
    for dots, (name, pair) in zip(axes.collections, DATA["scatter"]["series"].items()):
        assert np.allclose(dots.get_offsets(), np.stack(pair, 1))
        assert dots.get_label() == f"{name} (9)"


def test_a_figure_without_a_point_is_left_out():
    def panel(*series):
        found = {str(at): one for at, one in enumerate(series)}
        return Panel("points", "", "", "", "", "", {"series": found})

    line, none, some = ([0, 1], [0, 1], None), ([], [], []), ([1], [2], [0.1])
    assert not panels.measured(panel(line, none))
    assert panels.measured(panel(line, none, some))
    assert panels.measured(panel(line))
    assert panels.measured(Panel("bars", "", "", "", "", "", {}))
