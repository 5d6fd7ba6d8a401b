"""Figures of the page, each drawn twice: for light and for dark screens."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator, StrMethodFormatter


@dataclass(frozen=True)
class Palette:
    """Colours of one scheme; the three that carry meaning differ for the colour-blind."""

    ink: str
    paper: str
    grid: str
    yes: str
    no: str
    third: str


LIGHT = Palette("#1c2024", "#ffffff", "#d9dde2", "#c4500a", "#0b6fb0", "#0a7f5c")
DARK = Palette("#e6e8ea", "#1b1f24", "#3a4149", "#ff9d57", "#62b8f0", "#4fd1a5")


def picture(draw: Callable, title: str, alt: str, text: str = "", size=(6.4, 4.2)) -> dict:
    """Draw a figure for both schemes.

    Parameters
    ----------
    draw : callable
        ``draw(figure, palette)``.
    title, alt, text : str
        Heading, what a reader who cannot see it must know, and the caption.
    size : tuple
        inch

    Returns
    -------
    dict
        title, alt, text, and ``light`` and ``dark`` as data URIs.
    """
    return {
        "title": title,
        "alt": alt,
        "text": text,
        **{name: _render(draw, palette, size) for name, palette in SCHEMES.items()},
    }


SCHEMES = {"light": LIGHT, "dark": DARK}


def _render(draw: Callable, palette: Palette, size: tuple[float, float]) -> str:
    style = {
        "font.size": 12,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "lines.linewidth": 2,
        "legend.frameon": False,
        **{f"axes.{name}": palette.ink for name in ("edgecolor", "labelcolor", "titlecolor")},
        **dict.fromkeys(("text.color", "xtick.color", "ytick.color"), palette.ink),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor"), palette.paper),
        "grid.color": palette.grid,
    }
    with rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure, palette)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def wilson(hits, trials) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return share, and distance to the lower and upper end of its 68% interval (Wilson 1927)."""
    hits, trials = np.asarray(hits, float), np.maximum(np.asarray(trials, float), 1e-9)
    share = hits / trials
    centre = (share + 0.5 / trials) / (1 + 1 / trials)
    half = np.sqrt(share * (1 - share) / trials + 0.25 / trials**2) / (1 + 1 / trials)
    return share, np.maximum(share - centre + half, 0), np.maximum(centre + half - share, 0)


def roc(truth: np.ndarray, score: np.ndarray, seed: int = 1, draws: int = 100):
    """Return false- and true-positive rate, and the 68% band of the latter from resampling."""
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(truth, score)
    rng, bands = np.random.default_rng(seed), []
    for _ in range(draws):
        pick = rng.integers(0, len(truth), len(truth))
        if 0 < truth[pick].sum() < len(truth):
            x, y, _ = roc_curve(truth[pick], score[pick])
            # The best rate allowed at each false-positive rate: a step, not a slope.
            bands.append(y[np.searchsorted(x, fpr, side="right") - 1])
    low, high = np.quantile(bands, [0.16, 0.84], axis=0) if bands else (tpr, tpr)
    return fpr, tpr, low, high


def draw_roc(truth: np.ndarray, scores: dict[str, np.ndarray]) -> Callable:
    """Completeness against the false-positive rate, on the log axis where surveys live."""
    curves = {name: roc(truth, score) for name, score in scores.items()}
    negatives = int((truth == 0).sum())
    floor = 0.5 / negatives

    def draw(figure: Figure, palette: Palette) -> None:
        axes: Axes = figure.subplots()
        axes.axvspan(floor, 1 / negatives, color=palette.grid, lw=0)
        looks = zip((palette.yes, palette.no, palette.third), ("-", "--", "-."))
        for (name, (fpr, tpr, low, high)), (colour, dash) in zip(curves.items(), looks):
            x = np.maximum(fpr, floor)
            axes.fill_between(x, low, high, step="post", color=colour, alpha=0.25, lw=0)
            axes.step(x, tpr, where="post", color=colour, ls=dash, label=name)
        chance = np.geomspace(floor, 1, 100)
        axes.plot(chance, chance, ":", color=palette.ink, lw=1.2, label="chance")
        axes.set(xscale="log", xlim=(floor, 1), ylim=(0, 1.02))
        axes.set(xlabel="false-positive rate", ylabel="completeness (true-positive rate)")
        axes.grid(True, which="major")
        figure.legend(loc="outside upper center", ncols=3)

    return draw


def draw_purity(truth: np.ndarray, score: np.ndarray, shares: dict[str, float]) -> Callable:
    """Purity against completeness, at shares of positives that the sky may have.

    Purity is p TPR / (p TPR + (1 - p) FPR) at a share p; where not one negative is left it is not
    known, and the line ends.
    """
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    known = (fpr > 0) & (tpr > 0)
    fpr, tpr = fpr[known], tpr[known]
    lines = {name: p * tpr / (p * tpr + (1 - p) * fpr) for name, p in shares.items()}

    def draw(figure: Figure, palette: Palette) -> None:
        axes: Axes = figure.subplots()
        looks = zip((palette.yes, palette.no, palette.third), ("-", "--", "-."))
        for (name, line), (colour, dash) in zip(lines.items(), looks):
            axes.plot(tpr, line, color=colour, ls=dash, label=name)
        axes.set(xlabel="completeness", ylabel="purity", yscale="log", xlim=(0, 1.02))
        axes.set_ylim(None, 1.3)
        axes.grid(True)
        figure.legend(loc="outside upper center", ncols=2)

    return draw


def draw_calibration(before: np.ndarray, after: np.ndarray) -> Callable:
    """PIT of the validation split before and after calibration, and what chance makes of flat."""
    from scipy.stats import poisson

    edges, level = np.linspace(0, 1, len(after) + 1), np.sum(after) / len(after)

    def draw(figure: Figure, palette: Palette) -> None:
        axes: Axes = figure.subplots()
        low, high = poisson.interval(0.95, level)
        axes.axhspan(low, high, color=palette.grid, lw=0, label="95% of chance")
        axes.axhline(level, color=palette.ink, lw=1, ls=":")
        axes.stairs(before, edges, color=palette.yes, lw=2, ls="--", label="before")
        axes.stairs(after, edges, color=palette.no, lw=2, label="after")
        axes.set(xlabel="PIT", ylabel="objects of the validation split", xlim=(0, 1))
        axes.set_ylim(0, None)
        figure.legend(loc="outside upper center", ncols=3)

    return draw


def draw_reliability(truth: np.ndarray, prob: np.ndarray) -> Callable:
    """Share of positives against the stated probability, with the numbers below."""
    bins = np.minimum((prob * 10).astype(int), 9)
    total = np.bincount(bins, minlength=10)
    used = total > 0
    mean = np.bincount(bins, prob, minlength=10)[used] / total[used]
    share, below, above = wilson(np.bincount(bins, truth, minlength=10)[used], total[used])

    def draw(figure: Figure, palette: Palette) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        top.plot([0, 1], [0, 1], ":", color=palette.ink, lw=1.2, label="perfect")
        top.errorbar(
            mean, share, (below, above), fmt="o", color=palette.yes, capsize=3, label="measured"
        )
        top.set(ylabel="share of positives", xlim=(0, 1), ylim=(-0.02, 1.02))
        top.grid(True)
        top.legend(loc="upper left")
        bottom.bar(np.arange(10) / 10 + 0.05, total, 0.092, color=palette.no)
        bottom.set(xlabel="stated probability", ylabel="objects", yscale="log")
        bottom.set_ylim(0.5, None)

    return draw


def draw_histograms(samples: dict[str, np.ndarray], label: str, mark: float | None = None):
    """Return a figure of the share of each sample per bin of a score, on a log axis."""
    values = np.concatenate(list(samples.values()))
    inside = len(values) == 0 or (values.min() >= 0 and values.max() <= 1)
    edges = np.linspace(0, 1, 26) if inside else np.histogram_bin_edges(values, 25)
    counts = {name: np.histogram(one, edges)[0] for name, one in samples.items()}
    fewest = min((1 / max(len(one), 1) for one in samples.values()), default=1e-3)

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        looks = zip((palette.yes, palette.no, palette.third), ("-", "--", "-."))
        for (name, count), (colour, dash) in zip(counts.items(), looks):
            total = max(count.sum(), 1)
            axes.stairs(
                count / total, edges, color=colour, ls=dash, lw=2, label=f"{name} ({total:,})"
            )
            axes.stairs(count / total, edges, color=colour, fill=True, alpha=0.15)
        if mark is not None:
            axes.axvline(mark, color=palette.ink, lw=1.2, ls=":")
        axes.set(xlabel=label, ylabel="share of objects per bin", yscale="log")
        axes.set_ylim(fewest / 2, 1.3)
        axes.grid(True, axis="y")
        axes.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.16))

    return draw


def draw_loss(history: list[dict], kept: int | None = None) -> Callable:
    """Training and validation loss against epoch; the epoch kept (from 1) is marked."""
    curves = {name: [line.get(name) for line in history] for name in history[0]}
    curves = {
        name: np.array([np.nan if one is None else one for one in line], float)
        for name, line in curves.items()
        if name.startswith(("train", "val"))
    }

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        epochs = np.arange(1, len(history) + 1)
        alone = sum(name.startswith("train") for name in curves) == 1
        looks = cycle((palette.no, palette.third, palette.ink))
        marks = cycle(".sv^Dx+*")
        for name, line in curves.items():
            val = name.startswith("val")
            colour = palette.yes if val else next(looks)
            mark = "." if val else next(marks)
            text = "validation" if val else "train" if alone else name.replace("_", ", part ")
            axes.plot(epochs, line, "-" if val else "--", color=colour, label=text, marker=mark)
            if val and np.isfinite(line).any():
                best = kept - 1 if kept else int(np.nanargmin(line))
                axes.plot(epochs[best], line[best], "o", ms=10, mfc="none", color=colour)
        axes.set(xlabel="epoch", ylabel="loss")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(True)
        if len(curves) > 4:
            figure.legend(loc="outside lower center", ncols=3, fontsize=9)
        else:
            axes.legend()

    return draw


def draw_kinds(kinds: np.ndarray, passed: np.ndarray, threshold: str) -> Callable:
    """Share of each kind of negative that passes, with its 68% interval."""
    names, back = np.unique(kinds, return_inverse=True)
    total = np.bincount(back, minlength=len(names))
    share, below, above = wilson(np.bincount(back, passed, minlength=len(names)), total)
    order = np.argsort(share, kind="stable")

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        places = np.arange(len(names))
        axes.errorbar(
            share[order], places, xerr=(below[order], above[order]), fmt="o", color=palette.no,
            capsize=3,
        )  # fmt: skip
        axes.set_yticks(places, [f"{names[one]} ({total[one]})".replace("_", "-") for one in order])
        axes.set(xlabel=f"false-positive rate at {threshold}")
        axes.set_xlim(0, None)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.grid(True, axis="x")

    return draw


def draw_completeness(values: np.ndarray, passed: dict[str, np.ndarray], label: str) -> Callable:
    """Share of positives found against a physical quantity, in bins of equal numbers."""
    bins = int(np.clip(len(values) // 12, 2, 8))
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    total = np.bincount(place, minlength=len(edges) - 1)
    skewed = edges[0] > 0 and edges[-1] > 10 * edges[0]
    centre = np.sqrt(edges[1:] * edges[:-1]) if skewed else (edges[1:] + edges[:-1]) / 2

    def draw(figure: Figure, palette: Palette) -> None:
        axes = figure.subplots()
        looks = zip((palette.yes, palette.no), ("o", "s"), (-0.006, 0.006))
        for (name, hits), (colour, marker, aside) in zip(passed.items(), looks):
            share, below, above = wilson(np.bincount(place, hits, minlength=len(total)), total)
            ratio = (edges[-1] / edges[0]) ** aside if skewed else 1
            x = centre * ratio if skewed else centre + aside * np.ptp(edges)
            axes.errorbar(x, share, (below, above), fmt=marker, color=colour, capsize=3, label=name)
        if skewed:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            minor = LogFormatter(labelOnlyBase=False, minor_thresholds=(1.5, 0.7))
            axes.xaxis.set_minor_formatter(minor)
        axes.set(xlabel=label, ylabel="completeness", ylim=(-0.03, 1.03))
        axes.grid(True)
        axes.legend(loc="best")

    return draw
