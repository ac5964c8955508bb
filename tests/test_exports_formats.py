"""The formats for other tools, read without these: what they contain, what they refuse, what must not be in them."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from optimizer import export as from_run
from optimizer import history
from optimizer.commands.service import serve_embedded
from optimizer.errors import ExportError
from optimizer.exports import FORMATS, Exported, Facts, Target
from optimizer.exports import export as write_export
from optimizer.exports.jinja import rendered, templated
from optimizer.exports.names import slot_names
from optimizer.exports.proof import NASTY
from optimizer.exports.readers import READERS
from optimizer.exports.scored import BY_NAME
from optimizer.exports.yaml import read_yaml, write_yaml
from optimizer.rescoring import rescore
from optimizer.scores import row_metrics
from optimizer.scoring import get_metric
from optimizer.store import Store
from search_spaces.prompt import Example, Prompt, Settings, Slot
from search_spaces.rendering import Renderer
from search_spaces.templates import turn
from tests.conftest import Command
from tests.exporting import SCORED, export, nasty_texts, row, simple
from tests.recorded import Tried, write_run

LOSING = ("prompty", "dotprompt", "llamaindex")  # their readers change some inputs, whatever is written


@pytest.mark.parametrize("name", FORMATS)
def test_each_nasty_text_is_carried_or_refused(name: str, tmp_path: Path) -> None:
    """A text of the corpus as instruction, input and answer is read back as it is, or refused with a reason."""
    carried = 0
    for text in NASTY:
        demo = Example("demo", (("text", text),), (text,))
        prompt = simple(template="chat", instruction=text, label_place="none", labels=(), demos=(demo,))
        target = Target(tmp_path, FORMATS[name].usual_name, force=True)
        try:
            done = export(prompt, name, target, Renderer(), [row(text)])
        except ExportError as error:
            if "Nothing was left behind" not in str(error):
                raise
        else:
            carried += 1
            assert done.fidelity == ("partial" if name in {*LOSING, "dspy", "llm"} else "exact")

    assert carried >= (len(NASTY) / 2 if name in {*LOSING, "anthropic"} else len(NASTY))


@pytest.mark.parametrize("name", LOSING)
def test_what_a_reader_changes_is_said(name: str, tmp_path: Path) -> None:
    """A format whose reader changes some inputs says which, and carries the ordinary ones."""
    done = export(simple(template="chat"), name, Target(tmp_path), Renderer(), [])
    lost = {"prompty": "x\n", "dotprompt": " ", "llamaindex": " x"}[name]

    assert "input" in done.note
    assert not done.draft.carries({"text": lost})
    assert done.draft.carries({"text": "It is {{ x }} fine: yes"})


@given(text=nasty_texts, value=nasty_texts)
def test_jinja_prints_what_was_escaped(text: str, value: str) -> None:
    """Texts on both sides of an input stay themselves, and the input is never read."""
    names = {"a": "a"}

    assert rendered(templated(turn("user", text, Slot("a"), text), names), {"a": value}, names) == text + value + text


@example(data="\x85")
@given(
    data=st.recursive(nasty_texts, lambda inner: st.lists(inner) | st.dictionaries(nasty_texts, inner), max_leaves=6)
)
def test_yaml_keeps_every_text(data: object) -> None:
    """What is written is what is read, also signs that do not print and words that mean something to YAML."""
    for value in (data, ["yes", "1e3", "null", "~", " x ", "- x", "a: b"]):
        assert read_yaml(write_yaml(value)) == value


def test_inputs_get_names_that_every_language_takes() -> None:
    """Names are of ASCII, none twice, none reserved; ordinary ones stay as they are."""
    names = slot_names(["text", "Größe (cm)", "class", "input", "2nd", "größe cm", "", "日本", "_x"])

    assert list(names.values()) == [
        *("text", "Grosse_cm", "class_", "input_", "field_2nd", "grosse_cm", "field", "field_", "x")
    ]


@pytest.mark.parametrize(
    "name", ["jinja2", "langchain", "mlflow", "promptfoo", "haystack", "llm", "prompty", "dotprompt"]
)
def test_an_input_that_is_called_otherwise_is_named(name: str, tmp_path: Path) -> None:
    """The note says what a column is called in the file."""
    prompt = simple(inputs=("text", "other field"), demos=())
    done = export(prompt, name, Target(tmp_path), Renderer(), [])

    assert "'other field' is called other_field" in done.note


# --- requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["openai", "anthropic", "mlflow", "prompty", "dotprompt", "llm", "promptfoo", "winner"]
)
def test_settings_travel_where_the_format_has_a_place(name: str, tmp_path: Path) -> None:
    """Temperature and the bound on tokens stand in the file."""
    done = export(simple(settings=Settings(0.25, 321)), name, Target(tmp_path), Renderer(), [])
    text = done.files[0].read_text(encoding="utf-8")

    assert "0.25" in text
    assert "321" in text
    assert "without temperature" not in done.note


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"settings": Settings(1.5, 9)}, r"temperature 1.5 is above 1.0"),
        ({"template": "chat", "demos": (Example("d", (("text", " "),), ("x",)),)}, "a message of it is blank"),
    ],
)
def test_anthropic_is_not_sent_what_it_refuses(changes: dict[str, object], fault: str, tmp_path: Path) -> None:
    """What the API would answer with an error is refused when it is written."""
    with pytest.raises(ExportError, match=fault):
        export(simple(**changes), "anthropic", Target(tmp_path), Renderer(), [])
    assert list(tmp_path.iterdir()) == []


STAND_IN = """#!/bin/sh
# Stands in for curl: writes down what it was told, and the file that a header is read from.
for argument; do
  echo "$argument" >> "$TOLD.arguments"
  case $argument in @/*) cat "${argument#@}" >> "$TOLD.header" 2>/dev/null ;; esac
done
cat > "$TOLD.body"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("template", ["chat", "xml"])
def test_the_script_sends_the_request_and_hides_the_key(template: str, tmp_path: Path) -> None:
    """With a stand-in for curl: the body is the prompt's, and the key is in no argument and not in the file."""
    prompt = simple(template=template, instruction="|".join(NASTY), inputs=("text", "other field"), demos=())
    done = export(prompt, "curl", Target(tmp_path), Renderer(), [])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "curl").write_text(STAND_IN)
    (tmp_path / "bin" / "curl").chmod(0o755)
    told, values = tmp_path / "told", ("|".join(NASTY), "-n 'x' $(id) `id` $HOME \\")
    env = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "TOLD": str(told),
        "OPENAI_API_KEY": "sk-secret'\"$x",
        "OPENAI_MODEL": 'my "model"',
    }
    subprocess.run(["bash", done.path, *values], env=env, check=True, capture_output=True)
    body = json.loads(told.with_suffix(".body").read_bytes())
    arguments = told.with_suffix(".arguments").read_text()

    wanted = Renderer().messages(prompt, row(*values, inputs=prompt.inputs))
    assert [message.to_dict() for message in wanted] == body["messages"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ('my "model"', 0.0, 64)
    assert "sk-secret" not in arguments
    assert "https://api.openai.com/v1/chat/completions" in arguments
    assert told.with_suffix(".header").read_text() == "Authorization: Bearer sk-secret'\"$x\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_script_names_its_arguments(tmp_path: Path) -> None:
    """Called with too few, it says which are needed, and sends nothing."""
    done = export(simple(inputs=("text", "other"), demos=()), "curl", Target(tmp_path), Renderer(), [])
    run = subprocess.run(["bash", done.path, "x"], capture_output=True, text=True, check=False)

    assert run.returncode == 2
    assert "2 arguments are needed, in this order: text, other" in run.stderr


# --- addresses ----------------------------------------------------------------------------------------------

HERE = "http://127.0.0.1:8091/v1"
WHERE = {
    "curl": f"\nurl='{HERE}'\n",
    "promptfoo": f"apiBaseUrl: {HERE}\n",
    "mlflow": f'"base_url": "{HERE}"',
    "prompty": f"endpoint: {HERE}\n    apiKey: none\n",
    "python": f'\nMODEL = "openai/smollm2"\nAPI_BASE = "{HERE}"\n',
    "inspect": f"--model openai/smollm2 --model-base-url {HERE}`",
}
SAID = {"openai": "send it there", "batch": "send it there", "dotprompt": "send it there", "anthropic": "Name one of"}


def exported(name: str, folder: Path, model: str, address: str = "") -> Exported:
    rows = (Example("row-1", (("text", "x"),), ("glad",)),)
    facts = Facts("support", model, rows=rows, split="test", train=rows, address=address)
    return write_export(simple(), name, Target(folder), Renderer(), [], facts)


@pytest.mark.parametrize("name", [*WHERE, *SAID])
def test_the_address_of_the_model_is_in_the_file_or_said(name: str, tmp_path: Path) -> None:
    """A key and rows go to where the prompt was tuned, not to OpenAI."""
    done = exported(name, tmp_path, "openai/smollm2", HERE)
    texts = "".join(file.read_text(encoding="utf-8") for file in done.files)

    assert "api.openai.com" not in texts
    assert WHERE.get(name, "") in texts
    assert SAID.get(name, "") in done.note
    assert name not in {"openai", "batch", "dotprompt"} or HERE in done.note


@pytest.mark.parametrize(
    ("model", "address", "server", "provider"),
    [
        ("openai/gpt-4o-mini", "", "https://api.openai.com/v1", "openai:chat:gpt-4o-mini"),
        ("hosted_vllm/m", HERE, HERE, {"id": "openai:chat:m", "config": {"apiBaseUrl": HERE, "apiKey": "no-key"}}),
        ("hosted_vllm/m", "", "", "litellm:hosted_vllm/m"),
        ("mistral/m", "", "", "litellm:mistral/m"),
        ("ollama_chat/m", "", "http://localhost:11434/v1", "ollama:chat:m"),
        (
            "ollama_chat/m",
            "http://box:11434/",
            "http://box:11434/v1",
            {"id": "openai:chat:m", "config": {"apiBaseUrl": "http://box:11434/v1", "apiKey": "no-key"}},
        ),
        ("anthropic/m", "", "", "anthropic:messages:m"),
    ],
)
def test_no_other_model_is_asked_at_openai(
    model: str, address: str, server: str, provider: object, tmp_path: Path
) -> None:
    """Where its address is not known, the script asks for one, and promptfoo a proxy that knows the model."""
    script = exported("curl", tmp_path, model, address)
    config = exported("promptfoo", tmp_path, model, address)

    assert f"\nurl='{server}'\n" in script.path.read_text()
    assert ("OPENAI_BASE_URL" in script.note) == (not server)
    assert read_yaml(config.files[0].read_text())["providers"] == [provider]
    assert ("proxy of LiteLLM" in config.note) == str(provider).startswith("litellm")


@pytest.mark.parametrize(
    ("model", "sent"),
    [("openai/m", "sk-openai"), ("hosted_vllm/m", "sk-vllm"), ("lm_studio/m", "none"), ("embedded", "none")],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_server_gets_the_key_of_its_own_provider_alone(model: str, sent: str, tmp_path: Path) -> None:
    """With a stand-in for curl: never OpenAI's key at another server."""
    done = exported("curl", tmp_path, model, HERE)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "curl").write_text(STAND_IN)
    (tmp_path / "bin" / "curl").chmod(0o755)
    keys = {"OPENAI_API_KEY": "sk-openai", "HOSTED_VLLM_API_KEY": "sk-vllm"}
    env = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "TOLD": str(tmp_path / "told"), **keys}

    subprocess.run(["bash", done.path, "x"], env=env, check=True, capture_output=True)

    assert (tmp_path / "told.header").read_text() == f"Authorization: Bearer {sent}\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_script_sends_nothing_to_nowhere(tmp_path: Path) -> None:
    """Without an address it ends before it asks; what it would send is shown all the same."""
    done, bash = exported("curl", tmp_path, "mistral/m"), str(shutil.which("bash"))
    asked, shown = (
        subprocess.run([bash, done.path, "x"], capture_output=True, text=True, check=False, env=env)
        for env in ({"PATH": "/nowhere"}, {"PRINT": "1"})
    )

    assert asked.returncode != 0
    assert "put the address of the model into OPENAI_BASE_URL" in asked.stderr
    assert json.loads(shown.stdout)["model"] == "m"


def test_a_run_hands_its_address_on(tmp_path: Path) -> None:
    """The one that its task names, unless another model was asked; the embedded one is where it is served."""
    found, runs = [], [("openai/m", HERE, "openai/m"), ("openai/m", HERE, "mine"), ("embedded", "", "embedded")]
    for model, address, asked in runs:
        db = tmp_path / f"{len(found)}.db"
        write_run(db, [Tried("10" * 10, "10" * 10)], model=model, api_base=address, winner=0)
        with sqlite3.connect(db) as store:
            store.execute("UPDATE runs SET model = ?", [asked])
        store.close()
        facts = history(db).handover(0, None).facts
        found.append((facts.model, facts.address, facts.record["provenance"]["address"]))
    [port] = [option.default for option in serve_embedded.params if option.name == "port"]

    served = f"http://127.0.0.1:{port}/v1"
    assert found == [("openai/m", HERE, HERE), ("mine", "", ""), ("openai/embedded", served, "")]


# --- rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batch", "inspect", "promptfoo", "finetune"])
def test_a_format_of_rows_needs_rows(name: str, tmp_path: Path) -> None:
    """Without any it is refused."""
    with pytest.raises(ExportError, match="Nothing was left behind"):
        write_export(simple(), name, Target(tmp_path), Renderer(), [])
    assert list(tmp_path.iterdir()) == []


def test_a_batch_takes_examples_that_depend_on_the_row(tmp_path: Path) -> None:
    """Each line holds the messages of its own row."""
    prompt = simple(nearest=1)
    done = export(prompt, "batch", Target(tmp_path), Renderer(), [])
    lines = [json.loads(line) for line in done.path.read_text().splitlines()]

    assert [line["custom_id"] for line in lines] == ["row-0", "row-1", "row-2"]
    for line, sent in zip(lines, done.draft.winner.facts.rows, strict=True):
        assert line["body"]["messages"] == [m.to_dict() for m in Renderer().messages(prompt, sent)]
        assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")


def test_a_row_that_the_prompt_shows_is_no_lesson(tmp_path: Path) -> None:
    """Fine-tuning on a row whose answer stands in the prompt would teach to copy."""
    demo = Example("row-0", (("text", "I am well"),), ("glad",))
    done = export(simple(demos=(demo,)), "finetune", Target(tmp_path), Renderer(), [])
    lines = [json.loads(line)["messages"] for line in done.path.read_text().splitlines()]

    assert len(lines) == 2
    assert all(messages[-1] == {"role": "assistant", "content": "glad"} for messages in lines)
    assert "1 that the prompt shows as its examples are left out" in done.note


def promptfoo(prompt: Prompt, texts: tuple[str, ...], folder: Path, **facts: object) -> tuple[Path, str]:
    rows = tuple(Example(f"row-{n}", (("text", text),), ("glad", "{{text}}")) for n, text in enumerate(texts))
    known = replace(Facts("support", "openai/gpt-4o-mini", rows=rows, split="test"), **facts)
    done = write_export(prompt, "promptfoo", Target(folder), Renderer(), [], known)
    return done.path, done.note


def test_a_test_of_promptfoo_gives_nothing_away(tmp_path: Path) -> None:
    """The wanted answers stand in assertions alone, of which one must hold; files are not opened, ids are data."""
    texts = ("plain", "file:///etc/passwd", "package:x", "{{ text }} {{text_}}", "end\n")
    path, note = promptfoo(simple(), texts, tmp_path)
    tests = [json.loads(line) for line in (path / "tests.jsonl").read_text().splitlines()]

    assert [test["metadata"] for test in tests] == [{"id": "row-0"}, {"id": "row-3"}, {"id": "row-4"}]
    assert [test["vars"] for test in tests] == [{"text__": t} for t in ("plain", "{{ text }} {{text_}}", "end\n\n")]
    assert "glad" not in json.dumps([test["vars"] for test in tests])
    assert {test["assert"][0]["config"]["targets"] for test in tests} == {'["glad", "{{text}}"]'}
    assert "2 rows that promptfoo would read as names of files are left out" in note
    assert "{{ text__ }}" in (path / "winner.json").read_text()


def test_one_row_that_promptfoo_would_open_is_told_as_one(tmp_path: Path) -> None:
    """Not as one rows."""
    _, note = promptfoo(simple(), ("plain", "file:///etc/passwd"), tmp_path)

    assert "1 row that promptfoo would read as the name of a file is left out." in note


def test_promptfoo_compares_winner_and_seed(tmp_path: Path) -> None:
    """Two prompts, each with its settings, and the provider's name as promptfoo has it."""
    seed = simple(instruction="Guess.", settings=Settings(0.0, 8), answer_format="json")
    path, note = promptfoo(simple(), ("x",), tmp_path, seed=seed, seed_renderer=Renderer())
    config = read_yaml((path / "promptfooconfig.yaml").read_text())

    assert [(p["label"], p["id"], p["config"]["max_tokens"]) for p in config["prompts"]] == [
        ("winner", "file://winner.json", 64),
        ("seed", "file://seed.json", 8),
    ]
    assert config["providers"] == ["openai:chat:gpt-4o-mini"]
    assert "right if it equals a wanted one; the run's own metric is not computed there" in note
    read = runpy.run_path(str(path / "judge.py"))["read_answer"]
    told = [read('{"label": "Sad"}', {"prompt": {"label": label}}) for label in ("winner", "seed")]
    assert told == ["sad", "sad"]
    assert [read("glad", {"prompt": {"label": label}}) for label in ("winner", "seed")] == ["glad", ""]


@pytest.mark.parametrize("name", SCORED)
def test_answers_are_scored_as_in_the_run(name: str, tmp_path: Path) -> None:
    """By the module that goes along, without any package; the note says what a figure of all rows is not."""
    case = SCORED[name]
    done = write_export(case.prompt, "promptfoo", Target(tmp_path), case.renderer, [], case.facts)
    code = (
        "import json, runpy, sys; m = runpy.run_path(sys.argv[1]); c = {'prompt': {'label': 'winner'}};"
        "d = {'config': {'targets': sys.argv[2]}};"
        "print(json.dumps([m['get_assert'](m['read_answer'](t, c), d) for t in json.loads(sys.argv[3])]))"
    )
    told = [str(done.path / "judge.py"), json.dumps(case.targets), json.dumps(case.said)]
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code, *told], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)

    assert [one["score"] for one in found] == case.scores
    assert [one["pass"] for one in found] == [value == 1 for value in case.scores]
    assert 1.0 in case.scores
    assert runpy.run_path(str(done.path / "score.py"))["score"](case.said[0], []) == 0  # a row without a right answer
    assert f"read and scored as in the run, by {name}." in done.note
    assert ("one figure of all rows" in done.note) == (name == "macro_f1")


def test_a_score_that_cannot_go_along_is_said(tmp_path: Path) -> None:
    """A judge's score, or one of another's package: then an answer must equal a wanted one."""
    for name in ("judge", "bleu"):
        case = replace(SCORED["rouge_l"], metric=get_metric(name))
        for tool in ("promptfoo", "inspect"):
            done = write_export(case.prompt, tool, Target(tmp_path, force=True), case.renderer, [], case.facts)
            score = runpy.run_path(str(done.path / "score.py"))["score"]

            assert "the run's own metric is not computed there" in done.note
            assert [score(said, case.targets) for said in (*case.said, "a short answer", None)] == [0, 0, 0, 1, 0]


def test_a_score_that_is_another_is_never_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is proven by rows, right answers and nasty ones."""
    case = SCORED["slot_f1"]
    monkeypatch.setitem(BY_NAME, "slot_f1", ("0.5", row_metrics.slot_f1))
    with pytest.raises(ExportError, match=r"score\(\) scores .* otherwise for row 'row-0'"):
        write_export(case.prompt, "promptfoo", Target(tmp_path), case.renderer, [], case.facts)
    assert list(tmp_path.iterdir()) == []


def test_a_run_hands_its_metric_on(finished: Path) -> None:
    """The one that scored its rows, with its order and its labels."""
    metric = history(finished).handover(None, None).facts.metric

    assert metric
    assert metric.name == history(finished).run().metric


@pytest.mark.parametrize("name", READERS)
def test_every_reader_reads_a_format_and_says_what_it_needs(name: str) -> None:
    """The table of readers knows no format that is not written, and each has a way to read."""
    reader = READERS[name]

    assert name in FORMATS
    assert reader.load or reader.look
    assert reader.packages or reader.program


# --- from a run ---------------------------------------------------------------------------------------------


@pytest.fixture
def db(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to buy with."""
    copied = tmp_path / "results.db"
    shutil.copy(finished, copied)
    return copied


def test_the_canonical_file_tells_all_and_no_place(finished: Path, tmp_path: Path) -> None:
    """Schema, ingredients, provenance and scores of dev and test rows; no folder, and the same bytes each time."""
    done = from_run("winner", db=finished, folder=tmp_path)
    text = done.path.read_text(encoding="utf-8")
    data, run = json.loads(text), history(finished).run()
    verdict = history(finished).verdict()

    assert verdict
    assert data["schema"] == "phrasetune/winner/1"
    prompt = Prompt.from_dict(data["prompt"])  # a winner that is calibrated takes its figures along
    assert replace(prompt, prior=()) == history(finished).trials()[run.winner or 0].prompt
    assert (data["provenance"]["trial"], data["provenance"]["won"]) == (run.winner, True)
    assert data["provenance"]["data"]["rows"] == {"train": 100, "dev": 50, "test": 50}
    best = next(c for c in verdict.contenders if c.name == "best prompt")
    assert data["scores"]["test"] == {
        "metric": "accuracy",
        "score": best.score,
        "interval": list(best.interval),
        "n": 50,
    }
    assert data["scores"]["dev"]["n"] == 31
    assert str(finished.parent) not in text


def test_test_rows_leave_only_a_run_that_has_opened_them(finished: Path, db: Path, tmp_path: Path) -> None:
    """A finished run hands over its test rows, and one without a verdict its dev rows; it says which."""
    by_split = {}
    for split in ("train", "dev", "test"):
        with Store(finished) as store:
            by_split[split] = {row.id for row in store.examples(store.run().data, split)}
    for path, split in ((finished, "test"), (db, "dev")):
        if path == db:
            with sqlite3.connect(db) as connection:
                connection.execute("DELETE FROM contenders")
                connection.execute("DELETE FROM verdicts")
        done = from_run("batch", trial=0, db=path, folder=tmp_path, force=True)
        asked = {json.loads(line)["custom_id"] for line in done.path.read_text().splitlines()}

        assert asked == by_split[split]
        assert f"It asks 50 {split} rows" in done.note
    lessons = from_run("finetune", trial=0, db=finished, folder=tmp_path).path.read_text()
    assert lessons.count("\n") == 100


def test_other_rows_can_be_batched(finished: Path, tmp_path: Path) -> None:
    """Rows of a file, with or without a wanted answer, take the place of the run's own."""
    (tmp_path / "new.csv").write_text("id,text\nn1,Where is my invoice?\n")
    done = from_run("batch", trial=0, db=finished, folder=tmp_path, rows=tmp_path / "new.csv")
    [line] = [json.loads(line) for line in done.path.read_text().splitlines()]

    assert line["custom_id"] == "n1"
    assert "Where is my invoice?" in line["body"]["messages"][-1]["content"]
    assert "wanted" not in json.dumps(line["body"])


def test_rows_for_a_format_without_any_are_refused(finished: Path, tmp_path: Path) -> None:
    """They would go nowhere."""
    with pytest.raises(ExportError, match="python holds no rows; allowed with rows: promptfoo, inspect, batch"):
        from_run("python", db=finished, folder=tmp_path, rows="new.csv")


def test_rescoring_buys_only_what_a_format_has_changed(db: Path, tmp_path: Path) -> None:
    """An exact format gets the recorded score for nothing; one that lays out anew is asked again, under a cap."""
    told = history(db).handover(0, None)
    exact = rescore(from_run("langchain", trial=0, db=db, folder=tmp_path), told, db=db)
    partial = from_run("dspy", trial=0, db=db, folder=tmp_path)
    with pytest.raises(ExportError, match="takes 50 calls, and --max-calls allows 49; none was bought"):
        rescore(partial, told, db=db, max_calls=49)
    anew = rescore(partial, told, db=db, max_calls=50)

    assert (exact.score, exact.turned, exact.bought, exact.reused) == (exact.recorded, 0, 0, 50)
    assert (anew.split, anew.n, anew.bought, anew.recorded) == ("test", 50, 50, exact.recorded)
    assert anew.reader.startswith("dspy ")


def test_a_format_of_rendered_rows_is_not_rescored(db: Path, tmp_path: Path) -> None:
    """It holds nothing that could be rendered anew."""
    done = from_run("batch", trial=0, db=db, folder=tmp_path)

    with pytest.raises(ExportError, match="nothing to rescore"):
        rescore(done, history(db).handover(0, None), db=db)


def test_one_completion_and_one_other_answer_are_one_each(
    command: Command, monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path
) -> None:
    """Not one completions, nor one answers."""
    shutil.copy(finished, tmp_path / "results.db")

    def one(*given: object, **options: object) -> object:
        return replace(rescore(*given, **options), bought=1, reused=49, turned=1)  # type: ignore[arg-type]

    monkeypatch.setattr("optimizer.rescoring.rescore", one)

    said = command("export", "--format", "jinja2", "--trial", "0", "--rescore").stdout

    assert "; 1 answer is another\n1 completion bought, 49 reused" in said


def test_the_command_proves_rescores_and_lists(command: Command, finished: Path, tmp_path: Path) -> None:
    """--list tells name, usual file and fidelity; --verify names the tool, or what would be needed."""
    shutil.copy(finished, tmp_path / "results.db")
    listed = command("export", "--list").stdout
    said = command("export", "--format", "jinja2", "--trial", "0", "--verify", "--rescore").stdout

    assert len({line.index(FORMATS[line.split()[0]].about) for line in listed.splitlines()[: len(FORMATS)]}) == 1
    assert all(name in listed and exporter.usual_name in listed for name, exporter in FORMATS.items())
    assert "prompt.json.j2: proved with jinja2 3" in said
    assert "0 completions bought, 50 reused" in said
    assert "0 answers are others" in said
    told = command("export", "--format", "text", "--trial", "0", "--verify").stdout
    assert "text: no other tool reads it" in told


def test_a_missing_tool_is_named(
    command: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file stands, the exit code is 2, and what is needed is said."""
    shutil.copy(finished, tmp_path / "results.db")
    monkeypatch.setitem(READERS, "langchain", replace(READERS["langchain"], packages=("langchain-nowhere",)))
    said = command("export", "--format", "langchain", "--trial", "0", "--verify", code=2).stderr

    assert "langchain is loaded by the package langchain-nowhere, which is not installed here" in said
    assert (tmp_path / "prompt.langchain.json").is_file()


def test_a_tool_that_reads_otherwise_is_an_error(
    command: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tool makes of the file is shown, with exit code 2."""
    shutil.copy(finished, tmp_path / "results.db")
    other = replace(READERS["jinja2"], load=lambda *_: lambda _: [{"role": "user", "content": "x"}])
    monkeypatch.setitem(READERS, "jinja2", other)

    assert "does not read" in command("export", "--format", "jinja2", "--trial", "0", "--verify", code=2).stderr
