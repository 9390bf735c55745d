"""Images per second of prediction, ours in every engine and precision beside the peers' networks.

    python benchmarks/inference.py [--widths 16 32 64] [--rounds 7] [--quick] [-o FILE]
                                   [--models RUN=DATA ...] [--only WORD ...] [--packages FOLDER]

Speed: one RGB image of 512², one class, batch 1, from a normalised fp32 array in memory to fp32
logits in memory; pre- and postprocessing are left out for everybody. Contestants:

* milesial/Pytorch-UNet as its predict.py runs it: fp32, NCHW, eager, `no_grad`; MONAI's `BasicUNet`
  and nnU-Net's PlainConvUNet in fp32, NCHW, eager, `inference_mode`. `peers.py` says what they are.
* ours: the network of the `default` recipe at that width, and one of milesial's exact operations
  (the same one, while the recipe has them), in eager PyTorch and in each engine and precision.

Each contestant lives in a process of its own, since the allocator setting is the process's: ours
have it, as `unet predict` has, the peers do not, as they ship. They take turns, so that a slow
moment of the machine hits all. A turn is one image that does not count, then as many as take about
a second; quoted are medians over rounds. Those who wait must not keep the processor busy: what they
used while all waited is measured and noted (`idle`).

Ceilings are measured in the same rounds: 3×3 convolutions of 64…512 channels and a product of two
matrices in PyTorch (fp32, bf16), and chains of such convolutions in OpenVINO (fp32, bf16, int8);
the ceiling of a precision is the fastest of them. The share is the operations of the convolutions
(2 a multiply-add) of one image, times images per second, by the ceiling of that precision.

Pixels changed: the script trains our network(s) at that width on generated vessels, and compares
the classes of images of the test split with those of eager fp32 PyTorch. int8 is calibrated on
training images. `--models RUN=DATA` does so for trained runs, with Dice on their test split.

`start`: the time of whole commands, `unet --help` and `unet predict` of one image of 512², the
first run of each left out (warm cache), medians, in turns.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Forward = Callable[[Array], Array]

MILESIAL = "milesial/Pytorch-UNet"
ENGINES = (
    ("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16"),
    ("openvino", "int8"), ("onnx", "fp32"),
)  # fmt: skip
TURN = 1.0  # seconds of images that count
PAUSE = 0.3  # seconds between turns, in which the threads of the one before fall asleep


@dataclass(frozen=True)
class Contestant:
    """Who takes part.

    Attributes:
        name: as it is reported.
        kind: "peer", "eager" or "engine".
        network: the peer's, or the folder of our run.
        engine: of ours.
        precision: of the computation.
    """

    name: str
    kind: str
    network: str
    engine: str = "PyTorch eager"
    precision: str = "fp32"


# --------------------------------------------------------------- what the processes do


def contest(contestant: Contestant, width: int, place: Path, turn: Connection) -> None:
    """Get ready, then compute whenever it is our turn, until there is nothing more to do."""
    from unetkit.errors import InputError

    try:
        forward, told = PREPARE[contestant.kind](contestant, width, place)
    except (ImportError, InputError) as error:
        turn.send({"missing": " ".join(str(error).split())})
        return
    if contestant.kind == "peer":
        image = np.load(place / "image.npy")
    else:
        image = np.load(Path(contestant.network) / "test.npy")[:1]
    for _ in range(2):
        forward(image)
    since = time.perf_counter()
    forward(image)
    count = max(1, min(50, round(TURN / (time.perf_counter() - since))))
    turn.send(told)
    while (order := turn.recv()) is not None:
        if order == "run":
            forward(image)
            since = time.perf_counter()
            for _ in range(count):
                forward(image)
            turn.send((time.perf_counter() - since) / count)
        else:  # the classes of the images that no one was trained on
            images = np.load(Path(contestant.network) / "test.npy")
            cut = json.loads((Path(contestant.network) / "cut.json").read_text())
            turn.send(np.concatenate([forward(one[None])[:, 0] >= cut for one in images]))


def prepare_peer(contestant: Contestant, width: int, place: Path) -> tuple[Forward, dict[str, Any]]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    import peers

    torch.manual_seed(0)
    source = "written afresh from the published architecture"
    match contestant.network:
        case "milesial":
            network: torch.nn.Module = peers.Milesial(3, 1, width)
        case "monai":
            network, source = peers.basic_unet(3, 1, width)
        case _:
            network, source = peers.plain_conv_unet(3, 1, width)
    network.eval()
    image = torch.from_numpy(np.load(place / "image.npy"))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(image)
    mode = torch.no_grad if contestant.network == "milesial" else torch.inference_mode

    def forward(batch: Array) -> Array:
        with mode():
            logits: Array = network(torch.from_numpy(batch)).numpy()
            return logits

    return forward, {"source": source, "flops": counter.get_total_flops()}


def prepare_eager(
    contestant: Contestant, _width: int, _place: Path
) -> tuple[Forward, dict[str, Any]]:
    import torch

    from unetkit.machine import keep_memory
    from unetkit.network import UNet
    from unetkit.segmenter import read_card, read_weights

    keep_memory()
    network = UNet(read_card(contestant.network).network)
    state = read_weights(contestant.network)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    network.eval().place(torch.device("cpu"))

    def forward(batch: Array) -> Array:
        with torch.inference_mode():
            image = torch.from_numpy(batch).contiguous(memory_format=network.layout)
            logits: Array = network(image).numpy()
            return logits

    return forward, {"flops": program_of(contestant.network).flops(side_of(contestant))}


def prepare_engine(
    contestant: Contestant, _width: int, _place: Path
) -> tuple[Forward, dict[str, Any]]:
    from unetkit.machine import keep_memory
    from unetkit.segmenter import load

    keep_memory()
    run = Path(contestant.network)
    if contestant.precision == "int8" and not (run / "int8").is_dir():
        raise ImportError("could not be calibrated")
    segmenter = load(
        run, device="cpu", engine=contestant.engine, precision=contestant.precision,
        calibration=training_set(run), cache=run,
    )  # fmt: skip
    engine = segmenter.members[0].engine
    return engine.run, {"engine": engine.name, "flops": program_of(run).flops(side_of(contestant))}


def calibrate(run: str) -> None:
    """Write the int8 form of a run's network, calibrated on images it was trained on."""
    from unetkit.errors import InputError
    from unetkit.segmenter import load

    try:
        load(run, precision="int8", calibration=training_set(run), cache=Path(run))
    except (ImportError, InputError) as error:
        print(f"int8: {error}")


def training_set(run: str | Path) -> str:
    """Give the folder of the images a run was trained on."""
    place: str = json.loads((Path(run) / "environment.json").read_text())["data"]
    return place


def program_of(run: str | Path) -> Any:
    """Give a run's folded network."""
    from unetkit.engines import fold
    from unetkit.segmenter import read_card, read_weights

    return fold(read_card(run).network, read_weights(run))


def side_of(contestant: Contestant) -> tuple[int, ...]:
    return tuple(np.load(Path(contestant.network) / "test.npy", mmap_mode="r").shape[2:])


PREPARE = {"peer": prepare_peer, "eager": prepare_eager, "engine": prepare_engine}


# ------------------------------------------------------------------------------ ceilings


def rate_torch(quick: bool, turn: Connection) -> None:
    """Measure what PyTorch reaches in single operations, in GFLOP/s, whenever it is our turn."""
    import torch
    from torch.nn import functional as F

    from unetkit.machine import has_bf16, keep_memory

    keep_memory()
    work: dict[str, dict[str, tuple[float, Callable[[], Any]]]] = {}
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        if precision == "bf16" and not has_bf16():
            continue
        work[precision] = {}
        for channels, side in shapes(quick):
            x = torch.randn(1, channels, side, side, dtype=dtype)
            weight = torch.randn(channels, channels, 3, 3, dtype=dtype)
            x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
            flops = 2 * 9 * channels**2 * side**2
            name = f"PyTorch, convolution {channels} × {side}²"
            work[precision][name] = (flops, lambda x=x, w=weight: F.conv2d(x, w, padding=1))
        n = 256 if quick else 4096
        a, b = torch.randn(n, n, dtype=dtype), torch.randn(n, n, dtype=dtype)
        work[precision][f"PyTorch, product {n}²"] = (2.0 * n**3, lambda a=a, b=b: a @ b)
    with torch.inference_mode():
        rate(work, quick, turn)


def rate_openvino(quick: bool, turn: Connection) -> None:
    """Measure what OpenVINO reaches in chains of convolutions, whenever it is our turn."""
    from unetkit.machine import cores, has_bf16, keep_memory

    try:
        import openvino
        from openvino import opset13 as ops
    except ImportError:
        turn.send({"missing": "openvino is not installed"})
        return
    keep_memory()
    core, chance, length = openvino.Core(), np.random.default_rng(0), 4

    def chain(channels: int, side: int, precision: str) -> Callable[[], Any]:
        x = image = ops.parameter([1, channels, side, side], np.float32)
        for _ in range(length + 1):  # the first and the last also convert, and do not count much
            kernel = chance.standard_normal((channels, channels, 3, 3)).astype(np.float32)
            weight: Any = kernel / np.float32(3 * math.sqrt(channels))
            if precision == "int8":
                high = np.abs(weight).max((1, 2, 3), keepdims=True)
                weight = ops.fake_quantize(weight, -high, high, -high, high, 255)
                x = ops.fake_quantize(x, *(np.float32(v) for v in (0, 4, 0, 4)), 256)
            x = ops.relu(ops.convolution(x, weight, [1, 1], [1, 1], [1, 1], [1, 1]))
        pooled = ops.reduce_max(x, np.array([2, 3]), keep_dims=True)  # next to nothing to hand over
        compiled = core.compile_model(
            openvino.Model([pooled], [image]), "CPU",
            {"INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else "bf16",
             "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": cores()},
        )  # fmt: skip
        if precision == "int8":
            require_int8(compiled)
        request = compiled.create_infer_request()
        request.set_input_tensor(
            openvino.Tensor(chance.random((1, channels, side, side), np.float32))
        )
        return request.infer

    kinds = ["fp32", *(["bf16"] if has_bf16() else []), "int8"]
    work = {
        precision: {
            f"OpenVINO, {length + 1} convolutions {channels} × {side}²": (
                2.0 * 9 * channels**2 * side**2 * (length + 1),
                chain(channels, side, precision),
            )
            for channels, side in shapes(quick)
        }
        for precision in kinds
    }
    rate(work, quick, turn)


def require_int8(compiled: Any) -> None:
    """Refuse to call something the ceiling of int8 that was not computed in it."""
    kinds = [
        node.get_rt_info()["runtimePrecision"].astype(str)
        for node in compiled.get_runtime_model().get_ops()
        if node.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    if not kinds or not set(kinds) <= {"i8", "u8"}:
        raise RuntimeError(f"OpenVINO computed these convolutions in {kinds}")


def shapes(quick: bool) -> list[tuple[int, int]]:
    return [(8, 16)] if quick else [(64, 256), (128, 128), (256, 64), (512, 32)]


def rate(
    work: dict[str, dict[str, tuple[float, Callable[[], Any]]]], quick: bool, turn: Connection
) -> None:
    counts: dict[tuple[str, str], int] = {}
    for precision, kinds in work.items():
        for name, (_, call) in kinds.items():
            call(), call()
            since = time.perf_counter()
            call()
            count = round((0.001 if quick else 0.15) / (time.perf_counter() - since))
            counts[precision, name] = max(1, count)
    turn.send({})
    while turn.recv() is not None:
        reached: dict[str, dict[str, float]] = {}
        for precision, kinds in work.items():
            reached[precision] = {}
            for name, (flops, call) in kinds.items():
                call()
                since = time.perf_counter()
                for _ in range(counts[precision, name]):
                    call()
                seconds = (time.perf_counter() - since) / counts[precision, name]
                reached[precision][name] = flops / seconds / 1e9
        turn.send(reached)


# ---------------------------------------------------------- networks that know vessels


def learn(
    run: str, kind: str, count: int, size: Sequence[int], steps: int, changes: Sequence[str]
) -> None:
    """Train for some steps on generated images, always the same; what is there is kept.

    Args:
        run: the run folder; the images lie beside it.
        kind: of images.
        count: of images.
        size: of each.
        steps: of training.
        changes: of the recipe, which is `volume` for volumes.
    """
    from unetkit.data.synthetic import make
    from unetkit.machine import keep_memory
    from unetkit.training import train

    data = images_of(run, kind, size)
    if not (data / "split.json").is_file():
        make(kind, data, count=count, size=tuple(size), seed=0)
    if not (Path(run) / "model.safetensors").is_file():
        keep_memory()
        until = ["train.minutes=null", "train.epochs=1", f"train.steps={steps}"]
        recipe = "volume" if kind == "volume" else "default"
        train(data, run, recipe=recipe, changes=[*changes, *until])


def images_of(run: str | Path, kind: str, size: Sequence[int]) -> Path:
    return Path(run).parent / f"{kind}{'x'.join(map(str, size))}"


def learn_and_store(run: str, count: int, side: int, steps: int, changes: Sequence[str]) -> None:
    """Train on vessels, and store what the contest needs."""
    learn(run, "vessels", count, (side, side), steps, changes)
    store_images(Path(run), images_of(run, "vessels", (side, side)))


def store_images(run: Path, data: Path) -> None:
    """Store the images of the test split, normalised as the run wants, and where classes part."""
    from unetkit.image import list_images, read_image
    from unetkit.segmenter import read_card

    card = read_card(run)
    names = json.loads((data / "split.json").read_text())["test"]
    images = [read_image(p).data for p in list_images(data / "images") if p.stem in names]
    np.save(run / "test.npy", np.stack([card.normalization.apply(one) for one in images]))
    threshold = card.threshold if card.predict.threshold is None else card.predict.threshold
    logit = math.log(threshold / (1 - threshold)) * card.temperature
    (run / "cut.json").write_text(json.dumps(logit))


def our_networks(width: int) -> dict[str, list[str]]:
    """Give the changes of the default recipe that make our networks, by their names."""
    from unetkit.recipe import read_recipe

    changes = [f"network.width={width}"]
    same = ["network.upsampling=transposed", "network.norm=batch", "network.block=plain",
            "network.depth=4", "network.padding=same", "network.attention=false",
            "network.skips=null", "network.strides=null"]  # fmt: skip
    default = read_recipe("default", changes).network
    like = read_recipe("default", [*changes, *same]).network
    if default == like:
        return {"default (milesial's operations)": changes}
    return {"default": changes, "milesial's operations": [*changes, *same]}


def alone(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a process of its own, so that nothing of it stays in ours."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{function.__name__} ended with {process.exitcode}")


# ---------------------------------------------------------------------------- the contest


@dataclass(eq=False)
class Seat:
    """A contestant, or a ceiling, in its process.

    Attributes:
        process: that computes.
        pipe: to it.
        told: what it said of itself; `missing` is why it cannot take part, or not any more.
    """

    process: Any
    pipe: Connection
    told: dict[str, Any]

    @property
    def there(self) -> bool:
        """Whether it takes part."""
        return "missing" not in self.told

    def ask(self, order: str) -> Any:
        """Give an order and wait for its answer; None if the process has died of it."""
        try:
            self.pipe.send(order)
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            self.told["missing"] = f"its process ended with {self.process.exitcode}"
            return None

    def leave(self) -> None:
        """End the process."""
        if self.there:
            self.pipe.send(None)
        self.process.join()


def seat(function: Callable[..., None], *arguments: Any) -> Seat:
    """Start a process and wait until it is ready for its turns."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=function, args=(*arguments, there), daemon=True)
    process.start()
    there.close()
    try:
        told = here.recv()
    except EOFError:
        process.join()
        told = {"missing": f"its process ended with {process.exitcode}"}
    return Seat(process, here, told)


def contestants(width: int, place: Path, only: Sequence[str]) -> list[Contestant]:
    """Give those who take part at a width, all or those asked for; our runs lie in `place`."""
    rows = [
        Contestant(MILESIAL, "peer", "milesial"),
        Contestant("MONAI BasicUNet", "peer", "monai"),
        Contestant("nnU-Net PlainConvUNet", "peer", "nnunet"),
    ]
    for number, name in enumerate(our_networks(width)):
        run = str(place / f"width{width}_{number}")
        rows.append(Contestant(f"unetkit, {name}", "eager", run, "PyTorch eager, channels last"))
        for engine, precision in ENGINES:
            rows.append(Contestant(f"unetkit, {name}", "engine", run, engine, precision))
    return [c for c in rows if wanted(c, only)]


def measure(
    width: int, rounds: int, place: Path, quick: bool, only: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Let all contestants of a width take turns; give rows, ceilings, and what the idle used."""
    taking = contestants(width, place, only)
    seats = {c: seat(contest, c, width, place) for c in taking}
    ceilings = {f.__name__: seat(f, quick) for f in (rate_torch, rate_openvino)}
    everybody = [*seats.values(), *ceilings.values()]
    seconds: dict[Contestant, list[float]] = {c: [] for c in taking}
    reached: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for c, one in seats.items():
            if one.there and (took := one.ask("run")) is not None:
                seconds[c].append(took)
                time.sleep(0 if quick else PAUSE)
        for one in ceilings.values():
            for precision, kinds in (one.ask("run") or {}).items() if one.there else ():
                for name, value in kinds.items():
                    reached.setdefault(precision, {}).setdefault(name, []).append(value)
            time.sleep(0 if quick else PAUSE)
    idle = busy([one.process.pid for one in everybody if one.there], 0.2 if quick else 2)
    changed = pixels_changed({c: one for c, one in seats.items() if one.there})
    for one in everybody:
        one.leave()
    speeds = {
        precision: {name: round(statistics.median(values), 1) for name, values in kinds.items()}
        for precision, kinds in reached.items()
    }
    top = {precision: max(kinds.values()) for precision, kinds in speeds.items()}
    rows = table(width, seats, seconds, top, changed)
    return rows, {"gflops": top, "of": speeds}, idle


def wanted(contestant: Contestant, only: Sequence[str]) -> bool:
    """Tell whether a contestant was asked for; the one all are compared with always is."""
    text = f"{contestant.name} {contestant.kind} {contestant.engine} {contestant.precision}"
    return not only or contestant.network == "milesial" or any(word in text for word in only)


def table(
    width: int,
    seats: dict[Contestant, Seat],
    seconds: dict[Contestant, list[float]],
    ceilings: dict[str, float],
    changed: dict[Contestant, float],
) -> list[dict[str, Any]]:
    """Make a row of each contestant, and print it."""
    middles = {c: statistics.median(values) for c, values in seconds.items() if values}
    slow = next(m for c, m in middles.items() if c.name == MILESIAL)
    rows = []
    for c, one in seats.items():
        row: dict[str, Any] = {
            "contestant": c.name, "engine": c.engine, "precision": c.precision, "width": width,
        }  # fmt: skip
        if not one.there:
            rows.append({**row, "missing": one.told["missing"]})
            print(f"width {width:<3} {c.name:<42} {c.engine} {c.precision}: {one.told['missing']}")
            continue
        speed = one.told["flops"] / middles[c] / 1e9
        ceiling = ceilings.get(c.precision)
        row |= {
            "engine": one.told.get("engine", c.engine),
            "images_per_second": round(1 / middles[c], 3),
            "ratio": round(slow / middles[c], 2),
            "gflops": round(speed, 1),
            "share_of_ceiling": round(speed / ceiling, 3) if ceiling else None,
            "pixels_changed": changed.get(c),
            "seconds_per_image": [round(value, 4) for value in seconds[c]],
        }
        if "source" in one.told:
            row["source"] = one.told["source"]
        rows.append(row)
        share = "" if row["share_of_ceiling"] is None else f"{row['share_of_ceiling']:6.1%}"
        change = "" if row["pixels_changed"] is None else f"{row['pixels_changed']:9.4%}"
        print(
            f"width {width:<3} {c.name:<42} {row['engine']:<30} {c.precision:<5} "
            f"{row['images_per_second']:>8} images/s {row['ratio']:>6} × {share} {change}",
            flush=True,
        )
    return rows


def pixels_changed(seats: dict[Contestant, Seat]) -> dict[Contestant, float]:
    """Give the share of pixels whose class is not that of eager fp32, for our contestants."""
    truth = {c.network: one.ask("classify") for c, one in seats.items() if c.kind == "eager"}
    changed = {}
    for c, one in seats.items():
        if c.kind == "engine" and truth.get(c.network) is not None:
            own = one.ask("classify")
            if own is not None:
                changed[c] = round(float((own != truth[c.network]).mean()), 7)
    return changed


def busy(processes: Sequence[int], seconds: float) -> dict[str, Any]:
    """Measure what processes use that should do nothing, in cores."""

    def ticks(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    try:
        before = [ticks(pid) for pid in processes]
        time.sleep(seconds)
        used = sum(ticks(pid) for pid in processes) - sum(before)
    except OSError:
        return {"cores": None}
    return {"cores": round(used / os.sysconf("SC_CLK_TCK") / seconds, 3)}


# ------------------------------------------------------------------ models that people have


def judge(run: str, data: str, out: str) -> None:
    """Compare a trained run in bf16 and int8 with fp32, on its test split."""
    from unetkit.data import read_dataset
    from unetkit.errors import InputError
    from unetkit.evaluation import evaluate
    from unetkit.segmenter import load

    dataset = read_dataset(data)
    rows: list[dict[str, Any]] = []
    truth: list[NDArray[Any]] = []
    best = 0.0
    for engine, precision in ENGINES:
        row: dict[str, Any] = {
            "model": Path(run).name, "data": Path(data).name, "engine": engine,
            "precision": precision,
        }  # fmt: skip
        seen: list[NDArray[Any]] = []

        def keep(_: Any, answer: Any, __: Any, seen: list[NDArray[Any]] = seen) -> None:
            seen.append(answer.labels)

        try:
            segmenter = load(
                run, device="cpu", engine=engine, precision=precision,
                calibration=data if precision == "int8" else None, cache=Path(out).parent,
            )  # fmt: skip
            scores = evaluate(segmenter, dataset, split="test", keep=keep)
        except (ImportError, InputError) as error:
            if not truth:
                raise
            rows.append({**row, "missing": " ".join(str(error).split())})
            continue
        dice = scores["mean"]["dice"]
        if not truth:  # PyTorch in fp32, the first
            truth, best = seen, dice
        pixels = sum(labels.size for labels in seen)
        changed = sum(int((a != b).sum()) for a, b in zip(seen, truth, strict=True))
        rows.append(
            {
                **row,
                "engine": segmenter.engine,
                "images": len(seen),
                "pixels": pixels,
                "pixels_changed": round(changed / pixels, 7),
                "dice": round(dice, 5),
                "dice_change": round(dice - best, 5),
            }
        )
        print(f"models  {rows[-1]}", flush=True)
    Path(out).write_text(json.dumps(rows))


# --------------------------------------------------------------------------------- start


STARTS = (
    ("--engine", "openvino"), ("--engine", "torch"), ("--engine", "onnx"), ("--precision", "int8"),
)  # fmt: skip


def measure_start(run: Path, image: Path, rounds: int) -> list[dict[str, Any]]:
    """Time whole commands, in turns; the first run of each warms the caches and is left out."""
    unet = str(Path(sys.executable).with_name("unet"))
    commands: dict[str, list[str]] = {"unet --help": ["--help"]}
    for words in ((), *STARTS):
        name = " ".join(["unet predict", *words])
        commands[name] = ["predict", str(run), str(image), *words]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for name, words in commands.items():
                if name in missing:
                    continue
                out = [] if words[0] == "--help" else ["-o", f"{folder}/{number} {name}"]
                since = time.perf_counter()
                done = subprocess.run(
                    [unet, *words, *out], capture_output=True, text=True,
                    env={**os.environ, "XDG_CACHE_HOME": f"{folder}/cache"},
                )  # fmt: skip
                if done.returncode:
                    missing[name] = " ".join(done.stderr.split())[-300:]
                elif number:
                    seconds[name].append(time.perf_counter() - since)
    rows: list[dict[str, Any]] = []
    for name, values in seconds.items():
        if name in missing:
            rows.append({"command": name, "missing": missing[name]})
        else:
            middle = round(statistics.median(values), 3)
            rows.append({"command": name, "seconds": middle,
                         "of": [round(value, 3) for value in values]})  # fmt: skip
        print(f"start  {rows[-1]}", flush=True)
    return rows


# ---------------------------------------------------------------------------------- main


def prepare(arguments: argparse.Namespace, width: int, place: Path) -> list[dict[str, Any]]:
    """Train our networks of a width; say what they have learnt."""
    from unetkit.segmenter import read_card

    trained = []
    for number, (name, changes) in enumerate(our_networks(width).items()):
        run = place / f"width{width}_{number}"
        changes = [*changes, "train.patch=64"] if arguments.quick else changes
        alone(learn_and_store, str(run), arguments.count, arguments.side, arguments.steps, changes)
        if any(c.precision == "int8" for c in contestants(width, place, arguments.only)):
            alone(calibrate, str(run))
        np.save(place / "image.npy", np.load(run / "test.npy", mmap_mode="r")[:1])
        card = read_card(run)
        steps = card.recipe["train"]["steps"]  # of this run or, where it was kept, of an earlier
        scores = {key: round(value, 4) for key, value in card.scores.items()}
        trained.append({"network": name, "width": width, "steps": steps, "scores": scores})
        print(f"width {width}  {name}: {steps} steps, {scores}", flush=True)
    return trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--side", type=int, default=512, help="of the images")
    parser.add_argument("--steps", type=int, default=120, help="of training")
    parser.add_argument("--count", type=int, default=40, help="of generated images")
    parser.add_argument("--starts", type=int, default=5, help="runs of each command; 0: none")
    parser.add_argument("--quick", action="store_true", help="toy sizes: does it run at all")
    parser.add_argument("--only", nargs="+", default=[], help="contestants with these words")
    parser.add_argument("--models", nargs="+", default=[], metavar="RUN=DATA")
    parser.add_argument("--packages", type=Path, help="where dynamic-network-architectures lies")
    parser.add_argument("--work", type=Path, help="keep data and trained networks here")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.widths, arguments.rounds, arguments.side = [4], 2, 64
        arguments.steps, arguments.count, arguments.starts = 2, 5, min(arguments.starts, 1)
    if arguments.packages:
        folders = [str(arguments.packages.resolve()), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))  # of the processes
    models = [one.partition("=") for one in arguments.models]
    load = load_now()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        document = run(arguments, work, [(a, b) for a, _, b in models])
    document["environment"]["load_before"] = load
    out = arguments.out / "inference.json" if arguments.out.is_dir() else arguments.out
    out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"results: {out}")


def run(
    arguments: argparse.Namespace, work: Path, models: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Measure everything that was asked for."""
    side, rounds, work = arguments.side, arguments.rounds, work.resolve()
    rows, trained, ceilings, idle = [], [], [], []
    for width in arguments.widths:
        trained += prepare(arguments, width, work)
        more, top, unused = measure(width, rounds, work, arguments.quick, arguments.only)
        rows += more
        ceilings.append({"width": width, **top})
        idle.append({"width": width, **unused})
        print(f"width {width}  ceilings {top['gflops']} GFLOP/s, idle {unused['cores']} cores")
    judged: list[dict[str, Any]] = []
    for model, where in models:
        report = work / f"judged{len(judged)}.json"
        try:
            alone(judge, model, where, str(report))
            judged += json.loads(report.read_text())
        except SystemExit as error:
            judged.append({"model": Path(model).name, "data": where, "missing": str(error)})
    start: list[dict[str, Any]] = []
    if arguments.starts:
        first = work / f"width{arguments.widths[0]}_0"
        image = min((images_of(first, "vessels", (side, side)) / "images").iterdir())
        start = measure_start(first, image, arguments.starts)

    from unetkit.machine import describe

    return {
        "protocol": f"1 RGB image of {side}², 1 class, batch 1, fp32 array to fp32 logits; "
        "contestants alternating in processes of their own, medians of "
        f"{rounds} rounds of about {TURN:g} s; ratio to {MILESIAL} as shipped (fp32, NCHW, eager); "
        "share of the fastest convolution or product measured in the same rounds at that "
        "precision; pixels changed against eager fp32 on the test split of generated vessels",
        "targets": {
            "ratio at widths 32 and 64": {"bf16": 4.4, "int8": 8},
            "share of the bf16 ceiling at widths 32 and 64": 0.85,
            "pixels changed of trained models": {"bf16": 0.0002, "int8": 0.002},
            "Dice changed of trained models": {"bf16": 0.001, "int8": 0.003},
            "seconds": {"unet predict": 3, "unet --help": 0.3},
        },
        "environment": {**describe(), **versions()},
        "rows": rows,
        "ceilings": ceilings,
        "idle": idle,
        "trained": trained,
        "models": judged,
        "start": {
            "protocol": f"whole commands, one image of {side}², default network of width "
            f"{arguments.widths[0]}; the first run left out, medians of {arguments.starts}",
            "rows": start,
        },
    }


def load_now() -> float | None:
    """Give the processes that wanted a core in the last minute; warn where that disturbs.

    Contestants do not suffer alike: threads of OpenMP, as the peers use, wait for each other at
    every operation, so that one core taken by others slows them much more than it slows OpenVINO.
    """
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    if load is not None and load > 0.5:
        print(f"this machine is busy (load {load}): what is measured now is worth little")
    return load


def versions() -> dict[str, str]:
    """Give the versions of the engines and peers that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("openvino", "nncf", "onnxruntime", "monai", "dynamic-network-architectures"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


if __name__ == "__main__":
    main()
