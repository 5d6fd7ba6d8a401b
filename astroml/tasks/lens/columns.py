"""Columns of the lens catalog."""

from __future__ import annotations

from astroml.tasks import Column
from astroml.tasks.lens.parameters import PARAMETERS

_FOUND = (
    Column(
        "lens_prob",
        "float32",
        "",
        "stat.probability",
        "Probability of being a strong lens, calibrated on the validation split at its share of "
        "lenses (not at the sky's); of several networks their mean",
    ),
    Column(
        "lens_score",
        "float32",
        "",
        "stat.value",
        "Network output before calibration, logit; of several networks their mean",
    ),
    Column(
        "lens_prob_spread",
        "float32",
        "",
        "stat.stdev;stat.probability",
        "Standard deviation of lens_prob between the networks of an ensemble; 0 for one network",
    ),
    Column(
        "purity",
        "float32",
        "",
        "stat.probability",
        "Share of lenses to expect among all objects that score at least this high, at the "
        "prevalence of the task's options, if the sky's galaxies are like the validation split's. "
        "The false-positive rate is taken as no lower than one over the number of its non-lenses: "
        "what the split is too small to show is not claimed. Of several networks their mean",
    ),
)


def _of_parameter(name: str) -> tuple[Column, Column]:
    parameter = PARAMETERS[name]
    condition = ", if it is a lens"
    error = "Error of {}: half the width of the central 68%, calibrated on the validation split"
    return (
        Column(name, "float32", parameter.unit, parameter.ucd, parameter.meaning + condition),
        Column(
            f"{name}_err",
            "float32",
            parameter.unit,
            f"stat.error;{parameter.ucd}",
            error.format(name),
        ),
    )


COLUMNS = (
    *_FOUND,
    *(column for name in PARAMETERS for column in _of_parameter(name)),
    Column(
        "artefact_prob",
        "float32",
        "",
        "stat.probability",
        "Probability of a defect in the cutout, such as a bad column, a cosmic ray, an edge or a "
        "trail; above 0.5 flagged artefact",
    ),
)

RANKS = {"lens_score_rank": "lens_score"}
"""Columns that a whole catalog has and a part of it cannot know: name -> the column they rank."""

RANK_COLUMNS = (
    Column(
        "lens_score_rank",
        "int64",
        "",
        "stat.rank",
        "Rank by lens_score in this catalog, 1 the highest; equal scores in the order of "
        "object_id, objects without a usable pixel last",
    ),
)
