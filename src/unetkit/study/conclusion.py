"""What a study allows to say, in plain words that are made from its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from unetkit.report.contents import title_of
from unetkit.study.comparison import Comparison, Estimate, Ranking
from unetkit.study.effects import Effect, Fit
from unetkit.study.findings import Findings, Part, Setting
from unetkit.study.words import (
    LEVEL,
    called,
    explained,
    has_effects,
    is_skip,
    join,
    leader,
    listed,
    many,
    number,
    over,
    seeds,
    span,
    told,
    word,
)

FEW_IMAGES = 10  # fewer than these on the reported split are called few,
FEW_CHOOSERS = 5  # and fewer than these on the choosing split
CAUTION = "This does not show them to be equal: more seeds or images might tell them apart."
NOTHING = "no difference that can be told from chance"
_NOUNS = {"parameters": "parameters", "gflops": "operations"}


def conclude(findings: Findings) -> list[str]:
    """Say what the study found, one sentence or two a line; several data sets are named.

    A study with faults begins by saying that it is no result and names no best. A difference that
    a corrected test cannot tell from chance is called that, whatever its size.
    """
    lines = conclude_whole(findings)
    for part in findings.parts if findings.runs else ():
        name = f"{part.dataset}: " if len(findings.parts) > 1 else ""
        lines += [name + line for line in conclude_part(findings, part)]
    return lines


def conclude_whole(findings: Findings) -> list[str]:
    """Say what concerns all data sets: why it is no result, what is missing, what they share."""
    lines = [f"This is not a result: {fault}." for fault in findings.faults]
    every = findings.runs + findings.failed + findings.waiting
    missing = []
    if findings.failed:
        missing.append(f"{findings.failed} failed")
    if findings.waiting:
        missing.append(f"{findings.waiting} {_be(findings.waiting)} not done yet")
    if missing and findings.runs:
        rest = f"the {findings.runs} that {_be(findings.runs)} done"
        lines.append(f"Of {many(every, 'run')} {' and '.join(missing)}; what follows is of {rest}.")
    elif not findings.runs:
        why = f": of {many(every, 'run')} {' and '.join(missing)}" if missing else ""
        lines.append(f"No run is done, so there is nothing to conclude{why}.")
    if max((seeds(findings, part) for part in findings.parts), default=0) == 1:
        lines.append(
            "Every setting was trained with one seed only: intervals and tests are over images, "
            "and say nothing of another training."
        )
    rankings = [part.ranking for part in findings.parts if part.ranking is not None]
    if len(rankings) == len(findings.parts) > 1:
        lines.append(_shared(findings, rankings))
    return lines


def conclude_part(findings: Findings, part: Part) -> list[str]:
    """Say what was found on one data set."""
    if part.best is None:
        if not any(setting.runs for setting in part.settings):
            return ["No run is done."]
        where = f"on {findings.study.select.split}"
        return [f"No run has a {title_of(findings.metric)} {where}, so nothing can be chosen."]
    lines = [_best(findings, part), *_few(findings, part)]
    if part.ranking is not None:
        lines += _compared(findings, part, part.ranking)
    lines += _effects(findings, part.fit)
    if part.ranking is not None:
        lines += _cheapest(findings, part, part.ranking)
    return lines


def _shared(findings: Findings, rankings: Sequence[Ranking]) -> str:
    """Say which settings are among the first on every data set."""
    top = leader(findings)
    sets = "both data sets" if len(rankings) == 2 else f"all {len(rankings)} data sets"
    names = {setting.name: called(setting) for setting in findings.parts[0].settings}
    shared = [
        names[name]
        for name in rankings[0].indistinguishable
        if all(name in ranking.indistinguishable for ranking in rankings)
    ]
    if len(shared) == len(names):
        return f"On {sets} no setting is distinguishable from the {top}."
    if not shared:
        return f"No setting is the {top} or indistinguishable from it on {sets}."
    if len(shared) == 1:
        return f"One setting is the {top} or indistinguishable from it on {sets}: {shared[0]}."
    count = f"{len(shared)} settings are the {top} or indistinguishable from it"
    return f"{count} on {sets}: {listed(shared)}."


def _best(findings: Findings, part: Part) -> str:
    """Name the setting that comes first by the rule, and its score on the reported split."""
    study, metric = findings.study, title_of(findings.metric)
    best = part.setting(part.best or "")
    score = f"on {study.report} its {metric} is {told(best.scores.get(findings.metric))}"
    known = sum(not math.isnan(setting.chosen) for setting in part.settings)
    if known == 1:
        return f"Only {called(best)} has scores, so nothing is compared; {score}."
    counts = [many(part.choosers, "image"), many(seeds(findings, part), "seed")]
    counts += [f"{study.folds} folds"] if study.folds else []
    by = f"mean {metric} on {study.select.split} ({', '.join(counts)})"
    if findings.faults:
        top = f"{leader(findings).capitalize()} of {known} settings by {by}, as an exploration,"
        return f"{top} is {called(best)}; {score}."
    return f"By {by} the best of {known} settings is {called(best)}; {score}."


def _few(findings: Findings, part: Part) -> list[str]:
    """Warn of few images."""
    study = findings.study
    score = part.setting(part.best or "").scores.get(findings.metric)
    said = []
    if part.choosers < FEW_CHOOSERS and study.select.split != study.report:
        said.append(f"the choice is by only {many(part.choosers, 'image')} of {study.select.split}")
    if score is not None and score.images < FEW_IMAGES:
        count = many(score.images, "image")
        alone = ", which says nothing of others" if score.images == 1 else ""
        said.append(f"the scores are of only {count} of {study.report}{alone}")
    line = ", and ".join(said)
    return [f"{line[0].upper()}{line[1:]}."] if said else []


def _compared(findings: Findings, part: Part, ranking: Ranking) -> list[str]:
    """Say which settings can be told from the first one, and which cannot."""
    split = findings.study.report
    names = {setting.name: called(setting) for setting in part.settings}
    tested = {n: c for n, c in ranking.comparisons.items() if not math.isnan(c.p_adjusted)}
    equals = [name for name, one in tested.items() if not one.distinguishable]
    better = [name for name in tested if name in ranking.better]
    worse = [n for n, one in tested.items() if one.distinguishable and n not in better]
    lines = []
    if untested := [names[name] for name in ranking.comparisons if name not in tested]:
        lines.append(f"Too few scores to test against it: {listed(untested)}.")
    if not tested:
        return lines
    how = _how(tested.values())
    count = f"of the {len(tested)} others"
    if len(equals) == len(tested):
        none = f"none {count} is" if len(tested) > 1 else f"the other, {names[equals[0]]}, is not"
        # Main effects pool many runs, and may be told from chance where no single setting is.
        quiet = not any(one.p_adjusted < LEVEL for one in _reported(part.fit))
        start = "No difference between settings can be told from chance: " if quiet else ""
        line = f"{start}{none} distinguishable from it on {split} ({how}). {CAUTION}"
        lines.append(line[0].upper() + line[1:])
    elif equals:
        lines.append(
            f"{len(equals)} {count} {_be(len(equals))} not distinguishable from it on {split} "
            f"({how}): {listed([names[name] for name in equals])}. {CAUTION}"
        )
    else:
        whom = f"all {len(tested)} others" if len(tested) > 1 else "the only other"
        lines.append(f"It is distinguishable from {whom} on {split} ({how}).")
    alone = sum(one.difference.seeds == 1 for one in tested.values())
    if alone and seeds(findings, part) > 1:
        verbs = ("rests", "says") if alone == 1 else ("rest", "say")
        line = f"{alone} of these tests {verbs[0]} on a single seed"
        lines.append(f"{line}, and {verbs[1]} nothing of another training.")
    if better:
        each = listed([f"{names[name]} by {_by(tested[name])}" for name in better])
        chosen = f"The choice on {findings.study.select.split} missed"
        lines.append(
            f"{len(better)} {_be(len(better))} better than it on {split}: {each}. "
            f"{chosen} {'it' if len(better) == 1 else 'them'}."
        )
    if worse:
        last = f"{names[worse[-1]]} by {_by(tested[worse[-1]])}"
        count = f"{len(worse)} are worse, the worst of them" if len(worse) > 1 else "1 is worse:"
        lines.append(f"{count} {last}.")
    return lines


def _how(comparisons: Iterable[Comparison]) -> str:
    """Say what the tests are over; where scores are missing some rest on fewer."""
    pairs = {(one.difference.seeds, one.difference.images) for one in comparisons}
    least = over(min(s for s, _ in pairs), min(i for _, i in pairs))
    end = " or more" if len(pairs) > 1 else ""
    return f"paired tests over {least}{end}, Holm-corrected at {LEVEL * 100:g} %"


def _by(comparison: Comparison) -> str:
    """Write the size of a difference with its interval."""
    gap = comparison.difference
    return _size(gap.value, gap.low, gap.high)


def _difference(change: Estimate | Effect) -> str:
    """Write a change with its sign and interval."""
    value = change.estimate if isinstance(change, Effect) else change.value
    scale = max(abs(v) for v in (value, change.low, change.high) if not math.isnan(v))
    interval = span(change.low, change.high, scale)
    return number(value, scale) + (f", {interval}" if interval else "")


def _size(value: float, low: float, high: float) -> str:
    """Write a change without its sign, which the verb has said."""
    if value < 0:
        value, low, high = -value, -high, -low
    scale = max(abs(v) for v in (value, low, high) if not math.isnan(v))
    interval = span(low, high, scale)
    return number(value, scale) + (f" ({interval})" if interval else "")


def _effects(findings: Findings, fit: Fit | None) -> list[str]:
    """Say what each factor is worth; one factor alone is what the comparison has said already."""
    if fit is None or not has_effects(fit):
        return []
    metric = title_of(findings.metric)
    model = f"one additive model of {many(fit.runs, 'run')}{explained(fit)}"
    chance = f"intervals are for other seeds on these images; Holm-corrected at {LEVEL * 100:g} %"
    where = f"{metric} on {findings.study.report}"
    lines = [
        f"Each axis, averaged over the others, changes {where} as follows ({model}; {chance}):"
    ]
    groups: dict[str, list[Effect]] = {}
    for effect in fit.effects:
        groups.setdefault("skip" if is_skip(effect) else effect.factor, []).append(effect)
    for factor, effects in groups.items():
        if factor == "skip":
            lines.append(f"A skip connection {_skips(effects, metric)}.")
            continue
        name = word(factor)
        sure = [f"{name} {one.level} {_change(one, metric)}" for one in effects if not _open(one)]
        none = [f"{name} {one.level} ({_difference(one)})" for one in effects if _open(one)]
        if none:
            sure.append(f"{join(none)} {'makes' if len(none) == 1 else 'make'} {NOTHING}")
        lines.append(f"Against {name} {effects[0].reference}, {'; '.join(sure)}.")
    return lines


def _skips(effects: Sequence[Effect], metric: str) -> str:
    """Say what skip connections do, level by level; those that chance may explain come last."""
    level = {one: f"level {one.factor.split()[1]}" for one in effects}
    level |= {one: f"{name}, nearest the input" for one, name in level.items() if name[6:] == "1"}
    said = [f"{_change(one, metric)} at {level[one]}" for one in effects if not _open(one)]
    none = [f"{level[one]} ({_difference(one)})" for one in effects if _open(one)]
    return "; ".join([*said, *([f"makes {NOTHING} at {join(none)}"] if none else [])])


def _open(effect: Effect) -> bool:
    """Tell whether an effect was tested and not told from chance."""
    return effect.p_adjusted >= LEVEL  # nan, where nothing was tested, compares false


def _change(effect: Effect, metric: str) -> str:
    """Say what a level does to the score; the note says why something is missing."""
    if math.isnan(effect.estimate):
        return f"has an unknown effect ({effect.note})"
    if math.isnan(effect.p_adjusted):
        return f"changes {metric} by {number(effect.estimate)} ({effect.note})"
    verb = "raises" if effect.estimate > 0 else "lowers"
    return f"{verb} {metric} by {_size(effect.estimate, effect.low, effect.high)}"


def _reported(fit: Fit | None) -> Sequence[Effect]:
    return fit.effects if fit is not None and has_effects(fit) else ()


def _cheapest(findings: Findings, part: Part, ranking: Ranking) -> list[str]:
    """Name the smallest setting that cannot be told from the first one, and what it saves."""
    best = part.setting(ranking.best)
    equals = [part.setting(name) for name in ranking.indistinguishable]
    if len(equals) == 1 or not best.cost:
        return []
    top = f"the {leader(findings)}"
    fewest = {
        cost: min((s for s in equals if cost in s.cost), key=lambda s: s.cost[cost])
        for cost in ("parameters", "gflops")
        if cost in best.cost and len({s.cost.get(cost) for s in part.settings}) > 1
    }
    cheaper = {c: s for c, s in fewest.items() if s.cost[c] < best.cost[c]}
    if not cheaper:
        nouns = " or ".join(_NOUNS[cost] for cost in fewest)
        return [f"No setting with fewer {nouns} is indistinguishable from {top}."] if nouns else []
    lines, seen = [], None
    for cost, setting in cheaper.items():
        saving = f"{_cost(setting, cost)}, {_times(best.cost[cost] / setting.cost[cost])} fewer"
        saving += f" than {top}'s {_cost(best, cost)}"
        if setting is seen:
            lines.append(f"It also needs the fewest {_NOUNS[cost]}: {saving}.")
            continue
        scores = [one.scores[findings.metric].value for one in (setting, best)]
        gap = _difference(ranking.comparisons[setting.name].difference)
        lines.append(
            f"Of the settings not distinguishable from {top}, {called(setting)} has the fewest "
            f"{_NOUNS[cost]}: {saving}; on {findings.study.report} its {title_of(findings.metric)} "
            f"is {number(scores[0])} against {number(scores[1])} (difference by itself {gap})."
        )
        seen = setting
    return lines


def _cost(setting: Setting, cost: str) -> str:
    value = setting.cost[cost]
    return f"{value:,.0f}" if cost == "parameters" else f"{value:.3g} GFLOPs"


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio >= 10 else f"{ratio:.2g} times"


def _be(count: int) -> str:
    return "is" if count == 1 else "are"
