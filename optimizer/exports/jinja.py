"""Texts and slots as Jinja that any Jinja engine renders exactly, and our own rendering of it.

Wherever braces could be read as a tag, they are printed by expressions, which nunjucks, Jinja's port to JavaScript,
reads in the same way. White space at the edges is protected from engines that trim around tags. Knows no file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from optimizer.exports.names import given
from search_spaces.prompt import Slot, Turn

if TYPE_CHECKING:
    from jinja2 import Template

# Characters that form a tag only in combination; Jinja reads every "\r" in a source as "\n".
RUN = re.compile(r"[{}%#\r]+")
EDGE = "{{ '' }}"  # prints nothing, and protects white space at an edge from engines that trim it


def escaped(text: str) -> str:
    """Escape a text so that it prints itself, whatever comes before and after it.

    A brace at the edge may be next to a slot's braces, so it is escaped even if it is alone.
    """

    def printed(found: re.Match[str]) -> str:
        run = found.group()
        edge = found.start() == 0 or found.end() == len(text)
        if "\r" not in run and not ({"{", "}"} & set(run) and (edge or len(run) > 1)):
            return run
        return "{{ '" + run.replace("\r", "\\r") + "' }}"

    return RUN.sub(printed, text)


def templated(turn: Turn, names: Mapping[str, str]) -> str:
    """Return the content of a message as a template."""
    written = "".join("{{ " + names[p.name] + " }}" if isinstance(p, Slot) else escaped(p) for p in turn.parts)
    before = EDGE if written[:1].isspace() else ""
    return before + written + (EDGE if written[-1:].isspace() else "")


def rendered(source: str, inputs: Mapping[str, str], names: Mapping[str, str]) -> str:
    """Render a template in Jinja's sandbox, with default settings, so that it cannot run or change anything."""
    return str(_compiled(source).render(given(inputs, names)))


@lru_cache(maxsize=64)  # checking an export renders each message for many inputs
def _compiled(source: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined).from_string(source)
