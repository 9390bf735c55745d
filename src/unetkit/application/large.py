"""One image that is larger than memory: read, predicted and written slab by slab."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetkit.application.memory import WHOLE, allowed, decoded, held
from unetkit.application.outputs import Form, blaming, finisher, forms
from unetkit.application.request import Job, Request
from unetkit.data.normalize import Normalization
from unetkit.data.picture import open_picture
from unetkit.errors import InputError
from unetkit.files import write_text
from unetkit.geometry import Size
from unetkit.image import Created, Opened, attach_image, create_image
from unetkit.image.names import NIFTI, TIFF, ZARR, suffix_of
from unetkit.image.staging import staging_of
from unetkit.machine import release_memory
from unetkit.prediction import Plan, Progress, Read, stream
from unetkit.segmenter import Segmenter

_WINDOW = 2**24  # numbers looked at in one go when an image is measured
_BEGUN = "begun.json"  # in a staging: the memory that the plan was made for
_STREAMED = (*TIFF, *NIFTI, *ZARR, ".npy")  # formats that are written in bounded memory


@dataclass(frozen=True)
class Started:
    """A large prediction that is under way.

    Attributes:
        job: the image and its outputs.
        read: gives windows of the image.
        plan: how it is cut.
        normalizations: of each member, settled on this image.
        key: stands for all that the outputs depend on.
        created: the outputs, by kind.
        left: slabs that are not finished.
    """

    job: Job
    read: Read
    plan: Plan
    normalizations: tuple[Normalization, ...]
    key: str
    created: Mapping[str, Created]
    left: tuple[int, ...]


def predict_large(
    segmenter: Segmenter,
    job: Job,
    request: Request,
    *,
    beside: int = 0,
    progress: Progress | None = None,
) -> list[Path]:
    """Predict an image in bounded memory, and give the files written.

    Args:
        segmenter: the model.
        job: the image and its outputs.
        request: how it is to be predicted.
        beside: bytes that other images take meanwhile.
        progress: called with tiles done and in all.

    Raises:
        InputError: it cannot be read or written, or the memory does not suffice.
    """
    if request.memory is not None:
        release_memory()
    with start(segmenter, job, request, beside) as started:
        run_slabs(segmenter, started, request, progress=progress)
    return list(job.targets.values())


@contextmanager
def start(segmenter: Segmenter, job: Job, request: Request, beside: int = 0) -> Iterator[Started]:
    """Plan a large prediction and create its outputs, which become files at the end of the block.

    Raises:
        InputError: the image cannot be read, or an output is not made of images of this size.
    """
    if "overlay" in job.targets:
        raise InputError(
            "no overlay is drawn of an image that is predicted in parts",
            where=job.case.image,
            cure="leave overlay out of --save, or raise --max-memory",
        )
    key = _key(segmenter, job, request)
    with ExitStack() as stack:
        picture = stack.enter_context(open_picture(job.case))
        chosen, room = _plan_again(segmenter, job, picture, request, beside, key)
        made = forms(segmenter.card.task, segmenter.outputs, chosen.spread)
        _require_streams(job, made, chosen.space, request)
        read = reader(picture)
        normalizations = tuple(segmenter.settle(measured(picture, read)))
        created: dict[str, Created] = {}
        for kind, target in job.targets.items():
            channels, dtype = made[kind]
            with blaming(job.case.image, target):
                created[kind] = stack.enter_context(
                    create_image(
                        target, (channels, *chosen.space), dtype, block=chosen.core,
                        spacing=picture.spacing, frame=picture.frame, key=key or None,
                    )
                )  # fmt: skip
            begun = {"memory": request.memory, "room": room}
            write_text(staging_of(target) / _BEGUN, json.dumps(begun))
        done = frozenset.intersection(*(one.done for one in created.values()))
        kept = done if request.resume else frozenset[int]()
        left = tuple(slab.index for slab in chosen.slabs if slab.index not in kept)
        yield Started(job, read, chosen, normalizations, key, created, left)


def run_slabs(
    segmenter: Segmenter,
    started: Started,
    request: Request,
    *,
    progress: Progress | None = None,
) -> None:
    """Predict the slabs of an image that are left, into its outputs."""
    finish = finisher(segmenter, tuple(started.job.targets), request.threshold)

    def write(window: tuple[slice, ...], pieces: Mapping[str, NDArray[Any]]) -> None:
        for kind, piece in pieces.items():
            started.created[kind].write(window, piece)

    def mark(index: int) -> None:
        for one in started.created.values():
            one.finish(index)

    stream(
        segmenter.forwards(started.normalizations),
        started.read,
        write,
        started.plan,
        finish=finish,
        done={slab.index for slab in started.plan.slabs}.difference(started.left),
        on_slab=mark,
        progress=progress,
    )


def join_slabs(
    segmenter: Segmenter,
    job: Job,
    request: Request,
    plan: Plan,
    normalizations: tuple[Normalization, ...],
    key: str,
) -> None:
    """Predict some slabs of an image whose outputs another process has created.

    Args:
        segmenter: the model.
        job: the image and its outputs.
        request: how it is to be predicted.
        plan: the other process's, with only those slabs that are to be predicted here.
        normalizations: as the other process settled them.
        key: of the outputs.

    Raises:
        InputError: nobody is creating these outputs, or with other settings.
    """
    created = {kind: attach_image(path, key) for kind, path in job.targets.items()}
    left = tuple(slab.index for slab in plan.slabs)
    with open_picture(job.case) as picture:
        started = Started(job, reader(picture), plan, normalizations, key, created, left)
        run_slabs(segmenter, started, request)


def plan_large(
    segmenter: Segmenter,
    job: Job,
    picture: Opened,
    request: Request,
    *,
    beside: int = 0,
    room: int | None = None,
) -> Plan:
    """Plan the prediction of an open picture.

    Args:
        segmenter: the model.
        job: the image and its outputs.
        picture: the image, open.
        request: how it is to be predicted.
        beside: bytes that other images take meanwhile.
        room: bytes that it may take; default: what the request leaves.

    Raises:
        InputError: it is not like those of the training, or the memory does not suffice.
    """
    base = held(request) + beside + decoded(job, picture, request)
    several = len(segmenter.members) > 1 or segmenter.augmentation(request.tta) != "none"
    made = forms(segmenter.card.task, segmenter.outputs, several)
    stored = sum(made[kind][0] * made[kind][1].itemsize for kind in job.targets if kind in made)
    return segmenter.plan(
        picture.shape, picture.dtype.itemsize, tile=request.tile, tta=request.tta,
        memory=allowed(request) if room is None else base + room, base=base, stored=stored,
        where=job.case.image,
    )  # fmt: skip


def reader(picture: Opened) -> Read:
    """Give what reads windows; a file that is decoded whole each time is decoded once."""
    if not picture.whole:
        return picture.read
    pixels = picture.read(tuple(slice(0, n) for n in picture.shape[1:]))
    return lambda window: pixels[(slice(None), *window)]


def measured(picture: Opened, read: Read) -> Iterator[NDArray[Any]]:
    """Give an image in windows that hold every pixel once, along the pieces it is stored in."""
    space = picture.shape[1:]
    size = [min(c, n) for c, n in zip(picture.chunks or (1,) * len(space), space, strict=True)]
    for axis in reversed(range(len(space))):
        held = picture.shape[0]
        for length in size:
            held *= length
        size[axis] = min(space[axis], size[axis] * max(1, _WINDOW // held))
    for corner in product(*(range(0, n, s) for n, s in zip(space, size, strict=True))):
        window = [slice(a, min(a + s, n)) for a, s, n in zip(corner, size, space, strict=True)]
        yield read(tuple(window))


def _require_streams(job: Job, made: Mapping[str, Form], space: Size, request: Request) -> None:
    """Refuse outputs of a format that is made in memory, where they do not fit there.

    Raises:
        InputError: names one.
    """
    for kind, target in job.targets.items():
        channels, dtype = made[kind]
        taken = WHOLE * channels * dtype.itemsize * math.prod(space)
        if suffix_of(target) not in _STREAMED and taken > allowed(request):
            raise InputError(
                f"{target.name} would be made in memory, which takes {taken / 1e9:.1f} GB",
                where=job.case.image,
                cure="take --format tif or zarr",
            )


def _key(segmenter: Segmenter, job: Job, request: Request) -> str:
    """Stand for model, settings and input; "" for a model without a file, which nobody resumes."""
    digests = [member.digest for member in segmenter.members]
    if not all(digests):
        return ""
    files = [state for path in (job.case.image, *job.case.bands) for state in _states(path)]
    asked = [request.threshold, request.tta, request.tile, segmenter.engine]
    text = json.dumps([digests, files, asked], default=str)
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()


def _states(path: Path) -> Iterator[tuple[str, int, int]]:
    """Give name, size and time of change of a file, or of all files in a folder."""
    if path.is_dir():  # a Zarr array or a DICOM series
        for folder, inner, names in os.walk(path):
            inner.sort()
            for name in sorted(names):
                yield from _states(Path(folder, name))
        return
    with suppress(FileNotFoundError):  # a link to nothing, in a folder
        said = path.stat()
        yield str(path.resolve()), said.st_size, said.st_mtime_ns


def _plan_again(
    segmenter: Segmenter, job: Job, picture: Opened, request: Request, beside: int, key: str
) -> tuple[Plan, int]:
    """Plan; on resuming as before, for another plan would cut the image differently.

    Returns:
        The plan, and the bytes that it was made for.
    """
    room = allowed(request) - held(request) - beside - decoded(job, picture, request)
    for target in job.targets.values() if request.resume and key else ():
        with suppress(InputError, OSError, ValueError, TypeError, KeyError):
            attach_image(target, key)
            begun = json.loads((staging_of(target) / _BEGUN).read_text(encoding="utf-8"))
            plan = plan_large(segmenter, job, picture, request, room=int(begun["room"]))
            if request.memory in (None, begun["memory"]) or plan.bytes <= room:
                return plan, int(begun["room"])
    return plan_large(segmenter, job, picture, request, beside=beside), room
