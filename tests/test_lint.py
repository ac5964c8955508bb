"""What is found in a prompt before export: addresses, keys, copied rows, unfilled slots; and few false alarms."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer import export, history, tune
from optimizer.errors import ExportError
from optimizer.exports import sensitive
from optimizer.exports.lint import COPIED, SHORTEST, Linted, lint
from search_spaces.prompt import Example, Prompt
from search_spaces.rendering import Renderer
from search_spaces.templates import BUILT_IN
from tests.conftest import Command
from tests.small_task import BUNDLED

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"

TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
FOUND = [
    ("write to ada.lovelace@firm.eu.", "ada.lovelace@firm.eu", "e-mail address"),
    ("call +49 171 2345678 today", "+49 171 2345678", "phone number"),
    ("(415) 555-2671", "(415) 555-2671", "phone number"),
    ("415-867-5309 is it", "415-867-5309", "phone number"),
    ("please call 07700 900123", "07700 900123", "phone number"),
    ("0049 30 1234567", "0049 30 1234567", "phone number"),
    ("card 4111 1111 1111 1111, please", "4111 1111 1111 1111", "card number"),
    ("378282246310005", "378282246310005", "card number"),
    ("DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 00", "IBAN"),
    ("to GB82WEST12345698765432!", "GB82WEST12345698765432", "IBAN"),
    ("from 185.199.108.153 it", "185.199.108.153", "IP address"),
    ("2606:2800:220:1:248:1893:25c8:1946", "2606:2800:220:1:248:1893:25c8:1946", "IP address"),
    ("OPENAI_API_KEY=sk-proj-Ab3dEf6hIj9kLm2nOp5q", "sk-proj-Ab3dEf6hIj9kLm2nOp5q", "key"),
    ("AKIAQ3ZK7PLM9XWVT2B5", "AKIAQ3ZK7PLM9XWVT2B5", "key"),
    ("ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8", "ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8", "key"),
    ("password: tr0ub4dor&3x", "tr0ub4dor&3x", "password or key"),
    ('"api_key": "8f14e45fceea167a5a36dedd4bea2543"', "8f14e45fceea167a5a36dedd4bea2543", "password or key"),
    ("Authorization: Bearer q7W8e9R0t1Y2u3I4", "q7W8e9R0t1Y2u3I4", "password or key"),
    (f"token {TOKEN}", TOKEN, "JSON web token"),
    ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "-----BEGIN RSA", "private key"),
]
CLEAN = [
    "you@example.org, me@mail.example.com, a@b.test",
    "call 415-555-0134, as they do in films",
    "4111 1111 1111 1112 has a wrong check digit; order 1234567890123456",
    "DE89370400440532013001 as well",
    "192.168.0.1, 10.0.0.1, 203.0.113.7, 127.0.0.1, v1.2.3.4, Chrome 131.0.6778",
    "2024-11-26 10:33:12, 26.11.2024, 1,000,000.00, 3.14159265358979",
    "12:30:45, std::vector::iterator, a::b",
    "api_key = your-api-key-1, password: <your password>, token: [hidden], secret: changeme",
    "the password is wrong again! The secret is patience. A token is a word.",
    "AKIAIOSFODNN7EXAMPLE is the one of the manual",
    "ISBN 978-3-16-148410-0, room 101-202-303, invoice 2024/000123",
    "@handle, a @ b, foo@bar",
]


@pytest.mark.parametrize(("text", "secret", "kind"), FOUND)
def test_what_must_not_be_handed_on_is_found(text: str, secret: str, kind: str) -> None:
    """Each is found where it stands, under its kind, and nothing beside it."""
    (span,) = sensitive.find(text)

    assert kind == span.kind
    assert text[span.start : span.end].startswith(secret)
    assert secret not in sensitive.mask(text)


@pytest.mark.parametrize("text", CLEAN)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    """Documentation's addresses, wrong check digits, dates, versions and places for a key are no findings."""
    assert sensitive.find(text) == []


def test_the_bundled_rows_are_clean() -> None:
    """No row of the demo holds anything of the kind, so that its winner is exported without a word."""
    for name in ("support.csv", "library.csv"):
        with (BUNDLED / name).open(encoding="utf-8", newline="") as file:
            texts = [row["text"] for row in csv.DictReader(file)]

        assert len(texts) > 50
        assert [text for text in texts if sensitive.find(text)] == []


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
def test_false_alarms_are_rare_in_real_rows() -> None:
    """Of news, questions, sums and reviews none is reported; of spam, whose numbers are real, many are."""
    reported = {}
    for name in ("ag_news", "banking77", "gsm8k", "hatexplain", "snips_slots", "sst2", "sms_spam"):
        lines = (SHARED / name / "train.jsonl").read_text(encoding="utf-8").splitlines()[:1000]
        texts = [value for line in lines for value in json.loads(line).values() if isinstance(value, str)]
        reported[name] = sum(bool(sensitive.find(text)) for text in texts)

    assert reported.pop("sms_spam") > 20
    assert set(reported.values()) == {0}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
@settings(max_examples=200)
def test_masking_ends_and_changes_nothing_else(text: str) -> None:
    """Spans are in order and apart, a masked text holds none, and a text without findings stays as it is."""
    spans = sensitive.find(text)

    assert all(a.end <= b.start for a, b in pairwise(spans))
    masked = sensitive.mask(text)
    assert (masked == text) == (not spans)


@given(
    before=st.text("abc .,;\n", max_size=30),
    after=st.text(" .,;\n", min_size=1, max_size=30),
    case=st.sampled_from(FOUND),
)
def test_findings_do_not_depend_on_what_stands_around(before: str, after: str, case: tuple[str, str, str]) -> None:
    """Between words and punctuation each is found all the same."""
    text, secret, kind = case
    around = f"{before} {text}{after}"

    assert kind in {span.kind for span in sensitive.find(around)}
    assert secret not in sensitive.mask(around)


# --- a prompt ---------------------------------------------------------------------------------------------


def row(id_: str, text: str, target: str = "glad") -> Example:
    """Return a row of one text."""
    return Example(id_, (("text", text),), (target,))


PROMPT = Prompt("plain", "Say how the writer feels.", ("text",), "label", ("glad", "sad"), demos=(row("r1", "I sing"),))
SEVEN = "the parcel came late and wet again"


def looked_over(prompt: Prompt, rows: Mapping[str, Sequence[Example]] | None = None, **how: bool) -> Linted:
    """Lint with the built-in templates."""
    return lint(prompt, Renderer(), rows or {}, **how)


@pytest.mark.parametrize("template", BUILT_IN)
def test_an_ordinary_prompt_passes(template: str) -> None:
    """Nothing is said of it, and it is the same prompt."""
    prompt = replace(PROMPT, template=template)

    assert looked_over(prompt, {"dev": [row("r2", SEVEN)]}) == Linted(prompt, masked=False, said=())


def test_a_warning_names_the_place_and_not_the_secret() -> None:
    """A person finds it by its example, field and character; who reads over the shoulder learns three characters."""
    prompt = replace(PROMPT, demos=(row("r1", "I sing"), row("r9", "mail ada.lovelace@firm.eu or +49 171 2345678")))

    (said,) = looked_over(prompt).said

    assert "e-mail address (example 2 (r9), text, character 6: ada…)" in said
    assert "phone number (example 2 (r9), text, character 30: +49…)" in said
    assert "lovelace" not in said
    assert "2345678" not in said


def test_a_mask_reaches_every_text_and_no_label() -> None:
    """Instruction, notes, inputs and reasoning are masked; answers of a closed list stay, open ones are masked."""
    mail = "ada@firm.eu"
    demo = Example("r1", (("text", f"from {mail}"),), (mail,), f"It names {mail}.")
    closed = replace(PROMPT, instruction=f"Ask {mail}.", labels=(mail, "sad"), notes=(f"as {mail}", ""), demos=(demo,))

    masked = looked_over(closed, mask=True)

    assert masked.masked
    assert masked.prompt.labels == (mail, "sad")
    assert masked.prompt.demos[0].targets == (mail,)
    others = replace(masked.prompt, labels=(), demos=(replace(masked.prompt.demos[0], targets=()),))
    assert mail not in str(others)
    assert "not the prompt that was scored" in masked.said[0]
    opened = looked_over(replace(closed, labels=(), notes=()), mask=True)
    assert mail not in str(opened.prompt)


def test_a_mask_without_findings_is_none() -> None:
    """The prompt stays the one that was scored."""
    assert looked_over(PROMPT, mask=True) == Linted(PROMPT, masked=False, said=())


@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize("text", [f"My {SEVEN}, and nobody cares", SEVEN, "It just came wet again"])
def test_a_copied_row_is_refused(split: str, text: str) -> None:
    """Eight words in a row are a copy, and so is the whole of a shorter row, whatever case and points are."""
    prompt = replace(PROMPT, instruction=f"Say how. For instance: {text.upper()}! And so on.")

    with pytest.raises(ExportError, match=f"words of {split} row 'r7'.*--allow-findings"):
        looked_over(prompt, {split: [row("r7", text)]})

    said = looked_over(prompt, {split: [row("r7", text)]}, allow=True).said
    assert said[0].startswith(f"Allowed all the same: the instruction holds words of {split} row 'r7'")


def test_a_copy_in_a_note_is_found() -> None:
    """Notes on labels are part of the wording."""
    with pytest.raises(ExportError, match="words of dev row"):
        looked_over(replace(PROMPT, notes=("", SEVEN)), {"dev": [row("r7", SEVEN)]})


def test_what_is_no_copy() -> None:
    """Seven words out of a longer row, four words, a label, and what a training row has as well."""
    prompt = replace(PROMPT, instruction=f"See: {SEVEN}. We are all fine. Or: card payment was wrongly charged here.")
    label = "card payment was wrongly charged here"

    assert looked_over(prompt, {"dev": [row("r7", f"{SEVEN} today, said the postman")]}).said == ()
    assert looked_over(prompt, {"dev": [row("r7", "We are all fine")]}).said == ()
    assert looked_over(prompt, {"dev": [row("r7", SEVEN)], "train": [row("r8", SEVEN)]}).said == ()
    assert looked_over(replace(prompt, labels=(label,)), {"test": [row("r7", label)]}).said == ()


words = st.lists(st.text("abcdefgh", min_size=1, max_size=5), min_size=SHORTEST, max_size=20)


@given(copied=words, before=words, after=words, start=st.integers(0, 12))
def test_any_eight_words_of_a_row_are_found(copied: list[str], before: list[str], after: list[str], start: int) -> None:
    """Wherever they begin, and whatever stands around them."""
    piece = copied[start : start + COPIED] if len(copied) >= start + COPIED else copied
    prompt = replace(PROMPT, instruction=" ".join([*before, *piece, *after]))

    with pytest.raises(ExportError, match="row 'r7'"):
        looked_over(prompt, {"dev": [row("r7", ", ".join(copied))]})


@pytest.mark.parametrize(
    "mark", ["{text}", "{{ message }}", "${label}", "{inputs}", "[[text]]", "<<text>>", "{% if x %}"]
)
def test_a_slot_that_nothing_fills_is_refused(mark: str) -> None:
    """Marks for a text in the wording would be sent as they stand."""
    with pytest.raises(ExportError, match="filled by nothing"):
        looked_over(replace(PROMPT, instruction=f"Say how {mark} feels."))


@pytest.mark.parametrize("text", ['Answer {"label": "glad"}.', "Give {a, b} or {}.", "Use <label> tags.", "f(x) = {x}"])
def test_other_braces_are_no_slots(text: str) -> None:
    """JSON, sets, tags and formulas are the user's own."""
    assert looked_over(replace(PROMPT, instruction=text)).said == ()


def test_lost_and_invented_inputs_are_refused() -> None:
    """A layout that forgets an input, or asks for another, is none that can be used."""

    class Forgetful:
        id = "plain"

        def compile(self, prompt: Prompt, demos: Sequence[Example]) -> object:
            return BUILT_IN["plain"].compile(replace(prompt, inputs=("title",)), demos)

    renderer = Renderer({"plain": Forgetful()})  # type: ignore[dict-item]

    with pytest.raises(ExportError, match="no place for the input 'text'"):
        lint(replace(PROMPT, demos=()), renderer, {})
    with pytest.raises(ExportError, match="a place 'title', which is no input"):
        lint(replace(PROMPT, inputs=(), demos=()), renderer, {})


# --- the command ------------------------------------------------------------------------------------------


def test_a_winner_is_exported_clean(finished: Path, tmp_path: Path) -> None:
    """There is nothing to warn of, and nothing is refused."""
    done = export("python", db=finished, folder=tmp_path)

    assert done.fidelity == "exact"
    assert "Warning" not in done.note


LEAKY = """[task]
name = "leaky"
[data]
file = "rows.csv"
id = "id"
inputs = ["text"]
target = "label"
split_column = "split"
[search]
calls = 40
[baseline]
trials = 1
[space]
template = "plain"
demos = "random"
k = 4
demo_order = "drawn"
demo_seed = 0
persona = "none"
caution = "none"
labels = "none"
answer_format = "bare"
reasoning = "off"
calibration = "off"
temperature = 0.0
"""


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two prompts: one shows rows with addresses, the other has a test row in its wording as well."""
    folder = tmp_path_factory.mktemp("leaky")
    with (BUNDLED / "support.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:60]
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label", "split"])
        for number, row in enumerate(rows):
            split = ("train", "dev", "test")[number % 3]
            writer.writerow([row["id"], f"{row['text']} Write to user{row['id']}@firm.eu", row["label"], split])
    wording = json.dumps(f"Route it, as in: {rows[2]['text']}")
    space = f'instruction = {{ only = ["direct"], add = [{wording}] }}\n'
    (folder / "task.toml").write_text(LEAKY + space, encoding="utf-8")
    tune(folder / "task.toml", db=folder / "results.db")
    return folder / "results.db"


def test_export_warns_masks_and_says_so(leaky: Path, command: Command) -> None:
    """The file of --mask holds no address, and is said to be another prompt than the one that was scored."""
    told = ("export", "--format", "text", "--trial", "0", "--db", str(leaky), "-o")

    shown = command(*told, "a.txt").output
    masked = command(*told, "b.txt", "--mask").output

    assert "@firm.eu" in Path("a.txt").read_text()
    assert "loaded back: exact" in shown
    assert "Warning: it holds what may be private: e-mail address (example 1" in shown
    assert "@firm.eu" not in shown
    assert "@firm.eu" not in Path("b.txt").read_text()
    assert "[e-mail address]" in Path("b.txt").read_text()
    assert "loaded back: partial" in masked
    assert "Masked: 4 × e-mail address. This is not the prompt that was scored" in masked


def test_export_refuses_a_copied_row_unless_told(leaky: Path, command: Command) -> None:
    """Exit code 2 and no file; with --allow-findings the file, and what is wrong with it."""
    copied = next(t.number for t in history(leaky).trials() if t.params["instruction"] == "own1")
    told = ("export", "--format", "text", "--trial", str(copied), "--db", str(leaky))

    refused = command(*told, code=2).output

    assert "the instruction holds words of test row" in refused
    assert list(Path().iterdir()) == []
    allowed = command(*told, "--allow-findings").output
    assert "Allowed all the same: the instruction holds words of test row" in allowed
    assert len(list(Path().iterdir())) == 1
