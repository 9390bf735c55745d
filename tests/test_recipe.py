"""Every choice of a run: read, changed, completed from the data, written back."""

import re
from pathlib import Path

import pytest
import yaml

from unetkit.data import Fingerprint
from unetkit.errors import InputError
from unetkit.recipe import RECIPES, check_recipe, read_recipe, resolve, to_document, to_yaml

ROOT = Path(__file__).resolve().parents[1]

PLANE = Fingerprint(
    cases={"train": 10, "val": 2, "test": 3}, channels=3, ndim=2, kind="semantic",
    classes=("background", "vessel"), smallest=(500, 600), median=(600, 700), largest=(605, 700),
    spacing=(1.0, 1.0), shares=(0.9, 0.1), width=6.0, fov=False, observer=False,
)  # fmt: skip
SOLID = PLANE.model_copy(update={
    "channels": 1, "ndim": 3, "classes": ("background", "anterior", "posterior"),
    "smallest": (20, 90, 90), "median": (24, 96, 100), "largest": (30, 100, 110),
    "spacing": (5.0, 1.0, 1.0), "shares": (0.9, 0.05, 0.05),
})  # fmt: skip

# Issue 2, "Recipe keys": used by everyone from now on.
PROMISED = {
    "network": ["ndim", "channels", "classes", "depth", "width", "padding", "skips", "norm",
                "block", "attention", "dropout", "upsampling", "deep_supervision"],
    "train": ["epochs", "minutes", "batch", "patch"],
    "loss": ["cross_entropy", "dice"],
    "augment": ["flip", "rotate", "elastic"],
    "optimizer": ["name", "lr"],
    "schedule": ["name"],
    "predict": ["tile", "tta", "threshold"],
}  # fmt: skip


def value(document, key):
    for part in key.split("."):
        document = document[part]
    return document


@pytest.mark.parametrize("name", RECIPES)
def test_every_promised_key_exists(name):
    document = to_document(RECIPES[name]())
    assert "seed" in document
    for section, keys in PROMISED.items():
        assert set(keys) <= set(document[section])


@pytest.mark.parametrize("name", RECIPES)
def test_a_named_recipe_survives_yaml(name, tmp_path):
    recipe = RECIPES[name]()
    assert recipe.name == name
    (tmp_path / "mine.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    assert read_recipe(tmp_path / "mine.yaml") == recipe == read_recipe(name)
    assert check_recipe(yaml.safe_load(to_yaml(recipe)), "YAML 1.1") == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_named_recipe_fits_the_data_it_is_for(name):
    resolve(RECIPES[name](), SOLID if name == "volume" else PLANE)


@pytest.mark.parametrize("name", RECIPES)
def test_the_published_recipes_are_those_of_the_code(name):
    """`make recipes` writes them."""
    words = [f"# {line.strip()}".rstrip() for line in RECIPES[name].__doc__.strip().splitlines()]
    published = ROOT / "recipes" / f"{name}.yaml"
    assert published.is_file(), "run make recipes"
    text = published.read_text(encoding="utf-8")
    assert text == "\n".join(words) + "\n" + to_yaml(RECIPES[name]()), "run make recipes"
    assert read_recipe(published) == RECIPES[name]()


def test_no_recipe_is_published_that_the_code_does_not_have():
    assert {path.stem for path in (ROOT / "recipes").glob("*.yaml")} <= set(RECIPES)


# --------------------------------------------------------------------------------- what is given


@pytest.mark.parametrize(("change", "key", "expected"), [
    ("network.skips=0011", "network.skips", "0011"),
    ("network.skips=1001", "network.skips", "1001"),
    ("network.skips='1001'", "network.skips", "1001"),
    ("network.skips=0000", "network.skips", "0000"),
    ("network.skips=null", "network.skips", None),
    ("optimizer.lr=1e-4", "optimizer.lr", 1e-4),
    ("optimizer.lr=.5", "optimizer.lr", 0.5),
    ("optimizer.lr=2", "optimizer.lr", 2.0),
    ("optimizer.lr=1.5E-3", "optimizer.lr", 1.5e-3),
    ("train.minutes=null", "train.minutes", None),
    ("train.minutes=", "train.minutes", None),
    ("train.epochs=7", "train.epochs", 7),
    ("train.patch=[128, 96]", "train.patch", [128, 96]),
    ("network.dropout=[0, 0, 0, 0.5, 0.5]", "network.dropout", [0, 0, 0, 0.5, 0.5]),
    ("network.attention=true", "network.attention", True),
    ("network.norm=none", "network.norm", "none"),
    ("name=no", "name", "no"),
    (" seed = 3", "seed", 3),
    ("loss.cross_entropy.border.w0=5", "loss.cross_entropy.border", {"w0": 5, "sigma": 5}),
    ("loss.dice=0.5", "loss.dice.weight", 0.5),
    ("loss.skeleton_recall=1", "loss.skeleton_recall.radius", 2),
    ("loss.boundary.weight=0.1", "loss.boundary", {"weight": 0.1}),
])  # fmt: skip
def test_a_change_is_read_as_it_was_meant(change, key, expected):
    if change == "name=no":  # YAML 1.1 takes no for false, and so do we: quotes make it a word
        with pytest.raises(InputError, match="name: input should be a valid string"):
            read_recipe("default", [change])
        change = "name='no'"
    recipe = read_recipe("default", [change])
    assert value(to_document(recipe), key) == expected
    assert check_recipe(yaml.safe_load(to_yaml(recipe)), "again") == recipe


def test_a_nested_change_merges_and_a_whole_section_replaces():
    merged = read_recipe("default", ["loss.dice=0.5"]).loss
    assert [name for name, _ in merged.terms()] == ["cross_entropy", "dice"]
    replaced = read_recipe("default", ["loss={dice: 1}"]).loss
    assert [name for name, _ in replaced.terms()] == ["dice"]
    off = read_recipe("default", ["loss.dice=null", "loss.focal.gamma=1"]).loss
    assert [name for name, _ in off.terms()] == ["cross_entropy", "focal"]
    later = read_recipe("default", ["network.depth=2", "network.depth=3"])
    assert later.network.depth == 3
    assert later.network.width == read_recipe().network.width


def test_a_file_need_not_say_everything(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text("network: {skips: 0110, width: 8}\noptimizer: {lr: 1e-4}\n")
    recipe = read_recipe(path, ["network.width=4"])
    assert (recipe.network.skips, recipe.network.width) == ("0110", 4)
    assert recipe.optimizer.lr == 1e-4
    assert recipe.augment == read_recipe().augment


# ------------------------------------------------------------------------------------ one line


@pytest.mark.parametrize(("change", "line"), [
    ("network.dpeth=3", "--set: unknown key network.dpeth; did you mean depth?"),
    ("netwrok.depth=3", "--set: unknown key netwrok.depth; did you mean network.depth?"),
    ("sede=3", "--set: unknown key sede; did you mean seed?"),
    ("loss.dcie=1", "--set: unknown key loss.dcie; did you mean dice?"),
    ("loss.dice.smoth=1", "--set: unknown key loss.dice.smoth; did you mean smooth?"),
    ("loss.cross_entropy.border.w_0=1", "border.w_0; did you mean w0?"),
    ("train.epoch=3", "unknown key train.epoch; did you mean epochs?"),
    ("augment.frob=1", "unknown key augment.frob; known are flip, rotate, scale"),
    ("seed.x=1", "--set: unknown key seed.x"),
    ("network.depth=deep", "network.depth: input should be a valid integer, .*'deep'"),
    ("network.depth=9", r"network.depth: .* less than or equal to 6 \(given 9\)"),
    ("network.padding=full", r"network.padding: input should be 'valid' or 'same' \(given 'full'"),
    ("network.skips=011", "network: skips '011' must be 4 digits of 0 or 1"),
    ("network.skips=0121", "network: skips '0121' must be 4 digits of 0 or 1"),
    ("network.dropout=abc", "network.dropout: input should be a valid number"),
    ("network.dropout=[0.1]", "network: dropout must have 5 rates, the bottleneck last"),
    ("network.strides=[2, x, 2, 2]", r"network.strides.1: input should be a valid integer"),
    ("network=null", "network: should be keys with values, not None"),
    ("loss=null", "loss: should be keys with values, not None"),
    ("loss={dice: 0}", "loss: no loss is switched on; name at least one of cross_entropy"),
    ("train.patch=512x512", "train.patch: input should be a valid integer"),
    ("train.minutes=.inf", "train.minutes: input should be a finite number"),
    ("train.minutes=0", r"train.minutes: input should be greater than 0 \(given 0\)"),
    ("train.cache=0", r"train.cache: input should be greater than 0 \(given 0\)"),
    ("train.val_cases=0", r"train.val_cases: input should be greater than or equal to 1"),
    ("optimizer.lr=.nan", "optimizer.lr: "),
    ("optimizer.name=adm", "optimizer.name: input should be 'adamw', 'adam' or 'sgd'"),
    ("seed=-1", "seed: input should be greater than or equal to 0"),
    ("seed=1.5", "seed: input should be a valid integer"),
    ("seed=2020-13-45", "--set seed=2020-13-45: the value is not YAML"),
    ("seed=[1", r"--set seed=\[1: the value is not YAML"),
    ("seed=!!python/object:os.system {}", "the value is not YAML"),
    ("seed", "--set seed is not of the form key.path=value"),
    ("=3", "--set =3 is not of the form key.path=value"),
])  # fmt: skip
def test_a_wrong_change_is_one_line(change, line):
    with pytest.raises(InputError, match=line) as caught:
        read_recipe("default", [change])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "line"), [
    ("network: {dpeth: 3}", "unknown key network.dpeth; did you mean depth?"),
    ("loss: {dice: {smoth: 1}}", "unknown key loss.dice.smoth; did you mean smooth?"),
    ("networks: {depth: 3}", "unknown key networks; did you mean network?"),
    ("train: {batch: many}", "train.batch: input should be a valid integer"),
    ("network:\n  depth: 3\n width: 2", r"is not YAML \(line 3\); check its indentation"),
    ("a: [1", "is not YAML"),
    ("when: 2020-13-45", "is not YAML"),
    ("just words", "a recipe is a mapping of keys to values"),
    ("", "a recipe is a mapping of keys to values"),
    (b"\xff\xfe", "cannot be read"),
])  # fmt: skip
def test_a_wrong_file_is_one_line_that_names_it(tmp_path, text, line):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=rf"mine\.yaml: {line}") as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("source", "line"), [
    ("defualt", "unknown recipe defualt; did you mean default?"),
    ("frob", "unknown recipe frob; known are default, ronneberger2015"),
    ("no/such.yaml", r"no/such\.yaml: no such recipe file; check the path"),
    ("such.yml", "no such recipe file"),
    ("no/such", "no such recipe file"),
])  # fmt: skip
def test_a_recipe_that_is_not_there(source, line):
    with pytest.raises(InputError, match=line):
        read_recipe(source)


def test_recipes_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        read_recipe().seed = 3


# ------------------------------------------------------------------------- completed from the data


def resolved(data, *changes, recipe="default"):
    return resolve(read_recipe(recipe, changes), data)


def test_the_data_says_channels_classes_and_axes():
    recipe, reasons = resolved(PLANE)
    network = recipe.network
    assert (network.ndim, network.channels, network.classes) == (2, 3, 1)
    assert network.head == "sigmoid"
    two = resolved(PLANE, "network.head=softmax")[0].network
    assert (two.classes, two.head) == (2, "softmax")
    assert resolved(PLANE, "network.classes=2")[0].network.head == "softmax"
    three = resolved(SOLID)[0].network
    assert (three.ndim, three.channels, three.classes, three.head) == (3, 1, 3, "softmax")
    assert resolved(SOLID, "network.head=sigmoid")[0].network.classes == 2
    assert None not in (recipe.train.patch, recipe.train.steps)
    assert all(what and shown and why for what, shown, why in reasons)
    assert resolve(recipe, PLANE)[0] == recipe  # complete: nothing is left to decide


@pytest.mark.parametrize(("changes", "data", "patch"), [
    # the smallest multiple of 16 that covers 256, or the image where that is smaller
    ([], PLANE, (256, 256)),
    ([], PLANE.model_copy(update={"largest": (100, 1000)}), (112, 256)),
    ([], PLANE.model_copy(update={"largest": (5, 7)}), (16, 16)),
    (["network.depth=6"], PLANE, (256, 256)),
    # the smallest legal input whose output covers 256: 268 + 184, and 444 is 12 modulo 16
    (["network.padding=valid"], PLANE, (444, 444)),
    (["network.padding=valid"], PLANE.model_copy(update={"largest": (5, 7)}), (204, 204)),
    (["train.patch=96"], PLANE, (96, 96)),
    (["train.patch=[96, 128]"], PLANE, (96, 128)),
    (["network.depth=3"], SOLID, (30, 64, 64)),  # z is not pooled: its voxels are too coarse
])  # fmt: skip
def test_the_patch_is_legal_and_about_the_size_of_the_images(changes, data, patch):
    recipe, _ = resolved(data, *changes)
    assert recipe.train.patch == patch
    recipe.network.footprint.require(patch)


def test_steps_show_every_training_pixel_about_once():
    recipe, _ = resolved(PLANE, "train.batch=1", "train.patch=128")
    assert recipe.train.steps == -(-10 * 600 * 700 // 128**2)
    assert resolved(PLANE, "train.batch=64")[0].train.steps == 100
    assert resolved(PLANE, "train.steps=7")[0].train.steps == 7


MANY = PLANE.model_copy(update={"cases": {"train": 20_000, "val": 2_000}, "median": (512, 512)})


def shown(reasons):
    return {what: (value, why) for what, value, why in reasons}


def test_an_epoch_of_a_run_that_ends_by_the_clock_has_at_most_a_thousand_steps():
    """A large set is validated before all was seen; where epochs count, they are whole."""
    once = 20_000 * 512 * 512 // (4 * 256 * 256)
    recipe, reasons = resolved(MANY)
    assert recipe.train.steps == 1000
    assert shown(reasons)["steps per epoch"] == (
        "1000", f"every training pixel about once takes {once}; validated more often",
    )  # fmt: skip
    assert resolved(MANY, "train.epochs=3")[0].train.steps == once
    assert resolved(MANY, "train.epochs=3", "train.minutes=null")[0].train.steps == once
    assert resolved(MANY, "train.steps=5000")[0].train.steps == 5000


@pytest.mark.parametrize(("changes", "data", "judged", "row"), [
    ([], PLANE, 2, ("2 cases", "all of val, after each epoch")),
    ([], MANY, 200, ("200 of 2000 cases", "evenly spread over val")),
    (["train.val_cases=50"], MANY, 50, ("50 of 2000 cases", "evenly spread over val")),
    (["train.val_cases=5000"], MANY, 2000, ("2000 cases", "all of val, after each epoch")),
    ([], PLANE.model_copy(update={"cases": {"train": 9, "val": 1}}), 1,
     ("1 case", "all of val, after each epoch")),
])  # fmt: skip
def test_up_to_200_validation_cases_are_judged(changes, data, judged, row):
    recipe, reasons = resolved(data, *changes)
    assert recipe.train.val_cases == judged
    assert shown(reasons)["judged"] == row
    assert resolve(recipe, data)[0] == recipe


def test_without_a_split_nothing_is_said_of_validation():
    recipe, reasons = resolved(PLANE.model_copy(update={"cases": {}}))
    assert recipe.train.val_cases is None
    assert "judged" not in shown(reasons)


def test_it_is_said_how_many_cases_fit_into_memory():
    assert shown(resolved(PLANE)[1])["cache"] == ("4 GiB", "all 12 cases fit")
    size = 512 * 512 * (4 * 3 + 1) + 8 * 20_000  # float32 channels, labels, two lists of positions
    fit = int(7 / 8 * 2**30 / size)
    assert shown(resolved(MANY, "train.cache=1")[1])["cache"] == (
        "1 GiB", f"about {fit} of 20200 cases fit at a time",
    )  # fmt: skip
    border = resolved(MANY, "train.cache=1", "loss.cross_entropy.border={}")[1]
    fewer = int(7 / 8 * 2**30 / (size + 4 * 512 * 512))
    assert shown(border)["cache"][1] == f"about {fewer} of 20200 cases fit at a time"


def test_the_mean_of_a_large_set_is_that_of_a_thousand_cases():
    reasons = shown(resolved(MANY, "normalize=dataset")[1])
    assert reasons["normalisation"][1] == "mean and deviation of 1000 training cases, evenly spread"
    assert "normalisation" not in shown(resolved(PLANE, "normalize=dataset")[1])
    assert "normalisation" not in shown(resolved(MANY)[1])


@pytest.mark.parametrize(("changes", "line"), [
    (["train.minutes=null"], "train: both epochs and minutes are off; set one of them"),
    (["network.channels=1"], "network.channels is 1, but the data needs 3; remove"),
    (["network.ndim=3"], "network.ndim is 3, but the data needs 2"),
    (["network.classes=5"], "network.classes is 5, but the data needs 2"),
    (["train.patch=100"], "train.patch: input size 100 is not legal .* nearest legal: 96 and 112"),
    (["train.patch=0"], "train.patch: input size 0 is not legal .* nearest legal: 16"),
    (["train.patch=[64, 64, 64]"], "train.patch: has 3 axes, the data 2"),
    (["network.padding=valid", "train.patch=570"], "nearest legal: 556 and 572"),
    (["network.padding=valid", "predict.tile=570"],
     "predict.tile: tile 570 is not legal .* nearest legal: 556 and 572"),
    (["predict.tile=[64, 64, 64]"], "predict.tile: has 3 axes, the data 2"),
    (["network.strides=[0, 2, 2, 2]"], r"network.strides: \[0, 0\] is no pooling factor of 2D"),
    (["network.strides=[[2, 2, 2], 2, 2, 2]"], r"\[2, 2, 2\] is no pooling factor of 2D data"),
])  # fmt: skip
def test_a_contradiction_to_the_data_is_one_line(changes, line):
    with pytest.raises(InputError, match=line):
        resolved(PLANE, *changes)


def test_a_tile_that_covers_every_image_is_legal():
    assert resolved(PLANE, "predict.tile=1001")[0].predict.tile == 1001


@pytest.mark.parametrize(("changes", "shown"), [
    (["train.minutes=null", "train.epochs=3"], "3 epochs"),
    (["train.minutes=2.5"], "2.5 minutes"),
    (["train.minutes=2", "train.epochs=30"], "30 epochs or 2 minutes"),
])  # fmt: skip
def test_epochs_minutes_or_both_end_the_run(changes, shown):
    assert ("schedule", shown) in [row[:2] for row in resolved(PLANE, *changes)[1]]


def test_a_coarse_axis_is_not_pooled_before_the_others_are_as_coarse():
    strides = resolved(SOLID, "network.depth=4")[0].network.strides
    # spacing 5, 1, 1 → 5, 2, 2 → 5, 4, 4: only now is z less than twice as coarse
    assert strides == ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    cube = SOLID.model_copy(update={"spacing": (1.0, 1.0, 1.0), "median": (6, 64, 64)})
    assert resolved(cube, "network.depth=2")[0].network.strides == ((1, 2, 2), (1, 2, 2))
    mine = resolved(SOLID, "network.depth=2", "network.strides=[2, [1, 2, 2]]")[0].network
    assert mine.factors == [(2, 2, 2), (1, 2, 2)]


# --------------------------------------------------------------------- what the papers did is kept


def test_the_2015_recipe_says_what_the_paper_says():
    recipe, _ = resolve(RECIPES["ronneberger2015"](), PLANE.model_copy(update={"channels": 1}))
    network = recipe.network
    assert (network.width, network.depth, network.padding, network.norm) == (64, 4, "valid", "none")
    assert (network.classes, network.head, recipe.train.batch) == (2, "softmax", 1)
    assert network.footprint.shrink(recipe.train.patch) == (388, 388)
    assert recipe.optimizer.momentum == 0.99
    border = recipe.loss.cross_entropy.border
    assert (border.w0, border.sigma) == (10, 5)
    assert (recipe.augment.elastic, recipe.augment.elastic_grid) == (10, 3)


def test_seeds_000_and_001():
    dragic = RECIPES["dragic2025"]()
    assert dragic.loss.cross_entropy.weight == 5
    assert dragic.loss.cross_entropy.border.model_dump() == {"w0": 10, "sigma": 7}
    assert (dragic.optimizer.name, dragic.optimizer.lr) == ("adam", 1e-4)
    assert (dragic.schedule.name, dragic.train.epochs, dragic.train.batch) == ("plateau", 25, 2)
    tavares = RECIPES["tavares2025"]()
    assert [name for name, _ in tavares.loss.terms()] == ["cross_entropy", "dice"]
    assert resolve(tavares, PLANE)[0].network.head == "sigmoid"


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_gives_its_command(name):
    assert re.search(r"`unet train \S+", RECIPES[name].__doc__)
