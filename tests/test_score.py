"""Masks of any tool: perfect beside themselves, equal to `evaluate`, and known by hand."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Pillow

from unetkit.cli.printing import print_scores
from unetkit.data import read_dataset
from unetkit.data.case import Case, Drawing
from unetkit.data.drawings import meaning_of_drawings
from unetkit.errors import InputError
from unetkit.evaluation import evaluate, score
from unetkit.evaluation.masks import read_truth
from unetkit.image import Image, write_image
from unetkit.metrics import (
    average_precision,
    boundary_scores,
    brier,
    calibration_error,
    cl_dice,
    instance_scores,
    lower_is_better,
    objects,
    roc_auc,
)


def put(path, data, spacing=()):
    """Write an array under any suffix, grey in a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.asarray(data)
    if path.suffix == ".npy":
        np.save(path, data)
    elif path.suffix == ".png":
        kind = np.uint16 if data.max() > 255 else np.uint8
        Pillow.fromarray(data.astype(kind)).save(path)
    else:
        data = data.astype(np.uint8) if data.dtype.kind == "b" else data
        write_image(
            Image(data if data.ndim > len(spacing or (1, 1)) else data[None], spacing), path
        )


def folder(root, masks, suffix=".png", name="c{}", spacing=()):
    for index, mask in enumerate(masks):
        put(root / (name.format(index) + suffix), mask, spacing)
    return root


def square(size=10, start=2, stop=6, value=255):
    mask = np.zeros((size, size), int)
    mask[start:stop, start:stop] = value
    return mask


def blots(count=3, shape=(24, 30), seed=0, classes=2):
    """Draw patches of noise that hold every class."""
    from scipy.ndimage import gaussian_filter

    chance = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        smooth = gaussian_filter(chance.normal(size=shape), 2)
        found.append(np.digitize(smooth, np.quantile(smooth, np.linspace(0, 1, classes + 1)[1:-1])))
    return found


def numbered(masks):
    """Number the pieces of masks from 1, in 16 bits."""
    return [objects(mask).astype(np.uint16) for mask in masks]


def mean(*words, **options):
    return score(*words, **options)["mean"]


def is_perfect(scores):
    best = {name: 0 if lower_is_better(name) or name == "count_error" else 1 for name in scores}
    best |= {name: scores[name] for name in ("objects_true", "objects_predicted") if name in scores}
    assert scores == best


# --------------------------------------------------------------------------- perfect, and equal


@pytest.mark.parametrize(("masks", "suffix", "options"), [
    ([m * 255 for m in blots()], ".png", {}),
    (blots(), ".npy", {}),
    ([m + 1 for m in blots()], ".tif", {}),
    ([m * 179 + 38 for m in blots()], ".png", {}),
    (blots(classes=4), ".png", {}),
    (numbered(blots()), ".png", {}),
    (numbered(blots()), ".tif", {"instances": True}),
    ([m * 255 for m in blots()], ".png", {"instances": True}),
    (blots(2, (6, 12, 14), classes=3), ".nii.gz", {"spacing": (2.0, 1.0, 0.5)}),
    (numbered(blots(2, (6, 12, 14))), ".nii.gz", {"instances": True, "spacing": (2.0, 1.0, 0.5)}),
])  # fmt: skip
def test_a_mask_beside_itself_is_perfect(tmp_path, masks, suffix, options):
    spacing = options.pop("spacing", ())
    masks = [mask.astype(np.int16) if suffix == ".nii.gz" else mask for mask in masks]
    truth = folder(tmp_path / "truth", masks, suffix, spacing=spacing)
    metrics = score(shutil.copytree(truth, tmp_path / "same"), truth, **options)
    is_perfect(metrics["mean"])
    assert {"cl_dice", "hd95", "assd", "nsd", "betti0_error"} <= set(metrics["mean"])
    assert ("ap50" in metrics["mean"]) == ("instances" in options)
    assert metrics["protocol"]["cases"] == len(metrics["per_image"]) == len(masks)
    for scores in metrics.get("per_class", {}).values():
        is_perfect(scores)


def dataset(root, masks, **parts):
    """Write a data set; grey images that say which case they are."""
    for index, mask in enumerate(masks):
        put(root / "images" / f"c{index}.png", np.full(mask.shape, index))
        put(root / "masks" / f"c{index}.png", mask)
        for part, drawn in parts.items():
            put(root / part / f"c{index}.png", drawn[index])
    names = [f"c{index}" for index in range(len(masks))]
    (root / "split.json").write_text(json.dumps({"test": names}))
    return root


def answers(masks):
    """Answer with the mask whose number the image shows."""

    def segment(image):
        return SimpleNamespace(labels=masks[int(image.flat[0])], probabilities=None)

    return segment


def half(shape, left):
    view = np.zeros(shape, int)
    view[:, :left] = 255
    return view


SHARED = ("mean", "interval", "per_image", "human", "whole_image", "per_class")


@pytest.mark.parametrize("classes", [2, 4])
def test_the_numbers_are_those_of_evaluate(tmp_path, classes):
    """Field of view, second observer and ignored pixels included."""
    truth, said, second = (blots(seed=s, classes=classes) for s in (1, 2, 3))
    for mask in truth:
        mask[:3, :9] = 255
    legend = {str(k): f"kind {k}" if k else "background" for k in range(classes)}
    views = [half(mask.shape, 20 + k) for k, mask in enumerate(truth)]
    data = dataset(tmp_path / "data", truth, fov=views, masks2=second)
    (data / "classes.json").write_text(json.dumps({**legend, "255": "ignore"}))
    metrics = score(folder(tmp_path / "said", said), data)
    known = evaluate(answers(said), data, topology=True, boundary=True)
    assert {key: metrics.get(key) for key in SHARED} == {key: known.get(key) for key in SHARED}
    assert metrics["human"]["mean"]["cl_dice"] > 0
    assert ("per_class" in metrics) == (classes > 2)
    same = ("data", "split", "cases", "field_of_view", "average", "interval", "annotator", "unit",
            "nsd_tolerance")  # fmt: skip
    assert {k: metrics["protocol"][k] for k in same} == {k: known["protocol"][k] for k in same}
    # the same from folders alone, with the legend beside the masks
    alone = score(tmp_path / "said", data / "masks", fov=data / "fov", observer=data / "masks2")
    assert {key: alone.get(key) for key in SHARED} == {key: known.get(key) for key in SHARED}
    quick = score(tmp_path / "said", data, topology=False, boundary=False)
    assert not {"cl_dice", "hd95"} & set(quick["mean"])
    assert quick["mean"]["dice"] == known["mean"]["dice"]


# ------------------------------------------------------------------------------- known by hand


def test_a_square_that_is_shifted_by_one(tmp_path):
    """Of 16 pixels 12 agree; every contour pixel lies on the other's contour or one beside it."""
    put(tmp_path / "said.png", np.roll(square(), 1, axis=1))
    put(tmp_path / "true.png", square())
    metrics = score(tmp_path / "said.png", tmp_path / "true.png", instances=True)
    assert metrics["per_image"][0] == {"id": "true", **metrics["mean"]}
    expected = {
        "dice": 0.75, "iou": 0.6, "recall": 0.75, "precision": 0.75, "accuracy": 0.92,
        "pixel_error": 0.08, "betti0_error": 0, "betti1_error": 0, "hd95": 1, "nsd": 1,
        # of 12 contour pixels, 4 + 2 lie on the other's contour, both ways alike
        "assd": 0.5, "ap50": 1, "ap75": 0, "ap": 0.2, "pq": 0.6, "sq": 0.6, "rq": 1, "seg": 0.6,
        "aji": 0.6, "objects_true": 1, "objects_predicted": 1, "count_error": 0,
    }  # fmt: skip
    assert {name: metrics["mean"][name] for name in expected} == pytest.approx(expected)
    assert metrics["interval"]["dice"] == [None, None]
    protocol = metrics["protocol"]
    assert protocol["data"].endswith("/true.png")
    assert protocol["predictions"].endswith("/said.png")
    assert protocol["lower_is_better"] == [
        "pixel_error", "betti0_error", "betti1_error", "hd95", "assd"
    ]  # fmt: skip


@pytest.mark.parametrize(("said", "true"), [
    ((0, 1), (0, 255)), ((0, 255), (0, 1)), ((0, 7), (0, 255)), ((1, 2), (0, 255)),
    ((38, 217), (0, 1)), ((0, 255), (1, 2)), ((0, 1), (38, 217)),
])  # fmt: skip
def test_two_values_are_background_and_foreground_whichever_they_are(tmp_path, said, true):
    mask, moved = square(value=1), np.roll(square(value=1), 1, axis=1)
    a = folder(tmp_path / "a", [np.take(said, moved), np.take(said, mask)])
    b = folder(tmp_path / "b", [np.take(true, mask), np.take(true, mask)])
    metrics = score(a, b)
    assert [row["dice"] for row in metrics["per_image"]] == [0.75, 1]
    low, high = said
    assert metrics["protocol"]["predictions_hold"] == f"{low} and {high}, foreground {high}"
    assert metrics["protocol"]["decision"] == "masks as given"


@pytest.mark.parametrize(("value", "true", "recall"), [
    (0, (0, 255), 0), (255, (0, 255), 1), (1, (0, 255), 1), (1, (1, 2), 0), (2, (1, 2), 1),
    (0, (1, 2), 0), (3, (1, 2), 1),
])  # fmt: skip
def test_a_constant_prediction(tmp_path, value, true, recall):
    put(tmp_path / "b.png", np.take(true, square(value=1)))
    put(tmp_path / "a.png", np.full((10, 10), value))
    assert mean(tmp_path / "a.png", tmp_path / "b.png")["recall"] == recall


def test_an_empty_truth_is_a_truth(tmp_path):
    put(tmp_path / "b.png", np.zeros((10, 10)))
    put(tmp_path / "a.png", np.zeros((10, 10)))
    put(tmp_path / "c.png", square(value=1))
    metrics = score(tmp_path / "a.png", tmp_path / "b.png", instances=True)
    assert (metrics["mean"]["dice"], metrics["mean"]["ap"]) == (1, 1)
    assert metrics["protocol"]["truth_holds"] == "masks are empty"
    wrong = mean(tmp_path / "c.png", tmp_path / "b.png")
    assert (wrong["dice"], wrong["specificity"], wrong["recall"]) == (0, 0.84, None)


def test_objects_by_number_and_by_pieces(tmp_path):
    """Two cells that touch: their numbers part them, a binary mask does not."""
    cells = np.zeros((12, 12), np.uint16)
    cells[2:6, 2:6], cells[2:6, 6:10], cells[8:11, 2:5] = 1, 2, 300
    truth = folder(tmp_path / "truth", [cells])
    same = folder(tmp_path / "numbered", [cells[::-1, ::-1][::-1, ::-1] * 7])
    binary = folder(tmp_path / "binary", [(cells > 0) * 255])
    metrics = score(same, truth, instances=True)
    is_perfect(metrics["mean"])
    assert metrics["protocol"]["objects"] == "truth: as numbered; predictions: as numbered"
    pieces = score(binary, truth, instances=True)
    assert pieces["mean"]["dice"] == 1
    assert (pieces["mean"]["objects_predicted"], pieces["mean"]["count_error"]) == (2, -1)
    assert pieces["mean"]["ap50"] == 0.25  # one match, one joined object, two missed
    said = pieces["protocol"]["objects"]
    assert said.startswith("truth: as numbered; predictions: connected pieces of the mask")
    known = instance_scores(objects(cells > 0), cells)
    assert {name: pieces["mean"][name] for name in known} == pytest.approx(known, abs=1e-6)
    # the other way round, pieces are the truth
    assert mean(truth, binary, instances=True)["count_error"] == 1
    # without the flag, numbers in the truth are objects all the same, and nothing but 0 counts
    assert mean(binary, truth)["dice"] == 1
    assert "ap50" not in mean(binary, truth)


def test_few_numbers_are_objects_when_they_are_said_to_be(tmp_path):
    """Two cells in each of two images look like classes 1 and 2."""
    cells = np.zeros((12, 12), np.uint8)
    cells[2:5, 2:5], cells[7:10, 7:10] = 1, 2
    truth = folder(tmp_path / "truth", [cells, cells])
    metrics = score(truth, truth, instances=True)
    assert metrics["mean"]["objects_true"] == 2
    assert metrics["protocol"]["truth_holds"] == "masks number their objects"
    data = dataset(tmp_path / "data", [cells, cells])
    assert read_dataset(data).task.kind == "semantic"
    in_set = score(truth, data, instances=True)
    assert in_set["mean"] == metrics["mean"]
    assert in_set["protocol"]["truth_holds"] == "masks number their objects"
    assert len(score(truth, truth)["per_class"]) == 2


def test_classes_that_an_image_lacks_do_not_count(tmp_path):
    """Image 0 holds classes 1 and 2, image 1 only 1, where 2 is predicted without a price."""
    one, two = np.zeros((8, 8), int), np.zeros((8, 8), int)
    one[:4], one[4:6], two[:4] = 1, 2, 1
    said = two.copy()
    said[6:] = 2
    truth = folder(tmp_path / "truth", [one, two])
    metrics = score(folder(tmp_path / "said", [np.where(one == 2, 0, one), said]), truth)
    assert [row["dice"] for row in metrics["per_image"]] == [0.5, 1]
    assert metrics["mean"]["dice"] == 0.75
    assert metrics["per_class"]["class_1"]["dice"] == 1
    assert metrics["per_class"]["class_2"]["dice"] == 0
    assert metrics["protocol"]["average"] == (
        "per-image mean, classes present in each image's truth; absent classes do not count, "
        "predicted or not"
    )
    assert metrics["protocol"]["predictions_hold"] == "class numbers"
    # a class that is in no truth has no score, but its pixels are missed by the true one
    other = score(folder(tmp_path / "other", [np.where(one == 2, 3, one), two]), truth)
    assert other["mean"]["dice"] == 0.75
    assert other["per_class"]["class_3"] == {}


# --------------------------------------------------------------------------------- probabilities


@pytest.mark.parametrize(("suffix", "channels"), [
    (".npy", 1), (".tif", 1), (".nii.gz", 1), (".npy", 2), (".tif", 2),
])  # fmt: skip
def test_probabilities(tmp_path, suffix, channels):
    masks = blots(2)
    chance = np.random.default_rng(0)
    soft = [
        np.clip(m * 0.4 + chance.uniform(0, 0.6, m.shape), 0, 1).astype(np.float32) for m in masks
    ]
    saved = soft if channels == 1 else [np.stack([1 - p, p]) for p in soft]
    said = folder(tmp_path / "said", saved, suffix)
    truth = folder(tmp_path / "truth", [m * 255 for m in masks])
    if suffix == ".nii.gz":  # which has three axes
        truth = folder(tmp_path / "volumes", [m[None].astype(np.uint8) for m in masks], suffix,
                       spacing=(1.0, 1.0, 1.0))  # fmt: skip
    metrics = score(said, truth, topology=False, boundary=False)
    hard = folder(tmp_path / "hard", [(p >= 0.5) * 255 for p in soft])
    flat = folder(tmp_path / "flat", [m * 255 for m in masks])
    for name, value in mean(hard, flat, topology=False, boundary=False).items():
        assert metrics["mean"][name] == value
    known = {"roc_auc": roc_auc, "average_precision": average_precision, "brier": brier,
             "ece": calibration_error}  # fmt: skip
    for name, of in known.items():
        values = [of(p, m) for p, m in zip(soft, masks, strict=True)]
        assert metrics["mean"][name] == pytest.approx(np.mean(values), abs=1e-5)
    protocol = metrics["protocol"]
    assert (protocol["threshold"], protocol["threshold_from"]) == (0.5, "fixed")
    assert protocol["predictions_hold"] == "probabilities, foreground from 0.5 on"
    assert "ece" in protocol
    assert {"ece", "brier"} <= set(protocol["lower_is_better"])
    assert "decision" not in protocol


def test_a_probability_of_half_is_foreground_and_whole_numbers_may_be_among_them(tmp_path):
    soft = np.where(square() > 0, 0.5, 0.25)
    said = folder(tmp_path / "said", [soft, square(value=1).astype(float)], ".npy")
    metrics = score(said, folder(tmp_path / "truth", [square(), square()]), instances=True)
    assert [row["dice"] for row in metrics["per_image"]] == [1, 1]
    assert metrics["mean"]["ap"] == 1
    assert metrics["per_image"][0]["brier"] == pytest.approx(0.16 * 0.25 + 0.84 * 0.0625)


def test_probabilities_of_several_classes(tmp_path):
    masks = blots(2, classes=3)
    chance = np.random.default_rng(0)
    soft = []
    for mask in masks:
        raw = (mask == np.arange(3)[:, None, None]) * 0.8 + chance.uniform(0, 1, (3, *mask.shape))
        soft.append((raw / raw.sum(0)).astype(np.float32))
    truth = folder(tmp_path / "truth", masks)
    metrics = score(folder(tmp_path / "said", soft, ".tif"), truth)
    hard = score(folder(tmp_path / "hard", [p.argmax(0) for p in soft]), truth)
    assert {name: metrics["mean"][name] for name in hard["mean"]} == hard["mean"]
    assert metrics["protocol"]["decision"] == "most probable class"
    assert "threshold" not in metrics["protocol"]
    aucs = [roc_auc(p[2], m == 2) for p, m in zip(soft, masks, strict=True)]
    assert metrics["per_class"]["class_2"]["roc_auc"] == pytest.approx(np.mean(aucs), abs=1e-5)


def test_a_thin_volume_is_no_set_of_channels(tmp_path):
    """Three slices of an array could be three channels; the truth tells."""
    truth = blots(1, (3, 20, 22))[0].astype(np.uint8)
    soft = np.where(truth, 0.9, 0.2).astype(np.float32)
    put(tmp_path / "a.npy", soft)
    put(tmp_path / "b.nii.gz", truth, (1.0, 1.0, 1.0))
    assert mean(tmp_path / "a.npy", tmp_path / "b.nii.gz")["dice"] == 1


# --------------------------------------------------------------------------- colours and drawings

PALETTE = np.array([[0, 0, 0], [208, 2, 27], [60, 16, 152], [245, 166, 35]], np.uint8)


def painted(root, masks, palette=PALETTE, name="c{}.png"):
    root.mkdir(parents=True, exist_ok=True)
    for index, mask in enumerate(masks):
        Pillow.fromarray(palette[mask]).save(root / name.format(index))
    return root


def test_masks_in_colours_score_as_their_numbers(tmp_path):
    """As colours, as palettes, or as the order of the classes; with a legend and without."""
    true, said = blots(classes=4), blots(seed=9, classes=4)
    known = score(folder(tmp_path / "n1", said), folder(tmp_path / "n0", true))
    order = np.argsort([65536 * r + 256 * g + b for r, g, b in PALETTE.tolist()]).argsort()
    truth, colours = painted(tmp_path / "t" / "m", true), painted(tmp_path / "said", said)
    numbers = folder(tmp_path / "numbers", [order[mask] for mask in said])
    for answer, words in ((colours, "class colours"), (numbers, "class numbers in the order of")):
        metrics = score(answer, truth)
        assert metrics["mean"]["dice"] == known["mean"]["dice"]
        assert metrics["per_class"]["#3C1098"] == known["per_class"]["class_2"]
        assert metrics["protocol"]["predictions_hold"].startswith(words)
    assert "4 colours (background, #3C1098" in metrics["protocol"]["truth_holds"]
    legend = {"#000000": "background", "#D0021B": "roof", "#3C1098": "pool", "#F5A623": "sand"}
    (tmp_path / "t" / "classes.json").write_text(json.dumps(legend))
    in_order = folder(tmp_path / "in_order", said)
    for answer in (colours, in_order):
        metrics = score(answer, truth)
        assert metrics["mean"]["dice"] == known["mean"]["dice"]
        assert metrics["per_class"]["pool"] == known["per_class"]["class_2"]
    refused(colours, tmp_path / "n0", match="the predictions are in colours, the truth numbers")
    other = painted(tmp_path / "other", said, np.roll(PALETTE, 1, axis=1))
    refused(other, truth, match=r"c0\.png: the mask holds unexpected colours \(#.* in \d")
    (tmp_path / "t" / "classes.json").unlink()
    # without a legend, a colour that is in no truth is a class that has no score
    some = [np.where(mask == 3, 0, mask) for mask in true]
    partly = score(painted(tmp_path / "all", true), painted(tmp_path / "some", some))
    assert partly["per_class"]["#F5A623"] == {}


def test_two_colours_are_background_and_foreground(tmp_path):
    masks = [square(value=1), np.roll(square(value=1), 1, axis=1)]
    red = painted(tmp_path / "red", masks)
    blue = painted(tmp_path / "blue", masks[::-1], PALETTE[[0, 2]])
    grey = folder(tmp_path / "grey", [m * 255 for m in masks[::-1]])
    for said, true in ((red, blue), (grey, red), (red, grey)):
        assert mean(said, true)["dice"] == 0.75
    protocol = score(red, blue)["protocol"]
    assert protocol["predictions_hold"] == "#000000 and #D0021B, foreground #D0021B"


def test_the_foreground_may_be_the_lesser_number(tmp_path):
    """Membranes are 0 and the background 255, says the legend; and so say the predictions."""
    truth = folder(tmp_path / "t" / "m", [255 - square(), 255 - square()])
    legend = {"0": "membrane", "255": "background"}
    (tmp_path / "t" / "classes.json").write_text(json.dumps(legend))
    said = folder(tmp_path / "said", [255 - square(), 255 - np.roll(square(), 1, axis=1)])
    metrics = score(said, truth)
    assert [row["dice"] for row in metrics["per_image"]] == [1, 0.75]
    assert metrics["protocol"]["predictions_hold"] == "0 and 255, foreground 0"


def test_a_drawing_is_a_truth(tmp_path):
    """Two cells outlined in QuPath, in an image with a scale."""
    put(tmp_path / "a.tif", square(12), (0.5, 0.5))
    corners = [[[1, 1], [5, 1], [5, 5], [1, 5]], [[5, 1], [9, 1], [9, 5], [5, 5]]]
    outlines = [{"type": "Polygon", "coordinates": [ring]} for ring in corners]
    (tmp_path / "a.geojson").write_text(json.dumps([{"geometry": o} for o in outlines]))
    drawing = Drawing("geojson")
    case = Case("a", tmp_path / "a.tif", tmp_path / "a.geojson", drawing=drawing)
    truth = read_truth(case, meaning_of_drawings([drawing]).task(1, 2), instances=True)
    assert truth.spacing == (0.5, 0.5)
    assert truth.labels.shape == (12, 12)
    assert truth.labels.sum() == 32
    assert sorted(np.unique(truth.objects)) == [0, 1, 2]


def test_objects_in_colours(tmp_path):
    cells = np.zeros((12, 12), int)
    cells[2:6, 2:6], cells[2:6, 6:10], cells[8:11, 2:5] = 1, 2, 3
    truth = painted(tmp_path / "truth", [cells])
    metrics = score(folder(tmp_path / "said", [cells.astype(np.uint16)]), truth, instances=True)
    is_perfect(metrics["mean"])
    assert metrics["mean"]["objects_true"] == 3
    is_perfect(score(truth, tmp_path / "said", instances=True)["mean"])


# ----------------------------------------------------------------- units, fields of view, observers


def test_distances_are_in_the_unit_of_the_truth(tmp_path):
    """A cube that lies one slice too deep is 4 mm off, and within the tolerance of one slice."""
    cube = np.zeros((6, 8, 8), np.uint8)
    cube[1:3, 2:6, 2:6] = 1
    deeper = np.roll(cube, 1, axis=0)
    truth = folder(tmp_path / "truth", [cube], ".nii.gz", spacing=(4.0, 0.5, 0.5))
    said = folder(tmp_path / "said", [deeper], ".nii.gz", spacing=(1.0, 1.0, 1.0))
    metrics = score(said, truth)
    assert metrics["mean"]["hd95"] == 4
    assert metrics["mean"]["nsd"] == 1
    known = boundary_scores(deeper, cube, spacing=(4.0, 0.5, 0.5))
    assert metrics["mean"]["assd"] == pytest.approx(known["assd"], abs=1e-6)
    assert metrics["protocol"]["unit"] == "mm"
    assert metrics["protocol"]["nsd_tolerance"] == "4 mm, one pixel along the coarsest axis"
    back = score(truth, said)
    assert back["mean"]["hd95"] == 1
    assert back["protocol"]["unit"] == "pixels"
    assert back["protocol"]["nsd_tolerance"] == "1 pixel"


def test_the_unit_is_named_as_far_as_it_is_known(tmp_path):
    import nibabel

    voxels = nibabel.Nifti1Image(square().T[..., None].astype(np.uint8), np.diag([2, 2, 2, 1.0]))
    voxels.header.set_xyzt_units("micron")
    (tmp_path / "microns").mkdir()
    nibabel.save(voxels, tmp_path / "microns" / "a.nii")
    assert score(tmp_path / "microns", tmp_path / "microns")["protocol"]["unit"] == "µm"
    mixed = tmp_path / "mixed"
    put(mixed / "a.tif", square(), (0.5, 0.25))
    put(mixed / "b.png", square())
    protocol = score(mixed, mixed)["protocol"]
    assert protocol["unit"] == "the files' own unit, pixels in 1 images whose files state no size"
    assert protocol["nsd_tolerance"] == "one pixel along each image's coarsest axis"
    tiny = tmp_path / "tiny"
    put(tiny / "a.tif", square(), (1.5e-5, 1.5e-5))
    put(tmp_path / "moved" / "a.tif", np.roll(square(), 1, axis=1))
    small = score(tmp_path / "moved", tiny)
    assert small["mean"]["hd95"] == 1.5e-5  # six decimals would make 2e-5 of it
    said = "1.5e-05 in the files' own unit, one pixel along the coarsest axis"
    assert small["protocol"]["nsd_tolerance"] == said
    # in a set the image says it, and the mask where the image does not
    for images, masks, spacing in (("tif", "png", 0.5), ("png", "tif", 0.25)):
        data = tmp_path / images
        for part, suffix, size in (("images", images, 0.5), ("masks", masks, 0.25)):
            put(data / part / f"a.{suffix}", square(), (size, size) if suffix == "tif" else ())
        put(tmp_path / f"said_{images}" / "a.png", np.roll(square(), 1, axis=1))
        assert mean(tmp_path / f"said_{images}", data)["hd95"] == spacing


def test_a_field_of_view_by_name_or_one_for_all(tmp_path):
    """The answer is right inside and wrong everywhere outside."""
    view = half((10, 10), 7)
    said = folder(tmp_path / "said", [np.where(view > 0, square(), 255)] * 2)
    truth = folder(tmp_path / "truth", [square()] * 2)
    views = folder(tmp_path / "views", [view] * 2, name="c{}_fov")
    put(tmp_path / "one.png", view)
    by_name = score(said, truth, fov=views)
    assert by_name["mean"]["dice"] == 1
    assert by_name["protocol"]["field_of_view"] is True
    assert by_name["whole_image"]["mean"]["dice"] == pytest.approx(32 / (16 + 46), abs=1e-6)
    assert score(said, truth, fov=tmp_path / "one.png")["per_image"] == by_name["per_image"]
    without = score(said, truth)
    assert without["mean"]["dice"] == by_name["whole_image"]["mean"]["dice"]
    assert without["protocol"]["field_of_view"] is False
    assert "whole_image" not in without
    data = dataset(tmp_path / "data", [square()] * 2, fov=[half((10, 10), 9)] * 2)
    assert score(said, data)["mean"]["dice"] < 1
    assert score(said, data, fov=views)["mean"]["dice"] == 1  # what is given takes precedence


def test_a_second_observer_is_the_human_level(tmp_path):
    moved = np.roll(square(value=1), 1, axis=1)
    truth = folder(tmp_path / "truth", [square()] * 2)
    second = folder(tmp_path / "second", [moved, square(value=1)])
    metrics = score(truth, truth, observer=second, instances=True)
    assert metrics["mean"]["dice"] == 1
    assert metrics["human"]["mean"]["dice"] == 0.875
    assert metrics["human"]["interval"]["dice"] == [0.75, 1]
    assert metrics["human"]["mean"]["ap75"] == 0.5
    assert metrics["human"]["mean"] == score(second, truth, instances=True)["mean"]
    assert metrics["protocol"]["second_observer"].endswith("/second")
    assert "human" not in score(truth, truth)
    one = score(truth / "c0.png", truth / "c1.png", observer=second / "c0.png")
    assert one["human"]["mean"]["dice"] == 0.75
    some = dataset(tmp_path / "some", [square()] * 2, masks2=[square()] * 2)
    (some / "masks2" / "c1.png").unlink()
    assert "human" not in score(truth, some)


# --------------------------------------------------------------------------------------- pairing


@pytest.mark.parametrize(("said", "true", "view"), [
    ("{}", "{}_manual1", "{}_fov"), ("{}_seg", "{}", "{}"), ("{}_mask", "{}_gt", "{}"),
    ("{}_mask", "{}_mask", "{}_fov"), ("{}.vk", "{}.ah", "{}"),
])  # fmt: skip
def test_the_usual_endings_of_names_are_no_difference(tmp_path, said, true, view):
    masks = [square(), np.roll(square(), 2)]
    folders = [
        folder(tmp_path / str(k), masks, name=name) for k, name in enumerate((said, true, view))
    ]
    metrics = score(folders[0], folders[1], fov=folders[2], observer=folders[0])
    assert metrics["mean"]["dice"] == 1
    assert metrics["protocol"]["cases"] == 2


def test_suffixes_may_differ_and_predictions_may_be_more(tmp_path):
    truth = folder(tmp_path / "truth", [square(), square()])
    said = folder(tmp_path / "said", [square()] * 5, ".tif")
    metrics = score(said, truth)
    assert [row["id"] for row in metrics["per_image"]] == ["c0", "c1"]
    assert metrics["protocol"]["extra_predictions"] == 3
    assert score(said, truth / "c1.png")["protocol"]["extra_predictions"] == 4
    assert score(f"{said}/c[01].tif", truth)["protocol"]["extra_predictions"] == 0


def test_the_split_of_a_data_set(tmp_path):
    masks = [square()] * 4
    said = folder(tmp_path / "said", masks)
    data = dataset(tmp_path / "data", masks)
    split = {"train": ["c0", "c1"], "val": ["c2"], "test": ["c3"]}
    (data / "split.json").write_text(json.dumps(split))

    def scored(**options):
        metrics = score(said, data, **options)
        assert metrics["protocol"]["cases"] == len(metrics["per_image"])
        assert metrics["protocol"]["extra_predictions"] == 4 - len(metrics["per_image"])
        return metrics["protocol"]["split"], "".join(r["id"][1] for r in metrics["per_image"])

    assert scored() == ("test", "3")
    assert scored(split="train") == ("train", "01")
    assert scored(split="all") == ("all", "0123")
    (data / "split.json").unlink()  # a split that would be drawn at random is not the user's
    assert scored() == ("all", "0123")
    assert scored(split="test")[0] == "test"
    with pytest.raises(InputError, match="no cases in a split named tset; choose one of train"):
        score(said, data, split="tset")


def test_data_in_parts_whose_names_repeat(tmp_path):
    for part, moved in (("train", 0), ("test", 1)):
        for index in range(2):
            put(tmp_path / "data" / part / "images" / f"c{index}.png", square())
            mask = np.roll(square(), moved, axis=1)
            put(tmp_path / "data" / part / "masks" / f"c{index}.png", mask)
    said = folder(tmp_path / "said", [square()] * 2)
    metrics = score(said, tmp_path / "data")
    assert metrics["protocol"]["split"] == "test"
    assert metrics["mean"]["dice"] == 0.75
    assert metrics["protocol"]["extra_predictions"] == 0


# ------------------------------------------------------------------------------- users' mistakes


def refused(*words, match, **options):
    with pytest.raises(InputError, match=match) as caught:
        score(*words, **options)
    assert "\n" not in str(caught.value)


def test_a_missing_prediction_is_an_error(tmp_path):
    truth = folder(tmp_path / "truth", [square()] * 3)
    said = folder(tmp_path / "said", [square()])
    refused(said, truth, match=r"said: there is no prediction for c1 \(2 of 3 are missing\); name")
    refused(said, truth / "c2.png", match=r"there is no prediction for c2; name each prediction")
    refused(said, dataset(tmp_path / "data", [square()] * 3), match=r"as its image, or .* --split")
    views = folder(tmp_path / "views", [square()])
    refused(truth, truth, fov=views, match=r"views: there is no field of view for c1 \(2 of 3")
    refused(truth, truth, observer=views, match=r"no mask of the second observer for c1 \(2 of")
    refused(truth, truth, observer=views / "c0.png",
            match=r"is one mask of the second observer for 3 images; give a folder")  # fmt: skip


def test_files_that_are_not_there(tmp_path):
    truth = folder(tmp_path / "truth", [square()])
    refused(tmp_path / "nowhere", truth, match="nowhere: no such file or folder")
    refused(truth, tmp_path / "nowhere", match="nowhere: no such file or folder")
    refused(truth, truth, fov=tmp_path / "nowhere", match="nowhere: no such file or folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", truth, match="empty: no images found")
    folder(tmp_path / "out" / "labels", [square()])
    refused(tmp_path / "out", truth, match=r"out: holds no masks itself; give .*labels")
    refused(truth, truth, split="test", match=r"there is no split test, for these are masks alone")
    put(truth / "c0.npy", square())
    refused(truth, truth / "c0.png", match=r"has the same name as c0\.npy; rename one")


def test_sizes_must_match(tmp_path):
    put(tmp_path / "true.png", np.zeros((8, 12)))
    true = tmp_path / "true.png"
    for name, shape in (("said", (8, 10)), ("turned", (12, 8))):
        put(tmp_path / f"{name}.png", np.zeros(shape))
    put(tmp_path / "soft.npy", np.full((8, 10), 0.5))
    put(tmp_path / "softs.npy", np.full((2, 8, 10), 0.5))
    put(tmp_path / "volume.nii", np.zeros((3, 8, 12), np.uint8), (1.0, 1.0, 1.0))
    words = r"the prediction is 8 × 10 and its truth 8 × 12 \(y, x\); make the prediction of the "
    for name in ("said.png", "soft.npy", "softs.npy"):
        refused(tmp_path / name, true, match=name + ": " + words)
    refused(tmp_path / "turned.png", true, match="it looks transposed: exchange its axes")
    refused(tmp_path / "volume.nii", true, match="the prediction is 3 × 8 × 12 and its truth 8 × 1")
    refused(true, true, fov=tmp_path / "said.png", match=r"the field of view is 8 × 10 and its tr")
    refused(true, true, observer=tmp_path / "said.png", match=r"said\.png: the prediction is 8 × 1")


def test_values_that_make_no_sense(tmp_path):
    true = tmp_path / "true.png"
    put(true, square())
    put(tmp_path / "logits.npy", np.where(square(), 3.5, -2.25))
    refused(tmp_path / "logits.npy", true,
            match=r"logits\.npy: holds fractions from -2\.25 to 3\.5; probabilities")  # fmt: skip
    put(tmp_path / "nan.npy", np.where(square(), np.nan, 0.5))
    refused(tmp_path / "nan.npy", true, match=r"nan\.npy: holds fractions from nan to nan")
    put(tmp_path / "grey.png", np.arange(100).reshape(10, 10))
    refused(tmp_path / "grey.png", true, match=r"grey\.png: the predictions hold 100 values \(0, "
            r"1, 2, 3, 4, 5 …\), the truth two; threshold them; .* or add --instances")  # fmt: skip
    put(tmp_path / "colour.npy", np.random.default_rng(0).integers(0, 9, (3, 20, 20)))
    refused(tmp_path / "colour.npy", true, match="the mask holds colours")
    put(tmp_path / "softs.npy", np.full((3, 10, 10), 0.25))
    refused(tmp_path / "softs.npy", true,
            match=r"holds probabilities of 3 classes, the truth 2 classes; give")  # fmt: skip
    put(tmp_path / "dark.png", np.zeros((10, 10)))
    refused(true, true, fov=tmp_path / "dark.png", match=r"dark\.png: the field of view is empty")
    said = tmp_path / "said"
    put(said / "c0.npy", np.where(square(), 0.75, 0.25))
    put(said / "c1.png", square())
    refused(said, folder(tmp_path / "truth", [square()] * 2),
            match=r"c1\.png: holds whole numbers up to 255, and others of its")  # fmt: skip


def test_an_observer_is_no_probability(tmp_path):
    put(tmp_path / "true.png", square())
    put(tmp_path / "soft.npy", np.where(square(), 0.75, 0.25))
    true = tmp_path / "true.png"
    refused(
        true, true, observer=tmp_path / "soft.npy", match=r"soft\.npy: the mask holds fractions"
    )


def test_named_classes_are_neither_others_nor_objects(tmp_path):
    mask = np.zeros((9, 9), int)
    mask[:3], mask[3:6] = 1, 2
    data = dataset(tmp_path / "data", [mask])
    (data / "classes.json").write_text('{"0": "background", "1": "road", "2": "car"}')
    said = folder(tmp_path / "said", [np.where(mask == 2, 3, mask)])
    refused(said, data, match=r"c0\.png: the mask holds unexpected values \(3\) in 33\.33%")
    refused(said, data / "masks", match=r"unexpected values \(3\) in 33\.33%")
    for truth in (data, data / "masks"):
        refused(said, truth, instances=True,
                match=r"the truth holds 3 classes \(background, road, car\), no obj")  # fmt: skip
    big = folder(tmp_path / "big", [np.where(mask == 2, 200, mask)])
    plain = folder(tmp_path / "plain", [mask])
    refused(big, plain, match=r"unexpected values \(200\).*name the value in classes\.json")


def test_ignored_pixels_may_be_marked_in_a_prediction_too(tmp_path):
    mask = square(value=1)
    mask[7:] = 255
    data = dataset(tmp_path / "data", [mask])
    (data / "classes.json").write_text('{"0": "background", "1": "cell", "255": "ignore"}')
    is_perfect(mean(data / "masks", data))
    foreground = folder(tmp_path / "said", [square()])
    is_perfect(mean(foreground, data))  # 0 and 255, which is foreground here


# ------------------------------------------------------------------------------ the command line


def test_the_command_prints_a_table(tmp_path, unet):
    truth = folder(tmp_path / "truth", [square()] * 2)
    said = folder(tmp_path / "said", [np.roll(square(), 1, axis=1)] * 3)
    code, out, err = unet("score", said, truth, "--fov", truth / "c0.png", "--observer", truth,
                          "--instances")  # fmt: skip
    assert (code, err) == (0, "")
    assert "all: 2 images, per-image mean, inside the field of view\n" in out
    assert "predictions without truth, left out: 1\n" in out
    assert "unit of distances: pixels\n" in out
    rows = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    assert rows["score"][-2:] == ["second", "observer"]
    assert rows["hd95 (lower is better)"][4] == "1.0000"
    assert rows["dice"][1:] == ["0.8571", "0.8571", "–", "0.8571", "1.0000"]
    assert rows["ap50"][1] == "1.0000"


def test_the_command_prints_classes(tmp_path, unet):
    masks = blots(classes=4)
    code, out, _ = unet("score", folder(tmp_path / "a", masks), folder(tmp_path / "b", masks))
    assert code == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert rows["class_3"][1:] == ["1.0000"] * 4 + ["0.0000"]
    assert rows["class"][1:] == ["dice", "iou", "recall", "precision", "hd95"]


def test_what_was_seen_in_training_is_said(capsys):
    protocol = {"split": "my [b]list", "cases": 3, "average": "per-image mean",
                "field_of_view": False, "seen_in_training": 2}  # fmt: skip
    print_scores({"protocol": protocol, "mean": {"hd95": 1.5e-5}, "interval": {"hd95": [0, 1]}})
    out = capsys.readouterr().out
    assert out.startswith("my [b]list: 3 images")
    assert "warning: 2 of these images were seen in training" in out
    assert "1.50e-05" in out


def test_json_is_one_document_without_nan(tmp_path, unet):
    truth = folder(tmp_path / "truth", [square(), np.zeros((10, 10))])
    said = folder(tmp_path / "said", [np.zeros((10, 10))] * 2)
    code, out, err = unet("score", said, truth, "--json", "--instances")
    assert (code, err) == (0, "")

    def refuse(word):
        raise AssertionError(word)

    metrics = json.loads(out, parse_constant=refuse)
    assert metrics == score(said, truth, instances=True)
    assert metrics["mean"]["precision"] is None
    assert set(metrics) == {"protocol", "mean", "interval", "per_image"}
    assert set(metrics["protocol"]) == {
        "data", "predictions", "split", "cases", "extra_predictions", "field_of_view", "average",
        "interval", "annotator", "truth_holds", "predictions_hold", "decision", "unit",
        "nsd_tolerance", "objects", "matching", "lower_is_better", "date",
    }  # fmt: skip
    assert metrics["protocol"]["annotator"] == "truth"


def test_mistakes_are_one_line_and_exit_code_2(tmp_path, unet):
    truth = folder(tmp_path / "truth", [square()] * 2)
    put(tmp_path / "said" / "c0.png", square())
    for words in ((tmp_path / "said", truth), (truth, tmp_path / "no"), (truth,),
                  (truth, truth, "--split", "a"), (truth, truth, "--frob")):  # fmt: skip
        code, out, err = unet("score", *words)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1


def test_every_case_is_reported(tmp_path):
    truth = folder(tmp_path / "truth", [square()] * 3)
    counts = []
    score(truth, truth, on_case=lambda *c: counts.append(c))
    assert counts == [(1, 3), (2, 3), (3, 3)]


# -------------------------------------------------------------------------------------- real data


@pytest.mark.real
def test_the_second_observer_of_stare_scores_as_the_human_row(real):
    """Observer VK against AH: as any tool's masks, and as `evaluate` has it."""
    stare = real("stare")
    data = read_dataset(stare)
    samples = [data.load(case) for case in data.select("test")]

    def black(image):
        return SimpleNamespace(labels=np.zeros(image.shape[1:], int), probabilities=None)

    known = evaluate(black, data, boundary=True)["human"]
    metrics = score(stare / "masks2", stare, topology=False)
    assert (metrics["mean"], metrics["interval"]) == (known["mean"], known["interval"])
    assert metrics["human"] == known
    assert metrics["protocol"]["cases"] == 6
    assert metrics["protocol"]["extra_predictions"] == 9
    dices = []
    for sample in samples:  # by hand
        a, b = (mask[sample.fov] == 1 for mask in (sample.labels, sample.observer))
        dices.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert metrics["mean"]["dice"] == pytest.approx(np.mean(dices), abs=1e-6)
    one = samples[0]
    line = cl_dice(one.observer == 1, one.labels == 1, one.fov)
    single = score(stare / "masks2" / f"{one.id}.png", stare / "masks" / f"{one.id}.png",
                   fov=stare / "fov" / f"{one.id}.png", boundary=False)  # fmt: skip
    assert single["mean"]["cl_dice"] == pytest.approx(line, abs=1e-6)
