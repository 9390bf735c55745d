"""What is asked of a prediction, in one record that can travel to another machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from unetkit.data.case import Case


@dataclass(frozen=True)
class Request:
    """How images are to be predicted.

    Attributes:
        save: kinds of output.
        tile: size of the network's input; None chooses.
        tta: test-time augmentation; None takes the model's.
        threshold: of the foreground; None takes the model's.
        memory: bytes that the process may hold; None for half of what is free.
        resume: what is there already stays, and what was begun goes on.
        base: bytes that libraries and weights take; None for all that the process holds.
    """

    save: tuple[str, ...] = ("labels",)
    tile: int | tuple[int, ...] | None = None
    tta: str | bool | None = None
    threshold: float | None = None
    memory: int | None = None
    resume: bool = False
    base: int | None = None


@dataclass(frozen=True)
class Job:
    """One image and where its outputs go.

    Attributes:
        case: the image, with its bands.
        targets: the file of each kind of output.
    """

    case: Case
    targets: dict[str, Path]

    def missing(self) -> Job:
        """Leave out the outputs that exist."""
        there = {kind: path for kind, path in self.targets.items() if not path.exists()}
        return replace(self, targets=there)
