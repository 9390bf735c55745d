"""Class indices → masks to be written, in the numbers or colours of the training masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.colours import unpack
from unetkit.data.meaning import Task

Array = npt.NDArray[Any]


def encode(labels: Array, task: Task) -> Array:
    """Turn class indices (*space) into a mask as those of the task: (1, *space), or (3, *space).

    It is the inverse of reading but for objects, which become 0 and 255. What does not count (−1)
    takes the first number to be ignored; where there is none it stays −1, or becomes black.

    Example:
        >>> task = Task(classes=("land", "sea"), kind="semantic", values=(1, 0x0000FF),
        ...             ignore=(), channels=3, ndim=2, colours=True)
        >>> encode(np.array([[0, 1]]), task)[:, 0].tolist()
        [[0, 0], [0, 0], [1, 255]]
    """
    values = list(task.values) if task.kind == "semantic" else [0, 255]
    if labels.min() < 0:  # which then is the last of the table
        values.append(next((v for v in task.ignore if v >= 0 or not task.colours), -1))
    table = np.array(values)
    if task.colours and task.kind == "semantic":
        return unpack(table.clip(0))[:, labels]
    low, high = int(table.min()), int(table.max())
    kind = (
        np.min_scalar_type(high)
        if low >= 0
        else np.promote_types(np.min_scalar_type(low), np.min_scalar_type(-high - 1))
    )
    return np.asarray(table.astype(kind)[labels])[None]
