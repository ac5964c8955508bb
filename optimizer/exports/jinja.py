"""Texts and slots as Jinja, so that any reader of it renders them to the letter; and our own rendering of it.

Braces are printed by expressions wherever they could be read as a tag, which nunjucks, Jinja's double in JavaScript,
reads alike. Edges of blanks are kept from readers that trim around tags. Knows no file.
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

# Signs that make a tag only side by side; Jinja reads every "\r" in a source as "\n".
RUN = re.compile(r"[{}%#\r]+")
EDGE = "{{ '' }}"  # prints nothing, and keeps a blank edge from what trims around tags or drops the last line end


def escaped(text: str) -> str:
    """Write a text so that it prints itself, whatever stands before and after it.

    A sign next to the edge may meet a slot's braces, so it is escaped even when it stands alone.
    """

    def printed(found: re.Match[str]) -> str:
        run = found.group()
        edge = found.start() == 0 or found.end() == len(text)
        if "\r" not in run and not ({"{", "}"} & set(run) and (edge or len(run) > 1)):
            return run
        return "{{ '" + run.replace("\r", "\\r") + "' }}"

    return RUN.sub(printed, text)


def templated(turn: Turn, names: Mapping[str, str]) -> str:
    """Write what a message says as a template."""
    written = "".join("{{ " + names[p.name] + " }}" if isinstance(p, Slot) else escaped(p) for p in turn.parts)
    before = EDGE if written[:1].isspace() else ""
    return before + written + (EDGE if written[-1:].isspace() else "")


def rendered(source: str, inputs: Mapping[str, str], names: Mapping[str, str]) -> str:
    """Render a template in the sandbox, with Jinja's own defaults: nothing of it can be run or changed."""
    return str(_compiled(source).render(given(inputs, names)))


@lru_cache(maxsize=64)  # a proof renders each message for many inputs
def _compiled(source: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined).from_string(source)
