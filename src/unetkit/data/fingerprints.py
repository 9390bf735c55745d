"""What a set is like in numbers, for whoever chooses patch, depth and width."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from unetkit.data.counted import in_colours
from unetkit.data.dataset import Dataset, Sample, Task
from unetkit.data.meaning import unexpected
from unetkit.data.survey import Look, survey
from unetkit.data.task import to_classes

Array = npt.NDArray[Any]

_MEASURED = 16  # cases whose objects are measured; their median needs no more


class Fingerprint(BaseModel):
    """The numbers of a set.

    Attributes:
        cases: number of cases by split.
        channels: of the images.
        ndim: 2 or 3.
        kind: "semantic" or "instances".
        classes: names.
        smallest: per axis ([z,] y, x) the smallest size among the images, in pixels.
        median: per axis the median size.
        largest: per axis the largest size.
        spacing: per axis the median size of a pixel in `train`, in the unit of the files.
        shares: per class its part of the pixels that count in `train`, inside the field of view.
        width: how wide an object of the foreground typically is in `train`, in pixels: for
            instances the diameter of a disc (ball) of the median size; otherwise four times the
            mean depth inside the foreground, which is the width of a long object and two thirds
            of the diameter of a disc. None without foreground, or where class 0 is no background.
        fov: some cases have a field of view.
        observer: some cases have a second annotator.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: dict[str, int]
    channels: int
    ndim: int
    kind: str
    classes: tuple[str, ...]
    smallest: tuple[int, ...]
    median: tuple[int, ...]
    largest: tuple[int, ...]
    spacing: tuple[float, ...]
    shares: tuple[float, ...]
    width: float | None
    fov: bool
    observer: bool


def fingerprint(dataset: Dataset) -> Fingerprint:
    """Measure a set by what its files showed when they were looked at, and by 16 decoded cases.

    Raises:
        InputError: a case cannot be loaded.
    """
    looks = dataset.looks or survey(dataset.cases)
    sizes = np.array([looks[case.id].shape[1:] for case in dataset.cases])
    train = dataset.select("train") if "train" in dataset.split else list(dataset.cases)
    classes = dataset.task.classes
    counts = np.zeros(len(classes), np.int64)
    for case in train:
        counts += looked_counts(looks[case.id], dataset.task)
    widths: list[float] = []
    # Width is that of objects on a background; street scenes, for example, have none.
    if "background" in "".join(classes[:1]).lower():
        chosen = sorted(set(np.linspace(0, len(train) - 1, _MEASURED).astype(int).tolist()))
        widths = [width for k in chosen for width in _widths(dataset.load(train[k]))]
    spacings = np.array([looks[case.id].spacing for case in train])
    return Fingerprint(
        cases={name: len(members) for name, members in dataset.split.items()},
        channels=dataset.task.channels,
        ndim=dataset.task.ndim,
        kind=dataset.task.kind,
        classes=classes,
        smallest=tuple(sizes.min(0).tolist()),
        median=tuple(np.median(sizes, axis=0).astype(int).tolist()),
        largest=tuple(sizes.max(0).tolist()),
        spacing=tuple(np.median(spacings, axis=0).tolist()),
        shares=tuple((counts / max(1, counts.sum())).tolist()),
        width=float(np.median(widths)) if widths else None,
        fov=any(case.fov for case in dataset.cases),
        observer=any(case.observer for case in dataset.cases),
    )


@lru_cache(maxsize=2**15)  # asked for several times a case
def looked_counts(look: Look, task: Task) -> Array:
    """Count the pixels of each class that count, by what was seen of the mask; read it only."""
    counts = np.zeros(len(task.classes), np.int64)
    if look.counted is None or look.inside is None or not len(counts):
        return counts
    numbers, often = look.counted.values, look.inside
    if look.counted.colours and not task.colours:
        numbers = np.where(numbers < 0, numbers, numbers & 255)  # greys, one number per level
    elif task.colours and not look.counted.colours:
        painted = in_colours(look.counted)
        numbers, often = painted.values, painted.counts
    if task.kind == "semantic":
        known = ~unexpected(numbers, task)
        numbers, often = numbers[known], often[known]
    if len(numbers):
        kinds = to_classes(numbers[None], task, look.counted.path)[0][0]
        np.add.at(counts, kinds[kinds >= 0], often[kinds >= 0])
    return counts


def _widths(sample: Sample) -> list[float]:
    ndim = sample.labels.ndim
    if sample.instances is not None:
        sizes = np.bincount(sample.instances.ravel())[1:]
        sizes = sizes[sizes > 0]
        factor = 4 / np.pi if ndim == 2 else 6 / np.pi
        return list((factor * sizes) ** (1 / ndim))
    inside = (sample.labels > 0) & sample.fov
    if not inside.any() or inside.all():
        return []
    from scipy.ndimage import distance_transform_edt

    # From pixel centre to the centre of the nearest pixel outside; half a pixel less is the edge.
    depth = distance_transform_edt(inside)[inside].mean() - 0.5
    return [float(4 * depth)]
