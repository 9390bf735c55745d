"""Scores under a stated protocol: known answers of segmenters made by hand."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Pillow

from conftest import blobs
from unetkit.data import PortionConfig, portion, read_dataset
from unetkit.errors import InputError
from unetkit.evaluation import evaluate, read_metrics
from unetkit.image import Image, write_image
from unetkit.metrics import (
    bootstrap_interval,
    boundary_scores,
    calibration_error,
    lower_is_better,
    measure,
)


def write(folder, **pictures):
    for name, pixels in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(np.asarray(pixels, np.uint8)).save(f"{folder / name}.png")


def paired(root, images, masks, **others):
    """Write cases whose image says which case it is, all of them in the test split."""
    for index, mask in enumerate(masks):
        image = np.zeros(np.shape(mask)) if images is None else images[index]
        write(root / "images", **{f"c{index}": image})
        write(root / "masks", **{f"c{index}": mask})
        for part, pictures in others.items():
            if pictures[index] is not None:
                write(root / part, **{f"c{index}": pictures[index]})
    names = [f"c{index}" for index in range(len(masks))]
    (root / "split.json").write_text(json.dumps({"test": names}))
    return read_dataset(root)


def answers(*labels, probabilities=None):
    """Give a callable that answers one image after the other."""
    left = list(labels)

    def segment(_):
        return SimpleNamespace(labels=np.asarray(left.pop(0)), probabilities=probabilities)

    return segment


def truthful(dataset, change=lambda labels: labels):
    """Give a callable that knows the truth, by the image it is shown."""
    samples = [dataset.load(case) for case in dataset.cases]

    def segment(image):
        found = next(s for s in samples if np.array_equal(s.image, image))
        return SimpleNamespace(labels=change(np.maximum(found.labels, 0)), probabilities=None)

    return segment


def square(size=10, start=2, stop=6, value=255):
    mask = np.zeros((size, size))
    mask[start:stop, start:stop] = value
    return mask


@pytest.fixture(scope="module")
def dataset(discs):
    return read_dataset(discs)


@pytest.mark.parametrize(("change", "dice", "recall"), [
    (lambda labels: labels, 1, 1),
    (np.zeros_like, 0, 0),
    (lambda labels: 1 - labels, 0, 0),
])  # fmt: skip
def test_perfect_black_and_inverted(dataset, change, dice, recall):
    metrics = evaluate(truthful(dataset, change), dataset, split="train")
    assert metrics["mean"]["dice"] == dice
    assert metrics["mean"]["recall"] == recall
    assert [row["id"] for row in metrics["per_image"]] == list(dataset.split["train"])


def test_a_truth_that_is_shifted_by_hand(tmp_path):
    """A 4 × 4 square shifted by one: 12 of 16 pixels agree, so Dice 24/32 and IoU 12/20."""
    data = paired(tmp_path, None, [square()])
    mean = evaluate(answers(np.roll(square(value=1), 1, axis=1)), data)["mean"]
    assert mean["dice"] == 0.75
    assert mean["iou"] == 0.6
    assert mean["recall"] == mean["precision"] == 0.75
    assert mean["accuracy"] == 0.92
    assert mean["specificity"] == pytest.approx(80 / 84, abs=1e-6)


def test_the_mean_is_over_images_and_not_over_pixels(tmp_path):
    data = paired(tmp_path, None, [square(), square(40, 2, 38)])
    metrics = evaluate(answers(square(value=1), np.zeros((40, 40), int)), data)
    assert [row["dice"] for row in metrics["per_image"]] == [1, 0]
    assert metrics["mean"]["dice"] == 0.5
    assert metrics["interval"]["dice"] == list(bootstrap_interval([1, 0]))
    # precision of an image without any foreground answer is undefined, and stays out of the mean
    assert metrics["per_image"][1]["precision"] is None
    assert metrics["mean"]["precision"] == 1
    assert metrics["interval"]["precision"] == [None, None]


def test_only_the_field_of_view_counts(tmp_path):
    """Half of the image is outside; the answer is right inside and wrong everywhere outside."""
    fov = np.zeros((10, 10))
    fov[:, :6] = 255
    data = paired(tmp_path, None, [square(), square()], fov=[fov, None])
    answer = np.where(fov > 0, square(value=1), 1)
    metrics = evaluate(answers(answer, square(value=1)), data)
    assert metrics["protocol"]["field_of_view"] is True
    assert metrics["mean"]["dice"] == 1
    whole = metrics["whole_image"]["mean"]
    assert whole["dice"] == pytest.approx((2 * 16 / (16 + 56) + 1) / 2, abs=1e-6)
    plain = evaluate(answers(square(value=1)), paired(tmp_path / "plain", None, [square()]))
    assert plain["protocol"]["field_of_view"] is False
    assert "whole_image" not in plain


def test_ignored_pixels_do_not_count(tmp_path):
    mask = square(value=1)
    mask[6:] = 255  # the lower part is unknown
    (tmp_path / "classes.json").write_text('{"0": "background", "1": "cell", "255": "ignore"}')
    data = paired(tmp_path, None, [mask])
    answer = np.where(mask == 255, 1, mask)
    metrics = evaluate(answers(answer), data)
    assert metrics["mean"]["dice"] == 1
    assert metrics["protocol"]["field_of_view"] is False
    wrong = answer.copy()
    wrong[0] = 1
    assert evaluate(answers(wrong), data)["mean"]["dice"] == pytest.approx(32 / 42, abs=1e-6)


def test_the_mean_of_several_classes_is_over_those_an_image_holds(tmp_path):
    """Image 0 holds classes 1 and 2, image 1 only 1; class 3 is in neither, answered or not."""
    one = np.zeros((8, 8))
    one[:4], one[4:6] = 1, 2
    two = np.zeros((8, 8))
    two[:4] = 1
    names = {"0": "background", "1": "road", "2": "car", "3": "sign"}
    tmp_path.joinpath("classes.json").write_text(json.dumps(names))
    data = paired(tmp_path, None, [one, two])
    said = np.where(one == 2, 3, one)  # cars are taken for signs
    metrics = evaluate(answers(said, two), data)
    assert [row["dice"] for row in metrics["per_image"]] == [0.5, 1]
    assert metrics["mean"]["dice"] == 0.75
    assert metrics["per_class"]["road"]["dice"] == 1
    assert metrics["per_class"]["car"]["dice"] == 0
    assert metrics["per_class"]["sign"] == {}
    assert "classes present in each image" in metrics["protocol"]["average"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_image_without_any_class_has_no_score(tmp_path, order):
    one = np.zeros((8, 8))
    one[:4], one[4:6] = 1, 2
    names = {"0": "background", "1": "road", "2": "car"}
    tmp_path.joinpath("classes.json").write_text(json.dumps(names))
    masks = [[one, np.zeros((8, 8))][k] for k in order]
    metrics = evaluate(answers(*masks), paired(tmp_path, None, masks))
    assert metrics["mean"]["dice"] == 1
    assert sorted(len(row) > 1 for row in metrics["per_image"]) == [False, True]


def test_without_a_background_every_class_counts(tmp_path):
    mask = np.zeros((8, 8))
    mask[:4], mask[4:6] = 1, 2
    names = {"0": "sky", "1": "road", "2": "car"}
    tmp_path.joinpath("classes.json").write_text(json.dumps(names))
    metrics = evaluate(answers(np.where(mask == 2, 0, mask)), paired(tmp_path, None, [mask]))
    # sky 2·16/(16 + 32), road 1, car 0
    assert set(metrics["per_class"]) == {"sky", "road", "car"}
    assert metrics["mean"]["dice"] == pytest.approx((2 / 3 + 1 + 0) / 3, abs=1e-6)


def probable(labels, *channels):
    return lambda _: SimpleNamespace(labels=labels, probabilities=np.array(channels, np.float32))


def test_probabilities_are_those_of_the_class(tmp_path):
    """A sigmoid has no channel for the background, a softmax has one."""
    mask = square()
    data = paired(tmp_path, None, [mask])
    truth = mask > 0
    for channels in ([truth], [~truth, truth]):
        assert evaluate(probable(truth.astype(int), *channels), data)["mean"]["roc_auc"] == 1
    for channels in ([~truth], [truth, ~truth]):
        assert evaluate(probable(truth.astype(int), *channels), data)["mean"]["roc_auc"] == 0


def test_a_model_of_other_classes_is_one_line(tmp_path):
    mask = np.zeros((8, 8))
    mask[:4], mask[4:6] = 1, 2
    data = paired(tmp_path, None, [mask])
    with pytest.raises(InputError, match=r"c0\.png: the model knows 2 classes, the data 3 \(back"):
        evaluate(probable(mask.astype(int), mask), data)


def test_a_second_observer_has_a_row_of_its_own(tmp_path):
    shifted = np.roll(square(), 1, axis=1)
    data = paired(tmp_path, None, [square(), square()], masks2=[shifted, square()])
    metrics = evaluate(answers(square(value=1), square(value=1)), data)
    assert metrics["mean"]["dice"] == 1
    assert metrics["human"]["mean"]["dice"] == pytest.approx((0.75 + 1) / 2)
    assert metrics["human"]["interval"]["dice"] == [0.75, 1]
    some = paired(tmp_path / "some", None, [square(), square()], masks2=[shifted, None])
    assert "human" not in evaluate(answers(square(value=1), square(value=1)), some)


def test_the_protocol_travels_with_the_scores(dataset, discs):
    metrics = evaluate(truthful(dataset), discs, split="val")
    protocol = metrics["protocol"]
    assert {"data", "split", "cases", "field_of_view", "average", "interval", "annotator", "date"} \
        == set(protocol)  # fmt: skip
    assert (protocol["data"], protocol["split"], protocol["cases"]) == (discs.name, "val", 1)
    segment = truthful(dataset)

    class Said:
        protocol = {"threshold": 0.4, "threshold_from": "tuned on val", "annotator": "AH"}  # noqa: RUF012

        def __call__(self, image):
            return segment(image)

    said = evaluate(Said(), dataset)["protocol"]
    assert said["threshold_from"] == "tuned on val"
    assert said["annotator"] == "AH"


def test_metrics_json_is_json_and_knows_no_nan(tmp_path):
    data = paired(tmp_path / "data", None, [square(), np.zeros((10, 10))])
    metrics = evaluate(answers(np.zeros((10, 10), int), np.zeros((10, 10), int)), data,
                       out=tmp_path / "run", topology=True)  # fmt: skip
    text = (tmp_path / "run" / "metrics.json").read_text(encoding="utf-8")

    def refuse(word):
        raise AssertionError(word)

    assert json.loads(text, parse_constant=refuse) == metrics == read_metrics(tmp_path / "run")
    assert metrics["mean"]["precision"] is None
    assert {"cl_dice", "betti0_error", "betti1_error"} <= set(metrics["mean"])
    assert metrics["per_image"][0]["betti0_error"] == 1
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"metrics.json"}


def test_hooks_see_every_case(dataset):
    counts, kept = [], []
    evaluate(
        truthful(dataset), dataset, split="train", on_case=lambda *c: counts.append(c),
        keep=lambda sample, _, scores: kept.append((sample.id, scores["dice"])),
    )  # fmt: skip
    assert counts == [(1, 3), (2, 3), (3, 3)]
    assert kept == [(name, 1) for name in dataset.split["train"]]


def test_a_segmenter_scores_as_its_labels_do(run, discs):
    from unetkit.segmenter import load

    model = load(run, precision="fp32")
    data = read_dataset(discs)
    metrics = evaluate(model, data)
    sample = data.load(data.select("test")[0])
    labels = model(sample.image).labels
    both = int(((labels > 0) & (sample.labels > 0)).sum())
    dice = 2 * both / int((labels > 0).sum() + (sample.labels > 0).sum())
    assert metrics["mean"]["dice"] == pytest.approx(dice, abs=1e-6)
    assert metrics["mean"]["dice"] > 0.8
    assert metrics["protocol"]["threshold"] == round(model.card.threshold, 4)


def test_wrong_names_and_shapes_are_one_line(dataset, tmp_path):
    with pytest.raises(InputError, match=r"no cases in a split named tset; choose one of train"):
        evaluate(truthful(dataset), dataset, split="tset")
    with pytest.raises(InputError, match="no such folder"):
        evaluate(truthful(dataset), tmp_path / "nowhere")
    with pytest.raises(InputError, match="shape"):
        evaluate(truthful(dataset, lambda labels: labels[1:]), dataset)
    with pytest.raises(InputError, match="no metrics yet; run unet evaluate"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(InputError, match=r"metrics\.json: cannot be read"):
        read_metrics(tmp_path)


def test_scores_of_the_whole_image_are_those_without_a_field_of_view(tmp_path):
    folder = blobs(tmp_path / "a", fov=True)
    data = read_dataset(folder)
    with_fov = evaluate(truthful(data, np.zeros_like), data, split="train")
    assert with_fov["protocol"]["field_of_view"]
    shutil.rmtree(folder / "fov")
    without = read_dataset(folder)
    plain = evaluate(truthful(without, np.zeros_like), without, split="train")
    assert with_fov["whole_image"]["mean"]["accuracy"] == plain["mean"]["accuracy"]
    assert with_fov["mean"]["accuracy"] != plain["mean"]["accuracy"]


class Model:
    """Give a callable with the hooks of a trained model, made by hand."""

    def __init__(self, dataset, split, seen):
        self.segment, self.split, self.seen = truthful(dataset), split, frozenset(seen)

    def __call__(self, image):
        return self.segment(image)

    def judged_on(self, dataset):
        return replace(dataset, split=self.split), self.seen


def test_a_model_is_judged_on_its_own_split_and_says_what_it_has_seen(dataset):
    ids = [case.id for case in dataset.cases]
    split = {"train": tuple(ids[3:]), "test": tuple(ids[:3])}
    metrics = evaluate(Model(dataset, split, {ids[0], ids[2], ids[4]}), dataset)
    assert [row["id"] for row in metrics["per_image"]] == ids[:3]
    assert metrics["protocol"]["seen_in_training"] == 2
    unseen = evaluate(Model(dataset, split, {ids[4]}), dataset)
    assert "seen_in_training" not in unseen["protocol"]
    # any other callable has seen nothing, and the set's own split holds
    assert [r["id"] for r in evaluate(truthful(dataset), dataset)["per_image"]] == ids[4:]


def test_a_trained_model_knows_its_cases_by_set_and_name(run, discs, tmp_path):
    from unetkit.segmenter import load

    model, data = load(run, precision="fp32"), read_dataset(discs)
    assert evaluate(model, data, split="train")["protocol"]["seen_in_training"] == 3
    assert evaluate(model, data, split="val")["protocol"]["seen_in_training"] == 1
    assert "seen_in_training" not in evaluate(model, data)["protocol"]
    other = read_dataset(shutil.copytree(discs, tmp_path / "others"))
    assert "seen_in_training" not in evaluate(model, other, split="train")["protocol"]


def test_a_model_of_a_fold_is_judged_on_that_fold(run, discs):
    from unetkit.segmenter import load

    model, data = load(run, precision="fp32"), read_dataset(discs)
    config = PortionConfig(folds=5, fold=1, train_size=1)
    document = {**model.card.recipe, "data": config.model_dump()}
    model.card = model.card.model_copy(update={"recipe": document})
    metrics = evaluate(model, data)
    fold = portion(data, PortionConfig(folds=5, fold=1)).split
    assert [row["id"] for row in metrics["per_image"]] == list(fold["test"]) == ["case1"]
    assert metrics["protocol"]["seen_in_training"] == 1  # it was trained on another split
    # a set with fewer images in train than the run asked for can still be scored
    assert evaluate(model, data, split="train")["protocol"]["cases"] == len(fold["train"])


def test_a_fixed_threshold_beside_the_chosen_one(tmp_path):
    truth = square(value=1).astype(int)
    data = paired(tmp_path, None, [square(), square()])
    soft = np.where(truth > 0, 0.6, 0.1)
    soft[0] = 0.45
    segment = probable((soft >= 0.4).astype(int), soft)  # its own threshold is 0.4
    metrics = evaluate(segment, data, also_at=0.5, topology=True)
    fixed = metrics["fixed_threshold"]
    assert metrics["mean"]["dice"] == pytest.approx(32 / 42, abs=1e-6)
    assert fixed["threshold"] == 0.5
    assert fixed["mean"]["dice"] == 1
    assert {key: fixed[key] for key in ("mean", "interval", "per_image")} == {
        key: evaluate(probable(truth, soft), data, topology=True)[key]
        for key in ("mean", "interval", "per_image")
    }
    assert evaluate(segment, data, also_at=0.4)["fixed_threshold"]["mean"]["dice"] < 0.8
    assert "fixed_threshold" not in evaluate(segment, data)
    assert "fixed_threshold" not in evaluate(answers(truth, truth), data, also_at=0.5)


def test_several_classes_have_no_fixed_threshold(tmp_path):
    mask = np.zeros((8, 8), int)
    mask[:4], mask[4:6] = 1, 2
    data = paired(tmp_path, None, [mask])
    metrics = evaluate(probable(mask, *(mask == k for k in range(3))), data, also_at=0.5)
    assert metrics["mean"]["dice"] == 1
    assert "fixed_threshold" not in metrics


def test_the_protocol_says_that_absent_classes_do_not_count(tmp_path):
    mask = np.zeros((8, 8), int)
    mask[:4], mask[4:6] = 1, 2
    several = evaluate(answers(mask), paired(tmp_path / "several", None, [mask]))
    assert several["protocol"]["average"] == (
        "per-image mean, classes present in each image's truth; absent classes do not count, "
        "predicted or not"
    )
    one = evaluate(answers(square(value=1)), paired(tmp_path / "one", None, [square()]))
    assert one["protocol"]["average"] == "per-image mean"


def volume(path, data, spacing):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(Image(np.asarray(data)[None], spacing), path)


def test_boundary_scores_are_in_the_unit_of_the_images(tmp_path):
    """A cube that lies one slice too deep is 3 mm off, though one voxel only."""
    truth = np.zeros((6, 8, 8), np.uint8)
    truth[1:3, 2:6, 2:6] = 1
    chance = np.random.default_rng(0)
    image = chance.normal(size=truth.shape).astype(np.float32)
    volume(tmp_path / "images" / "a.nii.gz", image, (3.0, 0.5, 0.5))
    volume(tmp_path / "masks" / "a.nii.gz", truth, (3.0, 0.5, 0.5))
    said = np.roll(truth, 1, axis=0)
    metrics = evaluate(answers(said), tmp_path, split="train", boundary=True)
    assert metrics["mean"]["hd95"] == 3
    known = boundary_scores(said, truth, spacing=(3.0, 0.5, 0.5))
    assert {name: metrics["mean"][name] for name in known} == pytest.approx(known, abs=1e-6)
    assert metrics["protocol"]["unit"] == "mm"
    assert metrics["protocol"]["nsd_tolerance"] == "3 mm, one pixel along the coarsest axis"
    plain = evaluate(answers(said), tmp_path, split="train")
    assert not {"hd95", "assd", "nsd"} & set(plain["mean"])
    assert not {"unit", "nsd_tolerance"} & set(plain["protocol"])


def test_calibration_is_added_on_demand(tmp_path):
    truth = square() > 0
    data = paired(tmp_path, None, [square()])
    soft = np.random.default_rng(0).uniform(0, 1, truth.shape).astype(np.float32)
    segment = probable(truth.astype(int), soft)
    mean = evaluate(segment, data, calibration=True)["mean"]
    assert mean["brier"] == pytest.approx(((soft - truth) ** 2).mean(), abs=1e-6)
    assert mean["ece"] == pytest.approx(calibration_error(soft, truth), abs=1e-6)
    assert not {"brier", "ece"} & set(evaluate(segment, data)["mean"])
    hard = evaluate(answers(truth.astype(int)), data, calibration=True)
    assert not {"brier", "ece"} & set(hard["mean"])


def test_measure_is_cheap_until_it_is_asked_for_more():
    p, t = square() > 0, np.roll(square(), 1) > 0
    usual = set(measure(p, t))
    more = measure(p, t, probability=p, boundary=True, calibration=True, topology=True)
    assert usual == {"dice", "iou", "recall", "precision", "specificity", "accuracy",
                     "balanced_accuracy", "mcc", "pixel_error"}  # fmt: skip
    assert set(more) - usual == {
        "roc_auc", "average_precision", "ece", "brier", "cl_dice", "betti0_error", "betti1_error",
        "hd95", "assd", "nsd",
    }  # fmt: skip
    assert measure(p, t, boundary=True, spacing=(1, 4))["hd95"] == 4
    lower = {name for name in more if lower_is_better(name)}
    assert lower == {"pixel_error", "ece", "brier", "betti0_error", "betti1_error", "hd95", "assd"}
    assert not lower_is_better("count_error")  # it has a sign
