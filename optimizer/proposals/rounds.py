"""Rounds of proposals from a model during a search: when one is worth its price, what is asked, what may enter.

The first comes before the search has settled; each later one reads how the leading prompt fails. A round is stored with
its wordings before any of them is tried, so that a resumed search makes none twice. Knows the search only by the `View`
that it gets, and no test row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist, fmean, pstdev
from textwrap import shorten

from optimizer.database import slots
from optimizer.database.slots import Proposal, Round
from optimizer.engine.arrivals import View
from optimizer.errors import BudgetSpent, ProviderError
from optimizer.ledger import Ledger
from optimizer.proposals.screening import Screen
from optimizer.propose import (
    ASKED_AT_ONCE,
    EACH,
    LABELS,
    MOST_PROPOSED,
    ROWS,
    Ask,
    Failure,
    Ground,
    Leading,
    Origin,
    drafts,
    is_instruction,
    read,
    reflections,
)
from optimizer.records import Completion, Kind, Outcome, Trial
from optimizer.store import Store
from search_spaces.prompt import Example, Prompt

APART = 1 / 8  # share of the calls between two rounds, in which new wordings show what they are worth
LAST = 0.5  # share of the calls after which there is no round: its wordings could hardly be scored
SHARE = 0.25  # share of the spare calls that first looks at a round's wordings may take
TELLING = 0.1  # in standard errors of a difference on all dev rows: a smaller gain is not worth a round
FLIPS = 0.15  # share of rows on which two good prompts differ
SPREAD = 0.02  # least spread of wordings' scores: a few equal ones do not show that all are equal
SHOWN_LEVELS = 6  # values per dimension that the proposer is shown


@dataclass
class Rounds:
    """Asks a model for wordings, at those steps of a search at which it pays.

    Parameters
    ----------
    ledger
        Buys its replies, in the role of a proposer.
    store, run
        Where rounds and wordings are stored.
    ground, screen
        What proposals are based on, and what checks them.
    rows
        The dev rows.
    block
        Answers that a wording's first look takes.
    replayed
        The last step of an interrupted search: up to it no new round is made.
    say
        Called with one line per round.
    failure
        Returns how a prompt failed on a row, if there is more to tell than its answer.
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
    failure: Callable[[Trial, Outcome], Failure] | None = None
    made: list[Round] = field(default_factory=list)
    lacked: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.made = slots.rounds(self.store, self.run)
        self._by_id = {row.id: row for row in self.rows}

    def __call__(self, step: int, view: View) -> None:
        """Make a round before a step of the search, if one is due."""
        if step <= self.replayed or any(step <= made.step for made in self.made) or not self._due(view):
            return
        if view.room <= 0:
            self._lack(view)
            return
        parts = self._parts(view)
        mains = [part for part in parts if is_instruction(part)] or parts
        part = mains[len(self.made) % len(mains)]  # they take turns
        levels = {str(value): level for value, level in view.levels(part).items()}
        level = levels[str(view.leader().params[part])][0] if levels else None
        begun = Round(step, view.calls, level, 0, (), open=True, said="")
        waits = self._waits(begun, view, levels) if self._asked() else None
        if waits:
            self._write(waits, [])
        else:
            self._make(begun, view, part, levels)

    def _parts(self, view: View) -> list[str]:
        """List the dimensions that may be reworded: those of the leading prompt that have reserved ids."""
        leading = view.leader().params
        return [part for part in self.ground.parts if part in leading and view.space[part].slots]

    def _open(self, view: View) -> list[str]:
        """List those of them that have a free id."""
        return [part for part in self._parts(view) if slots.vacant(self.store, self.run, part)]

    def _due(self, view: View) -> bool:
        if not self.made:
            return bool(self._parts(view))
        last, late, full = self.made[-1], view.calls > LAST * view.planned, not self._room(view)
        return last.open and not late and not full and view.calls - last.calls >= APART * view.planned

    def _room(self, view: View) -> int:
        """Return how many wordings may enter: some ids are for people's, and first looks may not take all calls."""
        left = MOST_PROPOSED - sum(made.kept for made in self.made)
        vacant = sum(slots.vacant(self.store, self.run, part) for part in self._parts(view))
        return min(left, vacant, max(1, int(SHARE * view.room / self.block)))

    def _asked(self) -> list[Round]:
        """List the rounds in which wordings were proposed. In the others the leading prompt had failed on no row."""
        return [made for made in self.made if made.kept or made.refused]

    def _lack(self, view: View) -> None:
        """Say once that there are too few spare calls for a round, and about how many it takes."""
        if not self.made and not self.lacked:
            self.lacked = True
            enough = view.planned - view.room + EACH * ASKED_AT_ONCE * self.block / SHARE
            self.say(
                f"no proposals so far: of {view.planned:,} calls none can be spared beside what seed prompt and leader "
                f"need on {len(self.rows):,} dev rows; give about {enough:,.0f} calls, or fewer dev rows"
            )

    # --- whether it pays ----------------------------------------------------------------------------------

    def _waits(self, begun: Round, view: View, levels: Mapping[str, tuple[float, float]]) -> Round | None:
        """Return why another round is not worth its price, for now or for good; None if it is.

        Its gain is the expected lead of the best of so many further wordings, drawn from the distribution of those so
        far. Its price is the gain that as many calls have brought since the last round: the steeper the search rises,
        the more expensive is a round, so it may pay later. If the gain is too small for the dev rows to tell, no round
        follows.
        """
        if begun.level is None:
            return replace(begun, open=False, said="no further proposals: a control does not say what they might bring")
        count = min(self._room(view), max(1, round(fmean(made.kept for made in self._asked()))))
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

    def _make(self, begun: Round, view: View, part: str, levels: Mapping[str, tuple[float, float]]) -> None:
        """Ask, screen the replies, and store the wordings that may enter."""
        known = {name: [*self._known(view.leader(), view, name).values()] for name in self._open(view)}
        mains = {name: texts for name, texts in known.items() if is_instruction(name)}
        if self.made or not mains:
            asks = reflections(self.ground, self._leading(view.leader(), view, part, levels))
        else:
            asks = self._first(view, mains)
        if not asks:
            self._write(replace(begun, said="no proposals now: the leading prompt has failed on nothing"), [])
            return
        try:
            replies = [reply for _, reply in self.ledger.complete([ask.request for ask in asks])]
        except (ProviderError, BudgetSpent) as error:
            self._write(replace(begun, open=False, said=f"no proposals: {error}"), [])
            return
        kept, refused = self._sift(asks, replies, known, self._room(view))
        silent = all(reply.error for reply in replies)
        said = f"no proposals: {replies[0].error}" if silent else _told(kept, refused)
        self._write(replace(begun, kept=len(kept), refused=tuple(refused), open=not silent, said=said), kept)

    def _first(self, view: View, mains: Mapping[str, Sequence[str]]) -> list[Ask]:
        """Ask for drafts and, if there is more to tell of a failure than its answer, for repairs of the seed prompt."""
        asks = drafts(self.ground, mains)
        if self.failure is None:
            return asks
        begun = replace(self._leading(view.seed(), view, next(iter(mains)), {}), reworked="")
        return [*reflections(self.ground, begun), *asks][:ASKED_AT_ONCE]

    def _sift(
        self, asks: Sequence[Ask], replies: Sequence[Completion], known: Mapping[str, Sequence[str]], room: int
    ) -> tuple[list[Proposal], list[tuple[str, str]]]:
        """Split the wordings into those that may enter and those refused, [(text, why)]; the calls take turns."""
        refused: list[tuple[str, str]] = []
        offered: list[tuple[int, Proposal, Origin]] = []
        for ask, reply in zip(asks, replies, strict=True):
            told = None if reply.error else read(ask, reply.text)
            if told is None or not told.wordings:
                said = f"no reply: {reply.error}" if reply.error else "no wordings could be read from the reply"
                refused.append((shorten(reply.text, 200), said))
                continue
            if told.part not in ask.origins:
                said = f"is of {told.part[:40]!r}, not of {' or '.join(ask.origins)}"
                refused += [(text[:2000], said) for text in told.wordings]
                continue
            why, origin = f"{ask.kind}: {told.why}" if told.why else ask.kind, ask.origins[told.part]
            share = reply.cost / len(told.wordings)
            for turn, text in enumerate(told.wordings):
                offered.append((turn, Proposal(told.part, text, why, " + ".join(origin.parents), share), origin))
        kept: list[Proposal] = []
        late = slots.wordings(self.store, self.run, late=True)  # including people's, which may still wait
        for _, proposal, origin in sorted(offered, key=lambda each: each[0]):
            part, text = proposal.dimension, proposal.text
            new = [each.text for each in kept if each.dimension == part]
            full = len(kept) >= room or len(new) >= slots.vacant(self.store, self.run, part)
            there = [*filter(None, known[part]), *(each.text for each in late if each.dimension == part), *new]
            if part == LABELS:
                why = self.screen.refuse_labels(text, there)
            else:
                why = self.screen.refuse(text, there, origin.keep)
            if why := why or ("there is no room for more" if full else ""):
                refused.append((text[:2000], why))
            else:
                kept.append(proposal)
        return kept, refused

    def _known(self, leader: Trial, view: View, part: str) -> dict[str, str]:
        """Return the wordings that exist for a part, by id."""
        dimension = view.space[part]
        texts = {str(id_): dimension.texts[str(id_)] for id_ in dimension.choices if id_ in dimension.texts}
        return {str(leader.params[part]): listed(leader.prompt), **texts} if part == LABELS else texts

    def _leading(self, leader: Trial, view: View, part: str, levels: Mapping[str, tuple[float, float]]) -> Leading:
        """Gather what a prompt is made of, how it fails, and what the pooled model predicts for the leading one."""
        wrong = [outcome for outcome in leader.outcomes if outcome.kind in {Kind.WRONG, Kind.UNPARSED}]
        failures = [self._failure(leader, outcome) for outcome in wrong[:ROWS]]
        account = {}
        for name in leader.params:
            if not view.space[name].locked and (view.space[name].choices or view.space[name].whole):
                found = sorted(view.levels(name).items(), key=lambda item: -item[1][0])[:SHOWN_LEVELS]
                account[name] = {str(value): mean for value, (mean, _) in found}
        best = sorted(self._known(leader, view, part).items(), key=lambda item: -levels.get(item[0], (0.0, 0.0))[0])
        ids = {name: str(leader.params[name]) for name in self._open(view)}
        wordings = {name: (id_, self._known(leader, view, name)[id_]) for name, id_ in ids.items()}
        beside = {name: value for name, value in leader.params.items() if name not in wordings}
        reworked = part if part in wordings and is_instruction(part) else ""
        return Leading(wordings, beside, failures, account, reworked, best)

    def _failure(self, leader: Trial, outcome: Outcome) -> Failure:
        if self.failure:
            return self.failure(leader, outcome)
        return Failure(self._by_id[outcome.example_id], outcome.answer)

    def _write(self, made: Round, kept: Sequence[Proposal]) -> None:
        slots.propose(self.store, self.store.run(self.run), made, kept)
        self.made.append(made)
        self.say(made.said)


def lead(mean: float, spread: float, count: int, best: float) -> float:
    """Return by how much the best of `count` normal draws is expected to exceed `best`; a draw below it counts as 0."""
    draws = (NormalDist().inv_cdf(((i + 0.5) / 200) ** (1 / count)) for i in range(200))
    return fmean(max(0.0, mean + spread * z - best) for z in draws)


def listed(prompt: Prompt) -> str:
    """Write the labels of a prompt with their descriptions, one per line."""
    notes = prompt.notes or [""] * len(prompt.labels)
    return "\n".join(f"{label}: {note}" for label, note in zip(prompt.labels, notes, strict=True) if note)


def _told(kept: Sequence[Proposal], refused: Sequence[tuple[str, str]]) -> str:
    reasons = Counter(why for _, why in refused)
    without = "; ".join(f"{n} refused: {why}" if n > 1 else f"refused: {why}" for why, n in reasons.items())
    others = Counter(each.dimension for each in kept if not is_instruction(each.dimension))
    of = ", ".join(f"{n} of {dimension}" for dimension, n in others.items())
    told = f"proposals: {len(kept)} wordings enter" + (f" ({of})" if of else "")
    return told + (f"; {without}" if without else "")
