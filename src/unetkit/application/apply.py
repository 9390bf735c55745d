"""A trained model applied to files: every image gets its outputs, whatever the others do."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from unetkit.application.cluster import predict_on_cluster
from unetkit.application.folder import predict_jobs, remarks
from unetkit.application.memory import require_room
from unetkit.application.naming import find_cases, require_format, targets
from unetkit.application.outputs import require_outputs
from unetkit.application.request import Job, Request
from unetkit.errors import InputError
from unetkit.files import write_text
from unetkit.machine import resident_memory
from unetkit.segmenter import Segmenter, load


@dataclass(frozen=True)
class Applied:
    """What came of a folder: the files written, and the images that failed with the reason."""

    written: list[Path]
    failures: list[tuple[Path, str]]


def predict(
    model: Segmenter | str | Path,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    save: Sequence[str] = ("labels",),
    tile: int | None = None,
    tta: str | bool | None = None,
    threshold: float | None = None,
    memory: float | None = None,
    overwrite: bool = False,
    resume: bool = False,
    form: str | None = None,
    scheduler: str | None = None,
    say: Callable[[str], None] | None = None,
    on_image: Callable[[int, int, str], None] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> Applied:
    """Segment images of any size and write the results under their own names.

    Images that fit the memory follow each other, the next decoded and the last written while the
    network computes. Larger ones are read, predicted and written slab by slab.

    Args:
        model: a segmenter, a run folder, or a `.safetensors` file.
        inputs: files, folders or glob patterns.
        out: folder; each kind of output has a subfolder in it.
        save: any of "labels" (mask values as in the training data), "probability" (float TIFF,
            one page per channel), "uncertainty" (entropy, 0 to 1, and as a second page how much
            averaged predictions disagree) and "overlay" (the image with the labels drawn on it).
        tile: size of the network's input; default: by memory.
        tta: test-time augmentation: "none", "flips", "rotations" or "paper"; default: the model's.
        threshold: of the foreground; default: the model's, tuned on `val`.
        memory: GB (10⁹ bytes) that this process may hold; default: half of what is free.
        overwrite: replace outputs that exist.
        resume: keep outputs that exist, and go on with what was begun.
        form: ending of labels, probability and uncertainty, such as "tif" or "zarr"; default: one
            that keeps what the input says of spacing and place.
        scheduler: address of a Dask cluster, such as tcp://host:8786, to compute on instead.
        say: called, before it starts, with a sentence for what makes it slower or less exact.
        on_image: called with images done, images in all and the name of the next.
        on_tile: called with tiles done and tiles in all of the running image.

    Returns:
        The written files and the failures, which also stand in `failures.csv`.

    Raises:
        InputError: no such model or input, an unknown output, or outputs that exist already.
    """
    require_outputs(save)
    require_format(form)
    segmenter = model if isinstance(model, Segmenter) else load(model)
    out = Path(out)
    cases = find_cases(inputs, segmenter.card.task.channels)
    request = Request(
        save=tuple(dict.fromkeys(save)),
        tile=tile,
        tta=segmenter.augmentation(tta),
        threshold=threshold,
        memory=None if memory is None else int(memory * 1e9),
        resume=resume,
        base=resident_memory(),
    )
    require_room(request)
    jobs = [Job(case, targets(case, out, save, form)) for case in cases]
    there = [path for job in jobs for path in job.targets.values() if path.exists()]
    if there and resume:
        jobs = [left for left in (job.missing() for job in jobs) if left.targets]
    elif there and not overwrite:
        raise InputError(
            f"{len(there)} of the outputs exist already",
            where=there[0],
            cure="use --overwrite, --resume to keep them, or another -o",
        )
    if say is not None and jobs:
        for sentence in remarks(segmenter, jobs[0], request):
            say(sentence)
    if scheduler is None:
        results = predict_jobs(segmenter, jobs, request, on_image=on_image, on_tile=on_tile)
    else:
        results = predict_on_cluster(
            segmenter, jobs, request, scheduler, on_image=on_image, on_tile=on_tile
        )
    written: list[Path] = []
    failures: list[tuple[Path, str]] = []
    with closing(results):  # so that nothing goes on behind an error
        for job, error in results:
            if error is None:
                written.extend(job.targets.values())
            else:
                failures.append((job.case.image, _reason(job, error, alone=len(cases) == 1)))
    if failures:
        _write_failures(out / "failures.csv", failures)
    else:
        with suppress(OSError):
            (out / "failures.csv").unlink()  # which told of an earlier time
    return Applied(written, failures)


def _reason(job: Job, error: InputError, alone: bool) -> str:
    """Say what was wrong with an image; what is wrong with the request is raised.

    Raises:
        InputError: it was not the image that was at fault, or there is no other.
    """
    files = {job.case.image, *job.case.bands}  # or folders, of which one file is at fault
    where = Path(str(error.where))
    if alone or files.isdisjoint((where, *where.parents)):
        raise error
    own = where == job.case.image
    return str(InputError(error.what, cure=error.cure)) if own else str(error)


def _write_failures(path: Path, failures: Sequence[tuple[Path, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "error"))
    writer.writerows((str(image), reason) for image, reason in failures)
    write_text(path, text.getvalue())
