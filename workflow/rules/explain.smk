# REQUIRED INPUTS: the rows of the run's store, the store, and the task's weights
# OUTPUTS:         explain/<task>.h5: where the evidence of the best candidates lies
# COMMANDS:        astroml explain


rule explain:
    input:
        rows=lambda wildcards: rows_of(wildcards.task, "store"),
        store=lambda wildcards: complete("store", set_of(wildcards.task)),
        weights=lambda wildcards: weights_of(wildcards.task),
    output:
        maps=f"{RESULTS}/explain/{{task}}.h5",
    log:
        f"{RESULTS}/logs/explain/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/explain.{{task}}.tsv"
    conda:
        "../envs/astroml.yaml"
    threads: 2
    resources:
        gpu=1,
        device=CONFIG.infer.device,
    params:
        rows=lambda wildcards, input: parts("rows", input.rows),
        store=lambda wildcards: parts("store", shards("store", set_of(wildcards.task))),
        weights=lambda wildcards, input: flags("weights", input.weights),
        top=CONFIG.report.top,
        version=VERSIONS["explain"],
    message:
        "Mapping the evidence of the best {wildcards.task} candidates"
    shell:
        "astroml explain"
        " --task {wildcards.task}"
        " {params.rows}"
        " {params.store}"
        " {params.weights}"
        " --top {params.top}"
        " --device {resources.device}"
        " --out {output.maps:q}"
        " 2>&1 | tee {log:q}"
