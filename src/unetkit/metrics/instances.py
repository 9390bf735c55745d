"""Scores of objects: which true object has a predicted partner, and how well do the two agree?

Label images hold one whole number per object, 0 for background; ids are arbitrary and need not be
consecutive. (y, x) or (z, y, x), one image at a time. Pixels outside `valid`, and pixels where the
truth is negative (-1 = ignore), are taken out of both images first: an object loses its part there,
and one that lies there entirely is not counted.

A pair matches when its IoU is *above* the threshold, as DSB2018 and panoptic quality have it. Then
no object can match twice from 0.5 on (Kirillov et al. 2019, section 4.1). StarDist and Cellpose
also accept IoU equal to the threshold, which differs only for exact ties.

What the scores mean where a fraction is 0/0:

* No object in truth nor prediction: 1, for the prediction is right; `seg` is nan, as it averages
  over true objects. `precision` and `recall` are nan without predicted and without true objects.
* Objects in one of the two only: 0, `seg` nan without true ones.
* No valid pixel: nan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import connected_components

from unetkit.errors import InputError
from unetkit.metrics.overlap import Array, same_shape

Integers = NDArray[np.int64]

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))  # DSB2018 and COCO


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """How many pixels each object has, and shares with each object of the other image.

    Memory grows with the objects and the pairs that meet, not with objects times objects.
    """

    true_ids: NDArray[Any]  # ascending, without 0; so are predicted_ids
    predicted_ids: NDArray[Any]
    true_areas: Integers  # in pixels; so is predicted_areas
    predicted_areas: Integers
    true_index: Integers  # one entry per pair that shares a pixel: positions in true_ids ...
    predicted_index: Integers  # ... and in predicted_ids
    areas: Integers  # ... and the pixels shared
    pixels: int  # judged in all, background included

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair that shares a pixel."""
        whole = self.true_areas[self.true_index] + self.predicted_areas[self.predicted_index]
        return self.areas / (whole - self.areas)


@dataclass(frozen=True, slots=True)
class Matching:
    """Which objects matched at one threshold; add two for the pooled scores of two images.

    The mean of `average_precision` over images (DSB2018) and the score of the sum (pooled) differ:
    pooling gives each object the same weight, the mean each image.

    Example:
        >>> sum([Matching(((1, 7, 0.8),), 1, 0), Matching((), 0, 2)], Matching()).average_precision
        0.25
    """

    pairs: tuple[tuple[int, int, float], ...] = ()  # (true id, predicted id, IoU)
    fp: int = 0  # predicted objects without partner
    fn: int = 0  # true objects without partner

    def __add__(self, other: Matching) -> Matching:
        return Matching(self.pairs + other.pairs, self.fp + other.fp, self.fn + other.fn)

    @property
    def tp(self) -> int:
        """Matched pairs."""
        return len(self.pairs)

    @property
    def precision(self) -> float:
        """Share of predicted objects that match; nan if there are none."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else math.nan

    @property
    def recall(self) -> float:
        """Share of true objects that are matched; nan if there are none."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else math.nan

    @property
    def f1(self) -> float:
        """F-score tp / (tp + fp/2 + fn/2), the recognition quality of panoptic quality."""
        return self.tp / (self.tp + (self.fp + self.fn) / 2) if self._any else 1.0

    @property
    def average_precision(self) -> float:
        """Score tp / (tp + fp + fn), the "AP" of DSB2018, StarDist and Cellpose at one IoU.

        No area under a precision-recall curve: label images carry no confidence to rank by.
        """
        return self.tp / (self.tp + self.fp + self.fn) if self._any else 1.0

    @property
    def segmentation_quality(self) -> float:
        """Mean IoU of the matched pairs."""
        if not self.pairs:
            return 0.0 if self._any else 1.0
        return math.fsum(iou for _, _, iou in self.pairs) / self.tp

    @property
    def panoptic_quality(self) -> float:
        """segmentation_quality · f1 (Kirillov et al. 2019, eq. 1, at threshold 0.5)."""
        return self.segmentation_quality * self.f1

    @property
    def _any(self) -> bool:
        return bool(self.pairs or self.fp or self.fn)


def overlap_table(prediction: Array, truth: Array, valid: Array | None = None) -> Overlap:
    """Count the pixels of every object and of every pair of objects, in one pass.

    Args:
        prediction: object ids, 0 background; (y, x) or (z, y, x).
        truth: the same, same shape; negative where the truth is to be ignored.
        valid: where pixels count; everywhere if left out.

    Raises:
        InputError: shapes differ, an array holds floats or bools, has neither 2 nor 3 axes, or the
            prediction is negative where it counts.
    """
    p, t, v = same_shape(prediction, truth, valid)
    if p.ndim not in (2, 3):
        cure = "give one image as (y, x) or (z, y, x)"
        raise InputError(f"{p.ndim} axes", where="prediction", cure=cure)
    for name, labels in (("prediction", p), ("truth", t)):
        if labels.dtype.kind not in "iu":
            raise InputError(
                f"labels are {labels.dtype}",
                where=name,
                cure="number the objects first: objects(mask), objects(probability >= 0.5)",
            )
    if t.size and t.min() < 0:
        v = t >= 0 if v is None else v & (t >= 0)
    p, t = (p.ravel(), t.ravel()) if v is None else (p[v], t[v])
    if p.size and p.min() < 0:
        cure = "use 0 for background, ids above 0"
        raise InputError(f"label {p.min()}", where="prediction", cure=cure)
    # Objects are made of runs of equal pixels: sorting those is cheaper than sorting pixels. An
    # empty run of background is added, so that the first id is always 0.
    new = np.ones(p.size, bool)
    new[1:] = (p[1:] != p[:-1]) | (t[1:] != t[:-1])
    starts = np.flatnonzero(new)
    lengths = np.append(np.diff(starts, append=p.size), 0)
    true_ids, i = np.unique(np.append(t[starts], t.dtype.type(0)), return_inverse=True)
    predicted_ids, j = np.unique(np.append(p[starts], p.dtype.type(0)), return_inverse=True)
    true_areas, predicted_areas = _sums(i, lengths)[1:], _sums(j, lengths)[1:]
    both = (i > 0) & (j > 0)
    codes, which = np.unique(i[both] * predicted_ids.size + j[both], return_inverse=True)
    i, j = np.divmod(codes, predicted_ids.size)
    shared = _sums(which, lengths[both])
    ids = true_ids[1:], predicted_ids[1:]
    return Overlap(*ids, true_areas, predicted_areas, i - 1, j - 1, shared, p.size)


def match(
    prediction: Array, truth: Array, *, threshold: float = 0.5, valid: Array | None = None
) -> Matching:
    """Pair the objects of two label images whose IoU is above a threshold.

    Below 0.5 an object may have several candidates: the most pairs are formed, and of those ways
    the one with the highest sum of IoU (an optimal assignment).

    Arguments and errors as for `overlap_table`; the threshold may be 0 … 1, 1 excluded.

    Example:
        >>> match(np.array([[7, 7, 7, 0]]), np.array([[1, 1, 0, 2]])).average_precision
        0.5
    """
    return _match(overlap_table(prediction, truth, valid), threshold)


def instance_scores(
    prediction: Array,
    truth: Array,
    *,
    valid: Array | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> dict[str, float]:
    """Give all scores of the objects of one image.

    Args:
        prediction: object ids, as for `overlap_table`.
        truth: the same.
        valid: where pixels count.
        thresholds: of IoU, over which `ap` is the mean; 0.5, 0.55 … 0.95 is DSB2018's metric.

    Returns:
        ap50, ap75, ap: `Matching.average_precision` at 0.5, at 0.75, mean over thresholds · f1_50 ·
        pq, sq, rq: panoptic, segmentation and recognition quality at 0.5 (rq equals f1_50) · seg ·
        aji · objects_true · objects_predicted · count_error: predicted - true objects.

    Raises:
        InputError: no threshold, or one out of range; and as `overlap_table`.
    """
    if not len(thresholds):
        raise InputError("is empty", where="thresholds", cure="give one at least, like 0.5")
    table = overlap_table(prediction, truth, valid)
    half = _match(table, 0.5)
    result = {
        "ap50": half.average_precision,
        "ap75": _match(table, 0.75).average_precision,
        "ap": math.fsum(_match(table, t).average_precision for t in thresholds) / len(thresholds),
        "f1_50": half.f1,
        "pq": half.panoptic_quality,
        "sq": half.segmentation_quality,
        "rq": half.f1,
        "seg": _seg(table),
        "aji": _aji(table),
    }
    if not table.pixels:
        result = dict.fromkeys(result, math.nan)
    n, m = float(table.true_ids.size), float(table.predicted_ids.size)
    return result | {"objects_true": n, "objects_predicted": m, "count_error": m - n}


def seg(prediction: Array, truth: Array, valid: Array | None = None) -> float:
    """Give the SEG score of the Cell Tracking Challenge (Maška et al. 2014, Bioinformatics 30:11).

    The mean over true objects R of the IoU with the predicted object S that covers more than half
    of R (|R ∩ S| > |R| / 2; at most one does), 0 where none does; nan without true objects.
    Invented objects cost nothing. Arguments and errors as for `overlap_table`.
    """
    return _seg(overlap_table(prediction, truth, valid))


def aji(prediction: Array, truth: Array, valid: Array | None = None) -> float:
    """Give the aggregated Jaccard index (Kumar et al. 2017, IEEE TMI 36:7, algorithm 1).

    Each true object takes the predicted object of best IoU (of equally good ones that of lowest
    id); the score is the sum of the intersections over the sum of the unions, to which the areas of
    predicted objects that no one took are added. A true object that nothing overlaps adds its area.

    This is the original, with its known flaw: a predicted object may be taken, and its area
    counted, several times, so that one large merged object is punished out of proportion. Variants
    called AJI+ assign each predicted object once, and differ. Arguments and errors as for
    `overlap_table`.
    """
    return _aji(overlap_table(prediction, truth, valid))


def objects(mask: Array, *, corners: bool = True) -> NDArray[np.int32]:
    """Number the connected pieces of a binary mask, for tools that give no object ids.

    Args:
        mask: bool, or integers where anything but 0 is foreground; (*space).
        corners: whether pixels that meet only at a corner (3D: or an edge) belong together: 8
            neighbours in 2D and 26 in 3D, otherwise 4 and 6.

    Returns:
        (*space): 0 background, pieces 1 … n in scan order.

    Raises:
        InputError: the mask holds floats.
    """
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biu":
        cure = "threshold it first (probability >= 0.5)"
        raise InputError(f"a mask of {mask.dtype}", where="mask", cure=cure)
    reach = ndimage.generate_binary_structure(mask.ndim, mask.ndim if corners else 1)
    return ndimage.label(mask, reach)[0].astype(np.int32, copy=False)


def _sums(groups: NDArray[np.intp], lengths: NDArray[np.intp]) -> Integers:
    return np.bincount(groups, weights=lengths).astype(np.int64)  # exact below 2^53 pixels


def _match(table: Overlap, threshold: float) -> Matching:
    if not 0 <= threshold < 1:
        raise InputError(f"{threshold}", where="threshold", cure="use a number like 0.5, below 1")
    iou = table.iou
    chosen = np.flatnonzero(iou > threshold)
    if threshold < 0.5 and chosen.size:
        ends = table.true_index[chosen], table.predicted_index[chosen]
        chosen = chosen[_assign(*ends, iou[chosen])]
    true = table.true_ids[table.true_index[chosen]].tolist()
    predicted = table.predicted_ids[table.predicted_index[chosen]].tolist()
    pairs = tuple(zip(true, predicted, iou[chosen].tolist(), strict=True))
    fp, fn = (ids.size - len(pairs) for ids in (table.predicted_ids, table.true_ids))
    return Matching(pairs, fp, fn)


def _assign(rows: Integers, columns: Integers, iou: NDArray[np.float64]) -> NDArray[np.intp]:
    """Choose the edges of a bipartite graph: as many as possible, then with most IoU.

    Each connected part is solved on its own, as one dense matrix of thousands of objects is not.
    """
    shift = int(rows.max()) + 1
    nodes = shift + int(columns.max()) + 1
    graph = sparse.coo_array((np.ones(rows.size), (rows, columns + shift)), (nodes, nodes))
    part = connected_components(graph, directed=False)[1][rows]
    order = np.argsort(part, kind="stable")
    chosen = []
    for edges in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
        i, j = (np.unique(ends[edges], return_inverse=True)[1] for ends in (rows, columns))
        edge = np.full((i.max() + 1, j.max() + 1), -1)
        edge[i, j] = edges
        value = np.zeros(edge.shape)
        value[i, j] = min(edge.shape) + iou[edges]  # one pair more outweighs any IoU
        taken = edge[linear_sum_assignment(value, maximize=True)]
        chosen.append(taken[taken >= 0])
    return np.sort(np.concatenate(chosen))


def _seg(table: Overlap) -> float:
    if not table.true_ids.size:
        return math.nan
    covered = 2 * table.areas > table.true_areas[table.true_index]
    return float(table.iou[covered].sum() / table.true_ids.size)


def _aji(table: Overlap) -> float:
    if not table.pixels:
        return math.nan
    if not table.true_ids.size and not table.predicted_ids.size:
        return 1.0
    # By true object, the best IoU first, then the lowest id.
    order = np.lexsort((table.predicted_index, -table.iou, table.true_index))
    best = order[np.unique(table.true_index[order], return_index=True)[1]]
    taken = table.predicted_index[best]
    shared = int(table.areas[best].sum())
    free = np.delete(table.predicted_areas, taken).sum()
    union = int(table.true_areas.sum() + table.predicted_areas[taken].sum() + free) - shared
    return shared / union
