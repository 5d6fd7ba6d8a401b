"""Run blocks in this process or on Dask workers; results come in order, a few in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from astroml.errors import AstromlError

AHEAD = 2
"""Blocks in flight per worker: one at work, one waiting."""

PATIENCE = 60
"""Seconds to wait for the first worker."""

QUEUED = 24 * 3600
"""Seconds to wait for the first worker where a batch system starts them."""


def in_order(
    work: Callable, jobs: Iterable, workers: int = 1, scheduler: str | None = None
) -> Iterator:
    """Yield ``work(job)`` for each job, in the jobs' order.

    Parameters
    ----------
    work : callable
        Importable by name, so that a worker finds it.
    jobs : iterable
        Taken from only as fast as results are used up: memory does not grow with their number.
    workers : int
        Processes; 1 works here, without starting anything. With ``slurm``, jobs.
    scheduler : str, optional
        Address of a running Dask scheduler to use instead; ``slurm`` submits workers as jobs.

    Notes
    -----
    A worker that dies costs the blocks it had in hand, which another one does.
    """
    if workers <= 1 and not scheduler:
        yield from map(work, jobs)
        return
    with ExitStack() as stack:
        client = stack.enter_context(_client(stack, workers, scheduler))
        print(f"Dask dashboard: {client.dashboard_link}", flush=True)
        _wait(client, scheduler)
        waiting: deque = deque()
        for job in jobs:
            waiting.append(client.submit(work, job, pure=False))
            if len(waiting) >= AHEAD * _workers(client):
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())


def _client(stack: ExitStack, workers: int, scheduler: str | None):
    from distributed import Client, LocalCluster

    if scheduler == "slurm":
        return Client(stack.enter_context(slurm_cluster(workers)))
    if scheduler:
        try:
            return Client(scheduler, timeout=30)
        except (OSError, ValueError) as fault:
            raise AstromlError(f"no Dask scheduler answers at {scheduler} ({fault})") from None
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        host="127.0.0.1",
    )
    return Client(stack.enter_context(cluster))


def slurm_cluster(jobs: int, **directives: Any):
    """Return a Dask cluster whose workers are SLURM jobs; one that ends is replaced.

    Parameters
    ----------
    jobs : int
        How many.
    **directives
        Of ``dask_jobqueue.SLURMCluster``, in place of those in Dask's own configuration.

    Raises
    ------
    AstromlError
        If dask-jobqueue is not installed, or nobody says how large a job is.
    """
    import dask

    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise AstromlError(
            "ingest: scheduler slurm needs dask-jobqueue; pip install 'astroml-survey[slurm]'"
        ) from None
    size = {name: dask.config.get(f"jobqueue.slurm.{name}", None) for name in ("cores", "memory")}
    if missing := [name for name, value in (size | directives).items() if value is None]:
        raise AstromlError(
            f"ingest: scheduler slurm: the {' and '.join(missing)} of a job are not given; say so "
            "under jobqueue: slurm: in ~/.config/dask/jobqueue.yaml, or in "
            "DASK_JOBQUEUE__SLURM__CORES, __MEMORY, __QUEUE"
        )
    cluster = SLURMCluster(**directives)
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
    return cluster


def _wait(client, scheduler: str | None) -> None:
    """Wait for the first worker."""
    patience = QUEUED if scheduler == "slurm" else PATIENCE
    try:
        client.wait_for_workers(1, timeout=patience)
    except TimeoutError:
        raise AstromlError(
            f"the Dask scheduler at {scheduler} has no worker after {patience} s; start some"
        ) from None


def _workers(client) -> int:
    """Return how many workers there are now: on a cluster they come and go."""
    return max(len(client.scheduler_info(n_workers=-1)["workers"]), 1)


def _result(future):
    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        raise AstromlError(
            "ingest: a worker process died several times on the same block, probably for lack of "
            "memory; use fewer workers or a smaller 'block'"
        ) from None
