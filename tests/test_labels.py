"""Masks of every form → classes and objects: the same labels, written in many ways."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from unetkit.data import read_dataset
from unetkit.data.case import Drawing
from unetkit.data.colours import GREY, pack, unpack
from unetkit.data.counted import count_labels, count_mask, count_values, in_greys, runs, tally
from unetkit.data.encoding import encode
from unetkit.data.labels import read_classes, read_fov, read_nearest, read_numbers
from unetkit.data.legend import Legend, legend_of, read_legend
from unetkit.data.task import Counted, Meaning, Task, recognise, to_classes
from unetkit.errors import InputError

DATA = Path(__file__).parents[1].parent / "shared" / "data"
SPACE = (40, 48)
BLACK, RED, BLUE, SAND = 0x000000, 0xD0021B, 0x3C1098, 0xF5A623


def save(path: Path, labels: np.ndarray, *, palette: Any = None, **options: Any) -> Path:
    """Write a mask by the suffix: numbers, packed colours (uint32) or indices of a palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".tif", ".npy"):
        np.save(path, labels) if path.suffix == ".npy" else tifffile.imwrite(path, labels)
        return path
    if labels.dtype == np.uint32:
        labels = np.moveaxis(unpack(labels), 0, -1)
    picture = Pillow.fromarray(labels)
    if palette is not None:
        indices = picture.tobytes()
        picture = Pillow.frombytes("P", picture.size, indices)
        picture.putpalette(palette)
    picture.save(path, **options)
    return path


def stripes(values: Sequence[int], shift: int = 0, dtype: Any = np.uint8) -> np.ndarray:
    """Give scattered stripes: no class is one piece, and each is in every mask."""
    row = np.tile(np.array(values, dtype), 48)[: SPACE[1]]
    return np.tile(np.roll(row, shift), (SPACE[0], 1))


def squares(values: Sequence[int], seed: int = 0, dtype: Any = np.uint8) -> np.ndarray:
    """Give one square piece per value."""
    mask = np.zeros(SPACE, dtype)
    cells = np.random.default_rng(seed).permutation(48)
    for value, cell in zip(values, cells, strict=False):
        y, x = 6 * (cell // 8), 6 * (cell % 8)
        mask[y : y + 4, x : x + 4] = value
    return mask


def understood(
    masks: Sequence[Path], legend: Legend | None = None
) -> tuple[Meaning, Task, list[InputError]]:
    problems: list[InputError] = []
    meaning, bad = recognise([count_mask(mask) for mask in masks], legend, problems.append)
    assert {problem.where for problem in problems} == bad
    assert all("\n" not in str(problem) and problem.cure for problem in problems)
    return meaning, meaning.task(3, 2), problems


def labels_of(mask: Path, task: Task) -> np.ndarray:
    labels, _ = read_classes(mask, None, task, SPACE)
    assert labels.dtype == np.int16
    return labels


# ----------------------------------------------------------------------------------- colour sets


COLOURS = (BLACK, RED, BLUE, SAND)


def test_colours_are_classes_without_a_legend(tmp_path: Path) -> None:
    order = np.sort(COLOURS)
    masks = [save(tmp_path / f"{k}.png", stripes(COLOURS, k, np.uint32)) for k in range(3)]
    meaning, task, problems = understood(masks)
    assert not problems
    assert meaning.classes == ("background", "#3C1098", "#D0021B", "#F5A623")
    assert (task.kind, task.values, task.ignore) == ("semantic", tuple(order), ())
    assert task.colours
    assert "4 colours (background, #3C1098, #D0021B, #F5A623), each taken for a class" in (
        meaning.sentence
    )
    expected = np.searchsorted(order, stripes(COLOURS, 2, np.uint32))
    np.testing.assert_array_equal(labels_of(masks[2], task), expected)


def test_every_form_of_a_colour_mask_gives_the_same(tmp_path: Path) -> None:
    numbers = stripes(COLOURS, 1, np.uint32)
    channels = np.moveaxis(unpack(numbers), 0, -1)
    alpha = np.concatenate([channels, np.full((*SPACE, 1), 255, np.uint8)], 2)
    Pillow.fromarray(alpha).save(tmp_path / "alpha.png")
    tifffile.imwrite(tmp_path / "chunky.tif", channels, photometric="rgb")
    tifffile.imwrite(tmp_path / "planar.tif", unpack(numbers), photometric="rgb",
                     planarconfig="separate")  # fmt: skip
    Pillow.fromarray(channels).save(tmp_path / "plain.bmp")
    Pillow.fromarray(channels).save(tmp_path / "plain.webp", lossless=True)
    Pillow.fromarray(channels).quantize(8).save(tmp_path / "palette.png")
    Pillow.fromarray(channels).quantize(8).save(tmp_path / "palette.gif")
    np.save(tmp_path / "array.npy", unpack(numbers))
    masks = sorted(tmp_path.iterdir())
    meaning, task, problems = understood(masks)
    assert not problems
    assert meaning.values == tuple(np.sort(COLOURS))
    for mask in masks:
        np.testing.assert_array_equal(read_numbers(mask, task), numbers, err_msg=mask.name)


def test_greys_in_a_set_of_colours_are_colours(tmp_path: Path) -> None:
    masks = [save(tmp_path / "0.png", stripes([BLACK, RED, 128 * GREY], 0, np.uint32)),
             save(tmp_path / "1.png", stripes([0, 128])),
             save(tmp_path / "2.png", stripes([0, 128]), palette=[0, 0, 0] + [9, 9, 9] * 127
                  + [0xD0, 0x02, 0x1B])]  # fmt: skip
    _, task, problems = understood(masks)
    assert not problems
    assert task.values == (0, 128 * GREY, RED)
    assert np.unique(labels_of(masks[1], task)).tolist() == [0, 1]
    assert np.unique(labels_of(masks[2], task)).tolist() == [0, 2]
    deep = save(tmp_path / "3.tif", stripes([0, 300], dtype=np.uint16))
    _, _, problems = understood([*masks, deep])
    assert (
        "3.tif: the mask holds numbers up to 300, and others of its set are in colours; save"
        in (str(problems[0]))
    )


@pytest.mark.parametrize("values", [[0, 255], [0, 1], [0, 1, 2, 255], [0, 128]])
def test_greys_in_three_channels_are_their_levels(tmp_path: Path, values: list[int]) -> None:
    """A set of colour pictures that hold nothing but greys is that of its grey twins."""
    grey = [save(tmp_path / f"g{k}.png", stripes(values, k)) for k in range(3)]
    three = [save(tmp_path / f"c{k}.png", stripes(values, k, np.uint32) * GREY) for k in range(3)]
    assert count_mask(three[0]).colours
    meaning, task, _ = understood(grey)
    assert understood(three)[0] == understood([*grey[:1], *three[1:]])[0] == meaning
    assert not task.colours
    for one, other in zip(grey, three, strict=True):
        np.testing.assert_array_equal(labels_of(one, task), labels_of(other, task))


def test_palettes_keep_their_indices(tmp_path: Path) -> None:
    palette = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [224, 224, 192] * 253  # that of Pascal VOC
    masks = [save(tmp_path / f"{k}.png", stripes([0, 1, 2, 255], k), palette=palette)
             for k in range(3)]  # fmt: skip
    meaning, task, _ = understood(masks)
    assert (meaning.values, meaning.ignore, task.colours) == ((0, 1, 2), (255,), False)
    # with a legend of colours they are read by their colours
    legend = legend_of({0: "background", 0x800000: "plane", 0x008000: "cat", 0xE0E0C0: "void"},
                       colours=True)  # fmt: skip
    named, task, problems = understood(masks, legend)
    assert not problems
    assert named.classes == ("background", "plane", "cat")
    assert labels_of(masks[0], task)[0, :4].tolist() == [0, 1, 2, -1]


def test_a_legend_names_colours(tmp_path: Path) -> None:
    content = {"classes": [{"title": "Building", "color": "#D0021B"}, {"title": "Water",
               "color": "#3C1098"}, {"title": "Unlabeled", "color": "#F5A623"}]}  # fmt: skip
    (tmp_path / "classes.json").write_text(json.dumps(content))
    legend = read_legend(tmp_path / "classes.json")
    masks = [
        save(tmp_path / f"{k}.png", stripes([RED, BLUE, SAND], k, np.uint32)) for k in range(2)
    ]
    meaning, task, problems = understood(masks, legend)
    assert not problems
    assert (meaning.classes, meaning.values) == (("Building", "Water"), (RED, BLUE))
    assert meaning.sentence == (
        "masks hold the colours of the 2 classes of classes.json and #F5A623 to be ignored"
    )
    assert labels_of(masks[0], task)[0, :3].tolist() == [0, 1, -1]


def test_a_legend_in_numbers_and_colours_suits_both(tmp_path: Path) -> None:
    legend = Legend({0: "sky", 1: "road"}, twin=Legend({RED: "sky", BLUE: "road"}, colours=True))
    grey = [save(tmp_path / f"g{k}.png", stripes([0, 1], k)) for k in range(2)]
    painted = [save(tmp_path / f"c{k}.png", stripes([RED, BLUE], k, np.uint32)) for k in range(2)]
    _, by_number, _ = understood(grey, legend)
    _, by_colour, _ = understood(painted, legend)
    assert (by_number.colours, by_colour.colours) == (False, True)
    assert by_number.classes == by_colour.classes == ("sky", "road")
    for one, other in zip(grey, painted, strict=True):
        np.testing.assert_array_equal(labels_of(one, by_number), labels_of(other, by_colour))


def test_one_colour_on_any_ground(tmp_path: Path) -> None:
    masks = [save(tmp_path / f"{k}.png", stripes([BLACK, RED], k, np.uint32)) for k in range(2)]
    meaning, _, _ = understood(masks)
    assert (meaning.classes, meaning.values) == (("background", "#D0021B"), (0, RED))
    full = [save(tmp_path / "full.png", np.full(SPACE, RED, np.uint32))]
    assert understood(full)[0].values == (0, RED)


# --------------------------------------------------------------------------- damage among colours


def blended(numbers: np.ndarray) -> Any:
    """Shrink and grow a colour mask with smoothing."""
    picture = Pillow.fromarray(np.moveaxis(unpack(numbers), 0, -1))
    return picture.resize((30, 25)).resize((48, 40), Pillow.Resampling.BILINEAR)


def blocks(values: Sequence[int], size: int = 8) -> np.ndarray:
    chance = np.random.default_rng(0)
    return np.kron(chance.choice(values, (5, 6)), np.ones((size, size), int)).astype(np.uint32)


def test_one_smoothed_mask_among_sound_ones(tmp_path: Path) -> None:
    masks = [save(tmp_path / f"{k}.png", blocks(COLOURS)) for k in range(8)]
    blended(blocks(COLOURS)).save(masks[3])
    meaning, task, problems = understood(masks)
    assert meaning.values == tuple(np.sort(COLOURS))
    (problem,) = problems
    text = str(problem)
    assert "3.png: the mask holds unexpected colours (#" in text
    share = np.mean(~np.isin(read_numbers(masks[3], task), COLOURS))
    assert f" in {share:.2%} of its pixels; of the class colours, #" in text
    assert (
        "save PNG without anti-aliasing, or let unet check DATA --fix OUT take the nearest" in text
    )
    with pytest.raises(InputError, match="unexpected colours"):
        read_classes(masks[3], None, task, SPACE)


def test_jpeg_of_all_masks_is_told_from_classes(tmp_path: Path) -> None:
    masks = []
    for k in range(3):
        sound = np.moveaxis(unpack(np.kron(blocks(COLOURS), np.ones((4, 4), int))), 0, -1)
        masks.append(tmp_path / f"{k}.jpg")
        Pillow.fromarray(np.roll(sound, 8 * k, 0)).save(masks[-1], quality=95)
    meaning, _, problems = understood(masks)
    assert len(meaning.classes) <= 64
    assert len(problems) == 3
    assert "it was probably saved as JPEG or drawn or resized" in str(problems[0])


def test_a_legend_names_the_nearest_of_a_wrong_colour(tmp_path: Path) -> None:
    legend = legend_of({BLACK: "background", RED: "roof", BLUE: "pool"}, colours=True)
    mask = save(tmp_path / "a.png", stripes([BLACK, RED, BLUE, RED + 3], 0, np.uint32))
    _, _, (problem,) = understood([mask], legend)
    assert str(problem).endswith(
        "a.png: the mask holds unexpected colours (#D0021E) in 25.00% of its pixels; of the class "
        "colours, #D0021B (roof) is nearest to #D0021E; correct the mask, or name the colour in "
        "classes.json"
    )


def test_photographs_among_grey_masks_are_named(tmp_path: Path) -> None:
    masks = [save(tmp_path / f"{k}.png", stripes([0, 255], k)) for k in range(4)]
    noise = np.random.default_rng(0).integers(0, 2**24, SPACE, np.uint32)
    save(masks[2], noise)
    meaning, _, (problem,) = understood(masks)
    assert (meaning.values, meaning.colours) == ((0, 255), False)
    assert "2.png: the mask holds colours (such as #" in str(problem)
    assert "save one grey value per class, or a palette PNG" in str(problem)


def test_a_legend_of_numbers_does_not_suit_colours(tmp_path: Path) -> None:
    legend = legend_of({0: "background", 1: "roof"})
    masks = [save(tmp_path / "0.png", stripes([0, 1])),
             save(tmp_path / "1.png", stripes([BLACK, RED], 0, np.uint32))]  # fmt: skip
    meaning, _, (problem,) = understood(masks, legend)
    assert meaning.values == (0, 1)
    assert str(problem).endswith(
        "1.png: the mask holds colours (such as #D0021B), not class numbers; name the colours in "
        'classes.json, such as {"#3C1098": "building"}'
    )
    problems: list[InputError] = []
    with pytest.raises(InputError, match="no mask is left without a problem"):
        recognise([count_mask(masks[1])], legend, problems.append)
    assert len(problems) == 1


def test_colours_that_make_no_sense(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2**24, (3, *SPACE), np.uint32)
    masks = [save(tmp_path / f"{k}.png", noise[k]) for k in range(3)]
    with pytest.raises(InputError, match=r"hold \d+ colours \(#.* …\) that are neither"):
        understood(masks)
    with pytest.raises(InputError, match="none of the masks can be read"):
        recognise([], None, print)


def test_objects_in_colours_of_their_own(tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    masks, drawn = [], []
    for k in range(4):
        numbers = squares(chance.integers(1, 2**24, 30), k, np.uint32)
        drawn.append(numbers)
        masks.append(save(tmp_path / f"{k}.png", numbers))
    meaning, task, problems = understood(masks)
    assert not problems
    assert (meaning.kind, meaning.colours) == ("instances", True)
    assert meaning.sentence == "masks tell their objects apart by colours (up to 30 in one)"
    labels, ids = read_classes(masks[1], None, task, SPACE)
    assert ids is not None
    np.testing.assert_array_equal(ids, drawn[1])
    np.testing.assert_array_equal(labels, drawn[1] > 0)


# --------------------------------------------------------------------------------------- numbers


def test_masks_in_two_scales_are_one_set(tmp_path: Path) -> None:
    """Some 0/1, others 0/255, and empty ones: the commonest mistake of all."""
    masks = [save(tmp_path / f"{k}.png", stripes([0, 255 if k % 2 else 1], k)) for k in range(5)]
    masks.append(save(tmp_path / "5.png", np.zeros(SPACE, np.uint8)))
    masks.append(save(tmp_path / "6.png", np.full(SPACE, 1, np.uint8)))
    meaning, task, problems = understood(masks)
    assert not problems
    assert (meaning.classes, meaning.values) == (("background", "foreground"), (0, 255))
    assert (meaning.ignore, meaning.also) == ((), ((1, 255),))
    assert meaning.sentence == "masks hold 0 and 255 (2) or 0 and 1 (4), both foreground"
    for k, mask in enumerate(masks[:5]):
        np.testing.assert_array_equal(labels_of(mask, task), stripes([0, 1], k))
    assert (labels_of(masks[6], task) == 1).all()
    assert Task.model_validate_json(task.model_dump_json()) == task


@pytest.mark.parametrize("values", [[0, 1, 255], [1, 255]])
def test_masks_that_hold_both_scales_are_not(tmp_path: Path, values: list[int]) -> None:
    masks = [save(tmp_path / f"{k}.png", stripes([0, 255 if k % 2 else 1], k)) for k in range(4)]
    masks.append(save(tmp_path / "4.png", stripes(values)))
    assert not understood(masks)[0].also


def test_names_that_occur_twice_are_one_class(tmp_path: Path) -> None:
    legend = legend_of({0: "sky", 1: "car", 7: "car", 9: "ignore"})
    mask = save(tmp_path / "a.png", stripes([0, 1, 7, 9]))
    meaning, task, problems = understood([mask], legend)
    assert not problems
    assert (meaning.classes, meaning.values) == (("sky", "car"), (0, 1))
    assert meaning.also == ((7, 1),)
    assert labels_of(mask, task)[0, :4].tolist() == [0, 1, 1, -1]


def test_the_named_background_is_class_0(tmp_path: Path) -> None:
    legend = legend_of({0: "membrane", 255: "background"})
    mask = save(tmp_path / "a.png", stripes([0, 255]))
    _, task, _ = understood([mask], legend)
    assert task.classes == ("background", "membrane")
    assert labels_of(mask, task)[0, :2].tolist() == [1, 0]


def test_nodata_and_negative_numbers_do_not_count(tmp_path: Path) -> None:
    masks = [save(tmp_path / f"{k}.tif", stripes([0, 1, -1], k, np.int16)) for k in range(3)]
    meaning, task, _ = understood(masks)
    assert (meaning.values, meaning.ignore) == ((0, 1), (-1,))
    assert labels_of(masks[0], task)[0, :3].tolist() == [0, 1, -1]
    far = save(tmp_path / "far.tif", stripes([0, 1, -9999], 0, np.int32))
    assert labels_of(far, task)[0, :3].tolist() == [0, 1, -1]


def test_partial_annotation_is_what_is_ignored(tmp_path: Path) -> None:
    partial = stripes([0, 1, 2])
    partial[8:] = 3
    mask = save(tmp_path / "a.png", partial)
    for name in ("unlabelled", "Unlabeled", "void", "ignore"):
        _, task, _ = understood([mask], legend_of({0: "soil", 1: "crop", 2: "weed", 3: name}))
        labels = labels_of(mask, task)
        assert (labels[8:] == -1).all()
        np.testing.assert_array_equal(labels[:8], partial[:8])


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 5, 200), (7, 70_000, 2**31 - 1), (3, 4)])
@pytest.mark.parametrize("ignore", [(), (9,), (-1, 250)])
def test_numbers_become_classes(values: tuple[int, ...], ignore: tuple[int, ...]) -> None:
    """Whatever the range: a table for small numbers, a search for large ones."""
    classes = tuple(f"c{v}" for v in values)
    task = Task(classes=classes, kind="semantic", values=values, ignore=ignore, channels=1, ndim=2,
                also=((11, values[1]),))  # fmt: skip
    chance = np.random.default_rng(0)
    raw = chance.choice([*values, *ignore, 11, -3], SPACE).astype(np.int64)
    labels, ids = to_classes(raw, task, Path("a"))
    assert ids is None
    known = {value: index for index, value in enumerate(values)} | {11: 1}
    expected = [[known.get(int(v), -1) for v in row] for row in raw]
    np.testing.assert_array_equal(labels, expected)
    raw[3, 4] = 12
    with pytest.raises(InputError, match=r"a: the mask holds unexpected values \(12\) in 0\.05%"):
        to_classes(raw, task, Path("a"))


# ------------------------------------------------------------------------------------- counting


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.int64])
@pytest.mark.parametrize("shape", [(7, 11), (3, 7, 11), (1, 1)])
def test_numbers_are_counted_as_numpy_does(dtype: Any, shape: tuple[int, ...]) -> None:
    numbers = np.random.default_rng(0).integers(0, 9, shape).astype(dtype).repeat(3, -1)
    expected = np.unique(numbers, return_counts=True)
    for found, known in zip(count_values(numbers), expected, strict=True):
        np.testing.assert_array_equal(found, known)
    values, lengths = runs(numbers)
    np.testing.assert_array_equal(np.repeat(values, lengths).reshape(numbers.shape), numbers)
    assert (values[1:] != values[:-1]).all()


def test_a_mask_of_noise_is_counted_in_bounded_memory() -> None:
    noise = np.random.default_rng(0).integers(0, 5000, (300, 300), np.uint16)
    noise[:100] = 7
    counted = count_labels(Path("a"), noise)
    values, counts = np.unique(noise, return_counts=True)
    assert len(counted.values) <= 1024
    assert counted.counts.sum() == noise.size
    assert (counted.values[0], counted.values[-1]) == (values[0], values[-1])
    assert counted.counts[counted.values == 7] == counts[values == 7]
    assert (np.diff(counted.values) > 0).all()
    small = [Counted(Path("b"), np.dtype("u1"), np.arange(k, k + 3), np.arange(1, 4))
             for k in range(600)]  # fmt: skip
    values, counts = tally(small)
    assert values.tolist() == list(range(602))
    assert counts.tolist() == [1, 3] + [6] * 598 + [5, 3]


def test_object_ids_of_32_bits_are_no_colours(tmp_path: Path) -> None:
    ids = squares([70_000, 5, 2**24], 0, np.uint32)
    mask = save(tmp_path / "a.tif", ids)
    counted = count_mask(mask)
    assert not counted.colours
    assert counted.values.tolist() == [0, 5, 70_000, 2**24]
    assert in_greys(counted) is counted


# ----------------------------------------------------------------------- sizes, fields, drawings

TWO = Task(classes=("background", "foreground"), kind="semantic", values=(0, 255), ignore=(),
           channels=3, ndim=2)  # fmt: skip


def test_sizes_must_match(tmp_path: Path) -> None:
    mask = save(tmp_path / "a.png", stripes([0, 255]))
    for space, message in {
        (40, 50): r"a\.png: the mask is 40 × 48 and its image 40 × 50 \(y, x\); make the mask of",
        (48, 40): r"the mask is 40 × 48 and its image 48 × 40 \(y, x\); it looks transposed: exch",
        (3, 40, 48): r"the mask is 40 × 48 and its image 3 × 40 × 48 \(z, y, x\); make the mask",
    }.items():
        with pytest.raises(InputError, match=message):
            read_classes(mask, None, TWO, space)
    with pytest.raises(InputError, match=r"the field of view is 40 × 48 .*; make the field"):
        read_fov(mask, (40, 50))
    assert read_classes(mask, None, TWO, None)[0].shape == SPACE


def test_a_field_of_view_may_be_a_jpeg(tmp_path: Path) -> None:
    y, x = np.indices(SPACE)
    inside = np.hypot(y - 20, x - 24) < 18
    for value, suffix in ((255, ".png"), (1, ".png"), (255, ".jpg")):
        path = save(tmp_path / f"fov{suffix}", (inside * value).astype(np.uint8))
        found = read_fov(path, SPACE)
        assert found.dtype == bool
        assert (found != inside).mean() < (0.005 if suffix == ".jpg" else 1e-9)


def test_drawings_are_classes_and_objects(tmp_path: Path) -> None:
    square = {"type": "Polygon", "coordinates": [[[4, 4], [12, 4], [12, 12], [4, 12]]]}
    named = {"geometry": square, "properties": {"classification": {"name": "Tumor"}}}
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([named]))
    objects = Meaning("instances", ("background", "object"), (0,), (), "").task(1, 2)
    labels, ids = read_classes(path, Drawing("geojson"), objects, SPACE)
    expected = np.zeros(SPACE, int)
    expected[4:12, 4:12] = 1
    assert ids is not None
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(ids, expected)
    names = ("Stroma", "Tumor")
    classes = Meaning("semantic", ("background", *names), (0, 1, 2), (), "").task(1, 2)
    labels, ids = read_classes(path, Drawing("geojson", classes=names), classes, SPACE)
    np.testing.assert_array_equal(labels, 2 * expected)
    assert ids is None
    named["properties"]["classification"]["name"] = "Ignore*"
    path.write_text(json.dumps([named]))
    labels, ids = read_classes(path, Drawing("geojson"), objects, SPACE)
    np.testing.assert_array_equal(labels, -expected)
    assert ids is not None
    assert not ids.any()


# --------------------------------------------------------------------------------- writing, mending

TASKS = [
    TWO,
    TWO.model_copy(update={"values": (255, 0)}),
    TWO.model_copy(update={"values": (0, 300), "ignore": (7,)}),
    TWO.model_copy(update={"values": (0, 255), "ignore": (-1,)}),
    TWO.model_copy(update={"classes": tuple("abcd"), "values": COLOURS, "colours": True,
                           "ignore": (0xFFFFFF,)}),
]  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_what_is_encoded_is_read_back(tmp_path: Path, task: Task) -> None:
    lowest = -1 if task.ignore else 0
    labels = np.random.default_rng(0).integers(lowest, len(task.classes), SPACE)
    mask = encode(labels, task)
    assert mask.shape == (3 if task.colours else 1, *SPACE)
    raw = pack(mask) if task.colours else mask[0]
    np.testing.assert_array_equal(to_classes(raw, task, Path("a"))[0], labels)
    if task.colours or (raw.min() >= 0 and raw.max() < 256):
        path = tmp_path / "a.png"
        Pillow.fromarray(np.moveaxis(mask, 0, -1) if task.colours else mask[0]).save(path)
    else:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, mask[0])
    np.testing.assert_array_equal(labels_of(path, task), labels)


def test_encoded_masks_are_as_narrow_as_they_can_be() -> None:
    labels = np.array([[0, 1]])
    assert encode(labels, TWO).dtype == np.uint8
    assert encode(labels, TASKS[2]).dtype == np.uint16
    assert encode(labels, TASKS[3]).dtype == np.uint8
    assert encode(-labels, TASKS[3]).dtype == np.int16
    objects = TWO.model_copy(update={"kind": "instances", "values": (0,)})
    assert encode(labels, objects).tolist() == [[[0, 255]]]
    void = TASKS[4].model_copy(update={"ignore": ()})
    assert encode(np.array([[-1, 1]]), void)[:, 0].tolist() == [[0, 0xD0], [0, 0x02], [0, 0x1B]]


def test_the_nearest_class_mends_smoothing(tmp_path: Path) -> None:
    sound = blocks(COLOURS, 8)
    task = Meaning("semantic", tuple("abcd"), COLOURS, (), "", colours=True).task(3, 2)
    blended(sound).save(tmp_path / "a.png")
    labels, odd = read_nearest(tmp_path / "a.png", task, SPACE)
    expected, _ = to_classes(sound, task, Path("a"))
    assert (labels == expected).mean() > 0.85
    raw = read_numbers(tmp_path / "a.png", task)
    assert odd == pytest.approx(np.mean(~np.isin(raw, COLOURS)))
    apart = np.stack([((unpack(raw).astype(int) - unpack(np.array([c]))[..., None]) ** 2).sum(0)
                      for c in COLOURS])  # fmt: skip
    np.testing.assert_array_equal(labels, apart.argmin(0))
    grey = save(tmp_path / "b.png", stripes([0, 3, 200, 255]))
    labels, odd = read_nearest(grey, TWO, SPACE)
    assert labels[0, :4].tolist() == [0, 0, 1, 1]
    assert odd == 0.5
    same, odd = read_nearest(save(tmp_path / "c.png", sound), task, SPACE)
    np.testing.assert_array_equal(same, expected)
    assert odd == 0


def test_colours_are_read_nearly_as_fast_as_they_are_decoded(tmp_path: Path) -> None:
    """Areas of colour: counting and looking up must not sort every pixel."""
    import timeit

    numbers = np.kron(blocks(COLOURS, 8), np.ones((12, 12), int)).astype(np.uint32)
    mask = save(tmp_path / "a.png", numbers)
    task = Meaning("semantic", tuple("abcd"), COLOURS, (), "", colours=True).task(3, 2)
    raw = read_numbers(mask, task)
    sorting = min(timeit.repeat(lambda: np.unique(raw), number=1, repeat=5))
    counting = min(timeit.repeat(lambda: count_values(raw), number=1, repeat=5))
    looking = min(timeit.repeat(lambda: to_classes(raw, task, mask), number=1, repeat=5))
    assert counting < sorting
    assert looking < sorting


# ------------------------------------------------------------------------------------- whole sets


def images(root: Path, count: int) -> list[str]:
    for k in range(count):
        save(root / "images" / f"im{k}.png", np.full(SPACE, 9 * k, np.uint8))
    return [f"im{k}" for k in range(count)]


def test_a_set_in_colours_is_read_whole(tmp_path: Path) -> None:
    drawn = []
    for k, name in enumerate(images(tmp_path, 4)):
        drawn.append(stripes(COLOURS, k, np.uint32))
        save(tmp_path / "masks" / f"{name}.png", drawn[-1])
    text = "name,r,g,b\nroof,208,2,27\npool,60,16,152\nsand,245,166,35\nvoid,0,0,0\n"
    (tmp_path / "class_dict.csv").write_text(text)
    dataset = read_dataset(tmp_path)
    assert dataset.task.classes == ("roof", "pool", "sand")
    assert dataset.task.ignore == (BLACK,)
    known = {RED: 0, BLUE: 1, SAND: 2, BLACK: -1}
    for case, numbers in zip(dataset.cases, drawn, strict=True):
        expected = np.vectorize(known.get)(numbers)
        np.testing.assert_array_equal(dataset.load(case).labels, expected)


def test_a_set_in_two_scales_is_read_whole(tmp_path: Path) -> None:
    for k, name in enumerate(images(tmp_path, 4)):
        save(tmp_path / "masks" / f"{name}.png", stripes([0, 1 if k % 2 else 255], k))
    dataset = read_dataset(tmp_path)
    assert "masks hold 0 and 255 (2) or 0 and 1 (2), both foreground" in dataset.layout
    for k, case in enumerate(dataset.cases):
        np.testing.assert_array_equal(dataset.load(case).labels, stripes([0, 1], k))


# ------------------------------------------------------------------------------------------- real


@pytest.mark.real
@pytest.mark.parametrize(("name", "values", "ignore"), [
    ("camvid", tuple(range(11)), (11,)), ("dubai_aerial", (1, 2, 3, 4, 5), (0,)),
])  # fmt: skip
def test_real_sets_as_colours_are_the_same_task(
    tmp_path: Path, name: str, values: tuple[int, ...], ignore: tuple[int, ...]
) -> None:
    """The real masks, painted in the colours of a legend, give the real classes again."""
    if not (DATA / name).exists():
        pytest.skip(f"no {name} beside the checkout")
    legend = read_legend(DATA / name / "classes.json")
    paths = sorted((DATA / name / "masks").iterdir())[:4]
    meaning, bad = recognise([count_mask(path) for path in paths], legend, print)
    assert (meaning.values, meaning.ignore, bad) == (values, ignore, set())
    task = meaning.task(3, 2)
    chance = np.random.default_rng(1).integers(0, 2**24, 256)
    chosen = {number: int(chance[number]) for number in (*values, *ignore)}
    painted = legend_of({chosen[number]: legend.names.get(number, "unlabelled (ignore)")
                         for number in (*values, *ignore)}, colours=True)  # fmt: skip
    copies = [save(tmp_path / path.name, chance[np.asarray(Pillow.open(path))].astype(np.uint32))
              for path in paths]  # fmt: skip
    in_colour, bad = recognise([count_mask(path) for path in copies], painted, print)
    assert (in_colour.classes, bad) == (meaning.classes, set())
    for path, copy in zip(paths, copies, strict=True):
        expected = read_classes(path, None, task, None)[0]
        np.testing.assert_array_equal(
            read_classes(copy, None, in_colour.task(3, 2), None)[0], expected
        )
