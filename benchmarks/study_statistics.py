"""Simulate studies without any true difference: how often does one claim a difference?

    python benchmarks/study_statistics.py [--studies 400] [-o FILE]

A study is 30 equal settings, some seeds and some test images; score = setting's seeds + images +
residual, normal, with the standard deviations given. "Found" is the share of studies in which at
least one of 29 Holm-corrected comparisons with the best is called distinguishable (it should be at
most 0.05): by `unetkit.study.comparison.rank`, with the best named beforehand, chosen by the same
runs' scores on ten validation images, or chosen on the test images themselves; and, with the best
named, by four other ways: Satterthwaite's degrees of freedom, mean squares pooled over all
settings, and t tests that see only images or only seeds. "Covered" is the share of 95 % intervals
of a setting's mean that hold the truth. With `uneven`, settings differ in variance.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from unetkit.files import write_text
from unetkit.machine import describe
from unetkit.study.comparison import mean_estimate, rank

CELLS, LEVEL = 30, 0.05
DESIGNS = [(3, 10), (3, 20), (5, 20)]
CHANCES = [(0.1, 0.1, 1.0), (1.0, 0.3, 1.0), (1.0, 1.0, 0.3)]
FIRST = LEVEL / (CELLS - 1)  # Holm's first step decides whether anything is found


def mean_squares(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Give mean and mean squares of seeds, images and residual; x is (cells, seeds, images)."""
    s, i = x.shape[1:]
    mean = x.mean((1, 2))
    seeds, images = x.mean(2) - mean[:, None], x.mean(1) - mean[:, None]
    rest = x - mean[:, None, None] - seeds[:, :, None] - images[:, None, :]
    return (
        mean,
        i * (seeds**2).sum(1) / (s - 1),
        s * (images**2).sum(1) / (i - 1),
        (rest**2).sum((1, 2)) / ((s - 1) * (i - 1)),
    )


def satterthwaite(gap: np.ndarray) -> bool:
    """Test with (A + B − E)/(s·i), bounded below, and Satterthwaite's degrees of freedom."""
    s, i = gap.shape[1:]
    mean, a, b, e = mean_squares(gap)
    total = a + b - e
    freedom = total**2 / (a**2 / (s - 1) + b**2 / (i - 1) + e**2 / ((s - 1) * (i - 1)))
    low = total < np.maximum(a, b)
    freedom = np.where(low, np.where(a >= b, s - 1, i - 1), freedom)
    total = np.maximum(total, np.maximum(a, b))
    return bool((np.abs(mean) > np.sqrt(total / (s * i)) * stdtrit(freedom, 1 - FIRST / 2)).any())


def pooled(x: np.ndarray) -> bool:
    """Test with mean squares pooled over all settings, which assumes that they vary alike."""
    c, s, i = x.shape
    rest = x - x.mean(0)
    mean = rest.mean((1, 2))
    by_seed = rest.mean(2) - mean[:, None]
    by_image = rest.mean(1) - mean[:, None]
    a = i * (by_seed**2).sum() / ((c - 1) * (s - 1))
    b = s * (by_image**2).sum() / ((c - 1) * (i - 1))
    ends = [stdtrit((c - 1) * (n - 1), 1 - FIRST / 2) ** 2 * v for n, v in ((s, a), (i, b))]
    return bool((np.abs(mean[1:] - mean[0]) > np.sqrt(2 * sum(ends) / (s * i))).any())


def one_source(gap: np.ndarray) -> bool:
    """Test by t over the last axis of (cells, n), as if nothing else varied."""
    n = gap.shape[1]
    error = gap.std(1, ddof=1) / np.sqrt(n)
    return bool((np.abs(gap.mean(1)) > error * stdtrit(n - 1, 1 - FIRST / 2)).any())


def simulate(
    seeds: int, images: int, chance: tuple[float, float, float], uneven: bool, studies: int
) -> dict[str, float]:
    """Count false findings of every way over many studies."""
    random = np.random.default_rng(0)
    by_seed, by_image, residual = chance
    found: dict[str, int] = {}
    covered = 0
    for _ in range(studies):
        scale = np.exp(0.7 * uneven * random.normal(size=(CELLS, 1, 1)))
        luck = by_seed * random.normal(size=(CELLS, seeds, 1))

        def scores(count: int, scale: np.ndarray = scale, luck: np.ndarray = luck) -> np.ndarray:
            own = by_image * random.normal(size=(CELLS, 1, count))
            return scale * (luck + own + residual * random.normal(size=(CELLS, seeds, count)))

        val, x = scores(10), scores(images)
        named = {str(cell): matrix for cell, matrix in enumerate(x)}
        gap = x[1:] - x[:1]
        outcomes = {
            "ours, best named": len(rank(named, "0").indistinguishable) < CELLS,
            "ours, best chosen on val": len(
                rank(named, str(val.mean((1, 2)).argmax())).indistinguishable
            ) < CELLS,
            "ours, best chosen on test": len(
                rank(named, str(x.mean((1, 2)).argmax())).indistinguishable
            ) < CELLS,
            "Satterthwaite": satterthwaite(gap),
            "pooled over settings": pooled(x),
            "t over images alone": one_source(gap.mean(1)),
            "t over seeds alone": one_source(gap.mean(2)),
        }  # fmt: skip
        for way, hit in outcomes.items():
            found[way] = found.get(way, 0) + hit
        one = mean_estimate(x[0])
        covered += one.low <= 0 <= one.high
    return {way: hits / studies for way, hits in found.items()} | {"covered": covered / studies}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("benchmarks/results/study_statistics.json")
    )
    options = parser.parse_args()
    rows = []
    for seeds, images in DESIGNS:
        for chance in CHANCES:
            for uneven in (False, True):
                found = simulate(seeds, images, chance, uneven, options.studies)
                row = {"seeds": seeds, "images": images, "uneven": uneven,
                       "deviation": dict(zip(("seeds", "images", "residual"), chance, strict=True)),
                       "found": found}  # fmt: skip
                rows.append(row)
                print(seeds, images, chance, uneven, found, flush=True)
    result = {
        "protocol": {"settings": CELLS, "studies": options.studies, "level": LEVEL, "seed": 0,
                     "date": datetime.now(UTC).strftime("%Y-%m-%d")},
        "machine": describe(),
        "rows": rows,
    }  # fmt: skip
    write_text(options.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
