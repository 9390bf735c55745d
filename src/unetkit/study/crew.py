"""Who does the cells: processes of this machine, or a Dask cluster."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any

from unetkit.cluster import connect
from unetkit.errors import InputError
from unetkit.machine import cores
from unetkit.study.work import Job, fail, is_done, read_note, work

OnCell = Callable[[Job, dict[str, Any]], None]


def run_here(jobs: Sequence[Job], workers: int, on_cell: OnCell) -> None:
    """Run cells in processes of this machine, `workers` at a time, each a fresh process.

    The cores are shared among them, so that together they have no more threads than there are
    cores. A process that dies, of lack of memory for example, fails its own cell only.
    """
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(kind)
    if kind == "forkserver":
        # Imports torch once, and what its optimisers import in a second when one is first made.
        context.set_forkserver_preload(["unetkit.study.work", "torch._dynamo"])
    share = max(1, cores() // workers)
    waiting = [job if job.threads else replace(job, threads=share) for job in reversed(jobs)]
    at_work: dict[Any, tuple[Any, Job]] = {}
    try:
        while waiting or at_work:
            while waiting and len(at_work) < workers:
                job = waiting.pop()
                process = context.Process(target=_quiet_work, args=(job,), daemon=True)
                process.start()
                at_work[process.sentinel] = process, job
            for sentinel in wait(list(at_work)):
                process, job = at_work.pop(sentinel)
                process.join()
                on_cell(job, _outcome(job, process.exitcode))
    finally:
        for process, _ in at_work.values():
            process.terminate()
        for process, _ in at_work.values():
            process.join()


def run_cluster(jobs: Sequence[Job], address: str, on_cell: OnCell) -> None:
    """Run cells on a Dask cluster whose workers see the same files under the same paths.

    If a worker dies, its cell is given to another, which continues from the last finished epoch.

    Raises:
        InputError: `distributed` is not installed, nobody answers at the address, or no longer.
    """
    with connect(address) as client:
        from distributed import KilledWorker, as_completed

        # By folder: another study on this cluster may have the same cell.
        by_key = {f"unetkit-{job.folder}": job for job in jobs}
        futures = [client.submit(work, job, key=key) for key, job in by_key.items()]
        finished: Any = as_completed(futures, loop=client.loop)  # type: ignore[no-untyped-call]
        for future in finished:
            job = by_key[future.key]
            if future.status == "cancelled":
                raise InputError(
                    "the Dask scheduler went away",
                    where=address,
                    cure="start it again and repeat the command; cells that are done stay",
                )
            fault = future.exception()
            if fault is None:
                note = future.result()
            elif isinstance(fault, KilledWorker):
                note = fail(job.folder, "several workers died over it; is there enough memory?")
            else:
                note = fail(job.folder, f"{type(fault).__name__}: {fault}")
            on_cell(job, note)
            future.release()


def _quiet_work(job: Job) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the study ends its workers itself
    work(job)


def _outcome(job: Job, code: int | None) -> dict[str, Any]:
    note = read_note(job.folder)
    if is_done(job):  # whatever came to its process after that
        return note
    if note.get("status") == "failed" and code == 0:
        return note
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        memory = "; is there enough memory?" if -code == signal.SIGKILL else ""
        return fail(job.folder, f"its process was ended by {name}{memory}")
    return fail(job.folder, f"its process ended with code {code}")
