# REQUIRED INPUTS: the run's catalogs, metrics, stores, weights, rejects, maps of the evidence,
#                  selection function, and the pages of notebooks that it links to
# OUTPUTS:         report.html
# COMMANDS:        astroml report


rule report:
    input:
        catalogs=expand(f"{CATALOGS}/{{task}}.parquet", task=TASKS),
        metrics=metrics_files(),
        rejects=[rejects_of(cutouts) for cutouts in SETS],
        injected=injected_rows(),
        selection=selection_files(),
        explained=explained_files(),
        notebooks=notebook_pages(),
    output:
        page=report(
            f"{RESULTS}/report.html",
            caption="../report/run.rst",
            category="Run",
        ),
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    conda:
        "../envs/astroml.yaml"
    params:
        config=lambda wildcards: as_json(CONFIG),
        results=lambda wildcards, output: os.path.dirname(output.page),
        catalogs=lambda wildcards, input: os.path.dirname(input.catalogs[0]),
        version=VERSIONS["report"],
    message:
        "Building the report"
    shell:
        "astroml report"
        " --config {params.config:q}"
        " --results {params.results:q}"
        " --catalogs {params.catalogs:q}"
        " --out {output.page:q}"
        " 2>&1 | tee {log:q}"
