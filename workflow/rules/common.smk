# The only Python of the workflow: the checked config, its slices, and who depends on what.
# The whole config is checked here, before any job starts.

import os
from functools import cache
from shlex import quote

from astroml.config import as_json, chosen_tasks, load, split_options
from astroml.errors import AstromlError
from astroml.ingest.manifest import fill_in
from astroml.parts import numbered
from astroml.provenance import VERSIONS
from astroml.survey import survey_file
from astroml.tasks import load as load_task
from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

try:
    CONFIG = load(config)
    SURVEY = str(survey_file(CONFIG.survey))
except AstromlError as fault:
    raise WorkflowError(str(fault)) from None
validate(config, "../schemas/config.schema.json", set_default=False)

TASKS = list(chosen_tasks(CONFIG))
SETS = sorted({load_task(task).SET for task in TASKS})
CHUNKS = range(CONFIG.ingest.chunks)
RESULTS = f"results/{CONFIG.run}"
CATALOGS = f"catalogs/{CONFIG.run}"
SIMULATED_INPUT = CONFIG.input.manifest is None
TOGETHER = "{set}" if SIMULATED_INPUT else "-".join(SETS)
LABELLED = "sky" if CONFIG.train_on == "simulated" else "store"
EXPORTS = [
    f"{task}{ending}"
    for task in TASKS
    for ending in getattr(load_task(task), "EXPORTS", {})
]


FORMATS = list(dict.fromkeys(CONFIG.catalogs.formats))
JOINED = [task for task in TASKS if not getattr(load_task(task), "MANY_ROWS", False)]
MAPPED = [task for task in TASKS if hasattr(load_task(task), "MAPS")]


wildcard_constraints:
    task="|".join(TASKS),
    set="|".join(SETS),
    store="store|sky|injected",
    member=r"|\.\d+",
    chunk=r"\d+",


# Asked for by every job of a chunk, of which there may be tens of thousands.
@cache
def options(*place):
    """One slice of the config as JSON: a rule reruns when its own slice changes, and only then.

    Rules call it from a lambda, since Snakemake would take the braces of a plain string as
    wildcards.
    """
    part = CONFIG
    for name in place:
        part = getattr(part, name)
    return as_json(part)


@cache
def ingest_options():
    """The slice that cutouts depend on; a param reruns, what a rule has as resource does not."""
    part = CONFIG.ingest
    return as_json(part, set(type(part).model_fields) - set(part.UNSEEN))


@cache
def task_options(task, late):
    """The slice of a task's options that training reads, or the one that comes after it.

    So a change of what comes after leaves the weights as they are; an empty slice is None.
    """
    part = getattr(CONFIG.tasks, task)
    kept = split_options(part)[late]
    return as_json(part, kept) if kept else None


def flag(name, value):
    """An option of a command, or nothing where the config leaves it empty."""
    return "" if value is None else f"--{name} {quote(str(value))}"


def flags(name, values):
    """An option that is given once for each value."""
    return " ".join(flag(name, value) for value in values)


def parts(name, files):
    """An option that is given once for each file, numbered files in one word."""
    return flags(name, numbered(files))


def bands():
    return ",".join(CONFIG.ingest.bands) if CONFIG.ingest.bands else None


def for_each_set(pattern):
    """A file for each cutout set of one ingest job.

    Given objects are read once for all sets; a simulated sky is made for each, and each is read
    alone: there the wildcard ``set`` stays.
    """
    return (
        [pattern] if SIMULATED_INPUT else expand(pattern, set=SETS, allow_missing=True)
    )


def sets_in(wildcards):
    """The cutout sets of one ingest job, in the order of its outputs."""
    return [wildcards.set] if SIMULATED_INPUT else SETS


def manifest(wildcards):
    if SIMULATED_INPUT:
        return f"{RESULTS}/survey/{wildcards.set}/manifest.csv"
    return fill_in(CONFIG.input.manifest)


def root():
    return None if CONFIG.input.root is None else fill_in(CONFIG.input.root)


@cache
def set_of(task):
    return load_task(task).SET


def sky_tasks(cutouts):
    """The tasks whose skies fill a simulated set, beside each other."""
    return [task for task in TASKS if set_of(task) == cutouts]


def skies(cutouts):
    """The skies of a simulated set, as ``astroml simulate`` takes them."""
    tasks = sky_tasks(cutouts)
    if len(tasks) == 1:
        return options("simulate", tasks[0])
    return (
        "{" + ",".join(f'"{task}":{options("simulate", task)}' for task in tasks) + "}"
    )


def rejects_of(cutouts):
    """The table that says that nothing was lost."""
    return f"{RESULTS}/store/{cutouts}/rejects.parquet"


def settled(cutouts):
    """What is there when nothing was lost: whoever reads the store waits for it.

    It stands between the table, which needs all chunks, and the chunks' jobs, which need the table:
    Snakemake looks through a job's inputs once for each job that waits for it.
    """
    return f"{RESULTS}/store/{cutouts}/settled"


def complete(store, cutouts):
    """What a job waits for that reads a whole store."""
    return settled(cutouts) if store == "store" else shards(store, cutouts)


def shards(store, cutouts):
    """The shards of a store: chunks for the run's own objects, one file for what is simulated."""
    if store == "store":
        return expand(f"{RESULTS}/store/{cutouts}/{{chunk}}.h5", chunk=CHUNKS)
    return [f"{RESULTS}/{store}/{cutouts}/0.h5"]


def weights_of(task):
    """The weights to infer with: those that the config names, else those trained here."""
    given = getattr(CONFIG.tasks, task).weights
    return [given] if given else trained_weights(task)


def trained_weights(task):
    """The networks of a task: one, or each member of its ensemble."""
    members = getattr(getattr(CONFIG.tasks, task), "members", 1)
    names = [task] if members == 1 else [f"{task}.{at}" for at in range(members)]
    return [f"{RESULTS}/weights/{name}.safetensors" for name in names]


def fresh(task):
    """Whether training draws objects of its own."""
    return getattr(CONFIG.tasks, task).train.fresh > 0


def rows_of(task, store):
    chunks = CHUNKS if store == "store" else [0]
    return expand(f"{RESULTS}/rows/{task}/{store}/{{chunk}}.parquet", chunk=chunks)


def maps_of(task, store):
    """The maps beside the rows, of a task whose network draws any."""
    if task not in MAPPED:
        return []
    return [rows.removesuffix("parquet") + "maps.h5" for rows in rows_of(task, store)]


def metrics_files():
    """One per task whose labels are at hand: those of the simulated sky, or of the input."""
    labelled = SIMULATED_INPUT or CONFIG.train_on == "simulated"
    known = [
        task
        for task in TASKS
        if labelled or getattr(CONFIG.tasks, task).weights is None
    ]
    return expand(f"{RESULTS}/metrics/{{task}}.json", task=known)


def notebook_pages():
    """The notebooks as pages, where the config asks for them.

    Some begin at the files and the labels of the objects, of one task; who has neither, or a task
    without a label of its own, gets the others.
    """
    if not CONFIG.report.notebooks:
        return []
    names = ["1_from_fits", "2_candidates"]
    if SIMULATED_INPUT or CONFIG.train_on == "input":
        names += ["3_own_labels", "4_two_runs"]
    return expand(f"{RESULTS}/notebooks/{{name}}.html", name=names)


def notebook_task():
    """The task of the notebooks: the first that learns from a label of each object."""
    known = [task for task in JOINED if needs_label(load_task(task))]
    return (known or TASKS)[0]


def needs_label(task):
    """Whether a task learns from a label: that of an anomaly is for its metrics alone."""
    label = getattr(task, "LABEL", None)
    return label is not None and label not in getattr(task, "OPTIONAL", ())


def notebook_values(name):
    """The parameters of a notebook."""
    if name == "4_two_runs":
        return {"task": notebook_task(), "first": CONFIG.run}
    values = {"run": CONFIG.run, "task": notebook_task()}
    if name == "2_candidates":
        return values
    given = {} if SIMULATED_INPUT else {"manifest": manifest(None), "root": root()}
    return values | {"survey": SURVEY} | given


def injected_rows():
    """Rows of the injected copies, where the config asks for them."""
    return rows_of(CONFIG.inject.task, "injected") if CONFIG.inject else []


def explained_files():
    """Maps of the evidence, of each task that can say where in the image it lies."""
    known = [task for task in TASKS if hasattr(load_task(task), "EXPLAINED")]
    return expand(f"{RESULTS}/explain/{{task}}.h5", task=known)


def selection_files():
    """The selection function, where injected signals fill a grid of strength."""
    if not (CONFIG.inject and CONFIG.inject.grid):
        return []
    return [f"{RESULTS}/selection/{CONFIG.inject.task}.parquet"]
