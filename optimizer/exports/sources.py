"""The source of our own functions, for a module that needs only the standard library.

The source is copied together with everything of ours that it uses, so that the two cannot drift apart. Knows no prompt
and no file.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from optimizer.errors import DataError, ExportError
from optimizer.exports.literals import literal

# Patterns that show which imports a source needs.
IMPORTS = {
    r"\bjson\.": "import json",
    r"\bmath\.": "import math",
    r"\bre\.[a-z]": "import re",
    r"\bstring\.[a-z]": "import string",
    r"\bunicodedata\.": "import unicodedata",
    r"\bCounter\b": "from collections import Counter",
    r"\bdefaultdict\(": "from collections import defaultdict",
    r"\bCallable\[": "from collections.abc import Callable",
    r"\bIterator\[": "from collections.abc import Iterator",
    r"\bMapping\[": "from collections.abc import Mapping",
    r"\bSequence\[": "from collections.abc import Sequence",
    r"@dataclass": "from dataclasses import dataclass",
    r"\bfield\(default": "from dataclasses import field",
    r"@cache": "from functools import cache",
    r"@lru_cache": "from functools import lru_cache",
    r"\bAny\b": "from typing import Any",
    r"\bET\.": "from xml.etree import ElementTree as ET",
}
Function = Callable[..., Any]
REFUSING = '''
class DataError(ValueError):
    """A wanted answer that cannot be compared with."""
'''


def imports(code: Sequence[str]) -> list[str]:
    """Return the imports that sources need."""
    return [line for sign, line in IMPORTS.items() if any(re.search(sign, each) for each in code)]


def sources(*functions: Function) -> list[str]:
    """Return the sources of our functions and of everything of ours that they use, constants first.

    Raises
    ------
    ExportError
        If phrasetune is installed without its sources.
    """
    found: dict[str, str] = {}
    constants: dict[str, str] = {}
    waiting: list[Any] = list(functions)
    while waiting:
        one = waiting.pop(0)
        if one.__name__ in found:
            continue
        found[one.__name__] = REFUSING if one is DataError else _source(one)
        room = vars(sys.modules[one.__module__])
        for name in () if one is DataError else _names(found[one.__name__]):
            value = room.get(name)
            if _is_ours(value):
                waiting.append(value)
            elif isinstance(value, (str, int, float, tuple, dict, set, re.Pattern)):
                constants[name] = f"{name} = {_constant(value)}"
    return [*(["\n".join(constants.values())] if constants else []), *found.values()]


def load(path: Path) -> ModuleType:
    """Run a module that was made from sources."""
    module = ModuleType("phrasetune_exported")
    code = compile(path.read_bytes().decode(), str(path), "exec", dont_inherit=True)
    sys.modules[module.__name__] = module  # where a dataclass looks for its own module
    try:
        exec(code, module.__dict__)  # noqa: S102 - only our own functions and literals
    finally:
        del sys.modules[module.__name__]
    return module


def _names(source: str) -> list[str]:
    """Return the names that a source looks up, in order, except in annotations, which are never evaluated."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return list(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)))


def _is_ours(value: object) -> bool:
    home = getattr(value, "__module__", None) or ""
    return callable(value) and home.partition(".")[0] in {"optimizer", "search_spaces"}


def _source(one: Any) -> str:  # noqa: ANN401 - a function, also a cached one, or a class
    try:
        return inspect.getsource(one)
    except OSError:
        raise ExportError(
            f"the source of {one.__module__}.{one.__name__} is not to be found, and a module needs it; phrasetune must "
            "be installed with its sources. Install it again, or export as messages. Nothing was left behind."
        ) from None


def _constant(value: Any) -> str:  # noqa: ANN401 - any constant of our modules
    if isinstance(value, re.Pattern):
        return f"re.compile({literal(value.pattern)}, {value.flags})"
    if isinstance(value, set):
        return "{" + ", ".join(map(literal, sorted(value))) + "}"
    return ascii(value)
