"""The state of a repair: cases drop out or change, and every change is noted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from unetkit.data.case import Case
from unetkit.data.counted import Counted
from unetkit.data.survey import Look

Smoothed = Literal["nearest", "ramps", ""]


@dataclass(frozen=True)
class Plan:
    """What is to be done to a case when it is written.

    Attributes:
        channels: "grey" keeps the first channel, "colour" repeats the only one.
        turn: which of `alignment.TURNS` the mask needs.
        half: the mask is a probability, foreground from one half.
        smoothed: numbers between those of the classes become the nearest class ("nearest"), or in
            sets of many classes what lies nearest in the picture ("ramps").
        strange: numbers without a class are ignored.
        scale: the number that stands for the foreground in this mask of two classes; 0 for that
            of the set.
        blank: pixels of the image that are NaN or infinite are ignored.
        anew: the mask is written anew, whatever else.
    """

    channels: Literal["grey", "colour", ""] = ""
    turn: int = 0
    half: bool = False
    smoothed: Smoothed = ""
    strange: bool = False
    scale: int = 0
    blank: bool = False
    anew: bool = False

    @property
    def of_mask(self) -> bool:
        """Whether anything is to be done to the mask."""
        what = (self.turn, self.half, self.smoothed, self.strange, self.scale, self.blank)
        return self.anew or any(map(bool, what))


@dataclass
class Work:
    """A set under repair.

    Attributes:
        root: its folder.
        stage: a folder for files that are to be read under another name.
        cases: those that are left.
        split: ids by name.
        looks: what is known of each case.
        counted: the numbers in the mask of each case.
        plans: what is to be done to a case.
        notes: file, case and what was done.
        channels: of the images that are written.
    """

    root: Path
    stage: Path
    cases: list[Case]
    split: dict[str, tuple[str, ...]]
    looks: dict[str, Look] = field(default_factory=dict)
    counted: dict[str, Counted] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    notes: list[tuple[str, str, str]] = field(default_factory=list)
    channels: int = 0

    def note(self, path: object, case: str, what: str) -> None:
        """Remember what was done to which file."""
        try:
            shown = str(Path(str(path)).relative_to(self.root))
        except ValueError:
            shown = Path(str(path)).name
        self.notes.append((shown, case, what))

    def plan_of(self, case: Case) -> Plan:
        """Give what is to be done to a case, so far."""
        return self.plans.get(case.id, Plan())

    def drop(self, case: Case, path: object, why: str) -> None:
        """Leave a case out."""
        self.note(path, case.id, f"the case is left out: {why}")
        self.cases = [one for one in self.cases if one.id != case.id]
        self.split = {
            name: tuple(i for i in members if i != case.id) for name, members in self.split.items()
        }

    def change(self, case: Case, fresh: Case) -> None:
        """Put another case, perhaps of another name, in the place of one."""
        self.cases = [fresh if one.id == case.id else one for one in self.cases]
        if fresh.id == case.id:
            return
        self.split = {
            name: tuple(fresh.id if i == case.id else i for i in members)
            for name, members in self.split.items()
        }
        self.looks[fresh.id] = replace(self.looks.pop(case.id), id=fresh.id)
        if case.id in self.counted:
            self.counted[fresh.id] = self.counted.pop(case.id)
        if case.id in self.plans:
            self.plans[fresh.id] = self.plans.pop(case.id)
