# REQUIRED INPUTS: the run's catalogs and metrics; some notebooks read its store, weights and files
# OUTPUTS:         notebooks/<name>.html: each notebook of workflow/notebooks, run on this run
# COMMANDS:        astroml notebook


rule notebook:
    input:
        script=f"{workflow.basedir}/workflow/notebooks/{{notebook}}.py",
        catalogs=expand(f"{CATALOGS}/{{task}}.parquet", task=TASKS),
        joined=[f"{CATALOGS}/all.parquet"] if JOINED else [],
        metrics=metrics_files(),
        # The fourth compares the run with what the third has trained.
        before=lambda wildcards: (
            f"{RESULTS}/notebooks/3_own_labels.html"
            if wildcards.notebook == "4_two_runs"
            else []
        ),
    output:
        page=report(
            f"{RESULTS}/notebooks/{{notebook}}.html",
            caption="../report/notebook.rst",
            category="Notebooks",
        ),
    log:
        f"{RESULTS}/logs/notebook/{{notebook}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/notebook.{{notebook}}.tsv"
    conda:
        "../envs/astroml.yaml"
    threads: 2
    resources:
        gpu=1,
    params:
        given=lambda wildcards: flags(
            "set",
            [
                f"{name}={value}"
                for name, value in notebook_values(wildcards.notebook).items()
            ],
        ),
        version=VERSIONS["notebook"],
    message:
        "Running the notebook {wildcards.notebook}"
    shell:
        "astroml notebook"
        " {input.script:q}"
        " {params.given}"
        " --out {output.page:q}"
        " 2>&1 | tee {log:q}"
