"""Names that every template language takes, for inputs whose own names some would not.

Knows no format: what is refused anywhere is avoided everywhere, so that an input is called the same in all files.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable, Mapping

# Words of Jinja, nunjucks, Handlebars and JavaScript, and names that their tools put into a template themselves.
TAKEN = frozenset(
    "true false none null undefined self super loop caller varargs kwargs this context each lookup log with unless "
    "else if role history json media section prompt input inputs template messages name function var let const new "
    "delete typeof void switch case default throw catch range dict lipsum cycler joiner namespace now env vars "
    "ifequals unlessequals".split()
)


def slot_names(inputs: Iterable[str]) -> dict[str, str]:
    """Name each input by letters of ASCII, digits and underscores: "Größe (cm)" becomes "Grosse_cm"."""
    names: dict[str, str] = {}
    for name in inputs:
        plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
        slot = re.sub(r"\W+", "_", plain, flags=re.ASCII).strip("_")
        if not slot[:1].isalpha():
            slot = f"field_{slot}".rstrip("_")
        while slot.lower() in TAKEN or keyword.iskeyword(slot) or slot in names.values():
            slot += "_"
        names[name] = slot
    return names


def renamed(names: Mapping[str, str]) -> str:
    """Say which inputs are called otherwise, or nothing."""
    changed = [f"{name!r} is called {slot}" for name, slot in names.items() if name != slot]
    return f"The input {', '.join(changed)} there." if changed else ""


def given(inputs: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Give the inputs by their names there."""
    return {names[name]: value for name, value in inputs.items()}
