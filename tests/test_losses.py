import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from unetkit import losses
from unetkit.errors import InputError
from unetkit.losses import LossConfig, prepare, total

TERMS = list(LossConfig.model_fields)
HEADS = [("sigmoid", 1), ("sigmoid", 3), ("softmax", 2), ("softmax", 4)]
SPACES = [(18, 21), (8, 10, 12)]


@pytest.fixture(scope="module")
def monai():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.losses import DiceLoss, FocalLoss, SoftclDiceLoss, TverskyLoss
    return SimpleNamespace(
        DiceLoss=DiceLoss,
        FocalLoss=FocalLoss,
        SoftclDiceLoss=SoftclDiceLoss,
        TverskyLoss=TverskyLoss,
    )


def random_case(head, k, space, seed=0, b=2, ignored=0.0):
    """Logits and labels of blobs, so that erosions leave something."""
    make = torch.Generator().manual_seed(seed)
    pool = F.avg_pool2d if len(space) == 2 else F.avg_pool3d
    smooth = lambda c: pool(torch.randn(b, c, *space, generator=make), 3, 1, 1) * 3  # noqa: E731
    logits, truth = smooth(k), smooth(k)
    if head == "softmax":
        labels = truth.argmax(1)
        drop = torch.rand(b, *space, generator=make) < ignored
    else:
        labels = (truth > 0.2).long()
        drop = torch.rand(b, k, *space, generator=make) < ignored
        if k == 1:
            labels, drop = labels[:, 0], drop[:, 0]
    return logits, labels.masked_fill(drop, -1)


def everything(logits, labels, head, **more):
    """Prepared with all that any term may ask for."""
    make = torch.Generator().manual_seed(9)
    b, k, *space = logits.shape
    extra = {
        "weights": torch.rand(b, *space, generator=make) * 4,
        "skeleton": labels * (torch.rand(labels.shape, generator=make) < 0.4),
        "distance": torch.randn(b, k, *space, generator=make),
    }
    return prepare(logits, labels, head=head, **(extra | more))


def one(term, prepared, **options):
    return getattr(losses, term)(prepared, **options)


def with_channels(labels, head, k):
    """The dense target of MONAI, (b, k, *space)."""
    if head == "softmax":
        return F.one_hot(labels, k).movedim(-1, 1).float()
    return (labels[:, None] if k == 1 else labels).float()


# --- against independent implementations


@pytest.mark.parametrize(("head", "k"), HEADS)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("batch", [True, False])
def test_overlap_losses_equal_monai(monai, head, k, space, batch):
    logits, labels = random_case(head, k, space)
    prepared, truth = prepare(logits, labels, head=head), with_channels(labels, head, k)
    shared = {
        "softmax": head == "softmax",
        "sigmoid": head == "sigmoid",
        "include_background": head == "sigmoid",
        "batch": batch,
    }
    known = monai.DiceLoss(**shared, smooth_nr=0.5, smooth_dr=0.5)(logits, truth)
    torch.testing.assert_close(losses.dice(prepared, batch=batch, smooth=0.5), known)
    known = monai.TverskyLoss(**shared, alpha=0.2, beta=0.9, smooth_nr=2, smooth_dr=2)
    found = losses.tversky(prepared, alpha=0.2, beta=0.9, batch=batch, smooth=2)
    torch.testing.assert_close(found, known(logits, truth))


@pytest.mark.parametrize(("head", "k"), HEADS)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("gamma", [0.5, 1, 2, 3.5])
def test_focal_equals_monai(monai, head, k, space, gamma):
    logits, labels = random_case(head, k, space)
    truth = with_channels(labels, head, k)
    known = monai.FocalLoss(gamma=gamma, use_softmax=head == "softmax")(logits, truth)
    if head == "softmax":
        known = known * k  # MONAI divides by the channels too, of which one has a loss
    torch.testing.assert_close(losses.focal(prepare(logits, labels, head=head), gamma=gamma), known)


@pytest.mark.parametrize(("head", "k"), HEADS)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("iterations", [0, 1, 3, 5])
def test_cl_dice_equals_monai(monai, head, k, space, iterations):
    logits, labels = random_case(head, k, space, b=1)
    loss = monai.SoftclDiceLoss(iter_=iterations, smooth=1e-7)
    p, truth = prepare(logits, labels, head=head).p, with_channels(labels, head, k)
    truth = truth[:, -p.shape[1] :]
    # MONAI sums over all channels of one image; here the mean of channels, each on its own.
    known = torch.stack([loss(p[:, c, None], truth[:, c, None]) for c in range(p.shape[1])]).mean()
    found = losses.cl_dice(prepare(logits, labels, head=head), iterations=iterations)
    torch.testing.assert_close(found, known)
    assert 0.05 < found < 0.95


def test_cl_dice_sums_over_the_batch():
    logits, labels = random_case("sigmoid", 1, (18, 21), b=2)
    labels[1] = 0
    thin_p, thin_t = (
        losses.terms._soft_skeleton(x, 3) for x in (logits.sigmoid(), labels[:, None].float())
    )
    precision = ((thin_p * labels[:, None]).sum() + 1) / (thin_p.sum() + 1)
    sensitivity = ((thin_t * logits.sigmoid()).sum() + 1) / (thin_t.sum() + 1)
    known = 1 - 2 / (1 / precision + 1 / sensitivity)
    torch.testing.assert_close(losses.cl_dice(prepare(logits, labels, head="sigmoid")), known)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("smoothing", [0, 0.1, 0.6])
@pytest.mark.parametrize("class_weights", [None, (0.5, 3, 1, 2)])
def test_softmax_cross_entropy_equals_torch(space, smoothing, class_weights):
    logits, labels = random_case("softmax", 4, space, ignored=0.2)
    weight = None if class_weights is None else torch.tensor(class_weights)
    known = F.cross_entropy(
        logits, labels, weight, ignore_index=-1, reduction="sum", label_smoothing=smoothing
    )
    found = losses.cross_entropy(
        prepare(logits, labels, head="softmax"),
        class_weights=class_weights,
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(found, known / (labels >= 0).sum())


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_sigmoid_cross_entropy_equals_torch(space, k, smoothing):
    logits, labels = random_case("sigmoid", k, space, ignored=0.2)
    prepared, labels = prepare(logits, labels, head="sigmoid"), labels.view_as(logits)
    target, valid = labels.clamp(min=0) * (1 - smoothing) + smoothing / 2, labels >= 0
    plain = F.binary_cross_entropy_with_logits(logits[valid], target[valid])
    found = losses.cross_entropy(prepared, label_smoothing=smoothing)
    torch.testing.assert_close(found, plain)
    weight = torch.tensor([2.0, 5.0, 0.5][:k])
    known = F.binary_cross_entropy_with_logits(
        logits, target, reduction="none", pos_weight=weight.view(-1, *[1] * len(space))
    )
    found = losses.cross_entropy(prepared, class_weights=weight.tolist(), label_smoothing=smoothing)
    torch.testing.assert_close(found, known[valid].mean())
    doubled = losses.cross_entropy(  # all classes three times as dear, background included
        prepared, class_weights=[3, *(3 * weight).tolist()], label_smoothing=smoothing
    )
    torch.testing.assert_close(doubled, 3 * found)


@pytest.mark.parametrize(("head", "k"), HEADS)
@pytest.mark.parametrize("smooth", [1e-5, 1.0])
def test_skeleton_recall_by_its_formula(head, k, smooth):
    logits, labels = random_case(head, k, (18, 21), ignored=0.1)
    tube = labels * (torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < 0.3)
    p = (logits.softmax(1) if head == "softmax" else logits.sigmoid()).double().numpy()
    recalls = []
    for channel in range(1 if head == "softmax" else 0, k):
        if head == "softmax":
            y = (tube == channel).numpy()
        else:
            y = (tube == 1).reshape(logits.shape)[:, channel].numpy()
        recalls.append((p[:, channel][y].sum() + smooth) / max(y.sum() + smooth, 1e-8))
    found = losses.skeleton_recall(prepare(logits, labels, head=head, skeleton=tube), smooth=smooth)
    assert found.item() == pytest.approx(1 - np.mean(recalls), abs=1e-6)


def test_an_absent_class_has_skeleton_recall_one():
    logits, _ = random_case("softmax", 3, (9, 9))
    labels = torch.zeros(2, 9, 9, dtype=torch.long)
    labels[:, 4, :] = 1  # class 2 never occurs
    found = losses.skeleton_recall(prepare(logits, labels, head="softmax", skeleton=labels))
    recall = logits.softmax(1)[:, 1, 4].mean().item()
    assert found.item() == pytest.approx(1 - (recall + 1) / 2, abs=1e-5)


# --- worked by hand


def two_pixels(p, labels, **more):
    """One image of 1 × n pixels and one sigmoid channel with the given probabilities."""
    logits = torch.logit(torch.tensor(p, dtype=torch.float64)).view(1, 1, 1, -1)
    shaped = {name: torch.tensor(x).view(1, 1, -1) for name, x in more.items()}
    return prepare(logits, torch.tensor(labels).view(1, 1, -1), head="sigmoid", **shaped)


def test_dice_by_hand():
    prepared = two_pixels([0.9, 0.4, 0.2, 0.5], [1, 1, 0, -1])
    # Σ p·t = 1.3, Σ p = 1.5 without the ignored pixel, Σ t = 2
    assert losses.dice(prepared).item() == pytest.approx(1 - (2.6 + 1) / (3.5 + 1))
    assert losses.dice(prepared, smooth=0).item() == pytest.approx(1 - 2.6 / 3.5)


def test_tversky_by_hand():
    prepared = two_pixels([0.9, 0.4, 0.2], [1, 1, 0])
    index = (1.3 + 1) / (1.3 + 0.3 * 0.2 + 0.7 * 0.7 + 1)  # fp 0.2, fn 0.7
    assert losses.tversky(prepared).item() == pytest.approx(1 - index)
    assert losses.focal_tversky(prepared).item() == pytest.approx((1 - index) ** 0.75)


def test_batch_sums_and_image_means_differ_by_hand():
    logits = torch.logit(torch.tensor([[0.5, 0.5], [0.25, 0.25]])).view(2, 1, 1, 2)
    prepared = prepare(logits, torch.tensor([[[1, 1]], [[0, 0]]]), head="sigmoid")
    assert losses.dice(prepared).item() == pytest.approx(1 - 3 / 4.5)
    assert losses.dice(prepared, batch=False).item() == pytest.approx(1 - (3 / 4 + 1 / 1.5) / 2)


def test_weighted_cross_entropy_by_hand():
    prepared = two_pixels([0.9, 0.4, 0.2, 0.7], [1, 1, 0, -1], weights=[2.0, 3.0, 0.5, 100.0])
    known = (-2 * math.log(0.9) - 3 * math.log(0.4) - 0.5 * math.log(0.8)) / 3
    assert losses.cross_entropy(prepared).item() == pytest.approx(known)
    known = (-2 * 0.01 * math.log(0.9) - 3 * 0.36 * math.log(0.4) - 0.5 * 0.04 * math.log(0.8)) / 3
    assert losses.focal(prepared).item() == pytest.approx(known)


def test_boundary_by_hand():
    prepared = two_pixels([0.9, 0.4, 0.2, 0.7], [1, 1, 0, -1], distance=[-2.0, -1.0, 1.0, 9.0])
    assert losses.boundary(prepared).item() == pytest.approx((-1.8 - 0.4 + 0.2) / 3)


def test_boundary_takes_one_map_per_channel_and_drops_the_background():
    logits, labels = random_case("softmax", 3, (6, 7))
    maps = torch.randn(2, 3, 6, 7)
    known = (logits.softmax(1) * maps)[:, 1:].mean()
    for some in (maps, maps[:, 1:]):
        found = losses.boundary(prepare(logits, labels, head="softmax", distance=some))
        torch.testing.assert_close(found, known)


# --- relations that must hold


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("space", SPACES)
def test_two_softmax_channels_equal_one_sigmoid(term, space):
    logits, labels = random_case("sigmoid", 1, space, ignored=0.2)
    distance = torch.randn(2, 1, *space)
    pair = torch.cat([torch.zeros_like(logits), logits], 1)
    a = everything(logits, labels, "sigmoid", distance=distance)
    b = everything(pair, labels, "softmax", distance=distance)
    torch.testing.assert_close(one(term, a), one(term, b))
    if term == "cross_entropy":
        options = {"class_weights": [0.5, 4.0], "label_smoothing": 0.1}
        torch.testing.assert_close(one(term, a, **options), one(term, b, **options))


@pytest.mark.parametrize(("head", "k"), HEADS)
def test_losses_contain_each_other(head, k):
    prepared = everything(*random_case(head, k, (18, 21), ignored=0.1), head)
    close = torch.testing.assert_close
    close(losses.tversky(prepared, alpha=0.5, beta=0.5, smooth=1), losses.dice(prepared, smooth=2))
    close(losses.focal_tversky(prepared, gamma=1), losses.tversky(prepared))
    close(losses.focal(prepared, gamma=0), losses.cross_entropy(prepared))
    close(losses.cross_entropy(prepared, class_weights=[1] * (k + (head == "sigmoid"))),
          losses.cross_entropy(prepared))  # fmt: skip


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize(("head", "k"), HEADS)
def test_ignored_pixels_have_no_say(term, head, k):
    logits, labels = random_case(head, k, (18, 21), ignored=0.3)
    drop = (labels < 0).view(2, -1, 18, 21).expand_as(logits)
    other = logits.masked_fill(drop, 7.0).requires_grad_()
    distance = torch.randn(2, k, 18, 21)
    tube = labels.clamp(min=0)  # a tube that knows nothing of ignored pixels
    before = everything(logits, labels, head, distance=distance, skeleton=tube)
    after = everything(other, labels, head, distance=distance, skeleton=tube)
    torch.testing.assert_close(one(term, before), one(term, after))
    one(term, after).backward()
    assert (other.grad[drop] == 0).all()
    assert other.grad[~drop].abs().sum() > 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), case=st.sampled_from(HEADS), scale=st.floats(0, 100))
def test_losses_are_at_least_zero_and_ratios_at_most_one(seed, case, scale):
    head, k = case
    logits, labels = random_case(head, k, (6, 5), seed, ignored=0.2)
    prepared = everything(logits * scale, labels, head)
    for term in TERMS:
        if term != "boundary":
            assert -1e-6 <= one(term, prepared) < math.inf
        if term not in ("boundary", "cross_entropy", "focal"):
            assert one(term, prepared) <= 1 + 1e-6


# --- finite whatever the masks


def odd_labels(kind, shape, classes):
    labels = torch.zeros(shape, dtype=torch.long)
    match kind:
        case "full":
            labels += classes - 1
        case "absent":  # only the lowest class occurs
            labels[..., 2:5] = 1
        case "ignored":
            labels -= 1
        case "one image ignored":
            labels[0], labels[1, ..., 2:5] = -1, 1
        case "one pixel":
            labels -= 1
            labels[(0,) * len(shape)] = 1
    return labels


@pytest.mark.parametrize(
    "kind", ["empty", "full", "absent", "ignored", "one image ignored", "one pixel"]
)
@pytest.mark.parametrize(("head", "k"), HEADS)
@pytest.mark.parametrize("space", [(7, 9), (5, 6, 7), (1, 8)])
@pytest.mark.parametrize("scale", [1, 1000])
def test_odd_masks_give_finite_losses_and_gradients(kind, head, k, space, scale):
    shape = (2, *space) if head == "softmax" or k == 1 else (2, k, *space)
    labels = odd_labels(kind, shape, k if head == "softmax" else 2)
    logits = torch.randn(2, k, *space, generator=torch.Generator().manual_seed(0)) * scale
    if scale > 1:  # as sure and as right as can be: where powers have infinite slopes
        truth = labels.clamp(min=0).view(2, -1, *space)
        if head == "softmax":
            truth = torch.cat([truth == c for c in range(k)], 1)
        logits = (truth * 2.0 - 1) * scale
    for term in TERMS:
        options = [{}]
        if "smooth" in type(getattr(LossConfig(**{term: 1}), term)).model_fields:
            options.append({"smooth": 0})
        if term == "focal":
            options += [{"gamma": 0.3}, {"gamma": 0}]
        for option in options:
            leaf = logits.clone().requires_grad_()
            loss = one(term, everything(leaf, labels, head), **option)
            assert loss.isfinite(), (term, option)
            loss.backward()
            assert leaf.grad.isfinite().all(), (term, option)
            if kind == "ignored":
                assert (leaf.grad == 0).all(), (term, option)


@pytest.mark.parametrize(("head", "k"), HEADS)
def test_a_perfect_prediction_costs_nothing(head, k):
    _, labels = random_case(head, k, (18, 21))
    logits = (with_channels(labels, head, k) * 2 - 1) * 40
    prepared = everything(logits, labels, head)
    for term in TERMS:
        if term != "boundary":
            assert one(term, prepared).item() == pytest.approx(0, abs=1e-4), term


def test_nothing_to_find_and_nothing_found_costs_nothing():
    labels = torch.zeros(2, 9, 9, dtype=torch.long)
    prepared = everything(torch.full((2, 1, 9, 9), -40.0), labels, "sigmoid")
    for term in ("cross_entropy", "dice", "tversky", "focal", "cl_dice", "skeleton_recall"):
        assert one(term, prepared).item() == pytest.approx(0, abs=1e-5), term


# --- precision, laziness, shapes


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize(("head", "k"), HEADS)
def test_bf16_logits_under_autocast_are_computed_in_fp32(term, head, k):
    logits, labels = random_case(head, k, (18, 21))
    logits, distance = logits.bfloat16(), torch.randn(2, k, 18, 21)
    known = one(term, everything(logits.float(), labels, head, distance=distance))
    with torch.autocast("cpu", torch.bfloat16):
        found = one(term, everything(logits, labels, head, distance=distance))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, known, rtol=0, atol=0)


def test_channels_last_logits_make_no_difference():
    logits, labels = random_case("softmax", 4, (18, 21))
    last = logits.to(memory_format=torch.channels_last)
    distance = torch.randn(2, 4, 18, 21)
    for term in TERMS:
        a, b = (everything(x, labels, "softmax", distance=distance) for x in (logits, last))
        torch.testing.assert_close(one(term, a), one(term, b))


def test_what_no_term_reads_is_not_computed():
    logits, labels = random_case("sigmoid", 1, (18, 21))
    prepared = everything(logits, labels, "sigmoid")
    total(LossConfig(dice=1), prepared)
    assert not {"nll", "skeleton"} & set(vars(prepared))
    prepared = everything(logits, labels, "sigmoid")
    total(LossConfig(cross_entropy=1), prepared)
    assert not {"p", "overlap", "skeleton"} & set(vars(prepared))


@pytest.mark.parametrize(
    ("head", "k", "name", "shape"),
    [
        ("softmax", 3, "labels", (2, 8, 9)),
        ("softmax", 3, "labels", (2, 3, 8, 8)),
        ("sigmoid", 3, "labels", (2, 8, 8)),
        ("sigmoid", 1, "weights", (1, 8, 8)),
        ("sigmoid", 1, "skeleton", (2, 2, 8, 8)),
        ("softmax", 4, "distance", (2, 2, 8, 8)),
    ],
)
def test_shapes_that_do_not_fit_are_named(head, k, name, shape):
    space = (2, 8, 8) if head == "softmax" or k == 1 else (2, k, 8, 8)
    arrays = {"labels": torch.zeros(space, dtype=torch.long), name: torch.zeros(shape)}
    with pytest.raises(InputError, match=f"^{name}: shape .* does not fit logits of .*; give "):
        prepare(torch.zeros(2, k, 8, 8), head=head, **arrays)


def test_missing_companions_are_named():
    prepared = prepare(*random_case("sigmoid", 1, (8, 8)), head="sigmoid")
    with pytest.raises(InputError, match=r"^skeleton_recall: .* targets\.skeleton"):
        losses.skeleton_recall(prepared)
    with pytest.raises(InputError, match=r"^boundary: .* targets\.distances"):
        losses.boundary(prepared)


@pytest.mark.parametrize(
    ("head", "k", "count", "classes"),
    [("softmax", 3, 2, 3), ("sigmoid", 1, 3, 2), ("sigmoid", 3, 2, 4)],
)
def test_a_wrong_number_of_class_weights_is_named(head, k, count, classes):
    prepared = prepare(*random_case(head, k, (8, 8)), head=head)
    with pytest.raises(InputError, match=f"{count} class weights for {classes} classes"):
        losses.cross_entropy(prepared, class_weights=[1.0] * count)


def test_softmax_over_one_channel_is_refused():
    with pytest.raises(InputError, match="always 1; use sigmoid"):
        prepare(*random_case("sigmoid", 1, (8, 8)), head="softmax")


# --- the sum and its config


def test_total_is_the_weighted_sum_of_its_parts():
    logits, labels = random_case("softmax", 3, (18, 21))
    config = LossConfig.model_validate(
        {
            "cross_entropy": {"weight": 5, "class_weights": [1, 2, 3], "border": {"sigma": 7}},
            "dice": 0.5,
            "skeleton_recall": {"smooth": 1},
            "tversky": 0,
        }
    )
    leaf = logits.requires_grad_()
    prepared = everything(leaf, labels, "softmax")
    loss, parts = total(config, prepared)
    known = {
        "cross_entropy": losses.cross_entropy(prepared, class_weights=[1, 2, 3]),
        "dice": losses.dice(prepared),
        "skeleton_recall": losses.skeleton_recall(prepared, smooth=1),
    }
    assert list(parts) == list(known) == [name for name, _ in config.terms()]
    for name, value in known.items():
        torch.testing.assert_close(parts[name], value.detach())
        assert not parts[name].requires_grad
    weighted = 5 * known["cross_entropy"] + 0.5 * known["dice"] + known["skeleton_recall"]
    torch.testing.assert_close(loss, weighted)
    (found,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(weighted, leaf)[0])


@pytest.mark.parametrize("term", TERMS)
def test_every_option_of_a_config_reaches_its_loss(term):
    """The defaults of model and function agree, and the function takes every option."""
    prepared = everything(*random_case("sigmoid", 1, (18, 21)), "sigmoid")
    loss, parts = total(LossConfig(**{term: 2}), prepared)
    torch.testing.assert_close(parts[term], one(term, prepared))
    torch.testing.assert_close(loss, 2 * parts[term])


def test_the_default_is_cross_entropy_and_dice():
    config = LossConfig()
    assert {name: term.weight for name, term in config.terms()} == {"cross_entropy": 1, "dice": 1}
    assert config.cross_entropy.border is None
    assert config == LossConfig(cross_entropy=1, dice={"weight": 1.0})


def test_naming_terms_replaces_the_default():
    config = LossConfig(skeleton_recall=0.1, cross_entropy={"border": {}})
    assert [name for name, _ in config.terms()] == ["cross_entropy", "skeleton_recall"]
    assert config.cross_entropy.border.model_dump() == {"w0": 10, "sigma": 5}
    assert config.skeleton_recall.radius == 2


@pytest.mark.parametrize(
    "config", [LossConfig(), LossConfig(cl_dice=2, cross_entropy={"class_weights": [1, 2]})]
)
def test_configs_survive_json(config):
    assert LossConfig.model_validate_json(config.model_dump_json()) == config
    assert LossConfig.model_validate(config.model_dump(mode="json", exclude_none=True)) == config


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"dicee": 1}, ("dicee",)),
        ({"dice": {"wieght": 1}}, ("dice", "wieght")),
        ({"cross_entropy": {"border": {"s": 1}}}, ("cross_entropy", "border", "s")),
        ({"dice": -1}, ("dice", "weight")),
        ({"dice": float("nan")}, ("dice", "weight")),
        ({"dice": True}, ("dice",)),
        ({"dice": "much"}, ("dice",)),
        ({"cross_entropy": {"label_smoothing": 1}}, ("cross_entropy", "label_smoothing")),
        ({"cross_entropy": {"class_weights": [1, 0]}}, ("cross_entropy", "class_weights", 1)),
        ({"dice": None}, ()),
        ({"dice": 0}, ()),
    ],
)
def test_bad_configs_are_errors_that_say_where(bad, where):
    with pytest.raises(ValidationError) as caught:
        LossConfig.model_validate(bad)
    assert [error["loc"] for error in caught.value.errors()] == [where]


def test_configs_are_frozen():
    config = LossConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.dice = None
    with pytest.raises(ValidationError, match="frozen"):
        config.dice.weight = 2
