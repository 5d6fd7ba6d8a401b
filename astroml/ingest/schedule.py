"""Run blocks in this process or on Dask workers; results come in order, a few in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

from astroml.errors import AstromlError

AHEAD = 2
"""Blocks in flight per worker: one at work, one waiting."""

PATIENCE = 60
"""Seconds to wait for the first worker."""


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
        Processes; 1 works here, without starting anything.
    scheduler : str, optional
        Address of a running Dask scheduler to use instead.
    """
    if workers <= 1 and not scheduler:
        yield from map(work, jobs)
        return
    with ExitStack() as stack:
        client = stack.enter_context(_client(stack, workers, scheduler))
        print(f"Dask dashboard: {client.dashboard_link}", flush=True)
        room = AHEAD * _workers(client, scheduler)
        waiting: deque = deque()
        for job in jobs:
            waiting.append(client.submit(work, job, pure=False))
            if len(waiting) >= room:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())


def _client(stack: ExitStack, workers: int, scheduler: str | None):
    from distributed import Client, LocalCluster

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


def _workers(client, scheduler: str | None) -> int:
    """Wait for the first worker and return how many there are."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        raise AstromlError(
            f"the Dask scheduler at {scheduler} has no worker after {PATIENCE} s; start some"
        ) from None
    return len(client.scheduler_info(n_workers=-1)["workers"])


def _result(future):
    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        raise AstromlError(
            "ingest: a worker process died several times on the same block, probably for lack of "
            "memory; use fewer workers or a smaller 'block'"
        ) from None
