"""Run the whole verdict, as a user would, with the embedded model on data sets of every kind.

    python benchmarks/whole_verdicts.py ../shared/data [NAME …]

Each data set is a folder with train.jsonl, dev.jsonl and test.jsonl: banking77; sst2 with the rows of sentiment_domains
as another domain; hatexplain by the groups that a text mentions; snips_slots; scitldr. Prints a table for LOG.md:
scores on the test rows with 95 % intervals, what was found besides them, and seconds of wall time and CPU time.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from optimizer import tune
from optimizer.contenders import RIVAL, SEED, rivalled
from optimizer.findings import Findings
from optimizer.records import Contender, Verdict

SPLITS = ("train", "dev", "test")
CALLS = 2000
TASKS: dict[str, Mapping[str, str]] = {
    "banking77": {"kind": "classification", "inputs": "text", "target": "label"},
    "sst2": {"kind": "classification", "inputs": "text", "target": "label", "ood": "sentiment_domains"},
    "hatexplain": {"kind": "classification", "inputs": "text", "target": "label", "slices": "groups"},
    "snips_slots": {"kind": "extraction", "inputs": "text", "target": "answer"},
    "scitldr": {"kind": "generation", "inputs": "question", "target": "answer"},
}


def rows(folder: Path, columns: list[str]) -> list[dict[str, str]]:
    """The rows of all splits, with these columns as texts: of a list, its items joined."""
    found = []
    for split in SPLITS:
        with (folder / f"{split}.jsonl").open(encoding="utf-8") as file:
            for row in map(json.loads, file):
                values = {name: row.get(name) or "none" for name in columns}
                texts = {name: v if isinstance(v, str) else " + ".join(sorted(v)) for name, v in values.items()}
                found.append({"id": row["id"], "split": split, **texts})
    return found


def write(path: Path, found: list[dict[str, str]]) -> str:
    """Write rows as JSONL; the name of the file."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), encoding="utf-8")
    return path.name


def task(data: Path, name: str, folder: Path) -> Path:
    """Write the task of a data set, with its rows, into a folder."""
    told = TASKS[name]
    slices = [told["slices"]] if "slices" in told else []
    lines = [f'[task]\nname = "{name}"\nkind = "{told["kind"]}"\n[data]']
    lines.append(
        f'file = "{write(folder / "rows.jsonl", rows(data / name, [told["inputs"], told["target"], *slices]))}"'
    )
    lines.append(f'inputs = ["{told["inputs"]}"]\ntarget = "{told["target"]}"\nid = "id"\nsplit_column = "split"')
    lines.append(f"slices = {json.dumps(slices)}")
    if "ood" in told:
        other = rows(data / told["ood"], [told["inputs"], told["target"]])
        lines.append(f'ood = "{write(folder / "ood.jsonl", other)}"')
    lines.append(f"[search]\ncalls = {CALLS}\n")
    path = folder / "task.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def scored(contender: Contender) -> str:
    """A score with its interval, in percent."""
    low, high = contender.interval
    return f"{100 * contender.score:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def beside(verdict: Verdict) -> str:
    """What was found beside the scores, shortly."""
    findings = verdict.findings or Findings()
    away = [each for each in findings.elsewhere if each.rows == "ood" and each.name != SEED]
    gaps = [gap for gap in findings.gaps if gap.name != SEED]
    said = [f"crossover {verdict.curve.crossover:,}"] if verdict.curve and verdict.curve.crossover else []
    said += [" (extrapolated)"] if verdict.curve and verdict.curve.extrapolated else []
    said += [f"ood {each.name} {100 * each.difference:+.1f}" for each in away]
    said += [f"gap {gap.name} {100 * gap.difference:.1f} (p {gap.p_value:.2g})" for gap in gaps]
    said += [f"{len(findings.suspects)} suspected labels"] if findings.suspects else []
    return "; ".join(said) or "–"


def main() -> None:
    """Run the tasks that are named, or all."""
    data, names = Path(sys.argv[1]), sys.argv[2:] or list(TASKS)
    sys.stdout.write(
        "| data | metric | seed prompt | best prompt | trained baseline | beside | s | CPU s |\n" + "|---" * 8 + "|\n"
    )
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            began, worked = time.perf_counter(), time.process_time()
            ended = tune(task(data, name, Path(folder)), db=Path(folder) / "results.db")
            took = f"{time.perf_counter() - began:.0f} | {time.process_time() - worked:.0f}"
        if ended.verdict is None:
            sys.stdout.write(f"| {name} | no verdict: {ended.run.reason} |\n")
            continue
        by_name = {contender.name: contender for contender in ended.verdict.contenders}
        scores = " | ".join(scored(c) for c in (by_name[SEED], rivalled(ended.verdict), by_name[RIVAL]))
        sys.stdout.write(f"| {name} | {ended.verdict.metric} | {scores} | {beside(ended.verdict)} | {took} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
