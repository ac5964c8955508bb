"""A prompt that cannot fit into the model's context is not sent: it is a failed call, never a wrong answer."""

from __future__ import annotations

import csv
import importlib.util
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from asking import QUICK
from server import ChatServer

from optimizer import tune
from optimizer.budget import Spent, too_long
from optimizer.calls.prices import known_context
from optimizer.ledger import Ledger
from optimizer.models import open_model
from optimizer.records import Request
from optimizer.store import Store
from search_spaces.prompt import Message, Settings
from tests.small_task import write_task

SHORT = Request((Message("user", "the blue bird"),), Settings(max_tokens=10))
LONG = Request((Message("system", "Say what it is."), Message("user", "bird " * 1000)), Settings(max_tokens=10))

TEXTS = {
    "english": "We refund what you paid within five working days after your parcel has come back to our store. " * 50,
    "words": "international counterrevolutionaries internationalization " * 100,
    "german": "Die Kündigungsbestätigung wird Ihnen innerhalb von vierzehn Werktagen zugeschickt. " * 50,
    "chinese": "我们将在收到您的退货后的五个工作日内退款。" * 100,
    "code": Path(__file__).read_text(encoding="utf-8"),
    "dashes": "-------------------------------- ==== ________________________________\n" * 100,
    "emoji": "🎉🎉🎉 👩‍👩‍👧‍👦 " * 100,
}


@pytest.mark.parametrize("encoding", ["cl100k_base", "o200k_base"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_fits_is_never_refused(monkeypatch: pytest.MonkeyPatch, encoding: str, text: str) -> None:
    """A context of exactly as many tokens as a real tokenizer counts is enough."""
    spec = importlib.util.find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(Path(spec.origin).parent / "litellm_core_utils" / "tokenizers"))
    tiktoken = pytest.importorskip("tiktoken")

    tokens = len(tiktoken.get_encoding(encoding).encode(text))

    assert too_long(Request((Message("user", text),), Settings(max_tokens=7)), tokens + 7) == ""


@pytest.mark.parametrize(("context", "fits"), [(1013, False), (1014, True), (100_000, True)])
def test_the_answer_s_room_counts(context: int, fits: bool) -> None:
    """1,004 words and an answer of 10 tokens."""
    said = too_long(LONG, context)

    assert fits == (said == "")
    assert fits or said == "prompt of at least 1,004 tokens, and up to 10 for the answer; the model takes 1,013"


def test_the_price_table_knows_contexts() -> None:
    """And says nothing of models that it does not hold."""
    assert known_context("openai/gpt-4o-mini") == 128_000
    assert known_context("hosted_vllm/model-of-ours") == known_context("embedded") == 0


def test_a_prompt_that_is_too_long_is_not_sent(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is a failed call that costs nothing; the others are answered."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    model = open_model("openai/test-model", api_base=server.url, price=(2.0, 8.0))

    with (
        Store(tmp_path / "results.db", create=True) as store,
        closing(Ledger(model, store, 1, pace=QUICK, context=1000)) as ledger,
    ):
        assert ledger.missing([SHORT, LONG]) == 1
        (_, short), (_, long) = ledger.complete([SHORT, LONG])

        assert len(server.log) == 1
        assert not short.error
        assert "the model takes 1,000" in long.error
        assert (long.cost, ledger.bought) == (0.0, 1)
        assert (
            ledger.budget.spent == store.spent(1) == Spent(1, short.cost, short.prompt_tokens + short.completion_tokens)
        )
        assert "the model takes" in ledger.complete([LONG])[0][1].error


def test_a_run_leaves_out_what_is_too_long(tmp_path: Path) -> None:
    """A row that no prompt can hold is an error of each that meets it, with the reason; nobody is marked down."""
    task = write_task(tmp_path, rows=100, search={"calls": 60})
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [head, *([*row[:-1], row[-1] + " zzlong" * 5000 * (not i % 12)] for i, row in enumerate(rows))]
        )
    with task.open("a", encoding="utf-8") as file:
        file.write('demos = ["none"]\n[model]\ncontext = 4000\n')

    tuned = tune(task, db=tmp_path / "results.db")

    with closing(sqlite3.connect(tmp_path / "results.db")) as conn:
        found = conn.execute(
            "SELECT kind, score, error FROM outcomes JOIN examples ON id = example WHERE inputs LIKE '%zzlong%'"
        ).fetchall()
        assert conn.execute("SELECT COUNT(*) FROM failures").fetchone() == (0,)
        assert conn.execute("SELECT MAX(prompt_tokens) FROM completions").fetchone()[0] < 4000
    assert found
    assert all((kind, score) == ("error", None) and "the model takes 4,000" in said for kind, score, said in found)
    assert tuned.best.score is not None
