"""Figures that tasks ask for as numbers: one way to draw for each kind of ``tasks.Panel``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from astroml.report.figures import Palette, picture
from astroml.tasks import Panel


def drawn(panel: Panel) -> dict:
    """Draw a task's panel for both schemes; see ``figures.picture``."""
    draw, size = {
        "density": (draw_density, (6.4, 5.4)),
        "points": (draw_points, (6.4, 4.2)),
        "bars": (draw_bars, (6.4, 4.2)),
        "curves": (draw_curves, (6.4, 4.6)),
        "lines": (draw_lines, (6.4, 4.4)),
        "scatter": (draw_scatter, (6.4, 5.4)),
    }[panel.kind]
    return picture(draw(panel), panel.title, panel.alt, panel.text, size)


LONG = 22
"""Letters of the longest name in a legend of three columns."""

FAINT = 0.35
"""Weight of the colour of what is drawn only to be compared with."""

MANY = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#b8a800", "#8c8c8c")
"""Colours of many series that the colour-blind tell apart, on white and on black (Okabe & Ito)."""


def mixed(one: str, other: str, share: float) -> tuple[float, ...]:
    """Return a colour between two, nearer to ``one`` the larger its share."""
    return tuple(share * a + (1 - share) * b for a, b in zip(to_rgb(one), to_rgb(other)))


def draw_density(panel: Panel) -> Callable:
    """Counts of objects over two quantities of the same kind, and where both are equal."""
    x, y = (np.asarray(panel.data[name], float) for name in ("x", "y"))
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    # The whole range: the few that are far off are what an expert looks for.
    low, high = (min(x.min(), y.min()), max(x.max(), y.max())) if len(x) else (0.0, 1.0)
    edge = 0.02 * (high - low or 1.0)
    low, high = low - edge, high + edge
    bins = int(np.clip(np.sqrt(len(x)) * 1.5, 30, 110))
    counts, edges, _ = np.histogram2d(x, y, bins, [[low, high]] * 2)

    def draw(figure: Figure, palette: Palette) -> None:
        axes: Axes = figure.subplots()
        faint = mixed(palette.no, palette.paper, 0.35)
        colours = LinearSegmentedColormap.from_list("counts", [faint, palette.no, palette.ink])
        shown = np.ma.masked_equal(counts.T, 0)
        scale = LogNorm(1, max(counts.max(), 2))
        mesh = axes.pcolormesh(edges, edges, shown, cmap=colours, norm=scale)
        axes.plot([low, high], [low, high], "--", color=palette.yes, lw=1.3, label="equal")
        axes.set(xlabel=panel.x_label, ylabel=panel.y_label, xlim=(low, high), ylim=(low, high))
        axes.set_aspect("equal")
        axes.grid(True)
        figure.legend(loc="outside upper center")
        side = figure.colorbar(mesh, ax=axes, label="objects per bin")
        side.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        side.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        side.ax.yaxis.set_minor_formatter(NullFormatter())
        side.outline.set_visible(False)

    return draw


def draw_points(panel: Panel) -> Callable:
    """Values with errors, each series joined by a line; without errors a line to compare with."""
    series = {
        name: tuple(None if one is None else np.asarray(one, float) for one in values)
        for name, values in panel.data["series"].items()
        if len(values[0])
    }
    bands = panel.data.get("bands") or []
    places = [x for x, _, _ in series.values()]
    width = np.ptp(np.concatenate(places)) if places else 0.0

    def draw(figure: Figure, palette: Palette) -> None:
        axes: Axes = figure.subplots()
        for low, high in bands:
            axes.axhspan(low, high, color=palette.grid, alpha=0.6, lw=0)
            if low < 0 < high:
                axes.axhline(0, color=palette.ink, lw=1)
        colours = cycle((palette.yes, palette.no, palette.third, palette.ink))
        looks = zip(colours, cycle("os^D"), cycle(("-", "--", "-.", ":")))
        aside = 0.0
        for name, (x, y, error) in series.items():
            if error is None or not np.any(error):
                axes.plot(x, y, ":", color=palette.ink, lw=1.4, label=name)
                continue
            colour, marker, dash = next(looks)
            axes.errorbar(
                x + aside, y, error, color=colour, marker=marker, ms=5, ls=dash, lw=1.5,
                elinewidth=1.2, capsize=2.5, label=name,
            )  # fmt: skip
            aside += 0.004 * width  # error bars at the same place would hide each other
        axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
        axes.grid(True)
        if len(series) > 1:
            # Long names beside each other would run out of the figure.
            columns = 3 if sum(sorted(map(len, series))[-3:]) < 36 else 2
            figure.legend(loc="outside upper center", ncols=min(len(series), columns))

    return draw


def draw_bars(panel: Panel) -> Callable:
    """A histogram; where a level is expected, what chance alone would make of it."""
    from scipy.stats import poisson

    edges, counts = (np.asarray(panel.data[name], float) for name in ("edges", "counts"))
    expected = panel.data.get("expected")

    def draw(figure: Figure, palette: Palette) -> None:
        axes: Axes = figure.subplots()
        filled = 0.55 if expected is None else 0.2
        axes.stairs(counts, edges, fill=True, color=palette.no, alpha=filled)
        axes.stairs(counts, edges, color=palette.no, lw=2, zorder=3)
        if expected is not None:
            for level, alpha in ((0.95, 0.15), (0.68, 0.25)):
                low, high = poisson.interval(level, expected)
                text = f"{100 * level:.0f}% of chance"
                axes.axhspan(low, high, color=palette.yes, alpha=alpha, lw=0, label=text)
            axes.axhline(expected, color=palette.yes, lw=1.6, label="expected")
            figure.legend(loc="outside upper center", ncols=3)
        axes.set(xlabel=panel.x_label, ylabel=panel.y_label, xlim=(edges[0], edges[-1]))
        axes.set_ylim(0, None)
        axes.grid(True, axis="y")

    return draw


def draw_curves(panel: Panel) -> Callable:
    """One small figure per curve, on the same x, with vertical lines at what is marked."""
    series, marks = panel.data["series"], panel.data.get("marks") or {}
    columns = 2 if len(series) <= 4 else 3
    rows = -(-len(series) // columns)

    def draw(figure: Figure, palette: Palette) -> None:
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
        named = set()
        for at, (axes, (name, (x, y))) in enumerate(zip(grid, series.items())):
            axes.fill_between(x, y, color=palette.no, alpha=0.3, lw=0)
            axes.plot(x, y, color=palette.no, lw=1.4)
            looks = zip(cycle((palette.yes, palette.third)), cycle(("-", "--")))
            for (text, places), (colour, dash) in zip(marks.items(), looks):
                if np.isfinite(places[at]):
                    label = None if text in named else text
                    axes.axvline(places[at], color=colour, ls=dash, lw=1.6, label=label)
                    named.add(text)
            axes.set_title(name, fontsize=10)
            axes.set_ylim(0, None)
            axes.set_yticks([])
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.tick_params(labelsize=10)
        for axes in grid[len(series) :]:
            axes.set_visible(False)
        figure.supxlabel(panel.x_label, fontsize=12)
        figure.supylabel(panel.y_label, fontsize=12)
        if named:
            figure.legend(loc="outside upper center", ncols=3)

    return draw


def draw_lines(panel: Panel) -> Callable:
    """Plain lines, many of them: the first is the thickest; on a logarithmic x where asked for."""
    series = panel.data["series"]

    def draw(figure: Figure, palette: Palette) -> None:
        axes: Axes = figure.subplots()
        looks = zip(cycle((palette.yes, *MANY)), cycle(("-", "-", "--", "-.", ":")))
        for at, ((name, (x, y)), (colour, dash)) in enumerate(zip(series.items(), looks)):
            axes.plot(x, y, ls=dash, color=colour, lw=2.4 if at == 0 else 1.5, label=name)
        if panel.data.get("log"):
            axes.set_xscale("log")
        axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
        axes.grid(True)
        # Three long names side by side are wider than the figure.
        columns = min(2 if max(map(len, series)) > LONG else 3, len(series))
        figure.legend(loc="outside upper center", ncols=columns, fontsize=10)

    return draw


def draw_scatter(panel: Panel) -> Callable:
    """Dots, a colour for each series; the first is faint, behind the others."""
    series = {
        name: tuple(np.asarray(one, float) for one in values)
        for name, values in panel.data["series"].items()
    }

    def draw(figure: Figure, palette: Palette) -> None:
        axes: Axes = figure.subplots()
        looks = zip(cycle(MANY), cycle("os^Dv<>p"))
        for at, (name, (x, y)) in enumerate(series.items()):
            # As many dots as there may be, they leave each other room.
            area = float(np.clip(4000 / max(len(x), 1), 2, 30))
            label = f"{name} ({len(x):,})"
            if at == 0:
                colour = mixed(palette.ink, palette.paper, FAINT)
                axes.scatter(x, y, s=area, color=colour, lw=0, label=label)
                continue
            colour, marker = next(looks)
            axes.scatter(
                x, y, s=max(area, 14), color=colour, marker=marker, lw=0.4, ec=palette.ink,
                label=label,
            )  # fmt: skip
        axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
        axes.grid(True)
        figure.legend(loc="outside upper center", ncols=min(3, len(series)), fontsize=10)

    return draw
