"""The page of a run: one HTML file that holds everything, and says what is missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import jinja2
import numpy as np

from astroml import __version__
from astroml.config import Run as Config
from astroml.config import chosen_tasks
from astroml.errors import AstromlError
from astroml.provenance import digest, replacing
from astroml.report import gallery, metrics, panels, selection, terminal
from astroml.report.gather import Evidence, Run
from astroml.survey import load_survey

REJECTS = 12
"""Rejected objects that are listed."""

REASONS = 20
"""Reasons for a rejection that are counted."""


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
    sections = [task_section(evidence) for evidence in run.evidence()]
    facts = {
        "config": config,
        "version": __version__,
        "what": what_ran(run),
        "caveats": caveats(run),
        "tasks": sections,
        "rejects": rejects(run),
        "benchmarks": run.benchmarks(),
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


def what_ran(run: Run) -> list[tuple[str, str]]:
    """Return what the run was, as term and text."""
    config, facts = run.config, []
    try:
        survey = load_survey(str(config.survey))
        facts.append(("Survey", f"{survey.name}: {survey.title}" if survey.title else survey.name))
    except AstromlError:
        facts.append(("Survey", str(config.survey)))
    source = config.input.manifest or f"simulated, seed {config.seed}"
    facts.append(("Objects from", str(source)))
    store, rejected = run.store("store"), run.rejects()
    if store is not None:
        header = store.header
        side = header.size * header.pixel_scale
        facts += [
            ("Bands", ", ".join(header.bands)),
            ("Cutouts", f'{header.size} px of {header.pixel_scale:g}", {side:.1f}" a side'),
        ]
        lost = len(rejected["object_id"]) if rejected is not None else None
        counts = f"{len(store):,} stored"
        if lost is not None:
            counts = f"{len(store) + lost:,} in, {counts}, {lost:,} rejected"
        facts.append(("Objects", counts))
        splits, numbers = np.unique(store.objects["split"], return_counts=True)
        share = ", ".join(f"{count:,} {name}" for name, count in zip(splits, numbers))
        facts.append(("Sky split", share))
    if config.train_on == "simulated":
        sky = run.store("sky")
        count = f" of {len(sky):,} objects" if sky is not None else ""
        facts.append(("Trained on", f"a simulated sky{count}, seed {config.seed}"))
    elif any(task.weights is None for task in chosen_tasks(config).values()):
        facts.append(("Trained on", "the run's own labelled objects (train split)"))
    facts.append(("Made by", f"astroml {__version__}, config {digest(config)}"))
    return facts


def caveats(run: Run) -> list[str]:
    """Return what a reader must know before using the numbers."""
    if run.real and run.config.train_on == "simulated":
        texts = [
            "These objects are real, but the networks were trained on a simulated sky. A network "
            "trained on simulations loses much on real sky. The metrics below are measured on the "
            "simulated test set and are an upper limit of what to expect here; read the "
            "probabilities as a ranking, and look at the candidates before using them."
        ]
    elif not run.real:
        texts = [
            "This sky is simulated, and so are its labels. The numbers below show that the "
            "pipeline works and what the network learned of the simulation; they say little about "
            "real sky."
        ]
    else:
        texts = []
    own = [getattr(evidence.task, "CAVEAT", None) for evidence in run.evidence()]
    return texts + [text for text in own if text]


def task_section(evidence: Evidence) -> dict:
    """Return what the page shows of one task."""
    found = (evidence.metrics or {}).get("metrics", {})
    return {
        "name": evidence.name,
        "about": evidence.task.__doc__.strip().splitlines()[0],
        "weights": weights_facts(evidence),
        "measured": measured(evidence),
        "metrics": metrics.lines(evidence.task, found),
        "binned": metrics.tables(evidence.task, found),
        "figures": [
            *panels.binary_figures(evidence),
            *panels.own_figures(evidence),
            *panels.common_figures(evidence),
        ],
        "selection": selection.shown(evidence),
        "ranks": evidence.ranks,
        "shown": gallery.shown(evidence),
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


def rejects(run: Run) -> dict | None:
    """Return reasons with their numbers, and the first rows; None without a table."""
    table = run.rejects()
    if table is None:
        return None
    n = len(table["object_id"])
    pairs = zip(table.get("stage", [""] * n), table.get("reason", [""] * n))
    counts = sorted(Counter(pairs).items(), key=lambda one: (-one[1], one[0]))
    names = [name for name in ("object_id", "file", "stage", "reason") if name in table]
    first = [[str(table[name][row]) for name in names] for row in range(min(n, REJECTS))]
    return {
        "count": n,
        "reasons": [(count, *pair) for pair, count in counts[:REASONS]],
        "more": max(len(counts) - REASONS, 0),
        "names": names,
        "rows": first,
    }


def duration(seconds: float) -> str:
    """Return a time in the unit a person would use."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    )
