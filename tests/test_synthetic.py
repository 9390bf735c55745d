import json
import re
import time
from itertools import combinations, pairwise
from pathlib import Path

import nibabel
import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu
from torch.nn.functional import cross_entropy

import unetkit.data.synthetic as synthetic
from unetkit.data.synthetic import (
    KINDS,
    cells,
    make,
    membranes,
    overflight,
    roads,
    satellite,
    vessels,
    volume,
)
from unetkit.data.synthetic.ground import CLASSES, ground
from unetkit.data.synthetic.lattice import cells_around, noise
from unetkit.errors import InputError
from unetkit.image import read_image, read_labels
from unetkit.metrics import betti_numbers, counts, roc_auc, scores
from unetkit.network import NetworkConfig, UNet

FLAT = [vessels, cells, membranes, roads]
PLANE = [*FLAT, satellite]
CHANNELS = {vessels: 3, cells: 1, membranes: 1, roads: 3, satellite: 6}
WATER, FOREST, FIELD, BUILT = range(4)
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


@pytest.mark.parametrize("generate", PLANE)
@pytest.mark.parametrize("size", [(32, 32), (33, 57), (130, 64), (32, 1501), (999, 35)])
def test_shapes_and_types_at_any_size(generate, size):
    image, mask, *fov = generate(size, 0)
    assert image.shape == (CHANNELS[generate], *size)
    assert image.dtype == (np.uint16 if generate is satellite else np.uint8)
    assert mask.shape == size
    if generate is cells:
        assert mask.dtype == np.uint16
    elif generate is satellite:
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {WATER, FOREST, FIELD, BUILT, 255}
    else:
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 255}
    assert len(fov) == (generate is vessels)


@pytest.mark.parametrize("size", [(8, 32, 32), (9, 33, 35), (8, 32, 300), (60, 32, 32)])
def test_volumes_of_any_size(size):
    image, labels = volume(size, 0)
    assert image.shape == (1, *size)
    assert np.bincount(labels.ravel(), minlength=3).min() > 10


@pytest.mark.parametrize("generate", FLAT)
def test_grey_values_are_spread_and_not_clipped(generate):
    image = generate((128, 128), 1)[0]
    assert image.std() > 12
    assert np.mean(image == 255) < 0.06  # the bright disc, the brightest nuclei


@pytest.mark.parametrize("generate", PLANE)
def test_generators_are_fast(generate):
    generate((64, 64), 0)
    start = time.process_time()
    generate((256, 256), 0)
    assert time.process_time() - start < 1.5  # measured 0.02 to 0.08 s


@pytest.mark.parametrize("generate", PLANE)
@pytest.mark.parametrize("size", [(768, 768), (32, 4096)])
def test_time_grows_no_faster_than_the_picture(generate, size):
    generate((64, 64), 0)
    start = time.process_time()
    generate(size, 0)
    assert time.process_time() - start < 5  # measured 0.2 to 0.9 s


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
    ("generate", "size"),
    [(vessels, (16, 256)), (cells, (256, 31)), (volume, (7, 64, 64)), (satellite, (31, 64))],
)
def test_too_small_sizes_are_refused(generate, size):
    with pytest.raises(InputError, match=r"size: .* is too small; use 32 pixels or more"):
        generate(size)


@pytest.mark.parametrize("generate", [vessels, cells, membranes, roads])
def test_sizes_beyond_memory_are_refused(generate):
    with pytest.raises(InputError, match=r"too large to be made at once; use 67 million pixels"):
        generate((30_000, 30_000))
    with pytest.raises(InputError, match=r"is too large; use 65536 pixels or fewer per axis"):
        generate((32, 70_000))


# --- what a threshold reaches ----------------------------------------------------------------


def features(image):
    """Give what may be thresholded: each channel, their mean, and each ratio of two bands."""
    bands = list(image.astype(np.float32))
    if len(bands) == 3:
        bands.append(image.mean(axis=0, dtype=np.float32))
    if len(bands) == 6:  # such as NDVI and NDWI
        bands += [(a - b) / np.maximum(a + b, 1) for a, b in combinations(bands, 2)]
    return bands


def otsu(image, truth, valid):
    """Give the best Dice of Otsu's threshold over all features, and both sides of it."""
    found = []
    for feature in features(image):
        above = feature[valid] > threshold_otsu(feature[valid])
        found += [dice(above, truth[valid]), dice(~above, truth[valid])]
    return max(found)


def country(size, seed=0, count=12):
    """Give the pictures of a satellite set."""
    for place in overflight.places(count, size, seed):
        yield satellite(size, (seed, place.number), corner=place.corner)


def otsu_by_kind(kind):
    if kind == "satellite":
        pairs = [(image, mask, mask != 255) for image, mask in country((256, 256))]
        of = [[otsu(i, m == c, v) for i, m, v in pairs if np.mean(m == c) > 0.02] for c in range(4)]
        return np.mean([np.mean(one) for one in of])
    found = []
    for seed in range(8):
        image, mask, *fov = KINDS[kind][0](seed=(0, seed))
        valid = fov[0] > 0 if fov else np.ones(mask.shape, bool)
        found.append(otsu(image, mask == 0 if kind == "membranes" else mask > 0, valid))
    return np.mean(found)


@pytest.mark.parametrize(
    ("kind", "bound"),
    [
        ("vessels", 0.35),
        ("cells", 0.85),
        ("membranes", 0.87),
        ("roads", 0.45),
        ("volume", 0.35),
        ("satellite", 0.65),
    ],
)
def test_otsu_is_not_enough(kind, bound):
    scored = otsu_by_kind(kind)
    assert scored < bound
    said = re.search(r"Otsu's\s+threshold\s+scores\s+Dice\s+(0\.\d\d)", KINDS[kind][0].__doc__)
    assert float(said[1]) == pytest.approx(scored, abs=0.02)


def test_no_band_and_no_ratio_tells_the_classes_apart():
    # Even one threshold for the whole set, chosen with its masks at hand.
    made = [(features(image), mask) for image, mask in country((192, 192))]
    kept = [(mask != 255).ravel() for _, mask in made]
    truth = np.concatenate([mask.ravel()[k][::5] for (_, mask), k in zip(made, kept, strict=True)])
    best = np.zeros(4)
    for number in range(21):
        values = np.concatenate(
            [bands[number].ravel()[k][::5] for (bands, _), k in zip(made, kept, strict=True)]
        )
        order = np.argsort(values)
        above = np.arange(len(values), 0, -1)
        for which in range(4):
            hits = (truth == which)[order]
            total = hits.sum()
            right = np.cumsum(hits[::-1])[::-1]
            over = 2 * right / (above + total)
            under = 2 * (total - right) / (len(values) - above + total)
            best[which] = max(best[which], over.max(), under.max())
    assert best.max() < 0.85
    assert best.mean() < 0.75
    assert best[BUILT] < 0.6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "steps", "margin"),
    [
        ("vessels", 100, 0.3),
        ("cells", 50, 0.1),
        ("membranes", 60, 0.04),
        ("roads", 100, 0.3),
        ("volume", 30, 0.3),
        ("satellite", 500, 0.05),
    ],
)
def test_a_small_network_soon_does_better(kind, steps, margin):
    found, truth = learnt(kind, steps)
    valid = truth >= 0
    classes = {"satellite": range(4), "membranes": (0,)}.get(kind, (1,))
    scored = np.mean([dice(found[valid] == c, truth[valid] == c) for c in classes])
    assert scored > otsu_by_kind(kind) + margin


def learnt(kind, steps):
    """Train a small network on eight images; give what it says of four others, and the truth."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    if kind == "satellite":
        made = [(i / 2500, np.where(m == 255, -1, m.astype(int))) for i, m in country((256, 256))]
    else:
        made = [KINDS[kind][0](seed=(0, seed)) for seed in range(12)]
        made = [(i / 90 - 1.5, np.where(f[0] if f else 1, m > 0, -1)) for i, m, *f in made]
    made = [(torch.from_numpy(i).float(), torch.from_numpy(m).long()) for i, m in made]
    space, channels = made[0][1].shape, len(made[0][0])
    classes = 4 if kind == "satellite" else 2
    network = UNet(
        NetworkConfig(ndim=len(space), channels=channels, classes=classes, depth=3, width=8)
    )
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(steps):
        images, masks = [], []
        for k in random.integers(0, 8, 8 if len(space) == 2 else 2):
            lows = [random.integers(0, axis - min(axis, 64) + 1) for axis in space]
            window = tuple(slice(low, low + 64) for low in lows)
            flip = [-1] * int(random.integers(2))
            gain = torch.tensor(random.normal(1, 0.06, (channels, *[1] * len(space))))
            images.append((made[k][0][:, *window] * gain.float()).flip(flip))
            masks.append(made[k][1][window].flip(flip))
        answer = network(torch.stack(images))
        loss = cross_entropy(answer, torch.stack(masks), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    with torch.inference_mode():
        found = [network(image[None])[0].argmax(0).numpy() for image, _ in made[8:]]
    return np.stack(found), np.stack([mask.numpy() for _, mask in made[8:]])


# --- satellite -------------------------------------------------------------------------------


def test_noise_is_the_same_whatever_window_asks():
    rows, columns = np.arange(-70, 230), np.arange(1000, 1200)
    for wave, octaves in ((50, 4), (1.7, 1)):
        whole = noise(5, rows, columns, wave, octaves)
        part = noise(5, rows[33:150], columns[7:8], wave, octaves)
        assert np.array_equal(whole[33:150, 7:8], part)
    far = np.arange(0, 6000, 11)
    wide = noise(6, far, far, 10.0)
    assert wide.mean() == pytest.approx(0, abs=0.02)
    assert wide.std() == pytest.approx(1, abs=0.02)
    shifted = noise(7, far, far, 10.0)
    assert abs(np.corrcoef(wide.ravel(), shifted.ravel())[0, 1]) < 0.02


def test_cells_are_those_of_the_nearest_point():
    y, x = np.meshgrid(np.arange(120.0), np.arange(-60, 90.0), indexing="ij")
    found = cells_around(3, y.astype(np.float32), x.astype(np.float32), 20)
    points = {
        name: (y - found.away[0])[found.owner == name][0]
        + 1j * (x - found.away[1])[found.owner == name][0]
        for name in np.unique(found.owner)
    }
    names = np.array(list(points))
    far = np.abs((y + 1j * x)[..., None] - np.array(list(points.values())))
    inner = np.s_[40:80, 40:110]  # where all neighbours are among the points
    nearest = np.sort(far, axis=-1)
    assert np.array_equal(names[far.argmin(axis=-1)][inner], found.owner[inner])
    # The distance to the border is at least half of what lies between the two nearest points.
    least = (nearest[..., 1] - nearest[..., 0]) / 2
    assert np.all(found.edge[inner] >= least[inner] - 1e-3)
    beside = found.edge[inner] < 0.5
    assert np.all(least[inner][beside] < 0.5 + 1e-3)


@pytest.mark.parametrize("corner", [(0, 0), (17, -300), (5000, 60_000)])
def test_any_window_has_the_pixels_of_the_whole(corner):
    size = (300, 560)
    image, mask = satellite(size, (4, 1), corner=corner)
    for rows, columns in [
        (slice(0, 300), slice(0, 33)),
        (slice(255, 257), slice(250, 530)),
        (slice(299, 300), slice(559, 560)),
        (slice(31, 280), slice(511, 560)),
    ]:
        part, labels = satellite(size, (4, 1), corner=corner, window=(rows, columns))
        assert np.array_equal(part, image[:, rows, columns])
        assert np.array_equal(labels, mask[rows, columns])


def test_pictures_that_touch_continue_each_other():
    _, whole = satellite((128, 192), (2, 0), corner=(0, 0))
    image, left = satellite((128, 96), (2, 1), corner=(0, 0))
    _, right = satellite((128, 96), (2, 2), corner=(0, 96))
    beside = np.hstack([left, right])
    seen = (whole != 255) & (beside != 255)
    assert seen.mean() > 0.3
    assert np.array_equal(beside[seen], whole[seen])
    again, same = satellite((128, 96), (2, 3), corner=(0, 0))  # another day
    both = (left != 255) & (same != 255)
    assert np.array_equal(left[both], same[both])
    change = np.abs(again[:, both] / image[:, both] - 1)
    assert np.median(change) > 0.03
    assert not np.array_equal(satellite((64, 64), (3, 0))[1], satellite((64, 64), (2, 0))[1])


def test_nothing_is_known_under_clouds_and_beyond_the_swath():
    cut = clouded = 0
    for image, mask in country((128, 128), seed=1, count=20):
        nothing = (image == 0).all(axis=0)
        assert np.array_equal(nothing, (image == 0).any(axis=0))
        assert np.all(mask[nothing] == 255)
        assert nothing.mean() < 0.2
        assert np.mean(mask == 255) < 0.5
        if nothing.any():
            cut += 1
            corners = nothing[[0, 0, -1, -1], [0, -1, 0, -1]]
            assert corners.sum() == 1
        hidden = (mask == 255) & ~nothing
        if hidden.mean() > 0.02:
            clouded += 1
            bright = image[0] > 3500
            assert np.mean(bright[hidden]) > 0.03  # clouds; the rest are their shadows
        assert np.mean(image[0][mask != 255] > 4500) < 0.02
    assert 3 <= cut <= 15
    assert 5 <= clouded <= 18


def test_a_set_shows_all_classes_and_its_spectra_are_those_of_the_earth():
    share = np.zeros(5)
    by_class = [[] for _ in CLASSES]
    for image, mask in country((256, 256)):
        share += np.bincount(np.minimum(mask, 4).ravel(), minlength=5) / mask.size / 12
        for which, pixels in enumerate(by_class):
            pixels.append(image[:, mask == which])
    assert share[:4].min() > 0.03
    assert share[4] < 0.25
    blue, green, red, nir, swir, _ = np.array(
        [np.median(np.concatenate(pixels, axis=1), axis=1) for pixels in by_class]
    ).T
    assert nir[WATER] < red[WATER] < blue[WATER]
    assert (nir / red)[FOREST] > 4
    assert (nir / red)[FIELD] > (nir / red)[BUILT] > (nir / red)[WATER]
    assert swir[WATER] < green[WATER]
    assert blue.argmax() == BUILT


def test_distractors_look_like_what_they_are_not():
    wetness, infrared = [[] for _ in CLASSES], [[] for _ in CLASSES]
    for image, mask in country((256, 256)):
        _, green, _, nir, *_ = image.astype(float)
        for which in range(4):
            here = mask == which
            wetness[which].append(((green - nir) / (green + nir + 1e-9))[here])
            infrared[which].append(nir[here])
    wetness = [np.concatenate(values) for values in wetness]
    infrared = [np.concatenate(values) for values in infrared]
    # Fields under water against water under algae, by NDWI; crops against forest in the NIR.
    flooded = np.sum(wetness[FIELD] > np.median(wetness[WATER]))
    assert flooded > 0.1 * len(wetness[WATER])
    low, high = np.quantile(infrared[FOREST], [0.25, 0.75])
    assert np.mean((infrared[FIELD] > low) & (infrared[FIELD] < high)) > 0.2


@pytest.mark.parametrize("count", [3, 4, 5, 7, 12, 13, 50, 101])
def test_columns_of_a_country_are_not_divided(count):
    found = overflight.places(count, (600, 500), 0)
    assert [place.number for place in found] == list(range(count))
    assert len({place.corner for place in found}) == count
    parts = {}
    for place in found:
        parts.setdefault(place.column, set()).add((place.part, place.corner[1]))
    assert all(len(one) == 1 for one in parts.values())  # one part, one easting
    eastings = [place.corner[1] for place in found]
    assert eastings == sorted(eastings)
    sizes = [sum(place.part == part for place in found) for part in ("train", "val", "test")]
    assert min(sizes) >= 1
    assert sizes[0] >= count / 3
    for first, second in pairwise(found):
        if first.column == second.column:  # the one below
            assert second.corner == (first.corner[0] + 600, first.corner[1])


@pytest.mark.parametrize("side", [32, 64])
def test_small_pictures_show_every_class_in_each_part(side):
    seen = {}
    for place in overflight.places(12, (side, side), 1):
        y, x = (np.arange(side) + first for first in place.corner)
        seen.setdefault(place.part, []).append(ground(1, y, x, 0.5).labels)
    assert list(seen) == ["train", "val", "test"]
    for labels in seen.values():
        assert set(np.unique(labels)) == {WATER, FOREST, FIELD, BUILT}


def test_a_satellite_set_lies_on_the_map(tmp_path):
    folder = make("satellite", tmp_path / "s", count=6, size=(48, 64), seed=3)
    expected = {"images", "masks", "split.json", "meta.json", "classes.json", "groups.json"}
    assert {path.name for path in folder.iterdir()} == expected
    split, groups, names, meta = (
        json.loads((folder / f"{name}.json").read_text("utf-8"))
        for name in ("split", "groups", "classes", "meta")
    )
    stems = [f"satellite_{i}" for i in range(6)]
    assert [*split["train"], *split["val"], *split["test"]] == stems == list(groups)
    for column in set(groups.values()):
        inside = {stem for stem in stems if groups[stem] == column}
        assert any(inside <= set(part) for part in split.values())
    assert names == {
        "0": "water",
        "1": "forest",
        "2": "field",
        "3": "built",
        "255": "cloud, shadow or no data (ignore)",
    }
    assert meta["bands"] == ["blue", "green", "red", "nir", "swir1", "swir2"]
    places = overflight.places(6, (48, 64), 3)
    bounds = []
    for place, stem in zip(places, stems, strict=True):
        image, mask = satellite((48, 64), (3, place.number), corner=place.corner)
        for where, array, nodata in (("images", image, 0), ("masks", mask[None], 255)):
            with rasterio.open(folder / where / f"{stem}.tif") as file:
                assert np.array_equal(file.read(), array)
                assert file.crs.to_epsg() == 32632
                assert file.res == (10, 10)
                assert file.nodata == nodata
                bounds.append(file.bounds)
        ours = read_image(folder / "images" / f"{stem}.tif")
        assert np.array_equal(np.isnan(ours.intensities()), image == 0)
        labels = read_labels(folder / "masks" / f"{stem}.tif")
        assert np.array_equal(labels, np.where(mask == 255, -1, mask.astype(int)))
    assert bounds[0] == bounds[1]  # of the image and of its mask
    north, south = bounds[0], bounds[2]
    assert (north.left, north.right, north.bottom) == (south.left, south.right, south.top)
    assert north.left == 440_000 + 10 * places[0].corner[1]


def test_large_pictures_are_made_in_strips(tmp_path, monkeypatch):
    make("satellite", tmp_path / "whole", count=3, size=(520, 40))
    monkeypatch.setattr(overflight, "_HELD", 5000)
    monkeypatch.setattr(overflight, "_STRIP", 1)
    steps = []
    make(
        "satellite",
        tmp_path / "strips",
        count=3,
        size=(520, 40),
        progress=lambda *at: steps.append(at),
    )
    assert steps == [(i, 9) for i in range(1, 10)]
    assert contents(tmp_path / "strips") == contents(tmp_path / "whole")


# --- make ------------------------------------------------------------------------------------


def read(path: Path):
    if path.suffix == ".png":
        with Image.open(path) as file:
            return np.array(file)
    return np.asarray(nibabel.load(path).dataobj).T


def contents(folder: Path):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_makes_the_same_files(tmp_path, kind):
    size = (9, 32, 33) if kind == "volume" else (64, 56)
    for name, seed in (("first", 5), ("again", 5), ("other", 6)):
        steps = []
        make(
            kind,
            tmp_path / name,
            count=4,
            size=size,
            seed=seed,
            progress=lambda *at: steps.append(at),  # noqa: B023
        )
        assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    first, again, other = (contents(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first if name.startswith("images"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "satellite"])
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

    def stop(done, _):
        if done == 2:
            raise KeyboardInterrupt

    monkeypatch.setitem(synthetic.KINDS, "cells", (fails, (32, 32)))
    for target in (folder, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            make("cells", target, count=3, size=(32, 32))
        with pytest.raises(KeyboardInterrupt):
            make("satellite", target, count=3, size=(32, 32), progress=stop)
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
    with pytest.raises(InputError, match="seed: -1 is negative; use 0 or more"):
        make("vessels", tmp_path / "x", seed=-1)
    with pytest.raises(InputError, match="too large to be made at once"):
        make("vessels", tmp_path / "x", size=(20_000, 20_000))
    with pytest.raises(InputError, match="is too large; use 65536 pixels or fewer per axis"):
        make("satellite", tmp_path / "x", size=(64, 100_000))
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    for kind in ("cells", "satellite"):
        with pytest.raises(InputError, match="file"):
            make(kind, tmp_path / "file" / "x", count=3, size=(32, 32))


def test_make_explains_a_disk_that_refuses(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(overflight, "_HELD", 1000)
    monkeypatch.setattr(overflight, "_gather", full)
    with pytest.raises(InputError, match=r"x: cannot be made \(No space left on device\); free"):
        make("satellite", tmp_path / "x", count=3, size=(40, 40))
    assert not list(tmp_path.iterdir())
