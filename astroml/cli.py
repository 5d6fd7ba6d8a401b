"""The ``astroml`` command: one command per stage, the same words as the workflow's rules.

Nothing heavy is imported until a command runs, so help and tab completion are instant.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from astroml import __version__, notebook
from astroml import export as room_of_graphs
from astroml.catalog import commands
from astroml.errors import AstromlError
from astroml.parts import spelled_out

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From survey FITS cutouts to science catalogs.",
)

OptionsText = Annotated[
    str | None,
    typer.Option("--options", help="This stage's slice of the config: '{key: value}' or a file."),
]
SurveyName = Annotated[str, typer.Option(help="Name in config/surveys, or a YAML file.")]
TaskName = Annotated[str, typer.Option(help="Science task.")]
Out = Annotated[Path, typer.Option(help="What to write.")]
Stores = Annotated[list[Path], typer.Option(help="Store: folder of shards, or shards.")]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs; auto: a GPU if any.")
]
Bands = Annotated[str | None, typer.Option(help="Bands to use, comma-separated; default all.")]


def _bands(text: str | None) -> list[str] | None:
    return text.split(",") if text else None


@app.callback(invoke_without_command=True)
def _start(version: Annotated[bool, typer.Option("--version", help="Show it.")] = False) -> None:
    if version:
        print(f"astroml {__version__}")
        raise typer.Exit


@app.command()
def simulate(
    task: Annotated[
        list[str], typer.Option(help="Science task; several fill one survey beside each other.")
    ],
    out: Out,
    survey: SurveyName = "decals",
    to: Annotated[
        Literal["fits", "store"], typer.Option(help="FITS files and manifest, or one shard.")
    ] = "fits",
    bands: Bands = None,
    size: Annotated[int, typer.Option(help="Cutout side, px.")] = 64,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Pixels, arcsec, that ingest would sum the survey's own to: a store has these, "
            "FITS files as many of the survey's own as that takes."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sky.")] = 1,
    splits: Annotated[str | None, typer.Option(help="Splits, for a store: '{key: value}'.")] = None,
    options: Annotated[
        str | None,
        typer.Option(help="The sky: '{key: value}', of several tasks '{task: {...}}', or a file."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Draw a simulated survey: FITS files with manifest and truth table, or a labelled store."""
    from astroml import config, tasks
    from astroml.sky import simulate as sky
    from astroml.survey import load_survey

    if len(task) == 1:
        skies = {task[0]: config.options_from(tasks.load(task[0]).Sky, options)}
    else:
        whole = config.options_from(
            config.config_model().model_fields["simulate"].annotation, options
        )
        skies = {name: getattr(whole, name) for name in task if tasks.load(name)}
    described = load_survey(survey, _bands(bands))
    if to == "fits":
        size = described.pixels_for(size, scale)
        sky.simulate_survey(skies, described, out, size=size, seed=seed, device=device)
    else:
        cuts = config.options_from(config.Splits, splits)
        described = described.rescaled(scale)
        sky.simulate_store(skies, described, out, splits=cuts, size=size, seed=seed, device=device)


@app.command()
def ingest(
    manifest: Annotated[Path, typer.Option(help="Table of objects.")],
    out: Annotated[list[Path], typer.Option(help="What to write; once per set.")],
    rejects: Annotated[
        list[Path], typer.Option(help="Parquet table of what could not be stored; once per set.")
    ],
    survey: SurveyName = "decals",
    cutouts: Annotated[
        list[str], typer.Option("--set", help="Cutout set; several are cut from one reading.")
    ] = ["galaxy"],  # noqa: B006
    root: Annotated[Path | None, typer.Option(help="Folder that file names start from.")] = None,
    chunk: Annotated[str, typer.Option(help="Part of the manifest: 'I/N', I from 0.")] = "0/1",
    splits: Annotated[str | None, typer.Option(help="Splits: '{key: value}'.")] = None,
    options: OptionsText = None,
    block: Annotated[
        int | None,
        typer.Option(help="Objects read and written at once; changes no result.", min=1),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that read; with slurm, jobs.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler; or 'slurm': workers are jobs.",
            envvar="ASTROML_SCHEDULER",
        ),
    ] = None,
) -> None:
    """Read survey files, calibrate, align and mask them, and write one shard of the store."""
    from astroml import config
    from astroml.ingest import run
    from astroml.survey import load_survey

    settings = config.options_from(config.Ingest, options)
    if block:
        settings = settings.model_copy(update={"block": block})
    run.ingest(
        manifest,
        load_survey(survey, settings.bands),
        out,
        rejects,
        settings,
        splits=config.options_from(config.Splits, splits),
        cutouts=cutouts,
        root=root,
        chunk=chunk,
        workers=workers,
        scheduler=scheduler,
    )


@app.command()
def tally(
    store: Stores,
    rejects: Annotated[list[Path], typer.Option(help="The parts' tables of rejects.")],
    manifest: Annotated[Path, typer.Option(help="Table of objects that was ingested.")],
    out: Out,
    max_rejects: Annotated[float, typer.Option(help="Largest fraction that may be rejected.")] = 1,
) -> None:
    """Check that every row of the manifest was stored or rejected, and gather the rejects."""
    from astroml.ingest import run

    run.tally(store, rejects, manifest, out, max_rejects)


@app.command()
def train(
    task: TaskName,
    store: Stores,
    out: Out,
    options: OptionsText = None,
    device: Device = "auto",
    work: Annotated[Path | None, typer.Option(help="Folder of the checkpoint.")] = None,
    sky: Annotated[
        str | None, typer.Option(help="The task's sky, for fresh objects: '{key: value}'.")
    ] = None,
    survey: Annotated[
        str | None, typer.Option(help="Survey that fresh objects are seen by: name or YAML file.")
    ] = None,
    member: Annotated[int, typer.Option(help="Number of the network in an ensemble.", min=0)] = 0,
    track: Annotated[
        Literal["none", "tensorboard", "mlflow"], typer.Option(help="What draws the curves.")
    ] = "none",
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Draw loss against learning rate to OUT, then stop.")
    ] = False,
) -> None:
    """Train a task's network on the train split; keep the epoch that is best on validation."""
    from astroml import config, tasks
    from astroml import train as loop
    from astroml.survey import load_survey

    settings = config.options_from(tasks.load(task).Options, options)
    drawn = {
        "sky": config.options_from(tasks.load(task).Sky, sky),
        "survey": load_survey(survey) if survey else None,
    }
    if find_lr:
        loop.find_lr(task, settings, store, out, device=device, **drawn)
    else:
        how = {"work": work, "device": device, "member": member, "track": track}
        loop.train(task, settings, store, out, **how, **drawn)


@app.command()
def infer(
    task: TaskName,
    store: Stores,
    weights: Annotated[
        list[Path], typer.Option(help="Trained weights, .safetensors; several are an ensemble.")
    ],
    out: Out,
    options: OptionsText = None,
    late: Annotated[
        str | None,
        typer.Option(help="Options of the task that training did not read: '{key: value}'."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Score every cutout of a store; write catalog rows as Parquet."""
    from astroml import config, tasks
    from astroml import infer as scoring

    settings = config.options_from(config.Infer, options)
    told = config.options_from(tasks.load(task).Options, late).model_dump(exclude_unset=True)
    scoring.infer(task, store, weights, out, settings, device=device, late=told)


@app.command()
def explain(
    task: TaskName,
    rows: Annotated[list[Path], typer.Option(help="Rows that infer wrote.")],
    store: Stores,
    weights: Annotated[
        list[Path], typer.Option(help="Trained weights, .safetensors; several are an ensemble.")
    ],
    out: Out,
    top: Annotated[int, typer.Option(help="Objects, the highest scores first.", min=1)] = 24,
    device: Device = "auto",
) -> None:
    """Map where in the image the evidence of the best candidates lies; write HDF5."""
    from astroml import explain as maps

    maps.explain(task, rows, store, weights, out, top=top, device=device)


app.command()(room_of_graphs.export)


@app.command()
def inject(
    store: Stores,
    out: Out,
    survey: SurveyName = "decals",
    options: OptionsText = None,
    sky: Annotated[str | None, typer.Option(help="The task's sky: '{key: value}'.")] = None,
    device: Device = "auto",
) -> None:
    """Add simulated signals to the real cutouts of a store; write a labelled store."""
    from astroml import config, tasks
    from astroml.sky import simulate as room
    from astroml.survey import load_survey

    settings = config.options_from(config.Inject, options)
    population = config.options_from(tasks.load(settings.task).Sky, sky)
    room.inject(store, settings, population, load_survey(survey), out, device=device)


@app.command()
def selection(
    rows: Annotated[list[Path], typer.Option(help="Rows that infer wrote of an injected store.")],
    store: Stores,
    out: Out,
    task: TaskName = "lens",
    threshold: Annotated[
        float | None, typer.Option(help="Signals that score above this are found; default 0.5.")
    ] = None,
    fpr: Annotated[
        float | None,
        typer.Option(
            help="Instead: the threshold that this share of the store's negatives passes."
        ),
    ] = None,
    column: Annotated[
        str, typer.Option(help="Column of the rows that is the score.")
    ] = "lens_prob",
    figure: Annotated[Path | None, typer.Option(help="Figure to draw, .png.")] = None,
) -> None:
    """Count which injected signals were found: completeness over a grid of their strength."""
    from astroml import selection as room

    room.selection(
        task, rows, store, out, figure=figure, threshold=threshold, fpr=fpr, column=column
    )


@app.command()
def score(
    task: TaskName,
    store: Stores,
    out: Out,
    rows: Annotated[list[Path], typer.Option(help="Rows that infer wrote.")] = [],  # noqa: B006
    weights: Annotated[
        Path | None, typer.Option(help="In place of rows: weights to infer with, to OUT's folder.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split that is measured; 'all' for every row.")
    ] = "test",
    bootstrap: Annotated[int, typer.Option(help="Resamplings behind each uncertainty.")] = 200,
) -> None:
    """Measure the rows against the store's labels; write metrics with uncertainties as JSON."""
    from astroml import score as metrics

    if bool(rows) == bool(weights):
        raise AstromlError("score: give either --rows or --weights")
    if weights:
        from astroml import config
        from astroml import infer as scoring

        rows = [out.with_suffix(".rows.parquet")]
        scoring.infer(task, store, weights, rows[0], config.Infer())
    metrics.score(task, rows, store, out, split=split, bootstrap=bootstrap)


app.command()(commands.catalog)
app.command()(commands.query)
app.command()(commands.crossmatch)
app.command()(commands.similar)
app.command()(commands.rerank)
app.command()(notebook.notebook)


@app.command()
def report(
    config_text: Annotated[
        str, typer.Option("--config", help="The run's whole config: '{key: value}' or a file.")
    ],
    results: Annotated[Path, typer.Option(help="Folder of the run's results.")],
    catalogs: Annotated[Path, typer.Option(help="Folder of the run's catalogs.")],
    out: Out,
) -> None:
    """Build the page of a run: metrics, figures, candidates, rejects, time and memory."""
    from astroml import config
    from astroml.report import page

    page.build(config.options_from(config.config_model(), config_text), results, catalogs, out)


@app.command()
def summary(
    results: Annotated[Path, typer.Argument(help="Folder of the run's results.")],
    catalogs: Annotated[Path, typer.Argument(help="Folder of the run's catalogs.")],
    top: Annotated[int, typer.Option(help="Rows to show of each catalog.")] = 5,
) -> None:
    """Print the top rows, the metrics with uncertainties, and where each file lies."""
    from astroml.report import terminal

    terminal.show(results, catalogs, top)


@app.command()
def config(
    file: Annotated[Path | None, typer.Argument(help="A config to check.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Regenerate the schema and the references.")
    ] = False,
) -> None:
    """Check a config file, or write the schema, config/README.md and catalogs/README.md."""
    from astroml import reference
    from astroml.config import load

    if write:
        for path in reference.write_all(Path.cwd()):
            print(f"wrote {path}")
    if file:
        load(file)
        print(f"{file}: ok")


def main() -> None:
    """Run the command line; a fault the user can mend is one line and exit code 2."""
    # Threads that spin while they wait slow torch tenfold on cores that others use too. OpenMP
    # reads this when torch is loaded, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = os.environ.get("ASTROML_DEBUG") == "1"
    try:
        app(spelled_out(sys.argv[1:]))
    except AstromlError as fault:
        if debug:
            raise
        print(f"ERROR: {fault}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
