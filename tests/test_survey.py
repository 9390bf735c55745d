"""One look at every file: the same whatever the cache, and nothing is looked at twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import unetkit.data.survey as room
from unetkit.data import fingerprint, read_dataset
from unetkit.data.case import Case, Drawing
from unetkit.data.fingerprints import looked_counts
from unetkit.data.survey import look, survey
from unetkit.image import Georeference, Image, write_image


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(array).save(path)
    return path


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    chance = np.random.default_rng(0)
    made = []
    for k in range(6):
        image = chance.integers(0, 256, (20 + k, 30, 3), np.uint8)
        mask = (chance.random(image.shape[:2]) < 0.3).astype(np.uint8) * 255
        view = np.zeros_like(mask)
        view[3:-3] = 255
        made.append(
            Case(
                f"c{k}",
                save(tmp_path / "images" / f"c{k}.png", image),
                save(tmp_path / "masks" / f"c{k}.png", mask),
                fov=save(tmp_path / "fov" / f"c{k}.png", view) if k % 2 else None,
            )
        )
    return made


def class_counts(sample, classes: int) -> np.ndarray:
    """Count by the decoded pixels: not ignored, inside the field of view."""
    return np.bincount(sample.labels[(sample.labels >= 0) & sample.fov], minlength=classes)


def same(one, other) -> None:
    assert (one.id, one.shape, one.dtype, one.spacing) == (
        other.id, other.shape, other.dtype, other.spacing,
    )  # fmt: skip
    assert [str(f) for f in one.faults] == [str(f) for f in other.faults]
    assert (one.counted is None) == (other.counted is None)
    if one.counted is not None:
        for name in ("values", "counts"):
            np.testing.assert_array_equal(getattr(one.counted, name), getattr(other.counted, name))
        assert one.counted.dtype == other.counted.dtype
        np.testing.assert_array_equal(one.inside, other.inside)
    assert (one.signs is None) == (other.signs is None)
    if one.signs is not None:
        assert json.dumps(one.signs.to_json()) == json.dumps(other.signs.to_json())


def test_a_look_says_what_the_files_hold(cases: list[Case]) -> None:
    looks = survey(cases, pixels=True)
    assert list(looks) == [case.id for case in cases]
    for k, case in enumerate(cases):
        found = looks[case.id]
        mask = np.asarray(Pillow.open(case.mask))
        inside = mask if case.fov is None else mask[3:-3]
        assert (found.shape, found.dtype, found.faults) == ((3, 20 + k, 30), "uint8", ())
        assert found.counted.values.tolist() == [0, 255]
        assert found.counted.counts.tolist() == [(mask == 0).sum(), (mask == 255).sum()]
        assert found.inside.tolist() == [(inside == 0).sum(), (inside == 255).sum()]
        assert found.signs is not None
    assert all(found.signs is None for found in survey(cases).values())


def test_the_cache_gives_the_same_and_spares_the_files(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    plain = look

    def counting(case: Case, **options: bool):
        seen.append(case.id)
        return plain(case, **options)

    monkeypatch.setattr(room, "look", counting)
    cases[2].image.write_bytes(cases[2].image.read_bytes()[:60])  # faults are remembered too
    cache = tmp_path / "cache.json"
    steps: list[tuple[int, int]] = []
    first = survey(cases, pixels=True, cache=cache)
    assert sorted(seen) == [case.id for case in cases]
    again = survey(cases, pixels=True, cache=cache, on_case=lambda *at: steps.append(at))
    assert len(seen) == 6
    assert steps == [(6, 6)]
    for name in first:
        same(first[name], again[name])
    assert "c2.png" in str(again["c2"].faults[0])
    # Less is asked for: also from the cache. A changed file is looked at again, only that.
    survey(cases, cache=cache)
    assert len(seen) == 6
    save(cases[4].mask, np.zeros((24, 30), np.uint8))
    os.utime(cases[4].mask, ns=(1, 1))
    assert survey(cases, pixels=True, cache=cache)["c4"].counted.values.tolist() == [0]
    assert seen[6:] == ["c4"]


def test_a_first_look_without_pixels_is_completed(cases: list[Case], tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
    survey(cases, cache=cache)
    full = survey(cases, pixels=True, cache=cache)
    assert all(found.signs for found in full.values())
    for name, found in survey(cases, pixels=True).items():
        same(found, full[name])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 0, "looks": {}}',
                                     '{"format": 1, "looks": {"x": {"shape": 3}}}'])  # fmt: skip
def test_a_damaged_cache_is_done_without(cases: list[Case], tmp_path: Path, content: str) -> None:
    cache = tmp_path / "cache.json"
    cache.write_text(content)
    assert len(survey(cases, cache=cache)) == 6
    assert json.loads(cache.read_text())["format"] == 1


def test_a_cache_that_cannot_be_written_stops_nobody(cases: list[Case], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert len(survey(cases, cache=tmp_path / "file" / "cache.json")) == 6


def test_faults_name_the_file(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", np.zeros((8, 9), np.uint8))
    wide = save(tmp_path / "b.png", np.zeros((8, 10), np.uint8))
    assert "the mask is 8 × 10 and its image 8 × 9" in str(look(Case("a", image, wide)).faults[0])
    assert "the band is 8 × 10 and a.png 8 × 9" in str(look(Case("a", image, bands=(wide,))).faults)
    found = look(Case("a", tmp_path / "none.png", image))
    assert "no such file" in str(found.faults[0])
    assert found.shape == ()
    drawing = Drawing("objects", (wide,))
    assert "b.png" in str(look(Case("a", image, tmp_path, drawing=drawing)).faults[0])


def test_what_was_not_measured_does_not_count(tmp_path: Path) -> None:
    pixels = np.full((2, 6, 8), 5, np.int16)
    pixels[:, :2] = -7
    pixels[0, 3, 3] = -7  # the other band is there
    place = Georeference((10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32632")
    for k in range(3):
        write_image(Image(pixels, frame=place, nodata=-7), tmp_path / "images" / f"x{k}.tif")
        save(tmp_path / "masks" / f"x{k}.png", np.tile(np.arange(8) % 2, (6, 1)).astype(np.uint8))
    dataset = read_dataset(tmp_path)
    sample = dataset.load(dataset.cases[0])
    assert (sample.labels[:2] == -1).all()
    assert (sample.labels[2:] >= 0).all()
    assert not sample.fov[:2].any()
    assert np.isnan(sample.image).sum() == 2 * 16 + 1
    for found in (dataset.looks, survey(dataset.cases, pixels=True)):
        assert found["x0"].inside.tolist() == [16, 16]


def test_the_fingerprint_of_looks_is_that_of_the_pixels(cases: list[Case], tmp_path: Path) -> None:
    del cases  # written to tmp_path
    dataset = read_dataset(tmp_path, cache=tmp_path / "kept")
    measured = fingerprint(dataset)
    samples = [dataset.load(case) for case in dataset.select("train")]
    counts = sum(class_counts(sample, 2) for sample in samples)
    assert measured.shares == pytest.approx(tuple(counts / counts.sum()), abs=0)
    for case in dataset.cases:
        looked = looked_counts(dataset.looks[case.id], dataset.task)
        np.testing.assert_array_equal(looked, class_counts(dataset.load(case), 2))
    assert (measured.smallest, measured.largest) == ((20, 30), (25, 30))
    assert list((tmp_path / "kept" / "surveys").iterdir())
    assert fingerprint(read_dataset(tmp_path, cache=tmp_path / "kept")) == measured


def test_greys_saved_as_rgb_are_counted_as_greys(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    for k in range(5):
        mask = (chance.random((20, 30)) < 0.3).astype(np.uint8) * 255
        save(tmp_path / "images" / f"c{k}.png", chance.integers(0, 256, (20, 30), np.uint8))
        save(tmp_path / "masks" / f"c{k}.png", np.stack([mask] * 3, -1) if k else mask)
    dataset = read_dataset(tmp_path)
    counts = sum(class_counts(dataset.load(case), 2) for case in dataset.select("train"))
    assert fingerprint(dataset).shares == pytest.approx(tuple(counts / counts.sum()), abs=0)
