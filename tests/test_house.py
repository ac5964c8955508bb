"""The house rules: which module may import which, which package is behind which door, and what is forbidden."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*ROOT.glob("optimizer/**/*.py"), *ROOT.glob("search_spaces/**/*.py")])
NAMES = [str(path.relative_to(ROOT)) for path in FILES]
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in zip(NAMES, FILES, strict=True)}


def module(name: str) -> str:
    """Turn a file's name into its module's."""
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


ENGINE = [name for name in NAMES if name.startswith("optimizer/engine/") and not name.endswith("__init__.py")]
PROGRAMS = ("adapted", "adapters", "runs", "search", "tasks", "teleprompter")
# Tools that read our exports.
EXPORT_READERS = "dotpromptz haystack inspect_ai langchain_core llama_index llm mlflow prompty".split()

# Package -> the rooms whose door it is.
DOORS = {
    "httpx": {"optimizer/rivals/provider_tuning.py"},  # a client for LiteLLM that follows no redirect
    "openai": {"optimizer/rivals/provider_tuning.py"},
    "aiohttp": {"optimizer/calls/direct.py", "optimizer/serving.py", "optimizer/dashboard.py"},
    "click": {"optimizer/cli.py", *(name for name in NAMES if name.startswith("optimizer/commands/"))},
    "dotenv": {"optimizer/models.py"},
    "dspy": {"optimizer/propose.py", *(f"optimizer/programs/{room}.py" for room in PROGRAMS)},
    "jinja2": {"optimizer/pages/page.py", "optimizer/exports/jinja.py", "optimizer/exports/readers.py"},
    "yaml": {"optimizer/exports/yaml.py"},
    **{package: {"optimizer/exports/readers.py"} for package in EXPORT_READERS},
    "litellm": {"optimizer/models.py", "optimizer/calls/litellm_import.py"},
    "narwhals": {"optimizer/rows/handed.py"},
    "optuna": {f"optimizer/{room}.py" for room in ("engine/studies", "engine/controls", "database/mirror")},
    **{package: {"optimizer/frames.py", "optimizer/archive.py"} for package in ("pandas", "polars")},
    "pyarrow": {"optimizer/rows/objects.py"},
    # In the last: a client's own types.
    "pydantic": {"optimizer/task.py", "optimizer/task_sections.py", "optimizer/exports/readers.py"},
    "rich": {"optimizer/commands/terminal.py", "optimizer/commands/live.py"},
    "sacrebleu": {"optimizer/scores/translation.py"},
    **{package: {"optimizer/rivals/lora.py"} for package in ("peft", "safetensors")},
    "torch": {"optimizer/rivals/lora.py", "optimizer/rivals/torch_hardware.py"},
    "sentence_transformers": {"optimizer/rivals/encoder.py"},
    "transformers": {"optimizer/rivals/encoder.py", "optimizer/rivals/lora.py"},
    "sklearn": {"optimizer/rivals/linear.py", "optimizer/rivals/features.py", "optimizer/classifier.py"},
    "resvg_py": {"optimizer/pages/plot.py"},
    "scipy": {
        "optimizer/engine/surrogate.py",
        "optimizer/rivals/linear.py",
    },  # a Cholesky factor's inverse; sparse matrices
    "skops": {"optimizer/rivals/linear.py"},
    "sqlite3": {
        "optimizer/rows/querying.py",
        *(f"optimizer/database/{r}.py" for r in ("outcomes", "completions", "opening", "trial_facts", "sqlite_files")),
    },
    "sqlite_utils": {"optimizer/database/completions.py"},
    "threadpoolctl": {"optimizer/search.py"},
}
NEVER = {"pickle", "joblib", "cloudpickle", "marshal", "shelve"}

# What a search is handed, and never reaches for itself.
OUTSIDE = {"store", "models", "evaluate", "ledger", "journey", "tuning"}

# Room -> rooms of ours that it must not import.
APART = {
    **{
        f"optimizer.{room}": {"search", "evaluate", "models", "journey", "tuning", "ledger"}
        for room in ("store", "database.verdicts", "database.findings")
    },
    **{module(name): OUTSIDE for name in ENGINE},
    "optimizer.search": OUTSIDE,
    **{
        f"optimizer.{room}": {"store", "archive", "journey", "tuning"}
        for room in ("report", "reports.plain", "reports.card")
    },
    **{
        f"optimizer.{room}": {"records", "models", "store", "scoring", "task", "journey", "tuning"}
        for room in ("stats", "power", "distributions")
    },
    **{
        f"optimizer.{room}": {"search", "store", "models", "evaluate"}
        for room in ("baseline", "rivals.linear", "rivals.encoder")
    },
    **{f"optimizer.{room}": {*OUTSIDE, "search"} for room in ("propose", "proposals.screening", "engine.arrivals")},
    "optimizer.rivals.lora": {"search", "store", "models", "evaluate"},
    "optimizer.verdict": {"search", "store", "models", "evaluate", "journey", "tuning"},
}


def imports(tree: ast.AST) -> set[str]:
    """List the modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_search_spaces_know_nothing_else() -> None:
    """`search_spaces` imports the standard library and itself alone."""
    for name, tree in TREES.items():
        if name.startswith("search_spaces/"):
            roots = {item.split(".")[0] for item in imports(tree)}

            assert not roots - set(sys.stdlib_module_names) - {"search_spaces"}, name


@pytest.mark.parametrize("package", [*DOORS, *sorted(NEVER)])
def test_every_package_stays_behind_its_door(package: str) -> None:
    """A third-party package is imported by its own rooms alone; pickle by none."""
    users = {name for name, tree in TREES.items() if package in {item.split(".")[0] for item in imports(tree)}}

    assert users <= DOORS.get(package, set())


def test_every_third_party_package_has_a_door() -> None:
    """No room imports a package that the table of doors does not know."""
    known = set(sys.stdlib_module_names) | set(DOORS) | {"optimizer", "search_spaces", "numpy"}
    for name, tree in TREES.items():
        assert not {item.split(".")[0] for item in imports(tree)} - known, name


@pytest.mark.parametrize("room", APART)
def test_rooms_that_must_not_meet_do_not(room: str) -> None:
    """Records and callables pass between them, not imports."""
    tree = TREES[room.replace(".", "/") + ".py"]

    assert not imports(tree) & {f"optimizer.{other}" for other in APART[room]}


def test_exports_and_pages_take_records_only() -> None:
    """None of them opens the database or a model."""
    for name, tree in TREES.items():
        if name.startswith(("optimizer/exports/", "optimizer/pages/")):
            assert not imports(tree) & {
                f"optimizer.{room}" for room in ("store", "archive", "models", "journey", "tuning")
            }, name


def test_no_import_goes_round_in_a_circle() -> None:
    """The rooms' imports have an order."""
    ours = {module(name) for name in NAMES}
    graph = {module(name): (imports(tree) & ours) - {module(name)} for name, tree in TREES.items()}
    graph["optimizer"] = set()  # the public door names every room, but opens none before it is asked
    graph = {name: {other for other in others if other != "optimizer"} for name, others in graph.items()}
    while leaves := {name for name, others in graph.items() if not others}:
        graph = {name: others - leaves for name, others in graph.items() if name not in leaves}

    assert graph == {}


def test_only_the_command_line_prints() -> None:
    """No print() below the command line, and none in it either: it has one function that writes."""
    for name, tree in TREES.items():
        calls = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }

        assert "print" not in calls, name


def test_the_environment_is_read_by_models_alone() -> None:
    """os.environ stands in no other room, but where LiteLLM is told not to fetch, and keys are struck out of errors."""
    for name, tree in TREES.items():
        touched = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & {"environ", "getenv"}

        rooms = {f"optimizer/{room}.py" for room in ("models", "calls/litellm_import", "calls/faults", "cli")}
        assert not touched or name in rooms, name


def test_the_test_split_is_out_of_reach_of_the_search() -> None:
    """No room that searches, proposes or shows demos names a test split."""
    proposing = ("propose", "proposals/screening", "proposals/rounds", "database/slots")
    programs = ("programs/search", "programs/keeping", "programs/rows")
    training = ("baseline", *(f"rivals/{kind}" for kind in ("linear", "encoder", "lora", "provider_tuning", "ladder")))
    for name in (
        *ENGINE,
        *(f"optimizer/{room}.py" for room in ("search", *proposing, *programs, *training)),
        "search_spaces/demos.py",
        "search_spaces/space.py",
    ):
        attributes = {node.attr for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute)}

        assert "test" not in attributes, name


@pytest.mark.parametrize("name", NAMES)
def test_every_file_says_what_it_is_and_stays_readable(name: str) -> None:
    """A docstring, at most 450 lines, and no function above 60."""
    tree = TREES[name]
    lines = (ROOT / name).read_text(encoding="utf-8").count("\n")
    longest = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno > 60
    ]

    assert ast.get_docstring(tree)
    assert lines <= 450
    assert longest == []


def test_the_command_line_starts_light() -> None:
    """Importing it loads no heavy package."""
    heavy = ["litellm", "dspy", "optuna", "sklearn", "scipy", "numpy", "sqlite_utils", "pydantic", "rich"]
    code = f"import sys, optimizer.cli; print([name for name in {heavy!r} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", [["history"], ["show"]])
def test_looking_at_results_stays_light(command: list[str], finished: Path) -> None:
    """`history` and `show` load none of the packages that search, train or call."""
    heavy = ["litellm", "dspy", "optuna", "sklearn", "scipy", "numpy", "sqlite_utils", "pydantic"]
    code = (
        "import sys, optimizer.cli as cli\n"
        f"cli.main({[*command, '--db', str(finished)]!r}, standalone_mode=False)\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == "[]"
