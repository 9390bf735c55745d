"""The same work on many machines: images, or the slabs of one that is larger than memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

from unetkit.application.folder import predict_jobs, weigh
from unetkit.application.large import join_slabs, start
from unetkit.application.request import Job, Request
from unetkit.cluster import connect
from unetkit.data.normalize import Normalization
from unetkit.errors import InputError
from unetkit.machine import cores
from unetkit.prediction import Plan
from unetkit.segmenter import Segmenter, Source, reload

_PATIENCE = 30  # seconds in which the first worker must come
_AT_ONCE = 8  # images of a task, so that a worker decodes the next while it computes

# What became of an image: done, too large for one task, or what, where and cure of its fault.
Outcome = Literal["done", "large"] | tuple[str, str | None, str | None]
Neighbours = Mapping[str, int]  # workers on the machine of each worker, by its address


def predict_on_cluster(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    request: Request,
    address: str,
    *,
    on_image: Callable[[int, int, str], None] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> Generator[tuple[Job, InputError | None]]:
    """Predict images on a Dask cluster whose workers see the same files under the same paths.

    Small images are shared out whole, large ones slab by slab; what a worker has not finished when
    it dies is done by another. The results are those of one process, to the bit on equal machines.

    Raises:
        InputError: `distributed` is not installed, nobody answers at the address or no longer, the
            model has no file that workers could load, or the disk refuses.
    """
    source = segmenter.source
    if source is None:
        raise InputError(
            "workers can only load a model from its file", cure="give the path of the model"
        )
    with connect(address) as client:
        _await_workers(client, address)
        workers = client.scheduler_info(n_workers=-1)["workers"]
        hosts = Counter(str(worker["host"]) for worker in workers.values())
        neighbours = {name: hosts[str(worker["host"])] for name, worker in workers.items()}
        parts = [tuple(jobs[i : i + _AT_ONCE]) for i in range(0, len(jobs), _AT_ONCE)]
        futures = [
            client.submit(_predict_images, source, part, request, neighbours, pure=False)
            for part in parts
        ]
        done = 0
        for part, future in zip(parts, futures, strict=True):
            for job, outcome in zip(part, _result(future, address), strict=True):
                if on_image is not None:
                    on_image(done, len(jobs), job.case.image.name)
                done += 1
                fault = None
                if outcome == "large":
                    try:
                        _predict_slabs(
                            segmenter, client, source, job, request, neighbours, address, on_tile
                        )
                    except InputError as error:
                        fault = error
                elif outcome != "done":
                    what, where, cure = outcome
                    fault = InputError(what, where=where, cure=cure)
                yield job, fault
    if on_image is not None:
        on_image(len(jobs), len(jobs), "")


def _predict_slabs(
    segmenter: Segmenter,
    client: Any,
    source: Source,
    job: Job,
    request: Request,
    neighbours: Neighbours,
    address: str,
    on_tile: Callable[[int, int], None] | None,
) -> None:
    """Spread the slabs of one image; this process plans them and makes the file of them."""
    from distributed import as_completed

    with start(segmenter, job, request) as started:
        futures = [
            client.submit(
                _predict_slab, source, job, request, replace(started.plan, slabs=(slab,)),
                started.normalizations, started.key, neighbours, pure=False,
            )
            for slab in started.plan.slabs
            if slab.index in started.left
        ]  # fmt: skip
        waiting: Any = as_completed(futures, loop=client.loop)  # type: ignore[no-untyped-call]
        try:
            for done, future in enumerate(waiting, start=1):
                _result(future, address)
                if on_tile is not None:
                    on_tile(done, len(futures))
        finally:
            client.cancel(futures)


def _predict_images(
    source: Source, jobs: Sequence[Job], request: Request, neighbours: Neighbours
) -> list[Outcome]:
    """Predict images in a worker; those that are too large are left to be cut."""
    segmenter = _load(source, _threads(neighbours))
    outcomes: dict[str, Outcome] = {}
    small: list[Job] = []
    for job in jobs:
        try:
            large = weigh(segmenter, job, request) == "large"
        except InputError as error:
            outcomes[job.case.id] = _told(error)
            continue
        if large:
            outcomes[job.case.id] = "large"
        else:
            small.append(job)
    for job, fault in predict_jobs(segmenter, small, request):
        outcomes[job.case.id] = "done" if fault is None else _told(fault)
    return [outcomes[job.case.id] for job in jobs]


def _predict_slab(
    source: Source,
    job: Job,
    request: Request,
    plan: Plan,
    normalizations: tuple[Normalization, ...],
    key: str,
    neighbours: Neighbours,
) -> None:
    segmenter = _load(source, _threads(neighbours))
    join_slabs(segmenter, job, request, plan, normalizations, key)


@lru_cache(maxsize=2)
def _load(source: Source, threads: int) -> Segmenter:
    """Load the model once in each worker."""
    return reload(source, threads)


def _threads(neighbours: Neighbours) -> int:
    """Give this worker its share of the machine's cores."""
    from distributed import get_worker

    worker: Any = get_worker()
    return max(1, cores() // neighbours.get(str(worker.address), 1))


def _await_workers(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        raise InputError(
            "the Dask scheduler has no workers",
            where=address,
            cure=f"start some with dask worker {address} --nthreads 1",
        ) from None


def _told(error: InputError) -> Outcome:
    where = None if error.where is None else str(error.where)
    return error.what, where, error.cure


def _result(future: Any, address: str) -> Any:
    from distributed import CancelledError, KilledWorker

    try:
        return future.result()
    except KilledWorker:
        raise InputError(
            "several workers died over the same work",
            where=address,
            cure="is there enough memory? Give each its part with --max-memory",
        ) from None
    except CancelledError:
        raise InputError(
            "the Dask scheduler went away",
            where=address,
            cure="start it again and repeat the command with --resume",
        ) from None
