"""Write this study's page from a finished run of it: answer.py FOLDER."""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from depths import (
    BARE,
    BEST,
    FULL,
    SHALLOW,
    agreement,
    beside,
    best_by_depth,
    claim,
    digits,
    full_against_best,
    is_best,
    is_worse,
    is_worst,
    place,
)
from write import facts, level, load, source, table, write

from unetkit.study import Part

NAME = "depth-skips-drive"
folder = Path(sys.argv[1])
study, rows, findings = load(NAME, folder)
theirs = source(NAME)
vessels, fov = findings.parts


def per_part(what: str, say: Callable[[Part], str]) -> list[str]:
    return [what, *(say(part) for part in findings.parts)]


def ordinal(part: Part, name: str, metric: str = "dice", depth: str | None = None) -> str:
    return "{} of {}".format(*place(part, name, metric, depth))


claims = table(
    ["what the source found on DRIVE", *(f"target: {part.dataset}" for part in findings.parts)],
    [
        per_part("Dice of all 30 networks, 0.982 to 0.995", lambda p: "{:.{d}f} to {:.{d}f}".format(
            min(s.scores["dice"].value for s in p.settings),
            max(s.scores["dice"].value for s in p.settings), d=digits(p))),
        per_part("**`1001` at depth 4 is the best**", lambda p: f"**{is_best(study, rows, p, BEST)}**"),
        per_part("**`0000` at depth 4 is the worst**", lambda p: f"**{is_worst(study, rows, p)}**"),
        per_part("**`1111` at depth 4 is worse than depth 1 without a skip (accuracy)**",
                 lambda p: f"**{is_worse(study, rows, p, FULL, SHALLOW, 'accuracy')}**"),
        per_part("place of `1001` at depth 4 by Dice on test", lambda p: ordinal(p, BEST)),
        per_part("… against all four skips (`1001` − `1111`, Dice)",
                 lambda p: claim(study, rows, p, BEST, FULL)),
        per_part("place of `0000` at depth 4",
                 lambda p: ordinal(p, BARE)),
        per_part("… against all four skips (`0000` − `1111`, Dice)",
                 lambda p: claim(study, rows, p, BARE, FULL)),
        per_part("… `1111` at depth 4 against depth 1 without a skip (accuracy)",
                 lambda p: claim(study, rows, p, FULL, SHALLOW, "accuracy")),
        per_part("the best pattern at depths 1, 2, 3, 4 (by Dice on val); source: `0`, `11`, `001`, `1001`",
                 best_by_depth),
        *(per_part(f"all skips against the best pattern, depth {d + 1} (Dice)",
                   lambda p, d=d: full_against_best(study, rows, p)[d]) for d in range(4)),
        per_part("order of the 30 networks by Dice, source against ours (Spearman)",
                 lambda p: agreement(p, theirs, "dice")),
    ],
)  # fmt: skip

best = {part.dataset: part.setting(part.best) for part in findings.parts}
write(
    NAME,
    folder,
    "Depth × skip connections on DRIVE: vessels, or the field of view?",
    f"""
Tavares 2025 trained 30 U-Nets on a copy of DRIVE, one per depth 1 to 4 and pattern of skip connections (first digit: the
level nearest the input), once each, and reports Dice up to 0.9947 and accuracy up to 0.9953. Two human observers agree
on vessels with a Dice of about 0.79, and the test part of that copy carries field-of-view masks only. So we trained all
30 networks on both targets, three seeds each, one budget for all.

**Answer.** With vessels as the target the network that `val` chose ({best["vessels"].name}) reaches a test Dice of
{level(best["vessels"].scores["dice"])}; with the field of view as the target ({best["field of view"].name}) it is
{level(best["field of view"].scores["dice"], 4)}. The source's figures agree with the field of view and lie far above any that vessels
allow. What becomes of its conclusions:

{claims}

Differences are means over three seeds × ten test images with 95 % intervals over both, each by itself; those marked
*not distinguishable* have p ≥ 0.05. The main effects further down pool all runs and say more than any pair.

## Beside the source

{beside(findings, theirs)}

Ours: per-image means on DRIVE's ten `test` images at the threshold tuned on `val`; vessels inside the field of view,
the field of view over all pixels; 95 % intervals over seeds × images; **bold**: chosen by `val`. The source trained at
its own width and budget, which it does not state; ours is width 8 and 300 steps (see the study file), so its columns
are beside ours, not against them. Ten minutes of the default recipe on the same split give a vessel Dice of 0.813
(`benchmarks/results/`): a small budget for every network was the price of 180 runs.

## To repeat it

```sh
python docs/studies/{NAME}/targets.py ../shared/data/drive     # makes the second target in build/drive-fov
unet study docs/studies/{NAME}/study.yaml -o build/studies/{NAME} --workers 2
python docs/studies/{NAME}/answer.py build/studies/{NAME}
```

{facts(findings, folder)} Data: DRIVE (Staal et al. 2004), 16 / 4 / 10 images.
""",
)
