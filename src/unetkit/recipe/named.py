"""The named recipes: functions whose docstrings state source, expectation and command."""

from __future__ import annotations

from collections.abc import Callable

from unetkit.augment import NOTHING, AugmentConfig
from unetkit.losses import LossConfig
from unetkit.network import NetworkConfig
from unetkit.recipe.sections import OptimizerConfig, Recipe, ScheduleConfig, TrainConfig


def default() -> Recipe:
    """For any small set of 2D images: width 16, batch norm, cross-entropy + Dice, AdamW, EMA.

    On a laptop: `unet train DATA -o RUN`. Expected on STARE and DRIVE after ten minutes on two
    cores: see `benchmarks/results/`.
    """
    return Recipe()


def ronneberger2015() -> Recipe:
    """Reproduce the 2015 network and its training (arXiv 1505.04597).

    Valid convolutions, 572 → 388, no normalisation, He initialisation, dropout at the end of the
    contracting path, SGD with momentum 0.99 on one tile at a time, softmax with weighted
    cross-entropy (w0 10, σ 5), shift, rotation, grey values and elastic deformation on a 3×3 grid
    of N(0, 10 px). Not in the paper and ours: learning rate 5e-3 falling by a cosine (1e-3 was
    too slow, 1e-2 diverged without the next), gradients clipped at norm 1, dropout
    0.5, 20 epochs of 100 steps.
    `unet train isbi2012_em --recipe ronneberger2015 -o RUN`.
    """
    return Recipe(
        name="ronneberger2015",
        network=NetworkConfig(
            width=64, padding="valid", norm="none", head="softmax", dropout=(0, 0, 0, 0.5, 0.5)
        ),
        train=TrainConfig(
            epochs=20, minutes=None, batch=1, patch=572, steps=100, foreground=0, ema=0, clip=1
        ),
        loss=LossConfig.model_validate({"cross_entropy": {"border": {"w0": 10, "sigma": 5}}}),
        augment=AugmentConfig(
            rotate=180, scale=0, elastic=10, brightness=0.1, contrast=0.1, gamma=0.1, channel=0,
            noise=0, blur=0,
        ),
        optimizer=OptimizerConfig(name="sgd", lr=5e-3, momentum=0.99, weight_decay=0),
        schedule=ScheduleConfig(name="cosine", warmup=0.05),
    )  # fmt: skip


def dragic2025() -> Recipe:
    """Train as Dragic 2025 did on STARE: skeleton recall + 5 × border-weighted BCE (w0 10, σ 7).

    Patches of 512², batch 2, Adam at 1e-4 divided by ten on a plateau (patience 5), 25 epochs of
    120 steps (240 augmented images), best model on validation. Its table: Jaccard 0.6435, F1
    0.7827, recall 0.9112, precision 0.6892, accuracy 0.9559. The width is not stated; 64 is the
    original's. `unet train stare --recipe dragic2025 -o RUN`.
    """
    return Recipe(
        name="dragic2025",
        network=NetworkConfig(width=64, norm="batch", head="sigmoid"),
        train=TrainConfig(
            epochs=25, minutes=None, batch=2, patch=512, steps=120, select="loss", ema=0, clip=None,
            foreground=0,
        ),
        loss=LossConfig.model_validate(
            {
                "skeleton_recall": 1,
                "cross_entropy": {"weight": 5, "border": {"w0": 10, "sigma": 7}},
            }
        ),
        augment=AugmentConfig(
            rotate=180, scale=0.2, elastic=4, brightness=0, contrast=0, gamma=0, channel=0, noise=0,
            blur=0,
        ),
        optimizer=OptimizerConfig(name="adam", lr=1e-4, weight_decay=0),
        schedule=ScheduleConfig(name="plateau", patience=5, factor=0.1, warmup=0),
    )  # fmt: skip


def tavares2025() -> Recipe:
    """Train as Tavares 2025 did for depth × skip connections: the original's widths, Dice + BCE.

    Set `network.depth` and `network.skips`; without a skip the decoder has no concatenation. The
    source does not state optimiser, learning rate, batch, patch and epochs: Adam at 1e-3, 8
    patches of 256² and 20 epochs are ours, and no augmentation is named, so none is made.
    `unet train drive --recipe tavares2025 --set network.skips=1001 -o RUN`.
    """
    return Recipe(
        name="tavares2025",
        network=NetworkConfig(width=64, norm="none", head="sigmoid"),
        train=TrainConfig(epochs=20, minutes=None, batch=8, patch=256, ema=0, clip=None),
        augment=NOTHING,
        optimizer=OptimizerConfig(name="adam", lr=1e-3, weight_decay=0),
        schedule=ScheduleConfig(name="constant", warmup=0),
    )


def thin() -> Recipe:
    """For vessels, roads, cracks and membranes: the default with skeleton recall added to its loss.

    Skeleton recall (Kirchhoff et al. 2024) raises recall of thin branches; whether it raises Dice
    is disputed (arXiv 2508.11374). `unet train DATA --recipe thin -o RUN`.
    """
    loss = {"cross_entropy": 1, "dice": 1, "skeleton_recall": 1}
    return Recipe(name="thin", loss=LossConfig.model_validate(loss))


def volume() -> Recipe:
    """For volumes (NIfTI, TIFF stacks): 3D, depth 3, gentle rotation, pooling by voxel spacing.

    `unet train DATA --recipe volume -o RUN`.
    """
    return Recipe(
        name="volume",
        network=NetworkConfig(width=16, depth=3),
        train=TrainConfig(batch=2),
        augment=AugmentConfig(rotate=15, scale=0.2, elastic=2, blur=0.5),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    function.__name__: function
    for function in (default, ronneberger2015, dragic2025, tavares2025, thin, volume)
}
