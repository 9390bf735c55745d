"""From a run folder and its data to the page: predict the cases, draw the targets, write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data import Dataset, Normalization, Sample, read_dataset
from unetkit.data.batches import Patches
from unetkit.errors import InputError
from unetkit.evaluation.promises import Promises, promised, stated_temperature
from unetkit.evaluation.summary import plain
from unetkit.recipe import Recipe, read_recipe
from unetkit.report.cases import Sample as Shown
from unetkit.report.cases import Sheet
from unetkit.report.page import compose
from unetkit.segmenter import load
from unetkit.targets import border_weights, label_objects, skeleton

_CASES = 40  # predicted for the page at most; more would only be searched for the worst and best


def write_report(
    run: str | Path,
    data: str | Path | Dataset | None = None,
    *,
    path: str | Path | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the report of a run: plan, curves, scores, worst and best cases, targets, samples.

    Args:
        run: the run folder.
        data: the data set; default: the one the run was trained on, where it still is. Without it
            the page has no pictures.
        path: the file to write; default: `report.html` in the run folder.
        on_case: called with the number of cases predicted and in all.

    Raises:
        InputError: no such run, or its files are damaged.
    """
    run = Path(run)
    segmenter = load(run)
    recipe = read_recipe(run / "recipe.yaml")
    notes: list[str] = []
    sheets: list[Sheet] = []
    targets: list[Shown] = []
    augmented: list[Shown] = []
    metrics, environment = _json(run / "metrics.json"), _json(run / "environment.json")
    bad: list[InputError] = []
    believed: Promises | None = None
    dataset = _dataset(data, environment, notes, bad.append)
    if dataset is not None:
        split = metrics.get("protocol", {}).get("split", "val")
        if split not in dataset.split:
            notes.append(f"The data has no split named {split}: no cases are shown.")
        cases = dataset.select(split)[:_CASES] if split in dataset.split else []
        scores = {str(row["id"]): row for row in metrics.get("per_image", [])}
        for done, case in enumerate(cases, start=1):
            try:
                sample = dataset.load(case)
            except InputError as error:
                bad.append(error)
                continue
            answer = segmenter(sample.image)
            valid = sample.fov & (sample.labels >= 0)
            if "calibration" not in metrics:  # before it is scored: of the cases that are shown
                more = promised(
                    answer.probabilities, sample.labels, valid, dataset.task.classes,
                    stated_temperature(segmenter.protocol),
                )  # fmt: skip
                if more is not None:
                    believed = more if believed is None else believed + more
            cut = _slice(sample.labels)
            row = {k: v for k, v in scores.get(case.id, {}).items() if k != "id" and v is not None}
            sheets.append(
                Sheet(
                    id=case.id,
                    image=_shown(sample.image[(slice(None), *cut)]),
                    truth=np.maximum(sample.labels[cut], 0),
                    prediction=answer.labels[cut],
                    probability=answer.probabilities[(slice(None), *cut)]
                    if len(answer.probabilities) > 1
                    else answer.probabilities[0][cut],
                    valid=valid[cut],
                    scores=row,
                )
            )
            if on_case is not None:
                on_case(done, len(cases))
        if "train" in dataset.split:
            first = _first(dataset, bad.append)
            if first is not None:
                targets = [_targets(first, recipe)]
                augmented = _augmented(first, recipe, segmenter.card.normalization)
    skipped = run / "skipped.csv"
    if skipped.is_file():
        rows = len(skipped.read_text(encoding="utf-8").splitlines()) - 1
        notes.append(f"{rows} files were left out of the training; skipped.csv lists them.")
    if bad:
        notes.append(f"{len(bad)} files cannot be used and are left out, the first: {bad[0]}.")
    names = segmenter.card.task.classes
    return compose(
        path or run / "report.html",
        title=f"{environment.get('dataset', run.name)}: {recipe.name}",
        run=run,
        plan=[(str(a), str(b), str(c)) for a, b, c in _json(run / "plan.json").get("rows", [])],
        sheets=sheets,
        targets=targets,
        augmented=augmented,
        notes=notes,
        classes=dict(enumerate(names)) if len(names) > 2 else None,
        calibration=None if believed is None else plain(believed.document()),
    )


def _dataset(
    data: str | Path | Dataset | None,
    environment: dict[str, Any],
    notes: list[str],
    report: Callable[[InputError], None],
) -> Dataset | None:
    if isinstance(data, Dataset):
        return data
    if data is not None:
        return read_dataset(data, on_problem=report)
    place = environment.get("data")
    if not place or not Path(place).is_dir():
        notes.append("The data is not where it was when this was trained: no cases are shown.")
        return None
    try:
        return read_dataset(place, on_problem=report)
    except InputError as error:
        notes.append(f"The data cannot be read any more ({error}): no cases are shown.")
        return None


def _first(dataset: Dataset, report: Callable[[InputError], None]) -> Sample | None:
    """Decode the first training image that can be."""
    for case in dataset.select("train"):
        try:
            return dataset.load(case)
        except InputError as error:
            report(error)
    return None


def _targets(sample: Sample, recipe: Recipe) -> Shown:
    """Draw the weight map and the skeleton tube of one training image, as the recipe makes them.

    A recipe without them shows those of the papers, so that a reader sees what they would be.
    """
    cut = _slice(sample.labels)
    labels = np.maximum(sample.labels[cut], 0)
    objects = label_objects(labels > 0) if sample.instances is None else sample.instances[cut]
    loss = recipe.loss
    border = loss.cross_entropy.border if loss.cross_entropy else None
    radius = loss.skeleton_recall.radius if loss.skeleton_recall else 2
    w0, sigma = (border.w0, border.sigma) if border else (10.0, 5.0)
    used = [name for name, on in (("weight map", border), ("skeleton", loss.skeleton_recall)) if on]
    return Shown(
        image=_shown(sample.image[(slice(None), *cut)]),
        labels=labels,
        weights=border_weights(objects, w0, sigma),
        skeleton=skeleton(labels, radius),
        caption=f"{sample.id}: border weights w0 {w0:g}, σ {sigma:g} px; skeleton tube radius "
        f"{radius} px; used by this recipe's loss: {' and '.join(used) or 'neither'}",
    )


def _augmented(
    sample: Sample, recipe: Recipe, normalization: Normalization, count: int = 8
) -> list[Shown]:
    """Draw patches as the network saw them."""
    patch = recipe.train.patch
    assert isinstance(patch, tuple)
    footprint = recipe.network.footprint
    core = footprint.shrink(patch)
    batch = Patches(
        [sample],
        normalization,
        patch=patch,
        core=core,
        batch=count,
        foreground=recipe.train.foreground,
        augment=recipe.augment,
        seed=recipe.seed,
    ).draw()
    # Back to the file's intensities, so that colours look as they do in the image.
    axes = tuple(range(1, sample.image.ndim))
    shape = (-1, *[1] * len(axes))
    finite = np.where(np.isfinite(sample.image), sample.image, np.nan)
    scale = np.nanstd(finite, axis=axes).reshape(shape)
    shift = np.nanmean(finite, axis=axes).reshape(shape)
    low, high = np.nanmin(finite), np.nanmax(finite)
    shown = []
    for image, labels in zip(batch.images.numpy(), batch.labels.numpy(), strict=True):
        if normalization.method != "none":
            image = np.clip(image * scale + shift, low, high)
        inner = tuple(
            slice((n - c) // 2, (n - c) // 2 + c) for n, c in zip(patch, core, strict=True)
        )
        cut = _slice(labels)
        picture = image[(slice(None), *inner)][(slice(None), *cut)]
        shown.append(Shown(image=_shown(picture), labels=np.maximum(labels[cut], 0)))
    return shown


def _slice(labels: NDArray[Any]) -> tuple[Any, ...]:
    """Choose what to draw of a case: all of an image, the fullest slice of a volume."""
    if labels.ndim == 2:
        return (slice(None), slice(None))
    return (int((labels > 0).sum(axis=(1, 2)).argmax()),)


def _shown(image: NDArray[Any]) -> NDArray[Any]:
    """Take the channels a screen can show, (1 or 3, y, x), stretched to 8 bits."""
    image = image[:3] if len(image) >= 3 else image[:1]
    finite = image[np.isfinite(image)]
    if not finite.size:
        return np.zeros(image.shape, np.uint8)
    if finite.min() >= 0 and 1 < finite.max() <= 255:
        low, high = 0.0, 255.0  # 8-bit already: as it is
    else:
        low, high = (float(v) for v in np.percentile(finite, (0.5, 99.5)))
    unit = (np.nan_to_num(image) - low) / max(high - low, 1e-9)
    stretched: NDArray[Any] = (np.clip(unit, 0, 1) * 255).round().astype(np.uint8)
    return stretched


def _json(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({error})", where=path) from None
    return document
