"""Draw the README's picture from the demo's run: `make demo`, then `python docs/images/demo.py`.

Image, truth, prediction and difference of a test image that the demo generated; right pixels are
light, false positives orange, false negatives blue.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from unetkit import load, read_dataset
from unetkit.report import difference


def main(demo: Path, out: Path) -> None:
    dataset = read_dataset(demo / "data")
    sample = dataset.load(dataset.select("test")[0])
    answer = load(demo / "run")(sample.image)
    truth = sample.labels > 0
    panels = [
        sample.image.astype(np.uint8),
        *(np.repeat((mask * 255).astype(np.uint8)[None], 3, 0) for mask in (truth, answer.labels)),
        difference(truth.astype(int), answer.labels, sample.fov),
    ]
    gap = np.full((3, truth.shape[0], 8), 255, np.uint8)
    row = np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=2)
    Image.fromarray(row.transpose(1, 2, 0)).save(out, optimize=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("demo")
    main(folder, Path(__file__).with_suffix(".png"))
