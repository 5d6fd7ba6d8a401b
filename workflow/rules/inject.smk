# REQUIRED INPUTS: the run's store, as hosts
# OUTPUTS:         injected/<set>/0.h5: the same cutouts with simulated signals added
# COMMANDS:        astroml inject


rule inject:
    input:
        store=lambda wildcards: complete("store", wildcards.set),
        survey=SURVEY,
    output:
        store=f"{RESULTS}/injected/{{set}}/0.h5",
    log:
        f"{RESULTS}/logs/inject/{{set}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/inject.{{set}}.tsv"
    conda:
        "../envs/astroml.yaml"
    threads: 2
    resources:
        gpu=1,
    params:
        store=lambda wildcards: parts("store", shards("store", wildcards.set)),
        options=lambda wildcards: options("inject"),
        sky=lambda wildcards: options("simulate", CONFIG.inject.task),
        version=VERSIONS["inject"],
    message:
        "Adding simulated signals to the {wildcards.set} cutouts"
    shell:
        "astroml inject"
        " {params.store}"
        " --survey {input.survey:q}"
        " --options {params.options:q}"
        " --sky {params.sky:q}"
        " --out {output.store:q}"
        " 2>&1 | tee {log:q}"
