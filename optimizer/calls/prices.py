"""LiteLLM's table of models: prices, context lengths and modes.

It is read from a file of the package, without importing LiteLLM.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


def known_price(name: str) -> tuple[float, float] | None:
    """Look up a model's prices in LiteLLM's table: US dollars per prompt and per completion token; None if unknown."""
    entry = _known(name)
    if entry.get("input_cost_per_token") is None:
        return None
    return float(entry["input_cost_per_token"]), float(entry.get("output_cost_per_token") or 0.0)


def known_mode(name: str) -> str:
    """Look up a model's mode in LiteLLM's table, such as "chat" or "embedding"; empty if unknown."""
    return str(_known(name).get("mode") or "")


def known_context(name: str) -> int:
    """Look up how many prompt tokens a model takes in LiteLLM's table; 0 if unknown."""
    try:
        return int(_known(name).get("max_input_tokens") or 0)
    except ValueError:  # some entries have a remark instead of a number
        return 0


def _known(name: str) -> Mapping[str, Any]:
    table, bare = _price_table(), name.split("/", 1)[-1]
    if bare.startswith("ft:"):  # fine-tuned, ft:MODEL:ORGANIZATION::JOB; the table has ft:MODEL
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
