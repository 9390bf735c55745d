"""Shared ground of the tests: small generated data, and where the real data may lie."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unetkit import cli

REAL = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _threads():
    """Use two threads at most, as the machines do for which the times are stated."""
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """Keep what commands remember of data sets out of the user's own cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def real():
    """Give the folder of a real data set, or skip."""

    def find(name):
        folder = REAL / name
        if not folder.is_dir():
            pytest.skip(f"real data {name} is not beside this checkout")
        return folder

    return find


def blobs(folder, count=5, size=48, seed=0, fov=False):
    """Write a set that a tiny network learns in seconds: bright discs on noise."""
    chance = np.random.default_rng(seed)
    grid = np.indices((size, size))
    names = [f"case{i}" for i in range(count)]
    for name in names:
        mask = np.zeros((size, size), bool)
        for _ in range(4):
            centre = chance.uniform(6, size - 6, 2)
            mask |= ((grid - centre[:, None, None]) ** 2).sum(0) < chance.uniform(9, 40)
        image = np.clip(60 + 110 * mask + chance.normal(0, 20, mask.shape), 0, 255)
        for part, pixels in (("images", image), ("masks", mask * 255)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / part / f"{name}.png")
        if fov:
            (folder / "fov").mkdir(exist_ok=True)
            inside = np.hypot(*(grid - size / 2)) < size * 0.48
            Image.fromarray((inside * 255).astype(np.uint8)).save(folder / "fov" / f"{name}.png")
    split = {"train": names[:-2], "val": names[-2:-1], "test": names[-1:]}
    (folder / "split.json").write_text(json.dumps(split))
    return folder


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    """Give a folder of five small images of discs with masks and a split."""
    return blobs(tmp_path_factory.mktemp("discs"))


TINY = [
    "network.width=4", "network.depth=2", "train.minutes=null", "train.epochs=4", "train.steps=5",
    "train.batch=2", "train.patch=32", "train.precision=fp32", "train.allocator=false",
]  # fmt: skip


@pytest.fixture(scope="session")
def run(discs, tmp_path_factory):
    """Give a run folder of a small network trained on the discs, long enough to be good."""
    from unetkit.training import train

    folder = tmp_path_factory.mktemp("runs") / "discs"
    train(discs, folder, changes=[*TINY, "train.epochs=6", "train.steps=25", "optimizer.lr=0.01"])
    return folder


@pytest.fixture
def unet(monkeypatch, capsys):
    """Run the command in this process; give exit code, stdout and stderr."""
    monkeypatch.setattr("unetkit.machine.keep_memory", lambda: False)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["unet", *map(str, words)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
