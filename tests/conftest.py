"""Shared ground of the tests: small generated data, and where the real data may lie."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import unetkit
from unetkit import cli
from unetkit.engines import choose_engine, fold
from unetkit.segmenter import Member, Segmenter

PATIENCE = 300  # seconds; much more than is needed, for machines that do something else besides
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


def member_of(net, card, *, precision="fp32", digest=""):
    """Join a network in memory and its card, as `load` does with those of a file."""
    state = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
    engine = choose_engine(
        fold(card.network, state), device="cpu", engine="torch", precision=precision
    )
    return Member(card, engine, digest)


def segmenter_of(net, card, **options):
    """Give a network in memory as a segmenter, on PyTorch in fp32."""
    return Segmenter(member_of(net, card, **options))


# ------------------------------------------------------------------------------------- processes


def environment():
    """Let a new process find the package that is tested, installed or not."""
    source = str(Path(unetkit.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}


def wait_for(condition, what):
    """Give the first true answer of `condition`."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


@pytest.fixture
def cluster(tmp_path):
    """Start a scheduler and two workers, each a process with a nanny, as a user would."""
    pytest.importorskip("distributed")
    psutil = pytest.importorskip("psutil")
    place, started = tmp_path / "scheduler.json", []
    scratch = {**environment(), "DASK_TEMPORARY_DIRECTORY": str(tmp_path)}

    def dask(*words):
        with (tmp_path / f"dask{len(started)}.txt").open("wb") as said:
            command = [sys.executable, "-m", "dask", *words, "--host", "127.0.0.1",
                       "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]  # fmt: skip
            started.append(subprocess.Popen(command, stdout=said, stderr=said, env=scratch))

    def address():
        assert started[0].poll() is None, (tmp_path / "dask0.txt").read_text()
        with suppress(OSError, ValueError):  # it may be there and empty yet
            return json.loads(place.read_text())["address"]

    try:
        dask("scheduler", "--port", "0", "--scheduler-file", str(place))
        found = wait_for(address, "the scheduler")
        for _ in range(2):
            dask("worker", found, "--nthreads", "1")
        yield found
    finally:
        for process in started:
            with suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with suppress(psutil.Error):
                        child.kill()
            process.kill()
            process.wait(PATIENCE)
