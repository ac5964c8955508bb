"""Evaluating prompts on examples: render, complete, parse, score.

Combines the other modules, but does not decide which prompts or rows are evaluated. The calls of a block run in
parallel, as many at a time as the ledger has workers.

A calibrated prompt whose prior is not fixed yet is calibrated on the rows evaluated so far: the answer to a row depends
on the rows evaluated before it and together with it, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from optimizer.budget import Spent, further
from optimizer.calls.traffic import Order
from optimizer.ledger import Ledger
from optimizer.records import CUT, REFUSALS, Completion, Kind, Outcome, Request, Trial
from optimizer.scores.calibration import Batch, Scores, choose, scores_of, settle
from optimizer.scores.judge import Judge
from optimizer.scoring import Grade, Grader, Metric, grader
from search_spaces.prompt import Example, Prompt
from search_spaces.rendering import Renderer

Cell = tuple[Prompt, Example]
Answered = tuple[str, Completion, str | None]  # the completion's key, the completion, and the answer read from it


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Scores cells (each a prompt on an example); repeated calls are answered from the cache.

    If there is a `judge`, it scores instead of the metric. With a different `sample`, calls that were made before are
    made again.
    """

    ledger: Ledger
    renderer: Renderer
    metric: Metric
    batches: dict[Prompt, Batch] = field(default_factory=dict)
    judge: Judge | None = None
    sample: int = 0

    def __call__(self, cells: Sequence[Cell]) -> tuple[Outcome, ...]:
        """Score each cell, in order."""
        return tuple(self.begin(cells))

    def begin(self, cells: Sequence[Cell]) -> Iterator[Outcome]:
        """Start the calls of all cells; return an iterator of outcomes, in order, which waits when it is first used."""
        return self._outcomes(cells, self.ledger.begin(self._requests(cells)))

    def _outcomes(self, cells: Sequence[Cell], order: Order) -> Iterator[Outcome]:
        answered = self._read_all(cells, self.ledger.collect(order))
        yield from self.outcomes([example for _, example in cells], answered)

    def rows(self, prompt: Prompt, examples: Sequence[Example]) -> tuple[Outcome, ...]:
        """Score a prompt on each example, in order."""
        return self([(prompt, example) for example in examples])

    def missing(self, cells: Sequence[Cell]) -> int:
        """Return how many calls answering these cells would buy."""
        return self.ledger.missing(self._requests(cells))

    def foresee(self, cells: Sequence[Cell], like: Sequence[tuple[Cell, Outcome]]) -> Spent:
        """Estimate what answering these cells would take, from the lengths of their prompts.

        Answers are assumed to be as long as those of the cells `like` them, and prompts to have as many tokens per
        character.
        """
        requests = self.ledger.unbought(self._requests(cells))
        each, n = further([Spent(1, outcome.cost, outcome.tokens) for _, outcome in like]), len(requests)
        before = _characters(self._requests([cell for cell, _ in like])) / max(1, len(like))
        if not requests or not before:
            return each * n
        longer = _characters(requests) / n / before
        price, asked = self.ledger.model.price, sum(outcome.prompt_tokens for _, outcome in like)
        paid = sum(outcome.cost for _, outcome in like)
        share = asked / max(1, sum(outcome.tokens for _, outcome in like))
        usd = asked * price[0] / paid if price and paid else share  # share of the dollars that is for the prompts
        return Spent(n, each.usd * n * (1 + usd * (longer - 1)), int(each.tokens * n * (1 + share * (longer - 1))))

    def reckon(self, cells: Sequence[Cell], like: Sequence[Outcome], *, judged: bool = True) -> Spent:
        """Estimate what scoring these cells would take: calls that cost as much as the outcomes `like`, and judgements.

        A cached answer counts only with its judgement, and not at all if that is cached, too. So what was bought before
        a run was interrupted does not reduce the budget that is left for the rest.
        """
        requests = self._requests(cells)
        answers = further([Spent(1, outcome.cost, outcome.tokens) for outcome in like]) * self.ledger.missing(requests)
        if self.judge is None or not judged:
            return answers
        keys, known = self.ledger.find(requests)
        here = [(cell, (key, known[key])) for cell, key in zip(cells, keys, strict=True) if key in known]
        answered = self._read_all([cell for cell, _ in here], [bought for _, bought in here])
        rows = [(row, answer) for ((_, row), _), (*_, answer) in zip(here, answered, strict=True)]
        return answers + self.judge.each * (len(cells) - len(here) + self.judge.missing(rows))

    def answer(self, prompt: Prompt, examples: Sequence[Example]) -> list[Answered]:
        """Answer each example with a prompt, in order."""
        cells = [(prompt, example) for example in examples]
        return self._read_all(cells, self.ledger.complete(self._requests(cells)))

    def recalled(self, prompt: Prompt, examples: Sequence[Example]) -> list[Answered]:
        """Answer each example with a prompt from the cache, in order; answers that are not cached are errors."""
        cells = [(prompt, example) for example in examples]
        return self._read_all(cells, self.ledger.recall(self._requests(cells)))

    def _requests(self, cells: Sequence[Cell]) -> list[Request]:
        return [self._request(prompt, example) for prompt, example in cells]

    def _read_all(self, cells: Sequence[Cell], bought: Sequence[tuple[str, Completion]]) -> list[Answered]:
        growing = self._growing(prompt for prompt, _ in cells)
        told = [() if completion.error else completion.logprobs for _, completion in bought]
        scored = [scores_of(prompt, logprobs) for (prompt, _), logprobs in zip(cells, told, strict=True)]
        # Rows evaluated together calibrate each other, so all are added before any is read.
        for (prompt, example), scores, logprobs in zip(cells, scored, told, strict=True):
            if id(prompt) in growing:
                growing[id(prompt)].add(example.id, scores, logprobs)
        return [
            (key, completion, self._read(cell, completion, scores, growing.get(id(cell[0]))))
            for cell, (key, completion), scores in zip(cells, bought, scored, strict=True)
        ]

    def _request(self, prompt: Prompt, example: Example) -> Request:
        return Request(self.renderer.messages(prompt, example), prompt.settings, self.sample)

    def _growing(self, prompts: Iterable[Prompt]) -> dict[int, Batch]:
        """Return the batches of calibrated prompts without a prior, by identity, because pools take long to hash."""
        open_ones = {id(prompt): prompt for prompt in prompts if prompt.calibrated and not prompt.prior}
        return {
            identity: self.batches.setdefault(prompt, Batch(prompt.labels)) for identity, prompt in open_ones.items()
        }

    def _read(self, cell: Cell, completion: Completion, scores: Scores, batch: Batch | None) -> str | None:
        prompt, example = cell
        if completion.error or completion.finish_reason in REFUSALS:
            return None
        if scores:
            return choose(scores, batch.prior(without=example.id) if batch else dict(prompt.prior))
        return self.renderer.parse(prompt, completion.text)

    def recall(self, trials: Iterable[Trial]) -> None:
        """Restore the batches of an interrupted search, so that it continues as if it had not been interrupted."""
        for trial in trials:
            for batch in self._growing([trial.prompt]).values():
                bought = self._bought(trial)
                for outcome in trial.outcomes:
                    if completion := bought.get(outcome.completion_key):
                        scores = scores_of(trial.prompt, completion.logprobs)
                        batch.add(outcome.example_id, scores, completion.logprobs)

    def settle(self, trial: Trial) -> Prompt:
        """Return a trial's prompt; if it is calibrated, with its prior fixed from the rows that it answered."""
        bought = self._bought(trial) if trial.prompt.calibrated else {}
        return settle(trial.prompt, (completion.logprobs for completion in bought.values()))

    def _bought(self, trial: Trial) -> dict[str, Completion]:
        return self.ledger.book.find_completions([outcome.completion_key for outcome in trial.outcomes])

    def outcomes(self, examples: Sequence[Example], answered: Sequence[Answered]) -> list[Outcome]:
        """Score the results of `answer` for examples, in order and all at once."""
        given = [
            (example, answer)
            for example, (_, completion, answer) in zip(examples, answered, strict=True)
            if not failed(completion)
        ]
        grades = iter(self.grade(given))
        return [
            _outcome(example, key, completion, answer, failed(completion) or next(grades))
            for example, (key, completion, answer) in zip(examples, answered, strict=True)
        ]

    def reread(self, prompt: Prompt, examples: Sequence[Example], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Parse and score the cached completions of outcomes again, in order; keep outcomes without a completion."""
        bought = self.ledger.book.find_completions([outcome.completion_key for outcome in outcomes])
        known = [
            (row, o.completion_key) for row, o in zip(examples, outcomes, strict=True) if o.completion_key in bought
        ]
        rows = [row for row, _ in known]
        answered = self._read_all([(prompt, row) for row in rows], [(key, bought[key]) for _, key in known])
        anew = {outcome.example_id: outcome for outcome in self.outcomes(rows, answered)}
        return [anew.get(outcome.example_id, outcome) for outcome in outcomes]

    @property
    def grade(self) -> Grader:
        """The function that scores: the judge, or the metric's."""
        return self.judge or grader(self.metric)


def _characters(requests: Sequence[Request]) -> int:
    return sum(len(message.content) for request in requests for message in request.messages)


def failed(completion: Completion) -> Grade | None:
    """Return the grade of a completion that is not an answer, with the reason; None if it is an answer."""
    if completion.error:
        return Kind.ERROR, None, completion.error
    if completion.finish_reason in REFUSALS:
        return Kind.ERROR, None, f"refused: {completion.finish_reason} {completion.text}".strip()
    return None


def _outcome(example: Example, key: str, completion: Completion, answer: str | None, grade: Grade) -> Outcome:
    kind, value, said = grade
    tokens = completion.prompt_tokens + completion.completion_tokens
    taken = (tokens, completion.cost, completion.seconds)
    asked, cut = completion.prompt_tokens, completion.finish_reason == CUT
    key = "" if completion.error else key  # a failed call has no stored completion
    return Outcome(example.id, kind, value, answer, key, *taken, said or completion.text, prompt_tokens=asked, cut=cut)
