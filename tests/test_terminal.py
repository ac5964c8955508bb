"""Tables on a terminal: whatever its width, no cell is cut."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from rich.cells import cell_len

from optimizer.commands.terminal import out_grid
from optimizer.reports.grids import Grid

LONG = "AUC of texts (0.5: alike), distance of labels (0: alike)"
DRIFT = Grid(
    "Drift between splits",
    ("splits", "by their", LONG, "p (Holm)", "points over the score"),
    (("train–dev", "texts", "0.804", "0.008", "+3.3"), ("train–test", "labels", "0.023", "1", "-6.7")),
)


WHY = "not the best when the search ended, after 35 of 170 rows"
TRIALS = Grid(
    "Run 1",
    ("trial", "accuracy", "estimate (95 %)", "state", "unlike the seed prompt", "why it ended"),
    (
        ("182 *", "62.4 %", "60.5 % (53.6–67.1)", "complete", "template=chat demos=nearest k=16 " * 4, "all rows"),
        ("7", "51.7 %", "59.4 % (51.1–67.4)", "pruned", "[b]instruction[/b]=\u4f60\u597d", WHY),
    ),
)

Drawn = Callable[[Grid, int], list[str]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Drawn:
    """Lines of a table on a terminal so many columns wide, without colours."""

    def draw(grid: Grid, width: int) -> list[str]:
        for name, value in {"FORCE_COLOR": "1", "COLUMNS": str(width), "TERM": "xterm"}.items():
            monkeypatch.setenv(name, value)
        out_grid(grid)
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    return draw


@pytest.mark.parametrize("width", [60, 80, 100])
def test_long_cells_stand_below_their_row(width: int, drawn: Drawn) -> None:
    """Where they do not fit beside it: each after its column's name; the others stay in one line, as their heads do."""
    lines = drawn(TRIALS, width)

    assert max(map(cell_len, lines)) <= width
    assert lines[1].split() == ["trial", "accuracy", "estimate", "(95", "%)", "state"]
    rows = [line.split() for line in lines if line and not line.startswith(" ")]
    assert rows[2:] == [[*row[0].split(), *" ".join(row[1:4]).split()] for row in TRIALS.rows]
    flowing = " ".join(" ".join(lines).split())
    for *_, params, why in TRIALS.rows:
        assert f"unlike the seed prompt: {params.strip()} why it ended: {why}" in flowing


def test_long_cells_stand_beside_their_row_where_there_is_room(drawn: Drawn) -> None:
    """On a wide terminal nothing is moved."""
    lines = drawn(TRIALS, 250)

    assert len(lines) == 4
    assert WHY in lines[3]


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_no_cell_is_cut_however_narrow_the_terminal(width: int, drawn: Drawn) -> None:
    """Long heads are folded first; short cells stay whole as long as they fit side by side."""
    lines = drawn(DRIFT, width)

    assert max(map(len, lines)) <= width
    signs = "".join([DRIFT.title, *DRIFT.columns, *(cell for row in DRIFT.rows for cell in row)])
    assert Counter("".join(signs.split())) == Counter("".join("".join(lines).split()))
    if width >= 60:
        assert ["train–test", "labels", "0.023", "1", "-6.7"] in [line.split() for line in lines]
