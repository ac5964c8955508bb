"""The live comparison counts calls at the server, scores all methods alike and reads its own results correctly."""

from __future__ import annotations

import json
import math
import random
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.live import DATA, Setting, ours, report, stays
from benchmarks.live_peers import Rows, accuracy, counted, load_rows, serving, stratified
from benchmarks.live_server import Server, propose
from optimizer.embedded import complete_text
from search_spaces.prompt import Message

CHAT = [
    {
        "role": "user",
        "content": "Text: it crashes\nLabel: bug\n\nText: well done\nLabel: praise\n\nText: a crash\nLabel:",
    }
]


@pytest.fixture
def address() -> Iterator[str]:
    """Run a server in a thread."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.address
        server.shutdown()
        thread.join()


def post(url: str, body: object) -> dict[str, Any]:
    """Send JSON, return JSON."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return dict(json.load(response))


def test_the_server_answers_as_the_embedded_model_does(address: str) -> None:
    """The same text, in the form of the protocol, with its tokens."""
    said = post(f"{address}/count/me/v1/chat/completions", {"model": "embedded", "messages": CHAT})

    assert said["choices"][0]["message"]["content"] == complete_text([Message("user", CHAT[0]["content"])]) == "bug"
    assert said["usage"]["total_tokens"] == said["usage"]["prompt_tokens"] + said["usage"]["completion_tokens"] > 1


def test_the_server_counts_each_client_apart(address: str) -> None:
    """All requests, the different ones among them, and those to each model."""
    for client, model, temperature in (
        ("me", "embedded", 0.0),
        ("me", "embedded", 0.0),
        ("me", "embedded", 0.5),
        ("me", "proposer", 0.0),
        ("you", "embedded", 0.0),
    ):
        body = {"model": model, "messages": CHAT, "temperature": temperature}
        post(f"{address}/count/{client}/v1/chat/completions", body)

    assert counted(address, "me") == {"requests": 4, "distinct": 3, "models": {"embedded": 3, "proposer": 1}}
    assert counted(address, "you")["requests"] == 1
    assert counted(address, "nobody")["requests"] == 0


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/v1/chat/completions", {"model": "embedded", "messages": CHAT}, 404),
        ("/count/me/v1/chat/completions", {"model": "gpt-4o", "messages": CHAT}, 404),
        ("/count/me/v1/chat/completions", {"model": "embedded"}, 400),
        ("/count/me/v1/chat/completions", ["embedded"], 400),
    ],
)
def test_what_is_no_chat_is_refused_and_not_counted(address: str, path: str, body: object, code: int) -> None:
    """A wrong path, model or body."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(address + path, body)
    refused.value.close()

    assert refused.value.code == code
    assert counted(address, "me")["requests"] == 0


def test_the_server_is_a_process_that_ends_with_its_user() -> None:
    """It is reached while it is needed, and gone afterwards."""
    with serving() as address:
        post(f"{address}/count/me/v1/chat/completions", {"model": "embedded", "messages": CHAT})
        seen = counted(address, "me")["requests"]

    assert seen == 1
    with pytest.raises(urllib.error.URLError):
        counted(address, "me")


def test_the_proposer_answers_in_the_form_that_is_asked_for() -> None:
    """A tagged prompt, a list of prompts, DSPy's fields, and DSPy's JSON; labels and form are kept."""
    kept = "The possible labels are: 'bug', 'praise'. Write it between <final_answer> and </final_answer>."
    fields = "Your output fields are:\n1. `summary` (str): \n2. `tip` (str): \nAll interactions"
    tagged = propose((Message("user", f"{kept}\nReturn <prompt>new prompt</prompt>"),), 0)
    listed = json.loads(propose((Message("user", f"Create overall 10 prompts. {kept}"),), 0))
    marked = propose((Message("system", f"{fields} [[ ## completed ## ]]"),), 0)
    named = json.loads(propose((Message("system", f"{fields} as a JSON object"),), 0))

    assert tagged.startswith("<prompt>")
    assert all("labels are: 'bug', 'praise'." in text and "<final_answer>" in text for text in [tagged, *listed])
    assert len(set(listed)) == 10
    assert marked.startswith("[[ ## summary ## ]]\n")
    assert "[[ ## tip ## ]]" in marked
    assert list(named) == ["summary", "tip"]


def test_the_proposer_moves_on_and_learns() -> None:
    """A repetition brings another wording; feedback adds the row's words, and older lessons stay."""
    asked = (
        "[[ ## current_instruction ## ]]\nSort it. Choose praise where you read lovely.\n\n[[ ## examples ## ]]\n"
        '[{"Inputs": {"text": "It crashes at login"}, "Feedback": "The right label is bug."}]'
    )
    first, second = (propose((Message("user", asked),), repeat) for repeat in range(2))

    assert first != second
    for said in (first, second):
        assert "Choose praise where you read lovely." in said
        assert "Choose bug where you read crashes, login." in said


def test_everybody_is_scored_by_the_label_alone() -> None:
    """White space at the ends and case do not count; no answer is a wrong one."""
    rows = [{"label": label} for label in ("bug", "Sci/Tech", "praise", "bug")]

    assert accuracy([" Bug\n", "sci/tech", None, "a bug"], rows) == 0.5
    with pytest.raises(ValueError, match="longer"):
        accuracy(["bug"], rows)


def test_drawn_rows_hold_every_label_in_its_share() -> None:
    """A fifth of the rows holds a fifth of each label, and the draw follows the seed."""
    rows = [{"id": str(n), "label": "a" if n % 10 else "b"} for n in range(500)]
    drawn, again, other = (stratified(rows, 100, random.Random(seed)) for seed in (0, 0, 1))

    assert Counter(row["label"] for row in drawn) == {"a": 90, "b": 10}
    assert drawn == again != other


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared benchmark data are not here")
def test_the_data_sets_give_rows_that_do_not_overlap() -> None:
    """Splits of the announced sizes, with all labels of the set."""
    rows = load_rows(DATA, "snips_slots", 0)

    assert [len(rows.splits[split]) for split in ("train", "dev", "test")] == [200, 200, 500]
    assert len({row["id"] for split in rows.splits.values() for row in split}) == 900
    assert len(rows.labels) == 7


@pytest.mark.parametrize(
    ("path", "calls"),
    [
        ([(10, 0.4), (20, 0.7), (30, 0.6), (40, 0.7)], 40),
        ([(10, 0.7), (20, 0.8)], 10),
        ([(10, 0.9), (20, 0.6)], math.inf),
    ],
)
def test_a_goal_is_reached_when_it_is_not_lost_again(path: list[tuple[int, float]], calls: float) -> None:
    """A lucky moment does not count."""
    assert stays(path, 0.7) == calls


def test_ours_keeps_to_the_calls_it_is_given() -> None:
    """No more calls than the peer had, and the path ends at the winner."""
    texts = {"bug": "the page crashes with an error", "praise": "a lovely and pleasant page"}
    splits = {
        split: [
            {"id": f"{split}{n}{label}", "text": f"{texts[label]} {split} {n}", "label": label}
            for n in range(size)
            for label in sorted(texts)
        ]
        for split, size in (("train", 8), ("dev", 10), ("test", 10))
    }
    result = ours(Rows("small", 0, ("bug", "praise"), splits), 60, "me", Setting("random"))

    assert 0 < result["calls"] <= 60
    assert result["path"][-1] == (result["calls"], result["accuracy"])


def test_the_table_gives_both_verdicts() -> None:
    """Medians of the points over each peer, and of the calls to the best peer's accuracy."""
    rows = [
        {
            "set": "s",
            "seed": seed,
            "peer": "capo",
            "accuracy": 0.5,
            "calls": 100,
            "ours": ours_,
            "reached": at,
            "ratio": at / 100,
        }
        for seed, (ours_, at) in enumerate([(0.6, 40), (0.55, 45), (0.4, math.inf)])
    ]
    said = report(rows)

    assert "| s | capo | 100 | 0.500 | 0.550 | +5.0 | 40, 45, never | 0.45 |" in said
    assert "| points over capo | +5.0 | 67 % | pass |" in said
    assert "| our calls / the best peer's | 0.45 | 67 % at most half | pass |" in said
