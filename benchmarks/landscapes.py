"""Synthetic landscapes: a space of templates, wordings and demos whose truth is known everywhere.

A prompt answers a row correctly with probability sigmoid(a[row] (f(prompt) + t(prompt, label) + b[row]) + noise): an
item-response model with unequal discriminations, a group of hard rows, a bias of each prompt towards some labels, and
noise shared by prompts with the same wording or the same demos. So no search method's own model of answers is exact.
Knows no search method.

`f` is a mixture of parts, each with variance 1 over randomly drawn prompts, multiplied by its share:

============  ====  =====  =======  ====
family        main  pairs  demoset  own
============  ====  =====  =======  ====
smooth        .80   .10    .05      .05
rough         .40   .15    .20      .25
interacting   .30   .60    .05      .05
flat          .80   .10    .05      .05   (all of it within a point or so of accuracy)
============  ====  =====  =======  ====

Effects of single levels are skewed to the left: prompts go wrong in more ways than they go right. On the 40 real
grids that `replays` reads, accuracies have a skewness of -0.6 in the median, a standard deviation of 12-19 points and a
best prompt 16 points above the median one; here the deviation is 5-12 and the best prompt's accuracy 85-95 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.problems import ROWS, BareSpace, Floats, Params, Problem
from search_spaces.prompt import Example
from search_spaces.space import Dimension

TEMPLATES, WORDINGS, SETS, MOST = 8, 20, 20, 8  # layouts, wordings, draws of the demos, demos shown
STRATEGIES = ("none", "random", "balanced", "diverse", "nearest")
SHAPE = (TEMPLATES, WORDINGS, len(STRATEGIES), MOST + 1, SETS)
LABELS = ("billing", "delivery", "returns", "other")
PORTIONS = (0.4, 0.3, 0.2, 0.1)  # of the labels: real ones are rarely balanced
CALLS = 10_000

ITEMS = 2000  # rows of the population over which the truth is the mean
HARD = 0.15  # share of rows that nearly every prompt gets wrong: mislabelled, or not to be known from the text
TILT = 0.35  # of a prompt towards a label, standard deviation in logits (each of its three sources: this / sqrt(3))
SHARED = 0.3  # noise of a row under a wording, and again under a set of demos, in logits
ALONE = 0.2  # noise of a row under this very prompt, beside the coin that the answer is drawn with
TOLD = 0.6  # share of a wording's effect that its phrases explain; the rest is its own
FLAT = 1.0  # points between the best and the median prompt of a flat landscape

PHRASES = (
    ("Read the text carefully.", "You sort messages for a support team.", "Here is a message from a customer.", ""),
    (
        "Choose the label that fits it best.",
        "Classify it.",
        "Decide what the writer wants and name the label.",
        "Say which of the labels a colleague would give it.",
        "Look for the words that tell the labels apart, then pick one.",
    ),
    (
        "Judge by what is meant, not by politeness or typos.",
        "If two labels fit, take the more specific one.",
        "Compare it with the examples above.",
        "",
    ),
    ("Answer with the label only.", "Write nothing but the label.", "Do not explain.", ""),
)


@dataclass(frozen=True, slots=True)
class Shares:
    """What the variance of f consists of."""

    main: float
    pairs: float
    demoset: float
    own: float


FAMILIES = {
    "smooth": Shares(0.80, 0.10, 0.05, 0.05),
    "rough": Shares(0.40, 0.15, 0.20, 0.25),
    "interacting": Shares(0.30, 0.60, 0.05, 0.05),
    "flat": Shares(0.80, 0.10, 0.05, 0.05),
}


def landscape(family: str, seed: int) -> Problem:
    """Draw a landscape of a family; the same seed draws the same."""
    rng = np.random.default_rng([sorted(FAMILIES).index(family), seed])
    wordings, told = _wordings(rng)
    shape = _shape(FAMILIES[family], told, rng)
    tilt = _tilt(rng)
    curve = _Curve(rng)
    scale, shift = _scaled(shape, tilt, curve, family, rng)
    level = shift + scale * shape
    truth = curve.accuracy(level, tilt)
    space = _space(wordings)
    rows, right = _rows(level, tilt, rng)
    return Problem(
        name=f"{family}-{seed}",
        family=family,
        space=space,
        rows=rows,
        right=right,
        truth=lambda params: float(truth[_place(params)]),
        best=float(truth.max()),
        middle=float(np.median(truth)),
        calls=CALLS,
    )


def _space(wordings: list[str]) -> BareSpace:
    shown = {"demos": STRATEGIES[1:]}
    names = tuple(f"layout-{i}" for i in range(TEMPLATES))
    ids = {f"wording-{i}": text for i, text in enumerate(wordings)}
    dimensions = (
        Dimension("template", "how the prompt is laid out", names[0], names),
        Dimension("instruction", "the wording", "wording-0", tuple(ids), ids),
        Dimension("demos", "how the examples shown are chosen", STRATEGIES[0], STRATEGIES),
        Dimension("k", "how many examples are shown", MOST, low=0, high=MOST, when=shown),
        Dimension(
            "demo_seed",
            "which draw of the examples",
            0,
            low=0,
            high=SETS - 1,
            when={**shown, "k": tuple(range(1, MOST + 1))},
        ),
    )
    return BareSpace(dimensions, LABELS, _distinct)


def _distinct(params: Params) -> Params:
    """Without examples there is nothing to choose about them."""
    if params["demos"] != "none" and params.get("k", 0) != 0:
        return params
    return {"template": params["template"], "instruction": params["instruction"], "demos": "none"}


def _place(params: Params) -> tuple[int, int, int, int, int]:
    """Find the place of a prompt in arrays of SHAPE."""
    template, wording = (int(str(params[name]).rpartition("-")[2]) for name in ("template", "instruction"))
    strategy, k = STRATEGIES.index(str(params["demos"])), int(params.get("k", 0))
    if strategy == 0 or k == 0:
        return template, wording, 0, 0, 0
    return template, wording, strategy, k, int(params["demo_seed"])


# --- f ----------------------------------------------------------------------------------------------------


def _wordings(rng: np.random.Generator) -> tuple[list[str], Floats]:
    """Make wordings of phrases, all different, and the part of their effects that the phrases explain."""
    worth = [_skewed(rng, len(phrases)) for phrases in PHRASES]
    taken: dict[str, float] = {}
    while len(taken) < WORDINGS:
        picks = [int(rng.integers(len(phrases))) for phrases in PHRASES]
        text = " ".join(filter(None, (phrases[i] for phrases, i in zip(PHRASES, picks, strict=True))))
        taken[text] = sum(float(effects[i]) for effects, i in zip(worth, picks, strict=True))
    return list(taken), _unit(np.array(list(taken.values())))


def _shape(shares: Shares, told: Floats, rng: np.random.Generator) -> Floats:
    """Draw f up to its scale and shift [SHAPE]; prompts without demos share one value."""
    parts = {
        "main": _main(told, rng),
        "pairs": _pairs(rng),
        "demoset": _demoset(rng),
        "own": rng.normal(size=SHAPE),
    }
    for part in parts.values():
        part[:, :, 0] = part[:, :, :1, :1, 0]  # [templates, wordings, 1, 1] over k and sets
        part[:, :, :, 0] = part[:, :, :1, 0, :1]
    return sum((math.sqrt(getattr(shares, name)) * _unit(part) for name, part in parts.items()), np.zeros(SHAPE))


def _main(told: Floats, rng: np.random.Generator) -> Floats:
    """Effects of the template, the wording, the strategy and k, in shares that differ from landscape to landscape."""
    template, strategy = _skewed(rng, TEMPLATES), _skewed(rng, len(STRATEGIES))
    wording = math.sqrt(TOLD) * told + math.sqrt(1 - TOLD) * _skewed(rng, WORDINGS)
    # Most is gained by the first examples; later ones may also harm.
    steps = np.exp(-np.arange(MOST) / rng.uniform(1, 4)) + rng.normal(0, 0.2, MOST)
    growth = np.concatenate([[0.0], np.cumsum(steps)])
    shares = np.sqrt(rng.dirichlet(np.full(4, 2.0)))
    examples = np.zeros((len(STRATEGIES), MOST + 1))
    examples[1:, 1:] = shares[2] * strategy[1:, None] + shares[3] * growth[None, 1:] / growth[1:].std()
    examples[1:, 1:] -= examples[1:, 1:].mean()
    examples[0, 0] = rng.normal(-0.5, 0.7)  # without any: usually worse, by how much differs
    texts = shares[0] * template[:, None] + shares[1] * wording[None, :]
    return np.broadcast_to(texts[:, :, None, None, None] + examples[None, None, :, :, None], SHAPE).copy()


def _pairs(rng: np.random.Generator) -> Floats:
    """Interactions of template, wording and examples, the weights of which differ; they change slowly with k."""
    t, w, s, k = SHAPE[:4]
    walk = np.sqrt(np.arange(1, k + 1))
    both = rng.normal(size=(t, w, 1, 1))
    by_template = rng.normal(size=(t, 1, s, k)).cumsum(axis=-1) / walk + rng.normal(size=(t, 1, s, 1))
    by_wording = rng.normal(size=(1, w, s, k)).cumsum(axis=-1) / walk + rng.normal(size=(1, w, s, 1))
    weights = rng.exponential(size=3) + 0.2
    mixed = sum(a * x / x.std() for a, x in zip(weights, (both, by_template, by_wording), strict=True))
    return np.broadcast_to(np.asarray(mixed)[..., None], SHAPE).copy()


def _demoset(rng: np.random.Generator) -> Floats:
    """What the very examples are worth: a draw's first k are shown, so more of them differ less between draws."""
    worth = rng.normal(size=(len(STRATEGIES), MOST, SETS))
    shown = np.zeros(SHAPE[2:])
    shown[1:, 1:] = worth[1:].cumsum(axis=1) / np.arange(1, MOST + 1)[None, :, None]
    return np.broadcast_to(shown, SHAPE).copy()


def _skewed(rng: np.random.Generator, count: int) -> Floats:
    """Effects of levels, of mean 0 and deviation 1, with a long tail to the left (skewness of the law: -1.15)."""
    return _unit(-rng.gamma(3.0, size=count))


def _unit(values: Floats) -> Floats:
    unit: Floats = (values - values.mean()) / values.std()
    return unit


# --- from f to accuracy -----------------------------------------------------------------------------------


def _tilt(rng: np.random.Generator) -> Floats:
    """How much a prompt favours each label, in logits [templates, wordings, strategies, labels]; 0 over the labels."""
    t, w, s, n = TEMPLATES, WORDINGS, len(STRATEGIES), len(LABELS)
    sources = rng.normal(size=(t, 1, 1, n)) + rng.normal(size=(1, w, 1, n)) + rng.normal(size=(1, 1, s, n))
    tilt: Floats = TILT / math.sqrt(3) * sources
    tilt -= (tilt * np.array(PORTIONS)).sum(axis=-1, keepdims=True)
    return tilt


def _items(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Draw rows: discriminations [count] and difficulties [count] (deviation 1.45, with a lump of hard rows)."""
    hard = rng.random(count) < HARD
    return np.exp(rng.normal(0, 0.25, count)), np.where(hard, rng.normal(-1.9, 1.2, count), rng.normal(0.3, 1.2, count))


class _Curve:
    """The accuracy over the population at each level of f."""

    def __init__(self, rng: np.random.Generator) -> None:
        a, b = _items(rng, ITEMS)
        noise = rng.normal(0, math.sqrt(2 * SHARED**2 + ALONE**2), ITEMS)
        self.levels = np.linspace(-12, 12, 481)
        self.shares = 100 * _sigmoid(a * (self.levels[:, None] + b) + noise).mean(axis=1)

    def accuracy(self, level: Floats, tilt: Floats) -> Floats:
        """Points of accuracy of prompts at levels [SHAPE]."""
        found = np.zeros(level.shape)
        for i, portion in enumerate(PORTIONS):
            found += portion * np.interp(level + tilt[..., i][..., None, None], self.levels, self.shares)
        return found

    def of(self, level: Floats, tilt: Floats) -> Floats:
        """Points of accuracy of a sample of prompts: levels [n], tilts [n, labels]."""
        each = np.interp(level[:, None] + tilt, self.levels, self.shares)
        points: Floats = each @ np.array(PORTIONS)
        return points


def _scaled(shape: Floats, tilt: Floats, curve: _Curve, family: str, rng: np.random.Generator) -> tuple[float, float]:
    """Find the scale and shift of f at which the prompts' accuracies have the wanted spread and the wanted best."""
    tilts = np.broadcast_to(tilt[:, :, :, None, None], (*SHAPE, len(LABELS))).reshape(-1, len(LABELS))
    flat = shape.ravel()
    sample = np.concatenate([rng.choice(flat.size, 2000, replace=False), np.argsort(-flat)[:200]])
    some, tilted, best = flat[sample], tilts[sample], rng.uniform(85, 95)
    wanted = FLAT if family == "flat" else rng.uniform(5, 12)

    def shift(scale: float) -> float:
        return _bisect(lambda x: float(curve.of(x + scale * some, tilted).max()) - best, -11.0, 11.0)

    def excess(scale: float) -> float:
        points = curve.of(shift(scale) + scale * some, tilted)
        drawn = points[:2000]
        return float(points.max() - np.median(drawn) if family == "flat" else drawn.std()) - wanted

    scale = _bisect(excess, 0.0, 1.2)  # beyond, nearly all prompts fail and the spread falls again
    return scale, shift(scale)


def _bisect(rising: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


# --- answers ----------------------------------------------------------------------------------------------


def _rows(
    level: Floats, tilt: Floats, rng: np.random.Generator
) -> tuple[tuple[Example, ...], Callable[[Params], NDArray[np.bool_]]]:
    """Draw the dev rows, and the answer of every prompt to each of them."""
    labels = np.repeat(np.arange(len(LABELS)), np.round(np.array(PORTIONS) * ROWS).astype(int))
    a, b = _items(rng, ROWS)
    by_wording = rng.normal(0, SHARED, (WORDINGS, ROWS))
    by_demos = rng.normal(0, SHARED, (len(STRATEGIES), SETS, ROWS))
    coins = int(rng.integers(2**32))
    rows = tuple(Example(f"row-{i}", (("text", f"message {i}"),), (LABELS[label],)) for i, label in enumerate(labels))

    def right(params: Params) -> NDArray[np.bool_]:
        place = _place(params)
        t, w, s, _, d = place
        own = np.random.default_rng([coins, int(np.ravel_multi_index(place, SHAPE))])
        logits = a * (level[place] + tilt[t, w, s][labels] + b) + by_wording[w] + by_demos[s, d]
        answers: NDArray[np.bool_] = own.random(ROWS) < _sigmoid(logits + own.normal(0, ALONE, ROWS))
        return answers

    return rows, right


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))
