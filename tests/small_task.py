"""A small task made from the bundled messages: enough rows for the whole journey in a few seconds."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

BUNDLED = Path(__file__).resolve().parents[1] / "optimizer" / "demo"


def write_task(
    folder: Path,
    *,
    rows: int = 200,
    marked: bool = False,
    search: Mapping[str, object] | None = None,
    proposer: str = "none",
) -> Path:
    """Write rows.csv and task.toml into a folder and return the task file.

    With `marked` every text ends with a word of its own, so that a test can tell where it went.
    """
    with (BUNDLED / "support.csv").open(encoding="utf-8", newline="") as file:
        bundled = list(csv.DictReader(file))[:rows]
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "channel", "label", "text"])
        for row in bundled:
            mark = f" zz{row['id']}zz" if marked else ""
            writer.writerow([row["id"], row["channel"], row["label"], row["text"] + mark])
    settings = {"calls": 250, **(search or {})}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    task = folder / "task.toml"
    task.write_text(
        f"""[task]
name = "small"
description = "Route the message to the team that should handle it."
[data]
file = "rows.csv"
id = "id"
inputs = ["text"]
target = "label"
slices = ["channel"]
[search]
{lines}
[proposer]
model = "{proposer}"
[baseline]
trials = 3
[space]
template = ["plain", "markdown", "xml", "chat"]
""",
        encoding="utf-8",
    )
    return task
