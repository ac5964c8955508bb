"""Names for inputs that every template language accepts.

Knows no format: a name that any of them refuses is always avoided, so that an input has the same name in all files.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable, Mapping

# Keywords of Jinja, nunjucks, Handlebars and JavaScript, and names that their tools define in a template.
TAKEN = frozenset(
    "true false none null undefined self super loop caller varargs kwargs this context each lookup log with unless "
    "else if role history json media section prompt input inputs template messages name function var let const new "
    "delete typeof void switch case default throw catch range dict lipsum cycler joiner namespace now env vars "
    "ifequals unlessequals".split()
)


def slot_names(inputs: Iterable[str]) -> dict[str, str]:
    """Return a name of ASCII letters, digits and underscores for each input: "Größe (cm)" becomes "Grosse_cm"."""
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
    """Return a note on which inputs have other names; empty if none has."""
    changed = [f"{name!r} is called {slot}" for name, slot in names.items() if name != slot]
    return f"The input {', '.join(changed)} there." if changed else ""


def given(inputs: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Return the inputs by their new names."""
    return {names[name]: value for name, value in inputs.items()}
