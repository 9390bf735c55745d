"""What is in a set, in plain numbers and words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from unetkit.data.checks.across import known_groups
from unetkit.data.dataset import Dataset
from unetkit.data.fingerprints import looked_counts
from unetkit.data.survey import Look, survey


def summary(dataset: Dataset, looks: Mapping[str, Look] | None = None) -> dict[str, Any]:
    """Say what is in a set: plain numbers and words, ready for printing or JSON.

    Shares are of the pixels that count; `ignored` is the part that does not, be it marked so or
    outside the field of view. Cases that cannot be read are passed over: `check` names them.

    Args:
        dataset: the set.
        looks: what is known of its files; what the set itself remembers if left out.
    """
    looks = looks or dataset.looks or survey(dataset.cases)
    task, classes = dataset.task, dataset.task.classes
    seen = [(case, looks[case.id]) for case in dataset.cases if case.id in looks]
    seen = [(case, look) for case, look in seen if look.shape]
    counts, pixels = np.zeros(len(classes), np.int64), 0
    for case, look in seen:
        if case.mask and look.counted is not None:
            counts += looked_counts(look, task)
            pixels += math.prod(look.shape[1:])
    shares = counts / max(1, counts.sum())
    sizes = [look.shape[1:] for _, look in seen if len(look.shape) - 1 == task.ndim]
    spacings = [look.spacing for _, look in seen if len(look.spacing) == task.ndim]
    groups, _, _ = known_groups(dataset)
    return {
        "layout": dataset.layout,
        "cases": len(dataset.cases),
        "split": {name: len(members) for name, members in dataset.split.items()},
        "groups": len(set(groups.values())),
        "channels": task.channels,
        "ndim": task.ndim,
        "dtype": dict(Counter(look.dtype for _, look in seen).most_common()),
        "kind": task.kind,
        "classes": {name: round(float(s), 6) for name, s in zip(classes, shares, strict=True)},
        "ignored": round(1 - float(counts.sum()) / pixels, 6) if pixels else 0.0,
        "sizes": {
            "smallest": np.min(sizes, axis=0).tolist(),
            "median": np.median(sizes, axis=0).astype(int).tolist(),
            "largest": np.max(sizes, axis=0).tolist(),
        }
        if sizes
        else {},
        "spacing": np.median(spacings, axis=0).tolist() if spacings else [],
        "fov": sum(case.fov is not None for case in dataset.cases),
        "observers": sum(case.observer is not None for case in dataset.cases),
    }
