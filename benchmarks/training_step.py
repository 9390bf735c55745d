"""Images per second of a training step, ours beside milesial/Pytorch-UNet's own settings.

    python benchmarks/training_step.py [--widths 16 32] [--rounds 7] [-o FILE]

The peer is the network of milesial/Pytorch-UNet (see `peers.py`), trained as its train.py does:
fp32, channels last, RMSprop (foreach, momentum 0.999), BCE + Dice, gradients clipped at 1. Ours is
the library's own step with the `default` recipe at the same width: bf16 autocast where the
processor has it, channels last, fused AdamW, moving average of the weights, the allocator setting.
`step` gives both ready batches; `step with augmentation` adds to ours, not to the peer, the drawing
and augmenting of the batch from images in memory.

Each contestant lives in a process of its own, since the allocator setting is the process's; they
take turns, so that a slow moment of the machine hits both. Quoted are medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peers import Milesial
from unetkit.data.dataset import Sample
from unetkit.data.normalize import Normalization
from unetkit.data.synthetic import vessels
from unetkit.machine import choose_precision, describe, keep_memory
from unetkit.recipe import OptimizerConfig, read_recipe

SHAPES = {16: (8, 256), 32: (2, 512), 64: (1, 512)}  # width: (batch, side), as in FACTS
STEPS = 4  # per round


def peer_dice(p: Tensor, truth: Tensor) -> Tensor:
    """One minus the Dice of each image, as the peer computes it."""
    axes = (-1, -2)
    both = 2 * (p * truth).sum(axes)
    sums = p.sum(axes) + truth.sum(axes)
    sums = torch.where(sums == 0, both, sums)
    return 1 - ((both + 1e-6) / (sums + 1e-6)).mean()


def peer(width: int, batch: int, side: int, turn: Connection) -> None:
    torch.manual_seed(0)
    network = Milesial(3, 1, width).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.RMSprop(
        network.parameters(), lr=1e-5, weight_decay=1e-8, momentum=0.999, foreach=True
    )
    images = torch.randn(batch, 3, side, side)
    truth = (torch.rand(batch, side, side) < 0.1).float()

    def step() -> None:
        logits = network(images.to(memory_format=torch.channels_last)).squeeze(1)
        loss = F.binary_cross_entropy_with_logits(logits, truth)
        loss = loss + peer_dice(torch.sigmoid(logits), truth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    serve(step, turn)


def ours(width: int, batch: int, side: int, turn: Connection, *, draw: bool) -> None:
    from unetkit.data.batches import Wanted
    from unetkit.network import UNet
    from unetkit.training import descent, loop

    keep_memory()
    torch.manual_seed(0)
    recipe = read_recipe("default", [f"network.width={width}", f"train.batch={batch}"])
    form = {"ndim": 2, "channels": 3, "classes": 1, "head": "sigmoid"}
    recipe = recipe.model_copy(
        update={
            "network": recipe.network.model_copy(update=form),
            "train": recipe.train.model_copy(update={"patch": (side, side)}),
            "optimizer": OptimizerConfig(),
        }
    )
    device = torch.device("cpu")
    precision = choose_precision(device)
    network = UNet(recipe.network).place(device).train()
    optimizer = descent.choose_optimizer(recipe.optimizer, network)
    average = {name: t.detach().clone() for name, t in network.state_dict().items()}
    patches = loop._patches(recipe, [sample(k) for k in range(4)], Normalization(), Wanted())
    ready = patches.draw()

    def step() -> None:
        drawn = patches.draw() if draw else ready
        descent.learn(network, optimizer, drawn, recipe, device, precision)
        descent.follow(average, network, recipe.train.ema, 1000)

    serve(step, turn)


def sample(seed: int) -> Sample:
    image, mask, fov = vessels((600, 700), seed=seed)
    return Sample(
        id=str(seed), image=image.astype(np.float32), labels=(mask > 0).astype(np.int16),
        instances=None, fov=fov > 0, observer=None, spacing=(1.0, 1.0), path=Path(f"{seed}.png"),
    )  # fmt: skip


def serve(step, turn: Connection) -> None:
    """Warm up, then run a round of steps whenever it is our turn; answer with its seconds."""
    for _ in range(3):
        step()
    turn.send(0.0)
    while turn.recv():
        start = time.perf_counter()
        for _ in range(STEPS):
            step()
        turn.send(time.perf_counter() - start)


def _peer(width, batch, side, turn):
    peer(width, batch, side, turn)


def _ours(width, batch, side, turn):
    ours(width, batch, side, turn, draw=False)


def _ours_drawing(width, batch, side, turn):
    ours(width, batch, side, turn, draw=True)


CONTESTANTS = {
    "milesial fp32 channels-last": _peer,
    "unetkit step": _ours,
    "unetkit step with augmentation": _ours_drawing,
}


def measure(width: int, rounds: int) -> list[dict[str, object]]:
    batch, side = SHAPES[width]
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name, function in CONTESTANTS.items():
        here, there = context.Pipe()
        process = context.Process(target=function, args=(width, batch, side, there), daemon=True)
        process.start()
        here.recv()  # warmed up, and waiting for its turn
        pipes[name] = here
        processes.append(process)
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send(True)
            seconds[name].append(pipe.recv())
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(False)
        process.join()
    rows = []
    slow = statistics.median(seconds["milesial fp32 channels-last"])
    for name, values in seconds.items():
        middle = statistics.median(values)
        rows.append(
            {
                "contestant": name,
                "width": width,
                "batch": batch,
                "side": side,
                "images_per_second": round(STEPS * batch / middle, 2),
                "ratio": round(slow / middle, 2),
                "seconds_per_round": [round(v, 3) for v in values],
            }
        )
        rate, ratio = rows[-1]["images_per_second"], rows[-1]["ratio"]
        print(f"width {width}, {batch} × {side}²  {name:<32} {rate:>7} images/s  {ratio}×")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32], choices=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    rows = [row for width in arguments.widths for row in measure(width, arguments.rounds)]
    out = arguments.out / "training_step.json" if arguments.out.is_dir() else arguments.out
    document = {
        "protocol": f"{STEPS} steps a round, contestants alternating in processes of their own, "
        f"medians of {arguments.rounds} rounds, ratio to milesial's training settings",
        "target": "2.2 times at widths 16 and 32",
        "environment": describe(torch.device("cpu")),
        "rows": rows,
    }
    out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"results: {out}")


if __name__ == "__main__":
    main()
