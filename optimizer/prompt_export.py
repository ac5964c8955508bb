"""Exporting a prompt of a run to the format of another tool, after checking it for personal data and leaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from optimizer.archive import History
from optimizer.errors import ExportError, one_of
from optimizer.exports import FORMATS, Exported, Exporter, Target
from optimizer.exports import export as write
from optimizer.handover import given, looked_over
from optimizer.task import Task
from optimizer.task_rows import new_rows


def export(  # noqa: PLR0913 - each names one thing
    format_name: str,
    *,
    trial: int | None = None,
    run: int | None = None,
    db: str | Path = "results.db",
    folder: str | Path = ".",
    name: str = "",
    force: bool = False,
    rows: object = None,
    mask: bool = False,
    allow_findings: bool = False,
) -> Exported:
    """Write a prompt (by default the winner) in the format of another tool.

    The file is loaded back and compared byte for byte with what the prompt renders to before it is reported as written.
    Before that, the prompt is linted: personal data and keys in it are reported in the note.

    Parameters
    ----------
    format_name
        One of `optimizer.exports.FORMATS`.
    trial, run
        Which prompt; the winner of the latest run by default.
    db
        The results database.
    folder, name
        Where to write; each format has a default name, and the file must be in the folder.
    force
        Whether an existing file may be replaced.
    rows
        A file with rows, or rows as `make_task` takes them, instead of the run's own; for formats that contain rows.
    mask
        Whether to replace personal data and keys by placeholders; the result is not the prompt that was scored.
    allow_findings
        Whether to write a prompt even if it contains words of dev or test rows, or unfilled slots.

    Raises
    ------
    ExportError
        If the format is unknown or cannot represent the prompt, the file exists, or `lint` refuses the prompt.
    """
    _check_format(format_name, FORMATS, rows)
    records = History(db)
    told, linted = looked_over(records.handover(trial, run), records.splits(run), mask=mask, allow=allow_findings)
    if rows is not None:
        told = given(told, new_rows(rows, Task.model_validate(told.run.task))[1])
    target = Target(Path(folder), name, force)
    written = write(told.trial.prompt, format_name, target, told.renderer, told.probes, told.facts)
    return replace(linted.told(written), source=f"trial {told.trial.number} of run {told.run.id}")


def _check_format(format_name: str, formats: Mapping[str, Exporter], rows: object) -> None:
    if format_name not in formats:
        trained = "The trained baseline is `history(db).trained_model()`." if format_name == "skops" else ""
        raise ExportError(one_of("export format", format_name, list(formats), trained))
    holding = [known for known, exporter in formats.items() if exporter.rows]
    if rows is not None and format_name not in holding:
        raise ExportError(
            f"the format {format_name} holds no rows; allowed with rows: {', '.join(holding)}. Leave --rows (rows=) "
            "out."
        )
