"""Write this study's page from a finished run of it: answer.py FOLDER."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from depths import BARE, FULL, SHALLOW, agreement, beside, best_by_depth, claim, place
from write import facts, level, load, source, table, write

NAME = "depth-skips-lesions"
folder = Path(sys.argv[1])
study, rows, findings = load(NAME, folder)
theirs = source(NAME)
(part,) = findings.parts
best = part.setting(part.best)
top = "depth 4, skips 1101"

claims = table(
    ["what the source found on ISIC", "on PH2"],
    [
        ["`0000` at depth 4 has the best accuracy (0.9251): its place by accuracy",
         "{} of {}".format(*place(part, BARE, "accuracy"))],
        ["… against all four skips (`0000` − `1111`, accuracy)",
         claim(study, rows, part, BARE, FULL, "accuracy")],
        ["`1101` at depth 4 has the best Dice (0.7018): its place by Dice",
         "{} of {}".format(*place(part, top))],
        ["… against all four skips (`1101` − `1111`, Dice)", claim(study, rows, part, top, FULL)],
        ["depth 4 is the best depth (`1111` − depth 1 `1`, Dice)",
         claim(study, rows, part, FULL, "depth 1, skips 1")],
        ["… without any skip (`0000` − depth 1 `0`, Dice)",
         claim(study, rows, part, BARE, SHALLOW)],
        ["the best pattern at depths 1, 2, 3, 4 (by Dice on val)", best_by_depth(part)],
        ["order of the 30 networks by Dice, source against ours (Spearman)",
         agreement(part, theirs, "dice")],
        ["… by accuracy", agreement(part, theirs, "accuracy")],
    ],
)  # fmt: skip

write(
    NAME,
    folder,
    "Depth × skip connections on skin lesions (PH2)",
    f"""
Tavares 2025 trained 30 U-Nets on ISIC skin lesions, once each. ISIC is not at hand here: **this is PH2**, 80 dermoscopic
images reduced to 384 px, another set of lesions from another clinic. Three seeds each, one budget for all.

**Answer.** The network that `val` chose is {best.name}, with a test Dice of {level(best.scores["dice"])} and an accuracy
of {level(best.scores["accuracy"])}; the source's best were 0.7018 and 0.9251 (other images, so no contest). What
becomes of its conclusions:

{claims}

Differences are means over three seeds × fifteen test images with 95 % intervals over both, each by itself; those marked
*not distinguishable* have p ≥ 0.05. The main effects further down pool all runs and say more than any pair.

## Beside the source

{beside(findings, theirs)}

Ours: per-image means on the 15 `test` images of PH2 at the threshold tuned on `val`, all pixels, 95 % intervals over
seeds × images; **bold**: chosen by `val`.

## To repeat it

```sh
unet study docs/studies/{NAME}/study.yaml -o build/studies/{NAME} --workers 2
python docs/studies/{NAME}/answer.py build/studies/{NAME}
```

{facts(findings, folder)} Data: PH2 (Mendonca et al. 2013), 55 / 10 / 15 images.
""",
)
