# REQUIRED INPUTS: a labelled store: the run's own, or the simulated sky
# OUTPUTS:         weights/<task>.safetensors and its card, weights/<task>.json
# COMMANDS:        astroml train


rule train:
    input:
        store=lambda wildcards: shards(LABELLED, set_of(wildcards.task)),
        settled=lambda wildcards: (
            settled(set_of(wildcards.task)) if LABELLED == "store" else []
        ),
    output:
        weights=f"{RESULTS}/weights/{{task}}.safetensors",
        card=f"{RESULTS}/weights/{{task}}.json",
    log:
        f"{RESULTS}/logs/train/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train.{{task}}.tsv"
    conda:
        "../envs/astroml.yaml"
    threads: 8
    resources:
        gpu=1,
        mem="8GB",
    params:
        store=lambda wildcards, input: flags("store", input.store),
        options=lambda wildcards: options("tasks", wildcards.task),
        device=CONFIG.infer.device,
        work=f"{RESULTS}/train/{{task}}",
        version=VERSIONS["train"],
    message:
        "Training the {wildcards.task} network"
    shell:
        "astroml train"
        " --task {wildcards.task}"
        " {params.store}"
        " --options {params.options:q}"
        " --device {params.device}"
        " --work {params.work:q}"
        " --out {output.weights:q}"
        " 2>&1 | tee {log:q}"


for task in TASKS:

    rule:
        name:
            f"train_{task}"
        input:
            f"{RESULTS}/weights/{task}.safetensors",
        message:
            f"The {task} network is trained"
