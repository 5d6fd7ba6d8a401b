# REQUIRED INPUTS: the survey's description
# OUTPUTS:         survey/<set>: FITS files, manifest, truth table; sky/<set>: a labelled store
# COMMANDS:        astroml simulate


rule simulate:
    input:
        survey=SURVEY,
    output:
        manifest=f"{RESULTS}/survey/{{set}}/manifest.csv",
        truth=f"{RESULTS}/survey/{{set}}/truth.parquet",
        images=directory(f"{RESULTS}/survey/{{set}}/images"),
    log:
        f"{RESULTS}/logs/simulate/{{set}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate.{{set}}.tsv"
    conda:
        "../envs/astroml.yaml"
    threads: 2
    resources:
        gpu=1,
    params:
        out=lambda wildcards, output: os.path.dirname(output.manifest),
        tasks=lambda wildcards: flags("task", sky_tasks(wildcards.set)),
        options=lambda wildcards: skies(wildcards.set),
        bands=flag("bands", bands()),
        size=lambda wildcards: CONFIG.ingest.size[wildcards.set],
        scale=lambda wildcards: flag("scale", CONFIG.ingest.scale.get(wildcards.set)),
        seed=CONFIG.seed,
        version=VERSIONS["simulate"],
    message:
        "Simulating the {wildcards.set} survey as FITS files"
    shell:
        "astroml simulate"
        " {params.tasks}"
        " --survey {input.survey:q}"
        " --to fits"
        " {params.bands}"
        " --size {params.size}"
        " {params.scale}"
        " --seed {params.seed}"
        " --options {params.options:q}"
        " --out {params.out:q}"
        " 2>&1 | tee {log:q}"


rule simulate_sky:
    input:
        survey=SURVEY,
    output:
        store=f"{RESULTS}/sky/{{set}}/0.h5",
    log:
        f"{RESULTS}/logs/simulate_sky/{{set}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_sky.{{set}}.tsv"
    conda:
        "../envs/astroml.yaml"
    threads: 2
    resources:
        gpu=1,
    params:
        tasks=lambda wildcards: flags("task", sky_tasks(wildcards.set)),
        options=lambda wildcards: skies(wildcards.set),
        splits=lambda wildcards: options("splits"),
        bands=flag("bands", bands()),
        size=lambda wildcards: CONFIG.ingest.size[wildcards.set],
        scale=lambda wildcards: flag("scale", CONFIG.ingest.scale.get(wildcards.set)),
        seed=CONFIG.seed,
        version=VERSIONS["simulate"],
    message:
        "Simulating a labelled {wildcards.set} sky to train on"
    shell:
        "astroml simulate"
        " {params.tasks}"
        " --survey {input.survey:q}"
        " --to store"
        " {params.bands}"
        " --size {params.size}"
        " {params.scale}"
        " --seed {params.seed}"
        " --splits {params.splits:q}"
        " --options {params.options:q}"
        " --out {output.store:q}"
        " 2>&1 | tee {log:q}"
