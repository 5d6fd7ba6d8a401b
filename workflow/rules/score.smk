# REQUIRED INPUTS: rows and the labelled store that they came from
# OUTPUTS:         metrics/<task>.json, measured on the test split
# COMMANDS:        astroml score


rule score:
    input:
        rows=lambda wildcards: rows_of(wildcards.task, LABELLED),
        maps=lambda wildcards: maps_of(wildcards.task, LABELLED),
        store=lambda wildcards: complete(LABELLED, set_of(wildcards.task)),
    output:
        metrics=f"{RESULTS}/metrics/{{task}}.json",
    log:
        f"{RESULTS}/logs/score/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score.{{task}}.tsv"
    conda:
        "../envs/astroml.yaml"
    params:
        rows=lambda wildcards, input: parts("rows", input.rows),
        store=lambda wildcards: parts("store", shards(LABELLED, set_of(wildcards.task))),
        bootstrap=CONFIG.report.bootstrap,
        version=VERSIONS["score"],
    message:
        "Measuring the {wildcards.task} rows against the labels of the test split"
    shell:
        "astroml score"
        " --task {wildcards.task}"
        " {params.rows}"
        " {params.store}"
        " --split test"
        " --bootstrap {params.bootstrap}"
        " --out {output.metrics:q}"
        " 2>&1 | tee {log:q}"
