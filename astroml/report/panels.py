"""Which figures a task gets: those any task has, those its labels allow, those it asks for."""

from __future__ import annotations

import numpy as np

from astroml.report import charts, figures
from astroml.report.gather import Evidence
from astroml.tasks import Panel

AB_NJY = 31.4
"""AB magnitude of 1 nJy (Oke & Gunn 1983), the unit of the store."""


def own_figures(evidence: Evidence) -> list[dict]:
    """Return the figures that the task itself asks for, of labelled rows and of its catalog."""
    task, asked = evidence.task, []
    if evidence.compared is not None and hasattr(task, "panels"):
        asked += task.panels(*evidence.compared)
    if hasattr(task, "catalog_panels") and (pair := evidence.catalog):
        asked += task.catalog_panels(*pair)
    return [charts.drawn(panel) for panel in asked if measured(panel)]


def measured(panel: Panel) -> bool:
    """Say whether a figure of points has any: of small samples no bin may be full enough."""
    if panel.kind != "points":
        return True
    points = [x for x, _, error in panel.data["series"].values() if error is not None]
    return not points or any(map(len, points))


def calibration_figures(evidence: Evidence) -> list[dict]:
    """Return the PIT before and after calibration, where the card of the weights tells them."""
    fit = evidence.card.get("calibration") or {}
    if not {"pit_before", "pit_after"} <= set(fit):
        return []
    before, after = (np.asarray(fit[name], float) for name in ("pit_before", "pit_after"))
    if len(before) != len(after) or not after.sum():
        return []
    distances = [fit.get(f"pit_ks_{when}") for when in ("before", "after")]
    told = " Kolmogorov-Smirnov distance from uniform: {:.3f} before, {:.3f} after."
    return [
        figures.picture(
            figures.draw_calibration(before, after),
            "What calibration mended",
            f"Histogram of the PIT of {after.sum():.0f} objects before and after calibration.",
            "CDF of p(z) at the known redshift, on the validation split that calibration was "
            "fitted to: flat is right."
            + (told.format(*distances) if None not in distances else ""),
        )
    ]


def common_figures(evidence: Evidence) -> list[dict]:
    """Return the figures that any task has: scores of the run's objects, injected ones, loss."""
    drawn, rows, added = [], evidence.rows(), evidence.injected()
    if rows and len(rows["object_id"]):
        if not evidence.ranks:
            drawn.append(values_figure(evidence, rows))
        elif added or evidence.truth_and_rows is None:
            drawn.append(score_figure(evidence, rows, added))
    history = evidence.card.get("history")
    if history and isinstance(history, list):
        whose = " Of the first network of the ensemble." if evidence.members > 1 else ""
        drawn.append(
            figures.picture(
                figures.draw_loss(history, evidence.card.get("best_epoch")),
                "Training",
                f"Training and validation loss over {len(history)} epochs.",
                "Loss per epoch on the train and the validation split; the circle marks the epoch "
                "whose weights were kept. The validation loss is that of the averaged weights."
                + whose,
            )
        )
    return drawn


def score_figure(evidence: Evidence, rows: dict, added: dict | None) -> dict:
    """Return the distribution of the first column, beside that of injected signals."""
    column, mark = evidence.column, evidence.threshold
    what = "real" if evidence.run.real else "simulated"
    samples = {f"{what} objects": rows[column]}
    if added:
        samples = {"same with injected signal": added[column], **samples}
    cut = 0.5 if mark is None else mark
    words = "0.5" if mark is None else f"{mark:.3g} (false-positive rate 1e-2 on the test set)"
    shares = [
        f"{100 * np.mean(values > cut):.1f}% of the {text}"
        for text, values in samples.items()
        if len(values)
    ]
    return figures.picture(
        figures.draw_histograms(samples, column, cut),
        "Scores with and without injected signal" if added else "Scores of the run's objects",
        f"Histogram of {column}. Above {cut:.3g}: " + "; ".join(shares) + ".",
        f"Above the dotted line at {words} lie " + " and ".join(shares) + ".",
    )


def values_figure(evidence: Evidence, rows: dict) -> dict:
    """Return how many of the run's objects have which value of the first column."""
    column = evidence.column
    values = rows[column][np.isfinite(rows[column])].astype(float)
    counts, edges = np.histogram(values, min(60, 10 + len(values) // 20))
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84]) if len(values) else [np.nan] * 3
    what = "real" if evidence.run.real else "simulated"
    unit = evidence.task.COLUMNS[0].unit
    return charts.drawn(
        Panel(
            kind="bars",
            title=f"{column} of the run's objects",
            alt=f"Histogram of {column} of {len(values):,} {what} objects.",
            text=f"{len(values):,} {what} objects; median {middle:.3f}, 68% between {low:.3f} and "
            f"{high:.3f}.",
            x_label=f"{column} [{unit}]" if unit else column,
            y_label="objects",
            data={"edges": edges, "counts": counts, "expected": None},
        )
    )


def binary_figures(evidence: Evidence) -> list[dict]:
    """Return the figures of a task with a yes-or-no label and a probability."""
    label, column = getattr(evidence.task, "LABEL", None), evidence.column
    if evidence.compared is None or not evidence.binary:
        return []
    truth, rows = evidence.compared
    if label not in truth or len(np.unique(truth[label])) < 2:
        return []
    yes, prob = truth[label].astype(int), np.asarray(rows[column], float)
    score = next((rows[one] for one in rows if one.endswith("_score")), prob)
    scores = {"network": score}
    for one, name in getattr(evidence.task, "RIVALS", {}).items():
        if np.isfinite(rows.get(one, np.nan)).all():
            scores[name] = rows[one]
    drawn = truth_figures(evidence, yes, prob, scores)
    if "kind" in truth:
        negative = yes == 0
        drawn.append(
            figures.picture(
                figures.draw_kinds(truth["kind"][negative], prob[negative] > 0.5, f"{column} 0.5"),
                "Who the false positives are",
                "False-positive rate of each kind of negative, with 68% intervals.",
                "In brackets the number of test objects of each kind; bars are 68% intervals.",
            )
        )
    drawn += purity_figures(evidence, yes, score)
    drawn += completeness_figures(evidence, truth, prob, yes == 1)
    return drawn + magnitude_figures(evidence, rows, prob, yes == 1)


def purity_figures(evidence: Evidence, yes: np.ndarray, score: np.ndarray) -> list[dict]:
    """Return purity at the sky's share of positives, of a task that states one."""
    sky = getattr(evidence.task, "PREVALENCE", None)
    if sky is None:
        return []
    own = float(np.mean(yes))
    shares = {f"{share:.0e} on the sky".replace("e-0", "e-"): share for share in (sky, sky / 10)}
    return [
        figures.picture(
            figures.draw_purity(yes, score, {f"{own:.2f} in the test set": own} | shares),
            "Purity on the sky",
            "Purity against completeness at three shares of positives, log axis: "
            f"{own:.2f}, {sky:g} and {sky / 10:g}.",
            "What share of a selection is real, were that share of all objects real: the first is "
            "the test set's own. Lines end where no negative is left; the last step to the left "
            "rests on one.",
        )
    ]


def magnitude_figures(
    evidence: Evidence, rows: dict, prob: np.ndarray, yes: np.ndarray
) -> list[dict]:
    """Return completeness and purity against the aperture magnitude, where fluxes are."""
    bands = [name.removeprefix("flux_") for name in rows if f"mw_transmission_{name[5:]}" in rows]
    if not bands:
        return []
    band = "r" if "r" in bands else bands[0]
    flux = np.asarray(rows[f"flux_{band}"], float)
    mag = np.where(flux > 0, AB_NJY - 2.5 * np.log10(np.where(flux > 0, flux, 1)), np.nan)
    passed = prob > 0.5
    series = {
        "completeness": _shares(mag[yes], passed[yes]),
        "purity of what passes": _shares(mag[passed], yes[passed]),
    }
    series = {name: points for name, points in series.items() if len(points[0]) > 1}
    if not series:
        return []
    return [
        charts.drawn(
            Panel(
                kind="points",
                title="Against magnitude",
                alt=f"Completeness and purity in bins of magnitude in {band}.",
                text=f"At {evidence.column} above 0.5; bins of equal numbers, half-widths of 68% "
                "intervals. Purity holds at the test set's share of positives.",
                x_label=f"aperture magnitude in {band} [AB mag]",
                y_label="share",
                data={"series": series, "bands": []},
            )
        )
    ]


def _shares(values: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return median, share and its half-width (k,) in bins of equal numbers."""
    known = np.isfinite(values)
    values, right = values[known], right[known]
    points = []
    for one in np.array_split(np.argsort(values), np.clip(len(values) // 20, 1, 7)):
        if len(one) >= 20:
            share, below, above = figures.wilson(right[one].sum(), len(one))
            points.append((np.median(values[one]), share, (below + above) / 2))
    return tuple(np.array(points, float).reshape(-1, 3).T)


def truth_figures(
    evidence: Evidence, yes: np.ndarray, prob: np.ndarray, scores: dict[str, np.ndarray]
) -> list[dict]:
    """Return ROC, reliability and score histograms of the labelled test split."""
    column, noun, mark = evidence.column, evidence.name, evidence.threshold
    who = " and ".join(scores)
    return [
        figures.picture(
            figures.draw_roc(yes, scores),
            "Completeness against false positives",
            f"ROC curve of {yes.sum()} positives and {(yes == 0).sum()} negatives, log axis: "
            f"{who}.",
            f"All {yes.sum():,} positives of the test set, the faintest too. Bands are 68% ranges "
            "from resampling; in the grey zone less than one negative is left, so nothing is known "
            "there.",
        ),
        figures.picture(
            figures.draw_reliability(yes, prob),
            "Can the probability be believed?",
            "Share of positives against stated probability in ten bins, with 68% intervals.",
            f"Of the objects given a {column} of 0.7, seven in ten should be positive: points on "
            "the dotted line. It holds at the test set's share of positives, not at the sky's.",
        ),
        figures.picture(
            figures.draw_histograms(
                {f"{noun}": prob[yes == 1], f"not {noun}": prob[yes == 0]}, column, mark
            ),
            "Scores by truth",
            f"Histograms of {column} of positives and negatives of the test set.",
            "Share of each class per bin."
            + (f" Dotted: {mark:.3g}, which 1% of the negatives pass." if mark else ""),
        ),
    ]


def completeness_figures(
    evidence: Evidence, truth: dict, prob: np.ndarray, yes: np.ndarray
) -> list[dict]:
    """Return completeness against each physical label that the task names and the store has."""
    drawn, mark = [], evidence.threshold
    for name, (words, unit) in getattr(evidence.task, "AGAINST", {}).items():
        if name not in truth or truth[name].dtype.kind not in "fiu":
            continue
        good = yes & np.isfinite(truth[name])
        values = truth[name][good].astype(float)
        if len(values) < 20 or np.ptp(values) == 0:
            continue
        passed = {f"{evidence.column} > 0.5": prob[good] > 0.5}
        if mark is not None:
            passed["false-positive rate 1e-2"] = prob[good] > mark
        label = f"{words} [{unit}]" if unit else words
        drawn.append(
            figures.picture(
                figures.draw_completeness(values, passed, label),
                f"Completeness against {words}",
                f"Share of positives found in bins of {words}, with 68% intervals.",
                f"{len(values):,} positives of the test split in bins of equal numbers.",
            )
        )
    return drawn
