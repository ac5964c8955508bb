"""The pictures of a run: contenders' scores, the search, cost, the learning curve, and what each ingredient explains.

Takes records, returns SVG. Scores are drawn with their 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from optimizer.findings import Cascade
from optimizer.pages.plot import RIGHT, Figure, Plot, Scale, amounts, round_steps, scores
from optimizer.pages.story import Story, Walk
from optimizer.records import Contender, Importance, LearningCurve, State, Trial, Verdict
from optimizer.report import dollars, percent, spread
from optimizer.reports.curve_tables import ONCE, drawn_once

LEFT, TOP, BOTTOM = 48, 12, 250
NAMES = 190  # where the names beside a picture end
ROUGH = 16  # fewest rows for a running score without an estimate to be drawn as a point


def figures(story: Story) -> dict[str, Figure]:
    """Draw the pictures for which a run has data, by name."""
    return {figure.name: figure for figure in _figures(story)}


def _figures(story: Story) -> Iterator[Figure]:
    if story.verdict:
        yield contenders(story.verdict)
        yield quality(story.verdict)
        if story.verdict.findings and story.verdict.findings.cascade:
            yield cascade(story.verdict.findings.cascade, story.verdict.metric)
        if story.verdict.curve:
            yield learning(story.verdict.curve, story.verdict)
    if any(trial.score is not None for trial in story.trials):
        yield search(story.walk, story.control)
    if story.importances:
        yield importance(story.importances)


def contenders(verdict: Verdict) -> Figure:
    """Draw each contender's score on the test rows."""
    ends = [value for c in verdict.contenders for value in c.interval]
    bottom = TOP + 34 * len(verdict.contenders)
    rows = Scale(0, len(verdict.contenders), TOP, bottom, ())
    plot = Plot(scores(ends, NAMES, RIGHT), rows)
    plot.axes(f"{verdict.metric} on the test rows, in percent", rows=False)
    for row, c in enumerate(verdict.contenders):
        plot.text(NAMES - 10, rows(row + 0.5) + 4, c.name, "end")
        plot.level(row + 0.5, *c.interval, "faint span")
        plot.dot(c.score, row + 0.5, "mark", f"{c.name}: {percent(c.score)} ({spread(c.interval)})", 6)
    title = "Score of each contender on the sealed test rows, with 95 % intervals"
    return Figure("contenders", title, "", bottom + 50, tuple(plot.elements))


def search(walk: Walk, control: Walk | None) -> Figure:
    """Draw scores against calls: each trial where it was opened, the best so far, and a random search, if any."""
    points, best, beside = _points(walk), best_so_far(walk), best_so_far(control) if control else []
    values = [value for _, point in [*points, *beside] for value in (point.value, *(point.interval or ()))]
    last = max([rows for rows, _ in [*points, *beside]] + [sum(rows for _, rows in walk.asked), 1])
    plot = Plot(amounts([last], LEFT, RIGHT, lambda calls: f"{calls:,.0f}"), scores(values, BOTTOM, TOP))
    plot.axes("answers that the search has looked at")
    _draw_steps(plot, best, last, "mark line", "mark band")
    for calls, point in points:
        look, radius = ("mark", 4) if point.full else ("faint", 3)
        plot.dot(calls, point.value, look, point.said, radius)
    _draw_steps(plot, beside, last, "other line dash", "")
    note = (
        "A point is a prompt, where it was first tried, at what is known of it in the end: its score on all dev rows "
        "that the search looked at, or (pale) what all answers together say of it. Line: the best prompt tried so far, "
        "with its interval."
    )
    if control:
        note += f" Dashed: the same of run {control.run.id}, a random search of the same rows with the same model."
    title = "Score of the prompts against the answers looked at"
    return Figure("search", title, note, BOTTOM + 50, tuple(plot.elements))


@dataclass(frozen=True, slots=True)
class Point:
    """What is known of a trial in the end, and whether it was scored in full."""

    value: float
    interval: tuple[float, float] | None
    full: bool
    said: str


def _point(trial: Trial) -> Point | None:
    """Return a trial's full score, else its estimate, else its score on some rows; None if there is none."""
    full = trial.state is State.COMPLETE
    rough = trial.score if trial.n >= ROUGH else None
    value = trial.score if full else rough if trial.estimate is None else trial.estimate
    if value is None:
        return None
    said = f"trial {trial.number}: {percent(value)}, {'scored in full' if full else 'estimated'}"
    return Point(value, trial.interval if full else trial.credible, full, said)


def _points(walk: Walk) -> list[tuple[int, Point]]:
    """Return the trials' points in the order of opening, each with the number of answers looked at by then."""
    opened = walk.opened()
    known = [(opened[t.number], point) for t in walk.trials if t.number in opened and (point := _point(t))]
    return sorted(known, key=lambda pair: pair[0])


def best_so_far(walk: Walk) -> list[tuple[int, Point]]:
    """Return the prompts that were the best when they were opened, judged by their values in the end."""
    best = list[tuple[int, Point]]()
    for calls, point in _points(walk):
        if not best or point.value > best[-1][1].value:
            best.append((calls, point))
    return best


def _draw_steps(plot: Plot, best: Sequence[tuple[int, Point]], last: int, line: str, band: str) -> None:
    """Draw steps: each holds until a better one comes, the last one to the end."""
    if not best:
        return
    stops = [*(calls for calls, _ in best), last]
    spans = list(zip(pairwise(stops), (point for _, point in best), strict=True))
    if band:
        edges = [(calls, *point.interval) for span, point in spans if point.interval for calls in span]
        plot.band(edges, band)
    plot.path([(calls, point.value) for span, point in spans for calls in span], line)


def quality(verdict: Verdict) -> Figure:
    """Draw score against cost: contenders and the cascade's thresholds, by dollars if any are paid, else by time."""
    together = verdict.findings.cascade if verdict.findings else None
    paid = any(c.cost_per_1000 for c in verdict.contenders)

    def expense(c: Contender) -> float | None:
        return c.cost_per_1000 if paid else c.ms_per_1000

    known = [(c, x) for c in verdict.contenders if (x := expense(c)) is not None]
    front = [p for p in together.points if p.cost_per_1000 is not None] if together and paid else []
    ends = [value for c, _ in known for value in c.interval] + [p.score for p in front]
    costs = [x for _, x in known] + [p.cost_per_1000 or 0.0 for p in front]
    write = dollars if paid else lambda ms: f"{ms:,.0f}"
    plot = Plot(amounts(costs, LEFT, RIGHT - 60, write), scores(ends, BOTTOM, TOP))
    plot.axes("US dollars for 1,000 requests" if paid else "milliseconds for 1,000 requests")
    plot.path([(p.cost_per_1000 or 0.0, p.score) for p in front], "faint line")
    for point in front:
        said = f"cascade with {percent(point.share)} to the prompt: {percent(point.score)}"
        plot.dot(point.cost_per_1000 or 0.0, point.score, "faint", said, 4)
    for c, x in known:
        plot.upright(x, *c.interval, "faint span")
        plot.dot(x, c.score, "mark", f"{c.name}: {percent(c.score)} ({spread(c.interval)})", 6)
    for c, x, shift in _apart(known, plot):
        plot.text(plot.x(x) + 10, plot.y(c.score) + 4 + shift, c.name)
    note = "Up and to the left is better." + (" Pale line: the cascade's thresholds." if front else "")
    return Figure("quality", "Score against what a contender costs to use", note, BOTTOM + 50, tuple(plot.elements))


def cascade(found: Cascade, metric: str) -> Figure:
    """Draw the cascade's score on the test rows by the share that goes to the prompt, and the chosen threshold."""
    shares = Scale(0, 1, LEFT, RIGHT, [(tenth / 10, f"{10 * tenth}") for tenth in range(0, 11, 2)])
    plot = Plot(shares, scores([value for point in found.points for value in point.interval], BOTTOM, TOP))
    plot.axes("share of the rows that goes to the prompt, in percent; the trained baseline answers the rest")
    plot.path([(point.share, point.score) for point in found.points], "mark line")
    for point in found.points:
        plot.upright(point.share, *point.interval, "faint span")
        said = f"{percent(point.share)} to the prompt: {metric} {percent(point.score)} ({spread(point.interval)})"
        plot.dot(point.share, point.score, "mark", f"{said}, {dollars(point.cost_per_1000)} for 1,000")
        if point.chosen:
            plot.dot(point.share, point.score, "ring", "", 9)
    title = "Score of the cascade by the share of rows that goes to the prompt"
    return Figure("cascade", title, "Ring: chosen on dev rows.", BOTTOM + 50, tuple(plot.elements))


def _apart(known: Sequence[tuple[Contender, float]], plot: Plot) -> Iterator[tuple[Contender, float, float]]:
    """Move overlapping names apart: downwards, by a line each."""
    taken: list[tuple[float, float]] = []
    for c, x in sorted(known, key=lambda pair: -pair[0].score):
        place, shift = plot.x(x), 0.0
        while any(abs(place - px) < 130 and abs(plot.y(c.score) + shift - py) < 14 for px, py in taken):
            shift += 14
        taken.append((place, plot.y(c.score) + shift))
        yield c, x, shift


def learning(curve: LearningCurve, verdict: Verdict) -> Figure:
    """Draw the baseline's score by its number of labelled rows, the prompt it is compared with, and the crossover."""
    prompt = next(c for c in verdict.contenders if c.name == curve.prompt)
    ends = [value for point in curve.points for value in point.interval] + [prompt.score]
    least, most = curve.points[0].rows, curve.points[-1].rows
    reach = max(most, curve.crossover or 0)
    ticks = [(point.rows, f"{point.rows:,}") for point in curve.points]
    plot = Plot(Scale(least, reach, LEFT + 14, RIGHT, ticks, logarithmic=True), scores(ends, BOTTOM, TOP))
    plot.axes("labelled rows that the baseline is trained on")
    plot.path([(least, prompt.score), (reach, prompt.score)], "other line dash")
    plot.path([(point.rows, point.score) for point in curve.points], "mark line")
    for point in curve.points:
        plot.upright(point.rows, *point.interval, "faint span")
        said = f"{point.rows:,} rows: {percent(point.score)} ({spread(point.interval)})"
        plot.dot(point.rows, point.score, "mark", said)
    note = f"Dashed: the {prompt.name}."
    if curve.crossover is not None:
        plot.dot(curve.crossover, prompt.score, "ring", f"crossover: {curve.crossover:,} rows", 9)
        shown = "is level with it" if curve.level else "overtakes it"
        note += f" Ring: where training {shown}{', extrapolated' if curve.extrapolated else ''}."
    note += f" {ONCE[0].upper()}{ONCE[1:]}." if drawn_once(curve.points) else ""
    title = "Score of the trained baseline by its labelled rows"
    return Figure("learning", title, note, BOTTOM + 50, tuple(plot.elements))


def importance(found: Sequence[Importance]) -> Figure:
    """Draw how much of the differences between prompts each ingredient explains."""
    bottom = TOP + 26 * len(found)
    rows = Scale(0, len(found), TOP, bottom, ())
    steps = round_steps(0, 100 * max(i.high for i in found))
    shares = Scale(0, steps[-1] / 100, NAMES, RIGHT, [(step / 100, f"{step:g}") for step in steps])
    plot = Plot(shares, rows)
    plot.axes("share of the differences between prompts that the ingredient explains alone, in percent", rows=False)
    for row, i in enumerate(found):
        plot.text(NAMES - 10, rows(row + 0.5) + 4, i.dimension, "end")
        plot.level(row + 0.5, max(i.low, 0.0), i.high, "faint span")
        plot.dot(i.share, row + 0.5, "mark", f"{i.dimension}: {percent(i.share)} ({spread((i.low, i.high))})")
    title = "What each ingredient explains of the differences between prompts"
    return Figure("importance", title, "", bottom + 50, tuple(plot.elements))
