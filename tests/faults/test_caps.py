"""What was really spent, according to the server's log, never exceeds a cap."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from harness import FULL, PRICE, Nursery, Tally, query, task_for, times, tune
from server import ChatServer, Latency, cut_short, reset, status

DEAR = [reset(), status(500), cut_short()]


def charged(server: ChatServer) -> dict[str, float]:
    """What the server would put on the bill: every answer, also one that was broken off."""
    used = [asked.usage for asked in server.log if asked.usage]
    prompt, written = (sum(usage[name] for usage in used) for name in ("prompt_tokens", "completion_tokens"))
    usd = (prompt * PRICE["input"] + written * PRICE["output"]) / 1e6
    return {"calls": len(used), "tokens": prompt + written, "usd": usd}


CAPS = [("calls", 1), ("calls", 40), ("usd", 0.05), ("usd", 2.0), ("tokens", 200), ("tokens", 9000), ("calls", 90)]


@pytest.mark.parametrize("workers", [1, 8, 32] if FULL else [8])
@pytest.mark.parametrize("cap", CAPS if FULL else CAPS[1::2])
def test_a_cap_is_kept(
    nursery: Nursery, server: ChatServer, tmp_path: Path, tally: Tally, cap: tuple[str, float], workers: int
) -> None:
    """Also with failing calls, many workers and a kill in between: nothing is spent beyond it."""
    kind, most = cap
    for seed in range(times(1, 10)):
        folder = tmp_path / str(seed)
        task_for(folder, server, model={"workers": workers}, **{f"max_{kind}": most})
        server.forget()
        server.wait(Latency(0.003, 1.0))
        server.storm(0.2, DEAR, seed)
        child = nursery.start(folder, *tune())
        server.kill(child.pid, after=random.Random(seed).randint(1, 25))
        child.wait()
        code, said = nursery.run(folder, *tune())

        bill = charged(server)
        tally(1, bill[kind] > most)
        assert bill[kind] <= most
        if cap == CAPS[0]:  # less than the verdict alone takes: nothing is begun
            assert (code, bill["calls"]) == (2, 0), said
            assert "are kept for the verdict" in said
            continue
        assert code in {0, 1}, said
        ended = ("used up", "answers were looked at") if kind == "calls" else ("used up",)
        assert any(reason in said for reason in ended) or most == CAPS[-1][1], said
        told = "SELECT COUNT(*), SUM(cost) FROM (SELECT cost FROM completions UNION ALL SELECT cost FROM failures)"
        calls, usd = query(folder / "results.db", told)[0]
        assert calls >= bill["calls"]
        assert (usd or 0.0) >= bill["usd"] - 1e-9


def test_a_cap_on_money_needs_a_price(nursery: Nursery, server: ChatServer, tmp_path: Path, tally: Tally) -> None:
    """Without one the run is refused before the first call."""
    task_for(tmp_path, server, model={"price": "none"})
    text = (tmp_path / "task.toml").read_text().replace('price = "none"\n', "")
    (tmp_path / "task.toml").write_text(text)
    server.forget()

    code, said = nursery.run(tmp_path, *tune("results.db", "--max-usd", "1"))

    tally(1, code != 2 or len(server.log))
    assert code == 2, said
    assert "has no known price" in said
    assert server.log == []
