"""Many images: the next are decoded and the last are written while the network computes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from unetkit.application.large import plan_large, predict_large
from unetkit.application.memory import allowed, held
from unetkit.application.outputs import blaming, draw_overlay, finisher
from unetkit.application.request import Job, Request
from unetkit.data.normalize import Normalization
from unetkit.data.picture import open_picture, read_picture
from unetkit.errors import InputError
from unetkit.image import Image, write_image
from unetkit.prediction import predict_planned, state_cost
from unetkit.segmenter import Segmenter

_AHEAD = 3  # images decoded but not yet computed, and as many computed but not yet written
_SHARE = 12  # an image whose arrays take less than this part of the memory is kept whole
_ALONE = 3  # and for an overlay one that takes this part, but with no other beside it
_FLOAT = 4

Weight = Literal["small", "alone", "large"]


@dataclass(frozen=True)
class Loaded:
    """An image on its way.

    Attributes:
        job: the image and its outputs.
        image: in memory; None where it is not kept there beside others.
        weight: what is to be done with it.
        normalizations: of each member, settled on it; none where it is not in memory.
    """

    job: Job
    image: Image | None
    weight: Weight
    normalizations: tuple[Normalization, ...] = ()


def predict_jobs(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    request: Request,
    *,
    on_image: Callable[[int, int, str], None] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> Generator[tuple[Job, InputError | None]]:
    """Predict images one after the other; give each with what was wrong with it, in their order.

    Raises:
        InputError: the disk refuses, or the request cannot be met for any image.
    """
    written: deque[tuple[Job, Future[None] | None, InputError | None]] = deque()
    with (
        ThreadPoolExecutor(1, "unetkit-read") as reading,
        ThreadPoolExecutor(1, "unetkit-write") as writing,
    ):
        loads: deque[Future[Loaded]] = deque()
        waiting = iter(jobs)
        try:
            for job in _first(waiting, _AHEAD):
                loads.append(reading.submit(load_job, segmenter, job, request))
            for done, job in enumerate(jobs):
                if on_image is not None:
                    on_image(done, len(jobs), job.case.image.name)
                load, fault, writes = loads.popleft(), None, None
                for after in _first(waiting, 1):
                    loads.append(reading.submit(load_job, segmenter, after, request))
                try:
                    loaded = load.result()
                    if loaded.weight != "small":  # then it is known what stands beside it
                        wait(loads)
                        wait([one for _, one, _ in written if one is not None])
                    beside = _beside(loads, [one for _, one, _ in written], request)
                    writes = _compute(segmenter, loaded, request, beside, writing, on_tile)
                except InputError as error:
                    fault = error
                written.append((job, writes, fault))
                while len(written) > _AHEAD or (written and _is_over(written[0][1])):
                    yield _settled(*written.popleft())
            while written:
                yield _settled(*written.popleft())
        finally:
            for load in loads:
                load.cancel()
    if on_image is not None:
        on_image(len(jobs), len(jobs), "")


def remarks(segmenter: Segmenter, job: Job, request: Request) -> Iterator[str]:
    """Say what a user should know before it starts: several passes, and tiles that are blended."""
    try:
        with open_picture(job.case) as picture:
            plan = plan_large(segmenter, job, picture, request)
    except InputError:
        return  # which will be said of that image in its turn
    if plan.passes > 1:
        yield state_cost(plan)
    if plan.blend:
        if segmenter.footprint.exact:
            why = "exact tiles would need more memory, or compute each pixel over 16 times"
        else:
            norm = segmenter.card.network.norm
            why = f"{norm} normalisation looks at all of its input, so no tile is exact"
        yield f"{why}: tiles overlap by half and are blended"


def load_job(segmenter: Segmenter, job: Job, request: Request) -> Loaded:
    """Read an image that fits the memory beside others.

    Raises:
        InputError: it cannot be read, or not be predicted.
    """
    weight = weigh(segmenter, job, request)
    if weight != "small":
        return Loaded(job, None, weight)
    image = read_picture(job.case)
    # Measured here, for the network waits for nothing that another thread can do.
    return Loaded(job, image, weight, tuple(segmenter.settle([_pixels(image)])))


def weigh(segmenter: Segmenter, job: Job, request: Request) -> Weight:
    """Tell from its header what is to be done with an image.

    "small" ones are held while others are computed, "large" ones are predicted in parts; what is
    drawn as an overlay is needed whole, and is held "alone" where it is not small.

    Raises:
        InputError: it cannot be read, or not be predicted.
    """
    room = allowed(request)
    with open_picture(job.case) as picture:
        segmenter.require_shape(picture.shape, job.case.image)
        raw = picture.dtype.itemsize * picture.shape[0]
        # The image, probabilities twice, and what is written.
        taken = math.prod(picture.shape[1:]) * (raw + _FLOAT * (2 * segmenter.outputs + 2))
        if taken <= room // _SHARE:
            return "small"
        if "overlay" not in job.targets:
            plan_large(segmenter, job, picture, request)  # what cannot be done is said at once
            return "large"
    if taken <= room // _ALONE:
        return "alone"
    raise InputError(
        "no overlay is drawn of an image that is predicted in parts",
        where=job.case.image,
        cure=f"leave overlay out of --save, or --max-memory {math.ceil(_ALONE * taken / 1e8) / 10}",
    )


def _compute(
    segmenter: Segmenter,
    loaded: Loaded,
    request: Request,
    beside: int,
    writing: ThreadPoolExecutor,
    on_tile: Callable[[int, int], None] | None,
) -> Future[None] | None:
    job, image = loaded.job, loaded.image
    if loaded.weight == "large":
        predict_large(segmenter, job, request, beside=beside, progress=on_tile)
        return None
    if image is None:
        image = read_picture(job.case)
    pixels = _pixels(image)
    plan = segmenter.plan(
        pixels.shape, pixels.itemsize, tile=request.tile, tta=request.tta,
        memory=allowed(request), base=held(request) + beside + pixels.nbytes, where=job.case.image,
    )  # fmt: skip
    forwards = segmenter.forwards(loaded.normalizations or segmenter.settle([pixels]))
    probability, spread = predict_planned(forwards, pixels, plan, progress=on_tile)

    def write() -> None:
        made = finisher(segmenter, tuple(job.targets), request.threshold)(probability, spread)
        for kind, target in job.targets.items():
            with blaming(job.case.image, target):
                if kind == "overlay":
                    write_image(draw_overlay(image.data, made[kind][0]), target)
                else:
                    write_image(Image(made[kind], image.spacing, image.frame), target)

    writes = writing.submit(write)
    if loaded.weight == "alone":
        wait([writes])
    return writes


def _pixels(image: Image) -> NDArray[Any]:
    return image.data if image.nodata is None else image.intensities()


def _settled(
    job: Job, writes: Future[None] | None, fault: InputError | None
) -> tuple[Job, InputError | None]:
    if writes is not None:
        try:
            writes.result()
        except InputError as error:
            fault = error
    return job, fault


def _beside(
    loads: Iterable[Future[Loaded]], writes: Iterable[Future[None] | None], request: Request
) -> int:
    """Give the bytes that other images take meanwhile; at most, where it is not known yet."""
    most = allowed(request) // _SHARE
    taken = sum(most for one in writes if not _is_over(one))
    for load in loads:
        image = load.result().image if load.done() and load.exception() is None else None
        taken += most if not load.done() else 0 if image is None else image.data.nbytes
    return taken


def _is_over(writes: Future[None] | None) -> bool:
    return writes is None or writes.done()


def _first(jobs: Iterator[Job], count: int) -> list[Job]:
    return [job for _, job in zip(range(count), jobs, strict=False)]
