"""Estimating what a run will take before it begins: calls, tokens, dollars and time, each as a range.

The prompts of a space differ in length, so the ranges are computed over random ones. The tokens per character, and the
length and time of an answer, come from a few measured calls if there are any. Records in, records out: makes no call,
opens no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from optimizer.budget import Spent
from optimizer.calls.embeddings import BATCH
from optimizer.calls.gateway import Pace
from optimizer.engine.grid import Grid as Levels
from optimizer.engine.pooled import PICKS
from optimizer.evidence import robustness
from optimizer.preparing import Plan, dev_rows, looks
from optimizer.proposals.grounding import grounds
from optimizer.proposals.worked import lesson
from optimizer.propose import INSTRUCTION, MOST_CALLS, drafts
from optimizer.records import Completion, Request
from optimizer.rivals import curve, ladder
from optimizer.rivals.provider_tuning import KEPT
from optimizer.scores.judge import brief
from optimizer.task_sections import JUDGE, PROPOSER, TEACHER
from search_spaces.prompt import Example, Message, Prompt
from search_spaces.rendering import Renderer
from search_spaces.space import Space, Value

DRAWN = 64  # random prompts, enough for the quantiles TAIL and 1 - TAIL
SHOWN_ROWS = 8  # training rows with which each prompt is rendered
TAIL = 0.1  # share of the prompts that is left out at either end of a range
CHARACTERS, OCTETS = 5.0, 3.0  # most characters and least bytes per token, if no call was measured
SPEED = 50.0  # least tokens per second at which the rest of a longer answer is written
DECISION = (0.03, 0.15)  # seconds for a decision of the search; see benchmarks/LOG.md


class Range(NamedTuple):
    """The lowest and the highest expected value."""

    low: float
    high: float


NOTHING = Range(0, 0)
NO_COST = Spent()


@dataclass(frozen=True, slots=True)
class Probe:
    """Measured calls of the seed prompt on a few training rows.

    `characters` [n] are the lengths of the prompts of the `completions` [n]; `readable` of these had a readable answer.
    `failed` calls returned none, and `note` says why. `spent` is what was bought for the probe now.
    """

    characters: tuple[int, ...] = ()
    completions: tuple[Completion, ...] = ()
    readable: int = 0
    failed: int = 0
    note: str = ""
    spent: Spent = NO_COST


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of a run takes; dollars and seconds are None if they are not known."""

    name: str
    calls: Range = NOTHING
    prompt_tokens: Range = NOTHING
    completion_tokens: Range = NOTHING
    usd: Range | None = NOTHING
    seconds: Range | None = NOTHING


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run takes, by part and in total; `prompt` is the number of tokens of one of its prompts."""

    parts: tuple[Part, ...]
    total: Part
    prompt: Range


@dataclass(frozen=True, slots=True)
class Terms:
    """What calls cost (US dollars per prompt token and per completion token, if known), and how they are made.

    `beside` has the same for the calls of a judge, a proposer and a teacher, by role.
    """

    price: tuple[float, float] | None
    pace: Pace | None
    beside: Mapping[str, Terms] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """What a call takes."""

    prompt: Range
    completion: Range
    seconds: Range | None


def estimate(plan: Plan, probe: Probe, terms: Terms, rng: np.random.Generator) -> Estimate:
    """Estimate what a run takes.

    Parameters
    ----------
    plan
        The prepared task.
    probe
        The measured calls, if any.
    terms
        What calls cost, and how they are made.
    rng
        Draws the prompts.
    """
    space, options = plan.space, plan.task.search
    levels = Levels(space)
    drawn = [levels.decode(codes) for codes in levels.random(DRAWN, rng)]
    rows = plan.data.train[:SHOWN_ROWS]
    seed = _call(space.build(space.seed()), plan.renderer, rows, probe)
    some = _span([_call(space.build(params), plan.renderer, rows, probe) for params in drawn])
    dev, test = len(dev_rows(plan)), plan.sealed
    most = min(looks(plan), dev * min(space.size, options.trials))
    asked = PICKS * options.block  # at a time
    # The shortest search finds no gain: it evaluates the seed prompt and the leader on all dev rows.
    calls = Range(min(most, dev * min(2, space.size)), most)
    search = costed("search", [(calls, some)], terms, asked)
    parts = [_later(search, Range(*(n / asked * each for n, each in zip(calls, DECISION, strict=True))))]
    if options.ablate:
        changed = np.quantile([_unlike(space, params) for params in drawn], [TAIL, 1 - TAIL])
        parts.append(costed("ablation", [(Range(*(dev * int(n) for n in changed)), some)], terms))
    parts.extend(_baselines(plan))
    extras = plan.task.verdict
    again = len(plan.data.test) * (extras.hint + extras.picked_demos) + len(plan.swapped)
    parts.append(costed("verdict", [(Range(test, test), seed), (Range(0, test + again), some)], terms))
    if plan.unlabelled:
        more = len(plan.unlabelled)
        parts.append(costed("distillation", [(Range(more, more), some)], terms))
    if extras.tuned_search:
        reading, writing = ladder.tuning_prices(plan.task)[1]
        price = None if reading is None or writing is None else (reading, writing)
        further = Range(0, extras.tuned_search + len(plan.data.test))
        parts.append(costed("tuned search", [(further, some)], Terms(price, terms.pace), asked))
    if plan.task.verdict.robustness:
        changes = Range(*robustness.most_calls(len(plan.data.test)))
        parts.append(costed("robustness", [(changes, some)], terms))
    parts.extend(_grown(plan))
    if judging := terms.beside.get(JUDGE):
        one = _judgement(plan)
        parts.append(costed("judge", [(_judgements(plan, parts), one)], judging))
        parts.append(costed("judge: further", [(Range(0, _further(plan)), one)], judging))
    if proposing := terms.beside.get(PROPOSER):
        asked_for = [ask.request for ask in drafts(grounds(plan), {INSTRUCTION: [*space[INSTRUCTION].texts.values()]})]
        spare = looks(plan) > 2 * dev  # more than the seed prompt and the leader need; else there may be no proposals
        rounds = Range(len(asked_for) if spare else 0, MOST_CALLS)
        parts.append(costed("proposals", [(rounds, unprobed(asked_for))], proposing))
    if options.worked:
        parts.insert(0, costed("worked demos", [_lesson(plan)], terms.beside.get(TEACHER, terms)))
    return Estimate(tuple(parts), together(parts), some.prompt)


def _baselines(plan: Plan) -> Iterator[Part]:
    """Yield what each kind of trained rival takes: seconds on this machine, or purchases from a provider."""
    task, data, specs = plan.task, plan.data, plan.task.baseline
    here, train = Range(0, specs.seconds), [row.text for row in data.train]
    later = [row.text for row in (*data.dev, *data.test, *plan.ood)]
    for kind, left_out in ladder.choose(task, labelled=bool(plan.labels)).items():
        name = "baseline" if kind == "linear" else f"baseline: {kind}"
        if left_out:
            continue
        if not ladder.bought(kind, task):
            yield Part(name, seconds=here)
        elif kind == "encoder":
            texts = [*train, *later, *(row.text for row in plan.unlabelled)]
            tokens, price = _counted(texts), ladder.embedding_price(task)
            batches = math.ceil(len(texts) / BATCH)
            yield Part(name, Range(batches, batches + 1), tokens, usd=_priced(tokens, price), seconds=here)
        else:
            epochs = Range(specs.provider.epochs, specs.provider.epochs)
            trained = _times(_counted([*train, *(row.target for row in data.train)]), epochs)
            trained = _times(trained, Range(1, specs.provider.jobs))
            rows, kept = (*data.dev, *data.test, *plan.ood), min(KEPT, specs.provider.epochs - 1)
            more = kept * len(data.dev)  # for the models of earlier epochs, if the provider keeps them
            more += (specs.provider.jobs - 1) * (1 + kept) * len(data.dev)  # and for the other jobs
            again = Range(1, 1 + more / len(rows))
            asked, written = (_times(_counted(each), again) for each in (later, [row.target for row in rows]))
            training, (reading, writing) = ladder.tuning_prices(task)
            each = [_priced(trained, training), _priced(asked, reading), _priced(written, writing)]
            usd = None if None in each else _sum(part for part in each if part)
            yield Part(name, Range(len(later), len(later) + more), _sum([trained, asked]), written, usd, None)


def _grown(plan: Plan) -> Iterator[Part]:
    """Yield what a learning curve at a provider takes, if the provider's model turns out best on dev."""
    train, test, spec = plan.data.train, plan.data.test, plan.task.baseline.provider
    if not spec.curve or ladder.choose(plan.task, labelled=bool(plan.labels))["provider"]:
        return
    share, models = sum(spec.curve) / len(train), len(spec.curve)
    epochs = _counted([*(row.text for row in train), *(row.target for row in train)]).high * spec.epochs
    asked, written = (_counted(each).high * models for each in ([r.text for r in test], [r.target for r in test]))
    training, (reading, writing) = ladder.tuning_prices(plan.task)
    tokens = [(epochs * share, training), (asked, reading), (written, writing)]
    known = [_priced(Range(0, number), price) for number, price in tokens]
    usd = None if None in known else _sum(part for part in known if part)
    calls = Range(0, models * len(test))
    yield Part("learning curve", calls, Range(0, epochs * share + asked), Range(0, written), usd, None)


def _judgements(plan: Plan, parts: Sequence[Part]) -> Range:
    """Return the number of judgements: of all scored answers, and of the baseline's answers to the same rows."""
    scored = {"search", "ablation", "verdict", "tuned search", "robustness", "learning curve"}
    extras, test = plan.task.verdict, len(plan.data.test)
    again = len(plan.swapped) + (robustness.most_calls(test)[0] if extras.robustness else 0)
    again += plan.sealed if plan.unlabelled else 0
    return _sum([Range(plan.sealed, plan.sealed + again), *(part.calls for part in parts if part.name in scored)])


def _further(plan: Plan) -> int:
    """Return how many further judgements there may be: of the baseline's dev and train rows and its learning curve."""
    data = plan.data
    draws = sum(curve.repeats(size) for size in curve.sizes(len(data.train))[:-1])
    return min(plan.further, len(data.dev) + min(len(data.train), len(data.test)) + draws * len(data.test))


def _counted(texts: Sequence[str]) -> Range:
    """Estimate the tokens of texts from their characters and bytes."""
    return Range(sum(map(len, texts)) / CHARACTERS, sum(len(text.encode()) for text in texts) / OCTETS)


def _priced(tokens: Range, price: float | None) -> Range | None:
    return None if price is None else _times(tokens, Range(price, price))


def _call(prompt: Prompt, renderer: Renderer, rows: Sequence[Example], probe: Probe) -> Call:
    """Estimate what a call of a prompt takes, averaged over some rows."""
    rendered = [renderer.messages(prompt, row) for row in rows]
    size = sum(map(characters, rendered)) / len(rows)
    octets = sum(len(message.content.encode()) for messages in rendered for message in messages) / len(rows)
    bound, done = prompt.settings.max_tokens, probe.completions
    counted = sum(completion.prompt_tokens for completion in done)
    tokens = size * counted / sum(probe.characters) if counted else 0.0
    asked = Range(tokens, tokens) if counted else Range(size / CHARACTERS, octets / OCTETS)
    if not done:
        return Call(asked, Range(1, bound), None)
    written, seconds = [c.completion_tokens for c in done], [c.seconds for c in done]
    if not prompt.reasoning:
        return Call(asked, Range(min(written), max(written) or bound), Range(min(seconds), max(seconds)))
    longer = max(0, bound - max(written))
    speed = max(SPEED, *(n / max(t, 1e-6) for n, t in zip(written, seconds, strict=True)))
    return Call(asked, Range(min(written), max(written) + longer), Range(min(seconds), max(seconds) + longer / speed))


def _lesson(plan: Plan) -> tuple[Range, Call]:
    """Return how many training rows are reasoned about before the search, and what each call takes."""
    options, teacher = plan.task.search, plan.task.teaching
    asked = lesson(plan.space, options.worked, options.seed, teacher.max_tokens if teacher else None)
    requests = [Request(plan.renderer.messages(asked.prompt, row), asked.prompt.settings) for row in asked.rows]
    return Range(len(requests), len(requests)), unprobed(requests[:SHOWN_ROWS])


def _judgement(plan: Plan) -> Call:
    """Estimate what a call of the judge takes, if answers are about as long as the accepted ones."""
    asked = brief(plan.task)
    return unprobed([asked.request(row, row.target) for row in plan.data.train[:SHOWN_ROWS]])


def unprobed(requests: Sequence[Request]) -> Call:
    """Estimate what calls like these take, without any measured ones."""
    rendered = [request.messages for request in requests]
    size = sum(map(characters, rendered)) / len(rendered)
    octets = sum(len(message.content.encode()) for messages in rendered for message in messages) / len(rendered)
    return Call(Range(size / CHARACTERS, octets / OCTETS), Range(1, requests[0].settings.max_tokens), None)


def characters(messages: Sequence[Message]) -> int:
    """Count the characters of messages."""
    return sum(len(message.content) for message in messages)


def _span(calls: Sequence[Call]) -> Call:
    """Return what calls of many prompts take, without the extremes."""
    prompt, completion = _tails([call.prompt for call in calls]), _tails([call.completion for call in calls])
    seconds = [call.seconds for call in calls if call.seconds]
    return Call(prompt, completion, _tails(seconds) if seconds else None)


def _tails(ranges: Sequence[Range]) -> Range:
    lows, highs = zip(*ranges, strict=True)
    return Range(float(np.quantile(lows, TAIL)), float(np.quantile(highs, 1 - TAIL)))


def _unlike(space: Space, params: dict[str, Value]) -> int:
    """Count the dimensions in which a prompt differs from the seed prompt."""
    return sum(d.name in params and params[d.name] != d.seed for d in space.dimensions)


def costed(name: str, asked: Sequence[tuple[Range, Call]], terms: Terms, at_a_time: int = 10**9) -> Part:
    """Multiply numbers of calls by what each takes; at most `at_a_time` calls are made in parallel."""
    calls = _sum(n for n, _ in asked)
    prompt = _sum(_times(n, call.prompt) for n, call in asked)
    completion = _sum(_times(n, call.completion) for n, call in asked)
    usd = seconds = None
    if terms.price is not None:
        per_prompt, per_token = terms.price
        usd = Range(*(a * per_prompt + b * per_token for a, b in zip(prompt, completion, strict=True)))
    known = [_times(n, call.seconds) for n, call in asked if call.seconds]
    if len(known) == len(asked):
        pace = terms.pace or Pace(workers=1)
        workers = min(pace.workers, at_a_time)
        figures = zip(_sum(known), calls, prompt, completion, strict=True)
        seconds = Range(*(max(busy / workers, _paced(pace, n, a + b)) for busy, n, a, b in figures))
    return Part(name, calls, prompt, completion, usd, seconds)


def _paced(pace: Pace, calls: float, tokens: float) -> float:
    """Return the least seconds that caps per minute allow for so many calls and tokens."""
    pairs = ((calls, pace.requests_per_minute), (tokens, pace.tokens_per_minute))
    return max((60 * amount / cap for amount, cap in pairs if cap), default=0.0)


def _later(part: Part, seconds: Range) -> Part:
    total = _sum([part.seconds, seconds]) if part.seconds else None
    return Part(part.name, part.calls, part.prompt_tokens, part.completion_tokens, part.usd, total)


def together(parts: Sequence[Part]) -> Part:
    """Add up parts; dollars or seconds that are unknown for one part are unknown in total."""
    usd = [part.usd for part in parts if part.usd is not None]
    seconds = [part.seconds for part in parts if part.seconds is not None]
    return Part(
        "in all",
        _sum(part.calls for part in parts),
        _sum(part.prompt_tokens for part in parts),
        _sum(part.completion_tokens for part in parts),
        _sum(usd) if len(usd) == len(parts) else None,
        _sum(seconds) if len(seconds) == len(parts) else None,
    )


def _times(a: Range, b: Range) -> Range:
    return Range(a.low * b.low, a.high * b.high)


def _sum(ranges: Iterable[Range]) -> Range:
    lows, highs = zip(*ranges, strict=True)
    return Range(sum(lows), sum(highs))
