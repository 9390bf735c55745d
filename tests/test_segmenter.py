"""One file holds the model: written and read back it gives the same bits, and nothing unpickles."""

import json
import pickle
import struct

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from conftest import member_of, segmenter_of
from unetkit.data import Normalization, Task
from unetkit.errors import InputError
from unetkit.image import Image, write_image
from unetkit.network import NetworkConfig, UNet
from unetkit.prediction import PredictConfig
from unetkit.segmenter import Card, Segmenter, label, load, read_card, save

TASK = Task(classes=("background", "cell"), kind="semantic", values=(0, 255), ignore=(),
            channels=1, ndim=2)  # fmt: skip


def model(seed=0, *, task=TASK, head="sigmoid", classes=1, card=None, **network):
    """Give a small network with random weights and statistics, and its card."""
    torch.manual_seed(seed)
    config = NetworkConfig(**{
        "ndim": 2, "channels": task.channels, "classes": classes, "head": head, "depth": 2,
        "width": 4, "padding": "same", **network,
    })  # fmt: skip
    net = UNet(config)
    for name, buffer in net.named_buffers():  # as after a training: no norm is at its start
        if name.endswith("running_mean"):
            buffer.uniform_(-0.3, 0.3)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    with torch.no_grad():
        net.head[0].weight.mul_(0.1 if config.block == "residual" else 1)  # or it saturates
    mean, std = (100.0,) * task.channels, (60.0,) * task.channels
    normalization = Normalization(method="dataset", mean=mean, std=std)
    return net, Card(network=config, normalization=normalization, task=task, **(card or {}))


def noise(*shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def segmenter(**options):
    return segmenter_of(*model(**options))


FORMS = [
    {}, {"padding": "valid", "norm": "none"}, {"head": "softmax", "classes": 2},
    {"attention": True, "block": "residual", "upsampling": "linear", "skips": "01"},
    {"deep_supervision": True, "norm": "instance"},
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_saved_and_loaded_gives_the_same_bits(tmp_path, form):
    net, card = model(**form)
    image = noise(1, 45, 37)
    before = segmenter_of(net, card)(image)
    assert np.ptp(before.probabilities[0]) > 0.1  # a network that says something
    save(tmp_path / "run" / "model.safetensors", net.state_dict(), card)
    for path in (tmp_path / "run", tmp_path / "run" / "model.safetensors"):
        after = load(path, device="cpu", engine="torch", precision="fp32")(image)
        assert np.array_equal(before.probabilities, after.probabilities)
        assert np.array_equal(before.labels, after.labels)
    assert after.probabilities.shape == (form.get("classes", 1), 45, 37)


def test_the_answer_is_the_network_s_own(tmp_path):
    """Without the segmenter: normalise by hand, one forward pass, the sigmoid."""
    net, card = model(norm="none")
    save(tmp_path / "m.safetensors", net.state_dict(), card)
    image = noise(1, 32, 48)
    with torch.no_grad():
        logits = net.eval()(torch.from_numpy((image[None].astype(np.float32) - 100) / 60))
    expected = 1 / (1 + np.exp(-logits[0].numpy().astype(np.float64)))
    answer = load(tmp_path / "m.safetensors", device="cpu", precision="fp32")(image)
    assert np.allclose(answer.probabilities, expected, atol=1e-6)
    assert np.array_equal(answer.labels, expected[0] >= 0.5)


def test_the_card_comes_back_as_it_was(tmp_path):
    net, card = model(card={
        "predict": PredictConfig(tile=(64, 96), tta="flips"), "threshold": 0.37,
        "threshold_from": "tuned on val (2 images)", "recipe": {"name": "σ", "loss": {"dice": 1}},
        "scores": {"val_dice": 0.81}, "environment": {"torch": torch.__version__, "cores": 2},
    })  # fmt: skip
    save(tmp_path / "m.safetensors", net.state_dict(), card)
    assert read_card(tmp_path / "m.safetensors") == card
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert set(file.keys()) == set(net.state_dict())
        assert json.loads(file.metadata()["unetkit"])["task"]["classes"] == ["background", "cell"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_every_number_type_and_grey_without_a_channel(tmp_path, dtype):
    segment = segmenter()
    image = noise(1, 21, 34, dtype=dtype)
    expected = segment(image.astype(np.float32)).probabilities
    write_image(Image(image.astype(np.float32)), tmp_path / "a.tif")
    for given in (image, image[0], Image(image), tmp_path / "a.tif", str(tmp_path / "a.tif")):
        assert np.array_equal(segment(given).probabilities, expected)
    assert image.dtype == dtype  # and the user's array is as it was
    assert np.array_equal(image, noise(1, 21, 34, dtype=dtype))


@pytest.mark.parametrize("method", ["image", "none"])
def test_the_normalisation_is_the_card_s(method):
    net, card = model()
    card = card.model_copy(update={"normalization": Normalization(method=method)})
    segment = segmenter_of(net, card)
    image = noise(1, 16, 16)
    brighter = segment(image.astype(np.float32) * 3 + 7).probabilities
    same = np.allclose(segment(image).probabilities, brighter, atol=1e-5)
    assert same is (method == "image")


@pytest.mark.parametrize(("kind", "values", "dtype", "expected"), [
    ("semantic", (0, 255), np.uint8, [0, 255, 255]),
    ("semantic", (0, 1), np.uint8, [0, 1, 1]),
    ("semantic", (3, 7), np.uint8, [3, 7, 7]),
    ("semantic", (0, 1000), np.uint16, [0, 1000, 1000]),
    ("instances", (0,), np.uint8, [0, 255, 255]),
])  # fmt: skip
def test_the_mask_holds_the_values_of_the_training_data(kind, values, dtype, expected):
    task = TASK.model_copy(update={"kind": kind, "values": values})
    answer = segmenter(task=task)(noise(1, 16, 16))
    answer = type(answer)(answer.probabilities, np.array([[0, 1, 1]], np.uint8), task)
    assert answer.mask.dtype == dtype
    assert answer.mask.tolist() == [expected]


def test_the_mask_of_several_classes():
    task = Task(classes=("sky", "road", "car"), kind="semantic", values=(1, 5, 9), ignore=(255,),
                channels=3, ndim=2)  # fmt: skip
    answer = segmenter(task=task, head="softmax", classes=3)(noise(3, 20, 24))
    assert np.allclose(answer.probabilities.sum(0), 1, atol=1e-6)
    assert np.array_equal(answer.labels, answer.probabilities.argmax(0))
    assert np.array_equal(answer.mask, np.array([1, 5, 9])[answer.labels])


@pytest.mark.parametrize(("probability", "threshold", "expected"), [
    ([[0.2, 0.5, 0.7]], 0.5, [0, 1, 1]),
    ([[0.2, 0.5, 0.7]], 0.6, [0, 0, 1]),
    ([[0.8, 0.5, 0.3], [0.2, 0.5, 0.7]], 0.6, [0, 0, 1]),
    ([[0.5, 0.1, 0.2], [0.3, 0.6, 0.4], [0.2, 0.3, 0.4]], 0.9, [0, 1, 1]),
])  # fmt: skip
def test_labels_by_hand(probability, threshold, expected):
    assert label(np.array(probability, np.float32), threshold).tolist() == expected


def test_whose_threshold_counts():
    """The call's, else the recipe's, else the one tuned on val."""
    image = noise(1, 24, 24)
    net, card = model()
    p = np.quantile(segmenter_of(net, card)(image).probabilities, [0.3, 0.5, 0.7])
    tuned = card.model_copy(update={"threshold": float(p[0]), "threshold_from": "tuned"})
    fixed = tuned.model_copy(update={"predict": PredictConfig(threshold=float(p[1]))})
    shares = []
    for one, given in ((tuned, None), (fixed, None), (fixed, float(p[2])), (fixed, 0.0)):
        segment = segmenter_of(net, one)
        shares.append(segment(image, threshold=given).labels.mean())
    assert shares == pytest.approx([0.7, 0.5, 0.3, 1.0], abs=0.01)
    said = [segmenter_of(net, c).protocol["threshold_from"] for c in (tuned, fixed)]
    assert said == ["tuned", "set in the recipe"]


@pytest.mark.parametrize("form", FORMS[:4])
def test_tiled_equals_whole(form):
    net, card = model(**form)
    segment = segmenter_of(net, card)
    least = segment.footprint.least_tile
    image = noise(1, least[0] + 21, least[1] + 8)
    whole, seen = segment(image).probabilities, []
    tiled = segment(image, tile=least[0], progress=lambda *counts: seen.append(counts))
    assert np.abs(tiled.probabilities - whole).max() <= 1e-5
    assert seen == [(k + 1, len(seen)) for k in range(len(seen))]
    assert len(seen) > 4
    recipe = segment.card.model_copy(update={"predict": PredictConfig(tile=least)})
    again = segmenter_of(net, recipe)(image)
    assert np.abs(again.probabilities - whole).max() <= 1e-5


def test_mirror_images_are_averaged():
    net, card = model()
    segment, image = segmenter_of(net, card), noise(1, 32, 32)
    flips = [(), (1,), (2,), (1, 2)]
    mean = np.mean([np.flip(segment(np.flip(image, f).copy()).probabilities, f) for f in flips], 0)
    assert np.allclose(segment(image, tta=True).probabilities, mean, atol=1e-6)
    card = card.model_copy(update={"predict": PredictConfig(tta="flips")})
    always = segmenter_of(net, card)
    assert np.allclose(always(image).probabilities, mean, atol=1e-6)
    assert np.array_equal(
        always(image, tta=False).probabilities, segment(image, tta=False).probabilities
    )


def test_a_volume(tmp_path):
    task = TASK.model_copy(update={"ndim": 3})
    segment = segmenter(task=task, ndim=3, strides=((1, 2, 2), (2, 2, 2)))
    volume = noise(1, 7, 22, 19)
    answer = segment(volume)
    assert answer.probabilities.shape == (1, 7, 22, 19)
    assert np.array_equal(segment(volume[0]).probabilities, answer.probabilities)
    write_image(Image(volume), tmp_path / "v.nii.gz")
    assert np.array_equal(segment(tmp_path / "v.nii.gz").probabilities, answer.probabilities)


@pytest.mark.parametrize(("shape", "line"), [
    ((3, 20, 20), "the image has 3 channels, the model was trained on 1; convert the image"),
    ((1, 5, 20, 20), "the image has 3 axes, the model was trained on 2D images"),
    ((20,), "the image has 0 axes, the model was trained on 2D images"),
])  # fmt: skip
def test_an_image_that_does_not_fit_the_model(tmp_path, shape, line):
    with pytest.raises(InputError, match=line):
        segmenter()(noise(*shape))
    if len(shape) == 3:
        write_image(Image(noise(*shape)), tmp_path / "rgb.png")
        with pytest.raises(InputError, match=rf"rgb\.png: {line}"):
            segmenter()(tmp_path / "rgb.png")


@pytest.mark.parametrize("tile", [0, -16, 570])
def test_an_illegal_tile_names_the_nearest(tile):
    segment = segmenter(padding="valid", norm="none", depth=4, width=1)
    legal = "556 and 572" if tile == 570 else "204"
    with pytest.raises(InputError, match=f"tile {tile} is not legal .* nearest legal: {legal}$"):
        segment(noise(1, 600, 600), tile=tile)
    with pytest.raises(InputError, match="tile: has 3 axes, the image 2"):
        segment(noise(1, 20, 20), tile=(204, 204, 204))


def test_the_engine_says_what_computes():
    net, card = model()
    assert segmenter_of(net, card).engine == "PyTorch fp32 on cpu"
    half = segmenter_of(net, card, precision="bf16")
    assert half.engine == "PyTorch bf16 on cpu"
    image = noise(1, 32, 32)
    one = half(image).probabilities
    assert one.dtype == np.float32
    assert 0 < np.abs(one - segmenter()(image).probabilities).max() < 0.05


# --------------------------------------------------------------------------------------- safety


class Bomb:
    def __reduce__(self):
        return (print, ("unpickled!",))


def test_nothing_is_unpickled(tmp_path, monkeypatch, capsys):
    net, card = model()
    save(tmp_path / "m.safetensors", net.state_dict(), card)
    (tmp_path / "bomb.safetensors").write_bytes(pickle.dumps({"state_dict": Bomb()}))
    torch.save(net.state_dict(), tmp_path / "torch.safetensors")

    def never(*_, **__):
        raise AssertionError("unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"),
                         (torch, "load"), (np, "load")):  # fmt: skip
        monkeypatch.setattr(module, name, never)
    load(tmp_path / "m.safetensors")(noise(1, 16, 16))
    for name in ("bomb", "torch"):
        with pytest.raises(InputError, match=rf"{name}\.safetensors: is not a readable model"):
            load(tmp_path / f"{name}.safetensors")
    assert "unpickled" not in capsys.readouterr().out


def header(path, change):
    """Rewrite the card in a model file."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    document = json.loads(raw[8 : 8 + length])
    document["__metadata__"] = change(document["__metadata__"])
    text = json.dumps(document).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def card_with(**changes):
    return lambda meta: {"unetkit": json.dumps(json.loads(meta["unetkit"]) | changes)}


@pytest.mark.parametrize(("change", "line"), [
    (lambda _: {"format": "pt"}, "has no unetkit header; train a model with unet train"),
    (card_with(format=2), "was written by a newer unetkit; upgrade unetkit"),
    (card_with(format=99, network="of another kind"), "was written by a newer unetkit"),
    (card_with(format="1"), "its header is damaged; copy the model again"),
    (lambda _: {"unetkit": "{not JSON"}, "its header is damaged; copy the model again"),
    (lambda _: {"unetkit": "[1, 2]"}, "its header is damaged"),
    (card_with(task=None), r"its header does not fit this unetkit \(task: .*; load it with"),
    (card_with(colour="red"), r"its header does not fit this unetkit \(colour: "),
    (card_with(network={"ndim": 2, "channels": 1, "classes": 1, "width": 8, "depth": 2}),
     "weights and header do not fit together"),
    (card_with(network={}), "weights and header do not fit together"),
])  # fmt: skip
def test_a_file_that_is_not_ours_is_one_line(tmp_path, change, line):
    net, card = model()
    path = tmp_path / "m.safetensors"
    save(path, net.state_dict(), card)
    load(path)
    header(path, change)
    with pytest.raises(InputError, match=rf"m\.safetensors: {line}") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_or_missing_file_is_one_line(tmp_path):
    net, card = model()
    path = tmp_path / "m.safetensors"
    save(path, net.state_dict(), card)
    whole = path.read_bytes()
    for kept in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match="is not a readable model"):
            load(path)
    with pytest.raises(InputError, match=r"nothing\.safetensors: no such model; give a run"):
        load(tmp_path / "nothing.safetensors")
    with pytest.raises(InputError, match=r"holds no model\.safetensors; train it first"):
        load(tmp_path)
    path.write_bytes(whole)
    with pytest.raises(InputError, match="unknown device tpu"):
        load(path, device="tpu")


def test_weights_without_their_card_are_refused(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="has no unetkit header"):
        load(tmp_path / "other.safetensors")


def test_a_full_disk_leaves_the_older_model(tmp_path, monkeypatch):
    net, card = model()
    path = tmp_path / "m.safetensors"
    save(path, net.state_dict(), card)

    def full(_, filename, **__):
        filename.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(InputError, match=r"m\.safetensors: the disk is full; free some space"):
        save(path, net.state_dict(), card)
    assert load(path).card == card
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_several_classes_have_no_threshold_in_their_protocol():
    for classes, expected in ((1, "threshold"), (2, "threshold"), (4, "decision")):
        config = NetworkConfig(ndim=2, channels=1, classes=classes, width=2, depth=1)
        names = tuple(f"class_{k}" for k in range(max(classes, 2)))
        task = Task(classes=names, kind="semantic", values=tuple(range(len(names))), ignore=(),
                    channels=1, ndim=2)  # fmt: skip
        card = Card(network=config, normalization=Normalization(), task=task)
        protocol = segmenter_of(UNet(config), card).protocol
        assert {"threshold", "decision"} & protocol.keys() == {expected}


# ---------------------------------------------------------- temperature, uncertainty, ensembles


def flat(logits, **changes):
    """Give a model that says the same of every pixel: the head's bias, whatever the image."""
    classes = len(logits)
    task = TASK
    if classes > 2:
        names = tuple(f"class_{k}" for k in range(classes))
        task = TASK.model_copy(update={"classes": names, "values": tuple(range(classes))})
    head = changes.pop("head", "sigmoid" if classes == 1 else "softmax")
    net, card = model(classes=classes, head=head, norm="none", task=task)
    with torch.no_grad():
        net.head[0].weight.zero_()
        net.head[0].bias.copy_(torch.tensor(logits))
    return member_of(net, card.model_copy(update=changes))


@pytest.mark.parametrize(("logits", "temperature", "expected"), [
    ([3.0], 1.0, [0.9525741268]),  # 1 / (1 + e^-3)
    ([3.0], 2.0, [0.8175744762]),  # 1 / (1 + e^-1.5)
    ([-200.0], 0.5, [0.0]),
    ([0.0, 2.0], 1.0, [0.1192029220, 0.8807970780]),
    ([0.0, 2.0], 4.0, [0.3775406688, 0.6224593312]),  # 1 / (1 + e^0.5)
    ([1.0, 0.0, 3.0], 2.0, [0.2312238975, 0.1402443887, 0.6285317138]),
])  # fmt: skip
def test_temperature_divides_the_logits(logits, temperature, expected):
    answer = Segmenter(flat(logits, temperature=temperature))(noise(1, 9, 14))
    for probability, wanted in zip(answer.probabilities, expected, strict=True):
        np.testing.assert_allclose(probability, wanted, atol=2e-7)
    assert Segmenter(flat(logits, temperature=temperature)).protocol["temperature"] == temperature


def test_the_temperature_is_kept_in_the_file(tmp_path):
    net, card = model(card={"temperature": 1.7})
    save(tmp_path / "m.safetensors", net.state_dict(), card)
    image = noise(1, 24, 24)
    hot = load(tmp_path / "m.safetensors", device="cpu", engine="torch", precision="fp32")(image)
    logit = np.log(hot.probabilities / (1 - hot.probabilities))
    cold = segmenter_of(net, card.model_copy(update={"temperature": 1.0}))(image).probabilities
    np.testing.assert_allclose(logit * 1.7, np.log(cold / (1 - cold)), atol=2e-4)
    header(tmp_path / "m.safetensors", card_with(temperature=0))
    with pytest.raises(
        InputError, match=r"does not fit this unetkit \(temperature: .*greater than"
    ):
        load(tmp_path / "m.safetensors")


def test_uncertainty_is_the_entropy():
    from scipy.stats import entropy

    for logits in ([1.3], [0.5, -0.4], [1.0, 0.0, 3.0]):
        answer = Segmenter(flat(logits))(noise(1, 8, 8))
        p = answer.probabilities[:, 0, 0].astype(np.float64)
        p = np.array([p[0], 1 - p[0]]) if len(p) == 1 else p
        assert answer.uncertainty.shape == (8, 8)
        np.testing.assert_allclose(answer.uncertainty, entropy(p, base=len(p)), atol=1e-6)
        assert answer.spread is None  # one network, one view: nobody disagrees


def test_an_ensemble_is_the_mean_of_its_members_and_spread_their_disagreement(tmp_path):
    image, paths = noise(1, 40, 33), []
    for seed in range(3):
        net, card = model(seed, norm="none", card={"threshold": (0.2, 0.3, 0.7)[seed]})
        card = card.model_copy(update={"temperature": 1.0 + seed})
        paths.append(tmp_path / f"{seed}.safetensors")
        save(paths[-1], net.state_dict(), card)
    options = {"device": "cpu", "engine": "torch", "precision": "fp32"}
    single = [load(path, **options)(image) for path in paths]
    ensemble = load(paths, **options)
    answer = ensemble(image)
    mean = np.mean([one.probabilities for one in single], 0)
    np.testing.assert_allclose(answer.probabilities, mean, atol=1e-6)
    assert ensemble.threshold == pytest.approx(0.4)
    assert np.array_equal(answer.labels, answer.probabilities[0] >= np.float32(0.4))
    expected = answer.uncertainty - np.mean([one.uncertainty for one in single], 0)
    assert answer.spread.shape == (1, 40, 33)
    np.testing.assert_allclose(answer.spread[0], np.clip(expected, 0, 1), atol=1e-6)
    assert answer.spread.max() > 1e-3
    assert ensemble.engine == "3 models, PyTorch fp32 on cpu"
    assert ensemble.protocol["members"] == 3
    assert load([paths[0]], **options)(image).spread is None
    views = load(paths, **options)(image, tta="flips")
    flips = [load(path, **options)(image, tta="flips").probabilities for path in paths]
    np.testing.assert_allclose(views.probabilities, np.mean(flips, 0), atol=1e-6)


def test_members_that_agree_on_being_unsure_do_not_disagree():
    sure = [flat([9.0]), flat([-9.0])]
    torn = Segmenter(*sure)(noise(1, 8, 8))
    np.testing.assert_allclose(torn.probabilities, 0.5, atol=1e-6)
    np.testing.assert_allclose(torn.uncertainty, 1, atol=1e-6)
    assert torn.spread.min() > 0.99
    unsure = Segmenter(flat([0.0]), flat([0.0]))(noise(1, 8, 8))
    np.testing.assert_allclose(unsure.uncertainty, 1, atol=1e-6)
    np.testing.assert_allclose(unsure.spread, 0, atol=1e-6)


@pytest.mark.parametrize(("one", "other", "what"), [
    ({}, {"task": TASK.model_copy(update={"classes": ("background", "nucleus")})}, "classes"),
    ({}, {"task": TASK.model_copy(update={"channels": 3})}, "channels"),
    ({}, {"classes": 2, "head": "softmax"}, "output channels"),
    ({}, {"ndim": 3}, "axes"),
    ({}, {"depth": 3}, "tiles"),
    ({}, {"padding": "valid", "norm": "none"}, "tiles"),
])  # fmt: skip
def test_models_that_cannot_be_averaged(tmp_path, one, other, what):
    for name, options in (("a", one), ("b", other)):
        net, card = model(**options)
        save(tmp_path / f"{name}.safetensors", net.state_dict(), card)
    with pytest.raises(InputError) as caught:
        load([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], device="cpu")
    assert str(caught.value) == (
        f"models of different {what} cannot be averaged; "
        "join models of one task and one depth, such as the folds of a study"
    )


def test_settle_measures_an_image_once_for_those_who_ask():
    """In parts as in one piece; a model of stored statistics does not look at the image."""
    image = np.random.default_rng(0).gamma(2.0, 40.0, (1, 37, 41)).astype(np.float32)
    image[0, 3:9, 5] = np.nan
    parts = [image[:, :10], image[:, 10:11], image[:, 11:]]
    net, card = model()
    by_image = card.model_copy(update={"normalization": Normalization(method="image")})
    never = iter(())

    def looked():
        raise AssertionError("looked at")
        yield

    assert segmenter_of(net, card).settle(looked()) == [card.normalization]
    both = Segmenter(member_of(net, card), member_of(net, by_image), member_of(net, by_image))
    first, second, third = both.settle(parts)
    assert first == card.normalization
    assert second == third
    assert second.mean[0] == pytest.approx(np.nanmean(image.astype(np.float64)), rel=1e-9)
    assert second.std[0] == pytest.approx(np.nanstd(image.astype(np.float64)), rel=1e-9)
    assert segmenter_of(net, by_image).settle(never) == [by_image.normalization]
    own = segmenter_of(net, by_image)(image).probabilities
    np.testing.assert_allclose(
        own, segmenter_of(net, card.model_copy(update={"normalization": second}))(image)
        .probabilities, atol=1e-6,
    )  # fmt: skip


def test_what_is_nowhere_measured_is_not_an_image_of_zeros():
    net, card = model()
    image = Image(np.where(noise(1, 20, 20) > 100, 7, noise(1, 20, 20)).astype(np.int16), nodata=7)
    seen = image.data.astype(np.float32)
    seen[image.data == 7] = np.nan
    segment = segmenter_of(net, card)
    assert np.array_equal(segment(image).probabilities, segment(seen).probabilities)
    assert not np.array_equal(segment(image).probabilities, segment(image.data).probabilities)


@pytest.mark.parametrize(("tta", "line"), [
    ("mirror", "--tta: unknown test-time augmentation mirror; take none, flips, rotations or pap"),
])  # fmt: skip
def test_an_unknown_augmentation(tta, line):
    with pytest.raises(InputError, match=line):
        segmenter()(noise(1, 20, 20), tta=tta)


def test_too_little_memory_names_the_image_and_what_is_enough():
    segment = segmenter()
    with pytest.raises(
        InputError, match=r"^a\.tif: prediction needs \d+\.\d GB, 0\.0 GB are allow"
    ):
        segment.plan((1, 9000, 9000), 1, memory=2**20, where="a.tif")
    with pytest.raises(InputError) as caught:
        segment.plan((1, 9000, 9000), 1, memory=2**20)
    enough = float(caught.value.cure.removeprefix("--max-memory "))
    assert segment.plan((1, 9000, 9000), 1, memory=int((enough + 0.1) * 1e9)).tile[0] < 9000
