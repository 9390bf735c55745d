"""One image: an answer held against labels, class by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from unetkit.evaluation.summary import Scores, mean

Measure = Callable[..., Scores]  # `unetkit.metrics.measure`, with what it is to add


class Answer(Protocol):
    """What a segmentation must offer to be judged."""

    @property
    def labels(self) -> NDArray[Any]:
        """Class indices (*space)."""
        ...

    @property
    def probabilities(self) -> NDArray[Any] | None:
        """Probabilities (k, *space), the foreground last if binary; None where there are none."""
        ...


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask in the shape of an answer: an observer's, a file's, a model's at another threshold.

    Attributes:
        labels: class indices (*space).
        probabilities: as those of an answer.
        objects: ids of objects (*space), 0 for none; None where nobody asks for them.
    """

    labels: NDArray[Any]
    probabilities: NDArray[Any] | None = None
    objects: NDArray[Any] | None = None


def scored(classes: Sequence[str]) -> Sequence[str]:
    """Name the classes that are scored: all but a background that comes first."""
    return classes[1:] if len(classes) == 2 or classes[0].lower() == "background" else classes


def judge(
    answer: Answer,
    labels: NDArray[Any],
    valid: NDArray[Any],
    classes: Sequence[str],
    measure: Measure,
) -> tuple[Scores, dict[str, Scores]]:
    """Score one image: the mean over the classes present, and each of them by itself.

    Args:
        answer: what was said.
        labels: true class indices (*space).
        valid: where pixels count, (*space).
        classes: names of all classes.
        measure: called with each class' prediction and truth, `valid` and `probability`.
    """
    first = len(classes) - len(scored(classes))
    result: dict[str, Scores] = {}
    for index, name in enumerate(scored(classes), start=first):
        truth = labels == index
        if len(classes) > 2 and not (truth & valid).any():
            continue
        probability = None
        if answer.probabilities is not None:
            shift = len(classes) - len(answer.probabilities)  # 1 where class 0 is all the rest
            probability = answer.probabilities[index - shift] if index >= shift else None
        result[name] = measure(answer.labels == index, truth, valid=valid, probability=probability)
    return mean(list(result.values())), result
