"""What training minimises: a weighted sum of short losses on targets that were prepared once.

`prepare` turns any head (softmax, one sigmoid channel, several of them) into the same tensors;
after it no loss asks which head it was. The legend: b images; k channels of the network; f
foreground channels (softmax: classes 1..k−1, the background takes no part in the losses of
regions; sigmoid: all k); m maps of the cross-entropy (softmax: 1; sigmoid: k); `*space` is
`([z,] y, x)`. Everything is computed in fp32, whatever the precision of the logits.

To add a loss: a function in `terms`, a model of its options and a field of `LossConfig` in
`config`, and a test against an independent implementation.
"""

from unetkit.losses.config import (
    BorderConfig,
    BoundaryConfig,
    ClDiceConfig,
    CrossEntropyConfig,
    DiceConfig,
    FocalConfig,
    FocalTverskyConfig,
    LossConfig,
    SkeletonRecallConfig,
    TverskyConfig,
    total,
)
from unetkit.losses.prepared import Head, Prepared, prepare
from unetkit.losses.terms import (
    boundary,
    cl_dice,
    cross_entropy,
    dice,
    focal,
    focal_tversky,
    skeleton_recall,
    tversky,
)

__all__ = [
    "BorderConfig",
    "BoundaryConfig",
    "ClDiceConfig",
    "CrossEntropyConfig",
    "DiceConfig",
    "FocalConfig",
    "FocalTverskyConfig",
    "Head",
    "LossConfig",
    "Prepared",
    "SkeletonRecallConfig",
    "TverskyConfig",
    "boundary",
    "cl_dice",
    "cross_entropy",
    "dice",
    "focal",
    "focal_tversky",
    "prepare",
    "skeleton_recall",
    "total",
    "tversky",
]
