# REQUIRED INPUTS: the manifest, the survey's description, and the files that the manifest names
# OUTPUTS:         store/<set>/<chunk>.h5, store/<set>/rejects.parquet, store/<set>/settled
# COMMANDS:        astroml ingest, astroml tally


rule ingest:
    input:
        manifest=manifest,
        survey=SURVEY,
    output:
        store=for_each_set(f"{RESULTS}/store/{{set}}/{{chunk}}.h5"),
        rejects=for_each_set(f"{RESULTS}/store/{{set}}/{{chunk}}.rejects.parquet"),
    log:
        f"{RESULTS}/logs/ingest/{TOGETHER}.{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/ingest.{TOGETHER}.{{chunk}}.tsv"
    conda:
        "../envs/astroml.yaml"
    threads: 1
    resources:
        block=CONFIG.ingest.block,
    params:
        sets=lambda wildcards: flags("set", sets_in(wildcards)),
        store=lambda wildcards, output: flags("out", output.store),
        rejects=lambda wildcards, output: flags("rejects", output.rejects),
        chunk=lambda wildcards: f"{wildcards.chunk}/{len(CHUNKS)}",
        root=lambda wildcards: flag("root", root()),
        splits=lambda wildcards: options("splits"),
        options=lambda wildcards: ingest_options(),
        version=VERSIONS["ingest"],
    message:
        "Ingesting part {wildcards.chunk} of the manifest"
    shell:
        "astroml ingest"
        " --manifest {input.manifest:q}"
        " --survey {input.survey:q}"
        " {params.sets}"
        " {params.root}"
        " --chunk {params.chunk}"
        " --splits {params.splits:q}"
        " --options {params.options:q}"
        " --block {resources.block}"
        " --workers {threads}"
        " {params.rejects}"
        " {params.store}"
        " 2>&1 | tee {log:q}"


rule tally:
    input:
        manifest=manifest,
        store=expand(f"{RESULTS}/store/{{{{set}}}}/{{chunk}}.h5", chunk=CHUNKS),
        rejects=expand(
            f"{RESULTS}/store/{{{{set}}}}/{{chunk}}.rejects.parquet", chunk=CHUNKS
        ),
    output:
        rejects=f"{RESULTS}/store/{{set}}/rejects.parquet",
    log:
        f"{RESULTS}/logs/tally/{{set}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tally.{{set}}.tsv"
    conda:
        "../envs/astroml.yaml"
    params:
        store=lambda wildcards, input: parts("store", input.store),
        rejects=lambda wildcards, input: parts("rejects", input.rejects),
        max_rejects=CONFIG.ingest.max_rejects,
        version=VERSIONS["ingest"],
    message:
        "Checking that every object was stored or rejected"
    shell:
        "astroml tally"
        " --manifest {input.manifest:q}"
        " {params.store}"
        " {params.rejects}"
        " --max-rejects {params.max_rejects}"
        " --out {output.rejects:q}"
        " 2>&1 | tee {log:q}"


rule settle:
    input:
        rejects=lambda wildcards: rejects_of(wildcards.set),
    output:
        touch(settled("{set}")),
    localrule: True
    message:
        "Every {wildcards.set} object was stored or rejected"
