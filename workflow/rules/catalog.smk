# REQUIRED INPUTS: a task's rows of all parts of the run's store
# OUTPUTS:         catalogs/<run>/<task>.parquet and other formats, the task's own, and its maps;
#                  catalogs/<run>/all.parquet, the tasks joined by object
# COMMANDS:        astroml catalog


rule catalog:
    input:
        rows=lambda wildcards: rows_of(wildcards.task, "store"),
    output:
        parquet=f"{CATALOGS}/{{task}}.parquet",
        others=expand(f"{CATALOGS}/{{task}}.{{kind}}", kind=FORMATS, allow_missing=True),
    log:
        f"{RESULTS}/logs/catalog/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/catalog.{{task}}.tsv"
    conda:
        "../envs/astroml.yaml"
    params:
        rows=lambda wildcards, input: parts("rows", input.rows),
        outs=lambda wildcards, output: flags("out", output),
        version=VERSIONS["catalog"],
    message:
        "Writing the {wildcards.task} catalog"
    shell:
        "astroml catalog"
        " --task {wildcards.task}"
        " {params.rows}"
        " {params.outs}"
        " 2>&1 | tee {log:q}"


rule join:
    input:
        catalogs=expand(f"{CATALOGS}/{{task}}.parquet", task=JOINED),
    output:
        parquet=f"{CATALOGS}/all.parquet",
    log:
        f"{RESULTS}/logs/join.log",
    benchmark:
        f"{RESULTS}/benchmarks/join.tsv"
    conda:
        "../envs/astroml.yaml"
    params:
        catalogs=lambda wildcards, input: flags("catalog", input.catalogs),
        version=VERSIONS["catalog"],
    message:
        "Joining the catalogs by object"
    shell:
        "astroml catalog"
        " {params.catalogs}"
        " --out {output.parquet:q}"
        " 2>&1 | tee {log:q}"


rule export:
    input:
        catalog=f"{CATALOGS}/{{task}}.parquet",
    output:
        file=f"{CATALOGS}/{{task}}.{{kind}}",
    log:
        f"{RESULTS}/logs/export/{{task}}.{{kind}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/export.{{task}}.{{kind}}.tsv"
    wildcard_constraints:
        kind="|".join({name.split(".")[1] for name in EXPORTS}) or "none",
    conda:
        "../envs/astroml.yaml"
    params:
        version=VERSIONS["catalog"],
    message:
        "Writing the {wildcards.task} catalog as {wildcards.kind}"
    shell:
        "astroml catalog"
        " --catalog {input.catalog:q}"
        " --out {output.file:q}"
        " 2>&1 | tee {log:q}"


rule masks:
    input:
        rows=lambda wildcards: rows_of(wildcards.task, "store"),
        maps=lambda wildcards: maps_of(wildcards.task, "store"),
    output:
        file=f"{CATALOGS}/{{task}}_masks.h5",
    log:
        f"{RESULTS}/logs/masks/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/masks.{{task}}.tsv"
    conda:
        "../envs/astroml.yaml"
    params:
        rows=lambda wildcards, input: parts("rows", input.rows),
        version=VERSIONS["catalog"],
    message:
        "Gathering the maps of the {wildcards.task} catalog"
    shell:
        "astroml catalog"
        " --task {wildcards.task}"
        " {params.rows}"
        " --out {output.file:q}"
        " 2>&1 | tee {log:q}"
