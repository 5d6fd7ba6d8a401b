"""Ingest on a cluster: the same bytes, whoever works, and a worker that dies costs only time."""

import os
import re
import signal
import sys
import threading

import numpy as np
import pytest
from distributed import Client, LocalCluster
from ingest_fits import sky, survey, write_cube, write_manifest

from astroml.config import Ingest
from astroml.errors import AstromlError
from astroml.ingest import run as module
from astroml.ingest import schedule
from astroml.ingest.clock import STEPS, Clock
from astroml.ingest.run import ingest
from astroml.store import open_store

OBJECTS = 24


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def survey_files(tmp_path_factory):
    """Return a manifest, and shard and rejects as one process makes them."""
    folder = tmp_path_factory.mktemp("survey")
    rows = [{"object_id": n, "ra": 150, "dec": 2, "file": f"{n}.fits"} for n in range(OBJECTS)]
    for n in range(OBJECTS):
        write_cube(folder / f"{n}.fits", sky(n))
    (folder / "5.fits").unlink()
    manifest = write_manifest(folder / "m.csv", rows)
    ingest(manifest, survey(), folder / "0.h5", folder / "0.parquet", Ingest(block=1))
    return manifest, (folder / "0.h5").read_bytes(), (folder / "0.parquet").read_bytes()


def made(folder) -> tuple:
    return (folder / "0.h5").read_bytes(), (folder / "0.parquet").read_bytes()


def test_a_scheduler_by_address_makes_the_same_bytes(cluster, survey_files, tmp_path, capsys):
    manifest, *expected = survey_files
    address = cluster.scheduler_address
    out, rejects = tmp_path / "0.h5", tmp_path / "0.parquet"
    ingest(manifest, survey(), out, rejects, Ingest(block=1), scheduler=address)
    assert list(made(tmp_path)) == expected
    said = capsys.readouterr().out
    assert f"Dask dashboard: {cluster.dashboard_link}\n" in said
    numbers = re.search("time and memory per step: (.*)", said)[1]
    found = re.findall(r"(\w+) ([\d.]+) s, (\d+) MB", numbers)
    assert tuple(step for step, _, _ in found) == STEPS
    assert all(int(memory) > 20 for _, _, memory in found)
    with Client(address) as client:  # the user's cluster is still there
        assert client.submit(abs, -3).result() == 3


def test_a_killed_worker_costs_only_its_blocks(cluster, survey_files, tmp_path, monkeypatch):
    manifest, *expected = survey_files
    address, killed = cluster.scheduler_address, []

    class Killing(module.Progress):
        def advance(self, count=1):
            super().advance(count)
            if not killed:
                with Client(address, set_as_default=False) as client:
                    killed.append(sorted(client.run(os.getpid).values())[0])
                os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(module, "Progress", Killing)
    out, rejects = tmp_path / "0.h5", tmp_path / "0.parquet"
    ingest(manifest, survey(), out, rejects, Ingest(block=1), scheduler=address)
    assert killed
    assert list(made(tmp_path)) == expected
    with pytest.raises(ProcessLookupError):
        os.kill(killed[0], 0)


def test_few_blocks_are_in_flight_on_a_cluster(cluster):
    taken = []
    cluster.wait_for_workers(2)  # a new one takes the killed one's place

    def jobs():
        for n in range(40):
            taken.append(n)
            yield n

    results = schedule.in_order(abs, jobs(), scheduler=cluster.scheduler_address)
    assert next(results) == 0
    assert len(taken) == schedule.AHEAD * 2
    assert list(results) == list(range(1, 40))


def test_a_block_that_kills_every_worker_is_told(cluster):
    with pytest.raises(AstromlError, match="a worker process died several times"):
        list(schedule.in_order(os._exit, [1], scheduler=cluster.scheduler_address))


def test_a_scheduler_without_workers_is_told(monkeypatch):
    monkeypatch.setattr(schedule, "PATIENCE", 1)
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=":0") as empty,
        pytest.raises(AstromlError, match="has no worker after 1 s"),
    ):
        list(schedule.in_order(abs, [1], scheduler=empty.scheduler_address))


def test_the_clock_adds_up_workers():
    clock, other = Clock(), Clock()
    for one in (clock, other):
        with one.step("read"):
            threading.Event().wait(0.02)
        one.weigh("read")
    clock.add(other)
    assert 0.04 <= clock.seconds["read"] < 1
    assert clock.seconds["write"] == 0
    assert clock.memory["read"] == pytest.approx(other.memory["read"], rel=0.2)


def test_workers_that_are_jobs_need_a_size():
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(AstromlError, match="the cores and memory of a job are not given; say so"):
        list(schedule.in_order(abs, [1], workers=2, scheduler="slurm"))


def test_workers_that_are_jobs_need_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(AstromlError, match=r"pip install 'astroml-survey\[slurm\]'"):
        list(schedule.in_order(abs, [1], workers=2, scheduler="slurm"))


def test_jobs_go_to_the_partition_that_dask_is_told_of():
    pytest.importorskip("dask_jobqueue")
    size = {"cores": 1, "memory": "2GB", "queue": "short", "interface": "lo"}
    with schedule.slurm_cluster(0, **size) as cluster:
        script = cluster.job_script()
    assert "#SBATCH -p short\n" in script
    assert "--mem=2G" in script


def test_how_the_work_is_cut_up_is_not_in_the_shard(survey_files, tmp_path):
    manifest, *expected = survey_files
    out, rejects = tmp_path / "0.h5", tmp_path / "0.parquet"
    ingest(manifest, survey(), out, rejects, Ingest(block=1, chunks=9, max_rejects=0.9))
    assert list(made(tmp_path)) == expected
    header, image = open_store(out).header, open_store(out).read(np.arange(9), ["image"])["image"]
    ingest(manifest, survey(), out, rejects, Ingest(block=7))
    again = open_store(out)
    assert again.header == header
    assert np.array_equal(again.read(np.arange(9), ["image"])["image"], image)
