"""A small in-process stand-in for a language model, so that a first run needs no key and no network.

What it is: an in-context kernel learner. It finds the demonstrations in a prompt whatever the template, weighs their
answers by likeness to the query, adds what the listed labels and their descriptions share with it, and answers in
the form that the prompt shows or asks for.

What it is not: a language model. It understands nothing, knows no language and nothing of the world, and nothing at
all but the prompt in front of it: no training data, no labels handed in by the side. It is here to try the machine
on. How its accuracy moves between prompts is real; the accuracy itself says nothing about a real model.

It reads no template, no data file and no database; `reading` takes the prompt apart and `forms` writes the answer.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, pairwise
from operator import mul

from optimizer.embedded.copying import carry_over, shows_spans
from optimizer.embedded.forms import Form, find_form, find_labels, letters, split_answer
from optimizer.embedded.reading import Reading, read
from optimizer.records import Completion, Request
from search_spaces.prompt import Message

CHARACTERS_PER_TOKEN = 4  # the usual rule of thumb for English; there is no tokenizer here
# Attention to what was said earlier halves over so many characters: a bit more for late demonstrations.
HALF_ATTENTION = 3000
# Where an input begins is the fainter the fewer marks part it from the answer before. So an answer is credited with
# part of the input before its own: BLUR, halved by so many characters of marks.
BLUR = 0.6
HALF_BLUR = 8
SHARPNESS = 2.0  # a demonstration twice as alike counts 2 ** SHARPNESS times as much
GRAM = 0.4  # weight of a run of four letters against a whole word; lets "cancel" meet "cancellation"
PAIR = 1.0  # weight of two words in a row
ATTENTION = 1.3  # weight of a query's word that the instruction mentions too
UNLIKE = 0.02  # likeness shared among all demonstrations alike, so that none of them is worth nothing
DOUBT = 0.015  # the demonstrations' word counts half against the labels' where the closest is only so alike
UNSHOWN = 0.05  # share of the votes left to an answer that no demonstration gives
LISTED = 0.2  # log-odds for one telling word shared with a label's name or description
NAMED = 0.5  # a word of a label's name against one of its description: rows seldom say what they are
# Attention goes where the wording points: to the examples, to what is said of the labels, to second thoughts. These
# few words are all the English that it knows.
STEER = {
    "examples": re.compile(r"\bexamples\b|\bcompar|\bclosest\b|\bnearest\b|\bsimilar\b|\bresembl", re.IGNORECASE),
    "labels": re.compile(r"\bdescri[bp]|\blisted\b|\bdefinition|\bwords\b|\bphrases\b|\bterms\b", re.IGNORECASE),
    "twice": re.compile(r"\bweigh\b|\brunner-up\b|\btwice\b|\bdouble[- ]check|\bclose together\b", re.IGNORECASE),
}
STEERED = 1.5  # how much more the part counts that the wording points to
SHORT = 4  # words of fewer letters tell less: frequent words are short (Zipf 1935)


class EmbeddedModel:
    """Answers requests in process, in about a millisecond, at no price.

    Not a language model: see the module. Equal requests get equal completions; randomness comes only from a hash
    of the messages and the sample's number, and only above temperature 0.
    """

    name: str = "embedded"
    address: str = ""
    price: tuple[float, float] = (0.0, 0.0)

    def complete(self, request: Request) -> Completion:
        """Complete a prompt.

        Parameters
        ----------
        request
            Any messages; an empty prompt is answered too.

        Returns
        -------
        The completion, cut at `max_tokens` of four characters each; token counts are estimated alike. Its
        log-probabilities, where they are asked for, are of whole answers, at temperature 1 whatever the request's.
        """
        settings = request.settings
        weighed = _consider(tuple(request.messages))
        text = weighed.answer(tuple(request.messages), settings.temperature, request.sample)
        limit = _limit(settings.max_tokens)
        kept = text[:limit]
        asked = sum(len(message.content) for message in request.messages)
        return Completion(
            text=kept,
            prompt_tokens=max(asked // CHARACTERS_PER_TOKEN, 1),
            completion_tokens=max(len(kept) // CHARACTERS_PER_TOKEN, 1),
            finish_reason="length" if len(kept) < len(text) else "stop",
            logprobs=weighed.logprobs(limit) if settings.logprobs else (),
        )


def complete_text(
    messages: Sequence[Message], *, temperature: float = 0.0, max_tokens: int = 64, sample: int = 0
) -> str:
    """Complete a prompt and return the text alone; as `EmbeddedModel.complete`."""
    return _consider(tuple(messages)).answer(tuple(messages), temperature, sample)[: _limit(max_tokens)]


def _limit(max_tokens: int) -> int:
    return max(max_tokens, 1) * CHARACTERS_PER_TOKEN


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A question considered: how to write, and the log-odds of every answer in sight before and after second thoughts.

    Second thoughts are between the two leading answers alone; without any, `last` is `first`.
    """

    form: Form
    case: _Case
    first: Mapping[str, float]
    last: Mapping[str, float]

    def answer(self, messages: tuple[Message, ...], temperature: float, sample: int) -> str:
        """Choose, and write."""
        if not self.last:
            # Nothing to choose from: say a word of the query, the longest, as a babbler would.
            words = _WORD.findall(self.case.text) or ["unclear"]
            return self.form.write(max(words, key=len), "There is nothing to compare this with.")
        odds = _heat(self.last, temperature, messages, sample) if temperature > 0 else self.last
        best = max(odds, key=lambda answer: odds[answer])
        thought = _thought(self.case, best) if self.form.reasoning else ""
        rows = [(text, answer) for text, answer, *_ in self.case.demos]
        if self._carries_over():
            best = carry_over(next(text for text, answer in reversed(rows) if answer == best), best, self.case.text)
        return self.form.write(best, thought)

    def logprobs(self, limit: int) -> tuple[tuple[str, float], ...]:
        """Write every answer with its log-probability by the odds that it is chosen by: the softmax of them.

        The first look says how likely the two leading answers are together, the second divides that between them.
        There are none where thoughts come first, or where the answer is made of the query's words.
        """
        if not self.last or self.form.reasoning or self._carries_over():
            return ()
        total, leading = _log_sum(self.first.values()), _log_sum(self.first[answer] for answer in self.last)
        again = leading - total - _log_sum(self.last.values())
        values = {answer: value - total for answer, value in self.first.items()}
        values |= {answer: value + again for answer, value in self.last.items()}
        return tuple((self.form.write(answer, "")[:limit], round(value, 4)) for answer, value in values.items())

    def _carries_over(self) -> bool:
        return not self.case.labels and shows_spans([(text, answer) for text, answer, *_ in self.case.demos])


def _consider(messages: tuple[Message, ...]) -> _Weighed:
    """Read and weigh."""
    reading = read(messages)
    form = find_form(reading, tuple(shown.answer for shown in reading.shown))
    case = _case(reading, tuple(split_answer(shown.answer, form) for shown in reading.shown))
    odds = _weigh(case)
    again = odds and (form.reasoning or "twice" in case.steer)
    return _Weighed(form, case, odds, _look_again(case, odds) if again else odds)


def _log_sum(values: Iterable[float]) -> float:
    listed = list(values)
    top = max(listed)
    return top + math.log(math.fsum(math.exp(value - top) for value in listed))


def _heat(odds: Mapping[str, float], temperature: float, messages: Sequence[Message], sample: int) -> dict[str, float]:
    """Add Gumbel noise, so that the largest is a draw from softmax(odds / temperature)."""
    said = repr(([(m.role, m.content) for m in messages], sample))
    seed = hashlib.sha256(said.encode(errors="surrogatepass")).digest()
    draw = random.Random(int.from_bytes(seed[:8], "big"))
    noise = {answer: -math.log(-math.log(draw.random() or 0.5)) for answer in sorted(odds)}
    return {answer: value + temperature * noise[answer] for answer, value in odds.items()}


# --- likeness ---------------------------------------------------------------------------------------------

# Words, and the marks that tell a question, a shout or a price.
_TOKEN = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*|[?!\u20ac\u00a3$%@]")
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


@lru_cache(maxsize=65536)
def _grams(token: str) -> tuple[str, ...]:
    padded = f" {token} "
    return tuple(padded[i : i + 4] for i in range(len(padded) - 3))


@lru_cache(maxsize=2048)
def _features(text: str) -> dict[str, float]:
    """Count words, pairs of words and runs of four letters, damped by the logarithm."""
    tokens = _TOKEN.findall(text.casefold())
    counts = {token: 1.0 * n for token, n in Counter(tokens).items()}
    for gram, n in Counter(chain.from_iterable(map(_grams, tokens))).items():
        counts[gram] = counts.get(gram, 0.0) + GRAM * n
    for pair in pairwise(tokens):
        both = " ".join(pair)
        counts[both] = counts.get(both, 0.0) + PAIR
    return {feature: math.log1p(n) for feature, n in counts.items()}


@lru_cache(maxsize=2048)
def _squares(text: str) -> tuple[float, ...]:
    return tuple(v * v for v in _features(text).values())


@lru_cache(maxsize=64)
def _shelf(texts: tuple[str, ...]) -> tuple[dict[str, float], tuple[float, ...], Mapping[str, int]]:
    """Weigh features by their rarity in these texts alone; the texts' lengths under that weight; the counts."""
    n = len(texts)
    frequency = Counter(chain.from_iterable(map(_features, texts)))
    squared = [math.log1p(n / max(df, 1)) ** 2 for df in range(n + 1)]
    rarity = {feature: squared[df] for feature, df in frequency.items()}
    norms = tuple(
        math.sqrt(sum(map(mul, _squares(text), map(rarity.__getitem__, _features(text))))) or 1.0 for text in texts
    )
    return rarity, norms, frequency


# --- weighing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Case:
    """A question before the learner.

    `text` is the query and `query` its features; `demos` holds (text, answer, attention, blur), `labels` (name, note,
    attention); `steer` names the parts of the prompt that its wording points to.
    """

    text: str
    query: Mapping[str, float]
    demos: tuple[tuple[str, str, float, float], ...]
    labels: tuple[tuple[str, str, float], ...]
    steer: frozenset[str]


def _case(reading: Reading, answers: Sequence[str]) -> _Case:
    """Gather what can be weighed; an answer that is a listed label in other letters counts as that label."""
    labels = find_labels(reading.guide, reading.tail, frozenset(answers))
    listed = {letters(label.name): label.name for label in labels}
    demos = tuple(
        (
            shown.text,
            listed.get(letters(answer), answer),
            0.5 ** (shown.distance / HALF_ATTENTION),
            BLUR * 0.5 ** (shown.gap / HALF_BLUR),
        )
        for shown, answer in zip(reading.shown, answers, strict=True)
    )
    query = _features(reading.query)
    if mentioned := _mentioned(reading.guide) & query.keys():
        query = query | {word: query[word] * ATTENTION for word in mentioned}
    return _Case(
        reading.query,
        query,
        demos,
        tuple((x.name, x.note, 0.5 ** (reading.distance(x.place) / HALF_ATTENTION)) for x in labels),
        _steer(reading.guide),
    )


@lru_cache(maxsize=256)
def _steer(guide: str) -> frozenset[str]:
    """Tell which parts of the prompt its wording points to; the list of labels is no wording."""
    wording = "\n".join(line for line in guide.splitlines() if not line.lstrip().startswith(("-", "*")))
    return frozenset(part for part, pattern in STEER.items() if pattern.search(wording))


@lru_cache(maxsize=256)
def _mentioned(guide: str) -> frozenset[str]:
    return frozenset(_TOKEN.findall(guide.casefold()))


def _weigh(case: _Case) -> dict[str, float]:
    """Log-odds of every answer in sight: votes of the demonstrations, and words shared with the labels."""
    shares, closest = _votes(case)
    odds = {name: 0.0 for name, _, _ in case.labels} | dict.fromkeys(shares, 0.0)
    if shares:
        # The fewer of the answers are shown, the closer an example must be to be believed.
        doubt = DOUBT * len(odds) / len(shares)
        shown = (STEERED if "examples" in case.steer else 1.0) * closest / (closest + doubt)
        odds = {answer: shown * math.log(shares.get(answer, 0.0) + UNSHOWN) for answer in odds}
    listed = LISTED * (STEERED if "labels" in case.steer else 1.0)
    for name, value in _shared(case).items():
        odds[name] += listed * value
    return odds


def _votes(case: _Case) -> tuple[dict[str, float], float]:
    """Share the votes by answer, and the largest vote: each demonstration's is its likeness to the query, sharpened."""
    texts = tuple(text for text, *_ in case.demos)
    if not texts:
        return {}, 0.0
    rarity, norms, _ = _shelf(texts)
    n = len(texts)
    new = math.log1p(n) ** 2
    query = {feature: v * rarity.get(feature, new) for feature, v in case.query.items()}
    length = math.sqrt(sum(v * query[feature] for feature, v in case.query.items())) or 1.0
    votes: dict[str, float] = {}
    before = closest = 0.0
    for (text, answer, attention, blur), norm in zip(case.demos, norms, strict=True):
        features = _features(text)
        dot = math.fsum(query[f] * features[f] for f in query.keys() & features.keys())  # exact, so in any order
        likeness = (dot / (norm * length)) ** SHARPNESS + UNLIKE / n
        votes[answer] = votes.get(answer, 0.0) + attention * (likeness + blur * before)
        before, closest = likeness, max(closest, likeness)
    total = sum(votes.values())
    return {answer: vote / total for answer, vote in votes.items()}, closest


def _shared(case: _Case) -> dict[str, float]:
    """Add up what the query shares with each label's name and description, rare words counting more."""
    if not case.labels:
        return {}
    rarity = _label_rarity(tuple((name, note) for name, note, _ in case.labels))
    texts = tuple(text for text, *_ in case.demos)
    *_, common = _shelf(texts)
    found: dict[str, float] = {}
    for name, note, attention in case.labels:
        told: list[float] = []
        for text, trust in ((name.replace("_", " "), NAMED), (note, 1.0)):
            features = _features(text)
            for f in case.query.keys() & features.keys():
                unusual = math.log2(1 + (len(texts) + 2) / (common.get(f, 0) + 2))
                weight = trust * rarity[f] * min(1.0, len(f) / SHORT) * unusual
                told.append(features[f] * min(case.query[f], 1.0) * weight)
        found[name] = attention * math.fsum(told)
    return found


@lru_cache(maxsize=64)
def _label_rarity(labels: tuple[tuple[str, str], ...]) -> dict[str, float]:
    """How far a feature tells these labels apart: 1 where one alone has it."""
    n = len(labels)
    seen = Counter(
        chain.from_iterable(_features(name.replace("_", " ")).keys() | _features(note).keys() for name, note in labels)
    )
    return {feature: (math.log1p(n / df) / math.log1p(n)) ** 2 for feature, df in seen.items()}


def _look_again(case: _Case, odds: Mapping[str, float]) -> dict[str, float]:
    """Weigh the two leading answers again, by what tells these two apart.

    Among fewer texts other words are rare, so second thoughts differ from first ones: they may help or hurt.
    """
    leading = sorted(odds, key=lambda answer: -odds[answer])[:2]
    demos = tuple(demo for demo in case.demos if demo[1] in leading)
    labels = tuple(label for label in case.labels if label[0] in leading)
    second = _weigh(replace(case, demos=demos, labels=labels))
    return {answer: odds[answer] + second.get(answer, 0.0) for answer in leading}


def _thought(case: _Case, answer: str) -> str:
    """Name the words that the query shares with the texts of an answer, the rarest first."""
    texts = [text for text, given, *_ in case.demos if given == answer]
    texts += [f"{name.replace('_', ' ')} {note}" for name, note, _ in case.labels if name == answer]
    *_, common = _shelf(tuple(text for text, *_ in case.demos))
    said = set(_WORD.findall(case.text.casefold()))
    shared = {word for text in texts for word in said & _features(text).keys()}
    telling = sorted(shared, key=lambda f: (common.get(f, 0) - len(f), f))[:3]
    named = f"the words {', '.join(telling)}" if telling else "nothing in particular"
    return f"What stands out is {named}, which fits {answer} best."[:200]
