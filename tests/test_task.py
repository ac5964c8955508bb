"""A task file loads with its defaults, or is refused with the file, the key or line, and what is allowed."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from optimizer.errors import SpaceError, TaskError
from optimizer.preparing import prepare
from optimizer.scoring import METRICS
from optimizer.task import Task, check_task, load_task
from optimizer.task_sections import (
    About,
    Baseline,
    Bounds,
    Data,
    EncoderSpec,
    Judge,
    LoraSpec,
    ModelSpec,
    Price,
    Proposer,
    Search,
    Teacher,
    TuningSpec,
)
from tests.small_task import write_task

HEAD = '[task]\nname = "support"\n'
DATA = '[data]\nfile = "rows.csv"\ninputs = ["text"]\ntarget = "label"\n'
MINIMAL = HEAD + DATA

LEFT_OUT = ("section", "field", "worked", "example", "query", "cue", "tags")  # of a template of one's own

SECTIONS: dict[str, type[BaseModel]] = {
    "task": About,
    "data": Data,
    "model": ModelSpec,
    "model.price": Price,
    "search": Search,
    "search.constraints": Bounds,
    "baseline": Baseline,
    "judge": Judge,
    "judge.model": ModelSpec,
    "proposer": Proposer,
    "proposer.model": ModelSpec,
    "teacher": Teacher,
    "teacher.model": ModelSpec,
    "baseline.encoder": EncoderSpec,
    "baseline.lora": LoraSpec,
    "baseline.provider": TuningSpec,
}
# A value of a type that no key of this kind takes; every other key is a text.
WRONG: dict[str, object] = {
    **dict.fromkeys(["inputs", "slices", "labels", "scale", "curve"], 5),
    **dict.fromkeys(
        ["train", "dev", "test", "timeout", "seconds", "max_usd", "input", "output", "label_cost", "training_price"],
        "much",
    ),
    **dict.fromkeys(["patience", "max_minutes", "requests_per_minute", "tokens_per_minute"], "long"),
    **dict.fromkeys(
        [
            "seed",
            "epochs",
            "jobs",
            "max_rows",
            "calls",
            "trials",
            "max_calls",
            "block",
            "workers",
            "max_tokens",
            "context",
            "further",
        ],
        1.5,
    ),
    **dict.fromkeys(["max_cost_per_1000", "max_prompt_tokens", "worked"], "little"),
    **dict.fromkeys(["ablate", "pareto"], "maybe"),
    "price": "cheap",
}


def minimal() -> dict[str, Any]:
    """The content of the smallest task file."""
    return tomllib.loads(MINIMAL)


def section(content: dict[str, Any], name: str) -> dict[str, Any]:
    """The part of a task file that has this name, made if it is missing."""
    for part in name.split("."):
        content = content.setdefault(part, {})
    return content


def complaint(content: dict[str, Any]) -> str:
    """What is said of a content that is refused."""
    with pytest.raises(TaskError) as caught:
        check_task(content, "task.toml")
    return str(caught.value)


# --- what is taken ----------------------------------------------------------------------------------------


def test_a_minimal_file_loads_with_the_defaults(tmp_path: Path) -> None:
    """Name, file, inputs and target are enough; the rest has a usual value."""
    path = tmp_path / "task.toml"
    path.write_text(MINIMAL, encoding="utf-8")

    task = load_task(path)

    expected = {
        "task": {
            "name": "support",
            "kind": "classification",
            "description": "",
            "labels": [],
            "metric": "",
            "responsible": "",
        },
        "data": {
            "file": "rows.csv",
            "query": "",
            "inputs": ["text"],
            "target": "label",
            "answers": "",
            "id": "",
            "group": "",
            "slices": [],
            "ood": "",
            "unlabelled": "",
            "demos": "",
            "split_column": "",
            "train": 0.5,
            "dev": 0.25,
            "test": 0.25,
            "seed": 0,
            "skip_empty": False,
            "max_rows": 20_000,
        },
        "model": {
            "name": "embedded",
            "api_base": "",
            "price": None,
            "max_tokens": None,
            "context": None,
            "workers": 8,
            "timeout": 60.0,
            "patience": 60.0,
            "requests_per_minute": 0.0,
            "tokens_per_minute": 0.0,
        },
        "search": {
            "sampler": "pooled",
            "pruner": "halving",
            "calls": 2000,
            "trials": 300,
            "max_calls": 0,
            "max_usd": 0.0,
            "max_tokens": 0,
            "max_minutes": 0.0,
            "block": 5,
            "seed": 0,
            "ablate": False,
            "pareto": False,
            "worked": 0,
            "constraints": {"max_cost_per_1000": 0.0, "max_prompt_tokens": 0.0, "min_recall": {}},
        },
        "baseline": {
            "kinds": ["auto"],
            "trials": 15,
            "seconds": 60.0,
            "label_cost": 0.0,
            "encoder": {"model": "", "api_base": "", "price": None},
            "lora": {"model": ""},
            "provider": {
                "model": "",
                "api_base": "",
                "epochs": 3,
                "jobs": 1,
                "curve": [],
                "training_price": None,
                "price": None,
            },
        },
        "judge": None,
        "proposer": {"model": None},
        "teacher": {"model": None},
        "verdict": {"hint": False, "picked_demos": False, "tuned_search": 0, "robustness": False, "swaps": []},
        "space": {},
        "templates": {},
        "seed": {},
    }
    assert expected == task.model_dump()
    assert tmp_path / "rows.csv" == task.data_file
    assert task.metric == "accuracy"


def test_a_file_that_says_everything_loads(tmp_path: Path) -> None:
    """Every key of every section is taken, and comes back as it was written."""
    said = {
        "task": {
            "name": "a.b-c_1",
            "kind": "generation",
            "description": "Sum up.",
            "labels": {"yes": "it is", "no": ""},
            "metric": "rouge_l",
            "responsible": "Jane Doe, jane@example.org",
        },
        "data": {
            "file": "sub/rows.db",
            "query": "SELECT title, body, summary FROM notes",
            "inputs": ["title", "body"],
            "target": "summary",
            "answers": "all",
            "id": "key",
            "group": "author",
            "slices": ["year"],
            "ood": "others.csv",
            "unlabelled": "more.csv",
            "demos": "shown.csv",
            "split_column": "split",
            "train": 0.2,
            "dev": 0.3,
            "test": 0.5,
            "seed": 3,
            "skip_empty": True,
            "max_rows": 0,
        },
        "model": {
            "name": "openai/x",
            "api_base": "http://127.0.0.1:1/v1",
            "price": {"input": 1, "output": 2.5},
            "max_tokens": 9,
            "context": 4096,
            "workers": 2,
            "timeout": 1.5,
            "patience": 2.5,
            "requests_per_minute": 30.0,
            "tokens_per_minute": 4000.0,
        },
        "search": {
            "sampler": "random",
            "pruner": "racing",
            "calls": 50,
            "trials": 3,
            "max_calls": 10,
            "max_usd": 0.5,
            "max_tokens": 90_000,
            "max_minutes": 1.5,
            "block": 4,
            "seed": 1,
            "ablate": True,
            "pareto": True,
            "worked": 40,
            "constraints": {"max_cost_per_1000": 0.25, "max_prompt_tokens": 300.0, "min_recall": {"yes": 0.5}},
        },
        "baseline": {
            "kinds": ["encoder", "provider"],
            "trials": 2,
            "seconds": 1,
            "label_cost": 0.1,
            "encoder": {"model": "openai/e", "api_base": "http://127.0.0.1:1/v1", "price": 0.02},
            "lora": {"model": "models/small"},
            "provider": {
                "model": "openai/y",
                "api_base": "http://127.0.0.1:1/v1",
                "epochs": 2,
                "jobs": 4,
                "curve": [64, 256],
                "training_price": 3.0,
                "price": {"input": 1, "output": 2.5},
            },
        },
        "judge": {"rubric": "Be fair.", "scale": [0, 10], "further": 90},
        "verdict": {
            "hint": True,
            "picked_demos": True,
            "tuned_search": 50,
            "robustness": True,
            "swaps": [["he", "she"]],
        },
        "templates": {"mine": {"head": "Hello. {body}", **dict.fromkeys(LEFT_OUT)}},
        "space": {"template": {"only": ["plain"]}},
        "seed": {"template": "plain"},
    }

    said["judge"]["model"] = said["model"]
    said["proposer"] = said["teacher"] = {"model": said["model"]}
    assert said == check_task(said, "task.toml").model_dump()
    for name, model in SECTIONS.items():
        assert set(model.model_fields) == set(section(said, name)), name


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    """Editors that write one are forgiven."""
    path = tmp_path / "task.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())

    assert load_task(path).task.name == "support"


@pytest.mark.parametrize(
    ("kind", "usual"),
    [("classification", "accuracy"), ("extraction", "slot_f1"), ("qa", "exact_match"), ("generation", "rouge_l")],
)
def test_every_kind_has_a_usual_metric_that_suits_it(kind: str, usual: str) -> None:
    """Leaving the metric out picks one that may also be named."""
    content = minimal()
    content["task"]["kind"] = kind
    task = check_task(content, "task.toml")

    assert usual == task.metric
    assert kind in METRICS[usual].kinds


@given(st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=9), max_size=4))
def test_labels_keep_their_texts_and_their_order(labels: dict[str, str]) -> None:
    """A list and a table of labels come back as they were given."""
    for given_labels in (labels, list(labels)):
        content = minimal()
        content["task"]["labels"] = given_labels

        assert given_labels == check_task(content, "task.toml").task.labels


# --- every key --------------------------------------------------------------------------------------------

KEYS = [(name, key) for name, model in SECTIONS.items() for key in model.model_fields]


@pytest.mark.parametrize(("name", "key"), KEYS, ids=[f"{name}.{key}" for name, key in KEYS])
def test_every_key_refuses_a_value_of_the_wrong_type(name: str, key: str) -> None:
    """The complaint names the key and what was given, and no class of ours."""
    content = minimal()
    value = WRONG.get(key, 7)
    section(content, name)[key] = value

    lines = [line for line in complaint(content).splitlines() if f"`{name}.{key}`" in line]

    assert len(lines) == 1
    assert lines[0].startswith(f"task.toml: `{name}.{key}` = {value!r}: must ")
    assert "instance of" not in lines[0]


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_refuses_a_key_that_it_does_not_have(name: str) -> None:
    """The complaint lists the keys that it has."""
    content = minimal()
    section(content, name)["zzz"] = 1

    said = complaint(content)

    assert f"task.toml: unknown key in [{name}] 'zzz'; allowed: {', '.join(SECTIONS[name].model_fields)}." in said


@pytest.mark.parametrize(("name", "key"), KEYS, ids=[f"{name}.{key}" for name, key in KEYS])
def test_a_misspelt_key_is_told_its_right_spelling(name: str, key: str) -> None:
    """One letter too many still lets the key be known."""
    content = minimal()
    section(content, name)[key + "s"] = 1

    assert f"unknown key in [{name}] {key + 's'!r};" in complaint(content)
    assert f"Did you mean {key!r}?" in complaint(content)


@pytest.mark.parametrize("name", sorted(SECTIONS.keys() - {"judge.model", "proposer.model", "teacher.model"}))
def test_a_section_must_be_a_section(name: str) -> None:
    """A text in a section's place is refused as such."""
    content = minimal()
    *parents, last = name.split(".")
    section(content, ".".join(parents))[last] = "x" if parents else 3
    if not parents:
        content[last] = 3

    assert f"`{name}` = " in complaint(content)
    assert ": must be a section with keys of its own." in complaint(content)


odd_keys = st.text(min_size=1, max_size=12).filter(lambda key: key not in {*Task.model_fields} - {"folder"})


@given(odd_keys, st.sampled_from(["", *SECTIONS]))
def test_any_unknown_key_is_named_as_it_was_written(key: str, name: str) -> None:
    """Also one with dots, brackets, quotes or spaces in it."""
    content = minimal()
    place = section(content, name) if name else content
    if name and key in SECTIONS[name].model_fields:
        return
    place[key] = 1

    assert f"unknown {f'key in [{name}]' if name else 'section'} {key!r}; allowed: " in complaint(content)


# --- what is refused --------------------------------------------------------------------------------------

TASK, SEARCH, MODEL = (f"{MINIMAL}[{name}]\n" for name in ("task.x", "search", "model"))
BAD: dict[str, tuple[str, list[str]]] = {
    "empty": ("", ["`task` is missing. Add it: a [task] section", "`data` is missing. Add it: a [data] section"]),
    "no name": ("[task]\n" + DATA, ['`task.name` is missing. Add it, such as name = "support".']),
    "no data": (HEAD, ["`data` is missing. Add it: a [data] section with file, inputs and target."]),
    "no file": (HEAD + '[data]\ninputs = ["a"]\ntarget = "b"', ["`data.file` is missing. Add it: the name of the"]),
    "no inputs": (HEAD + '[data]\nfile = "a"\ntarget = "b"', ['`data.inputs` is missing. Add it, such as inputs = ["']),
    "no target": (HEAD + '[data]\nfile = "a"\ninputs = ["a"]', ["`data.target` is missing. Add it, the column with"]),
    "half a price": (MODEL + "price = { input = 1 }", ["`model.price.output` is missing. Add it."]),
    "unknown metric": (
        HEAD + 'metric = "acuracy"\n' + DATA,
        ["unknown metric 'acuracy'", "allowed: accuracy, macro_f1", "Did you mean 'accuracy'?", "classification"],
    ),
    "metric of another kind": (
        HEAD + 'metric = "rouge_l"\n' + DATA,
        ["unknown metric 'rouge_l'", "allowed: accuracy, macro_f1", "(for classification)"],
    ),
    "metric in capitals": (HEAD + 'metric = "F1"\nkind = "extraction"\n' + DATA, ["'F1'", "slot_f1", "extraction"]),
    "unknown kind": (
        HEAD + 'kind = "regression"\n' + DATA,
        ["`task.kind` = 'regression'", "'classification', 'multilabel', 'extraction', 'qa' or 'generation'"],
    ),
    "misspelled kind": (HEAD + 'kind = "clasification"\n' + DATA, ["or 'generation'. Did you mean 'classification'?"]),
    "name with a space": (HEAD.replace("support", "my task") + DATA, ["`task.name` = 'my task'", "1 to 80 letters"]),
    "name with a slash": (HEAD.replace("support", "../x") + DATA, ["`task.name` = '../x'", "1 to 80 letters"]),
    "empty name": (HEAD.replace("support", "") + DATA, ["`task.name` = ''", "1 to 80 letters"]),
    "name too long": (HEAD.replace("support", "n" * 81) + DATA, ["`task.name` = 'nnn", "1 to 80 letters"]),
    "labels a number": (HEAD + "labels = 2\n" + DATA, ["`task.labels` = 2", "a list of names, or a table of names"]),
    "a label a number": (HEAD + 'labels = ["yes", 0]\n' + DATA, ["`task.labels.1` = 0: must be a text in quotes"]),
    "a label true": (HEAD + "labels = [true]\n" + DATA, ["`task.labels.0` = True: must be a text in quotes"]),
    "an empty label": (HEAD + 'labels = ["yes", ""]\n' + DATA, ["`task.labels.1` = '': must not be empty"]),
    "a note a number": (HEAD + "labels = { yes = 1 }\n" + DATA, ["`task.labels.yes` = 1: must be a text in quotes"]),
    "an empty label in a table": (HEAD + 'labels = { "" = "x" }\n' + DATA, ["`task.labels.`", "must not be empty"]),
    "too little": (MINIMAL + "train = 0.4", ["`data`: train + dev + test = 0.9; they must sum to 1"]),
    "too much": (MINIMAL + "test = 0.3", ["`data`: train + dev + test = 1.05; they must sum to 1"]),
    "no test rows": (MINIMAL + "test = 0", ["`data.test` = 0: must be greater than 0"]),
    "all train rows": (MINIMAL + "train = 1.0", ["`data.train` = 1.0: must be less than 1"]),
    "a fraction that is no number": (MINIMAL + "dev = nan", ["`data.dev` = nan: must be less than 1"]),
    "no input": (HEAD + DATA.replace('["text"]', "[]"), ["`data.inputs` = []: must name at least 1"]),
    "a swap of one": (MINIMAL + '[verdict]\nswaps = [["he"]]', ["`verdict.swaps.0` = ['he']: must name at least 2"]),
    "a swap of three": (MINIMAL + '[verdict]\nswaps = [["a", "b", "c"]]', ["must name at most 2"]),
    "input not in a list": (HEAD + DATA.replace('["text"]', '"text"'), ["`data.inputs` = 'text': must be a list"]),
    "empty target": (HEAD + DATA.replace('"label"', '""'), ["`data.target` = '': must not be empty"]),
    "long file": (HEAD + DATA.replace("rows.csv", "r" * 201), ["`data.file` = 'rrr", "at most 200 characters"]),
    "no trials": (SEARCH + "trials = 0", ["`search.trials` = 0: must be greater than 0"]),
    "half a trial": (SEARCH + "trials = 2.5", ["`search.trials` = 2.5: must be a whole number"]),
    "trials true": (SEARCH + "trials = true", ["`search.trials` = True: must be a whole number"]),
    "trials in quotes": (SEARCH + 'trials = "40"', ["`search.trials` = '40': must be a whole number"]),
    "cap below zero": (SEARCH + "max_usd = -1.0", ["`search.max_usd` = -1.0: must be greater than or equal to 0"]),
    "cap that is no number": (SEARCH + "max_usd = nan", ["`search.max_usd` = nan: must be greater than or equal"]),
    "too many trials": (SEARCH + "trials = 501", ["`search.trials` = 501: must be less than or equal to 500"]),
    "no calls": (SEARCH + "calls = 0", ["`search.calls` = 0: must be greater than 0"]),
    "half a call": (SEARCH + "calls = 2.5", ["`search.calls` = 2.5: must be a whole number"]),
    "unknown sampler": (
        SEARCH + 'sampler = "cmaes"',
        ["`search.sampler` = 'cmaes': must be 'pooled', 'tpe', 'random'"],
    ),
    "unknown pruner": (
        SEARCH + 'pruner = "halve"',
        ["`search.pruner` = 'halve': must be 'halving', 'racing' or 'none'"],
    ),
    "no workers": (MODEL + "workers = 0", ["`model.workers` = 0: must be greater than 0"]),
    "too many workers": (MODEL + "workers = 1000", ["`model.workers` = 1000: must be less than or equal to 256"]),
    "no time": (MODEL + "timeout = 0", ["`model.timeout` = 0: must be greater than 0"]),
    "price below zero": (MODEL + "price = { input = -1, output = 1 }", ["`model.price.input` = -1: must be greater"]),
    "key in the file": (
        MODEL + 'api_key = "x"',
        ["unknown key in [model] 'api_key'", "allowed: name, api_base, price"],
    ),
    "model a text": ('model = "embedded"\n' + MINIMAL, ["`model` = 'embedded': must be a section"]),
    "space a number": ("space = 3\n" + MINIMAL, ["`space` = 3: must be a section"]),
    "seed a number": ("seed = 3\n" + MINIMAL, ["`seed` = 3: must be a section"]),
    "section twice as a list": (MINIMAL.replace("[task]", "[[task]]"), ["`task` = [", "must be a section"]),
    "unknown key of a template": (
        MINIMAL + "[templates.my]\nheadd = ''",
        ["in [templates.my]", "mean 'head'?"],
    ),
    "a template that is there": (MINIMAL + "[templates.xml]", ["[templates.xml]: 'xml' is the name of a template"]),
    "unknown section": (MINIMAL + "[modell]", ["unknown section 'modell'", "seed. Did you mean 'model'?"]),
    "folder": ('folder = "/"\n' + MINIMAL, ["unknown section 'folder'; allowed: task, data, model, search, baseline"]),
    "misspelt key": (SEARCH + 'samplr = "tpe"', ["unknown key in [search] 'samplr'", "Did you mean 'sampler'?"]),
    "key with a dot": (
        SEARCH + '"a.b" = 1',
        ["unknown key in [search] 'a.b'; allowed: sampler, pruner, calls"],
    ),
    "key with brackets": (
        SEARCH + '"x[1]" = 1',
        ["unknown key in [search] 'x[1]'; allowed: sampler, pruner, calls"],
    ),
    "section with a dot": ('"a.b" = 1\n' + MINIMAL, ["unknown section 'a.b'; allowed: task, data"]),
    "not TOML": (MINIMAL + "trials: 3\n", ["not valid TOML", "(at line 7, column 7)", "Mend that line."]),
    "text not closed": ('[task]\nname = "sup\n', ["not valid TOML", "(at line 2, column 12)"]),
    "section twice": (MINIMAL + "[data]\n", ["not valid TOML", "(at line 7, column 6)"]),
    "key twice": (HEAD + 'name = "again"\n', ["not valid TOML", "(at line 3, column 15)"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_with_what_is_wrong(case: str, tmp_path: Path) -> None:
    """Every line names the file; together they say what was given and what is allowed, in no one's jargon."""
    text, fragments = BAD[case]
    path = tmp_path / "task.toml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(TaskError) as caught:
        load_task(path)

    said = str(caught.value)
    for fragment in fragments:
        assert fragment in said
    for line in said.splitlines():
        assert line.startswith(f"{path}: ")
        assert len(line) - len(str(path)) < 200
    for jargon in ("pydantic", "Value error", "Input should", "instance", "dictionary", "Traceback", "type="):
        assert jargon not in said
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """One line for each key."""
    path = tmp_path / "task.toml"
    path.write_text(SEARCH + "trials = 0\nblock = 0\nzzz = 1\n", encoding="utf-8")

    with pytest.raises(TaskError) as caught:
        load_task(path)

    assert len(str(caught.value).splitlines()) == 3


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    """The path is named, and the command."""
    with pytest.raises(TaskError, match=r"gone\.toml: no such task file\. Make one with `phrasetune init"):
        load_task(tmp_path / "gone.toml")


def test_a_folder_is_no_task_file(tmp_path: Path) -> None:
    """The system's own reason is passed on."""
    with pytest.raises(TaskError, match=r"cannot be read \(Is a directory\)\. Name a readable task file\."):
        load_task(tmp_path)


def test_a_file_in_another_encoding_is_told_where(tmp_path: Path) -> None:
    """Latin-1 is refused with the place of the first byte that is no UTF-8."""
    path = tmp_path / "task.toml"
    path.write_bytes(HEAD.encode() + "# café\n".encode("latin-1") + DATA.encode())

    with pytest.raises(TaskError, match=rf"not UTF-8 \(byte {len(HEAD) + 5}\)\. Save the file as UTF-8\."):
        load_task(path)


shares = st.floats(0.01, 0.98)


@given(shares, shares, shares)
def test_fractions_are_taken_exactly_if_they_sum_to_one(train: float, dev: float, test: float) -> None:
    """Whatever the shares, the sum alone decides."""
    content = minimal()
    content["data"] |= {"train": train, "dev": dev, "test": test}

    if math.isclose(train + dev + test, 1, abs_tol=9e-7):
        assert check_task(content, "task.toml").data.train == train
    elif abs(train + dev + test - 1) > 2e-6:
        assert "they must sum to 1" in complaint(content)


@given(shares, st.floats(0.01, 0.99))
def test_fractions_that_were_made_to_sum_to_one_do(train: float, share: float) -> None:
    """Rounding in the last digits is forgiven."""
    content = minimal()
    dev = (1 - train) * share
    content["data"] |= {"train": train, "dev": dev, "test": 1 - train - dev}

    assert dev == check_task(content, "task.toml").data.dev


@pytest.mark.parametrize("section", ["[space]\nnosuch = 1", "[seed]\nk = 3"])
def test_a_wrong_dimension_names_the_task_file(section: str, tmp_path: Path) -> None:
    """As any other mistake in it does; a task that no file holds has none to name."""
    path = write_task(tmp_path, rows=60)
    path.write_text(path.read_text(encoding="utf-8").split("[space]")[0] + section, encoding="utf-8")
    task = load_task(path)

    with pytest.raises(SpaceError) as caught:
        prepare(task)
    with pytest.raises(SpaceError) as unnamed:
        prepare(task.model_copy(update={"file": ""}))

    assert str(caught.value) == f"{path}: {unnamed.value}"
