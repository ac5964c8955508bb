"""YAML that keeps every text: line ends, separators and signs that do not print are escaped.

The door of PyYAML, which LiteLLM, Optuna and DSPy bring.
"""

from __future__ import annotations

from typing import Any

import yaml


class _Writer(yaml.SafeDumper):  # type: ignore[misc] # its types are not looked at
    """Writes texts of several lines as blocks where that is exact, and never refers back to what it has written."""

    def ignore_aliases(self, _: object) -> bool:
        return True


def _text(writer: _Writer, text: str) -> yaml.ScalarNode:
    # In quotes every sign can be escaped; elsewhere PyYAML loses a lone U+0085.
    quoted = not text.replace("\n", "").isprintable()
    style = '"' if quoted else "|" if "\n" in text.strip() else None
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _text)


def write_yaml(data: Any) -> str:  # noqa: ANN401 - whatever YAML takes
    """Write texts, numbers, lists and dicts, in their order."""
    return str(yaml.dump(data, Dumper=_Writer, allow_unicode=True, sort_keys=False, width=1_000_000))


def read_yaml(text: str) -> Any:  # noqa: ANN401
    """Inverse of `write_yaml`."""
    return yaml.safe_load(text)


def read_texts(text: str) -> Any:  # noqa: ANN401
    """Read YAML or JSON with every scalar as the text that was written: `no`, `1e3` and 1.0 stay what they are.

    Raises
    ------
    ValueError
        If it is neither.
    """
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes texts, lists and dicts, and nothing else
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
