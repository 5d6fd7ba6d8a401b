# REQUIRED INPUTS: a labelled store: the run's own, or the simulated sky
# OUTPUTS:         weights/<task>.safetensors and its card, weights/<task>.json; of an ensemble
#                  weights/<task>.<member>.safetensors for each member
# COMMANDS:        astroml train


rule train:
    input:
        store=lambda wildcards: complete(LABELLED, set_of(wildcards.task)),
        survey=lambda wildcards: SURVEY if fresh(wildcards.task) else [],
    output:
        weights=f"{RESULTS}/weights/{{task}}{{member}}.safetensors",
        card=f"{RESULTS}/weights/{{task}}{{member}}.json",
    log:
        f"{RESULTS}/logs/train/{{task}}{{member}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train.{{task}}{{member}}.tsv"
    conda:
        "../envs/astroml.yaml"
    threads: 8
    resources:
        gpu=1,
        device=CONFIG.infer.device,
        track=CONFIG.track,
    params:
        store=lambda wildcards: parts("store", shards(LABELLED, set_of(wildcards.task))),
        options=lambda wildcards: task_options(wildcards.task, late=False),
        fresh=lambda wildcards: (
            f"{flag('survey', SURVEY)} {flag('sky', options('simulate', wildcards.task))}"
            if fresh(wildcards.task)
            else ""
        ),
        member=lambda wildcards: wildcards.member.lstrip(".") or 0,
        work=f"{RESULTS}/train/{{task}}{{member}}",
        version=VERSIONS["train"],
    message:
        "Training the {wildcards.task}{wildcards.member} network"
    shell:
        "astroml train"
        " --task {wildcards.task}"
        " {params.store}"
        " --options {params.options:q}"
        " {params.fresh}"
        " --member {params.member}"
        " --device {resources.device}"
        " --work {params.work:q}"
        " --track {resources.track}"
        " --out {output.weights:q}"
        " 2>&1 | tee {log:q}"


for task in TASKS:

    rule:
        name:
            f"train_{task}"
        input:
            trained_weights(task),
        message:
            f"The {task} network is trained"
