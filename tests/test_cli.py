"""The command line: what each command prints, and one clear error with exit code 2 for bad input."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from optimizer.cli import main
from tests.conftest import Command
from tests.small_task import write_task

ROOT = Path(__file__).resolve().parents[1]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(tmp_path: Path) -> Run:
    """Run phrasetune in an empty folder, in a process of its own, as a user would; `command` takes less time."""

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "optimizer.cli", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": os.environ.get("COLUMNS", "200")}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert code == done.returncode, done.stderr or done.stdout
        assert "Traceback" not in done.stderr
        return done

    return run


def test_version_and_help(cli: Run) -> None:
    """The version is the package's; the help names every command."""
    assert re.fullmatch(r"phrasetune, version \d+\.\d+\.\d+\n", cli("--version").stdout)
    helped = cli("--help").stdout
    for command in (
        "assert",
        "card",
        "compare",
        "demo",
        "doctor",
        "export",
        "history",
        "init",
        "plan",
        "predict",
        "recheck",
        "report",
        "schema",
        "show",
        "space",
        "tune",
        "wordings",
    ):
        assert f"\n  {command} " in helped


def test_the_help_cuts_no_sentence(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit beside a command's name goes on below, also with 80 columns; no command is left out."""
    monkeypatch.setenv("COLUMNS", "80")
    helped = cli("--help").stdout

    assert "..." not in helped.partition("\nBegin:")[2]
    assert "to see whether the provider has changed." in " ".join(helped.split())
    assert sorted(main.list_commands(click.Context(main))) == sorted(main.commands)
    assert max(map(len, helped.splitlines())) <= 80


def test_init_says_what_the_rows_hold_and_can_show(command: Command, tmp_path: Path) -> None:
    """Splits, duplicates, leaks, balance and power are printed, and the task file can be used as it is."""
    write_task(tmp_path)
    (tmp_path / "task.toml").unlink()

    said = command("init", "rows.csv").stdout

    for fact in (
        "task.toml: classification of text -> label, judged by accuracy",
        "rows: 100 train, 50 dev, 50 test (sealed until the verdict)",
        "exact duplicates: 0 groups",
        "near-duplicates: 0 pairs",
        "labels: 8: ",
        "power: 50 dev rows show gains from about",
        "Next: edit task.toml",
    ):
        assert fact in said
    assert "prompts." in command("space", "task.toml").stdout


def test_init_says_which_columns_it_does_not_use(command: Command, tmp_path: Path) -> None:
    """In one line on screen and in the file, whatever they are called."""
    rows = "".join(f"row {i},2024-{i},{'ab'[i % 2]},x{i}\n" for i in range(40))
    (tmp_path / "rows.csv").write_text('text,created_at,label,"a\nb"\n' + rows, encoding="utf-8")

    said = command("init", "rows.csv").stdout

    assert 'not used: created_at, "a\\nb"' in said.splitlines()
    assert '# not used: created_at, "a\\nb"' in (tmp_path / "task.toml").read_text(encoding="utf-8").splitlines()


def test_init_takes_the_columns_that_are_named(command: Command, tmp_path: Path) -> None:
    """Whatever they are called; a name that is nearly right is told, and nothing is written."""
    rows = "".join(f"row {i},about {i},{'ab'[i % 2]},{'xyz'[i % 3]}\n" for i in range(60))
    (tmp_path / "rows.csv").write_text("text,more,label,mood\n" + rows, encoding="utf-8")

    said = command("init", "rows.csv", "--input", "more", "--input", "text", "--target", "mood").stdout
    wrong = command("init", "rows.csv", "--target", "mod", "-o", "other.toml", code=2).stderr

    assert "task.toml: classification of more + text -> mood, judged by accuracy" in said
    assert "unknown target column 'mod'; allowed: text, more, label, mood. Did you mean 'mood'?" in wrong
    assert not (tmp_path / "other.toml").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "rows.tsv",
            "text\tlabel\n" + "".join(f"row {i} is {'good' if i % 2 else 'bad'}\t{i % 2}\n" for i in range(40)),
        ),
        ("rows.jsonl", "".join(json.dumps({"text": f"row {i}", "label": "ab"[i % 2]}) + "\n" for i in range(40))),
        ("rows.json", json.dumps([{"text": f"row {i}", "label": "ab"[i % 2]} for i in range(40)])),
    ],
)
def test_init_reads_every_format(command: Command, tmp_path: Path, name: str, content: str) -> None:
    """TSV, JSONL and JSON lead to a task file that `space` accepts."""
    (tmp_path / name).write_text(content, encoding="utf-8")

    command("init", name)

    assert "Search space" in command("space", "task.toml").stdout


def test_init_reads_parquet(command: Command, tmp_path: Path) -> None:
    """A Parquet file is read with the extra."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"text": [f"row {i}" for i in range(40)], "label": ["a", "b"] * 20}), tmp_path / "rows.parquet"
    )

    assert "rows: 20 train, 10 dev, 10 test" in command("init", "rows.parquet").stdout


def test_a_broken_object_among_many_is_pointed_out(command: Command, tmp_path: Path) -> None:
    """The kind goes by the others, the row is named with its place, and tune refuses it until it is mended."""
    rows = [{"text": f"book for {n} people", "slots": json.dumps({"people": n})} for n in range(80)]
    rows.insert(15, {"text": "book for me", "slots": '{"people": 1'})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    said = command("init", "rows.jsonl").stdout
    refused = command("tune", "task.toml", code=2).stderr

    assert "extraction of text -> slots, judged by slot_f1" in said
    assert "1 row whose slots is no JSON object: rows.jsonl:16 ('{\"people\": 1'). Correct" in said
    assert "rows.jsonl:16: accepted answer '{\"people\": 1' holds no JSON object" in refused


def test_init_warns_of_rows_that_would_leak(command: Command, tmp_path: Path) -> None:
    """Near-duplicates that stand in two splits are named."""
    rows = [f"the quick brown fox number {i // 2} jumps over the very lazy dog today{'!' * (i % 2)}" for i in range(80)]
    lines = "".join(f"{text},{'ab'[i % 3 == 0]}\n" for i, text in enumerate(rows))
    (tmp_path / "rows.csv").write_text("text,label\n" + lines, encoding="utf-8")

    said = command("init", "rows.csv").stdout

    assert re.search(r"near-duplicates: [1-9]\d* pairs; [1-9]\d* of them stand in two different splits", said)


def test_space_prints_the_space_and_a_rendered_prompt(command: Command, tmp_path: Path) -> None:
    """The dimensions, the size, and the seed prompt with a row in it."""
    write_task(tmp_path)

    said, machine = command("space", "task.toml").stdout, json.loads(command("space", "task.toml", "--json").stdout)

    assert "template" in said
    assert "caution = literal: Use only an answer that is listed" in command("space", "task.toml", "--wordings").stdout
    assert "Route the message to the team that should handle it." in said
    assert f"{machine['size']:,} prompts" in said
    assert machine["dimensions"]["template"] == ["plain", "markdown", "xml", "chat"]
    assert machine["rendered"][0]["content"].endswith("Label:")


def test_tune_prints_a_verdict_and_what_to_do_next(cli: Run, tmp_path: Path) -> None:
    """Stdout ends with the verdict and the next commands; without a terminal stderr stays empty."""
    write_task(tmp_path)

    done = cli("tune", "task.toml", "--calls", "80")

    assert "Verdict on the sealed test rows" in done.stdout
    assert "Verdict: " in done.stdout
    assert "80 answers were looked at" in done.stdout
    assert "Next: phrasetune show" in done.stdout
    assert done.stderr == ""


def test_too_few_calls_say_what_is_lacking(command: Command, tmp_path: Path) -> None:
    """No trial is named that is not there, and no table is drawn that holds nothing."""
    write_task(tmp_path, rows=60)

    refused, listed = command("tune", "task.toml", "--max-tokens", "9", code=1), command("history")
    few = command("tune", "task.toml", "--calls", "5")

    assert "does not cover a first look at the seed prompt. Raise it." in refused.stderr
    assert listed.stdout.endswith("\nNext: phrasetune tune TASK\n")
    assert "\nNo front: too few calls to score a prompt on all dev rows.\n" in few.stdout


def test_a_run_at_a_server_that_is_not_there_says_how_to_resume(cli: Run, tmp_path: Path) -> None:
    """That it is waited for, that nobody answers, and at last the command, with its options."""
    with write_task(tmp_path).open("a", encoding="utf-8") as file:
        file.write("[model]\npatience = 0.01\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    *_, note, error, last = cli(
        "tune", "task.toml", "--model", "openai/m", "--api-base", address, code=1
    ).stderr.splitlines()

    assert note == f"note: nobody answers at {address} (connection refused); waiting for it"
    assert error.startswith(f"phrasetune: openai/m: nobody answers at {address} (connection refused, tried for ")
    assert last == f"Resume with: phrasetune tune task.toml --model openai/m --api-base {address}"


def test_a_cap_that_the_verdict_uses_up_is_refused(command: Command, tmp_path: Path) -> None:
    """Before anything is bought or written: two prompts' answers to 15 test rows are kept back."""
    write_task(tmp_path, rows=60)

    refused = command("tune", "task.toml", "--max-calls", "30", code=2)

    assert "max_calls = 30: 30 are kept for the verdict on the sealed test rows. Allow more." in refused.stderr
    assert not (tmp_path / "results.db").exists()


def test_tune_speaks_json(command: Command, tmp_path: Path) -> None:
    """With --json stdout is one JSON document: run, best trial, verdict."""
    write_task(tmp_path)

    found = json.loads(command("tune", "task.toml", "--json").stdout)

    assert found["run"]["status"] == "finished"
    assert {"seed prompt", "trained baseline"} <= {c["name"] for c in found["verdict"]["contenders"]}
    assert found["best"]["rows"] == 31


def test_ctrl_c_drains_and_prints_the_line_that_resumes(tmp_path: Path) -> None:
    """SIGINT ends the run with 130 and the resume line; that line finishes the run without buying anything twice."""
    write_task(tmp_path)
    command = [sys.executable, "-m", "optimizer.cli", "tune", "task.toml", "--calls", "9000", "--db", "r.db"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as child:
        _wait_for_trials(tmp_path / "r.db", 3)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=30)

    assert child.returncode == 130
    assert "Resume with: phrasetune tune task.toml --calls 9000 --db r.db\n" in said
    with sqlite3.connect(tmp_path / "r.db") as db:
        assert db.execute("SELECT status FROM runs").fetchall() == [("interrupted",)]


def test_what_comes_next_is_about_the_run_that_was_resumed(command: Command, tmp_path: Path) -> None:
    """An older run that is resumed is named: the latest is another one."""
    write_task(tmp_path)
    first, second = ("tune", "task.toml"), ("tune", "task.toml", "--calls", "90")
    command(*first)
    command(*second)
    with sqlite3.connect(tmp_path / "results.db") as db:
        db.execute("UPDATE runs SET status = 'interrupted', finished = '' WHERE id = 1")
    db.close()

    resumed, number = command(*first).stdout, 1
    latest = command(*second).stdout

    assert f"--run {number}\n      phrasetune export --format python --run {number}\n" in resumed
    assert "phrasetune export --format python\n" in latest


def _wait_for_trials(path: Path, n: int) -> None:
    for _ in range(3000):
        time.sleep(0.02)
        if path.exists():
            try:
                with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
                    if db.execute("SELECT COUNT(*) FROM prompt_trials").fetchone()[0] >= n:
                        return
            except sqlite3.OperationalError:  # the tables are not there yet
                continue
    raise AssertionError("the run did not begin")


def test_history_lists_runs_and_trials(command: Command, copied: Path) -> None:
    """Runs, trials with score, n, interval, cost, state and reason, and the verdict."""
    said = command("history").stdout

    for fact in ("Runs", "small", "embedded", "complete", "pruned", "scored on all 31 dev rows", "Verdict: ", "Next: "):
        assert fact in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["space", "task.toml"],
        ["history"],
        ["history", "--all"],
        ["show"],
        ["show", "0"],
        ["export", "--list"],
        ["export", "--format", "python"],
        ["predict", "rows.csv", "-o", "answers.csv"],
        ["report"],
        ["card", "-o", "card.md"],
    ],
)
def test_every_output_ends_with_the_next_command(command: Command, copied: Path, arguments: list[str]) -> None:
    """What is printed for a person closes with what to do next."""
    said = command(*arguments).stdout

    assert "\nNext: " in said
    assert said.rsplit("\nNext: ", 1)[1].count("\n") <= 3


@pytest.mark.parametrize(
    ("arguments", "then"),
    [
        (["export", "--format", "python", "--run", "1"], "predict NEW_ROWS.csv --run 1"),
        (["export", "--format", "skops"], "report"),
        (["predict", "rows.csv", "-o", "answers.csv"], "report"),
        (["report"], "dashboard"),
        (["history", "--all"], "history --run N"),
    ],
)
def test_the_next_command_reads_the_same_database(
    command: Command, copied: Path, arguments: list[str], then: str
) -> None:
    """Its name stands in the line, quoted for a shell, where it is not the usual one."""
    copied.rename(copied.parent / "my results.db")

    said = command(*arguments, "--db", "my results.db").stdout

    assert said.endswith(f"phrasetune {then} --db 'my results.db'\n")


def test_a_trial_is_named_with_its_run_or_without(command: Command, copied: Path) -> None:
    """`show` and `export` take what `compare` takes; 0 is the seed prompt."""
    assert command("show", "1:0").stdout == command("show", "0", "--run", "1").stdout
    command("export", "--format", "text", "--trial", "1:0", "-o", "seed.txt")
    command("export", "--format", "text", "--trial", "0", "-o", "same.txt")
    assert (copied.parent / "seed.txt").read_bytes() == (copied.parent / "same.txt").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "best"], "'best' names no trial; allowed: TRIAL or RUN:TRIAL"),
        (["show", "1:0", "--run", "2"], "1:0 is a trial of run 1, but --run is 2."),
        (["export", "--format", "text", "--trial", "2:0"], "results.db: has no run 2; allowed: 1."),
    ],
)
def test_a_trial_that_is_none_is_refused(command: Command, copied: Path, arguments: list[str], said: str) -> None:
    """With what is allowed."""
    refused = command(*arguments, code=2)

    assert said in refused.stderr


def test_history_filters_sorts_and_limits(command: Command, copied: Path) -> None:
    """The filters hold for JSON and CSV alike."""
    found = json.loads(command("history", "--json", "--state", "complete", "--sort", "score").stdout)
    rows = list(csv.DictReader(io.StringIO(command("history", "--csv", "--state", "complete", "--limit", "1").stdout)))
    scores = [trial["score"] for trial in found["trials"]]

    assert sorted(scores, reverse=True) == scores
    assert {"complete"} == {trial["state"] for trial in found["trials"]}
    assert len(rows) == 1
    assert rows[0]["state"] == "complete"
    assert json.loads(command("history", "--json", "--state", "complete", "--min-score", "1").stdout)["trials"] == []


def test_history_lists_the_best_first_and_says_what_it_leaves_out(command: Command, copied: Path) -> None:
    """Thirty trials unless more are asked for, fully scored ones first, by score; JSON and CSV have them all."""
    with sqlite3.connect(copied) as db:
        first = db.execute("SELECT trial FROM best_trials LIMIT 1").fetchone()[0]
        trials = db.execute("SELECT COUNT(*) FROM prompt_trials").fetchone()[0]
        for number in range(trials, 34):
            db.execute("CREATE TEMP TABLE copy AS SELECT * FROM prompt_trials WHERE number = 1")
            db.execute("UPDATE copy SET number = ?, score = 0.99, state = 'pruned'", [number])
            db.execute("INSERT INTO prompt_trials SELECT * FROM copy")
            db.execute("DROP TABLE copy")
    every = max(trials, 34)

    said, more = command("history", "--run", "1").stdout, command("history", "--run", "1", "--limit", str(every)).stdout
    machine = json.loads(command("history", "--json").stdout)["trials"]
    table = list(csv.DictReader(io.StringIO(command("history", "--csv").stdout)))

    numbers = [int(line.split()[0]) for line in said.splitlines() if re.match(r"^\d+ ", line)]
    assert (numbers[0], len(numbers)) == (first, 30)
    assert f"… and {every - 30} more: --limit {every}" in said
    assert "more: --limit" not in more
    assert len(machine) == len(table) == every
    states = [trial["state"] for trial in machine]
    assert states == sorted(states, key=lambda state: state != "complete")


def test_history_tells_estimates(command: Command, copied: Path) -> None:
    """What a trial is estimated at stands beside its score, everywhere; a control's trials have none."""
    with sqlite3.connect(copied) as db:
        db.execute("UPDATE prompt_trials SET estimate = 0.625, estimate_low = 0.5, estimate_high = 0.75")
        db.execute("UPDATE prompt_trials SET estimate = NULL WHERE number = 1")

    machine = {trial["trial"]: trial for trial in json.loads(command("history", "--json").stdout)["trials"]}
    table = {row["trial"]: row for row in csv.DictReader(io.StringIO(command("history", "--csv").stdout))}

    assert "62.5 % (50.0–75.0)" in command("history").stdout
    assert "estimated at 62.5 % (50.0–75.0)" in command("show").stdout
    assert [machine[0][key] for key in ("estimate", "estimate_low", "estimate_high")] == [0.625, 0.5, 0.75]
    assert machine[1]["estimate"] is None
    assert [table["0"][key] for key in ("estimate", "estimate_low", "estimate_high")] == ["0.625", "0.5", "0.75"]
    assert table["1"]["estimate"] == ""


def test_show_tells_a_prompt_and_its_rows(command: Command, copied: Path) -> None:
    """The prompt as text, the difference to the seed prompt, and the rows fixed and broken."""
    said = command("show").stdout
    machine = json.loads(command("show", "--json").stdout)

    assert machine["prompt"] in said
    assert "--- seed prompt" in said
    assert f"Dev rows fixed: {len(machine['fixed'])}" in said
    assert f"Dev rows broken: {len(machine['broken'])}" in said
    assert machine["fixed"]


def test_the_front_is_listed_and_shown(command: Command, copied: Path) -> None:
    """`history --front` lists what no other prompt beats, as a table and as JSON; `show` says where a prompt stands."""
    listed = command("history", "--front").stdout
    machine = json.loads(command("history", "--front", "--json").stdout)["front"]
    winner = json.loads(command("show", "--json").stdout)

    assert "tokens / 1,000" in listed
    assert len(machine) == sum(line[:1].isdigit() for line in listed.splitlines())  # long parameters fold
    assert all(entry["tokens"] > 0 for entry in machine)
    on_it = {entry["trial"] for entry in machine}
    for shown in (winner, json.loads(command("show", str(machine[0]["trial"]), "--json").stdout)):
        assert shown["standing"].startswith("on the front") == (shown["trial"] in on_it)
        assert f"\n{shown['standing']}" in command("show", str(shown["trial"])).stdout


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--min-recall", "bilin=0.8"), "unknown label in min_recall 'bilin'; allowed: access, billing, "),
        (("--min-recall", "billing"), "--min-recall 'billing': must be LABEL=X, such as billing=0.8"),
        (
            ("--min-recall", "billing=2"),
            "min_recall.billing` = 2.0: must be less than or equal to 1",
        ),
        (("--pareto", "--sampler", "tpe"), "pareto is allowed with: pooled"),
    ],
)
def test_aims_that_cannot_be_are_refused(
    command: Command, tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    """A label that is not there, a recall that is none, and a control that knows no cost: one clear error each."""
    write_task(tmp_path)

    said = command("tune", "task.toml", *options, code=2).stderr

    assert complaint in said


def test_tune_ends_with_what_the_winner_has_of_its_constraints(command: Command, tmp_path: Path) -> None:
    """The constraint that no prompt keeps is said to be broken on dev and on test rows, as text and as JSON."""
    write_task(tmp_path, search={"calls": 60})
    options = ("tune", "task.toml", "--max-prompt-tokens", "10", "--quiet")

    text = command(*options).stdout
    kept = json.loads(command(*options, "--json").stdout)["constraints"]

    assert text.index("Verdict: ") < text.index("Constraints of the search")
    assert text.count("BROKEN: ") == 2
    assert [[each["kept"] for each in kept[split]] for split in ("dev", "test")] == [[False], [False]]


def test_a_recall_of_a_label_without_a_dev_row_is_refused(command: Command, tmp_path: Path) -> None:
    """No prompt could break it: one clear error, before a results.db is there."""
    write_task(tmp_path)
    with (tmp_path / "rows.csv").open("a", encoding="utf-8") as file:
        file.write("999,mail,legal,Our lawyers will write to you.\n")

    said = command("tune", "task.toml", "--min-recall", "legal=0.8", code=2).stderr

    assert "min_recall of 'legal': none of the 31 dev rows that the search looks at has this label" in said
    assert not (tmp_path / "results.db").exists()


def test_export_writes_predict_answers_report_draws(command: Command, copied: Path, tmp_path: Path) -> None:
    """The winner leaves the house as a module, answers rows, and is drawn as a page."""
    written = command("export", "--format", "python").stdout
    assert re.match(r"prompt\.py: written, loaded back: exact; trial \d+ of run 1\n", written)
    assert "baseline.skops: written" in command("export", "--format", "skops").stdout
    assert "python" in command("export", "--list").stdout
    said = command("predict", "rows.csv", "-o", "answers.csv").stderr
    command("report")

    answers = list(csv.DictReader(io.StringIO((tmp_path / "answers.csv").read_text(encoding="utf-8"))))
    assert len(answers) == 200
    assert list(answers[0]) == ["id", "channel", "label", "text", "label_predicted"]
    assert {row["label"] for row in answers} >= {row["label_predicted"] for row in answers}
    assert "accuracy: " in said
    assert "Content-Security-Policy" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_documented_questions_are_answered(copied: Path) -> None:
    """The three views answer with plain SQL: best trials, cost per trial, rows the winner broke."""
    with sqlite3.connect(copied) as db:
        best = db.execute("SELECT score, state FROM best_trials WHERE run = 1 LIMIT 1").fetchone()
        highest = db.execute("SELECT MAX(score) FROM best_trials WHERE state = 'complete'").fetchone()[0]
        costs = db.execute("SELECT trial, calls FROM cost_per_trial ORDER BY trial LIMIT 1").fetchone()
        broken = db.execute("SELECT COUNT(*) FROM rows_the_winner_broke WHERE seed_answer = winner_answer").fetchone()

    assert best == (highest, "complete")
    assert costs == (0, 31)
    assert broken == (0,)


BAD_INPUT = [
    (["init", "missing.csv"], "missing.csv", "no such file"),
    (["init", "latin.csv"], "latin.csv", "UTF-8"),
    (["init", "ragged.csv"], "ragged.csv", "3"),
    (["init", "rows.xyz"], "rows.xyz", ".csv"),
    (["init", "one_label.csv"], "label", "one"),
    (["plan", "empty_target.toml"], "label", "skip_empty"),
    (["init", "few.csv"], "rows", ""),
    (["tune", "missing.toml"], "missing.toml", "phrasetune init"),
    (["tune", "bad_column.toml"], "texts", "text"),
    (["tune", "bad_metric.toml"], "acuracy", "accuracy"),
    (["tune", "bad_key.toml"], "modle", "model"),
    (["tune", "task.toml", "--model", "nonsense"], "nonsense", "embedded"),
    (["tune", "task.toml", "--sampler", "tpee"], "tpee", "tpe"),
    (["tune", "task.toml", "--pruner", "halve"], "halve", "halving"),
    (["tune", "task.toml", "--trials", "0"], "0", "1<=x<=500"),
    (["tune", "task.toml", "--calls", "0"], "0", "x>=1"),
    (["history", "--state", "won"], "won", "running"),
    (["tune", "task.toml", "--db", "rows.csv"], "rows.csv", "SQLite"),
    (["tune", "task.toml", "--db", "foreign.db"], "foreign.db", "another program"),
    (["tune", "task.toml", "--db", "newer.db"], "newer.db", "newer phrasetune"),
    (["tune", "task.toml", "--db", "no/such/folder.db"], "no/such/folder.db", "cannot be opened"),
    (["history"], "results.db", "phrasetune tune"),
    (["history", "--db", "foreign.db"], "foreign.db", "another program"),
    (["show", "--db", "newer.db"], "newer.db", "newer phrasetune"),
    (["export", "--format", "pyton"], "pyton", "python"),
    (["init", "good.csv", "-o", "no/task.toml"], "no: no such folder", "Make it"),
    (["init", "good.csv", "-o", "good.csv", "--force"], "good.csv is the data file", "-o"),
    (["report", "--db", "mine.db", "-o", "mine.db", "--force"], "is a database, which is never replaced", "name"),
    (["predict", "good.csv", "--db", "mine.db", "-o", "good.csv", "--force"], "is the file that is read", "-o"),
    (["history", "--min-score", "47"], "47", "0<=x<=1"),
    (["demo", "rows.csv"], "rows.csv", "another folder"),
    (["space", "bad_space.toml"], "templat", "template"),
]


@pytest.mark.parametrize(("arguments", "given", "allowed"), BAD_INPUT, ids=[" ".join(case[0]) for case in BAD_INPUT])
def test_bad_input_gets_one_clear_error(
    command: Command, tmp_path: Path, finished: Path, arguments: list[str], given: str, allowed: str
) -> None:
    """Exit code 2, a message that names what was given and what is allowed, and no file touched."""
    _lay_traps(tmp_path)
    shutil.copy(finished, tmp_path / "mine.db")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    said = command(
        *arguments, *(["-o", "new.toml"] if arguments[0] == "init" and "-o" not in arguments else []), code=2
    ).stderr

    assert said.startswith(("phrasetune: ", "Usage: "))
    assert given in said
    assert allowed in said
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_process_ends_as_the_command_does(cli: Run) -> None:
    """With the same code, and the message on stderr alone."""
    done = cli("tune", "missing.toml", code=2)

    assert done.stderr.startswith("phrasetune: ")
    assert "phrasetune init" in done.stderr
    assert done.stdout == ""


def _lay_traps(folder: Path) -> None:
    rows = "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(40))
    (folder / "good.csv").write_text("text,label\n" + rows, encoding="utf-8")
    task = write_task(folder).read_text(encoding="utf-8")
    (folder / "latin.csv").write_bytes("text,label\ncafé,a\n".encode("latin-1"))
    (folder / "ragged.csv").write_text("text,label\nfine,a\nbroken,b,c\n", encoding="utf-8")
    (folder / "rows.xyz").write_text("text\n", encoding="utf-8")
    (folder / "one_label.csv").write_text("text,label\n" + "".join(f"row {i},a\n" for i in range(40)), encoding="utf-8")
    (folder / "empty_target.csv").write_text("id,text,label\n1,fine,a\n2,no answer,\n3,ok,b\n", encoding="utf-8")
    (folder / "empty_target.toml").write_text(task.replace("rows.csv", "empty_target.csv"), encoding="utf-8")
    (folder / "few.csv").write_text("text,label\nx,a\ny,b\n", encoding="utf-8")
    (folder / "bad_column.toml").write_text(task.replace('["text"]', '["texts"]'), encoding="utf-8")
    (folder / "bad_metric.toml").write_text(task.replace("[data]", 'metric = "acuracy"\n[data]'), encoding="utf-8")
    (folder / "bad_key.toml").write_text(task + '\n[modle]\nname = "x"\n', encoding="utf-8")
    (folder / "bad_space.toml").write_text(task.replace("template =", "templat ="), encoding="utf-8")
    with sqlite3.connect(folder / "foreign.db") as db:
        db.execute("CREATE TABLE theirs (x)")
    with sqlite3.connect(folder / "newer.db") as db:
        db.executescript("PRAGMA application_id = 1885892212; CREATE TABLE runs (x); PRAGMA user_version = 99;")
