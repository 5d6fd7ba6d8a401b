"""The small workflow through a real SLURM: killed and requeued jobs change no byte of the catalogs.

Needs root on a Debian machine without a SLURM of its own: installs slurm-wlm, starts munge,
slurmctld and slurmd on one node with two partitions, and stops them again. Where that cannot be
done, it says so and ends well.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
ETC = Path("/etc/slurm")
MARK = "# Written by tests/slurm.py\n"
SMALL = yaml.safe_load((ROOT / "tests/small.yaml").read_text())
SMALL["tasks"]["lens"]["train"]["epochs"] = 8  # long enough to be killed in the middle
SMALL["simulate"]["lens"]["objects"] = 160
MADE = [f"catalogs/small/{name}" for name in ("lens.parquet", "lens.fits", "all.parquet")]
PATIENCE = 1800
# One node plays both partitions, with more cores and memory than it has, and a GPU that is none.
CONF = """ClusterName=astroml
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthInfo=cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
MpiDefault=none
ReturnToService=2
MinJobAge=7200
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=256000 Gres=gpu:1
PartitionName=cpu Nodes={host} Default=YES
PartitionName=gpu Nodes={host}
"""


def obstacle() -> str | None:
    """Say why no SLURM can be started here; None if one can."""
    conf = ETC / "slurm.conf"
    if os.geteuid() != 0:
        return "starting SLURM needs root"
    if conf.exists() and not conf.read_text().startswith(MARK):
        return f"{conf} belongs to a SLURM that is here already"
    if not shutil.which("slurmctld"):
        if not shutil.which("apt-get"):
            return "slurmctld is not installed, and there is no apt-get to install it with"
        done = subprocess.run(
            "apt-get update -q && apt-get install -qy --no-install-recommends munge slurm-wlm",
            shell=True, check=False, capture_output=True, text=True,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
        if done.returncode:
            return f"slurm-wlm cannot be installed: {done.stderr.strip().splitlines()[-1]}"
    try:
        import snakemake_executor_plugin_slurm  # noqa: F401
    except ImportError:
        return "the executor plugin is missing; pip install -e '.[slurm]'"
    return None


@contextmanager
def cluster(folder: Path):
    """Start the daemons; stop them and take their files away at the end."""
    host = socket.gethostname()
    for name in ("state", "spool"):
        (folder / name).mkdir()
    ETC.mkdir(exist_ok=True)
    (ETC / "slurm.conf").write_text(MARK + CONF.format(host=host, folder=folder))
    (ETC / "gres.conf").write_text(f"{MARK}NodeName={host} Name=gpu File=/dev/null\n")
    with ExitStack() as stack:
        stack.callback(lambda: [(ETC / f"{name}.conf").unlink() for name in ("slurm", "gres")])
        if subprocess.run("munge -n | unmunge", shell=True, capture_output=True).returncode:
            subprocess.run(["install", "-d", "-o", "munge", "/run/munge"], check=True)
            munge = ["runuser", "-u", "munge", "--", "munged", "--foreground"]
            stack.enter_context(daemon(munge, folder / "munged.log"))
            time.sleep(1)
        stack.enter_context(daemon(["slurmctld", "-D"], folder / "slurmctld.log"))
        time.sleep(1)
        stack.enter_context(daemon(["slurmd", "-D"], folder / "slurmd.log"))
        wait("an idle node", lambda: "idle" in heard("sinfo", "--noheader"), patience=60)
        yield


@contextmanager
def daemon(command: list[str], log: Path):
    """Run a program in the foreground of its own session, and end it."""
    with log.open("w") as out:
        running = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            yield
        finally:
            running.terminate()
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()


def heard(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def wait(what: str, found, patience: float = PATIENCE, alive: subprocess.Popen | None = None):
    """Return what ``found`` returns as soon as that is true."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if answer := found():
            return answer
        if alive is not None and alive.poll() is not None:
            raise SystemExit(f"the run ended before there was {what}")
        time.sleep(0.05)
    raise SystemExit(f"no {what} within {patience:.0f} s")


def running(name: str) -> str | None:
    """Return the id of a running job whose comment or name holds a word."""
    lines = heard("squeue", "--noheader", "--states=RUNNING", "--format=%i|%k|%j").splitlines()
    return next((line.split("|")[0] for line in lines if name in line), None)


def workflow(folder: Path, profile: str, *words: str) -> subprocess.Popen:
    """Start the workflow in a folder of its own."""
    folder.mkdir(exist_ok=True)
    (folder / "run.yaml").write_text(yaml.safe_dump(SMALL))
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
        *("--directory", str(folder), "--profile", str(ROOT / "workflow/profiles" / profile)),
        *("--configfile", str(folder / "run.yaml"), *words, "--", *MADE),
    ]
    with (folder / "run.log").open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment())


def environment() -> dict[str, str]:
    """Return the environment with this Python's programs and this checkout's package."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}


def submitted(folder: Path, *words: str) -> subprocess.Popen:
    """Start the workflow through SLURM; without accounting, squeue tells the states of jobs."""
    return workflow(
        folder, "slurm", "--slurm-no-account", "--slurm-status-command", "squeue",
        "--slurm-init-seconds-before-status-checks", "2", "--max-threads", "2",
        *words,
    )  # fmt: skip


def kill(job: str) -> None:
    subprocess.run(["scancel", "--signal=KILL", job], check=True)


def check_kills(folder: Path) -> None:
    """Kill a job of a run without retries, and two of the next one: retried and requeued."""
    run = submitted(folder, "--retries", "0")
    store = folder / "results/small/store/galaxy"
    ingest = wait("an ingest job", lambda: running("ingest"), alive=run)
    wait("a shard begun", lambda: any(store.glob("*.h5*")), alive=run)
    kill(ingest)
    assert run.wait(PATIENCE) != 0, "a run goes on with a job killed and no retry"
    assert not (folder / "catalogs/small/lens.parquet").exists()
    print("a killed job of ingest stops the run", flush=True)

    run = submitted(folder)
    saved = folder / "results/small/train/lens/lens.checkpoint"
    wait("a checkpoint", saved.exists, alive=run)
    kill(wait("a training job", lambda: running("train"), alive=run))
    print("training killed after its first checkpoint", flush=True)
    infer = wait("an infer job", lambda: running("infer"), alive=run)
    subprocess.run(["scontrol", "requeue", infer], check=True)
    print("infer requeued", flush=True)
    assert run.wait(PATIENCE) == 0, (folder / "run.log").read_text()[-5000:]
    assert "resumed after epoch" in (folder / "results/small/logs/train/lens.log").read_text()


def check_jobs() -> None:
    """Hold every job that there was against what the profile promises."""
    jobs = heard("scontrol", "--oneliner", "show", "job").splitlines()
    facts = [dict(re.findall(r"(\w+)=(\S+)", job)) for job in jobs]
    for job in facts:
        with_gpu = "gpu" in job.get("TresPerJob", "")
        assert with_gpu == (job["Partition"] == "gpu"), job
    train = [job["MinMemoryNode"] for job in facts if "train" in job.get("Comment", "")]
    assert train == ["16000M", "32000M"], train
    assert "1" in {job["Restarts"] for job in facts}, "no job was requeued"
    parts = [job for job in facts if "ingest" in job.get("Comment", "")]
    assert len(parts) == 2, "the chunks of ingest are not one job, submitted twice"
    print(f"{len(facts)} jobs: those with a GPU on partition gpu, the others on cpu", flush=True)


def check_dask(folder: Path) -> None:
    """Ingest by Dask workers that are jobs; one is killed in the middle."""
    survey = folder / "results/small/survey/galaxy/manifest.csv"
    words = [sys.executable, "-m", "astroml.cli", "ingest", "--manifest", str(survey)]
    words += ["--options", "{size: {galaxy: 40}}", "--block", "1"]

    def told(name: str, *more: str) -> tuple[list[str], Path]:
        out = folder / f"{name}.h5"
        return [*words, "--out", str(out), "--rejects", f"{out}.rejects", *more], out

    alone, expected = told("alone")
    subprocess.run(alone, check=True, env=environment(), capture_output=True)
    spread, found = told("spread", "--scheduler", "slurm", "--workers", "2")
    size = {"CORES": "1", "MEMORY": "2GB", "QUEUE": "cpu", "WALLTIME": "01:00:00"}
    sizes = {f"DASK_JOBQUEUE__SLURM__{name}": value for name, value in size.items()}
    with (folder / "dask.log").open("w") as log:
        run = subprocess.Popen(
            spread, cwd=folder, env=environment() | sizes, stdout=log, stderr=log
        )
    wait("a shard begun", lambda: list(folder.glob("spread.h5*.part")), alive=run)
    kill(wait("a worker", lambda: running("dask-worker"), alive=run))
    assert run.wait(PATIENCE) == 0, (folder / "dask.log").read_text()[-3000:]
    assert found.read_bytes() == expected.read_bytes()
    print("ingest by two jobs, one killed, writes the bytes of one process", flush=True)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the daemons are stopped all the same
    if why := obstacle():
        print(f"skipped: {why}")
        return
    with tempfile.TemporaryDirectory(prefix="slurm") as name:
        folder = Path(name)
        local = workflow(folder / "local", "local", "--cores", "2")
        assert local.wait() == 0, (folder / "local/run.log").read_text()[-5000:]
        print("local run done", flush=True)
        with cluster(folder):
            check_kills(folder / "slurm")
            check_jobs()
            check_dask(folder / "slurm")
        for made in MADE:
            one, other = (folder / run / made for run in ("local", "slurm"))
            assert one.read_bytes() == other.read_bytes(), f"{made} differs"
    print(f"the same bytes with and without SLURM: {', '.join(MADE)}")


if __name__ == "__main__":
    main()
