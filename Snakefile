# From survey FITS cutouts to science catalogs. Reading this file is reading the pipeline:
# what is configured, which stages there are, in which order, and what a run delivers.

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")

# The stages are commands that lie beside this Python: called as .venv/bin/snakemake, too.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
)


# A --configfile stands alone; without one, the embedded demo survey runs.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/inject.smk"
include: "workflow/rules/infer.smk"
include: "workflow/rules/selection.smk"
include: "workflow/rules/explain.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/catalog.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/notebook.smk"


rule all:
    default_target: True
    input:
        expand(f"{CATALOGS}/{{task}}.{{kind}}", task=TASKS, kind=["parquet", *FORMATS]),
        [f"{CATALOGS}/all.parquet"] if JOINED else [],
        expand(f"{CATALOGS}/{{file}}", file=EXPORTS),
        expand(f"{CATALOGS}/{{task}}_masks.h5", task=MAPPED),
        metrics_files(),
        selection_files(),
        f"{RESULTS}/report.html",
        notebook_pages(),
