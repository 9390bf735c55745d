"""Write this study's page: python docs/studies/losses-stare/answer.py FOLDER (of the finished study)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from write import facts, gap, is_told, load, table, write

from unetkit.study import compare

NAME = "losses-stare"
METRICS = {
    "iou": "Jaccard", "dice": "F1", "recall": "recall", "precision": "precision",
    "accuracy": "accuracy", "cl_dice": "clDice", "betti0_error": "Betti-0 error", "roc_auc": "AUC",
}  # fmt: skip
SOURCE = [
    ["*Dragic 2025: skeleton recall + weighted BCE*", "0.644", "0.783", "0.911", "0.689", "0.956",
     "", "", ""],
    ["*Dragic 2025: BCE only*", "0.634", "0.775", "0.745", "0.821", "0.963", "", "", ""],
]  # fmt: skip
PAIRS = [
    ("skeleton recall + 5 weighted BCE", "BCE"),
    ("weighted BCE", "BCE"),
    ("skeleton recall + 5 weighted BCE", "weighted BCE"),
    ("Dice + BCE + skeleton recall", "Dice + BCE"),
    ("Dice + BCE + clDice", "Dice + BCE"),
]

folder = Path(sys.argv[1])
study, rows, findings = load(NAME, folder)
(part,) = findings.parts


def scores(fixed: bool) -> str:
    lines = []
    for setting in part.settings:
        found = setting.fixed if fixed else setting.scores
        digits = {"betti0_error": 0}
        lines.append([setting.name, *(f"{found[m].value:.{digits.get(m, 3)}f}" for m in METRICS)])
    return table(["loss", *METRICS.values()], lines + (SOURCE if fixed else []))


def gaps() -> str:
    lines = []
    for a, b in PAIRS:
        for fixed in (True, False):
            found = [compare(study, rows, a, b, metric=m, fixed=fixed)
                     for m in ("recall", "precision", "dice", "cl_dice")]  # fmt: skip
            where = "0.5" if fixed else "own"
            lines.append([f"{a} − {b}", where, *map(gap, found)])
    return table(["difference", "threshold", "recall", "precision", "F1", "clDice"], lines)


def verdict() -> str:
    a, b = PAIRS[0]
    half = compare(study, rows, a, b, metric="recall", fixed=True)
    own = compare(study, rows, a, b, metric="recall")
    f1 = compare(study, rows, a, b, metric="dice")
    alone = compare(study, rows, "weighted BCE", b, metric="recall", fixed=True)
    added = compare(study, rows, a, "weighted BCE", metric="recall", fixed=True)
    said = f"At a threshold of 0.5 skeleton recall with weighted BCE changes recall by {gap(half)}"
    said += ", " + ("as the source found. " if is_told(half) and half.value > 0 else
                    "which is not distinguishable from nothing. ")  # fmt: skip
    said += (
        f"When every loss gets the threshold that `val` chose for it, the change is {gap(own)}: "
    )
    if is_told(own) and own.value > 0:
        said += "the gain survives. "
    elif is_told(own):
        said += "the gain turns into a loss. "
    else:
        said += "the gain does not survive as more than chance. "
    said += f"F1 at the own threshold changes by {gap(f1)}"
    said += ". " if is_told(f1) else ", not distinguishable from nothing. "
    said += (
        f"At 0.5 the weighted BCE by itself changes recall by {gap(alone)}; skeleton recall on top "
    )
    return (
        said
        + f"by {gap(added)}"
        + ("." if is_told(added) else ", not distinguishable from nothing.")
    )


def against() -> str:
    """Ours minus the source's, for the two losses that both trained."""
    lines = []
    for name, theirs in zip(PAIRS[0], SOURCE, strict=True):
        found = part.setting(name).fixed
        gaps = [found[m].value - float(v) for m, v in zip(METRICS, theirs[1:6], strict=False)]
        lines.append([name, *(f"{g:+.3f}".replace("-", "−") for g in gaps)])
    return table(["ours − source, threshold 0.5", *list(METRICS.values())[:5]], lines)


def beside() -> str:
    a, b = (part.setting(name) for name in PAIRS[0])
    said = []
    for setting, theirs, label in ((a, 0.7827, PAIRS[0][0]), (b, 0.7748, PAIRS[0][1])):
        ours = setting.fixed["dice"].value
        word = "above" if ours > theirs else "below"
        said.append(f"{label}: F1 {ours:.3f} at 0.5, {abs(ours - theirs):.3f} {word} the source's "
                    f"{theirs:.3f}")  # fmt: skip
    best = part.setting(part.best)
    said.append(f"the loss that `val` chose, {best.name}: {best.fixed['dice'].value:.3f} at 0.5, "
                f"{best.scores['dice'].value:.3f} at its own threshold")  # fmt: skip
    return "; ".join(said)


write(
    NAME,
    folder,
    "Which loss for thin vessels? STARE",
    f"""
Dragic 2025 trained a U-Net on STARE once with BCE and once with skeleton recall + λ · weighted BCE (λ 5, border
weights w0 10, σ 7) and found more recall at the price of precision. Here seven losses and Dice + clDice get the same
budget and five seeds each, the test images are scored once, and each loss is judged twice: at the source's threshold of
0.5, and at the one its own run tuned on the two `val` images.

**Answer.** {verdict()}

{gaps()}

95 % intervals over five seeds × six test images, each difference by itself (not corrected for their number).

## Beside the source: threshold 0.5

{scores(True)}

Per-image means inside the field of view over the six test images and five seeds. The source's rows are its own table:
512² crops, 80 for training and 20 for testing out of 20 eyes, so crops of one eye may lie on both sides; ours are whole
images of eyes the network never saw, after a far smaller budget. Said with that in mind: {beside()}.

{against()}

## Every loss at its own threshold

{scores(False)}

The threshold comes from two `val` images, which is few: compare the two tables.

## To repeat it

```sh
unet study docs/studies/{NAME}/study.yaml -o build/studies/{NAME} --workers 2
python docs/studies/{NAME}/answer.py build/studies/{NAME}
```

{facts(findings, folder)} Data: STARE (Hoover, Kouznetsova, Goldbaum 2000), 7 / 2 / 6 images.
""",
)
