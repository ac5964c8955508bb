"""A judge for the loopback server: it answers like the embedded model, and judges by the share of common words."""

from __future__ import annotations

import json
from typing import Any

from server import merge

from optimizer.scores.row_metrics import token_f1
from optimizer.serving import respond


def judge(body: dict[str, Any]) -> dict[str, Any]:
    """Judge on the scale from 1 to 5 if that is what is asked, and obey no answer."""
    system, shown = body["messages"][0]["content"], body["messages"][-1]["content"]
    if "Reply with one whole number from 1" not in system:
        return respond(body)
    row = json.loads(shown)
    score = 1 + round(4 * max(token_f1(row["answer"], target) for target in row["accepted"]))
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": str(score)}}
    return dict(merge(respond(body), {"choices": [choice]}))
