"""The page of a run: one HTML file that holds everything, and says what is missing."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from astroml import __version__
from astroml.config import Run as Config
from astroml.config import chosen_tasks
from astroml.errors import AstromlError
from astroml.provenance import replacing
from astroml.report import candidates, gallery, metrics, panels, ran, selection, terminal, viewers
from astroml.report.gather import Evidence, Run

GLANCE = 3
"""Metrics of each task that stand at the top."""


def build(config: Config, results: str | Path, catalogs: str | Path, out: str | Path) -> None:
    """Build the page of a run.

    The same files give the same bytes, but for the table of time and memory.

    Parameters
    ----------
    config : Run
        The run's whole config.
    results, catalogs : path
        The run's folders.
    out : path
        The HTML file.
    """
    run = Run(config, Path(results), Path(catalogs))
    if not run.results.is_dir():
        raise AstromlError(f"{results}: no such folder; run the workflow first")
    script = resources.files("astroml.report").joinpath("sort.js").read_text(encoding="utf-8")
    facts = {
        "config": config,
        "version": __version__,
        "script": Markup(script),
        # The browser runs this script and no other, and loads nothing from anywhere.
        "allowed": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "what": ran.facts(run),
        "sets": ran.sets(run),
        "caveat": caveat(run),
        "real": run.real,
        "viewers": viewers.VIEWERS,
        "tasks": [task_section(evidence) for evidence in run.evidence()],
        "rejects": ran.rejects(run),
        "benchmarks": run.benchmarks(),
        "total": ran.total(run.benchmarks()),
        "files": [
            (what, path)
            for what, path in terminal.list_files(run.results, run.catalogs)
            if what != "report"  # this page, which may not be there yet
        ],
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("astroml.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"duration": duration, "value": metrics.value_text}
    text = environment.get_template("page.html.j2").render(facts)
    with replacing(out) as part:
        part.write_text(text, encoding="utf-8")
    print(f"wrote {out}")


def caveat(run: Run) -> str | None:
    """Return what a reader must know before using any number of the run."""
    if run.real and run.config.train_on == "simulated":
        return (
            "These objects are real, but the networks were trained on a simulated sky. A network "
            "trained on simulations loses much on real sky. The metrics below are measured on the "
            "simulated test set and are an upper limit of what to expect here; read the "
            "probabilities as a ranking, and look at the candidates before using them."
        )
    if not run.real:
        return (
            "This sky is simulated, and so are its labels. The numbers below show that the "
            "pipeline works and what the network learned of the simulation; they say little about "
            "real sky."
        )
    return None


def task_section(evidence: Evidence) -> dict:
    """Return what the page shows of one task."""
    found = (evidence.metrics or {}).get("metrics", {})
    lines, rows = metrics.lines(evidence.task, found), evidence.rows()
    return {
        "name": evidence.name,
        "about": evidence.task.__doc__.strip().splitlines()[0],
        "caveat": getattr(evidence.task, "CAVEAT", None),
        "count": len(rows["object_id"]) if rows else None,
        "glance": [one for one in lines if one["value"] is not None][:GLANCE],
        "weights": weights_facts(evidence),
        "measured": measured(evidence),
        "metrics": lines,
        "binned": metrics.tables(evidence.task, found),
        "figures": [
            *panels.binary_figures(evidence),
            *panels.own_figures(evidence),
            *panels.calibration_figures(evidence),
            *panels.common_figures(evidence),
        ],
        "selection": selection.shown(evidence),
        "ranks": evidence.ranks,
        "shown": gallery.shown(evidence),
        "candidates": candidates.table(evidence),
        "mistakes": gallery.mistakes(evidence),
    }


def weights_facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Return where the weights come from."""
    card = evidence.card
    chosen = chosen_tasks(evidence.run.config)[evidence.name].weights
    facts = [
        ("Weights", f"{chosen or 'trained in this run'}; {evidence.weights_hash or 'no hash'}")
    ]
    first = ""
    if evidence.members > 1:
        facts.append(
            ("Networks", f"{evidence.members}, each of another seed; scores are their mean")
        )
        first = " of the first network"
    train = card.get("options", {}).get("train", {})
    history = card.get("history") or []
    if history:
        best = card.get("best_epoch")
        text = f"{len(history)}" + (f", the best is {best}" if best else "")
        facts.append((f"Epochs{first}", text))
    if "seed" in train:
        facts.append((f"Training seed{first}", str(train["seed"])))
    made = card.get("provenance", {})
    if made.get("version"):
        options = made.get("options_hash", "unknown")
        facts.append(("Trained by", f"astroml {made['version']}, options {options}"))
    if card.get("torch"):
        facts.append(("Torch", str(card["torch"])))
    return facts


def measured(evidence: Evidence) -> str:
    """Say in a sentence what the metrics were measured on."""
    found = evidence.metrics
    if not found:
        return "No metrics: the run's objects have no labels to measure against."
    sky = {"sky": "the simulated sky made to train on", "store": "the run's own objects"}
    where = sky.get(evidence.labelled, "the labelled objects")
    return (
        f"Measured on {found['n']:,} labelled objects of the {found['split']} split of {where}, "
        "which the network never saw in training. The uncertainty is one standard deviation, from "
        "resampling the objects."
    )


def duration(seconds: float) -> str:
    """Return a time in the unit a person would use."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    )
