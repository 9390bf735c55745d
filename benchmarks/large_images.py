"""Large images and many images: time per pixel, memory, seams, and a folder with broken files.

    python benchmarks/large_images.py sizes  FOLDER [--sides 1000 … 30000] [--width 16]
    python benchmarks/large_images.py memory FOLDER [--limit 2] [--only WORD ...]
    python benchmarks/large_images.py seams  FOLDER [--side 4096]
    python benchmarks/large_images.py folder FOLDER [--count 1000] [--format png]

each with [--rounds N] [--quick] [-o FILE]. FOLDER takes the generated images (10 GB for `memory` at
full size) and the networks, which are trained for a moment on generated images; what is there from
an earlier run is kept. Images are generated vessels, 1024² pieces of four scenes, turned, mirrored
and brightened by chance, always the same; they are written by bands or chunks, never whole.

`sizes`: nanoseconds per pixel of `unetkit.predict`, the function behind `unet predict`, from a
tiled TIFF to its label TIFF. Load and first use are left out: each size of each round is a process
of its own, which predicts the image once that does not count (images of more than 64 million
pixels: another one of 2000²), then for at least three seconds. Sizes take turns; medians over
rounds; the deviation is that from the median of all sizes.

`memory`: the command `unet predict … --max-memory` on images of 30 000², RGB, and on a volume of
1000³. The peak is measured from outside: every 10 ms, the largest resident size that the system
notes of each process (VmHWM, libraries and mapped files included), summed over the command and its
descendants.

`seams`: MONAI's `sliding_window_inference` (windows of 512², overlap of 50 %, Gaussian weights,
batch 1, the fastest for it on a CPU) beside our tiles, both with the same engine and network, from
a normalised image in memory to probabilities. Each in a process of its own, in turns, medians over
rounds. The difference is the largest to the probabilities of one pass over the whole image in fp32.

With `--norm instance` or `group`, tiles of no size are exact, and ours are blended as well.

`folder`: 1000 images of 512² of which 10 are broken in different ways, by the command; its loop,
from the 20th image to the last, beside the network alone on as many tiles in memory, in turns.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference import PAUSE, alone, learn, load_now, seat

Pixels = NDArray[np.uint8]

PIECE = 1024  # side of the pieces a large image is laid out of
SCENES = 4
ROWS = 16  # of a strip
MONAI = "MONAI sliding_window_inference"
CUBE = 128  # side of the pieces of a volume
SIDES = [1000, 2000, 4000, 8000, 16000, 30000]


# ------------------------------------------------------------------------------- images


@lru_cache(maxsize=1)
def scenes() -> list[Pixels]:
    """Give the scenes that all large images are made of, each (y, x, c)."""
    from unetkit.data.synthetic import vessels

    made = [vessels((PIECE, PIECE), seed=seed)[0] for seed in range(SCENES)]
    return [np.moveaxis(image, 0, -1) for image in made]


def piece(row: int, column: int) -> Pixels:
    """Give a piece (y, x, c) of the endless image."""
    chance = np.random.default_rng((row, column))
    number, turn, flipped = chance.integers([SCENES, 4, 2])
    image = np.rot90(scenes()[number], turn)
    image = image[:, ::-1] if flipped else image
    gain = np.arange(256) * chance.uniform(0.7, 1.1)
    return np.clip(gain, 0, 255).astype(np.uint8)[image]


def bands(side: int, height: int) -> Iterator[Pixels]:
    """Give an image (y, x, c) of side² in bands; PIECE is a multiple of their height."""
    for top in range(0, side, PIECE):
        row = np.concatenate([piece(top // PIECE, k) for k in range(-(-side // PIECE))], axis=1)[
            : side - top, :side
        ]
        for first in range(0, len(row), height):
            yield row[first : first + height]


def write_tiles(path: Path, side: int) -> None:
    """Write a tiled BigTIFF, deflated."""
    import tifffile

    def tiles() -> Iterator[Pixels]:
        for band in bands(side, 512):
            for left in range(0, side, 512):
                tile = np.zeros((512, 512, 3), np.uint8)
                part = band[:, left : left + 512]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile

    tifffile.imwrite(
        path, tiles(), shape=(side, side, 3), dtype=np.uint8, tile=(512, 512), bigtiff=True,
        photometric="rgb", compression="zlib", compressionargs={"level": 1}, metadata=None,
    )  # fmt: skip


def write_strips(path: Path, side: int) -> None:
    """Write a BigTIFF in strips, deflated."""
    import tifffile

    def strips() -> Iterator[bytes]:
        with ThreadPoolExecutor() as pool:
            for band in bands(side, 512):
                parts = [band[k : k + ROWS].tobytes() for k in range(0, len(band), ROWS)]
                yield from pool.map(partial(zlib.compress, level=1), parts)

    tifffile.imwrite(
        path, strips(), shape=(side, side, 3), dtype=np.uint8, rowsperstrip=ROWS, bigtiff=True,
        photometric="rgb", compression="zlib", metadata=None,
    )  # fmt: skip


def write_geotiff(path: Path, side: int) -> None:
    """Write a tiled GeoTIFF, deflated, half a metre a pixel."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=3, dtype="uint8", tiled=True,
        blockxsize=512, blockysize=512, compress="deflate", zlevel=1, bigtiff="YES",
        num_threads="all_cpus", photometric="rgb", crs="EPSG:32633",
        transform=rasterio.Affine(0.5, 0, 400000, 0, -0.5, 5800000),
    ) as file:  # fmt: skip
        top = 0
        for band in bands(side, 512):
            file.write(np.moveaxis(band, -1, 0), window=Window(0, top, side, len(band)))
            top += len(band)


def write_zarr(path: Path, side: int) -> None:
    """Write a Zarr array (c, y, x)."""
    import zarr

    array = zarr.create_array(
        path, shape=(3, side, side), chunks=(1, 1024, 1024), dtype="uint8",
        dimension_names=("c", "y", "x"),
    )  # fmt: skip
    top = 0
    for band in bands(side, PIECE):
        array[:, top : top + len(band)] = np.moveaxis(band, -1, 0)
        top += len(band)


@lru_cache(maxsize=1)
def lump() -> Pixels:
    """Give the scene (z, y, x) that all large volumes are made of."""
    from unetkit.data.synthetic import volume

    made = volume((CUBE, CUBE, CUBE), seed=0)[0][0]
    low, high = made.min(), made.max()
    grey: Pixels = ((made - low) / (high - low) * 255).astype(np.uint8)
    return grey


def layers(side: int, thick: int) -> Iterator[Pixels]:
    """Give a volume of side³ in layers; CUBE is a multiple of their thickness."""
    count = -(-side // CUBE)
    for number in range(count):
        chance = np.random.default_rng(number)
        rows = []
        for _ in range(count):
            flips = chance.integers(2, size=(count, 3))
            rows.append(np.concatenate([np.flip(lump(), np.flatnonzero(f)) for f in flips], axis=2))
        layer = np.concatenate(rows, axis=1)[: side - number * CUBE, :side, :side]
        for first in range(0, len(layer), thick):
            yield layer[first : first + thick]


def write_volume_zarr(path: Path, side: int) -> None:
    """Write a Zarr array (z, y, x)."""
    import zarr

    array = zarr.create_array(
        path, shape=(side, side, side), chunks=(64, 128, 128), dtype="uint8",
        dimension_names=("z", "y", "x"),
    )  # fmt: skip
    top = 0
    for layer in layers(side, 64):
        array[top : top + len(layer)] = layer
        top += len(layer)


def write_volume_nifti(path: Path, side: int) -> None:
    """Write an uncompressed NIfTI, whose first axis, x, runs fastest."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((side, side, side))
    header.set_xyzt_units("mm")
    header["magic"], header["vox_offset"] = b"n+1", 352
    with path.open("wb") as file:
        header.write_to(file)
        file.write(b"\0" * (352 - file.tell()))
        for layer in layers(side, CUBE):
            file.write(layer.tobytes())


WRITERS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "TIFF in tiles": ("tiles.tif", write_tiles),
    "TIFF in strips": ("strips.tif", write_strips),
    "GeoTIFF": ("geo.tif", write_geotiff),
    "Zarr": ("chunks.zarr", write_zarr),
    "volume, Zarr": ("volume.zarr", write_volume_zarr),
    "volume, NIfTI": ("volume.nii", write_volume_nifti),
}


def make_image(kind: str, folder: Path, side: int) -> Path:
    """Write a large image, unless it is there."""
    name, write = WRITERS[kind]
    path = folder / f"{side}_{name}"
    if not path.exists():
        since = time.perf_counter()
        beside = folder / f"part_{side}_{name}"
        _discard(beside)
        write(beside, side)
        beside.replace(path)
        print(f"{kind} of {side}: {time.perf_counter() - since:.0f} s", flush=True)
    return path


def _discard(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# ----------------------------------------------------------------------------- networks


def flat_network(folder: Path, width: int, quick: bool, norm: str = "batch") -> Path:
    """Give a network of the default recipe that knows vessels a little."""
    kind = "" if norm == "batch" else norm
    run = folder.resolve() / f"{'quick' if quick else 'width'}{width}{kind}"
    changes = [f"network.width={width}", f"network.norm={norm}"]
    if quick:
        alone(learn, str(run), "vessels", 5, (64, 64), 2, [*changes, "train.patch=64"])
    else:
        alone(learn, str(run), "vessels", 20, (512, 512), 120, changes)
    return run


def deep_network(folder: Path, width: int, quick: bool) -> Path:
    """Give a 3D network of two levels that knows blobs a little."""
    run = folder.resolve() / f"{'quick_' if quick else ''}deep{width}"
    changes = [f"network.width={width}", "network.depth=2", "network.strides=null"]
    if quick:
        alone(learn, str(run), "volume", 3, (16, 32, 32), 2, [*changes, "train.patch=16"])
    else:
        alone(learn, str(run), "volume", 5, (48, 96, 96), 60, changes)
    return run


def unet() -> str:
    """Give the command that belongs to this Python."""
    return str(Path(sys.executable).with_name("unet"))


# -------------------------------------------------------------------------------- sizes


def time_image(
    run: str, image: str, warm: str, limit: float | None, least: float, into: str
) -> None:
    """Predict an image and note the seconds of each time that counts."""
    from unetkit.application import predict
    from unetkit.machine import keep_memory
    from unetkit.segmenter import load

    if limit is None:  # as the command does
        keep_memory()
    segmenter = load(run)
    seconds: list[float] = []
    with tempfile.TemporaryDirectory(dir=Path(image).parent) as out:

        def once(path: str) -> float:
            since = time.perf_counter()
            predict(segmenter, path, out, overwrite=True, memory=limit)
            return time.perf_counter() - since

        once(warm)
        while not seconds or sum(seconds) < least:
            seconds.append(once(image))
    Path(into).write_text(json.dumps({"seconds": seconds, "engine": segmenter.engine}))


def sizes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure time per pixel of all sizes, in turns."""
    folder, sides = arguments.folder, arguments.sides
    run = flat_network(folder, arguments.width, arguments.quick)
    images = {side: make_image("TIFF in tiles", folder, side) for side in sides}
    small = make_image("TIFF in tiles", folder, 300 if arguments.quick else 2000)
    into, least = folder / "seconds.json", 0.0 if arguments.quick else 3.0
    spent: dict[int, list[float]] = {side: [] for side in sides}
    engine = ""
    for _ in range(arguments.rounds):
        for side in sides:
            warm = images[side] if side <= 8000 else small
            alone(
                time_image, str(run), str(images[side]), str(warm), arguments.limit, least,
                str(into),
            )  # fmt: skip
            seen = json.loads(into.read_text())
            engine = seen["engine"]
            spent[side].append(statistics.median(seen["seconds"]))
            print(f"sizes  {side}²: {spent[side][-1] / side**2 * 1e9:.1f} ns per pixel", flush=True)
    each = {side: statistics.median(values) / side**2 * 1e9 for side, values in spent.items()}
    middle = statistics.median(each.values())
    return {
        "protocol": "unetkit.predict in a process of its own, from a tiled RGB TIFF to a label "
        f"TIFF, without load and first use; medians of {arguments.rounds} rounds in turns",
        "target": "within 15 % from 1000² to 30 000²",
        "network": f"default recipe, width {arguments.width}",
        "engine": engine,
        "max_memory_gb": arguments.limit,
        "median_ns_per_pixel": round(middle, 2),
        "rows": [
            {
                "side": side,
                "ns_per_pixel": round(each[side], 2),
                "deviation": round(each[side] / middle - 1, 4),
                "seconds": [round(value, 3) for value in spent[side]],
            }
            for side in sides
        ],
    }


# ------------------------------------------------------------------------------- memory


def watch(command: Sequence[str | Path]) -> dict[str, Any]:
    """Run a command; give its exit code, seconds and peak of resident memory."""
    with tempfile.TemporaryFile() as said:
        since = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], stdout=said, stderr=said)
        peaks: dict[int, int] = {}
        peak, most = 0, 0
        while process.poll() is None:
            alive = family(process.pid)
            for pid in alive:
                peaks[pid] = max(peaks.get(pid, 0), highest(pid))
            peak, most = max(peak, sum(peaks[pid] for pid in alive)), max(most, len(alive))
            time.sleep(0.01)
        seconds = time.perf_counter() - since
        said.seek(0)
        text = said.read().decode(errors="replace")
    return {
        "exit_code": process.returncode,
        "seconds": round(seconds, 2),
        "peak_gb": round(peak * 1024 / 1e9, 3),
        "processes": most,
        "said": text.strip()[-500:],
    }


def family(pid: int) -> list[int]:
    """Give a process and all its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in family(int(child)))]


def highest(pid: int) -> int:
    """Give the KiB of memory that a process had at most."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except OSError:
        pass  # it has just ended
    return 0


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the peak of each kind of image."""
    folder, rows = arguments.folder, []
    flat = flat_network(folder, arguments.width, arguments.quick)
    deep: Path | None = None
    for kind in WRITERS:
        if arguments.only and not any(word in kind for word in arguments.only):
            continue
        side = arguments.volume if "volume" in kind else arguments.side
        try:
            image = make_image(kind, folder, side)
        except ImportError as error:
            rows.append({"kind": kind, "side": side, "missing": str(error)})
            continue
        model = flat
        if "volume" in kind:
            model = deep = deep or deep_network(folder, 8, arguments.quick)
        with tempfile.TemporaryDirectory(dir=folder) as out:
            row = watch([unet(), "predict", model, image, "-o", out,
                         "--max-memory", str(arguments.limit)])  # fmt: skip
        pixels = side**3 if "volume" in kind else side**2
        said = row.pop("said")
        row |= {"ns_per_pixel": round(row["seconds"] / pixels * 1e9, 2),
                "held": row["exit_code"] == 0 and row["peak_gb"] <= arguments.limit}  # fmt: skip
        if row["exit_code"]:
            row["said"] = said
        rows.append({"kind": kind, "side": side, **row})
        print(f"memory  {rows[-1]}", flush=True)
    return {
        "protocol": f"unet predict --max-memory {arguments.limit:g} (GB of 10⁹ bytes); the peak is "
        "the sum of VmHWM over the command and its descendants, looked at every 10 ms from "
        "outside; seconds are those of the whole command",
        "target": f"at most {arguments.limit:g} GB",
        "network": f"default recipe, width {arguments.width}; volumes: volume recipe, width 8, two "
        "levels",
        "rows": rows,
    }


# -------------------------------------------------------------------------------- seams


def whole(run: str, image: str, into: str) -> None:
    """Store the probabilities of one pass over a whole image, in fp32."""
    forward, segmenter = ready(run, "fp32")
    pixels = np.load(image)
    space = pixels.shape[1:]
    legal = segmenter.footprint.enclose(space)
    padded = [(0, 0), *((0, a - n) for a, n in zip(legal, space, strict=True))]
    batch = np.pad(pixels, padded, mode="reflect")[None]
    np.save(into, forward(batch)[0][:, : space[0], : space[1]])


def ready(run: str, precision: str) -> tuple[Callable[..., Any], Any]:
    """Give probabilities of a normalised batch, and the segmenter that they come from."""
    from unetkit.machine import keep_memory
    from unetkit.segmenter import load
    from unetkit.segmenter.segmentation import to_probabilities

    keep_memory()
    segmenter = load(run, device="cpu", precision=precision)
    compute, temperature = segmenter.members[0].engine.run, segmenter.card.temperature

    def forward(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return to_probabilities(compute(batch), False, temperature)

    return forward, segmenter


def slide(run: str, precision: str, roi: int, _: int | None, image: str, turn: Connection) -> None:
    """Predict an image in MONAI's windows whenever it is our turn."""
    try:
        import torch
        from monai.inferers import sliding_window_inference
    except ImportError as error:
        turn.send({"missing": str(error)})
        return
    forward, segmenter = ready(run, precision)
    pixels = torch.from_numpy(np.load(image)[None])

    def predictor(batch: Any) -> Any:
        return torch.from_numpy(forward(batch.numpy()))

    def predict(part: Any) -> Any:
        with torch.inference_mode():
            return sliding_window_inference(
                part, (roi, roi), 1, predictor, overlap=0.5, mode="gaussian"
            )[0].numpy()  # fmt: skip

    take_turns(lambda: predict(pixels), lambda: predict(pixels[..., : 2 * roi, : 2 * roi]),
               segmenter.engine, turn)  # fmt: skip


def tile(run: str, precision: str, _: int, size: int | None, image: str, turn: Connection) -> None:
    """Predict an image in our tiles whenever it is our turn."""
    from unetkit.prediction import predict_planned

    forward, segmenter = ready(run, precision)
    pixels = np.load(image)
    plan = segmenter.plan(pixels.shape, pixels.itemsize, tile=size)

    def once() -> Any:
        return predict_planned(forward, pixels, plan)[0]

    take_turns(once, once, f"{segmenter.engine}, tiles of {'×'.join(map(str, plan.tile))}", turn)


def take_turns(
    once: Callable[[], Any], warm: Callable[[], Any], engine: str, turn: Connection
) -> None:
    warm()
    turn.send({"engine": engine})
    while (order := turn.recv()) is not None:
        if order == "run":
            since = time.perf_counter()
            once()
            turn.send(time.perf_counter() - since)
        else:
            np.save(order, once())
            turn.send(None)


def seams(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure both ways to cut an image, in turns."""
    folder, side, roi = arguments.folder, arguments.side, 64 if arguments.quick else 512
    run = flat_network(folder, arguments.width, arguments.quick, arguments.norm)
    rows = []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        image, true = f"{place}/image.npy", f"{place}/whole.npy"
        alone(store_normalised, str(run), side, image)
        alone(whole, str(run), image, true)
        for precision in arguments.precisions:
            seats = {
                MONAI: seat(slide, str(run), precision, roi, arguments.tile, image),
                "unetkit": seat(tile, str(run), precision, roi, arguments.tile, image),
            }
            there = {name: one for name, one in seats.items() if one.there}
            seconds: dict[str, list[float]] = {name: [] for name in there}
            for _ in range(arguments.rounds):
                for name, one in there.items():
                    seconds[name].append(one.ask("run"))
                    time.sleep(PAUSE)
            middles = {name: statistics.median(values) for name, values in seconds.items()}
            for name, one in seats.items():
                row: dict[str, Any] = {"contestant": name, "precision": precision, **one.told}
                if name in there:
                    one.ask(f"{place}/own.npy")
                    row |= {
                        "seconds": round(middles[name], 3),
                        "ratio": round(middles[MONAI] / middles[name], 2)
                        if MONAI in there
                        else None,
                        "of": [round(value, 3) for value in seconds[name]],
                        **compare(true, f"{place}/own.npy"),
                    }
                one.leave()
                rows.append(row)
                print(f"seams  {row}", flush=True)
    return {
        "protocol": f"one RGB image of {side}², width {arguments.width}, {arguments.norm} "
        "normalisation, the image normalised, in memory; "
        f"MONAI: windows of {roi}², overlap 50 %, Gaussian, batch 1; each in a process of its own "
        f"with the same engine, in turns, medians of {arguments.rounds}; differences to one pass "
        "over the whole image in fp32",
        "target": "3 times as fast in fp32; difference at most 1e-5 in fp32",
        "rows": rows,
    }


def store_normalised(run: str, side: int, into: str) -> None:
    from unetkit.segmenter import read_card

    image = np.concatenate(list(bands(side, PIECE)))
    np.save(into, read_card(run).normalization.apply(np.moveaxis(image, -1, 0)))


def compare(true: str, own: str) -> dict[str, float]:
    """Compare probabilities with those of the whole image, a band at a time."""
    a, b = np.load(true, mmap_mode="r"), np.load(own, mmap_mode="r")
    largest, changed = 0.0, 0
    for top in range(0, a.shape[1], 512):
        one, other = a[:, top : top + 512], b[:, top : top + 512]
        largest = max(largest, float(np.abs(one - other).max()))
        changed += int(((one >= 0.5) != (other >= 0.5)).sum())
    return {"max_difference": float(f"{largest:.3g}"), "pixels_changed": round(changed / a.size, 7)}


# ------------------------------------------------------------------------------- folder


def make_folder(folder: Path, count: int, side: int, suffix: str) -> Path:
    """Write images of which ten are broken, each in its own way, unless they are there."""
    from PIL import Image

    if (folder / "made").is_file():
        return folder / "images"
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    per = PIECE // side
    for number in range(count - 10):
        chance = np.random.default_rng(number)
        image = piece(*divmod(number // per**2, 64))
        top, left = (k * side for k in divmod(number % per**2, per))
        part = image[top : top + side, left : left + side]
        noise = chance.integers(-3, 4, part.shape, np.int8)
        pixels = np.clip(part.astype(np.int16) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(images / f"image{number:04d}.{suffix}")
    break_files(images, side, count)
    (folder / "made").touch()
    return images


def break_files(folder: Path, side: int, count: int) -> None:
    """Write ten files that are no images for a network of RGB images, in between the others."""
    import tifffile
    from PIL import Image

    numbers = iter(range(count // 20, count, max(1, count // 10)))

    def name(what: str, suffix: str) -> Path:
        return folder / f"image{next(numbers):04d}_broken_{what}.{suffix}"

    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    for suffix in ("png", "jpg", "tif"):
        Image.fromarray(pixels).save(folder / f"whole.{suffix}")
        sound = (folder / f"whole.{suffix}").read_bytes()
        (folder / f"whole.{suffix}").unlink()
        name("cut", suffix).write_bytes(sound[: len(sound) // 2])
        if suffix == "png":
            middle = len(sound) // 2
            hurt = sound[:middle] + bytes(255 - b for b in sound[middle : middle + 9])
            name("hurt", "png").write_bytes(hurt + sound[middle + 9 :])
    name("empty", "png").write_bytes(b"")
    name("empty", "tif").write_bytes(b"")
    name("words", "png").write_text("no image at all\n")
    name("zeros", "jpg").write_bytes(bytes(4096))
    tifffile.imwrite(
        name("channels", "tif"), np.zeros((5, side, side), np.uint8),
        photometric="minisblack", planarconfig="separate", metadata=None,
    )  # fmt: skip
    np.save(name("pickled", "npy"), np.array([{"not": "numbers"}], object))


def loop(run: str, images: str, turn: Connection) -> None:
    """Predict a folder as `unet predict` does, whenever it is our turn; give images per second."""
    from unetkit.application import predict
    from unetkit.machine import keep_memory
    from unetkit.segmenter import load

    keep_memory()
    segmenter = load(run)
    turn.send({"engine": segmenter.engine})
    while turn.recv() is not None:
        seen: list[tuple[float, str]] = []

        def note(_done: int, _all: int, name: str, seen: list[tuple[float, str]] = seen) -> None:
            seen.append((time.perf_counter(), name))  # which is to come next

        with tempfile.TemporaryDirectory(dir=Path(images).parent) as out:
            predict(segmenter, images, out, on_image=note)
        counted = seen[min(20, len(seen) // 2) :]
        good = sum("broken" not in name for _, name in counted[:-1])
        turn.send(good / (counted[-1][0] - counted[0][0]))


def network_alone(run: str, side: int, count: int, turn: Connection) -> None:
    """Compute as many tiles from memory, whenever it is our turn; give tiles per second."""
    _, segmenter = ready(run, "auto")
    compute = segmenter.members[0].engine.run
    chance = np.random.default_rng(0)
    tiles = [chance.standard_normal((1, 3, side, side), np.float32) for _ in range(min(16, count))]
    for one in tiles[:3]:
        compute(one)
    turn.send({"engine": segmenter.engine})
    while turn.recv() is not None:
        since = time.perf_counter()
        for number in range(count):
            compute(tiles[number % len(tiles)])
        turn.send(count / (time.perf_counter() - since))


def many(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the folder of images, ten of them broken."""
    count, side = arguments.count, 64 if arguments.quick else 512
    place = arguments.folder / f"many{count}_{side}_{arguments.format}"
    images = make_folder(place, count, side, arguments.format)
    run = flat_network(arguments.folder, arguments.width, arguments.quick)
    with tempfile.TemporaryDirectory(dir=place) as out:
        command = watch([unet(), "predict", run, images, "-o", out])
        said = command.pop("said")
        if command["exit_code"] not in (0, 1) or not (Path(out) / "labels").is_dir():
            raise SystemExit(f"unet predict: {said}")
        outputs = sum(1 for path in (Path(out) / "labels").iterdir() if path.is_file())
        table = Path(out) / "failures.csv"
        failures = []
        if table.is_file():
            with table.open(newline="") as file:
                failures = [
                    {"image": Path(row["image"]).name, "error": row["error"]}
                    for row in csv.DictReader(file)
                ]
    rates: dict[str, list[float]] = {"loop": [], "network alone": []}
    seats = {
        "loop": seat(loop, str(run), str(images)),
        "network alone": seat(network_alone, str(run), side, count - 10),
    }
    for _ in range(arguments.rounds):
        for name, one in seats.items():
            rates[name].append(one.ask("run"))
            time.sleep(PAUSE)
    for one in seats.values():
        one.leave()
    middles = {name: statistics.median(values) for name, values in rates.items()}
    result = {
        "protocol": f"{count} images of {side}² ({arguments.format}), 10 of them broken, width "
        f"{arguments.width}; exit code, outputs and failures of the command; the loop of images "
        "from the 20th to the last, the broken ones not counted, beside the network alone on as "
        f"many tiles in memory, in turns, medians of {arguments.rounds}",
        "target": "exit code 1, all but 10 outputs, 10 failures, ratio 0.9",
        "engine": seats["loop"].told.get("engine"),
        "command": command,
        "outputs": outputs,
        "failures": failures,
        "images_per_second": {name: round(value, 2) for name, value in middles.items()},
        "ratio": round(middles["loop"] / middles["network alone"], 3),
        "of": {name: [round(value, 2) for value in values] for name, values in rates.items()},
    }
    print(f"folder  { ({k: v for k, v in result.items() if k not in ('protocol', 'failures')}) }")
    return result


# --------------------------------------------------------------------------------- main


def report(name: str, result: dict[str, Any], load: float | None, out: Path) -> None:
    """Put a result into the file of results, beside those of the other commands."""
    from unetkit.machine import describe

    out = out / "large_images.json" if out.is_dir() else out
    document = json.loads(out.read_text()) if out.is_file() else {}
    document[name] = {"environment": {**describe(), "load_before": load}, **result}
    out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"results: {out}")


COMMANDS: dict[str, tuple[str, Callable[[argparse.Namespace], dict[str, Any]]]] = {
    "sizes": ("time per pixel from small to large", sizes),
    "memory": ("peak memory under --max-memory", memory),
    "seams": ("tiles beside MONAI's sliding window", seams),
    "folder": ("many images, some of them broken", many),
}
QUICK: dict[str, dict[str, Any]] = {
    "sizes": {"sides": [100, 200], "width": 4, "rounds": 1},
    "memory": {"side": 200, "volume": 40, "width": 4},
    "seams": {"side": 320, "tile": 224, "width": 4, "rounds": 1},
    "folder": {"count": 30, "width": 4, "rounds": 1},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    made = {name: commands.add_parser(name, help=told) for name, (told, _) in COMMANDS.items()}
    for one in made.values():
        one.add_argument("folder", type=Path, help="for images and networks")
        one.add_argument("--width", type=int, default=16, help="of the network")
        one.add_argument("--rounds", type=int, default=3)
        one.add_argument("--quick", action="store_true", help="toy sizes: does it run at all")
        one.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results")
    made["sizes"].add_argument("--sides", type=int, nargs="+", default=SIDES)
    made["sizes"].add_argument("--limit", type=float, help="--max-memory, GB")
    made["memory"].add_argument("--limit", type=float, default=2.0, help="--max-memory, GB")
    made["memory"].add_argument("--side", type=int, default=30_000, help="of the images")
    made["memory"].add_argument("--volume", type=int, default=1000, help="side of the volume")
    made["memory"].add_argument("--only", nargs="+", default=[], help="kinds with these words")
    made["seams"].add_argument("--side", type=int, default=4096)
    made["seams"].add_argument("--tile", type=int, help="of ours; default: what unet predict takes")
    made["seams"].add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    made["seams"].add_argument("--norm", default="batch", choices=["batch", "instance", "group"])
    made["folder"].add_argument("--count", type=int, default=1000)
    made["folder"].add_argument("--format", default="png", choices=["png", "jpg", "tif"])
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(QUICK[arguments.command])
    arguments.folder.mkdir(parents=True, exist_ok=True)
    load = load_now()
    norm = getattr(arguments, "norm", "batch")
    part = arguments.command if norm == "batch" else f"{arguments.command}_{norm}"
    report(part, COMMANDS[arguments.command][1](arguments), load, arguments.out)


if __name__ == "__main__":
    main()
