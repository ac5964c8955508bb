"""Prompt or training on five axes: every cell is a figure of the verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.contenders import BEST, CASCADE, RIVAL, SEED
from optimizer.evidence.axes import UNKNOWN, axes_grid
from optimizer.findings import Changed, Elsewhere, Findings, GroupGap, Steadiness
from optimizer.records import Bill, Comparison, Contender, CurvePoint, Kind, LearningCurve, Outcome, Verdict


def contender(name: str, score: float, unparsed: int = 0, train_rows: int = 8) -> Contender:
    """A contender with 20 answers, some of which could not be read, and one call that failed."""
    kinds = [Kind.UNPARSED] * unparsed + [Kind.RIGHT] * (20 - unparsed)
    outcomes = tuple(Outcome(str(i), kind, 1.0, "a") for i, kind in enumerate(kinds))
    failed = (Outcome("failed", Kind.ERROR, None, None),)
    return Contender(name, score, (score - 0.1, score + 0.1), 20, outcomes + failed, 1.5, 2000.0, train_rows)


VERDICT = Verdict(
    "accuracy",
    (contender(SEED, 0.5), contender(BEST, 0.8, unparsed=2), contender(RIVAL, 0.7, train_rows=300)),
    (Comparison(BEST, RIVAL, 0.1, (0.02, 0.18), 0.01, "exact McNemar test"),),
    "The best prompt beats the trained baseline.",
    curve=LearningCurve(BEST, (CurvePoint(300, 0.7, (0.6, 0.8), 1, -0.1, (-0.2, 0.0)),), None, (None, None)),
    bills=(Bill(BEST, 4.0, 0.0, 308, 60.0, 1.5, 2000.0), Bill(RIVAL, 0.0, 0.0, 600, 5.0, 0.0, 10.0)),
)


def cells(verdict: Verdict) -> dict[str, dict[str, str]]:
    """The table by its axes and columns."""
    grid = axes_grid(verdict)
    return {row[0]: dict(zip(grid.columns, row, strict=True)) for row in grid.rows}


def test_every_axis_has_a_line() -> None:
    """With the best prompt and the trained baseline side by side; the seed prompt is left out."""
    found = cells(VERDICT)

    assert list(found) == ["focus", "training data", "resource usage", "control", "applicability"]
    assert {tuple(row) for row in found.values()} == {("axis", "measured", BEST, RIVAL, "reading")}


def test_the_cells_are_what_was_measured() -> None:
    """Score, labelled rows, cost and time, and answers that could be read; a call that failed was no answer."""
    found = cells(VERDICT)

    assert found["focus"][BEST] == "80.0 % (70.0–90.0)"
    assert found["focus"]["reading"] == "best prompt ahead by 10.0 points"
    assert (found["training data"][BEST], found["training data"][RIVAL]) == ("8", "300")
    assert found["training data"]["reading"] == "training is not ahead with the 300 rows there are"
    assert found["resource usage"][BEST] == "$4.00 and 60 s; $1.50 and 2.0 s"
    assert "Break-even" in found["resource usage"]["reading"]
    assert found["control"][BEST] == "90.0 %"
    assert found["control"][RIVAL] == "100.0 %"


def test_what_was_not_measured_is_said_to_be_so() -> None:
    """Without other rows, changes, curve or bills no figure is made up."""
    found = cells(replace(VERDICT, curve=None, bills=(), comparisons=()))

    assert found["applicability"][BEST] == UNKNOWN
    assert found["applicability"]["reading"] == "give other rows as ood in [data]"
    assert "--robustness" in found["control"]["reading"]
    assert found["training data"]["reading"] == found["resource usage"]["reading"] == UNKNOWN
    assert found["focus"]["reading"] == UNKNOWN


@pytest.mark.parametrize(("p_value", "said"), [(0.2, "no difference shown"), (0.01, "trained baseline ahead by")])
def test_the_reading_claims_no_more_than_the_test(p_value: float, said: str) -> None:
    """Who is ahead is said only where it is shown."""
    behind = Comparison(BEST, RIVAL, -0.1, (-0.2, 0.0), p_value, "exact McNemar test")

    assert cells(replace(VERDICT, comparisons=(behind,)))["focus"]["reading"].startswith(said)


def test_findings_fill_the_cells() -> None:
    """Dev scores, other rows, groups and changes stand where they belong, the cascade beside the two."""

    def at(name: str, rows: str, score: float, difference: float) -> Elsewhere:
        return Elsewhere(name, rows, 50, score, (score - 0.1, score + 0.1), difference, (-1, 1))

    def change(name: str, of: str, difference: float) -> Changed:
        return Changed(name, of, 50, 0.6, (0, 1), difference, (difference - 0.05, difference + 0.05))

    def steady(name: str, worst: float) -> Steadiness:
        return Steadiness(name, 5, 0.7, (0, 1), -0.01, (-1, 1), "typos", 0.6, worst, (-1, 1))

    findings = Findings(
        elsewhere=(
            at(BEST, "dev", 0.84, 0.04),
            at(RIVAL, "dev", 0.6, 0.0),
            at(BEST, "ood", 0.7, -0.1),
            at(RIVAL, "ood", 0.4, -0.3),
        ),
        gaps=(GroupGap(BEST, "channel", "chat", "mail", 3, 0.2, (0.1, 0.3), 0.01),),
        changed=(
            *(change(BEST, name, -0.02) for name in ("case", "typos")),
            *(change(RIVAL, name, -0.2) for name in ("case", "typos")),
            change(BEST, "demo order 1", -0.5),
        ),
        steadiness=(steady(BEST, -0.02), steady(RIVAL, -0.2)),
    )
    both = replace(VERDICT, contenders=(*VERDICT.contenders, contender(CASCADE, 0.85)), findings=findings)

    found = cells(both)

    assert found["focus"][BEST] == "80.0 % (70.0–90.0), -4.0 points"
    assert found["focus"][RIVAL].endswith(", +0.0 points")
    assert found["control"][BEST] == "90.0 %; -2.0 points (typos)"
    assert found["control"]["reading"] == "best prompt loses less at its worst, of 2 changes tried on both"
    assert found["applicability"][BEST] == "70.0 %, -10.0 points; 20.0 points by channel"
    assert found["applicability"]["reading"] == (
        "best prompt scores higher there, by 30.0 points; gap shown: best prompt, channel: chat over mail"
    )
    assert found["resource usage"][CASCADE] == "both of these; $1.50 and 2.0 s"


@pytest.mark.parametrize(
    ("best", "rival", "said"),
    [
        (-0.02, -0.2, "best prompt loses less at its worst, of 1 change tried on both"),
        (-0.2, -0.02, "trained baseline loses less at its worst, of 1 change tried on both"),
        (-0.1, -0.12, "no difference shown at the worst, of 1 change tried on both"),
        (-0.1, None, "no change was tried on both"),
    ],
)
def test_who_loses_less_is_said_of_the_changes_of_both(best: float, rival: float | None, said: str) -> None:
    """Only where it is shown: the worst of nine is lower than the worst of three by chance alone."""
    lost = {BEST: best, RIVAL: rival}
    changed = tuple(
        Changed(name, "case", 50, 0.6, (0, 1), worst, (worst - 0.05, worst + 0.05))
        for name, worst in lost.items()
        if worst is not None
    )
    further = tuple(Changed(BEST, f"order {i}", 50, 0.1, (0, 1), -0.7, (-0.8, -0.6)) for i in range(6))
    steadiness = tuple(Steadiness(name, 7, 0.7, (0, 1), -0.01, (-1, 1), "x", 0.6, -0.7, (-1, 1)) for name in lost)
    findings = Findings(changed=changed + further, steadiness=steadiness)

    assert cells(replace(VERDICT, findings=findings))["control"]["reading"] == said


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((0.8, 0.5), "best prompt scores higher there, by 30.0 points"),
        ((0.72, 0.7), "no difference shown there"),
        ((0.7, 0.7), "no difference shown there"),
        ((0.7,), "only the best prompt has a score there"),
    ],
)
def test_who_scores_higher_elsewhere_is_said_where_it_is_shown(scores: tuple[float, ...], said: str) -> None:
    """By the intervals of both."""
    away = tuple(
        Elsewhere(name, "ood", 50, score, (score - 0.1, score + 0.1), 0.0, (-1, 1))
        for name, score in zip((BEST, RIVAL), scores, strict=False)
    )

    assert cells(replace(VERDICT, findings=Findings(elsewhere=away)))["applicability"]["reading"] == said
