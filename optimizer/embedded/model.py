"""A small in-process stand-in for a language model, so that a first run needs no key and no network.

What it is: an in-context kernel learner. It finds the demonstrations in a prompt whatever the template, weights their
answers by their similarity to the query, adds what the query shares with the listed labels and their descriptions, and
answers in the form that the prompt shows or asks for.

What it is not: a language model. It understands nothing, knows no language and nothing of the world, and sees only the
prompt in front of it: no training data, and no labels from elsewhere. It is for trying out the program. How its
accuracy varies between prompts is real; the accuracy itself says nothing about a real model.

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
# Attention to earlier text halves over so many characters, so that late demonstrations count a bit more.
HALF_ATTENTION = 3000
# The fewer marks separate an input from the answer before it, the less clear it is where the input begins. So an answer
# also gets part of the previous input's similarity: BLUR, halved for every HALF_BLUR characters of marks.
BLUR = 0.6
HALF_BLUR = 8
SHARPNESS = 2.0  # a demonstration that is twice as similar counts 2 ** SHARPNESS times as much
GRAM = 0.4  # weight of four letters in a row, relative to a whole word; lets "cancel" match "cancellation"
PAIR = 1.0  # weight of two words in a row
ATTENTION = 1.3  # factor on the weight of a query's word that the instruction mentions, too
UNLIKE = 0.02  # similarity that all demonstrations share equally, so that none of them counts nothing
DOUBT = 0.015  # similarity of the closest demonstration at which all of them count half
UNSHOWN = 0.05  # share of the votes left to an answer that no demonstration gives
LISTED = 0.2  # log-odds for one telling word shared with a label's name or description
NAMED = 0.5  # weight of a word of a label's name, relative to its description: rows seldom name their label
# Attention goes where the wording points: to the examples, to the labels' descriptions, to a second look. These
# few words are all the English that it knows.
STEER = {
    "examples": re.compile(r"\bexamples\b|\bcompar|\bclosest\b|\bnearest\b|\bsimilar\b|\bresembl", re.IGNORECASE),
    "labels": re.compile(r"\bdescri[bp]|\blisted\b|\bdefinition|\bwords\b|\bphrases\b|\bterms\b", re.IGNORECASE),
    "twice": re.compile(r"\bweigh\b|\brunner-up\b|\btwice\b|\bdouble[- ]check|\bclose together\b", re.IGNORECASE),
}
STEERED = 1.5  # factor on the weight of the part that the wording points to
SHORT = 4  # letters: shorter words count less, because frequent words are short (Zipf 1935)


class EmbeddedModel:
    """Answers requests in process, in about a millisecond, for free.

    Not a language model: see the module. Equal requests get equal completions; randomness comes only from a hash of the
    messages and the sample's number, and only above temperature 0.
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
        The completion, cut at `max_tokens` of four characters each; token counts are estimated in the same way.
        Log-probabilities, if requested, are those of whole answers, at temperature 1 whatever the request's temperature
        is.
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
    """Complete a prompt like `EmbeddedModel.complete`, and return only the text."""
    return _consider(tuple(messages)).answer(tuple(messages), temperature, sample)[: _limit(max_tokens)]


def _limit(max_tokens: int) -> int:
    return max(max_tokens, 1) * CHARACTERS_PER_TOKEN


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A question that was considered: the form of the answer, and the log-odds of every possible answer.

    `first` are the odds at first look. `last` are those of the two leading answers after a second look; without one
    they are `first`.
    """

    form: Form
    case: _Case
    first: Mapping[str, float]
    last: Mapping[str, float]

    def answer(self, messages: tuple[Message, ...], temperature: float, sample: int) -> str:
        """Choose an answer, and write it."""
        if not self.last:
            # Nothing to choose from: answer with the longest word of the query.
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
        """Write every answer with its log-probability, the softmax of the odds that it is chosen by.

        The first look gives the probability of the two leading answers together, the second divides it between them.
        Empty if thoughts come first, or if the answer is made of the query's words.
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
    """Read a prompt, and weigh its possible answers."""
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


# --- similarity -------------------------------------------------------------------------------------------

# Words, and characters that signal a question, an exclamation or a price.
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
    """Return these texts' feature weights (by rarity), the texts' norms under them, and document frequencies."""
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
    """A question to be answered.

    `text` is the query and `query` its features; `demos` holds (text, answer, attention, blur), `labels` (name, note,
    attention); `steer` names the parts of the prompt that its wording points to.
    """

    text: str
    query: Mapping[str, float]
    demos: tuple[tuple[str, str, float, float], ...]
    labels: tuple[tuple[str, str, float], ...]
    steer: frozenset[str]


def _case(reading: Reading, answers: Sequence[str]) -> _Case:
    """Collect what can be weighed; an answer with the letters and digits of a listed label counts as that label."""
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
    """Return the parts of the prompt that its wording points to; the list of labels is not part of the wording."""
    wording = "\n".join(line for line in guide.splitlines() if not line.lstrip().startswith(("-", "*")))
    return frozenset(part for part, pattern in STEER.items() if pattern.search(wording))


@lru_cache(maxsize=256)
def _mentioned(guide: str) -> frozenset[str]:
    return frozenset(_TOKEN.findall(guide.casefold()))


def _weigh(case: _Case) -> dict[str, float]:
    """Return the log-odds of every possible answer: votes of the demonstrations, and words shared with the labels."""
    shares, closest = _votes(case)
    odds = {name: 0.0 for name, _, _ in case.labels} | dict.fromkeys(shares, 0.0)
    if shares:
        # The fewer of the possible answers are shown, the closer an example must be to count.
        doubt = DOUBT * len(odds) / len(shares)
        shown = (STEERED if "examples" in case.steer else 1.0) * closest / (closest + doubt)
        odds = {answer: shown * math.log(shares.get(answer, 0.0) + UNSHOWN) for answer in odds}
    listed = LISTED * (STEERED if "labels" in case.steer else 1.0)
    for name, value in _shared(case).items():
        odds[name] += listed * value
    return odds


def _votes(case: _Case) -> tuple[dict[str, float], float]:
    """Return each answer's share of the votes, which are sharpened similarities to the query, and the largest vote."""
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
    """Sum up what the query shares with each label's name and description; rare words count more."""
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
    """Return how well a feature tells these labels apart: 1 if only one of them has it."""
    n = len(labels)
    seen = Counter(
        chain.from_iterable(_features(name.replace("_", " ")).keys() | _features(note).keys() for name, note in labels)
    )
    return {feature: (math.log1p(n / df) / math.log1p(n)) ** 2 for feature, df in seen.items()}


def _look_again(case: _Case, odds: Mapping[str, float]) -> dict[str, float]:
    """Weigh the two leading answers again, by what tells these two apart.

    Among fewer texts other words are rare, so the second look differs from the first: it may help or hurt.
    """
    leading = sorted(odds, key=lambda answer: -odds[answer])[:2]
    demos = tuple(demo for demo in case.demos if demo[1] in leading)
    labels = tuple(label for label in case.labels if label[0] in leading)
    second = _weigh(replace(case, demos=demos, labels=labels))
    return {answer: odds[answer] + second.get(answer, 0.0) for answer in leading}


def _thought(case: _Case, answer: str) -> str:
    """Name words that the query shares with an answer's texts, the rarest first."""
    texts = [text for text, given, *_ in case.demos if given == answer]
    texts += [f"{name.replace('_', ' ')} {note}" for name, note, _ in case.labels if name == answer]
    *_, common = _shelf(tuple(text for text, *_ in case.demos))
    said = set(_WORD.findall(case.text.casefold()))
    shared = {word for text in texts for word in said & _features(text).keys()}
    telling = sorted(shared, key=lambda f: (common.get(f, 0) - len(f), f))[:3]
    named = f"the words {', '.join(telling)}" if telling else "nothing in particular"
    return f"What stands out is {named}, which fits {answer} best."[:200]
