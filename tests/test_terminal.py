"""Tables on a terminal: whatever its width, no cell is cut."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from optimizer.report import Grid
from optimizer.terminal import out_grid

LONG = "AUC of texts (0.5: alike), distance of labels (0: alike)"
DRIFT = Grid(
    "Drift between splits",
    ("splits", "by their", LONG, "p (Holm)", "points over the score"),
    (("train–dev", "texts", "0.804", "0.008", "+3.3"), ("train–test", "labels", "0.023", "1", "-6.7")),
)


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_no_cell_is_cut_however_narrow_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Long heads are folded first; short cells stay whole as long as they fit side by side."""
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": str(width), "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)

    out_grid(DRIFT)
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)

    lines = drawn.splitlines()
    assert max(map(len, lines)) <= width
    signs = "".join([DRIFT.title, *DRIFT.columns, *(cell for row in DRIFT.rows for cell in row)])
    assert Counter("".join(signs.split())) == Counter("".join(drawn.split()))
    if width >= 60:
        assert ["train–test", "labels", "0.023", "1", "-6.7"] in [line.split() for line in lines]
