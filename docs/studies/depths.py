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
            line.append(f"{mark}{level(setting.scores['dice'])}{mark}")
            line.append(f"{setting.scores['accuracy'].value:.3f}")
        lines.append(line)
    return table(head, lines)


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
    return f"ρ = {found.statistic:+.2f} (p = {found.pvalue:.3f})".replace("-", "−")


def claim(
    study: StudyConfig, rows: Sequence[Row], part: Part, a: str, b: str, metric: str = "dice"
) -> str:
    """Compare two settings the source names, in words."""
    found = compare(study, rows, a, b, dataset=part.dataset, metric=metric)
    told = "better" if found.value > 0 else "worse"
    word = told if is_told(found) else "not distinguishable"
    return f"{word}: {gap(found)}"


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
