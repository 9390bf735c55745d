"""Reading, computing and writing at the same time, in bounded memory, slab by slab."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from queue import SimpleQueue
from threading import Event, Semaphore, Thread

from unetkit.errors import InputError
from unetkit.geometry import Size, Slices
from unetkit.prediction.blocks import as_task, decide, inside
from unetkit.prediction.config import Array, Floats, Forwards, Progress
from unetkit.prediction.planning import Plan
from unetkit.prediction.slabs import Group, Slab

Read = Callable[[Slices], Array]
Write = Callable[[Slices, Mapping[str, Array]], None]
Finish = Callable[[Floats, Floats | None], Mapping[str, Array]]

_Loaded = tuple[Group, Array, Size]  # its pixels, and where they start
_AHEAD = 2  # groups read but not yet computed, and blocks computed but not yet written


def stream(
    forward: Forwards,
    read: Read,
    write: Write,
    plan: Plan,
    *,
    finish: Finish,
    slabs: Collection[int] | None = None,
    done: Collection[int] = (),
    on_slab: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Predict an image that is not in memory, and hand on each block as it is finished.

    One thread reads ahead, the calling one computes, one writes behind. Slabs do not depend on
    each other, to the bit: any of them may be left out or be computed elsewhere. What fails in any
    thread stops all of them and is raised here.

    Args:
        forward: as for `predict`; called in the calling thread only.
        read: gives (c, *window) of a window inside the image, in any number type.
        write: is given a block's window and what `finish` made of it; called in one thread, once
            per block.
        plan: how the image is cut; `plan` makes it.
        finish: turns probabilities (k, *window) and the spread (1, *window), or None, into what is
            stored, by name; each (c', *window).
        slabs: indices of those to predict; all if left out.
        done: indices of those to leave out, since they are there already.
        on_slab: called in the writing thread with a slab's index when all of it is written.
        progress: called with the number of tiles done and in all, of the slabs to predict.

    Raises:
        InputError: what is read, or what the network gives, does not fit the plan.
    """
    chosen = _chosen(plan, slabs, done)
    task = as_task(plan, forward)
    everything = sum(slab.tiles for slab in chosen)
    finished = 0

    def tick() -> None:
        nonlocal finished
        finished += 1
        if progress is not None:
            progress(finished, everything)
        if stop.is_set():
            raise _Stopped

    stop, failures = Event(), list[BaseException]()
    unread, unwritten = Semaphore(_AHEAD), Semaphore(_AHEAD)
    loaded: SimpleQueue[_Loaded | int | None] = SimpleQueue()
    ready: SimpleQueue[tuple[Slices, Mapping[str, Array]] | int | None] = SimpleQueue()

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)
                release()

        return run

    def release() -> None:
        """Wake everyone up to see that it is over."""
        stop.set()
        unread.release()
        unwritten.release()
        loaded.put(None)
        ready.put(None)

    def reading() -> None:
        for slab in chosen:
            for group in slab.groups:
                unread.acquire()
                if stop.is_set():
                    return
                loaded.put(_load(read, group, plan))
            loaded.put(slab.index)
        loaded.put(None)

    def writing() -> None:
        while (item := ready.get()) is not None and not stop.is_set():
            if isinstance(item, int):
                if on_slab is not None:
                    on_slab(item)
                continue
            write(*item)
            del item
            unwritten.release()

    def computing() -> None:
        while (item := loaded.get()) is not None:
            if isinstance(item, int):
                ready.put(item)
                continue
            for where, probabilities, spread in decide(task, *item, tick):
                if len(probabilities) != plan.outputs:
                    raise InputError(
                        f"gives {len(probabilities)} channels, the plan has {plan.outputs}",
                        where="network",
                    )
                unwritten.acquire()
                if stop.is_set():
                    raise _Stopped
                ready.put((where, finish(probabilities, spread)))
            del item
            unread.release()
        if stop.is_set():
            raise _Stopped
        ready.put(None)

    threads = [
        Thread(target=guarded(work), name=f"unetkit {work.__name__}", daemon=True)
        for work in (reading, writing)
    ]
    for thread in threads:
        thread.start()
    try:
        computing()
        for thread in threads:
            thread.join()
    except _Stopped:
        pass
    finally:
        release()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


class _Stopped(Exception):  # noqa: N818  (it tells the computing thread that another has failed)
    pass


def _chosen(plan: Plan, slabs: Collection[int] | None, done: Collection[int]) -> list[Slab]:
    for index in slabs or ():
        if not 0 <= index < len(plan.slabs):
            raise InputError(f"there is no slab {index}", cure=f"0 to {len(plan.slabs) - 1} are")
    return [
        slab
        for slab in plan.slabs
        if (slabs is None or slab.index in slabs) and slab.index not in done
    ]


def _load(read: Read, group: Group, plan: Plan) -> _Loaded:
    """Read the pixels of a group, or say that they are not those of the plan."""
    window = inside(group.read, plan.space)
    pixels = read(window)
    expected = (plan.channels, *(part.stop - part.start for part in window))
    if pixels.shape != expected:
        raise InputError(
            f"{_sizes(pixels.shape)} were read where the image should have {_sizes(expected)}",
            cure="was the file changed? Begin again",
        )
    return group, pixels, tuple(part.start for part in window)


def _sizes(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) + " pixels"
