"""The records as tables of the README: ``python tests/science/table.py`` writes them there."""

import json
from pathlib import Path

from astroml import tasks

HERE = Path(__file__).parent
README = HERE.parent.parent / "README.md"
COLUMNS = {
    "photoz": {"": "real photometry, rendered", "sim_": "simulated sky"},
}
"""Task -> prefix of the record's keys -> heading; one column, the value, where it is not named."""

TASKS = {
    "lens": (
        'galaxy cutouts of 15"; labels `is_lens`, or a simulated sky',
        "`lens_prob`, theta_E, ellipticity, shear, source position, evidence map",
        {
            "auroc": "AUROC",
            "tpr_at_fpr_1e-3": "TPR at FPR 1e-3",
            "des_recovered": "arcs found in DES galaxies",
        },
        "completeness on mocks is not that on sky; rings and blue companions pass for lenses",
    ),
    "photoz": (
        "galaxy cutouts and fluxes; labels `z_spec`",
        "p(z), `z_phot`, intervals, odds, a flag for what it never saw",
        {"sigma_mad": "sigma_MAD", "outlier_rate": "outliers", "coverage_68": "coverage of 68%"},
        "only as good as the spectroscopic sample is like your galaxies",
    ),
    "tidal": (
        'cutouts of 60 to 120"; labels `is_tidal`, or a simulated sky',
        "`tidal_prob`, kind, mask, surface brightness and flux",
        {
            "auroc": "AUROC",
            "completeness_at_20pct_contamination": "completeness at 20% contamination",
            "dice": "Dice of the mask",
        },
        "needs deep images: single SDSS frames show next to nothing",
    ),
    "cluster": (
        "tiles of 5 to 9'; labels of centres, or a simulated sky",
        "`cluster_prob`, position, redshift with p(z), richness, mass",
        {"completeness": "completeness", "purity": "purity", "sigma_z": "sigma_z"},
        "redshifts end where the bands no longer bracket the 4000 Å break",
    ),
    "anomaly": (
        "galaxy cutouts; no labels",
        "`anomaly_score`, what it is most like, artefacts apart",
        {},
        "an outlier of the images is not yet one of nature's: look at them",
    ),
}
"""Task -> what goes in, what comes out, numbers of the record and what they are called, caveat.

Of a record that has none of these numbers, the first three are quoted."""


SHOWN = {
    "tidal": (
        "auroc_bright",
        "auroc_bright_baseline",
        "auroc",
        "auroc_baseline",
        "completeness_at_20pct_contamination",
        "completeness_bright_at_20pct_contamination_6pct",
        "completeness_bright_at_20pct_contamination_23pct",
        "completeness_stream",
        "completeness_shell",
        "completeness_tail",
        "completeness_diffuse",
        "dice",
        "flux_bias",
        "flux_scatter",
        "auroc_features_removed",
    ),
    "cluster": (
        "completeness",
        "completeness_matched_filter",
        "purity",
        "purity_matched_filter",
        "false_per_deg2",
        "sigma_z",
        "sigma_z_matched_filter",
        "bias_z",
        "sigma_lnlambda",
        "sigma_lnlambda_matched_filter",
        "bias_lnlambda",
        "centring_mpc",
        "coverage_68_z",
        "coverage_68_lambda",
        "ece",
    ),
    "anomaly": (
        "auroc",
        "auroc_baseline",
        "precision_top1pct",
        "recall_top1pct",
        "artefact_share_top1pct",
        "auroc_artefact",
        "overlap_top1pct_seeds",
        "recall_top1pct_before_labels",
        "recall_top1pct_after_labels",
        "spearman_rank_magnitude",
        "recall_top1pct_of_merger",
        "recall_top1pct_of_ring",
        "recall_top1pct_of_lens",
        "recall_top1pct_of_polar_ring",
        "recall_top1pct_of_extreme_colour",
    ),
}
"""Task -> the numbers of its record that the README's table has, in this order; else all."""


def record_of(task: str) -> dict | None:
    """Return a task's record; None where its evaluation has not been run."""
    file = HERE / f"{task}.json"
    return json.loads(file.read_text()) if file.is_file() else None


def markdown(task: str) -> str:
    """Return a task's record as a table, one line per number that has an error."""
    record = record_of(task)
    if record is None:
        return f"Without a record yet: `make science TASK={task}`."
    errors, columns = record["errors"], COLUMNS.get(task, {"": "value"})
    others = [prefix for prefix in columns if prefix]
    names = [name for name in errors if not any(name.startswith(prefix) for prefix in others)]
    names = [name for name in SHOWN.get(task, names) if name in errors]
    lines = [
        f"| {task} | " + " | ".join(columns.values()) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in names:
        cells = [f"{record[p + name]:.4f} ± {errors[p + name]:.4f}" for p in columns]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def in_order() -> list[str]:
    """Return the names of all tasks, as the README has them."""
    return sorted(tasks.names(), key=[*TASKS].index)


def overview() -> str:
    """Return the tasks as a table: input, output, what was measured, what to beware of."""
    lines = ["| task | from | to | measured | beware |", "|---|---|---|---|---|"]
    for task in in_order():
        given, made, keys, caveat = TASKS[task]
        said = f"not yet: `make science TASK={task}`"
        if record := record_of(task):
            errors = record["errors"]
            known = {name: said for name, said in keys.items() if name in errors}
            known = known or {name: name for name in [*errors][:3]}
            quoted = (
                f"{text} {record[one]:.4f} ± {errors[one]:.4f}" for one, text in known.items()
            )
            said = f"{', '.join(quoted)} ([all](tests/science/{task}.json))"
        lines.append(f"| `{task}` | {given} | {made} | {said} | {caveat} |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """Return the README's text with its tables written anew, each between two marks."""
    made = {"tasks": overview()} | {task: markdown(task) for task in in_order()}
    for name, table in made.items():
        begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        head, found, rest = text.partition(begin)
        if not found:
            raise SystemExit(f"README.md: no mark {begin.strip()}, where a table goes; add it")
        text = head + begin + table + "\n" + end + rest.partition(end)[2]
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
