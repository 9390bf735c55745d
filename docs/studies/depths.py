"""What the two studies of depth and skip connections share: the source's claims, tried on ours."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import spearmanr
from write import gap, is_told, level, table

from unetkit.study import Findings, Part, Row, StudyConfig, compare

BEST, FULL = "depth 4, skips 1001", "depth 4, skips 1111"
BARE, SHALLOW = "depth 4, skips 0000", "depth 1, skips 0"


def beside(findings: Findings, theirs: dict[str, dict[str, str]]) -> str:
    """Put our settings beside the source's, in its order."""
    head = ["depth", "skips", "source: Dice", "source: accuracy"]
    for part in findings.parts:
        head += [f"{part.dataset}: Dice", "accuracy"]
    lines = []
    for name, row in theirs.items():
        line = [row["depth"], f"`{row['skips']}`", row["dice"], row["accuracy"]]
        for part in findings.parts:
            setting = part.setting(name)
            mark = "**" if name == part.best else ""
            line.append(f"{mark}{level(setting.scores['dice'], digits(part))}{mark}")
            line.append(f"{setting.scores['accuracy'].value:.{digits(part)}f}")
        lines.append(line)
    return table(head, lines)


def digits(part: Part) -> int:
    """Say how many digits are needed to tell these settings apart: more, close to 1."""
    return 4 if min(s.scores["dice"].value for s in part.settings) > 0.98 else 3


def place(part: Part, name: str, metric: str = "dice", depth: str | None = None) -> tuple[int, int]:
    """Say at which place of how many a setting stands by its mean on the test images."""
    among = [s for s in part.settings if depth is None or s.levels["network.depth"] == depth]
    order = sorted(among, key=lambda s: -s.scores[metric].value)
    return [s.name for s in order].index(name) + 1, len(order)


def agreement(part: Part, theirs: dict[str, dict[str, str]], column: str) -> str:
    """Say how alike the source's order of the 30 networks and ours are."""
    metric = {"dice": "dice", "accuracy": "accuracy"}[column]
    names = list(theirs)
    found = spearmanr(
        [float(theirs[name][column]) for name in names],
        [part.setting(name).scores[metric].value for name in names],
    )
    chance = "p < 0.001" if found.pvalue < 0.001 else f"p = {found.pvalue:.3f}"
    return f"ρ = {found.statistic:+.2f} ({chance})".replace("-", "−")


def claim(
    study: StudyConfig, rows: Sequence[Row], part: Part, a: str, b: str, metric: str = "dice"
) -> str:
    """Compare two settings the source names, in words."""
    found = compare(study, rows, a, b, dataset=part.dataset, metric=metric)
    told = "better" if found.value > 0 else "worse"
    word = told if is_told(found) else "not distinguishable"
    return f"{word}: {gap(found, digits(part))}"


def is_worst(study: StudyConfig, rows: Sequence[Row], part: Part) -> str:
    """Say whether the deepest network without skips is the worst, as the source found."""
    last, among = place(part, BARE)
    found = compare(study, rows, BARE, FULL, dataset=part.dataset)
    if last == among and is_told(found):
        return "holds"
    return "does not hold" if last < among - 1 else "cannot be told"


def is_best(
    study: StudyConfig, rows: Sequence[Row], part: Part, name: str, metric: str = "dice"
) -> str:
    """Say whether a network is the best on the test images, as the source found."""
    if place(part, name, metric)[0] == 1:
        return "holds"
    assert part.best is not None
    if name == part.best:
        return "chosen by val, not first on test"
    found = compare(study, rows, name, part.best, dataset=part.dataset, metric=metric)
    return "does not hold" if is_told(found) else "not first, and not told from the chosen one"


def is_worse(
    study: StudyConfig, rows: Sequence[Row], part: Part, a: str, b: str, metric: str
) -> str:
    """Say whether one network is worse than another, as the source found."""
    found = compare(study, rows, a, b, dataset=part.dataset, metric=metric)
    if not is_told(found):
        return "cannot be told"
    return "holds" if found.value < 0 else "the contrary holds"


def best_by_depth(part: Part) -> str:
    """List the pattern with the best val score at each depth."""
    words = []
    for depth in "1234":
        among = [s for s in part.settings if s.levels["network.depth"] == depth]
        chosen = max(among, key=lambda s: s.chosen)
        words.append(f"`{chosen.levels['network.skips']}`")
    return ", ".join(words)


def full_against_best(study: StudyConfig, rows: Sequence[Row], part: Part) -> list[str]:
    """Compare, at each depth, all skips with the pattern that `val` chose."""
    words = []
    for depth in "1234":
        among = [s for s in part.settings if s.levels["network.depth"] == depth]
        chosen = max(among, key=lambda s: s.chosen)
        full = f"depth {depth}, skips {'1' * int(depth)}"
        if chosen.name == full:
            words.append("all skips chosen")
        else:
            words.append(claim(study, rows, part, full, chosen.name))
    return words
