"""YAML that preserves every text: line ends, separators and unprintable characters are escaped.

The door of PyYAML, a dependency of LiteLLM, Optuna and DSPy.
"""

from __future__ import annotations

from typing import Any

import yaml


class _Writer(yaml.SafeDumper):  # type: ignore[misc] # its types are not looked at
    """Writes texts of several lines as blocks if that is exact, and never uses anchors and aliases."""

    def ignore_aliases(self, _: object) -> bool:
        return True


def _text(writer: _Writer, text: str) -> yaml.ScalarNode:
    # In double quotes, every character can be escaped; elsewhere PyYAML loses a lone U+0085.
    quoted = not text.replace("\n", "").isprintable()
    style = '"' if quoted else "|" if "\n" in text.strip() else None
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _text)


def write_yaml(data: Any) -> str:  # noqa: ANN401 - whatever YAML takes
    """Return texts, numbers, lists and dicts as YAML, in their order."""
    return str(yaml.dump(data, Dumper=_Writer, allow_unicode=True, sort_keys=False, width=1_000_000))


def read_yaml(text: str) -> Any:  # noqa: ANN401
    """Return the data of YAML that `write_yaml` wrote."""
    return yaml.safe_load(text)


def read_texts(text: str) -> Any:  # noqa: ANN401
    """Read YAML or JSON with every scalar as its text: `no`, `1e3` and 1.0 stay as they were written.

    Raises
    ------
    ValueError
        If it is neither.
    """
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes texts, lists and dicts, and nothing else
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
