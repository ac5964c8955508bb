"""Fine-tuning at a provider: uploads the training rows as chats, follows the job, and uses the resulting model.

A job is bought once: what was sent is stored before anything else is asked, so that a run that was killed at any moment
goes on following the same job. The provider trains for all epochs, without early stopping; if it keeps models of
earlier epochs, the dev rows choose among them. Knows a provider's files and jobs through LiteLLM, and nothing of the
test rows.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from optimizer.baseline import Lesson, Rival
from optimizer.budget import Budget, Spent, further, taken
from optimizer.calls.faults import Fate
from optimizer.errors import BudgetSpent, Interrupted, ProviderError
from optimizer.ledger import Ledger
from optimizer.models import LONG, Service, classify_raised
from optimizer.phrases import amount
from optimizer.records import Completion, Request, TrainedModel, TuningJob
from search_spaces.prompt import Example, Message, Settings
from search_spaces.space import Chooser

FIRST_LOOK, LAST_LOOK = 2.0, 60.0  # seconds between two looks at a job: at its beginning, and at most
ATTEMPTS = 8  # of a call on transient errors, as for any other call
FAILED = {"failed", "cancelled"}
RATES = (-2.0, 2.0)  # log2 of the learning rate multipliers that are tried
LONGEST = 30 * 24 * 3600.0  # seconds of a search: in effect, the number of jobs and the caps limit it
KEPT = 2  # epochs before the last whose models OpenAI keeps


class Jobs(Protocol):
    """Stores jobs; a `Store` fits."""

    def tuning_job(self, key: str) -> TuningJob | None:
        """Return a stored job, or None."""

    def save_tuning_job(self, run: int, job: TuningJob) -> None:
        """Store a job's progress."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to train.

    Parameters
    ----------
    service
        The provider, and the model to start from.
    system
        The system message before each row; none if empty.
    epochs
        Passes over the training rows.
    price
        US dollars for a million trained tokens; None if not known.
    jobs
        How many jobs may be submitted, each with another learning rate.
    rate
        Multiplier of the provider's learning rate; None leaves it to the provider.
    """

    service: Service
    system: str
    epochs: int
    price: float | None
    jobs: int = 1
    rate: float | None = None

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The hyperparameters that a job is submitted with."""
        return {"n_epochs": self.epochs} | ({} if self.rate is None else {"learning_rate_multiplier": self.rate})

    def messages(self, text: str) -> tuple[Message, ...]:
        """Return the messages that ask the tuned model about a row."""
        return (*([Message("system", self.system)] if self.system else []), Message("user", text))


@dataclass(frozen=True, slots=True)
class Means:
    """What following a job needs: where to store it, what it may cost, and how to stop."""

    jobs: Jobs
    run: int
    budget: Budget
    pause: Callable[[float], bool]  # waits so many seconds; True if the user has stopped the run
    notice: Callable[[str], None]


def chat_lines(rows: Sequence[Example], order: Order) -> bytes:
    """Write rows as chat JSONL: the system message, the row, and its target answer."""
    lines = []
    for row in rows:
        messages = [message.to_dict() for message in (*order.messages(row.text), Message("assistant", row.target))]
        lines.append(json.dumps({"messages": messages}, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines).encode()


def most(rows: Sequence[Example], order: Order) -> Spent:
    """Return the most that a job can cost: a token is at least one byte long."""
    size = sum(len(message.content.encode()) + 8 for row in rows for message in order.messages(row.text))
    tokens = order.epochs * (size + sum(len(row.target.encode()) + 8 for row in rows))
    return Spent(0, tokens * (order.price or 0.0) / 1e6, tokens)


def tune(rows: Sequence[Example], dev: Sequence[Example], order: Order, means: Means) -> TuningJob:
    """Submit a job, unless it was submitted before, and follow it to its end.

    Raises
    ------
    BudgetSpent
        If it could exceed a cap; nothing was sent.
    ProviderError
        If the provider refuses it, or it fails.
    Interrupted
        If the user stopped the run; the job goes on, and the resumed run follows it.
    """
    training, watched = chat_lines(rows, order), chat_lines(dev, order)
    parts = [
        order.service.name,
        order.service.told["api_base"],
        *order.hyperparameters.values(),
        training.decode(),
        watched.decode(),
    ]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    job = means.jobs.tuning_job(key)
    if job and job.tuned:
        return job
    with closing(_Calls(order.service, means)) as calls:
        if job and job.status not in FAILED:
            # Without an id, the run was killed before the id was stored: the job may have been submitted or not.
            job = job if job.job else _submit(replace(job, job=calls.find(job.file)), order, calls, means)
            return _follow(job, order, calls, means)
        bound, spent = most(rows, order), Spent()
        try:
            means.budget.reserve(bound)
        except BudgetSpent as lacking:
            said = amount(bound.usd) if bound.usd else f"{bound.tokens:,} tokens"
            raise BudgetSpent(f"a job on {len(rows)} rows takes up to {said}, and {lacking}") from None
        try:
            job = TuningJob(key, order.service.name, bound.usd, bound.tokens)
            job = replace(job, dev_file=calls.upload("dev", watched), file=calls.upload("train", training))
            means.jobs.save_tuning_job(means.run, job)
            job, spent = _submit(job, order, calls, means), bound
            job = _follow(job, order, calls, means)
            spent = Spent(0, job.usd, job.tokens)
            return job
        finally:
            means.budget.settle(bound, spent)


def _submit(job: TuningJob, order: Order, calls: _Calls, means: Means) -> TuningJob:
    """Submit a job, if it has no id yet, and store its id."""
    if not job.job:
        try:
            job = replace(job, job=calls.submit(job, order.hyperparameters))
        except ProviderError:
            job = replace(job, job=calls.find(job.file))  # it may have been submitted, and only the response lost
            if not job.job:
                means.jobs.save_tuning_job(means.run, replace(job, status="failed", usd=0.0, tokens=0))
                raise
        means.notice(f"fine-tuning job {job.job} was submitted to {order.service.destination}")
    means.jobs.save_tuning_job(means.run, job)
    return job


def _follow(job: TuningJob, order: Order, calls: _Calls, means: Means) -> TuningJob:
    """Poll a job until it has ended, less and less often, and store what it cost."""
    wait, before = FIRST_LOOK, time.monotonic() - job.seconds
    while (found := calls.look(job.job))["status"] not in {"succeeded", *FAILED}:
        job = replace(job, status=str(found["status"]), seconds=time.monotonic() - before)
        means.jobs.save_tuning_job(means.run, job)
        if means.pause(wait):
            raise Interrupted("stopped")
        if said := means.budget.late():
            raise BudgetSpent(f"{said}; the fine-tuning job {job.job} goes on, and the next run finds its model")
        wait = min(LAST_LOOK, 1.5 * wait)
    tokens, tuned = int(found.get("trained_tokens") or 0), str(found.get("fine_tuned_model") or "")
    usd, seconds = tokens * (order.price or 0.0) / 1e6, time.monotonic() - before
    job = replace(job, status=str(found["status"]), tokens=tokens, usd=usd, tuned=tuned, seconds=seconds)
    means.jobs.save_tuning_job(means.run, job)
    if not tuned:
        said = (found.get("error") or {}).get("message") or "no reason given"
        raise ProviderError(f"{job.model}: the fine-tuning job {job.job} has {job.status}: {said}")
    return job


class _Calls:
    """Calls to a provider's files and jobs, retried on transient errors.

    They go through LiteLLM's own handlers, with a client that follows no redirect and uses no proxy without TLS.
    """

    def __init__(self, service: Service, means: Means) -> None:
        import httpx
        import openai

        self._service, self._means = service, means
        base, key = service.told["api_base"], service.told["api_key"]
        self._http = httpx.Client(follow_redirects=False, trust_env=base.startswith("https:"), timeout=LONG)
        client = openai.OpenAI(api_key=key, base_url=base, max_retries=0, timeout=LONG, http_client=self._http)
        self._told = {"client": client, "custom_llm_provider": "openai", "api_base": base, "api_key": key}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def upload(self, name: str, lines: bytes) -> str:
        """Upload rows, and return the provider's file id."""
        sent = {"file": (f"{name}.jsonl", lines, "application/jsonl"), "purpose": "fine-tune"}

        def create(*, client: object, api_base: str, api_key: str, **_: object) -> Any:  # noqa: ANN401
            # `litellm.create_file` would do the same with a client of its own.
            reached = {"api_base": api_base, "api_key": api_key, "organization": None, "client": client}
            return self._service.litellm.files.main.openai_files_instance.create_file(
                _is_async=False, create_file_data=sent, timeout=LONG, max_retries=0, **reached
            )

        return str(self._make(create)["id"])

    def submit(self, job: TuningJob, hyperparameters: Mapping[str, float]) -> str:
        """Submit a job, and return the provider's job id. Never retried: it may have been submitted."""
        files = {"training_file": job.file, "validation_file": job.dev_file}
        create = self._service.litellm.create_fine_tuning_job
        made = self._make(create, model=self._service.model, hyperparameters=dict(hyperparameters), **files, attempts=1)
        return str(made["id"])

    def find(self, file: str) -> str:
        """Return the id of the job with this training file, among the provider's latest; empty if there is none."""
        found = self._make(self._service.litellm.list_fine_tuning_jobs, limit=100)
        return next((str(job["id"]) for job in found.get("data") or [] if job.get("training_file") == file), "")

    def look(self, job: str) -> Mapping[str, Any]:
        """Return the provider's record of a job."""
        return self._make(self._service.litellm.retrieve_fine_tuning_job, fine_tuning_job_id=job)

    def checkpoints(self, job: str) -> list[str]:
        """Return the names of the models kept from earlier epochs, in order; empty if none are kept."""

        def listed(*, client: Any, **_: object) -> Any:  # noqa: ANN401 - LiteLLM has no such call
            return client.fine_tuning.jobs.checkpoints.list(job)

        try:
            found = self._make(listed).get("data") or []
        except ProviderError:  # not all servers with OpenAI's protocol have this call
            return []
        found = sorted(found, key=lambda each: int(each.get("step_number") or 0))
        return [str(each["fine_tuned_model_checkpoint"]) for each in found if each.get("fine_tuned_model_checkpoint")]

    def _make(self, call: Callable[..., Any], attempts: int = ATTEMPTS, **arguments: Any) -> Mapping[str, Any]:  # noqa: ANN401
        for attempt in range(1, attempts + 1):
            try:
                made: Mapping[str, Any] = call(**arguments, **self._told).model_dump()
            except Exception as error:  # noqa: BLE001 - LiteLLM has no common base class
                failed = classify_raised(error)
                if failed.fate not in {Fate.PASSING, Fate.LIMITED} or attempt == attempts:
                    raise ProviderError(f"{self._service.name}: {failed.said}") from None
                if self._means.pause(failed.wait if failed.wait is not None else 0.5 * 2**attempt):
                    raise Interrupted("stopped") from None
            else:
                return made
        raise AssertionError(attempts)


# --- the tuned model --------------------------------------------------------------------------------------


def train(lesson: Lesson, order: Order, means: Means, ledger: Callable[[str], Ledger]) -> Rival:
    """Tune models on the training rows and return the best on the dev rows, the first of equals.

    The first job has the provider's own learning rate. If more jobs may be submitted, they search for a better one,
    until the budget does not cover another.

    Parameters
    ----------
    lesson, order, means
        What to learn from, what to train, and what following the jobs needs.
    ledger
        Name of a tuned model -> the ledger that buys its answers.
    """
    drafts = [_tuned(lesson, order, means, ledger)]

    def objective(chooser: Chooser) -> float:
        rate = round(2 ** chooser.suggest_float("log2_rate", *RATES), 3)
        drafts.append(_tuned(lesson, replace(order, rate=rate), means, ledger))
        return drafts[-1].trained.dev_score

    if order.jobs > 1:
        with suppress(BudgetSpent):  # keep what was tuned by then
            lesson.search(objective, trials=order.jobs - 1, seconds=LONGEST, seed=lesson.budget.seed)
    best = max(drafts, key=lambda draft: draft.trained.dev_score)
    costs = [draft.trained.cost for draft in drafts]
    cost = None if None in costs else sum(cost or 0.0 for cost in costs)
    seconds = sum(draft.trained.seconds for draft in drafts)
    return replace(best, trained=replace(best.trained, cost=cost, seconds=seconds, trials=len(drafts)))


def _tuned(lesson: Lesson, order: Order, means: Means, ledger: Callable[[str], Ledger]) -> Rival:
    """Tune one model and score it on the dev rows, as well as the models kept from earlier epochs.

    Returns the best, the latest of equals, as early stopping would. Earlier epochs are scored from the latest on, while
    the budget covers it and they answer.
    """
    job = tune(lesson.rows, lesson.dev, order, means)
    bound = max(len(row.target.encode()) for row in lesson.rows) + 8
    texts, drafts, answers = [row.text for row in lesson.dev], list[Rival](), list[Spent]()
    with closing(_Calls(order.service, means)) as calls:
        earlier = [name for name in calls.checkpoints(job.job) if name != job.tuned]
    earlier = earlier[: min(KEPT, order.epochs - 1)]  # further ones are the last epoch's, under other names
    for epoch, name in zip(range(order.epochs, 0, -1), [job.tuned, *reversed(earlier)], strict=False):
        if drafts and means.budget.lacking(further(answers) * len(texts)):
            break
        detail = f"{job.model}, fine-tuned by its provider over {epoch} epochs: {name}"
        params = {"model": job.model, "tuned": name, "job": job.job, "epochs": epoch, "max_tokens": bound}
        params |= {} if order.rate is None else {"learning_rate_multiplier": order.rate}
        draft = load(TrainedModel(detail, params, (), 0.0, kind="provider"), order, means, ledger)
        try:
            score = lesson.dev_score(draft.answer(texts))
        except (BudgetSpent, ProviderError):
            if not drafts:
                raise
            break
        assert draft.paid is not None
        answers += [taken(answer) for answer in draft.paid(texts)]
        drafts.append(replace(draft, trained=replace(draft.trained, dev_score=score)))
    best = max(drafts, key=lambda draft: draft.trained.dev_score)
    cost = None if order.price is None or not best.priced else job.usd + sum(answers, Spent()).usd
    curve = tuple(draft.trained.dev_score for draft in reversed(drafts))
    trained = replace(best.trained, curve=curve, cost=cost, seconds=job.seconds)
    return replace(best, trained=trained)


def load(trained: TrainedModel, order: Order, means: Means, ledger: Callable[[str], Ledger]) -> Rival:
    """Return a tuned model as a rival; each answer is bought once, and so is each job on other rows."""
    buyer = ledger(str(trained.params["tuned"]))
    settings = Settings(0.0, int(trained.params["max_tokens"]), logprobs=True)
    known: dict[str, Completion] = {}

    def ask(texts: Sequence[str]) -> list[Completion]:
        new = list(dict.fromkeys(text for text in texts if text not in known))
        requests = [Request(order.messages(text), settings) for text in new]
        known.update(zip(new, (completion for _, completion in buyer.complete(requests)), strict=True))
        failed = [known[text] for text in texts if known[text].error]
        for text in new:
            if known[text].error:
                del known[text]
        if failed:
            raise ProviderError(
                f"{buyer.model.name}: {len(failed)} of {len(texts)} calls failed ({failed[0].error}). When the model "
                "answers again, give the same command: it asks for those rows alone."
            )
        return [known[text] for text in texts]

    def anew(rows: Sequence[Example], dev: Sequence[Example]) -> Rival:
        params = trained.params
        same = replace(order, epochs=int(params["epochs"]), rate=params.get("learning_rate_multiplier"))
        job = tune(rows, dev, same, means)
        params = {**params, "tuned": job.tuned, "job": job.job}
        detail = f"{job.model}, fine-tuned by its provider on {len(rows)} rows: {job.tuned}"
        other = replace(trained, detail=detail, params=params, curve=(), dev_score=0.0, cost=job.usd)
        return load(replace(other, seconds=job.seconds), order, means, ledger)

    return Rival(
        trained,
        anew=anew,
        answer=lambda texts: [completion.text.strip() for completion in ask(texts)],
        confidence=lambda texts: [_sure(completion) for completion in ask(texts)],
        paid=ask,
        priced=buyer.model.price is not None,
    )


def _sure(completion: Completion) -> float:
    """Return the probability of the answer's beginning, from the log-probabilities; 1 if there are none for it."""
    answer = completion.text.strip()
    told = [value for text, value in completion.logprobs if text.strip() and answer.startswith(text.strip())]
    return min(1.0, sum(math.exp(value) for value in told)) if told else 1.0
