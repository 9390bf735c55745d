import json
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

import unetkit.data.synthetic as synthetic
from unetkit.data.synthetic import KINDS, cells, make, membranes, roads, vessels, volume
from unetkit.errors import InputError
from unetkit.metrics import betti_numbers, counts, roc_auc, scores

FLAT = [vessels, cells, membranes, roads]
EVERYWHERE = np.ones((3, 3))


def dice(prediction, truth, valid=None):
    return scores(counts(prediction, truth, valid))["dice"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything(kind):
    generate, _ = KINDS[kind]
    size = (12, 40, 48) if kind == "volume" else (64, 80)
    first, again, other = generate(size, 3), generate(size, 3), generate(size, 4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])
    assert not np.array_equal(generate(size, (3, 0))[0], generate(size, (3, 1))[0])


@pytest.mark.parametrize("generate", FLAT)
@pytest.mark.parametrize("size", [(32, 32), (33, 57), (130, 64)])
def test_shapes_and_types_at_any_size(generate, size):
    image, mask, *fov = generate(size, 0)
    assert image.shape == ({vessels: 3, roads: 3}.get(generate, 1), *size)
    assert image.dtype == np.uint8
    assert mask.shape == size
    if generate is cells:
        assert mask.dtype == np.uint16
    else:
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 255}
    assert len(fov) == (generate is vessels)


@pytest.mark.parametrize("generate", FLAT)
def test_grey_values_are_spread_and_not_clipped(generate):
    image = generate((128, 128), 1)[0]
    assert image.std() > 12
    assert np.mean(image == 255) < 0.06  # the bright disc, the brightest nuclei


@pytest.mark.parametrize("generate", FLAT)
def test_generators_are_fast(generate):
    generate((64, 64), 0)
    start = time.process_time()
    generate((256, 256), 0)
    assert time.process_time() - start < 1.5  # measured 0.02 to 0.06 s


# --- vessels ---------------------------------------------------------------------------------


def test_vessels_are_as_many_as_in_real_eyes():
    made = [vessels(seed=seed) for seed in range(8)]
    share = [np.mean(mask[fov > 0] > 0) for _, mask, fov in made]
    assert min(share) > 0.05
    assert max(share) < 0.17
    assert 0.07 < np.mean(share) < 0.13  # STARE and DRIVE: 0.11 to 0.13 inside the field of view


def test_vessels_lie_inside_a_round_field_of_view():
    image, mask, fov = vessels((256, 256), 0)
    inside = fov > 0
    assert not np.any(mask[~inside])
    assert betti_numbers(inside) == (1, 0)
    radius = np.sqrt(inside.sum() / np.pi)
    assert radius == pytest.approx(0.485 * 256, rel=0.01)
    assert image[:, ~inside].max() < 20
    assert np.median(image[0, inside]) > 90


def test_vessels_are_trees_that_taper():
    for seed in range(3):
        mask = vessels(seed=seed)[1] > 0
        pieces, _ = ndimage.label(mask, EVERYWHERE)
        assert np.bincount(pieces.ravel())[1:].max() > 0.9 * mask.sum()  # all from one disc
        width = 2 * ndimage.distance_transform_edt(mask)
        ridge = width[mask & (width == ndimage.maximum_filter(width, 3))]
        assert np.quantile(ridge, 0.2) <= 3
        assert ridge.max() >= 5


def test_no_threshold_finds_the_vessels():
    for seed in range(6):
        image, mask, fov = vessels(seed=seed)
        green, truth, inside = image[1].astype(float), mask > 0, fov > 0
        assert dice(green < threshold_otsu(green[inside]), truth, inside) < 0.5
        assert max(dice(green < t, truth, inside) for t in range(5, 200, 3)) < 0.55
        # What a network can learn is there: darker than the surroundings at the same place.
        weight = ndimage.gaussian_filter(inside * 1.0, 8) + 1e-6
        flat = green - ndimage.gaussian_filter(green * inside, 8) / weight
        assert roc_auc(-ndimage.gaussian_filter(flat, 0.7), truth, inside) > 0.8


def test_larger_images_hold_more_vessels_rather_than_wider_ones():
    def widest(size):
        mask = vessels(size, 0)[1] > 0
        return ndimage.distance_transform_edt(mask).max()

    assert widest((512, 512)) < 1.8 * widest((256, 256))


# --- cells -----------------------------------------------------------------------------------


def test_cells_are_whole_and_many_touch():
    for seed in range(3):
        _, instances = cells((256, 256), seed)
        ids = np.unique(instances)[1:]
        assert ids.tolist() == list(range(1, len(ids) + 1))
        assert len(ids) > 10
        for one in ids:
            assert ndimage.label(instances == one)[1] == 1
        together = ndimage.label(instances > 0, EVERYWHERE)[1]
        assert together < 0.9 * len(ids)


def test_cells_differ_in_brightness():
    image, instances = cells((256, 256), 0)
    means = ndimage.mean(image[0], instances, np.arange(1, instances.max() + 1))
    assert np.std(means) / np.mean(means) > 0.25
    assert image[0][instances > 0].mean() > 3 * image[0][instances == 0].mean()


# --- membranes, roads, volume ----------------------------------------------------------------


def test_membranes_enclose_cells_and_are_not_all_that_is_dark():
    image, mask = membranes((256, 256), 0)
    assert 0.6 < np.mean(mask > 0) < 0.85  # the real stack has 0.78
    assert betti_numbers(mask)[0] > 30
    assert image[0][mask == 0].mean() < image[0][mask > 0].mean() - 30
    smooth = ndimage.gaussian_filter(image[0].astype(float), 1)
    assert max(dice(smooth < t, mask == 0) for t in range(60, 200, 5)) < 0.85
    # Vesicles and mitochondria: dark spots well inside a cell.
    deep = ndimage.distance_transform_edt(mask) > 4
    assert np.mean(smooth[deep] < np.median(smooth[mask == 0])) > 0.002


def test_roads_cross_the_image_and_have_doubles():
    for seed in range(3):
        image, mask = roads((256, 256), seed)
        road = mask > 0
        assert 0.03 < road.mean() < 0.25
        rows, columns = np.nonzero(road)
        assert np.ptp(rows) > 230
        assert np.ptp(columns) > 230
        grey = image.mean(axis=0)
        assert max(dice(grey > t, road) for t in range(80, 220, 5)) < 0.6


def test_volume_has_both_parts_touching_in_one_piece():
    for seed in range(5):
        image, labels = volume((24, 64, 64), seed)
        assert image.shape == (1, 24, 64, 64)
        assert image.dtype == np.float32
        assert labels.shape == (24, 64, 64)
        assert labels.dtype == np.uint8
        assert set(np.unique(labels)) == {0, 1, 2}
        pieces, _ = ndimage.label(labels)
        assert np.bincount(pieces.ravel())[1:].max() > 0.97 * np.count_nonzero(labels)
        assert np.any((ndimage.grey_dilation(labels * (labels == 1), 3) == 1) & (labels == 2))
        assert image[0][labels > 0].mean() > image[0][labels == 0].mean() + 30
        smooth = ndimage.gaussian_filter(image[0], 1)
        assert max(dice(smooth > t, labels > 0) for t in range(100, 200, 4)) < 0.93


@pytest.mark.parametrize(
    ("generate", "size"), [(vessels, (16, 256)), (cells, (256, 31)), (volume, (7, 64, 64))]
)
def test_too_small_sizes_are_refused(generate, size):
    with pytest.raises(InputError, match=r"size: .* is too small; use 32 pixels or more"):
        generate(size)


# --- make ------------------------------------------------------------------------------------


def read(path: Path):
    if path.suffix == ".png":
        with Image.open(path) as file:
            return np.array(file)
    return np.asarray(nibabel.load(path).dataobj).T


@pytest.mark.parametrize("kind", KINDS)
def test_make_writes_what_the_generator_gives(tmp_path, kind):
    size = (10, 32, 40) if kind == "volume" else (48, 40)
    folder = make(kind, tmp_path / "set", count=5, size=size, seed=7)
    assert folder == tmp_path / "set"
    split = json.loads((folder / "split.json").read_text("utf-8"))
    stems = [f"{kind}_{i}" for i in range(5)]
    assert split == {"train": stems[:3], "val": stems[3:4], "test": stems[4:]}
    suffix = ".nii.gz" if kind == "volume" else ".png"
    places = ["images", "masks", "fov"] if kind == "vessels" else ["images", "masks"]
    for i, stem in enumerate(stems):
        for place, array in zip(places, KINDS[kind][0](size, (7, i)), strict=True):
            back = read(folder / place / (stem + suffix))
            assert back.dtype == array.dtype
            if place == "images":
                array = array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, -1)
            assert np.array_equal(back, array)
    extra = {"classes.json"} if kind == "volume" else set()
    expected = {*places, "split.json", "meta.json", *extra}
    assert {path.name for path in folder.iterdir()} == expected
    assert all(len(list((folder / place).iterdir())) == 5 for place in places)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_make_states_spacing_and_classes_of_volumes(tmp_path):
    folder = make("volume", tmp_path / "v", count=3, size=(8, 32, 36))
    file = nibabel.load(folder / "images" / "volume_0.nii.gz")
    assert file.shape == (36, 32, 8)
    assert file.header.get_zooms() == (1, 1, 2)
    names = json.loads((folder / "classes.json").read_text("utf-8"))
    assert names == {"0": "background", "1": "front", "2": "back"}


def test_make_names_sort_by_number_and_splits_add_up(tmp_path):
    folder = make("cells", tmp_path / "c", count=12, size=(32, 32))
    split = json.loads((folder / "split.json").read_text("utf-8"))
    assert [len(split[part]) for part in ("train", "val", "test")] == [8, 2, 2]
    stems = sorted(path.stem for path in (folder / "images").iterdir())
    assert stems == split["train"] + split["val"] + split["test"]
    assert stems[-1] == "cells_11"


def test_make_replaces_its_own_folder_and_no_other(tmp_path):
    folder = make("cells", tmp_path / "set", count=5, size=(32, 32))
    make("roads", folder, count=3, size=(32, 32))
    assert len(list((folder / "images").iterdir())) == 3
    make("roads", tmp_path / "empty", count=3, size=(32, 32))

    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="is not empty; choose another folder"):
        make("cells", folder, count=3, size=(32, 32))
    assert (folder / "notes.txt").exists()
    foreign = tmp_path / "foreign"
    (foreign / "images").mkdir(parents=True)
    with pytest.raises(InputError, match="is not empty"):
        make("cells", foreign, count=3, size=(32, 32))
    (foreign / "meta.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="is not empty"):
        make("cells", foreign, count=3, size=(32, 32))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        make("cells", tmp_path / "file", count=3, size=(32, 32))


def test_make_works_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert make("cells", ".", count=3, size=(32, 32)) == Path()
    assert (tmp_path / "here" / "split.json").exists()


def test_a_failed_make_leaves_everything_as_it_was(tmp_path, monkeypatch):
    folder = make("cells", tmp_path / "set", count=3, size=(32, 32))
    before = sorted(path.name for path in folder.rglob("*"))

    def fails(size, seed):
        if seed[1] == 2:
            raise KeyboardInterrupt
        return cells(size, seed)

    monkeypatch.setitem(synthetic.KINDS, "cells", (fails, (32, 32)))
    for target in (folder, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            make("cells", target, count=3, size=(32, 32))
    assert sorted(path.name for path in folder.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_make_says_what_is_wrong(tmp_path):
    with pytest.raises(InputError, match="kind: unknown kind vesels; did you mean vessels"):
        make("vesels", tmp_path / "x")
    with pytest.raises(InputError, match=r"size: \(9, 64, 64\) has 3 axes; vessels: like"):
        make("vessels", tmp_path / "x", size=(9, 64, 64))
    with pytest.raises(InputError, match="count: 2 images; use 3 or more"):
        make("vessels", tmp_path / "x", count=2)
    with pytest.raises(InputError, match="too small"):
        make("vessels", tmp_path / "x", size=(8, 8))
    assert not list(tmp_path.iterdir())
