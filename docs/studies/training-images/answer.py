"""Write this study's page from a finished run of it: answer.py FOLDER."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from write import facts, gap, is_told, level, load, table, write

from unetkit.study import compare

NAME = "training-images"
folder = Path(sys.argv[1])
study, rows, findings = load(NAME, folder)
SIZES, WITH, WITHOUT = ("1", "2", "4", "all"), "with elastic", "without elastic"


def name(size: str, augment: str) -> str:
    return f"train size {size}, augment {augment}"


def scores(part) -> str:
    lines = []
    for size in SIZES:
        line = [size]
        for augment in (WITH, WITHOUT):
            line.append(level(part.setting(name(size, augment)).scores["dice"]))
        found = compare(study, rows, name(size, WITH), name(size, WITHOUT), dataset=part.dataset)
        line += [gap(found), "yes" if is_told(found) else "no"]
        lines.append(line)
    return table(["training images", WITH, WITHOUT, "difference", "distinguishable"], lines)


def verdict(part) -> str:
    costs = []
    for size, word in (("1", "one image"), ("2", "two"), ("4", "four")):
        found = compare(study, rows, name(size, WITH), name("all", WITH), dataset=part.dataset)
        mark = "" if is_told(found) else ", not distinguishable from nothing"
        costs.append(f"{word} instead of all {gap(found)}{mark}")
    told = [
        (size, found)
        for size in SIZES
        if is_told(
            found := compare(
                study, rows, name(size, WITH), name(size, WITHOUT), dataset=part.dataset
            )
        )
    ]
    said = f"On {part.dataset} with elastic deformation Dice changes with the number of training images by: {'; '.join(costs)}"
    if told:
        said += ". Elastic deformation makes a difference with " + " and ".join(
            f"{size} ({gap(found)})" for size, found in told
        )
    else:
        said += ". Whether elastic deformation is on is not distinguishable at any number of images"
    return said + "."


tables = "\n\n".join(f"### {part.dataset}\n\n{scores(part)}" for part in findings.parts)
write(
    NAME,
    folder,
    "How many images are enough?",
    f"""
The 2015 paper says that augmentation, elastic deformation above all, lets a U-Net learn from very few images. So: Dice
against the number of training images, with elastic deformation and without (all other augmentation stays: shift,
rotation, scale, mirroring, intensity), every run with the same 800 steps, three draws of images and weights.

**Answer.** {" ".join(verdict(part) for part in findings.parts)}

{tables}

Test Dice at the threshold tuned on `val`, 95 % intervals over three seeds × test images; a seed also draws which images
are trained on, and smaller draws are subsets of larger ones. `val` has its full size in every run (STARE 2, DSB2018 10
images), so "one image" means one to learn from, beside those that choose checkpoint and threshold. All training
images are 7 (STARE) and 40 (DSB2018; nuclei against background). STARE's score is inside the field of view.

What this does not say: 800 steps are short, and the rotations, scales and intensities that stay on are strong. A longer
training, which has time to learn few images by heart, or one without the other augmentation, may need elastic
deformation more. With a draw of one image the luck of the draw dominates (nuclei are stained in several ways), which is
why those intervals are wide.

## To repeat it

```sh
unet study docs/studies/{NAME}/study.yaml -o build/studies/{NAME} --workers 2
python docs/studies/{NAME}/answer.py build/studies/{NAME}
```

{facts(findings, folder)} Data: STARE (Hoover et al. 2000), DSB2018 (Caicedo et al. 2019).
""",
)
