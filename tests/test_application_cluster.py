"""A cluster gives what one process gives, also when one of its workers is killed midway."""

import signal
import sys
import threading
from contextlib import contextmanager, suppress

import numpy as np
import psutil
import pytest
import torch

from conftest import segmenter_of, wait_for
from unetkit.application import apply, predict
from unetkit.data import Normalization, Task
from unetkit.errors import InputError
from unetkit.image import Image, read_image, write_image
from unetkit.network import NetworkConfig, UNet
from unetkit.segmenter import Card, load, save

TORCH = {"device": "cpu", "engine": "torch", "precision": "fp32"}


@pytest.fixture
def model(tmp_path):
    """Give the file of a small untrained model whose answer varies."""
    torch.manual_seed(0)
    config = NetworkConfig(ndim=2, channels=1, classes=1, depth=1, width=4, padding="same")
    net = UNet(config)
    with torch.no_grad():
        net.head[0].bias.zero_()
    task = Task(classes=("a", "b"), kind="semantic", values=(0, 255), ignore=(), channels=1,
                ndim=2)  # fmt: skip
    card = Card(network=config, normalization=Normalization(method="image"), task=task)
    save(tmp_path / "m.safetensors", net.state_dict(), card)
    return tmp_path / "m.safetensors"


def picture(path, *shape, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (1, *shape), np.uint8)
    write_image(Image(pixels, (0.5, 0.25)), path)


def same(one, other, count):
    names = sorted(path.relative_to(one) for path in one.glob("*/*"))
    assert names == sorted(path.relative_to(other) for path in other.glob("*/*"))
    assert len(names) == count
    for name in names:
        assert not name.name.startswith(".")
        a, b = read_image(one / name), read_image(other / name)
        assert a.data.dtype == b.data.dtype
        np.testing.assert_array_equal(a.data, b.data)
        assert a.spacing == b.spacing


def workers():
    """Give the processes that compute: each is the child of its nanny."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


@contextmanager
def meanwhile(work):
    """Do something while the block runs, and pass on what went wrong with it."""
    wrong = []

    def run():
        try:
            work()
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()
    if wrong:
        raise wrong[0]


@pytest.mark.slow
def test_images_and_slabs_on_two_workers_as_in_one_process(model, tmp_path, cluster, monkeypatch):
    """A folder of images; then one that is cut, into several formats, a worker killed midway."""
    for k in range(20):
        picture(tmp_path / "in" / f"p{k:02d}.png", 40 + k, 36, seed=k)
    (tmp_path / "in" / "p07.png").write_bytes(b"no picture")
    segment, save_ = load(model, **TORCH), ("labels", "probability")
    told = []
    applied = predict(
        segment, tmp_path / "in", tmp_path / "spread", save=save_, scheduler=cluster,
        on_image=lambda *said: told.append(said),
    )  # fmt: skip
    alone = predict(segment, tmp_path / "in", tmp_path / "alone", save=save_)
    assert len(applied.written) == 38
    assert [path.name for path, _ in applied.failures] == ["p07.png"]
    assert applied.failures == alone.failures
    assert told == [*((k, 20, f"p{k:02d}.png") for k in range(20)), (20, 20, "")]
    assert (tmp_path / "spread" / "failures.csv").is_file()
    same(tmp_path / "spread", tmp_path / "alone", 38)

    # So little memory that the image is cut, in every process.
    picture(tmp_path / "huge.tif", 4000, 1500)
    monkeypatch.setattr(apply, "resident_memory", lambda: 10**8)
    options = {"save": save_, "memory": 0.6, "tile": 416}
    for form in ("tif", "zarr"):
        place, tiles, killed = tmp_path / form, [], []
        predict(segment, tmp_path / "huge.tif", place / "alone", form=form, **options)
        staging = place / "spread" / "labels" / f".huge.{form}.partial"

        def kill(staging=staging, killed=killed):
            wait_for(lambda: len(list(staging.glob("done/*"))) >= 2, "two slabs")
            victim = workers()[0]
            nanny = victim.parent()
            for process in (nanny, victim):  # the nanny first: it would start another
                process.send_signal(signal.SIGKILL)
            killed.append(len(list(staging.glob("done/*"))))

        with meanwhile(kill if form == "zarr" else lambda: None):
            predict(segment, tmp_path / "huge.tif", place / "spread", form=form, **options,
                    scheduler=cluster, on_tile=lambda *n, tiles=tiles: tiles.append(n))  # fmt: skip
        assert tiles == [(k + 1, len(tiles)) for k in range(len(tiles))]
        assert len(tiles) >= 10, "the image was not cut"
        assert not killed or 2 <= killed[0] < len(tiles)  # in the midst of it
        same(place / "spread", place / "alone", 2)
    assert len(workers()) == 1
    # What is wrong with the request is said once, what is wrong with one image in its row.
    with pytest.raises(InputError, match="tile 31 is not legal"):
        predict(segment, tmp_path / "in", tmp_path / "other", tile=31, scheduler=cluster)


def line(*given, **options):
    with pytest.raises(InputError) as caught:
        predict(*given, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_cluster_is_one_line(model, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    real = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda *a, **k: real(*a, **{**k, "timeout": "1s"}))
    picture(tmp_path / "a.png", 40, 36)
    given = (load(model, **TORCH), tmp_path / "a.png", tmp_path / "out")
    said = line(*given, scheduler="tcp://127.0.0.1:1")  # nobody listens there
    assert said.startswith("tcp://127.0.0.1:1: no Dask scheduler answers (")
    assert said.endswith("start one with dask scheduler, and workers with dask worker --nthreads 1")
    said = line(*given, scheduler="host without a port")
    assert said.startswith("host without a port: no Dask scheduler answers (")
    monkeypatch.setitem(sys.modules, "distributed", None)
    said = line(*given, scheduler="tcp://127.0.0.1:1")
    assert said == "a Dask cluster needs the extra `dist`; pip install 'unetkit[dist]'"
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_file_cannot_be_sent(model, tmp_path):
    picture(tmp_path / "a.png", 40, 36)
    card = load(model, **TORCH).card
    segment = segmenter_of(UNet(card.network), card)
    said = line(segment, tmp_path / "a.png", tmp_path / "out", scheduler="tcp://127.0.0.1:1")
    assert said == "workers can only load a model from its file; give the path of the model"


class Answer:
    """What a cluster answers to a task."""

    def __init__(self, answer):
        self.answer = answer

    def result(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_what_dask_says_is_one_line(model, tmp_path, monkeypatch):
    """A cluster that kills every worker, or goes away: said in one line with its cure."""
    distributed = pytest.importorskip("distributed")
    picture(tmp_path / "a.png", 40, 36)

    class Client:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def scheduler_info(self, **_):
            return {"workers": {"tcp://1.2.3.4:5": {"host": "1.2.3.4"}}}

        def wait_for_workers(self, count, timeout):
            assert (count, timeout) == (1, 30)
            if answer is None:
                raise TimeoutError

        def submit(self, *_, **__):
            return Answer(answer)

    monkeypatch.setattr(distributed, "Client", Client)
    given = (load(model, **TORCH), tmp_path / "a.png", tmp_path / "out")
    answer = distributed.CancelledError("task")
    assert line(*given, scheduler="tcp://here:1") == (
        "tcp://here:1: the Dask scheduler went away; start it again and repeat the command with "
        "--resume"
    )
    answer = distributed.KilledWorker("task", None, 3)
    assert line(*given, scheduler="tcp://here:1").startswith(
        "tcp://here:1: several workers died over the same work; is there enough memory?"
    )
    answer = None
    assert line(*given, scheduler="tcp://here:1") == (
        "tcp://here:1: the Dask scheduler has no workers; "
        "start some with dask worker tcp://here:1 --nthreads 1"
    )
