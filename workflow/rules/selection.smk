# REQUIRED INPUTS: the rows of the injected copies, and their store
# OUTPUTS:         selection/<task>.parquet and .png: completeness over a grid of strength
# COMMANDS:        astroml selection


rule selection:
    input:
        rows=lambda wildcards: rows_of(wildcards.task, "injected"),
        store=lambda wildcards: shards("injected", set_of(wildcards.task)),
    output:
        table=f"{RESULTS}/selection/{{task}}.parquet",
        figure=report(
            f"{RESULTS}/selection/{{task}}.png",
            caption="../report/selection.rst",
            category="Run",
        ),
    log:
        f"{RESULTS}/logs/selection/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/selection.{{task}}.tsv"
    conda:
        "../envs/astroml.yaml"
    params:
        rows=lambda wildcards, input: parts("rows", input.rows),
        store=lambda wildcards, input: flags("store", input.store),
        version=VERSIONS["selection"],
    message:
        "Counting which injected {wildcards.task} signals were found"
    shell:
        "astroml selection"
        " --task {wildcards.task}"
        " {params.rows}"
        " {params.store}"
        " --figure {output.figure:q}"
        " --out {output.table:q}"
        " 2>&1 | tee {log:q}"
