"""Time the border weight map beside one distance transform per object, and compare the values.

    python benchmarks/weight_map.py [-o benchmarks/results/weight_map.json]

300 generated, nearly touching cells in 512 × 512, w0 = 10, σ = 5. Both sides run alternately in one
process on one thread; times are medians. A third side, scipy's transform within each object's
bounding box grown by the same reach, is the usual way to make this fast.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from unetkit.files import write_text
from unetkit.targets import border_weights

W0, SIGMA, REACH = 10.0, 5.0, 26


def cells(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Draw `count` round cells, of which many are parted by gaps of 1 to 4 pixels only."""
    random = np.random.default_rng(seed)
    pitch = size / np.sqrt(count)
    centres = np.empty((0, 2))
    while len(centres) < count:
        point = random.uniform(0, size, 2)
        if not len(centres) or np.hypot(*(centres - point).T).min() > 0.72 * pitch:
            centres = np.vstack([centres, point])
    radius = random.uniform(0.4, 0.75, count) * pitch
    pixels = np.indices((size, size)).reshape(2, -1).T
    distance, owner = cKDTree(centres).query(pixels, k=2)
    inside = distance[:, 0] < radius[owner[:, 0]]
    parted = distance[:, 1] - distance[:, 0] > 3
    return np.where(inside & parted, owner[:, 0] + 1, 0).reshape(size, size)


def per_object(labels: np.ndarray) -> np.ndarray:
    """Make the border term with one distance transform of the whole image per object."""
    first = np.full(labels.shape, np.inf)
    second = first.copy()
    for number in np.unique(labels[labels > 0]):
        distance = ndimage.distance_transform_edt(labels != number)
        np.minimum(second, np.maximum(first, distance), out=second)
        np.minimum(first, distance, out=first)
    border = W0 * np.exp(-((first + second) ** 2) / (2 * SIGMA**2))
    return np.where(labels > 0, 0, border)


def per_box(labels: np.ndarray) -> np.ndarray:
    """Make the border term with one distance transform per grown bounding box."""
    first = np.full(labels.shape, np.inf)
    second = first.copy()
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        grown = tuple(slice(max(0, side.start - REACH), side.stop + REACH) for side in box)
        distance = ndimage.distance_transform_edt(labels[grown] != number)
        np.minimum(second[grown], np.maximum(first[grown], distance), out=second[grown])
        np.minimum(first[grown], distance, out=first[grown])
    border = W0 * np.exp(-((first + second) ** 2) / (2 * SIGMA**2))
    return np.where(labels > 0, 0, border)


def ours(labels: np.ndarray) -> np.ndarray:
    return border_weights(labels, W0, SIGMA, balance=False) - 1


def seconds(function: Callable[[np.ndarray], np.ndarray], labels: np.ndarray) -> float:
    start = time.perf_counter()
    function(labels)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the border weight map.")
    default = Path(__file__).parent / "results" / "weight_map.json"
    parser.add_argument("-o", "--output", type=Path, default=default)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    labels = cells(300, 512)
    truth, sides = per_object(labels), {"ours": ours, "per_box": per_box, "per_object": per_object}
    error = float(np.abs(ours(labels) - truth).max())
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, function in sides.items():
            repeats = 1 if function is per_object else 5
            times[name] += [seconds(function, labels) for _ in range(repeats)]
    median = {name: statistics.median(values) for name, values in times.items()}
    result = {
        "what": "border weight map of 300 cells in 512 x 512, w0 10, sigma 5, border term only",
        "objects": int(labels.max()),
        "border_pixels": int((truth > 0.1).sum()),
        "milliseconds": {name: round(1000 * value, 2) for name, value in median.items()},
        "samples": {name: len(values) for name, values in times.items()},
        "speedup_over_per_object": round(median["per_object"] / median["ours"], 1),
        "speedup_over_per_box": round(median["per_box"] / median["ours"], 2),
        "largest_difference_from_per_object": error,
        "target": {"milliseconds": 40, "speedup": 80, "difference": 1e-5},
        "machine": {
            "system": platform.platform(),
            "processor": processor(),
            "cores": os.cpu_count(),
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scipy", "unetkit")},
        },
    }
    write_text(options.output, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def processor() -> str:
    """Name the processor as Linux does, else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")


if __name__ == "__main__":
    main()
