"""LiteLLM's table of models: what a token costs, how many a model takes, what it does.

Read from the package's file, without importing LiteLLM.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


def known_price(name: str) -> tuple[float, float] | None:
    """Look a price up in LiteLLM's table, without importing LiteLLM: US dollars per token."""
    entry = _known(name)
    if entry.get("input_cost_per_token") is None:
        return None
    return float(entry["input_cost_per_token"]), float(entry.get("output_cost_per_token") or 0.0)


def known_mode(name: str) -> str:
    """Look up in the same table what a model does, such as "chat" or "embedding"; empty if it does not say."""
    return str(_known(name).get("mode") or "")


def known_context(name: str) -> int:
    """Look up in the same table how many tokens a model takes; 0 if it does not say."""
    try:
        return int(_known(name).get("max_input_tokens") or 0)
    except ValueError:  # some entries hold a remark
        return 0


def _known(name: str) -> Mapping[str, Any]:
    table, bare = _price_table(), name.split("/", 1)[-1]
    if bare.startswith("ft:"):  # ft:MODEL:ORGANIZATION::JOB; the table has ft:MODEL
        bare = ":".join(bare.split(":")[:2])
    return table.get(name) or table.get(bare) or {}


@cache
def _price_table() -> Mapping[str, Any]:
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return {}
    path = Path(spec.submodule_search_locations[0]) / "model_prices_and_context_window_backup.json"
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return table
