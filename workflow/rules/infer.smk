# REQUIRED INPUTS: a shard and the task's weights, of each member of an ensemble
# OUTPUTS:         rows/<task>/<store>/<chunk>.parquet, and .maps.h5 of tasks that draw maps
# COMMANDS:        astroml infer
# Device and batch size change no row: they are resources, no params, so that nothing reruns.


rule infer:
    input:
        store=lambda wildcards: f"{RESULTS}/{{store}}/{set_of(wildcards.task)}/{{chunk}}.h5",
        settled=lambda wildcards: (
            settled(set_of(wildcards.task)) if wildcards.store == "store" else []
        ),
        weights=lambda wildcards: weights_of(wildcards.task),
    output:
        rows=f"{RESULTS}/rows/{{task}}/{{store}}/{{chunk}}.parquet",
    log:
        f"{RESULTS}/logs/infer/{{task}}.{{store}}.{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/infer.{{task}}.{{store}}.{{chunk}}.tsv"
    wildcard_constraints:
        task="|".join(task for task in TASKS if task not in MAPPED) or "none",
    conda:
        "../envs/astroml.yaml"
    threads: 8
    resources:
        gpu=1,
        device=CONFIG.infer.device,
        batch_size=CONFIG.infer.batch_size,
    params:
        weights=lambda wildcards, input: flags("weights", input.weights),
        late=lambda wildcards: flag("late", task_options(wildcards.task, late=True)),
        version=VERSIONS["infer"],
    message:
        "Scoring part {wildcards.chunk} of the {wildcards.store} with the {wildcards.task} network"
    shell:
        "astroml infer"
        " --task {wildcards.task}"
        " --store {input.store:q}"
        " {params.weights}"
        " --options '{{batch_size: {resources.batch_size}}}'"
        " {params.late}"
        " --device {resources.device}"
        " --out {output.rows:q}"
        " 2>&1 | tee {log:q}"


use rule infer as infer_maps with:
    output:
        rows=f"{RESULTS}/rows/{{task}}/{{store}}/{{chunk}}.parquet",
        maps=f"{RESULTS}/rows/{{task}}/{{store}}/{{chunk}}.maps.h5",
    wildcard_constraints:
        task="|".join(MAPPED) or "none",
