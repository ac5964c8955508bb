"""Rounds of proposals from a model during a search: when one is worth its price, what is asked, what may enter.

The first comes before the search has settled; each later one reads how the leading prompt fails. A round is written
down with its wordings before anything is asked with them, so that a resumed search makes none twice. Knows the search
by what it is shown of it, and no test row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist, fmean, pstdev
from textwrap import shorten

from optimizer import slots
from optimizer.arrivals import View
from optimizer.errors import BudgetSpent, ProviderError
from optimizer.ledger import Ledger
from optimizer.propose import ASKED_AT_ONCE, MOST_PROPOSED, Ask, Ground, Leading, drafts, read, reflections
from optimizer.records import Completion, Kind
from optimizer.screening import Screen
from optimizer.slots import Proposal, Round
from optimizer.store import Store
from search_spaces.prompt import Example

PART = "instruction"
APART = 1 / 8  # share of the calls between two rounds: what came must have shown what it is worth
LAST = 0.5  # share of the calls after which none comes: it could hardly be scored
SHARE = 0.25  # share of the calls to be spared that first looks at a round's wordings may take
TELLING = 0.1  # standard errors of a difference on all dev rows: less is not worth a round
FLIPS = 0.15  # share of rows on which two good prompts differ
SPREAD = 0.02  # least spread of what wordings score: a few that are alike do not show that all are
SHOWN_LEVELS = 6  # values of a dimension in the account


@dataclass
class Rounds:
    """Asks a model for wordings, at steps of a search at which that pays.

    Parameters
    ----------
    ledger
        Buys its replies; its role there is that of a proposer.
    store, run
        Where rounds and wordings are written down.
    ground, screen
        What proposals are grounded in, and what looks at them.
    rows
        The dev rows.
    block
        Answers that a wording's first look takes.
    replayed
        The last step of an interrupted search: up to it no new round is made.
    say
        Told of each round in one line.
    """

    ledger: Ledger
    store: Store
    run: int
    ground: Ground
    screen: Screen
    rows: Sequence[Example]
    block: int
    replayed: int
    say: Callable[[str], None]
    made: list[Round] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.made = slots.rounds(self.store, self.run)
        self._by_id = {row.id: row for row in self.rows}

    def __call__(self, step: int, view: View) -> None:
        """Make a round before a step of the search, if one is due."""
        if step <= self.replayed or any(step <= made.step for made in self.made) or not self._due(view):
            return
        levels = {str(value): level for value, level in view.levels(PART).items()}
        level = levels[str(view.leader().params[PART])][0] if levels else None
        begun = Round(step, view.calls, level, 0, (), open=True, said="")
        waits = self._waits(begun, view, levels) if self.made else None
        if waits:
            self._write(waits, [])
        else:
            self._make(begun, view, levels)

    def _due(self, view: View) -> bool:
        if not self.made:
            return True
        last, late, full = self.made[-1], view.calls > LAST * view.planned, not self._room(view)
        return last.open and not late and not full and view.calls - last.calls >= APART * view.planned

    def _room(self, view: View) -> int:
        """How many wordings may enter: ids are kept for people's, too, and first looks may not take all calls."""
        left = MOST_PROPOSED - sum(made.kept for made in self.made)
        return min(left, slots.vacant(self.store, self.run, PART), max(1, int(SHARE * view.room / self.block)))

    # --- whether it pays ----------------------------------------------------------------------------------

    def _waits(self, begun: Round, view: View, levels: Mapping[str, tuple[float, float]]) -> Round | None:
        """Say why another round is not worth its price now, or never will be; nothing if it is.

        What it may bring is the expected lead of the best of so many further wordings, drawn as those so far were. Its
        price is what as many calls have brought since the last round; the steeper the search rises, the dearer is a
        round, so that it may be worth it later. What no number of dev rows can tell never is.
        """
        if begun.level is None:
            return replace(begun, open=False, said="no further proposals: a control does not say what they might bring")
        asked = [made for made in self.made if made.kept or made.refused]
        count = min(self._room(view), max(1, round(fmean(made.kept for made in asked))))
        means = [mean for mean, _ in levels.values()]
        gain = lead(fmean(means), max(SPREAD, pstdev(means)), count, begun.level)
        calls = count * self.block + ASKED_AT_ONCE
        told = f"{count} more may bring {100 * gain:.1f} points for {calls} calls"
        least = TELLING * (FLIPS / len(self.rows)) ** 0.5
        if gain < least:
            return replace(begun, open=False, said=f"no further proposals: {told}, less than dev rows can tell")
        last = self.made[-1]
        risen = 0.0 if last.level is None else max(0.0, begun.level - last.level)
        price = risen / (view.calls - last.calls) * calls
        if gain < price:
            said = f"no proposals now: {told}; elsewhere these have brought {100 * price:.1f}"
            return replace(begun, said=said)
        return None

    # --- one round ----------------------------------------------------------------------------------------

    def _make(self, begun: Round, view: View, levels: Mapping[str, tuple[float, float]]) -> None:
        """Ask, look at what comes, and write down what may enter."""
        texts = view.space[PART].texts
        known = {id_: texts[str(id_)] for id_ in map(str, view.space[PART].choices)}
        if self.made:
            asks = reflections(self.ground, self._leading(view, known, levels))
        else:
            asks = drafts(self.ground, list(known.values()))
        try:
            replies = [reply for _, reply in self.ledger.complete([ask.request for ask in asks])]
        except (ProviderError, BudgetSpent) as error:
            self._write(replace(begun, open=False, said=f"no proposals: {error}"), [])
            return
        kept, refused = self._sift(asks, replies, list(known.values()), self._room(view))
        silent = all(reply.error for reply in replies)
        said = f"no proposals: {replies[0].error}" if silent else _told(kept, refused)
        self._write(replace(begun, kept=len(kept), refused=tuple(refused), open=not silent, said=said), kept)

    def _sift(
        self, asks: Sequence[Ask], replies: Sequence[Completion], known: list[str], room: int
    ) -> tuple[list[Proposal], list[tuple[str, str]]]:
        """Part what may enter from what is refused, [(text, why)]; the calls' wordings take turns."""
        refused: list[tuple[str, str]] = []
        offered: list[tuple[int, str, Proposal, Ask]] = []
        for ask, reply in zip(asks, replies, strict=True):
            told = None if reply.error else read(ask, reply.text)
            if told is None or not told.wordings:
                said = f"no reply: {reply.error}" if reply.error else "no wordings could be read from the reply"
                refused.append((shorten(reply.text, 200), said))
                continue
            why = f"{ask.kind}: {told.why}" if told.why else ask.kind
            share = reply.cost / len(told.wordings)
            for turn, text in enumerate(told.wordings):
                offered.append((turn, text, Proposal(text, why, " + ".join(ask.parents), share), ask))
        kept: list[Proposal] = []
        for _, text, proposal, ask in sorted(offered, key=lambda each: each[0]):
            why = self.screen.refuse(text, [*known, *(each.text for each in kept)], ask.keep)
            why = why or ("there is no room for more" if len(kept) >= room else "")
            if why:
                refused.append((text[:2000], why))
            else:
                kept.append(proposal)
        return kept, refused

    def _leading(self, view: View, known: Mapping[str, str], levels: Mapping[str, tuple[float, float]]) -> Leading:
        """Gather what the leading prompt is made of, how it fails, and what the pooled model says of its parts."""
        leader = view.leader()
        wrong = [outcome for outcome in leader.outcomes if outcome.kind in {Kind.WRONG, Kind.UNPARSED}]
        failures = [(self._by_id[outcome.example_id], outcome.answer) for outcome in wrong]
        account = {}
        for name in leader.params:
            if not view.space[name].locked and (view.space[name].choices or view.space[name].whole):
                found = sorted(view.levels(name).items(), key=lambda item: -item[1][0])[:SHOWN_LEVELS]
                account[name] = {str(value): mean for value, (mean, _) in found}
        best = sorted(known.items(), key=lambda item: -levels.get(item[0], (0.0, 0.0))[0])
        beside = {name: value for name, value in leader.params.items() if name != PART}
        return Leading(str(leader.params[PART]), known[str(leader.params[PART])], beside, failures, account, best)

    def _write(self, made: Round, kept: Sequence[Proposal]) -> None:
        slots.propose(self.store, self.store.run(self.run), PART, made, kept)
        self.made.append(made)
        self.say(made.said)


def lead(mean: float, spread: float, count: int, best: float) -> float:
    """By how much the best of `count` normal draws is expected to pass `best`, where it does."""
    draws = (NormalDist().inv_cdf(((i + 0.5) / 200) ** (1 / count)) for i in range(200))
    return fmean(max(0.0, mean + spread * z - best) for z in draws)


def _told(kept: Sequence[Proposal], refused: Sequence[tuple[str, str]]) -> str:
    reasons = Counter(why for _, why in refused)
    without = "; ".join(f"{n} refused: {why}" if n > 1 else f"refused: {why}" for why, n in reasons.items())
    return f"proposals: {len(kept)} wordings enter" + (f"; {without}" if without else "")
